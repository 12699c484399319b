package controller_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// observed is a world whose operator observes its service, with the queues of its controllers.
type observed struct {
	*world
	agenda map[job]time.Time
	// writes are what was written to the API server.
	writes int
}

// job is one entry of a queue.
type job struct {
	kind observer.Kind
	types.NamespacedName
}

func newObserved(t *testing.T, listed bool) *observed {
	w := &observed{world: newWorld(t, sandbox.Documented), agenda: map[job]time.Time{}}
	options := observer.DefaultOptions()
	w.observer = &options
	w.start()
	w.sandbox.SetListPayments(listed)
	w.syncWallet()
	w.boundary = func(call string, after bool) error {
		if verb, _, _ := strings.Cut(strings.TrimPrefix(call, "K "), " "); after && strings.HasPrefix(call, "K ") && verb != "get" && verb != "list" {
			w.writes++
		}
		return nil
	}
	return w
}

// add has an object reconciled now, as when it was created.
func (w *observed) add(kind observer.Kind, object client.Object) {
	w.agenda[job{kind, client.ObjectKeyFromObject(object)}] = w.clock.Now()
}

// run lets time pass, and makes each pass when it is due.
func (w *observed) run(d time.Duration) {
	w.t.Helper()
	for end := w.clock.Now().Add(d); ; {
		w.queue()
		var next *job
		for one, at := range w.agenda {
			if before := next == nil || at.Before(w.agenda[*next]) || at.Equal(w.agenda[*next]) && fmt.Sprint(one) < fmt.Sprint(*next); before {
				next = &one
			}
		}
		if next == nil || w.agenda[*next].After(end) {
			w.clock.SetTime(end)
			return
		}
		if at := w.agenda[*next]; at.After(w.clock.Now()) {
			w.clock.SetTime(at)
			w.sandbox.Advance()
		}
		delete(w.agenda, *next)
		result, err := w.work(*next)
		switch {
		case err != nil:
			w.t.Fatalf("%v: %v", *next, err)
		case result.RequeueAfter > 0:
			w.agenda[*next] = w.clock.Now().Add(result.RequeueAfter)
		}
	}
}

// queue takes over what the observer wants done.
func (w *observed) queue() {
	for _, who := range w.controllers.Queues.Drain() {
		w.agenda[job{who.Kind, who.NamespacedName}] = w.clock.Now()
	}
}

func (w *observed) work(due job) (ctrl.Result, error) {
	request := reconcile.Request{NamespacedName: due.NamespacedName}
	switch due.kind {
	case observer.Invoice:
		return w.controllers.Invoice.Reconcile(w.t.Context(), request)
	case observer.Payment:
		return w.controllers.Payment.Reconcile(w.t.Context(), request)
	case observer.Receipt:
		return w.controllers.Receipt.Reconcile(w.t.Context(), request)
	}
	return w.controllers.Observe.Reconcile(w.t.Context(), request)
}

// invoices declares n invoices and lets them be issued.
func (w *observed) invoices(n int) (issued []*v1alpha1.LightningInvoice) {
	w.t.Helper()
	for i := range n {
		issued = append(issued, made(w.world, w.invoice(fmt.Sprintf("order-%02d", i)).Obj()))
		w.add(observer.Invoice, issued[i])
	}
	w.run(0)
	for _, one := range issued {
		w.want(one, verdict{"Open", v1alpha1.ReasonOpen, []string{"payable"}})
	}
	return issued
}

// calls counts the calls of the service and the writes to the API server that something takes.
func (w *observed) calls(do func()) (looks, lists, writes int) {
	looks, lists, writes = w.called(sandbox.ReceiveRequest), w.called(sandbox.ListPayments), w.writes
	do()
	return w.called(sandbox.ReceiveRequest) - looks, w.called(sandbox.ListPayments) - lists, w.writes - writes
}

