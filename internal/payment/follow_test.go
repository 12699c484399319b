package payment

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/readiness"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// makeFollowedOrder is an order of which the service has a send that somebody else made.
func makeFollowedOrder() *Order {
	order := makeOnchainOrder()
	order.SendID = sendID
	return order
}

// shown is what a service shows of the send that is followed.
func shown(state State, change ...func(*Sighting)) *Sighting {
	order := makeFollowedOrder()
	seen := &Sighting{
		Presence: Outbound, State: state, RequestID: sendID, Destination: order.Destination, AmountSatsRequested: new(int64(order.AmountSats)),
	}
	for _, f := range change {
		f(seen)
	}
	return seen
}

func TestDecideFollowed(t *testing.T) {
	elsewhere := func(s *Sighting) { s.Destination = "bcrt1qsomebodyelse" }
	more := func(s *Sighting) { s.AmountSatsRequested = new(int64(100_001)) }
	sees := func(seen *Sighting) func(*Facts) { return func(f *Facts) { f.Sighting = seen } }
	claimed := func(seen *Sighting) func(*Facts) { return func(f *Facts) { f.Sighting, f.ClaimedSend = seen, sendID } }
	late := func(f *Facts) {
		f.Invalid = deadEnd(v1alpha1.ReasonValidityElapsed, "spec.validUntil passed")
	}
	pending := v1alpha1.PaymentPending
	for name, tc := range map[string]struct {
		phase        v1alpha1.RecordPhase // "" is no record
		change       []func(*Facts)
		want         outcome
		wantMentions []string
	}{
		"it is looked for": {want: outcome{Step: Observe}},
		"it is looked for whatever keeps payments from starting": {
			change: []func(*Facts){func(f *Facts) {
				f.Suspended, f.NoSpending, f.Blocked = true, &Obstacle{Reason: v1alpha1.ReasonJournalLost}, &Obstacle{Reason: v1alpha1.ReasonBudgetExceeded}
			}},
			want: outcome{Step: Observe},
		},
		"it is looked for when its time is over, once more": {change: []func(*Facts){late}, want: outcome{Step: Observe}},
		"the wallet is waited for": {
			change: []func(*Facts){func(f *Facts) { f.Waiting = &Obstacle{Reason: v1alpha1.ReasonWalletNotReady, RetryAfter: time.Second} }},
			want:   rests(pending, v1alpha1.ReasonWalletNotReady, time.Second).unheld(),
		},
		"the service does not answer": {
			change: []func(*Facts){sees(&Sighting{Problem: "no answer"})},
			want:   rests(pending, v1alpha1.ReasonServiceUnavailable, time.Minute).unheld(), wantMentions: []string{"no answer"},
		},
		"the service does not know it": {
			change: []func(*Facts){sees(&Sighting{Presence: Absent})},
			want:   rests(pending, v1alpha1.ReasonNotSeen, time.Minute).unheld(), wantMentions: []string{"no send " + sendID, "never makes one"},
		},
		"the service never knew it": {
			change: []func(*Facts){sees(&Sighting{Presence: Absent}), late}, want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonValidityElapsed),
		},
		"what is declared cannot be sent": {
			change: []func(*Facts){sees(shown(StateSucceeded)), func(f *Facts) { f.Invalid = deadEnd(v1alpha1.ReasonWrongNetwork, "of another network") }},
			want:   ends(v1alpha1.PaymentFailed, v1alpha1.ReasonWrongNetwork),
		},
		"it is shown":                 {change: []func(*Facts){sees(shown(StatePending))}, want: outcome{Step: Claim}},
		"it is shown after its time":  {change: []func(*Facts){sees(shown(StatePending)), late}, want: outcome{Step: Claim}},
		"it is shown without details": {change: []func(*Facts){sees(&Sighting{Presence: Outbound})}, want: outcome{Step: Claim}},
		"it goes elsewhere": {
			change: []func(*Facts){sees(shown(StateSucceeded, elsewhere))},
			want:   ends(v1alpha1.PaymentFailed, v1alpha1.ReasonAmountMismatch), wantMentions: []string{"bcrt1qsomebodyelse", "nothing was sent by this resource"},
		},
		"it is of another amount": {
			change: []func(*Facts){sees(shown(StatePending, more))},
			want:   ends(v1alpha1.PaymentFailed, v1alpha1.ReasonAmountMismatch), wantMentions: []string{"100001 sat", "declared are 100000"},
		},
		"it is of an asset": {
			change: []func(*Facts){sees(shown(StatePending, func(s *Sighting) { s.Asset = &v1alpha1.AssetAmount{ID: assetID, Amount: 10} }))},
			want:   ends(v1alpha1.PaymentFailed, v1alpha1.ReasonAmountMismatch), wantMentions: []string{assetID},
		},

		"claimed, it is looked for again": {phase: v1alpha1.RecordClaimed, want: outcome{Step: Observe}},
		"claimed, its id is not":          {phase: v1alpha1.RecordClaimed, change: []func(*Facts){sees(shown(StatePending))}, want: outcome{Step: ClaimSend}},
		"claimed, and its id": {
			phase: v1alpha1.RecordClaimed, change: []func(*Facts){claimed(shown(StatePending))},
			want: outcome{Step: Continue}.writing(v1alpha1.RecordSubmitted).emitting(v1alpha1.EventAdopted),
		},
		"claimed, and it is done": {
			phase: v1alpha1.RecordClaimed, change: []func(*Facts){claimed(shown(StateSucceeded))},
			want: outcome{Step: Continue}.writing(v1alpha1.RecordSucceeded).emitting(v1alpha1.EventAdopted),
		},
		"claimed, and it failed": {
			phase: v1alpha1.RecordClaimed, change: []func(*Facts){claimed(shown(StateFailed))},
			want: outcome{Step: Continue}.writing(v1alpha1.RecordUnknown).emitting(v1alpha1.EventAdopted),
		},
		"claimed, and it failed before any broadcast": {
			phase: v1alpha1.RecordClaimed, change: []func(*Facts){claimed(shown(StateFailed, func(s *Sighting) { s.ErrorCode = "UNSUPPORTED_SOURCE" }))},
			want: outcome{Step: Continue}.writing(v1alpha1.RecordFailed).emitting(v1alpha1.EventAdopted),
		},
		"claimed, and now it is shown as another": {
			phase: v1alpha1.RecordClaimed, change: []func(*Facts){claimed(shown(StatePending, more))},
			want: outcome{Step: Continue}.writing(v1alpha1.RecordFailed),
		},
		"claimed, and deleted": {
			phase: v1alpha1.RecordClaimed, change: []func(*Facts){claimed(shown(StatePending)), func(f *Facts) { f.Deleting = true }},
			want: outcome{Phase: pending, Reason: v1alpha1.ReasonCancelled}.writing(v1alpha1.RecordCancelled),
		},
		"claimed, and shown no more": {
			phase: v1alpha1.RecordClaimed, change: []func(*Facts){sees(&Sighting{Presence: Absent})},
			want: rests(pending, v1alpha1.ReasonNotSeen, time.Minute),
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts := makeFacts(makeFollowedOrder(), tc.phase)
			facts.Mode = v1alpha1.ModeObserve
			for _, change := range tc.change {
				change(&facts)
			}
			decision := Decide(facts, policy, t0)
			if diff := cmp.Diff(tc.want, outcomeOf(decision)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			assertMentions(t, decision.Projection.Summary.Message, tc.wantMentions...)
			if decision.Journal != nil && decision.Journal.Attempt != 0 {
				t.Errorf("attempt %d of what is only followed", decision.Journal.Attempt)
			}
		})
	}
}

