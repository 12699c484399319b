package controller_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/sandbox/sandboxtest"
	"github.com/utexo/utexo-operator/internal/signer"
)

// The hazards of the public reference server, by the numbers under which docs/sandbox.md lists them. Each test first shows the hazard
// to a client without rules, by calls to a sandbox of its own, and then has the operator meet it.

// naive is such a client, and the reference server that it calls.
type naive struct {
	*testing.T
	*sandboxtest.Client
	server *sandbox.Server
	clock  *clocktesting.FakeClock
}

func newNaive(t *testing.T, change ...func(*sandbox.Options)) *naive {
	t.Helper()
	n := &naive{T: t, clock: clocktesting.NewFakeClock(time.Now().Truncate(time.Second))}
	options := sandbox.Options{Profile: sandbox.Reference, Clock: n.clock, Seed: 7, Sleep: func(context.Context, time.Duration) {}}
	for _, f := range change {
		f(&options)
	}
	n.server = sandbox.New(options)
	n.Client = sandboxtest.NewClient(t, n.server, "naive").Register()
	return n
}

// invoice is a BOLT11 to pay, and its payment hash.
func (n *naive) invoice(sats int64) (text, hash string) {
	n.Helper()
	w := &world{t: n.T, sandbox: n.server}
	text = w.supplierInvoice(sats)
	return text, w.hashOf(text)
}

func (n *naive) address() string {
	n.Helper()
	address, err := n.server.NewAddress()
	if err != nil {
		n.Fatal(err)
	}
	return address
}

func (n *naive) fault(f sandbox.Fault) {
	n.Helper()
	(&world{t: n.T, sandbox: n.server}).fault(f)
}

// pay pays invoice and returns the answer.
func (n *naive) pay(invoice string) (status int, body string) {
	n.Helper()
	return n.EndPay(n.Sign(n.BeginPay(invoice)))
}

// send sends sats to address and returns the send's id.
func (n *naive) send(address string, sats int64) string {
	n.Helper()
	return n.sent(n.Sign(n.BeginSend(address, sats)))
}

// sent ends what was begun and returns the send's id.
func (n *naive) sent(signed string) string {
	n.Helper()
	status, body := n.EndSend(signed)
	n.answers(status, body, http.StatusOK, "withdrawal_id")
	return n.member(body, "withdrawal_id")
}

// shows checks what the service says of a send.
func (n *naive) shows(id, word string) {
	n.Helper()
	_, body := n.Get("/lightning/onchain-send/" + id)
	if got := n.member(body, "status"); got != word {
		n.Errorf("the hazard is not there: the send is %s, want %s: %s", got, word, body)
	}
}

func (n *naive) member(body, name string) string {
	n.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		n.Fatalf("%v in %s", err, body)
	}
	return fmt.Sprint(fields[name])
}

func (n *naive) answers(status int, body string, wantStatus int, text string) {
	n.Helper()
	if status != wantStatus || !strings.Contains(body, text) {
		n.Errorf("the hazard is not there: answer %d %s, want %d with %q", status, body, wantStatus, text)
	}
}

// passes lets time pass at the service.
func (n *naive) passes(d time.Duration) {
	n.clock.Step(d)
	n.server.Advance()
}

// moved checks how often money moved to a payment hash or an address.
func (n *naive) moved(to string, times int) {
	n.Helper()
	count := 0
	for _, entry := range moved(&world{sandbox: n.server}) {
		if entry.Key == to || entry.Destination == to {
			count++
		}
	}
	if count != times {
		n.Errorf("the hazard is not there: money moved %d times to %s, want %d", count, to, times)
	}
}

// rival is another process of the operator, which believes that it leads too. No boundary is around its calls.
func (w *world) rival() *controller.Controllers {
	return controller.New(w.api, w.api, w.events, controller.Options{
		Namespace: w.operator, Identity: "rival", Clock: w.clock, Policy: payment.DefaultPolicy(), SyncInterval: time.Minute, Concurrency: 1,
	})
}

// passOf makes one pass over object by a process.
func (w *world) passOf(process *controller.Controllers, object client.Object) {
	w.t.Helper()
	if err := passBy(w.t.Context(), process, object); err != nil {
		w.t.Errorf("a pass over %s failed: %v", object.GetName(), err)
	}
}

func passBy(ctx context.Context, process *controller.Controllers, object client.Object) (err error) {
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(object)}
	if _, ok := object.(*v1alpha1.LightningPayment); ok {
		_, err = process.Payment.Reconcile(ctx, request)
	} else {
		_, err = process.Send.Reconcile(ctx, request)
	}
	return err
}

// at does something once, before or after a call of the operator whose name ends so.
func (w *world) at(call string, after bool, do func()) {
	w.t.Helper()
	done := false
	w.boundary = func(made string, isAfter bool) error {
		if !done && isAfter == after && strings.HasSuffix(made, call) {
			done = true
			do()
		}
		return nil
	}
	w.t.Cleanup(func() {
		if !done {
			w.t.Errorf("there was no call of %s", call)
		}
	})
}

// orderly checks in the service's log that each begin of a wallet is followed by its own end, and by nothing before that which begins or
// ends anything else.
func (w *world) orderly() {
	w.t.Helper()
	w.inOrder(false)
}

