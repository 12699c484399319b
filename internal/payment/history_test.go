package payment

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/readiness"
)

// history is what may happen to one payment: what people declare, what the service does and answers, and passes of the operator,
// which does what Decide says as package spender does it. It is judged by what the service really did, which the operator cannot see:
//
//   - at most one call ever takes effect, and none is made while an earlier attempt may still take effect;
//   - Succeeded and Failed are true, but for a person's word and for what the service takes back later;
//   - the attempt never goes back, the service's id never changes, Succeeded stays;
//   - nothing is submitted for what is suspended or deleted, and what may have been submitted is not let go;
//   - kstatus says Failed at a dead end, Current where it is done, else InProgress;
//   - once the world is quiet each payment comes to an end, and stays there.
type history struct {
	t judge
	// choose returns one of 0 to n-1; 0 is what a quiet world does.
	choose func(n int, what string) int
	quiet  bool

	now    time.Time
	facts  Facts
	record *v1alpha1.PaymentRecord
	// garbage is what the service adds to what it shows of a send.
	garbage    func(*Sighting)
	conditions []metav1.Condition
	wakeAfter  time.Duration
	writes     int
	// resolved tells that the outcome is a person's word.
	resolved bool
	// people tells that people sign; signed is the attempt that they signed last.
	people bool
	signed int32

	service service
	calls   []*moneyCall
}

// service is the truth.
type service struct {
	// exists tells that a call took effect: the service has the payment. forgotten is a send that it had before a restart.
	exists, forgotten bool
	state             State
	// broadcast is an on-chain send's: the money moved, whatever the state says.
	broadcast bool
	errorCode string
	// flippedAt is when a failure turned into a success.
	flippedAt time.Time
	// own tells that the invoice is the node's own.
	own bool
}

// moneyCall is a call that moves money. Until lands it has not taken effect; zero is never.
type moneyCall struct {
	attempt int32
	lands   time.Time
	done    bool
}

// judge is a *testing.T or a *rapid.T.
type judge interface {
	Helper()
	Errorf(string, ...any)
	Fatalf(string, ...any)
}

func newHistory(t judge, order *Order, profile v1alpha1.ServerProfile, choose func(int, string) int) *history {
	h := &history{t: t, now: t0, facts: Facts{Order: order, Profile: profile}}
	h.choose = func(n int, what string) int {
		if h.quiet {
			return 0
		}
		return choose(n, what)
	}
	h.service.own = h.lightning() && choose(8, "own invoice") == 7
	return h
}

func (h *history) lightning() bool { return h.facts.Order.Kind == v1alpha1.RecordLightningPayment }

// advance lets time pass, and with it calls take effect.
func (h *history) advance(by time.Duration) {
	h.now = h.now.Add(by)
	for _, call := range h.calls {
		if !call.done && !call.lands.IsZero() && !call.lands.After(h.now) {
			h.land(call)
		}
	}
}

func (h *history) land(call *moneyCall) {
	call.done = true
	for _, other := range h.calls {
		if other != call && other.done && other.attempt != call.attempt {
			h.t.Fatalf("attempts %d and %d both took effect", other.attempt, call.attempt)
		}
	}
	h.service.exists = true // an identical PSBT is answered with the first one's send
}

