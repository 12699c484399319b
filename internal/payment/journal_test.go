package payment

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

func TestBeginStartsAnAttemptAfresh(t *testing.T) {
	order := makeLightningOrder()
	earlier := makeJournal(order, v1alpha1.RecordSubmitting)
	earlier.Phase = v1alpha1.RecordClaimed
	earlier.RetryAfter, earlier.FirstAbsentAt, earlier.FirstFailedAt = at(t0), at(t0), at(t0)
	earlier.Refusals, earlier.FeeEstimateSats = 2, new(int64(10))
	earlier.Reason, earlier.Message, earlier.ErrorCode, earlier.ErrorMessage = "Reason", "message", "CODE", "error"
	earlier.AbsentBefore = false

	want := NewJournal(order)
	want.Phase, want.Attempt, want.StartedAt = v1alpha1.RecordBegan, 2, at(minute)
	want.Refusals, want.FeeEstimateSats, want.AbsentBefore = 2, new(int64(10)), true
	got := Begin(earlier, true, minute)
	assertJournal(t, got, want)

	if again := Begin(got, false, minute); !again.AbsentBefore || again.Attempt != 3 {
		t.Errorf("what was absent before the first attempt is forgotten in a later one: %+v", again)
	}
	if first := Begin(NewJournal(order), false, minute); first.AbsentBefore || first.Attempt != 1 {
		t.Errorf("the first attempt of a payment that was not looked for is %+v", first)
	}
}

// TestSubmittingIsWrittenAhead is R2: attempt, txid, digest and the last instant stand in the record before the call.
func TestSubmittingIsWrittenAhead(t *testing.T) {
	began := makeJournal(makeOnchainOrder(), v1alpha1.RecordBegan)
	want := began
	want.Phase, want.SubmittedAt, want.NotAfter, want.EndCalls = v1alpha1.RecordSubmitting, at(submitted), at(notAfter), 1
	want.Txid, want.PSBTDigest, want.Inputs = strings.Repeat("7", 64), strings.Repeat("d", 64), []string{strings.Repeat("1", 64) + ":0"}
	want.Plan = &v1alpha1.OnchainPlan{OutflowSats: 100_300, FeeSats: 300}
	assertJournal(t, Submitting(began, makeSigned(), submitted, notAfter), want)
}

func TestRepeatingKeepsTheAttempt(t *testing.T) {
	submitting := makeJournal(makeOnchainOrder(), v1alpha1.RecordSubmitting)
	want := submitting
	want.EndCalls, want.NotAfter = 2, at(notAfter.Add(time.Minute))
	assertJournal(t, Repeating(submitting, notAfter.Add(time.Minute)), want)
}

func TestNotSentForgetsTheCall(t *testing.T) {
	submitting := makeJournal(makeLightningOrder(), v1alpha1.RecordSubmitting)
	submitting.FirstAbsentAt, submitting.FirstFailedAt = at(t0), at(t0)
	want := submitting
	want.Phase = v1alpha1.RecordClaimed
	want.SubmittedAt, want.NotAfter, want.FirstAbsentAt, want.FirstFailedAt, want.EndCalls = nil, nil, nil, nil, 0
	want.Refusals, want.RetryAfter = 1, at(minute.Add(time.Second))
	want.Reason, want.Message = v1alpha1.ReasonServiceUnavailable, "no route to host"
	got := NotSent(submitting, Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "no route to host"}, time.Second, minute)
	assertJournal(t, got, want)
}

func TestGiveUpSaysWhetherAnythingWasSubmitted(t *testing.T) {
	order := makeLightningOrder()
	for name, tc := range map[string]struct {
		from   v1alpha1.RecordPhase
		reason string
		want   v1alpha1.RecordPhase
		never  bool
	}{
		"a claim that is deleted":                 {v1alpha1.RecordClaimed, v1alpha1.ReasonCancelled, v1alpha1.RecordCancelled, true},
		"a begun payment that is deleted":         {v1alpha1.RecordBegan, v1alpha1.ReasonCancelled, v1alpha1.RecordCancelled, true},
		"a begun payment whose time is over":      {v1alpha1.RecordBegan, v1alpha1.ReasonInvoiceExpired, v1alpha1.RecordFailed, true},
		"a submitted payment that failed":         {v1alpha1.RecordSubmitted, v1alpha1.ReasonPaymentFailed, v1alpha1.RecordFailed, false},
		"a submission that the service refused":   {v1alpha1.RecordSubmitting, v1alpha1.ReasonRequestRefused, v1alpha1.RecordFailed, false},
		"a submission of which there is no trace": {v1alpha1.RecordSubmitting, v1alpha1.ReasonPaymentFailed, v1alpha1.RecordFailed, false},
	} {
		t.Run(name, func(t *testing.T) {
			journal := makeJournal(order, tc.from)
			journal.RetryAfter = at(minute)
			want := journal
			want.RetryAfter = nil
			want.Phase, want.Reason, want.Message, want.CompletedAt = tc.want, tc.reason, "why", at(minute)
			got := GiveUp(journal, tc.reason, "why", minute)
			assertJournal(t, got, want)
			if NeverSubmitted(&got) != tc.never {
				t.Errorf("NeverSubmitted is %t", !tc.never)
			}
		})
	}
}

func TestOnlyAnEndWithoutACallIsNeverSubmitted(t *testing.T) {
	order := makeOnchainOrder()
	for phase, want := range map[v1alpha1.RecordPhase]bool{
		v1alpha1.RecordClaimed: false, v1alpha1.RecordBegan: false, v1alpha1.RecordSubmitting: false, v1alpha1.RecordSubmitted: false,
		v1alpha1.RecordSucceeded: false, v1alpha1.RecordFailed: false, v1alpha1.RecordUnknown: false, v1alpha1.RecordCancelled: true,
	} {
		journal := makeJournal(order, phase)
		if NeverSubmitted(&journal) != want {
			t.Errorf("NeverSubmitted of %s is %t", phase, !want)
		}
	}
	adopted := NewJournal(makeLightningOrder())
	for _, at := range []time.Time{t0, minute} {
		adopted, _ = Sighted(makeLightningOrder(), adopted, Sighting{Presence: Outbound, State: StateFailed}, "", policy, at)
	}
	if adopted.Phase != v1alpha1.RecordFailed || NeverSubmitted(&adopted) {
		t.Errorf("a failure of somebody else's submission counts as never submitted: %+v", adopted)
	}
}

