package spender

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/utexo"
	"github.com/utexo/utexo-operator/internal/walletlock"
)

// visit is one stay in a wallet's critical section.
type visit struct {
	*Spender
	order   *payment.Order
	session *Session
	permit  Permit
	// stopping is done once the process was asked to end. That keeps the next call from being made and interrupts none: one whose answer
	// is not waited for keeps the wallet for a quarantine.
	stopping context.Context
	held     *walletlock.Held
	// clean tells that every call so far had a clear answer, so that nothing of ours can still land.
	clean  bool
	result Result
}

// enter locks the wallet and sees to it that the record is still the one that was decided on.
func (v *visit) enter(intent walletlock.Inflight) (entered bool, err error) {
	v.held, v.result.Held, err = v.lock(v.stopping, v.session, intent)
	if v.result.Held != nil || err != nil {
		return false, err
	}
	last := v.result.Record
	current, err := v.Records.Get(context.WithoutCancel(v.stopping), last.Name)
	if err == nil && current != nil && current.ResourceVersion == last.ResourceVersion {
		return true, nil
	}
	v.leave()
	if err != nil {
		return false, err
	}
	v.result.Held = v.heldAsRecorded("the payment's record changed; it is read again")
	return false, nil
}

// heldAsRecorded holds a payment for a moment, under the reason that its record has.
func (v *visit) heldAsRecorded(message string) *payment.Obstacle {
	reason := v1alpha1.ReasonProgressing
	if v.result.Record.Journal.Phase == v1alpha1.RecordSubmitting {
		reason = v1alpha1.ReasonSubmitting
	}
	return &payment.Obstacle{Reason: reason, Message: message, RetryAfter: time.Second}
}

// leave leaves the critical section. Where it fails the Lease keeps what it says, and whoever comes next waits as after a crash.
func (v *visit) leave() {
	ctx := context.WithoutCancel(v.stopping)
	if err := v.held.Release(ctx, v.clean); err != nil {
		log.FromContext(ctx).Info("the wallet's Lease could not be freed", "cause", err.Error())
	}
}

// swap writes journal to the record.
func (v *visit) swap(ctx context.Context, journal v1alpha1.PaymentJournal) error {
	record, err := v.Records.Swap(ctx, v.result.Record, journal)
	if err == nil {
		v.result.Record = record
	}
	return err
}

// attempt makes one attempt, as far as it goes.
func (v *visit) attempt(ctx context.Context, notAfter time.Time) error {
	absentBefore, unpaid, err := v.lookFirst(ctx)
	if !unpaid || err != nil {
		return err
	}
	if v.stopping.Err() != nil {
		v.result.Held = &shuttingDown
		return nil
	}
	if err := v.swap(ctx, payment.Begin(v.result.Record.Journal, absentBefore, v.Clock.Now())); err != nil {
		return err
	}
	if v.order.StartBefore.Before(notAfter) {
		notAfter = v.order.StartBefore
	}
	unsigned, begun, err := v.begin(ctx, notAfter)
	if !begun || err != nil {
		return err
	}
	request := toSign(v.order, unsigned, v.result.Record.Journal.Attempt, v.session.AssetPolicy)
	if people, ok := v.session.Signer.(*signer.Manual); ok {
		return v.publish(ctx, people, request)
	}
	signed, err := v.session.Signer.Sign(ctx, request)
	if err != nil {
		return v.unsigned(ctx, unsigned, err)
	}
	v.result.Events = append(v.result.Events, unprovenAsset(signed, request.Policy, v.session.AssetPolicy)...)
	if v.order.Kind == v1alpha1.RecordOnchainSend {
		if err := v.Records.KeepPSBT(ctx, v.result.Record, unsigned); err != nil {
			return err
		}
	}
	return v.submit(ctx, signed, func(now, notAfter time.Time) v1alpha1.PaymentJournal {
		return payment.Submitting(v.result.Record.Journal, inspected(signed), now, notAfter)
	})
}

// lookFirst asks, before anything is begun, whether the service has a Lightning payment already. unpaid tells that it does not show it,
// absent that it said so in words. Otherwise the record or the result says what follows.
func (v *visit) lookFirst(ctx context.Context) (absent, unpaid bool, err error) {
	if v.order.Kind != v1alpha1.RecordLightningPayment {
		return false, true, nil
	}
	seen, err := v.Look(ctx, v.order, v.result.Record, v.session)
	if err != nil {
		return false, false, err
	}
	now := v.Clock.Now()
	switch seen.Presence {
	case payment.Absent, payment.NotSeen:
		return seen.Presence == payment.Absent, true, nil
	case payment.Inbound:
		return false, false, v.swap(ctx, payment.GiveUp(v.result.Record.Journal, v1alpha1.ReasonOwnInvoice,
			"the invoice was issued by the node that would pay it, which cannot pay itself; nothing was sent", now))
	case payment.Outbound:
		if v.result.Held = v.order.HashTaken(seen); v.result.Held != nil {
			return false, false, nil
		}
		next, events := payment.Sighted(v.order, v.result.Record.Journal, seen, v.session.Profile, v.Policy, now)
		v.result.Events = append(events, payment.Adopted)
		return false, false, v.swap(ctx, next)
	}
	v.result.Held = &payment.Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: seen.Problem, RetryAfter: 10 * time.Second}
	return false, false, nil
}

