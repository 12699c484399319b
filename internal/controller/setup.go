// Package controller reconciles the kinds of payments.utexo.com. Nothing is decided here: the machines are in packages payment and
// invoice, the calls that move money in package spender.
package controller

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/record"
	"github.com/utexo/utexo-operator/internal/shard"
	"github.com/utexo/utexo-operator/internal/spender"
	"github.com/utexo/utexo-operator/internal/turns"
	"github.com/utexo/utexo-operator/internal/walletlock"
)

// To how many calls a second of a kind, and in a burst, a manager holds itself at the API server unless it is told otherwise, reads and writes
// counted apart.
const (
	ClientQPS   = 200
	ClientBurst = 400
)

// Options are what the controllers need beside an API server.
type Options struct {
	// Namespace is the operator's own, where records and Leases are.
	Namespace string
	// Identity tells this process from every other.
	Identity  string
	UserAgent string
	Clock     clock.Clock
	Policy    payment.Policy
	// SyncInterval is how often a wallet's balance is read.
	SyncInterval time.Duration
	// Instrument wraps the transport to the services; nil for none.
	Instrument func(http.RoundTripper) http.RoundTripper
	// Transport takes the place of the transport to the services, and of what that guarantees; nil for the client's own. For simulations.
	Transport http.RoundTripper
	// Concurrency is how many resources of a kind are worked on at once.
	Concurrency int
	// Shard is what of the Wallets this manager works on, see package shard; empty for those without a shard.
	Shard string
	// Namespaces are those to work in; none for all.
	Namespaces []string
	// Observer limits how services are observed; nil for not at all: then each resource looks for itself, and asks again and again whether
	// it is its turn to be paid.
	Observer *observer.Options
}

// Controllers are the reconcilers of all kinds.
type Controllers struct {
	Wallet    *WalletReconciler
	Invoice   *LightningInvoiceReconciler
	Payment   *LightningPaymentReconciler
	Send      *OnchainSendReconciler
	Receipt   *ReceiptReconciler
	Deposit   *DepositAddressReconciler
	Settle    *SettlementReconciler
	Statement *StatementReconciler
	Signature *PaymentSignatureReconciler
	// Observe and Queues are nil where the options say so.
	Observe  *ObserverReconciler
	Queues   *Queues
	Spender  *spender.Spender
	Payments *Payments
	// Unserved is nil where a shard is named: it is of the manager without one.
	Unserved *ShardWatch
	// Tally counts payments once the controllers are set up with a manager.
	Tally *Tally
}

// New wires the reconcilers. cached may read from a cache, reader must not.
func New(cached client.Client, reader client.Reader, recorder events.EventRecorder, options Options) *Controllers {
	records := &record.Store{Client: cached, Reader: reader, Namespace: options.Namespace}
	status := &StatusWriter{Client: cached, Events: recorder}
	connector := &Connector{
		Reader: reader, Clock: options.Clock, UserAgent: options.UserAgent, Instrument: options.Instrument, Transport: options.Transport,
	}
	spend := &spender.Spender{
		Records: records, Clock: options.Clock, Policy: options.Policy,
		Locks: &walletlock.Locks{
			Client: cached, Reader: reader, Namespace: options.Namespace, Identity: options.Identity, Clock: options.Clock,
			Quarantine: options.Policy.Quarantine,
		},
	}
	budgets := &Budgets{Records: records, Clock: options.Clock}
	var (
		queues  *Queues
		observe *ObserverReconciler
		line    *turns.Turns[observer.Subject]
	)
	if options.Observer != nil {
		queues = &Queues{}
		observe = newObserverReconciler(*options.Observer, options.Clock, queues)
		line = turns.New(options.Clock, func(who observer.Subject) { queues.add(who, priorityTurn) })
	}
	payments := &Payments{
		Client: cached, Reader: reader, Clock: options.Clock, Status: status, Records: records, Spender: spend, Connector: connector,
		Budgets: budgets, Policy: options.Policy, Observe: observe, Turns: line,
	}
	var unserved *ShardWatch
	if options.Shard == "" {
		unserved = &ShardWatch{
			Reader: reader, Clock: options.Clock, Status: status, Namespace: options.Namespace, Namespaces: options.Namespaces,
		}
	}
	return &Controllers{
		Wallet: &WalletReconciler{
			Client: cached, Clock: options.Clock, Status: status, Records: records, Connector: connector, Budgets: budgets,
			SyncInterval: options.SyncInterval,
		},
		Invoice: &LightningInvoiceReconciler{
			Client: cached, Clock: options.Clock, Status: status, Records: records, Connector: connector,
			Projector: &Projector{Client: cached, Reader: reader}, Observe: observe,
		},
		Payment: &LightningPaymentReconciler{Payments: payments},
		Send:    &OnchainSendReconciler{Payments: payments},
		Receipt: &ReceiptReconciler{
			Client: cached, Reader: reader, Clock: options.Clock, Status: status, Records: records, Connector: connector, Observe: observe,
			Shard: options.Shard,
		},
		Deposit: &DepositAddressReconciler{Client: cached, Clock: options.Clock, Status: status, Connector: connector},
		Settle: &SettlementReconciler{
			Client: cached, Reader: reader, Clock: options.Clock, Status: status, Records: records, Spender: spend, Connector: connector,
			Policy: options.Policy,
		},
		Statement: &StatementReconciler{
			Client: cached, Reader: reader, Clock: options.Clock, Status: status, Records: records, Connector: connector,
		},
		Signature: &PaymentSignatureReconciler{Client: cached, Reader: reader, Clock: options.Clock},
		Observe:   observe,
		Queues:    queues,
		Spender:   spend,
		Payments:  payments,
		Tally:     &Tally{},
		Unserved:  unserved,
	}
}