// inOrder is orderly. A begin mayBeGivenUp where something can forbid the end after it: then nothing ever ends it, and the next begin
// takes its place.
func (w *world) inOrder(mayBeGivenUp bool) {
	w.t.Helper()
	open := map[string]sandbox.Request{}
	for _, request := range w.sandbox.Requests() {
		if request.Repeat || request.Foreign {
			continue
		}
		begun, isOpen := open[request.Wallet]
		switch request.Operation {
		case sandbox.PayBegin, sandbox.OnchainBegin:
			if isOpen && !mayBeGivenUp {
				w.t.Errorf("request %d begins while begin %d waits for its end", request.Seq, begun.Begin)
			}
			if request.Effect == sandbox.EffectBegan {
				open[request.Wallet] = request
			}
		case sandbox.PayEnd, sandbox.OnchainEnd:
			if !isOpen || request.Effect != "" && request.Begin != begun.Begin {
				w.t.Errorf("request %d executes begin %d, the wallet's last was %d", request.Seq, request.Begin, begun.Begin)
			}
			delete(open, request.Wallet)
		}
	}
}

// began checks how often the operator made the calls that begin and those that move money.
func (w *world) began(begins, ends int) {
	w.t.Helper()
	if got := w.called(sandbox.PayBegin) + w.called(sandbox.OnchainBegin); got != begins || w.ends() != ends {
		w.t.Errorf("the service was asked to begin %d times and to end %d times, want %d and %d", got, w.ends(), begins, ends)
	}
}

// hazardous makes a world at the reference server with its wallet ready.
func hazardous(t *testing.T, change ...func(*sandbox.Options)) *world {
	t.Helper()
	w := newWorld(t, sandbox.Reference, change...)
	w.syncWallet()
	return w
}

// client is another client with the public keys of the Wallet main.
func (w *world) client() *sandboxtest.Client {
	w.t.Helper()
	wallet := w.wallet("main")
	w.get(wallet)
	return sandboxtest.NewWatchOnlyClient(w.t, w.sandbox, sandboxtest.Identity{
		XpubVanilla: wallet.Status.XpubVanilla, XpubColored: wallet.Status.XpubColored, Fingerprint: wallet.Status.MasterFingerprint,
	})
}

// deposit pays sats to the address that the service gives out for its node.
func (w *world) deposit(sats amount.Sat, confirmed bool) {
	w.t.Helper()
	var deposit struct {
		Address string `json:"btc_address"`
	}
	w.client().MustGet("/lightning/onchain-receive", &deposit)
	if _, err := w.sandbox.FundAddress(deposit.Address, sats, confirmed); err != nil {
		w.t.Fatal(err)
	}
}

// counted is how many movements of a kind there were.
func (w *world) counted(kind sandbox.Kind) int {
	count := 0
	for _, entry := range w.sandbox.Ledger() {
		if entry.Kind == kind {
			count++
		}
	}
	return count
}

// TestHazard01EndPaysWhatWasBegunLast has two payments of one wallet meet between begin and end.
// Needs the wallet's Lease, and that an answer for another payment hash is not taken for ours.
func TestHazard01EndPaysWhatWasBegunLast(t *testing.T) {
	n := newNaive(t)
	invoiceA, hashA := n.invoice(5000)
	invoiceB, hashB := n.invoice(6000)
	signedA, signedB := n.Sign(n.BeginPay(invoiceA)), n.Sign(n.BeginPay(invoiceB))
	status, body := n.EndPay(signedA)
	n.answers(status, body, 200, hashB)
	status, body = n.EndPay(signedB)
	n.answers(status, body, 400, "No invoice found")
	n.passes(time.Minute)
	n.moved(hashA, 0)
	n.moved(hashB, 1)

	t.Run("by two processes of the operator", func(t *testing.T) {
		w := hazardous(t)
		a, b := made(w, w.payment("a", w.supplierInvoice(5000)).Obj()), made(w, w.payment("b", w.supplierInvoice(6000)).Obj())
		w.at("/pay-invoice-begin", true, func() {
			w.passOf(w.rival(), b)
			w.want(b, verdict{"Pending", v1alpha1.ReasonWalletBusy, []string{"another payment from this wallet"}})
		})
		w.pass(a)
		w.boundary = nil
		w.rest(a)
		w.rest(b)
		w.paid(2)
		w.began(2, 2)
		w.orderly()
		w.judge(a, once)
		w.judge(b, once)
	})
	t.Run("by another client of the wallet", func(t *testing.T) {
		w := hazardous(t)
		w.fault(sandbox.Fault{Kind: sandbox.FaultForeignBegin, Operation: sandbox.PayEnd})
		pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
		w.pass(pay)
		w.want(pay, verdict{"Submitting", v1alpha1.ReasonSubmitting, nil}) // what was answered is the other client's payment
		if told := w.told(); told[v1alpha1.EventWrongOrderExecuted] != 1 {
			t.Errorf("a person was told %v, want WrongOrderExecuted once", told)
		}
		w.rest(pay)
		w.paid(2) // the other client's too
		w.judge(pay, once)
	})
}

