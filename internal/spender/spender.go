// Package spender makes the calls of the money path. What may be called is decided in package payment; here it is called, in the one
// order in which a manifest can pay at most once:
//
//	lock the wallet → read the record afresh → look the payment up → write Began → begin → inspect and sign → ask for permission a
//	last time → declare the end in the Lease → write Submitting → end → write what came of it
//
// Where people sign, Attempt ends with what they have to sign, the Lease keeps the wallet for it, and Finish goes on from there.
// Attempt, Finish and Repeat are the only functions of the operator that reach a call that pays, and submit the only one that makes it.
// Settle makes the call that moves a wallet's balance into channels, under the same lock.
package spender

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
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

// staleLooks is how often it is looked again where a record does not show what was written: neither an answer of a server that is behind nor
// a single "not found" makes an outcome that is known one that is not.
const staleLooks = 3

// Service is what the money path needs of the UTEXO API; *utexo.Client is one.
type Service interface {
	FeeEstimate(ctx context.Context, invoice string) (int64, error)
	CreateInvoice(ctx context.Context, request utexo.InvoiceRequest) (utexo.ReceiveRequest, error)
	SendRequest(ctx context.Context, paymentHash string) (utexo.SendRequest, utexo.Presence, error)
	EachPayment(ctx context.Context, visit func(utexo.Payment)) error
	OnchainSend(ctx context.Context, id string) (utexo.OnchainSend, utexo.Presence, error)
	PayInvoiceBegin(ctx context.Context, invoice string, maxFeeSats int64, notAfter time.Time) (string, error)
	PayInvoiceEnd(ctx context.Context, signedPSBT string, notAfter time.Time) (utexo.SendRequest, error)
	OnchainSendBegin(ctx context.Context, order utexo.OnchainOrder, notAfter time.Time) (string, error)
	OnchainSendEnd(ctx context.Context, signedPSBT string, notAfter time.Time) (utexo.OnchainSend, error)
	Settle(ctx context.Context, notAfter time.Time) (utexo.SettleResult, error)
}

// Session is one wallet at its service, ready to use.
type Session struct {
	Service Service
	// Signer is nil where the wallet has none, and a *signer.Manual where people sign.
	Signer signer.Signer
	// Window is how long people have to sign an attempt.
	Window  time.Duration
	Wallet  v1alpha1.RecordWallet
	Profile v1alpha1.ServerProfile
	// AssetPolicy is the Wallet's, empty where it has none.
	AssetPolicy v1alpha1.AssetPolicy
}

