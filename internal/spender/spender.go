// Package spender makes the calls of the money path. What may be called is decided in package payment; here it is called, in the one
// order in which a manifest can pay at most once:
//
//	lock the wallet → read the record afresh → look the payment up → write Began → begin → inspect and sign → ask for permission a
//	last time → declare the end in the Lease → write Submitting → end → write what came of it
//
// Attempt and Repeat are the only two functions of the operator that reach a call that moves money, and submit the only one that
// makes it.
package spender

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/record"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/utexo"
	"github.com/utexo/utexo-operator/internal/walletlock"
)

// Instants after which no byte of a call is written, counted from when it is written down.
const (
	// beginWindow covers the look-up before the begin.
	beginWindow = 60 * time.Second
	endWindow   = 20 * time.Second
)

// persistPause is how long to wait before an outcome is written again.
const persistPause = time.Second

// writeAheadLooks is how often it is looked whether a write-ahead with a lost answer took effect: while the call it precedes may be made.
const writeAheadLooks = 10

// Service is what the money path needs of the UTEXO API; *utexo.Client is one.
type Service interface {
	FeeEstimate(ctx context.Context, invoice string) (int64, error)
	CreateInvoice(ctx context.Context, request utexo.InvoiceRequest) (utexo.ReceiveRequest, error)
	SendRequest(ctx context.Context, paymentHash string) (utexo.SendRequest, utexo.Presence, error)
	ListPayments(ctx context.Context) ([]utexo.Payment, error)
	OnchainSend(ctx context.Context, id string) (utexo.OnchainSend, utexo.Presence, error)
	PayInvoiceBegin(ctx context.Context, invoice string, maxFeeSats int64, notAfter time.Time) (string, error)
	PayInvoiceEnd(ctx context.Context, signedPSBT string, notAfter time.Time) (utexo.SendRequest, error)
	OnchainSendBegin(ctx context.Context, order utexo.OnchainOrder, notAfter time.Time) (string, error)
	OnchainSendEnd(ctx context.Context, signedPSBT string, notAfter time.Time) (utexo.OnchainSend, error)
}

// Session is one wallet at its service, ready to use.
type Session struct {
	Service Service
	// Signer is nil where the wallet has none.
	Signer  signer.Signer
	Wallet  v1alpha1.RecordWallet
	Profile v1alpha1.ServerProfile
}

// Spender makes payments.
type Spender struct {
	Records *record.Store
	Locks   *walletlock.Locks
	Clock   clock.Clock
	Policy  payment.Policy

	// nodes holds the public key of the node behind a service, by service and wallet, as far as it had to be known.
	nodes sync.Map
}

// shuttingDown is why nothing more is called by a process that was asked to end. The next one goes on.
var shuttingDown = payment.Obstacle{Reason: v1alpha1.ReasonProgressing, Message: "the operator is restarting"}

// Permit is asked right before the call that moves money. It returns why that call must not be made, or nil.
type Permit func(ctx context.Context) (*payment.Obstacle, error)

// Result is what a step came to.
type Result struct {
	// Record is the record as it now is.
	Record *v1alpha1.PaymentRecord
	// Held is why the step could not be done; the record then says no more than before.
	Held   *payment.Obstacle
	Events []payment.Event
}

