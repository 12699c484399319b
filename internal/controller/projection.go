package controller

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/payment"
)

// Projector writes the payment requests of LightningInvoices into the Secrets and ConfigMaps that they name. It has no right to do so but
// where a namespace grants it: whoever may write any ConfigMap of a cluster may do much in it.
type Projector struct {
	Client client.Client
	// Reader reads from the API server, not from a cache: the operator may list no Secrets.
	Reader client.Reader
}

// Project brings what spec.publishTo names up to the status of object, or says what keeps it from that. What object did not make is left
// alone. An error is one of the API server's that time mends.
func (p *Projector) Project(ctx context.Context, object *v1alpha1.LightningInvoice, status *v1alpha1.LightningInvoiceStatus, now time.Time,
) (*payment.Obstacle, error) {
	target, into := targetOf(object)
	data := invoice.Projection(status, into.Key, now)
	if data == nil {
		return nil, nil
	}
	err := p.Reader.Get(ctx, client.ObjectKeyFromObject(target), target)
	switch {
	case apierrors.IsNotFound(err):
		target.SetOwnerReferences([]metav1.OwnerReference{ownerOf(object)})
		setData(target, data)
		err = p.Client.Create(ctx, target)
	case err == nil && !metav1.IsControlledBy(target, object):
		return unusable(v1alpha1.ReasonTargetConflict, "%s exists and was not made by this LightningInvoice, which leaves it alone: delete it, or declare "+
			"a new LightningInvoice that names another", describe(target)), nil
	case err == nil && !maps.Equal(dataOf(target), data):
		before := target.DeepCopyObject().(client.Object)
		setData(target, data)
		err = p.Client.Patch(ctx, target, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	}
	switch {
	case err == nil:
		return nil, nil
	case apierrors.IsForbidden(err):
		return unusable(v1alpha1.ReasonTargetForbidden, "the operator may not get, create and patch %s; grant its service account these verbs by a Role and "+
			"RoleBinding in namespace %s", describe(target), object.Namespace), nil
	case apierrors.IsInvalid(err): // as where somebody made it immutable
		return unusable(v1alpha1.ReasonTargetConflict, "the API server does not let %s be changed: delete it", describe(target)), nil
	}
	return nil, fmt.Errorf("writing what publishTo names: %w", err)
}

// project brings what spec.publishTo names up to a decided status, and says in it whether that worked. It returns when to try again; 0 for not.
func (r *LightningInvoiceReconciler) project(ctx context.Context, object *v1alpha1.LightningInvoice, status *v1alpha1.LightningInvoiceStatus,
) (time.Duration, error) {
	now := r.Clock.Now()
	if object.Spec.PublishTo == nil || status.RecordRef == "" || !object.DeletionTimestamp.IsZero() {
		return 0, nil
	}
	obstacle, err := r.Projector.Project(ctx, object, status, now)
	if err != nil {
		return 0, err
	}
	invoice.SetPublished(status, object.Generation, obstacle, now)
	if obstacle == nil {
		return 0, nil
	}
	return obstacle.RetryAfter, nil
}

// announceTarget tells of a projection that came to be impossible.
func (r *LightningInvoiceReconciler) announceTarget(before, after *v1alpha1.LightningInvoice) {
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionPublished)
	if is == nil || is.Status != metav1.ConditionFalse {
		return
	}
	if was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionPublished); was == nil || was.Reason != is.Reason {
		r.Status.Emit(after, []payment.Event{{Warning: true, Reason: is.Reason, Message: is.Message}})
	}
}

// targetOf returns what spec.publishTo names, empty, and how.
func targetOf(object *v1alpha1.LightningInvoice) (client.Object, *v1alpha1.TargetReference) {
	if into := object.Spec.PublishTo.SecretRef; into != nil {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: into.Name}}, into
	}
	into := object.Spec.PublishTo.ConfigMapRef
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: into.Name}}, into
}

// ownerOf is the reference by which a projection goes when its LightningInvoice goes. It does not block that: to say so takes a right to
// the finalizers of LightningInvoices on some clusters.
func ownerOf(object *v1alpha1.LightningInvoice) metav1.OwnerReference {
	controls := true
	return metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "LightningInvoice", Name: object.Name, UID: object.UID, Controller: &controls,
	}
}

func describe(target client.Object) string {
	kind := "ConfigMap"
	if _, ok := target.(*corev1.Secret); ok {
		kind = "Secret"
	}
	return kind + " " + target.GetName()
}

func dataOf(target client.Object) map[string]string {
	switch o := target.(type) {
	case *corev1.ConfigMap:
		return o.Data
	case *corev1.Secret:
		data := map[string]string{}
		for key, value := range o.Data {
			data[key] = string(value)
		}
		return data
	}
	return nil
}

// setData replaces all of a target's data: a key that somebody added goes.
func setData(target client.Object, data map[string]string) {
	switch o := target.(type) {
	case *corev1.ConfigMap:
		o.Data = data
	case *corev1.Secret:
		o.Data = map[string][]byte{}
		for key, value := range data {
			o.Data[key] = []byte(value)
		}
	}
}
