package controller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// living declares an invoice that renews and lets it be issued.
func (w *world) living(name string) *v1alpha1.LightningInvoice {
	w.t.Helper()
	object := made(w, w.invoice(name).Renews().Obj())
	w.pass(object)
	w.want(object, verdict{"Open", v1alpha1.ReasonOpen, []string{"payable"}})
	return object
}

// renewal lets the invoice that object shows expire unpaid, and the next one be issued.
func (w *world) renewal(object *v1alpha1.LightningInvoice) {
	w.t.Helper()
	w.get(object)
	before := object.Status
	w.clock.SetTime(before.ExpiresAt.Add(time.Second))
	w.pass(object)
	w.want(object, verdict{"Open", v1alpha1.ReasonOpen, []string{"payable"}})
	if object.Status.Renewals != before.Renewals+1 || object.Status.PaymentRequest == before.PaymentRequest {
		w.t.Fatalf("after renewal %d it shows renewal %d", before.Renewals, object.Status.Renewals)
	}
}

// outcomes are those of a history, newest first.
func outcomes(object *v1alpha1.LightningInvoice) string {
	var all []string
	for _, past := range object.Status.History {
		all = append(all, fmt.Sprintf("%d %s", past.Renewal, past.Outcome))
	}
	return strings.Join(all, ", ")
}

// receipts lets the receipt controller look at every record of object, as the manager does, and counts what it told of.
func (w *world) receipts(object *v1alpha1.LightningInvoice) (told int, watched []string) {
	w.t.Helper()
	for _, name := range invoice.RecordNames(object) {
		result, err := w.controllers.Receipt.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: w.operator, Name: name}})
		if err != nil {
			w.t.Fatal(err)
		}
		if result.RequeueAfter > 0 {
			watched = append(watched, strings.TrimPrefix(name, invoice.RecordName(string(object.UID))))
		}
	}
	return w.told()[v1alpha1.EventUnattributedReceipt], watched
}

