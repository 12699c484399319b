package payment

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
)

// Policy holds the numbers of the protocol.
type Policy struct {
	// Quarantine is how long after the last instant at which a call could be written it may still land: longer than the client's
	// deadline for it and the service's longest work on it together.
	Quarantine time.Duration
	// MaxAttempts is how many attempts a payment gets that come to nothing for no reason that waiting mends. Each needs proof that the
	// one before was not sent.
	MaxAttempts int32
	// MaxEndCalls is how many times the same signed PSBT may be submitted where the service is known to answer a repetition with
	// the first one's send.
	MaxEndCalls int32
	// FailureDistance is how far apart a failure must be seen twice to be believed.
	FailureDistance time.Duration
	// ClockSkew is how far behind ours the clock of a service's node may be.
	ClockSkew time.Duration
	// EqualOrderAge is how much older than our submission a send must be to be somebody else's. Clocks that are wrong by less make nothing
	// unknown.
	EqualOrderAge time.Duration
	// RefusalBackoff is how long a refusal that time may mend is waited on.
	RefusalBackoff time.Duration
	// LongInFlight is after how long in flight a person is told.
	LongInFlight time.Duration
	// MaxUnsigned is how many attempts may go by without a signature of the people who have to sign.
	MaxUnsigned int32
}

// DefaultPolicy returns the numbers that the operator runs with.
func DefaultPolicy() Policy {
	return Policy{
		Quarantine:      300 * time.Second,
		MaxAttempts:     3,
		MaxEndCalls:     4,
		FailureDistance: 30 * time.Second,
		ClockSkew:       time.Minute,
		EqualOrderAge:   2 * time.Hour,
		RefusalBackoff:  30 * time.Second,
		LongInFlight:    40 * time.Minute,
		MaxUnsigned:     12,
	}
}

// Event is what a person wants to know, once.
type Event struct {
	// Warning tells a Warning event from a Normal one.
	Warning bool
	Reason  string
	Message string
}

// Presence is what is known of a payment at the service.
type Presence int

// Presences. The zero value is no answer: null, a 5xx, a time-out, garbage, 405.
const (
	NoAnswer Presence = iota
	// NotSeen means that the service does not show the payment. It counts as absence only where nothing was submitted.
	NotSeen
	// Absent means that the service said that it does not know the payment.
	Absent
	// Outbound means that the service has the payment, as one that it makes.
	Outbound
	// Inbound means that the service has the payment hash as one that it receives: the node's own invoice.
	Inbound
)

// State is the service's word for a payment, in the three values that matter.
type State int

// States. A word that is not known is StatePending.
const (
	StatePending State = iota
	StateSucceeded
	StateFailed
)

// Sighting is what one look at the service showed of a payment.
type Sighting struct {
	Presence Presence
	// AskedAt is when the service was asked; zero where it was asked just now. What it says counts from then.
	AskedAt time.Time
	// CreatedAt is since when the service has the send; zero where it does not say.
	CreatedAt time.Time
	// UpdatedAt is when the service last changed what it shows, by the clock of its node; zero where it does not say.
	UpdatedAt time.Time
	// Complete tells that Absent comes from a complete list of payments, which one look settles.
	Complete bool
	State    State
	// Word is the service's own word for the state.
	Word      string
	RequestID string
	FeeSats   *int64
	// Problem says, where there was no answer, what the service said instead.
	Problem string
	// Asset is what is paid of an asset, as far as the service says; an amount of 0 is one that it does not say.
	Asset *v1alpha1.AssetAmount
	// AmountSats and Payee are a Lightning payment's; nil and empty where the service does not say.
	AmountSats *int64
	Payee      string
	// The rest is an on-chain send's.
	Destination         string
	AmountSatsRequested *int64
	AmountSatsSent      *int64
	CloseTxids          []string
	SweepTxid           string
	ErrorCode           string
	ErrorMessage        string
	Retryable           *bool
}

// Signed is what was signed in an attempt.
type Signed struct {
	Txid   string
	Digest string
	Inputs []string
	Plan   v1alpha1.OnchainPlan
}

// at returns t as records keep it: in microseconds.
func at(t time.Time) *metav1.MicroTime {
	micro := metav1.NewMicroTime(t.Truncate(time.Microsecond))
	return &micro
}

