package controller

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/record"
	"github.com/utexo/utexo-operator/internal/utexo"
)

// LightningInvoiceReconciler issues invoices and watches them.
type LightningInvoiceReconciler struct {
	Client    client.Client
	Clock     clock.Clock
	Status    *StatusWriter
	Records   *record.Store
	Connector *Connector
	Projector *Projector
	// Observe tells of news at the services; nil for nothing that does.
	Observe *ObserverReconciler
}

// +kubebuilder:rbac:groups=payments.utexo.com,resources=lightninginvoices,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=payments.utexo.com,resources=lightninginvoices/status,verbs=patch

// issueRetry is how long to wait before the service is asked again for an invoice.
const issueRetry = 5 * time.Second

// Reconcile drives one LightningInvoice.
func (r *LightningInvoiceReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	who := observer.Subject{Kind: observer.Invoice, NamespacedName: request.NamespacedName}
	var object v1alpha1.LightningInvoice
	if err := r.Client.Get(ctx, request.NamespacedName, &object); err != nil {
		r.Observe.Forget(who)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if isSettled(&object) {
		r.Observe.Forget(who)
		return r.settled(ctx, &object)
	}
	facts := invoice.Facts{Invoice: &object, Deleting: !object.DeletionTimestamp.IsZero(), Waits: r.Observe.Waits(who)}
	connection, network, err := r.observe(ctx, &facts)
	if err != nil {
		return resultFor(err)
	}
	if facts.Record == nil && object.Status.PaymentRequest != "" && !facts.Deleting {
		// Its record was lost. Somebody may have the invoice already: it is recorded anew, and no other is ever issued.
		if connection == nil {
			return ctrl.Result{RequeueAfter: secretPoll}, nil
		}
		if facts.Record, err = r.republish(ctx, &facts, connection); err != nil {
			return resultFor(err)
		}
	}
	for range maxSteps {
		decision := invoice.Decide(facts, r.Clock.Now())
		if decision.GiveUp {
			if err := r.giveUp(ctx, &facts, decision.Status.Conditions); err != nil {
				return resultFor(err)
			}
			continue
		}
		if facts.Record, err = r.keep(ctx, &facts, decision); err != nil {
			return resultFor(err)
		}
		if decision.Step == invoice.Observe { // which decides on the status by what it sees
			r.look(ctx, &facts, decision.Status, connection.Client)
			continue
		}
		after, err := r.show(ctx, &object, decision)
		switch {
		case err != nil:
			return resultFor(err)
		case decision.Step == invoice.Rest:
			result, err := r.expire(ctx, &object)
			again := r.await(who, &object, connection, decision)
			result.RequeueAfter = invoice.Sooner(result.RequeueAfter, invoice.Sooner(again, after))
			return result, err
		}
		if err := r.issue(ctx, &facts, connection, network); err != nil {
			return resultFor(err)
		}
	}
	return ctrl.Result{}, reconcile.TerminalError(errNoRest)
}

// await has an invoice that waits for news of its service watched, and returns when to look again at one that nothing tells of; 0 is never.
func (r *LightningInvoiceReconciler) await(who observer.Subject, object *v1alpha1.LightningInvoice, connection *Connection,
	decision invoice.Decision,
) time.Duration {
	if r.Observe == nil || decision.LookBy == 0 || connection == nil {
		r.Observe.Forget(who)
		return decision.RequeueAfter
	}
	var hashes []string
	if object.Status.PaymentHash != "" {
		hashes = append(hashes, object.Status.PaymentHash)
	}
	for _, past := range invoice.Watched(&object.Status) {
		hashes = append(hashes, past.PaymentHash)
	}
	now := r.Clock.Now()
	r.Observe.Watch(walletKey(object.Namespace, object.Spec.WalletRef), connection.Record.Server, connection.Client, who, observer.Watch{
		PaymentHashes: hashes, Inbound: true, LookAt: now.Add(decision.RequeueAfter), LookBy: now.Add(decision.LookBy),
	})
	return 0
}

// show writes a decided status, to what spec.publishTo names first: once an invoice is settled there is no further pass that would. It
// returns when to try that again; 0 for not.
func (r *LightningInvoiceReconciler) show(ctx context.Context, object *v1alpha1.LightningInvoice, decision invoice.Decision) (time.Duration, error) {
	after, err := r.project(ctx, object, &decision.Status)
	if err != nil {
		return 0, err
	}
	before := object.DeepCopy()
	object.Status = decision.Status
	if err := r.Status.Write(ctx, before, object); err != nil {
		return 0, err
	}
	r.announceTarget(before, object)
	r.Status.Emit(object, decision.Events)
	return after, nil
}

// settled is for an invoice of which nothing is expected but that what it was published to says so.
func (r *LightningInvoiceReconciler) settled(ctx context.Context, object *v1alpha1.LightningInvoice) (ctrl.Result, error) {
	after, err := r.show(ctx, object, invoice.Decision{Status: *object.Status.DeepCopy()})
	if err != nil {
		return resultFor(err)
	}
	result, err := r.expire(ctx, object)
	result.RequeueAfter = invoice.Sooner(result.RequeueAfter, after)
	return result, err
}

// expire deletes an invoice of which nothing is expected once its time has passed. One that expired may still be settled by a payment
// that is under way, which the ReceiptReconciler tells of.
func (r *LightningInvoiceReconciler) expire(ctx context.Context, object *v1alpha1.LightningInvoice) (ctrl.Result, error) {
	var finished *metav1.Time
	switch status := object.Status; status.Phase {
	case v1alpha1.InvoiceSettled:
		finished = status.SettledAt
	case v1alpha1.InvoiceExpired:
		finished = status.ExpiresAt
	case v1alpha1.InvoiceFailed:
		if invoice.AwaitsExpiry(object) {
			break
		}
		finished = &meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady).LastTransitionTime
	}
	return expire(ctx, r.Client, r.Clock.Now(), object, object.Spec.TTLSecondsAfterFinished, finished)
}