func TestRenewals(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run("three generations, and the last is paid, "+string(profile)+" service", func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			object := w.living("order")
			shown := map[string]bool{object.Status.PaymentRequest: true}
			w.watch(object, 30*time.Minute)
			for range 2 {
				w.renewal(object)
				shown[object.Status.PaymentRequest] = true
				w.watch(object, 30*time.Minute)
			}
			w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
			if got := outcomes(object); len(shown) != 3 || got != "1 Watched, 0 Watched" || object.Status.IssueAttempts != 1 {
				t.Errorf("%d invoices were shown, the history is %s; %d attempts at the last", len(shown), got, object.Status.IssueAttempts)
			}
			w.settle(object.Status.PaymentRequest, false)
			w.rest(object)
			w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, []string{"paid"}})
			if calls, records := w.called(sandbox.CreateInvoice), w.published(); calls != 3 || len(records) != 3 {
				t.Errorf("%d calls, %d records", calls, len(records))
			}
			w.quiet(object)
		})
		t.Run("a payment of the first is late, "+string(profile)+" service", func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			object := w.living("order")
			first := object.Status.PaymentRequest
			w.renewal(object)
			w.renewal(object)
			w.settle(first, true)
			w.rest(object)
			w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, []string{"renewed since", "status.history"}})
			if got := outcomes(object); got != "1 Watched, 0 Settled" || object.Status.SettledAt == nil || object.Status.History[1].SettledAt == nil {
				t.Errorf("the history is %s, settled at %v", got, object.Status.SettledAt)
			}
			if told := w.told(); told[v1alpha1.EventInvoiceSettledLate] != 1 || told[v1alpha1.ReasonSettled] != 1 {
				t.Errorf("a person was told %v, want SettledLate and Settled once", told)
			}
			w.quiet(object)

			// The status is lost: the records tell the same.
			w.strip(object)
			w.rest(object)
			w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
			if got := outcomes(object); got != "1 Watched, 0 Settled" || object.Status.Renewals != 2 {
				t.Errorf("without its status the history is %s after %d renewals", got, object.Status.Renewals)
			}

			// The other two may still be paid, and have no resource.
			if told, watched := w.receipts(object); told != 0 || strings.Join(watched, ",") != "-1,-2" {
				t.Errorf("%d receipts, watched are %v", told, watched)
			}
			w.settle(object.Status.PaymentRequest, false)
			if told, watched := w.receipts(object); told != 1 || strings.Join(watched, ",") != "-1" {
				t.Errorf("%d receipts, watched are %v", told, watched)
			}
			w.start()
			if told, _ := w.receipts(object); told != 0 {
				t.Errorf("a new process tells of %d receipts again", told)
			}
			w.clock.Step(invoice.LateSettlement + time.Hour)
			if told, watched := w.receipts(object); told != 0 || len(watched) != 0 {
				t.Errorf("at last %d receipts, watched are %v", told, watched)
			}
			w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
		})
	}
	t.Run("both are paid before anybody looks", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := w.living("order")
		first := object.Status.PaymentRequest
		w.renewal(object)
		w.settle(first, true)
		w.settle(object.Status.PaymentRequest, false)
		w.rest(object)
		w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
		if told := w.told(); told[v1alpha1.ReasonSettled] != 1 || told[v1alpha1.EventInvoiceSettledLate] != 1 {
			t.Errorf("a person was told %v", told)
		}
		if told, _ := w.receipts(object); told != 1 {
			t.Errorf("told of %d further receipts, want the second payment", told)
		}
		w.quiet(object)
	})
	t.Run("nobody pays for a day", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := w.living("order")
		for range 24 {
			w.renewal(object)
		}
		const want = "23 Watched, 22 Watched, 21 Watched, 20 Expired, 19 Expired"
		if got := outcomes(object); !strings.HasPrefix(got, want) || len(object.Status.History) != v1alpha1.MaxInvoiceHistory {
			t.Errorf("a history of %d: %s", len(object.Status.History), got)
		}
		published := object.Status
		w.strip(object)
		w.pass(object)
		w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
		if object.Status.PaymentRequest != published.PaymentRequest || object.Status.Renewals != 24 || !strings.HasPrefix(outcomes(object), want) {
			t.Errorf("without its status it shows renewal %d, and %s", object.Status.Renewals, outcomes(object))
		}
		if calls := w.called(sandbox.CreateInvoice); calls != 25 {
			t.Errorf("%d invoices were asked for", calls)
		}
	})
	t.Run("it is told to stop, and to go on", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := w.living("order")
		w.renewal(object)
		w.change(object, func() { object.Spec.Renewal = v1alpha1.RenewNever })
		w.pass(object)
		w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
		w.rest(object)
		w.want(object, verdict{"Expired", v1alpha1.ReasonInvoiceExpired, nil})
		w.quiet(object)
		w.change(object, func() { object.Spec.Renewal = v1alpha1.RenewOnExpiry })
		w.pass(object)
		w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
		if object.Status.Renewals != 2 || outcomes(object) != "1 Watched, 0 Expired" {
			t.Errorf("after that it is renewal %d, after %s", object.Status.Renewals, outcomes(object))
		}
	})
	t.Run("while the wallet is suspended, which is about spending", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := w.living("order")
		wallet := w.wallet("main")
		w.change(wallet, func() { wallet.Spec.Suspend = true })
		w.syncWallet()
		w.renewal(object)
	})
	t.Run("not while the wallet is gone", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := w.living("order")
		wallet := w.wallet("main")
		w.get(wallet)
		w.delete(wallet)
		w.clock.SetTime(object.Status.ExpiresAt.Add(time.Second))
		w.pass(object)
		w.want(object, verdict{"Renewing", v1alpha1.ReasonWalletNotFound, []string{"once the service tells that it was not paid"}})
		w.recreate(wallet)
		w.syncWallet()
		w.pass(object)
		w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
	})
	t.Run("not before the service says that it was not paid", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := w.living("order")
		w.settle(object.Status.PaymentRequest, false)
		w.fault(sandbox.Fault{Kind: sandbox.FaultHTML, Operation: sandbox.ReceiveRequest, Count: 3})
		w.clock.SetTime(object.Status.ExpiresAt.Add(time.Second))
		w.pass(object)
		w.want(object, verdict{"Renewing", v1alpha1.ReasonServiceUnavailable, []string{"once the service tells that it was not paid"}})
		w.rest(object)
		w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
		if calls := w.called(sandbox.CreateInvoice); calls != 1 {
			t.Errorf("%d invoices were asked for", calls)
		}
	})
	t.Run("not where a payment may have gone unnoticed", func(t *testing.T) {
		w := newWorld(t, sandbox.Reference)
		w.syncWallet()
		object := w.living("order")
		w.sandbox.Restart()
		w.settle(object.Status.PaymentRequest, false)
		w.rest(object)
		w.want(object, verdict{"Expired", v1alpha1.ReasonInvoiceExpired, []string{"ask the payer"}})
		if settled := w.condition(object, v1alpha1.ConditionSettled); settled.Status != metav1.ConditionUnknown || w.called(sandbox.CreateInvoice) != 1 {
			t.Errorf("Settled is %s, %d invoices were asked for", settled.Status, w.called(sandbox.CreateInvoice))
		}
		w.quiet(object)
	})
	t.Run("an earlier one is lost by the service", func(t *testing.T) {
		w := newWorld(t, sandbox.Reference)
		w.syncWallet()
		object := w.living("order")
		hash := object.Status.PaymentHash
		w.renewal(object)
		if err := w.sandbox.ForgetInvoice(hash); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			w.renewal(object)
		}
		if got := outcomes(object); got != "3 Watched, 2 Watched, 1 Watched, 0 Unknown" {
			t.Errorf("the history is %s", got)
		}
	})
	t.Run("it failed at the service", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := made(w, w.invoice("order").Renews().TTL(60).Obj())
		w.pass(object)
		w.get(object)
		if err := w.sandbox.FailInvoice(object.Status.PaymentHash); err != nil {
			t.Fatal(err)
		}
		w.watch(object, 10*time.Minute) // in which its time to live does not begin
		w.want(object, verdict{"Failed", v1alpha1.ReasonPaymentFailed, []string{"next one is issued when it has expired"}})
		w.renewal(object)
	})
	t.Run("the next one cannot be issued", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := w.living("order")
		first := object.Status.PaymentRequest
		w.clock.SetTime(object.Status.ExpiresAt.Add(time.Second))
		w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.CreateInvoice, Count: -1})
		w.pass(object)
		w.want(object, verdict{"Renewing", v1alpha1.ReasonServiceUnavailable, []string{"no invoice yet"}})
		w.reach(object, v1alpha1.ReasonRequestRefused)
		w.want(object, verdict{"Failed", v1alpha1.ReasonRequestRefused, []string{"3 times", "nothing was published"}})
		if calls := w.called(sandbox.CreateInvoice); calls != 1+invoice.MaxIssueAttempts || object.Status.PaymentRequest != "" {
			t.Errorf("%d invoices were asked for, shown is %q", calls, object.Status.PaymentRequest)
		}
		w.strip(object)
		w.pass(object)
		w.want(object, verdict{"Failed", v1alpha1.ReasonRequestRefused, nil})
		w.settle(first, true)
		w.rest(object)
		w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, []string{"renewed since"}})
		if calls := w.called(sandbox.CreateInvoice); calls != 1+invoice.MaxIssueAttempts {
			t.Errorf("%d invoices were asked for", calls)
		}
		w.quiet(object)
	})
	t.Run("it finished and goes after its time", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := made(w, w.invoice("order").Renews().TTL(60).Obj())
		w.pass(object)
		w.renewal(object) // which its time to live, long over since it expired, does not keep it from
		w.renewal(object)
		w.settle(object.Status.PaymentRequest, false)
		w.goesSoon(object)
		if told, watched := w.receipts(object); told != 0 || strings.Join(watched, ",") != ",-1" {
			t.Errorf("%d receipts, watched are %v", told, watched)
		}
	})
	t.Run("it is deleted, and then paid twice", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := w.living("order")
		first := object.Status.PaymentRequest
		w.renewal(object)
		w.delete(object)
		w.settle(first, true)
		w.settle(object.Status.PaymentRequest, false)
		if told, watched := w.receipts(object); told != 2 || len(watched) != 0 {
			t.Errorf("%d receipts, watched are %v", told, watched)
		}
	})
}

