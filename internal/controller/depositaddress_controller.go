package controller

import (
	"context"
	"fmt"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/deposit"
	"github.com/utexo/utexo-operator/internal/payment"
)

// DepositAddressReconciler shows where wallets can be paid on-chain.
type DepositAddressReconciler struct {
	Client    client.Client
	Clock     clock.PassiveClock
	Status    *StatusWriter
	Connector *Connector
}

// +kubebuilder:rbac:groups=payments.utexo.com,resources=depositaddresses,verbs=list;watch
// +kubebuilder:rbac:groups=payments.utexo.com,resources=depositaddresses/status,verbs=patch

// Reconcile looks at what the service hands out.
func (r *DepositAddressReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var object v1alpha1.DepositAddress
	if err := r.Client.Get(ctx, request.NamespacedName, &object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !object.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	facts := deposit.Facts{Deposit: &object}
	if err := r.observe(ctx, &facts); err != nil {
		return resultFor(err)
	}
	decision := deposit.Decide(facts, r.Clock.Now())
	before := object.DeepCopy()
	object.Status = decision.Status
	if err := r.Status.Write(ctx, before, &object); err != nil {
		return resultFor(err)
	}
	r.Status.Emit(&object, decision.Events)
	return ctrl.Result{RequeueAfter: decision.RequeueAfter}, nil
}

func (r *DepositAddressReconciler) observe(ctx context.Context, facts *deposit.Facts) error {
	used, err := r.Connector.Use(ctx, facts.Deposit, facts.Deposit.Spec.WalletRef)
	if err != nil {
		return err
	}
	if facts.Waiting = used.unusable; facts.Waiting != nil {
		return nil
	}
	if facts.Waiting = used.notReady; facts.Waiting != nil {
		return nil // it may be of another network than its service
	}
	facts.Network = bitcoin.Network(used.wallet.Spec.Network)
	handed, err := used.connection.Client.OnchainReceive(ctx)
	if err != nil {
		facts.Waiting = &payment.Obstacle{
			Reason: v1alpha1.ReasonServiceUnavailable, Message: fmt.Sprintf("no address yet: %s", serviceMessage(err)), RetryAfter: serviceRetry,
		}
		return nil
	}
	facts.Seen = &deposit.Seen{Address: handed.Address, AssetInvoice: handed.AssetInvoice, ExpiresAt: handed.ExpiresAt}
	return nil
}
