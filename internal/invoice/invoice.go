// Package invoice is the invoice machine: what a LightningInvoice is, and what may be done next. Like package payment it is pure.
//
// The service has no key for an invoice: a lost answer cannot be asked for again. It need not be, since an invoice that nobody saw
// cannot be paid. What must hold is that at most one is ever published for a resource, which the record in-<UID> sees to: creating it
// is publishing, and a second one is refused. A resource that renews has one such record for each renewal.
package invoice

import (
	"encoding/hex"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/readiness"
)

// MaxIssueAttempts is how many times the service is asked for one invoice where its answers are lost or unusable. Each may leave an
// invoice behind that nobody sees and that dies by itself.
const MaxIssueAttempts = 3

// LateSettlement is how long after its expiry an invoice is watched: a payment that was on its way may settle it.
const LateSettlement = 7200*time.Second + 15*time.Minute

// RecordName is the name of the record of the first invoice that a resource published.
func RecordName(uid string) string { return "in-" + uid }

// Seen is what a look at the service showed of an invoice.
type Seen int

// Sightings. The zero value is no answer.
const (
	NoAnswer Seen = iota
	// Lost means that the service knows the invoice neither by its id nor by its payment hash, as after a restart.
	Lost
	Open
	Settled
	Expired
	Failed
)

// Step is the one thing to do next.
type Step int

// Steps.
const (
	// Rest: nothing, until RequeueAfter or an event.
	Rest Step = iota
	// Issue: write the attempt into the status, ask the service for the invoice, check it and publish it.
	Issue
	// Observe: look at the service.
	Observe
)

// Facts is everything that Decide looks at.
type Facts struct {
	Invoice *v1alpha1.LightningInvoice
	// Record is the invoice that was published last; nil before. Renewal says which renewal published it; 0 is the first invoice.
	Record  *v1alpha1.PaymentRecord
	Renewal int32
	// Past are invoices before Record that the status does not tell of yet.
	Past []v1alpha1.InvoiceGeneration
	// Waiting is why the wallet cannot be used now.
	Waiting *payment.Obstacle
	// NoIssuing is why no further invoice is issued now, although the service can be asked about those that were.
	NoIssuing *payment.Obstacle
	// Held is what the last step ran into.
	Held *payment.Obstacle
	// NotIssued tells that the attempt of this pass provably left no invoice behind, so that it does not count.
	NotIssued bool
	// Sighting is what a look at the service showed in this pass; nil where none was made.
	Sighting *Seen
	// Waits tells that something else tells of news at the service, and told of none.
	Waits bool
	// Earlier is what the same look showed of the invoices before Record that are watched, by renewal; nil where none was made.
	Earlier  map[int32]Seen
	Deleting bool
}

// Decision is what Decide wants: the status, and the step that follows once it is written.
type Decision struct {
	Step   Step
	Status v1alpha1.LightningInvoiceStatus
	// Journal, where it is not nil, is written to the record before the status: that the invoice was paid outlives the status.
	Journal *v1alpha1.PaymentJournal
	// PaidEarlier is the invoice before Record that was paid. Its record is told as well, before the status.
	PaidEarlier *v1alpha1.InvoiceGeneration
	// GiveUp tells to record that the invoice which was asked for is not published any more. Another process may still have an answer
	// to publish: who is first counts.
	GiveUp bool
	// RequeueAfter is when to decide again; 0 is never.
	RequeueAfter time.Duration
	// LookBy is not 0 where that is only to look at the service, and where something else tells of news there: when to look all the same.
	LookBy time.Duration
	Events []payment.Event
}

