package controller

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/record"
)

// Retention deletes the records of Lightning payments that cannot be made any more, see payment.IsForgettable. It is a runnable of a manager,
// while that leads.
type Retention struct {
	Records *record.Store
	// Client reads from the cache, Reader from the API server.
	Client client.Reader
	Reader client.Reader
	Clock  clock.Clock
	// Keep is how long after their end, and after the expiry of their invoice, they are kept.
	Keep time.Duration
}

// retentionInterval is how often records are looked through.
const retentionInterval = 6 * time.Hour

// NeedLeaderElection has only the leader delete.
func (r *Retention) NeedLeaderElection() bool { return true }

// Start looks through the records until ctx is done.
func (r *Retention) Start(ctx context.Context) error {
	for {
		if gone, err := r.Sweep(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "old payment records could not be deleted; config/retention gives the right to", "deleted", gone)
		} else if gone > 0 {
			log.FromContext(ctx).Info("deleted old payment records", "deleted", gone)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.Clock.After(retentionInterval):
		}
	}
}

// Sweep deletes the records that may go now, and returns how many it deleted. However many there are, it has a page of them in memory.
func (r *Retention) Sweep(ctx context.Context) (gone int, err error) {
	err = r.Records.Each(ctx, v1alpha1.RecordLightningPayment, func(found *v1alpha1.PaymentRecord) error {
		if !payment.IsForgettable(found, r.Keep, r.Clock.Now()) {
			return nil
		}
		shown, err := r.isShown(ctx, found)
		if shown || err != nil {
			return err
		}
		if err := r.Records.Delete(ctx, found); err != nil {
			return err
		}
		gone++
		return nil
	})
	return gone, err
}

// isShown reports whether there is a resource of the name that the record was made for, also one that was declared again: it shows what the
// record says. What a cache has is enough for that; that it has none is no proof, as it may be late, or of other namespaces.
func (r *Retention) isShown(ctx context.Context, found *v1alpha1.PaymentRecord) (bool, error) {
	key := client.ObjectKey{Namespace: found.Journal.Holder.Namespace, Name: found.Journal.Holder.Name}
	if r.Client.Get(ctx, key, &v1alpha1.LightningPayment{}) == nil {
		return true, nil
	}
	err := r.Reader.Get(ctx, key, &v1alpha1.LightningPayment{})
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading the payment of a record: %w", err)
	}
	return err == nil, nil
}
