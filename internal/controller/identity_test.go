package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// eachScenario runs a case for both kinds of payment at both kinds of service.
func eachScenario(t *testing.T, run func(t *testing.T, s scenario)) {
	t.Helper()
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) { run(t, s) })
	}
}

// succeeded makes a payment and lets it succeed.
func (w *world) succeeded(s scenario) client.Object {
	w.t.Helper()
	object := made(w, s.make(w))
	w.rest(object)
	w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	w.paid(1)
	return object
}

// again is what is like object and was not created yet, under another name.
func again(object client.Object, namespace, name string) client.Object {
	copied := object.DeepCopyObject().(client.Object)
	copied.SetNamespace(namespace)
	copied.SetName(name)
	copied.SetUID("")
	copied.SetResourceVersion("")
	copied.SetFinalizers(nil)
	return copied
}

// TestOneInvoiceInTwoResources pays a BOLT11 once, whoever else declares it.
func TestOneInvoiceInTwoResources(t *testing.T) {
	cases := map[string]struct {
		// second declares the same BOLT11 again.
		second func(w *world, invoice string) client.Object
	}{
		"in the same namespace": {
			second: func(w *world, invoice string) client.Object { return made(w, w.payment("again", invoice).Obj()) },
		},
		"in capitals": {
			second: func(w *world, invoice string) client.Object {
				return made(w, w.payment("again", strings.ToUpper(invoice)).Obj())
			},
		},
		"in another namespace, from a wallet of the same keys": {
			second: func(w *world, invoice string) client.Object { return w.elsewhere(mnemonic, invoice) },
		},
		"in another namespace, from another wallet": {
			second: func(w *world, invoice string) client.Object {
				return w.elsewhere("abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about", invoice)
			},
		},
	}
	for name, tc := range cases {
		t.Run(name+", after it was paid", func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			invoice := w.supplierInvoice(5000)
			first := made(w, w.payment("rent", invoice).Obj())
			w.rest(first)
			second := tc.second(w, invoice)
			w.rest(second)
			w.want(second, verdict{"Failed", v1alpha1.ReasonDuplicatePayment, []string{
				"LightningPayment " + w.namespace + "/rent", "nothing was sent by this resource", "another invoice",
			}})
			w.paid(1)
			w.quiet(second)
			w.delete(second)
			if w.exists(second) {
				t.Error("the duplicate cannot be deleted")
			}
			w.want(first, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		})
		t.Run(name+", while it is under way", func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			invoice := w.supplierInvoice(5000)
			if err := w.sandbox.SetPayee("", sandbox.PayeeHangs); err != nil {
				t.Fatal(err)
			}
			first := made(w, w.payment("rent", invoice).Obj())
			w.reach(first, v1alpha1.ReasonInFlight)
			second := tc.second(w, invoice)
			w.rest(second)
			w.want(second, verdict{"Failed", v1alpha1.ReasonDuplicatePayment, []string{w.namespace + "/rent"}})
			if err := w.sandbox.Resolve(w.hashOf(invoice), true); err != nil {
				t.Fatal(err)
			}
			w.rest(first)
			w.want(first, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(1)
		})
		t.Run(name+", pass by pass", func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			invoice := w.supplierInvoice(5000)
			both := []client.Object{made(w, w.payment("rent", invoice).Obj()), tc.second(w, invoice)}
			for range 20 {
				for _, object := range both {
					w.pass(object)
				}
				w.clock.Step(2 * time.Second)
			}
			w.paid(1)
			phases := []string{phase(both[0]), phase(both[1])}
			if slices.Sort(phases); !slices.Equal(phases, []string{"Failed", "Succeeded"}) {
				t.Errorf("the two are %v", phases)
			}
			if w.ends() != 1 {
				t.Errorf("%d calls that move money", w.ends())
			}
		})
	}
}

// elsewhere declares a payment of invoice in a namespace of its own, with a Wallet main of other keys, or the same.
func (w *world) elsewhere(words, invoice string) client.Object {
	w.t.Helper()
	home := w.namespace
	w.namespace = w.makeNamespace("other-team-")
	w.makeSecret("main", map[string]string{"mnemonic": words})
	w.create(testkit.MakeWallet("main").Namespace(w.namespace).URL(w.url).Obj())
	w.syncWallet()
	object := made(w, w.payment("rent", invoice).Obj())
	w.namespace = home
	return object
}

// TestCreatedAgain deletes a payment and creates it again, as Argo CD's Replace does.
func TestCreatedAgain(t *testing.T) {
	eachScenario(t, func(t *testing.T, s scenario) {
		w := newWorld(t, s.profile)
		w.syncWallet()
		object := w.succeeded(s)
		before := w.ends()
		w.delete(object)
		if w.exists(object) {
			t.Fatal("a payment that succeeded cannot be deleted")
		}
		w.recreate(object)
		w.rest(object)
		w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
		if w.ends() != before {
			t.Errorf("%d new calls that move money", w.ends()-before)
		}
		w.quiet(object)
	})
}

