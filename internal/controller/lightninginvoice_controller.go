package controller

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/invoice"
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
}

// +kubebuilder:rbac:groups=payments.utexo.com,resources=lightninginvoices,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=payments.utexo.com,resources=lightninginvoices/status,verbs=patch

// issueRetry is how long to wait before the service is asked again for an invoice.
const issueRetry = 5 * time.Second

// Reconcile drives one LightningInvoice.
func (r *LightningInvoiceReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var object v1alpha1.LightningInvoice
	if err := r.Client.Get(ctx, request.NamespacedName, &object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if object.Status.Phase == v1alpha1.InvoiceSettled && object.Status.ObservedGeneration == object.Generation {
		return r.expire(ctx, &object)
	}
	facts := invoice.Facts{Invoice: &object, Deleting: !object.DeletionTimestamp.IsZero()}
	connection, network, err := r.observe(ctx, &facts)
	if err != nil {
		return resultFor(err)
	}
	if facts.Record == nil && object.Status.PaymentRequest != "" && !facts.Deleting {
		// Its record was lost. Somebody may have the invoice already: it is recorded anew, and no other is ever issued.
		if connection == nil {
			return ctrl.Result{RequeueAfter: secretPoll}, nil
		}
		if facts.Record, err = r.republish(ctx, &object, connection); err != nil {
			return resultFor(err)
		}
	}
	for range maxSteps {
		decision := invoice.Decide(facts, r.Clock.Now())
		if facts.Record == nil && decision.Status.Phase == v1alpha1.InvoiceFailed && decision.Status.IssueAttempts > 0 {
			// Another process may still have an answer to publish: who is first counts.
			if facts.Record, err = r.giveUp(ctx, &object, decision.Status.Conditions); err != nil {
				return resultFor(err)
			}
			continue
		}
		if decision.Journal != nil {
			if facts.Record, err = r.Records.Swap(ctx, facts.Record, *decision.Journal); err != nil {
				return resultFor(err)
			}
		}
		if decision.Step != invoice.Observe { // which decides on the status by what it sees
			before := object.DeepCopy()
			object.Status = decision.Status
			if err := r.Status.Write(ctx, before, &object); err != nil {
				return resultFor(err)
			}
			r.Status.Emit(&object, decision.Events)
		}
		switch decision.Step {
		case invoice.Rest:
			result, err := r.expire(ctx, &object)
			if decision.RequeueAfter > 0 && (result.RequeueAfter == 0 || result.RequeueAfter > decision.RequeueAfter) {
				result.RequeueAfter = decision.RequeueAfter
			}
			return result, err
		case invoice.Issue:
			err = r.issue(ctx, &facts, connection, network)
		case invoice.Observe:
			seen := look(ctx, facts.Record, connection.Client)
			facts.Sighting = &seen
		}
		if err != nil {
			return resultFor(err)
		}
	}
	return ctrl.Result{}, reconcile.TerminalError(errNoRest)
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
		finished = &meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady).LastTransitionTime
	}
	return expire(ctx, r.Client, r.Clock.Now(), object, object.Spec.TTLSecondsAfterFinished, finished)
}

