package payment

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/readiness"
)

// Step is the one thing to do next.
type Step int

// Steps.
const (
	// Rest: nothing, until RequeueAfter or an event.
	Rest Step = iota
	// Continue: decide again, on the journal that was just written.
	Continue
	// Estimate: ask the service for the fee. Free of side effects.
	Estimate
	// Claim: create the record, or take over one that was cancelled.
	Claim
	// Submit: the wallet's critical section, from look-up to end; where people sign, to what they have to sign.
	Submit
	// Finish: the rest of the critical section, with the signature that people gave.
	Finish
	// Repeat: make the call that moves money again, with the identical PSBT of the same attempt.
	Repeat
	// Observe: look at the service.
	Observe
	// ClaimSend: make the service's id of a send that is followed the record's.
	ClaimSend
)

func (s Step) String() string {
	return [...]string{"Rest", "Continue", "Estimate", "Claim", "Submit", "Finish", "Repeat", "Observe", "ClaimSend"}[s]
}

// Facts is everything that Decide looks at: what is declared, recorded and observed.
type Facts struct {
	// Order is nil where the manifest could not be resolved to a payment yet.
	Order *Order
	// Invalid is the dead end of a manifest that cannot be paid, or no longer.
	Invalid *Obstacle
	// GivenUp is the dead end that the status tells of already; nil where it tells of none.
	GivenUp *Obstacle
	// Record is nil where there is none.
	Record *v1alpha1.PaymentRecord
	// Recorded tells that the status names a record: where there is none, it was lost.
	Recorded bool
	// Suspended is spec.suspend, the payment's or the wallet's.
	Suspended bool
	// Deleting means that the resource is being deleted, Abandon that its deletion shall not wait for the outcome.
	Deleting, Abandon bool
	// DeletedAt is since when it is being deleted: no call that moves money is permitted later.
	DeletedAt time.Time
	// Waiting is why the wallet cannot be used at all now: it is missing, not ready, its service does not answer.
	Waiting *Obstacle
	// NoSpending is why the wallet cannot pay now, although the service can be asked.
	NoSpending *Obstacle
	// Blocked is the limit of the wallet that keeps the payment from starting, Unapproved what its approval lacks.
	Blocked, Unapproved *Obstacle
	// Approval is how far the payment is approved, as a condition says it; nil where it needs no approval.
	Approval *metav1.Condition
	// Mode is spec.mode; empty is ModeApply.
	Mode v1alpha1.PaymentMode
	// PeopleSign tells that the wallet's payments are signed by people, one by one.
	PeopleSign bool
	// Given is what people gave who have to sign; nil where that was not looked at.
	Given *Given
	// ClaimedSend is the service's id of the send, where it answered one and the record does not say so, since the process died or was paused
	// for too long, or where the id of one that is followed is the record's.
	ClaimedSend string
	// Held is what the last step ran into.
	Held *Obstacle
	// FeeEstimateSats is nil where the service was not asked yet.
	FeeEstimateSats *int64
	// Sighting is what a look at the service showed, where one was made since the record was read.
	Sighting *Sighting
	Profile  v1alpha1.ServerProfile
	// Resolution is the value of the resolve annotation, a person's word on an unknown outcome.
	Resolution string
}

// Given is what people gave for one attempt, and counts for no other.
type Given struct {
	Attempt int32
	// Signature is the signed PSBT, empty for none. Problem is why one that they gave is none.
	Signature, Problem string
	// Unpublished tells that what they have to sign is gone.
	Unpublished bool
}

// Projection is what the resource's status says.
type Projection struct {
	Phase   v1alpha1.PaymentPhase
	Summary readiness.Summary
}

// Decision is what Decide wants: Journal, where it is not nil, is written to the record first, then the step is done. Projection is
// what the status then says.
type Decision struct {
	Step       Step
	Journal    *v1alpha1.PaymentJournal
	Projection Projection
	// RequeueAfter is when to decide again without an event; 0 for never.
	RequeueAfter time.Duration
	Events       []Event
	// Hold tells that the resource must not go before the outcome is known: it has the finalizer.
	Hold bool
}

