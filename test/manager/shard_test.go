package manager_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// toShard labels objects, as a person would; an empty name takes the label away.
func (w *world) toShard(name string, objects ...client.Object) {
	w.t.Helper()
	value := any(name)
	if name == "" {
		value = nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{v1alpha1.ShardLabel: value}}})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, object := range objects {
		if err := api.Patch(w.t.Context(), object, client.RawPatch("application/merge-patch+json", patch)); err != nil {
			w.t.Fatalf("labelling %s: %v", object.GetName(), err)
		}
	}
}

// recorded reports whether a manager says that it recorded a phase of a payment.
func (m *manager) recorded(o order, phase v1alpha1.RecordPhase) bool {
	m.t.Helper()
	log, err := os.ReadFile(m.Log)
	if err != nil {
		m.t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		var entry struct{ Msg, Name, Phase string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "payment recorded" && entry.Name == o.object.GetName() && entry.Phase == string(phase) {
			return true
		}
	}
	return false
}

// TestShardedManagers runs a manager without a shard and one of the shard blue, which take the lead by Leases of their own. Each works on
// what is of its shard; a wallet, a payment in flight and an invoice that was deleted move from one to the other.
func TestShardedManagers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newService(t, sandbox.Documented))
	wallet := w.addWallet("main")
	plain := w.start()
	elected := []string{"--shard=blue", "--leader-elect=true", "--leader-lease-duration=4s", "--leader-renew-deadline=3s", "--leader-retry-period=1s"}
	blue := w.start(elected...)
	w.awaitReady("main")
	first := w.pay("main", "first", 1001)
	w.awaitPaid(first)
	if !plain.recorded(first, v1alpha1.RecordSucceeded) || blue.recorded(first, v1alpha1.RecordSucceeded) {
		t.Error("the payment of a wallet without a shard was made by the manager that has one")
	}
	var shops []*v1alpha1.LightningInvoice
	for _, name := range []string{"shop", "kiosk"} {
		shop := testkit.MakeLightningInvoice(name).Namespace(w.namespace).AmountSats(5000).Obj()
		w.create(shop)
		shops = append(shops, shop)
	}
	await(t, "the invoices are open", func() error {
		for _, shop := range shops {
			if w.get(shop); shop.Status.Phase != v1alpha1.InvoiceOpen {
				return fmt.Errorf("%s is %q", shop.Name, shop.Status.Phase)
			}
		}
		return nil
	})

	held := testkit.MakeLightningPayment("held").Namespace(w.namespace).MaxFeeSats(1000).Obj()
	text, key := w.supplierInvoice(1004)
	held.Spec.Invoice, held.Spec.Suspend = text, true
	w.create(held)
	await(t, "a payment is held", func() error {
		w.get(held)
		return because(held.Status.Conditions, metav1.ConditionUnknown, v1alpha1.ReasonSuspended)
	})

	// A payment that is in flight says what it waits for when its wallet goes, and succeeds where both are.
	hanging := w.pay("main", "hanging", 1002)
	if err := w.service.SetPayee(hanging.key, sandbox.PayeeHangs); err != nil {
		t.Fatal(err)
	}
	await(t, "the payment is in flight", func() error {
		if phase, why := w.phase(hanging); phase != v1alpha1.PaymentInFlight {
			return fmt.Errorf("it is %s, %s", phase, why)
		}
		return nil
	})
	w.toShard("blue", wallet)
	mismatch := func(object *v1alpha1.LightningPayment) func() error {
		return func() error {
			w.get(object)
			return because(object.Status.Conditions, metav1.ConditionUnknown, v1alpha1.ReasonShardMismatch)
		}
	}
	await(t, "the payment waits for its wallet's shard", mismatch(hanging.object.(*v1alpha1.LightningPayment)))
	await(t, "one that nothing asks to be looked at is told that its wallet went", mismatch(held))
	plain.stop() // from here on only blue works
	for i, shop := range shops {
		if err := api.Delete(t.Context(), shop); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			w.paidBy(shop)
		}
	}
	w.toShard("blue", hanging.object)
	if err := w.service.Resolve(hanging.key, true); err != nil {
		t.Fatal(err)
	}
	w.toShard("blue", held)
	if err := api.Patch(t.Context(), held, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"suspend":false}}`))); err != nil {
		t.Fatal(err)
	}
	w.awaitPaid(hanging, order{held, key})
	if !blue.recorded(hanging, v1alpha1.RecordSucceeded) {
		t.Error("the payment that moved to the shard was not followed by its manager")
	}
	if n := w.service.count(sandbox.PayEnd, w.wallet("main").Status.XpubVanilla); n != 3 {
		t.Errorf("three payments were ended %d times", n)
	}

	// What was deleted while no manager looked is looked for by the one to which its wallet comes, and by one of its shard that starts.
	w.toShard("", wallet)
	w.toShard("blue", wallet)
	await(t, "the manager to which the wallet came sees the receipt", func() error { return w.receipted(shops[0]) })
	blue.stop()
	w.paidBy(shops[1])
	blue = w.start(elected...)
	await(t, "the manager that starts sees the receipt", func() error { return w.receipted(shops[1]) })

	// All that is in a namespace moves by the commands of docs/scaling.md.
	label := func(want string, arguments ...string) {
		t.Helper()
		all := []string{"label", "uw,lninv,lnpay,ocsend,dep,settle,stmt", "--all", "-n", w.namespace}
		if _, err := kubectl.Run(t.Context(), nil, append(all, arguments...)...); err != nil {
			t.Fatal(err)
		}
		w.get(first.object)
		for _, object := range []client.Object{w.wallet("main"), first.object} {
			if got := object.GetLabels()[v1alpha1.ShardLabel]; got != want {
				t.Errorf("kubectl label leaves %s with %q, want %q", object.GetName(), got, want)
			}
		}
	}
	label("blue", "--overwrite", "payments.utexo.com/shard=blue")
	label("", "payments.utexo.com/shard-")

	// A payment of another shard than its wallet's is not made by anybody until it has the label that its status names.
	mislabelled := testkit.MakeLightningPayment("mislabelled").Namespace(w.namespace).Obj()
	text, key = w.supplierInvoice(1003)
	mislabelled.Spec.Invoice, mislabelled.Labels = text, map[string]string{v1alpha1.ShardLabel: "blue"}
	w.create(mislabelled)
	await(t, "the payment says which label it lacks", mismatch(mislabelled))
	plain = w.start()
	w.toShard("", mislabelled)
	last := order{mislabelled, key}
	w.awaitPaid(last)
	if !plain.recorded(last, v1alpha1.RecordSucceeded) || blue.recorded(last, v1alpha1.RecordClaimed) {
		t.Error("the payment was not made by the manager that works on its wallet")
	}
	var lease coordinationv1.Lease
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: testkit.OperatorNamespace, Name: "utexo-operator-blue"}, &lease); err != nil ||
		ptr.Deref(lease.Spec.HolderIdentity, "") == "" {
		t.Errorf("the leader of the shard is %v, %v", lease.Spec.HolderIdentity, err)
	}
}

// paidBy lets a customer pay an invoice.
func (w *world) paidBy(shop *v1alpha1.LightningInvoice) {
	w.t.Helper()
	if _, err := w.service.PayInvoice(shop.Status.PaymentRequest, false); err != nil {
		w.t.Fatal(err)
	}
}

// receipted returns an error until it is on record that the invoice of a LightningInvoice that is gone was paid.
func (w *world) receipted(shop *v1alpha1.LightningInvoice) error {
	w.t.Helper()
	record := &v1alpha1.PaymentRecord{ObjectMeta: metav1.ObjectMeta{Namespace: testkit.OperatorNamespace, Name: invoice.RecordName(string(shop.UID))}}
	w.get(record)
	if record.Journal.CompletedAt == nil || record.Journal.Reason != v1alpha1.EventUnattributedReceipt {
		return errors.New("its record does not say so")
	}
	return nil
}

// TestUnlabelledOnly starts a manager without a shard where all is labelled: it looks at nothing.
func TestUnlabelledOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newService(t, sandbox.Documented))
	labelled := w.addWallet("labelled")
	w.addWallet("mine")
	w.toShard("green", labelled)
	w.start()
	w.start("--shard=blue")
	w.awaitReady("mine")
	time.Sleep(2 * time.Second) // two looks at the wallet that is looked at
	if status := w.wallet("labelled").Status; len(status.Conditions) > 1 || status.XpubVanilla != "" {
		t.Errorf("a wallet of a shard that has no manager was looked at: %+v", status)
	}
}