func TestRefused(t *testing.T) {
	order := makeOnchainOrder()
	busy := Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "503"}
	lost := Obstacle{Reason: v1alpha1.ReasonProgressing, Message: "NoPSBTBegun"}
	never := Obstacle{Reason: v1alpha1.ReasonRequestRefused, Message: "InvalidAmount", DeadEnd: true}
	for name, tc := range map[string]struct {
		refusal             Obstacle
		attempt, refusals   int32
		wantPhase           v1alpha1.RecordPhase
		wantReason, mention string
		wantWait            time.Duration
	}{
		"a refusal that time may mend waits half a minute":        {busy, 1, 0, v1alpha1.RecordClaimed, v1alpha1.ReasonServiceUnavailable, "503", 30 * time.Second},
		"each further one waits twice as long":                    {busy, 3, 2, v1alpha1.RecordClaimed, v1alpha1.ReasonServiceUnavailable, "503", 2 * time.Minute},
		"but never more than sixteen minutes":                     {busy, 40, 40, v1alpha1.RecordClaimed, v1alpha1.ReasonServiceUnavailable, "503", 16 * time.Minute},
		"a dead end is the end":                                   {never, 1, 0, v1alpha1.RecordFailed, v1alpha1.ReasonRequestRefused, "InvalidAmount", 0},
		"a lost begin is begun again":                             {lost, 2, 1, v1alpha1.RecordClaimed, v1alpha1.ReasonProgressing, "NoPSBTBegun", time.Minute},
		"a begin that gets lost again and again is the end":       {lost, 3, 2, v1alpha1.RecordFailed, v1alpha1.ReasonRequestRefused, "3 attempts", 0},
		"a lack of funds is waited out beyond the last attempt":   {Obstacle{Reason: v1alpha1.ReasonInsufficientBalance}, 9, 8, v1alpha1.RecordClaimed, v1alpha1.ReasonInsufficientBalance, "", 16 * time.Minute},
		"a silent signer is waited for beyond the last attempt":   {Obstacle{Reason: v1alpha1.ReasonSignerNotAvailable}, 9, 0, v1alpha1.RecordClaimed, v1alpha1.ReasonSignerNotAvailable, "", 30 * time.Second},
		"a dead end counts more than another attempt that is due": {Obstacle{Reason: v1alpha1.ReasonProgressing, Message: "x", DeadEnd: true}, 1, 0, v1alpha1.RecordFailed, v1alpha1.ReasonProgressing, "x", 0},
	} {
		t.Run(name, func(t *testing.T) {
			journal := makeJournal(order, v1alpha1.RecordBegan)
			journal.Attempt, journal.Refusals = tc.attempt, tc.refusals
			journal.Misses = tc.refusals // here every refusal before was one that waiting does not mend
			got := Refused(journal, tc.refusal, policy, minute)
			if got.Phase != tc.wantPhase || got.Reason != tc.wantReason || got.Attempt != tc.attempt {
				t.Errorf("phase %s, reason %s, attempt %d", got.Phase, got.Reason, got.Attempt)
			}
			assertMentions(t, got.Message, tc.mention)
			var wait time.Duration
			if got.RetryAfter != nil {
				wait = got.RetryAfter.Sub(minute)
			}
			if wait != tc.wantWait {
				t.Errorf("the next attempt begins after %s, want %s", wait, tc.wantWait)
			}
		})
	}
}

// TestEnded is what the answer to the call that moves money means: R6, R7, R8.
func TestEnded(t *testing.T) {
	lightning, onchain := makeLightningOrder(), makeOnchainOrder()
	busy := Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "no byte was written"}
	refused := Obstacle{Reason: v1alpha1.ReasonRequestRefused, Message: "CannotFinalizePsbt", DeadEnd: true}
	same := func(*v1alpha1.PaymentJournal) {}
	for name, tc := range map[string]struct {
		order     *Order
		endCalls  int32
		answer    EndAnswer
		requestID string
		refusal   Obstacle
		// want changes the journal to what it should become.
		want       func(*v1alpha1.PaymentJournal)
		wantEvents []string
		wantClean  bool
	}{
		"a payment that is accepted under its hash is submitted": {
			order: lightning, answer: EndAccepted, requestID: lightning.PaymentHash, wantClean: true,
			want: func(j *v1alpha1.PaymentJournal) {
				j.Phase, j.RequestID = v1alpha1.RecordSubmitted, lightning.PaymentHash
			},
		},
		"a payment that is accepted under another hash is another invoice's": {
			order: lightning, answer: EndAccepted, requestID: strings.Repeat("0b", 32), want: same, wantEvents: []string{v1alpha1.EventWrongOrderExecuted},
		},
		"a payment that is accepted under no hash is another invoice's": {
			order: lightning, answer: EndAccepted, want: same, wantEvents: []string{v1alpha1.EventWrongOrderExecuted},
		},
		"a payment without an answer is looked for": {order: lightning, answer: EndUnclear, want: same},
		"a payment that exists is looked for":       {order: lightning, answer: EndExists, want: same, wantClean: true},
		"a payment that is refused is looked for":   {order: lightning, answer: EndRefused, refusal: refused, want: same, wantClean: true},
		"a payment that is refused is looked for also where it was ended twice": {
			order: lightning, endCalls: 2, answer: EndRefused, refusal: refused, want: same, wantClean: true,
		},
		"a payment that never left begins once more": {
			order: lightning, answer: EndNotSent, refusal: busy, wantClean: true,
			want: func(j *v1alpha1.PaymentJournal) {
				*j = NotSent(*j, busy, 30*time.Second, minute)
			},
		},
		"a payment that never left and never can is given up": {
			order: lightning, answer: EndNotSent, refusal: refused, wantClean: true,
			want: func(j *v1alpha1.PaymentJournal) {
				*j = GiveUp(*j, v1alpha1.ReasonRequestRefused, "CannotFinalizePsbt", minute)
			},
		},
		"a send that is accepted is submitted under its id": {
			order: onchain, answer: EndAccepted, requestID: sendID, wantClean: true,
			want: func(j *v1alpha1.PaymentJournal) { j.Phase, j.RequestID = v1alpha1.RecordSubmitted, sendID },
		},
		"a send that is accepted without an id cannot be watched": {order: onchain, answer: EndAccepted, want: same},
		"a repeated send that is accepted is submitted under its id, and the call before it may still land": {
			order: onchain, endCalls: 2, answer: EndAccepted, requestID: sendID,
			want: func(j *v1alpha1.PaymentJournal) { j.Phase, j.RequestID = v1alpha1.RecordSubmitted, sendID },
		},
		"a send without an answer stays in doubt":                    {order: onchain, answer: EndUnclear, want: same},
		"a repeated send without an answer stays in doubt":           {order: onchain, endCalls: 2, answer: EndUnclear, want: same},
		"a send that exists, under an id that is not said, stays so": {order: onchain, answer: EndExists, want: same},
		"a send that never left begins once more": {
			order: onchain, answer: EndNotSent, refusal: busy, wantClean: true,
			want: func(j *v1alpha1.PaymentJournal) { *j = NotSent(*j, busy, 30*time.Second, minute) },
		},
		"a repetition that never left proves nothing of the first": {order: onchain, endCalls: 2, answer: EndNotSent, refusal: busy, want: same},
		"a send that is refused at first was not sent": {
			order: onchain, answer: EndRefused, refusal: refused, wantClean: true,
			want: func(j *v1alpha1.PaymentJournal) {
				*j = GiveUp(*j, v1alpha1.ReasonRequestRefused, "CannotFinalizePsbt", minute)
			},
		},
		"a send that is refused for now begins once more": {
			order: onchain, answer: EndRefused, refusal: Obstacle{Reason: v1alpha1.ReasonProgressing, Message: "NoPSBTBegun"}, wantClean: true,
			want: func(j *v1alpha1.PaymentJournal) {
				*j = NotSent(*j, Obstacle{Reason: v1alpha1.ReasonProgressing, Message: "NoPSBTBegun"}, 30*time.Second, minute)
				j.Misses = 1
			},
		},
		"a repetition that is refused proves nothing of the first": {
			order: onchain, endCalls: 2, answer: EndRefused, refusal: refused,
			want: func(j *v1alpha1.PaymentJournal) {
				j.Phase, j.Reason, j.CompletedAt = v1alpha1.RecordUnknown, v1alpha1.ReasonOutcomeUnknown, at(minute)
				j.Message = "the answer to attempt 1 was lost and the service no longer has the order (it forgets in a restart): look for a payment of " +
					"100000 sat to " + onchain.Destination + " (the signed transaction was " + strings.Repeat("7", 64) + "), then resolve the record"
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			journal := makeJournal(tc.order, v1alpha1.RecordSubmitting)
			if tc.endCalls > 0 {
				journal.EndCalls = tc.endCalls
			}
			want := *journal.DeepCopy()
			tc.want(&want)
			if tc.wantClean {
				want.AnsweredAttempt = want.Attempt
			}
			got, events, clean := Ended(tc.order, journal, tc.answer, tc.requestID, tc.refusal, v1alpha1.ProfileReference, policy, minute)
			assertJournal(t, got, want)
			assertEvents(t, events, tc.wantEvents...)
			if clean != tc.wantClean {
				t.Errorf("clean is %t", clean)
			}
		})
	}
}

