package controller_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// end is how a payment is to end.
type end string

const (
	once    end = "paid once"
	unpaid  end = "not paid, and said to be so"
	unknown end = "unknown, and said to be so" // whether or not money moved
	spared  end = "does not apply"
)

// ends3 are the ends of a payment over Lightning, at either service, of a send at a service of which nothing is known, and of one at the
// reference server.
type ends3 struct{ lightning, documented, reference end }

func (e ends3) of(s scenario) end {
	switch {
	case strings.HasPrefix(s.name, "lightning"):
		return e.lightning
	case s.profile == sandbox.Documented:
		return e.documented
	}
	return e.reference
}

// ours are the movements that object ordered; another client's are not.
func ours(w *world, object client.Object) (out []sandbox.Entry) {
	for _, entry := range moved(w) {
		switch o := object.(type) {
		case *v1alpha1.LightningPayment:
			if entry.Key == o.Status.PaymentHash {
				out = append(out, entry)
			}
		case *v1alpha1.OnchainSend:
			if entry.Destination == o.Spec.To.Address {
				out = append(out, entry)
			}
		}
	}
	return out
}

// amountOf is what the payee of object is to get.
func amountOf(object client.Object) amount.Sat {
	if pay, ok := object.(*v1alpha1.LightningPayment); ok {
		return amount.Sat(*pay.Status.AmountSats)
	}
	return amount.Sat(*object.(*v1alpha1.OnchainSend).Spec.AmountSats)
}

// judge lets everything that is still under way at the service happen, and holds the ledger against what object says.
func (w *world) judge(object client.Object, want end) {
	w.t.Helper()
	w.clock.Step(2 * time.Hour)
	w.sandbox.Advance()
	w.get(object)
	out := ours(w, object)
	if len(out) > 1 {
		w.t.Errorf("money moved %d times: %+v", len(out), out)
	}
	if (phaseOf(object) == v1alpha1.PaymentSucceeded) != (len(out) == 1) && want != unknown {
		w.t.Errorf("%s, and money moved %d times", phase(object), len(out))
	}
	for _, entry := range out {
		if declared := amountOf(object); entry.AmountSats != declared {
			w.t.Errorf("%d sat moved, declared are %d", entry.AmountSats, declared)
		}
		if entry.PSBT == nil || !entry.PSBT.Valid || !entry.PSBT.Asked {
			w.t.Errorf("moved on a PSBT that is not the one that was asked for and signed: %+v", entry.PSBT)
		}
	}
	outcome := w.condition(object, v1alpha1.ConditionOutcomeKnown)
	switch want {
	case once:
		w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	case unpaid:
		if phaseOf(object) != v1alpha1.PaymentFailed || outcome.Status != metav1.ConditionTrue {
			w.t.Errorf("%s, OutcomeKnown is %s, want Failed: %s", phase(object), outcome.Status, w.ready(object).Message)
		}
	case unknown:
		w.want(object, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, []string{"resolve the record"}})
		if outcome.Status != metav1.ConditionFalse {
			w.t.Errorf("OutcomeKnown is %s of an unknown outcome", outcome.Status)
		}
		if told := w.told(); told[v1alpha1.ReasonOutcomeUnknown] != 1 {
			w.t.Errorf("a person was told %v, want OutcomeUnknown once", told)
		}
	}
	w.quiet(object)
}

// TestAnswerAfterUnknown pauses the process that sends between the service's answer and what it makes of it, until another one called the
// send unknown. The id that was answered ends the doubt, whether the process that has it lives on or dies once it is claimed.
func TestAnswerAfterUnknown(t *testing.T) {
	for name, dies := range map[string]bool{"the process goes on": false, "the process ends once the id is claimed": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			send := made(w, w.send("payroll", 20000).Obj())
			other := &world{
				t: t, api: w.api, sandbox: w.sandbox, url: w.url, clock: w.clock, operator: w.operator, namespace: w.namespace, starts: w.starts + 100,
			}
			other.start()
			ended, claimed := false, false
			w.boundary = func(call string, after bool) error {
				switch {
				case !ended && after && strings.HasSuffix(call, "/onchain-send-end"):
					ended = true
					seen := send.DeepCopy()
					other.reach(seen, v1alpha1.ReasonOutcomeUnknown)
				case dies && ended && !claimed && after && strings.HasPrefix(call, "K create PaymentRecord"):
					claimed = true
					panic(crashed{})
				}
				return nil
			}
			w.pass(send)
			w.boundary = nil
			if !ended || claimed != dies {
				t.Fatal("the process was not stopped where it should be")
			}
			other.rest(send)
			other.judge(send, once)
			if record := other.record(send); record.Journal.RequestID == "" || record.Journal.Resolution != "" {
				t.Errorf("the record is %+v, want the id of the service and no word of a person", record.Journal)
			}
		})
	}
}