// TestFollowedIsAnotherOrder keeps a send that is followed and one that is made apart, where they have one name.
func TestFollowedIsAnotherOrder(t *testing.T) {
	own, followed, other := makeOnchainOrder(), makeFollowedOrder(), makeFollowedOrder()
	other.SendID = "another"
	for name, tc := range map[string]struct {
		of, order *Order
		same      bool
	}{
		"the same send":            {followed, followed, true},
		"one that is made":         {followed, own, false},
		"one that was made":        {own, followed, false},
		"another that is followed": {followed, other, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := SameOrder(makeRecord(tc.of, makeJournal(tc.of, v1alpha1.RecordClaimed)), tc.order); got != tc.same {
				t.Errorf("they are one order: %t", got)
			}
		})
	}
}

// TestFollowedJournal follows a send from its adoption to what becomes of it.
func TestFollowedJournal(t *testing.T) {
	order := makeFollowedOrder()
	adopted, _ := Sighted(order, NewJournal(order), *shown(StatePending), v1alpha1.ProfileConservative, policy, t0)
	if adopted.Phase != v1alpha1.RecordSubmitted || adopted.RequestID != sendID || adopted.StartedAt == nil || adopted.SubmittedAt != nil {
		t.Fatalf("adopted as %+v", adopted)
	}
	if NeverSubmitted(&adopted) {
		t.Error("what somebody else submitted counts as never submitted")
	}
	done, events := Sighted(order, adopted, *shown(StateSucceeded, func(s *Sighting) {
		s.AmountSatsSent, s.FeeSats = new(int64(99_000)), new(int64(1000))
	}), v1alpha1.ProfileConservative, policy, t0.Add(time.Minute))
	if done.Phase != v1alpha1.RecordSucceeded || len(events) != 1 || events[0].Reason != v1alpha1.EventFeeDeducted || *done.FeeSats != 1000 {
		t.Errorf("done as %+v, with %v", done, events)
	}
	gone := adopted
	for _, after := range []time.Duration{time.Minute, 2 * time.Minute} {
		gone, _ = Sighted(order, gone, Sighting{Presence: Absent}, v1alpha1.ProfileReference, policy, t0.Add(after))
	}
	if gone.Phase != v1alpha1.RecordUnknown {
		t.Errorf("what the service forgot is %s", gone.Phase)
	}
	// It has no attempt, and kubectl prints nothing for it.
	for _, word := range []string{recordUID + ":0:paid:7", recordUID + "::paid:7"} {
		if next, ok := Resolve(makeRecord(order, gone), word, t0.Add(time.Hour)); !ok || next.Phase != v1alpha1.RecordSucceeded {
			t.Errorf("%s resolves it: %t", word, ok)
		}
	}
	if _, ok := Resolve(makeRecord(order, makeJournal(makeOnchainOrder(), v1alpha1.RecordUnknown)), recordUID+"::paid:7", t0.Add(time.Hour)); ok {
		t.Error("a word without an attempt resolves one that was made")
	}
}