// Decide returns what to do next for one payment.
//
//	record            situation                                     step
//	none              deleting, the record was lost (Lightning)     Observe, and Claim what the service has
//	none, released    invalid, deleting, waiting, suspended         Rest
//	                  above a limit of the wallet                   Rest
//	none, Claimed     too late to start (Lightning), mode Observe   Observe: adopt what the service has
//	                  no fee estimate yet (Lightning)               Estimate
//	                  estimate above the cap                        Rest (dead end)
//	                  mode Plan                                     Observe (Lightning), then Rest
//	                  not approved                                  Rest
//	                  otherwise                                     Claim
//	another's         any                                           Rest (dead end, names the holder)
//	Claimed           followed, and the send is another one         give up: Failed
//	                  followed, its id is not the record's yet      ClaimSend
//	Claimed, Began    deleting                                      give up: Cancelled
//	                  invalid, time over                            give up: Failed
//	                  waiting, suspended, refused a moment ago      Rest
//	                  above a limit, not approved, other modes      Rest
//	                  otherwise                                     Submit
//	AwaitingSignature deleting, invalid, time over                  give up, as above
//	                  the window is over, nobody signs any more     Claimed, for another attempt
//	                  waiting, suspended, above a limit …           Rest, until the window is over
//	                  a signature is there                          Finish
//	                  otherwise                                     Rest, until the window is over
//	Submitting        Lightning                                     Observe, by payment hash
//	                  on-chain, service answers repetitions         Repeat
//	                  on-chain, otherwise, or deleting              Unknown
//	Submitted         any                                           Observe, by id
//	Failed            submitted once, not looked at again           Observe, a last time
//	Unknown           a person resolved it                          Succeeded or Failed
//	                  the service's id came after all               Submitted
//	                  otherwise                                     Rest
//	Succeeded         any                                           Rest
//
// A record is released where its payment was given up, by whichever resource, before anything was submitted.
// Deletion and suspension never interrupt what was submitted, and never submit again.
func Decide(f Facts, policy Policy, now time.Time) Decision {
	record := f.Record
	if record == nil {
		if f.Deleting && f.Recorded && !f.Abandon && f.Order != nil && f.Order.Kind == v1alpha1.RecordLightningPayment {
			return decideLost(f, policy, now)
		}
		return decideUnclaimed(f, now)
	}
	if f.Order == nil {
		return decideWithoutOrder(f, now)
	}
	mine := SameHolder(record.Journal.Holder, f.Order.Holder)
	switch {
	case NeverSubmitted(&record.Journal) && (record.Journal.Phase == v1alpha1.RecordCancelled || record.Journal.Holder.UID != f.Order.Holder.UID):
		// Its attempt came to nothing before anything was sent: a new resource may try.
		return decideUnclaimed(f, now)
	case !mine:
		return decideDuplicate(f)
	case !SameOrder(record, f.Order), record.Journal.Holder.UID != f.Order.Holder.UID && f.contradicted():
		return decideReused(f)
	}
	changed := !SameWallet(record.Spec.Wallet, f.Order.Wallet)
	switch record.Journal.Phase {
	case v1alpha1.RecordClaimed, v1alpha1.RecordBegan, v1alpha1.RecordAwaitingSignature:
		if !f.sameTerms() && !f.Deleting && f.Waiting == nil {
			// Nothing was submitted: give the record up and claim it again for the wallet, and with the fee cap, as they are now. The record is
			// what a budget counts.
			next := GiveUp(record.Journal, v1alpha1.ReasonCancelled, "the wallet, or what is declared, changed before anything was sent", now)
			return Decision{Step: Continue, Journal: &next, Hold: true}
		}
		if record.Journal.Phase == v1alpha1.RecordAwaitingSignature {
			return decideAwaiting(f, policy, now)
		}
		return decideClaimed(f, policy, now)
	case v1alpha1.RecordSubmitting, v1alpha1.RecordSubmitted:
		if changed && f.Waiting == nil {
			return f.rest(record.Journal, &Obstacle{
				Reason: v1alpha1.ReasonWalletChanged,
				Message: "the Wallet now has other keys or another service than when this payment was submitted, so its outcome cannot be " +
					"asked for: set them back until it is known",
			}, time.Minute)
		}
		return decideSubmitted(f, policy, now)
	case v1alpha1.RecordFailed:
		return decideFailed(f, changed, policy, now)
	case v1alpha1.RecordUnknown:
		return decideUnknown(f, now)
	}
	return f.rest(record.Journal, nil, 0)
}

// sameTerms reports whether the record says from which wallet, and at which highest fee, the order is paid now. A resource that was created
// again may declare either anew.
func (f Facts) sameTerms() bool {
	return f.Record.Spec.Wallet == f.Order.Wallet && f.Record.Spec.MaxFeeSats == int64(f.Order.MaxFeeSats)
}

// contradicted reports whether the manifest declares another amount than what it refers to asks for.
func (f Facts) contradicted() bool {
	return f.Invalid != nil && f.Invalid.Reason == v1alpha1.ReasonAmountMismatch
}

// tooLate reports whether a Lightning payment may not start any more. It may have been made all the same, by an operator whose records
// were lost: the service knows by the hash.
func (f Facts) tooLate() bool {
	return f.Invalid != nil && f.Order != nil && f.Order.Kind == v1alpha1.RecordLightningPayment &&
		(f.Invalid.Reason == v1alpha1.ReasonInvoiceExpired || f.Invalid.Reason == v1alpha1.ReasonValidityElapsed)
}

// adopts reports whether what the service has is all that counts now: nothing may start.
func (f Facts) adopts() bool {
	return f.tooLate() || f.Mode == v1alpha1.ModeObserve
}

// unobservable reports whether nothing at the service can be what the manifest means to follow.
func (f Facts) unobservable() bool {
	if f.Mode != v1alpha1.ModeObserve || f.Invalid == nil {
		return false
	}
	late := f.Invalid.Reason == v1alpha1.ReasonInvoiceExpired || f.Invalid.Reason == v1alpha1.ReasonValidityElapsed
	return f.contradicted() || !late && f.Order != nil && f.Order.Kind == v1alpha1.RecordOnchainSend
}

// another is the dead end of a resource that follows a send which is not the one that it declares; nil where it is.
func (f Facts) another() *Obstacle {
	if f.Order.SendID == "" {
		return nil
	}
	wrong := f.Order.mismatch(*f.Sighting)
	if wrong == "" {
		return nil
	}
	return deadEnd(v1alpha1.ReasonAmountMismatch, "spec.sendID names another send than is declared: the service answers for it, and %s; "+
		"nothing was sent by this resource: declare in a new one what is to be followed", wrong)
}

// taken is why a payment that was not submitted is held: the service shows another one of its payment hash. It is nil where it does not.
func (f Facts) taken() *Obstacle {
	if f.Order == nil || f.Sighting == nil {
		return nil
	}
	return f.Order.HashTaken(*f.Sighting)
}

// notSeen is what a payment says that is only followed.
func (f Facts) notSeen() *Obstacle {
	what := "no payment of this invoice"
	if f.Order.SendID != "" {
		what = "no send " + printable(f.Order.SendID, 128)
	}
	return &Obstacle{
		Reason: v1alpha1.ReasonNotSeen, RetryAfter: time.Minute,
		Message: "the service shows " + what + "; it is looked for again, and spec.mode Observe never makes one",
	}
}

// onlyPlanned holds a payment that was to be made and is only planned now.
var onlyPlanned = &Obstacle{
	Reason: v1alpha1.ReasonSuspended, Message: "held by spec.mode, which is not Apply any more; nothing was sent",
}

// planDue is how often a plan is made anew.
const planDue = 5 * time.Minute