// TestStrippedPayments loses the status in every phase: it is rebuilt from the record.
func TestStrippedPayments(t *testing.T) {
	eachScenario(t, func(t *testing.T, s scenario) {
		t.Run("Succeeded", func(t *testing.T) {
			w := newWorld(t, s.profile)
			w.syncWallet()
			object := w.succeeded(s)
			before, sent := statusOf(object), w.ends()
			w.strip(object)
			w.rest(object)
			w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			if after := statusOf(object); after != before {
				t.Errorf("the status was\n%s\nand is\n%s", before, after)
			}
			w.paid(1)
			if w.ends() != sent {
				t.Errorf("%d new calls that move money", w.ends()-sent)
			}
		})
		t.Run("after each call", func(t *testing.T) {
			w := newWorld(t, s.profile)
			w.syncWallet()
			object := made(w, s.make(w))
			stripped := false
			w.boundary = func(call string, after bool) error {
				if after && strings.HasPrefix(call, "K patch status") && !stripped {
					stripped = true
					copied := object.DeepCopyObject().(client.Object)
					w.strip(copied)
					stripped = false
				}
				return nil
			}
			for range 40 { // the status never stays, the record does
				w.pass(object)
				w.clock.Step(5 * time.Second)
			}
			w.boundary = nil
			w.rest(object)
			w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(1)
			if w.ends() != 1 {
				t.Errorf("%d calls that move money", w.ends())
			}
		})
		t.Run("Failed", func(t *testing.T) {
			w := newWorld(t, s.profile)
			w.syncWallet()
			w.fault(sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: beginOf(s), Status: 400, Name: "InvalidInvoice"})
			object := made(w, s.make(w))
			w.rest(object)
			w.want(object, verdict{"Failed", v1alpha1.ReasonRequestRefused, nil})
			w.strip(object)
			w.rest(object)
			w.want(object, verdict{"Failed", v1alpha1.ReasonRequestRefused, []string{"InvalidInvoice"}})
			w.paid(0)
			if w.ends() != 0 {
				t.Errorf("%d calls that move money", w.ends())
			}
		})
	})
}

func beginOf(s scenario) sandbox.Operation {
	if strings.HasPrefix(s.name, "lightning") {
		return sandbox.PayBegin
	}
	return sandbox.OnchainBegin
}

func endOf(s scenario) sandbox.Operation {
	if strings.HasPrefix(s.name, "lightning") {
		return sandbox.PayEnd
	}
	return sandbox.OnchainEnd
}

// TestLostRecordOfALightningPayment deletes the record of a payment that was made. The node knows it by its hash.
func TestLostRecordOfALightningPayment(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		for _, listing := range []bool{true, false} {
			name := string(profile) + " service without a list of payments"
			if listing {
				name = string(profile) + " service with a list of payments"
			}
			cases := map[string]struct {
				outcome sandbox.PayeeMode
				want    verdict
				moved   int
			}{
				"paid":      {sandbox.PayeeSettles, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil}, 1},
				"under way": {sandbox.PayeeHangs, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil}, 1},
			}
			for outcome, tc := range cases {
				t.Run(outcome+", "+name, func(t *testing.T) {
					w := newWorld(t, profile)
					w.sandbox.SetListPayments(listing)
					w.syncWallet()
					if err := w.sandbox.SetPayee("", tc.outcome); err != nil {
						t.Fatal(err)
					}
					invoice := w.supplierInvoice(5000)
					pay := made(w, w.payment("rent", invoice).Obj())
					w.watch(pay, time.Minute)
					before := w.ends()
					record := w.record(pay)
					w.delete(record)
					w.strip(pay)
					w.watch(pay, time.Minute)
					if tc.outcome == sandbox.PayeeHangs {
						w.want(pay, verdict{"InFlight", v1alpha1.ReasonInFlight, nil})
						if err := w.sandbox.Resolve(w.hashOf(invoice), true); err != nil {
							t.Fatal(err)
						}
					}
					w.rest(pay)
					w.want(pay, tc.want)
					w.paid(tc.moved)
					if w.ends() != before {
						t.Errorf("%d new calls that move money", w.ends()-before)
					}
					if told := w.told(); told[v1alpha1.EventAdopted] != 1 {
						t.Errorf("a person was told %v, want Adopted once", told)
					}
				})
			}
		}
	}
}

// TestLostRecordOfAnOnchainSend deletes the record of a send that was submitted, and nothing else. Nothing but its status tells of it: it is
// held until a person looked.
func TestLostRecordOfAnOnchainSend(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run(string(profile), func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			send := made(w, w.send("payroll", 20_000).Obj())
			w.until(send, "it is submitted", func(time.Duration) bool { return w.record(send).Journal.Phase == v1alpha1.RecordSubmitted })
			w.delete(w.record(send))
			w.watch(send, 30*time.Minute)
			w.want(send, verdict{"Pending", v1alpha1.ReasonJournalLost, []string{"is gone", "spec.acknowledgedEpoch of Wallet main"}})
			if moves, ends := len(moved(w)), w.ends(); moves != 1 || ends != 1 {
				t.Errorf("moved %d times by %d ends", moves, ends)
			}
			wallet := w.wallet("main")
			w.change(wallet, func() { wallet.Spec.AcknowledgedEpoch = wallet.Status.JournalEpoch })
			w.syncWallet()
			w.drive(send)
			if send.Status.Phase != v1alpha1.PaymentSucceeded {
				t.Errorf("acknowledged, and yet %s", send.Status.Phase)
			}
		})
	}
}

