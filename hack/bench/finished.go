package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

func aboutFinished(b *bench) string {
	return fmt.Sprintf("%s resources are finished, half of them invoices that were settled and half payments that succeeded, each with its "+
		"record. The manager is started, and once it is at rest nothing happens for %s. Beside it stands a manager that caches the "+
		"same objects, without managedFields as is usual, and does nothing.", grouped(int64(b.finished)), b.window)
}

// runFinished starts a manager that finds nothing left to do.
func (b *bench) runFinished(ctx context.Context) (measures []measure, err error) {
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
	if err := b.finish(ctx, s, namespace); err != nil {
		return nil, err
	}
	var bare use
	var bareReady time.Duration
	for range 2 { // the first finds an API server that was told of all this a moment ago
		bare, bareReady, err = b.rest(ctx, func() (*program, error) { return b.yardstick(ctx, roleBare, namespace, "") })
		if err != nil {
			return nil, err
		}
	}
	calls := len(s.Requests())
	mark, err := b.cluster.mark()
	if err != nil {
		return nil, err
	}
	p, err := b.operator(ctx, namespace)
	if err != nil {
		return nil, err
	}
	defer p.end()
	ready := time.Since(p.started)
	b.profile(ctx, p, "finished")
	rested, err := p.rested(ctx)
	if err != nil {
		return nil, err
	}
	start, err := b.cluster.since(mark, p.account)
	if err != nil {
		return nil, err
	}
	startCalls := s.calls(calls)
	before, err := p.scrape(ctx)
	if err != nil {
		return nil, err
	}
	quiet, err := b.idle(ctx, p, s)
	if err != nil {
		return nil, err
	}
	after, err := p.scrape(ctx)
	if err != nil {
		return nil, err
	}
	delete(quiet.calls, string(sandbox.Balance)) // which is of the Wallet
	passes := after["controller_runtime_reconcile_total"] - before["controller_runtime_reconcile_total"]
	const mega = 1 << 20
	measures = []measure{
		{name: "**calls of the service while nothing happens**, but for the Wallet's", value: float64(total(quiet.calls)), target: "0"},
		{name: "**kube-apiserver writes while nothing happens**", value: float64(quiet.asked.writes()), target: "0"},
		{name: "**passes while nothing happens**, but for the Wallet's", value: passes, target: "0"},
		{name: "passes that failed, from the start on", value: after["controller_runtime_reconcile_errors_total"], target: "0"},
		{name: "CPU of the manager while nothing happens", unit: "% of a core", value: 100 * quiet.cpuSeconds / quiet.seconds},
		{name: "start, until the caches are filled", unit: "s", value: ready.Seconds()},
		{name: "start, until the caches are filled, bare manager", unit: "s", value: bareReady.Seconds()},
		{name: "start, until every resource was looked at", unit: "s", value: rested.Seconds()},
		{name: "kube-apiserver writes at the start", value: float64(start.writes())},
		{name: "kube-apiserver reads at the start", value: float64(start.reads())},
		{name: "calls of the service at the start", value: float64(total(startCalls))},
		{name: "memory, live heap", unit: "MiB", value: quiet.use.liveBytes / mega},
		{name: "memory, live heap, bare manager", unit: "MiB", value: bare.liveBytes / mega},
		{name: "**memory, live heap, times the bare manager's**", value: quiet.use.liveBytes / bare.liveBytes, target: "≤ 1.3"},
		{name: "memory, resident, at most", unit: "MiB", value: quiet.use.peakBytes / mega},
		{name: "memory, resident, at most, bare manager", unit: "MiB", value: bare.peakBytes / mega},
	}
	return measures, b.profileEnd(ctx, p, "finished")
}

// rest starts a program, lets it come to rest, and ends it.
func (b *bench) rest(ctx context.Context, start func() (*program, error)) (use, time.Duration, error) {
	p, err := start()
	if err != nil {
		return use{}, 0, err
	}
	defer p.end()
	ready := time.Since(p.started)
	used, err := p.use(ctx, true)
	return used, ready, err
}

// rested waits until the work queues have been empty for two seconds, and returns when that began, counted from the start.
func (p *program) rested(ctx context.Context) (time.Duration, error) {
	var last float64
	since := time.Now()
	err := until(ctx, "the manager is at rest", func() (bool, error) {
		if err := sleep(ctx, 500*time.Millisecond); err != nil { // it counts all payments whenever it is asked for its metrics
			return false, err
		}
		metrics, err := p.scrape(ctx)
		if err != nil {
			return false, err
		}
		if passes := metrics["controller_runtime_reconcile_total"]; passes != last || metrics["workqueue_depth"] > 0 {
			last, since = passes, time.Now()
		}
		return time.Since(since) > 2*time.Second, nil
	})
	return since.Sub(p.started), err
}