// NewJournal is the journal of a record that is created for an order.
func NewJournal(order *Order) v1alpha1.PaymentJournal {
	return v1alpha1.PaymentJournal{Phase: v1alpha1.RecordClaimed, Holder: order.Holder}
}

// Begin is the journal before onchain-send-begin or pay-invoice-begin: a new attempt. absentBefore tells that the service was asked
// and did not know the payment hash.
func Begin(journal v1alpha1.PaymentJournal, absentBefore bool, now time.Time) v1alpha1.PaymentJournal {
	next := *journal.DeepCopy()
	next.Phase = v1alpha1.RecordBegan
	next.Attempt++
	next.StartedAt = at(now)
	next.SubmittedAt, next.NotAfter, next.RetryAfter, next.SignBefore = nil, nil, nil, nil
	next.FirstAbsentAt, next.FirstFailedAt = nil, nil
	next.EndCalls = 0
	next.Txid, next.PSBTDigest, next.Inputs, next.Plan = "", "", nil, nil
	next.Reason, next.Message, next.ErrorCode, next.ErrorMessage = "", "", "", ""
	next.AbsentBefore = next.AbsentBefore || absentBefore
	return next
}

// Submitting is the write-ahead: the journal before the call that moves money. notAfter is the instant after which no byte of that
// call is written.
func Submitting(journal v1alpha1.PaymentJournal, signed Signed, now, notAfter time.Time) v1alpha1.PaymentJournal {
	next := *journal.DeepCopy()
	next.Phase = v1alpha1.RecordSubmitting
	next.SubmittedAt, next.NotAfter = at(now), at(notAfter)
	next.EndCalls, next.AnsweredAttempt = 1, 0
	show(&next, signed)
	return next
}

// show writes down what is in the current attempt's transaction.
func show(next *v1alpha1.PaymentJournal, signed Signed) {
	next.Txid, next.PSBTDigest, next.Inputs = signed.Txid, signed.Digest, signed.Inputs
	plan := signed.Plan
	next.Plan = &plan
}

// AwaitingSignature is the journal of an attempt that began and that people have to sign before signBefore. What is in it was inspected.
func AwaitingSignature(journal v1alpha1.PaymentJournal, found Signed, signBefore time.Time) v1alpha1.PaymentJournal {
	next := *journal.DeepCopy()
	next.Phase = v1alpha1.RecordAwaitingSignature
	next.SignBefore = at(signBefore)
	show(&next, found)
	return next
}

// SignBefore is until when an attempt that begins now can be signed: for a window, and no longer than the payment may start.
func (o *Order) SignBefore(window time.Duration, now time.Time) time.Time {
	before := now.Add(window)
	if o.StartBefore.Before(before) {
		before = o.StartBefore
	}
	return before.Truncate(time.Microsecond)
}

// Unsigned is the journal of an attempt that people did not sign in time, or whose signature cannot be used any more: nothing of it was
// submitted, and nothing of it will be. Another begins after half a minute, and, the more of them went by, after up to 16: other payments of
// the wallet come in between. The last is a dead end.
func Unsigned(journal v1alpha1.PaymentJournal, why string, policy Policy, now time.Time) v1alpha1.PaymentJournal {
	missed := journal.UnsignedAttempts + 1
	if missed >= policy.MaxUnsigned {
		next := GiveUp(journal, v1alpha1.ReasonNotSigned, fmt.Sprintf(
			"%d attempts were not signed, and nothing was sent: %s; declare a new resource once somebody can sign", missed, why), now)
		next.UnsignedAttempts = missed
		return next
	}
	next := NotSent(journal, Obstacle{
		Reason: v1alpha1.ReasonProgressing, Message: fmt.Sprintf("attempt %d was not signed, and nothing was sent: %s; another attempt follows", journal.Attempt, why),
	}, policy.RefusalBackoff<<min(missed-1, 5), now)
	next.Refusals = journal.Refusals
	next.UnsignedAttempts = missed
	return next
}

// Repeating is the write-ahead of a repetition of the call that moves money, with the identical PSBT.
func Repeating(journal v1alpha1.PaymentJournal, notAfter time.Time) v1alpha1.PaymentJournal {
	next := *journal.DeepCopy()
	next.EndCalls++
	next.AnsweredAttempt = 0
	next.NotAfter = at(notAfter)
	return next
}