// happen is one thing that happens to the payment from outside.
func (h *history) happen() {
	switch h.choose(17, "event") {
	case 0, 1, 2, 3, 4:
		h.pass()
	case 5, 6:
		h.advance([]time.Duration{time.Second, 3 * time.Second, 16 * time.Second, 31 * time.Second, time.Minute, policy.Quarantine, time.Hour}[h.choose(7, "time")])
	case 7:
		h.facts.Suspended = !h.facts.Suspended
	case 8:
		if h.choose(3, "delete") == 2 {
			h.facts.Deleting = true
		}
		h.facts.Abandon = h.choose(4, "abandon") == 3
	case 9:
		h.facts.Waiting = [...]*Obstacle{nil, {Reason: v1alpha1.ReasonWalletNotReady, Message: "not yet", RetryAfter: 15 * time.Second}}[h.choose(2, "wallet missing")]
		h.facts.NoSpending = [...]*Obstacle{nil, {Reason: v1alpha1.ReasonJournalLost, Message: "not yet", RetryAfter: 15 * time.Second}}[h.choose(2, "no spending")]
	case 10:
		h.facts.Order.Wallet.Server = [...]string{"https://utexo.invalid", "https://elsewhere.invalid"}[h.choose(2, "wallet")]
	case 11:
		h.facts.Invalid = [...]*Obstacle{nil, deadEnd(v1alpha1.ReasonValidityElapsed, "too late")}[h.choose(2, "invalid")]
	case 12:
		h.facts.Resolution = [...]string{"", recordUID + ":7:notpaid", "other:1:paid:x"}[h.choose(3, "idle word")]
		if h.record != nil && h.record.Journal.Phase == v1alpha1.RecordUnknown {
			attempt := fmt.Sprint(h.record.Journal.Attempt)
			h.facts.Resolution = recordUID + ":" + attempt + [...]string{":notpaid", ":paid:x", ":paid", ":x"}[h.choose(4, "word")]
		}
	case 13:
		h.progress()
	case 14:
		if !h.lightning() && h.choose(3, "restart") == 2 {
			h.service.forgotten = h.service.exists
			for _, call := range h.calls {
				if !call.done {
					call.lands = time.Time{} // what was begun is forgotten too
				}
			}
		}
	case 15:
		// The resource is forced away and created again, under the same name.
		if h.choose(3, "recreate") == 2 {
			h.facts = Facts{Order: h.facts.Order, Profile: h.facts.Profile}
			h.facts.Order.Holder.UID += "'"
			h.conditions = nil
		}
	case 16:
		if h.awaits() {
			h.signed = h.record.Journal.Attempt
		}
	}
}

// awaits reports whether people have to sign now.
func (h *history) awaits() bool {
	return h.record != nil && h.record.Journal.Phase == v1alpha1.RecordAwaitingSignature
}

// progress is what the service does by itself with a payment that it has.
func (h *history) progress() {
	if !h.service.exists {
		return
	}
	switch {
	case h.service.state == StatePending && h.lightning():
		h.service.state = [...]State{StateSucceeded, StateFailed}[h.choose(2, "outcome")]
		if h.service.own {
			h.service.state = StateFailed
		}
	case h.service.state == StatePending:
		switch h.choose(4, "outcome") {
		case 0:
			h.service.state, h.service.broadcast = StateSucceeded, true
		case 1:
			h.service.state, h.service.errorCode = StateFailed, "CHANNEL_CLOSE_FAILED"
		case 2:
			h.service.state, h.service.errorCode, h.service.broadcast = StateFailed, "SWEEP_FAILED", true
		case 3:
			h.service.state, h.service.errorCode = StateFailed, "SWEEP_FAILED"
		}
	case h.service.state == StateFailed && h.lightning() && !h.service.own:
		h.service.state, h.service.flippedAt = [...]State{StateFailed, StateSucceeded, StatePending}[h.choose(3, "taken back")], h.now
	}
}

// moved reports whether the money moved.
func (h *history) moved() bool {
	return h.service.exists && (h.service.broadcast || h.lightning() && h.service.state == StateSucceeded)
}

// mayStillMove reports whether money may move without any further call.
func (h *history) mayStillMove() bool {
	for _, call := range h.calls {
		if !call.done && !call.lands.IsZero() && !h.service.exists { // else it is answered with the send that exists
			return true
		}
	}
	return h.service.exists && !h.service.forgotten && h.service.state == StatePending
}

// pass is one pass of the operator.
func (h *history) pass() {
	h.facts.Record, h.facts.Sighting, h.facts.Held, h.facts.FeeEstimateSats = h.record, nil, nil, nil
	h.facts.PeopleSign, h.facts.Given = h.people, nil
	if h.awaits() {
		h.facts.Given = &Given{Attempt: h.record.Journal.Attempt}
		if h.signed == h.record.Journal.Attempt {
			h.facts.Given.Signature = "signed"
		}
	}
	for range 20 {
		d := h.decide()
		if d.Journal != nil {
			h.write(*d.Journal)
			if d.Step != Rest {
				h.facts.Sighting = nil
			}
		}
		if d.Step == Rest {
			h.rest(d)
			return
		}
		h.act(d.Step)
		h.facts.Record = h.record
	}
	h.t.Fatalf("no rest after 20 steps, in %+v", h.record)
}

