package controller

import (
	"context"
	"fmt"
	"sync"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// Tally counts payments by kind, Wallet and phase as they come, change and go, so that no count goes over all of them.
type Tally struct {
	mutex  sync.Mutex
	counts map[tallied]int64
	synced []toolscache.InformerSynced
}

// tallied is what payments have in common that are counted together.
type tallied struct {
	kind   string
	wallet client.ObjectKey
	phase  v1alpha1.PaymentPhase
}

// Follow has t told of the payments of a cache.
func (t *Tally) Follow(ctx context.Context, informers cache.Informers) error {
	for _, kind := range []client.Object{&v1alpha1.LightningPayment{}, &v1alpha1.OnchainSend{}} {
		informer, err := informers.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("counting payments: %w", err)
		}
		registered, err := informer.AddEventHandler(t)
		if err != nil {
			return fmt.Errorf("counting payments: %w", err)
		}
		t.synced = append(t.synced, registered.HasSynced)
	}
	return nil
}

// OnAdd implements cache.ResourceEventHandler of client-go, as the two that follow do.
func (t *Tally) OnAdd(object any, _ bool) { t.add(object, 1) }

// OnUpdate is told of what was told before, and of what took its place.
func (t *Tally) OnUpdate(before, after any) {
	t.add(before, -1)
	t.add(after, 1)
}

// OnDelete is told of what was told last, which a cache that missed the deletion wraps.
func (t *Tally) OnDelete(object any) {
	if missed, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = missed.Obj
	}
	t.add(object, -1)
}

func (t *Tally) add(object any, n int64) {
	var of tallied
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		of = tallied{"LightningPayment", walletKey(o.Namespace, o.Spec.WalletRef), o.Status.Phase}
	case *v1alpha1.OnchainSend:
		of = tallied{"OnchainSend", walletKey(o.Namespace, o.Spec.WalletRef), o.Status.Phase}
	default:
		return
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.counts == nil {
		t.counts = map[tallied]int64{}
	}
	if t.counts[of] += n; t.counts[of] == 0 {
		delete(t.counts, of)
	}
}

// Of counts the payments that name a Wallet, once all that were there at the start are counted.
func (t *Tally) Of(ctx context.Context, wallet client.ObjectKey) (*v1alpha1.PaymentCounts, error) {
	if !toolscache.WaitForCacheSync(ctx.Done(), t.synced...) {
		return nil, fmt.Errorf("counting payments: %w", context.Cause(ctx))
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	counts := &v1alpha1.PaymentCounts{}
	for _, kind := range []string{"LightningPayment", "OnchainSend"} {
		of := func(phase v1alpha1.PaymentPhase) int64 { return t.counts[tallied{kind, wallet, phase}] }
		counts.InFlight += of(v1alpha1.PaymentSubmitting) + of(v1alpha1.PaymentInFlight)
		counts.Succeeded += of(v1alpha1.PaymentSucceeded)
		counts.Failed += of(v1alpha1.PaymentFailed)
		counts.Unknown += of(v1alpha1.PaymentUnknown)
	}
	return counts, nil
}

// phases counts the payments of a kind by phase.
func (t *Tally) phases(kind string) map[v1alpha1.PaymentPhase]int64 {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	phases := map[v1alpha1.PaymentPhase]int64{}
	for of, n := range t.counts {
		if of.kind == kind {
			phases[of.phase] += n
		}
	}
	return phases
}