// NotSent is the journal after proof that the current attempt was not sent, for a reason that time may mend: another may begin after
// wait.
func NotSent(journal v1alpha1.PaymentJournal, obstacle Obstacle, wait time.Duration, now time.Time) v1alpha1.PaymentJournal {
	next := *journal.DeepCopy()
	next.Phase = v1alpha1.RecordClaimed
	next.SubmittedAt, next.NotAfter, next.FirstAbsentAt, next.FirstFailedAt = nil, nil, nil, nil
	next.EndCalls = 0
	next.Refusals++
	next.RetryAfter = at(now.Add(wait))
	next.Reason, next.Message = obstacle.Reason, limit(obstacle.Message)
	return next
}

// GiveUp is the journal of a payment of which no money moved and none will.
func GiveUp(journal v1alpha1.PaymentJournal, reason, message string, now time.Time) v1alpha1.PaymentJournal {
	next := *journal.DeepCopy()
	next.Phase = v1alpha1.RecordFailed
	if reason == v1alpha1.ReasonCancelled {
		next.Phase = v1alpha1.RecordCancelled
	}
	next.RetryAfter = nil
	next.Reason, next.Message = reason, limit(message)
	next.CompletedAt = at(now)
	return next
}

// Undecidable is the journal of a payment of which money may have moved and nobody but a person can find out.
func Undecidable(journal v1alpha1.PaymentJournal, message string, now time.Time) v1alpha1.PaymentJournal {
	next := *journal.DeepCopy()
	next.Phase = v1alpha1.RecordUnknown
	next.Reason, next.Message = v1alpha1.ReasonOutcomeUnknown, limit(message)
	next.CompletedAt = at(now)
	return next
}

// Sighted is the journal after a look at the service, and what a person wants to know of it. Nothing else makes a payment Succeeded but
// a person's word, see Resolve.
func Sighted(order *Order, journal v1alpha1.PaymentJournal, seen Sighting, profile v1alpha1.ServerProfile, policy Policy, now time.Time,
) (v1alpha1.PaymentJournal, []Event) {
	if asked := seen.AskedAt; !asked.IsZero() && asked.Before(now) {
		now = asked
	}
	next := *journal.DeepCopy()
	key := order.PaymentHash
	if order.Kind == v1alpha1.RecordOnchainSend {
		if key = journal.RequestID; key == "" {
			key = order.SendID
		}
	}
	if next.Phase == v1alpha1.RecordSucceeded || (seen.RequestID != "" && !strings.EqualFold(seen.RequestID, key)) {
		return next, nil // final, or an answer about something else
	}
	switch seen.Presence {
	case Outbound:
		var events []Event
		if order.Kind == v1alpha1.RecordOnchainSend {
			next, events = sightedOnchain(order, next, seen, profile, policy, now)
		} else {
			next = sightedLightning(order, next, seen, policy, now)
		}
		if fee := next.FeeSats; next.Phase == v1alpha1.RecordSucceeded && fee != nil && *fee > int64(order.MaxFeeSats) {
			events = append(events, Event{Warning: true, Reason: v1alpha1.EventFeeAboveCap, Message: fmt.Sprintf(
				"the service took a fee of %d sat, allowed were %d", *fee, order.MaxFeeSats)})
		}
		return next, events
	case Absent:
		return sightedAbsent(order, next, seen, policy, now), nil
	case Inbound:
		// A node cannot pay itself, and shows no attempt to. Where it accepted one it is a failure like any other: believed when seen twice.
		const message = "the invoice was issued by the node that would pay it, which cannot pay itself; no money moved"
		switch {
		case order.Kind != v1alpha1.RecordLightningPayment:
		case hasLanded(&next, policy, now):
			return GiveUp(next, v1alpha1.ReasonOwnInvoice, message, now), nil
		case next.Phase == v1alpha1.RecordSubmitted && next.FirstFailedAt == nil:
			next.FirstFailedAt = at(now)
		case next.Phase == v1alpha1.RecordSubmitted && now.Sub(next.FirstFailedAt.Time) >= policy.FailureDistance:
			return GiveUp(next, v1alpha1.ReasonOwnInvoice, message, now), nil
		}
	}
	return next, nil
}

// hasLanded reports whether the call that moves money, of which nothing is known, can no longer take effect.
func hasLanded(journal *v1alpha1.PaymentJournal, policy Policy, now time.Time) bool {
	return journal.Phase == v1alpha1.RecordSubmitting && journal.NotAfter != nil && !now.Before(journal.NotAfter.Add(policy.Quarantine))
}

