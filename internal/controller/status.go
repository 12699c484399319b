package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
)

// conditioned is a resource with conditions.
type conditioned interface {
	client.Object
	GetConditions() []metav1.Condition
}

// StatusWriter is the one place where a status is written, and where a person is told of its changes.
type StatusWriter struct {
	Client client.Client
	Events events.EventRecorder
}

// Write brings the status of before up to after's, if they differ and nobody wrote in between, and then emits an event where the
// reason of Ready became one that a person wants to know.
func (w *StatusWriter) Write(ctx context.Context, before, after conditioned) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	old := before.GetConditions()
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := w.Client.Status().Patch(ctx, after, patch); err != nil {
		if apierrors.IsNotFound(err) {
			return nil // gone, and with it its status
		}
		return fmt.Errorf("writing status: %w", err)
	}
	w.announce(after, old)
	return nil
}

// announce tells of a change of the reason of Ready.
func (w *StatusWriter) announce(object conditioned, old []metav1.Condition) {
	ready := meta.FindStatusCondition(object.GetConditions(), v1alpha1.ConditionReady)
	if ready == nil {
		return
	}
	if was := meta.FindStatusCondition(old, v1alpha1.ConditionReady); was != nil && was.Reason == ready.Reason && was.Status == ready.Status {
		return
	}
	switch {
	case meta.IsStatusConditionTrue(object.GetConditions(), v1alpha1.ConditionStalled):
		w.emit(object, payment.Event{Warning: true, Reason: ready.Reason, Message: ready.Message})
	case ready.Reason == v1alpha1.ReasonProgressing || ready.Reason == v1alpha1.ReasonWalletBusy:
	default:
		w.emit(object, payment.Event{Reason: ready.Reason, Message: ready.Message})
	}
}

// Emit tells of events.
func (w *StatusWriter) Emit(object client.Object, emitted []payment.Event) {
	for _, event := range emitted {
		w.emit(object, event)
	}
}

func (w *StatusWriter) emit(object client.Object, event payment.Event) {
	kind := corev1.EventTypeNormal
	if event.Warning {
		kind = corev1.EventTypeWarning
	}
	w.Events.Eventf(object, nil, kind, event.Reason, "Reconcile", "%s", event.Message)
}

// resultFor turns the error of a write into what the queue is told. A conflict is no error: somebody knows more than we do.
func resultFor(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	}
	return ctrl.Result{}, err
}

// Intervals of looking again.
const (
	// conflictRetry is for a write that met a newer version.
	conflictRetry = 200 * time.Millisecond
	// secretPoll is for what a Wallet or payment refers to and the operator does not watch.
	secretPoll = 15 * time.Second
)
