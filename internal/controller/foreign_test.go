package controller_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
	"github.com/utexo/utexo-operator/internal/unmanaged"
)

// cluster makes another cluster with the same wallet, at the same service.
func (w *world) cluster() *world {
	w.t.Helper()
	other := &world{t: w.t, api: w.api, sandbox: w.sandbox, url: w.url, clock: w.clock}
	other.operator, other.namespace = other.makeNamespace("operator-"), other.makeNamespace("team-")
	other.makeSecret("main", map[string]string{"mnemonic": mnemonic})
	other.create(other.mainWallet(sandbox.Documented))
	other.start()
	other.syncWallet()
	return other
}

// unmanaged looks at the Wallet main for as long as a look takes to be certain, and checks the number of payments without a record; -1
// for none that is shown. It returns the ForeignWriter events.
func (w *world) unmanaged(want int64) []string {
	w.t.Helper()
	wallet := w.wallet("main")
	w.clock.Step(unmanaged.Interval)
	w.watch(wallet, unmanaged.Distance+2*time.Minute)
	w.want(wallet, verdict{"", v1alpha1.ReasonSynced, nil})
	got := int64(-1)
	if counts := wallet.Status.Payments; counts != nil && counts.Unmanaged != nil {
		got = *counts.Unmanaged
	}
	if got != want {
		w.t.Errorf("%d payments without a record are shown, want %d", got, want)
	}
	var told []string
	for _, event := range w.emitted() {
		if strings.HasPrefix(event, "Warning "+v1alpha1.EventForeignWriter+" ") {
			told = append(told, event)
		}
	}
	return told
}

// gauges are the series of a metric that a collector tells, by their labels.
func (w *world) gauges(collector prometheus.Collector, name string) map[string]float64 {
	w.t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	families, err := registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	series := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			series[strings.Join(labels, ",")] = metric.GetGauge().GetValue()
		}
	}
	return series
}

// pays has a cluster pay an invoice, and returns its payment hash.
func (w *world) pays(name string) string {
	w.t.Helper()
	invoice := w.supplierInvoice(5000)
	pay := made(w, w.payment(name, invoice).Obj())
	w.rest(pay)
	w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	return w.hashOf(invoice)
}

// TestForeignWriter lets two clusters pay from one wallet.
func TestForeignWriter(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	other := w.cluster()
	w.pays("rent")
	if told := w.unmanaged(0); len(told) > 0 {
		t.Errorf("of its own payments: %v", told)
	}

	first, second := other.pays("rent"), other.pays("power")
	told := w.unmanaged(2)
	if got := w.gauges(controller.NewPaymentCollector(&controller.Tally{}, client.NewNamespacedClient(w.api, w.namespace)), "utexo_payments_unmanaged"); !cmp.Equal(
		got, map[string]float64{"namespace=" + w.namespace + ",wallet=main": 2}) {
		t.Errorf("the metric says %v", got)
	}
	wallet := w.wallet("main")
	w.get(wallet)
	if len(told) != 1 {
		t.Fatalf("a person was told %d times: %v", len(told), told)
	}
	for _, text := range []string{"2 payments of the last 7 days", first[:16], second[:16], "another cluster", "not supported", "spec.acknowledgedEpoch is " + wallet.Status.JournalEpoch} {
		if !strings.Contains(told[0], text) {
			t.Errorf("the event does not say %q: %s", text, told[0])
		}
	}
	if len(told[0]) > 1000 || strings.Contains(told[0], first) {
		t.Errorf("an event of %d bytes: %s", len(told[0]), told[0])
	}

	// What one does the other cannot know, so sends wait for a person. Lightning payments have a key at the node, and go on.
	send := made(w, w.send("payroll", 20000).Obj())
	w.pass(send)
	w.want(send, verdict{"Pending", v1alpha1.ReasonJournalLost, []string{"spec.acknowledgedEpoch"}})
	w.quiet(send)
	w.pays("water")
	w.change(wallet, func() { wallet.Spec.AcknowledgedEpoch = wallet.Status.JournalEpoch })
	w.syncWallet()
	w.rest(send)
	w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})

	// A process that starts does not tell again what was told.
	w.start()
	if told := w.unmanaged(2); len(told) > 0 {
		t.Errorf("after a restart: %v", told)
	}
	third := other.pays("phone")
	if told := w.unmanaged(3); len(told) != 1 || !strings.Contains(told[0], third[:16]) || strings.Contains(told[0], "acknowledgedEpoch") {
		t.Errorf("of a third payment, after the epoch was acknowledged: %v", told)
	}
	bonus := made(w, w.send("bonus", 30000).Obj())
	w.rest(bonus)
	w.want(bonus, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})

	w.clock.Step(unmanaged.Window)
	if told := w.unmanaged(0); len(told) > 0 {
		t.Errorf("a week later: %v", told)
	}
	// The other cluster is told the same.
	if told := other.unmanaged(0); len(told) > 0 {
		t.Errorf("the other cluster, which looks a week later for the first time: %v", told)
	}
}