// TestCrashBeforeTheWalletIsFreed ends the process once the record has the outcome of a call, before the wallet's Lease is freed. The record
// proves that nothing can land any more, so that the next payment of the wallet waits for the dead process only. Where the answer was lost it
// waits for a quarantine.
func TestCrashBeforeTheWalletIsFreed(t *testing.T) {
	for name, tc := range map[string]struct {
		call  string
		fault *sandbox.Fault
		lost  bool
	}{
		"the end is answered":  {call: "/pay-invoice-end"},
		"the end is refused":   {call: "/pay-invoice-end", fault: &sandbox.Fault{Operation: sandbox.PayEnd, Kind: sandbox.FaultRefuse, Status: 403, Name: "LockedNode"}},
		"the begin is refused": {call: "/pay-invoice-begin", fault: &sandbox.Fault{Operation: sandbox.PayBegin, Kind: sandbox.FaultRefuse, Status: 403, Name: "InsufficientFunds"}},
		"the answer is lost":   {call: "/pay-invoice-end", fault: &sandbox.Fault{Operation: sandbox.PayEnd, Kind: sandbox.FaultDropAnswer}, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			if tc.fault != nil {
				w.fault(*tc.fault)
			}
			first := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
			called, ended := false, false
			w.boundary = func(call string, after bool) error {
				called = called || strings.HasSuffix(call, tc.call)
				if called && !ended && !after && strings.HasPrefix(call, "K patch Lease") {
					ended = true
					panic(crashed{})
				}
				return nil
			}
			for range 3 {
				w.pass(first)
			}
			w.boundary = nil
			if !ended {
				t.Fatal("the process did not end")
			}
			started := w.clock.Now()
			second := made(w, w.payment("heating", w.supplierInvoice(6000)).Obj())
			w.reach(second, v1alpha1.ReasonSucceeded)
			waited := w.clock.Since(started)
			if quarantine := payment.DefaultPolicy().Quarantine; tc.lost && waited < quarantine || !tc.lost && waited > time.Minute {
				t.Errorf("the next payment waited %s", waited)
			}
			w.rest(first)
			if out := ours(w, first); len(out) > 1 {
				t.Errorf("money moved %d times", len(out))
			}
		})
	}
}

