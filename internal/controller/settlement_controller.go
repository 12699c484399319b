package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/record"
	"github.com/utexo/utexo-operator/internal/settlement"
	"github.com/utexo/utexo-operator/internal/shard"
	"github.com/utexo/utexo-operator/internal/spender"
)

// SettlementReconciler makes the one call of each Settlement.
type SettlementReconciler struct {
	Client client.Client
	// Reader reads from the API server, not from a cache.
	Reader    client.Reader
	Clock     clock.Clock
	Status    *StatusWriter
	Records   *record.Store
	Spender   *spender.Spender
	Connector *Connector
	Policy    payment.Policy
}

// +kubebuilder:rbac:groups=payments.utexo.com,resources=settlements,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=payments.utexo.com,resources=settlements/status,verbs=patch

// settling is one pass over one Settlement.
type settling struct {
	*SettlementReconciler
	object *v1alpha1.Settlement
	facts  settlement.Facts
	used   walletUse
}

// Reconcile drives one Settlement.
func (r *SettlementReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var object v1alpha1.Settlement
	if err := r.Client.Get(ctx, request.NamespacedName, &object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !object.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	if isOver(object.Status.Phase) && object.Status.ObservedGeneration == object.Generation {
		return r.expire(ctx, &object)
	}
	run := &settling{SettlementReconciler: r, object: &object, facts: settlement.Facts{Settlement: &object}}
	if err := run.observe(ctx); err != nil {
		return resultFor(err)
	}
	for range maxSteps {
		decision := settlement.Decide(run.facts, r.Policy, r.Clock.Now())
		if decision.Journal != nil {
			updated, err := r.Records.Swap(ctx, run.facts.Record, *decision.Journal)
			if err != nil {
				return resultFor(err)
			}
			run.facts.Record = updated
		}
		if decision.Step == settlement.Rest {
			before := object.DeepCopy()
			object.Status = decision.Status
			if err := r.Status.Write(ctx, before, &object); err != nil {
				return resultFor(err)
			}
			if decision.RequeueAfter > 0 {
				return ctrl.Result{RequeueAfter: decision.RequeueAfter}, nil
			}
			return r.expire(ctx, &object)
		}
		if err := run.act(ctx, decision.Step); err != nil {
			return resultFor(err)
		}
	}
	return ctrl.Result{}, reconcile.TerminalError(errors.New("a settlement was decided on without coming to rest"))
}

// expire deletes a settlement whose outcome is known once its time has passed.
func (r *SettlementReconciler) expire(ctx context.Context, object *v1alpha1.Settlement) (ctrl.Result, error) {
	if object.Status.Phase == v1alpha1.SettlementUnknown {
		return ctrl.Result{}, nil
	}
	return expire(ctx, r.Client, r.Clock.Now(), object, object.Spec.TTLSecondsAfterFinished, object.Status.CompletedAt)
}

// isOver reports whether nothing more happens to a Settlement.
func isOver(phase v1alpha1.SettlementPhase) bool {
	switch phase {
	case v1alpha1.SettlementSucceeded, v1alpha1.SettlementFailed, v1alpha1.SettlementUnknown:
		return true
	}
	return false
}

// observe reads the record and the wallet.
func (r *settling) observe(ctx context.Context) error {
	var err error
	if r.facts.Record, err = r.Records.Get(ctx, settlement.RecordName(string(r.object.UID))); err != nil {
		return err
	}
	if r.used, err = r.Connector.UseOwn(ctx, r.object, r.object.Spec.WalletRef); err != nil {
		return err
	}
	switch {
	case r.used.unusable != nil:
		r.facts.Waiting = r.used.unusable
	case r.used.wallet.Spec.Suspend:
		r.facts.Waiting = &payment.Obstacle{Reason: v1alpha1.ReasonSuspended, Message: "held by spec.suspend of the Wallet; set it to false to go on"}
	default:
		r.facts.Waiting = r.used.notReady
	}
	return nil
}

func (r *settling) act(ctx context.Context, step settlement.Step) error {
	switch step {
	case settlement.Continue:
		return nil
	case settlement.Claim:
		spec := v1alpha1.PaymentRecordSpec{Kind: v1alpha1.RecordSettlement, Wallet: r.used.connection.Record}
		journal := v1alpha1.PaymentJournal{Phase: v1alpha1.RecordClaimed, Holder: v1alpha1.RecordHolder{
			Kind: "Settlement", Namespace: r.object.Namespace, Name: r.object.Name, UID: string(r.object.UID),
		}}
		var err error
		r.facts.Record, _, err = r.Records.Claim(ctx, settlement.RecordName(string(r.object.UID)), spec, journal)
		return err
	case settlement.Settle:
		result, err := r.Spender.Settle(ctx, r.facts.Record, r.used.connection.Session(r.used.wallet), r.permit)
		if err != nil {
			return err
		}
		r.Status.Emit(r.object, result.Events)
		r.facts.Record, r.facts.Held = result.Record, result.Held
		return nil
	}
	return reconcile.TerminalError(fmt.Errorf("no way to do step %d of a settlement", step))
}

// permit reads, uncached and right before the call, what may have changed since the pass began.
func (r *settling) permit(ctx context.Context) (*payment.Obstacle, error) {
	var current v1alpha1.Settlement
	err := r.Reader.Get(ctx, client.ObjectKeyFromObject(r.object), &current)
	switch {
	case apierrors.IsNotFound(err), err == nil && (current.UID != r.object.UID || !current.DeletionTimestamp.IsZero()):
		return &payment.Obstacle{Reason: v1alpha1.ReasonCancelled, Message: "the resource is gone", RetryAfter: time.Second}, nil
	case err == nil && !shard.Same(&current, r.object):
		return &payment.Obstacle{Reason: v1alpha1.ReasonShardMismatch, Message: movedAway, RetryAfter: time.Second}, nil
	case err != nil:
		return nil, fmt.Errorf("reading the Settlement: %w", err)
	}
	return walletUnchanged(ctx, r.Reader, r.used.wallet)
}
