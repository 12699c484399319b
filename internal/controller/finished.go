package controller

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// isFinished reports whether nothing is left to do for a resource but to delete it once its time has passed. No pass reads or writes
// anything for it, so that a cache keeps little of it, and no Wallet wakes it.
func isFinished(object client.Object) bool {
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		return restsForGood(o, o.Status.Phase, o.Status.ObservedGeneration)
	case *v1alpha1.OnchainSend:
		return restsForGood(o, o.Status.Phase, o.Status.ObservedGeneration)
	case *v1alpha1.LightningInvoice:
		// What publishTo names is written again where somebody deleted it. One that was renewed left invoices behind, of which it tells.
		return isSettled(o) && o.Spec.PublishTo == nil && o.Status.Renewals == 0
	}
	return false
}

// restsForGood reports whether nothing is left to do for a payment: it succeeded, its status says so, and it may go at any time.
func restsForGood(object client.Object, phase v1alpha1.PaymentPhase, observed int64) bool {
	return phase == v1alpha1.PaymentSucceeded && observed == object.GetGeneration() && len(object.GetFinalizers()) == 0
}

// isSettled reports whether an invoice was paid, and its status says so.
func isSettled(object *v1alpha1.LightningInvoice) bool {
	return object.Status.Phase == v1alpha1.InvoiceSettled && object.Status.ObservedGeneration == object.Generation
}

// unfinished passes all but resources that are finished when a manager first sees them, and are to stay: of which it knows nothing that it
// would have to forget.
func unfinished() predicate.Predicate {
	return predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool { return !isFinished(e.Object) || ttlOf(e.Object) != nil }}
}

// ttlOf is after how many seconds a resource of a kind that can be finished is deleted; nil for never.
func ttlOf(object client.Object) *int32 {
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		return o.Spec.TTLSecondsAfterFinished
	case *v1alpha1.OnchainSend:
		return o.Spec.TTLSecondsAfterFinished
	case *v1alpha1.LightningInvoice:
		return o.Spec.TTLSecondsAfterFinished
	}
	return nil
}

// condense is what a cache keeps of a finished resource: what finds and deletes it, counts it, and tells when it is finished no longer. It
// is whole again in the cache with the next change that makes it so, before the pass that this change causes.
func condense(object client.Object) client.Object {
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		return &v1alpha1.LightningPayment{
			ObjectMeta: identityOf(o),
			Spec:       v1alpha1.LightningPaymentSpec{WalletRef: o.Spec.WalletRef, TTLSecondsAfterFinished: o.Spec.TTLSecondsAfterFinished},
			Status: v1alpha1.LightningPaymentStatus{
				ObservedGeneration: o.Status.ObservedGeneration, Phase: v1alpha1.PaymentSucceeded, CompletedAt: o.Status.CompletedAt,
				Conditions: condensed(o.Status.Conditions),
			},
		}
	case *v1alpha1.OnchainSend:
		return &v1alpha1.OnchainSend{
			ObjectMeta: identityOf(o),
			Spec:       v1alpha1.OnchainSendSpec{WalletRef: o.Spec.WalletRef, TTLSecondsAfterFinished: o.Spec.TTLSecondsAfterFinished},
			Status: v1alpha1.OnchainSendStatus{
				ObservedGeneration: o.Status.ObservedGeneration, Phase: v1alpha1.PaymentSucceeded, CompletedAt: o.Status.CompletedAt,
				Conditions: condensed(o.Status.Conditions),
			},
		}
	case *v1alpha1.LightningInvoice:
		return &v1alpha1.LightningInvoice{
			ObjectMeta: identityOf(o),
			Spec:       v1alpha1.LightningInvoiceSpec{WalletRef: o.Spec.WalletRef, TTLSecondsAfterFinished: o.Spec.TTLSecondsAfterFinished},
			Status: v1alpha1.LightningInvoiceStatus{
				ObservedGeneration: o.Status.ObservedGeneration, Phase: v1alpha1.InvoiceSettled, SettledAt: o.Status.SettledAt,
				Conditions: condensed(o.Status.Conditions),
			},
		}
	}
	return object
}

// identityOf is the metadata of a finished resource without what people and controllers noted in it.
func identityOf(object client.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: object.GetNamespace(), Name: object.GetName(), UID: object.GetUID(), ResourceVersion: object.GetResourceVersion(),
		Generation: object.GetGeneration(), CreationTimestamp: object.GetCreationTimestamp(), DeletionTimestamp: object.GetDeletionTimestamp(),
		Finalizers: object.GetFinalizers(),
	}
}

// hasConditions stands for the conditions of all finished resources: that there are some tells a status that was taken away.
var hasConditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}

func condensed(conditions []metav1.Condition) []metav1.Condition {
	if len(conditions) == 0 {
		return nil
	}
	return hasConditions
}