// inFlight makes next the journal of a payment that the service has and whose outcome is open.
func inFlight(next *v1alpha1.PaymentJournal) {
	next.Phase = v1alpha1.RecordSubmitted
	next.Reason, next.Message = "", ""
	next.CompletedAt, next.RecheckedAt = nil, nil
}

// outdated reports whether a failure that the service shows is older than the current attempt, so that it is one of an earlier attempt or a
// stale answer. Once nothing of the current one can land any more the same words mean that it never arrived.
func outdated(journal *v1alpha1.PaymentJournal, seen Sighting, policy Policy, now time.Time) bool {
	return seen.State == StateFailed && !seen.UpdatedAt.IsZero() && journal.SubmittedAt != nil &&
		seen.UpdatedAt.Before(journal.SubmittedAt.Add(-policy.ClockSkew)) && now.Before(LandedAt(journal, policy))
}

func sightedLightning(order *Order, next v1alpha1.PaymentJournal, seen Sighting, policy Policy, now time.Time) v1alpha1.PaymentJournal {
	if outdated(&next, seen, policy, now) || next.SubmittedAt == nil && order.HashTaken(seen) != nil {
		return next
	}
	adopted := next.SubmittedAt == nil // somebody else, or a lost record of ours, submitted it
	next.RequestID = order.PaymentHash
	if seen.FeeSats != nil {
		next.FeeSats = seen.FeeSats
	}
	next.FirstAbsentAt = nil
	if next.StartedAt == nil {
		next.StartedAt = at(now) // how long it is under way is not known; from here on it is
	}
	switch seen.State {
	case StateSucceeded:
		next.Phase = v1alpha1.RecordSucceeded
		next.Reason, next.Message = v1alpha1.ReasonSucceeded, ""
		next.CompletedAt = at(now)
	case StateFailed:
		if next.Phase == v1alpha1.RecordFailed {
			return next
		}
		// A failure is believed when it was seen twice: a payment that was reported failed and then completed is on record.
		if next.FirstFailedAt == nil {
			next.FirstFailedAt = at(now)
			inFlight(&next)
			return next
		}
		if now.Sub(next.FirstFailedAt.Time) < policy.FailureDistance {
			return next
		}
		next.Phase = v1alpha1.RecordFailed
		next.Reason = v1alpha1.ReasonPaymentFailed
		next.Message = "the service reports that the payment failed and no money moved; ask the payee for a new invoice and declare a new LightningPayment"
		if adopted {
			next.Message = "the service already tried this invoice and reports that the payment failed; ask the payee for a new invoice"
		}
		next.CompletedAt = at(now)
	default:
		inFlight(&next)
		next.FirstFailedAt = nil
	}
	return next
}

// beforeBroadcast are the error codes with which the reference server fails only before any broadcast.
var beforeBroadcast = map[string]bool{"UNSUPPORTED_SOURCE": true, "CHANNEL_CLOSE_FAILED": true, "BALANCE_UPDATE_TIMEOUT": true}

