package controller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// funded makes a world whose wallet has a deposit that a settlement puts into a channel.
func funded(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, sandbox.Reference)
	w.syncWallet()
	deposit := made(w, testkit.MakeDepositAddress(w.namespace, "till"))
	w.pass(deposit)
	w.get(deposit)
	if _, err := w.sandbox.FundAddress(deposit.Status.Address, 100_000, true); err != nil {
		t.Fatal(err)
	}
	return w
}

// opened counts the channels that were opened.
func (w *world) opened() int {
	count := 0
	for _, entry := range w.sandbox.Ledger() {
		if entry.Kind == sandbox.ChannelOpen {
			count++
		}
	}
	return count
}

// TestSettlementAnswers reads what is shown of each answer that a service gives.
func TestSettlementAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(w *world)
		want    verdict
		calls   int
	}{
		"channels are opened": {
			want: verdict{"Succeeded", v1alpha1.ReasonSettlementDone, []string{"channels opened: 1"}}, calls: 1,
		},
		"a channel cannot be opened": {
			prepare: func(w *world) {
				w.fault(sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.NodeOpenChannel, Name: "NoAvailableUtxos"})
			},
			want: verdict{"Failed", v1alpha1.ReasonChannelNotOpened, []string{"1 of 1 channels"}}, calls: 1,
		},
		"the answer is lost": {
			prepare: func(w *world) { w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.Settle}) },
			want:    verdict{"Unknown", v1alpha1.ReasonAnswerLost, []string{"not asked again"}}, calls: 1,
		},
		"the request is lost": {
			prepare: func(w *world) { w.fault(sandbox.Fault{Kind: sandbox.FaultDropRequest, Operation: sandbox.Settle}) },
			want:    verdict{"Unknown", v1alpha1.ReasonAnswerLost, nil}, calls: 1,
		},
		"the answer cannot be read": {
			prepare: func(w *world) { w.fault(sandbox.Fault{Kind: sandbox.FaultGarble, Operation: sandbox.Settle}) },
			want:    verdict{"Unknown", v1alpha1.ReasonAnswerLost, nil}, calls: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := funded(t)
			if tc.prepare != nil {
				tc.prepare(w)
			}
			object := made(w, testkit.MakeSettlement(w.namespace, "monday"))
			w.rest(object)
			w.want(object, tc.want)
			if calls := w.called(sandbox.Settle); calls != tc.calls {
				t.Errorf("the service was asked %d times, want %d", calls, tc.calls)
			}
			w.quiet(object)
		})
	}
}

// TestSettlementIsRefused reads a refusal that comes with the status 200.
func TestSettlementIsRefused(t *testing.T) {
	w := newWorld(t, sandbox.Reference, func(o *sandbox.Options) { o.NodeSats, o.Unfunded = 10_000, true })
	w.syncWallet()
	deposit := made(w, testkit.MakeDepositAddress(w.namespace, "till"))
	w.pass(deposit)
	w.get(deposit)
	if _, err := w.sandbox.FundAddress(deposit.Status.Address, 1000, true); err != nil {
		t.Fatal(err)
	}
	object := made(w, testkit.MakeSettlement(w.namespace, "monday"))
	w.rest(object)
	w.want(object, verdict{"Failed", v1alpha1.ReasonSettlementRefused, []string{"Not enough balance"}})
}

// TestSettlementIsHeld waits for a wallet that is suspended, and for one that is not there.
func TestSettlementIsHeld(t *testing.T) {
	w := funded(t)
	wallet := w.wallet("main")
	w.change(wallet, func() { wallet.Spec.Suspend = true })
	w.syncWallet()
	object := made(w, testkit.MakeSettlement(w.namespace, "monday"))
	w.pass(object)
	w.want(object, verdict{"Pending", v1alpha1.ReasonSuspended, []string{"suspend"}})
	w.change(wallet, func() { wallet.Spec.Suspend = false })
	w.syncWallet()
	w.rest(object)
	w.want(object, verdict{"Succeeded", v1alpha1.ReasonSettlementDone, nil})

	other := testkit.MakeSettlement(w.namespace, "tuesday")
	other.Spec.WalletRef.Name = "nobody"
	w.create(other)
	w.pass(other)
	w.want(other, verdict{"Pending", v1alpha1.ReasonWalletNotFound, nil})
	foreign := testkit.MakeSettlement(w.namespace, "wednesday")
	foreign.Spec.WalletRef.Namespace = "elsewhere"
	w.create(foreign)
	w.rest(foreign)
	w.want(foreign, verdict{"Failed", v1alpha1.ReasonInvalidSpec, []string{"elsewhere"}})
}

// TestSettlementStatusIsLost strips the status of a settlement that is over: it is written anew, and nobody is asked.
func TestSettlementStatusIsLost(t *testing.T) {
	w := funded(t)
	object := made(w, testkit.MakeSettlement(w.namespace, "monday"))
	w.rest(object)
	w.strip(object)
	w.rest(object)
	w.want(object, verdict{"Succeeded", v1alpha1.ReasonSettlementDone, nil})
	if len(object.Status.Results) != 1 || object.Status.ChannelsOpened == nil || *object.Status.ChannelsOpened != 1 {
		t.Errorf("results %+v", object.Status)
	}
	if calls := w.called(sandbox.Settle); calls != 1 {
		t.Errorf("the service was asked %d times", calls)
	}
}