// Attempt makes one attempt of order: the wallet's critical section. An error is one of the API server's; every answer of the service,
// and every lack of one, is in the result.
func (s *Spender) Attempt(ctx context.Context, order *payment.Order, last *v1alpha1.PaymentRecord, session *Session, permit Permit) (result Result, err error) {
	result.Record = last
	intent := s.intent(walletlock.Begin, last.Name, last.Journal.Attempt+1, beginWindow)
	held, obstacle, err := s.lock(ctx, session, intent)
	if obstacle != nil || err != nil {
		result.Held = obstacle
		return result, err
	}
	clean := true
	defer func() { s.release(ctx, held, clean) }()
	stopping := ctx
	// A shutdown does not interrupt a call: one whose answer is not waited for keeps the wallet for a quarantine. It keeps the next
	// call from being made.
	ctx = context.WithoutCancel(ctx)

	current, err := s.Records.Get(ctx, last.Name)
	if err != nil {
		return result, err
	}
	if current == nil || current.ResourceVersion != last.ResourceVersion {
		result.Held = &payment.Obstacle{
			Reason: v1alpha1.ReasonProgressing, Message: "the payment's record changed; it is read again", RetryAfter: time.Second,
		}
		return result, nil
	}
	absentBefore := false
	if order.Kind == v1alpha1.RecordLightningPayment {
		seen, err := s.Look(ctx, order, current, session)
		if err != nil {
			return result, err
		}
		done, err := s.foundBefore(ctx, order, current, seen, session, &result)
		if done || err != nil {
			return result, err
		}
		absentBefore = seen.Presence == payment.Absent
	}
	if stopping.Err() != nil {
		result.Held = &shuttingDown
		return result, nil
	}

	if result.Record, err = s.Records.Swap(ctx, current, payment.Begin(current.Journal, absentBefore, s.Clock.Now())); err != nil {
		return result, err
	}
	clean = false // from here until an answer says otherwise
	notAfter := intent.NotAfter.Time
	if order.StartBefore.Before(notAfter) {
		notAfter = order.StartBefore
	}
	unsigned, err := s.begin(ctx, order, session, notAfter)
	if err != nil {
		obstacle, refused := refusal(err)
		if !refused {
			obstacle.RetryAfter = s.Policy.RefusalBackoff
			result.Held = &obstacle
			return result, nil
		}
		clean = true
		result.Record, err = s.Records.Swap(ctx, result.Record, payment.Refused(result.Record.Journal, obstacle, s.Policy, s.Clock.Now()))
		return result, err
	}
	clean = true // the service waits for an end that only this process can make

	signed, err := session.Signer.Sign(ctx, signer.Request{UnsignedPSBT: unsigned, Policy: signingPolicy(order)})
	if err != nil {
		return s.unsigned(ctx, order, session, result, unsigned, err)
	}
	if order.Kind == v1alpha1.RecordOnchainSend {
		if err := s.Records.KeepPSBT(ctx, result.Record, unsigned); err != nil {
			return result, err
		}
	}
	return s.submit(stopping, order, result, session, held, permit, signed, &clean, func(now, notAfter time.Time) v1alpha1.PaymentJournal {
		return payment.Submitting(result.Record.Journal, inspected(signed), now, notAfter)
	})
}

// Repeat submits the identical PSBT of the record's attempt again, in order to learn the answer that was lost. The service must be one
// that answers a repetition with the first one's send, and nothing may have begun on the wallet since.
func (s *Spender) Repeat(ctx context.Context, order *payment.Order, last *v1alpha1.PaymentRecord, session *Session, permit Permit) (result Result, err error) {
	result.Record = last
	unsigned, err := s.Records.PSBT(ctx, last)
	if err != nil {
		return result, err
	}
	if unsigned == "" {
		return s.unrepeatable(ctx, order, result, "its unsigned PSBT is gone, so that it cannot be asked for again")
	}
	signed, err := session.Signer.Sign(ctx, signer.Request{UnsignedPSBT: unsigned, Policy: signingPolicy(order)})
	if err != nil || signed.Txid != last.Journal.Txid || signed.Inspection.Digest != last.Journal.PSBTDigest {
		return s.unrepeatable(ctx, order, result, "its transaction cannot be signed again as it was")
	}
	intent := s.intent(walletlock.End, last.Name, last.Journal.Attempt, endWindow)
	held, obstacle, err := s.lock(ctx, session, intent)
	if _, lost := errors.AsType[*walletlock.LostError](err); lost {
		return s.unrepeatable(ctx, order, result, "another payment may have begun on the wallet since")
	}
	if obstacle != nil || err != nil {
		result.Held = obstacle
		return result, err
	}
	clean := false
	defer func() { s.release(ctx, held, clean) }()
	current, err := s.Records.Get(ctx, last.Name)
	if err != nil {
		return result, err
	}
	if current == nil || current.ResourceVersion != last.ResourceVersion {
		result.Held = &payment.Obstacle{
			Reason: v1alpha1.ReasonSubmitting, Message: "the payment's record changed; it is read again", RetryAfter: time.Second,
		}
		return result, nil
	}
	return s.submit(ctx, order, result, session, held, permit, signed, &clean, func(_, notAfter time.Time) v1alpha1.PaymentJournal {
		return payment.Repeating(current.Journal, notAfter)
	})
}