// planned is for a payment that is only to be planned, and that nothing else keeps from being made.
func (f Facts) planned(now time.Time) Decision {
	switch {
	case f.Order.Kind == v1alpha1.RecordLightningPayment && f.Sighting == nil:
		return Decision{Step: Observe}
	case f.Sighting != nil && f.Sighting.Presence == NoAnswer:
		return f.stop(&Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: f.Sighting.Problem, RetryAfter: time.Minute})
	case f.taken() != nil:
		return f.stop(f.taken())
	}
	message := fmt.Sprintf("would pay %s, at most %d sat in all with its fee; set spec.mode to Apply", f.Order.describe(), f.Order.AmountSats+f.Order.MaxFeeSats)
	switch {
	case f.Sighting != nil && f.Sighting.Presence == Outbound:
		message = "the service already has a payment of this invoice: mode Apply would adopt it and send nothing"
	case f.Sighting != nil && f.Sighting.Presence == Inbound:
		message = "the invoice was issued by the node that would pay it, which cannot pay itself: mode Apply would fail"
	case f.Unapproved != nil:
		message += "; " + f.Unapproved.Message
	}
	return Decision{
		RequeueAfter: max(min(planDue, f.Order.StartBefore.Sub(now)), time.Second),
		Projection: Projection{Phase: v1alpha1.PaymentPlanned, Summary: readiness.Summary{
			Outcome: readiness.Done, Reason: v1alpha1.ReasonPlanned, Message: message,
			Also: []metav1.Condition{condition(v1alpha1.ConditionSucceeded, metav1.ConditionUnknown, v1alpha1.ReasonPlanned, "nothing was sent")},
		}},
	}
}

// Verdict is what a plan comes to, by what the status says of the payment.
func (f Facts) Verdict(projection Projection) v1alpha1.PlanVerdict {
	switch projection.Phase {
	case v1alpha1.PaymentPlanned:
		if f.Sighting != nil && f.Sighting.Presence == Outbound {
			return v1alpha1.PlanAlreadyPaid
		}
		if f.Sighting != nil && f.Sighting.Presence == Inbound {
			return v1alpha1.PlanBlocked
		}
		return v1alpha1.PlanWouldPay
	case v1alpha1.PaymentSubmitting, v1alpha1.PaymentInFlight, v1alpha1.PaymentSucceeded:
		return v1alpha1.PlanAlreadyPaid
	}
	if projection.Summary.Reason == v1alpha1.ReasonDuplicatePayment {
		return v1alpha1.PlanAlreadyPaid
	}
	return v1alpha1.PlanBlocked
}

// unasked is why the service cannot say now whether it has a payment that is too late to start; nil where it was not asked, or said so.
func (f Facts) unasked() *Obstacle {
	if f.Waiting != nil || f.Sighting == nil || f.Sighting.Presence != NoAnswer {
		return f.Waiting
	}
	obstacle := &Obstacle{
		Reason:     v1alpha1.ReasonServiceUnavailable,
		Message:    "it is too late to pay this invoice, and whether it was paid before is asked for until the service answers: " + f.Sighting.Problem,
		RetryAfter: time.Minute,
	}
	if !f.tooLate() {
		obstacle.Message = f.Sighting.Problem
	}
	return obstacle
}

// lostMargin is how long after its deletion a payment may at most have been submitted: for as long as a permission counts, and until no byte
// of the call is written any more.
const lostMargin = time.Minute

// decideLost is for a Lightning payment that is being deleted and whose record was lost: what was submitted of it is not known here, and the
// service knows by the hash. It goes once its outcome is recorded anew, or once nothing of it can land that the service does not show.
func decideLost(f Facts, policy Policy, now time.Time) Decision {
	held := func(message string, after time.Duration) Decision {
		decision := f.stop(&Obstacle{Reason: v1alpha1.ReasonJournalLost, RetryAfter: after, Message: message +
			"; the annotation payments.utexo.com/deletion-policy: abandon-tracking lets it go before"})
		decision.Hold = true
		return decision
	}
	const lost = "deleted, and its record was lost: "
	switch seen := f.Sighting; {
	case f.Waiting != nil:
		return held(lost+"whether it was paid cannot be asked for now: "+f.Waiting.Message, max(f.Waiting.RetryAfter, time.Minute))
	case seen == nil:
		return Decision{Step: Observe, Hold: true}
	case f.taken() != nil:
		return held(lost+f.taken().Message, f.taken().RetryAfter)
	case seen.Presence == Outbound:
		return Decision{Step: Claim, Hold: true}
	case seen.Presence == NoAnswer:
		return held(lost+"whether it was paid is asked for until the service answers: "+seen.Problem, time.Minute)
	case seen.Presence == Inbound:
		return decideUnclaimed(f, now)
	}
	if wait := f.DeletedAt.Add(lostMargin + policy.Quarantine).Sub(now); wait > 0 {
		return held(lost+"the service does not show it, and it is looked for until nothing of it can land any more", wait)
	}
	return decideUnclaimed(f, now)
}

// decideUnclaimed is for a payment of which nothing was recorded, or which was given up before anything was sent.
func decideUnclaimed(f Facts, now time.Time) Decision {
	switch {
	case f.Deleting && f.Recorded && f.Record == nil:
		return Decision{Projection: pending(&Obstacle{
			Reason:  v1alpha1.ReasonJournalLost,
			Message: "deleted, and its record was lost: whether it was paid before nobody here knows; look for it at the service",
		})}
	case f.Deleting:
		return Decision{Projection: pending(&Obstacle{Reason: v1alpha1.ReasonCancelled, Message: "deleted before anything was sent"})}
	case f.GivenUp != nil:
		// What was called failed may have been paid in another way since: it stays failed, whatever is possible now.
		return f.stop(f.GivenUp)
	case f.unobservable():
		return f.stop(f.Invalid)
	case f.Invalid != nil && f.Invalid.Reason == v1alpha1.ReasonValidityElapsed && f.NoSpending != nil && f.NoSpending.Reason == v1alpha1.ReasonJournalLost:
		// It was held because it may have been made before the records were lost; its time is over, and that nobody knows.
		return f.stop(deadEnd(f.Invalid.Reason, "records of earlier payments of the wallet were lost, and whether this was sent before nobody here knows: look for it on the chain. Now it is not sent any more: %s", f.Invalid.Message))
	case f.adopts() && f.Order != nil && f.unasked() != nil:
		return f.stop(f.unasked())
	case f.adopts() && f.Order != nil && f.Sighting == nil:
		return Decision{Step: Observe}
	case f.adopts() && f.Order != nil && f.Sighting.Presence == Outbound:
		if another := cmp.Or(f.another(), f.taken()); another != nil {
			return f.stop(another)
		}
		return Decision{Step: Claim, Hold: true}
	case f.Invalid != nil:
		return f.stop(f.Invalid)
	case f.Waiting != nil:
		return f.stop(f.Waiting)
	case f.Order == nil:
		return f.stop(&Obstacle{Reason: v1alpha1.ReasonProgressing, Message: "resolving what to pay"})
	case f.Mode == v1alpha1.ModeObserve:
		return f.stop(f.notSeen())
	case f.Suspended:
		return f.stop(suspended)
	case f.NoSpending != nil:
		return f.stop(f.NoSpending)
	case f.Blocked != nil:
		return f.stop(f.Blocked)
	case f.Held != nil:
		return f.stop(f.Held)
	case f.Order.Kind == v1alpha1.RecordLightningPayment && f.FeeEstimateSats == nil:
		return Decision{Step: Estimate}
	case f.FeeEstimateSats != nil && amount.Sat(*f.FeeEstimateSats) > f.Order.MaxFeeSats:
		return f.stop(deadEnd(v1alpha1.ReasonFeeTooHigh,
			"the service expects a fee of %d sat, above spec.maxFeeSats %d, and nothing was sent; declare a higher cap in a new resource",
			*f.FeeEstimateSats, f.Order.MaxFeeSats))
	case f.Mode == v1alpha1.ModePlan:
		return f.planned(now)
	case f.Unapproved != nil:
		return f.stop(f.Unapproved)
	}
	return Decision{Step: Claim, Hold: true}
}

