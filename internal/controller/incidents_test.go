package controller_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// What went wrong in public with other software that pays by itself, done to the operator.

// TestIncidentPayoutSentTenTimes is btcpayserver/btcpayserver#6540 (January 2025): an automated payout processor came round to a payout
// that it had made and made it again, one of them ten times; users saw it at most as still to be paid. Here nothing that shows the
// payment as made can be written, and a new process comes round ten times.
// Needs the write-ahead in the record, which decides, where the status decides nothing.
func TestIncidentPayoutSentTenTimes(t *testing.T) {
	const rounds = 10
	eachScenario(t, func(t *testing.T, s scenario) {
		w := newWorld(t, s.profile)
		w.syncWallet()
		object := made(w, s.make(w))
		lost := 0
		w.boundary = func(call string, after bool) error {
			if !after && strings.HasPrefix(call, "K patch status ") {
				lost++
				return errInjected
			}
			return nil
		}
		for range rounds {
			_, _ = w.reconcile(object) // its error is the lost status
			if w.get(object); phaseOf(object) != "" {
				t.Fatalf("the status says %s", phase(object))
			}
			w.clock.Step(time.Minute)
			w.sandbox.Advance()
			w.start()
		}
		w.boundary = nil
		if lost < rounds-1 {
			t.Errorf("%d writes of the status were lost in %d rounds", lost, rounds)
		}
		w.began(1, 1)
		w.rest(object)
		w.began(1, 1)
		w.judge(object, once)
	})
}

// TestIncidentLookupErrorReadAsFailed is btcpayserver/btcpayserver PR 6365 (November 2024): after a payment the processor asked for its
// data, and an error of that look-up, a time-out or a kind of payment that the service could not show, made it a cancelled payout, which
// could be claimed again.
// Needs that no error, and no absence, of a look-up is an outcome.
func TestIncidentLookupErrorReadAsFailed(t *testing.T) {
	kinds := map[string]sandbox.Fault{
		"time-outs":         {Kind: sandbox.FaultDropAnswer},
		"no connection":     {Kind: sandbox.FaultRefuseConnection},
		"a gateway's pages": {Kind: sandbox.FaultHTML, Status: 504},
		"an error":          {Kind: sandbox.FaultErrorBefore},
		"an error by name":  {Kind: sandbox.FaultRefuse, Status: 400, Name: "FailedPayment", Message: "payment failed"},
		"not found":         {Kind: sandbox.FaultLie, Claim: sandbox.ClaimAbsent},
		"null":              {Kind: sandbox.FaultNull},
	}
	for name, fault := range kinds {
		for _, s := range scenarios() {
			lookups := []sandbox.Operation{sandbox.SendRequest, sandbox.ListPayments}
			if endOf(s) == sandbox.OnchainEnd {
				if name == "not found" {
					continue // which of an on-chain send is told to a person: hazard 14
				}
				lookups = []sandbox.Operation{sandbox.OnchainStatus}
			}
			t.Run(name+", "+s.name, func(t *testing.T) {
				w := newWorld(t, s.profile)
				w.syncWallet()
				w.at("-end", true, func() { // it paid; from now on nobody can tell
					for _, lookup := range lookups {
						fault := fault
						fault.Operation, fault.Count = lookup, -1
						w.fault(fault)
					}
				})
				object := made(w, s.make(w))
				until := w.clock.Now().Add(45 * time.Minute)
				for w.clock.Now().Before(until) {
					result, err := w.reconcile(object)
					if err != nil {
						t.Fatal(err)
					}
					if w.get(object); phaseOf(object) != v1alpha1.PaymentSubmitting && phaseOf(object) != v1alpha1.PaymentInFlight {
						t.Fatalf("called %s: %s", phase(object), w.ready(object).Message)
					}
					w.clock.Step(max(result.RequeueAfter, time.Second))
				}
				w.boundary = nil
				w.paid(1)
				w.sandbox.ClearFaults(0)
				w.rest(object)
				w.began(1, 1)
				w.judge(object, once)
			})
		}
	}
}

