package payment

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/readiness"
)

// minute is when the matrix and most cases decide: long enough after t0 for everything that is due at once.
var minute = t0.Add(time.Minute)

// situations are what may be so of a payment in any phase.
var situations = map[string]func(*Facts){
	"nothing in the way": func(*Facts) {},
	"deleting":           func(f *Facts) { f.Deleting = true },
	"abandoned":          func(f *Facts) { f.Deleting, f.Abandon = true, true },
	"suspended":          func(f *Facts) { f.Suspended = true },
	"waiting": func(f *Facts) {
		f.Waiting = &Obstacle{Reason: v1alpha1.ReasonWalletNotReady, Message: "not yet", RetryAfter: 15 * time.Second}
	},
	"unspendable": func(f *Facts) {
		f.NoSpending = &Obstacle{Reason: v1alpha1.ReasonJournalLost, Message: "not yet", RetryAfter: 10 * time.Second}
	},
	"invalid": func(f *Facts) { f.Invalid = deadEnd(v1alpha1.ReasonInvalidInvoice, "unreadable") },
	"held": func(f *Facts) {
		f.Held = &Obstacle{Reason: v1alpha1.ReasonWalletBusy, Message: "not yet", RetryAfter: 5 * time.Second}
	},
	"wallet changed": func(f *Facts) { f.Order.Wallet.Server = "https://elsewhere.invalid" },
	"another holder": func(f *Facts) { f.Record.Journal.Holder.Name = "somebody-else" },
	"reused name":    func(f *Facts) { f.Order.AmountSats++ },
	"no order":       func(f *Facts) { f.Order = nil },
}

// declaredAnew is by a resource of the same name whose fee cap is another one.
func declaredAnew(f *Facts) {
	f.Order.Holder.UID, f.Order.MaxFeeSats = "another-uid", 10*f.Order.MaxFeeSats
}