var suspended = &Obstacle{Reason: v1alpha1.ReasonSuspended, Message: "held by spec.suspend of the payment or its Wallet; set it to false to go on"}

// decideWithoutOrder is for a payment whose record is known while its manifest cannot be read: nothing goes on, and what was recorded
// counts.
func decideWithoutOrder(f Facts, now time.Time) Decision {
	switch f.Record.Journal.Phase {
	case v1alpha1.RecordClaimed, v1alpha1.RecordBegan, v1alpha1.RecordAwaitingSignature:
		if f.Deleting {
			return cancel(f.Record.Journal, now)
		}
	}
	obstacle := f.Waiting
	if obstacle == nil {
		obstacle = f.Invalid
	}
	after := time.Duration(0)
	if obstacle != nil {
		after = obstacle.RetryAfter
	}
	return f.rest(f.Record.Journal, obstacle, after)
}

// cancel gives up a payment whose resource is being deleted, and of which nothing was submitted.
func cancel(journal v1alpha1.PaymentJournal, now time.Time) Decision {
	next := GiveUp(journal, v1alpha1.ReasonCancelled, "deleted before anything was sent", now)
	return Decision{Step: Rest, Journal: &next, Projection: Project(&next, nil)}
}

// decideDuplicate is for a payment whose record belongs to another resource.
func decideDuplicate(f Facts) Decision {
	if f.Deleting {
		return Decision{Projection: pending(&Obstacle{Reason: v1alpha1.ReasonCancelled, Message: "deleted, nothing was sent"})}
	}
	if f.GivenUp != nil {
		return f.stop(f.GivenUp)
	}
	holder := f.Record.Journal.Holder
	obstacle := deadEnd(v1alpha1.ReasonDuplicatePayment,
		"%s %s/%s pays this invoice, or paid it, see its status; nothing was sent by this resource: ask the payee for another invoice, or delete this resource",
		holder.Kind, holder.Namespace, holder.Name)
	switch f.Record.Journal.Phase {
	case v1alpha1.RecordClaimed, v1alpha1.RecordBegan, v1alpha1.RecordAwaitingSignature, v1alpha1.RecordSubmitting:
		// It may still be given up, and then this resource pays: that must not happen to one that was called failed.
		obstacle.DeadEnd, obstacle.RetryAfter = false, duplicatePoll
	}
	return f.stop(obstacle)
}

// duplicatePoll is how often a resource looks whether the other one that pays the same invoice gave it up.
const duplicatePoll = time.Minute

// decideReused is for a resource whose name an earlier order already used.
func decideReused(f Facts) Decision {
	if f.Deleting {
		return Decision{Projection: pending(&Obstacle{Reason: v1alpha1.ReasonCancelled, Message: "deleted, nothing was sent"})}
	}
	return f.stop(deadEnd(v1alpha1.ReasonDuplicatePayment,
		"an earlier resource of this name ordered something else (record %s), and nothing was sent by this one; declare it under a new name, or with a new idempotencyKey",
		f.Record.Name))
}

// SameOrder reports whether order is what record was made for.
func SameOrder(record *v1alpha1.PaymentRecord, order *Order) bool {
	spec := order.RecordSpec()
	return strings.EqualFold(record.Spec.PaymentRequest, spec.PaymentRequest) &&
		record.Spec.Destination == spec.Destination &&
		equal(record.Spec.AmountSats, spec.AmountSats) && equal(record.Spec.Asset, spec.Asset) &&
		record.Spec.FeeRate == spec.FeeRate && record.Spec.RequestID == spec.RequestID
}

func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// Adopted tells that a payment was found at the service.
var Adopted = Event{
	Reason: v1alpha1.EventAdopted, Message: "the service already has a payment of this invoice; its outcome is taken over and nothing is sent",
}

// AdoptedSend tells that a send that is followed was found at the service.
var AdoptedSend = Event{
	Reason: v1alpha1.EventAdopted, Message: "the service has the send that spec.sendID names; its outcome is followed and nothing is sent",
}