// decide asks Decide, and checks what holds of each decision.
func (h *history) decide() Decision {
	before := h.facts.Record.DeepCopy()
	d := Decide(h.facts, policy, h.now)
	if diff := cmp.Diff(before, h.facts.Record); diff != "" {
		h.t.Fatalf("Decide changed the record (-before +after):\n%s", diff)
	}
	if (h.facts.Suspended || h.facts.Deleting) && (d.Step == Claim || d.Step == Submit || d.Step == Finish || d.Step == Repeat) {
		h.t.Fatalf("%s of a payment that is suspended (%t) or deleted (%t)", d.Step, h.facts.Suspended, h.facts.Deleting)
	}
	if h.facts.Deleting && d.Step == Estimate {
		h.t.Fatalf("%s of a payment that is deleted", d.Step)
	}
	return d
}

// rest checks what holds of a decision to rest: that it is the last on these facts, and what the resource then shows.
func (h *history) rest(d Decision) {
	h.wakeAfter = d.RequeueAfter
	h.facts.Record = h.record
	if again := h.decide(); again.Step != Rest || again.Journal != nil {
		h.t.Fatalf("on the same facts Decide first rests and then does %s: %+v", again.Step, again.Journal)
	}
	unsettled := h.record != nil && SameHolder(h.record.Journal.Holder, h.facts.Order.Holder) && SameOrder(h.record, h.facts.Order) &&
		slices.Contains([]v1alpha1.RecordPhase{v1alpha1.RecordSubmitting, v1alpha1.RecordSubmitted, v1alpha1.RecordUnknown}, h.record.Journal.Phase)
	if unsettled && !d.Hold && !(h.facts.Deleting && h.facts.Abandon) {
		h.t.Fatalf("a payment in phase %s is let go", h.record.Journal.Phase)
	}
	h.conditions = readiness.Conditions(h.conditions, 1, d.Projection.Summary, h.now)
	assertHealth(h.t, h.conditions, d.Projection.Summary.Outcome)
}

// assertHealth checks what kstatus makes of conditions.
func assertHealth(t judge, conditions []metav1.Condition, outcome readiness.Outcome) {
	t.Helper()
	send := &v1alpha1.OnchainSend{
		ObjectMeta: metav1.ObjectMeta{Name: "payout", Generation: 1},
		Status:     v1alpha1.OnchainSendStatus{ObservedGeneration: 1, Conditions: conditions},
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(send)
	if err != nil {
		t.Fatalf("%v", err)
	}
	got, err := status.Compute(&unstructured.Unstructured{Object: content})
	if err != nil {
		t.Fatalf("kstatus: %v", err)
	}
	want := map[readiness.Outcome]status.Status{
		readiness.InProgress: status.InProgressStatus, readiness.Done: status.CurrentStatus, readiness.DeadEnd: status.FailedStatus,
	}[outcome]
	if got.Status != want {
		t.Fatalf("kstatus says %s, want %s, of %+v", got.Status, want, conditions)
	}
	for _, condition := range conditions {
		if condition.Reason == "" || condition.Message == "" || len(condition.Message) > 512 {
			t.Fatalf("the condition %+v lacks a reason or message, or says too much", condition)
		}
	}
}

// write is a compare-and-swap of the record that succeeds.
func (h *history) write(next v1alpha1.PaymentJournal) {
	h.writes++
	last := h.record.Journal
	assertFits(h.t, next)
	switch {
	case next.Attempt < last.Attempt:
		h.t.Fatalf("attempt %d after %d", next.Attempt, last.Attempt)
	case last.RequestID != "" && next.RequestID != last.RequestID:
		h.t.Fatalf("id %q after %q", next.RequestID, last.RequestID)
	case last.Phase == v1alpha1.RecordSucceeded && next.Phase != v1alpha1.RecordSucceeded:
		h.t.Fatalf("%s after Succeeded", next.Phase)
	case next.Phase == v1alpha1.RecordUnknown && h.lightning():
		h.t.Fatalf("a Lightning payment is Unknown: %s", next.Message)
	case last.Holder != next.Holder:
		h.t.Fatalf("the record changed hands, from %v to %v", last.Holder, next.Holder)
	}
	if next.Resolution != last.Resolution {
		h.resolved = true
	}
	if next.Phase != last.Phase && !h.resolved {
		switch {
		case next.Phase == v1alpha1.RecordSucceeded && !h.moved():
			h.t.Fatalf("Succeeded, and no money moved: %+v, %+v", h.service, next)
		case next.Phase == v1alpha1.RecordFailed && (h.moved() || h.mayStillMove()):
			h.t.Fatalf("Failed, and money moved or may: %+v, %+v", h.service, next)
		case next.Phase == v1alpha1.RecordCancelled && (h.service.exists || h.mayStillMove()):
			h.t.Fatalf("Cancelled, and the service has it or may: %+v, %+v", h.service, next)
		}
	}
	if next.Phase == v1alpha1.RecordSubmitting && next.Attempt != last.Attempt {
		h.t.Fatalf("attempt %d is submitted without having begun", next.Attempt)
	}
	if next.Phase == v1alpha1.RecordSubmitting && last.Phase != v1alpha1.RecordSubmitting && h.people &&
		(last.Phase != v1alpha1.RecordAwaitingSignature || h.signed != last.Attempt || !h.now.Before(last.SignBefore.Time)) {
		h.t.Fatalf("attempt %d is submitted, and was not signed in time: %+v", next.Attempt, last)
	}
	h.record = h.record.DeepCopy()
	h.record.Journal = next
}

// act does what was decided, as the operator does it.
func (h *history) act(step Step) {
	switch step {
	case Estimate:
		if h.choose(4, "estimate") == 3 {
			h.facts.Held = &Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "no fee estimate", RetryAfter: 15 * time.Second}
			return
		}
		h.facts.FeeEstimateSats = new(int64(10))
	case Claim:
		h.claim()
	case Submit:
		h.submit()
	case Finish:
		h.finish()
	case Repeat:
		h.repeat()
	case Observe:
		seen := h.look()
		h.facts.Sighting = &seen
	}
}