// TestHazard02EndTakesAnyFinalisedPSBT has the service, which verifies no signature, be sent nothing but what it asked for, signed by
// the wallet's own keys, and ask for signatures that the order does not allow.
// Needs the inspection of what is signed: no foreign input, none that is signed already.
func TestHazard02EndTakesAnyFinalisedPSBT(t *testing.T) {
	n := newNaive(t)
	invoice, hash := n.invoice(5000)
	stranger := sandboxtest.NewClient(t, n.server, "stranger").Register()
	other, _ := n.invoice(1)
	foreign := stranger.Sign(stranger.BeginPay(other))
	n.BeginPay(invoice)
	status, body := n.EndPay(foreign)
	n.answers(status, body, 200, hash)
	n.passes(time.Minute)
	n.moved(hash, 1)
	if evidence := n.server.Moved(hash)[0].PSBT; evidence.Valid || evidence.Asked {
		t.Errorf("the hazard is not there: paid on %+v", evidence)
	}

	for _, s := range scenarios() {
		if s.profile == sandbox.Reference {
			t.Run("what is sent is what was asked for, with good signatures: "+s.name, func(t *testing.T) {
				w := hazardous(t)
				object := made(w, s.make(w))
				w.rest(object)
				w.judge(object, once) // the ledger keeps what the PSBT was
			})
		}
	}
	psbts := map[string]struct {
		asked func(w *world) string
		says  string
	}{
		"another wallet's": {func(w *world) string {
			stranger := sandboxtest.NewClient(w.t, w.sandbox, "stranger").Register()
			return stranger.BeginPay(w.supplierInvoice(1))
		}, "belongs to another master key"},
		"one that is signed already": {func(w *world) string {
			set, err := keys.FromMnemonic(mnemonic, "", bitcoin.Regtest)
			if err != nil {
				w.t.Fatal(err)
			}
			policy := psbtcheck.DefaultPolicy()
			policy.MaxNetOutflowSats = 100_000
			signed, err := signer.NewLocal(set).Sign(w.t.Context(), signer.Request{
				UnsignedPSBT: w.client().BeginPay(w.supplierInvoice(1)), Policy: policy,
			})
			if err != nil {
				w.t.Fatal(err)
			}
			return signed.PSBT
		}, "is signed already"},
		"an on-chain one of more than is to be paid": {func(w *world) string {
			return w.client().BeginSend(w.naive().address(), 50_000)
		}, "sat would leave the wallet"},
	}
	for name, tc := range psbts {
		t.Run("the service asks for a signature of "+name, func(t *testing.T) {
			w := hazardous(t)
			psbt := tc.asked(w)
			begins := 0
			w.pass(made(w, w.fronted(w.relay(func(out http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/pay-invoice-begin") {
					return false
				}
				begins++
				_, _ = out.Write([]byte(asJSON(psbt)))
				return true
			}))))
			pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Wallet("fronted").Obj())
			w.rest(pay)
			w.want(pay, verdict{"Failed", v1alpha1.ReasonPSBTRejected, []string{"nothing was signed", tc.says}})
			w.paid(0)
			if begins != 1 || w.ends() != 0 {
				t.Errorf("%d calls that begin, %d that move money", begins, w.ends())
			}
			w.quiet(pay)
		})
	}
}

// naive is a client without rules of the world's own sandbox.
func (w *world) naive() *naive {
	return &naive{T: w.t, server: w.sandbox, clock: w.clock}
}

// TestHazard03EndClearsAnotherBegin begins a payment while the end of another waits for the node.
// Needs the wallet's Lease to be held until the answer to the end.
func TestHazard03EndClearsAnotherBegin(t *testing.T) {
	// duringEnd makes the node slow, and does something while the service waits for it to pay.
	duringEnd := func(do func()) func(*sandbox.Options) {
		waits := 0
		return func(o *sandbox.Options) {
			o.Timing.Node = 100 * time.Millisecond
			o.Sleep = func(context.Context, time.Duration) {
				if waits++; do != nil {
					do()
				}
			}
		}
	}
	ending := false
	var n *naive
	var invoiceB, hashB, signedB string
	n = newNaive(t, duringEnd(func() {
		if ending && signedB == "" {
			signedB = n.Sign(n.BeginPay(invoiceB))
		}
	}))
	invoiceA, hashA := n.invoice(5000)
	invoiceB, hashB = n.invoice(6000)
	signedA := n.Sign(n.BeginPay(invoiceA))
	ending = true
	status, body := n.EndPay(signedA)
	n.answers(status, body, 200, hashA)
	status, body = n.EndPay(signedB)
	n.answers(status, body, 400, "No invoice found")
	n.passes(time.Minute)
	n.moved(hashB, 0)

	t.Run("by two processes of the operator", func(t *testing.T) {
		var w *world
		var b *v1alpha1.LightningPayment
		var atEnd atomic.Bool
		w = hazardous(t, duringEnd(func() {
			if atEnd.CompareAndSwap(true, false) {
				w.passOf(w.rival(), b)
				w.want(b, verdict{"Pending", v1alpha1.ReasonWalletBusy, nil})
			}
		}))
		a := made(w, w.payment("a", w.supplierInvoice(5000)).Obj())
		b = made(w, w.payment("b", w.supplierInvoice(6000)).Obj())
		w.at("/pay-invoice-end", false, func() { atEnd.Store(true) })
		w.pass(a)
		w.boundary = nil
		if atEnd.Load() {
			t.Fatal("the service did not wait for its node")
		}
		w.rest(a)
		w.rest(b)
		w.paid(2)
		w.began(2, 2)
		w.orderly()
		w.judge(a, once)
		w.judge(b, once)
	})
}

// TestHazard04SameEndTwiceAtOnce delivers the call that moves money twice, and answers with what came of the second.
// Needs DuplicatePayment to mean that the payment exists, not that it was refused.
func TestHazard04SameEndTwiceAtOnce(t *testing.T) {
	n := newNaive(t)
	invoice, hash := n.invoice(5000)
	n.fault(sandbox.Fault{Kind: sandbox.FaultDeliverTwice, Operation: sandbox.PayEnd})
	status, body := n.pay(invoice)
	n.answers(status, body, 403, `"name":"DuplicatePayment"`)
	n.passes(time.Minute)
	n.moved(hash, 1)

	w := hazardous(t)
	w.fault(sandbox.Fault{Kind: sandbox.FaultDeliverTwice, Operation: sandbox.PayEnd})
	pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
	w.pass(pay)
	if phase(pay) == "Failed" {
		t.Errorf("called failed, and it is under way: %s", w.ready(pay).Message)
	}
	w.rest(pay)
	w.began(1, 1)
	w.judge(pay, once)
}