// decideClaimed is for a payment that is recorded and of which nothing was submitted.
func decideClaimed(f Facts, policy Policy, now time.Time) Decision {
	journal := f.Record.Journal
	// Of what was submitted it is known that it was not sent. Attempts alone do not say so: they go on counting where another resource gave the
	// record up, which may be of another wallet.
	adopts := f.adopts() && journal.SubmittedAt == nil
	switch {
	case f.Deleting:
		return cancel(journal, now)
	case adopts && f.unasked() != nil:
		return f.rest(journal, f.unasked(), f.unasked().RetryAfter)
	case adopts && f.Sighting == nil:
		return Decision{Step: Observe, Hold: true}
	case adopts && f.Sighting.Presence == Outbound && f.Order.SendID != "":
		return decideFollowed(f, policy, now)
	case adopts && f.taken() != nil:
		return f.rest(journal, f.taken(), f.taken().RetryAfter)
	case adopts && f.Sighting.Presence == Outbound:
		next, events := f.sighted(journal, policy, now)
		return Decision{Step: Continue, Journal: &next, Hold: true, Events: append(events, Adopted)}
	case f.Invalid != nil:
		next := GiveUp(journal, f.Invalid.Reason, f.Invalid.Message, now)
		return Decision{Step: Continue, Journal: &next, Hold: true}
	case f.Waiting != nil:
		return f.rest(journal, f.Waiting, f.Waiting.RetryAfter)
	case f.held() != nil:
		return f.rest(journal, f.held(), f.held().RetryAfter)
	case journal.RetryAfter != nil && now.Before(journal.RetryAfter.Time):
		return f.rest(journal, &Obstacle{Reason: orProgressing(journal.Reason), Message: journal.Message}, journal.RetryAfter.Sub(now))
	}
	return Decision{Step: Submit, Hold: true}
}

// decideFollowed takes over a send that the service shows. Its id is claimed before: no other resource has it then.
func decideFollowed(f Facts, policy Policy, now time.Time) Decision {
	journal := f.Record.Journal
	if another := f.another(); another != nil {
		next := GiveUp(journal, another.Reason, another.Message, now)
		return Decision{Step: Continue, Journal: &next, Hold: true}
	}
	if f.ClaimedSend != f.Order.SendID {
		return Decision{Step: ClaimSend, Hold: true}
	}
	next, events := Sighted(f.Order, journal, *f.Sighting, f.Profile, policy, now)
	return Decision{Step: Continue, Journal: &next, Hold: true, Events: append(events, AdoptedSend)}
}

// held is what keeps a payment that is recorded from going on, whatever was begun of it; nil for nothing.
func (f Facts) held() *Obstacle {
	switch {
	case f.Mode == v1alpha1.ModeObserve:
		return f.notSeen()
	case f.Mode == v1alpha1.ModePlan:
		return onlyPlanned
	case f.Suspended:
		return suspended
	case f.NoSpending != nil:
		return f.NoSpending
	case f.Blocked != nil:
		return f.Blocked
	case f.Unapproved != nil:
		return f.Unapproved
	}
	return f.Held
}

// decideAwaiting is for a payment that people have to sign. It waits until the window of the attempt is over, whatever else keeps it: then
// the wallet is free for others, and another attempt begins with another PSBT.
func decideAwaiting(f Facts, policy Policy, now time.Time) Decision {
	journal := f.Record.Journal
	left := time.Duration(0)
	if journal.SignBefore != nil {
		left = journal.SignBefore.Sub(now)
	}
	given, looked := Given{}, f.Given != nil && f.Given.Attempt == journal.Attempt
	if looked {
		given = *f.Given
	}
	wait := func(obstacle *Obstacle) Decision {
		after := left
		if obstacle.RetryAfter > 0 {
			after = min(after, obstacle.RetryAfter)
		}
		return f.rest(journal, obstacle, after)
	}
	switch {
	case f.Deleting:
		return cancel(journal, now)
	case f.Invalid != nil:
		next := GiveUp(journal, f.Invalid.Reason, f.Invalid.Message, now)
		return Decision{Step: Continue, Journal: &next, Hold: true}
	case left <= 0:
		next := Unsigned(journal, "there was no signature in time", policy, now)
		return Decision{Step: Continue, Journal: &next, Hold: true}
	case f.Waiting != nil:
		return wait(f.Waiting)
	case !f.PeopleSign:
		next := Unsigned(journal, "the Wallet's signer is not Manual any more", policy, now)
		return Decision{Step: Continue, Journal: &next, Hold: true}
	case given.Unpublished:
		next := Unsigned(journal, "what was to be signed is gone", policy, now)
		return Decision{Step: Continue, Journal: &next, Hold: true}
	case f.held() != nil:
		return wait(f.held())
	case given.Signature != "":
		return Decision{Step: Finish, Hold: true}
	case given.Problem != "":
		return wait(&Obstacle{Reason: v1alpha1.ReasonSignatureRejected, Message: given.Problem})
	}
	awaiting := &Obstacle{Reason: v1alpha1.ReasonAwaitingSignature, Message: fmt.Sprintf(
		"attempt %d waits until %s for a PaymentSignature of status.signing.psbt; nothing was sent yet",
		journal.Attempt, journal.SignBefore.UTC().Format(time.RFC3339))}
	if !looked {
		awaiting.RetryAfter = time.Second // it was published just now, and may be signed already
	}
	return wait(awaiting)
}

func orProgressing(reason string) string {
	if reason == "" {
		return v1alpha1.ReasonProgressing
	}
	return reason
}

// decideSubmitted is for a payment whose call that moves money was made, or may have been.
func decideSubmitted(f Facts, policy Policy, now time.Time) Decision {
	journal := f.Record.Journal
	switch {
	case f.abandoned():
		return f.rest(journal, nil, 0)
	case f.Waiting != nil:
		return f.rest(journal, f.Waiting, max(f.Waiting.RetryAfter, pollAfter(&journal, now)))
	case f.Held != nil:
		return f.rest(journal, f.Held, max(f.Held.RetryAfter, time.Second))
	case f.Order.Kind == v1alpha1.RecordOnchainSend && journal.Phase == v1alpha1.RecordSubmitting:
		return decideUnclearEnd(f, policy, now)
	case f.Sighting == nil && journal.Phase == v1alpha1.RecordSubmitted && justSubmitted(&journal, now):
		return f.rest(journal, overlay(f, &journal, policy, now), firstPoll)
	case f.Sighting == nil:
		return Decision{Step: Observe, Hold: true}
	}
	next, events := f.sighted(journal, policy, now)
	decision := Decision{Projection: Project(&next, overlay(f, &next, policy, now)), Events: events, Hold: holds(next.Phase)}
	if !SameJournal(&next, &journal) {
		decision.Journal = &next
	}
	switch next.Phase {
	case v1alpha1.RecordClaimed:
		decision.Step = Continue
	case v1alpha1.RecordSubmitting, v1alpha1.RecordSubmitted:
		decision.RequeueAfter = pollAfter(&next, now)
		if next.FirstFailedAt != nil {
			decision.RequeueAfter = policy.FailureDistance
		}
	case v1alpha1.RecordFailed:
		if looksAgain(f.Order, &next) {
			decision.RequeueAfter, decision.Hold = policy.Quarantine, !f.abandoned()
		}
	}
	return decision
}

