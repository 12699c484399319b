package controller

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/invoice"
)

// keep writes to the records what a decision says of them: that an invoice was paid outlives the status. It returns the latest.
func (r *LightningInvoiceReconciler) keep(ctx context.Context, facts *invoice.Facts, decision invoice.Decision) (*v1alpha1.PaymentRecord, error) {
	if paid := decision.PaidEarlier; paid != nil {
		earlier, err := r.Records.Get(ctx, invoice.RenewalRecordName(string(facts.Invoice.UID), paid.Renewal))
		if err != nil {
			return nil, err
		}
		if earlier != nil && earlier.Journal.CompletedAt == nil {
			if _, err := r.Records.Swap(ctx, earlier, *invoice.SettledJournal(earlier, *paid.SettledAt)); err != nil {
				return nil, err
			}
		}
	}
	if decision.Journal == nil {
		return facts.Record, nil
	}
	return r.Records.Swap(ctx, facts.Record, *decision.Journal)
}

// observeRecords reads the record of the latest invoice, and those before it that the status does not tell of.
func (r *LightningInvoiceReconciler) observeRecords(ctx context.Context, facts *invoice.Facts) error {
	object, shown := facts.Invoice, facts.Invoice.Status.Renewals
	of := func(renewal int32) (*v1alpha1.PaymentRecord, error) {
		return r.Records.Get(ctx, invoice.RenewalRecordName(string(object.UID), renewal))
	}
	latest, err := of(shown)
	if err != nil {
		return err
	}
	facts.Renewal = shown
	if invoice.MayHaveSuccessor(object, latest, r.Clock.Now()) {
		if facts.Renewal, latest, err = last(shown, latest, of); err != nil {
			return err
		}
	}
	facts.Record = latest
	if facts.Renewal == shown {
		return nil
	}
	for renewal := facts.Renewal - 1; renewal >= max(0, facts.Renewal-v1alpha1.MaxInvoiceHistory); renewal-- {
		past, err := of(renewal)
		if err != nil {
			return err
		}
		if past != nil && !invoice.IsGivenUp(past) {
			facts.Past = append(facts.Past, invoice.PastOf(past, renewal))
		}
	}
	return nil
}

// last finds the last of the records from renewal known on, whose record is at: in steps that double until there is none, then between.
func last(known int32, at *v1alpha1.PaymentRecord, of func(int32) (*v1alpha1.PaymentRecord, error)) (int32, *v1alpha1.PaymentRecord, error) {
	step, none := int32(1), int32(0) // none is the lowest that is known not to be there; 0 for none known
	for none == 0 || none-known > 1 {
		probe := known + step
		if none > 0 {
			probe = known + (none-known)/2
		}
		found, err := of(probe)
		switch {
		case err != nil:
			return 0, nil, err
		case found == nil:
			none = probe
		default:
			known, at, step = probe, found, 2*step
		}
	}
	return known, at, nil
}

// next is the renewal that the invoice which is asked for is of.
func next(facts *invoice.Facts) int32 {
	if facts.Record == nil {
		return facts.Renewal
	}
	return facts.Renewal + 1
}

// advance goes on to the record of the next invoice. The one before, if there is one, is watched from now on.
func advance(facts *invoice.Facts, record *v1alpha1.PaymentRecord) {
	if before := facts.Record; before != nil {
		facts.Past = append(facts.Past, invoice.PastOf(before, facts.Renewal))
	}
	facts.Renewal, facts.Record, facts.Sighting = next(facts), record, nil
}

// giveUp records that no further invoice of the resource is published. Where one was meanwhile the facts tell of that one.
func (r *LightningInvoiceReconciler) giveUp(ctx context.Context, facts *invoice.Facts, conditions []metav1.Condition) error {
	object := facts.Invoice
	spec, journal := invoice.GiveUp(object.Spec.WalletRef.Name, meta.FindStatusCondition(conditions, v1alpha1.ConditionReady))
	recorded, err := r.record(ctx, object, next(facts), spec, journal)
	if err == nil {
		advance(facts, recorded)
	}
	return err
}

// publish records the one invoice of a renewal of the resource. Where it was given up meanwhile it returns the record that says so.
func (r *LightningInvoiceReconciler) publish(ctx context.Context, object *v1alpha1.LightningInvoice, renewal int32, spec v1alpha1.PaymentRecordSpec,
) (*v1alpha1.PaymentRecord, error) {
	return r.record(ctx, object, renewal, spec, v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld})
}

// record creates the one record of a renewal of the resource. A lost answer to the write is mended by writing the same again.
func (r *LightningInvoiceReconciler) record(ctx context.Context, object *v1alpha1.LightningInvoice, renewal int32,
	spec v1alpha1.PaymentRecordSpec, journal v1alpha1.PaymentJournal,
) (*v1alpha1.PaymentRecord, error) {
	journal.Holder = v1alpha1.RecordHolder{Kind: "LightningInvoice", Namespace: object.Namespace, Name: object.Name, UID: string(object.UID)}
	ctx = context.WithoutCancel(ctx)
	for attempt := 1; ; attempt++ {
		published, _, err := r.Records.Claim(ctx, invoice.RenewalRecordName(string(object.UID), renewal), spec, journal)
		if err == nil || attempt == publishAttempts || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
			return published, err
		}
		log.FromContext(ctx).Error(err, "an issued invoice could not be recorded; trying again")
		r.Clock.Sleep(time.Second)
	}
}

// republish records the latest invoice from the status of its resource.
func (r *LightningInvoiceReconciler) republish(ctx context.Context, facts *invoice.Facts, connection *Connection) (*v1alpha1.PaymentRecord, error) {
	object := facts.Invoice
	published, err := bolt11.Decode(object.Status.PaymentRequest)
	if err != nil {
		return nil, reconcile.TerminalError(errors.New("the status of a LightningInvoice without a record holds no invoice that can be read"))
	}
	return r.publish(ctx, object, facts.Renewal, invoice.RecordSpec(published, object.Status.PaymentRequest, object.Status.RequestID,
		connection.Record, object.Spec.Asset))
}

// publishAttempts is how often an issued invoice is tried to be recorded before it is left to die unseen.
const publishAttempts = 30