func sightedOnchain(order *Order, next v1alpha1.PaymentJournal, seen Sighting, profile v1alpha1.ServerProfile, policy Policy, now time.Time,
) (v1alpha1.PaymentJournal, []Event) {
	if wrong := wrongOrder(order, &next, seen, policy); wrong != "" {
		next = Undecidable(next, wrong+"; look on the chain for what was paid, then resolve the record", now)
		return next, []Event{{Warning: true, Reason: v1alpha1.EventWrongOrderExecuted, Message: next.Message}}
	}
	if next.RequestID == "" { // it is followed, from here on
		next.RequestID, next.StartedAt = order.SendID, at(now)
	}
	next.FirstAbsentAt = nil
	next.ServerStatus = Limit(seen.Word, 128)
	// What was seen once stays known, though a later answer may leave it out.
	if len(seen.CloseTxids) > 0 {
		next.CloseTxids = limitAll(seen.CloseTxids, 256, 128)
	}
	if seen.SweepTxid != "" {
		next.SweepTxid = Limit(seen.SweepTxid, 128)
	}
	next.ErrorCode, next.ErrorMessage, next.Retryable = Limit(seen.ErrorCode, 128), limit(seen.ErrorMessage), seen.Retryable
	if seen.FeeSats != nil {
		next.FeeSats = seen.FeeSats
	}
	if seen.AmountSatsSent != nil {
		next.AmountSatsSent = seen.AmountSatsSent
	}
	switch seen.State {
	case StateSucceeded:
		next.Phase = v1alpha1.RecordSucceeded
		next.Reason, next.Message = v1alpha1.ReasonSucceeded, ""
		next.CompletedAt = at(now)
		if sent := seen.AmountSatsSent; sent != nil && order.Asset == nil && *sent < int64(order.AmountSats) {
			return next, []Event{{Warning: true, Reason: v1alpha1.EventFeeDeducted, Message: fmt.Sprintf(
				"the service took its fee off the amount: the recipient got %d sat of the %d sat declared", *sent, order.AmountSats)}}
		}
	case StateFailed:
		if profile == v1alpha1.ProfileReference && next.SweepTxid == "" && beforeBroadcast[seen.ErrorCode] {
			return GiveUp(next, v1alpha1.ReasonPaymentFailed, fmt.Sprintf(
				"the service failed with %s before any broadcast and no money moved; the same order again would be answered with this failure: change the amount by 1 sat, or the fee rate, in a new OnchainSend",
				printable(seen.ErrorCode, 40)), now), nil
		}
		return Undecidable(next, fmt.Sprintf(
			"the service reports that send %s failed (%s), which it also does when the answer to its broadcast was lost: look for a payment of %s to %s on the chain, then resolve the record",
			printable(next.RequestID, 80), printable(seen.ErrorCode, 40), order.amountText(), printable(order.Destination, 100)), now), nil
	default:
		next.Phase = v1alpha1.RecordSubmitted
	}
	return next, nil
}

// wrongOrder returns what is wrong where the service shows, under the id that it answered, another order than ours. It answers an order
// that equals an earlier one with that one's send, whoever made it, and moves nothing.
func wrongOrder(order *Order, journal *v1alpha1.PaymentJournal, seen Sighting, policy Policy) string {
	if wrong := order.mismatch(seen); wrong != "" {
		return "the service executed another order: " + wrong
	}
	if submitted := journal.SubmittedAt; submitted != nil && !seen.CreatedAt.IsZero() &&
		seen.CreatedAt.Before(submitted.Add(-policy.EqualOrderAge)) {
		return fmt.Sprintf("the service answered with an equal send of %s, which is older than this one: somebody else made it, and it takes equal orders for one",
			seen.CreatedAt.UTC().Format(time.RFC3339))
	}
	return ""
}

// mismatch returns in what the send that the service shows is not the one that is declared; empty where it is, as far as the service says.
// A fee that the service took off the amount is no difference.
func (o *Order) mismatch(seen Sighting) string {
	if seen.Destination != "" && !strings.EqualFold(seen.Destination, o.Destination) {
		return fmt.Sprintf("it shows %s as the destination of this send", printable(seen.Destination, 100))
	}
	if seen.Asset != nil && (o.Asset == nil || *seen.Asset != *o.Asset) {
		return fmt.Sprintf("it shows %d of %s as the amount of this send", seen.Asset.Amount, printable(seen.Asset.ID, 80))
	}
	if o.Asset != nil {
		return ""
	}
	if requested := seen.AmountSatsRequested; requested != nil && amount.Sat(*requested) != o.AmountSats {
		return fmt.Sprintf("it shows %d sat as the amount of this send, declared are %d", *requested, o.AmountSats)
	}
	if sent := seen.AmountSatsSent; sent != nil && amount.Sat(*sent) != o.AmountSats && !explainedByFee(o, *sent, seen.FeeSats) {
		return fmt.Sprintf("it sent %d sat, declared are %d, and no fee that it names explains the difference", *sent, o.AmountSats)
	}
	return ""
}

func explainedByFee(order *Order, sent int64, fee *int64) bool {
	return fee != nil && *fee >= 0 && amount.Sat(*fee) <= order.MaxFeeSats && sent > 0 && sent+*fee == int64(order.AmountSats)
}