// Retention deletes the records of Lightning payments that are over for longer than keep.
func (c *Controllers) Retention(keep time.Duration) *Retention {
	return &Retention{
		Records: c.Payments.Records, Client: c.Payments.Client, Reader: c.Payments.Reader, Clock: c.Payments.Clock, Keep: keep,
	}
}

// walletField is the index of resources that are not finished by the Wallet that they name, as namespace/name.
const walletField = "spec.walletRef"

// walletUsers are the kinds that name a Wallet, and where. Each is of the Wallet's shard. A PaymentApproval and a PaymentSignature, which
// name one too, are not: every manager is told of all of them, and who approves or signs need not know of shards.
var walletUsers = map[client.Object]func(client.Object) v1alpha1.WalletReference{
	&v1alpha1.LightningInvoice{}: func(o client.Object) v1alpha1.WalletReference { return o.(*v1alpha1.LightningInvoice).Spec.WalletRef },
	&v1alpha1.LightningPayment{}: func(o client.Object) v1alpha1.WalletReference { return o.(*v1alpha1.LightningPayment).Spec.WalletRef },
	&v1alpha1.OnchainSend{}:      func(o client.Object) v1alpha1.WalletReference { return o.(*v1alpha1.OnchainSend).Spec.WalletRef },
	&v1alpha1.Settlement{}:       func(o client.Object) v1alpha1.WalletReference { return o.(*v1alpha1.Settlement).Spec.WalletRef },
	&v1alpha1.DepositAddress{}:   func(o client.Object) v1alpha1.WalletReference { return o.(*v1alpha1.DepositAddress).Spec.WalletRef },
	&v1alpha1.Statement{}:        func(o client.Object) v1alpha1.WalletReference { return o.(*v1alpha1.Statement).Spec.WalletRef },
}

// Cached says what a manager of a shard keeps in memory of the kinds that are of shards: what it works on, and nothing else.
func Cached(name string) map[client.Object]cache.ByObject {
	selected := map[client.Object]cache.ByObject{&v1alpha1.Wallet{}: {Label: shard.Selector(name)}}
	for kind := range walletUsers {
		selected[kind] = cache.ByObject{Label: shard.Selector(name)}
	}
	return selected
}

// In the operator's own namespace: records, the leader's and the wallets' Leases, the unsigned PSBTs of payments under way, and the
// events of leader election, which are of the older kind. Secrets elsewhere are granted by the namespaces that have wallets. Namespaces
// are read for their labels, where a Wallet allows others by a selector.
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get
// +kubebuilder:rbac:groups=payments.utexo.com,resources=paymentrecords,verbs=get;list;create;patch,namespace=utexo-system
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;create;update;patch,namespace=utexo-system
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;create;delete,namespace=utexo-system
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch,namespace=utexo-system