// TestAnswersToTheEnd spoils the answer to the call that moves money, the call itself, or what the service does of it.
func TestAnswersToTheEnd(t *testing.T) {
	late := sandbox.Duration(15 * time.Second)
	cases := map[string]struct {
		fault sandbox.Fault
		want  ends3
	}{
		"the connection is refused":            {sandbox.Fault{Kind: sandbox.FaultRefuseConnection}, ends3{once, unknown, once}},
		"the request is lost":                  {sandbox.Fault{Kind: sandbox.FaultDropRequest}, ends3{once, unknown, once}},
		"every request is lost":                {sandbox.Fault{Kind: sandbox.FaultDropRequest, Count: -1}, ends3{unpaid, unknown, unknown}},
		"the answer is lost":                   {sandbox.Fault{Kind: sandbox.FaultDropAnswer}, ends3{once, unknown, once}},
		"every answer is lost":                 {sandbox.Fault{Kind: sandbox.FaultDropAnswer, Count: -1}, ends3{once, unknown, unknown}},
		"it is carried out late":               {sandbox.Fault{Kind: sandbox.FaultDelay, Delay: late}, ends3{once, once, once}},
		"it is answered late":                  {sandbox.Fault{Kind: sandbox.FaultSlowAnswer, Delay: late}, ends3{once, once, once}},
		"it lands after the connection broke":  {sandbox.Fault{Kind: sandbox.FaultLandLate, Delay: late}, ends3{once, unknown, once}},
		"it lands when nobody expects it":      {sandbox.Fault{Kind: sandbox.FaultLandLate, Delay: sandbox.Duration(5 * time.Minute)}, ends3{once, unknown, once}},
		"it is delivered twice at once":        {sandbox.Fault{Kind: sandbox.FaultDeliverTwice}, ends3{once, once, once}},
		"it is delivered twice, answered once": {sandbox.Fault{Kind: sandbox.FaultDeliverTwice, First: true}, ends3{once, once, once}},
		"it is delivered again later":          {sandbox.Fault{Kind: sandbox.FaultDeliverTwice, Delay: late}, ends3{once, once, once}},
		"a 5xx, and nothing was done":          {sandbox.Fault{Kind: sandbox.FaultErrorBefore}, ends3{once, unknown, once}},
		"a 5xx, and it was done":               {sandbox.Fault{Kind: sandbox.FaultErrorAfter}, ends3{once, unknown, once}},
		"a 503, and it was done":               {sandbox.Fault{Kind: sandbox.FaultErrorAfter, Status: 503}, ends3{once, unknown, once}},
		"a 404, and it was done":               {sandbox.Fault{Kind: sandbox.FaultErrorAfter, Status: 404}, ends3{once, unknown, once}},
		"a 429, and nothing was done":          {sandbox.Fault{Kind: sandbox.FaultThrottle, RetryAfter: 30}, ends3{once, unknown, once}},
		"null":                                 {sandbox.Fault{Kind: sandbox.FaultNull}, ends3{once, unknown, once}},
		"an answer that is cut":                {sandbox.Fault{Kind: sandbox.FaultTruncate}, ends3{once, unknown, once}},
		"no JSON":                              {sandbox.Fault{Kind: sandbox.FaultGarble}, ends3{once, unknown, once}},
		"a web page, and nothing was done":     {sandbox.Fault{Kind: sandbox.FaultHTML}, ends3{once, unknown, once}},
		"a web page, and it was done":          {sandbox.Fault{Kind: sandbox.FaultHTMLAfter}, ends3{once, unknown, once}},
		"a redirect":                           {sandbox.Fault{Kind: sandbox.FaultRedirect}, ends3{once, unknown, once}},
		"a state that nobody knows":            {sandbox.Fault{Kind: sandbox.FaultUnknownStatus}, ends3{once, once, once}},
		"another payment's id":                 {sandbox.Fault{Kind: sandbox.FaultOtherObject}, ends3{once, unknown, unknown}},
		"the service restarts before":          {sandbox.Fault{Kind: sandbox.FaultRestart}, ends3{once, once, once}},
		"the service restarts after":           {sandbox.Fault{Kind: sandbox.FaultRestartAfter}, ends3{once, unknown, unknown}},
		"another client began in between":      {sandbox.Fault{Kind: sandbox.FaultForeignBegin}, ends3{once, once, unknown}},
		"refused as a duplicate, wrongly":      {sandbox.Fault{Kind: sandbox.FaultRefuse, Name: "DuplicatePayment"}, ends3{once, unknown, once}},
		"refused by a locked node":             {sandbox.Fault{Kind: sandbox.FaultRefuse, Name: "LockedNode"}, ends3{once, unknown, once}},
		"refused for an unheard reason":        {sandbox.Fault{Kind: sandbox.FaultRefuse, Name: "Whatever"}, ends3{once, unknown, once}},
		"refused for good":                     {sandbox.Fault{Kind: sandbox.FaultRefuse, Status: 400, Name: "InvalidInvoice"}, ends3{unpaid, unknown, once}},

		"the node cannot be reached to decode it": {sandbox.Fault{Operation: sandbox.NodeDecode, Kind: sandbox.FaultDropRequest}, ends3{once, spared, spared}},
		"the node cannot be reached to pay":       {sandbox.Fault{Operation: sandbox.NodeSendPayment, Kind: sandbox.FaultDropRequest}, ends3{once, spared, spared}},
		"the node pays and its answer is lost":    {sandbox.Fault{Operation: sandbox.NodeSendPayment, Kind: sandbox.FaultDropAnswer}, ends3{once, spared, spared}},
		"the node pays and answers too late": {
			sandbox.Fault{Operation: sandbox.NodeSendPayment, Kind: sandbox.FaultDelay, Delay: sandbox.Duration(90 * time.Second)}, ends3{once, spared, spared},
		},
		"the node pays and talks nonsense": {sandbox.Fault{Operation: sandbox.NodeSendPayment, Kind: sandbox.FaultGarble}, ends3{once, spared, spared}},
		"the node fails with a 5xx":        {sandbox.Fault{Operation: sandbox.NodeSendPayment, Kind: sandbox.FaultErrorBefore}, ends3{once, spared, spared}},
	}
	for name, tc := range cases {
		for _, s := range scenarios() {
			want := tc.want.of(s)
			if want == spared {
				continue
			}
			t.Run(name+", "+s.name, func(t *testing.T) {
				w := newWorld(t, s.profile)
				w.syncWallet()
				f := tc.fault
				if f.Operation == "" {
					f.Operation = endOf(s)
				}
				w.fault(f)
				object := made(w, s.make(w))
				w.rest(object)
				if w.sandbox.Faults()[0].Hit == 0 {
					t.Fatal("the fault was not met")
				}
				w.judge(object, want)
			})
		}
	}
}

