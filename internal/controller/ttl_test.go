package controller_test

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

const ttlSeconds = 3600

// goes drives object to its end, and checks that it is there until its time has passed and gone then.
func (w *world) goes(object client.Object, finished string) {
	w.t.Helper()
	w.until(object, "it is "+finished, func(time.Duration) bool { return w.exists(object) && phase(object) == finished })
	w.pass(object)
	w.watch(object, ttlSeconds*time.Second-time.Minute)
	if !w.exists(object) {
		w.t.Fatalf("%T %s is gone before its time", object, object.GetName())
	}
	w.watch(object, 2*time.Minute)
	if w.exists(object) {
		w.t.Fatalf("%T %s is still there after its time: %+v", object, object.GetName(), conditionsOf(object))
	}
}

func TestFinishedResourcesGo(t *testing.T) {
	for name, tc := range map[string]struct {
		declare  func(w *world) client.Object
		finished string
	}{
		"a payment that was made": {
			func(w *world) client.Object { return w.payment("rent", w.supplierInvoice(5000)).TTL(ttlSeconds).Obj() }, "Succeeded",
		},
		"a payment that failed after it was submitted": {
			func(w *world) client.Object {
				text := w.supplierInvoice(5000)
				if err := w.sandbox.SetPayee(w.hashOf(text), sandbox.PayeeFails); err != nil {
					w.t.Fatal(err)
				}
				return w.payment("rent", text).TTL(ttlSeconds).Obj()
			}, "Failed",
		},
		"a send that was made": {func(w *world) client.Object { return w.send("payroll", 20_000).TTL(ttlSeconds).Obj() }, "Succeeded"},
		"an invoice that expired": {
			func(w *world) client.Object {
				return testkit.MakeLightningInvoice("order").Namespace(w.namespace).AmountSats(5000).Expiry(time.Hour).TTL(ttlSeconds).Obj()
			}, "Expired",
		},
		"a settlement": {
			func(w *world) client.Object {
				object := testkit.MakeSettlement(w.namespace, "monday")
				object.Spec.TTLSecondsAfterFinished = new(int32(ttlSeconds))
				return object
			}, "Succeeded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			w.goes(made(w, tc.declare(w)), tc.finished)
		})
	}
}

// TestDeclaredAgainAfterItsTime lets Git bring a payment back that went by its time to live: it shows the outcome as long as the first
// time, and nothing is paid again.
func TestDeclaredAgainAfterItsTime(t *testing.T) {
	for name, declare := range map[string]func(w *world, ttl int32) client.Object{
		"Lightning": func(w *world, ttl int32) client.Object {
			return w.payment("rent", w.supplierInvoice(5000)).TTL(ttl).Obj()
		},
		"on-chain": func(w *world, ttl int32) client.Object { return w.send("payroll", 20_000).TTL(ttl).Obj() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			first := declare(w, ttlSeconds)
			again := first.DeepCopyObject().(client.Object)
			w.create(first)
			w.goes(first, "Succeeded")
			// The API server stamps what is created with the real time, which the clock of the world has left behind.
			ttl := int32(ttlSeconds + w.clock.Now().Sub(time.Now()).Seconds())
			switch o := again.(type) {
			case *v1alpha1.LightningPayment:
				o.Spec.TTLSecondsAfterFinished = &ttl
			case *v1alpha1.OnchainSend:
				o.Spec.TTLSecondsAfterFinished = &ttl
			}
			w.create(again)
			w.goes(again, "Succeeded")
			w.paid(1)
			if ends := w.ends(); ends != 1 {
				t.Errorf("%d calls that move money, want one", ends)
			}
		})
	}
}

// TestUnfinishedResourcesStay keeps what somebody should see: a payment that failed before anything was sent, which would be tried again
// if it were declared again, and one whose outcome is unknown.
func TestUnfinishedResourcesStay(t *testing.T) {
	for name, tc := range map[string]struct {
		declare func(w *world) client.Object
		want    verdict
	}{
		"a payment that was not made": {
			func(w *world) client.Object {
				return w.payment("rent", w.supplierInvoice(5000)).AmountSats(4999).TTL(0).Obj()
			},
			verdict{"Failed", v1alpha1.ReasonAmountMismatch, nil},
		},
		"a send of which nobody knows": {
			func(w *world) client.Object {
				w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.OnchainEnd})
				return w.send("payroll", 20_000).TTL(0).Obj()
			},
			verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, nil},
		},
		"a settlement of which nobody knows": {
			func(w *world) client.Object {
				w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.Settle})
				object := testkit.MakeSettlement(w.namespace, "monday")
				object.Spec.TTLSecondsAfterFinished = new(int32(0))
				return object
			},
			verdict{"Unknown", v1alpha1.ReasonAnswerLost, nil},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			object := made(w, tc.declare(w))
			w.watch(object, 24*time.Hour)
			w.want(object, tc.want)
		})
	}
}