// TestHazard05NodePaysAndTheAnswerIsLost has the service answer 500 to an end that paid.
// Needs a 5xx to mean that nobody knows, and the look-up by the payment hash.
func TestHazard05NodePaysAndTheAnswerIsLost(t *testing.T) {
	n := newNaive(t)
	invoice, hash := n.invoice(5000)
	lost := sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.NodeSendPayment}
	n.fault(lost)
	signed := n.Sign(n.BeginPay(invoice))
	status, body := n.EndPay(signed)
	n.answers(status, body, 500, "Failed to communicate with RLN node: ")
	n.passes(time.Minute)
	n.moved(hash, 1)
	status, body = n.EndPay(signed) // what was begun stays begun
	n.answers(status, body, 403, "DuplicatePayment")

	w := hazardous(t)
	w.fault(lost)
	pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
	w.pass(pay)
	w.want(pay, verdict{"InFlight", v1alpha1.ReasonInFlight, nil}) // found by its hash
	next := made(w, w.payment("next", w.supplierInvoice(6000)).Obj())
	w.pass(next)
	w.want(next, verdict{"Pending", v1alpha1.ReasonWalletQuarantined, nil}) // for the call may still land
	w.rest(pay)
	w.began(1, 1)
	w.judge(pay, once)
	w.rest(next)
	w.judge(next, once)
	w.orderly()
}

// TestHazard06RestartBetweenBeginAndEnd has the service forget what was begun.
// Needs "nothing begun" to be proof, of a first end, that nothing was sent, and another attempt to begin anew.
func TestHazard06RestartBetweenBeginAndEnd(t *testing.T) {
	n := newNaive(t)
	invoice, hash := n.invoice(5000)
	signed := n.Sign(n.BeginPay(invoice))
	n.server.Restart()
	status, body := n.EndPay(signed)
	n.answers(status, body, 400, "No invoice found")
	n.passes(time.Minute)
	n.moved(hash, 0)

	for _, s := range scenarios() {
		if s.profile != sandbox.Reference {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			w := hazardous(t)
			object := made(w, s.make(w))
			w.at("-end", false, w.sandbox.Restart)
			w.pass(object)
			w.boundary = nil
			w.want(object, verdict{"Pending", v1alpha1.ReasonProgressing, []string{"another attempt follows"}})
			w.paid(0)
			w.rest(object)
			w.began(2, 2)
			w.orderly()
			w.judge(object, once)
		})
	}
}

// TestHazard07RefusedEndLeavesTheInvoiceBegun has the node refuse an end, after which any end of the wallet would pay that invoice.
// Needs every end to have a begin of its own attempt right before it.
func TestHazard07RefusedEndLeavesTheInvoiceBegun(t *testing.T) {
	locked := sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.NodeSendPayment, Status: 403, Name: "LockedNode"}
	n := newNaive(t)
	invoice, hash := n.invoice(5000)
	n.fault(locked)
	signed := n.Sign(n.BeginPay(invoice))
	status, body := n.EndPay(signed)
	n.answers(status, body, 403, "LockedNode")
	other := n.Sign(n.BeginSend(n.address(), 5_000)) // an order of another kind, and its PSBT
	status, body = n.EndPay(other)
	n.answers(status, body, 200, hash)
	n.passes(time.Minute)
	n.moved(hash, 1)

	t.Run("the payment is made later", func(t *testing.T) {
		w := hazardous(t)
		w.fault(locked)
		pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
		w.pass(pay)
		w.want(pay, verdict{"Pending", v1alpha1.ReasonServiceUnavailable, []string{"LockedNode"}})
		w.paid(0)
		w.rest(pay)
		w.began(2, 2)
		w.orderly()
		w.judge(pay, once)
	})
	t.Run("the payment is given up, and others follow", func(t *testing.T) {
		w := hazardous(t)
		w.fault(locked)
		pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
		w.pass(pay)
		w.want(pay, verdict{"Pending", v1alpha1.ReasonServiceUnavailable, nil})
		w.delete(pay)
		w.pass(pay)
		if w.exists(pay) {
			t.Fatal("a payment that was refused cannot be given up")
		}
		next := made(w, w.payment("next", w.supplierInvoice(6000)).Obj())
		w.rest(next)
		send := made(w, w.send("payroll", 20000).Obj())
		w.rest(send)
		w.judge(next, once)
		w.judge(send, once)
		w.paid(2)
		w.orderly()
		if out := w.sandbox.Moved(w.hashOf(pay.Spec.Invoice)); len(out) > 0 {
			t.Errorf("the payment that was given up was made: %+v", out)
		}
	})
}

// TestHazard08SecondBeginHijacksBothEnds is hazard 1 on-chain, where both ends answer with one send.
// Needs the wallet's Lease, and that what the service shows under its id is held against the order.
func TestHazard08SecondBeginHijacksBothEnds(t *testing.T) {
	n := newNaive(t)
	a, b := n.address(), n.address()
	signedA, signedB := n.Sign(n.BeginSend(a, 10_000)), n.Sign(n.BeginSend(b, 20_000))
	if first, second := n.sent(signedA), n.sent(signedB); first != second {
		t.Errorf("the hazard is not there: sends %s and %s", first, second)
	}
	n.passes(5 * time.Minute)
	n.moved(a, 0)
	n.moved(b, 1)

	t.Run("by two processes of the operator", func(t *testing.T) {
		w := hazardous(t)
		a, b := made(w, w.send("a", 10_000).Obj()), made(w, w.send("b", 20_000).Obj())
		w.at("/onchain-send-begin", true, func() {
			w.passOf(w.rival(), b)
			w.want(b, verdict{"Pending", v1alpha1.ReasonWalletBusy, nil})
		})
		w.pass(a)
		w.boundary = nil
		w.rest(a)
		w.rest(b)
		if a.Status.SendID == "" || a.Status.SendID == b.Status.SendID {
			t.Errorf("the sends are %q and %q", a.Status.SendID, b.Status.SendID)
		}
		w.paid(2)
		w.began(2, 2)
		w.orderly()
		w.judge(a, once)
		w.judge(b, once)
	})
	t.Run("by another client of the wallet", func(t *testing.T) {
		w := hazardous(t)
		w.fault(sandbox.Fault{Kind: sandbox.FaultForeignBegin, Operation: sandbox.OnchainEnd})
		send := made(w, w.send("payroll", 20000).Obj())
		w.rest(send)
		w.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, []string{"executed another order", "look on the chain"}})
		if told := w.told(); told[v1alpha1.EventWrongOrderExecuted] != 1 {
			t.Errorf("a person was told %v, want WrongOrderExecuted once", told)
		}
		w.began(1, 1)
		if out := ours(w, send); len(out) != 0 {
			t.Errorf("ours was sent too: %+v", out)
		}
		w.quiet(send)
	})
}