// TestEndedAtAnUnknownService holds that nothing is repeated where the service is not known to answer repetitions: what has no answer is
// Unknown, and what has one means the same as anywhere.
func TestEndedAtAnUnknownService(t *testing.T) {
	for answer, want := range map[EndAnswer]v1alpha1.RecordPhase{
		EndUnclear: v1alpha1.RecordUnknown, EndExists: v1alpha1.RecordUnknown, EndAccepted: v1alpha1.RecordSubmitted,
		EndNotSent: v1alpha1.RecordClaimed, EndRefused: v1alpha1.RecordClaimed,
	} {
		order := makeOnchainOrder()
		got, _, _ := Ended(order, makeJournal(order, v1alpha1.RecordSubmitting), answer, sendID, Obstacle{Reason: "R"}, v1alpha1.ProfileConservative, policy, minute)
		if got.Phase != want {
			t.Errorf("answer %d of a send gives %s, want %s", answer, got.Phase, want)
		}
		if want == v1alpha1.RecordUnknown {
			assertMentions(t, got.Message, "not known to answer a repetition", order.Destination, "resolve the record")
		}
	}
	order := makeLightningOrder()
	if got, _, _ := Ended(order, makeJournal(order, v1alpha1.RecordSubmitting), EndUnclear, "", Obstacle{}, "", policy, minute); got.Phase != v1alpha1.RecordSubmitting {
		t.Errorf("a payment without an answer is %s", got.Phase)
	}
}

// TestAnsweredAttempt holds that an attempt counts as answered only once no call of it is left that may land.
func TestAnsweredAttempt(t *testing.T) {
	order := makeOnchainOrder()
	submitting := makeJournal(order, v1alpha1.RecordSubmitting)
	repeating := Repeating(Answered(submitting), minute)
	doubt := makeJournal(order, v1alpha1.RecordUnknown)
	doubt.EndCalls = 2
	late, _, _ := AnsweredLate(doubt, sendID)
	again := Submitting(Begin(Answered(submitting), false, minute), Signed{}, minute, minute)
	for name, tc := range map[string]struct {
		journal v1alpha1.PaymentJournal
		want    int32
	}{
		"before an answer":                           {submitting, 0},
		"the id was answered to the one call":        {Accepted(submitting, sendID), 1},
		"a repetition is no answer":                  {repeating, 0},
		"a repetition is answered, the first is not": {Accepted(repeating, sendID), 0},
		"answered late, and to a repetition":         {late, 0},
		"a further attempt is submitted":             {again, 0},
	} {
		if got := tc.journal.AnsweredAttempt; got != tc.want {
			t.Errorf("%s: attempt %d is answered, want %d", name, got, tc.want)
		}
	}
}

// TestAnsweredLate holds that the service's id of a send ends a doubt that came of its lack, and no other.
func TestAnsweredLate(t *testing.T) {
	order := makeOnchainOrder()
	doubt := makeJournal(order, v1alpha1.RecordUnknown)
	want := makeJournal(order, v1alpha1.RecordSubmitting)
	want.Phase, want.RequestID, want.AnsweredAttempt = v1alpha1.RecordSubmitted, sendID, 1
	got, events, late := AnsweredLate(doubt, sendID)
	if !late || len(events) != 1 || events[0].Warning {
		t.Errorf("got %t with events %+v, want the journal with one that is no warning", late, events)
	}
	assertJournal(t, got, want)
	for name, journal := range map[string]v1alpha1.PaymentJournal{
		"under way":         makeJournal(order, v1alpha1.RecordSubmitting),
		"resolved as paid":  must(Resolve(makeRecord(order, doubt), recordUID+":1:paid:x", minute)),
		"resolved as not":   must(Resolve(makeRecord(order, doubt), recordUID+":1:notpaid", minute)),
		"in doubt by an id": Undecidable(makeJournal(order, v1alpha1.RecordSubmitted), "it failed", minute),
	} {
		if got, events, late := AnsweredLate(journal, sendID); late || len(events) > 0 || !SameJournal(&got, &journal) {
			t.Errorf("%s: an answer changes it to %+v", name, got)
		}
	}
	if _, _, late := AnsweredLate(doubt, ""); late {
		t.Error("an answer without an id ends a doubt")
	}
}

func must[T any](value T, ok bool) T {
	if !ok {
		panic("not so")
	}
	return value
}

