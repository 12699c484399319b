package controller_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// drillPayments is how many payments a restore drill has: 40, or what DRILL_PAYMENTS says.
func drillPayments(t *testing.T) int {
	text := os.Getenv("DRILL_PAYMENTS")
	if text == "" {
		return 40
	}
	count, err := strconv.Atoi(text)
	if err != nil || count < 10 {
		t.Fatalf("DRILL_PAYMENTS is %q, want a number from 10", text)
	}
	return count
}

// drill is a cluster full of payments, to be lost and restored.
type drill struct {
	*scene
	done []client.Object // came to their end
	// flying are under way at the service.
	flying []client.Object
}

// newDrill makes payments of both kinds and lets most of them succeed: every tenth stays in flight.
func newDrill(t *testing.T, profile sandbox.Profile, count int) *drill {
	t.Helper()
	service := clocktesting.NewFakeClock(time.Now())
	w := newWorld(t, profile, func(o *sandbox.Options) {
		o.Clock, o.Timing.Block = service, -1
		if profile == sandbox.Reference {
			o.Timing.Speed, o.Timing.Block = 20, time.Minute
		}
	})
	service.SetTime(w.clock.Now())
	d := &drill{scene: &scene{world: w, service: service}}
	w.syncWallet()
	for n := range count / 2 {
		text := w.supplierInvoice(int64(5000 + n))
		flies := n%5 == 4
		if flies {
			if err := w.sandbox.SetPayee(w.hashOf(text), sandbox.PayeeHangs); err != nil {
				t.Fatal(err)
			}
		}
		d.add(w.payment(fmt.Sprintf("invoice-%d", n), text).Obj(), flies)
	}
	if profile == sandbox.Reference { // whose node has no channel left once it sent on-chain
		d.until(v1alpha1.PaymentSucceeded, d.done...)
		d.until(v1alpha1.PaymentInFlight, d.flying...)
	}
	for n := range count - count/2 {
		send := w.send(fmt.Sprintf("payout-%d", n), int64(10000+n)).ValidUntil(w.clock.Now().Add(30 * 24 * time.Hour)).Obj()
		d.add(send, n%5 == 4 && profile == sandbox.Documented)
		if profile == sandbox.Reference { // which fails those that come while it closes its channels
			d.until(v1alpha1.PaymentSucceeded, send)
		}
	}
	d.until(v1alpha1.PaymentSucceeded, d.done...)
	d.until(v1alpha1.PaymentInFlight, d.flying...)
	if out := len(moved(w)); out < len(d.done) || out > count {
		t.Fatalf("%d payments moved money %d times", count, out)
	}
	return d
}

func (d *drill) add(object client.Object, flies bool) {
	d.create(object)
	if flies {
		d.flying = append(d.flying, object)
	} else {
		d.done = append(d.done, object)
	}
}

func (d *drill) all() []client.Object {
	return append(append([]client.Object{}, d.done...), d.flying...)
}

// until makes passes over objects until each is in the phase.
func (d *drill) until(phase v1alpha1.PaymentPhase, objects ...client.Object) {
	d.t.Helper()
	for range 40 {
		var left []client.Object
		for _, object := range objects {
			if d.look(object); phaseOf(object) != phase {
				left = append(left, object)
			}
		}
		if objects = left; len(objects) == 0 {
			return
		}
		if phase == v1alpha1.PaymentSucceeded {
			d.sandbox.Mine(1)
		}
		d.step(5 * time.Second)
	}
	d.t.Fatalf("%d payments do not come to %s, the first is %s: %+v", len(objects), phase, phaseOf(objects[0]), conditionsOf(objects[0]))
}

