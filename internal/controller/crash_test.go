package controller_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

type zapLevel = zapcore.Level

func satsOf(sats int64) amount.Sat { return amount.Sat(sats) }

// scenario is a payment that is driven to its end under a fault.
type scenario struct {
	name    string
	profile sandbox.Profile
	make    func(w *world) client.Object
	// doubtful tells that the service is one of which nothing can be asked after a lost end.
	doubtful bool
}

func scenarios() []scenario {
	lightning := func(w *world) client.Object {
		return testkit.MakeLightningPayment("rent").Namespace(w.namespace).Invoice(w.supplierInvoice(5000)).Obj()
	}
	onchain := func(w *world) client.Object {
		address, err := w.sandbox.NewAddress()
		if err != nil {
			w.t.Fatal(err)
		}
		return testkit.MakeOnchainSend("payroll").Namespace(w.namespace).Address(address).AmountSats(20000).MaxFeeSats(5000).
			ValidUntil(w.clock.Now().Add(24 * time.Hour)).Obj()
	}
	return []scenario{
		{name: "lightning, documented service", profile: sandbox.Documented, make: lightning},
		{name: "lightning, reference service", profile: sandbox.Reference, make: lightning},
		{name: "on-chain, documented service", profile: sandbox.Documented, make: onchain, doubtful: true},
		{name: "on-chain, reference service", profile: sandbox.Reference, make: onchain},
	}
}

// moved are the movements out of the wallet that the scenario is about.
func moved(w *world) []sandbox.Entry {
	var out []sandbox.Entry
	for _, entry := range w.sandbox.Ledger() {
		if entry.Kind == sandbox.LightningOut || entry.Kind == sandbox.OnchainOut {
			out = append(out, entry)
		}
	}
	return out
}

func phaseOf(object client.Object) v1alpha1.PaymentPhase {
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		return o.Status.Phase
	case *v1alpha1.OnchainSend:
		return o.Status.Phase
	}
	return ""
}

// calls are the boundaries of the happy path, in order: what a fault can be put around.
func calls(t *testing.T, s scenario) []string {
	w := newWorld(t, s.profile)
	w.syncWallet()
	object := s.make(w)
	w.create(object)
	var seen []string
	w.boundary = func(call string, after bool) error {
		if !after {
			seen = append(seen, call)
		}
		return nil
	}
	w.drive(object)
	w.get(object)
	if phase := phaseOf(object); phase != v1alpha1.PaymentSucceeded || len(moved(w)) != 1 {
		t.Fatalf("without a fault: %s, moved %d times; calls:\n%s", phase, len(moved(w)), strings.Join(seen, "\n"))
	}
	return seen
}

// fault is what happens at one boundary.
type fault struct {
	name string
	// at says what happens before or after the call, and only for calls of the kinds of K, U or both.
	at    func(after bool) error
	kinds string
}

func crash(when bool) func(bool) error {
	return func(after bool) error {
		if after == when {
			panic(crashed{})
		}
		return nil
	}
}

func lose(when bool) func(bool) error {
	return func(after bool) error {
		if after == when {
			return errInjected
		}
		return nil
	}
}

func faults() []fault {
	return []fault{
		{name: "crash before", at: crash(false), kinds: "KU"},
		{name: "crash after", at: crash(true), kinds: "KU"},
		{name: "error, no effect", at: lose(false), kinds: "K"},
		{name: "answer lost", at: lose(true), kinds: "KU"},
	}
}

// TestOneFaultAtEachCall puts each fault at each call of a payment, one at a time, and lets the ledger judge.
func TestOneFaultAtEachCall(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			path := calls(t, s)
			t.Logf("%d calls:\n%s", len(path), strings.Join(path, "\n"))
			for n, call := range path {
				for _, f := range faults() {
					if !strings.Contains(f.kinds, call[:1]) {
						continue
					}
					t.Run(fmt.Sprintf("%s call %d %s", f.name, n+1, call), func(t *testing.T) { oneFault(t, s, path, n, f) })
				}
			}
		})
	}
}

func oneFault(t *testing.T, s scenario, path []string, n int, f fault) {
	w := newWorld(t, s.profile)
	w.syncWallet()
	object := s.make(w)
	w.create(object)
	count := -1
	hit := false
	w.boundary = func(_ string, after bool) error {
		if !after {
			count++
		}
		if hit || count != n {
			return nil
		}
		err := func() (err error) {
			defer func() {
				if reason := recover(); reason != nil {
					hit = true
					panic(reason)
				}
			}()
			return f.at(after)
		}()
		hit = hit || err != nil
		return err
	}
	w.drive(object)
	if !hit {
		t.Fatalf("call %d was not made", n+1)
	}
	w.get(object)
	phase, out := phaseOf(object), moved(w)
	ends := 0
	for _, request := range w.sandbox.Requests() {
		if request.Operation == sandbox.PayEnd || request.Operation == sandbox.OnchainEnd {
			ends++
		}
	}
	mayBeUnknown := s.doubtful && doubtful(path, n, f)
	switch {
	case len(out) > 1:
		t.Fatalf("money moved %d times", len(out))
	case phase == v1alpha1.PaymentSucceeded && len(out) != 1:
		t.Errorf("Succeeded, and no money moved")
	case phase == v1alpha1.PaymentFailed:
		t.Errorf("Failed; money moved %d times; %+v", len(out), object)
	case phase == v1alpha1.PaymentUnknown && !mayBeUnknown:
		t.Errorf("Unknown after a fault that leaves no doubt: %+v", object)
	case phase != v1alpha1.PaymentSucceeded && phase != v1alpha1.PaymentUnknown:
		t.Errorf("came to rest as %q", phase)
	}
	for _, entry := range out {
		if entry.PSBT == nil || !entry.PSBT.Valid {
			t.Errorf("moved on a PSBT that is not valid: %+v", entry.PSBT)
		}
	}
	if ends > 3 {
		t.Errorf("%d calls that move money", ends)
	}
	converged(t, w, object)
}

// doubtful reports whether a fault at call n leaves it open, to a service that does not answer repetitions, whether an on-chain send was
// made: from the write-ahead to the record of the answer, where a crash or the loss of the end's answer takes the send id away.
func doubtful(path []string, n int, f fault) bool {
	end := slices.IndexFunc(path, func(call string) bool { return strings.HasSuffix(call, "/onchain-send-end") })
	ahead, answered := end-1, end+2 // K patch PaymentRecord; U end; K create PaymentRecord (the send id); K patch PaymentRecord
	switch {
	case n == end:
		return true
	case strings.HasPrefix(f.name, "crash"):
		return (n == ahead && f.name == "crash after") || (n > end && n < answered) || (n == answered && f.name == "crash before")
	}
	return false
}

// converged checks that twenty further passes write nothing and call nothing that moves money.
func converged(t *testing.T, w *world, object client.Object) {
	t.Helper()
	var written []string
	w.boundary = func(call string, after bool) error {
		reads := strings.HasPrefix(call, "K get") || strings.HasPrefix(call, "K list") || strings.HasPrefix(call, "U "+http.MethodGet)
		if !after && !reads {
			written = append(written, call)
		}
		return nil
	}
	for range 20 {
		if _, err := w.reconcile(object); err != nil {
			t.Errorf("a pass after the end: %v", err)
		}
		w.clock.Step(time.Minute)
	}
	if len(written) > 0 {
		t.Errorf("twenty passes after the end made %v", slices.Compact(written))
	}
}