// begin asks the service for the unsigned PSBT. Where there is none the record or the result says why.
func (v *visit) begin(ctx context.Context, notAfter time.Time) (unsigned string, begun bool, err error) {
	v.clean = false // until an answer says otherwise
	unsigned, err = callBegin(ctx, v.order, v.session.Service, notAfter)
	if err == nil {
		v.clean = true // the service waits for an end that only this process can make
		return unsigned, true, nil
	}
	obstacle, refused := refusal(err)
	if !refused {
		obstacle.RetryAfter = v.Policy.RefusalBackoff
		v.result.Held = &obstacle
		return "", false, nil
	}
	v.clean = true
	return "", false, v.swap(ctx, payment.Answered(payment.Refused(v.result.Record.Journal, obstacle, v.Policy, v.Clock.Now())))
}

// submit makes the call that moves money, once, unless the process is ending. Nothing stands between permission, the writes to Lease
// and record, and the call.
func (v *visit) submit(ctx context.Context, signed *signer.Signed, ahead func(now, notAfter time.Time) v1alpha1.PaymentJournal) error {
	if v.stopping.Err() != nil {
		v.result.Held = &shuttingDown
		return nil
	}
	asked := v.Clock.Now()
	obstacle, err := v.permit(ctx)
	if obstacle != nil || err != nil {
		v.result.Held = obstacle
		return err
	}
	if v.Clock.Since(asked) > endWindow {
		// The process was paused, or its API server is slow: what allowed the payment may have been taken back since.
		v.result.Held = v.heldAsRecorded("the permission to pay is old by now; it is asked for again")
		return nil
	}
	intent := v.intent(walletlock.End, v.result.Record.Name, v.result.Record.Journal.Attempt, endWindow)
	v.clean = false
	if err := v.held.Declare(ctx, intent); err != nil {
		return err
	}
	record, err := v.writeAhead(ctx, v.result.Record, ahead(v.Clock.Now(), intent.NotAfter.Time))
	if err != nil {
		return err // and nothing was called
	}
	v.result.Record = record

	// The call ends within the client's deadline, and what it came to is written as long as there is anything to write it to.
	requestID, endErr := callEnd(ctx, v.order, v.session.Service, signed.PSBT, intent.NotAfter.Time)
	if endErr != nil {
		log.FromContext(ctx).Info("the call that moves money brought no acceptance", "answer", endErr.Error(), "attempt", record.Journal.Attempt)
	}
	return v.ended(ctx, requestID, endErr)
}

// ended records what the call that moves money came to.
func (v *visit) ended(ctx context.Context, requestID string, endErr error) error {
	answer, refused := judge(endErr)
	if answer == payment.EndAccepted && v.order.Kind == v1alpha1.RecordOnchainSend {
		ours, err := v.claimSend(ctx, v.order, v.result.Record, requestID)
		if err != nil {
			return err
		}
		if !ours {
			return v.conclude(ctx, v.anothersSend)
		}
	}
	cleared := false
	err := v.conclude(ctx, func(journal v1alpha1.PaymentJournal) (next v1alpha1.PaymentJournal, events []payment.Event) {
		next, events, cleared = payment.Ended(v.order, journal, answer, requestID, refused, v.session.Profile, v.Policy, v.Clock.Now())
		return next, events
	})
	if err == nil && answer == payment.EndAccepted && v.order.Kind == v1alpha1.RecordOnchainSend {
		err = v.answeredLate(ctx, requestID)
	}
	v.clean = err == nil && cleared // not before the outcome is written: the Lease is what a repetition needs
	if err != nil || v.order.Kind != v1alpha1.RecordLightningPayment || answer != payment.EndRefused {
		return err
	}
	return v.refusedLightning(ctx, refused)
}

// answeredLate writes the id of a send to a record that somebody called unknown while this process was paused. Where that fails the claim of
// the id tells whoever looks at the payment next.
func (v *visit) answeredLate(ctx context.Context, requestID string) error {
	next, events, late := payment.AnsweredLate(v.result.Record.Journal, requestID)
	if !late {
		return nil
	}
	if err := v.swap(ctx, next); err != nil {
		return err
	}
	v.result.Events = append(v.result.Events, events...)
	return nil
}