// Decide returns what to do next for one invoice.
//
//	published   situation                          step, phase
//	given up    any                                Rest, Failed
//	no          waiting, refused a moment ago      Rest, Pending
//	no          three answers lost, failed before  Rest, Failed
//	no          otherwise                          Issue, Pending
//	yes         settled before                     Rest, Settled
//	yes         expired, watched long enough       Rest, Expired
//	yes         something else tells of news       Rest, as it is
//	yes         not looked at in this pass         Observe
//	yes         an earlier invoice seen settled    Rest, Settled
//	yes         seen expired unpaid, renews        as one that is not published, but Renewing for Pending
//	yes         otherwise                          Rest, by what was seen
func Decide(f Facts, now time.Time) Decision {
	decision := decide(f, now)
	if status := &decision.Status; decision.Step == Rest && !f.Deleting && status.Phase != v1alpha1.InvoiceSettled && len(Watched(status)) > 0 {
		decision.RequeueAfter = Sooner(decision.RequeueAfter, lateLook)
	}
	if decision.Step == Rest && f.Record != nil && f.Waiting == nil && f.Held == nil && decision.RequeueAfter > 0 {
		decision.LookBy = lookBy(f, &decision, now)
	}
	return decision
}

// lookBy is when an invoice of which something else tells is to be looked at all the same: before anything final is said of it.
func lookBy(f Facts, decision *Decision, now time.Time) time.Duration {
	status := &decision.Status
	latest := decision.RequeueAfter
	switch {
	case status.ExpiresAt == nil: // of an invoice that was given up
	case now.Before(status.ExpiresAt.Time) && status.Phase != v1alpha1.InvoiceRenewing:
		latest = status.ExpiresAt.Sub(now) + time.Second
	case isGivenUp(status.Phase) && !renews(f) && isWatched(status, now):
		latest = status.ExpiresAt.Add(LateSettlement).Sub(now)
	}
	for _, past := range Watched(status) {
		if past.ExpiresAt != nil {
			latest = min(latest, max(past.ExpiresAt.Add(LateSettlement).Sub(now), lateLook))
		}
	}
	return max(latest, time.Second)
}

// waits reports whether an invoice is left as its status shows it, because something else tells of news: it is payable, or is watched for
// a late payment, and nothing final is to be said.
func waits(f Facts, status *v1alpha1.LightningInvoiceStatus, now time.Time) bool {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	if !f.Waits || ready == nil || f.Waiting != nil || f.Held != nil || IsGivenUp(f.Record) {
		return false
	}
	for _, past := range Watched(status) {
		if past.ExpiresAt == nil || !now.Before(past.ExpiresAt.Add(LateSettlement)) {
			return false
		}
	}
	if !now.Before(status.ExpiresAt.Time) {
		return isGivenUp(status.Phase) && !renews(f) && isWatched(status, now)
	}
	settled := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionSettled)
	asIs := ready.Message == payable || settled != nil && settled.Reason == v1alpha1.ReasonSourceLost
	return status.Phase == v1alpha1.InvoiceOpen && asIs || isGivenUp(status.Phase)
}

// payable is what is said of an invoice that can be paid.
const payable = "payable"

func decide(f Facts, now time.Time) Decision {
	status := *f.Invoice.Status.DeepCopy()
	status.ObservedGeneration = f.Invoice.Generation
	switch {
	case f.Record == nil:
		return decideUnpublished(f, status, now)
	case f.Deleting:
		return Decision{Status: f.Invoice.Status}
	}
	remember(&status, f)
	publish(&status, f.Record)
	switch {
	case status.Phase == v1alpha1.InvoiceSettled:
		return rest(f, status, v1alpha1.InvoiceSettled, settledSummaryOf(&status), now, 0)
	case f.Sighting == nil && f.Earlier == nil && waits(f, &status, now):
		return keep(f, status, pollAfter(&status, now))
	case isDue(f, &status, now):
		return Decision{Step: Observe, Status: status}
	}
	if paid := paidEarlier(f, &status); paid != nil {
		return settleEarlier(f, status, paid, now)
	}
	conclude(f, &status, now)
	switch {
	case IsGivenUp(f.Record):
		return decideGivenUp(f, status, now)
	case f.Sighting == nil:
		return unseen(f, status, now)
	}
	return decideSeen(f, status, *f.Sighting, now)
}

// isDue reports whether the service is to be looked at, and can be.
func isDue(f Facts, status *v1alpha1.LightningInvoiceStatus, now time.Time) bool {
	if f.Waiting != nil || f.Held != nil {
		return false
	}
	if IsGivenUp(f.Record) {
		return f.Earlier == nil && len(Watched(status)) > 0
	}
	open := isWatched(status, now) || !isGivenUp(status.Phase) || renews(f)
	return f.Sighting == nil && (open || len(Watched(status)) > 0)
}

