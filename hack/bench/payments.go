package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/record"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/testkit"
	"github.com/utexo/utexo-operator/internal/utexo"
	"github.com/utexo/utexo-operator/internal/walletlock"
)

func aboutPayments(b *bench) string {
	return fmt.Sprintf("%d LightningPayments of one wallet are applied at once, which makes one at a time, and then %d of each of %d wallets. "+
		"The ceiling of one wallet is what its critical section cannot do without, each part measured alone: the look-up by payment hash and "+
		"in the list, begin, end, and the protocol's writes to Lease and record. Without the look-up, which the protocol wants inside, it "+
		"would be higher; that share is told too. The ceiling of %d wallets is the API server's: as many clients ask it for what the operator "+
		"asks for a payment, one request after another, while neither operator nor service take any of the processors.",
		b.payments, b.walletPayments, b.wallets, b.wallets)
}

// paid is what it took to have payments made.
type paid struct {
	spent
	each []float64
	all  time.Duration
	// perSecond is how many were submitted a second, between the first and the last.
	perSecond float64
}

// runPayments pays from one wallet, and from many.
func (b *bench) runPayments(ctx context.Context) ([]measure, error) {
	section, err := b.criticalSection(ctx, min(b.payments, 50))
	if err != nil {
		return nil, fmt.Errorf("the critical section alone: %w", err)
	}
	one, err := b.pay(ctx, 1, b.payments, "payments")
	if err != nil {
		return nil, err
	}
	many, err := b.pay(ctx, b.wallets, b.walletPayments, "wallets")
	if err != nil {
		return nil, err
	}
	limit, err := b.apiServerLimit(ctx)
	if err != nil {
		return nil, fmt.Errorf("the API server alone: %w", err)
	}
	ceiling := 1 / (section.look + section.begin + section.end + section.writes).Seconds()
	unlooked := 1 / (section.begin + section.end + section.writes).Seconds()
	measures := []measure{
		{name: "**share of the ceiling, one wallet**", value: one.perSecond / ceiling, target: "≥ 0.8"},
		{name: "share of what it would be without the look-up", value: one.perSecond / unlooked},
		{name: "payments a second, one wallet", value: one.perSecond},
		{name: "payments a second, ceiling of one wallet", value: ceiling},
		{name: "look-up, alone", unit: "ms", value: milliseconds(section.look)},
		{name: "begin, alone", unit: "ms", value: milliseconds(section.begin)},
		{name: "end, alone", unit: "ms", value: milliseconds(section.end)},
		{name: "writes to Lease and record, alone", unit: "ms", value: milliseconds(section.writes)},
		{
			name: fmt.Sprintf("**%d wallets, times one wallet**", b.wallets), value: many.perSecond / one.perSecond,
			target: "≥ 8, or the API server's limit",
		},
		{name: fmt.Sprintf("payments a second, %d wallets", b.wallets), value: many.perSecond},
		{name: fmt.Sprintf("payments a second for which the API server alone is fast enough, %d wallets", b.wallets), value: limit},
		{name: fmt.Sprintf("**share of the API server's limit, %d wallets**", b.wallets), value: many.perSecond / limit},
		{name: fmt.Sprintf("machine busy, %d wallets", b.wallets), unit: "%", value: 100 * many.busy},
		{name: fmt.Sprintf("CPUs that etcd and kube-apiserver took, %d wallets", b.wallets), value: many.controlPlaneCPUs},
		{name: fmt.Sprintf("CPUs that the manager took, %d wallets", b.wallets), value: many.cpuSeconds / many.seconds},
		{
			name:  fmt.Sprintf("kube-apiserver writes each, %d wallets", b.wallets),
			value: float64(many.asked.writes()) / float64(b.wallets*b.walletPayments),
		},
	}
	measures = append(measures, latencies("from create to Succeeded, one wallet", one.each)...)
	measures = append(measures, latencies(fmt.Sprintf("from create to Succeeded, %d wallets", b.wallets), many.each)...)
	measures = append(measures, one.perResource(b.payments)...)
	return append(measures, one.resources(b.payments)...), nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// pay has the operator pay from wallets, so many times each.
func (b *bench) pay(ctx context.Context, wallets, each int, scenario string) (_ *paid, err error) {
	s, err := b.newService()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var names []string
	for i := range wallets {
		names = append(names, fmt.Sprintf("wallet-%02d", i))
	}
	namespace, err := b.cluster.team(ctx, s, names...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.cluster.clear(ctx, namespace)) }()
	p, err := b.operator(ctx, namespace)
	if err != nil {
		return nil, err
	}
	defer p.end()
	if err := b.cluster.awaitWallets(ctx, namespace, names...); err != nil {
		return nil, err
	}
	n := wallets * each
	var objects []client.Object
	for i := range n {
		text, err := s.IssueInvoice(sandbox.NewInvoice{AmountSats: 1000, Expiry: 24 * time.Hour})
		if err != nil {
			return nil, err
		}
		objects = append(objects, testkit.MakeLightningPayment(fmt.Sprintf("pay-%06d", i)).Namespace(namespace).Wallet(names[i%wallets]).
			Invoice(text).MaxFeeSats(1000).Obj())
	}
	tracker, err := b.cluster.track(ctx, &v1alpha1.LightningPaymentList{}, namespace)
	if err != nil {
		return nil, err
	}
	defer tracker.stop()
	m, err := b.meter(ctx, p, s)
	if err != nil {
		return nil, err
	}
	b.profile(ctx, p, scenario)
	if err := tracker.create(ctx, b.cluster, n, func(i int) client.Object { return objects[i] }); err != nil {
		return nil, err
	}
	err = tracker.await(ctx, n, string(v1alpha1.PaymentSucceeded), string(v1alpha1.PaymentFailed), string(v1alpha1.PaymentUnknown))
	if err != nil {
		return nil, err
	}
	result := &paid{}
	result.each, result.all = tracker.took(string(v1alpha1.PaymentSucceeded))
	result.perSecond = submitted(s.Requests()[m.calls:])
	if result.spent, err = m.read(ctx); err != nil {
		return nil, err
	}
	return result, b.profileEnd(ctx, p, scenario)
}