// TestLookUpsThatFail spoils the look-ups after a call that moves money whose answer was lost.
func TestLookUpsThatFail(t *testing.T) {
	claim := func(claim string, count int) []sandbox.Fault {
		return []sandbox.Fault{
			{Kind: sandbox.FaultLie, Claim: claim, Operation: sandbox.SendRequest, Nth: 2, Count: count},
			{Kind: sandbox.FaultLie, Claim: claim, Operation: sandbox.ListPayments, Nth: 2, Count: count},
		}
	}
	always := func(kind sandbox.FaultKind, count int) []sandbox.Fault {
		return []sandbox.Fault{
			{Kind: kind, Operation: sandbox.SendRequest, Nth: 2, Count: count}, {Kind: kind, Operation: sandbox.ListPayments, Nth: 2, Count: count},
		}
	}
	cases := map[string][]sandbox.Fault{
		"it is said to be absent once":               claim(sandbox.ClaimAbsent, 1),
		"it is said to be absent for ten minutes":    claim(sandbox.ClaimAbsent, 30),
		"it is said to be pending for a while":       claim(sandbox.ClaimPending, 5),
		"it is said to have failed once":             claim(sandbox.ClaimFailed, 1),
		"nothing is said":                            always(sandbox.FaultNull, 10),
		"no connection":                              always(sandbox.FaultDropRequest, 10),
		"web pages":                                  always(sandbox.FaultHTML, 10),
		"no JSON":                                    always(sandbox.FaultGarble, 10),
		"a locked node":                              always(sandbox.FaultRefuse, 10),
		"a state that nobody knows":                  always(sandbox.FaultUnknownStatus, 10),
		"the answer is about another payment":        always(sandbox.FaultOtherObject, 10),
		"the list is cut, and the hash is not known": {{Kind: sandbox.FaultLie, Claim: sandbox.ClaimAbsent, Operation: sandbox.SendRequest, Nth: 2, Count: 10}, {Kind: sandbox.FaultTruncate, Operation: sandbox.ListPayments, Nth: 2, Count: 10}},
	}
	for name, faults := range cases {
		for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
			t.Run(name+", "+string(profile)+" service", func(t *testing.T) {
				w := newWorld(t, profile)
				w.syncWallet()
				// The wallet's own first look at the list of payments is over; the payment's look-ups count from here.
				w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.PayEnd})
				for _, f := range faults {
					if f.Name == "" && f.Kind == sandbox.FaultRefuse {
						f.Name = "LockedNode"
					}
					w.fault(f)
				}
				pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
				w.rest(pay)
				w.judge(pay, once)
			})
		}
	}
}

// TestFailureOfAnEarlierAttempt has the service answer for minutes what it knew of the payment before it was submitted: that it had failed.
func TestFailureOfAnEarlierAttempt(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	text := w.supplierInvoice(5000)
	hash, before := w.hashOf(text), w.clock.Now().Add(-time.Hour)
	stale := true
	url := w.relay(func(out http.ResponseWriter, r *http.Request) bool {
		if !stale || w.ends() == 0 {
			return false
		}
		switch {
		case strings.Contains(r.URL.Path, "/send-request/"):
			fmt.Fprint(out, asJSON(map[string]any{"id": hash, "status": "FAILED"}))
		case strings.HasSuffix(r.URL.Path, "/listpayments"):
			fmt.Fprint(out, asJSON(map[string]any{"payments": []any{map[string]any{
				"payment_hash": hash, "inbound": false, "status": "Failed", "created_at": before.Unix(), "updated_at": before.Unix(),
			}}}))
		default:
			return false
		}
		return true
	})
	w.pass(made(w, w.fronted(url)))
	pay := made(w, w.payment("rent", text).Wallet("fronted").Obj())
	w.watch(pay, 4*time.Minute)
	if got := phaseOf(pay); got != v1alpha1.PaymentInFlight {
		t.Errorf("%s, want InFlight: what is shown is older than the payment", got)
	}
	stale = false
	w.rest(pay)
	w.judge(pay, once)
}