// anothersSend is the journal of a send that the service answered with the id of another resource's.
func (v *visit) anothersSend(journal v1alpha1.PaymentJournal) (v1alpha1.PaymentJournal, []payment.Event) {
	const message = "the service answered with the send of another resource, so nobody knows whether this one was sent; look on the chain, then resolve the record"
	return payment.Undecidable(journal, message, v.Clock.Now()), []payment.Event{{
		Warning: true, Reason: v1alpha1.EventWrongOrderExecuted, Message: message,
	}}
}

// refusedLightning asks, after a refusal, whether the service has the payment all the same: only a refusal and no trace of it are
// proof that it was not sent.
func (v *visit) refusedLightning(ctx context.Context, refused payment.Obstacle) error {
	seen, err := v.Look(ctx, v.order, v.result.Record, v.session)
	if err != nil || seen.Presence != payment.Absent {
		return err // Observe goes on from here
	}
	return v.conclude(ctx, func(journal v1alpha1.PaymentJournal) (v1alpha1.PaymentJournal, []payment.Event) {
		return payment.Refused(journal, refused, v.Policy, v.Clock.Now()), nil
	})
}

// writeAhead writes the journal without which nothing is called. Where the answer to the write is lost it looks whether the write took
// effect: a record that says Submitting although nothing was called would end in doubt.
func (s *Spender) writeAhead(ctx context.Context, record *v1alpha1.PaymentRecord, journal v1alpha1.PaymentJournal) (*v1alpha1.PaymentRecord, error) {
	written, err := s.Records.Swap(ctx, record, journal)
	if err == nil || apierrors.IsConflict(err) || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
		return written, err
	}
	for looks, without := 0, 0; looks < writeAheadLooks && without < staleLooks; looks++ {
		s.Clock.Sleep(persistPause)
		current, getErr := s.Records.Get(ctx, record.Name)
		switch {
		case getErr != nil:
			continue
		case current != nil && payment.SameJournal(&current.Journal, &journal):
			return current, nil // notAfter tells the call whether there is still time for it
		case current != nil && !payment.SameJournal(&current.Journal, &record.Journal):
			return nil, err // somebody else wrote
		}
		without++
	}
	return nil, err
}

// conclude writes an outcome to the record and does not give up while there is a record in the state in which the call was made:
// what is not written would have to be guessed later.
func (v *visit) conclude(ctx context.Context, change func(v1alpha1.PaymentJournal) (v1alpha1.PaymentJournal, []payment.Event)) error {
	submitted := v.result.Record
	for without := 0; ; {
		next, events := change(v.result.Record.Journal)
		err := v.swap(ctx, next)
		if err == nil {
			v.result.Events = append(v.result.Events, events...)
			return nil
		}
		log.FromContext(ctx).Error(err, "the outcome of a payment could not be written; trying again", "record", submitted.Name)
		if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
			return err // trying again does not help
		}
		v.Clock.Sleep(persistPause)
		current, err := v.Records.Get(ctx, submitted.Name)
		switch {
		case err != nil:
			continue
		case isBehind(current, submitted) && without < staleLooks:
			without++
			continue
		case current == nil || current.UID != submitted.UID:
			return fmt.Errorf("the record %s of a submitted payment is gone", submitted.Name)
		case current.Journal.Phase != v1alpha1.RecordSubmitting || current.Journal.Attempt != submitted.Journal.Attempt:
			v.result.Record = current // somebody, or our own write whose answer was lost, was faster
			return nil
		}
		v.result.Record = current
	}
}

// isBehind reports whether current may be the record as it was before it was submitted: gone, or not there yet. It may also be that somebody
// else proved meanwhile that nothing was sent.
func isBehind(current, submitted *v1alpha1.PaymentRecord) bool {
	if current == nil || current.Journal.Attempt < submitted.Journal.Attempt {
		return true
	}
	switch current.Journal.Phase {
	case v1alpha1.RecordClaimed, v1alpha1.RecordBegan, v1alpha1.RecordAwaitingSignature:
		return current.Journal.Attempt == submitted.Journal.Attempt
	}
	return false
}

// unsigned records that what the service asked to sign was refused, or could not be signed now. Nothing was submitted.
func (v *visit) unsigned(ctx context.Context, unsignedPSBT string, cause error) error {
	obstacle := unsignable(cause)
	if refusal, ok := errors.AsType[*psbtcheck.Refusal](cause); ok {
		obstacle = rejected(ctx, v.order, v.session, unsignedPSBT, refusal)
	}
	return v.swap(ctx, payment.Refused(v.result.Record.Journal, obstacle, v.Policy, v.Clock.Now()))
}

