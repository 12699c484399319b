package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

func aboutOpen(b *bench) string {
	about := fmt.Sprintf("%s LightningInvoices of one wallet are open, and for %s nothing happens; then %d of them are paid at once.",
		grouped(int64(b.open)), b.window, b.settled)
	if b.unlisted {
		about += " The same follows with the others at a service whose listpayments answers 405."
	}
	return about
}

// settleDown is how long it takes until what is open is looked at as seldom as it will be.
const settleDown = time.Minute

// runOpen lets invoices be open while nothing happens, and then be paid.
func (b *bench) runOpen(ctx context.Context) (measures []measure, err error) {
	s, err := b.newService()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	namespace, err := b.cluster.team(ctx, s, "main")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.cluster.clear(ctx, namespace)) }()
	p, err := b.operator(ctx, namespace)
	if err != nil {
		return nil, err
	}
	defer p.end()
	if err := b.cluster.awaitWallets(ctx, namespace, "main"); err != nil {
		return nil, err
	}
	tracker, err := b.cluster.track(ctx, &v1alpha1.LightningInvoiceList{}, namespace)
	if err != nil {
		return nil, err
	}
	defer tracker.stop()
	if err := tracker.create(ctx, b.cluster, b.open, func(i int) client.Object { return b.invoice(namespace, i) }); err != nil {
		return nil, err
	}
	if err := tracker.await(ctx, b.open, string(v1alpha1.InvoiceOpen), string(v1alpha1.InvoiceFailed)); err != nil {
		return nil, err
	}
	if err := sleep(ctx, settleDown); err != nil {
		return nil, err
	}
	b.profile(ctx, p, "open")
	idle, err := b.idle(ctx, p, s)
	if err != nil {
		return nil, err
	}
	if err := b.profileEnd(ctx, p, "open"); err != nil {
		return nil, err
	}
	measures = append(idle.rates(), measure{name: "memory of the manager, live heap", unit: "MiB", value: idle.use.liveBytes / (1 << 20)})
	settled, err := b.settle(ctx, p, s, tracker, namespace, idle)
	if err != nil {
		return nil, err
	}
	measures = append(measures, settled...)
	if !b.unlisted {
		return measures, nil
	}

	s.SetListPayments(false)
	if err := sleep(ctx, settleDown); err != nil {
		return nil, err
	}
	if idle, err = b.idle(ctx, p, s); err != nil {
		return nil, err
	}
	if settled, err = b.settle(ctx, p, s, tracker, namespace, idle); err != nil {
		return nil, err
	}
	for _, m := range append(idle.rates(), settled...) {
		m.name = "listpayments 405: " + m.name
		if m.target != "0" { // the others are of lists
			m.target = ""
		}
		measures = append(measures, m)
	}
	return measures, nil
}

// idle measures while nothing happens.
func (b *bench) idle(ctx context.Context, p *program, s *service) (spent, error) {
	m, err := b.meter(ctx, p, s)
	if err != nil {
		return spent{}, err
	}
	if err := sleep(ctx, b.window); err != nil {
		return spent{}, err
	}
	return m.read(ctx)
}

// rates are what s comes to in a second.
func (s spent) rates() []measure {
	measures := []measure{
		{name: "**calls of the service a second**", value: float64(total(s.calls)) / s.seconds, target: "≤ 0.2"},
		{name: "**kube-apiserver writes a second**", value: float64(s.asked.writes()) / s.seconds, target: "0"},
		{name: "kube-apiserver reads a second", value: float64(s.asked.reads()) / s.seconds},
		{name: "CPU of the manager", unit: "% of a core", value: 100 * s.cpuSeconds / s.seconds, target: "≤ 2 %"},
	}
	for _, operation := range slices.Sorted(maps.Keys(s.calls)) {
		perSecond := float64(s.calls[operation]) / s.seconds
		measures = append(measures, measure{name: "service: " + operation, unit: "a second", value: perSecond})
	}
	return measures
}

// settle pays invoices at once and waits until their resources say so. What it took is told beyond what would have been called in that time
// had nothing happened.
func (b *bench) settle(ctx context.Context, p *program, s *service, tracker *tracker, namespace string, idle spent) ([]measure, error) {
	var list v1alpha1.LightningInvoiceList
	if err := b.cluster.api.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	before := len(list.Items)
	open := slices.DeleteFunc(list.Items, func(o v1alpha1.LightningInvoice) bool { return o.Status.Phase != v1alpha1.InvoiceOpen })
	settled := before - len(open)
	m, err := b.meter(ctx, p, s)
	if err != nil {
		return nil, err
	}
	for i := range b.settled { // spread over all ages
		object := &open[i*len(open)/b.settled]
		if _, err := s.PayInvoice(object.Status.PaymentRequest, false); err != nil {
			return nil, fmt.Errorf("paying %s: %w", object.Name, err)
		}
	}
	if err := tracker.await(ctx, settled+b.settled, string(v1alpha1.InvoiceSettled)); err != nil {
		return nil, err
	}
	took := time.Since(m.started).Seconds()
	after, err := m.read(ctx)
	if err != nil {
		return nil, err
	}
	extra := float64(total(after.calls)) - float64(total(idle.calls))/idle.seconds*after.seconds
	return []measure{
		{name: fmt.Sprintf("**until all of %d that were paid at once are Settled**", b.settled), unit: "s", value: took},
		{name: "calls of the service for each that was paid, beyond those without", value: extra / float64(b.settled)},
		{name: "kube-apiserver writes for each that was paid", value: float64(after.asked.writes()) / float64(b.settled)},
	}, nil
}

// sleep waits, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
