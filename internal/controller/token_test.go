package controller_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// TestKeysAreNoToken has the mnemonic of a wallet named as the token for a service.
func TestKeysAreNoToken(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	wallet := testkit.MakeWallet("thief").Namespace(w.namespace).URL(w.url).KeysFrom("main").Token("main", "mnemonic").Obj()
	w.create(wallet)
	if _, err := w.reconcile(&v1alpha1.Wallet{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "thief"}}); err != nil {
		t.Fatal(err)
	}
	w.get(wallet)
	ready := wallet.Status.Conditions[0]
	if calls := w.sandbox.Requests(); len(calls) != 0 || ready.Reason != v1alpha1.ReasonInvalidEndpoint || strings.Contains(ready.Message, "split") {
		t.Errorf("%d calls of the service, %s: %s", len(calls), ready.Reason, ready.Message)
	}
}

// TestKeysAreNoInvoice has the mnemonic of a wallet named as the invoice to pay: it is neither recorded nor shown.
func TestKeysAreNoInvoice(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	pay := made(w, testkit.MakeLightningPayment("thief").Namespace(w.namespace).InvoiceFromSecret("main", "mnemonic").Obj())
	w.pass(pay)
	w.want(pay, verdict{"Pending", v1alpha1.ReasonReferenceNotFound, []string{"key mnemonic of Secret main", "no BOLT11"}})
	words, shown := strings.Fields(mnemonic), w.everything()+strings.Join(w.emitted(), " ")
	for i := range words[1:] {
		if part := words[i] + " " + words[i+1]; strings.Contains(shown, part) {
			t.Errorf("a part of the mnemonic is shown: %s", part)
		}
	}
}
