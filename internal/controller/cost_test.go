package controller_test

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// bill is what a resource cost so far.
type bill struct {
	// writes are the writes to the API server, but for events; calls those of the service.
	writes, calls []string
}

// meter counts the calls of the controllers from now on.
func (w *world) meter() *bill {
	b := &bill{}
	w.boundary = func(call string, after bool) error {
		if service, ok := strings.CutPrefix(call, "U "); ok && !after {
			b.calls = append(b.calls, service)
		}
		if verb := strings.Fields(call)[1]; !strings.HasPrefix(call, "U ") && !after && verb != "get" && verb != "list" {
			b.writes = append(b.writes, strings.TrimPrefix(call, "K "))
		}
		return nil
	}
	return b
}

// atMost fails the case where a resource cost more than that. It says what it was.
func (b *bill) atMost(t *testing.T, when string, writes, calls int) {
	t.Helper()
	t.Logf("%s: %d writes: %s; %d calls: %s", when, len(b.writes), strings.Join(b.writes, ", "), len(b.calls), strings.Join(b.calls, ", "))
	if len(b.writes) > writes || len(b.calls) > calls {
		t.Errorf("%s: at most %d writes and %d calls were to be made", when, writes, calls)
	}
}

// count is how many of the service's calls went to a path.
func (b *bill) count(path string) int {
	return len(slices.DeleteFunc(slices.Clone(b.calls), func(call string) bool { return !strings.Contains(call, path) }))
}

// TestCostOfInvoice counts what a LightningInvoice takes of the API server and of the service.
func TestCostOfInvoice(t *testing.T) {
	t.Parallel()
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, profile)
			w.syncWallet()
			object := made(w, w.invoice("order").Obj())
			b := w.meter()
			w.reach(object, v1alpha1.ReasonOpen)
			b.atMost(t, "until it was open", 3, 1)

			// Looking at it costs a call and no write, however often.
			w.pass(object)
			w.pass(object)
			b.atMost(t, "after two looks", 3, 3)
			w.settle(object.Status.PaymentRequest, false)
			w.reach(object, v1alpha1.ReasonSettled)
			b.atMost(t, "until it was settled", 5, 4)
			if asked := b.count("/create-invoice"); asked != 1 {
				t.Errorf("the service was asked for an invoice %d times", asked)
			}
			w.finished(object, b)
		})
	}
}

// TestCostOfPayment counts what a LightningPayment takes of the API server and of the service.
func TestCostOfPayment(t *testing.T) {
	t.Parallel()
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, profile)
			w.syncWallet()
			// The first payment of a wallet creates its Lease, and may have to learn who the service's own node is.
			w.rest(made(w, w.payment("first", w.supplierInvoice(5000)).MaxFeeSats(1000).Obj()))

			object := made(w, w.payment("rent", w.supplierInvoice(5000)).MaxFeeSats(1000).Obj())
			b := w.meter()
			w.reach(object, v1alpha1.ReasonInFlight)
			b.atMost(t, "until it was submitted", 9, 5)
			if begins, ends := b.count("/pay-invoice-begin"), b.count("/pay-invoice-end"); begins != 1 || ends != 1 {
				t.Errorf("%d begins and %d ends", begins, ends)
			}
			w.rest(object)
			if got := w.ready(object).Reason; got != v1alpha1.ReasonSucceeded {
				t.Fatalf("it came to rest as %s", got)
			}
			// What ends it is held against the list of payments as well: see Spender.Look.
			b.atMost(t, "until it succeeded", 12, 7)
			w.finished(object, b)
		})
	}
}

// finished checks that a finished resource costs nothing more.
func (w *world) finished(object client.Object, b *bill) {
	w.t.Helper()
	writes, calls := len(b.writes), len(b.calls)
	for range 20 {
		if after := w.pass(object); after != 0 {
			w.t.Errorf("it is looked at again after %s", after)
		}
	}
	b.atMost(w.t, "twenty passes after its end", writes, calls)
}
