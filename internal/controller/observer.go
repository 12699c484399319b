package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/utexo"
)

// observedWallet is the kind of what the ObserverReconciler itself is to see to.
const observedWallet observer.Kind = "Wallet"

// PaymentLister lists the payments of a service; *utexo.Client is one.
type PaymentLister interface {
	EachPayment(ctx context.Context, visit func(utexo.Payment)) error
}

// ObserverReconciler asks services for their payments, one list for all that is open on a wallet, and has just those resources looked at
// of which the list tells something new, or whose time has come. Its requests are the names of Wallets.
//
// A nil one observes nothing: each resource then looks for itself, as often as it wants to.
type ObserverReconciler struct {
	Observer *observer.Observer
	Clock    clock.PassiveClock

	queues *Queues

	mutex   sync.Mutex
	listers map[types.NamespacedName]PaymentLister
}

// newObserverReconciler returns one that observes nothing yet.
func newObserverReconciler(options observer.Options, clock clock.PassiveClock, queues *Queues) *ObserverReconciler {
	return &ObserverReconciler{
		Observer: observer.New(options), Clock: clock, queues: queues, listers: map[types.NamespacedName]PaymentLister{},
	}
}

// setup starts the controller of wallets that have something open.
func (r *ObserverReconciler) setup(mgr ctrl.Manager, concurrency int) error {
	err := ctrl.NewControllerManagedBy(mgr).Named("observer").
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		WatchesRawSource(r.queues.source(observedWallet)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the observer: %w", err)
	}
	return nil
}

// Reconcile sees to one wallet.
func (r *ObserverReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	name := request.NamespacedName
	if asked := r.Clock.Now(); r.Observer.MayList(name, asked) {
		r.list(ctx, name, asked)
	}
	for _, released := range r.Observer.Release(name, r.Clock.Now()) {
		r.queues.add(released, 0)
	}
	after := r.Observer.Next(name, r.Clock.Now())
	if after == 0 {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		if r.Observer.Next(name, r.Clock.Now()) == 0 { // nobody began to wait meanwhile
			delete(r.listers, name)
		}
	}
	return ctrl.Result{RequeueAfter: after}, nil
}

// list reads the payments of a wallet's service.
func (r *ObserverReconciler) list(ctx context.Context, name types.NamespacedName, asked time.Time) {
	r.mutex.Lock()
	lister := r.listers[name]
	r.mutex.Unlock()
	if lister == nil {
		return // it was forgotten a moment ago
	}
	err := lister.EachPayment(ctx, func(seen utexo.Payment) { r.Observer.Saw(name, seen, asked) })
	if err != nil {
		log.FromContext(ctx).V(1).Info("the payments of a wallet could not be listed", "answer", err.Error())
	}
	r.Observer.Listed(name, asked, err, !errors.Is(err, utexo.ErrNotAvailable), pauseOf(err), r.Clock.Now())
}

// pauseOf is how long a service asked to wait; 0 where it did not.
func pauseOf(err error) time.Duration {
	if failed, ok := errors.AsType[*utexo.Error](err); ok {
		return failed.RetryAfter
	}
	return 0
}

// Watch has who watched, which waits for news of a wallet at lister's service.
func (r *ObserverReconciler) Watch(wallet types.NamespacedName, server string, lister PaymentLister, who observer.Subject, watch observer.Watch) {
	r.mutex.Lock()
	r.listers[wallet] = lister
	sooner := r.Observer.Watch(wallet, server, who, watch, r.Clock.Now())
	r.mutex.Unlock()
	if sooner {
		r.queues.add(observer.Subject{Kind: observedWallet, NamespacedName: wallet}, 0)
	}
}

// Forget ends the watch of who.
func (r *ObserverReconciler) Forget(who observer.Subject) {
	if r != nil {
		r.Observer.Forget(who)
	}
}

// Waits reports whether who is told of news, and of none so far.
func (r *ObserverReconciler) Waits(who observer.Subject) bool {
	return r != nil && r.Observer.Waits(who)
}

// recentList is how old a list may be that stands for one that a resource asks for itself: what it says is looked at again.
const recentList = 15 * time.Second

// paid reports whether a recent list shows a payment of an invoice of the resource; known is false where there is none.
func (r *ObserverReconciler) paid(kind observer.Kind, object client.Object) (paid, known bool) {
	if r == nil {
		return false, false
	}
	who := observer.Subject{Kind: kind, NamespacedName: client.ObjectKeyFromObject(object)}
	return r.Observer.Paid(who, r.Clock.Now().Add(-recentList))
}

// Pressed is told of a call that failed, by which a service may have asked to be left alone.
func (r *ObserverReconciler) Pressed(wallet types.NamespacedName, pause time.Duration) {
	if r != nil && pause > 0 {
		r.Observer.Pressed(wallet, pause, r.Clock.Now())
	}
}
