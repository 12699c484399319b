package payment

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// TestDecideAwaitingSignature is a payment that people have to sign: it goes on with a signature and nothing in the way, and is given up, for
// another attempt, where no signature of this one can be used any more.
func TestDecideAwaitingSignature(t *testing.T) {
	const awaiting = v1alpha1.PaymentAwaitingSignature
	again := outcome{Step: Continue}.writing(v1alpha1.RecordClaimed)
	failed := outcome{Step: Continue}.writing(v1alpha1.RecordFailed)
	given := func(change func(*Given)) func(*Facts) {
		return func(f *Facts) { change(f.Given) }
	}
	signed := given(func(g *Given) { g.Signature = "cHNidP8=" })
	for name, tc := range map[string]struct {
		change []func(*Facts)
		now    time.Time
		want   outcome
	}{
		"nobody signed yet":   {nil, minute, rests(awaiting, v1alpha1.ReasonAwaitingSignature, 14*time.Minute)},
		"a signature is none": {[]func(*Facts){given(func(g *Given) { g.Problem = "it is not" })}, minute, rests(awaiting, v1alpha1.ReasonSignatureRejected, 14*time.Minute)},
		"one of two is one": {
			[]func(*Facts){signed, given(func(g *Given) { g.Problem = "it is not" })}, minute, outcome{Step: Finish},
		},
		"it is signed":                    {[]func(*Facts){signed}, minute, outcome{Step: Finish}},
		"it is signed at the last moment": {[]func(*Facts){signed}, signBefore.Add(-time.Microsecond), outcome{Step: Finish}},
		"it is signed too late":           {[]func(*Facts){signed}, signBefore, again},
		"nobody signed in time":           {nil, signBefore, again},
		"nobody signed the last attempt": {
			[]func(*Facts){func(f *Facts) { f.Record.Journal.UnsignedAttempts = policy.MaxUnsigned - 1 }}, signBefore, failed,
		},
		"nobody knows until when":       {[]func(*Facts){signed, func(f *Facts) { f.Record.Journal.SignBefore = nil }}, minute, again},
		"what was to be signed is gone": {[]func(*Facts){signed, given(func(g *Given) { g.Unpublished = true })}, minute, again},
		"another attempt was signed": {
			[]func(*Facts){signed, given(func(g *Given) { g.Attempt, g.Problem, g.Unpublished = 2, "it is not", true })},
			minute,
			rests(awaiting, v1alpha1.ReasonAwaitingSignature, time.Second),
		},
		"nobody looked for a signature": {
			[]func(*Facts){func(f *Facts) { f.Given = nil }}, minute, rests(awaiting, v1alpha1.ReasonAwaitingSignature, time.Second),
		},
		"people do not sign any more": {[]func(*Facts){signed, func(f *Facts) { f.PeopleSign = false }}, minute, again},
		"nobody signed in time, and the wallet cannot be used": {
			[]func(*Facts){func(f *Facts) { f.Waiting = &Obstacle{Reason: v1alpha1.ReasonWalletNotFound} }}, signBefore, again,
		},
		"nobody signed in time, and it is suspended": {[]func(*Facts){func(f *Facts) { f.Suspended = true }}, signBefore, again},
		"it is signed, and suspended": {
			[]func(*Facts){signed, func(f *Facts) { f.Suspended = true }}, minute, rests(awaiting, v1alpha1.ReasonSuspended, 14*time.Minute),
		},
		"it is signed, and only planned": {
			[]func(*Facts){signed, func(f *Facts) { f.Mode = v1alpha1.ModePlan }}, minute, rests(awaiting, v1alpha1.ReasonSuspended, 14*time.Minute),
		},
		"it is signed, and above a limit that passes": {
			[]func(*Facts){signed, func(f *Facts) {
				f.Blocked = &Obstacle{Reason: v1alpha1.ReasonBudgetExceeded, RetryAfter: 5 * time.Minute}
			}}, minute, rests(awaiting, v1alpha1.ReasonBudgetExceeded, 5*time.Minute),
		},
		"it is signed, and above a limit for longer than it can be": {
			[]func(*Facts){signed, func(f *Facts) { f.Blocked = &Obstacle{Reason: v1alpha1.ReasonBudgetExceeded, RetryAfter: time.Hour} }},
			minute,
			rests(awaiting, v1alpha1.ReasonBudgetExceeded, 14*time.Minute),
		},
		"it is signed, and not approved": {
			[]func(*Facts){signed, func(f *Facts) { f.Unapproved = &Obstacle{Reason: v1alpha1.ReasonAwaitingApproval} }},
			minute,
			rests(awaiting, v1alpha1.ReasonAwaitingApproval, 14*time.Minute),
		},
		"it is signed, and its time is over": {
			[]func(*Facts){signed, func(f *Facts) { f.Invalid = deadEnd(v1alpha1.ReasonValidityElapsed, "over") }}, minute, failed,
		},
		"it is signed, and deleted": {
			[]func(*Facts){signed, func(f *Facts) { f.Deleting = true }},
			minute,
			rests(v1alpha1.PaymentPending, v1alpha1.ReasonCancelled, 0).unheld().writing(v1alpha1.RecordCancelled),
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, order := range []*Order{makeLightningOrder(), makeOnchainOrder()} {
				facts := makeFacts(order, v1alpha1.RecordAwaitingSignature)
				for _, change := range tc.change {
					change(&facts)
				}
				if diff := cmp.Diff(tc.want, outcomeOf(Decide(facts, policy, tc.now))); diff != "" {
					t.Errorf("%s: outcome (-want +got):\n%s", order.Kind, diff)
				}
			}
		})
	}
}

