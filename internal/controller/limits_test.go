package controller_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// limited makes a world whose wallet has limits.
func limited(t *testing.T, profile sandbox.Profile, limits v1alpha1.WalletLimits) *world {
	t.Helper()
	w := newWorld(t, profile)
	w.limit(limits)
	return w
}

// limit gives the wallet other limits.
func (w *world) limit(limits v1alpha1.WalletLimits) {
	w.t.Helper()
	wallet := w.wallet("main")
	w.change(wallet, func() { wallet.Spec.Limits = &limits })
	w.syncWallet()
}

// TestLimitsBlock holds what is above a limit, says by which, makes no call that leads to a payment, and goes on once it is raised.
func TestLimitsBlock(t *testing.T) {
	for name, tc := range map[string]struct {
		limits v1alpha1.WalletLimits
		want   verdict
	}{
		"a payment that is too large": {
			v1alpha1.WalletLimits{MaxPaymentSats: new(int64(4999))},
			verdict{"Pending", v1alpha1.ReasonLimitExceeded, []string{"5000 sat", "maxPaymentSats 4999", "nothing was sent"}},
		},
		"a fee that may be too high": {
			v1alpha1.WalletLimits{MaxFeeSats: new(int64(199))},
			verdict{"Pending", v1alpha1.ReasonLimitExceeded, []string{"maxFeeSats 200", "spec.limits.maxFeeSats 199"}},
		},
		"a payee that is not listed": {
			v1alpha1.WalletLimits{AllowedDestinations: []v1alpha1.AllowedDestination{{Address: "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"}}},
			verdict{"Pending", v1alpha1.ReasonDestinationNotAllowed, []string{"allowedDestinations", "to node "}},
		},
		"a budget that is too small": {
			v1alpha1.WalletLimits{DailySats: new(int64(5199))},
			verdict{"Pending", v1alpha1.ReasonLimitExceeded, []string{"5200 sat", "dailySats 5199"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := limited(t, sandbox.Documented, tc.limits)
			pay := made(w, w.payment("rent", w.supplierInvoice(5000)).MaxFeeSats(200).Obj())
			w.pass(pay)
			w.want(pay, tc.want)
			w.quiet(pay)
			w.began(0, 0)
			w.limit(v1alpha1.WalletLimits{DailySats: new(int64(5200))})
			w.rest(pay)
			w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(1)
		})
	}
}

// TestLimitLoweredAtTheLastMoment lowers a limit after the payment was begun and before it is submitted.
func TestLimitLoweredAtTheLastMoment(t *testing.T) {
	w := limited(t, sandbox.Documented, v1alpha1.WalletLimits{DailySats: new(int64(6000))})
	pay := made(w, w.payment("rent", w.supplierInvoice(5000)).MaxFeeSats(200).Obj())
	wallet := w.wallet("main")
	w.atPermission(func() { w.change(wallet, func() { wallet.Spec.Limits.DailySats = new(int64(5199)) }) })
	w.pass(pay)
	w.boundary = nil
	w.began(1, 0)
	w.syncWallet()
	w.pass(pay)
	w.want(pay, verdict{"Pending", v1alpha1.ReasonLimitExceeded, nil})
	w.paid(0)
}

// TestBudgetRollsOver blocks a payment until the one that used the budget is a day old, says until when, and then makes it by itself.
func TestBudgetRollsOver(t *testing.T) {
	w := limited(t, sandbox.Documented, v1alpha1.WalletLimits{DailySats: new(int64(20_000 + 10_000))})
	until := w.clock.Now().Add(72 * time.Hour)
	first, second := w.send("monday", 20_000), w.send("tuesday", 19_000)
	a, b := made(w, first.ValidUntil(until).Obj()), made(w, second.ValidUntil(until).Obj())
	w.rest(a)
	w.want(a, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	free := w.record(a).Journal.SubmittedAt.Add(24 * time.Hour)
	w.pass(b)
	w.want(b, verdict{"Pending", v1alpha1.ReasonBudgetExceeded, []string{free.UTC().Format(time.RFC3339), "dailySats 30000"}})
	wallet := w.wallet("main")
	w.syncWallet()
	w.get(wallet)
	if budget := wallet.Status.Budget; budget == nil || budget.SpentSats24h < 20_000 || budget.SpentSats24h+budget.RemainingSats != 30_000 {
		t.Errorf("the wallet shows the budget %+v", budget)
	}
	w.watch(b, free.Sub(w.clock.Now())-time.Second)
	w.paid(1)
	w.rest(b)
	w.want(b, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	w.paid(2)
	w.syncWallet()
	w.limit(v1alpha1.WalletLimits{})
	if w.get(wallet); wallet.Status.Budget != nil {
		t.Errorf("without a limit the wallet shows the budget %+v", wallet.Status.Budget)
	}
}

// TestBudgetOfAnothersWallet declares a wallet of public keys whose owner spends, at its own service, which refuses it, and at an address
// where nobody is: what the owner spent is not shown.
func TestBudgetOfAnothersWallet(t *testing.T) {
	for name, tc := range map[string]struct {
		// refused says from when on the service knows no further wallet: from the first look, or once the Wallet names it by another URL.
		refused, moved bool
		url            string
		want           string
	}{
		"the service knows it":    {want: v1alpha1.ReasonSynced},
		"the service refuses it":  {refused: true, want: v1alpha1.ReasonNotRegistered},
		"there is no service":     {url: "http://127.0.0.1:1", want: v1alpha1.ReasonServiceUnavailable},
		"it moves to another one": {moved: true, want: v1alpha1.ReasonNotRegistered},
	} {
		t.Run(name, func(t *testing.T) {
			w := limited(t, sandbox.Documented, v1alpha1.WalletLimits{DailySats: new(int64(1_000_000))})
			send := made(w, w.send("payroll", 20_000).Obj())
			w.rest(send)
			set, err := keys.FromMnemonic(mnemonic, "", bitcoin.Regtest)
			if err != nil {
				t.Fatal(err)
			}
			public := set.Public()
			if public.XpubVanilla != w.record(send).Spec.Wallet.XpubVanilla {
				t.Fatal("it is not the keys of who spent")
			}
			refuse := func() {
				w.fault(sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.RegisterWallet, Status: 403, Name: "Forbidden", Count: -1})
			}
			if tc.refused {
				refuse()
			}
			if tc.url == "" {
				tc.url = w.url
			}
			other := testkit.MakeWallet("main").Namespace(w.makeNamespace("tenant-")).URL(tc.url).
				WatchOnly(public.XpubVanilla, public.XpubColored, public.MasterFingerprint).Obj()
			other.Spec.Limits = &v1alpha1.WalletLimits{DailySats: new(int64(1))}
			w.create(other)
			w.pass(other)
			if tc.moved {
				if w.get(other); other.Status.Budget == nil {
					t.Fatal("without a budget at first this shows nothing")
				}
				refuse()
				w.change(other, func() { other.Spec.Endpoint.URL = strings.Replace(w.url, "127.0.0.1", "localhost", 1) })
				w.pass(other)
			}
			w.want(other, verdict{reason: tc.want})
			if w.get(other); (other.Status.Budget != nil) != (tc.want == v1alpha1.ReasonSynced) {
				t.Errorf("it shows the budget %+v", other.Status.Budget)
			}
		})
	}
}

// TestRepetitionCountsFromItsCall suspends a send whose submission was lost on its way, and submits it again days later: what then leaves
// the wallet counts from then on.
func TestRepetitionCountsFromItsCall(t *testing.T) {
	w := limited(t, sandbox.Reference, v1alpha1.WalletLimits{DailySats: new(int64(30_000))})
	until := w.clock.Now().Add(30 * 24 * time.Hour)
	w.fault(sandbox.Fault{Kind: sandbox.FaultDropRequest, Operation: sandbox.OnchainEnd})
	first, second := made(w, w.send("monday", 20_000).ValidUntil(until).Obj()), made(w, w.send("thursday", 19_000).ValidUntil(until).Obj())
	w.pass(first)
	w.change(first, func() { first.Spec.Suspend = true })
	w.clock.Step(72 * time.Hour)
	w.syncWallet()
	w.paid(0)
	w.change(first, func() { first.Spec.Suspend = false })
	w.rest(first)
	w.want(first, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	w.pass(second)
	w.want(second, verdict{"Pending", v1alpha1.ReasonBudgetExceeded, nil})
	w.paid(1)
}

// TestCapDeclaredAnew takes a payment that was not submitted yet out of its record's sight, and declares it again with another fee cap: the
// record, which is what a budget counts, follows.
func TestCapDeclaredAnew(t *testing.T) {
	w := limited(t, sandbox.Documented, v1alpha1.WalletLimits{DailySats: new(int64(20_000))})
	w.fault(sandbox.Fault{Kind: sandbox.FaultThrottle, Operation: sandbox.PayBegin})
	pay := made(w, w.payment("rent", w.supplierInvoice(5000)).MaxFeeSats(200).Obj())
	w.pass(pay)
	w.change(pay, func() { pay.Finalizers = nil })
	w.delete(pay)
	cap := int64(10_000)
	pay.Spec.MaxFeeSats = &cap
	w.recreate(pay)
	w.rest(pay)
	w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	if got := w.record(pay).Spec.MaxFeeSats; got != cap {
		t.Errorf("the record counts a fee of at most %d sat, and up to %d might have left", got, cap)
	}
	w.paid(1)
}

// TestBudgetOfManyRecords adds up more records than the API server gives at once, to the satoshi.
func TestBudgetOfManyRecords(t *testing.T) {
	const others, each = 550, 101
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	rent := made(w, w.payment("rent", w.supplierInvoice(1001)).Obj())
	w.rest(rent)
	first := w.record(rent)
	spent := first.Journal.Plan.OutflowSats // which is more than the amount and the fee that the service tells
	for i := range others {
		record := &v1alpha1.PaymentRecord{Spec: *first.Spec.DeepCopy(), Journal: *first.Journal.DeepCopy()}
		record.Namespace, record.Name, record.Labels = first.Namespace, fmt.Sprint("ln-", i), first.Labels
		record.Spec.PaymentHash, record.Spec.AmountSats, record.Journal.FeeSats = fmt.Sprintf("%064x", i), new(int64(each)), new(int64(0))
		record.Journal.Plan.OutflowSats = each
		w.create(record)
		spent += each
	}
	// What is left is as much as the next payment needs, with the most that its fee may be, and one satoshi less.
	next := w.payment("power", w.supplierInvoice(5000)).MaxFeeSats(1000)
	w.limit(v1alpha1.WalletLimits{DailySats: new(spent + 5999)})
	wallet := w.wallet("main")
	w.get(wallet)
	want := &v1alpha1.Budget{SpentSats24h: spent, RemainingSats: 5999}
	if diff := cmp.Diff(want, wallet.Status.Budget); diff != "" {
		t.Errorf("the wallet's budget (-want +got):\n%s", diff)
	}
	pay := made(w, next.Obj())
	w.pass(pay)
	w.want(pay, verdict{"Pending", v1alpha1.ReasonBudgetExceeded, nil})
	w.paid(1)
	w.limit(v1alpha1.WalletLimits{DailySats: new(spent + 6000)})
	w.rest(pay)
	w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	w.paid(2)
}

// TestBudgetUnderFire makes 100 payments at once, by two replicas, against a budget for 10, while answers are lost: exactly 10 are made.
func TestBudgetUnderFire(t *testing.T) {
	const payments, budgeted, sats, fee, transaction = 100, 10, 1000, 200, 154
	for name, faults := range map[string][]sandbox.Fault{
		"without a fault": nil,
		"with lost answers and lost requests": {
			{Kind: sandbox.FaultDropAnswer, Operation: sandbox.PayEnd, Nth: 3},
			{Kind: sandbox.FaultDropRequest, Operation: sandbox.PayEnd, Nth: 6},
			{Kind: sandbox.FaultDropAnswer, Operation: sandbox.PayBegin, Nth: 5},
		},
	} {
		t.Run(name, func(t *testing.T) {
			// What was made counts with the fee of its transaction, what is under way with its highest: the tenth fits, and the eleventh never.
			w := limited(t, sandbox.Documented, v1alpha1.WalletLimits{DailySats: new(int64(budgeted*(sats+transaction) + fee))})
			for _, fault := range faults {
				w.fault(fault)
			}
			var objects []client.Object
			for n := range payments {
				objects = append(objects, made(w, w.payment(fmt.Sprintf("reward-%d", n), w.supplierInvoice(sats)).MaxFeeSats(fee).Obj()))
			}
			processes := []*controller.Controllers{w.controllers, w.rival()}
			count := func(reason string) (found int) {
				for _, object := range objects {
					if w.get(object); len(conditionsOf(object)) > 0 && w.ready(object).Reason == reason {
						found++
					}
				}
				return found
			}
			decided := func() bool {
				return count(v1alpha1.ReasonSucceeded) == budgeted && count(v1alpha1.ReasonBudgetExceeded) == payments-budgeted
			}
			for round := 0; !decided() && round < 40; round++ {
				var all sync.WaitGroup
				queue := make(chan client.Object)
				for n := range 4 {
					all.Go(func() {
						for object := range queue {
							_ = passBy(t.Context(), processes[n%2], object) // a conflict is tried again
						}
					})
				}
				for _, object := range objects {
					queue <- object
				}
				close(queue)
				all.Wait()
				w.clock.Step(time.Minute)
				w.sandbox.Advance()
			}
			w.paid(budgeted)
			if !decided() {
				t.Errorf("%d succeeded, %d are blocked", count(v1alpha1.ReasonSucceeded), count(v1alpha1.ReasonBudgetExceeded))
			}
			if faults == nil {
				w.inOrder(true) // a payment that began is held where the one before it used up the budget
			}
		})
	}
}

// TestOtherNamespaces names a wallet from another namespace: nothing crosses unless the Wallet allows it, and what is not allowed is not
// told from what does not exist.
func TestOtherNamespaces(t *testing.T) {
	labelled := &metav1.LabelSelector{MatchLabels: map[string]string{"spends": "yes"}}
	for name, tc := range map[string]struct {
		allowed *v1alpha1.AllowedNamespaces
		label   string
		want    bool
	}{
		"nothing is said":          {nil, "yes", false},
		"its own namespace":        {&v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesSame}, "yes", false},
		"every namespace":          {&v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesAll}, "no", true},
		"those with a label":       {&v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesSelector, Selector: labelled}, "yes", true},
		"those with another label": {&v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesSelector, Selector: labelled}, "no", false},
		"a selector that selects by an operator nobody knows": {&v1alpha1.AllowedNamespaces{
			From: v1alpha1.NamespacesSelector, Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "spends", Operator: "Like"}}},
		}, "yes", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			wallet := w.wallet("main")
			w.change(wallet, func() { wallet.Spec.AllowedNamespaces = tc.allowed })
			w.syncWallet()
			tenant := w.makeNamespace("tenant-")
			var namespace corev1.Namespace
			if err := w.api.Get(t.Context(), client.ObjectKey{Name: tenant}, &namespace); err != nil {
				t.Fatal(err)
			}
			w.change(&namespace, func() { metav1.SetMetaDataLabel(&namespace.ObjectMeta, "spends", tc.label) })
			elsewhere := func(object client.Object, reference *v1alpha1.WalletReference) client.Object {
				object.SetNamespace(tenant)
				reference.Namespace = w.namespace
				return made(w, object)
			}
			pay, send := w.payment("rent", w.supplierInvoice(5000)).Obj(), w.send("payroll", 20_000).Obj()
			invoice, deposit := w.invoice("order").Obj(), testkit.MakeDepositAddress(tenant, "till")
			objects := []client.Object{
				elsewhere(pay, &pay.Spec.WalletRef), elsewhere(send, &send.Spec.WalletRef), elsewhere(invoice, &invoice.Spec.WalletRef),
				elsewhere(deposit, &deposit.Spec.WalletRef),
			}
			for _, object := range objects {
				w.pass(object)
				w.get(object)
				if refused := w.ready(object).Reason == v1alpha1.ReasonWalletNotAllowed; refused == tc.want {
					t.Errorf("%T: %+v", object, w.ready(object))
				}
			}
			if !tc.want {
				w.began(0, 0)
				told := w.ready(pay).Message
				w.delete(wallet)
				w.pass(send)
				if w.get(send); w.ready(send).Message != told {
					t.Errorf("of a Wallet that is gone it says %q, of one that may not be named %q", w.ready(send).Message, told)
				}
				return
			}
			w.rest(pay)
			w.rest(send)
			w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(2)
			if got := w.record(pay).Spec.Wallet.Namespace; got != w.namespace {
				t.Errorf("the record names the wallet's namespace %q", got)
			}
		})
	}
}