// submit makes the call that moves money, once, unless ctx is done before. Nothing stands between permission, the writes to Lease and
// record, and the call; nothing that happens to ctx interrupts the call or the writing of its outcome.
func (s *Spender) submit(ctx context.Context, order *payment.Order, result Result, session *Session, held *walletlock.Held, permit Permit,
	signed *signer.Signed, clean *bool, ahead func(now, notAfter time.Time) v1alpha1.PaymentJournal,
) (Result, error) {
	if ctx.Err() != nil {
		result.Held = &shuttingDown
		return result, nil
	}
	ctx = context.WithoutCancel(ctx)
	obstacle, err := permit(ctx)
	if obstacle != nil || err != nil {
		result.Held = obstacle
		return result, err
	}
	intent := s.intent(walletlock.End, result.Record.Name, result.Record.Journal.Attempt, endWindow)
	*clean = false
	if err := held.Declare(ctx, intent); err != nil {
		return result, err
	}
	record, err := s.writeAhead(ctx, result.Record, ahead(s.Clock.Now(), intent.NotAfter.Time))
	if err != nil {
		return result, err // and nothing was called
	}
	result.Record = record

	// The call ends within the client's deadline, and what it came to is written as long as there is anything to write it to.
	requestID, endErr := s.end(ctx, order, session, signed.PSBT, intent.NotAfter.Time)
	answer, refused := judge(endErr)
	if endErr != nil {
		log.FromContext(ctx).Info("the call that moves money brought no acceptance", "answer", endErr.Error(), "attempt", record.Journal.Attempt)
	}
	if answer == payment.EndAccepted && order.Kind == v1alpha1.RecordOnchainSend {
		ours, err := s.claimSend(ctx, order, record, requestID)
		if err != nil {
			return result, err
		}
		if !ours {
			return s.conclude(ctx, result, func(journal v1alpha1.PaymentJournal) (v1alpha1.PaymentJournal, []payment.Event) {
				message := "the service answered with the send of another resource, so nobody knows whether this one was sent; look on the chain, then resolve the record"
				return payment.Undecidable(journal, message, s.Clock.Now()), []payment.Event{{
					Warning: true, Reason: v1alpha1.EventWrongOrderExecuted, Message: message,
				}}
			})
		}
	}
	cleared := false
	result, err = s.conclude(ctx, result, func(journal v1alpha1.PaymentJournal) (next v1alpha1.PaymentJournal, events []payment.Event) {
		next, events, cleared = payment.Ended(order, journal, answer, requestID, refused, session.Profile, s.Policy, s.Clock.Now())
		return next, events
	})
	*clean = err == nil && cleared // not before the outcome is written: the Lease is what a repetition needs
	if err != nil || order.Kind != v1alpha1.RecordLightningPayment || answer != payment.EndRefused {
		return result, err
	}
	return s.refusedLightning(ctx, order, result, session, refused)
}

// writeAhead writes the journal without which nothing is called. Where the answer to the write is lost it looks whether the write took
// effect: a record that says Submitting although nothing was called would end in doubt.
func (s *Spender) writeAhead(ctx context.Context, record *v1alpha1.PaymentRecord, journal v1alpha1.PaymentJournal) (*v1alpha1.PaymentRecord, error) {
	written, err := s.Records.Swap(ctx, record, journal)
	if err == nil || apierrors.IsConflict(err) || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
		return written, err
	}
	for range writeAheadLooks {
		s.Clock.Sleep(persistPause)
		current, getErr := s.Records.Get(context.WithoutCancel(ctx), record.Name)
		switch {
		case getErr != nil:
			continue
		case current != nil && payment.SameJournal(&current.Journal, &journal):
			return current, nil // notAfter tells the call whether there is still time for it
		default:
			return nil, err
		}
	}
	return nil, err
}

// refusedLightning asks, after a refusal, whether the service has the payment all the same: only a refusal and no trace of it are
// proof that it was not sent.
func (s *Spender) refusedLightning(ctx context.Context, order *payment.Order, result Result, session *Session, refused payment.Obstacle) (Result, error) {
	seen, err := s.Look(ctx, order, result.Record, session)
	if err != nil || seen.Presence != payment.Absent {
		return result, err // Observe goes on from here
	}
	return s.conclude(ctx, result, func(journal v1alpha1.PaymentJournal) (v1alpha1.PaymentJournal, []payment.Event) {
		return payment.Refused(journal, refused, s.Policy, s.Clock.Now()), nil
	})
}