// isWatched reports whether a payment may still settle the latest invoice.
func isWatched(status *v1alpha1.LightningInvoiceStatus, now time.Time) bool {
	return now.Before(status.ExpiresAt.Add(LateSettlement))
}

// IsGivenUp reports whether record says that no invoice of the resource is published any more.
func IsGivenUp(record *v1alpha1.PaymentRecord) bool { return record.Spec.PaymentRequest == "" }

// GiveUp is what is recorded in the place of an invoice that was asked for and is given up: a process that is slow to publish its answer
// finds the place taken, and nobody is shown an invoice that nobody watches. ready is the condition Ready that says why.
func GiveUp(wallet string, ready *metav1.Condition) (v1alpha1.PaymentRecordSpec, v1alpha1.PaymentJournal) {
	spec := v1alpha1.PaymentRecordSpec{Kind: v1alpha1.RecordLightningInvoice, Wallet: v1alpha1.RecordWallet{Name: wallet}}
	return spec, v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld, Reason: ready.Reason, Message: ready.Message}
}

// decideGivenUp is for an invoice that was given up before one was published.
func decideGivenUp(f Facts, status v1alpha1.LightningInvoiceStatus, now time.Time) Decision {
	return rest(f, status, v1alpha1.InvoiceFailed, readiness.Summary{
		Outcome: readiness.DeadEnd, Reason: f.Record.Journal.Reason, Message: f.Record.Journal.Message,
	}, now, 0)
}

// isGivenUp reports whether phase told a person that the invoice is over. It is watched on for some time: neither word is final at the
// service.
func isGivenUp(phase v1alpha1.InvoicePhase) bool {
	return phase == v1alpha1.InvoiceExpired || phase == v1alpha1.InvoiceFailed
}

func decideUnpublished(f Facts, status v1alpha1.LightningInvoiceStatus, now time.Time) Decision {
	switch {
	case f.Deleting:
		return Decision{Status: f.Invoice.Status}
	case status.Phase == v1alpha1.InvoiceFailed: // nobody expects an invoice of it any more
		return Decision{Status: status, GiveUp: status.IssueAttempts > 0}
	}
	obstacle := f.Waiting
	if obstacle == nil {
		obstacle = f.Held
	}
	decision := issue(f, status, v1alpha1.InvoicePending, obstacle, now)
	// Where the service was never asked, nobody has an answer to publish.
	decision.GiveUp = decision.Status.Phase == v1alpha1.InvoiceFailed && decision.Status.IssueAttempts > 0
	return decision
}

// issue has the next invoice asked for, in phase while there is none. It fails where that came to nothing too often, or cannot work.
func issue(f Facts, status v1alpha1.LightningInvoiceStatus, phase v1alpha1.InvoicePhase, obstacle *payment.Obstacle, now time.Time) Decision {
	if f.NotIssued && status.IssueAttempts > 0 {
		status.IssueAttempts--
	}
	switch {
	case obstacle != nil && obstacle.DeadEnd:
		return rest(f, status, v1alpha1.InvoiceFailed, readiness.Summary{
			Outcome: readiness.DeadEnd, Reason: obstacle.Reason, Message: obstacle.Message,
		}, now, 0)
	case status.IssueAttempts >= MaxIssueAttempts:
		return rest(f, status, v1alpha1.InvoiceFailed, readiness.Summary{
			Outcome: readiness.DeadEnd, Reason: v1alpha1.ReasonRequestRefused,
			Message: fmt.Sprintf("the service was asked for this invoice %d times and no answer could be used; nothing was published: declare a new LightningInvoice",
				status.IssueAttempts),
		}, now, 0)
	case obstacle != nil:
		return rest(f, status, phase, readiness.Summary{Reason: obstacle.Reason, Message: obstacle.Message}, now, obstacle.RetryAfter)
	}
	status.IssueAttempts++
	return project(f, Issue, status, phase, readiness.Summary{
		Reason: v1alpha1.ReasonProgressing, Message: "asking the service for the invoice",
	}, now, 0)
}

