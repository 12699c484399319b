package controller

import (
	"context"
	"errors"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/utexo"
)

// look asks the service for the latest invoice, and for those that were renewed and may still be paid.
func (r *LightningInvoiceReconciler) look(ctx context.Context, facts *invoice.Facts, status v1alpha1.LightningInvoiceStatus, service *utexo.Client) {
	look := func(published v1alpha1.PaymentRecordSpec) invoice.Seen {
		seen, pause := look(ctx, published, service, func() (paid, known bool) { return r.Observe.paid(observer.Invoice, facts.Invoice) })
		r.Observe.Pressed(walletKey(facts.Invoice.Namespace, facts.Invoice.Spec.WalletRef), pause)
		return seen
	}
	if !invoice.IsGivenUp(facts.Record) {
		seen := look(facts.Record.Spec)
		facts.Sighting = &seen
	}
	facts.Earlier = map[int32]invoice.Seen{}
	for _, past := range invoice.Watched(&status) {
		seen := look(v1alpha1.PaymentRecordSpec{RequestID: past.RequestID, PaymentHash: past.PaymentHash})
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

// look asks the service for an invoice by its id and, where the service lost that, by its payment hash. pause is how long the service
// asked to be left alone. listed tells what a recent list of payments says of it, where there is one.
func look(ctx context.Context, published v1alpha1.PaymentRecordSpec, service *utexo.Client, listed func() (paid, known bool),
) (seen invoice.Seen, pause time.Duration) {
	found, presence, err := service.ReceiveRequest(ctx, published.RequestID)
	another := presence == utexo.Present && found.PaymentRequest != "" && isAnother(found.PaymentRequest, published)
	switch {
	case another: // only the list can tell
	case presence == utexo.Present:
		return map[utexo.ReceiveStatus]invoice.Seen{
			utexo.ReceiveOpen: invoice.Open, utexo.ReceiveSettled: invoice.Settled, utexo.ReceiveExpired: invoice.Expired,
			utexo.ReceiveFailed: invoice.Failed,
		}[found.Status], 0
	case presence == utexo.PresenceUnknown:
		return invoice.NoAnswer, pauseOf(err)
	}
	if paid, known := listed(); known && !paid {
		return invoice.Lost, 0
	}
	settled := false
	err = service.EachPayment(ctx, func(one utexo.Payment) {
		settled = settled || one.PaymentHash == published.PaymentHash && one.Inbound && one.Status == utexo.SendSucceeded
	})
	switch {
	case errors.Is(err, utexo.ErrNotAvailable) && !another:
		return invoice.Lost, 0
	case err != nil:
		return invoice.NoAnswer, pauseOf(err)
	case settled:
		return invoice.Settled, 0
	}
	return invoice.Lost, 0
}

// isAnother reports whether a payment request is not the one that was published, of which a history keeps the payment hash alone.
func isAnother(paymentRequest string, published v1alpha1.PaymentRecordSpec) bool {
	if published.PaymentRequest != "" {
		return paymentRequest != published.PaymentRequest
	}
	issued, err := bolt11.Decode(paymentRequest)
	return err != nil || issued.PaymentHashHex() != published.PaymentHash
}
