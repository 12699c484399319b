package controller

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/record"
	"github.com/utexo/utexo-operator/internal/shard"
)

// ReceiptReconciler watches invoices whose LightningInvoice was deleted, or is settled by another of its invoices: the service cannot
// cancel them, so they may still be paid. A payment is told as an event of the Wallet, and kept in the record.
//
// Which manager looks is no matter of money: one that was told that a LightningInvoice goes watches its invoice on for as long as it runs,
// wherever the Wallet moves. The one to which it moves, and one that starts, looks for those of its Wallets that nobody else need watch.
type ReceiptReconciler struct {
	Client    client.Client
	Reader    client.Reader
	Clock     clock.Clock
	Status    *StatusWriter
	Records   *record.Store
	Connector *Connector
	// Shard is the manager's own.
	Shard string
	// Observe tells of news at the services; nil for nothing that does.
	Observe *ObserverReconciler
}

// receiptPoll is how often the invoice of a deleted resource is looked at.
const receiptPoll = time.Minute

// Reconcile looks at one record of an invoice.
func (r *ReceiptReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	who := observer.Subject{Kind: observer.Receipt, NamespacedName: request.NamespacedName}
	published, err := r.Records.Get(ctx, request.Name)
	if published == nil || err != nil {
		r.Observe.Forget(who)
		return ctrl.Result{}, err
	}
	whose, err := r.unattributed(ctx, published)
	if whose == "" || err != nil {
		r.Observe.Forget(who)
		return ctrl.Result{}, err
	}
	holder := published.Journal.Holder
	used, err := r.Connector.use(ctx, holder.Namespace, walletOf(published), ofAnyShard)
	switch {
	case err != nil:
		return ctrl.Result{}, err
	case used.unusable != nil, !payment.SameWallet(used.connection.Record, published.Spec.Wallet):
		r.Observe.Forget(who)
		return ctrl.Result{RequeueAfter: receiptPoll}, nil // it may come back while the invoice can be paid
	case r.Observe.Waits(who):
		return r.await(who, published, used), nil
	}
	seen, pause := look(ctx, published.Spec, used.connection.Client, func() (paid, known bool) { return r.Observe.paid(observer.Receipt, published) })
	if r.Observe.Pressed(client.ObjectKeyFromObject(used.wallet), pause); seen != invoice.Settled {
		return r.await(who, published, used), nil
	}
	r.Observe.Forget(who)
	now := metav1.NewMicroTime(r.Clock.Now())
	journal := *published.Journal.DeepCopy()
	journal.Reason, journal.CompletedAt = v1alpha1.EventUnattributedReceipt, &now
	journal.Message = whose + " was paid"
	if _, err := r.Records.Swap(ctx, published, journal); err != nil {
		return resultFor(err)
	}
	r.Status.Emit(used.wallet, []payment.Event{{
		Warning: true, Reason: v1alpha1.EventUnattributedReceipt,
		Message: fmt.Sprintf("%s: payment hash %s", journal.Message, published.Spec.PaymentHash),
	}})
	return ctrl.Result{}, nil
}

// walletOf is the Wallet of a record, as its holder names it.
func walletOf(recorded *v1alpha1.PaymentRecord) v1alpha1.WalletReference {
	return v1alpha1.WalletReference{Name: recorded.Spec.Wallet.Name, Namespace: recorded.Spec.Wallet.Namespace}
}

// ofAnyShard lets a Wallet be used for what no shard is responsible for.
func ofAnyShard(*v1alpha1.Wallet) *payment.Obstacle { return nil }

// await has an invoice that may still be paid looked at again.
func (r *ReceiptReconciler) await(who observer.Subject, published *v1alpha1.PaymentRecord, used walletUse) ctrl.Result {
	if r.Observe == nil {
		return ctrl.Result{RequeueAfter: receiptPoll}
	}
	now := r.Clock.Now()
	lookBy := now.Add(invoice.LateSettlement)
	if issued, err := bolt11.DecodeKept(published.Spec.PaymentRequest); err == nil {
		lookBy = issued.ExpiresAt().Add(invoice.LateSettlement)
	}
	r.Observe.Watch(client.ObjectKeyFromObject(used.wallet), used.connection.Record.Server, used.connection.Client, who, observer.Watch{
		PaymentHashes: []string{published.Spec.PaymentHash}, Inbound: true, LookAt: now.Add(receiptPoll), LookBy: lookBy,
	})
	return ctrl.Result{}
}

// unattributed says whose the invoice of record is where it may still be paid with no resource to show it; empty where it cannot, or one
// shows it.
func (r *ReceiptReconciler) unattributed(ctx context.Context, published *v1alpha1.PaymentRecord) (string, error) {
	if !r.mayBePaid(published) {
		return "", nil
	}
	holder := published.Journal.Holder
	var object v1alpha1.LightningInvoice
	err := r.Reader.Get(ctx, client.ObjectKey{Namespace: holder.Namespace, Name: holder.Name}, &object)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return "", fmt.Errorf("reading LightningInvoice: %w", err)
	case apierrors.IsNotFound(err) || string(object.UID) != holder.UID:
		return fmt.Sprintf("the invoice of the deleted LightningInvoice %s/%s", holder.Namespace, holder.Name), nil
	}
	if paid := invoice.SettledHash(&object.Status); paid != "" && paid != published.Spec.PaymentHash {
		return fmt.Sprintf("a further invoice of the LightningInvoice %s/%s, which was paid before,", holder.Namespace, holder.Name), nil
	}
	return "", nil
}