// publish copies what was published into the status, where it may have been lost. Of an invoice that was given up that is nothing.
func publish(status *v1alpha1.LightningInvoiceStatus, record *v1alpha1.PaymentRecord) {
	if IsGivenUp(record) {
		if status.Renewals > 0 { // and the status may still show the one before
			status.RecordRef, status.RequestID, status.PaymentRequest, status.PaymentHash = record.Name, "", "", ""
			status.CreatedAt, status.ExpiresAt = nil, nil
		}
		return
	}
	status.RecordRef = record.Name
	status.RequestID = record.Spec.RequestID
	status.PaymentRequest = record.Spec.PaymentRequest
	status.PaymentHash = record.Spec.PaymentHash
	status.AmountSats, status.Asset = record.Spec.AmountSats, record.Spec.Asset
	if settled := record.Journal.CompletedAt; settled != nil && record.Journal.Reason == v1alpha1.ReasonSettled {
		seconds := metav1.NewTime(settled.Truncate(time.Second))
		status.Phase, status.SettledAt = v1alpha1.InvoiceSettled, &seconds
	}
	if published, err := bolt11.DecodeKept(record.Spec.PaymentRequest); err == nil {
		created, expires := metav1.NewTime(published.Timestamp), metav1.NewTime(published.ExpiresAt())
		status.CreatedAt, status.ExpiresAt = &created, &expires
	}
	if status.ExpiresAt == nil { // a record that somebody else wrote
		expires := record.CreationTimestamp
		status.ExpiresAt = &expires
	}
}

var settledSummary = readiness.Summary{
	Outcome: readiness.Done, Reason: v1alpha1.ReasonSettled, Message: "paid",
	Also: []metav1.Condition{{Type: v1alpha1.ConditionSettled, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSettled, Message: "paid"}},
}

// unseen keeps what is known where no look was possible.
func unseen(f Facts, status v1alpha1.LightningInvoiceStatus, now time.Time) Decision {
	obstacle := f.Waiting
	if obstacle == nil {
		obstacle = f.Held
	}
	watched := isWatched(&status, now)
	after := time.Duration(0)
	if watched {
		after = pollAfter(&status, now)
	}
	switch {
	case isGivenUp(status.Phase) && renews(f): // which takes a look
		return keep(f, status, max(after, time.Minute))
	case isGivenUp(status.Phase):
		return keep(f, status, after)
	case renews(f) && !now.Before(status.ExpiresAt.Time):
		return unseenExpiry(f, status, obstacle, now)
	case !watched:
		return unwatched(f, status, obstacle, now)
	}
	summary := open(status, now)
	if obstacle != nil && summary.Outcome == readiness.Done {
		summary.Message = payable + "; " + obstacle.Message
		after = max(after, obstacle.RetryAfter)
	}
	return rest(f, status, phaseOf(summary), summary, now, after)
}

// unwatched is for an invoice that nobody looked at since before it expired, and whose time is over: it may have been paid meanwhile.
func unwatched(f Facts, status v1alpha1.LightningInvoiceStatus, obstacle *payment.Obstacle, now time.Time) Decision {
	summary := readiness.Summary{
		Reason: v1alpha1.ReasonServiceUnavailable, Message: "expired; whether it was paid is not known before the service answers",
	}
	after := time.Minute
	if obstacle != nil {
		summary.Reason, summary.Message = obstacle.Reason, "expired; whether it was paid is not known: "+obstacle.Message
		after = max(after, obstacle.RetryAfter)
	}
	return rest(f, status, v1alpha1.InvoiceOpen, summary, now, after)
}

