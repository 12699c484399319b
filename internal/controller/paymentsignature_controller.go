package controller

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// PaymentSignatureReconciler deletes the signatures that nothing can be submitted with any more: of payments that are over or gone, and of
// attempts that were given up. That an attempt is submitted once is the record's to prove, and no signature's.
type PaymentSignatureReconciler struct {
	Client client.Client
	// Reader reads from the API server, not from a cache, which may not know a payment yet, or is another shard's.
	Reader client.Reader
	Clock  clock.Clock
}

// +kubebuilder:rbac:groups=payments.utexo.com,resources=paymentsignatures,verbs=delete

// signaturePoll is how often it is looked whether a signature is still of use.
const signaturePoll = 10 * time.Minute

// Reconcile deletes one PaymentSignature, once it is of no use.
func (r *PaymentSignatureReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var signature v1alpha1.PaymentSignature
	if err := r.Client.Get(ctx, request.NamespacedName, &signature); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	signed := payableOf(signature.Spec.PaymentRef.Kind)
	if signed == nil || !signature.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	key := client.ObjectKey{Namespace: signature.Namespace, Name: signature.Spec.PaymentRef.Name}
	err := r.Reader.Get(ctx, key, signed.inner())
	switch {
	case client.IgnoreNotFound(err) != nil:
		return ctrl.Result{}, fmt.Errorf("reading the signed payment: %w", err)
	case err == nil && !isUseless(&signature, signed, r.Clock.Now()):
		return ctrl.Result{RequeueAfter: signaturePoll}, nil
	}
	uid := signature.UID
	err = r.Client.Delete(ctx, &signature, client.Preconditions{UID: &uid})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return ctrl.Result{}, nil // somebody else deleted it
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("deleting a PaymentSignature: %w", err)
	}
	log.FromContext(ctx).Info("deleted a signature that is of no use any more", "payment", key.Name)
	return ctrl.Result{}, nil
}

// payableOf is an empty payment of a kind; nil for any other kind.
func payableOf(kind string) payable {
	switch kind {
	case "LightningPayment":
		return lightningPayable{&v1alpha1.LightningPayment{}}
	case "OnchainSend":
		return onchainPayable{&v1alpha1.OnchainSend{}}
	}
	return nil
}

// isUseless reports whether nothing is submitted with signature any more, by what the payment of the name that it names says.
func isUseless(signature *v1alpha1.PaymentSignature, signed payable, now time.Time) bool {
	if string(signed.inner().GetUID()) != signature.Spec.PaymentRef.UID {
		return true
	}
	if walletKey(signature.Namespace, signature.Spec.WalletRef) != walletKey(signature.Namespace, signed.walletReference()) {
		return true
	}
	switch signed.phase() {
	case v1alpha1.PaymentSucceeded, v1alpha1.PaymentFailed:
		return true
	}
	attempt := signed.attempt()
	// Nobody signs an attempt before it is published. A status may be late, or have been taken away, which is attempt 0.
	early := signature.Spec.Attempt > attempt && attempt > 0 && now.Sub(signature.CreationTimestamp.Time) >= signaturePoll
	return early || signature.Spec.Attempt < attempt
}