// TestDeletion deletes payments at each stage.
func TestDeletion(t *testing.T) {
	eachScenario(t, func(t *testing.T, s scenario) {
		t.Run("before it is claimed", func(t *testing.T) {
			w := newWorld(t, s.profile)
			object := made(w, s.make(w)) // the wallet was not looked at
			w.pass(object)
			w.delete(object)
			if w.exists(object) {
				t.Fatalf("nothing was begun, and it has %v", object.GetFinalizers())
			}
			w.pass(object)
			w.untouched()
		})
		t.Run("claimed and waiting for funds", func(t *testing.T) {
			w := newWorld(t, s.profile, func(o *sandbox.Options) { o.Unfunded = true })
			w.syncWallet()
			object := made(w, s.make(w))
			w.reach(object, v1alpha1.ReasonInsufficientBalance)
			record := w.record(object)
			w.delete(object)
			w.pass(object)
			if w.exists(object) {
				t.Fatalf("it stays: %+v", conditionsOf(object))
			}
			if w.get(record); record.Journal.Phase != v1alpha1.RecordCancelled {
				t.Errorf("the record says %s", record.Journal.Phase)
			}
			w.paid(0)

			// What was cancelled may be ordered anew.
			w.fund()
			w.recreate(object)
			w.rest(object)
			w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(1)
		})
		t.Run("in flight", func(t *testing.T) {
			w := newWorld(t, s.profile, slowly)
			w.syncWallet()
			object := made(w, s.make(w))
			w.hang()
			w.reach(object, v1alpha1.ReasonInFlight)
			w.delete(object)
			w.pass(object)
			if !w.exists(object) {
				t.Fatal("it went before its outcome was known")
			}
			w.want(object, verdict{"InFlight", v1alpha1.ReasonInFlight, []string{"deletion waits for the outcome"}})
			record := w.record(object)
			w.release(object)
			w.rest(object)
			if w.exists(object) {
				t.Errorf("it stays after its outcome: %v", object.GetFinalizers())
			}
			if w.get(record); record.Journal.Phase != v1alpha1.RecordSucceeded {
				t.Errorf("the record says %s", record.Journal.Phase)
			}
			w.paid(1)
			if w.ends() != 1 {
				t.Errorf("%d calls that move money", w.ends())
			}
		})
		t.Run("in flight, and nobody wants to know", func(t *testing.T) {
			w := newWorld(t, s.profile, slowly)
			w.syncWallet()
			object := made(w, s.make(w))
			w.hang()
			w.reach(object, v1alpha1.ReasonInFlight)
			record := w.record(object)
			w.annotate(object, controller.DeletionPolicyAnnotation, controller.AbandonTracking)
			w.pass(object)
			if !w.exists(object) || !controllerutil.ContainsFinalizer(object, v1alpha1.Finalizer) {
				t.Fatal("the policy counted without a deletion")
			}
			w.delete(object)
			w.pass(object)
			if w.exists(object) {
				t.Fatal("it waits although it was told not to")
			}
			w.get(record) // which still keeps it from being paid again
			w.recreate(object)
			w.annotate(object, controller.DeletionPolicyAnnotation, "wait")
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
		t.Run("right before the call that moves money", func(t *testing.T) {
			w := newWorld(t, s.profile)
			w.syncWallet()
			object := made(w, s.make(w))
			w.atPermission(func() { w.delete(object.DeepCopyObject().(client.Object)) })
			w.rest(object)
			if w.exists(object) {
				t.Errorf("it stays: %+v", conditionsOf(object))
			}
			w.paid(0)
			if w.ends() != 0 {
				t.Errorf("%d calls that move money", w.ends())
			}
		})
	})
}

// slowly keeps an on-chain send in flight until a block is mined, or at the reference server for half an hour.
func slowly(o *sandbox.Options) {
	if o.Profile == sandbox.Documented {
		o.Timing.Block = -1
	}
	o.Timing.Poll, o.Timing.BalanceLimit = 30*time.Minute, 24*time.Hour
}

// hang keeps Lightning payments in flight until they are released.
func (w *world) hang() {
	w.t.Helper()
	if err := w.sandbox.SetPayee("", sandbox.PayeeHangs); err != nil {
		w.t.Fatal(err)
	}
}

// release lets what hangs, or waits for a block, succeed.
func (w *world) release(object client.Object) {
	w.t.Helper()
	if pay, ok := object.(*v1alpha1.LightningPayment); ok {
		if err := w.sandbox.Resolve(pay.Status.PaymentHash, true); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	w.sandbox.Mine(1)
}

// fund gives the Wallet main coins of both kinds.
func (w *world) fund() {
	w.t.Helper()
	wallet := w.wallet("main")
	w.get(wallet)
	for _, colored := range []bool{false, true} {
		if err := w.sandbox.FundWallet(wallet.Status.XpubVanilla, colored, 1_000_000); err != nil {
			w.t.Fatal(err)
		}
	}
}

// atPermission does something once, between the begin of a payment and the last look at whether it may be made.
func (w *world) atPermission(do func()) {
	begun, done := false, false
	w.boundary = func(call string, after bool) error {
		begun = begun || (after && strings.HasSuffix(call, "-begin"))
		if begun && !done && !after && strings.HasPrefix(call, "K get") && !strings.Contains(call, "Secret") {
			done = true
			do()
		}
		return nil
	}
	w.t.Cleanup(func() {
		if !done {
			w.t.Error("permission was not asked for")
		}
	})
}

// TestSuspendedAtTheLastMoment sets suspend between begin and end.
func TestSuspendedAtTheLastMoment(t *testing.T) {
	eachScenario(t, func(t *testing.T, s scenario) {
		cases := map[string]struct {
			set  func(w *world, object client.Object, suspend bool)
			want string
		}{
			"the payment": {
				set: func(w *world, object client.Object, suspend bool) {
					copied := object.DeepCopyObject().(client.Object)
					w.change(copied, func() {
						switch o := copied.(type) {
						case *v1alpha1.LightningPayment:
							o.Spec.Suspend = suspend
						case *v1alpha1.OnchainSend:
							o.Spec.Suspend = suspend
						}
					})
				},
			},
			"the wallet": {
				set: func(w *world, _ client.Object, suspend bool) {
					wallet := w.wallet("main")
					w.change(wallet, func() { wallet.Spec.Suspend = suspend })
				},
			},
		}
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, s.profile)
				w.syncWallet()
				object := made(w, s.make(w))
				w.atPermission(func() { tc.set(w, object, true) })
				w.pass(object)
				w.boundary = nil
				w.syncWallet()
				w.clock.Step(time.Minute)
				w.pass(object)
				w.want(object, verdict{"Pending", v1alpha1.ReasonSuspended, []string{"set it to false"}})
				w.paid(0)
				if w.ends() != 0 {
					t.Errorf("%d calls that move money", w.ends())
				}
				w.quiet(object)
				tc.set(w, object, false)
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

// TestPinnedInvoice changes what invoiceFrom names after it was read.
func TestPinnedInvoice(t *testing.T) {
	t.Run("of a ConfigMap", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		w.hang()
		first, second := w.supplierInvoice(5000), w.supplierInvoice(6000)
		source := made(w, w.configMap("supplier", "invoice", first+"\n"))
		pay := made(w, testkit.MakeLightningPayment("rent").Namespace(w.namespace).InvoiceFromConfigMap("supplier", "invoice").Obj())
		w.reach(pay, v1alpha1.ReasonInFlight)
		w.change(source, func() { source.Data["invoice"] = second })
		w.release(pay)
		w.rest(pay)
		w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.delete(pay)
		w.recreate(pay)
		w.rest(pay)
		w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
		if out := moved(w)[0]; out.Key != w.hashOf(first) {
			t.Errorf("%s was paid, pinned was %s", out.Key, w.hashOf(first))
		}
	})
	t.Run("of a ConfigMap that changes while all records are lost", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		w.hang()
		first, second := w.supplierInvoice(5000), w.supplierInvoice(6000)
		source := made(w, w.configMap("supplier", "invoice", first))
		pay := made(w, testkit.MakeLightningPayment("rent").Namespace(w.namespace).InvoiceFromConfigMap("supplier", "invoice").Obj())
		w.reach(pay, v1alpha1.ReasonInFlight)
		if err := w.api.DeleteAllOf(t.Context(), &v1alpha1.PaymentRecord{}, client.InNamespace(w.operator)); err != nil {
			t.Fatal(err)
		}
		w.change(source, func() { source.Data["invoice"] = second })
		w.release(pay)
		w.pass(pay)
		w.want(pay, verdict{"Pending", v1alpha1.ReasonJournalLost, []string{w.hashOf(first), "key invoice of ConfigMap supplier"}})
		w.quiet(pay)
		w.change(source, func() { source.Data["invoice"] = first })
		w.rest(pay)
		w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
	})
	t.Run("of a ConfigMap that changes before anything is sent", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented, func(o *sandbox.Options) { o.Unfunded = true })
		w.syncWallet()
		first, second := w.supplierInvoice(5000), w.supplierInvoice(6000)
		source := made(w, w.configMap("supplier", "invoice", first))
		pay := made(w, testkit.MakeLightningPayment("rent").Namespace(w.namespace).InvoiceFromConfigMap("supplier", "invoice").Obj())
		w.reach(pay, v1alpha1.ReasonInsufficientBalance)
		w.change(source, func() { source.Data["invoice"] = second })
		w.fund()
		w.rest(pay)
		w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
		if out := moved(w)[0]; out.Key != w.hashOf(first) {
			t.Errorf("%s was paid, pinned was %s", out.Key, w.hashOf(first))
		}
	})
	t.Run("of a Secret that appears later", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		pay := made(w, testkit.MakeLightningPayment("rent").Namespace(w.namespace).InvoiceFromSecret("supplier", "invoice").Obj())
		w.pass(pay)
		w.want(pay, verdict{"Pending", v1alpha1.ReasonReferenceNotFound, []string{"Secret supplier", "create it"}})
		w.makeSecret("supplier", map[string]string{"invoice": w.supplierInvoice(5000)})
		w.rest(pay)
		w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
	})
	t.Run("of a ConfigMap without the key", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		w.create(w.configMap("supplier", "other", "text"))
		pay := made(w, testkit.MakeLightningPayment("rent").Namespace(w.namespace).InvoiceFromConfigMap("supplier", "invoice").Obj())
		w.pass(pay)
		w.want(pay, verdict{"Pending", v1alpha1.ReasonReferenceNotFound, []string{"key invoice of ConfigMap supplier"}})
		w.untouched()
	})
	t.Run("of a LightningInvoice of another team's wallet", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented) // where each wallet has a node of its own
		w.syncWallet()
		w.makeSecret("shop", map[string]string{"mnemonic": "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"})
		w.pass(made(w, testkit.MakeWallet("shop").Namespace(w.namespace).URL(w.url).Obj()))
		pay := made(w, testkit.MakeLightningPayment("rent").Namespace(w.namespace).InvoiceFromLightningInvoice("order").Obj())
		w.pass(pay)
		w.want(pay, verdict{"Pending", v1alpha1.ReasonReferenceNotFound, []string{"LightningInvoice order", "create it"}})
		order := made(w, w.invoice("order").Wallet("shop").Obj())
		w.pass(pay)
		w.want(pay, verdict{"Pending", v1alpha1.ReasonReferenceNotFound, []string{"LightningInvoice order"}})
		w.pass(order)
		w.rest(pay)
		w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.rest(order)
		w.want(order, verdict{"Settled", v1alpha1.ReasonSettled, nil})
		w.paid(1)
	})
	t.Run("deleted before there was an invoice", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		pay := made(w, testkit.MakeLightningPayment("rent").Namespace(w.namespace).InvoiceFromSecret("supplier", "invoice").Obj())
		w.pass(pay)
		w.delete(pay)
		if w.exists(pay) {
			t.Errorf("it has %v", pay.Finalizers)
		}
	})
}