// sightedAbsent weighs an answer that the service does not know the payment. It is proof only when nothing of ours can still land, and
// then only from a complete list, or twice a quarantine apart. A send that the service knew and knows no more is Unknown.
func sightedAbsent(order *Order, next v1alpha1.PaymentJournal, seen Sighting, policy Policy, now time.Time) v1alpha1.PaymentJournal {
	if next.Phase == v1alpha1.RecordSubmitting && !hasLanded(&next, policy, now) {
		return next // it may only not have landed yet
	}
	if next.FirstAbsentAt == nil {
		next.FirstAbsentAt = at(now)
	}
	apart := now.Sub(next.FirstAbsentAt.Time)
	switch {
	case order.Kind == v1alpha1.RecordOnchainSend && next.Phase == v1alpha1.RecordSubmitted:
		if apart >= policy.FailureDistance {
			return Undecidable(next, fmt.Sprintf(
				"the service no longer knows send %s (it forgets in a restart): look for a payment of %s to %s on the chain, then resolve the record",
				printable(next.RequestID, 80), order.amountText(), printable(order.Destination, 100)), now)
		}
	case order.Kind == v1alpha1.RecordLightningPayment && hasLanded(&next, policy, now):
		if !seen.Complete && apart < policy.Quarantine {
			return next
		}
		next.Misses++
		if next.Misses >= policy.MaxAttempts {
			return GiveUp(next, v1alpha1.ReasonPaymentFailed, "the service never accepted the payment and shows no trace of it; no money moved", now)
		}
		return NotSent(next, Obstacle{
			Reason: v1alpha1.ReasonProgressing, Message: "the service shows no trace of the last attempt; another begins",
		}, 0, now)
	}
	return next
}

// EndAnswer is what came of the call that moves money.
type EndAnswer int

// End answers.
const (
	// EndUnclear means that nobody knows what the service did: a time-out, a 5xx, an answer that could not be read.
	EndUnclear EndAnswer = iota
	// EndNotSent means that no byte left the operator.
	EndNotSent
	// EndRefused means a complete answer, of a documented shape, that the service gives before any effect.
	EndRefused
	// EndExists means that the service refused because it has the payment already.
	EndExists
	// EndAccepted means that the service took the payment, and answered its id.
	EndAccepted
)

// Ended is the journal after the call that moves money. requestID is the id that the service answered, refusal what it said where
// it refused. A clean answer is one after which nothing of ours can still land.
func Ended(order *Order, journal v1alpha1.PaymentJournal, answer EndAnswer, requestID string, refusal Obstacle,
	profile v1alpha1.ServerProfile, policy Policy, now time.Time,
) (next v1alpha1.PaymentJournal, events []Event, clean bool) {
	defer func() {
		if clean {
			next = Answered(next)
		}
	}()
	next = *journal.DeepCopy()
	repeated := next.EndCalls > 1
	lightning := order.Kind == v1alpha1.RecordLightningPayment
	switch {
	case answer == EndAccepted && lightning && requestID != order.PaymentHash:
		// Another id means that another invoice was paid. Ours is looked for by its own hash, never taken for paid.
		message := "the service answered for another invoice than the one it was sent; this payment is looked up by its own hash"
		return next, []Event{{Warning: true, Reason: v1alpha1.EventWrongOrderExecuted, Message: message}}, false
	case answer == EndAccepted && requestID == "":
		// Taken, and nobody knows as what: as good as no answer.
		return next, nil, false
	case answer == EndAccepted:
		return Accepted(next, requestID), nil, !repeated // the call that had no answer may still land, and end what is begun next
	case answer == EndNotSent && !repeated:
		return Refused(next, refusal, policy, now), nil, true
	case answer == EndRefused && !lightning && !repeated:
		return Refused(next, refusal, policy, now), nil, true
	case answer == EndRefused && !lightning && repeated:
		return Undecidable(next, unclearOnchain(order, next, "the service no longer has the order (it forgets in a restart)"), now), nil, false
	case lightning:
		return next, nil, answer == EndRefused || answer == EndExists
	}
	if profile != v1alpha1.ProfileReference {
		return Undecidable(next, unclearOnchain(order, next, "this service is not known to answer a repetition with the first one's send"), now), nil, false
	}
	return next, nil, false
}

// Accepted is the journal of a payment that the service took, and answered its id.
func Accepted(journal v1alpha1.PaymentJournal, requestID string) v1alpha1.PaymentJournal {
	next := *journal.DeepCopy()
	next.Phase = v1alpha1.RecordSubmitted
	next.RequestID = Limit(requestID, 256)
	if next.EndCalls > 1 { // the call that had no answer may still land
		return next
	}
	return Answered(next)
}