// unsignable is why a signer did not sign. What it refuses by rules of its own it refuses again; else it is asked again.
func unsignable(cause error) payment.Obstacle {
	if refused, ok := errors.AsType[*signer.RefusedError](cause); ok {
		return payment.Obstacle{
			Reason: v1alpha1.ReasonSignerRefused, DeadEnd: true,
			Message: fmt.Sprintf("the wallet's signer refuses (%s), and nothing was signed or sent: %s", refused.Code, refused.Message),
		}
	}
	problem := "the wallet's signer does not answer"
	if unavailable, ok := errors.AsType[*signer.UnavailableError](cause); ok {
		problem = unavailable.Problem
	}
	return payment.Obstacle{Reason: v1alpha1.ReasonSignerNotAvailable, Message: problem + "; nothing was sent, and it is tried again"}
}

// rejected is the dead end of a PSBT that was refused. One that pays what was declared and merely costs more is told from one that takes
// more than was declared.
func rejected(ctx context.Context, order *payment.Order, session *Session, unsignedPSBT string, refusal *psbtcheck.Refusal) payment.Obstacle {
	if refusal.Code == psbtcheck.OutflowTooHigh {
		public, err := session.Signer.Public(ctx)
		if err == nil {
			inspection, err := psbtcheck.Inspect(unsignedPSBT, public)
			if err == nil && inspection.ExternalSats+inspection.OpReturnSats <= order.AmountSats && inspection.FeeSats > order.MaxFeeSats {
				return payment.Obstacle{
					Reason: v1alpha1.ReasonFeeTooHigh, DeadEnd: true,
					Message: fmt.Sprintf("the transaction to sign costs %d sat, above spec.maxFeeSats %d, and nothing was signed or sent; declare a higher cap in a new resource",
						inspection.FeeSats, order.MaxFeeSats),
				}
			}
		}
	}
	if refusal.Code == psbtcheck.AssetNotProven {
		return payment.Obstacle{
			Reason: v1alpha1.ReasonPSBTRejected, DeadEnd: true,
			Message: "nothing was signed: " + refusal.Message + "; to pay a service that does not prove it, set spec.signer.assetPolicy Warn in the Wallet and declare a new resource",
		}
	}
	return payment.Obstacle{
		Reason: v1alpha1.ReasonPSBTRejected, DeadEnd: true,
		Message: "the service asked to sign something else than what was declared, and nothing was signed: " + refusal.Message,
	}
}

// unrepeatable leaves the outcome to a person.
func (v *visit) unrepeatable(ctx context.Context, why string) error {
	return v.swap(ctx, payment.Unrepeatable(v.order, v.result.Record.Journal, why, v.Clock.Now()))
}

// claimSend makes the service's send id this record's. It is false where the id already is another record's.
func (s *Spender) claimSend(ctx context.Context, order *payment.Order, current *v1alpha1.PaymentRecord, sendID string) (bool, error) {
	name, spec, journal := payment.SendClaim(current, order.Holder, sendID, current.Journal.Attempt)
	for {
		claim, created, err := s.Records.Claim(ctx, name, spec, journal)
		switch {
		case err == nil:
			return created || payment.Answers(claim, current), nil
		case apierrors.IsInvalid(err):
			return false, err
		}
		log.FromContext(ctx).Error(err, "the id of a send could not be claimed; trying again", "record", current.Name)
		s.Clock.Sleep(persistPause)
	}
}

// callBegin asks the service for the unsigned PSBT of order.
func callBegin(ctx context.Context, order *payment.Order, service Service, notAfter time.Time) (string, error) {
	if order.Kind == v1alpha1.RecordLightningPayment {
		return service.PayInvoiceBegin(ctx, order.PaymentRequest, int64(order.MaxFeeSats), notAfter)
	}
	request := utexo.OnchainOrder{Destination: order.Destination, FeeRate: int64(order.FeeRate)}
	if order.Asset != nil {
		request.Asset = &utexo.Asset{ID: order.Asset.ID, Amount: order.Asset.Amount}
	} else {
		sats := int64(order.AmountSats)
		request.AmountSats = &sats
	}
	return service.OnchainSendBegin(ctx, request, notAfter)
}

// callEnd makes the call that moves money and returns the id that the service answered.
func callEnd(ctx context.Context, order *payment.Order, service Service, signedPSBT string, notAfter time.Time) (string, error) {
	if order.Kind == v1alpha1.RecordLightningPayment {
		answer, err := service.PayInvoiceEnd(ctx, signedPSBT, notAfter)
		return answer.ID, err
	}
	answer, err := service.OnchainSendEnd(ctx, signedPSBT, notAfter)
	return answer.ID, err
}