// sighted is Sighted, but that a failure of what may be tried again ends nothing.
func (f Facts) sighted(journal v1alpha1.PaymentJournal, policy Policy, now time.Time) (v1alpha1.PaymentJournal, []Event) {
	seen := *f.Sighting
	if f.failedSoFar(&journal, policy, now) {
		seen.State = StatePending
	}
	return Sighted(f.Order, journal, seen, f.Profile, policy, now)
}

// failedSoFar reports whether the service shows that a Lightning payment failed which is only followed, and may be made again: a node takes a
// payment hash anew after a failure. Nobody here decides whether it does, so that it is open for as long as the invoice can be paid and what
// was begun then may land.
func (f Facts) failedSoFar(journal *v1alpha1.PaymentJournal, policy Policy, now time.Time) bool {
	return f.Mode == v1alpha1.ModeObserve && !f.Deleting && f.Order.Kind == v1alpha1.RecordLightningPayment && journal.SubmittedAt == nil &&
		f.Sighting != nil && f.Sighting.Presence == Outbound && f.Sighting.State == StateFailed &&
		now.Before(f.Order.StartBefore.Add(ExpiryMargin+policy.Quarantine))
}

// overlay is what a person should know of a payment in flight beside its phase.
func overlay(f Facts, journal *v1alpha1.PaymentJournal, policy Policy, now time.Time) *Obstacle {
	switch {
	case journal.Phase != v1alpha1.RecordSubmitting && journal.Phase != v1alpha1.RecordSubmitted:
		return nil
	case f.Sighting != nil && f.Sighting.Presence == NoAnswer && f.Sighting.Problem != "":
		return &Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "the outcome is asked for until the service answers; nothing is sent again: " + f.Sighting.Problem}
	case f.Sighting != nil && f.Sighting.Presence == Absent && journal.Phase == v1alpha1.RecordSubmitted && journal.FirstAbsentAt != nil &&
		now.Sub(journal.FirstAbsentAt.Time) > policy.Quarantine:
		return &Obstacle{
			Reason: reasonOf(journal.Phase), Message: "the service took this payment and shows it no more; nothing is sent again, ask its operator",
		}
	case f.Deleting:
		return &Obstacle{Reason: reasonOf(journal.Phase), Message: "deletion waits for the outcome of the payment, which it does not cancel"}
	case journal.SubmittedAt == nil && f.taken() != nil:
		return f.taken()
	case f.failedSoFar(journal, policy, now):
		return &Obstacle{
			Reason:  reasonOf(journal.Phase),
			Message: "failed so far; whoever makes it may try again until the invoice expires, and it is followed until then: pay it in no other way",
		}
	case startOf(journal) != nil && now.Sub(startOf(journal).Time) > policy.LongInFlight:
		return &Obstacle{Reason: reasonOf(journal.Phase), Message: fmt.Sprintf(
			"still %s at the service after more than %d minutes; nothing is sent again, ask its operator", printable(orUnknown(journal.ServerStatus), 60),
			int(policy.LongInFlight.Minutes()))}
	}
	return nil
}

func orUnknown(word string) string {
	if word == "" {
		return "without a known state"
	}
	return word
}

func reasonOf(phase v1alpha1.RecordPhase) string {
	if phase == v1alpha1.RecordSubmitting {
		return v1alpha1.ReasonSubmitting
	}
	return v1alpha1.ReasonInFlight
}

// decideUnclearEnd is for an on-chain send whose submission has no answer.
func decideUnclearEnd(f Facts, policy Policy, now time.Time) Decision {
	journal := f.Record.Journal
	if f.ClaimedSend != "" {
		next := Accepted(journal, f.ClaimedSend)
		return Decision{Step: Continue, Journal: &next, Hold: true}
	}
	why := ""
	switch {
	case f.Profile != v1alpha1.ProfileReference:
		why = "this service is not known to answer a repetition with the first one's send"
	case journal.EndCalls >= policy.MaxEndCalls:
		why = fmt.Sprintf("%d identical submissions brought none", journal.EndCalls)
	case f.Deleting:
		// Only a repetition could tell, and where the first call never arrived it would send what nobody wants any more.
		why = "nothing is submitted for a resource that is being deleted"
	case !now.Before(f.Order.StartBefore) && !now.Before(LandedAt(&journal, policy)):
		why = "the time in which it may start is over, so that it is not asked for by submitting it again"
	}
	if wait := LandedAt(&journal, policy).Sub(now); why != "" && wait > 0 {
		// The process that made the call may still be waiting for its answer.
		return f.rest(journal, nil, wait)
	}
	if why != "" {
		next := Unrepeatable(f.Order, journal, why, now)
		return Decision{
			Journal: &next, Projection: Project(&next, nil), Hold: true, RequeueAfter: f.answerDue(&next, now),
		}
	}
	// Whatever holds the repetition, a person is told once it is too late for one.
	late := f.Order.StartBefore
	if landed := LandedAt(&journal, policy); landed.After(late) {
		late = landed
	}
	switch {
	case f.Mode != "" && f.Mode != v1alpha1.ModeApply:
		return f.rest(journal, onlyPlanned, late.Sub(now))
	case f.Suspended:
		return f.rest(journal, suspended, late.Sub(now))
	case f.NoSpending != nil && f.NoSpending.RetryAfter == 0:
		return f.rest(journal, f.NoSpending, late.Sub(now))
	case f.NoSpending != nil:
		return f.rest(journal, f.NoSpending, f.NoSpending.RetryAfter)
	}
	if wait := repeatAfter(&journal, now); wait > 0 {
		return f.rest(journal, nil, wait)
	}
	return Decision{Step: Repeat, Hold: true}
}