// TestOpenInvoicesCostOneList watches invoices of which some are paid in time, some late and the rest never, by one list for all.
func TestOpenInvoicesCostOneList(t *testing.T) {
	w := newObserved(t, true)
	var issued []*v1alpha1.LightningInvoice
	if looks, _, _ := w.calls(func() { issued = w.invoices(30) }); looks != 0 || w.called(sandbox.CreateInvoice) != 30 {
		t.Errorf("30 invoices took %d calls to issue and %d looks", w.called(sandbox.CreateInvoice), looks)
	}
	if looks, lists, writes := w.calls(func() { w.run(20 * time.Minute) }); looks != 0 || writes != 0 || lists < 100 || lists > 140 {
		t.Errorf("20 quiet minutes took %d looks, %d lists and %d writes", looks, lists, writes)
	}

	for _, one := range issued[:5] {
		w.settle(one.Status.PaymentRequest, false)
	}
	looks, _, writes := w.calls(func() { w.run(2 * w.observer.MaxInterval) })
	if looks != 5 || writes != 10 {
		t.Errorf("5 payments took %d looks, and %d writes to 5 records and 5 resources", looks, writes)
	}
	for _, one := range issued[:5] {
		w.want(one, verdict{"Settled", v1alpha1.ReasonSettled, nil})
	}

	if looks, _, _ := w.calls(func() { w.run(time.Hour) }); looks != 25 {
		t.Errorf("25 invoices that expire took %d looks", looks)
	}
	for _, one := range issued[5:] {
		w.want(one, verdict{"Expired", v1alpha1.ReasonInvoiceExpired, nil})
	}
	w.settle(issued[7].Status.PaymentRequest, true)
	w.run(time.Minute)
	w.want(issued[7], verdict{"Settled", v1alpha1.ReasonSettled, nil})

	w.run(invoice.LateSettlement)
	if looks, lists, writes := w.calls(func() { w.run(24 * time.Hour) }); looks+lists+writes != 0 || len(w.agenda) != 0 {
		t.Errorf("a day on which nothing can be paid takes %d looks, %d lists and %d writes; in the queues: %v", looks, lists, writes, w.agenda)
	}
}

// TestOpenInvoicesWithoutAList watches invoices at a service that lists no payments.
func TestOpenInvoicesWithoutAList(t *testing.T) {
	w := newObserved(t, false)
	issued := w.invoices(30)
	w.run(10 * time.Minute)
	looks, lists, writes := w.calls(func() { w.run(20 * time.Minute) })
	if most := 20 * 60 * w.observer.LooksPerSecond; looks < 30*19 || looks > 30*22 || looks > most || lists > 3 || writes != 0 {
		t.Errorf("20 quiet minutes took %d looks, %d lists and %d writes", looks, lists, writes)
	}
	w.settle(issued[3].Status.PaymentRequest, false)
	w.run(time.Minute + 2*time.Second)
	w.want(issued[3], verdict{"Settled", v1alpha1.ReasonSettled, nil})
	w.run(time.Hour)
	w.want(issued[4], verdict{"Expired", v1alpha1.ReasonInvoiceExpired, nil})
}

// TestObserverOfAForgetfulService restarts the service, which then knows its invoices by their payment hashes alone: the one list that
// serves all of them tells which are paid, and none asks for a list of its own.
func TestObserverOfAForgetfulService(t *testing.T) {
	w := newObserved(t, true)
	issued := w.invoices(20)
	w.sandbox.Restart()
	w.settle(issued[3].Status.PaymentRequest, false)
	w.run(58 * time.Minute)
	looks, lists, _ := w.calls(func() { w.run(3 * time.Minute) })
	if looks != 19 || lists > 3*60/8 {
		t.Errorf("20 invoices that the service lost took %d looks and %d lists", looks, lists)
	}
	w.want(issued[3], verdict{"Settled", v1alpha1.ReasonSettled, nil})
	w.want(issued[4], verdict{"Expired", v1alpha1.ReasonInvoiceExpired, []string{"no longer shows"}})
}