// SetupWithManager starts the reconcilers with a manager.
func (c *Controllers) SetupWithManager(ctx context.Context, mgr ctrl.Manager, options Options) error {
	indexer := mgr.GetFieldIndexer()
	for object, reference := range walletUsers {
		index := func(o client.Object) []string {
			if isFinished(o) {
				return nil
			}
			return []string{walletKey(o.GetNamespace(), reference(o)).String()}
		}
		if err := indexer.IndexField(ctx, object, walletField, index); err != nil {
			return fmt.Errorf("indexing by wallet: %w", err)
		}
	}
	if err := c.Tally.Follow(ctx, mgr.GetCache()); err != nil {
		return err
	}
	c.Wallet.Count = c.Tally.Of
	setups := []struct {
		name      string
		object    client.Object
		list      client.ObjectList
		reconcile reconcile.Reconciler
		// told is the kind under which it is told of what happens in this process; empty for not at all.
		told observer.Kind
	}{
		{"wallet", &v1alpha1.Wallet{}, nil, c.Wallet, ""},
		{"lightninginvoice", &v1alpha1.LightningInvoice{}, &v1alpha1.LightningInvoiceList{}, c.Invoice, observer.Invoice},
		{"lightningpayment", &v1alpha1.LightningPayment{}, &v1alpha1.LightningPaymentList{}, c.Payment, observer.Payment},
		{"onchainsend", &v1alpha1.OnchainSend{}, &v1alpha1.OnchainSendList{}, c.Send, observer.Send},
		{"settlement", &v1alpha1.Settlement{}, &v1alpha1.SettlementList{}, c.Settle, ""},
		{"statement", &v1alpha1.Statement{}, &v1alpha1.StatementList{}, c.Statement, ""},
		{"paymentsignature", &v1alpha1.PaymentSignature{}, nil, c.Signature, ""},
		{"depositaddress", &v1alpha1.DepositAddress{}, &v1alpha1.DepositAddressList{}, c.Deposit, ""},
	}
	for _, setup := range setups {
		workers := options.Concurrency
		if setup.reconcile == c.Statement {
			workers = 1 // what one takes of the manager's memory, and of the API server, is bounded, but not little
		}
		building := ctrl.NewControllerManagedBy(mgr).Named(setup.name).
			WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
			For(setup.object, builder.WithPredicates(declared(), unfinished()))
		if setup.list != nil {
			building.Watches(&v1alpha1.Wallet{}, handler.EnqueueRequestsFromMapFunc(dependents(mgr.GetClient(), setup.list)),
				builder.WithPredicates(walletChanged()))
		}
		switch setup.object.(type) {
		case *v1alpha1.LightningPayment, *v1alpha1.OnchainSend:
			building.Watches(&v1alpha1.PaymentApproval{}, handler.EnqueueRequestsFromMapFunc(concerned(setup.name)))
			building.Watches(&v1alpha1.PaymentSignature{}, handler.EnqueueRequestsFromMapFunc(concerned(setup.name)))
		}
		if setup.told != "" && c.Queues != nil {
			building.WatchesRawSource(c.Queues.source(setup.told))
		}
		if err := building.Complete(setup.reconcile); err != nil {
			return fmt.Errorf("setting up the %s controller: %w", setup.name, err)
		}
	}
	if c.Observe != nil {
		if err := c.Observe.setup(mgr, options.Concurrency); err != nil {
			return err
		}
	}
	if c.Unserved != nil {
		if err := mgr.Add(leaderTask(c.Unserved.Start)); err != nil {
			return fmt.Errorf("setting up the watch of shards: %w", err)
		}
	}
	return c.Receipt.setup(mgr, options.Namespace)
}

// declared passes what people change: spec, annotations, deletion, and a status that was taken away, which is written anew. Our own
// status writes are not news.
func declared() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(conditioned)
			if !ok {
				return false // a kind without a status
			}
			after := e.ObjectNew.(conditioned)
			return len(before.GetConditions()) > 0 && len(after.GetConditions()) == 0
		},
	})
}

// walletChanged passes what others wait for, or wait from then on: a Wallet that appears, changes, becomes ready, or goes, be it to another
// shard.
func walletChanged() predicate.Predicate {
	return predicate.Funcs{
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, after := e.ObjectOld.(*v1alpha1.Wallet), e.ObjectNew.(*v1alpha1.Wallet)
			return before.Generation != after.Generation ||
				meta.IsStatusConditionTrue(before.Status.Conditions, v1alpha1.ConditionReady) !=
					meta.IsStatusConditionTrue(after.Status.Conditions, v1alpha1.ConditionReady) ||
				before.Status.ObservedGeneration != after.Status.ObservedGeneration
		},
	}
}

// concerned maps a PaymentApproval or a PaymentSignature to the payment of a kind that it is of, whether it came or went.
func concerned(kind string) handler.MapFunc {
	return func(_ context.Context, object client.Object) []reconcile.Request {
		var payment v1alpha1.PaymentReference
		switch of := object.(type) {
		case *v1alpha1.PaymentApproval:
			payment = of.Spec.PaymentRef
		case *v1alpha1.PaymentSignature:
			payment = of.Spec.PaymentRef
		}
		if !strings.EqualFold(payment.Kind, kind) {
			return nil
		}
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: object.GetNamespace(), Name: payment.Name}}}
	}
}

// dependents maps a Wallet to the resources of a kind that name it, in any namespace, and are not finished.
func dependents(reader client.Reader, prototype client.ObjectList) handler.MapFunc {
	return func(ctx context.Context, wallet client.Object) []reconcile.Request {
		list := prototype.DeepCopyObject().(client.ObjectList)
		of := client.MatchingFields{walletField: client.ObjectKeyFromObject(wallet).String()}
		if err := reader.List(ctx, list, of, client.UnsafeDisableDeepCopy); err != nil { // only names are taken
			ctrl.LoggerFrom(ctx).Error(err, "the resources of a wallet could not be listed", "wallet", wallet.GetName())
			return nil
		}
		var requests []reconcile.Request
		_ = meta.EachListItem(list, func(item runtime.Object) error {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(item.(client.Object))})
			return nil
		})
		return requests
	}
}