// LandedAt is when the call that moves money can no longer take effect, nor its answer come.
func LandedAt(journal *v1alpha1.PaymentJournal, policy Policy) time.Time {
	if journal.NotAfter == nil {
		return time.Time{}
	}
	return journal.NotAfter.Add(policy.Quarantine)
}

// repeatAfter is how long to wait before the call that moves money is repeated. Where nothing holds them, repetitions come within the
// quarantine that keeps every other payment of the wallet out; later ones only while nothing else began on it.
func repeatAfter(journal *v1alpha1.PaymentJournal, now time.Time) time.Duration {
	if journal.SubmittedAt == nil {
		return 0
	}
	due := journal.SubmittedAt.Add([...]time.Duration{0, 2 * time.Second, 15 * time.Second, time.Minute}[min(journal.EndCalls, 3)])
	return due.Sub(now)
}

// looksAgain reports whether a failed payment is looked at a last time: a Lightning payment that the service had, or may have had. One
// that is reported failed and completes is on record.
func looksAgain(order *Order, journal *v1alpha1.PaymentJournal) bool {
	return order.Kind == v1alpha1.RecordLightningPayment && (journal.SubmittedAt != nil || journal.RequestID != "") &&
		journal.CompletedAt != nil && journal.RecheckedAt == nil
}

// lastLook is for how long a service that shows nothing of a failed payment is asked again: it may be one that cannot tell now, and then
// shows that the payment completed after all.
const lastLook = time.Hour

// decideFailed looks at a failed payment a last time.
func decideFailed(f Facts, changed bool, policy Policy, now time.Time) Decision {
	journal := f.Record.Journal
	if !looksAgain(f.Order, &journal) {
		return f.rest(journal, nil, 0)
	}
	wait := func(after time.Duration) Decision {
		decision := f.rest(journal, nil, after)
		decision.Hold = !f.abandoned() // deletion waits for the last look too
		return decision
	}
	due := journal.CompletedAt.Add(policy.Quarantine)
	switch {
	case now.Before(due):
		return wait(due.Sub(now))
	case f.Waiting != nil || changed:
		return wait(time.Minute)
	case f.Sighting == nil:
		return Decision{Step: Observe, Hold: true}
	case f.Sighting.Presence == NoAnswer, f.Sighting.Presence == NotSeen && now.Before(due.Add(lastLook)):
		return wait(time.Minute)
	}
	next, events := Sighted(f.Order, journal, *f.Sighting, f.Profile, policy, now)
	decision := Decision{Journal: &next, Events: events, Hold: holds(next.Phase)}
	switch next.Phase {
	case v1alpha1.RecordFailed:
		next.RecheckedAt = at(now)
	case v1alpha1.RecordSubmitted: // under way again
		decision.RequeueAfter = pollAfter(&next, now)
	}
	decision.Projection = Project(&next, nil)
	return decision
}

// decideUnknown takes a person's word, or the answer of the service that came after all.
func decideUnknown(f Facts, now time.Time) Decision {
	journal := f.Record.Journal
	if next, ok := Resolve(f.Record, f.Resolution, now); ok {
		return Decision{Step: Continue, Journal: &next, Hold: true, Events: []Event{{
			Reason: next.Reason, Message: "resolved by a person: " + f.Resolution,
		}}}
	}
	if next, events, late := AnsweredLate(journal, f.ClaimedSend); late {
		return Decision{Step: Continue, Journal: &next, Hold: true, Events: events}
	}
	return f.rest(journal, nil, f.answerDue(&journal, now))
}

// answerDue is when to look again whether the answer to a submission came that nobody waits for any more: from another process, which was
// paused meanwhile. That is as long as its lack is known, from a minute to an hour; 0 for no more: later the record is read with the next event.
func (f Facts) answerDue(journal *v1alpha1.PaymentJournal, now time.Time) time.Duration {
	if f.abandoned() || !AwaitsAnswer(journal) || journal.CompletedAt == nil {
		return 0
	}
	age := now.Sub(journal.CompletedAt.Time)
	if age >= time.Hour {
		return 0
	}
	return max(age, time.Minute)
}

// Resolve returns the journal of an unknown outcome with a person's word on it: "<record UID>:<attempt>:paid:<id>" or
// "<record UID>:<attempt>:notpaid". UID and attempt make the word good for one doubt only: a copy left in Git resolves no later one. A send
// that was only followed has no attempt, which is 0, or nothing between the colons, as kubectl prints it.
// It returns false for anything else.
func Resolve(record *v1alpha1.PaymentRecord, resolution string, now time.Time) (v1alpha1.PaymentJournal, bool) {
	next := *record.Journal.DeepCopy()
	parts := strings.SplitN(resolution, ":", 4)
	if next.Phase != v1alpha1.RecordUnknown || len(parts) < 3 || len(resolution) > 512 || record.UID == "" ||
		parts[0] != string(record.UID) || parts[1] != fmt.Sprint(next.Attempt) && (parts[1] != "" || next.Attempt != 0) {
		return next, false
	}
	switch {
	case parts[2] == "paid" && len(parts) == 4 && parts[3] != "":
		next.Phase, next.Reason = v1alpha1.RecordSucceeded, v1alpha1.ReasonSucceeded
		next.Message = "resolved by a person as paid: " + printable(parts[3], 100)
	case parts[2] == "notpaid" && len(parts) == 3:
		next.Phase, next.Reason = v1alpha1.RecordFailed, v1alpha1.ReasonPaymentFailed
		next.Message = "resolved by a person as not paid; declare a new resource if it is still wanted"
	default:
		return next, false
	}
	next.Resolution = resolution
	next.CompletedAt = at(now)
	return next, true
}

// firstPoll is how long after its submission a payment is looked at for the first time: the service has just said that it has it.
const firstPoll = 2 * time.Second

func justSubmitted(journal *v1alpha1.PaymentJournal, now time.Time) bool {
	if journal.SubmittedAt == nil {
		return false
	}
	age := now.Sub(journal.SubmittedAt.Time)
	return 0 <= age && age < firstPoll // the clock may have been set back since
}