// TestNewFollowedOrder makes an order of a manifest that follows.
func TestNewFollowedOrder(t *testing.T) {
	const address = "bcrt1pn4hhljfs6kadf70hr5fcfpa6valzq70qn74y73ljehaagfl479csfcctue"
	declared := testkit.MakeOnchainSend("payout").Address(address).AmountSats(1000).ValidUntil(t0).Follow(sendID)
	order, obstacle := NewOnchainOrder(declared.Obj(), bitcoin.Regtest, makeWallet(), t0.Add(-time.Second))
	if obstacle != nil || order.SendID != sendID || order.RecordSpec().RequestID != sendID {
		t.Errorf("%+v, %+v", order, obstacle)
	}
	_, obstacle = NewOnchainOrder(declared.Obj(), bitcoin.Regtest, makeWallet(), t0)
	if obstacle == nil || obstacle.Reason != v1alpha1.ReasonValidityElapsed {
		t.Fatalf("at the end of its time: %+v", obstacle)
	}
	assertMentions(t, obstacle.Message, "showed no send "+sendID, "nothing is sent by this resource")
}

// TestObservedFailure follows a payment that somebody else makes, and may make again after a failure, until the invoice expired.
func TestObservedFailure(t *testing.T) {
	order := makeLightningOrder()
	over := order.StartBefore.Add(ExpiryMargin + policy.Quarantine)
	failed := &Sighting{Presence: Outbound, State: StateFailed}
	first, _ := Sighted(order, NewJournal(order), *failed, v1alpha1.ProfileReference, policy, t0)
	for name, tc := range map[string]struct {
		journal      v1alpha1.PaymentJournal
		seen         *Sighting
		change       func(*Facts)
		now          time.Time
		want         outcome
		wantMentions []string
	}{
		"it is adopted as under way": {
			journal: NewJournal(order), seen: failed, now: t0,
			want: outcome{Step: Continue}.writing(v1alpha1.RecordSubmitted).emitting(v1alpha1.EventAdopted),
		},
		"it is not over when it is seen twice": {
			journal: first, seen: failed, now: t0.Add(time.Minute), wantMentions: []string{"failed so far", "may try again"},
			want: rests(v1alpha1.PaymentInFlight, v1alpha1.ReasonInFlight, LongPoll).writing(v1alpha1.RecordSubmitted),
		},
		"it is not over after more than an hour": {
			journal: first, seen: failed, now: over.Add(-time.Second), wantMentions: []string{"failed so far"},
			want: rests(v1alpha1.PaymentInFlight, v1alpha1.ReasonInFlight, LongPoll).writing(v1alpha1.RecordSubmitted),
		},
		"it was tried again": {
			journal: first, seen: &Sighting{Presence: Outbound, State: StateSucceeded}, now: t0.Add(10 * time.Minute),
			want: outcome{Phase: v1alpha1.PaymentSucceeded, Outcome: readiness.Done, Reason: v1alpha1.ReasonSucceeded}.writing(v1alpha1.RecordSucceeded),
		},
		"it is over once nobody can try again": {
			journal: first, seen: failed, now: over,
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonPaymentFailed).writing(v1alpha1.RecordFailed).after(policy.Quarantine).holding(),
		},
		"deletion does not wait for another try": {
			journal: first, seen: failed, now: t0.Add(time.Minute), change: func(f *Facts) { f.Deleting = true },
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonPaymentFailed).writing(v1alpha1.RecordFailed).after(policy.Quarantine).holding(),
		},
		"nor does what was submitted here": {
			journal: func() v1alpha1.PaymentJournal {
				ours, _ := Sighted(order, makeJournal(order, v1alpha1.RecordSubmitted), *failed, v1alpha1.ProfileReference, policy, t0.Add(time.Minute))
				return ours
			}(),
			seen: failed, now: t0.Add(2 * time.Minute),
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonPaymentFailed).writing(v1alpha1.RecordFailed).after(policy.Quarantine).holding(),
		},
		"nor what mode Apply adopted": {
			journal: first, seen: failed, now: t0.Add(time.Minute), change: func(f *Facts) { f.Mode = v1alpha1.ModeApply },
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonPaymentFailed).writing(v1alpha1.RecordFailed).after(policy.Quarantine).holding(),
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts := makeFacts(order, "")
			facts.Mode, facts.Record, facts.Sighting = v1alpha1.ModeObserve, makeRecord(order, tc.journal), tc.seen
			if tc.change != nil {
				tc.change(&facts)
			}
			decision := Decide(facts, policy, tc.now)
			if diff := cmp.Diff(tc.want, outcomeOf(decision)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			assertMentions(t, decision.Projection.Summary.Message, tc.wantMentions...)
		})
	}
}