func (h *history) claim() {
	h.writes++
	journal := NewJournal(h.facts.Order)
	fresh := makeRecord(h.facts.Order, journal)
	if h.record != nil {
		if !NeverSubmitted(&h.record.Journal) || h.record.Journal.RequestID != "" {
			h.t.Fatalf("a record is claimed again in %+v", h.record.Journal)
		}
		fresh.Journal.Attempt = h.record.Journal.Attempt
	}
	if h.service.exists || h.mayStillMove() {
		h.t.Fatalf("a payment that the service has, or may, is claimed afresh: %+v", h.service)
	}
	h.record = fresh
}

// look is what the service shows of the payment. It may be silent or not see what it has, but it does not invent.
func (h *history) look() Sighting {
	h.advance(0)
	silent := Sighting{Problem: "502"}
	if h.lightning() {
		switch {
		case h.service.exists:
			return [...]Sighting{{Presence: Outbound, State: h.service.state, RequestID: h.facts.Order.PaymentHash}, silent, {Presence: NotSeen}}[h.choose(3, "look")]
		case h.service.own:
			return [...]Sighting{{Presence: Inbound}, silent, {Presence: NotSeen}}[h.choose(3, "look")]
		}
		return [...]Sighting{{Presence: Absent, Complete: true}, {Presence: Absent}, silent, {Presence: NotSeen}}[h.choose(4, "look")]
	}
	if h.service.forgotten {
		return [...]Sighting{{Presence: Absent}, silent}[h.choose(2, "look")]
	}
	shown := Sighting{Presence: Outbound, State: h.service.state, ErrorCode: h.service.errorCode, RequestID: sendID}
	if h.garbage != nil {
		h.garbage(&shown)
	}
	return [...]Sighting{shown, silent}[h.choose(2, "look")]
}