// TestAwaitingSignatureKeepsWhatIsToBeSigned is what the record holds of it, and what becomes of that.
func TestAwaitingSignatureKeepsWhatIsToBeSigned(t *testing.T) {
	began, signed := makeJournal(makeOnchainOrder(), v1alpha1.RecordBegan), makeSigned()
	want := began
	want.Phase, want.SignBefore = v1alpha1.RecordAwaitingSignature, at(signBefore)
	want.Txid, want.PSBTDigest, want.Inputs, want.Plan = signed.Txid, signed.Digest, signed.Inputs, &signed.Plan
	got := AwaitingSignature(began, signed, signBefore)
	assertJournal(t, got, want)

	submitting := Submitting(got, signed, submitted, notAfter)
	if submitting.SignBefore == nil || submitting.Attempt != got.Attempt || submitting.Txid != got.Txid {
		t.Errorf("what people signed is submitted as %+v", submitting)
	}
	if next := Begin(Unsigned(got, "no", policy, signBefore), true, signBefore.Add(time.Hour)); next.SignBefore != nil || next.Txid != "" || next.Attempt != 2 {
		t.Errorf("another attempt begins as %+v", next)
	}
}

// TestUnsignedWaitsLonger lets other payments come in between, and ends.
func TestUnsignedWaitsLonger(t *testing.T) {
	journal := makeJournal(makeLightningOrder(), v1alpha1.RecordAwaitingSignature)
	var waits []time.Duration
	for {
		before := journal
		journal = Unsigned(journal, "there was no signature in time", policy, minute)
		if !NeverSubmitted(&journal) && journal.Phase != v1alpha1.RecordClaimed || journal.Refusals != before.Refusals || journal.Misses != before.Misses {
			t.Fatalf("%+v", journal)
		}
		assertMentions(t, journal.Message, "nothing was sent", "no signature in time")
		if journal.Phase == v1alpha1.RecordFailed {
			break
		}
		waits = append(waits, journal.RetryAfter.Sub(minute))
		journal.Phase = v1alpha1.RecordAwaitingSignature
	}
	want := []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute}
	for len(want) < int(policy.MaxUnsigned)-1 {
		want = append(want, 16*time.Minute)
	}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	if journal.Reason != v1alpha1.ReasonNotSigned || journal.UnsignedAttempts != policy.MaxUnsigned {
		t.Errorf("it ends for %s after %d", journal.Reason, journal.UnsignedAttempts)
	}
	assertFits(t, Unsigned(journal, strings.Repeat("x", 5000), policy, minute))
}

func TestSignBefore(t *testing.T) {
	order := makeLightningOrder() // which may start within an hour of t0
	for name, tc := range map[string]struct{ window, want time.Duration }{
		"the whole window":                         {15 * time.Minute, 15 * time.Minute},
		"as long as the payment may start":         {2 * time.Hour, time.Hour},
		"in microseconds, in which a record keeps": {time.Minute + 999*time.Nanosecond, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			if got := order.SignBefore(tc.window, t0).Sub(t0); got != tc.want {
				t.Errorf("for %s, want %s", got, tc.want)
			}
		})
	}
}
