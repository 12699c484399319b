// Package settlement is the machine of a Settlement: one call that moves a wallet's on-chain balance into channels, and its outcome. It is
// pure.
//
// The call has no key and no status, so that a lost answer cannot be asked for again; and it spends fees, so that it is not repeated
// either. What must hold is that a resource makes it once.
package settlement

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/readiness"
)

// RecordName is the name of the record of a Settlement: a resource that is created again is another one, as with a Job.
func RecordName(uid string) string { return "se-" + uid }

// Step is the one thing to do next.
type Step int

// Steps.
const (
	// Rest: nothing, until RequeueAfter or an event.
	Rest Step = iota
	// Continue: decide again, on the journal that was just written.
	Continue
	// Claim: create the record.
	Claim
	// Settle: the wallet's critical section, with the one call in it.
	Settle
)

// Facts is everything that Decide looks at.
type Facts struct {
	Settlement *v1alpha1.Settlement
	// Record is nil where there is none.
	Record *v1alpha1.PaymentRecord
	// Waiting is why the call cannot be made now; nil where it can.
	Waiting *payment.Obstacle
	// Held is what the last step ran into.
	Held *payment.Obstacle
}

// Decision is what Decide wants: Journal, where it is not nil, is written to the record first, then the step is done. Status is what the
// resource shows at rest.
type Decision struct {
	Step         Step
	Journal      *v1alpha1.PaymentJournal
	Status       v1alpha1.SettlementStatus
	RequeueAfter time.Duration
}

// Decide returns what to do next for one settlement.
//
//	record                 situation                           step
//	none                   waiting, held                       Rest, Pending
//	none                   otherwise                           Claim
//	Claimed                waiting, held, refused a while ago  Rest, Pending
//	Claimed                otherwise                           Settle
//	Submitting             the answer may still come           Rest, Settling
//	Submitting             it cannot come any more             Unknown
//	Succeeded, Failed, …   any                                 Rest, for good
func Decide(f Facts, policy payment.Policy, now time.Time) Decision {
	obstacle := f.Waiting
	if obstacle == nil {
		obstacle = f.Held
	}
	if f.Record == nil {
		if obstacle != nil {
			return f.pending(obstacle, now)
		}
		return Decision{Step: Claim}
	}
	journal := f.Record.Journal
	switch journal.Phase {
	case v1alpha1.RecordClaimed:
		if obstacle == nil && journal.RetryAfter != nil && now.Before(journal.RetryAfter.Time) {
			obstacle = &payment.Obstacle{Reason: journal.Reason, Message: journal.Message, RetryAfter: journal.RetryAfter.Sub(now)}
		}
		if obstacle != nil {
			return f.pending(obstacle, now)
		}
		return Decision{Step: Settle}
	case v1alpha1.RecordSubmitting:
		if wait := payment.LandedAt(&journal, policy).Sub(now); wait > 0 {
			return f.rest(v1alpha1.SettlementSettling, readiness.Summary{
				Reason: v1alpha1.ReasonSubmitting, Message: "the service was asked to settle; waiting for its answer",
			}, now, wait)
		}
		next := Lost(journal, now)
		return Decision{Step: Continue, Journal: &next}
	case v1alpha1.RecordSucceeded:
		return f.rest(v1alpha1.SettlementSucceeded, readiness.Summary{Outcome: readiness.Done, Reason: journal.Reason, Message: journal.Message}, now, 0)
	case v1alpha1.RecordUnknown:
		return f.rest(v1alpha1.SettlementUnknown, readiness.Summary{Outcome: readiness.DeadEnd, Reason: journal.Reason, Message: journal.Message}, now, 0)
	}
	return f.rest(v1alpha1.SettlementFailed, readiness.Summary{Outcome: readiness.DeadEnd, Reason: journal.Reason, Message: journal.Message}, now, 0)
}

func (f Facts) pending(obstacle *payment.Obstacle, now time.Time) Decision {
	summary := readiness.Summary{Reason: obstacle.Reason, Message: obstacle.Message}
	phase := v1alpha1.SettlementPending
	if obstacle.DeadEnd {
		summary.Outcome, phase = readiness.DeadEnd, v1alpha1.SettlementFailed
	}
	return f.rest(phase, summary, now, obstacle.RetryAfter)
}

