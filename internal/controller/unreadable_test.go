package controller_test

import (
	"testing"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// TestUnreadableManifest lets an operator that reads more strictly find a payment which an earlier one made: what was paid stays paid,
// and what was never claimed is refused.
func TestUnreadableManifest(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	paid := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
	w.rest(paid)
	record := w.record(paid)

	unreadable := made(w, w.payment("unreadable", "lnbcrt50u1unreadable").Obj())
	record.Journal.Holder.UID = string(unreadable.UID)
	if err := w.api.Update(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	unreadable.Status.RecordRef = record.Name
	if err := w.api.Status().Update(t.Context(), unreadable); err != nil {
		t.Fatal(err)
	}
	w.rest(unreadable)
	w.want(unreadable, verdict{phase: "Succeeded", reason: v1alpha1.ReasonSucceeded})

	other := made(w, w.payment("other", "lnbcrt50u1unreadable").Obj())
	other.Status.RecordRef = record.Name // of another resource
	if err := w.api.Status().Update(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	w.rest(other)
	w.want(other, verdict{phase: "Failed", reason: v1alpha1.ReasonInvalidInvoice})
	w.paid(1)
}