// observe reads the published invoice and connects to the wallet.
func (r *LightningInvoiceReconciler) observe(ctx context.Context, facts *invoice.Facts) (*Connection, bitcoin.Network, error) {
	if err := r.observeRecords(ctx, facts); err != nil {
		return nil, "", err
	}
	used, err := r.Connector.Use(ctx, facts.Invoice, facts.Invoice.Spec.WalletRef)
	if facts.Waiting = used.unusable; err != nil || facts.Waiting != nil {
		return nil, "", err
	}
	facts.NoIssuing = used.notReady
	issued := facts.Record
	if issued != nil && invoice.IsGivenUp(issued) && facts.Renewal > 0 { // which is of no wallet; the one before may be watched
		if issued, err = r.Records.Get(ctx, invoice.RenewalRecordName(string(facts.Invoice.UID), facts.Renewal-1)); err != nil {
			return nil, "", err
		}
	}
	switch {
	case facts.Record == nil:
		facts.Waiting = used.notReady
	case issued != nil && !payment.SameWallet(issued.Spec.Wallet, used.connection.Record):
		facts.Waiting = &payment.Obstacle{
			Reason:     v1alpha1.ReasonWalletChanged,
			Message:    "the Wallet now has other keys or another service than when this invoice was issued; set them back to see whether it is paid",
			RetryAfter: time.Minute,
		}
	}
	return used.connection, bitcoin.Network(used.wallet.Spec.Network), nil
}

// issue asks the service for the invoice, checks it and publishes it. The attempt is in the status already.
func (r *LightningInvoiceReconciler) issue(ctx context.Context, facts *invoice.Facts, connection *Connection, network bitcoin.Network) error {
	object := facts.Invoice
	request := utexo.InvoiceRequest{AmountSats: object.Spec.AmountSats, ExpirySeconds: object.Spec.ExpirySeconds}
	if asset := object.Spec.Asset; asset != nil {
		request.Asset = &utexo.Asset{ID: asset.ID, Amount: asset.Amount}
	}
	answer, err := connection.Client.CreateInvoice(ctx, request)
	if err != nil {
		facts.Held, facts.NotIssued = notIssued(err)
		return nil
	}
	issued, err := invoice.Check(&object.Spec, network, answer.PaymentRequest, r.Clock.Now())
	if err != nil {
		facts.Held = &payment.Obstacle{Reason: v1alpha1.ReasonInvalidInvoice, Message: err.Error(), RetryAfter: issueRetry}
		return nil
	}
	spec := invoice.RecordSpec(issued, answer.PaymentRequest, answer.ID, connection.Record, object.Spec.Asset)
	published, err := r.publish(ctx, object, next(facts), spec)
	if err != nil {
		return err
	}
	advance(facts, published)
	if published.Spec.PaymentRequest == answer.PaymentRequest { // and not what another process published
		seen := invoice.Open
		facts.Sighting = &seen
	}
	return nil
}

// notIssued says what a failed call means, and whether the service provably issued nothing.
func notIssued(err error) (*payment.Obstacle, bool) {
	obstacle := &payment.Obstacle{
		Reason: v1alpha1.ReasonServiceUnavailable, Message: "no invoice yet: " + serviceMessage(err), RetryAfter: issueRetry,
	}
	failed, ok := errors.AsType[*utexo.Error](err)
	if !ok || failed.Effect == utexo.EffectUnknown {
		return obstacle, false
	}
	if failed.Effect == utexo.EffectRefused && !failed.Temporary() && !errors.Is(err, utexo.ErrWalletNotRegistered) {
		obstacle = &payment.Obstacle{
			Reason: v1alpha1.ReasonRequestRefused, Message: "the service refuses to issue this invoice: " + serviceMessage(err), DeadEnd: true,
		}
	}
	return obstacle, true
}