func assertEvents(t *testing.T, events []Event, want ...string) {
	t.Helper()
	var got []string
	for _, event := range events {
		got = append(got, event.Reason)
		if !event.Warning || event.Message == "" {
			t.Errorf("the event %s is no Warning with a message: %+v", event.Reason, event)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// look is one sighting at one instant.
type look struct {
	at   time.Time
	seen Sighting
}

// TestSightedLightning follows what looks at a payment come to: R5, R7, R9.
func TestSightedLightning(t *testing.T) {
	var (
		noAnswer  = Sighting{}
		notSeen   = Sighting{Presence: NotSeen}
		absent    = Sighting{Presence: Absent}
		complete  = Sighting{Presence: Absent, Complete: true}
		pending   = Sighting{Presence: Outbound, Word: "PENDING"}
		failed    = Sighting{Presence: Outbound, State: StateFailed, Word: "FAILED"}
		succeeded = Sighting{Presence: Outbound, State: StateSucceeded, Word: "SUCCEEDED", FeeSats: new(int64(7))}
		outdated  = Sighting{Presence: Outbound, State: StateFailed, Word: "Failed", UpdatedAt: submitted.Add(-time.Minute - 1)}
		recent    = Sighting{Presence: Outbound, State: StateFailed, Word: "Failed", UpdatedAt: submitted.Add(-time.Minute)}
		inbound   = Sighting{Presence: Inbound}
		elsewhere = Sighting{Presence: Outbound, State: StateSucceeded, RequestID: strings.Repeat("0b", 32)}
	)
	seconds := func(n int) time.Time { return t0.Add(time.Duration(n) * time.Second) }
	// landedAt is n seconds after nothing of the attempt can land any more.
	landedAt := func(n int) time.Time { return landed.Add(time.Duration(n) * time.Second) }
	for name, tc := range map[string]struct {
		from                v1alpha1.RecordPhase
		attempt             int32
		change              func(*v1alpha1.PaymentJournal)
		looks               []look
		want                v1alpha1.RecordPhase
		wantReason, mention string
	}{
		"a payment under way is submitted":            {from: v1alpha1.RecordSubmitting, looks: []look{{seconds(2), pending}}, want: v1alpha1.RecordSubmitted},
		"a payment that arrived late is submitted":    {from: v1alpha1.RecordSubmitting, looks: []look{{seconds(2), absent}, {landedAt(0), pending}}, want: v1alpha1.RecordSubmitted},
		"a payment that succeeded is over":            {from: v1alpha1.RecordSubmitting, looks: []look{{seconds(2), succeeded}}, want: v1alpha1.RecordSucceeded, wantReason: v1alpha1.ReasonSucceeded},
		"a payment that was submitted can succeed":    {from: v1alpha1.RecordSubmitted, looks: []look{{seconds(2), succeeded}}, want: v1alpha1.RecordSucceeded, wantReason: v1alpha1.ReasonSucceeded},
		"a failure seen once is not believed":         {from: v1alpha1.RecordSubmitting, looks: []look{{seconds(2), failed}}, want: v1alpha1.RecordSubmitted},
		"a failure seen twice in a hurry is not":      {from: v1alpha1.RecordSubmitted, looks: []look{{seconds(2), failed}, {seconds(31), failed}}, want: v1alpha1.RecordSubmitted},
		"a failure seen twice half a minute apart is": {from: v1alpha1.RecordSubmitted, looks: []look{{seconds(2), failed}, {seconds(32), failed}}, want: v1alpha1.RecordFailed, wantReason: v1alpha1.ReasonPaymentFailed, mention: "declare a new LightningPayment"},
		"a failure in between of which it was under way is not": {
			from:  v1alpha1.RecordSubmitted,
			looks: []look{{seconds(2), failed}, {seconds(20), pending}, {seconds(40), failed}, {seconds(69), failed}}, want: v1alpha1.RecordSubmitted,
		},
		"a failure seen twice with a silence in between is": {
			from: v1alpha1.RecordSubmitted, looks: []look{{seconds(2), failed}, {seconds(20), noAnswer}, {seconds(32), failed}},
			want: v1alpha1.RecordFailed, wantReason: v1alpha1.ReasonPaymentFailed,
		},
		"a success after a failure counts": {
			from: v1alpha1.RecordSubmitted, looks: []look{{seconds(2), failed}, {seconds(32), succeeded}},
			want: v1alpha1.RecordSucceeded, wantReason: v1alpha1.ReasonSucceeded,
		},
		"a success after a failure that was believed counts": {
			from: v1alpha1.RecordSubmitted, looks: []look{{seconds(2), failed}, {seconds(32), failed}, {seconds(400), succeeded}},
			want: v1alpha1.RecordSucceeded, wantReason: v1alpha1.ReasonSucceeded,
		},
		"a failure that was believed and is seen again stays": {
			from: v1alpha1.RecordSubmitted, looks: []look{{seconds(2), failed}, {seconds(32), failed}, {seconds(400), failed}},
			want: v1alpha1.RecordFailed, wantReason: v1alpha1.ReasonPaymentFailed,
		},
		"a failure from before the attempt is none of it": {
			from: v1alpha1.RecordSubmitting, looks: []look{{seconds(2), outdated}, {seconds(32), outdated}}, want: v1alpha1.RecordSubmitting,
		},
		"a failure from before the attempt does not undo that it was accepted": {
			from: v1alpha1.RecordSubmitted, looks: []look{{seconds(2), outdated}, {landedAt(-1), outdated}}, want: v1alpha1.RecordSubmitted,
		},
		"a failure that is older by no more than clocks differ is believed": {
			from: v1alpha1.RecordSubmitting, looks: []look{{seconds(2), recent}, {seconds(32), recent}}, want: v1alpha1.RecordFailed,
			wantReason: v1alpha1.ReasonPaymentFailed,
		},
		"a failure from before the attempt is believed once nothing of it can land": {
			from: v1alpha1.RecordSubmitting, looks: []look{{seconds(2), outdated}, {landedAt(0), outdated}, {landedAt(30), outdated}},
			want: v1alpha1.RecordFailed, wantReason: v1alpha1.ReasonPaymentFailed,
		},
		"a success from before the attempt counts": {
			from: v1alpha1.RecordSubmitting, looks: []look{{seconds(2), Sighting{Presence: Outbound, State: StateSucceeded, UpdatedAt: t0.Add(-time.Hour)}}},
			want: v1alpha1.RecordSucceeded, wantReason: v1alpha1.ReasonSucceeded,
		},
		"a failure of somebody else's attempt is told as such": {
			from: v1alpha1.RecordClaimed, looks: []look{{seconds(2), failed}, {seconds(32), failed}},
			want: v1alpha1.RecordFailed, wantReason: v1alpha1.ReasonPaymentFailed, mention: "the service already tried this invoice",
		},
		"somebody else's attempt is adopted": {from: v1alpha1.RecordClaimed, looks: []look{{seconds(2), pending}}, want: v1alpha1.RecordSubmitted},

		"no answer means nothing, however often":       {from: v1alpha1.RecordSubmitting, looks: []look{{landedAt(0), noAnswer}, {landedAt(3000), noAnswer}}, want: v1alpha1.RecordSubmitting},
		"not seen means nothing, however often":        {from: v1alpha1.RecordSubmitting, looks: []look{{landedAt(0), notSeen}, {landedAt(3000), notSeen}}, want: v1alpha1.RecordSubmitting},
		"its own invoice is not looked at too early":   {from: v1alpha1.RecordSubmitting, looks: []look{{landedAt(-1), inbound}}, want: v1alpha1.RecordSubmitting},
		"the node's own invoice cannot have been paid": {from: v1alpha1.RecordSubmitting, looks: []look{{landedAt(0), inbound}}, want: v1alpha1.RecordFailed, wantReason: v1alpha1.ReasonOwnInvoice, mention: "no money moved"},
		"an accepted payment is no invoice of the node's own, whatever is said": {
			from: v1alpha1.RecordSubmitted, looks: []look{{landedAt(0), inbound}}, want: v1alpha1.RecordSubmitted,
		},
		"an answer for another hash means nothing": {from: v1alpha1.RecordSubmitting, looks: []look{{seconds(2), elsewhere}}, want: v1alpha1.RecordSubmitting},

		"a complete list without it proves nothing before all can have landed": {
			from: v1alpha1.RecordSubmitting, looks: []look{{seconds(2), complete}, {landedAt(-1), complete}}, want: v1alpha1.RecordSubmitting,
		},
		"a complete list without it is proof once all can have landed": {
			from: v1alpha1.RecordSubmitting, looks: []look{{landedAt(0), complete}}, want: v1alpha1.RecordClaimed, wantReason: v1alpha1.ReasonProgressing,
		},
		"unknown by its hash is no proof at once": {
			from: v1alpha1.RecordSubmitting, looks: []look{{landedAt(0), absent}, {landedAt(299), absent}}, want: v1alpha1.RecordSubmitting,
		},
		"unknown by its hash twice, a quarantine apart, is": {
			from: v1alpha1.RecordSubmitting, looks: []look{{landedAt(0), absent}, {landedAt(300), absent}}, want: v1alpha1.RecordClaimed,
			wantReason: v1alpha1.ReasonProgressing, mention: "no trace",
		},
		"unknown twice proves nothing before all can have landed": {
			from: v1alpha1.RecordSubmitting, looks: []look{{seconds(1), absent}, {landedAt(-1), absent}}, want: v1alpha1.RecordSubmitting,
		},
		"unknown, under way, unknown is no proof": {
			from: v1alpha1.RecordSubmitting, looks: []look{{landedAt(0), absent}, {landedAt(100), pending}, {landedAt(400), absent}, {landedAt(900), absent}},
			want: v1alpha1.RecordSubmitted,
		},
		"what was accepted is never proven absent": {
			from: v1alpha1.RecordSubmitted, looks: []look{{landedAt(0), complete}, {landedAt(900), complete}}, want: v1alpha1.RecordSubmitted,
		},
		"what succeeded is never proven absent": {
			from: v1alpha1.RecordSucceeded, looks: []look{{landedAt(0), complete}, {landedAt(900), complete}}, want: v1alpha1.RecordSucceeded,
			wantReason: v1alpha1.ReasonSucceeded,
		},
		"what succeeded stays so, whatever is seen later": {
			from:  v1alpha1.RecordSucceeded,
			looks: []look{{landedAt(0), pending}, {landedAt(100), failed}, {landedAt(200), failed}, {landedAt(300), inbound}},
			want:  v1alpha1.RecordSucceeded, wantReason: v1alpha1.ReasonSucceeded,
		},
		"a submission without its last instant is never proven absent": {
			from: v1alpha1.RecordSubmitting, change: func(j *v1alpha1.PaymentJournal) { j.NotAfter = nil },
			looks: []look{{landedAt(0), complete}, {landedAt(900), complete}}, want: v1alpha1.RecordSubmitting,
		},
		"what was asked before all can have landed proves nothing when it is answered": {
			from: v1alpha1.RecordSubmitting, looks: []look{{landedAt(5), Sighting{Presence: Absent, Complete: true, AskedAt: landedAt(-1)}}},
			want: v1alpha1.RecordSubmitting,
		},
		"what was asked in time counts when it is answered": {
			from: v1alpha1.RecordSubmitting, looks: []look{{landedAt(5), Sighting{Presence: Absent, Complete: true, AskedAt: landedAt(0)}}},
			want: v1alpha1.RecordClaimed, wantReason: v1alpha1.ReasonProgressing,
		},
		"what was asked by a clock that is ahead counts from now": {
			from: v1alpha1.RecordSubmitting, looks: []look{{landedAt(-1), Sighting{Presence: Absent, Complete: true, AskedAt: landedAt(5)}}},
			want: v1alpha1.RecordSubmitting,
		},
		"unknown before all can have landed is not the first of two": {
			from: v1alpha1.RecordSubmitting, looks: []look{{seconds(2), absent}, {landedAt(0), absent}, {landedAt(299), absent}}, want: v1alpha1.RecordSubmitting,
		},
		"an accepted payment that is the node's own invoice failed, seen twice": {
			from: v1alpha1.RecordSubmitted, looks: []look{{seconds(2), inbound}, {seconds(32), inbound}},
			want: v1alpha1.RecordFailed, wantReason: v1alpha1.ReasonOwnInvoice, mention: "no money moved",
		},
		"an accepted payment that is the node's own invoice is not believed in a hurry": {
			from: v1alpha1.RecordSubmitted, looks: []look{{seconds(2), inbound}, {seconds(31), inbound}}, want: v1alpha1.RecordSubmitted,
		},
		"the last attempt that left no trace is the end": {
			from: v1alpha1.RecordSubmitting, attempt: 3, looks: []look{{landedAt(0), complete}}, want: v1alpha1.RecordFailed,
			wantReason: v1alpha1.ReasonPaymentFailed, mention: "never accepted",
		},
		"the second attempt that left no trace is not": {
			from: v1alpha1.RecordSubmitting, attempt: 2, looks: []look{{landedAt(0), complete}}, want: v1alpha1.RecordClaimed, wantReason: v1alpha1.ReasonProgressing,
		},
	} {
		t.Run(name, func(t *testing.T) {
			order := makeLightningOrder()
			journal := makeJournal(order, tc.from)
			if tc.attempt > 0 {
				journal.Attempt, journal.Misses = tc.attempt, tc.attempt-1
			}
			if tc.change != nil {
				tc.change(&journal)
			}
			start := journal
			for _, look := range tc.looks {
				var events []Event
				journal, events = Sighted(order, journal, look.seen, v1alpha1.ProfileConservative, policy, look.at)
				assertEvents(t, events)
			}
			if journal.Phase != tc.want || journal.Reason != tc.wantReason {
				t.Errorf("phase %s, reason %q, want %s, %q", journal.Phase, journal.Reason, tc.want, tc.wantReason)
			}
			assertMentions(t, journal.Message, tc.mention)
			if final := journal.CompletedAt != nil; final != finalPhase(journal.Phase) {
				t.Errorf("completedAt is %v in phase %s", journal.CompletedAt, journal.Phase)
			}
			if journal.Attempt != start.Attempt {
				t.Errorf("attempt %d became %d", start.Attempt, journal.Attempt)
			}
			if journal.Phase == v1alpha1.RecordSubmitting && journal.FirstFailedAt != nil {
				t.Errorf("a failure of what may not have arrived was seen at %s", journal.FirstFailedAt)
			}
		})
	}
}

func finalPhase(phase v1alpha1.RecordPhase) bool {
	switch phase {
	case v1alpha1.RecordSucceeded, v1alpha1.RecordFailed, v1alpha1.RecordCancelled, v1alpha1.RecordUnknown:
		return true
	}
	return false
}

func TestSightedLightningKeepsWhatTheServiceSays(t *testing.T) {
	order := makeLightningOrder()
	journal := makeJournal(order, v1alpha1.RecordSubmitting)
	journal.FirstAbsentAt = at(t0)
	got, _ := Sighted(order, journal, Sighting{
		Presence: Outbound, State: StateSucceeded, Word: "SUCCEEDED", FeeSats: new(int64(7)),
	}, v1alpha1.ProfileConservative, policy, minute)
	want := journal
	want.FirstAbsentAt = nil
	want.Phase, want.Reason, want.RequestID, want.CompletedAt = v1alpha1.RecordSucceeded, v1alpha1.ReasonSucceeded, order.PaymentHash, at(minute)
	want.FeeSats = new(int64(7))
	assertJournal(t, got, want)

	journal.FeeSats = new(int64(7))
	if again, _ := Sighted(order, journal, Sighting{Presence: Outbound}, v1alpha1.ProfileConservative, policy, minute); again.FeeSats == nil {
		t.Error("a fee that was known is forgotten")
	}
}

// TestSightedAgainForgetsThatItWasOver holds that a payment that is under way again, after it counted as failed, has no outcome.
func TestSightedAgainForgetsThatItWasOver(t *testing.T) {
	order := makeLightningOrder()
	journal := makeJournal(order, v1alpha1.RecordFailed)
	journal.FirstFailedAt, journal.RecheckedAt = at(t0), at(minute)
	got, _ := Sighted(order, journal, Sighting{Presence: Outbound, State: StatePending, Word: "PENDING"}, v1alpha1.ProfileConservative, policy, landed)
	want := makeJournal(order, v1alpha1.RecordSubmitted)
	assertJournal(t, got, want)
}

// TestSightedOnchain is R6, R8 and the on-chain half of R9.
func TestSightedOnchain(t *testing.T) {
	const address = "bcrt1peasutyryerxx0chunqagkymygcgzpj5sv52tp33gyt26f5xqjt4sfj4zk0"
	reference, conservative := v1alpha1.ProfileReference, v1alpha1.ProfileConservative
	wrong := []string{v1alpha1.EventWrongOrderExecuted}
	for name, tc := range map[string]struct {
		order     func() *Order
		profile   v1alpha1.ServerProfile
		seen      Sighting
		want      v1alpha1.RecordPhase
		mention   string
		wantEvent []string
	}{
		"a word that is not known is progress": {seen: Sighting{Word: "DANCING"}, want: v1alpha1.RecordSubmitted},
		"confirmed is success":                 {seen: Sighting{State: StateSucceeded}, want: v1alpha1.RecordSucceeded},
		"confirmed, with all as declared, is success": {
			seen: Sighting{State: StateSucceeded, RequestID: sendID, Destination: address, AmountSatsRequested: new(int64(100_000)), AmountSatsSent: new(int64(100_000))},
			want: v1alpha1.RecordSucceeded,
		},
		"a destination in capitals is the same": {seen: Sighting{State: StateSucceeded, Destination: strings.ToUpper(address)}, want: v1alpha1.RecordSucceeded},
		"a fee that was taken off the amount is told of": {
			seen: Sighting{State: StateSucceeded, AmountSatsSent: new(int64(99_000)), FeeSats: new(int64(1000))},
			want: v1alpha1.RecordSucceeded, wantEvent: []string{v1alpha1.EventFeeDeducted},
		},
		"a fee that is taken off the amount is not told of before": {
			seen: Sighting{AmountSatsSent: new(int64(99_000)), FeeSats: new(int64(1000))}, want: v1alpha1.RecordSubmitted,
		},

		"an equal send that is older is another order": {
			seen: Sighting{State: StateSucceeded, CreatedAt: t0.Add(-3 * time.Hour)}, want: v1alpha1.RecordUnknown,
			mention: "equal send of 2026-01-01T09:00:00Z", wantEvent: wrong,
		},
		"a clock that is behind makes no other order": {
			seen: Sighting{State: StateSucceeded, CreatedAt: t0.Add(-time.Hour)}, want: v1alpha1.RecordSucceeded,
		},
		"a fee above the cap is told of": {
			seen: Sighting{State: StateSucceeded, FeeSats: new(int64(2001))}, want: v1alpha1.RecordSucceeded, wantEvent: []string{v1alpha1.EventFeeAboveCap},
		},
		"a fee at the cap is none of anybody's business": {
			seen: Sighting{State: StateSucceeded, FeeSats: new(int64(2000))}, want: v1alpha1.RecordSucceeded,
		},
		"another destination is another order": {
			seen: Sighting{State: StateSucceeded, Destination: "bcrt1qother\x07"}, want: v1alpha1.RecordUnknown, mention: "bcrt1qother?", wantEvent: wrong,
		},
		"another requested amount is another order": {
			seen: Sighting{AmountSatsRequested: new(int64(99_999))}, want: v1alpha1.RecordUnknown, mention: "99999 sat", wantEvent: wrong,
		},
		"another sent amount is another order": {
			seen: Sighting{State: StateSucceeded, AmountSatsSent: new(int64(99_000))}, want: v1alpha1.RecordUnknown, mention: "99000 sat", wantEvent: wrong,
		},
		"a sent amount that the fee explains in part is another order": {
			seen: Sighting{State: StateSucceeded, AmountSatsSent: new(int64(99_000)), FeeSats: new(int64(999))}, want: v1alpha1.RecordUnknown, wantEvent: wrong,
		},
		"a fee at the cap is taken off the amount": {
			seen: Sighting{State: StateSucceeded, AmountSatsSent: new(int64(98_000)), FeeSats: new(int64(2000))},
			want: v1alpha1.RecordSucceeded, wantEvent: []string{v1alpha1.EventFeeDeducted},
		},
		"a fee above the cap explains nothing": {
			seen: Sighting{State: StateSucceeded, AmountSatsSent: new(int64(97_999)), FeeSats: new(int64(2001))}, want: v1alpha1.RecordUnknown, wantEvent: wrong,
		},
		"more than the amount is another order": {
			seen: Sighting{State: StateSucceeded, AmountSatsSent: new(int64(101_000)), FeeSats: new(int64(-1000))}, want: v1alpha1.RecordUnknown, wantEvent: wrong,
		},
		"all of the amount as a fee is another order": {
			seen: Sighting{State: StateSucceeded, AmountSatsSent: new(int64(0)), FeeSats: new(int64(100_000))}, want: v1alpha1.RecordUnknown, wantEvent: wrong,
		},
		"all of a small amount as a fee is another order": {
			order: func() *Order {
				order := makeOnchainOrder()
				order.AmountSats = 1000
				return order
			},
			seen: Sighting{State: StateSucceeded, AmountSatsSent: new(int64(0)), FeeSats: new(int64(1000))}, want: v1alpha1.RecordUnknown, wantEvent: wrong,
		},
		"an asset instead of bitcoin is another order": {
			seen: Sighting{State: StateSucceeded, Asset: &v1alpha1.AssetAmount{ID: assetID, Amount: 10}},
			want: v1alpha1.RecordUnknown, mention: assetID, wantEvent: wrong,
		},
		"the declared asset is success": {
			order: makeAssetOrder, seen: Sighting{State: StateSucceeded, Asset: &v1alpha1.AssetAmount{ID: assetID, Amount: 10}}, want: v1alpha1.RecordSucceeded,
		},
		"an asset send that names no asset is success": {order: makeAssetOrder, seen: Sighting{State: StateSucceeded}, want: v1alpha1.RecordSucceeded},
		"the bitcoin beside an asset says nothing of the order": {
			order: makeAssetOrder, seen: Sighting{State: StateSucceeded, AmountSatsRequested: new(int64(3000)), AmountSatsSent: new(int64(1000))},
			want: v1alpha1.RecordSucceeded,
		},
		"another asset is another order": {
			order: makeAssetOrder, seen: Sighting{State: StateSucceeded, Asset: &v1alpha1.AssetAmount{ID: otherAssetID, Amount: 10}},
			want: v1alpha1.RecordUnknown, mention: otherAssetID, wantEvent: wrong,
		},
		"another amount of the asset is another order": {
			order: makeAssetOrder, seen: Sighting{Asset: &v1alpha1.AssetAmount{ID: assetID, Amount: 9}},
			want: v1alpha1.RecordUnknown, mention: "9 of", wantEvent: wrong,
		},
		"an answer for another id means nothing": {seen: Sighting{RequestID: "another", State: StateSucceeded}, want: v1alpha1.RecordSubmitted},

		"a failure before any broadcast moved no money": {
			profile: reference, seen: Sighting{State: StateFailed, ErrorCode: "UNSUPPORTED_SOURCE"}, want: v1alpha1.RecordFailed, mention: "no money moved",
		},
		"a channel that could not be closed moved no money": {
			profile: reference, seen: Sighting{State: StateFailed, ErrorCode: "CHANNEL_CLOSE_FAILED"}, want: v1alpha1.RecordFailed, mention: "1 sat",
		},
		"a balance that did not come moved no money": {
			profile: reference, seen: Sighting{State: StateFailed, ErrorCode: "BALANCE_UPDATE_TIMEOUT"}, want: v1alpha1.RecordFailed,
		},
		"the same code of another service proves nothing": {
			profile: conservative, seen: Sighting{State: StateFailed, ErrorCode: "CHANNEL_CLOSE_FAILED"}, want: v1alpha1.RecordUnknown, mention: "resolve the record",
		},
		"the same code with a transaction proves nothing": {
			profile: reference, seen: Sighting{State: StateFailed, ErrorCode: "CHANNEL_CLOSE_FAILED", SweepTxid: "ab"}, want: v1alpha1.RecordUnknown,
		},
		"a failed sweep proves nothing": {
			profile: reference, seen: Sighting{State: StateFailed, ErrorCode: "SWEEP_FAILED", Retryable: new(true)}, want: v1alpha1.RecordUnknown,
			mention: "also does when the answer to its broadcast was lost",
		},
		"a failure to process proves nothing": {
			profile: reference, seen: Sighting{State: StateFailed, ErrorCode: "PROCESSING_ERROR"}, want: v1alpha1.RecordUnknown, mention: "PROCESSING_ERROR",
		},
		"a code in another spelling proves nothing": {
			profile: reference, seen: Sighting{State: StateFailed, ErrorCode: "channel_close_failed"}, want: v1alpha1.RecordUnknown,
		},
		"a failure without a code proves nothing": {profile: reference, seen: Sighting{State: StateFailed}, want: v1alpha1.RecordUnknown},
		"a failure of an asset send names the asset": {
			order: makeAssetOrder, profile: reference, seen: Sighting{State: StateFailed, ErrorCode: "SWEEP_FAILED"}, want: v1alpha1.RecordUnknown,
			mention: "10 of " + assetID,
		},
	} {
		t.Run(name, func(t *testing.T) {
			order := makeOnchainOrder()
			if tc.order != nil {
				order = tc.order()
			}
			tc.seen.Presence = Outbound
			got, events := Sighted(order, makeJournal(order, v1alpha1.RecordSubmitted), tc.seen, tc.profile, policy, minute)
			if got.Phase != tc.want {
				t.Errorf("phase %s, want %s", got.Phase, tc.want)
			}
			assertMentions(t, got.Message, tc.mention)
			assertEvents(t, events, tc.wantEvent...)
			if got.RequestID != sendID {
				t.Errorf("the id became %q", got.RequestID)
			}
			if (got.CompletedAt != nil) != finalPhase(got.Phase) {
				t.Errorf("completedAt is %v in phase %s", got.CompletedAt, got.Phase)
			}
			wantReason := map[v1alpha1.RecordPhase]string{
				v1alpha1.RecordSucceeded: v1alpha1.ReasonSucceeded, v1alpha1.RecordFailed: v1alpha1.ReasonPaymentFailed,
				v1alpha1.RecordUnknown: v1alpha1.ReasonOutcomeUnknown,
			}[got.Phase]
			if got.Reason != wantReason {
				t.Errorf("reason %q, want %q", got.Reason, wantReason)
			}
		})
	}
}

// TestForgottenSend is hazard 14 and R9: a send that was known and is known no more is Unknown, once that was seen twice.
func TestForgottenSend(t *testing.T) {
	absent := Sighting{Presence: Absent}
	there := Sighting{Presence: Outbound, Word: "REQUESTED"}
	seconds := func(n int) time.Time { return minute.Add(time.Duration(n) * time.Second) }
	for name, tc := range map[string]struct {
		from    v1alpha1.RecordPhase
		order   func() *Order
		looks   []look
		want    v1alpha1.RecordPhase
		mention string
	}{
		"forgotten once is looked at again":      {from: v1alpha1.RecordSubmitted, looks: []look{{seconds(0), absent}, {seconds(29), absent}}, want: v1alpha1.RecordSubmitted},
		"forgotten for half a minute is unknown": {from: v1alpha1.RecordSubmitted, looks: []look{{seconds(0), absent}, {seconds(30), absent}}, want: v1alpha1.RecordUnknown, mention: sendID},
		"forgotten and known again is under way": {from: v1alpha1.RecordSubmitted, looks: []look{{seconds(0), absent}, {seconds(20), there}, {seconds(40), absent}}, want: v1alpha1.RecordSubmitted},
		"forgotten, even in a complete list":     {from: v1alpha1.RecordSubmitted, looks: []look{{seconds(0), Sighting{Presence: Absent, Complete: true}}}, want: v1alpha1.RecordSubmitted},
		"an asset that is forgotten is named":    {order: makeAssetOrder, from: v1alpha1.RecordSubmitted, looks: []look{{seconds(0), absent}, {seconds(30), absent}}, want: v1alpha1.RecordUnknown, mention: "10 of " + assetID},
		"a send without an answer is not forgotten": {
			from:  v1alpha1.RecordSubmitting,
			looks: []look{{seconds(0), absent}, {landed, absent}, {landed.Add(time.Hour), absent}}, want: v1alpha1.RecordSubmitting,
		},
		"a send without an answer is not proven absent by a list of Lightning payments": {
			from:  v1alpha1.RecordSubmitting,
			looks: []look{{landed, Sighting{Presence: Absent, Complete: true}}, {landed.Add(time.Hour), Sighting{Presence: Absent, Complete: true}}},
			want:  v1alpha1.RecordSubmitting,
		},
		"what is received is no send": {from: v1alpha1.RecordSubmitting, looks: []look{{landed, Sighting{Presence: Inbound}}}, want: v1alpha1.RecordSubmitting},
		"silence is not forgetting":   {from: v1alpha1.RecordSubmitted, looks: []look{{seconds(0), Sighting{}}, {seconds(3600), Sighting{}}}, want: v1alpha1.RecordSubmitted},
	} {
		t.Run(name, func(t *testing.T) {
			order := makeOnchainOrder()
			if tc.order != nil {
				order = tc.order()
			}
			journal := makeJournal(order, tc.from)
			for _, look := range tc.looks {
				journal, _ = Sighted(order, journal, look.seen, v1alpha1.ProfileReference, policy, look.at)
			}
			if journal.Phase != tc.want {
				t.Errorf("phase %s, want %s", journal.Phase, tc.want)
			}
			assertMentions(t, journal.Message, tc.mention)
		})
	}
}

func TestSightedOnchainKeepsWhatTheServiceSays(t *testing.T) {
	order := makeOnchainOrder()
	journal := makeJournal(order, v1alpha1.RecordSubmitted)
	journal.FirstAbsentAt = at(t0)
	got, _ := Sighted(order, journal, Sighting{
		Presence: Outbound, Word: "SWEEPING_OUTPUTS", FeeSats: new(int64(1000)), AmountSatsSent: new(int64(99_000)),
		CloseTxids: []string{"c1", "c2"}, SweepTxid: "5w", ErrorCode: "E", ErrorMessage: strings.Repeat("é", 300), Retryable: new(true),
	}, v1alpha1.ProfileReference, policy, minute)
	want := makeJournal(order, v1alpha1.RecordSubmitted)
	want.ServerStatus, want.FeeSats, want.AmountSatsSent = "SWEEPING_OUTPUTS", new(int64(1000)), new(int64(99_000))
	want.CloseTxids, want.SweepTxid = []string{"c1", "c2"}, "5w"
	want.ErrorCode, want.ErrorMessage, want.Retryable = "E", strings.Repeat("é", 256), new(true)
	assertJournal(t, got, want)

	// What was seen once stays known: a transaction that was seen can no longer be one that never was.
	after, _ := Sighted(order, got, Sighting{Presence: Outbound, State: StateFailed, ErrorCode: "CHANNEL_CLOSE_FAILED"},
		v1alpha1.ProfileReference, policy, minute)
	if after.Phase != v1alpha1.RecordUnknown || after.SweepTxid != "5w" || len(after.CloseTxids) != 2 || after.FeeSats == nil || after.AmountSatsSent == nil {
		t.Errorf("a failure that names no transaction, after one was seen, gives %+v", after)
	}
}

// TestSightingsFitTheRecord holds that nothing a service says makes a record that the API server refuses: a refused write would keep
// the outcome from ever being recorded.
func TestSightingsFitTheRecord(t *testing.T) {
	long := strings.Repeat("x", 5000)
	var many []string
	for n := range 1000 {
		many = append(many, fmt.Sprint(n)+long)
	}
	for _, state := range []State{StatePending, StateSucceeded, StateFailed} {
		order := makeOnchainOrder()
		got, _ := Sighted(order, makeJournal(order, v1alpha1.RecordSubmitted), Sighting{
			Presence: Outbound, State: state, Word: long, CloseTxids: many, SweepTxid: long, ErrorCode: long, ErrorMessage: long,
		}, v1alpha1.ProfileReference, policy, minute)
		assertFits(t, got)
		if len(got.CloseTxids) == 0 {
			t.Error("no closing transaction is left")
		}
	}
	for _, order := range []*Order{makeLightningOrder(), makeOnchainOrder()} {
		for _, answer := range []EndAnswer{EndUnclear, EndNotSent, EndRefused, EndExists, EndAccepted} {
			got, _, _ := Ended(order, makeJournal(order, v1alpha1.RecordSubmitting), answer, long, Obstacle{Reason: "R", Message: long},
				v1alpha1.ProfileReference, policy, minute)
			assertFits(t, got)
		}
	}
}

// assertFits checks the limits of the PaymentRecord's CRD.
func assertFits(t judge, journal v1alpha1.PaymentJournal) {
	t.Helper()
	for field, limited := range map[string]struct {
		text  string
		bytes int
	}{
		"requestID": {journal.RequestID, 256}, "serverStatus": {journal.ServerStatus, 128}, "sweepTxid": {journal.SweepTxid, 128},
		"errorCode": {journal.ErrorCode, 128}, "errorMessage": {journal.ErrorMessage, 512}, "reason": {journal.Reason, 64},
		"message": {journal.Message, 512}, "resolution": {journal.Resolution, 512},
	} {
		if len(limited.text) > limited.bytes || !utf8.ValidString(limited.text) {
			t.Errorf("%s has %d bytes, more than %d, or is not UTF-8: %q", field, len(limited.text), limited.bytes, limited.text)
		}
	}
	if len(journal.CloseTxids) > 256 {
		t.Errorf("%d closeTxids", len(journal.CloseTxids))
	}
	for _, txid := range journal.CloseTxids {
		if len(txid) > 128 {
			t.Errorf("a closeTxid of %d bytes", len(txid))
		}
	}
}

func TestUnrepeatableTellsWhatToLookFor(t *testing.T) {
	order := makeAssetOrder()
	journal := makeJournal(order, v1alpha1.RecordSubmitting)
	journal.Attempt = 2
	got := Unrepeatable(order, journal, "its unsigned PSBT is gone", minute)
	want := journal
	want.Phase, want.Reason, want.CompletedAt = v1alpha1.RecordUnknown, v1alpha1.ReasonOutcomeUnknown, at(minute)
	want.Message = "the answer to attempt 2 was lost and its unsigned PSBT is gone: look for a payment of 10 of " + assetID + " to " +
		order.Destination + " (the signed transaction was " + strings.Repeat("7", 64) + "), then resolve the record"
	assertJournal(t, got, want)
}

func TestResolve(t *testing.T) {
	paid := func(j *v1alpha1.PaymentJournal, word, message string) {
		j.Phase, j.Reason, j.Message, j.Resolution, j.CompletedAt = v1alpha1.RecordSucceeded, v1alpha1.ReasonSucceeded, message, word, at(landed)
	}
	for name, tc := range map[string]struct {
		phase  v1alpha1.RecordPhase
		word   string
		change func(*v1alpha1.PaymentRecord)
		want   func(*v1alpha1.PaymentJournal, string)
	}{
		"paid, with its id": {word: recordUID + ":2:paid:abc", want: func(j *v1alpha1.PaymentJournal, word string) {
			paid(j, word, "resolved by a person as paid: abc")
		}},
		"paid, with an id that has colons": {word: recordUID + ":2:paid:abc:0", want: func(j *v1alpha1.PaymentJournal, word string) {
			paid(j, word, "resolved by a person as paid: abc:0")
		}},
		"paid, with an id that could disturb a terminal": {word: recordUID + ":2:paid:a\x1bc", want: func(j *v1alpha1.PaymentJournal, word string) {
			paid(j, word, "resolved by a person as paid: a?c")
		}},
		"not paid": {word: recordUID + ":2:notpaid", want: func(j *v1alpha1.PaymentJournal, word string) {
			j.Phase, j.Reason, j.Resolution, j.CompletedAt = v1alpha1.RecordFailed, v1alpha1.ReasonPaymentFailed, word, at(landed)
			j.Message = "resolved by a person as not paid; declare a new resource if it is still wanted"
		}},
		"paid, with the longest id": {word: recordUID + ":2:paid:" + strings.Repeat("x", 512-len(recordUID+":2:paid:")), want: func(j *v1alpha1.PaymentJournal, word string) {
			paid(j, word, "resolved by a person as paid: "+strings.Repeat("x", 100))
		}},
		"paid, with an id that is a byte longer": {word: recordUID + ":2:paid:" + strings.Repeat("x", 513-len(recordUID+":2:paid:"))},
		"nothing":                                {word: ""},
		"another record":                         {word: "5b0e7a2c-6d0f-4b57-9d7c-0d6f6c3f1a12:2:paid:abc"},
		"an earlier attempt":                     {word: recordUID + ":1:paid:abc"},
		"a later attempt":                        {word: recordUID + ":3:paid:abc"},
		"the attempt in other digits":            {word: recordUID + ":02:paid:abc"},
		"the attempt with a sign":                {word: recordUID + ":+2:paid:abc"},
		"no attempt":                             {word: recordUID + "::paid:abc"},
		"paid, without an id":                    {word: recordUID + ":2:paid"},
		"paid, with an empty id":                 {word: recordUID + ":2:paid:"},
		"not paid, with an id":                   {word: recordUID + ":2:notpaid:abc"},
		"not paid, with a colon":                 {word: recordUID + ":2:notpaid:"},
		"another word":                           {word: recordUID + ":2:maybe"},
		"a word in capitals":                     {word: recordUID + ":2:PAID:abc"},
		"white space":                            {word: " " + recordUID + ":2:notpaid"},
		"a line more":                            {word: recordUID + ":2:notpaid\n"},
		"an id that is too long":                 {word: recordUID + ":2:paid:" + strings.Repeat("x", 500)},
		"a record without a UID":                 {word: ":2:paid:abc", change: func(r *v1alpha1.PaymentRecord) { r.UID = "" }},
		"what is under way":                      {phase: v1alpha1.RecordSubmitted, word: recordUID + ":2:notpaid"},
		"what is in doubt for now":               {phase: v1alpha1.RecordSubmitting, word: recordUID + ":2:notpaid"},
		"what succeeded":                         {phase: v1alpha1.RecordSucceeded, word: recordUID + ":2:notpaid"},
		"what failed":                            {phase: v1alpha1.RecordFailed, word: recordUID + ":2:paid:abc"},
		"what was cancelled":                     {phase: v1alpha1.RecordCancelled, word: recordUID + ":2:paid:abc"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.phase == "" {
				tc.phase = v1alpha1.RecordUnknown
			}
			order := makeOnchainOrder()
			record := makeRecord(order, makeJournal(order, tc.phase))
			record.Journal.Attempt = 2
			if tc.change != nil {
				tc.change(record)
			}
			want := *record.Journal.DeepCopy()
			if tc.want != nil {
				tc.want(&want, tc.word)
			}
			got, ok := Resolve(record, tc.word, landed)
			if ok != (tc.want != nil) {
				t.Errorf("resolved is %t", ok)
			}
			assertJournal(t, got, want)
			if _, again := Resolve(&v1alpha1.PaymentRecord{ObjectMeta: record.ObjectMeta, Journal: got}, tc.word, landed); ok && again {
				t.Error("the same word resolves a second time")
			}
		})
	}
}

func TestTransitionsLeaveTheirInputAlone(t *testing.T) {
	lightning, onchain := makeLightningOrder(), makeOnchainOrder()
	seen := Sighting{Presence: Outbound, State: StateFailed, CloseTxids: []string{"a"}, SweepTxid: "b", FeeSats: new(int64(1))}
	for name, change := range map[string]func(j v1alpha1.PaymentJournal){
		"Begin":             func(j v1alpha1.PaymentJournal) { Begin(j, true, minute) },
		"Submitting":        func(j v1alpha1.PaymentJournal) { Submitting(j, makeSigned(), minute, landed) },
		"AwaitingSignature": func(j v1alpha1.PaymentJournal) { AwaitingSignature(j, makeSigned(), landed) },
		"Unsigned":          func(j v1alpha1.PaymentJournal) { Unsigned(j, "m", policy, minute) },
		"Repeating":         func(j v1alpha1.PaymentJournal) { Repeating(j, landed) },
		"NotSent":           func(j v1alpha1.PaymentJournal) { NotSent(j, Obstacle{}, 0, minute) },
		"Refused":           func(j v1alpha1.PaymentJournal) { Refused(j, Obstacle{}, policy, minute) },
		"GiveUp":            func(j v1alpha1.PaymentJournal) { GiveUp(j, "R", "m", minute) },
		"Undecidable":       func(j v1alpha1.PaymentJournal) { Undecidable(j, "m", minute) },
		"Unrepeatable":      func(j v1alpha1.PaymentJournal) { Unrepeatable(onchain, j, "m", minute) },
		"Ended": func(j v1alpha1.PaymentJournal) {
			Ended(onchain, j, EndAccepted, "id", Obstacle{}, v1alpha1.ProfileReference, policy, minute)
		},
		"Sighted on-chain": func(j v1alpha1.PaymentJournal) { Sighted(onchain, j, seen, v1alpha1.ProfileReference, policy, minute) },
		"Sighted Lightning": func(j v1alpha1.PaymentJournal) {
			Sighted(lightning, j, seen, v1alpha1.ProfileReference, policy, minute)
		},
		"Sighted not at all": func(j v1alpha1.PaymentJournal) { Sighted(lightning, j, Sighting{Presence: Absent}, "", policy, landed) },
	} {
		t.Run(name, func(t *testing.T) {
			journal := makeJournal(onchain, v1alpha1.RecordSubmitting)
			journal.FeeSats, journal.RetryAfter, journal.CloseTxids = new(int64(2)), at(t0), []string{"c"}
			before := *journal.DeepCopy()
			change(journal)
			assertJournal(t, journal, before)
		})
	}
}

func TestTextsAreCutAtACharactersBorder(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		size int
		want string
	}{
		"short enough":        {"abc", 3, "abc"},
		"too long":            {"abcd", 3, "abc"},
		"within a character":  {"aé", 2, "a"},
		"behind a character":  {"éa", 2, "é"},
		"within a longer one": {"a€", 3, "a"},
		"nothing":             {"", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Limit(tc.text, tc.size); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	if got := printable("a\x00b\u202ec\x7fd", 5); got != "a?b?c" {
		t.Errorf("printable gives %q", got)
	}
	if got := len(limit(strings.Repeat("x", 600))); got != 512 {
		t.Errorf("a message is cut to %d bytes", got)
	}
}