// TestObserverOfANewProcess starts the operator anew with invoices open: none is looked at, and one that was paid meanwhile is found.
func TestObserverOfANewProcess(t *testing.T) {
	w := newObserved(t, true)
	issued := w.invoices(10)
	w.settle(issued[2].Status.PaymentRequest, false)
	w.start()
	w.agenda = map[job]time.Time{}
	for _, one := range issued {
		w.add(observer.Invoice, one)
	}
	if looks, _, writes := w.calls(func() { w.run(time.Minute) }); looks != 1 || writes != 2 {
		t.Errorf("a new process took %d looks and %d writes", looks, writes)
	}
	w.want(issued[2], verdict{"Settled", v1alpha1.ReasonSettled, nil})
	w.want(issued[3], verdict{"Open", v1alpha1.ReasonOpen, nil})
}

// TestObserverOfRenewals pays an invoice that was renewed: the list tells of it.
func TestObserverOfRenewals(t *testing.T) {
	w := newObserved(t, true)
	object := made(w.world, w.invoice("order").Renews().Obj())
	w.add(observer.Invoice, object)
	w.run(time.Minute)
	w.get(object)
	first := object.Status.PaymentRequest
	w.run(time.Hour + time.Minute)
	w.get(object)
	if object.Status.Renewals != 1 || object.Status.PaymentRequest == first {
		t.Fatalf("after an hour: %+v", object.Status)
	}
	if looks, _, writes := w.calls(func() { w.run(30 * time.Minute) }); looks != 0 || writes != 0 {
		t.Errorf("30 quiet minutes took %d looks and %d writes", looks, writes)
	}
	w.settle(first, true)
	w.run(2 * w.observer.MaxInterval)
	w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, []string{"renewed since"}})
}

// TestObserverOfDeletedInvoices pays an invoice whose resource is gone.
func TestObserverOfDeletedInvoices(t *testing.T) {
	w := newObserved(t, true)
	object := w.invoices(1)[0]
	w.delete(object)
	record := types.NamespacedName{Namespace: w.operator, Name: invoice.RecordName(string(object.UID))}
	w.agenda[job{observer.Receipt, record}] = w.clock.Now()
	if looks, _, _ := w.calls(func() { w.run(20 * time.Minute) }); looks != 0 {
		t.Errorf("20 quiet minutes took %d looks", looks)
	}
	w.settle(object.Status.PaymentRequest, false)
	w.run(2 * w.observer.MaxInterval)
	if told := strings.Join(w.emitted(), "\n"); !strings.Contains(told, v1alpha1.EventUnattributedReceipt) {
		t.Errorf("nothing is told of the payment:\n%s", told)
	}
}

// TestObserverOfPayments has a payment under way for hours: the list tells how it ends, and it is looked at all the same now and then.
func TestObserverOfPayments(t *testing.T) {
	for name, tc := range map[string]struct {
		succeeds bool
		want     verdict
	}{
		"it arrives": {true, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil}},
		"it fails":   {false, verdict{"Failed", v1alpha1.ReasonPaymentFailed, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newObserved(t, true)
			bolt11 := w.supplierInvoice(5000)
			if err := w.sandbox.SetPayee(w.hashOf(bolt11), sandbox.PayeeHangs); err != nil {
				t.Fatal(err)
			}
			pay := made(w.world, w.payment("rent", bolt11).Obj())
			w.add(observer.Payment, pay)
			w.run(10 * time.Minute)
			w.want(pay, verdict{"InFlight", v1alpha1.ReasonInFlight, nil})
			before := w.called(sandbox.SendRequest)
			w.run(time.Hour)
			if looks := w.called(sandbox.SendRequest) - before; looks < 4 || looks > 8 {
				t.Errorf("an hour took %d looks", looks)
			}
			if err := w.sandbox.Resolve(w.hashOf(bolt11), tc.succeeds); err != nil {
				t.Fatal(err)
			}
			w.run(10*time.Second + w.observer.MaxInterval)
			if tc.succeeds {
				w.want(pay, tc.want)
				w.paid(1)
				return
			}
			w.run(15 * time.Minute) // two looks, apart, are proof
			w.want(pay, tc.want)
			w.paid(0)
		})
	}
}