// observe reads the published invoice and connects to the wallet.
func (r *LightningInvoiceReconciler) observe(ctx context.Context, facts *invoice.Facts) (*Connection, bitcoin.Network, error) {
	var err error
	if facts.Record, err = r.Records.Get(ctx, invoice.RecordName(string(facts.Invoice.UID))); err != nil {
		return nil, "", err
	}
	used, err := r.Connector.Use(ctx, facts.Invoice.Namespace, facts.Invoice.Spec.WalletRef)
	if facts.Waiting = used.unusable; err != nil || facts.Waiting != nil {
		return nil, "", err
	}
	switch {
	case facts.Record == nil:
		facts.Waiting = used.notReady
	case !payment.SameWallet(facts.Record.Spec.Wallet, used.connection.Record):
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
	facts.Record, err = r.publish(ctx, object, spec)
	seen := invoice.Open
	facts.Sighting = &seen
	return err
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

// giveUp records that no invoice of the resource is published any more. Where one was meanwhile it returns that one's record.
func (r *LightningInvoiceReconciler) giveUp(ctx context.Context, object *v1alpha1.LightningInvoice, conditions []metav1.Condition) (*v1alpha1.PaymentRecord, error) {
	spec, journal := invoice.GiveUp(object.Spec.WalletRef.Name, meta.FindStatusCondition(conditions, v1alpha1.ConditionReady))
	return r.record(ctx, object, spec, journal)
}

// publish records the one invoice of the resource. Where it was given up meanwhile it returns the record that says so.
func (r *LightningInvoiceReconciler) publish(ctx context.Context, object *v1alpha1.LightningInvoice, spec v1alpha1.PaymentRecordSpec,
) (*v1alpha1.PaymentRecord, error) {
	return r.record(ctx, object, spec, v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld})
}

// record creates the one record of the resource. A lost answer to the write is mended by writing the same again.
func (r *LightningInvoiceReconciler) record(ctx context.Context, object *v1alpha1.LightningInvoice, spec v1alpha1.PaymentRecordSpec,
	journal v1alpha1.PaymentJournal,
) (*v1alpha1.PaymentRecord, error) {
	journal.Holder = v1alpha1.RecordHolder{Kind: "LightningInvoice", Namespace: object.Namespace, Name: object.Name, UID: string(object.UID)}
	ctx = context.WithoutCancel(ctx)
	for attempt := 1; ; attempt++ {
		published, _, err := r.Records.Claim(ctx, invoice.RecordName(string(object.UID)), spec, journal)
		if err == nil || attempt == publishAttempts || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
			return published, err
		}
		log.FromContext(ctx).Error(err, "an issued invoice could not be recorded; trying again")
		r.Clock.Sleep(time.Second)
	}
}

// republish records an invoice from the status of its resource.
func (r *LightningInvoiceReconciler) republish(ctx context.Context, object *v1alpha1.LightningInvoice, connection *Connection) (*v1alpha1.PaymentRecord, error) {
	published, err := bolt11.Decode(object.Status.PaymentRequest)
	if err != nil {
		return nil, reconcile.TerminalError(errors.New("the status of a LightningInvoice without a record holds no invoice that can be read"))
	}
	return r.publish(ctx, object, invoice.RecordSpec(published, object.Status.PaymentRequest, object.Status.RequestID, connection.Record,
		object.Spec.Asset))
}

// publishAttempts is how often an issued invoice is tried to be recorded before it is left to die unseen.
const publishAttempts = 30

// look asks the service for an invoice by its id and, where the service lost that, by its payment hash.
func look(ctx context.Context, published *v1alpha1.PaymentRecord, service *utexo.Client) invoice.Seen {
	found, presence, _ := service.ReceiveRequest(ctx, published.Spec.RequestID)
	another := presence == utexo.Present && found.PaymentRequest != "" && found.PaymentRequest != published.Spec.PaymentRequest
	switch {
	case another: // only the list can tell
	case presence == utexo.Present:
		return map[utexo.ReceiveStatus]invoice.Seen{
			utexo.ReceiveOpen: invoice.Open, utexo.ReceiveSettled: invoice.Settled, utexo.ReceiveExpired: invoice.Expired,
			utexo.ReceiveFailed: invoice.Failed,
		}[found.Status]
	case presence == utexo.PresenceUnknown:
		return invoice.NoAnswer
	}
	payments, err := service.ListPayments(ctx)
	switch {
	case errors.Is(err, utexo.ErrNotAvailable) && !another:
		return invoice.Lost
	case err != nil:
		return invoice.NoAnswer
	}
	for _, one := range payments {
		if one.PaymentHash == published.Spec.PaymentHash && one.Inbound && one.Status == utexo.SendSucceeded {
			return invoice.Settled
		}
	}
	return invoice.Lost
}
