package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/shard"
	"github.com/utexo/utexo-operator/internal/spender"
	"github.com/utexo/utexo-operator/internal/turns"
	"github.com/utexo/utexo-operator/internal/utexo"
)

// act does the one thing that was decided.
func (r *pass) act(ctx context.Context, step payment.Step) error {
	switch step {
	case payment.Continue:
		return nil
	case payment.Estimate:
		return r.estimate(ctx)
	case payment.Claim:
		return r.claim(ctx)
	case payment.Submit:
		if !r.enter(ctx) {
			return nil
		}
		defer r.leave()
		if taken, err := r.claimOrder(ctx); taken || err != nil {
			return err
		}
		result, err := r.Spender.Attempt(ctx, r.facts.Order, r.facts.Record, r.session, r.permitStart)
		return r.took(ctx, result, err)
	case payment.Finish:
		result, err := r.Spender.Finish(ctx, r.facts.Order, r.facts.Record, r.session, r.facts.Given.Signature, r.permitStart)
		return r.took(ctx, result, err)
	case payment.Repeat:
		result, err := r.Spender.Repeat(ctx, r.facts.Order, r.facts.Record, r.session, r.permit)
		return r.took(ctx, result, err)
	case payment.ClaimSend:
		return r.claimSend(ctx)
	case payment.Observe:
		asked, record := r.Clock.Now(), r.facts.Record
		if record == nil {
			record = &v1alpha1.PaymentRecord{}
		}
		seen, err := r.Spender.Look(ctx, r.facts.Order, record, r.session)
		if err != nil {
			return err
		}
		seen.AskedAt = asked
		r.facts.Sighting = &seen
		return nil
	}
	return reconcile.TerminalError(fmt.Errorf("no way to %s", step))
}

// enter waits for the payment's turn at its wallet. It is false where that did not come yet.
func (r *pass) enter(ctx context.Context) bool {
	r.inLine = r.Turns != nil && !r.Turns.Enter(ctx, r.session.Wallet.XpubVanilla, r.who())
	if r.inLine {
		r.facts.Held = spender.WalletBusy(turns.Again)
	}
	return !r.inLine
}

func (r *pass) leave() {
	if r.Turns != nil {
		r.Turns.Leave(r.session.Wallet.XpubVanilla)
	}
}

// took keeps what a step of the money path came to.
func (r *pass) took(ctx context.Context, result spender.Result, err error) error {
	if err != nil {
		return err
	}
	r.Status.Emit(r.object.inner(), result.Events)
	if before := r.facts.Record; before.Journal.Phase != result.Record.Journal.Phase || before.Journal.Attempt != result.Record.Journal.Attempt {
		logRecorded(ctx, result.Record)
	}
	r.freed(ctx, r.facts.Record, result.Record)
	r.facts.Record, r.facts.Held, r.facts.Sighting = result.Record, result.Held, nil
	return nil
}

// estimate asks for the fee. A service that offers no estimate is not asked for one again: the cap is checked when signing.
func (r *pass) estimate(ctx context.Context) error {
	fee, err := r.session.Service.FeeEstimate(ctx, r.facts.Order.PaymentRequest)
	switch {
	case err == nil:
	case errors.Is(err, utexo.ErrNotAvailable):
		fee = 0
	default:
		r.facts.Held = &payment.Obstacle{
			Reason: v1alpha1.ReasonServiceUnavailable, Message: fmt.Sprintf("no fee estimate: %s", serviceMessage(err)), RetryAfter: estimateRetry,
		}
		return nil
	}
	r.facts.FeeEstimateSats = &fee
	return nil
}

// estimateRetry is how long to wait for a fee estimate that was not answered.
const estimateRetry = 15 * time.Second

// serviceMessage is what a person is told of a call that failed.
func serviceMessage(err error) string {
	if failed, ok := errors.AsType[*utexo.Error](err); ok {
		return fmt.Sprintf("%s %s", failed.Code, failed.Message)
	}
	return "the service did not answer"
}