// TestRenewalByTwo has a second process renew the invoice between any two calls of a first one, as where a leader is paused and another one
// takes over. What the second one showed is what counts.
func TestRenewalByTwo(t *testing.T) {
	renew := func(t *testing.T, n int) (path []string) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		object := w.living("order")
		w.clock.SetTime(object.Status.ExpiresAt.Add(time.Second))
		other := *w
		other.start()
		shown := ""
		w.boundary = func(call string, after bool) error {
			if !after {
				if path = append(path, call); len(path) == n+1 {
					theirs := object.DeepCopy()
					other.pass(theirs)
					other.get(theirs)
					shown = theirs.Status.PaymentRequest
				}
			}
			return nil
		}
		w.pass(object)
		w.boundary = nil
		w.clock.Step(time.Second)
		w.pass(object)
		w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
		if shown != "" && object.Status.PaymentRequest != shown || object.Status.Renewals != 1 || len(w.published()) != 2 {
			t.Errorf("after %d renewals, with %d on record, another invoice is shown", object.Status.Renewals, len(w.published()))
		}
		w.settle(object.Status.PaymentRequest, false)
		w.rest(object)
		w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
		w.quiet(object)
		return path
	}
	for n, call := range renew(t, -1) {
		t.Run(fmt.Sprintf("before call %d %s", n+1, call), func(t *testing.T) { renew(t, n) })
	}
}