// TestObservedInvoiceThatContradicts follows no payment of an invoice that asks for something else than is declared.
func TestObservedInvoiceThatContradicts(t *testing.T) {
	facts := makeFacts(makeLightningOrder(), "")
	facts.Mode, facts.Sighting = v1alpha1.ModeObserve, &Sighting{Presence: Outbound, State: StateSucceeded}
	facts.Invalid = deadEnd(v1alpha1.ReasonAmountMismatch, "the invoice asks for more")
	if diff := cmp.Diff(ends(v1alpha1.PaymentFailed, v1alpha1.ReasonAmountMismatch), outcomeOf(Decide(facts, policy, t0))); diff != "" {
		t.Error(diff)
	}
}

// TestHashTaken compares what a service shows under a payment hash with the invoice.
func TestHashTaken(t *testing.T) {
	bitcoin, asset := makeLightningOrder(), makeLightningOrder()
	asset.Asset, asset.AmountSats = &v1alpha1.AssetAmount{ID: assetID, Amount: 10}, 3000
	amountless := makeLightningOrder()
	amountless.AmountSats = 0
	sats := func(sats int64) Sighting { return Sighting{AmountSats: &sats} }
	of := func(id string, units int64) Sighting {
		return Sighting{Asset: &v1alpha1.AssetAmount{ID: id, Amount: units}}
	}
	withFee := func(sats, fee int64) Sighting { return Sighting{AmountSats: &sats, FeeSats: &fee} }
	to := func(payee string) Sighting { return Sighting{Payee: payee, AmountSats: new(int64(5000))} }
	for name, tc := range map[string]struct {
		order *Order
		seen  Sighting
		// taken is what the message mentions; empty where the payment is the declared one.
		taken string
	}{
		"nothing is told":                          {bitcoin, Sighting{}, ""},
		"an amount of 0":                           {bitcoin, sats(0), ""},
		"a negative amount":                        {bitcoin, sats(-1), ""},
		"the amount":                               {bitcoin, sats(5000), ""},
		"the amount and the highest fee":           {bitcoin, sats(5100), ""},
		"the same, rounded up":                     {bitcoin, sats(5101), ""},
		"the amount and a higher fee, as told":     {bitcoin, withFee(5900, 900), ""},
		"an invoice without an amount":             {amountless, sats(1), ""},
		"less":                                     {bitcoin, sats(4999), "it is of 4999 sat, asked for are 5000"},
		"1 sat":                                    {bitcoin, sats(1), "it is of 1 sat"},
		"more than the amount and its fee":         {bitcoin, sats(5102), "it is of 5102 sat"},
		"as much as there can be":                  {bitcoin, sats(math.MaxInt64), "sat"},
		"the payee":                                {bitcoin, to(bitcoin.Destination), ""},
		"the payee in capitals":                    {bitcoin, to(strings.ToUpper(bitcoin.Destination)), ""},
		"a payee that is no key":                   {bitcoin, to("somebody"), ""},
		"another payee":                            {bitcoin, to("03" + strings.Repeat("0b", 32)), "it goes to 030b"},
		"an asset instead of bitcoin":              {bitcoin, of(assetID, 10), "it is of asset " + assetID},
		"an asset that cannot be read":             {bitcoin, of("BTC", 10), ""},
		"the asset":                                {asset, of(assetID, 10), ""},
		"the asset, of an amount that is not told": {asset, of(assetID, 0), ""},
		"the asset, and its bitcoin":               {asset, sats(1), ""},
		"less of the asset":                        {asset, of(assetID, 9), "it is of 9 of the asset, asked for are 10"},
		"another asset":                            {asset, of(otherAssetID, 10), otherAssetID},
	} {
		t.Run(name, func(t *testing.T) {
			tc.seen.Presence = Outbound
			held := tc.order.HashTaken(tc.seen)
			if (held != nil) != (tc.taken != "") {
				t.Fatalf("held: %+v", held)
			}
			if held != nil {
				assertMentions(t, held.Message, tc.taken, "not taken for paid")
			}
		})
	}
}

