package controller_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// toShard labels object; an empty name takes the label away. What the caller holds of it stays as it is, as a cache does.
func (w *world) toShard(object client.Object, name string) {
	w.t.Helper()
	copied := object.DeepCopyObject().(client.Object)
	w.change(copied, func() {
		set := labels.Set{v1alpha1.ShardLabel: name}
		if name == "" {
			set = nil
		}
		copied.SetLabels(set)
	})
}

// TestWhatIsOfAShard finds the kinds that name a Wallet: the caches must select each of them, and the Wallet, by its shard. Approvals are
// everybody's.
func TestWhatIsOfAShard(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	want := []string{"Wallet"}
	for kind, of := range scheme.KnownTypes(v1alpha1.GroupVersion) {
		spec, ok := of.FieldByName("Spec")
		if !ok {
			continue
		}
		if _, ok := spec.Type.FieldByName("WalletRef"); ok && kind != "PaymentApproval" && kind != "PaymentSignature" {
			want = append(want, kind)
		}
	}
	blue, none := labels.Set{v1alpha1.ShardLabel: "blue"}, labels.Set{"app": "shop"}
	var got []string
	for object, selected := range controller.Cached("blue") {
		got = append(got, reflect.TypeOf(object).Elem().Name())
		if !selected.Label.Matches(blue) || selected.Label.Matches(none) {
			t.Errorf("the cache of %T of the shard blue selects %s", object, selected.Label)
		}
	}
	for object, selected := range controller.Cached("") {
		if selected.Label.Matches(blue) || !selected.Label.Matches(none) {
			t.Errorf("the cache of %T without a shard selects %s", object, selected.Label)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kinds whose cache is of one shard (-want +got):\n%s", diff)
	}
}

// TestShardMismatch lets a resource of each kind wait for a wallet of another shard: nothing is asked for it, and it goes on once they agree.
func TestShardMismatch(t *testing.T) {
	kinds := map[string]struct {
		make func(w *world) client.Object
		// waiting and done are the phases of one that waits, and of one that went on.
		waiting string
		done    verdict
	}{
		"LightningPayment": {
			func(w *world) client.Object { return w.payment("rent", w.supplierInvoice(1000)).Obj() },
			"Pending",
			verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil},
		},
		"LightningPayment of a reference": {
			func(w *world) client.Object {
				w.create(w.configMap("supplier", "invoice", w.supplierInvoice(1000)))
				return testkit.MakeLightningPayment("rent").Namespace(w.namespace).InvoiceFromConfigMap("supplier", "invoice").MaxFeeSats(1000).Obj()
			},
			"Pending",
			verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil},
		},
		"OnchainSend": {
			func(w *world) client.Object { return w.send("payroll", 20_000).Obj() },
			"Pending",
			verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil},
		},
		"LightningInvoice": {
			func(w *world) client.Object { return w.invoice("shop").Obj() },
			"Pending",
			verdict{"Open", v1alpha1.ReasonOpen, nil},
		},
		"DepositAddress": {
			func(w *world) client.Object { return testkit.MakeDepositAddress(w.namespace, "counter") },
			"",
			verdict{"", v1alpha1.ReasonAddressIssued, nil},
		},
		"Settlement": {
			func(w *world) client.Object { return testkit.MakeSettlement(w.namespace, "monday") },
			"Pending",
			verdict{"Succeeded", v1alpha1.ReasonSettlementDone, nil},
		},
		"Statement": {
			func(w *world) client.Object {
				object := w.period("october")
				object.Spec.Source = v1alpha1.SourceRecords
				w.clock.Step(20 * time.Minute)
				return object
			},
			"",
			verdict{"", v1alpha1.ReasonStatementWritten, nil},
		},
	}
	disagreements := map[string]struct {
		user, wallet string
		says         []string
	}{
		"only the wallet is of a shard":   {"", "blue", []string{"this resource has no label", "Wallet main has payments.utexo.com/shard=blue", "label this resource payments.utexo.com/shard=blue"}},
		"only the resource is of a shard": {"blue", "", []string{"this resource has payments.utexo.com/shard=blue", "Wallet main has no label", "remove the label from this resource"}},
		"they are of two":                 {"blue", "green", []string{"this resource has payments.utexo.com/shard=blue", "label this resource payments.utexo.com/shard=green"}},
	}
	for kind, tc := range kinds {
		for name, d := range disagreements {
			t.Run(kind+": "+name, func(t *testing.T) {
				t.Parallel()
				w := funded(t)
				w.toShard(w.wallet("main"), d.wallet)
				object := made(w, tc.make(w))
				w.toShard(object, d.user)
				asked := len(w.sandbox.Requests())
				w.pass(object)
				w.want(object, verdict{tc.waiting, v1alpha1.ReasonShardMismatch, d.says})
				if after := w.pass(object); after != 0 && kind != "DepositAddress" { // the watch of the one that comes tells
					t.Errorf("it is looked at again after %v", after)
				}
				if calls := len(w.sandbox.Requests()) - asked; calls > 0 {
					t.Errorf("the service was asked %d times", calls)
				}
				if records := w.published(); len(records) > 0 {
					t.Errorf("%d invoices are on record", len(records))
				}
				w.toShard(object, d.wallet)
				w.syncWallet()
				w.reach(object, tc.done.reason)
				w.want(object, tc.done)
			})
		}
	}
}