// claim makes the payment's identity ours.
func (r *pass) claim(ctx context.Context) error {
	order := r.facts.Order
	journal := payment.NewJournal(order)
	journal.FeeEstimateSats = r.facts.FeeEstimateSats
	if r.facts.Deleting {
		return r.adoptDeleted(ctx, journal)
	}
	var err error
	if cancelled := r.facts.Record; cancelled != nil {
		r.facts.Record, err = r.Records.Reclaim(ctx, cancelled, order.RecordSpec(), journal)
	} else {
		r.facts.Record, _, err = r.Records.Claim(ctx, order.RecordName(), order.RecordSpec(), journal)
	}
	if err != nil {
		return err
	}
	return r.unclaim(ctx)
}

// adoptDeleted records what the service shows of a payment that is being deleted and whose record was lost. It is claimed with its outcome at
// once: what is only claimed of a resource that is being deleted is given up.
func (r *pass) adoptDeleted(ctx context.Context, journal v1alpha1.PaymentJournal) error {
	order := r.facts.Order
	journal, events := payment.Sighted(order, journal, *r.facts.Sighting, r.facts.Profile, r.Policy, r.Clock.Now())
	claimed, created, err := r.Records.Claim(ctx, order.RecordName(), order.RecordSpec(), journal)
	if err != nil {
		return err
	}
	r.facts.Record, r.facts.Sighting = claimed, nil
	if created {
		r.Status.Emit(r.object.inner(), append(events, payment.Adopted))
	}
	return nil
}

// unclaim gives a record up again that was claimed for a resource which is gone, or was called failed, as a cache may not know yet: nobody
// would drive it, and it would keep everybody else from the payment.
func (r *pass) unclaim(ctx context.Context) error {
	journal := r.facts.Record.Journal
	if journal.Phase != v1alpha1.RecordClaimed || journal.Holder != r.facts.Order.Holder {
		return nil
	}
	current := r.object.fresh()
	err := r.Reader.Get(ctx, client.ObjectKeyFromObject(r.object.inner()), current.inner())
	switch {
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("reading the payment: %w", err)
	case err == nil && current.inner().GetUID() == r.object.inner().GetUID() && current.inner().GetDeletionTimestamp().IsZero():
		if r.facts.GivenUp = givenUp(current, r.Clock.Now()); r.facts.GivenUp == nil {
			return nil
		}
		r.object, r.before = current, current.copy() // whose status then tells of the record
		next := payment.GiveUp(journal, r.facts.GivenUp.Reason, r.facts.GivenUp.Message, r.Clock.Now())
		r.facts.Record, err = r.Records.Swap(ctx, r.facts.Record, next)
		return err
	}
	r.facts.Deleting = true
	next := payment.GiveUp(journal, v1alpha1.ReasonCancelled, "deleted before anything was sent", r.Clock.Now())
	r.facts.Record, err = r.Records.Swap(ctx, r.facts.Record, next)
	return err
}

// claimOrder makes what the service takes for one on-chain order ours. It is true where another resource has it, which then is in the
// record.
func (r *pass) claimOrder(ctx context.Context) (bool, error) {
	order, current := r.facts.Order, r.facts.Record
	if order.Kind != v1alpha1.RecordOnchainSend {
		return false, nil
	}
	spec := v1alpha1.PaymentRecordSpec{
		Kind: v1alpha1.RecordOrderClaim, Wallet: order.Wallet, Destination: order.Destination, RecordRef: current.Name,
	}
	journal := v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld, Holder: order.Holder}
	claim, created, err := r.Records.Claim(ctx, order.OrderClaimName(), spec, journal)
	switch {
	case err != nil || created:
		return false, err
	case claim.Spec.RecordRef == current.Name && claim.Journal.Holder == order.Holder && claim.Spec.Wallet == order.Wallet:
		return false, nil
	case claim.Spec.RecordRef == current.Name:
		// It was given up before, and somebody who saw that may be taking the claim over now: who writes to it first has it.
		_, err := r.Records.Reclaim(ctx, claim, spec, journal)
		return false, err
	}
	holder, err := r.Records.Get(ctx, claim.Spec.RecordRef)
	if err != nil {
		return false, err
	}
	if holder != nil && payment.NeverSubmitted(&holder.Journal) {
		_, err := r.Records.Reclaim(ctx, claim, spec, journal)
		return false, err
	}
	next := payment.GiveUp(current.Journal, v1alpha1.ReasonOrderCollision, fmt.Sprintf(
		"%s %s/%s sends, or sent, the same amount to the same destination at the same fee rate, which the service would take for one order; nothing was sent: change the amount by 1 sat, or the fee rate, in a new OnchainSend",
		claim.Journal.Holder.Kind, claim.Journal.Holder.Namespace, claim.Journal.Holder.Name), r.Clock.Now())
	r.facts.Record, err = r.Records.Swap(ctx, current, next)
	return true, err
}