// TestEqualSends declares what the service takes for one order.
func TestEqualSends(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		in := ", " + string(profile) + " service"
		t.Run("in two resources"+in, func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			first := made(w, w.send("payroll", 20000).Obj())
			second := made(w, again(first, w.namespace, "twice"))
			w.rest(first)
			w.rest(second)
			w.want(first, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.want(second, verdict{"Failed", v1alpha1.ReasonOrderCollision, []string{
				"OnchainSend " + w.namespace + "/payroll", "nothing was sent", "change the amount by 1 sat, or the fee rate",
			}})
			w.paid(1)
			w.quiet(second)

			third := again(first, w.namespace, "third").(*v1alpha1.OnchainSend)
			*third.Spec.AmountSats++
			w.create(third)
			w.rest(third)
			w.want(third, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(2)
		})
		t.Run("after the first was given up"+in, func(t *testing.T) {
			w := newWorld(t, profile, func(o *sandbox.Options) { o.Unfunded = true })
			w.syncWallet()
			first := made(w, w.send("payroll", 20000).Obj())
			w.reach(first, v1alpha1.ReasonInsufficientBalance)
			w.delete(first)
			w.pass(first)
			w.fund()
			second := again(first, w.namespace, "instead")
			w.create(second)
			w.rest(second)
			w.want(second, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(1)
		})
		t.Run("under the name of another"+in, func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			send := made(w, w.send("payroll", 20000).Obj())
			w.rest(send)
			w.delete(send)
			*send.Spec.AmountSats = 30000
			w.recreate(send)
			w.rest(send)
			w.want(send, verdict{"Failed", v1alpha1.ReasonDuplicatePayment, []string{"an earlier resource of this name", "new name", "idempotencyKey"}})
			w.paid(1)
			w.quiet(send)
			w.delete(send)
			send.Spec.IdempotencyKey = "november"
			w.recreate(send)
			w.rest(send)
			w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(2)
		})
	}
}

