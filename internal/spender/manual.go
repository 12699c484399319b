package spender

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/walletlock"
)

// publish ends the critical section of an attempt that people have to sign: what they would sign is inspected, permitted and kept, and the
// Lease keeps the wallet for it, so that the end of this attempt can be of no other begin. It is shown once the record says so.
func (v *visit) publish(ctx context.Context, people *signer.Manual, request signer.Request) error {
	found, err := people.Inspect(ctx, request)
	if err != nil {
		return v.unsigned(ctx, request.UnsignedPSBT, err)
	}
	if v.stopping.Err() != nil {
		v.result.Held = &shuttingDown
		return nil
	}
	obstacle, err := v.permit(ctx)
	if obstacle != nil || err != nil {
		v.result.Held = obstacle
		return err
	}
	if err := v.Records.KeepPSBT(ctx, v.result.Record, request.UnsignedPSBT); err != nil {
		return err
	}
	next := payment.AwaitingSignature(v.result.Record.Journal, inspected(found), v.order.SignBefore(v.session.Window, v.Clock.Now()))
	// From here on the Lease keeps what it says. Where the record does not come to say the same, a further attempt of it may enter all the same.
	v.clean = false
	if err := v.held.Declare(ctx, kept(v.result.Record.Name, &next)); err != nil {
		return err
	}
	if err := v.swap(ctx, next); err != nil {
		return err
	}
	v.result.Events = append(v.result.Events, unprovenAsset(found, request.Policy, v.session.AssetPolicy)...)
	return nil
}

// kept is what the Lease says of a wallet that is kept for the attempt of journal.
func kept(record string, journal *v1alpha1.PaymentJournal) walletlock.Inflight {
	return walletlock.Inflight{Operation: walletlock.Sign, Record: record, Attempt: journal.Attempt, NotAfter: *journal.SignBefore}
}

// Objection says what is wrong with what somebody gave as the signed PSBT of the record's attempt, of which unsigned is kept; empty for
// nothing.
func (s *Spender) Objection(ctx context.Context, order *payment.Order, record *v1alpha1.PaymentRecord, session *Session, unsigned, given string) string {
	people, ok := session.Signer.(*signer.Manual)
	if !ok {
		return ""
	}
	_, err := people.Accept(ctx, toSign(order, unsigned, record.Journal.Attempt, session.AssetPolicy), given)
	if wrong, ok := errors.AsType[*signer.UnavailableError](err); ok {
		return wrong.Problem
	}
	return "" // where the unsigned PSBT is refused now, Finish says so
}

// Finish submits the attempt for which the wallet is kept, with the signed PSBT that people gave. Where anything else began on the wallet
// since, or what was to be signed is not there as it was, the attempt is given up, and nothing of it is ever submitted. An error is one of
// the API server's.
func (s *Spender) Finish(ctx context.Context, order *payment.Order, last *v1alpha1.PaymentRecord, session *Session, given string, permit Permit) (Result, error) {
	// Not clean: the wallet is kept until the call that moves money had a clear answer.
	v := &visit{Spender: s, order: order, session: session, permit: permit, stopping: ctx, result: Result{Record: last}}
	signed, err := v.given(ctx, given)
	if signed == nil || err != nil {
		return v.result, err
	}
	entered, err := v.enter(kept(last.Name, &last.Journal))
	if _, lost := errors.AsType[*walletlock.LostError](err); lost {
		err = v.forgo(ctx, "another payment may have begun on the wallet since")
		return v.result, err
	}
	if !entered || err != nil {
		return v.result, err
	}
	defer v.leave()
	ctx = context.WithoutCancel(ctx)
	if order.Kind == v1alpha1.RecordOnchainSend {
		// Should the answer be lost it is asked for with these very bytes.
		if err := s.Records.KeepSignedPSBT(ctx, last, signed.PSBT); err != nil {
			return v.result, err
		}
	}
	err = v.submit(ctx, signed, func(now, notAfter time.Time) v1alpha1.PaymentJournal {
		return payment.Submitting(v.result.Record.Journal, inspected(signed), now, notAfter)
	})
	return v.result, err
}

// given makes of what people gave the signed PSBT that is submitted, or says in the record or the result why it is none.
func (v *visit) given(ctx context.Context, given string) (*signer.Signed, error) {
	last := v.result.Record
	people, ok := v.session.Signer.(*signer.Manual)
	if !ok {
		return nil, v.forgo(ctx, "the Wallet's signer is not Manual any more")
	}
	unsigned, err := v.Records.PSBT(ctx, last)
	if err != nil {
		return nil, err
	}
	if unsigned == "" {
		return nil, v.forgo(ctx, "what was to be signed is gone")
	}
	if v.order.Kind == v1alpha1.RecordOnchainSend {
		// One attempt, one signed PSBT: where it came this far before, with other signatures of the same transaction, those are used.
		before, err := v.Records.SignedPSBT(ctx, last)
		if err != nil {
			return nil, err
		}
		if before != "" {
			given = before
		}
	}
	signed, err := people.Accept(ctx, toSign(v.order, unsigned, last.Journal.Attempt, v.session.AssetPolicy), given)
	if wrong, ok := errors.AsType[*signer.UnavailableError](err); ok {
		v.result.Held = &payment.Obstacle{Reason: v1alpha1.ReasonSignatureRejected, Message: fmt.Sprintf("the signature cannot be used: %s", wrong.Problem)}
		return nil, nil
	}
	if err != nil {
		return nil, v.unsigned(ctx, unsigned, err)
	}
	if signed.Txid != last.Journal.Txid || signed.Inspection.Digest != last.Journal.PSBTDigest {
		return nil, v.forgo(ctx, "what was to be signed is not what was inspected")
	}
	return signed, nil
}

// forgo gives up an attempt that people signed, or were to sign. Nothing of it was submitted.
func (v *visit) forgo(ctx context.Context, why string) error {
	return v.swap(ctx, payment.Unsigned(v.result.Record.Journal, why, v.Policy, v.Clock.Now()))
}

// Free gives up the wallet that was kept for the attempt of record, which has come to another end. Where that fails the wallet is kept until
// the attempt's time is over.
func (s *Spender) Free(ctx context.Context, record *v1alpha1.PaymentRecord) {
	if err := s.Locks.Free(ctx, record.Spec.Wallet.XpubVanilla, record.Name, record.Journal.Attempt); err != nil {
		log.FromContext(ctx).Info("a wallet stays reserved until the time to sign is over", "record", record.Name, "cause", err.Error())
	}
}
