package controller

import (
	"context"
	"errors"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/utexo"
)

// look asks the service for the latest invoice, and for those that were renewed and may still be paid.
func (r *LightningInvoiceReconciler) look(ctx context.Context, facts *invoice.Facts, status v1alpha1.LightningInvoiceStatus, service *utexo.Client) {
	if !invoice.IsGivenUp(facts.Record) {
		seen := look(ctx, facts.Record.Spec, service)
		facts.Sighting = &seen
	}
	facts.Earlier = map[int32]invoice.Seen{}
	for _, past := range invoice.Watched(&status) {
		seen := look(ctx, v1alpha1.PaymentRecordSpec{RequestID: past.RequestID, PaymentHash: past.PaymentHash}, service)
		if seen == invoice.Lost {
			seen = r.recorded(ctx, facts, past.Renewal)
		}
		facts.Earlier[past.Renewal] = seen
	}
}

// recorded is what is known of an invoice that the service lost: a process may have ended after it recorded that it was paid.
func (r *LightningInvoiceReconciler) recorded(ctx context.Context, facts *invoice.Facts, renewal int32) invoice.Seen {
	earlier, err := r.Records.Get(ctx, invoice.RenewalRecordName(string(facts.Invoice.UID), renewal))
	switch {
	case err != nil:
		return invoice.NoAnswer
	case earlier != nil && earlier.Journal.CompletedAt != nil:
		return invoice.Settled
	}
	return invoice.Lost
}

// look asks the service for an invoice by its id and, where the service lost that, by its payment hash.
func look(ctx context.Context, published v1alpha1.PaymentRecordSpec, service *utexo.Client) invoice.Seen {
	found, presence, _ := service.ReceiveRequest(ctx, published.RequestID)
	another := presence == utexo.Present && found.PaymentRequest != "" && isAnother(found.PaymentRequest, published)
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
		if one.PaymentHash == published.PaymentHash && one.Inbound && one.Status == utexo.SendSucceeded {
			return invoice.Settled
		}
	}
	return invoice.Lost
}

// isAnother reports whether a payment request is not the one that was published, of which a history keeps the payment hash alone.
func isAnother(paymentRequest string, published v1alpha1.PaymentRecordSpec) bool {
	if published.PaymentRequest != "" {
		return paymentRequest != published.PaymentRequest
	}
	issued, err := bolt11.Decode(paymentRequest)
	return err != nil || issued.PaymentHashHex() != published.PaymentHash
}