// TestTimeRunsOut lets the time to start pass while something else is waited for.
func TestTimeRunsOut(t *testing.T) {
	cases := map[string]struct {
		make func(w *world) client.Object
		want string
	}{
		"of a send": {func(w *world) client.Object {
			return w.send("payroll", 20000).ValidUntil(w.clock.Now().Add(time.Hour)).Obj()
		}, v1alpha1.ReasonValidityElapsed},
		"of a payment": {func(w *world) client.Object {
			return w.payment("rent", w.supplierInvoice(5000)).ValidUntil(w.clock.Now().Add(time.Hour)).Obj()
		}, v1alpha1.ReasonValidityElapsed},
		"of a payment's invoice": {func(w *world) client.Object { return w.payment("rent", w.supplierInvoice(5000)).Obj() }, v1alpha1.ReasonInvoiceExpired},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented, func(o *sandbox.Options) { o.Unfunded = true })
			w.syncWallet()
			object := made(w, tc.make(w))
			w.reach(object, v1alpha1.ReasonInsufficientBalance)
			w.rest(object)
			w.want(object, verdict{"Failed", tc.want, nil})
			w.fund() // too late
			w.quiet(object)
			w.paid(0)
			if w.ends() != 0 {
				t.Errorf("%d calls that move money", w.ends())
			}
		})
	}
	t.Run("a payment that was submitted in time is observed after it", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		w.hang()
		pay := made(w, w.payment("rent", w.supplierInvoice(5000)).ValidUntil(w.clock.Now().Add(time.Hour)).Obj())
		w.watch(pay, 8*time.Hour) // the invoice expired too
		w.want(pay, verdict{"InFlight", v1alpha1.ReasonInFlight, []string{"nothing is sent again"}})
		w.release(pay)
		w.rest(pay)
		w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
	})
}