// conclude writes an outcome to the record and does not give up while there is a record in the state in which the call was made:
// what is not written would have to be guessed later.
func (s *Spender) conclude(ctx context.Context, result Result,
	change func(v1alpha1.PaymentJournal) (v1alpha1.PaymentJournal, []payment.Event),
) (Result, error) {
	submitted := result.Record
	for {
		next, events := change(result.Record.Journal)
		record, err := s.Records.Swap(ctx, result.Record, next)
		if err == nil {
			result.Record, result.Events = record, append(result.Events, events...)
			return result, nil
		}
		log.FromContext(ctx).Error(err, "the outcome of a payment could not be written; trying again", "record", submitted.Name)
		if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
			return result, err // trying again does not help
		}
		s.Clock.Sleep(persistPause)
		current, err := s.Records.Get(ctx, submitted.Name)
		switch {
		case err != nil:
			continue
		case current == nil || current.UID != submitted.UID:
			return result, fmt.Errorf("the record %s of a submitted payment is gone", submitted.Name)
		case current.Journal.Phase != v1alpha1.RecordSubmitting || current.Journal.Attempt != submitted.Journal.Attempt:
			result.Record = current // somebody, or our own write whose answer was lost, was faster
			return result, nil
		}
		result.Record = current
	}
}

// foundBefore says what to do where the service was asked, before anything was begun, and knows the payment or did not answer.
func (s *Spender) foundBefore(ctx context.Context, order *payment.Order, current *v1alpha1.PaymentRecord, seen payment.Sighting,
	session *Session, result *Result,
) (done bool, err error) {
	now := s.Clock.Now()
	switch seen.Presence {
	case payment.Absent, payment.NotSeen:
		return false, nil
	case payment.Inbound:
		result.Record, err = s.Records.Swap(ctx, current, payment.GiveUp(current.Journal, v1alpha1.ReasonOwnInvoice,
			"the invoice was issued by the node that would pay it, which cannot pay itself; nothing was sent", now))
		return true, err
	case payment.Outbound:
		next, events := payment.Sighted(order, current.Journal, seen, session.Profile, s.Policy, now)
		result.Record, err = s.Records.Swap(ctx, current, next)
		result.Events = append(events, payment.Event{
			Reason: v1alpha1.EventAdopted, Message: "the service already has a payment of this invoice; its outcome is taken over and nothing is sent",
		})
		return true, err
	}
	result.Held = &payment.Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: seen.Problem, RetryAfter: 10 * time.Second}
	return true, nil
}

// unsigned records that what the service asked to sign was refused, or could not be signed now. Nothing was submitted.
func (s *Spender) unsigned(ctx context.Context, order *payment.Order, session *Session, result Result, unsignedPSBT string, cause error) (Result, error) {
	obstacle := payment.Obstacle{Reason: v1alpha1.ReasonSignerNotAvailable, Message: "the wallet's signer does not answer; it is tried again"}
	if refusal, ok := errors.AsType[*psbtcheck.Refusal](cause); ok {
		obstacle = s.rejected(ctx, order, session, unsignedPSBT, refusal)
	}
	record, err := s.Records.Swap(ctx, result.Record, payment.Refused(result.Record.Journal, obstacle, s.Policy, s.Clock.Now()))
	if err == nil {
		result.Record = record
	}
	return result, err
}

// rejected is the dead end of a PSBT that was refused. One that pays what was declared and merely costs more is told from one that takes
// more than was declared.
func (s *Spender) rejected(ctx context.Context, order *payment.Order, session *Session, unsignedPSBT string, refusal *psbtcheck.Refusal) payment.Obstacle {
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
	return payment.Obstacle{
		Reason: v1alpha1.ReasonPSBTRejected, DeadEnd: true,
		Message: "the service asked to sign something else than what was declared, and nothing was signed: " + refusal.Message,
	}
}

