package payment

import (
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bolt11"
)

// MinRetention is how long at least the record of a finished Lightning payment is kept: 2016 blocks, in which an HTLC of it may be open, and a
// margin, and far beyond the week in which a payment without a record is taken for another client's.
const MinRetention = 30 * 24 * time.Hour

// IsForgettable reports whether the record of a payment may go once no resource of its holder's name is there. It is so of a Lightning payment
// that is over, whose invoice expired and which ended longer ago than keep: declared again, the invoice itself says that it is too late, and
// nothing begins. A send on-chain has nothing that says so: its validUntil is the manifest's, which may declare another one. Of what has no
// instant, or cannot be read, nothing is forgotten.
func IsForgettable(record *v1alpha1.PaymentRecord, keep time.Duration, now time.Time) bool {
	journal := &record.Journal
	if record.Spec.Kind != v1alpha1.RecordLightningPayment || keep < MinRetention || journal.CompletedAt == nil {
		return false
	}
	switch journal.Phase {
	case v1alpha1.RecordSucceeded, v1alpha1.RecordFailed, v1alpha1.RecordCancelled:
	default:
		return false
	}
	invoice, err := bolt11.Decode(record.Spec.PaymentRequest)
	if err != nil {
		return false
	}
	return now.Sub(invoice.ExpiresAt()) >= keep && now.Sub(journal.CompletedAt.Time) >= keep
}