// TestTakeOver declares a payment anew that failed before anything was submitted.
func TestTakeOver(t *testing.T) {
	t.Run("under another name, with a higher cap", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		invoice := w.supplierInvoice(5000)
		first := made(w, w.payment("rent", invoice).MaxFeeSats(60).Obj()) // above the estimate, below the transaction's fee
		w.rest(first)
		w.want(first, verdict{"Failed", v1alpha1.ReasonFeeTooHigh, []string{"higher cap"}})
		second := made(w, w.payment("rent-2", invoice).MaxFeeSats(3000).Obj())
		w.rest(second)
		w.want(second, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.strip(first)
		w.rest(first)
		w.want(first, verdict{"Failed", v1alpha1.ReasonDuplicatePayment, []string{"rent-2"}})
		w.paid(1)
	})
	t.Run("under the same name, with a higher cap", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		pay := made(w, w.payment("rent", w.supplierInvoice(5000)).MaxFeeSats(60).Obj())
		w.rest(pay)
		w.want(pay, verdict{"Failed", v1alpha1.ReasonFeeTooHigh, nil})
		w.delete(pay)
		cap := int64(3000)
		pay.Spec.MaxFeeSats = &cap
		w.recreate(pay)
		w.rest(pay)
		w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
	})
	t.Run("of a send, with a higher cap", func(t *testing.T) {
		w := newWorld(t, sandbox.Reference)
		w.syncWallet()
		send := made(w, w.send("payroll", 20000).MaxFeeSats(100).Obj())
		w.rest(send)
		w.want(send, verdict{"Failed", v1alpha1.ReasonFeeTooHigh, nil})
		w.delete(send)
		cap := int64(5000)
		send.Spec.MaxFeeSats = &cap
		w.recreate(send)
		w.rest(send)
		w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
	})
}

// TestOwnInvoice declares the payment of an invoice that the paying node issued, which the service would answer as if it were paid.
func TestOwnInvoice(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		for _, listing := range []bool{true, false} {
			if profile == sandbox.Documented && !listing {
				continue // whose answer to an end is the only one about such a payment
			}
			for _, foreign := range []bool{true, false} {
				name := string(profile) + " service"
				if listing {
					name += " with a list of payments"
				}
				if foreign {
					name += ", issued to another client"
				}
				t.Run(name, func(t *testing.T) {
					w := newWorld(t, profile)
					w.sandbox.SetListPayments(listing)
					w.syncWallet()
					text := ""
					if foreign {
						wallet := w.wallet("main")
						w.get(wallet)
						text = w.createdElsewhere(wallet)
					} else {
						text = w.open("order").Status.PaymentRequest
					}
					pay := made(w, w.payment("rent", text).Obj())
					w.rest(pay)
					w.want(pay, verdict{"Failed", v1alpha1.ReasonOwnInvoice, []string{"cannot pay itself"}})
					w.paid(0)
					if w.ends() != 0 {
						t.Errorf("%d calls that move money", w.ends())
					}
					w.quiet(pay)
				})
			}
		}
	}
}