// TestHazard09EqualOrdersAreMerged declares an order twice, meant as two, of which the second would be called sent without any money.
// Needs the record of the order.
func TestHazard09EqualOrdersAreMerged(t *testing.T) {
	n := newNaive(t)
	address := n.address()
	first := n.send(address, 20_000)
	n.passes(5 * time.Minute)
	if second := n.send(address, 20_000); second != first {
		t.Errorf("the hazard is not there: sends %s and %s", first, second)
	}
	n.passes(5 * time.Minute)
	n.shows(first, "CONFIRMED")
	n.moved(address, 1)

	for name, firstDone := range map[string]bool{"after the first was sent": true, "while the first is under way": false} {
		t.Run(name, func(t *testing.T) {
			w := hazardous(t)
			first := made(w, w.send("january", 20_000).Obj())
			if firstDone {
				w.rest(first)
			} else {
				w.reach(first, v1alpha1.ReasonInFlight)
			}
			second := made(w, again(first, w.namespace, "february"))
			w.rest(second)
			w.want(second, verdict{"Failed", v1alpha1.ReasonOrderCollision, []string{
				w.namespace + "/january", "nothing was sent", "change the amount by 1 sat, or the fee rate",
			}})
			w.rest(first)
			w.began(1, 1)
			w.judge(first, once)
			w.quiet(second)
		})
	}
}

// TestEqualOrderDeclaredAgainMeanwhile declares an order that was given up once more, in another process, in the moment in which an equal one
// takes its place.
func TestEqualOrderDeclaredAgainMeanwhile(t *testing.T) {
	w := hazardous(t)
	w.fault(sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.OnchainBegin, Status: 403, Name: "InsufficientFunds"})
	first := made(w, w.send("january", 20_000).Obj())
	w.pass(first)
	w.delete(first)
	w.pass(first)
	second, rival := made(w, again(first, w.namespace, "february")), w.rival()
	w.at("K patch PaymentRecord", false, func() {
		w.recreate(first)
		w.passOf(rival, first)
	})
	w.pass(second)
	w.boundary = nil
	w.rest(second)
	w.want(second, verdict{"Failed", v1alpha1.ReasonOrderCollision, []string{w.namespace + "/january", "nothing was sent"}})
	w.rest(first)
	w.judge(first, once)
	w.quiet(second)
}

// TestHazard10EqualOrdersOfTwoWalletsAreMerged is hazard 9 with the wallets of two teams.
// Needs the record of the order to be of the service, not of the wallet.
func TestHazard10EqualOrdersOfTwoWalletsAreMerged(t *testing.T) {
	n := newNaive(t)
	bob := sandboxtest.NewClient(t, n.server, "bob").Register()
	address := n.address()
	first := n.send(address, 20_000)
	status, body := bob.EndSend(bob.Sign(bob.BeginSend(address, 20_000)))
	n.answers(status, body, 200, first)
	n.passes(5 * time.Minute)
	n.moved(address, 1)

	w := hazardous(t)
	send := made(w, w.send("payroll", 20_000).Obj())
	w.reach(send, v1alpha1.ReasonInFlight)
	team, home := w.makeNamespace("other-team-"), w.namespace
	w.namespace = team
	w.makeSecret("main", map[string]string{"mnemonic": otherMnemonic})
	wallet := again(&v1alpha1.Wallet{Spec: w.specOf(home)}, team, "main")
	w.create(wallet)
	w.syncWallet()
	theirs := made(w, again(send, team, "payroll"))
	w.rest(theirs)
	w.want(theirs, verdict{"Failed", v1alpha1.ReasonOrderCollision, []string{"nothing was sent", "change the amount by 1 sat"}})
	w.rest(send)
	w.began(1, 1)
	w.judge(send, once)
	w.quiet(theirs)
}

const otherMnemonic = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"

// specOf is the spec of the Wallet main of a namespace.
func (w *world) specOf(namespace string) v1alpha1.WalletSpec {
	w.t.Helper()
	wallet := w.wallet("main")
	wallet.Namespace = namespace
	w.get(wallet)
	return wallet.Spec
}

// TestEqualOrderOfAStranger has a stranger at the same service send, long before, what is declared now: the service answers with that send, and
// moves nothing. Nobody may be told that it was paid.
func TestEqualOrderOfAStranger(t *testing.T) {
	for name, tc := range map[string]struct {
		before time.Duration
		want   verdict
		wrong  int
	}{
		"days before": {
			48 * time.Hour, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, []string{"equal send", "older than this one", "resolve the record"}}, 1,
		},
		"so shortly before that a clock may be wrong": {30 * time.Minute, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := hazardous(t)
			stranger := &naive{T: t, server: w.sandbox, Client: sandboxtest.NewClient(t, w.sandbox, "stranger").Register()}
			address := stranger.address()
			stranger.send(address, 20_000)
			for passed := time.Duration(0); passed < tc.before; passed += tc.before / 4 {
				w.clock.Step(tc.before / 4)
				w.sandbox.Advance()
			}
			w.syncWallet()
			send := made(w, w.send("december", 20_000).Address(address).FeeRate(5).Obj())
			w.rest(send)
			w.want(send, tc.want)
			if got := w.told()[v1alpha1.EventWrongOrderExecuted]; got != tc.wrong {
				t.Errorf("a person was told %d times that another order was executed, want %d", got, tc.wrong)
			}
			stranger.moved(address, 1)
			w.quiet(send)
		})
	}
}

