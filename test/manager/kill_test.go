package manager_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/utexo/utexo-operator/internal/sandbox"
)

// kind is one of the two ways to pay, as the cases about killed processes need it.
type kind struct {
	declare    func(w *world, wallet, name string, sats int64) order
	begin, end sandbox.Operation
	// paths are the calls of a payment, at which a process is killed.
	paths []string
	// quarantine is that of the cases. After a killed end, a send's is asked for again by repeating it, which has to come before
	// another payment may begin: with a short quarantine and a queue at the wallet that would be a matter of luck.
	quarantine time.Duration
}

var kinds = map[string]kind{
	"Lightning": {
		declare: (*world).pay, begin: sandbox.PayBegin, end: sandbox.PayEnd, quarantine: 3 * time.Second,
		paths: []string{"/lightning/send-request/", "/lightning/pay-invoice-begin", "/lightning/pay-invoice-end"},
	},
	"on-chain": {
		declare: (*world).send, begin: sandbox.OnchainBegin, end: sandbox.OnchainEnd, quarantine: time.Minute,
		paths: []string{"/lightning/onchain-send-begin", "/lightning/onchain-send-end"},
	},
}

// newKillWorld makes a world with wallets at a reference service, which forgets nothing as long as it runs and merges repeated sends.
func newKillWorld(t *testing.T, k kind, wallets ...string) *world {
	t.Helper()
	w := newWorld(t, newService(t, sandbox.Reference))
	w.quarantine = k.quarantine
	for _, wallet := range wallets {
		w.addWallet(wallet)
	}
	if k.end != sandbox.OnchainEnd {
		return w
	}
	// The first send closes the node's channel. A second one that meets the closing channel would fail. The other wallets are looked at
	// before it: of one that comes after it nobody would know whether it has sent.
	w.addWallet("first")
	manager := w.start()
	w.awaitReady(wallets...)
	w.awaitPaid(w.send("first", "first", 50_000))
	manager.stop()
	return w
}

// TestKilledAtRandom kills managers while they make twelve payments, at instants that a seed chooses: a little after one of the calls of
// a payment has come in at the service. Every payment must be made, once, whatever was lost.
func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	const kills, latest = 8, 40 * time.Millisecond
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wallets := []string{"left", "right"}
			w := newKillWorld(t, k, wallets...)
			var orders []order
			for _, wallet := range wallets {
				for i := range 6 {
					orders = append(orders, k.declare(w, wallet, fmt.Sprintf("%s-%d", wallet, i), int64(20_000+i)))
				}
			}
			random := rand.New(rand.NewPCG(7, 0))
			inside := 0
			for range kills {
				path, nth, wait := k.paths[random.IntN(len(k.paths))], 1+random.IntN(2), time.Duration(random.Int64N(int64(latest)))
				if w.settled(orders) == nil {
					break
				}
				if w.killAt(path, nth, wait, wallets) {
					inside++
				}
			}
			if inside == 0 {
				t.Error("no process was killed while it paid")
			}
			t.Logf("%d times a process was killed while it paid", inside)
			w.start()
			await(t, "all payments came to an end", func() error {
				for _, wallet := range wallets {
					// An end that was repeated keeps the wallet closed: the one before it might still land, were its process not dead.
					if lease, _ := w.lease(wallet); lease != nil && lease.Spec.HolderIdentity == nil {
						w.outlast(wallet)
					}
				}
				return w.settled(orders)
			})
			w.awaitPaid(orders...)
		})
	}
}

// killAt starts a manager and kills it some time after the nth call of path has come in. It reports whether that was while it paid.
func (w *world) killAt(path string, nth int, wait time.Duration, wallets []string) (inside bool) {
	w.t.Helper()
	sprung := w.service.trap(path, nth)
	manager := w.start()
	select {
	case <-sprung:
		time.Sleep(wait)
	case <-time.After(10 * time.Second): // no such call is left to make: then it is killed between calls
	case <-manager.Done:
		w.t.Fatal("the manager ended by itself")
	}
	manager.kill()
	await(w.t, "the service is done with what the dead process asked", w.service.busy)
	for _, wallet := range wallets {
		if w.outlast(wallet) {
			inside = true
		}
	}
	return inside
}

// TestKilledInsideTheEnd kills managers while the call that moves money is known to be under way, and lets the real quarantines pass.
func TestKilledInsideTheEnd(t *testing.T) {
	t.Parallel()
	const hang = sandbox.Duration(5 * time.Minute)
	for name, tc := range map[string]struct {
		kind  string
		fault sandbox.Fault
		// kills is how many processes are killed, each of them while it makes the call.
		kills int
		// wantEnds is how often the call is made in all.
		wantEnds int
	}{
		"a payment that was made at once": {"Lightning", sandbox.Fault{Kind: sandbox.FaultSlowAnswer, Delay: hang}, 1, 1},
		"a payment that is made late":     {"Lightning", sandbox.Fault{Kind: sandbox.FaultDelay, Delay: hang}, 1, 1},
		"a payment that never arrived":    {"Lightning", sandbox.Fault{Kind: sandbox.FaultDropRequest}, 1, 2},
		"a send that was made at once":    {"on-chain", sandbox.Fault{Kind: sandbox.FaultSlowAnswer, Delay: hang}, 1, 2},
		"a send that never arrived":       {"on-chain", sandbox.Fault{Kind: sandbox.FaultDropRequest}, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := kinds[tc.kind]
			w := newKillWorld(t, k, "main")
			tc.fault.Operation, tc.fault.Count = k.end, tc.kills
			w.service.fault(t, tc.fault)
			paid := k.declare(w, "main", "rent", 20_000)
			for i := range tc.kills {
				manager := w.start()
				await(t, "the call that moves money is under way", func() error { return w.service.hit(k.end, i+1) })
				manager.kill()
				await(t, "the service is done with what the dead process asked", w.service.busy)
			}
			w.start()
			w.awaitPaid(paid)
			if ends := w.service.count(k.end, w.wallet("main").Status.XpubVanilla); ends != tc.wantEnds {
				t.Errorf("the call that moves money was made %d times, want %d", ends, tc.wantEnds)
			}
		})
	}
}
