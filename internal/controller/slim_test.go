package controller_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/testkit"
)

func TestSlim(t *testing.T) {
	made := func(annotations map[string]string) *v1alpha1.LightningPayment {
		return &v1alpha1.LightningPayment{
			ObjectMeta: metav1.ObjectMeta{Name: "rent", Annotations: annotations},
			Status:     v1alpha1.LightningPaymentStatus{Phase: v1alpha1.PaymentInFlight},
		}
	}
	for name, tc := range map[string]struct{ annotations, want map[string]string }{
		"applied by kubectl":    {map[string]string{corev1.LastAppliedConfigAnnotation: "{}"}, nil},
		"and annotated":         {map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "author": "alice"}, map[string]string{"author": "alice"}},
		"created":               {nil, nil},
		"created and annotated": {map[string]string{"author": "alice"}, map[string]string{"author": "alice"}},
	} {
		t.Run(name, func(t *testing.T) {
			object := made(tc.annotations)
			object.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
			got, err := controller.Slim(object)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(made(tc.want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	signature := testkit.MakePaymentSignature(v1alpha1.PaymentReference{Kind: "OnchainSend", Name: "payroll", UID: "1"}, 2, "cHNidP8=")
	want := signature.DeepCopy()
	want.Spec.PSBT = ""
	if got, err := controller.Slim(signature); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("a signature became %v, %v", got, err)
	}
	tombstone := toolscache.DeletedFinalStateUnknown{Key: "team/rent"}
	if got, err := controller.Slim(tombstone); err != nil || got != tombstone {
		t.Errorf("a tombstone became %v, %v", got, err)
	}
}

// TestSlimFinished holds that of a finished resource a cache keeps what the passes over it need, and of any other all that it says.
func TestSlimFinished(t *testing.T) {
	meta := metav1.ObjectMeta{
		Namespace: "team", Name: "rent", UID: "1", ResourceVersion: "7", Generation: 2, CreationTimestamp: metav1.Unix(1_700_000_000, 0),
		Labels: map[string]string{"app": "shop"}, Annotations: map[string]string{"author": "alice"}, GenerateName: "rent-",
	}
	bare := metav1.ObjectMeta{Namespace: "team", Name: "rent", UID: "1", ResourceVersion: "7", Generation: 2, CreationTimestamp: meta.CreationTimestamp}
	wallet, ttl, ended := v1alpha1.WalletReference{Name: "main", Namespace: "treasury"}, new(int32(60)), new(metav1.Unix(1_700_000_100, 0))
	said := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Succeeded", Message: "paid"}}
	kept := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}
	payment := func(change func(*v1alpha1.LightningPayment)) client.Object {
		o := &v1alpha1.LightningPayment{
			ObjectMeta: *meta.DeepCopy(),
			Spec:       v1alpha1.LightningPaymentSpec{WalletRef: wallet, Invoice: "lnbcrt1", TTLSecondsAfterFinished: ttl},
			Status: v1alpha1.LightningPaymentStatus{
				ObservedGeneration: 2, Phase: v1alpha1.PaymentSucceeded, PaymentHash: "ab", RecordRef: "ln-ab", CompletedAt: ended, Conditions: said,
			},
		}
		change(o)
		return o
	}
	invoice := func(change func(*v1alpha1.LightningInvoice)) client.Object {
		o := &v1alpha1.LightningInvoice{
			ObjectMeta: *meta.DeepCopy(),
			Spec:       v1alpha1.LightningInvoiceSpec{WalletRef: wallet, ExpirySeconds: 60, TTLSecondsAfterFinished: ttl},
			Status: v1alpha1.LightningInvoiceStatus{
				ObservedGeneration: 2, Phase: v1alpha1.InvoiceSettled, PaymentRequest: "lnbcrt1", SettledAt: ended, Conditions: said,
			},
		}
		change(o)
		return o
	}
	for name, tc := range map[string]struct {
		object client.Object
		// want is nil where nothing may be taken.
		want client.Object
	}{
		"a payment that succeeded": {payment(func(*v1alpha1.LightningPayment) {}), &v1alpha1.LightningPayment{
			ObjectMeta: bare, Spec: v1alpha1.LightningPaymentSpec{WalletRef: wallet, TTLSecondsAfterFinished: ttl},
			Status: v1alpha1.LightningPaymentStatus{ObservedGeneration: 2, Phase: v1alpha1.PaymentSucceeded, CompletedAt: ended, Conditions: kept},
		}},
		"a send that succeeded": {&v1alpha1.OnchainSend{
			ObjectMeta: *meta.DeepCopy(), Spec: v1alpha1.OnchainSendSpec{WalletRef: wallet, AmountSats: new(int64(5)), TTLSecondsAfterFinished: ttl},
			Status: v1alpha1.OnchainSendStatus{ObservedGeneration: 2, Phase: v1alpha1.PaymentSucceeded, Txid: "ab", CompletedAt: ended, Conditions: said},
		}, &v1alpha1.OnchainSend{
			ObjectMeta: bare, Spec: v1alpha1.OnchainSendSpec{WalletRef: wallet, TTLSecondsAfterFinished: ttl},
			Status: v1alpha1.OnchainSendStatus{ObservedGeneration: 2, Phase: v1alpha1.PaymentSucceeded, CompletedAt: ended, Conditions: kept},
		}},
		"an invoice that was settled": {invoice(func(*v1alpha1.LightningInvoice) {}), &v1alpha1.LightningInvoice{
			ObjectMeta: bare, Spec: v1alpha1.LightningInvoiceSpec{WalletRef: wallet, TTLSecondsAfterFinished: ttl},
			Status: v1alpha1.LightningInvoiceStatus{ObservedGeneration: 2, Phase: v1alpha1.InvoiceSettled, SettledAt: ended, Conditions: kept},
		}},
		"a payment that was edited since": {object: payment(func(o *v1alpha1.LightningPayment) { o.Generation++ })},
		"a payment with its finalizer": {object: payment(func(o *v1alpha1.LightningPayment) {
			o.Finalizers = []string{v1alpha1.Finalizer}
		})},
		"a payment that failed": {object: payment(func(o *v1alpha1.LightningPayment) { o.Status.Phase = v1alpha1.PaymentFailed })},
		"a payment whose outcome is unknown": {object: payment(func(o *v1alpha1.LightningPayment) {
			o.Status.Phase = v1alpha1.PaymentUnknown
		})},
		"an invoice that expired":         {object: invoice(func(o *v1alpha1.LightningInvoice) { o.Status.Phase = v1alpha1.InvoiceExpired })},
		"an invoice that was edited":      {object: invoice(func(o *v1alpha1.LightningInvoice) { o.Generation++ })},
		"an invoice that left others":     {object: invoice(func(o *v1alpha1.LightningInvoice) { o.Status.Renewals = 1 })},
		"an invoice that is published on": {object: invoice(func(o *v1alpha1.LightningInvoice) { o.Spec.PublishTo = &v1alpha1.InvoiceTarget{} })},
	} {
		t.Run(name, func(t *testing.T) {
			want := tc.want
			if want == nil {
				want = tc.object.DeepCopyObject().(client.Object)
			}
			got, err := controller.Slim(tc.object)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