// TestFailedPayments has the payee refuse. FAILED is believed when it was seen twice, 30 s apart.
func TestFailedPayments(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		in := ", " + string(profile) + " service"
		t.Run("the payee refuses"+in, func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			if err := w.sandbox.SetPayee("", sandbox.PayeeFails); err != nil {
				t.Fatal(err)
			}
			pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
			var first time.Time
			for phase(pay) != "Failed" {
				after := w.pass(pay)
				if record := w.record(pay); first.IsZero() && record.Journal.FirstFailedAt != nil {
					first = record.Journal.FirstFailedAt.Time
					w.want(pay, verdict{"InFlight", v1alpha1.ReasonInFlight, nil})
				}
				if phase(pay) != "Failed" {
					w.clock.Step(after)
				}
			}
			if apart := w.clock.Now().Sub(first); first.IsZero() || apart < 30*time.Second || apart > 2*time.Minute {
				t.Errorf("FAILED was believed %v after it was first seen", apart)
			}
			w.want(pay, verdict{"Failed", v1alpha1.ReasonPaymentFailed, []string{"no money moved", "ask the payee for a new invoice"}})
			w.rest(pay)
			w.judge(pay, unpaid)
			if w.ends() != 1 {
				t.Errorf("%d calls that move money", w.ends())
			}
		})
		t.Run("there is no way to the payee"+in, func(t *testing.T) {
			w := newWorld(t, profile, func(o *sandbox.Options) { o.ChannelSats = 20_000 })
			w.syncWallet()
			pay := made(w, w.payment("rent", w.supplierInvoice(50_000)).Obj())
			w.rest(pay)
			w.want(pay, verdict{"Failed", v1alpha1.ReasonPaymentFailed, []string{"ask the payee for a new invoice"}})
			w.judge(pay, unpaid)
		})
		t.Run("it was reported failed and completes"+in, func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			w.fault(sandbox.Fault{Kind: sandbox.FaultLie, Claim: sandbox.ClaimFailed, Operation: sandbox.SendRequest, Nth: 2, Count: 2})
			w.fault(sandbox.Fault{Kind: sandbox.FaultLie, Claim: sandbox.ClaimFailed, Operation: sandbox.ListPayments, Nth: 2, Count: 2})
			pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
			w.reach(pay, v1alpha1.ReasonPaymentFailed)
			w.want(pay, verdict{"Failed", v1alpha1.ReasonPaymentFailed, nil})
			w.rest(pay) // it is looked at a last time
			w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			if told := w.told(); told[v1alpha1.ReasonPaymentFailed] != 1 || told[v1alpha1.ReasonSucceeded] != 1 {
				t.Errorf("a person was told %v, want PaymentFailed and Succeeded", told)
			}
			w.judge(pay, once)
		})
	}
}

