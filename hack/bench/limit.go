package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
	"github.com/utexo/utexo-operator/internal/walletlock"
)

// apiServerLimit is for how many payments a second the API server is fast enough: as many clients as there are wallets ask it, for one payment
// after another, what the operator asks, with objects as the operator writes them, and do nothing else.
func (b *bench) apiServerLimit(ctx context.Context) (perSecond float64, err error) {
	s, err := b.newService()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	v, err := b.newVisitor(ctx, s, "main")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.cluster.clear(ctx, v.namespace)) }()
	n := b.wallets * b.walletPayments
	declared := make([]*v1alpha1.LightningPayment, n)
	for i := range declared {
		text, err := s.IssueInvoice(sandbox.NewInvoice{AmountSats: 1000, Expiry: time.Hour})
		if err != nil {
			return 0, err
		}
		declared[i] = testkit.MakeLightningPayment(fmt.Sprintf("asked-%06d", i)).Namespace(v.namespace).Invoice(text).MaxFeeSats(1000).Obj()
	}
	err = parallel(ctx, n, 4, func(ctx context.Context, i int) error { return v.api.Create(ctx, declared[i]) })
	if err != nil {
		return 0, err
	}
	started := time.Now()
	err = parallel(ctx, b.wallets, b.wallets, func(ctx context.Context, wallet int) error {
		for i := wallet; i < n; i += b.wallets {
			if err := v.ask(ctx, fmt.Sprintf("wallet-%02d", wallet), declared[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return float64(n) / time.Since(started).Seconds(), err
}

// ask makes the requests to the API server that a payment takes. Which those are, TestCostOfPayment says.
func (v *visitor) ask(ctx context.Context, lock string, declared *v1alpha1.LightningPayment) error {
	order, err := orderOf(declared, v.wallet)
	if err != nil {
		return err
	}
	a := &asking{visitor: v, ctx: ctx, declared: declared, current: &v1alpha1.PaymentRecord{}}
	a.finalizer(true)
	a.do(func() error {
		claimed, _, err := v.records.Claim(ctx, order.RecordName(), order.RecordSpec(), payment.NewJournal(order))
		return a.keep(claimed, err)
	})
	a.status(v1alpha1.PaymentPending)
	a.look()
	notAfter := time.Now().Add(20 * time.Second)
	intent := walletlock.Inflight{Operation: walletlock.Begin, Record: a.current.Name, Attempt: 1, NotAfter: metav1.NewMicroTime(notAfter)}
	var held *walletlock.Held
	a.do(func() (err error) {
		held, err = v.locks.Acquire(ctx, lock, intent)
		return err
	})
	a.look()
	a.swap(func() v1alpha1.PaymentJournal { return payment.Begin(a.current.Journal, true, time.Now()) })
	a.look()
	a.do(func() error {
		return v.api.Get(ctx, client.ObjectKeyFromObject(declared), &v1alpha1.LightningPayment{})
	})
	intent.Operation = walletlock.End
	a.do(func() error { return held.Declare(ctx, intent) })
	a.swap(func() v1alpha1.PaymentJournal {
		of := payment.Signed{Txid: order.PaymentHash, Digest: order.PaymentHash} // as long as those
		return payment.Submitting(a.current.Journal, of, time.Now(), notAfter)
	})
	a.swap(func() v1alpha1.PaymentJournal {
		next, _, _ := payment.Ended(order, a.current.Journal, payment.EndAccepted, order.PaymentHash, payment.Obstacle{},
			v1alpha1.ProfileConservative, payment.DefaultPolicy(), time.Now())
		return next
	})
	a.do(func() error { return held.Release(ctx, true) })
	a.event("InFlight")
	a.status(v1alpha1.PaymentInFlight)
	a.look()
	a.swap(func() v1alpha1.PaymentJournal {
		next := *a.current.Journal.DeepCopy()
		next.Phase = v1alpha1.RecordSucceeded
		return next
	})
	a.event("Succeeded")
	a.status(v1alpha1.PaymentSucceeded)
	a.do(func() error {
		return v.api.Get(ctx, client.ObjectKeyFromObject(declared), &v1alpha1.LightningPayment{})
	})
	a.finalizer(false)
	return a.err
}

// asking makes requests until one fails.
type asking struct {
	*visitor
	ctx      context.Context
	declared *v1alpha1.LightningPayment
	current  *v1alpha1.PaymentRecord
	err      error
}

func (a *asking) do(request func() error) {
	if a.err == nil {
		a.err = request()
	}
}

// look reads what is read afresh at each look at a payment.
func (a *asking) look() {
	wallet := client.ObjectKey{Namespace: a.namespace, Name: "main"}
	a.do(func() error { return a.api.Get(a.ctx, wallet, &v1alpha1.Wallet{}) })
	a.do(func() error { return a.api.Get(a.ctx, wallet, &corev1.Secret{}) })
	a.do(func() error {
		return a.api.Get(a.ctx, client.ObjectKeyFromObject(a.current), &v1alpha1.PaymentRecord{})
	})
}

func (a *asking) swap(next func() v1alpha1.PaymentJournal) {
	a.do(func() error {
		swapped, err := a.records.Swap(a.ctx, a.current, next())
		return a.keep(swapped, err)
	})
}

// keep makes record the current one, where it was written.
func (a *asking) keep(record *v1alpha1.PaymentRecord, err error) error {
	if err == nil {
		a.current = record
	}
	return err
}

func (a *asking) finalizer(on bool) {
	before := a.declared.DeepCopy()
	a.declared.Finalizers = nil
	if on {
		a.declared.Finalizers = []string{v1alpha1.Finalizer}
	}
	a.do(func() error { return a.api.Patch(a.ctx, a.declared, client.MergeFrom(before)) })
}

func (a *asking) status(phase v1alpha1.PaymentPhase) {
	before := a.declared.DeepCopy()
	a.declared.Status.Phase, a.declared.Status.RecordRef = phase, a.current.Name
	a.declared.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: string(phase), LastTransitionTime: metav1.Now(),
		Message: "the service has the payment; waiting for its outcome",
	}}
	a.do(func() error { return a.api.Status().Patch(a.ctx, a.declared, client.MergeFrom(before)) })
}

func (a *asking) event(reason string) {
	a.do(func() error {
		return a.api.Create(a.ctx, &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, GenerateName: a.declared.Name + "-"},
			EventTime:  metav1.NowMicro(), Type: corev1.EventTypeNormal, Reason: reason, Action: "Reconcile", Note: "the payment is on its way",
			ReportingController: "bench", ReportingInstance: "bench",
			Regarding: corev1.ObjectReference{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "LightningPayment", Namespace: a.namespace, Name: a.declared.Name, UID: a.declared.UID,
			},
		})
	})
}