// decideSeen projects a look at the service. Expired and failed invoices are watched on: neither word is final at the service.
func decideSeen(f Facts, status v1alpha1.LightningInvoiceStatus, seen Seen, now time.Time) Decision {
	expired := !now.Before(status.ExpiresAt.Time)
	after := time.Duration(0)
	if now.Before(status.ExpiresAt.Add(LateSettlement)) {
		after = pollAfter(&status, now)
	}
	switch {
	case seen == NoAnswer:
		return unseen(f, status, now)
	case seen == Lost && isGivenUp(status.Phase) && !(expired && renews(f) && status.Phase == v1alpha1.InvoiceFailed):
		return keep(f, status, after)
	case seen == Settled:
		settled := metav1.NewTime(now.Truncate(time.Second))
		status.SettledAt = &settled
		decision := rest(f, status, v1alpha1.InvoiceSettled, settledSummary, now, 0)
		decision.Journal = SettledJournal(f.Record, settled)
		if isGivenUp(f.Invoice.Status.Phase) {
			decision.Events = []payment.Event{{
				Reason: v1alpha1.EventInvoiceSettledLate, Message: "the invoice was paid after it had been given up: a payment was on its way",
			}}
		}
		return decision
	case seen == Failed && !expired && renews(f):
		return rest(f, status, v1alpha1.InvoiceFailed, readiness.Summary{
			Reason: v1alpha1.ReasonPaymentFailed, Message: "the service says that the invoice failed; the next one is issued when it has expired",
		}, now, after)
	case seen == Failed && !expired:
		return rest(f, status, v1alpha1.InvoiceFailed, readiness.Summary{
			Outcome: readiness.DeadEnd, Reason: v1alpha1.ReasonPaymentFailed,
			Message: "the service says that the invoice failed; declare a new LightningInvoice",
		}, now, after)
	case seen == Lost && expired:
		return rest(f, status, v1alpha1.InvoiceExpired, lostSummary, now, after)
	case (seen == Expired || seen == Failed || expired) && renews(f):
		return renew(f, status, now)
	case seen == Expired || seen == Failed || expired:
		return rest(f, status, v1alpha1.InvoiceExpired, expiredSummary, now, after)
	case seen == Lost:
		summary := open(status, now)
		summary.Message = "payable; the service no longer shows it by its id (it was restarted) and a payment would be found by its payment hash"
		summary.Also = []metav1.Condition{{
			Type: v1alpha1.ConditionSettled, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonSourceLost, Message: summary.Message,
		}}
		return rest(f, status, v1alpha1.InvoiceOpen, summary, now, after)
	}
	summary := open(status, now)
	return rest(f, status, phaseOf(summary), summary, now, after)
}

var expiredSummary = readiness.Summary{
	Outcome: readiness.DeadEnd, Reason: v1alpha1.ReasonInvoiceExpired, Message: "expired unpaid; declare a new LightningInvoice",
	Also: []metav1.Condition{{
		Type: v1alpha1.ConditionSettled, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInvoiceExpired, Message: "expired unpaid",
	}},
}

// lostSummary is of an invoice that expired and of which nobody can tell whether it was paid.
var lostSummary = readiness.Summary{
	Outcome: readiness.DeadEnd, Reason: v1alpha1.ReasonInvoiceExpired,
	Message: "expired; the service no longer shows whether it was paid (it was restarted): ask the payer, or declare a new LightningInvoice",
	Also: []metav1.Condition{{
		Type: v1alpha1.ConditionSettled, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonSourceLost,
		Message: "the service no longer shows whether it was paid",
	}},
}

// open is the summary of an invoice of which nothing but its expiry is known.
func open(status v1alpha1.LightningInvoiceStatus, now time.Time) readiness.Summary {
	if !now.Before(status.ExpiresAt.Time) {
		return expiredSummary
	}
	return readiness.Summary{
		Outcome: readiness.Done, Reason: v1alpha1.ReasonOpen, Message: payable,
		Also: []metav1.Condition{{
			Type: v1alpha1.ConditionSettled, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonOpen, Message: "not paid yet",
		}},
	}
}

func phaseOf(summary readiness.Summary) v1alpha1.InvoicePhase {
	if summary.Outcome == readiness.Done {
		return v1alpha1.InvoiceOpen
	}
	return v1alpha1.InvoiceExpired
}

// pollAfter is how long after now to look again: as long as the invoice is old, from 2 s to 60 s, and right after it expires.
func pollAfter(status *v1alpha1.LightningInvoiceStatus, now time.Time) time.Duration {
	age := time.Minute
	if status.CreatedAt != nil {
		age = now.Sub(status.CreatedAt.Time)
	}
	after := min(max(age, 2*time.Second), time.Minute)
	if left := status.ExpiresAt.Sub(now); left > 0 {
		after = min(after, left+time.Second)
	}
	return after
}