// TestNoForeignWriter has payments that seem to be somebody else's and are not.
func TestNoForeignWriter(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(w *world)
		want    int64
		// shared is a service all of whose wallets have one node.
		shared bool
	}{
		"the service has no list": {func(w *world) { w.sandbox.SetListPayments(false) }, -1, false},
		"its list is of another wallet of the cluster too": {func(w *world) {
			w.makeSecret("other", map[string]string{"mnemonic": "legal winner thank year wave sausage worth useful legal winner thank yellow"})
			wallet := made(w, testkit.MakeWallet("other").Namespace(w.namespace).URL(w.url).KeysFrom("other").Obj())
			w.pass(wallet)
			w.get(wallet)
			if err := w.sandbox.FundWallet(wallet.Status.XpubVanilla, false, 100_000); err != nil {
				w.t.Fatal(err)
			}
			pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Wallet("other").Obj())
			w.rest(pay)
			w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		}, 0, true},
		"it is followed": {func(w *world) {
			invoice := w.supplierInvoice(5000)
			elsewhere := w.cluster()
			elsewhere.rest(made(elsewhere, elsewhere.payment("rent", invoice).Obj()))
			watched := w.payment("rent", invoice).Obj()
			w.create(inMode(watched, v1alpha1.ModeObserve))
			w.pass(w.wallet("main")) // which sees it first
			w.rest(watched)
			w.want(watched, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		}, 0, false},
		"the list cannot be read for a while": {func(w *world) {
			w.pays("rent")
			w.fault(sandbox.Fault{Kind: sandbox.FaultErrorBefore, Operation: sandbox.ListPayments, Count: 3})
		}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			profile := sandbox.Documented
			if tc.shared {
				profile = sandbox.Reference
			}
			w := newWorld(t, profile)
			w.sandbox.SetListPayments(true)
			w.syncWallet()
			tc.prepare(w)
			if told := w.unmanaged(tc.want); len(told) > 0 {
				t.Error(told)
			}
			epochs := w.records(v1alpha1.RecordWalletEpoch)
			for i := range epochs {
				if epochs[i].Journal.Reason == v1alpha1.ReasonJournalLost {
					t.Error("on-chain sends would wait")
				}
			}
		})
	}
}

// TestForeignWriterIsCheap counts what a wallet with many payments costs the API server and the service in an hour.
func TestForeignWriterIsCheap(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	for _, name := range []string{"rent", "power", "water", "phone"} {
		w.pays(name)
	}
	w.start()
	lists, gets := 0, 0
	w.boundary = func(call string, after bool) error {
		switch {
		case after:
		case strings.HasSuffix(call, "/listpayments"):
			lists++
		case call == "K get PaymentRecord":
			gets++
		case strings.HasPrefix(call, "K list"):
			t.Errorf("a wallet without a budget had the API server asked to %s", call)
		}
		return nil
	}
	w.clock.Step(time.Minute)
	wallet, passes := w.wallet("main"), 0
	for until := w.clock.Now().Add(time.Hour); w.clock.Now().Before(until); passes++ {
		w.clock.Step(w.pass(wallet))
	}
	w.boundary = nil
	// The epoch is read in each pass, a payment's record once.
	if lists > 7 || gets > passes+4 {
		t.Errorf("%d lists of payments and %d records read in %d passes of an hour", lists, gets, passes)
	}
}