// TestOwnInvoiceDeniedOnce has the service deny once, before anything is submitted, that it knows an invoice which the paying node issued.
func TestOwnInvoiceDeniedOnce(t *testing.T) {
	for name, tc := range map[string]struct{ begun, paid, ofAnother bool }{
		"and refuse the begin": {false, true, false}, "and begin": {true, true, false}, "and begin, and nobody pays it": {true, false, false},
		"and refuse the begin, for another wallet of the node": {false, true, true}, "and begin, for another wallet of the node": {true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Reference)
			w.sandbox.SetListPayments(false)
			w.syncWallet()
			text := ""
			if tc.ofAnother {
				w.makeSecret("shop", map[string]string{"mnemonic": otherMnemonic})
				shop := w.mainWallet(sandbox.Reference)
				shop.Name, shop.Spec.Keys.SecretRef.Name = "shop", "shop"
				w.pass(made(w, shop))
				issued := made(w, testkit.MakeLightningInvoice("order").Namespace(w.namespace).Wallet("shop").AmountSats(1500).Expiry(time.Hour).Obj())
				w.pass(issued)
				w.get(issued)
				text = issued.Status.PaymentRequest
			} else {
				text = w.open("order").Status.PaymentRequest
			}
			faults := []sandbox.Fault{{Kind: sandbox.FaultLie, Claim: sandbox.ClaimAbsent, Operation: sandbox.SendRequest}}
			if !tc.begun {
				faults = append(faults, sandbox.Fault{Kind: sandbox.FaultRefuseConnection, Operation: sandbox.PayBegin})
			}
			for _, fault := range faults {
				if _, err := w.sandbox.AddFault(fault); err != nil {
					t.Fatal(err)
				}
			}
			pay := made(w, w.payment("rent", text).Obj())
			w.pass(pay)
			if tc.paid {
				w.settle(text, false)
			}
			w.rest(pay)
			w.want(pay, verdict{"Failed", v1alpha1.ReasonOwnInvoice, []string{"cannot pay itself"}})
			w.paid(0)
		})
	}
}

// TestOwnInvoiceOfAnotherNode declares the payment of an invoice that the node of a service issued after it replaced the one of which the
// operator knows. No list of payments tells.
func TestOwnInvoiceOfAnotherNode(t *testing.T) {
	for name, remember := range map[string]func(w *world){
		"which a record names": func(w *world) {
			issued := made(w, w.invoice("order").Wallet("fronted").Obj())
			w.pass(issued)
			w.want(issued, verdict{"Open", v1alpha1.ReasonOpen, nil})
		},
		"which the process asked": func(w *world) {
			text := w.supplierInvoice(5000)
			w.payElsewhere(text, 5000)
			adopted := made(w, testkit.MakeLightningPayment("adopted").Namespace(w.namespace).Wallet("fronted").Invoice(text).Obj())
			w.rest(adopted)
			w.want(adopted, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.clock.Step(10 * time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Reference)
			w.sandbox.SetListPayments(false)
			w.syncWallet()
			replaced := false
			front := w.fronted(w.edited("/lightning/create-invoice", func(body map[string]any) {
				if !replaced {
					body["invoice"] = w.issued(func(i *bolt11.Invoice) { *i.Amount = amount.Sat(1500).MilliSat() })
				}
			}))
			front.Spec.Endpoint.Profile = v1alpha1.ProfileReference
			w.pass(made(w, front))
			remember(w)
			replaced = true
			var own struct {
				Invoice string `json:"invoice"`
			}
			w.client().MustPost("/lightning/create-invoice", `{"amount_sats":1500,"expiry_seconds":3600}`, &own)
			pay := made(w, testkit.MakeLightningPayment("rent").Namespace(w.namespace).Wallet("fronted").Invoice(own.Invoice).Obj())
			w.rest(pay)
			w.want(pay, verdict{"Failed", v1alpha1.ReasonOwnInvoice, []string{"cannot pay itself"}})
		})
	}
}

// TestUnreadableInvoicesAreNotAskedForAgain has a service issue invoices by which its node cannot be known.
func TestUnreadableInvoicesAreNotAskedForAgain(t *testing.T) {
	w := newWorld(t, sandbox.Reference)
	w.sandbox.SetListPayments(false)
	w.syncWallet()
	front := w.fronted(w.edited("/lightning/create-invoice", func(body map[string]any) { body["invoice"] = "lnbcrt1unreadable" }))
	front.Spec.Endpoint.Profile = v1alpha1.ProfileReference
	w.pass(made(w, front))
	text := w.supplierInvoice(5000)
	w.payElsewhere(text, 5000)
	pay := made(w, testkit.MakeLightningPayment("rent").Namespace(w.namespace).Wallet("fronted").Invoice(text).Obj())
	w.watch(pay, 9*time.Minute)
	w.want(pay, verdict{"Pending", v1alpha1.ReasonServiceUnavailable, []string{"cannot be read"}})
	if looks, issued := w.called(sandbox.SendRequest), w.called(sandbox.CreateInvoice); looks < 10 || issued != 1 {
		t.Errorf("%d looks took %d invoices, want one", looks, issued)
	}
}