// TestIncidentRetryFetchedNewInvoice is MostroP2P/mostro#568 (February 2026): a payment that timed out while it was under way was taken
// for failed and its payment hash was cleared; the next round asked the payee for a new invoice, with a hash that no node had seen, and
// paid that too. Here the payee hands out a new invoice each time the operator could ask, and the payment takes half an hour.
// Needs the invoice to be pinned once it was read: every attempt is of the same payment hash.
func TestIncidentRetryFetchedNewInvoice(t *testing.T) {
	faults := map[string][]sandbox.Fault{
		"the answer to the payment is lost": {{Kind: sandbox.FaultDropAnswer, Operation: sandbox.PayEnd}},
		"and so are those to all look-ups": {
			{Kind: sandbox.FaultDropAnswer, Operation: sandbox.PayEnd},
			{Kind: sandbox.FaultDropAnswer, Operation: sandbox.SendRequest, Nth: 2, Count: 20},
			{Kind: sandbox.FaultDropAnswer, Operation: sandbox.ListPayments, Nth: 2, Count: 20},
		},
		"and it is said to be absent at first": {
			{Kind: sandbox.FaultDropAnswer, Operation: sandbox.PayEnd},
			{Kind: sandbox.FaultLie, Claim: sandbox.ClaimAbsent, Operation: sandbox.SendRequest, Nth: 2, Count: 5},
			{Kind: sandbox.FaultLie, Claim: sandbox.ClaimAbsent, Operation: sandbox.ListPayments, Nth: 2, Count: 5},
		},
		"the payment never arrived and is made again": {{Kind: sandbox.FaultDropRequest, Operation: sandbox.PayEnd}},
		"the payment was refused and is made again": {
			{Kind: sandbox.FaultRefuse, Operation: sandbox.NodeSendPayment, Status: 403, Name: "LockedNode"},
		},
	}
	for name, faults := range faults {
		for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
			t.Run(name+", "+string(profile)+" service", func(t *testing.T) {
				w := newWorld(t, profile)
				w.syncWallet()
				w.hang()
				first := w.supplierInvoice(5000)
				source := made(w, w.configMap("supplier", "invoice", first))
				pay := made(w, testkit.MakeLightningPayment("rent").Namespace(w.namespace).InvoiceFromConfigMap("supplier", "invoice").Obj())
				for _, f := range faults {
					w.fault(f)
				}
				until := w.clock.Now().Add(30 * time.Minute)
				for w.clock.Now().Before(until) {
					w.pass(pay)
					w.start()
					w.strip(pay)
					w.change(source, func() { source.Data["invoice"] = w.supplierInvoice(5000) })
					w.clock.Step(time.Minute)
				}
				w.pass(pay)
				w.release(pay) // after all
				if err := w.sandbox.SetPayee("", sandbox.PayeeSettles); err != nil {
					t.Fatal(err)
				}
				w.rest(pay)
				w.paid(1)
				if out := moved(w); len(out) == 1 && out[0].Key != w.hashOf(first) {
					t.Errorf("%s was paid, the payment is of %s", out[0].Key, w.hashOf(first))
				}
				w.orderly()
				w.judge(pay, once)
			})
		}
	}
}

// TestIncidentFailedThenComplete is ElementsProject/lightning#2521 (April 2019): a payment was listed as failed and later as complete,
// after the payer, who polled, had given the money back; #9036 (2026) lists a payment as failed between any two of its routes.
// Needs FAILED to be seen twice, with nothing else in between, and to be looked at again; and that nothing is sent after it.
func TestIncidentFailedThenComplete(t *testing.T) {
	// failed makes the nth look-ups say FAILED; the first is the one before the begin.
	failed := func(w *world, nths ...int) {
		for _, lookup := range []sandbox.Operation{sandbox.SendRequest, sandbox.ListPayments} {
			for _, nth := range nths {
				w.fault(sandbox.Fault{Kind: sandbox.FaultLie, Claim: sandbox.ClaimFailed, Operation: lookup, Nth: nth})
			}
		}
	}
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		in := ", " + string(profile) + " service"
		t.Run("between two routes"+in, func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			w.hang()
			failed(w, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20)
			pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
			for w.called(sandbox.SendRequest) < 25 {
				after := w.pass(pay)
				if phase(pay) != "InFlight" {
					t.Fatalf("called %s: %s", phase(pay), w.ready(pay).Message)
				}
				w.clock.Step(after)
			}
			w.release(pay)
			w.rest(pay)
			w.began(1, 1)
			w.judge(pay, once)
		})
		for when, seen := range map[string]bool{"and completes at once": false, "and is under way again for an hour": true} {
			t.Run("for long enough to be believed, "+when+in, func(t *testing.T) {
				w := newWorld(t, profile)
				w.syncWallet()
				w.hang()
				failed(w, 2, 3)
				invoice := w.supplierInvoice(5000)
				pay := made(w, w.payment("rent", invoice).Obj())
				w.reach(pay, v1alpha1.ReasonPaymentFailed)
				w.want(pay, verdict{"Failed", v1alpha1.ReasonPaymentFailed, []string{"new invoice"}})
				again := made(w, w.payment("rent-2", invoice).Obj()) // what a person might try
				w.pass(again)
				w.want(again, verdict{"Failed", v1alpha1.ReasonDuplicatePayment, []string{w.namespace + "/rent"}})
				if seen {
					w.watch(pay, time.Hour)
					w.want(pay, verdict{"InFlight", v1alpha1.ReasonInFlight, nil})
				}
				w.release(pay)
				w.rest(pay)
				w.rest(again)
				w.want(again, verdict{"Failed", v1alpha1.ReasonDuplicatePayment, nil})
				if told := w.told(); told[v1alpha1.ReasonPaymentFailed] != 1 || told[v1alpha1.ReasonSucceeded] != 1 {
					t.Errorf("a person was told %v, want PaymentFailed and then Succeeded", told)
				}
				w.began(1, 1)
				w.judge(pay, once)
			})
		}
	}
}