// TestFailedSends fails on-chain sends in each of the ways that the reference server has a code for.
func TestFailedSends(t *testing.T) {
	cases := map[string]struct {
		option func(*sandbox.Options)
		fault  sandbox.Fault
		code   string
		// reference is what is known of a service that is declared to be the reference server.
		reference end
		moved     int
	}{
		"channels cannot be closed": {
			fault: sandbox.Fault{Operation: sandbox.NodeCloseChannel, Kind: sandbox.FaultRefuse}, code: "CHANNEL_CLOSE_FAILED", reference: unpaid,
		},
		"the balance does not rise": {
			option: func(o *sandbox.Options) { o.Timing.Close, o.Timing.BalanceLimit = 10*time.Hour, time.Minute }, code: "BALANCE_UPDATE_TIMEOUT",
			reference: unpaid,
		},
		"the node refuses to send": {
			fault: sandbox.Fault{Operation: sandbox.NodeSendBtc, Kind: sandbox.FaultRefuse}, code: "SWEEP_FAILED", reference: unknown,
		},
		"the node sends and its answer is lost": {
			fault: sandbox.Fault{Operation: sandbox.NodeSendBtc, Kind: sandbox.FaultDropAnswer}, code: "SWEEP_FAILED", reference: unknown, moved: 1,
		},
		"the node sends and answers too late": {
			fault: sandbox.Fault{Operation: sandbox.NodeSendBtc, Kind: sandbox.FaultDelay, Delay: sandbox.Duration(90 * time.Second)},
			code:  "SWEEP_FAILED", reference: unknown, moved: 1,
		},
		"the node talks nonsense": {
			fault: sandbox.Fault{Operation: sandbox.NodeListChannels, Kind: sandbox.FaultGarble}, code: "PROCESSING_ERROR", reference: unknown,
		},
	}
	for name, tc := range cases {
		for _, profile := range []v1alpha1.ServerProfile{v1alpha1.ProfileReference, v1alpha1.ProfileConservative} {
			t.Run(name+", profile "+string(profile), func(t *testing.T) {
				w := newWorld(t, sandbox.Reference, func(o *sandbox.Options) {
					if tc.option != nil {
						tc.option(o)
					}
				})
				wallet := w.wallet("main")
				w.change(wallet, func() { wallet.Spec.Endpoint.Profile = profile })
				w.syncWallet()
				if tc.fault.Kind != "" {
					w.fault(tc.fault)
				}
				send := made(w, w.send("payroll", 20000).Obj())
				w.rest(send)
				if send.Status.ErrorCode != tc.code || send.Status.ErrorMessage == "" || send.Status.Retryable == nil || !*send.Status.Retryable {
					t.Errorf("the status shows %q, %q, retryable %v", send.Status.ErrorCode, send.Status.ErrorMessage, send.Status.Retryable)
				}
				want := tc.reference
				if profile == v1alpha1.ProfileConservative {
					want = unknown
				}
				if want == unpaid {
					w.want(send, verdict{"Failed", v1alpha1.ReasonPaymentFailed, []string{tc.code, "no money moved", "change the amount by 1 sat"}})
				}
				w.judge(send, want)
				if out := ours(w, send); len(out) != tc.moved {
					t.Errorf("money moved %d times, the case is about %d", len(out), tc.moved)
				}

				// An equal order would be answered with this failure, or made a second time: it is not given.
				ends := w.ends()
				twin := made(w, again(send, w.namespace, "twin"))
				w.rest(twin)
				w.want(twin, verdict{"Failed", v1alpha1.ReasonOrderCollision, nil})
				if w.ends() != ends {
					t.Errorf("an equal order was given")
				}
			})
		}
	}
}

// forgotten is an on-chain send of which a restart of the reference server left nothing.
func forgotten(w *world) *v1alpha1.OnchainSend {
	w.t.Helper()
	send := made(w, w.send("payroll", 20000).Obj())
	w.reach(send, v1alpha1.ReasonInFlight)
	w.sandbox.Restart()
	w.rest(send)
	w.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, []string{
		"no longer knows send " + send.Status.SendID, "20000 sat", send.Spec.To.Address, "resolve the record",
	}})
	return send
}

