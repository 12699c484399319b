package controller_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// TestEverythingIsLostAndAppliedAgain sends bitcoin, loses the cluster with its records, and applies the same manifests to a new one, at
// a service that was restarted too.
func TestEverythingIsLostAndAppliedAgain(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run(string(profile), func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			address, err := w.sandbox.NewAddress()
			if err != nil {
				t.Fatal(err)
			}
			manifest := func() *v1alpha1.OnchainSend {
				return testkit.MakeOnchainSend("payroll").Namespace(w.namespace).Address(address).AmountSats(20000).
					ValidUntil(w.clock.Now().Add(24 * time.Hour)).Obj()
			}
			send := manifest()
			w.create(send)
			w.drive(send)
			if len(moved(w)) != 1 {
				t.Fatalf("moved %d times", len(moved(w)))
			}
			w.sandbox.Mine(1)

			w.namespace, w.operator = w.makeNamespace("team-"), w.makeNamespace("operator-")
			w.makeSecret("main", map[string]string{"mnemonic": mnemonic})
			wallet := testkit.MakeWallet("main").Namespace(w.namespace).URL(w.url).Obj()
			if profile == sandbox.Reference {
				wallet.Spec.Endpoint.Profile = v1alpha1.ProfileReference
			}
			w.create(wallet)
			w.sandbox.Restart()
			w.start()
			w.syncWallet()
			again := manifest()
			w.create(again)
			for range 5 {
				if _, err := w.reconcile(again); err != nil {
					t.Fatal(err)
				}
				w.clock.Step(time.Minute)
			}
			w.get(again)
			ready := meta.FindStatusCondition(again.Status.Conditions, v1alpha1.ConditionReady)
			if len(moved(w)) != 1 || again.Status.Phase != v1alpha1.PaymentPending || ready.Reason != v1alpha1.ReasonJournalLost {
				t.Errorf("moved %d times, %s %s: %s", len(moved(w)), again.Status.Phase, ready.Reason, ready.Message)
			}

			w.get(wallet)
			before := wallet.DeepCopy()
			wallet.Spec.AcknowledgedEpoch = wallet.Status.JournalEpoch
			if err := w.api.Patch(t.Context(), wallet, client.MergeFrom(before)); err != nil {
				t.Fatal(err)
			}
			w.syncWallet()
			w.drive(again)
			w.get(again)
			if again.Status.Phase != v1alpha1.PaymentSucceeded {
				t.Errorf("acknowledged, and yet %s", again.Status.Phase)
			}
		})
	}
}

// TestDeletedWithoutARecord deletes a Lightning payment under way whose record was lost. It stays until the service tells its outcome, and
// leaves a record of that.
func TestDeletedWithoutARecord(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		for name, tc := range map[string]struct {
			settles bool
			want    v1alpha1.RecordPhase
		}{
			"it is paid": {true, v1alpha1.RecordSucceeded}, "it fails": {false, v1alpha1.RecordFailed},
		} {
			t.Run(string(profile)+", "+name, func(t *testing.T) {
				w := newWorld(t, profile)
				w.syncWallet()
				if err := w.sandbox.SetPayee("", sandbox.PayeeHangs); err != nil {
					t.Fatal(err)
				}
				pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
				w.reach(pay, v1alpha1.ReasonInFlight)
				record := w.record(pay)
				w.delete(record)
				w.delete(pay)
				w.watch(pay, 20*time.Minute)
				if !w.exists(pay) {
					t.Fatal("it went, and is under way")
				}
				if err := w.sandbox.Resolve(record.Spec.PaymentHash, tc.settles); err != nil {
					t.Fatal(err)
				}
				w.watch(pay, 2*time.Hour)
				w.get(record)
				if w.exists(pay) || record.Journal.Phase != tc.want || w.ends() != 1 {
					t.Errorf("it is gone: %t, its record says %s after %d ends", !w.exists(pay), record.Journal.Phase, w.ends())
				}
			})
		}
	}
}
