package controller_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// TestDeletedInvoiceIsPaid deletes a LightningInvoice whose BOLT11 the payer already has.
func TestDeletedInvoiceIsPaid(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	object := testkit.MakeLightningInvoice("shop").Namespace(w.namespace).AmountSats(1000).Obj()
	w.create(object)
	if _, err := w.reconcile(object); err != nil {
		t.Fatal(err)
	}
	w.get(object)
	receipt := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: w.operator, Name: invoice.RecordName(string(object.UID))}}
	look := func(want time.Duration) {
		t.Helper()
		result, err := w.controllers.Receipt.Reconcile(t.Context(), receipt)
		if err != nil || result.RequeueAfter != want {
			t.Fatalf("got %v, %v, want to look again after %v", result.RequeueAfter, err, want)
		}
	}
	told := func() (count int) {
		for _, event := range w.emitted() {
			if strings.Contains(event, v1alpha1.EventUnattributedReceipt) {
				count++
			}
		}
		return count
	}

	look(0) // while the resource is there it is the resource's own business
	if err := w.api.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	look(time.Minute)
	if _, err := w.sandbox.PayInvoice(object.Status.PaymentRequest, false); err != nil {
		t.Fatal(err)
	}
	w.clock.Step(time.Minute)
	look(0)
	if count := told(); count != 1 {
		t.Errorf("told %d times of the receipt", count)
	}
	w.start() // a new process looks at all records again
	names, err := w.controllers.Spender.Records.PublishedInvoices(t.Context(), "", func(*v1alpha1.PaymentRecord) bool { return true })
	if err != nil || len(names) != 1 || names[0] != receipt.Name {
		t.Errorf("published invoices on record: %v, %v", names, err)
	}
	look(0)
	if count := told(); count != 0 {
		t.Errorf("told again %d times", count)
	}
}

// TestDeletedInvoiceThatNobodyPays is watched until it cannot be paid any more.
func TestDeletedInvoiceThatNobodyPays(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	object := testkit.MakeLightningInvoice("shop").Namespace(w.namespace).AmountSats(1000).Obj()
	w.create(object)
	if _, err := w.reconcile(object); err != nil {
		t.Fatal(err)
	}
	w.get(object)
	if err := w.api.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: w.operator, Name: invoice.RecordName(string(object.UID))}}
	end := object.Status.ExpiresAt.Add(invoice.LateSettlement)
	for {
		result, err := w.controllers.Receipt.Reconcile(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if result.RequeueAfter == 0 {
			break
		}
		w.clock.Step(10 * result.RequeueAfter)
	}
	if now := w.clock.Now(); now.Before(end) || now.After(end.Add(15*time.Minute)) {
		t.Errorf("watched until %v, it can be paid until %v", now, end)
	}
}