// land lets what is under way arrive, but for the first so many.
func (d *drill) land(but int) {
	d.t.Helper()
	for _, object := range d.flying[but:] {
		if pay, ok := object.(*v1alpha1.LightningPayment); ok {
			if err := d.sandbox.Resolve(d.hashOf(pay.Spec.Invoice), true); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	d.sandbox.Mine(1)
	d.done, d.flying = append(d.done, d.flying[but:]...), d.flying[:but]
}

// unmoved does something and checks that it called nothing that could move money.
func (d *drill) unmoved(what string, do func()) {
	d.t.Helper()
	before := d.money()
	do()
	if after := d.money(); after != before {
		d.t.Errorf("%s: %d calls that could move money", what, after-before)
	}
}

// once checks that no order moved money twice, and how many did at all.
func (d *drill) once(want int) {
	d.t.Helper()
	counts := map[string]int{}
	for _, entry := range moved(d.world) {
		if counts[entry.Key]++; counts[entry.Key] == 2 {
			d.t.Errorf("money moved twice: %+v", entry)
		}
	}
	if len(counts) != want {
		d.t.Errorf("money moved for %d orders, want %d", len(counts), want)
	}
}

// replace deletes every payment and declares it again, as Flux and Argo CD do with Force and Replace.
func (d *drill) replace() {
	d.t.Helper()
	for _, object := range d.done {
		d.delete(object)
		if d.look(object); d.exists(object) {
			d.t.Fatalf("%s succeeded and stays: %v", object.GetName(), object.GetFinalizers())
		}
		d.recreate(object)
	}
	d.until(v1alpha1.PaymentSucceeded, d.done...)
}

// TestRestoreDrill loses statuses, resources and records of many payments, and applies the manifests again.
func TestRestoreDrill(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			count := drillPayments(t)
			d := newDrill(t, profile, count)

			d.unmoved("all statuses stripped", func() {
				for _, object := range append(d.all(), d.wallet("main")) {
					d.strip(object)
				}
				d.start()
				d.syncWallet()
				d.until(v1alpha1.PaymentInFlight, d.flying...)
				d.until(v1alpha1.PaymentSucceeded, d.done...)
			})

			d.unmoved("all deleted and applied again, twice", func() {
				d.replace()
				for _, object := range d.flying {
					d.delete(object)
					if d.look(object); !d.exists(object) {
						d.t.Fatalf("%s went before its outcome was known", object.GetName())
					}
				}
				gone := d.flying[1:]
				d.land(1)
				for _, object := range gone {
					for range 40 {
						if d.look(object); !d.exists(object) {
							break
						}
						d.step(5 * time.Second)
					}
					d.recreate(object)
				}
				d.replace()
			})
			d.once(count - 1) // one is under way when everything is lost

			var held []client.Object
			d.unmoved("all records lost, and applied again", func() {
				d.loseRecords()
				wallet := d.wallet("main")
				d.get(wallet)
				for _, object := range append(d.all(), wallet) {
					d.remove(object)
				}
				d.start()
				d.recreate(wallet)
				d.syncWallet()
				d.resync = false
				var paid []client.Object
				for _, object := range d.all() {
					d.recreate(object)
					if _, onchain := object.(*v1alpha1.OnchainSend); onchain {
						held = append(held, object)
					}
				}
				for _, object := range d.done {
					if _, onchain := object.(*v1alpha1.OnchainSend); !onchain {
						paid = append(paid, object)
					}
				}
				d.until(v1alpha1.PaymentSucceeded, paid...)
				d.until(v1alpha1.PaymentInFlight, d.flying...)
				for range 3 {
					for _, object := range held {
						if d.look(object); d.ready(object).Reason != v1alpha1.ReasonJournalLost || phase(object) != "Pending" {
							d.t.Fatalf("%s is %s for %s, want it held", object.GetName(), phase(object), d.ready(object).Reason)
						}
					}
					d.step(time.Hour)
				}
			})
			d.once(count - 1)

			// What the runbook says: those that were made go, the others are released.
			fresh := d.send("fresh", 12345).Obj()
			d.create(fresh)
			d.look(fresh)
			if reason := d.ready(fresh).Reason; reason != v1alpha1.ReasonJournalLost {
				t.Errorf("a new send is %s before the loss is acknowledged", reason)
			}
			for _, object := range held {
				d.delete(object)
				if d.look(object); d.exists(object) {
					t.Errorf("%s is held and cannot be deleted: %v", object.GetName(), object.GetFinalizers())
				}
			}
			wallet := d.wallet("main")
			d.change(wallet, func() { wallet.Spec.AcknowledgedEpoch = wallet.Status.JournalEpoch })
			d.syncWallet()
			flying := d.flying
			d.land(0)
			d.until(v1alpha1.PaymentSucceeded, append(flying, fresh)...)
			d.once(count + 1)
		})
	}
}