// TestForgottenSends restarts the service while a send is under way.
func TestForgottenSends(t *testing.T) {
	t.Run("unknown, once", func(t *testing.T) {
		w := newWorld(t, sandbox.Reference)
		w.syncWallet()
		send := forgotten(w)
		w.judge(send, unknown)
		w.start() // a new process tells nobody again
		w.quiet(send)
		if told := w.told(); len(told) != 0 {
			t.Errorf("a new process told %v", told)
		}
	})
	t.Run("its status is lost", func(t *testing.T) {
		w := newWorld(t, sandbox.Reference)
		w.syncWallet()
		send := forgotten(w)
		w.strip(send)
		w.rest(send)
		w.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, []string{"resolve the record"}})
		if w.ends() != 1 {
			t.Errorf("%d calls that move money", w.ends())
		}
	})
	t.Run("one 404 alone decides nothing", func(t *testing.T) {
		w := newWorld(t, sandbox.Reference)
		w.syncWallet()
		w.fault(sandbox.Fault{Kind: sandbox.FaultLie, Claim: sandbox.ClaimAbsent, Operation: sandbox.OnchainStatus})
		send := made(w, w.send("payroll", 20000).Obj())
		w.rest(send)
		w.judge(send, once)
	})
	resolutions := map[string]struct {
		annotation func(record *v1alpha1.PaymentRecord) string
		want       string
	}{
		"paid": {
			func(r *v1alpha1.PaymentRecord) string {
				return fmt.Sprintf("%s:%d:paid:4a5e1e4b", r.UID, r.Journal.Attempt)
			}, "Succeeded",
		},
		"not paid": {
			func(r *v1alpha1.PaymentRecord) string { return fmt.Sprintf("%s:%d:notpaid", r.UID, r.Journal.Attempt) }, "Failed",
		},
		"of another record": {func(r *v1alpha1.PaymentRecord) string { return fmt.Sprintf("%s:%d:notpaid", "0000", r.Journal.Attempt) }, "Unknown"},
		"of another attempt": {func(r *v1alpha1.PaymentRecord) string {
			return fmt.Sprintf("%s:%d:notpaid", r.UID, r.Journal.Attempt+1)
		}, "Unknown"},
		"paid without an id":    {func(r *v1alpha1.PaymentRecord) string { return fmt.Sprintf("%s:%d:paid", r.UID, r.Journal.Attempt) }, "Unknown"},
		"paid with an empty id": {func(r *v1alpha1.PaymentRecord) string { return fmt.Sprintf("%s:%d:paid:", r.UID, r.Journal.Attempt) }, "Unknown"},
		"not paid, with an id": {func(r *v1alpha1.PaymentRecord) string {
			return fmt.Sprintf("%s:%d:notpaid:4a5e", r.UID, r.Journal.Attempt)
		}, "Unknown"},
		"another word":            {func(r *v1alpha1.PaymentRecord) string { return fmt.Sprintf("%s:%d:perhaps", r.UID, r.Journal.Attempt) }, "Unknown"},
		"without a record's name": {func(r *v1alpha1.PaymentRecord) string { return fmt.Sprintf(":%d:notpaid", r.Journal.Attempt) }, "Unknown"},
		"nonsense":                {func(*v1alpha1.PaymentRecord) string { return "yes please" }, "Unknown"},
	}
	for name, tc := range resolutions {
		t.Run("resolved as "+name, func(t *testing.T) {
			w := newWorld(t, sandbox.Reference)
			w.syncWallet()
			send := forgotten(w)
			ends := w.ends()
			w.annotate(send, controller.ResolveAnnotation, tc.annotation(w.record(send)))
			w.rest(send)
			if w.get(send); phase(send) != tc.want {
				t.Errorf("%s, want %s: %s", phase(send), tc.want, w.ready(send).Message)
			}
			if tc.want != "Unknown" {
				// What is resolved stays so, whatever the annotation says later.
				for _, other := range []string{"paid:other", "notpaid"} {
					record := w.record(send)
					w.annotate(send, controller.ResolveAnnotation, fmt.Sprintf("%s:%d:%s", record.UID, record.Journal.Attempt, other))
					w.rest(send)
				}
				if w.get(send); phase(send) != tc.want {
					t.Errorf("%s after another word, want %s", phase(send), tc.want)
				}
				w.delete(send)
				w.pass(send)
				if w.exists(send) {
					t.Errorf("what was resolved cannot be deleted: %v", send.Finalizers)
				}
			} else {
				w.quiet(send)
			}
			if w.ends() != ends {
				t.Errorf("%d calls that move money after the word of a person", w.ends()-ends)
			}
		})
	}
	t.Run("deleted", func(t *testing.T) {
		w := newWorld(t, sandbox.Reference)
		w.syncWallet()
		send := forgotten(w)
		w.delete(send)
		w.pass(send)
		if !w.exists(send) {
			t.Fatal("it went although nobody knows its outcome")
		}
		w.annotate(send, controller.DeletionPolicyAnnotation, controller.AbandonTracking)
		w.pass(send)
		if w.exists(send) {
			t.Fatal("it stays although it was abandoned")
		}
		w.recreate(send)
		w.rest(send)
		w.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, nil})
		if w.ends() != 1 {
			t.Errorf("%d calls that move money", w.ends())
		}
	})
}