// TestAnotherPaymentOfTheHash decides on payments whose hash the service shows with a payment of 1 sat: none is taken for paid, and none ends.
func TestAnotherPaymentOfTheHash(t *testing.T) {
	order := makeLightningOrder()
	seen := &Sighting{Presence: Outbound, State: StateSucceeded, AmountSats: new(int64(1))}
	observes := func(f *Facts) { f.Mode = v1alpha1.ModeObserve }
	late := func(f *Facts) { f.Invalid = deadEnd(v1alpha1.ReasonInvoiceExpired, "it expired") }
	adopted, _ := Sighted(order, NewJournal(order), Sighting{Presence: Outbound}, v1alpha1.ProfileReference, policy, t0)
	pending := rests(v1alpha1.PaymentPending, v1alpha1.ReasonAmountMismatch, takenPoll)
	for name, tc := range map[string]struct {
		journal *v1alpha1.PaymentJournal
		change  func(*Facts)
		want    outcome
	}{
		"it is followed":        {nil, observes, pending.unheld()},
		"it is too late to pay": {nil, late, pending.unheld()},
		"it is planned":         {nil, func(f *Facts) { f.Mode = v1alpha1.ModePlan }, pending.unheld()},
		"it is deleted, its record gone": {
			nil, func(f *Facts) { f.Deleting, f.Recorded = true, true },
			rests(v1alpha1.PaymentPending, v1alpha1.ReasonJournalLost, takenPoll),
		},
		"claimed and followed":      {new(NewJournal(order)), observes, pending},
		"claimed, and too late":     {new(NewJournal(order)), late, pending},
		"adopted, and now shown so": {&adopted, observes, rests(v1alpha1.PaymentInFlight, v1alpha1.ReasonAmountMismatch, firstPoll)},
		"submitted by us": {
			new(makeJournal(order, v1alpha1.RecordSubmitted)), nil,
			outcome{Phase: v1alpha1.PaymentSucceeded, Outcome: readiness.Done, Reason: v1alpha1.ReasonSucceeded}.writing(v1alpha1.RecordSucceeded),
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts := makeFacts(order, "")
			facts.Sighting = seen
			if tc.journal != nil {
				facts.Record = makeRecord(order, *tc.journal)
			}
			if tc.change != nil {
				tc.change(&facts)
			}
			decision := Decide(facts, policy, t0.Add(time.Second))
			if diff := cmp.Diff(tc.want, outcomeOf(decision)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if verdict := facts.Verdict(decision.Projection); facts.Mode == v1alpha1.ModePlan && verdict != v1alpha1.PlanBlocked {
				t.Errorf("the plan says %s", verdict)
			}
		})
	}
}
