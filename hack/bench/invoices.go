package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/testkit"
)

func aboutInvoices(b *bench) string {
	return fmt.Sprintf("%s LightningInvoices of one wallet are applied at once, until all are Open. The ceiling is a controller with the same "+
		"settings that makes for each one status write ahead, the one call, and one status write, and nothing else.", grouped(int64(b.invoices)))
}

// issued is what it took to have invoices issued.
type issued struct {
	spent
	each []float64
	all  time.Duration
}

// runInvoices has invoices issued by the ceiling, and by the operator.
func (b *bench) runInvoices(ctx context.Context) ([]measure, error) {
	ceiling := func(namespace string, s *service) (*program, error) {
		return b.yardstick(ctx, roleCeiling, namespace, s.url)
	}
	if !b.warm { // an API server that was just started is slow, which must not be the ceiling's lot alone
		measured := b.invoices
		b.warm, b.invoices = true, min(measured, 300)
		_, err := b.issue(ctx, ceiling)
		if b.invoices = measured; err != nil {
			return nil, fmt.Errorf("warming up: %w", err)
		}
	}
	least, err := b.issue(ctx, ceiling)
	if err != nil {
		return nil, fmt.Errorf("the ceiling: %w", err)
	}
	ours, err := b.issue(ctx, func(namespace string, s *service) (*program, error) {
		p, err := b.operator(ctx, namespace)
		if err != nil {
			return nil, err
		}
		if err := b.cluster.awaitWallets(ctx, namespace, "main"); err != nil {
			p.end()
			return nil, err
		}
		return p, nil
	}, "main")
	if err != nil {
		return nil, err
	}
	n := float64(b.invoices)
	measures := []measure{
		{name: "**share of the ceiling**", value: least.all.Seconds() / ours.all.Seconds(), target: "≥ 0.8"},
		{name: "invoices a second", value: n / ours.all.Seconds()},
		{name: "invoices a second, ceiling", value: n / least.all.Seconds()},
	}
	measures = append(measures, latencies("from create to Open", ours.each)...)
	measures = append(measures, latencies("from create to Open, ceiling", least.each)...)
	measures = append(measures, ours.perResource(b.invoices)...)
	measures = append(measures, ours.resources(b.invoices)...)
	return append(measures, measure{name: "CPU of the ceiling each", unit: "ms", value: 1000 * least.cpuSeconds / n}), nil
}

// issue has a program issue invoices.
func (b *bench) issue(ctx context.Context, start func(namespace string, s *service) (*program, error), wallets ...string,
) (_ *issued, err error) {
	s, err := b.newService()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	namespace, err := b.cluster.team(ctx, s, wallets...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.cluster.clear(ctx, namespace)) }()
	p, err := start(namespace, s)
	if err != nil {
		return nil, err
	}
	defer p.end()
	tracker, err := b.cluster.track(ctx, &v1alpha1.LightningInvoiceList{}, namespace)
	if err != nil {
		return nil, err
	}
	defer tracker.stop()
	m, err := b.meter(ctx, p, s)
	if err != nil {
		return nil, err
	}
	if p.account == testkit.OperatorAccount {
		b.profile(ctx, p, "invoices")
	}
	err = tracker.create(ctx, b.cluster, b.invoices, func(i int) client.Object { return b.invoice(namespace, i) })
	if err != nil {
		return nil, err
	}
	if err := tracker.await(ctx, b.invoices, string(v1alpha1.InvoiceOpen), string(v1alpha1.InvoiceFailed)); err != nil {
		return nil, err
	}
	result := &issued{}
	result.each, result.all = tracker.took(string(v1alpha1.InvoiceOpen))
	if result.spent, err = m.read(ctx); err != nil {
		return nil, err
	}
	if p.account == testkit.OperatorAccount {
		err = b.profileEnd(ctx, p, "invoices")
	}
	return result, err
}

// invoice is the one numbered i, which lives longer than any run.
func (b *bench) invoice(namespace string, i int) *v1alpha1.LightningInvoice {
	return testkit.MakeLightningInvoice(fmt.Sprintf("order-%06d", i)).Namespace(namespace).Wallet("main").AmountSats(1000).
		Expiry(24 * time.Hour).Obj()
}
