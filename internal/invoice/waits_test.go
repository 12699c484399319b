package invoice

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
)

// TestWaits decides on invoices of which something else tells news. An invoice that waits is left as its status shows it, and is not
// looked at.
func TestWaits(t *testing.T) {
	type verdict struct {
		Step   Step
		Phase  v1alpha1.InvoicePhase
		LookBy time.Duration
	}
	// shown is what a resource shows after a look of that outcome at an instant.
	shown := func(t *testing.T, renewal v1alpha1.InvoiceRenewal, seen Seen, at time.Time) Facts {
		f := makeFacts(t, "", true)
		f.Invoice.Spec.Renewal = renewal
		f.Sighting = &seen
		f.Invoice.Status = Decide(f, at).Status
		f.Sighting = nil
		return f
	}
	expires := shown(t, v1alpha1.RenewNever, Open, t0).Invoice.Status.ExpiresAt.Time
	const look = Observe
	for name, tc := range map[string]struct {
		renewal v1alpha1.InvoiceRenewal
		seen    Seen
		at, now time.Time
		change  func(*Facts)
		want    verdict
	}{
		"payable": {
			"", Open, t0, t0.Add(time.Minute), nil, verdict{Rest, v1alpha1.InvoiceOpen, expires.Sub(t0) - time.Minute + time.Second},
		},
		"payable, and the service lost its id": {
			"", Lost, t0, t0.Add(time.Minute), nil, verdict{Rest, v1alpha1.InvoiceOpen, expires.Sub(t0) - time.Minute + time.Second},
		},
		"payable until now": {"", Open, t0, expires, nil, verdict{look, v1alpha1.InvoiceOpen, 0}},
		"expired and watched": {
			"", Expired, expires, expires.Add(time.Hour), nil, verdict{Rest, v1alpha1.InvoiceExpired, LateSettlement - time.Hour},
		},
		"expired, and to be renewed": {v1alpha1.RenewOnExpiry, NoAnswer, expires, expires.Add(time.Minute), nil, verdict{look, v1alpha1.InvoiceRenewing, 0}},
		"failed and watched": {
			"", Failed, t0, t0.Add(time.Minute), nil, verdict{Rest, v1alpha1.InvoiceFailed, expires.Sub(t0) - time.Minute + time.Second},
		},
		"released": {"", Open, t0, t0.Add(time.Minute), func(f *Facts) { f.Waits = false }, verdict{look, v1alpha1.InvoiceOpen, 0}},
		"its status was lost": {
			"", Open, t0, t0.Add(time.Minute), func(f *Facts) { f.Invoice.Status = v1alpha1.LightningInvoiceStatus{} }, verdict{look, "", 0},
		},
		"its status still tells of a wallet that could not be used": {
			"", Open, t0, t0.Add(time.Minute), func(f *Facts) {
				f.Waiting = &payment.Obstacle{Reason: v1alpha1.ReasonWalletNotReady, Message: "no Secret"}
				f.Invoice.Status, f.Waiting = Decide(*f, t0).Status, nil
			}, verdict{look, v1alpha1.InvoiceOpen, 0},
		},
		"the wallet cannot be used": {
			"", Open, t0, t0.Add(time.Minute), func(f *Facts) {
				f.Waiting = &payment.Obstacle{Reason: v1alpha1.ReasonWalletNotReady, Message: "no Secret"}
			}, verdict{Rest, v1alpha1.InvoiceOpen, 0},
		},
		"an earlier one may still be paid for a minute": {
			v1alpha1.RenewOnExpiry, Open, t0, t0.Add(time.Minute), earlier(t0.Add(2*time.Minute - LateSettlement)), verdict{Rest, v1alpha1.InvoiceOpen, time.Minute},
		},
		"an earlier one can no longer be paid": {
			v1alpha1.RenewOnExpiry, Open, t0, t0.Add(time.Minute), earlier(t0.Add(-LateSettlement)), verdict{look, v1alpha1.InvoiceOpen, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := shown(t, tc.renewal, tc.seen, tc.at)
			f.Waits = true
			if tc.change != nil {
				tc.change(&f)
			}
			before := f.Invoice.Status.DeepCopy()
			got := Decide(f, tc.now)
			if diff := cmp.Diff(tc.want, verdict{got.Step, got.Status.Phase, got.LookBy}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			before.ObservedGeneration = f.Invoice.Generation
			if waits := got.Step == Rest && f.Waiting == nil; waits && !cmp.Equal(before, &got.Status) {
				t.Errorf("it waits, and its status changes:\n%s", cmp.Diff(before, &got.Status))
			}
		})
	}
}

// earlier adds an invoice before the one that is shown, which expired then.
func earlier(expired time.Time) func(*Facts) {
	return func(f *Facts) {
		at := metav1.NewTime(expired)
		f.Renewal, f.Invoice.Status.Renewals = 1, 1
		f.Invoice.Status.History = []v1alpha1.InvoiceGeneration{{Renewal: 0, PaymentHash: "00", ExpiresAt: &at, Outcome: v1alpha1.OutcomeWatched}}
	}
}