// TestDecideInEverySituation is every phase in every situation. A row says what differs from its plain outcome.
func TestDecideInEverySituation(t *testing.T) {
	const (
		pending    = v1alpha1.PaymentPending
		submitting = v1alpha1.PaymentSubmitting
		inFlight   = v1alpha1.PaymentInFlight
	)
	duplicate := ends(v1alpha1.PaymentFailed, v1alpha1.ReasonDuplicatePayment)
	succeeded := outcome{Phase: v1alpha1.PaymentSucceeded, Outcome: readiness.Done, Reason: v1alpha1.ReasonSucceeded}
	failed := ends(v1alpha1.PaymentFailed, v1alpha1.ReasonPaymentFailed)
	unknown := ends(v1alpha1.PaymentUnknown, v1alpha1.ReasonOutcomeUnknown)
	doubtful := unknown.after(time.Minute) // the answer may come after all, from a process that was paused
	cancelled := rests(pending, v1alpha1.ReasonCancelled, 0).unheld()
	unclaimed := map[string]outcome{
		"deleting":    cancelled,
		"abandoned":   cancelled,
		"suspended":   rests(pending, v1alpha1.ReasonSuspended, 0).unheld(),
		"waiting":     rests(pending, v1alpha1.ReasonWalletNotReady, 15*time.Second).unheld(),
		"unspendable": rests(pending, v1alpha1.ReasonJournalLost, 10*time.Second).unheld(),
		"invalid":     ends(v1alpha1.PaymentFailed, v1alpha1.ReasonInvalidInvoice),
		"held":        rests(pending, v1alpha1.ReasonWalletBusy, 5*time.Second).unheld(),
		"no order":    rests(pending, v1alpha1.ReasonProgressing, 0).unheld(),
	}
	// What the other resource may still give up is no dead end.
	undecided := rests(pending, v1alpha1.ReasonDuplicatePayment, time.Minute).unheld()
	released := maps.Clone(unclaimed)
	released["no order"] = cancelled
	claimed := map[string]outcome{
		"deleting":       cancelled.writing(v1alpha1.RecordCancelled),
		"abandoned":      cancelled.writing(v1alpha1.RecordCancelled),
		"suspended":      rests(pending, v1alpha1.ReasonSuspended, 0),
		"waiting":        rests(pending, v1alpha1.ReasonWalletNotReady, 15*time.Second),
		"unspendable":    rests(pending, v1alpha1.ReasonJournalLost, 10*time.Second),
		"invalid":        outcome{Step: Continue}.writing(v1alpha1.RecordFailed),
		"held":           rests(pending, v1alpha1.ReasonWalletBusy, 5*time.Second),
		"wallet changed": outcome{Step: Continue}.writing(v1alpha1.RecordCancelled),
		"another holder": undecided,
		"reused name":    duplicate,
		"no order":       rests(pending, v1alpha1.ReasonProgressing, 0),
	}
	// A payment that is being signed waits like one that is claimed, and only as long as it can be signed.
	awaiting := maps.Clone(claimed)
	for situation, want := range claimed {
		if want.Phase == pending && want.Hold && situation != "another holder" {
			want.Phase = v1alpha1.PaymentAwaitingSignature
			if want.After == 0 && situation != "no order" {
				want.After = 14 * time.Minute
			}
			awaiting[situation] = want
		}
	}
	signs := rests(v1alpha1.PaymentAwaitingSignature, v1alpha1.ReasonAwaitingSignature, 14*time.Minute)
	// What was submitted is watched whatever else is so; only who cannot be asked is not.
	watched := func(phase v1alpha1.PaymentPhase, reason string) map[string]outcome {
		return map[string]outcome{
			"abandoned":      rests(phase, reason, 0).unheld(),
			"waiting":        rests(phase, v1alpha1.ReasonWalletNotReady, 59*time.Second),
			"held":           rests(phase, v1alpha1.ReasonWalletBusy, 5*time.Second),
			"wallet changed": rests(phase, v1alpha1.ReasonWalletChanged, time.Minute),
			"another holder": duplicate,
			"reused name":    duplicate,
			"no order":       rests(phase, reason, 0),
		}
	}
	submittingLightning := watched(submitting, v1alpha1.ReasonSubmitting)
	submittingLightning["another holder"] = undecided
	unclear := maps.Clone(submittingLightning)
	unclear["deleting"] = rests(submitting, v1alpha1.ReasonSubmitting, 261*time.Second) // the answer may still come
	unclear["suspended"] = rests(submitting, v1alpha1.ReasonSuspended, 59*time.Minute)  // until a person is told that it is too late
	unclear["unspendable"] = rests(submitting, v1alpha1.ReasonJournalLost, 10*time.Second)
	over := map[string]outcome{"another holder": duplicate, "reused name": duplicate}
	looksAgain := map[string]outcome{
		"abandoned": failed.after(280 * time.Second), "another holder": duplicate, "reused name": duplicate, "no order": failed,
	}
	unresolved := map[string]outcome{"abandoned": unknown.unheld(), "another holder": duplicate, "reused name": duplicate, "no order": unknown}

	orders := map[v1alpha1.RecordKind]func() *Order{
		v1alpha1.RecordLightningPayment: makeLightningOrder, v1alpha1.RecordOnchainSend: makeOnchainOrder,
	}
	for _, row := range []struct {
		kind   v1alpha1.RecordKind
		phase  v1alpha1.RecordPhase
		plain  outcome
		except map[string]outcome
	}{
		{v1alpha1.RecordLightningPayment, "", outcome{Step: Claim}, unclaimed},
		{v1alpha1.RecordLightningPayment, v1alpha1.RecordClaimed, outcome{Step: Submit}, claimed},
		{v1alpha1.RecordLightningPayment, v1alpha1.RecordBegan, outcome{Step: Submit}, claimed},
		{v1alpha1.RecordLightningPayment, v1alpha1.RecordAwaitingSignature, signs, awaiting},
		{v1alpha1.RecordLightningPayment, v1alpha1.RecordSubmitting, outcome{Step: Observe}, submittingLightning},
		{v1alpha1.RecordLightningPayment, v1alpha1.RecordSubmitted, outcome{Step: Observe}, watched(inFlight, v1alpha1.ReasonInFlight)},
		{v1alpha1.RecordLightningPayment, v1alpha1.RecordSucceeded, succeeded, over},
		{v1alpha1.RecordLightningPayment, v1alpha1.RecordFailed, failed.after(280 * time.Second).holding(), looksAgain},
		{v1alpha1.RecordLightningPayment, v1alpha1.RecordCancelled, outcome{Step: Claim}, released},

		{v1alpha1.RecordOnchainSend, "", outcome{Step: Claim}, unclaimed},
		{v1alpha1.RecordOnchainSend, v1alpha1.RecordClaimed, outcome{Step: Submit}, claimed},
		{v1alpha1.RecordOnchainSend, v1alpha1.RecordBegan, outcome{Step: Submit}, claimed},
		{v1alpha1.RecordOnchainSend, v1alpha1.RecordAwaitingSignature, signs, awaiting},
		{v1alpha1.RecordOnchainSend, v1alpha1.RecordSubmitting, outcome{Step: Repeat}, unclear},
		{v1alpha1.RecordOnchainSend, v1alpha1.RecordSubmitted, outcome{Step: Observe}, watched(inFlight, v1alpha1.ReasonInFlight)},
		{v1alpha1.RecordOnchainSend, v1alpha1.RecordSucceeded, succeeded, over},
		{v1alpha1.RecordOnchainSend, v1alpha1.RecordFailed, failed, over},
		{v1alpha1.RecordOnchainSend, v1alpha1.RecordUnknown, doubtful, unresolved},
		{v1alpha1.RecordOnchainSend, v1alpha1.RecordCancelled, outcome{Step: Claim}, released},
	} {
		for _, situation := range slices.Sorted(maps.Keys(situations)) {
			if row.phase == "" && (situation == "another holder" || situation == "reused name") {
				continue // of a record that is not there
			}
			want, ok := row.except[situation]
			if !ok {
				want = row.plain
			}
			t.Run(fmt.Sprintf("%s %s/%s", row.kind, orNone(row.phase), situation), func(t *testing.T) {
				facts := makeFacts(orders[row.kind](), row.phase)
				situations[situation](&facts)
				if diff := cmp.Diff(want, outcomeOf(Decide(facts, policy, minute))); diff != "" {
					t.Errorf("outcome (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func orNone(phase v1alpha1.RecordPhase) string {
	if phase == "" {
		return "unrecorded"
	}
	return string(phase)
}

func TestDecide(t *testing.T) {
	lightning, onchain := makeLightningOrder, makeOnchainOrder
	const (
		pending    = v1alpha1.PaymentPending
		submitting = v1alpha1.PaymentSubmitting
		inFlight   = v1alpha1.PaymentInFlight
	)
	failed := ends(v1alpha1.PaymentFailed, v1alpha1.ReasonPaymentFailed)
	unknown := ends(v1alpha1.PaymentUnknown, v1alpha1.ReasonOutcomeUnknown)
	lost := func(seen *Sighting) func(*Facts) {
		return func(f *Facts) { f.Deleting, f.Recorded, f.DeletedAt, f.Sighting = true, true, t0, seen }
	}
	doubtful := unknown.after(time.Minute) // the answer may come after all, from a process that was paused
	succeeded := outcome{Phase: v1alpha1.PaymentSucceeded, Outcome: readiness.Done, Reason: v1alpha1.ReasonSucceeded}
	seen := func(state State) *Sighting {
		return &Sighting{Presence: Outbound, State: state, Word: "WORD"}
	}
	journal := func(change func(*v1alpha1.PaymentJournal)) func(*Facts) {
		return func(f *Facts) { change(&f.Record.Journal) }
	}
	tooLate := func(seen *Sighting) func(*Facts) {
		return func(f *Facts) { f.Invalid, f.Sighting = deadEnd(v1alpha1.ReasonInvoiceExpired, "too late"), seen }
	}
	recheck := t0.Add(40*time.Second + policy.Quarantine)
	for name, tc := range map[string]struct {
		order  func() *Order
		phase  v1alpha1.RecordPhase
		change func(*Facts)
		// now is minute unless it is said.
		now          time.Time
		want         outcome
		wantMentions []string
	}{
		// Nothing recorded.
		"a Lightning payment of which no fee is known is estimated": {
			order: lightning, change: func(f *Facts) { f.FeeEstimateSats = nil }, want: outcome{Step: Estimate},
		},
		"a held Lightning payment of which no fee is known is not estimated": {
			order: lightning, change: func(f *Facts) { f.FeeEstimateSats = nil; situations["held"](f) },
			want: rests(pending, v1alpha1.ReasonWalletBusy, 5*time.Second).unheld(),
		},
		"a suspended Lightning payment of which no fee is known is not estimated": {
			order: lightning, change: func(f *Facts) { f.FeeEstimateSats, f.Suspended = nil, true },
			want: rests(pending, v1alpha1.ReasonSuspended, 0).unheld(), wantMentions: []string{"spec.suspend", "set it to false"},
		},
		"a fee at the cap is paid": {order: lightning, change: func(f *Facts) { f.FeeEstimateSats = new(int64(100)) }, want: outcome{Step: Claim}},
		"a fee of nothing is paid": {order: lightning, change: func(f *Facts) { f.FeeEstimateSats = new(int64(0)) }, want: outcome{Step: Claim}},
		"a cap of nothing can be kept": {
			order:  lightning,
			change: func(f *Facts) { f.FeeEstimateSats, f.Order.MaxFeeSats = new(int64(0)), 0 }, want: outcome{Step: Claim},
		},
		"a fee above the cap is a dead end": {
			order: lightning, change: func(f *Facts) { f.FeeEstimateSats = new(int64(101)) },
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonFeeTooHigh), wantMentions: []string{"101", "spec.maxFeeSats 100", "nothing was sent"},
		},
		"a fee above the cap counts also for a payment that was cancelled before": {
			order: lightning, phase: v1alpha1.RecordCancelled, change: func(f *Facts) { f.FeeEstimateSats = new(int64(101)) },
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonFeeTooHigh),
		},
		"an invalid manifest is a dead end also while the wallet is missing": {
			order: lightning, change: func(f *Facts) { situations["invalid"](f); situations["waiting"](f) },
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonInvalidInvoice),
		},
		"a send that is deleted after its record was lost goes": {
			order: onchain, change: func(f *Facts) { f.Deleting, f.Recorded = true, true },
			want: rests(pending, v1alpha1.ReasonJournalLost, 0).unheld(), wantMentions: []string{"nobody here knows"},
		},
		"a payment that is deleted after its record was lost is looked for": {
			order: lightning, change: lost(nil), want: outcome{Step: Observe},
		},
		"one that is abandoned goes at once": {
			order: lightning, change: func(f *Facts) { lost(nil)(f); f.Abandon = true },
			want: rests(pending, v1alpha1.ReasonJournalLost, 0).unheld(), wantMentions: []string{"nobody here knows"},
		},
		"one whose wallet cannot be reached is kept": {
			order: lightning, change: func(f *Facts) { lost(nil)(f); situations["waiting"](f) },
			want: rests(pending, v1alpha1.ReasonJournalLost, time.Minute), wantMentions: []string{"not yet", "abandon-tracking"},
		},
		"one of which the service says nothing is kept": {
			order: lightning, change: lost(&Sighting{Problem: "a gateway"}),
			want: rests(pending, v1alpha1.ReasonJournalLost, time.Minute), wantMentions: []string{"a gateway", "abandon-tracking"},
		},
		"one that the service has is recorded anew": {
			order: lightning, change: lost(&Sighting{Presence: Outbound}), want: outcome{Step: Claim},
		},
		"one that the service does not show is kept while it may land": {
			order: lightning, change: lost(&Sighting{Presence: Absent, Complete: true}),
			want: rests(pending, v1alpha1.ReasonJournalLost, policy.Quarantine),
		},
		"one that the service does not show goes once nothing can land": {
			order: lightning, now: t0.Add(time.Minute + policy.Quarantine), change: lost(&Sighting{Presence: NotSeen}),
			want: rests(pending, v1alpha1.ReasonJournalLost, 0).unheld(), wantMentions: []string{"nobody here knows"},
		},
		"one that cannot pay itself goes": {
			order: lightning, change: lost(&Sighting{Presence: Inbound}), want: rests(pending, v1alpha1.ReasonJournalLost, 0).unheld(),
		},
		"an invalid manifest that is deleted is no dead end": {
			order: lightning, change: func(f *Facts) { situations["invalid"](f); f.Deleting = true },
			want: rests(pending, v1alpha1.ReasonCancelled, 0).unheld(),
		},

		"what was called failed stays so, whatever is possible now": {
			order: lightning, change: func(f *Facts) { f.GivenUp = deadEnd(v1alpha1.ReasonFeeTooHigh, "above the cap") },
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonFeeTooHigh), wantMentions: []string{"above the cap"},
		},
		"what was called failed stays so also where another gave the payment up": {
			order: lightning, phase: v1alpha1.RecordCancelled, change: func(f *Facts) {
				f.GivenUp = deadEnd(v1alpha1.ReasonDuplicatePayment, "another pays")
				situations["another holder"](f)
			},
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonDuplicatePayment), wantMentions: []string{"another pays"},
		},
		"what was called failed stays so also while another may pay": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: func(f *Facts) {
				f.GivenUp = deadEnd(v1alpha1.ReasonRequestRefused, "no")
				situations["another holder"](f)
			},
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonRequestRefused),
		},
		"what was called failed can be deleted": {
			order: lightning, change: func(f *Facts) { f.GivenUp, f.Deleting = deadEnd(v1alpha1.ReasonFeeTooHigh, "x"), true },
			want: rests(pending, v1alpha1.ReasonCancelled, 0).unheld(),
		},
		"a record of its own counts more than what was called failed": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.GivenUp = deadEnd(v1alpha1.ReasonFeeTooHigh, "x") },
			want: outcome{Step: Observe},
		},

		// Claimed or begun.
		"a refused payment waits for its next attempt": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: journal(func(j *v1alpha1.PaymentJournal) {
				*j = Refused(makeJournal(makeLightningOrder(), v1alpha1.RecordBegan), Obstacle{Reason: v1alpha1.ReasonInsufficientBalance, Message: "no funds"}, policy, minute)
			}),
			want: rests(pending, v1alpha1.ReasonInsufficientBalance, 30*time.Second), wantMentions: []string{"no funds"},
		},
		"a refused payment begins again when its time has come": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: journal(func(j *v1alpha1.PaymentJournal) {
				*j = Refused(makeJournal(makeLightningOrder(), v1alpha1.RecordBegan), Obstacle{Reason: v1alpha1.ReasonInsufficientBalance}, policy, minute)
			}),
			now: minute.Add(30 * time.Second), want: outcome{Step: Submit},
		},
		"a wait without a reason is progress": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: journal(func(j *v1alpha1.PaymentJournal) { j.RetryAfter = at(minute.Add(time.Second)) }),
			want: rests(pending, v1alpha1.ReasonProgressing, time.Second),
		},
		"a deleted payment does not wait for its next attempt": {
			order: onchain, phase: v1alpha1.RecordClaimed, change: func(f *Facts) {
				f.Record.Journal.RetryAfter, f.Deleting = at(minute.Add(time.Hour)), true
			},
			want: rests(pending, v1alpha1.ReasonCancelled, 0).unheld().writing(v1alpha1.RecordCancelled),
		},
		"a payment whose time is over is given up although its wallet is missing": {
			order: onchain, phase: v1alpha1.RecordBegan, change: func(f *Facts) { situations["invalid"](f); situations["waiting"](f) },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordFailed),
		},
		"a claim is given up for the changed wallet although the payment is suspended": {
			order: onchain, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { situations["wallet changed"](f); f.Suspended = true },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordCancelled),
		},
		"other keys are another wallet": {
			order: onchain, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { f.Order.Wallet.XpubVanilla = "tpubOther" },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordCancelled),
		},
		"a claim of an earlier resource with another fee cap is given up": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: declaredAnew,
			want: outcome{Step: Continue}.writing(v1alpha1.RecordCancelled),
		},
		"so is what it asked people to sign": {
			order: onchain, phase: v1alpha1.RecordAwaitingSignature, change: declaredAnew,
			want: outcome{Step: Continue}.writing(v1alpha1.RecordCancelled),
		},
		"what it submitted is asked for": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: declaredAnew, want: outcome{Step: Observe},
		},
		"a claim of an earlier resource that named another Wallet of the same keys is given up": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { f.Order.Wallet.Name = "another" },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordCancelled),
		},
		"another fingerprint is another wallet": {
			order: onchain, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { f.Order.Wallet.MasterFingerprint = "00000000" },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordCancelled),
		},
		"another name of the same wallet changes nothing": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Order.Wallet.Name = "renamed" }, want: outcome{Step: Observe},
		},
		"a claim is not given up for a wallet that cannot be read": {
			order: onchain, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { f.Order.Wallet = v1alpha1.RecordWallet{Name: "main"}; situations["waiting"](f) },
			want: rests(pending, v1alpha1.ReasonWalletNotReady, 15*time.Second),
		},
		"a deleted payment is cancelled although its wallet changed": {
			order: onchain, phase: v1alpha1.RecordBegan, change: func(f *Facts) { situations["wallet changed"](f); f.Deleting = true },
			want: rests(pending, v1alpha1.ReasonCancelled, 0).unheld().writing(v1alpha1.RecordCancelled),
		},

		// Somebody else's record.
		"the same invoice in another resource names who pays it": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: situations["another holder"],
			want:         ends(v1alpha1.PaymentFailed, v1alpha1.ReasonDuplicatePayment),
			wantMentions: []string{"LightningPayment shop/somebody-else", "nothing was sent by this resource"},
		},
		"the same invoice in another namespace is another holder's": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: journal(func(j *v1alpha1.PaymentJournal) { j.Holder.Namespace = "other" }),
			want: rests(pending, v1alpha1.ReasonDuplicatePayment, time.Minute).unheld(), wantMentions: []string{"other/rent"},
		},
		"another manifest of the same name whose guard the invoice breaks is another order": {
			order: lightning, phase: v1alpha1.RecordSucceeded, change: func(f *Facts) {
				f.Record.Journal.Holder.UID, f.Invalid = "another-uid", deadEnd(v1alpha1.ReasonAmountMismatch, "5000, not 4999")
			},
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonDuplicatePayment), wantMentions: []string{"ordered something else"},
		},
		"the same manifest created again after its invoice expired is the same order": {
			order: lightning, phase: v1alpha1.RecordSucceeded, change: func(f *Facts) {
				f.Record.Journal.Holder.UID, f.Invalid = "another-uid", deadEnd(v1alpha1.ReasonInvoiceExpired, "too late")
			},
			want: succeeded,
		},
		"the same resource keeps its outcome, whatever its guard says": {
			order: lightning, phase: v1alpha1.RecordSucceeded, change: func(f *Facts) { f.Invalid = deadEnd(v1alpha1.ReasonAmountMismatch, "5000, not 4999") },
			want: succeeded,
		},
		"a resource that was created again is the same holder": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: journal(func(j *v1alpha1.PaymentJournal) { j.Holder.UID = "another-uid" }),
			want: outcome{Step: Observe},
		},
		"a duplicate can be deleted at once": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { situations["another holder"](f); f.Deleting = true },
			want: rests(pending, v1alpha1.ReasonCancelled, 0).unheld(),
		},
		"a record that was cancelled is anybody's": {
			order: lightning, phase: v1alpha1.RecordCancelled, change: situations["another holder"], want: outcome{Step: Claim},
		},
		"a payment that failed before anything was submitted is a new resource's to try": {
			order: lightning, phase: v1alpha1.RecordFailed, change: func(f *Facts) {
				f.Record.Journal = GiveUp(makeJournal(f.Order, v1alpha1.RecordBegan), v1alpha1.ReasonRequestRefused, "no", minute)
				f.Order.Holder = makeHolder("LightningPayment", "rent-again")
			},
			want: outcome{Step: Claim},
		},
		"a payment that failed before anything was submitted is over for its own resource": {
			order: lightning, phase: v1alpha1.RecordFailed, change: journal(func(j *v1alpha1.PaymentJournal) {
				*j = GiveUp(makeJournal(makeLightningOrder(), v1alpha1.RecordBegan), v1alpha1.ReasonRequestRefused, "no", minute)
			}),
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonRequestRefused),
		},
		"a payment that failed after it was submitted is no other resource's to try": {
			order: lightning, phase: v1alpha1.RecordFailed, change: func(f *Facts) { f.Order.Holder = makeHolder("LightningPayment", "rent-again") },
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonDuplicatePayment),
		},
		"a payment that failed after it was submitted is over for the same resource created again": {
			order: onchain, phase: v1alpha1.RecordFailed, change: func(f *Facts) { f.Order.Holder.UID = "another-uid" }, want: failed,
		},
		"a payment that another program submitted and that failed is no other resource's to try": {
			order: lightning, phase: v1alpha1.RecordFailed, change: func(f *Facts) {
				f.Record.Journal.SubmittedAt = nil
				f.Order.Holder = makeHolder("LightningPayment", "rent-again")
			},
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonDuplicatePayment),
		},
		"a reused name says what to do": {
			order: onchain, phase: v1alpha1.RecordSucceeded, change: func(f *Facts) { f.Order.FeeRate++ },
			want:         ends(v1alpha1.PaymentFailed, v1alpha1.ReasonDuplicatePayment),
			wantMentions: []string{"record oc-", "new idempotencyKey", "nothing was sent by this one"},
		},
		"another destination is another order": {
			order: onchain, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { f.Order.Destination += "x" },
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonDuplicatePayment),
		},
		"an asset instead of bitcoin is another order": {
			order: onchain, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { f.Order.Asset = &v1alpha1.AssetAmount{ID: assetID, Amount: 1} },
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonDuplicatePayment),
		},
		"another amount of the asset is another order": {
			order: makeAssetOrder, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { f.Order.Asset = &v1alpha1.AssetAmount{ID: assetID, Amount: 11} },
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonDuplicatePayment),
		},
		"bitcoin instead of an asset is another order": {
			order: makeAssetOrder, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { f.Order.Asset = nil },
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonDuplicatePayment),
		},
		"the same asset order is the same": {
			order: makeAssetOrder, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { f.Order.Asset = &v1alpha1.AssetAmount{ID: assetID, Amount: 10} },
			want: outcome{Step: Submit},
		},
		"another invoice with the same payment hash is another order": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Order.PaymentRequest = "lnbcrt50u1other" },
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonDuplicatePayment),
		},
		"an invoice in capitals is the same order": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Order.PaymentRequest = "LNBCRT50U1RENT" }, want: outcome{Step: Observe},
		},
		"another cap or end of validity is the same order": {
			order: onchain, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Order.MaxFeeSats, f.Order.StartBefore = 1, t0 }, want: outcome{Step: Observe},
		},
		"a reused name can be deleted at once": {
			order: onchain, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { situations["reused name"](f); f.Deleting = true },
			want: rests(pending, v1alpha1.ReasonCancelled, 0).unheld(),
		},

		// An on-chain send without an answer.
		"a service that is not known to answer repetitions is not asked again": {
			now: landed, order: onchain, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Profile = v1alpha1.ProfileConservative },
			want:         doubtful.writing(v1alpha1.RecordUnknown),
			wantMentions: []string{"attempt 1", "not known to answer a repetition", "100000 sat", strings.Repeat("7", 64), "resolve the record"},
		},
		"a service without a profile is not asked again": {
			now: landed, order: onchain, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Profile = "" },
			want: doubtful.writing(v1alpha1.RecordUnknown),
		},
		"four ends without an answer are enough": {
			now: landed, order: onchain, phase: v1alpha1.RecordSubmitting, change: journal(func(j *v1alpha1.PaymentJournal) { j.EndCalls = 4 }),
			want:         doubtful.writing(v1alpha1.RecordUnknown),
			wantMentions: []string{"4 identical submissions"},
		},
		"four ends without an answer are enough also while suspended": {
			now: landed, order: onchain, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Record.Journal.EndCalls, f.Suspended = 4, true },
			want: doubtful.writing(v1alpha1.RecordUnknown),
		},
		"the first repetition comes two seconds after the end": {
			order: onchain, phase: v1alpha1.RecordSubmitting, now: submitted.Add(2 * time.Second), want: outcome{Step: Repeat},
		},
		"the first repetition does not come before": {
			order: onchain, phase: v1alpha1.RecordSubmitting, now: submitted.Add(500 * time.Millisecond),
			want: rests(submitting, v1alpha1.ReasonSubmitting, 1500*time.Millisecond),
		},
		"the second repetition waits a quarter of a minute": {
			order: onchain, phase: v1alpha1.RecordSubmitting, now: submitted.Add(3 * time.Second),
			change: journal(func(j *v1alpha1.PaymentJournal) { j.EndCalls = 2 }), want: rests(submitting, v1alpha1.ReasonSubmitting, 12*time.Second),
		},
		"the third repetition waits a minute": {
			order: onchain, phase: v1alpha1.RecordSubmitting, now: submitted.Add(20 * time.Second),
			change: journal(func(j *v1alpha1.PaymentJournal) { j.EndCalls = 3 }), want: rests(submitting, v1alpha1.ReasonSubmitting, 40*time.Second),
		},
		"the third repetition is the last": {
			order: onchain, phase: v1alpha1.RecordSubmitting, now: submitted.Add(time.Minute),
			change: journal(func(j *v1alpha1.PaymentJournal) { j.EndCalls = 3 }), want: outcome{Step: Repeat},
		},
		"a deleted send without an answer is not sent again and says so": {
			now: landed, order: onchain, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Deleting = true },
			want:         doubtful.writing(v1alpha1.RecordUnknown),
			wantMentions: []string{"deleted", "resolve the record"},
		},
		"a deleted send is not sent again also while suspended": {
			now: landed, order: onchain, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Deleting, f.Suspended = true, true },
			want: doubtful.writing(v1alpha1.RecordUnknown),
		},

		"a send whose time is over is not sent again after it can have landed": {
			order: onchain, phase: v1alpha1.RecordSubmitting, now: t0.Add(time.Hour), want: doubtful.writing(v1alpha1.RecordUnknown),
			wantMentions: []string{"time in which it may start is over"},
		},
		"a send whose time is over is sent again while it may still land": {
			order: onchain, phase: v1alpha1.RecordSubmitting, now: landed.Add(-1), change: func(f *Facts) { f.Order.StartBefore = minute },
			want: outcome{Step: Repeat},
		},
		"a send whose time is not over is sent again": {
			order: onchain, phase: v1alpha1.RecordSubmitting, now: t0.Add(time.Hour - 1), want: outcome{Step: Repeat},
		},
		"a send in doubt without its last instant is in doubt at once": {
			order: onchain, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Profile, f.Record.Journal.NotAfter = "", nil },
			want: doubtful.writing(v1alpha1.RecordUnknown),
		},

		// What a look showed.
		"a payment under way is looked at again": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Sighting = seen(StatePending) },
			want: rests(inFlight, v1alpha1.ReasonInFlight, 59*time.Second).writing(v1alpha1.RecordSubmitted),
		},
		"a send under way is looked at again": {
			order: onchain, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Sighting = seen(StatePending) },
			want: rests(inFlight, v1alpha1.ReasonInFlight, 59*time.Second).writing(v1alpha1.RecordSubmitted),
		},
		"a look that shows nothing new writes nothing": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Sighting = seen(StatePending) },
			want: rests(inFlight, v1alpha1.ReasonInFlight, 59*time.Second),
		},
		"a payment that was just accepted is not looked at at once": {
			order: lightning, phase: v1alpha1.RecordSubmitted, now: submitted.Add(1999 * time.Millisecond),
			want: rests(inFlight, v1alpha1.ReasonInFlight, 2*time.Second),
		},
		"a payment that was accepted this instant is not looked at either": {
			order: lightning, phase: v1alpha1.RecordSubmitted, now: submitted, want: rests(inFlight, v1alpha1.ReasonInFlight, 2*time.Second),
		},
		"a look that was made all the same counts": {
			order: lightning, phase: v1alpha1.RecordSubmitted, now: submitted.Add(time.Second), change: func(f *Facts) { f.Sighting = seen(StateSucceeded) },
			want: succeeded.writing(v1alpha1.RecordSucceeded),
		},
		"an adopted payment is looked at": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: journal(func(j *v1alpha1.PaymentJournal) { j.SubmittedAt = nil }),
			want: outcome{Step: Observe},
		},
		"a payment of which nobody knows since when is looked at every half a minute": {
			order: lightning, phase: v1alpha1.RecordSubmitting, now: landed.Add(time.Hour), change: func(f *Facts) {
				f.Sighting, f.Record.Journal.SubmittedAt, f.Record.Journal.StartedAt = &Sighting{Presence: NotSeen}, nil, nil
			},
			want: rests(submitting, v1alpha1.ReasonSubmitting, 30*time.Second),
		},
		"a send of which nobody knows since when is submitted again": {
			order: onchain, phase: v1alpha1.RecordSubmitting, change: journal(func(j *v1alpha1.PaymentJournal) { j.SubmittedAt = nil }),
			want: outcome{Step: Repeat},
		},
		"a payment that was accepted two seconds ago is looked at": {
			order: lightning, phase: v1alpha1.RecordSubmitted, now: submitted.Add(2 * time.Second), want: outcome{Step: Observe},
		},
		"a payment of which nobody knows whether it was accepted is looked at at once": {
			order: lightning, phase: v1alpha1.RecordSubmitting, now: submitted, want: outcome{Step: Observe},
		},
		"a payment that was accepted is looked at also when the clock was set back": {
			order: onchain, phase: v1alpha1.RecordSubmitted, now: submitted.Add(-time.Hour), want: outcome{Step: Observe},
		},
		"a payment that succeeded is done": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Sighting = seen(StateSucceeded) },
			want: succeeded.writing(v1alpha1.RecordSucceeded), wantMentions: []string{"paid"},
		},
		"a payment that succeeded is done although it is being deleted": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Sighting, f.Deleting = seen(StateSucceeded), true },
			want: succeeded.writing(v1alpha1.RecordSucceeded),
		},
		"a failure seen once is looked at again": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Sighting = seen(StateFailed) },
			want: rests(inFlight, v1alpha1.ReasonInFlight, 30*time.Second).writing(v1alpha1.RecordSubmitted),
		},
		"a failure seen again too soon is looked at again": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) {
				f.Sighting, f.Record.Journal.FirstFailedAt = seen(StateFailed), at(minute.Add(-30*time.Second+time.Microsecond))
			},
			want: rests(inFlight, v1alpha1.ReasonInFlight, 30*time.Second),
		},
		"a failure seen twice is the outcome, and looked at a last time": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) {
				f.Sighting, f.Record.Journal.FirstFailedAt = seen(StateFailed), at(minute.Add(-30*time.Second))
			},
			want:         failed.writing(v1alpha1.RecordFailed).after(policy.Quarantine).holding(),
			wantMentions: []string{"no money moved", "new invoice"},
		},
		"a trace that is proven absent begins another attempt": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Sighting = &Sighting{Presence: Absent, Complete: true} },
			now: landed, want: outcome{Step: Continue}.writing(v1alpha1.RecordClaimed),
		},
		"a trace that is not yet proven absent is looked for again": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Sighting = &Sighting{Presence: Absent, Complete: true} },
			now: landed.Add(-1), want: rests(submitting, v1alpha1.ReasonSubmitting, time.Minute),
		},
		"no answer is shown with what the service said instead": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Sighting = &Sighting{Problem: "502 Bad Gateway"} },
			want:         rests(submitting, v1alpha1.ReasonServiceUnavailable, 59*time.Second),
			wantMentions: []string{"502 Bad Gateway", "nothing is sent again"},
		},
		"no answer to speak of": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Sighting = &Sighting{} },
			want: rests(submitting, v1alpha1.ReasonSubmitting, 59*time.Second),
		},
		"a payment that is not shown is no silence of the service": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Sighting = &Sighting{Presence: NotSeen, Problem: "no such payment"} },
			want: rests(submitting, v1alpha1.ReasonSubmitting, 59*time.Second), wantMentions: []string{"its outcome is being asked for"},
		},
		"a payment that was accepted and is shown no more says so, in time": {
			order: lightning, phase: v1alpha1.RecordSubmitted, now: landed, change: func(f *Facts) {
				f.Sighting, f.Record.Journal.FirstAbsentAt = &Sighting{Presence: Absent}, at(landed.Add(-policy.Quarantine-time.Second))
			},
			want: rests(inFlight, v1alpha1.ReasonInFlight, time.Minute), wantMentions: []string{"shows it no more"},
		},
		"a payment that was accepted and is shown no more does not say so at once": {
			order: lightning, phase: v1alpha1.RecordSubmitted, now: landed, change: func(f *Facts) {
				f.Sighting, f.Record.Journal.FirstAbsentAt = &Sighting{Presence: Absent}, at(landed.Add(-policy.Quarantine))
			},
			want: rests(inFlight, v1alpha1.ReasonInFlight, time.Minute), wantMentions: []string{"waiting for its outcome"},
		},
		"a payment that was shown no more and is not seen now does not say so": {
			order: lightning, phase: v1alpha1.RecordSubmitted, now: landed, change: func(f *Facts) {
				f.Sighting, f.Record.Journal.FirstAbsentAt = &Sighting{Presence: NotSeen}, at(t0)
			},
			want: rests(inFlight, v1alpha1.ReasonInFlight, time.Minute), wantMentions: []string{"waiting for its outcome"},
		},
		"an invoice that expired is looked for before it is given up": {
			order: lightning, change: tooLate(nil), want: outcome{Step: Observe},
		},
		"an invoice that expired and that the service knows is adopted": {
			order: lightning, change: tooLate(&Sighting{Presence: Outbound, State: StateSucceeded}), want: outcome{Step: Claim},
		},
		"too late, after attempts of which nothing was submitted, perhaps of another wallet's, it is looked for": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { tooLate(nil)(f); f.Record.Journal.Attempt = 2 },
			want: outcome{Step: Observe},
		},
		"an invoice that expired and that nobody paid is a dead end": {
			order: lightning, change: tooLate(&Sighting{Presence: Absent}), want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonInvoiceExpired),
		},
		"an invoice that expired waits for a service that does not answer": {
			order: lightning, change: tooLate(&Sighting{Problem: "no answer"}),
			want: rests(pending, v1alpha1.ReasonServiceUnavailable, time.Minute).unheld(), wantMentions: []string{"no answer"},
		},
		"an invoice that expired waits for its wallet": {
			order: lightning, change: func(f *Facts) { tooLate(nil)(f); situations["waiting"](f) },
			want: rests(pending, v1alpha1.ReasonWalletNotReady, 15*time.Second).unheld(),
		},
		"a send whose time is over is looked for nowhere": {
			order: onchain, change: tooLate(nil), want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonInvoiceExpired),
		},
		"a claimed payment whose invoice expired is looked for before it is given up": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { tooLate(nil)(f); f.Record.Journal.Attempt = 0 },
			want: outcome{Step: Observe},
		},
		"a claimed payment whose invoice expired and that the service knows is adopted": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: func(f *Facts) {
				tooLate(&Sighting{Presence: Outbound, State: StateSucceeded})(f)
				f.Record.Journal.Attempt = 0
			},
			want: outcome{Step: Continue, Events: []string{v1alpha1.EventAdopted}}.writing(v1alpha1.RecordSucceeded),
		},
		"a claimed payment whose invoice expired waits for a service that does not answer": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: func(f *Facts) {
				tooLate(&Sighting{Problem: "no answer"})(f)
				f.Record.Journal.Attempt = 0
			},
			want: rests(pending, v1alpha1.ReasonServiceUnavailable, time.Minute),
		},
		"a claimed payment whose invoice expired and that nobody paid is given up": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: func(f *Facts) {
				tooLate(&Sighting{Presence: NotSeen})(f)
				f.Record.Journal.Attempt = 0
			},
			want: outcome{Step: Continue}.writing(v1alpha1.RecordFailed),
		},
		"a send that waited for lost records until its time was over is not called unsent": {
			order: onchain, change: func(f *Facts) {
				f.Invalid = deadEnd(v1alpha1.ReasonValidityElapsed, "spec.validUntil passed")
				f.NoSpending = &Obstacle{Reason: v1alpha1.ReasonJournalLost, Message: "records are missing"}
			},
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonValidityElapsed), wantMentions: []string{"lost", "nobody here knows", "look for it on the chain"},
		},
		"a send whose id was claimed is submitted": {
			order: onchain, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.ClaimedSend = "7" },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordSubmitted),
		},
		"a send whose id was claimed is submitted, also while it is being deleted": {
			order: onchain, phase: v1alpha1.RecordSubmitting, now: landed, change: func(f *Facts) { f.ClaimedSend, f.Deleting = "7", true },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordSubmitted),
		},
		"a manifest that cannot be read, of a payment that was claimed, goes when it is deleted": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: func(f *Facts) { f.Order, f.Deleting = nil, true },
			want: rests(v1alpha1.PaymentPending, v1alpha1.ReasonCancelled, 0).unheld().writing(v1alpha1.RecordCancelled),
		},
		"a manifest that cannot be read, of a payment that was submitted, waits for the outcome when it is deleted": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Order, f.Deleting = nil, true },
			want: rests(inFlight, v1alpha1.ReasonInFlight, 0),
		},
		"a manifest that cannot be read, of a payment that was made, is paid": {
			order: lightning, phase: v1alpha1.RecordSucceeded, change: func(f *Facts) {
				f.Order, f.Invalid = nil, deadEnd(v1alpha1.ReasonInvalidInvoice, "unreadable")
			},
			want: outcome{Phase: v1alpha1.PaymentSucceeded, Outcome: readiness.Done, Reason: v1alpha1.ReasonSucceeded},
		},
		"a payment that goes on being looked for does not say that it was accepted": {
			order: lightning, phase: v1alpha1.RecordSubmitting, now: landed.Add(299 * time.Second), change: func(f *Facts) {
				f.Sighting, f.Record.Journal.FirstAbsentAt = &Sighting{Presence: Absent}, at(landed)
			},
			want: rests(submitting, v1alpha1.ReasonSubmitting, time.Minute), wantMentions: []string{"its outcome is being asked for"},
		},
		"a payment that is not shown goes on being looked for": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Sighting = &Sighting{Presence: NotSeen} }, now: landed.Add(time.Hour),
			want: rests(submitting, v1alpha1.ReasonSubmitting, time.Minute),
		},
		"a deletion says that it waits": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Sighting, f.Deleting = seen(StatePending), true },
			want: rests(inFlight, v1alpha1.ReasonInFlight, 59*time.Second), wantMentions: []string{"deletion waits"},
		},
		"a deletion of what may not have arrived says that it waits": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { f.Sighting, f.Deleting = &Sighting{Presence: NotSeen}, true },
			want: rests(submitting, v1alpha1.ReasonSubmitting, 59*time.Second), wantMentions: []string{"deletion waits"},
		},
		"a payment long under way says so, in the service's word": {
			order: onchain, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) {
				f.Sighting = &Sighting{Presence: Outbound, Word: "WAITING\x1b[31m_BALANCE_UPDATE"}
			},
			now:          submitted.Add(policy.LongInFlight + time.Second),
			want:         rests(inFlight, v1alpha1.ReasonInFlight, time.Minute).writing(v1alpha1.RecordSubmitted),
			wantMentions: []string{"WAITING?[31m_BALANCE_UPDATE", "40 minutes", "nothing is sent again"},
		},
		"a payment not so long under way does not say so": {
			order: onchain, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Sighting = &Sighting{Presence: Outbound} },
			now: submitted.Add(policy.LongInFlight), want: rests(inFlight, v1alpha1.ReasonInFlight, time.Minute),
			wantMentions: []string{"waiting for its outcome"},
		},
		"a payment long under way without a word": {
			order: onchain, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Sighting = &Sighting{Presence: Outbound} },
			now: submitted.Add(policy.LongInFlight + time.Second), want: rests(inFlight, v1alpha1.ReasonInFlight, time.Minute),
			wantMentions: []string{"without a known state"},
		},
		"after a day a payment is looked at every ten minutes": {
			order: onchain, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Sighting = &Sighting{Presence: Outbound} },
			now: submitted.Add(24*time.Hour + time.Second), want: rests(inFlight, v1alpha1.ReasonInFlight, 10*time.Minute),
		},
		"for a day a payment is looked at every minute": {
			order: onchain, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Sighting = &Sighting{Presence: Outbound} },
			now: submitted.Add(24 * time.Hour), want: rests(inFlight, v1alpha1.ReasonInFlight, time.Minute),
		},
		"right after its submission a payment is looked at soon": {
			order: onchain, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Sighting = &Sighting{Presence: Outbound} },
			now: submitted, want: rests(inFlight, v1alpha1.ReasonInFlight, 2*time.Second),
		},
		"an adopted payment is looked at less often as it grows old": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: func(f *Facts) {
				f.Record.Journal, _ = Sighted(f.Order, f.Record.Journal, Sighting{Presence: Outbound}, f.Profile, policy, t0)
				f.Sighting = &Sighting{Presence: Outbound}
			},
			now: t0.Add(25 * time.Hour), want: rests(inFlight, v1alpha1.ReasonInFlight, 10*time.Minute),
		},
		"an adopted payment is looked at no more than once a minute": {
			order: lightning, phase: v1alpha1.RecordClaimed, change: func(f *Facts) {
				f.Record.Journal, _ = Sighted(f.Order, f.Record.Journal, Sighting{Presence: Outbound}, f.Profile, policy, t0)
				f.Sighting = &Sighting{Presence: Outbound}
			},
			now: t0.Add(30 * time.Minute), want: rests(inFlight, v1alpha1.ReasonInFlight, time.Minute),
		},
		"a send that failed before any broadcast is over": {
			order: onchain, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) {
				f.Sighting = &Sighting{Presence: Outbound, State: StateFailed, ErrorCode: "CHANNEL_CLOSE_FAILED"}
			},
			want: failed.writing(v1alpha1.RecordFailed), wantMentions: []string{"CHANNEL_CLOSE_FAILED", "no money moved"},
		},
		"a send that failed otherwise needs a person": {
			order: onchain, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) {
				f.Sighting = &Sighting{Presence: Outbound, State: StateFailed, ErrorCode: "SWEEP_FAILED"}
			},
			want: unknown.writing(v1alpha1.RecordUnknown), wantMentions: []string{sendID, "SWEEP_FAILED", "100000 sat", "resolve the record"},
		},
		"another order under our id needs a person": {
			order: onchain, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) {
				f.Sighting = &Sighting{Presence: Outbound, State: StateSucceeded, AmountSatsRequested: new(int64(99_999))}
			},
			want: unknown.writing(v1alpha1.RecordUnknown).emitting(v1alpha1.EventWrongOrderExecuted),
		},

		// A wallet that changed under what was submitted.
		"a changed wallet keeps a payment from being looked for": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: situations["wallet changed"],
			want: rests(submitting, v1alpha1.ReasonWalletChanged, time.Minute), wantMentions: []string{"set them back"},
		},
		"a wallet that cannot be read has not changed": {
			order: lightning, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) {
				situations["waiting"](f)
				f.Order.Wallet = v1alpha1.RecordWallet{Name: "main"}
			},
			want: rests(submitting, v1alpha1.ReasonWalletNotReady, 59*time.Second),
		},
		"tracking is abandoned also where the wallet changed": {
			order: onchain, phase: v1alpha1.RecordSubmitting, change: func(f *Facts) { situations["wallet changed"](f); situations["abandoned"](f) },
			want: rests(submitting, v1alpha1.ReasonWalletChanged, time.Minute).unheld(),
		},
		"tracking is abandoned also where the order is not known": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { situations["abandoned"](f); f.Order = nil },
			want: rests(inFlight, v1alpha1.ReasonInFlight, 0).unheld(),
		},
		"without its order a payment waits for what it lacks": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { situations["waiting"](f); f.Order = nil },
			want: rests(inFlight, v1alpha1.ReasonWalletNotReady, 15*time.Second),
		},
		"without its order a payment shows why it is not known": {
			order: lightning, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { situations["invalid"](f); f.Order = nil },
			want: rests(inFlight, v1alpha1.ReasonInvalidInvoice, 0),
		},

		// Failed, and looked at a last time.
		"a failed payment is looked at again a quarantine later": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck, want: outcome{Step: Observe},
		},
		"a failed payment is not looked at again before": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck.Add(-time.Second), want: failed.after(time.Second).holding(),
		},
		"a failed payment is looked at a last time once": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck.Add(time.Hour),
			change: journal(func(j *v1alpha1.PaymentJournal) { j.RecheckedAt = at(recheck) }), want: failed,
		},
		"a failed payment that the service never showed is looked at again too": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck, change: journal(func(j *v1alpha1.PaymentJournal) { j.RequestID = "" }),
			want: outcome{Step: Observe},
		},
		"a failed payment of which nobody knows since when is over": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck, change: journal(func(j *v1alpha1.PaymentJournal) { j.CompletedAt = nil }),
			want: failed,
		},
		"a failed payment that never was submitted is not looked at": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck.Add(time.Hour), change: journal(func(j *v1alpha1.PaymentJournal) {
				*j = GiveUp(makeJournal(makeLightningOrder(), v1alpha1.RecordBegan), v1alpha1.ReasonInvoiceExpired, "too late", minute)
			}),
			want: ends(v1alpha1.PaymentFailed, v1alpha1.ReasonInvoiceExpired),
		},
		"an adopted failure is looked at again too": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck.Add(time.Hour), change: journal(func(j *v1alpha1.PaymentJournal) {
				j.SubmittedAt, j.NotAfter, j.StartedAt, j.Attempt = nil, nil, nil, 0
			}),
			want: outcome{Step: Observe},
		},
		"a failed payment of a wallet that is missing waits for it": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck, change: situations["waiting"], want: failed.after(time.Minute).holding(),
		},
		"a failed payment of a wallet that changed waits for it": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck, change: situations["wallet changed"], want: failed.after(time.Minute).holding(),
		},
		"a failed payment without an answer is looked at again": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck, change: func(f *Facts) { f.Sighting = &Sighting{Problem: "502"} },
			want: failed.after(time.Minute).holding(),
		},
		"a failed payment that the service does not show, and cannot tell why, is looked at again": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck.Add(time.Hour - time.Second), change: func(f *Facts) { f.Sighting = &Sighting{Presence: NotSeen} },
			want: failed.after(time.Minute).holding(),
		},
		"a failed payment that the service never shows again is over": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck.Add(time.Hour), change: func(f *Facts) { f.Sighting = &Sighting{Presence: NotSeen} },
			want: failed.writing(v1alpha1.RecordFailed),
		},
		"a failed payment that failed still is over": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck, change: func(f *Facts) {
				f.Sighting, f.Record.Journal.FirstFailedAt = seen(StateFailed), at(t0)
			},
			want: failed.writing(v1alpha1.RecordFailed),
		},
		"a payment that was given up and then is seen as failed is over": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck, change: func(f *Facts) { f.Sighting = seen(StateFailed) },
			want: failed.writing(v1alpha1.RecordFailed),
		},
		"a failed payment of which there is no trace is over": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck, change: func(f *Facts) { f.Sighting = &Sighting{Presence: Absent} },
			want: failed.writing(v1alpha1.RecordFailed),
		},
		"a failed payment that succeeded in the end is paid": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck, change: func(f *Facts) { f.Sighting = seen(StateSucceeded) },
			want: succeeded.writing(v1alpha1.RecordSucceeded),
		},
		"a failed payment that is under way again is watched again": {
			order: lightning, phase: v1alpha1.RecordFailed, now: recheck, change: func(f *Facts) { f.Sighting = seen(StatePending) },
			want: rests(inFlight, v1alpha1.ReasonInFlight, time.Minute).writing(v1alpha1.RecordSubmitted),
		},

		// The answer to the end that came after all.
		"an id that was answered after all ends the doubt": {
			order: onchain, phase: v1alpha1.RecordUnknown, change: func(f *Facts) { f.ClaimedSend = sendID },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordSubmitted).emitting(v1alpha1.ReasonInFlight),
		},
		"an id that was answered after all ends the doubt of a resource that is being deleted": {
			order: onchain, phase: v1alpha1.RecordUnknown, change: func(f *Facts) { f.ClaimedSend, f.Deleting = sendID, true },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordSubmitted).emitting(v1alpha1.ReasonInFlight),
		},
		"a person's word goes before an id that was answered": {
			order: onchain, phase: v1alpha1.RecordUnknown, change: func(f *Facts) { f.ClaimedSend, f.Resolution = sendID, recordUID+":1:notpaid" },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordFailed).emitting(v1alpha1.ReasonPaymentFailed),
		},
		"the id of a send that is in doubt for what the service said of it is no news": {
			order: onchain, phase: v1alpha1.RecordUnknown, change: func(f *Facts) { f.ClaimedSend, f.Record.Journal.RequestID = sendID, sendID }, want: unknown,
		},
		"an answer is looked for at growing distances": {
			order: onchain, phase: v1alpha1.RecordUnknown, now: t0.Add(2*time.Second + 5*time.Minute), want: unknown.after(5 * time.Minute),
		},
		"an answer is looked for no longer than an hour": {
			order: onchain, phase: v1alpha1.RecordUnknown, now: t0.Add(2*time.Second + time.Hour), want: unknown,
		},

		// A person's word.
		"a person says that it was paid": {
			order: onchain, phase: v1alpha1.RecordUnknown, change: func(f *Facts) { f.Resolution = recordUID + ":1:paid:abc" },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordSucceeded).emitting(v1alpha1.ReasonSucceeded),
		},
		"a person says that it was not paid": {
			order: onchain, phase: v1alpha1.RecordUnknown, change: func(f *Facts) { f.Resolution = recordUID + ":1:notpaid" },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordFailed).emitting(v1alpha1.ReasonPaymentFailed),
		},
		"a person's word counts also while the resource is being deleted": {
			order: onchain, phase: v1alpha1.RecordUnknown, change: func(f *Facts) { f.Resolution, f.Deleting = recordUID+":1:notpaid", true },
			want: outcome{Step: Continue}.writing(v1alpha1.RecordFailed).emitting(v1alpha1.ReasonPaymentFailed),
		},
		"a person's word of an earlier attempt counts no more": {
			order: onchain, phase: v1alpha1.RecordUnknown, change: func(f *Facts) {
				f.Record.Journal.Attempt = 2
				f.Resolution = recordUID + ":1:paid:abc"
			},
			want: doubtful,
		},
		"a person's word about what is not in doubt changes nothing": {
			order: onchain, phase: v1alpha1.RecordSubmitted, change: func(f *Facts) { f.Resolution = recordUID + ":1:notpaid" }, want: outcome{Step: Observe},
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts := makeFacts(tc.order(), tc.phase)
			if tc.change != nil {
				tc.change(&facts)
			}
			now := tc.now
			if now.IsZero() {
				now = minute
			}
			decision := Decide(facts, policy, now)
			if diff := cmp.Diff(tc.want, outcomeOf(decision)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			assertMentions(t, decision.Projection.Summary.Message, tc.wantMentions...)
		})
	}
}

