package controller

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// Slim takes from an object what no controller reads before a cache keeps it: who managed which field, the manifest that kubectl applied,
// what people signed, which is read when it is needed, and of what is finished nearly everything. What is written is the difference to what
// was read, so that nothing is lost at the API server; and of what is finished nothing is written.
func Slim(object any) (any, error) {
	object, err := cache.TransformStripManagedFields()(object)
	if err != nil {
		return nil, err
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return object, nil // a tombstone
	}
	if typed, ok := object.(client.Object); ok && isFinished(typed) {
		return condense(typed), nil
	}
	if annotations := accessor.GetAnnotations(); annotations[corev1.LastAppliedConfigAnnotation] != "" {
		kept := maps.Clone(annotations)
		delete(kept, corev1.LastAppliedConfigAnnotation)
		if len(kept) == 0 {
			kept = nil
		}
		accessor.SetAnnotations(kept)
	}
	if signature, ok := object.(*v1alpha1.PaymentSignature); ok {
		signature.Spec.PSBT = "" // which payment it is of wakes that payment
	}
	return object, nil
}