// TestHazard11FailedOrderIsAnsweredForEver orders again what failed, which the service answers with the failure whatever is possible now.
// Needs the record of the order to outlive its failure.
func TestHazard11FailedOrderIsAnsweredForEver(t *testing.T) {
	refused := sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.NodeSendBtc, Status: 500, Name: "FailedBdkSync"}
	n := newNaive(t)
	address := n.address()
	n.fault(refused)
	first := n.send(address, 20_000)
	n.passes(5 * time.Minute)
	n.shows(first, "FAILED")
	if second := n.send(address, 20_000); second != first {
		t.Errorf("the hazard is not there: sends %s and %s", first, second)
	}
	n.passes(5 * time.Minute)
	n.moved(address, 0)

	cases := map[string]struct {
		fault sandbox.Fault
		// resolved tells that only a person could say that it failed.
		resolved bool
	}{
		"it failed before any broadcast":                 {fault: sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.NodeCloseChannel}},
		"it failed, and a person said that it did":       {fault: refused, resolved: true},
		"it failed, and nobody has said yet that it did": {fault: refused},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := hazardous(t)
			w.fault(tc.fault)
			send := made(w, w.send("payroll", 20_000).Obj())
			w.rest(send)
			if tc.resolved {
				record := w.record(send)
				w.annotate(send, controller.ResolveAnnotation, fmt.Sprintf("%s:%d:notpaid", record.UID, record.Journal.Attempt))
				w.rest(send)
			}
			if tc.resolved || tc.fault.Operation == sandbox.NodeCloseChannel {
				w.want(send, verdict{"Failed", v1alpha1.ReasonPaymentFailed, nil})
			} else {
				w.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, nil})
			}
			same := made(w, again(send, w.namespace, "same"))
			w.rest(same)
			w.want(same, verdict{"Failed", v1alpha1.ReasonOrderCollision, []string{"change the amount by 1 sat, or the fee rate"}})
			w.began(1, 1)
			w.paid(0)
			w.quiet(same)

			other := again(send, w.namespace, "other").(*v1alpha1.OnchainSend)
			*other.Spec.AmountSats++
			w.create(other)
			w.rest(other)
			w.want(other, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(1)
		})
	}
}

// TestHazard12RepeatedEndIsOneSend loses answers to the end of a send, which only a repetition of that end can bring back.
// Needs the repetition to be of the identical PSBT, without another begin, and its answer to be held against the order.
func TestHazard12RepeatedEndIsOneSend(t *testing.T) {
	n := newNaive(t)
	address := n.address()
	signed := n.Sign(n.BeginSend(address, 20_000))
	first := n.sent(signed)
	for range 3 {
		if again := n.sent(signed); again != first {
			t.Errorf("the hazard is not there: sends %s and %s", first, again)
		}
	}
	status, body := n.Post("/lightning/onchain-send-begin", fmt.Sprintf(`{"address_or_rgbinvoice":%q,"amount_sats":1000,"fee_rate":5}`, n.address()))
	n.answers(status, body, 200, "cHNidP")
	if again := n.sent(signed); again == first { // as long as nothing else began
		t.Error("the hazard is not there: the send is still answered after another begin")
	}
	n.passes(5 * time.Minute)
	n.moved(address, 1)

	lost := sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.OnchainEnd}
	t.Run("two answers are lost", func(t *testing.T) {
		w := hazardous(t)
		lost := lost
		lost.Count = 2
		w.fault(lost)
		send := made(w, w.send("payroll", 20_000).Obj())
		w.pass(send)
		txid := w.record(send).Journal.Txid
		w.rest(send)
		if now := w.record(send).Journal.Txid; now != txid || txid == "" {
			t.Errorf("signed was %q, and is %q", txid, now)
		}
		w.began(1, 3)
		w.judge(send, once)
	})
	t.Run("the first send failed meanwhile", func(t *testing.T) {
		w := hazardous(t)
		w.fault(lost)
		w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.NodeSendBtc})
		send := made(w, w.send("payroll", 20_000).Obj())
		w.rest(send)
		w.began(1, 2)
		w.judge(send, unknown)
	})
	t.Run("another client began meanwhile", func(t *testing.T) {
		w := hazardous(t)
		w.fault(lost)
		w.fault(sandbox.Fault{Kind: sandbox.FaultForeignBegin, Operation: sandbox.OnchainEnd})
		send := made(w, w.send("payroll", 20_000).Obj())
		w.rest(send)
		w.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, []string{"executed another order"}})
		w.began(1, 2)
		w.quiet(send)
		w.sandbox.Advance()
		if out := ours(w, send); len(out) != 1 { // which a person is to find out
			t.Errorf("money moved %d times", len(out))
		}
	})
	t.Run("at a service of which nobody says that it merges", func(t *testing.T) {
		w := hazardous(t)
		wallet := w.wallet("main")
		w.change(wallet, func() { wallet.Spec.Endpoint.Profile = v1alpha1.ProfileConservative })
		w.syncWallet()
		w.fault(lost)
		send := made(w, w.send("payroll", 20_000).Obj())
		w.rest(send)
		w.began(1, 1)
		w.judge(send, unknown)
	})
}