// goesSoon drives an object with a time to live of a minute until it is gone.
func (w *world) goesSoon(object client.Object) {
	w.t.Helper()
	for range 20 {
		if !w.exists(object) {
			return
		}
		w.clock.Step(max(w.pass(object), time.Second))
	}
	w.t.Fatalf("%T %s is still there", object, object.GetName())
}

// TestRenewalsWithoutRecords loses records, as a restore of etcd without them does: what was published stays so.
func TestRenewalsWithoutRecords(t *testing.T) {
	drop := func(w *world, names ...string) {
		for _, record := range w.records(v1alpha1.RecordLightningInvoice) {
			for _, name := range names {
				if record.Name == name {
					w.delete(&record)
				}
			}
		}
	}
	for name, lost := range map[string][]int32{"the latest": {1}, "the one before": {0}, "all": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			object := w.living("order")
			first := object.Status.PaymentRequest
			w.renewal(object)
			second := object.Status.PaymentRequest
			for _, renewal := range lost {
				drop(w, invoice.RenewalRecordName(string(object.UID), renewal))
			}
			w.pass(object)
			w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
			if object.Status.PaymentRequest != second || object.Status.Renewals != 1 || w.called(sandbox.CreateInvoice) != 2 {
				t.Errorf("it shows renewal %d, %d were asked for", object.Status.Renewals, w.called(sandbox.CreateInvoice))
			}
			w.settle(first, true)
			w.rest(object)
			w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
			w.quiet(object)
		})
	}
}

// TestRenewalUnderOneFault puts each fault at each call of one renewal, from the expiry of the first invoice until the resource is settled. A
// customer pays the second BOLT11 that can be read, or the first one late. No third is ever to be seen.
func TestRenewalUnderOneFault(t *testing.T) {
	for name, tc := range map[string]struct {
		profile sandbox.Profile
		late    bool
	}{
		"the second is paid, documented service": {profile: sandbox.Documented},
		"the second is paid, reference service":  {profile: sandbox.Reference},
		"the first is paid late":                 {profile: sandbox.Documented, late: true},
	} {
		t.Run(name, func(t *testing.T) {
			path := renewalUnder(t, tc.profile, tc.late, -1, fault{})
			t.Logf("%d calls:\n%s", len(path), strings.Join(path, "\n"))
			for n, call := range path {
				for _, f := range faults() {
					if strings.Contains(f.kinds, call[:1]) {
						t.Run(fmt.Sprintf("%s call %d %s", f.name, n+1, call), func(t *testing.T) { renewalUnder(t, tc.profile, tc.late, n, f) })
					}
				}
			}
		})
	}
}

// renewalUnder drives an invoice from its expiry until it is settled, with a fault at its n-th call, and returns its calls.
func renewalUnder(t *testing.T, profile sandbox.Profile, late bool, n int, f fault) []string {
	w := newWorld(t, profile)
	w.syncWallet()
	object := w.living("order")
	first := object.Status.PaymentRequest
	w.clock.SetTime(object.Status.ExpiresAt.Add(time.Second))
	var seen []string
	look := func() {
		now := &v1alpha1.LightningInvoice{ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: object.Name}}
		w.get(now)
		text := now.Status.PaymentRequest
		if text == first || len(seen) > 0 && seen[len(seen)-1] == text {
			return
		}
		if seen = append(seen, text); len(seen) == 1 {
			if late {
				text = first
			}
			w.settle(text, late)
		}
	}
	struck := w.strike(n, f, look)
	w.drive(object)
	w.boundary = nil
	w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
	look()
	if len(seen) != 1 || seen[0] != object.Status.PaymentRequest || object.Status.Renewals != 1 {
		t.Errorf("%d further invoices could be read, after %d renewals", len(seen), object.Status.Renewals)
	}
	if records := w.records(v1alpha1.RecordLightningInvoice); len(records) != 2 {
		t.Errorf("%d invoices are on record", len(records))
	}
	if calls := w.called(sandbox.CreateInvoice); calls > 3 {
		t.Errorf("one fault, and %d invoices were asked for", calls)
	}
	if told := w.told(); late && told[v1alpha1.EventInvoiceSettledLate] > 1 {
		t.Errorf("told %v", told)
	}
	if told, _ := w.receipts(object); told != 0 {
		t.Errorf("told of %d further payments, and there was one", told)
	}
	w.quiet(object)
	return struck.path
}