// Answered is the journal of which it is written down that all calls of the current attempt had a clear answer: whatever a Lease still says
// of them, nothing of it can land any more.
func Answered(journal v1alpha1.PaymentJournal) v1alpha1.PaymentJournal {
	journal.AnsweredAttempt = journal.Attempt
	return journal
}

// AwaitsAnswer reports whether an on-chain send has no id of the service although it was submitted, so that the answer to that call, however
// late it comes, tells what became of it. A person's word ends that.
func AwaitsAnswer(journal *v1alpha1.PaymentJournal) bool {
	switch journal.Phase {
	case v1alpha1.RecordSubmitting, v1alpha1.RecordUnknown:
		return journal.RequestID == "" && journal.SubmittedAt != nil
	}
	return false
}

// AnsweredLate is the journal of an on-chain send that was called unknown before the answer to its submission came: the service has it as
// requestID. It is false where that is no news, or a person already said what happened.
func AnsweredLate(journal v1alpha1.PaymentJournal, requestID string) (next v1alpha1.PaymentJournal, events []Event, late bool) {
	if journal.Phase != v1alpha1.RecordUnknown || !AwaitsAnswer(&journal) || requestID == "" {
		return journal, nil, false
	}
	next = Accepted(journal, requestID)
	inFlight(&next)
	return next, []Event{{
		Reason: v1alpha1.ReasonInFlight, Message: "the answer to the submission came after all: the service has it as send " + printable(requestID, 128),
	}}, true
}

// Refused is the journal of an attempt that the service provably did not carry out: it was never asked to, it refused to begin it, or
// it refused to end it and shows no trace of it. Where time may mend the refusal another attempt begins later.
func Refused(journal v1alpha1.PaymentJournal, refusal Obstacle, policy Policy, now time.Time) v1alpha1.PaymentJournal {
	if refusal.DeadEnd {
		return GiveUp(journal, refusal.Reason, refusal.Message, now)
	}
	if refusal.Reason == v1alpha1.ReasonProgressing {
		journal.Misses++
		if journal.Misses >= policy.MaxAttempts {
			return GiveUp(journal, v1alpha1.ReasonRequestRefused, fmt.Sprintf("the service did not take %d attempts, and no money moved: %s",
				journal.Misses, refusal.Message), now)
		}
	}
	// Half a minute at first, 16 minutes after five refusals.
	return NotSent(journal, refusal, policy.RefusalBackoff<<min(journal.Refusals, 5), now)
}

// Unrepeatable is the journal of an on-chain send whose submission ended unclearly and must not be repeated.
func Unrepeatable(order *Order, journal v1alpha1.PaymentJournal, why string, now time.Time) v1alpha1.PaymentJournal {
	return Undecidable(journal, unclearOnchain(order, journal, why), now)
}

func unclearOnchain(order *Order, journal v1alpha1.PaymentJournal, why string) string {
	return fmt.Sprintf("the answer to attempt %d was lost and %s: look for a payment of %s to %s (the signed transaction was %s), then resolve the record",
		journal.Attempt, why, order.amountText(), printable(order.Destination, 100), journal.Txid)
}

func (o *Order) amountText() string {
	if o.Asset != nil {
		return fmt.Sprintf("%d of %s", o.Asset.Amount, printable(o.Asset.ID, 80))
	}
	return fmt.Sprintf("%d sat", o.AmountSats)
}

// SameJournal reports whether writing b over a would change nothing.
func SameJournal(a, b *v1alpha1.PaymentJournal) bool { return equality.Semantic.DeepEqual(a, b) }

// CountsFrom is the instant from which on a submitted payment counts in a budget: when it was submitted, or, where that was repeated, until
// when the last call could be made. A send that was suspended in between may have left only then. It is nil where nothing was submitted.
func CountsFrom(journal *v1alpha1.PaymentJournal) *metav1.MicroTime {
	if journal.SubmittedAt != nil && journal.EndCalls > 1 && journal.NotAfter != nil {
		return journal.NotAfter
	}
	return journal.SubmittedAt
}

// NeverSubmitted reports whether journal is at an end that was reached without any call that moves money, ours or another's that was
// adopted.
func NeverSubmitted(journal *v1alpha1.PaymentJournal) bool {
	switch journal.Phase {
	case v1alpha1.RecordCancelled:
		return true
	case v1alpha1.RecordFailed:
		return journal.SubmittedAt == nil && journal.RequestID == ""
	}
	return false
}
