package controller

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// PaymentCollector counts payments by kind and phase when it is asked, from the cache.
type PaymentCollector struct {
	reader   client.Reader
	payments *prometheus.Desc
	unknown  *prometheus.Desc
}

// NewPaymentCollector returns a collector that reads from a manager's cache.
func NewPaymentCollector(cached client.Reader) *PaymentCollector {
	return &PaymentCollector{
		reader: cached,
		payments: prometheus.NewDesc("utexo_operator_payments", "Payments by kind and phase.",
			[]string{"kind", "phase"}, nil),
		unknown: prometheus.NewDesc("utexo_outcome_unknown",
			"Payments of which money may have moved and a person has to find out; alert above 0.", []string{"kind"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *PaymentCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- c.payments
	descriptions <- c.unknown
}

// Collect implements prometheus.Collector. What cannot be read now is left out of the answer.
func (c *PaymentCollector) Collect(into chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var payments v1alpha1.LightningPaymentList
	if c.reader.List(ctx, &payments, client.UnsafeDisableDeepCopy) == nil {
		phases := map[v1alpha1.PaymentPhase]int{}
		for i := range payments.Items {
			phases[payments.Items[i].Status.Phase]++
		}
		c.count(into, "LightningPayment", phases)
	}
	var sends v1alpha1.OnchainSendList
	if c.reader.List(ctx, &sends, client.UnsafeDisableDeepCopy) == nil {
		phases := map[v1alpha1.PaymentPhase]int{}
		for i := range sends.Items {
			phases[sends.Items[i].Status.Phase]++
		}
		c.count(into, "OnchainSend", phases)
	}
}

func (c *PaymentCollector) count(into chan<- prometheus.Metric, kind string, phases map[v1alpha1.PaymentPhase]int) {
	for _, phase := range []v1alpha1.PaymentPhase{
		v1alpha1.PaymentPending, v1alpha1.PaymentPlanned, v1alpha1.PaymentAwaitingApproval, v1alpha1.PaymentAwaitingSignature,
		v1alpha1.PaymentSubmitting, v1alpha1.PaymentInFlight, v1alpha1.PaymentSucceeded, v1alpha1.PaymentFailed, v1alpha1.PaymentUnknown,
	} {
		into <- prometheus.MustNewConstMetric(c.payments, prometheus.GaugeValue, float64(phases[phase]), kind, string(phase))
	}
	into <- prometheus.MustNewConstMetric(c.unknown, prometheus.GaugeValue, float64(phases[v1alpha1.PaymentUnknown]), kind)
}
