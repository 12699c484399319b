package controller_test

import (
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/record"
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

// TestRetentionOfMany deletes more records than the API server gives at once, each page before the next is read, although the API server
// forgets what it began to list.
func TestRetentionOfMany(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
	w.rest(pay)
	first := w.record(pay)
	w.delete(pay)
	w.pass(pay)
	const more = 600
	for i := range more {
		record := &v1alpha1.PaymentRecord{Spec: *first.Spec.DeepCopy(), Journal: *first.Journal.DeepCopy()}
		record.Namespace, record.Name, record.Labels = first.Namespace, fmt.Sprint("ln-", i), first.Labels
		record.Spec.PaymentHash = fmt.Sprintf("%064x", i)
		w.create(record)
	}
	w.clock.Step(payment.MinRetention + 24*time.Hour)
	deleted, pages, next := 0, 0, ""
	w.kube = func(call kubeCall) error {
		list, isList := call.object.(*v1alpha1.PaymentRecordList)
		switch {
		case call.verb == "delete":
			deleted++
		case isList && next != "":
			if deleted == 0 {
				t.Error("the second page is read before anything of the first is deleted")
			}
			expired := apierrors.NewResourceExpired("the list is too old")
			expired.ErrStatus.Continue, next = next, ""
			return expired
		case isList:
			err := call.do()
			if pages++; pages == 1 {
				// What the API server says in that case is a place in what is there now, which is something else.
				w.create(w.configMap("news", "key", "value"))
				var again v1alpha1.PaymentRecordList
				if err := w.api.List(t.Context(), &again, client.InNamespace(w.operator), client.Limit(500),
					client.MatchingLabels{record.LabelKind: string(v1alpha1.RecordLightningPayment)}); err != nil {
					t.Fatal(err)
				}
				next = again.Continue
			}
			if len(list.Items) > 500 {
				t.Errorf("%d records are read at once", len(list.Items))
			}
			return err
		}
		return call.do()
	}
	gone, err := w.controllers.Retention(payment.MinRetention).Sweep(t.Context())
	if gone != more+1 || deleted != gone || pages != 2 || err != nil {
		t.Errorf("%d records are deleted by %d calls, in %d pages: %v", gone, deleted, pages, err)
	}
}
