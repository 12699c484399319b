package controller_test

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// TestRetention lets the record of a payment go that cannot be made any more, and declares the payment again: nothing begins, at a service
// that remembers it and at one that does not.
func TestRetention(t *testing.T) {
	for name, forgets := range map[string]bool{"the service remembers": false, "the service forgets": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
			w.rest(pay)
			send := made(w, w.send("payroll", 20000).Obj())
			w.rest(send)
			record, kept := w.record(pay), w.record(send)
			w.delete(send)
			w.pass(send)
			sweep := func(want int) {
				t.Helper()
				if gone, err := w.controllers.Retention(payment.MinRetention).Sweep(t.Context()); gone != want || err != nil {
					t.Fatalf("%d records are deleted, want %d: %v", gone, want, err)
				}
			}
			sweep(0)
			w.clock.Step(payment.MinRetention + 24*time.Hour)
			sweep(0) // its resource is there
			w.delete(pay)
			w.pass(pay)
			sweep(1)
			sweep(0)
			if w.exists(record) || !w.exists(kept) {
				t.Fatalf("the record of the payment is there: %t, of the send: %t", w.exists(record), w.exists(kept))
			}

			calls := w.ends()
			begins := w.called(sandbox.PayBegin)
			want := v1alpha1.PaymentSucceeded
			if forgets {
				want = v1alpha1.PaymentFailed
				for _, operation := range []sandbox.Operation{sandbox.SendRequest, sandbox.ListPayments} {
					w.fault(sandbox.Fault{Kind: sandbox.FaultLie, Claim: sandbox.ClaimAbsent, Operation: operation, Count: -1})
				}
			}
			w.syncWallet()
			w.recreate(pay)
			w.rest(pay)
			if w.get(pay); phaseOf(pay) != want {
				t.Errorf("declared again it is %s, want %s: %s", phaseOf(pay), want, w.ready(pay).Message)
			}
			if w.ends() != calls || w.called(sandbox.PayBegin) != begins {
				t.Error("declared again it begins")
			}
			w.quiet(pay)
		})
	}
}

// TestRetentionKeepsWhatChanges has somebody write to a record between the look at it and its deletion.
func TestRetentionKeepsWhatChanges(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
	w.rest(pay)
	record := w.record(pay)
	w.delete(pay)
	w.pass(pay)
	w.clock.Step(payment.MinRetention + 24*time.Hour)
	w.boundary = func(call string, after bool) error {
		if !after && call == "K delete PaymentRecord" {
			w.boundary = nil
			changed := record.DeepCopy()
			changed.Journal.Message = "somebody was here"
			if err := w.api.Patch(t.Context(), changed, client.MergeFrom(record)); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	if _, err := w.controllers.Retention(payment.MinRetention).Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if w.boundary != nil || !w.exists(record) {
		t.Error("a record that somebody wrote to is deleted")
	}
}