// mayBePaid reports whether record is of an invoice that was not paid yet and may still be.
func (r *ReceiptReconciler) mayBePaid(published *v1alpha1.PaymentRecord) bool {
	if published.Spec.Kind != v1alpha1.RecordLightningInvoice || published.Journal.CompletedAt != nil {
		return false
	}
	issued, err := bolt11.DecodeKept(published.Spec.PaymentRequest)
	return err == nil && !r.Clock.Now().After(issued.ExpiresAt().Add(invoice.LateSettlement))
}

// setup has the reconciler told of every LightningInvoice that goes, or that is settled after it was renewed, and at the start of all that
// were while nobody looked, or while the Wallet was of another shard.
func (r *ReceiptReconciler) setup(mgr ctrl.Manager, namespace string) error {
	missed := make(chan event.TypedGenericEvent[types.NamespacedName])
	enqueue := handler.TypedFuncs[types.NamespacedName, reconcile.Request]{
		GenericFunc: func(_ context.Context, e event.TypedGenericEvent[types.NamespacedName], queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			queue.Add(reconcile.Request{NamespacedName: e.Object})
		},
	}
	add := func(object client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		for _, name := range invoice.RecordNames(object.(*v1alpha1.LightningInvoice)) {
			queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
		}
	}
	left := handler.Funcs{
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(e.Object, queue)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if after := e.ObjectNew.(*v1alpha1.LightningInvoice); leavesInvoices(e.ObjectOld.(*v1alpha1.LightningInvoice), after) {
				add(after, queue)
			}
		},
	}
	building := ctrl.NewControllerManagedBy(mgr).Named("receipt").
		Watches(&v1alpha1.LightningInvoice{}, left).
		Watches(&v1alpha1.Wallet{}, handler.EnqueueRequestsFromMapFunc(r.arrived), builder.WithPredicates(walletArrived())).
		WatchesRawSource(source.TypedChannel(missed, enqueue))
	if r.Observe != nil {
		building.WatchesRawSource(r.Observe.queues.source(observer.Receipt))
	}
	if err := building.Complete(r); err != nil {
		return fmt.Errorf("setting up the receipt controller: %w", err)
	}
	return mgr.Add(leaderTask(func(ctx context.Context) error { return r.sweep(ctx, missed) }))
}

// leavesInvoices reports whether a change of a LightningInvoice leaves invoices behind that it shows no longer.
func leavesInvoices(before, after *v1alpha1.LightningInvoice) bool {
	return after.Status.Renewals > 0 && after.Status.Phase == v1alpha1.InvoiceSettled && before.Status.Phase != v1alpha1.InvoiceSettled
}

// walletArrived passes a Wallet that was looked at by another manager before: it came from another shard.
func walletArrived() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			return !e.IsInInitialList && e.Object.(*v1alpha1.Wallet).Status.MasterFingerprint != ""
		},
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// arrived maps a Wallet to the records of its invoices that may still be paid.
func (r *ReceiptReconciler) arrived(ctx context.Context, object client.Object) []reconcile.Request {
	wallet := object.(*v1alpha1.Wallet)
	names, err := r.Records.PublishedInvoices(ctx, wallet.Status.MasterFingerprint, func(published *v1alpha1.PaymentRecord) bool {
		return r.mayBePaid(published) && walletKey(published.Journal.Holder.Namespace, walletOf(published)) == client.ObjectKeyFromObject(wallet)
	})
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "invoices of deleted resources could not be looked for; they are at the next start", "wallet", wallet.Name)
	}
	var requests []reconcile.Request
	for _, name := range names {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: r.Records.Namespace, Name: name}})
	}
	return requests
}

// ours returns a function that reports whether a record is of a Wallet that this manager works on, or of one that is not there: it may come
// back while the invoice can be paid. It asks for a Wallet once. One that cannot be read counts.
func (r *ReceiptReconciler) ours(ctx context.Context) func(*v1alpha1.PaymentRecord) bool {
	known := map[client.ObjectKey]bool{}
	return func(published *v1alpha1.PaymentRecord) bool {
		key := walletKey(published.Journal.Holder.Namespace, walletOf(published))
		is, asked := known[key]
		if !asked {
			var wallet v1alpha1.Wallet
			err := r.Client.Get(ctx, key, &wallet)
			if apierrors.IsNotFound(err) { // in the cache, which has those of this shard alone
				err = r.Reader.Get(ctx, key, &wallet)
			}
			is = err != nil || shard.Has(r.Shard, &wallet)
			known[key] = is
		}
		return is
	}
}

// sweep sends the records of all invoices of its Wallets that may still be paid once. Most of them have their LightningInvoice and are left
// alone.
func (r *ReceiptReconciler) sweep(ctx context.Context, into chan<- event.TypedGenericEvent[types.NamespacedName]) error {
	ours := r.ours(ctx)
	names, err := r.Records.PublishedInvoices(ctx, "", func(published *v1alpha1.PaymentRecord) bool {
		return r.mayBePaid(published) && ours(published)
	})
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "invoices of deleted resources could not be looked for; they are at the next start")
		return nil
	}
	for _, name := range names {
		select {
		case into <- event.TypedGenericEvent[types.NamespacedName]{Object: types.NamespacedName{Namespace: r.Records.Namespace, Name: name}}:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// leaderTask is work that only the leader does.
type leaderTask func(ctx context.Context) error

// Start implements manager.Runnable.
func (t leaderTask) Start(ctx context.Context) error { return t(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (leaderTask) NeedLeaderElection() bool { return true }