// submit is the wallet's critical section, from look-up to end.
func (h *history) submit() {
	if h.choose(5, "wallet lock") == 4 {
		h.facts.Held = &Obstacle{Reason: v1alpha1.ReasonWalletBusy, Message: "busy", RetryAfter: time.Second}
		return
	}
	if h.lightning() {
		switch seen := h.look(); seen.Presence {
		case NoAnswer:
			h.facts.Held = &Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "502", RetryAfter: 10 * time.Second}
			return
		case Inbound:
			h.write(GiveUp(h.record.Journal, v1alpha1.ReasonOwnInvoice, "own", h.now))
			return
		case Outbound:
			next, _ := Sighted(h.facts.Order, h.record.Journal, seen, h.facts.Profile, policy, h.now)
			h.write(next)
			return
		}
	}
	h.write(Begin(h.record.Journal, true, h.now))
	if h.choose(6, "crash") == 5 {
		h.facts.Held = crashed
		return
	}
	refusals := []Obstacle{
		{},
		{Reason: v1alpha1.ReasonInsufficientBalance, Message: "no funds"},
		{Reason: v1alpha1.ReasonProgressing, Message: "NoPSBTBegun"},
		{Reason: v1alpha1.ReasonRequestRefused, Message: "InvalidAmount", DeadEnd: true},
	}
	switch n := h.choose(8, "begin"); {
	case n >= 1 && n < 4:
		h.write(Refused(h.record.Journal, refusals[n], policy, h.now))
		return
	case n == 4:
		h.facts.Held = &Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "500", RetryAfter: 30 * time.Second}
		return
	}
	if h.people {
		h.write(AwaitingSignature(h.record.Journal, makeSigned(), h.facts.Order.SignBefore(15*time.Minute, h.now)))
		return
	}
	h.firstEnd()
}

// finish is the rest of the critical section, once people signed.
func (h *history) finish() {
	switch h.choose(8, "wallet lock") {
	case 6:
		h.facts.Held = &Obstacle{Reason: v1alpha1.ReasonWalletBusy, Message: "busy", RetryAfter: time.Second}
		return
	case 7:
		h.write(Unsigned(h.record.Journal, "another payment may have begun", policy, h.now))
		return
	}
	h.firstEnd()
}

// firstEnd writes an attempt ahead, and submits it.
func (h *history) firstEnd() {
	for _, call := range h.calls {
		if call.done || !call.lands.IsZero() {
			h.t.Fatalf("attempt %d is submitted while attempt %d took effect or may: %+v", h.record.Journal.Attempt, call.attempt, h.service)
		}
	}
	last := h.now.Add(20 * time.Second)
	h.write(Submitting(h.record.Journal, makeSigned(), h.now, last))
	h.end(last)
}

var crashed = &Obstacle{Reason: v1alpha1.ReasonProgressing, Message: "the operator starts again", RetryAfter: time.Second}

// end makes the call that moves money, not after last, and concludes from its answer.
func (h *history) end(last time.Time) {
	if h.choose(8, "crash") == 7 {
		h.facts.Held = crashed
		return // before the call
	}
	h.advance([]time.Duration{0, time.Second, 19 * time.Second}[h.choose(3, "delay")])
	call := &moneyCall{attempt: h.record.Journal.Attempt}
	h.calls = append(h.calls, call)
	answer, id, refusal := EndAccepted, requestID(h.facts.Order), Obstacle{}
	repeated := h.record.Journal.EndCalls > 1
	switch n := h.choose(9, "end"); {
	case n == 1: // refused before any effect
		answer, refusal = EndRefused, Obstacle{Reason: v1alpha1.ReasonProgressing, Message: "CannotFinalizePsbt"}
		if repeated && h.service.exists && !h.service.forgotten {
			answer = EndAccepted
		}
	case n == 2:
		answer, refusal = EndRefused, Obstacle{Reason: v1alpha1.ReasonRequestRefused, Message: "InvalidInvoice", DeadEnd: true}
		if repeated && h.service.exists && !h.service.forgotten {
			answer = EndAccepted
		}
	case n == 3:
		answer, refusal = EndNotSent, Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "no route to host"}
	case n == 4 && h.lightning(): // another invoice was paid
		answer, id = EndAccepted, strings.Repeat("0b", 32)
	case n == 5: // lost on its way
		answer = EndUnclear
	case n == 6: // the answer is lost
		answer, call.lands = EndUnclear, h.now
	case n == 7: // lands late
		answer, call.lands = EndUnclear, last.Add(policy.Quarantine-time.Second)
	default:
		call.lands = h.now
	}
	if h.service.forgotten && answer == EndAccepted {
		answer, id, call.lands, refusal = EndRefused, "", time.Time{}, Obstacle{Reason: v1alpha1.ReasonProgressing, Message: "NoPSBTBegun"}
	}
	h.advance(0)
	if h.choose(8, "crash") == 7 {
		h.facts.Held = crashed
		return // before the outcome was written
	}
	next, _, _ := Ended(h.facts.Order, h.record.Journal, answer, id, refusal, h.facts.Profile, policy, h.now)
	h.write(next)
	if h.lightning() && answer == EndRefused {
		if h.look().Presence == Absent {
			h.write(Refused(h.record.Journal, refusal, policy, h.now))
		}
	}
}