// claimSend makes the service's id of a send that is followed the record's. Where it is another resource's the record is given up.
func (r *pass) claimSend(ctx context.Context) error {
	order, current := r.facts.Order, r.facts.Record
	name, spec, journal := payment.SendClaim(current, order.Holder, order.SendID, 0)
	claim, created, err := r.Records.Claim(ctx, name, spec, journal)
	if err != nil {
		return err
	}
	if created || claim.Spec.RecordRef == current.Name {
		r.facts.ClaimedSend = order.SendID
		return nil
	}
	next := payment.GiveUp(current.Journal, v1alpha1.ReasonDuplicatePayment, fmt.Sprintf(
		"%s %s/%s made or follows the send that spec.sendID names, see its status; nothing was sent by this resource: delete it",
		claim.Journal.Holder.Kind, claim.Journal.Holder.Namespace, claim.Journal.Holder.Name), r.Clock.Now())
	r.facts.Record, err = r.Records.Swap(ctx, current, next)
	return err
}

// permitStart is permit for the first call of an attempt, which limits and approvals must still cover.
func (r *pass) permitStart(ctx context.Context) (*payment.Obstacle, error) {
	if obstacle, err := r.permit(ctx); obstacle != nil || err != nil {
		return obstacle, err
	}
	if err := r.gate(ctx); err != nil {
		return nil, err
	}
	if r.Turns != nil {
		r.Turns.Near(r.session.Wallet.XpubVanilla) // one call, and the next one may come
	}
	if r.facts.Blocked != nil {
		return r.facts.Blocked, nil
	}
	return r.facts.Unapproved, nil
}

// movedAway is why a manager does not go on with what it began.
const movedAway = "this resource moved to another shard, whose manager goes on with it"

// permit reads, uncached and right before the call that moves money, what may have changed since the pass began.
func (r *pass) permit(ctx context.Context) (*payment.Obstacle, error) {
	held := func(reason, message string) (*payment.Obstacle, error) {
		return &payment.Obstacle{Reason: reason, Message: message, RetryAfter: time.Second}, nil
	}
	current := r.object.fresh()
	err := r.Reader.Get(ctx, client.ObjectKeyFromObject(r.object.inner()), current.inner())
	switch {
	case apierrors.IsNotFound(err) || (err == nil && current.inner().GetUID() != r.object.inner().GetUID()):
		return held(v1alpha1.ReasonCancelled, "the resource is gone")
	case err != nil:
		return nil, fmt.Errorf("reading the payment: %w", err)
	case !current.inner().GetDeletionTimestamp().IsZero():
		return held(v1alpha1.ReasonCancelled, "the resource is being deleted")
	case !shard.Same(current.inner(), r.object.inner()):
		return held(v1alpha1.ReasonShardMismatch, movedAway)
	case current.suspended():
		return held(v1alpha1.ReasonSuspended, "held by spec.suspend; set it to false to go on")
	case current.mode() != v1alpha1.ModeApply:
		return held(v1alpha1.ReasonSuspended, "held by spec.mode, which is not Apply any more")
	}
	return walletUnchanged(ctx, r.Reader, r.wallet)
}
