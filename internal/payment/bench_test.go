package payment

import (
	"testing"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// BenchmarkDecide is the decision that every look at a payment takes, by how far the payment is.
func BenchmarkDecide(b *testing.B) {
	for _, phase := range []v1alpha1.RecordPhase{v1alpha1.RecordClaimed, v1alpha1.RecordSubmitted, v1alpha1.RecordSucceeded} {
		b.Run(string(phase), func(b *testing.B) {
			facts := makeFacts(makeLightningOrder(), phase)
			b.ReportAllocs()
			for b.Loop() {
				if decision := Decide(facts, policy, t0.Add(time.Minute)); decision.Projection.Phase == "" && decision.Step == Rest {
					b.Fatal("no decision")
				}
			}
		})
	}
}