// TestHazard13RestartMakesTheSameOrderMoveMoneyAgain restarts the service, which forgets what it would merge.
// Needs records that outlive the service's memory, and "nothing begun" to prove nothing of a repeated end.
func TestHazard13RestartMakesTheSameOrderMoveMoneyAgain(t *testing.T) {
	n := newNaive(t)
	address := n.address()
	n.send(address, 20_000)
	n.passes(5 * time.Minute)
	n.server.Restart()
	n.send(address, 20_000)
	n.passes(5 * time.Minute)
	n.moved(address, 2)

	t.Run("after the send", func(t *testing.T) {
		w := hazardous(t)
		send := made(w, w.send("payroll", 20_000).Obj())
		w.rest(send)
		w.sandbox.Restart()
		w.start()
		twin := made(w, again(send, w.namespace, "twin"))
		w.rest(twin)
		w.want(twin, verdict{"Failed", v1alpha1.ReasonOrderCollision, nil})
		w.strip(send)
		w.rest(send)
		w.delete(send)
		w.recreate(send)
		w.rest(send)
		w.began(1, 1)
		w.judge(send, once)
	})
	t.Run("before the answer to the end, which took effect", func(t *testing.T) {
		w := hazardous(t)
		broadcast := false
		w.at("/onchain-send-end", true, func() {
			w.clock.Step(5 * time.Minute) // the answer is late, and the money gone
			w.sandbox.Advance()
			broadcast = len(moved(w)) == 1
			w.sandbox.Restart()
		})
		cut := w.boundary
		w.boundary = func(call string, after bool) error {
			if err := cut(call, after); err != nil || !after || !strings.HasSuffix(call, "/onchain-send-end") || w.ends() != 1 {
				return err
			}
			return errInjected // the answer is lost
		}
		send := made(w, w.send("payroll", 20_000).Obj())
		for range 100 {
			after := w.pass(send)
			if after == 0 {
				break
			}
			w.clock.Step(after)
		}
		w.boundary = nil
		if !broadcast {
			t.Fatal("the send did not take effect before the restart")
		}
		w.judge(send, unknown)
		w.paid(1)
		if begins := w.called(sandbox.OnchainBegin); begins != 1 {
			t.Errorf("the order was begun %d times", begins)
		}
	})
}

// TestHazard14RestartForgetsASendOnItsWay restarts the service while a send waits for its channel to close: it is 404, and nothing was
// sent, which looks like hazard 13.
// Needs a 404 about a known send to prove nothing.
func TestHazard14RestartForgetsASendOnItsWay(t *testing.T) {
	n := newNaive(t)
	address := n.address()
	id := n.send(address, 20_000)
	n.passes(5 * time.Second)
	n.shows(id, "WAITING_BALANCE_UPDATE")
	n.server.Restart()
	n.passes(time.Hour)
	status, body := n.Get("/lightning/onchain-send/" + id)
	n.answers(status, body, 404, "Withdrawal not found")
	n.moved(address, 0)

	w := hazardous(t)
	send := made(w, w.send("payroll", 20_000).Obj())
	w.reach(send, v1alpha1.ReasonInFlight)
	w.watch(send, 5*time.Second)
	w.sandbox.Restart()
	w.rest(send)
	w.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, []string{"no longer knows send " + send.Status.SendID}})
	w.judge(send, unknown)
	w.paid(0)
	w.began(1, 1)
	if closed := w.counted(sandbox.ChannelClose); closed != 1 {
		t.Errorf("%d channels were closed for it", closed)
	}
}

// TestHazard15TwoSendsThroughOneChannel has two sends under way that need the same channel closed: the second fails.
// Needs that failure to be told from one after which the money may be gone, and not to be tried again by itself.
func TestHazard15TwoSendsThroughOneChannel(t *testing.T) {
	n := newNaive(t)
	a, b := n.address(), n.address()
	first, second := n.send(a, 10_000), n.send(b, 20_000)
	n.passes(5 * time.Minute)
	n.shows(first, "CONFIRMED")
	n.shows(second, "FAILED")
	n.moved(a, 1)
	n.moved(b, 0)

	w := hazardous(t)
	one, two := made(w, w.send("one", 10_000).Obj()), made(w, w.send("two", 20_000).Obj())
	w.pass(one)
	w.pass(two)
	w.want(one, verdict{"InFlight", v1alpha1.ReasonInFlight, nil})
	w.want(two, verdict{"InFlight", v1alpha1.ReasonInFlight, nil})
	w.rest(one)
	w.rest(two)
	w.want(two, verdict{"Failed", v1alpha1.ReasonPaymentFailed, []string{"CHANNEL_CLOSE_FAILED", "no money moved", "change the amount by 1 sat"}})
	w.began(2, 2)
	w.judge(one, once)
	w.judge(two, unpaid)
}

// TestHazard16SlowCloseIsStuckForEver has a send that the service never looks at again.
// Needs that no passing of time makes a submitted send anything else than under way.
func TestHazard16SlowCloseIsStuckForEver(t *testing.T) {
	stale := sandbox.Fault{Kind: sandbox.FaultStale, Operation: sandbox.NodeCloseChannel}
	n := newNaive(t)
	n.fault(stale)
	id := n.send(n.address(), 20_000)
	n.passes(24 * time.Hour)
	n.shows(id, "WAITING_CLOSE_CONFIRMATIONS")

	w := hazardous(t)
	w.fault(stale)
	send := made(w, w.send("payroll", 20_000).ValidUntil(w.clock.Now().Add(time.Hour)).Obj())
	w.reach(send, v1alpha1.ReasonInFlight)
	w.watch(send, time.Hour)
	w.clock.Step(3 * 24 * time.Hour)
	w.watch(send, time.Hour)
	w.want(send, verdict{"InFlight", v1alpha1.ReasonInFlight, []string{
		"WAITING_CLOSE_CONFIRMATIONS", "more than 40 minutes", "nothing is sent again", "ask its operator",
	}})
	w.delete(send)
	w.watch(send, time.Hour)
	if !w.exists(send) {
		t.Fatal("it went before its outcome was known")
	}
	w.want(send, verdict{"InFlight", v1alpha1.ReasonInFlight, []string{"deletion waits for the outcome"}})
	w.sandbox.Restart() // the way out of its operator: nobody can tell now
	w.rest(send)
	w.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, []string{"resolve the record"}})
	w.paid(0)
	w.began(1, 1)
}