func (f Facts) rest(phase v1alpha1.SettlementPhase, summary readiness.Summary, now time.Time, after time.Duration) Decision {
	succeeded := metav1.ConditionUnknown
	switch phase {
	case v1alpha1.SettlementSucceeded:
		succeeded = metav1.ConditionTrue
	case v1alpha1.SettlementFailed:
		succeeded = metav1.ConditionFalse
	}
	summary.Also = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: succeeded, Reason: summary.Reason, Message: summary.Message}}
	status := v1alpha1.SettlementStatus{
		ObservedGeneration: f.Settlement.Generation, Phase: phase,
		Conditions: readiness.Conditions(f.Settlement.Status.Conditions, f.Settlement.Generation, summary, now),
	}
	if f.Record != nil {
		status.RecordRef = f.Record.Name
		status.Results, status.ChannelsOpened = f.Record.Journal.Channels, f.Record.Journal.ChannelsOpened
		if completed := f.Record.Journal.CompletedAt; completed != nil {
			seconds := metav1.NewTime(completed.Truncate(time.Second))
			status.CompletedAt = &seconds
		}
	}
	return Decision{Status: status, RequeueAfter: after}
}

// Asking is the write-ahead: the journal before the call. notAfter is the instant after which no byte of it is written.
func Asking(journal v1alpha1.PaymentJournal, now, notAfter time.Time) v1alpha1.PaymentJournal {
	next := *journal.DeepCopy()
	next.Phase, next.Attempt, next.EndCalls = v1alpha1.RecordSubmitting, next.Attempt+1, 1
	started, until := metav1.NewMicroTime(now.Truncate(time.Microsecond)), metav1.NewMicroTime(notAfter.Truncate(time.Microsecond))
	next.StartedAt, next.SubmittedAt, next.NotAfter, next.RetryAfter = &started, &started, &until, nil
	next.Reason, next.Message = "", ""
	return next
}

// Answer is what the service said to the call.
type Answer struct {
	// Refusal is why it did nothing; empty where it did.
	Refusal        string
	Channels       []v1alpha1.SettledChannel
	ChannelsOpened int64
}

// Answered is the journal after a clear answer.
func Answered(journal v1alpha1.PaymentJournal, answer Answer, now time.Time) v1alpha1.PaymentJournal {
	next := *journal.DeepCopy()
	completed := metav1.NewMicroTime(now.Truncate(time.Microsecond))
	next.CompletedAt = &completed
	next.Channels, next.ChannelsOpened = answer.Channels, &answer.ChannelsOpened
	failed := 0
	for _, channel := range answer.Channels {
		if channel.Error != "" {
			failed++
		}
	}
	switch {
	case answer.Refusal != "":
		next.Phase, next.Reason = v1alpha1.RecordFailed, v1alpha1.ReasonSettlementRefused
		next.Message = "the service refused to settle, and did nothing: " + answer.Refusal
	case failed > 0:
		next.Phase, next.Reason = v1alpha1.RecordFailed, v1alpha1.ReasonChannelNotOpened
		next.Message = fmt.Sprintf("%d of %d channels could not be opened, see the results", failed, len(answer.Channels))
	default:
		next.Phase, next.Reason = v1alpha1.RecordSucceeded, v1alpha1.ReasonSettlementDone
		next.Message = "settled"
		if answer.ChannelsOpened > 0 {
			next.Message = fmt.Sprintf("settled, channels opened: %d", answer.ChannelsOpened)
		}
	}
	return next
}

// Lost is the journal after a call whose answer nobody has.
func Lost(journal v1alpha1.PaymentJournal, now time.Time) v1alpha1.PaymentJournal {
	next := payment.Undecidable(journal,
		"the answer was lost and the service is not asked again: look at the wallet's balance and channels, and declare another Settlement if it is still wanted", now)
	next.Reason = v1alpha1.ReasonAnswerLost
	return next
}