// TestMovedWhileInFlight moves the wallet of a payment that the service has not finished: the payment says so, stays in flight, and is
// followed on where they are of one shard again.
func TestMovedWhileInFlight(t *testing.T) {
	eachScenario(t, func(t *testing.T, s scenario) {
		w := newWorld(t, s.profile)
		w.syncWallet()
		w.hang()
		object := made(w, s.make(w))
		w.reach(object, v1alpha1.ReasonInFlight)
		w.toShard(w.wallet("main"), "blue")
		w.pass(object)
		w.want(object, verdict{"InFlight", v1alpha1.ReasonShardMismatch, []string{"payments.utexo.com/shard=blue"}})
		w.start() // the manager of the other shard, which knows nothing yet
		w.toShard(object, "blue")
		w.pass(object)
		w.want(object, verdict{"InFlight", v1alpha1.ReasonInFlight, nil})
		w.release(object)
		w.rest(object)
		w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
		if w.ends() != 1 {
			t.Errorf("%d calls that move money", w.ends())
		}
	})
}

// TestMovedAtTheLastMoment moves a payment, its wallet, or both, between begin and end: whose they are now goes on.
func TestMovedAtTheLastMoment(t *testing.T) {
	eachScenario(t, func(t *testing.T, s scenario) {
		for name, moved := range map[string]func(w *world, object client.Object){
			"the payment": func(w *world, object client.Object) { w.toShard(object, "blue") },
			"the wallet":  func(w *world, _ client.Object) { w.toShard(w.wallet("main"), "blue") },
			"both": func(w *world, object client.Object) {
				w.toShard(w.wallet("main"), "blue")
				w.toShard(object, "blue")
			},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, s.profile)
				w.syncWallet()
				object := made(w, s.make(w))
				w.atPermission(func() { moved(w, object) })
				w.pass(object)
				w.boundary = nil
				w.paid(0)
				if w.ends() != 0 {
					t.Errorf("%d calls that move money", w.ends())
				}
				w.toShard(w.wallet("main"), "blue")
				w.toShard(object, "blue")
				w.start()
				w.syncWallet()
				w.rest(object)
				w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
				w.paid(1)
				if w.ends() != 1 {
					t.Errorf("%d calls that move money", w.ends())
				}
			})
		}
	})
}

// TestSettlementMovedAtTheLastMoment moves a Settlement, or its wallet, after it was claimed: the manager that began does not ask.
func TestSettlementMovedAtTheLastMoment(t *testing.T) {
	for name, moved := range map[string]func(w *world, object client.Object){
		"the settlement": func(w *world, object client.Object) { w.toShard(object, "blue") },
		"the wallet":     func(w *world, _ client.Object) { w.toShard(w.wallet("main"), "blue") },
	} {
		t.Run(name, func(t *testing.T) {
			w := funded(t)
			object := made(w, testkit.MakeSettlement(w.namespace, "monday"))
			w.at("K create PaymentRecord", true, func() { moved(w, object) })
			w.pass(object)
			w.boundary = nil
			if calls := w.called(sandbox.Settle); calls != 0 {
				t.Errorf("the service was asked %d times", calls)
			}
			w.toShard(w.wallet("main"), "blue")
			w.toShard(object, "blue")
			w.syncWallet()
			w.reach(object, v1alpha1.ReasonSettlementDone)
			if calls := w.called(sandbox.Settle); calls != 1 {
				t.Errorf("the service was asked %d times", calls)
			}
		})
	}
}

// TestStatementOfAWalletThatMoves writes a document while a payment has not followed its Wallet yet, so that the cache of the manager that
// writes it does not hold the payment: the document tells of its revision all the same, since it never changes.
func TestStatementOfAWalletThatMoves(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	left := made(w, w.payment("rent", w.supplierInvoice(1001)).Annotation(v1alpha1.RevisionAnnotation, "main@sha1:0a1b").Obj())
	w.rest(left)
	w.clock.Step(time.Second)
	object := made(w, w.period("october"))
	w.toShard(w.wallet("main"), "blue")
	w.toShard(object, "blue")
	w.kube = func(call kubeCall) error {
		if list, ok := call.object.(client.ObjectList); ok && call.cached && !strings.Contains(kindOf(list), "PaymentRecord") {
			return nil // nothing of another shard
		}
		return call.do()
	}
	w.rest(object)
	w.want(object, verdict{reason: v1alpha1.ReasonStatementWritten})
	if rows := w.documents(object); len(rows) != 1 || len(rows[0]) != 1 || rows[0][0]["revision"] != "main@sha1:0a1b" {
		t.Errorf("the statement says %v", rows)
	}
}

// TestMovedAwayIsNotObserved moves an open invoice and a payment in flight, with their wallet, to another shard: the manager that they left
// asks the service nothing more.
func TestMovedAwayIsNotObserved(t *testing.T) {
	w := newObserved(t, true)
	shop := w.invoices(1)[0]
	w.hang()
	pay := made(w.world, w.payment("rent", w.supplierInvoice(5000)).Obj())
	w.add(observer.Payment, pay)
	w.run(10 * time.Minute)
	w.want(shop, verdict{"Open", v1alpha1.ReasonOpen, nil})
	w.want(pay, verdict{"InFlight", v1alpha1.ReasonInFlight, nil})

	w.toShard(w.wallet("main"), "blue")
	w.run(time.Minute) // nobody was told yet, and both are looked at when their time comes
	w.kube = func(call kubeCall) error {
		if call.cached && call.verb == "get" {
			return apierrors.NewNotFound(schema.GroupResource{}, call.key.Name)
		}
		return call.do()
	}
	w.add(observer.Invoice, shop) // as the watch tells that they are gone
	w.add(observer.Payment, pay)
	w.run(time.Minute)
	asked := len(w.sandbox.Requests())
	w.run(2 * time.Hour)
	if calls := len(w.sandbox.Requests()) - asked; calls > 0 {
		t.Errorf("the service was asked %d times", calls)
	}
}