// TestInvoiceOfAnotherWallet pays an invoice that another wallet of the same service and operator issued. Where each wallet has a node of its
// own, as at the documented service, that is a payment like any other, also where no list of payments can tell.
func TestInvoiceOfAnotherWallet(t *testing.T) {
	for _, listing := range []bool{true, false} {
		t.Run(fmt.Sprintf("with a list of payments: %t", listing), func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			w.makeSecret("shop", map[string]string{"mnemonic": otherMnemonic})
			shop := testkit.MakeWallet("shop").Namespace(w.namespace).URL(w.url).KeysFrom("shop").Obj()
			w.pass(made(w, shop))
			issued := made(w, testkit.MakeLightningInvoice("order").Namespace(w.namespace).Wallet("shop").AmountSats(5000).Expiry(time.Hour).Obj())
			w.pass(issued)
			w.get(issued)
			w.sandbox.SetListPayments(listing)
			pay := made(w, testkit.MakeLightningPayment("rent").Namespace(w.namespace).Wallet("main").InvoiceFromLightningInvoice("order").Obj())
			w.rest(pay)
			w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			if moved := w.sandbox.Moved(issued.Status.PaymentHash); len(moved) != 1 {
				t.Errorf("moved %d times", len(moved))
			}
			w.pass(issued)
			w.get(issued)
			if issued.Status.Phase != v1alpha1.InvoiceSettled {
				t.Errorf("the invoice that was paid is %s", issued.Status.Phase)
			}
		})
	}
}

// TestAdoptsNoOtherPayment has another client pay another invoice with the payment hash of the declared one.
func TestAdoptsNoOtherPayment(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		for _, listing := range []bool{true, false} {
			for _, mode := range []v1alpha1.PaymentMode{v1alpha1.ModeApply, v1alpha1.ModePlan, v1alpha1.ModeObserve} {
				t.Run(fmt.Sprintf("%s service, list of payments %t, mode %s", profile, listing, mode), func(t *testing.T) {
					w := newWorld(t, profile)
					w.sandbox.SetListPayments(listing)
					w.syncWallet()
					small := w.issued(func(i *bolt11.Invoice) { *i.Amount = amount.Sat(1000).MilliSat() })
					pay := w.payment("rent", w.issued(func(*bolt11.Invoice) {})).Obj()
					w.payElsewhere(small, 1000)
					w.clock.Step(time.Minute)
					w.sandbox.Advance()
					w.paid(1)
					w.create(inMode(pay, mode))
					another := verdict{"Pending", v1alpha1.ReasonAmountMismatch, []string{"1000 sat, asked for are 5000", "nothing was sent by this resource"}}
					w.pass(pay)
					w.want(pay, another)
					if mode != v1alpha1.ModeApply { // which looks within the wallet's critical section
						w.quiet(pay)
					}
					w.watch(pay, 3*time.Hour) // when it expired it is held all the same
					w.want(pay, another)
					w.began(1, 1) // which the other client did
					w.delete(pay)
					w.rest(pay)
					if w.exists(pay) {
						t.Errorf("it is still there: %+v", conditionsOf(pay))
					}
				})
			}
		}
	}
}

// TestAdoptsWhatTellsNothing adopts a payment that another client made of the declared invoice, by what the service tells of it.
func TestAdoptsWhatTellsNothing(t *testing.T) {
	for name, edit := range map[string]func(map[string]any){
		"all of it":                   func(map[string]any) {},
		"no amount":                   func(body map[string]any) { body["amount_sats"] = nil },
		"an amount of 0":              func(body map[string]any) { body["amount_sats"] = 0 },
		"the amount and what it cost": func(body map[string]any) { body["amount_sats"] = 5050 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			text := w.supplierInvoice(5000)
			w.payElsewhere(text, 5000)
			w.pass(made(w, w.fronted(w.edited("/lightning/send-request/", edit))))
			pay := testkit.MakeLightningPayment("rent").Namespace(w.namespace).Wallet("fronted").Invoice(text).Obj()
			w.create(pay)
			w.rest(pay)
			w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(1)
			w.began(1, 1)
		})
	}
}

// createdElsewhere is an invoice that another client of the wallet had the service issue.
func (w *world) createdElsewhere(wallet *v1alpha1.Wallet) string {
	w.t.Helper()
	copied := again(wallet, w.makeNamespace("elsewhere-"), "main").(*v1alpha1.Wallet)
	home, operator := w.namespace, w.operator
	w.namespace, w.operator = copied.Namespace, w.makeNamespace("operator-")
	w.makeSecret("main", map[string]string{"mnemonic": mnemonic})
	w.create(copied)
	w.start()
	w.syncWallet()
	text := w.open("order").Status.PaymentRequest
	w.namespace, w.operator = home, operator
	w.start()
	return text
}

// statusOf is the status of object without the instants of its conditions.
func statusOf(object client.Object) string {
	copied := object.DeepCopyObject().(client.Object)
	conditions := conditionsOf(copied)
	for i := range conditions {
		conditions[i].LastTransitionTime = metav1.Time{}
	}
	switch o := copied.(type) {
	case *v1alpha1.LightningPayment:
		return asJSON(o.Status)
	case *v1alpha1.OnchainSend:
		return asJSON(o.Status)
	}
	return ""
}