// TestAnotherOrderExecuted has the service show, under the id that it answered, something else than was ordered.
func TestAnotherOrderExecuted(t *testing.T) {
	cases := map[string]func(body map[string]any){
		"another destination": func(body map[string]any) {
			body["address_or_rgbinvoice"] = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
		},
		"another amount":                func(body map[string]any) { body["amount_sats_requested"] = 20001 },
		"less than any fee explains":    func(body map[string]any) { body["amount_sats_sent"], body["fee_sats"] = 10000, 10 },
		"more than was ordered":         func(body map[string]any) { body["amount_sats_sent"], body["fee_sats"] = 30000, 10 },
		"an asset instead of bitcoin":   func(body map[string]any) { body["asset"] = map[string]any{"asset_id": "rgb:some", "amount": 5} },
		"nothing sent, and no fee told": func(body map[string]any) { body["amount_sats_sent"], body["fee_sats"] = 0, nil },
	}
	for name, edit := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			front := w.edited("/onchain-send/", edit)
			w.pass(made(w, w.fronted(front)))
			send := made(w, w.send("payroll", 20000).Wallet("fronted").Obj())
			w.rest(send)
			w.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, nil})
			if told := w.told(); told[v1alpha1.EventWrongOrderExecuted] != 1 {
				t.Errorf("a person was told %v, want WrongOrderExecuted once", told)
			}
			w.quiet(send)
			if w.ends() != 1 {
				t.Errorf("%d calls that move money", w.ends())
			}
		})
	}
	t.Run("the id of an earlier send", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		first := made(w, w.send("payroll", 20000).Obj())
		w.rest(first)
		w.told()
		w.fault(sandbox.Fault{Kind: sandbox.FaultOtherObject, Operation: sandbox.OnchainEnd})
		second := made(w, w.send("bonus", 30000).Obj())
		w.rest(second)
		w.want(second, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, []string{"the send of another resource", "resolve the record"}})
		if told := w.told(); told[v1alpha1.EventWrongOrderExecuted] != 1 {
			t.Errorf("a person was told %v, want WrongOrderExecuted once", told)
		}
		w.want(first, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.quiet(second)
	})
	t.Run("a fee taken off the amount is told, and no other order", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		front := w.edited("/onchain-send/", func(body map[string]any) { body["amount_sats_sent"], body["fee_sats"] = 19_000, 1_000 })
		w.pass(made(w, w.fronted(front)))
		send := made(w, w.send("payroll", 20000).Wallet("fronted").Obj())
		w.rest(send)
		w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		if told := w.told(); told[v1alpha1.EventFeeDeducted] != 1 {
			t.Errorf("a person was told %v, want FeeDeducted once", told)
		}
	})
}

// TestNothingIsHeardForLong keeps payments in flight: how often they are looked at, what a person is told, and that it ends well.
func TestNothingIsHeardForLong(t *testing.T) {
	looks := func(w *world, s scenario) int {
		if strings.HasPrefix(s.name, "lightning") {
			return w.called(sandbox.SendRequest)
		}
		return w.called(sandbox.OnchainStatus)
	}
	eachScenario(t, func(t *testing.T, s scenario) {
		w := newWorld(t, s.profile, func(o *sandbox.Options) {
			slowly(o)
			o.Timing.Poll, o.Timing.BalanceLimit = 30*time.Hour, 100*time.Hour
		})
		w.syncWallet()
		w.hang()
		object := made(w, s.make(w))
		w.reach(object, v1alpha1.ReasonInFlight)
		before := looks(w, s)
		w.watch(object, time.Hour)
		if hour := looks(w, s) - before; hour > 75 || hour < 50 {
			t.Errorf("%d looks in the first hour", hour)
		}
		w.want(object, verdict{"InFlight", v1alpha1.ReasonInFlight, []string{"more than 40 minutes", "nothing is sent again", "ask its operator"}})
		w.clock.Step(24 * time.Hour)
		before = looks(w, s)
		w.watch(object, 2*time.Hour)
		if later := looks(w, s) - before; later > 13 || later < 11 {
			t.Errorf("%d looks in two hours after a day", later)
		}
		if told := w.told(); told[v1alpha1.ReasonInFlight] != 1 {
			t.Errorf("a person was told %v, want InFlight once", told)
		}
		w.release(object)
		w.rest(object)
		w.judge(object, once)
		if w.ends() != 1 {
			t.Errorf("%d calls that move money", w.ends())
		}
	})
	t.Run("the service is away", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		w.hang()
		pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
		w.reach(pay, v1alpha1.ReasonInFlight)
		w.fault(sandbox.Fault{Kind: sandbox.FaultHTML, Count: -1})
		w.watch(pay, 3*time.Hour)
		w.want(pay, verdict{"InFlight", v1alpha1.ReasonServiceUnavailable, []string{"until the service answers", "nothing is sent again"}})
		w.sandbox.ClearFaults(0)
		w.release(pay)
		w.rest(pay)
		w.judge(pay, once)
	})
}
