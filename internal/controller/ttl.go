package controller

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// expire deletes a finished resource once ttl has passed since it finished, or was created where that was later: a resource that is
// declared again has its outcome at once, and is shown as long as the first one. It returns when to come back. A nil ttl or finished
// is never.
//
// What calls it sees to it that the same manifest, declared again, could not pay: the record of what was submitted stays.
func expire(ctx context.Context, c client.Client, now time.Time, object client.Object, ttl *int32, finished *metav1.Time) (ctrl.Result, error) {
	if ttl == nil || finished == nil || !object.GetDeletionTimestamp().IsZero() {
		return ctrl.Result{}, nil
	}
	if left := leftOf(*ttl, object.GetCreationTimestamp().Time, finished.Time, now); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	uid, version := object.GetUID(), object.GetResourceVersion()
	err := c.Delete(ctx, object, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return resultFor(fmt.Errorf("deleting a finished resource: %w", err))
	}
	log.FromContext(ctx).Info("deleted after its time", "ttlSecondsAfterFinished", *ttl)
	return ctrl.Result{}, nil
}

// leftOf is how much is left of a time to live, in seconds, of what was created and finished then.
func leftOf(ttl int32, created, finished, now time.Time) time.Duration {
	since := finished
	if created.After(since) {
		since = created
	}
	return since.Add(time.Duration(ttl) * time.Second).Sub(now)
}