// TestDecideGivesUpWithTheReason holds that what is given up says why, and is otherwise as it was.
func TestDecideGivesUpWithTheReason(t *testing.T) {
	facts := makeFacts(makeOnchainOrder(), v1alpha1.RecordBegan)
	facts.Invalid = deadEnd(v1alpha1.ReasonValidityElapsed, "the time is over")
	got := Decide(facts, policy, minute)
	want := makeJournal(facts.Order, v1alpha1.RecordBegan)
	want.Phase, want.Reason, want.Message, want.CompletedAt = v1alpha1.RecordFailed, v1alpha1.ReasonValidityElapsed, "the time is over", at(minute)
	assertJournal(t, *got.Journal, want)

	facts = makeFacts(makeOnchainOrder(), v1alpha1.RecordClaimed)
	situations["wallet changed"](&facts)
	if got := Decide(facts, policy, minute); !NeverSubmitted(got.Journal) {
		t.Errorf("a claim that was given up for a changed wallet counts as submitted: %+v", got.Journal)
	}
}

// TestDecideLooksRarely holds the budget of an observer: at most 75 looks in the first hour, one every 10 minutes after a day.
func TestDecideLooksRarely(t *testing.T) {
	for name, journal := range map[string]func(*Order) v1alpha1.PaymentJournal{
		"submitted": func(order *Order) v1alpha1.PaymentJournal { return makeJournal(order, v1alpha1.RecordSubmitted) },
		"adopted": func(order *Order) v1alpha1.PaymentJournal {
			next, _ := Sighted(order, NewJournal(order), Sighting{Presence: Outbound}, v1alpha1.ProfileReference, policy, submitted)
			return next
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts := makeFacts(makeLightningOrder(), v1alpha1.RecordSubmitted)
			facts.Record.Journal = journal(facts.Order)
			facts.Sighting = &Sighting{Presence: Outbound}
			firstHour, secondDay := 0, 0
			for now := submitted; now.Before(submitted.Add(48 * time.Hour)); {
				switch age := now.Sub(submitted); {
				case age < time.Hour:
					firstHour++
				case age > 24*time.Hour:
					secondDay++
				}
				d := Decide(facts, policy, now)
				if d.RequeueAfter < 2*time.Second {
					t.Fatalf("looks again after %s", d.RequeueAfter)
				}
				now = now.Add(d.RequeueAfter)
			}
			if firstHour > 75 || secondDay > 145 {
				t.Errorf("%d looks in the first hour, %d on the second day", firstHour, secondDay)
			}
		})
	}
}