// repeat makes the call again, with the identical PSBT.
func (h *history) repeat() {
	if h.choose(8, "psbt") == 7 {
		h.write(Unrepeatable(h.facts.Order, h.record.Journal, "its unsigned PSBT is gone", h.now))
		return
	}
	if h.choose(5, "wallet lock") == 4 {
		h.facts.Held = &Obstacle{Reason: v1alpha1.ReasonWalletBusy, Message: "busy", RetryAfter: time.Second}
		return
	}
	last := h.now.Add(20 * time.Second)
	h.write(Repeating(h.record.Journal, last))
	h.end(last)
}

// settle lets the world come to rest and checks that each payment then comes to its end, and stays there.
func (h *history) settle() {
	h.quiet = true
	deleting, order := h.facts.Deleting, h.facts.Order
	order.Wallet = makeWallet()
	if h.record != nil {
		order.Wallet = h.record.Spec.Wallet // whatever changed is set back
	}
	h.facts = Facts{Order: order, Profile: h.facts.Profile, Deleting: deleting, Invalid: h.facts.Invalid}
	for range 200 {
		h.progress()
		h.pass()
		if h.awaits() {
			h.signed = h.record.Journal.Attempt
			h.pass()
		}
		if h.wakeAfter == 0 {
			break
		}
		h.advance(h.wakeAfter)
	}
	if h.wakeAfter != 0 {
		h.t.Fatalf("no end in sight: %+v", h.record)
	}
	phase := v1alpha1.RecordPhase("")
	if h.record != nil {
		phase = h.record.Journal.Phase
	}
	if !finalPhase(phase) && !(phase == "" && (deleting || h.facts.Invalid != nil)) {
		h.t.Fatalf("in a quiet world the payment ends in phase %q: %+v", phase, h.record)
	}
	if phase == v1alpha1.RecordFailed && h.moved() && !h.resolved && !deleting {
		if rechecked := h.record.Journal.RecheckedAt; rechecked == nil || !h.service.flippedAt.After(rechecked.Time) {
			h.t.Fatalf("Failed, though the money moved before anybody looked a last time: %+v, %+v", h.service, h.record.Journal)
		}
	}
	writes, calls := h.writes, len(h.calls)
	for range 20 {
		h.advance(time.Hour)
		h.pass()
	}
	if h.writes != writes || len(h.calls) != calls {
		h.t.Fatalf("20 further passes made %d writes and %d calls: %+v", h.writes-writes, len(h.calls)-calls, h.record)
	}
}

// payments are the kinds of payments of which histories are drawn.
var payments = map[string]struct {
	order   func() *Order
	profile v1alpha1.ServerProfile
	people  bool
}{
	"a Lightning payment":                                {makeLightningOrder, v1alpha1.ProfileConservative, false},
	"a Lightning payment that people sign":               {makeLightningOrder, v1alpha1.ProfileConservative, true},
	"a send by a service that answers repetitions":       {makeOnchainOrder, v1alpha1.ProfileReference, false},
	"a send that people sign":                            {makeOnchainOrder, v1alpha1.ProfileReference, true},
	"a send by a service of which nothing is known":      {makeOnchainOrder, v1alpha1.ProfileConservative, false},
	"an asset send by a service that answers repetition": {makeAssetOrder, v1alpha1.ProfileReference, false},
}

func TestNoHistoryPaysTwice(t *testing.T) {
	for name, kind := range payments {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				h := newHistory(t, kind.order(), kind.profile, func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) })
				h.people = kind.people
				for range rapid.IntRange(0, 60).Draw(t, "events") {
					h.happen()
				}
				h.settle()
			})
		})
	}
}
