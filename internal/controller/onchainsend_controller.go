package controller

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/payment"
)

// OnchainSendReconciler sends on-chain.
type OnchainSendReconciler struct{ Payments *Payments }

// +kubebuilder:rbac:groups=payments.utexo.com,resources=onchainsends,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=payments.utexo.com,resources=onchainsends/status,verbs=patch

// Reconcile drives one OnchainSend.
func (r *OnchainSendReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var send v1alpha1.OnchainSend
	if err := r.Payments.Client.Get(ctx, request.NamespacedName, &send); err != nil {
		r.Payments.gone(observer.Send, request.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if restsForGood(&send, send.Status.Phase, send.Status.ObservedGeneration) {
		r.Payments.gone(observer.Send, request.NamespacedName)
		return r.Payments.expire(ctx, onchainPayable{&send})
	}
	return r.Payments.Reconcile(ctx, onchainPayable{&send})
}

// onchainPayable is an OnchainSend as the driver sees it.
type onchainPayable struct{ *v1alpha1.OnchainSend }

func (o onchainPayable) inner() conditioned { return o.OnchainSend }
func (o onchainPayable) fresh() payable     { return onchainPayable{&v1alpha1.OnchainSend{}} }

func (o onchainPayable) copy() payable                             { return onchainPayable{o.DeepCopy()} }
func (o onchainPayable) walletReference() v1alpha1.WalletReference { return o.Spec.WalletRef }
func (o onchainPayable) suspended() bool                           { return o.Spec.Suspend }

func (o onchainPayable) phase() v1alpha1.PaymentPhase                 { return o.Status.Phase }
func (o onchainPayable) attempt() int32                               { return numberOf(o.Status.Attempt) }
func (o onchainPayable) mode() v1alpha1.PaymentMode                   { return modeOf(o.Spec.Mode) }
func (o onchainPayable) plan() *v1alpha1.PaymentPlan                  { return o.Status.Plan }
func (o onchainPayable) showPlan(plan *v1alpha1.PaymentPlan)          { o.Status.Plan = plan }
func (o onchainPayable) showSigning(request *v1alpha1.SigningRequest) { o.Status.Signing = request }
func (o onchainPayable) recordName() string                           { return o.Status.RecordRef }

func (o onchainPayable) lifetime() (*int32, *metav1.Time) {
	return o.Spec.TTLSecondsAfterFinished, o.Status.CompletedAt
}

// resolve makes an order of the manifest, which holds all of it.
func (o onchainPayable) resolve(_ context.Context, p *Payments, wallet *v1alpha1.Wallet, known v1alpha1.RecordWallet) (resolution, error) {
	network := bitcoin.Network("")
	if wallet != nil {
		network = bitcoin.Network(wallet.Spec.Network)
	}
	order, obstacle := payment.NewOnchainOrder(o.OnchainSend, network, known, p.Clock.Now())
	if wallet == nil {
		obstacle = nil // what it is worth is known once the wallet is
	}
	return resolution{order: order, invalid: obstacle}, nil
}

// project writes the status.
func (o onchainPayable) project(order *payment.Order, record *v1alpha1.PaymentRecord, _ *payment.Facts, projection payment.Projection, now time.Time) {
	status := &o.Status
	was := status.Phase
	status.ObservedGeneration = o.Generation
	status.Phase = projection.Phase
	status.Conditions = paymentConditions(status.Conditions, o.Generation, projection.Summary, now)
	if !isOurs(order, record) {
		return
	}
	journal := record.Journal
	status.RecordRef = record.Name
	status.SendID, status.Txid = journal.RequestID, journal.Txid
	status.CloseTxids, status.SweepTxid = journal.CloseTxids, journal.SweepTxid
	status.AmountSatsSent, status.FeeSats = journal.AmountSatsSent, journal.FeeSats
	status.ServerStatus, status.ErrorCode, status.ErrorMessage = journal.ServerStatus, journal.ErrorCode, journal.ErrorMessage
	status.Retryable = journal.Retryable
	status.Attempt = attemptOf(&journal)
	status.CompletedAt = completedAt(status.CompletedAt, was, status.Phase, &journal)
}