func (s *Spender) unrepeatable(ctx context.Context, order *payment.Order, result Result, why string) (Result, error) {
	next := payment.Unrepeatable(order, result.Record.Journal, why, s.Clock.Now())
	record, err := s.Records.Swap(ctx, result.Record, next)
	if err != nil {
		return result, err
	}
	result.Record = record
	return result, nil
}

// claimSend makes the service's send id this record's. It is false where the id already is another record's.
func (s *Spender) claimSend(ctx context.Context, order *payment.Order, current *v1alpha1.PaymentRecord, sendID string) (bool, error) {
	spec := v1alpha1.PaymentRecordSpec{Kind: v1alpha1.RecordSendClaim, Wallet: current.Spec.Wallet, RequestID: sendID, RecordRef: current.Name}
	journal := v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld, Holder: order.Holder}
	for {
		claim, created, err := s.Records.Claim(ctx, payment.SendClaimName(sendID), spec, journal)
		switch {
		case err == nil:
			return created || claim.Spec.RecordRef == current.Name, nil
		case apierrors.IsInvalid(err):
			return false, err
		}
		log.FromContext(ctx).Error(err, "the id of a send could not be claimed; trying again", "record", current.Name)
		s.Clock.Sleep(persistPause)
	}
}

// begin asks the service for the unsigned PSBT of order.
func (s *Spender) begin(ctx context.Context, order *payment.Order, session *Session, notAfter time.Time) (string, error) {
	if order.Kind == v1alpha1.RecordLightningPayment {
		return session.Service.PayInvoiceBegin(ctx, order.PaymentRequest, int64(order.MaxFeeSats), notAfter)
	}
	request := utexo.OnchainOrder{Destination: order.Destination, FeeRate: int64(order.FeeRate)}
	if order.Asset != nil {
		request.Asset = &utexo.Asset{ID: order.Asset.ID, Amount: order.Asset.Amount}
	} else {
		sats := int64(order.AmountSats)
		request.AmountSats = &sats
	}
	return session.Service.OnchainSendBegin(ctx, request, notAfter)
}

// end makes the call that moves money and returns the id that the service answered.
func (s *Spender) end(ctx context.Context, order *payment.Order, session *Session, signedPSBT string, notAfter time.Time) (string, error) {
	if order.Kind == v1alpha1.RecordLightningPayment {
		answer, err := session.Service.PayInvoiceEnd(ctx, signedPSBT, notAfter)
		return answer.ID, err
	}
	answer, err := session.Service.OnchainSendEnd(ctx, signedPSBT, notAfter)
	return answer.ID, err
}

func (s *Spender) intent(operation walletlock.Operation, record string, attempt int32, window time.Duration) walletlock.Inflight {
	return walletlock.Inflight{
		Operation: operation, Record: record, Attempt: attempt, NotAfter: metav1.NewMicroTime(s.Clock.Now().Add(window)),
	}
}

// lock enters the wallet's critical section, or says why it is not to be entered now.
func (s *Spender) lock(ctx context.Context, session *Session, intent walletlock.Inflight) (*walletlock.Held, *payment.Obstacle, error) {
	held, err := s.Locks.Acquire(ctx, session.Wallet.XpubVanilla, intent)
	if busy, ok := errors.AsType[*walletlock.BusyError](err); ok {
		return nil, &payment.Obstacle{
			Reason: v1alpha1.ReasonWalletBusy, Message: "waiting for another payment from this wallet", RetryAfter: busy.RetryAfter,
		}, nil
	}
	if quarantined, ok := errors.AsType[*walletlock.QuarantinedError](err); ok {
		return nil, &payment.Obstacle{
			Reason: v1alpha1.ReasonWalletQuarantined,
			Message: fmt.Sprintf("a call for record %s had no clear answer and may still land; nothing begins on this wallet before %s",
				quarantined.Inflight.Record, quarantined.Until.UTC().Format(time.RFC3339)),
			RetryAfter: max(quarantined.Until.Sub(s.Clock.Now()), time.Second),
		}, nil
	}
	return held, nil, err
}

// release leaves the critical section. Where it fails the Lease keeps what it says, and whoever comes next waits as after a crash.
func (s *Spender) release(ctx context.Context, held *walletlock.Held, clean bool) {
	if err := held.Release(context.WithoutCancel(ctx), clean); err != nil {
		log.FromContext(ctx).Info("the wallet's Lease could not be freed", "cause", err.Error())
	}
}