// Spender makes payments.
type Spender struct {
	Records *record.Store
	Locks   *walletlock.Locks
	Clock   clock.Clock
	Policy  payment.Policy

	// nodes holds the knownNode of a service, by service and wallet, as far as it had to be known.
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
func (s *Spender) Attempt(ctx context.Context, order *payment.Order, last *v1alpha1.PaymentRecord, session *Session, permit Permit) (Result, error) {
	v := &visit{Spender: s, order: order, session: session, permit: permit, stopping: ctx, result: Result{Record: last}, clean: true}
	intent := s.intent(walletlock.Begin, last.Name, last.Journal.Attempt+1, beginWindow)
	entered, err := v.enter(intent)
	if !entered || err != nil {
		return v.result, err
	}
	defer v.leave()
	err = v.attempt(context.WithoutCancel(ctx), intent.NotAfter.Time)
	return v.result, err
}

// Repeat submits the identical PSBT of the record's attempt again, in order to learn the answer that was lost. The service must be one
// that answers a repetition with the first one's send, and nothing may have begun on the wallet since.
func (s *Spender) Repeat(ctx context.Context, order *payment.Order, last *v1alpha1.PaymentRecord, session *Session, permit Permit) (Result, error) {
	v := &visit{Spender: s, order: order, session: session, permit: permit, stopping: ctx, result: Result{Record: last}}
	unsigned, err := s.Records.PSBT(ctx, last)
	if err != nil {
		return v.result, err
	}
	if unsigned == "" {
		err = v.unrepeatable(ctx, "its unsigned PSBT is gone, so that it cannot be asked for again")
		return v.result, err
	}
	signed, err := s.signAgain(ctx, order, last, session, unsigned)
	if unavailable, ok := errors.AsType[*signer.UnavailableError](err); ok {
		v.result.Held = &payment.Obstacle{
			Reason: v1alpha1.ReasonSignerNotAvailable, RetryAfter: s.Policy.RefusalBackoff,
			Message: "the answer to the submission was lost, and it is asked for with the same signature once there is one: " + unavailable.Problem,
		}
		return v.result, nil
	}
	if err != nil || signed.Txid != last.Journal.Txid || signed.Inspection.Digest != last.Journal.PSBTDigest {
		err = v.unrepeatable(ctx, "its transaction cannot be signed again as it was")
		return v.result, err
	}
	entered, err := v.enter(s.intent(walletlock.End, last.Name, last.Journal.Attempt, endWindow))
	if _, lost := errors.AsType[*walletlock.LostError](err); lost {
		err = v.unrepeatable(ctx, "another payment may have begun on the wallet since")
		return v.result, err
	}
	if !entered || err != nil {
		return v.result, err
	}
	defer v.leave()
	err = v.submit(context.WithoutCancel(ctx), signed, func(_, notAfter time.Time) v1alpha1.PaymentJournal {
		return payment.Repeating(v.result.Record.Journal, notAfter)
	})
	return v.result, err
}

// signAgain returns the signed PSBT of an attempt that was submitted. It was signed under the policy of then; the caller compares its digest.
func (s *Spender) signAgain(ctx context.Context, order *payment.Order, last *v1alpha1.PaymentRecord, session *Session, unsigned string,
) (*signer.Signed, error) {
	request := toSign(order, unsigned, last.Journal.Attempt, v1alpha1.AssetPolicyWarn)
	if last.Journal.SignBefore == nil {
		return session.Signer.Sign(ctx, request)
	}
	// People signed it, and are not asked to do so again. Any wallet's signer knows the public keys.
	kept, err := s.Records.SignedPSBT(ctx, last)
	if err != nil {
		return nil, &signer.UnavailableError{Problem: "what people signed cannot be read now"}
	}
	public, err := session.Signer.Public(ctx)
	if err != nil {
		return nil, err
	}
	return signer.AcceptSignatures(ctx, public, request, kept)
}

func (s *Spender) intent(operation walletlock.Operation, record string, attempt int32, window time.Duration) walletlock.Inflight {
	return walletlock.Inflight{
		Operation: operation, Record: record, Attempt: attempt, NotAfter: metav1.NewMicroTime(s.Clock.Now().Add(window)),
	}
}

// WalletBusy is why a payment waits while another one is made from its wallet.
func WalletBusy(retryAfter time.Duration) *payment.Obstacle {
	return &payment.Obstacle{Reason: v1alpha1.ReasonWalletBusy, Message: "waiting for another payment from this wallet", RetryAfter: retryAfter}
}

// lock enters the wallet's critical section, or says why it is not to be entered now.
func (s *Spender) lock(ctx context.Context, session *Session, intent walletlock.Inflight) (*walletlock.Held, *payment.Obstacle, error) {
	held, err := s.Locks.Acquire(ctx, session.Wallet.XpubVanilla, intent)
	if quarantined, ok := errors.AsType[*walletlock.QuarantinedError](err); ok {
		answered, readErr := s.answered(ctx, session, quarantined.Inflight)
		if readErr != nil {
			return nil, nil, readErr
		}
		if answered {
			held, err = s.Locks.AcquireAfter(ctx, session.Wallet.XpubVanilla, quarantined.Inflight, intent)
		}
	}
	if busy, ok := errors.AsType[*walletlock.BusyError](err); ok {
		return nil, WalletBusy(busy.RetryAfter), nil
	}
	if quarantined, ok := errors.AsType[*walletlock.QuarantinedError](err); ok {
		return nil, &payment.Obstacle{
			Reason: v1alpha1.ReasonWalletQuarantined,
			Message: fmt.Sprintf("a call for record %s had no clear answer and may still land; nothing begins on this wallet before %s",
				quarantined.Inflight.Record, quarantined.Until.UTC().Format(time.RFC3339)),
			RetryAfter: max(quarantined.Until.Sub(s.Clock.Now()), time.Second),
		}, nil
	}
	if reserved, ok := errors.AsType[*walletlock.ReservedError](err); ok {
		until := reserved.Inflight.NotAfter.Time
		return nil, &payment.Obstacle{
			Reason: v1alpha1.ReasonWalletBusy,
			Message: fmt.Sprintf("the payment of record %s waits for its signature, and nothing else begins on this wallet before that, or before %s",
				reserved.Inflight.Record, until.UTC().Format(time.RFC3339)),
			RetryAfter: min(max(until.Sub(s.Clock.Now()), time.Second), reservedPoll),
		}, nil
	}
	return held, nil, err
}

// answered reports whether a call of which a wallet's Lease still tells is over: its record says that it had a clear answer, and whoever wrote
// so did not come to free the Lease.
func (s *Spender) answered(ctx context.Context, session *Session, call walletlock.Inflight) (bool, error) {
	found, err := s.Records.Get(context.WithoutCancel(ctx), call.Record)
	if err != nil || found == nil {
		return false, err
	}
	return found.Spec.Wallet.XpubVanilla == session.Wallet.XpubVanilla && found.Journal.AnsweredAttempt == call.Attempt, nil
}

// reservedPoll is how often a payment looks whether the one that is being signed is over.
const reservedPoll = 30 * time.Second