// pollAfter is how long after now to look again: as long as the payment has been under way, from 2 s to 60 s, and every 10 minutes
// after a day. That is at most 75 looks in the first hour.
func pollAfter(journal *v1alpha1.PaymentJournal, now time.Time) time.Duration {
	since := startOf(journal)
	if since == nil {
		return 30 * time.Second
	}
	age := now.Sub(since.Time)
	if age > 24*time.Hour {
		return 10 * time.Minute
	}
	return min(max(age, firstPoll), LongPoll)
}

// LongPoll is how often a payment is looked at that has been under way for longer than that.
const LongPoll = time.Minute

// startOf is since when a payment is under way; nil where nothing began.
func startOf(journal *v1alpha1.PaymentJournal) *metav1.MicroTime {
	if journal.SubmittedAt != nil {
		return journal.SubmittedAt
	}
	return journal.StartedAt
}

// holds reports whether a resource whose record is in phase must not go yet.
func holds(phase v1alpha1.RecordPhase) bool {
	switch phase {
	case v1alpha1.RecordSucceeded, v1alpha1.RecordFailed, v1alpha1.RecordCancelled:
		return false
	}
	return true
}

// rest is the decision to wait, with the record as it is.
func (f Facts) rest(journal v1alpha1.PaymentJournal, obstacle *Obstacle, after time.Duration) Decision {
	return Decision{Projection: Project(&journal, obstacle), RequeueAfter: after, Hold: holds(journal.Phase) && !f.abandoned()}
}

// abandoned reports whether a person lets the resource go although the outcome is not known.
func (f Facts) abandoned() bool { return f.Deleting && f.Abandon }

// stop is the decision to wait, or to end, with nothing recorded.
func (f Facts) stop(obstacle *Obstacle) Decision {
	return Decision{Projection: pending(obstacle), RequeueAfter: obstacle.RetryAfter}
}

// pending projects a payment of which nothing is recorded.
func pending(obstacle *Obstacle) Projection {
	if obstacle.DeadEnd {
		return Projection{Phase: v1alpha1.PaymentFailed, Summary: readiness.Summary{
			Outcome: readiness.DeadEnd, Reason: obstacle.Reason, Message: obstacle.Message,
			Also: []metav1.Condition{condition(v1alpha1.ConditionSucceeded, metav1.ConditionFalse, obstacle.Reason, obstacle.Message)},
		}}
	}
	return Projection{Phase: waitingPhase(obstacle.Reason), Summary: readiness.Summary{
		Outcome: readiness.InProgress, Reason: obstacle.Reason, Message: obstacle.Message,
		Also: []metav1.Condition{condition(v1alpha1.ConditionSucceeded, metav1.ConditionUnknown, obstacle.Reason, obstacle.Message)},
	}}
}

// waitingPhase is the phase of a payment that waits for a reason.
func waitingPhase(reason string) v1alpha1.PaymentPhase {
	if reason == v1alpha1.ReasonAwaitingApproval {
		return v1alpha1.PaymentAwaitingApproval
	}
	return v1alpha1.PaymentPending
}

// Project is what the status says of a journal; obstacle is why it does not go on, where there is a reason.
func Project(journal *v1alpha1.PaymentJournal, obstacle *Obstacle) Projection {
	project := func(phase v1alpha1.PaymentPhase, outcome readiness.Outcome, succeeded metav1.ConditionStatus, reason, message string) Projection {
		return Projection{Phase: phase, Summary: readiness.Summary{
			Outcome: outcome, Reason: reason, Message: message,
			Also: []metav1.Condition{
				condition(v1alpha1.ConditionSucceeded, succeeded, reason, message),
				condition(v1alpha1.ConditionOutcomeKnown, outcomeKnown(journal.Phase), reason, message),
			},
		}}
	}
	progress := func(phase v1alpha1.PaymentPhase, reason, message string) Projection {
		if obstacle != nil {
			reason, message = obstacle.Reason, obstacle.Message
		}
		return project(phase, readiness.InProgress, metav1.ConditionUnknown, reason, message)
	}
	switch journal.Phase {
	case v1alpha1.RecordSubmitting:
		return progress(v1alpha1.PaymentSubmitting, v1alpha1.ReasonSubmitting,
			"the payment was submitted and its outcome is being asked for; nothing is sent again")
	case v1alpha1.RecordSubmitted:
		return progress(v1alpha1.PaymentInFlight, v1alpha1.ReasonInFlight, "the service has the payment; waiting for its outcome")
	case v1alpha1.RecordSucceeded:
		message := journal.Message
		if message == "" {
			message = "paid"
		}
		return project(v1alpha1.PaymentSucceeded, readiness.Done, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, message)
	case v1alpha1.RecordFailed:
		return project(v1alpha1.PaymentFailed, readiness.DeadEnd, metav1.ConditionFalse, journal.Reason, journal.Message)
	case v1alpha1.RecordCancelled:
		return progress(v1alpha1.PaymentPending, v1alpha1.ReasonCancelled, journal.Message)
	case v1alpha1.RecordUnknown:
		return project(v1alpha1.PaymentUnknown, readiness.DeadEnd, metav1.ConditionUnknown, v1alpha1.ReasonOutcomeUnknown, journal.Message)
	}
	phase := v1alpha1.PaymentPending
	switch {
	case journal.Phase == v1alpha1.RecordAwaitingSignature:
		phase = v1alpha1.PaymentAwaitingSignature
	case obstacle != nil:
		phase = waitingPhase(obstacle.Reason)
	}
	return progress(phase, v1alpha1.ReasonProgressing, "the payment is being prepared; nothing was sent yet")
}

// outcomeKnown is False only for what a person has to resolve, and Unknown while the outcome is still on its way.
func outcomeKnown(phase v1alpha1.RecordPhase) metav1.ConditionStatus {
	switch phase {
	case v1alpha1.RecordUnknown:
		return metav1.ConditionFalse
	case v1alpha1.RecordSucceeded, v1alpha1.RecordFailed, v1alpha1.RecordCancelled:
		return metav1.ConditionTrue
	}
	return metav1.ConditionUnknown
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}