// submitted is how many payments a second were ended, between the first and the last.
func submitted(requests []sandbox.Request) float64 {
	var ends []time.Time
	for _, request := range requests {
		if request.Operation == sandbox.PayEnd {
			ends = append(ends, request.At)
		}
	}
	if len(ends) < 2 {
		return 0
	}
	return float64(len(ends)-1) / ends[len(ends)-1].Sub(ends[0]).Seconds()
}

// section is how long the parts of a critical section take, in the middle.
type section struct{ look, begin, end, writes time.Duration }

// criticalSection makes payments without a controller: of all that a payment takes, what has to happen in the wallet's critical section,
// by the operator's own packages, one after another on an idle API server.
func (b *bench) criticalSection(ctx context.Context, n int) (_ section, err error) {
	s, err := b.newService()
	if err != nil {
		return section{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	v, err := b.newVisitor(ctx, s)
	if err != nil {
		return section{}, err
	}
	defer func() { err = errors.Join(err, b.cluster.clear(ctx, v.namespace)) }()
	if _, err := v.client.Register(ctx); err != nil {
		return section{}, err
	}
	var looks, begins, ends, writes []float64
	for i := range n {
		one, err := v.visit(ctx, i)
		if err != nil {
			return section{}, err
		}
		looks = append(looks, float64(one.look))
		begins, ends, writes = append(begins, float64(one.begin)), append(ends, float64(one.end)), append(writes, float64(one.writes))
	}
	middle := func(values []float64) time.Duration { return time.Duration(percentile(values, 50)) }
	return section{middle(looks), middle(begins), middle(ends), middle(writes)}, nil
}

// newVisitor returns one who pays from wallets that no Wallet declares, in a namespace of its own.
func (b *bench) newVisitor(ctx context.Context, s *service, wallets ...string) (*visitor, error) {
	namespace, err := b.cluster.team(ctx, s, wallets...)
	if err != nil {
		return nil, err
	}
	set, err := keys.FromMnemonic(mnemonic, "alone", bitcoin.Regtest)
	if err != nil {
		return nil, err
	}
	config := *b.cluster.accounts[yardstickAccount]
	config.QPS = -1
	api, err := client.New(&config, client.Options{Scheme: testkit.Scheme()})
	if err != nil {
		return nil, err
	}
	v := &visitor{
		s: s, signer: signer.NewLocal(set), namespace: namespace, api: api,
		records: &record.Store{Client: api, Reader: api, Namespace: testkit.OperatorNamespace},
		locks: &walletlock.Locks{
			Client: api, Reader: api, Namespace: testkit.OperatorNamespace, Identity: "alone", Clock: clock.RealClock{}, Quarantine: time.Minute,
		},
		wallet: v1alpha1.RecordWallet{
			Name: "main", MasterFingerprint: set.Public().MasterFingerprint, XpubVanilla: set.Public().XpubVanilla, Server: s.url,
		},
	}
	v.client, err = newClient(s.url, set.Public())
	return v, err
}

// visitor makes payments of one wallet.
type visitor struct {
	s         *service
	namespace string
	api       client.Client
	client    *utexo.Client
	signer    *signer.Local
	records   *record.Store
	locks     *walletlock.Locks
	wallet    v1alpha1.RecordWallet
}

func orderOf(declared *v1alpha1.LightningPayment, wallet v1alpha1.RecordWallet) (*payment.Order, error) {
	order, obstacle := payment.NewLightningOrder(declared, declared.Spec.Invoice, bitcoin.Regtest, wallet, time.Now())
	if obstacle != nil {
		return nil, errors.New(obstacle.Message)
	}
	return order, nil
}

// visit makes one payment and takes the time of its parts.
func (v *visitor) visit(ctx context.Context, i int) (took section, err error) {
	text, err := v.s.IssueInvoice(sandbox.NewInvoice{AmountSats: 1000, Expiry: time.Hour})
	if err != nil {
		return took, err
	}
	declared := testkit.MakeLightningPayment(fmt.Sprintf("alone-%06d", i)).Namespace(v.namespace).Invoice(text).MaxFeeSats(1000).Obj()
	order, err := orderOf(declared, v.wallet)
	if err != nil {
		return took, err
	}
	current, _, err := v.records.Claim(ctx, order.RecordName(), order.RecordSpec(), payment.NewJournal(order))
	if err != nil {
		return took, err
	}
	timed := func(into *time.Duration, do func() error) {
		if err == nil {
			started := time.Now()
			err = do()
			*into += time.Since(started)
		}
	}
	swap := func(journal v1alpha1.PaymentJournal) (swapErr error) {
		current, swapErr = v.records.Swap(ctx, current, journal)
		return swapErr
	}
	notAfter := time.Now().Add(20 * time.Second)
	intent := walletlock.Inflight{Operation: walletlock.Begin, Record: current.Name, Attempt: 1, NotAfter: metav1.NewMicroTime(notAfter)}
	var held *walletlock.Held
	var unsigned string
	timed(&took.writes, func() (lockErr error) {
		held, lockErr = v.locks.Acquire(ctx, v.wallet.XpubVanilla, intent)
		return lockErr
	})
	timed(&took.look, func() error {
		_, _, lookErr := v.client.SendRequest(ctx, order.PaymentHash)
		listErr := v.client.EachPayment(ctx, func(utexo.Payment) {})
		return errors.Join(lookErr, listErr)
	})
	timed(&took.writes, func() error { return swap(payment.Begin(current.Journal, true, time.Now())) })
	timed(&took.begin, func() (callErr error) {
		unsigned, callErr = v.client.PayInvoiceBegin(ctx, text, int64(order.MaxFeeSats), notAfter)
		return callErr
	})
	if err != nil {
		return took, err
	}
	policy := signer.Intent{Kind: signer.LightningPayment, AmountSats: order.AmountSats, MaxFeeSats: order.MaxFeeSats}.Policy()
	signed, err := v.signer.Sign(ctx, signer.Request{UnsignedPSBT: unsigned, Policy: policy})
	if err != nil {
		return took, err
	}
	intent.Operation = walletlock.End
	timed(&took.writes, func() error { return held.Declare(ctx, intent) })
	timed(&took.writes, func() error {
		of := payment.Signed{Txid: signed.Txid, Digest: signed.Inspection.Digest}
		return swap(payment.Submitting(current.Journal, of, time.Now(), notAfter))
	})
	timed(&took.end, func() error {
		_, callErr := v.client.PayInvoiceEnd(ctx, signed.PSBT, notAfter)
		return callErr
	})
	timed(&took.writes, func() error {
		next, _, _ := payment.Ended(order, current.Journal, payment.EndAccepted, order.PaymentHash, payment.Obstacle{},
			v1alpha1.ProfileConservative, payment.DefaultPolicy(), time.Now())
		return swap(next)
	})
	timed(&took.writes, func() error { return held.Release(ctx, true) })
	return took, err
}
