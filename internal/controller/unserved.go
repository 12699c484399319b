package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/shard"
)

// unservedInterval is how often Wallets are looked for that no manager works on.
const unservedInterval = 5 * time.Minute

// ShardWatch tells of Wallets whose label names a shard for which no manager runs. That a manager runs is told by the Lease by which its
// shard elects a leader. It is of the manager without a shard, which is told of no such Wallet otherwise.
type ShardWatch struct {
	// Reader reads from the API server: what is of another shard is in no cache.
	Reader client.Reader
	Clock  clock.Clock
	Status *StatusWriter
	// Namespace is the operator's own, where the Leases are.
	Namespace string
	// Namespaces are those that the manager works in; none for all.
	Namespaces []string

	mutex sync.Mutex
	// unserved are the Wallets that were found, with their shards.
	unserved map[types.UID]string
}

// Start looks again and again until ctx is done.
func (w *ShardWatch) Start(ctx context.Context) error {
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "Wallets that no manager works on could not be looked for; they are again")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.Clock.After(unservedInterval):
		}
	}
}

// Look looks once, and tells by an event of each Wallet that was not found the time before.
func (w *ShardWatch) Look(ctx context.Context) error {
	namespaces := w.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	served, found := map[string]bool{}, map[types.UID]string{}
	for _, namespace := range namespaces {
		for page := ""; ; {
			var list v1alpha1.WalletList
			err := w.Reader.List(ctx, &list, client.InNamespace(namespace), client.HasLabels{v1alpha1.ShardLabel}, client.Limit(500), client.Continue(page))
			if err != nil {
				return fmt.Errorf("listing Wallets of shards: %w", err)
			}
			for i := range list.Items {
				wallet := &list.Items[i]
				name := wallet.Labels[v1alpha1.ShardLabel]
				is, asked := served[name]
				if !asked {
					if is, err = w.isServed(ctx, name); err != nil {
						return err
					}
					served[name] = is
				}
				if is {
					continue
				}
				found[wallet.UID] = name
				w.tell(wallet, name)
			}
			if page = list.Continue; page == "" {
				break
			}
		}
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.unserved = found
	return nil
}

// isServed reports whether a manager of a shard runs.
func (w *ShardWatch) isServed(ctx context.Context, name string) (bool, error) {
	if name == "" || shard.Check(name) != nil {
		return false, nil
	}
	var lease coordinationv1.Lease
	err := w.Reader.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: shard.Lease(name)}, &lease)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading the Lease of a shard: %w", err)
	}
	return !apierrors.IsNotFound(err) && shard.IsServed(&lease, w.Clock.Now()), nil
}

// tell tells of a Wallet that no manager works on, once.
func (w *ShardWatch) tell(wallet *v1alpha1.Wallet, name string) {
	w.mutex.Lock()
	before, told := w.unserved[wallet.UID]
	w.mutex.Unlock()
	if told && before == name {
		return
	}
	w.Status.Emit(wallet, []payment.Event{{Warning: true, Reason: v1alpha1.EventShardUnserved, Message: fmt.Sprintf(
		"its label %s=%s names a shard for which no manager runs, so that nothing happens to it: start one with --shard=%s, or change the label",
		v1alpha1.ShardLabel, name, name)}})
}

// unservedWallets does not name the shards: whoever declares Wallets chooses those names, and each would be a series.
var unservedWallets = prometheus.NewDesc("utexo_wallets_unserved",
	"Wallets whose label names a shard for which no manager runs; alert above 0. Told by the manager without a shard.", nil, nil)

// Describe implements prometheus.Collector.
func (w *ShardWatch) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- unservedWallets }

// Collect implements prometheus.Collector.
func (w *ShardWatch) Collect(into chan<- prometheus.Metric) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	into <- prometheus.MustNewConstMetric(unservedWallets, prometheus.GaugeValue, float64(len(w.unserved)))
}