// TestSettlementSeemsGone lets the API server say once, right before the call, that a settlement is gone which is there: it goes on by itself.
func TestSettlementSeemsGone(t *testing.T) {
	w := funded(t)
	object := made(w, testkit.MakeSettlement(w.namespace, "monday"))
	looks := 0
	w.boundary = func(call string, after bool) error {
		if after || !strings.Contains(call, "get Settlement") {
			return nil
		}
		if looks++; looks != 2 { // the first is the one with which a pass begins
			return nil
		}
		return apierrors.NewNotFound(schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "settlements"}, object.Name)
	}
	w.rest(object)
	w.want(object, verdict{"Succeeded", v1alpha1.ReasonSettlementDone, nil})
	if calls := w.called(sandbox.Settle); looks != 4 || calls != 1 {
		t.Errorf("looked at %d times, the service was asked %d times", looks, calls)
	}
}

// TestOneFaultAtEachCallOfASettlement puts each fault at each call, one at a time: the service is asked once, and the outcome is unknown
// only where the answer is lost with the process that asked.
func TestOneFaultAtEachCallOfASettlement(t *testing.T) {
	path := func() []string {
		w := funded(t)
		object := made(w, testkit.MakeSettlement(w.namespace, "monday"))
		var seen []string
		w.boundary = func(call string, after bool) error {
			if !after {
				seen = append(seen, call)
			}
			return nil
		}
		w.rest(object)
		return seen
	}()
	asked := -1
	for n, call := range path {
		if strings.HasSuffix(call, "/settle") {
			asked = n
		}
	}
	if asked < 0 {
		t.Fatalf("the service is not asked:\n%s", strings.Join(path, "\n"))
	}
	for n, call := range path {
		for _, f := range faults() {
			if !strings.Contains(f.kinds, call[:1]) {
				continue
			}
			t.Run(fmt.Sprintf("%s call %d %s", f.name, n+1, call), func(t *testing.T) {
				w := funded(t)
				object := made(w, testkit.MakeSettlement(w.namespace, "monday"))
				w.strike(n, f, nil)
				w.drive(object)
				w.boundary = nil
				w.get(object)
				calls, settled := w.called(sandbox.Settle), w.opened() > 0
				// From the write-ahead to the record of the answer a crash takes the answer away.
				doubtful := (n == asked && f.name != "error, no effect") || (n == asked-1 && f.name == "crash after") || (n == asked+1 && f.name == "crash before")
				switch got := object.Status.Phase; {
				case calls > 1:
					t.Errorf("the service was asked %d times", calls)
				case got == v1alpha1.SettlementSucceeded && !settled:
					t.Error("Succeeded, and no channel was opened")
				case got == v1alpha1.SettlementUnknown && !doubtful:
					t.Errorf("Unknown after a fault that leaves no doubt: %+v", object.Status)
				case got != v1alpha1.SettlementSucceeded && got != v1alpha1.SettlementUnknown:
					t.Errorf("came to rest as %q: %+v", got, object.Status)
				}
				w.quiet(object)
			})
		}
	}
}

// TestAutomaticSettlement declares one Settlement an interval, from what the wallet wants.
func TestAutomaticSettlement(t *testing.T) {
	w := funded(t)
	wallet := w.wallet("main")
	want := func(settlement v1alpha1.WalletSettlement) {
		w.change(wallet, func() { wallet.Spec.Settlement = &settlement })
		w.pass(wallet)
	}
	list := func() []v1alpha1.Settlement {
		var list v1alpha1.SettlementList
		if err := w.api.List(t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
			t.Fatal(err)
		}
		return list.Items
	}
	declared := func(count int, when string) {
		t.Helper()
		if got := list(); len(got) != count {
			t.Errorf("%s there are %d Settlements, want %d", when, len(got), count)
		}
	}
	want(v1alpha1.WalletSettlement{Mode: v1alpha1.SettleManual})
	declared(0, "by hand")
	want(v1alpha1.WalletSettlement{Mode: v1alpha1.SettleAutomatic, MinimumSats: 1_000_000_000_000})
	declared(0, "with too little to settle")
	want(v1alpha1.WalletSettlement{Mode: v1alpha1.SettleAutomatic, Interval: &metav1.Duration{Duration: 6 * time.Hour}})
	declared(1, "once there is enough")
	for range 3 {
		w.clock.Step(6 * time.Hour)
		w.pass(wallet)
	}
	declared(1, "while the first is under way")
	first := list()[0]
	w.reach(&first, v1alpha1.ReasonSettlementDone)
	w.pass(wallet)
	declared(2, "once the first is over")
	second := list()[1]
	if second.Name == first.Name {
		second = list()[0]
	}
	w.reach(&second, v1alpha1.ReasonSettlementDone)
	for range 20 {
		w.pass(wallet)
	}
	declared(2, "later in the same interval")
	if owner := second.OwnerReferences; len(owner) != 1 || owner[0].UID != wallet.UID {
		t.Errorf("the Settlement is owned by %+v", owner)
	}
	w.clock.Step(6 * time.Hour)
	w.change(wallet, func() { wallet.Spec.Suspend = true })
	w.pass(wallet)
	declared(2, "while the wallet is suspended")
	w.change(wallet, func() { wallet.Spec.Suspend = false })
	w.at("K create Settlement", true, func() { panic(crashed{}) })
	_, _ = w.reconcile(wallet)
	w.boundary = nil
	w.start()
	w.pass(wallet)
	declared(3, "after a crash behind the declaration")
}
