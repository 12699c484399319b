package invoice

import (
	"testing"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// BenchmarkDecide is the decision that every look at an invoice takes: before it is issued, and when it was seen unpaid.
func BenchmarkDecide(b *testing.B) {
	seen := Open
	open := makeFacts(b, v1alpha1.InvoiceOpen, true)
	open.Sighting = &seen
	for name, facts := range map[string]Facts{"unpublished": makeFacts(b, v1alpha1.InvoicePending, false), "open": open} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if decision := Decide(facts, t0.Add(time.Minute)); decision.Status.Phase == "" {
					b.Fatal("no decision")
				}
			}
		})
	}
}