// TestProjectTellsWhatIsKnown is the outcome conditions of every phase.
func TestProjectTellsWhatIsKnown(t *testing.T) {
	type conditions struct{ Succeeded, OutcomeKnown string }
	order := makeOnchainOrder()
	for phase, want := range map[v1alpha1.RecordPhase]conditions{
		v1alpha1.RecordClaimed:           {"Unknown Progressing", "Unknown Progressing"},
		v1alpha1.RecordBegan:             {"Unknown Progressing", "Unknown Progressing"},
		v1alpha1.RecordAwaitingSignature: {"Unknown Progressing", "Unknown Progressing"},
		v1alpha1.RecordSubmitting:        {"Unknown Submitting", "Unknown Submitting"},
		v1alpha1.RecordSubmitted:         {"Unknown InFlight", "Unknown InFlight"},
		v1alpha1.RecordSucceeded:         {"True Succeeded", "True Succeeded"},
		v1alpha1.RecordFailed:            {"False PaymentFailed", "True PaymentFailed"},
		v1alpha1.RecordCancelled:         {"Unknown Cancelled", "True Cancelled"},
		v1alpha1.RecordUnknown:           {"Unknown OutcomeUnknown", "False OutcomeUnknown"},
	} {
		journal := makeJournal(order, phase)
		got := map[string]string{}
		for _, c := range Project(&journal, nil).Summary.Also {
			got[c.Type] = string(c.Status) + " " + c.Reason
			if c.Message == "" {
				t.Errorf("%s: the condition %s has no message", phase, c.Type)
			}
		}
		if diff := cmp.Diff(map[string]string{"Succeeded": want.Succeeded, "OutcomeKnown": want.OutcomeKnown}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", phase, diff)
		}
	}
	resolved := makeJournal(order, v1alpha1.RecordSucceeded)
	resolved.Message = "resolved by a person"
	if got := Project(&resolved, nil).Summary.Message; got != "resolved by a person" {
		t.Errorf("the message of a resolved payment is %q", got)
	}
}
