package controller

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// PaymentCollector tells of payments by kind and phase, and of those that no record knows by Wallet, when it is asked.
type PaymentCollector struct {
	tally     *Tally
	reader    client.Reader
	payments  *prometheus.Desc
	unknown   *prometheus.Desc
	unmanaged *prometheus.Desc
}

// NewPaymentCollector returns a collector of what a tally counts, and of what Wallets in a manager's cache say.
func NewPaymentCollector(tally *Tally, cached client.Reader) *PaymentCollector {
	return &PaymentCollector{
		tally: tally, reader: cached,
		payments: prometheus.NewDesc("utexo_operator_payments", "Payments by kind and phase.",
			[]string{"kind", "phase"}, nil),
		unknown: prometheus.NewDesc("utexo_outcome_unknown",
			"Payments of which money may have moved and a person has to find out; alert above 0.", []string{"kind"}, nil),
		unmanaged: prometheus.NewDesc("utexo_payments_unmanaged",
			"Lightning payments of the last 7 days that left a Wallet, or the node behind its service, and that no record knows; alert above 0. "+
				"Without a series for a Wallet whose service does not list payments.", []string{"namespace", "wallet"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *PaymentCollector) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- c.payments
	descriptions <- c.unknown
	descriptions <- c.unmanaged
}

// Collect implements prometheus.Collector. What cannot be read now is left out of the answer.
func (c *PaymentCollector) Collect(into chan<- prometheus.Metric) {
	for _, kind := range []string{"LightningPayment", "OnchainSend"} {
		c.count(into, kind, c.tally.phases(kind))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var wallets v1alpha1.WalletList
	if c.reader.List(ctx, &wallets, client.UnsafeDisableDeepCopy) != nil { // nothing is changed
		return
	}
	for i := range wallets.Items {
		wallet := &wallets.Items[i]
		if count := unmanagedOf(wallet); count != nil {
			into <- prometheus.MustNewConstMetric(c.unmanaged, prometheus.GaugeValue, float64(*count), wallet.Namespace, wallet.Name)
		}
	}
}

func (c *PaymentCollector) count(into chan<- prometheus.Metric, kind string, phases map[v1alpha1.PaymentPhase]int64) {
	for _, phase := range []v1alpha1.PaymentPhase{
		v1alpha1.PaymentPending, v1alpha1.PaymentPlanned, v1alpha1.PaymentAwaitingApproval, v1alpha1.PaymentAwaitingSignature,
		v1alpha1.PaymentSubmitting, v1alpha1.PaymentInFlight, v1alpha1.PaymentSucceeded, v1alpha1.PaymentFailed, v1alpha1.PaymentUnknown,
	} {
		into <- prometheus.MustNewConstMetric(c.payments, prometheus.GaugeValue, float64(phases[phase]), kind, string(phase))
	}
	into <- prometheus.MustNewConstMetric(c.unknown, prometheus.GaugeValue, float64(phases[v1alpha1.PaymentUnknown]), kind)
}