func rest(f Facts, status v1alpha1.LightningInvoiceStatus, phase v1alpha1.InvoicePhase, summary readiness.Summary, now time.Time,
	after time.Duration,
) Decision {
	return project(f, Rest, status, phase, summary, now, after)
}

func project(f Facts, step Step, status v1alpha1.LightningInvoiceStatus, phase v1alpha1.InvoicePhase, summary readiness.Summary,
	now time.Time, after time.Duration,
) Decision {
	if len(summary.Also) == 0 {
		settled := metav1.ConditionUnknown
		if summary.Outcome == readiness.DeadEnd {
			settled = metav1.ConditionFalse
		}
		summary.Also = []metav1.Condition{{Type: v1alpha1.ConditionSettled, Status: settled, Reason: summary.Reason, Message: summary.Message}}
	}
	status.Phase = phase
	status.Conditions = readiness.Conditions(f.Invoice.Status.Conditions, f.Invoice.Generation, summary, now)
	return Decision{Step: step, Status: status, RequeueAfter: after}
}

// SettledJournal is what the record of an invoice says once it was paid, so that this outlives the status.
func SettledJournal(record *v1alpha1.PaymentRecord, at metav1.Time) *v1alpha1.PaymentJournal {
	journal, completed := record.Journal.DeepCopy(), metav1.NewMicroTime(at.Time)
	journal.Reason, journal.CompletedAt = v1alpha1.ReasonSettled, &completed
	return journal
}

// keep changes nothing but the generation that the status is about.
func keep(f Facts, status v1alpha1.LightningInvoiceStatus, after time.Duration) Decision {
	for i := range status.Conditions {
		status.Conditions[i].ObservedGeneration = f.Invoice.Generation
	}
	return Decision{Status: status, RequeueAfter: after}
}

// Check holds an invoice that the service issued against what was asked for, before anybody sees it.
func Check(spec *v1alpha1.LightningInvoiceSpec, network bitcoin.Network, paymentRequest string, now time.Time) (*bolt11.Invoice, error) {
	issued, err := bolt11.Decode(paymentRequest)
	if err != nil {
		return nil, fmt.Errorf("the service issued an invoice that cannot be read: %w", err)
	}
	if of, known := issued.Network(); !known || of != network {
		return nil, fmt.Errorf("the service issued an invoice of another network (ln%s) than the wallet's, %s", issued.Prefix, network)
	}
	if issued.Expired(now) {
		return nil, fmt.Errorf("the service issued an invoice that is expired already")
	}
	sats, given, err := issued.AmountSats()
	switch {
	case err != nil || !given:
		return nil, fmt.Errorf("the service issued an invoice without an amount in whole sat")
	case spec.AmountSats != nil && issued.Asset != nil:
		return nil, fmt.Errorf("the service issued an invoice of an asset that was not asked for")
	case spec.AmountSats != nil && int64(sats) != *spec.AmountSats:
		return nil, fmt.Errorf("the service issued an invoice of %d sat instead of %d", sats, *spec.AmountSats)
	case spec.Asset != nil && (issued.Asset == nil || issued.Asset.ID != spec.Asset.ID || issued.Asset.Amount != uint64(spec.Asset.Amount)):
		return nil, fmt.Errorf("the service issued an invoice of another asset or amount than was asked for")
	}
	return issued, nil
}

// RecordSpec is a published invoice as its record keeps it.
func RecordSpec(issued *bolt11.Invoice, paymentRequest, requestID string, wallet v1alpha1.RecordWallet, asset *v1alpha1.AssetAmount,
) v1alpha1.PaymentRecordSpec {
	sats, _, _ := issued.AmountSats() // Check saw it
	amountSats := int64(sats)
	return v1alpha1.PaymentRecordSpec{
		Kind: v1alpha1.RecordLightningInvoice, Wallet: wallet, PaymentRequest: paymentRequest, PaymentHash: issued.PaymentHashHex(),
		RequestID: requestID, Destination: hex.EncodeToString(issued.Payee[:]), AmountSats: &amountSats, Asset: asset,
	}
}