// TestObserverOfAnotherTry follows a payment that another client makes, which fails and is tried again, or is not.
func TestObserverOfAnotherTry(t *testing.T) {
	for _, listed := range []bool{true, false} {
		for _, again := range []bool{true, false} {
			t.Run(fmt.Sprintf("listed %t, tried again %t", listed, again), func(t *testing.T) {
				w := newObserved(t, listed)
				bolt11 := w.supplierInvoice(5000)
				if err := w.sandbox.SetPayee(w.hashOf(bolt11), sandbox.PayeeFails); err != nil {
					t.Fatal(err)
				}
				watched := w.payment("rent", bolt11).Obj()
				w.create(inMode(watched, v1alpha1.ModeObserve))
				w.add(observer.Payment, watched)
				w.run(time.Minute)
				w.payElsewhere(bolt11, 5000)
				w.run(12 * time.Minute)
				w.want(watched, verdict{"InFlight", v1alpha1.ReasonInFlight, []string{"failed so far", "may try again"}})
				if !again {
					w.run(8 * time.Hour)
					w.want(watched, verdict{"Failed", v1alpha1.ReasonPaymentFailed, nil})
					w.paid(0)
					return
				}
				if err := w.sandbox.SetPayee(w.hashOf(bolt11), sandbox.PayeeSettles); err != nil {
					t.Fatal(err)
				}
				w.payElsewhere(bolt11, 5000)
				soon := 10*time.Second + w.observer.MaxInterval
				if !listed {
					soon += payment.LongPoll
				}
				w.run(soon)
				w.want(watched, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
				w.paid(1)
				w.began(2, 2) // which the other client did
			})
		}
	}
}

// TestPaymentsComeOneAfterAnother declares many payments of one wallet at once: each is made in its turn, without a clock that ticks, and
// none asks more than twice for it.
func TestPaymentsComeOneAfterAnother(t *testing.T) {
	const payments, workers = 40, 8
	w := newObserved(t, true)
	w.boundary = nil
	var all []*v1alpha1.LightningPayment
	queue := make(chan types.NamespacedName, 100*payments)
	for n := range payments {
		all = append(all, made(w.world, w.payment(fmt.Sprintf("reward-%02d", n), w.supplierInvoice(1000)).Obj()))
		queue <- client.ObjectKeyFromObject(all[n])
	}
	gone := made(w.world, w.payment("gone", w.supplierInvoice(1000)).Obj()) // it is in line, and deleted before its turn
	queue <- client.ObjectKeyFromObject(gone)

	var mutex sync.Mutex
	passes, busy := 0, 0
	run := func(name types.NamespacedName) {
		result, err := w.controllers.Payment.Reconcile(t.Context(), reconcile.Request{NamespacedName: name})
		mutex.Lock()
		defer mutex.Unlock()
		passes++
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if result.RequeueAfter == 5*time.Minute {
			if busy++; busy == 3 {
				w.delete(gone)
			}
		}
		for _, who := range w.controllers.Queues.Drain() {
			if who.Kind == observer.Payment {
				queue <- who.NamespacedName
			}
		}
	}
	var crew sync.WaitGroup
	for range workers {
		crew.Go(func() {
			for {
				select {
				case name := <-queue:
					run(name)
				case <-time.After(3 * time.Second):
					return
				}
			}
		})
	}
	crew.Wait()
	if ends := w.ends(); ends < payments || ends > payments+1 || passes > 2*(payments+1)+workers {
		t.Errorf("%d payments were submitted, in %d passes", ends, passes)
	}
	if busy < payments/2 {
		t.Errorf("%d passes only met a busy wallet: the test tests nothing", busy)
	}
	w.inOrder(false)
	w.clock.Step(time.Minute)
	w.sandbox.Advance()
	for _, one := range all {
		w.pass(one)
		w.want(one, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	}
}