// finish makes the operator settle one invoice and make one payment, and then copies both, with their statuses and records.
func (b *bench) finish(ctx context.Context, s *service, namespace string) error {
	p, err := b.operator(ctx, namespace)
	if err != nil {
		return err
	}
	defer p.end()
	if err := b.cluster.awaitWallets(ctx, namespace, "main"); err != nil {
		return err
	}
	text, err := s.IssueInvoice(sandbox.NewInvoice{AmountSats: 1000, Expiry: 24 * time.Hour})
	if err != nil {
		return err
	}
	issued := b.invoice(namespace, 0)
	paid := testkit.MakeLightningPayment("pay-000000").Namespace(namespace).Invoice(text).MaxFeeSats(1000).Obj()
	if err := errors.Join(b.cluster.api.Create(ctx, issued), b.cluster.api.Create(ctx, paid)); err != nil {
		return err
	}
	settles := false
	err = until(ctx, "the models are finished", func() (bool, error) {
		err := errors.Join(b.reload(ctx, issued), b.reload(ctx, paid))
		if err == nil && !settles && issued.Status.Phase == v1alpha1.InvoiceOpen {
			settles = true
			_, err = s.PayInvoice(issued.Status.PaymentRequest, false)
		}
		return issued.Status.Phase == v1alpha1.InvoiceSettled && paid.Status.Phase == v1alpha1.PaymentSucceeded && len(paid.Finalizers) == 0, err
	})
	if err != nil {
		return err
	}
	p.end() // what follows is not its business
	models := []model{
		{resource: "lightninginvoices", namespace: namespace, name: issued.Name, record: issued.Status.RecordRef},
		{resource: "lightningpayments", namespace: namespace, name: paid.Name, record: paid.Status.RecordRef},
	}
	for i := range models {
		if err := models[i].read(ctx, b.cluster.store); err != nil {
			return err
		}
	}
	const together = 50 // each with its record
	err = parallel(ctx, (b.finished-2+together-1)/together, 4, func(ctx context.Context, batch int) error {
		var pairs []pair
		for i := batch * together; i < min((batch+1)*together, b.finished-2); i++ {
			copied, err := models[i%2].copy(i)
			if err != nil {
				return err
			}
			pairs = append(pairs, copied...)
		}
		return b.cluster.store.put(ctx, pairs)
	})
	if err != nil {
		return err
	}
	return errors.Join(b.awaitCount(ctx, &v1alpha1.LightningInvoiceList{}, namespace), b.awaitCount(ctx, &v1alpha1.LightningPaymentList{}, namespace))
}

// awaitCount waits until the API server shows that half of all finished resources are of a kind.
func (b *bench) awaitCount(ctx context.Context, list client.ObjectList, namespace string) error {
	return until(ctx, "the API server shows all resources", func() (bool, error) {
		if err := b.cluster.api.List(ctx, list, client.InNamespace(namespace), client.Limit(1)); err != nil {
			return false, err
		}
		return int64(meta.LenList(list))+ptr.Deref(list.GetRemainingItemCount(), 0) >= int64(b.finished/2), nil
	})
}

// reload reads object as it now is.
func (b *bench) reload(ctx context.Context, object client.Object) error {
	return b.cluster.api.Get(ctx, client.ObjectKeyFromObject(object), object)
}

// model is a finished resource and its record, as etcd has them.
type model struct {
	resource, namespace, name, record string
	object, recorded                  unstructured.Unstructured
}

func (m *model) read(ctx context.Context, from *store) error {
	for key, into := range map[string]*unstructured.Unstructured{
		keyOf(m.resource, m.namespace, m.name):                       &m.object,
		keyOf("paymentrecords", testkit.OperatorNamespace, m.record): &m.recorded,
	} {
		content, err := from.get(ctx, key)
		if err != nil {
			return err
		}
		if err := into.UnmarshalJSON(content); err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
	}
	return nil
}

// copy returns the nth copy of a model, under names of its own.
func (m *model) copy(n int) ([]pair, error) {
	object, recorded := m.object.DeepCopy(), m.recorded.DeepCopy()
	object.SetName(fmt.Sprintf("copy-%06d", n))
	object.SetUID(uuid.NewUUID())
	recorded.SetUID(uuid.NewUUID())
	hash := fmt.Sprintf("%064x", n)
	if m.resource == "lightninginvoices" {
		recorded.SetName(invoice.RecordName(string(object.GetUID())))
	} else {
		recorded.SetName(payment.LightningRecordName(hash))
	}
	err := errors.Join(
		unstructured.SetNestedField(object.Object, hash, "status", "paymentHash"),
		unstructured.SetNestedField(object.Object, recorded.GetName(), "status", "recordRef"),
		unstructured.SetNestedField(recorded.Object, hash, "spec", "paymentHash"),
		unstructured.SetNestedField(recorded.Object, object.GetName(), "journal", "holder", "name"),
		unstructured.SetNestedField(recorded.Object, string(object.GetUID()), "journal", "holder", "uid"))
	if err != nil {
		return nil, err
	}
	objectJSON, err := object.MarshalJSON()
	if err != nil {
		return nil, err
	}
	recordJSON, err := recorded.MarshalJSON()
	return []pair{
		{[]byte(keyOf(m.resource, m.namespace, object.GetName())), objectJSON},
		{[]byte(keyOf("paymentrecords", testkit.OperatorNamespace, recorded.GetName())), recordJSON},
	}, err
}