// TestIncidentParallelWithdrawals is the vulnerability of LNbank, a plugin of BTCPay Server (December 2023, 4 BTC of one node): many
// withdrawals at once each passed the check of a balance that was enough for one of them. Here two processes of the operator, which both
// believe that they lead, are given ten payments at once, with money for six.
// Needs the wallet's Lease, from before the begin, which takes the coins, until the answer to the end, which spends them.
func TestIncidentParallelWithdrawals(t *testing.T) {
	const withdrawals, sats, funds, enough = 10, 300_000, 2_000_000, 6
	payment := func(w *world, n int) client.Object {
		return w.payment(fmt.Sprintf("withdrawal-%d", n), w.supplierInvoice(sats)).Obj()
	}
	cases := map[string]struct {
		profile sandbox.Profile
		option  func(*sandbox.Options)
		make    func(w *world, n int) client.Object
		// refused is what those show that there is no money for.
		refused string
	}{
		"on-chain, from the wallet's coins": {
			sandbox.Documented, func(o *sandbox.Options) { o.FundSats = funds }, func(w *world, n int) client.Object {
				return w.send(fmt.Sprintf("withdrawal-%d", n), sats).Obj()
			}, v1alpha1.ReasonInsufficientBalance,
		},
		"over Lightning, documented service": {
			sandbox.Documented, func(o *sandbox.Options) { o.ChannelSats = funds }, payment, v1alpha1.ReasonPaymentFailed,
		},
		"over Lightning, reference service": {
			sandbox.Reference, func(o *sandbox.Options) { o.ChannelSats = funds }, payment, v1alpha1.ReasonPaymentFailed,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.profile, tc.option)
			w.syncWallet()
			var objects []client.Object
			for n := range withdrawals {
				objects = append(objects, made(w, tc.make(w, n)))
			}
			processes := []*controller.Controllers{w.controllers, w.rival()}
			undecided := func() int {
				count := 0
				for _, object := range objects {
					if w.get(object); phase(object) != "Succeeded" && (len(conditionsOf(object)) == 0 || w.ready(object).Reason != tc.refused) {
						count++
					}
				}
				return count
			}
			for round := 0; undecided() > 0 && round < 100; round++ {
				var all sync.WaitGroup
				for _, object := range objects {
					for _, process := range processes {
						all.Go(func() {
							// A write that the other process was faster with is an error, which a queue tries again.
							_ = passBy(t.Context(), process, object)
						})
					}
				}
				all.Wait()
				w.clock.Step(15 * time.Second)
				w.sandbox.Advance()
			}
			var gone amount.Sat
			paid := 0
			for _, object := range objects {
				w.get(object)
				out := ours(w, object)
				for _, entry := range out {
					gone += entry.AmountSats + entry.FeeSats
				}
				paid += len(out)
				if want := map[bool]int{true: 1}[phase(object) == "Succeeded"]; len(out) != want {
					t.Errorf("%s is %s, and was paid %d times", object.GetName(), phase(object), len(out))
				}
			}
			if undecided() > 0 || paid != enough || gone > funds {
				t.Errorf("%d were paid, %d are undecided, and %d sat of %d are gone; there is money for %d", paid, undecided(), gone, funds, enough)
			}
			w.orderly()
		})
	}
}
