package payment

import (
	"testing"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bolt11"
)

// TestIsForgettable holds that a record goes only where its own invoice says that the payment is too late.
func TestIsForgettable(t *testing.T) {
	text := encodeInvoice(t)
	invoice, err := bolt11.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	keep := MinRetention
	over := invoice.ExpiresAt().Add(keep)
	recorded := func(phase v1alpha1.RecordPhase) *v1alpha1.PaymentRecord {
		order := makeLightningOrder()
		order.PaymentRequest = text
		journal := makeJournal(order, phase)
		if journal.CompletedAt != nil {
			journal.CompletedAt = at(invoice.ExpiresAt())
		}
		return makeRecord(order, journal)
	}
	for name, tc := range map[string]struct {
		phase  v1alpha1.RecordPhase
		change func(*v1alpha1.PaymentRecord)
		keep   time.Duration
		now    time.Time
		want   bool
	}{
		"one that succeeded":              {phase: v1alpha1.RecordSucceeded, want: true},
		"one that failed":                 {phase: v1alpha1.RecordFailed, want: true},
		"one that was cancelled":          {phase: v1alpha1.RecordCancelled, want: true},
		"one that is claimed":             {phase: v1alpha1.RecordClaimed},
		"one that was submitted":          {phase: v1alpha1.RecordSubmitting},
		"one under way":                   {phase: v1alpha1.RecordSubmitted},
		"one of unknown outcome":          {phase: v1alpha1.RecordUnknown},
		"a moment before":                 {phase: v1alpha1.RecordSucceeded, now: over.Add(-1)},
		"one that ended later":            {phase: v1alpha1.RecordSucceeded, change: func(r *v1alpha1.PaymentRecord) { r.Journal.CompletedAt = at(invoice.ExpiresAt().Add(time.Second)) }},
		"one without an instant":          {phase: v1alpha1.RecordSucceeded, change: func(r *v1alpha1.PaymentRecord) { r.Journal.CompletedAt = nil }},
		"one whose invoice is no invoice": {phase: v1alpha1.RecordSucceeded, change: func(r *v1alpha1.PaymentRecord) { r.Spec.PaymentRequest = "lnbc1" }},
		"kept for longer":                 {phase: v1alpha1.RecordSucceeded, keep: keep + 1},
		"kept for too short a time":       {phase: v1alpha1.RecordSucceeded, keep: keep - 1},
		"kept for ever":                   {phase: v1alpha1.RecordSucceeded, keep: -1},
		"a send":                          {phase: v1alpha1.RecordSucceeded, change: func(r *v1alpha1.PaymentRecord) { r.Spec.Kind = v1alpha1.RecordOnchainSend }},
		"what an invoiceFrom was":         {phase: v1alpha1.RecordSucceeded, change: func(r *v1alpha1.PaymentRecord) { r.Spec.Kind = v1alpha1.RecordInvoicePin }},
	} {
		t.Run(name, func(t *testing.T) {
			record := recorded(tc.phase)
			if tc.change != nil {
				tc.change(record)
			}
			if tc.keep == 0 {
				tc.keep = keep
			}
			if tc.now.IsZero() {
				tc.now = over
			}
			if got := IsForgettable(record, tc.keep, tc.now); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
}