// TestHazard17AnyDepositCountsAsTheClosedChannel has a deposit set off a send that waits for its channel.
// Needs that no balance, which says nothing about a send, decides anything.
func TestHazard17AnyDepositCountsAsTheClosedChannel(t *testing.T) {
	never := func(o *sandbox.Options) { o.Timing.Close = 10 * time.Hour }
	n := newNaive(t, never)
	address := n.address()
	id := n.send(address, 20_000)
	n.passes(5 * time.Second)
	n.shows(id, "WAITING_BALANCE_UPDATE")
	var given struct {
		Address string `json:"btc_address"`
	}
	n.MustGet("/lightning/onchain-receive", &given)
	if _, err := n.server.FundAddress(given.Address, 1_500, false); err != nil {
		t.Fatal(err)
	}
	n.passes(time.Minute)
	n.shows(id, "CONFIRMED")
	n.moved(address, 1)

	t.Run("the send goes out before its channel is closed", func(t *testing.T) {
		w := hazardous(t, never)
		send := made(w, w.send("payroll", 20_000).Obj())
		w.reach(send, v1alpha1.ReasonInFlight)
		w.watch(send, 10*time.Second)
		w.deposit(1_500, false)
		w.rest(send)
		if closed := w.counted(sandbox.ChannelClose); closed != 0 {
			t.Errorf("%d channels are closed", closed)
		}
		w.began(1, 1)
		w.judge(send, once)
	})
	t.Run("the balance moves while an outcome is not known", func(t *testing.T) {
		w := hazardous(t)
		send := forgotten(w)
		w.deposit(20_000, true)
		w.fund()
		w.watch(send, time.Hour)
		w.syncWallet()
		another := made(w, w.send("another", 20_000).Obj()) // and falls by as much as is in doubt
		w.rest(another)
		w.judge(another, once)
		w.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, nil})
		w.began(2, 2)
		w.quiet(send)
	})
}

// TestHazard18FailedRetryableAfterTheMoneyLeft has the service call a send failed, and retryable, that was made.
// Needs an on-chain failure to prove nothing, unless its code comes before any broadcast.
func TestHazard18FailedRetryableAfterTheMoneyLeft(t *testing.T) {
	faults := map[string]sandbox.Fault{
		"the node takes more than 60 s": {Kind: sandbox.FaultDelay, Operation: sandbox.NodeSendBtc, Delay: sandbox.Duration(61 * time.Second)},
		"the node's answer is dropped":  {Kind: sandbox.FaultDropAnswer, Operation: sandbox.NodeSendBtc},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			n := newNaive(t)
			n.fault(fault)
			address := n.address()
			id := n.send(address, 20_000)
			n.passes(5 * time.Minute)
			n.shows(id, "FAILED")
			_, body := n.Get("/lightning/onchain-send/" + id)
			n.answers(200, body, 200, `"retryable":true`)
			n.moved(address, 1)

			w := hazardous(t)
			w.fault(fault)
			send := made(w, w.send("payroll", 20_000).Obj())
			w.rest(send)
			w.began(1, 1)
			w.judge(send, unknown)
			w.paid(1)
			record := w.record(send)
			w.annotate(send, controller.ResolveAnnotation, fmt.Sprintf("%s:%d:paid:seen-on-the-chain", record.UID, record.Journal.Attempt))
			w.rest(send)
			w.judge(send, once)
			w.began(1, 1)
		})
	}
}

// TestHazard19NoChannelIsLeftAfterAnOnchainSend pays over Lightning after the on-chain send that closed all channels.
// Needs a failure over Lightning to be seen twice, to be told, and not to be tried again by itself.
func TestHazard19NoChannelIsLeftAfterAnOnchainSend(t *testing.T) {
	n := newNaive(t)
	n.send(n.address(), 20_000)
	n.passes(time.Minute)
	invoice, hash := n.invoice(5000)
	status, body := n.pay(invoice)
	n.answers(status, body, 200, `"status":"FAILED"`)
	n.passes(time.Minute)
	n.moved(hash, 0)

	w := hazardous(t)
	send := made(w, w.send("payroll", 20_000).Obj())
	w.rest(send)
	w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
	w.reach(pay, v1alpha1.ReasonPaymentFailed)
	if seen := w.record(pay).Journal; seen.FirstFailedAt == nil || seen.CompletedAt.Sub(seen.FirstFailedAt.Time) < 30*time.Second {
		t.Errorf("the failure was first seen at %v and believed at %v", seen.FirstFailedAt, seen.CompletedAt)
	}
	w.want(pay, verdict{"Failed", v1alpha1.ReasonPaymentFailed, []string{"no money moved", "ask the payee for a new invoice"}})
	w.rest(pay)
	w.began(2, 2)

	// The service re-opens a channel out of a deposit. That alone pays nothing.
	w.deposit(50_000, true)
	w.clock.Step(10 * time.Minute)
	w.sandbox.Advance()
	w.quiet(pay)
	instead := made(w, w.payment("rent-2", w.supplierInvoice(5000)).Obj())
	w.rest(instead)
	w.judge(instead, once)
	w.judge(pay, unpaid)
	w.paid(2) // with the send
	w.orderly()
}
