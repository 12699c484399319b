package invoice

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
)

func TestProjection(t *testing.T) {
	published := func(phase v1alpha1.InvoicePhase) v1alpha1.LightningInvoiceStatus {
		return v1alpha1.LightningInvoiceStatus{
			Phase: phase, RecordRef: "in-1", PaymentRequest: "lnbcrt1", PaymentHash: "00ff", AmountSats: new(int64(5000)), ExpiresAt: &metav1.Time{Time: expires},
		}
	}
	holds := func(key, paymentRequest string) map[string]string {
		return map[string]string{key: paymentRequest, "paymentHash": "00ff", "expiresAt": "2026-01-01T13:00:00Z", "amountSats": "5000"}
	}
	for name, tc := range map[string]struct {
		status v1alpha1.LightningInvoiceStatus
		key    string
		now    time.Time
		want   map[string]string
	}{
		"nothing was published":            {status: v1alpha1.LightningInvoiceStatus{Phase: v1alpha1.InvoicePending}},
		"payable":                          {status: published(v1alpha1.InvoiceOpen), want: holds("paymentRequest", "lnbcrt1")},
		"payable, under another key":       {status: published(v1alpha1.InvoiceOpen), key: "BOLT11", want: holds("BOLT11", "lnbcrt1")},
		"open by its phase and not by now": {status: published(v1alpha1.InvoiceOpen), now: expires, want: holds("paymentRequest", "")},
		"renewing":                         {status: published(v1alpha1.InvoiceRenewing), want: holds("paymentRequest", "")},
		"settled":                          {status: published(v1alpha1.InvoiceSettled), want: holds("paymentRequest", "")},
		"expired":                          {status: published(v1alpha1.InvoiceExpired), want: holds("paymentRequest", "")},
		"failed":                           {status: published(v1alpha1.InvoiceFailed), want: holds("paymentRequest", "")},
		"given up after a renewal": {
			status: v1alpha1.LightningInvoiceStatus{Phase: v1alpha1.InvoiceFailed, RecordRef: "in-1-1"},
			want:   map[string]string{"paymentRequest": "", "paymentHash": "", "expiresAt": "", "amountSats": ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := tc.now
			if now.IsZero() {
				now = t0
			}
			if diff := cmp.Diff(tc.want, Projection(&tc.status, tc.key, now)); diff != "" {
				t.Errorf("projected (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSetPublished(t *testing.T) {
	var status v1alpha1.LightningInvoiceStatus
	SetPublished(&status, 2, &payment.Obstacle{Reason: v1alpha1.ReasonTargetConflict, Message: "it exists"}, t0)
	at := func() metav1.Condition {
		return *meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionPublished)
	}
	if got := at(); got.Status != metav1.ConditionFalse || got.Reason != v1alpha1.ReasonTargetConflict || got.Message != "it exists" || got.ObservedGeneration != 2 {
		t.Errorf("an obstacle is told as %+v", got)
	}
	SetPublished(&status, 2, nil, t0.Add(time.Minute))
	first := at()
	if first.Status != metav1.ConditionTrue || first.Reason != v1alpha1.ReasonPublished {
		t.Errorf("without one it is %+v", first)
	}
	SetPublished(&status, 2, nil, t0.Add(time.Hour))
	if diff := cmp.Diff(first, at()); diff != "" {
		t.Errorf("the condition changes by itself (-before +after):\n%s", diff)
	}
}
