package controller_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

func (w *world) invoice(name string) *testkit.LightningInvoiceBuilder {
	return testkit.MakeLightningInvoice(name).Namespace(w.namespace).AmountSats(1500).Expiry(time.Hour)
}

// open declares an invoice and lets it be issued.
func (w *world) open(name string) *v1alpha1.LightningInvoice {
	w.t.Helper()
	object := made(w, w.invoice(name).Obj())
	w.pass(object)
	w.want(object, verdict{"Open", v1alpha1.ReasonOpen, []string{"payable"}})
	return object
}

// settle lets a customer pay a BOLT11 of the wallet's, late or in time.
func (w *world) settle(paymentRequest string, late bool) {
	w.t.Helper()
	if _, err := w.sandbox.PayInvoice(paymentRequest, late); err != nil {
		w.t.Fatal(err)
	}
}

// received counts the payments that came in for a BOLT11.
func (w *world) received(paymentRequest string) int {
	w.t.Helper()
	count := 0
	for _, entry := range w.sandbox.Ledger() {
		if entry.Kind == sandbox.LightningIn && entry.Key == w.hashOf(paymentRequest) {
			count++
		}
	}
	return count
}

// TestInvoiceLives takes invoices through what can become of them.
func TestInvoiceLives(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		in := ", " + string(profile) + " service"
		t.Run("paid"+in, func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			object := w.open("order")
			issued, err := bolt11.Decode(object.Status.PaymentRequest)
			if err != nil {
				t.Fatal(err)
			}
			status := object.Status
			if sats, _, _ := issued.AmountSats(); sats != 1500 || status.AmountSats == nil || *status.AmountSats != 1500 {
				t.Errorf("it asks for %d sat, and the status says %v", sats, status.AmountSats)
			}
			if status.PaymentHash != issued.PaymentHashHex() || status.RequestID == "" || status.IssueAttempts != 1 ||
				!status.ExpiresAt.Time.Equal(issued.ExpiresAt()) || issued.Expiry != time.Hour {
				t.Errorf("status %+v of %+v", status, issued)
			}
			if settled := w.condition(object, v1alpha1.ConditionSettled); settled.Status != metav1.ConditionUnknown {
				t.Errorf("Settled is %s before it is paid", settled.Status)
			}
			w.watch(object, 10*time.Minute)
			w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
			w.settle(status.PaymentRequest, false)
			w.rest(object)
			w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
			if settled := w.condition(object, v1alpha1.ConditionSettled); settled.Status != metav1.ConditionTrue || object.Status.SettledAt == nil {
				t.Errorf("Settled is %s at %v", settled.Status, object.Status.SettledAt)
			}
			if told := w.told(); told[v1alpha1.ReasonOpen] != 1 || told[v1alpha1.ReasonSettled] != 1 || len(told) != 3 {
				t.Errorf("a person was told %v, want Open and Settled once, and that the wallet is Synced", told)
			}
			before := len(w.sandbox.Requests())
			w.quiet(object)
			if after := len(w.sandbox.Requests()); after != before {
				t.Errorf("%d calls for an invoice that is settled", after-before)
			}
		})
		t.Run("not paid"+in, func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			object := w.open("order")
			w.watch(object, time.Hour+2*time.Second)
			w.want(object, verdict{"Expired", v1alpha1.ReasonInvoiceExpired, []string{"declare a new LightningInvoice"}})
			if settled := w.condition(object, v1alpha1.ConditionSettled); settled.Status != metav1.ConditionFalse {
				t.Errorf("Settled is %s of an invoice that expired unpaid", settled.Status)
			}
			w.rest(object)
			if late := w.clock.Now().Sub(object.Status.ExpiresAt.Time); late < invoice.LateSettlement || late > invoice.LateSettlement+2*time.Minute {
				t.Errorf("it was watched until %v after it expired, want %v", late, invoice.LateSettlement)
			}
			w.quiet(object)
			if told := w.told(); told[v1alpha1.ReasonInvoiceExpired] != 1 {
				t.Errorf("a person was told %v, want InvoiceExpired once", told)
			}
		})
		t.Run("paid late"+in, func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			object := w.open("order")
			w.watch(object, 2*time.Hour)
			w.want(object, verdict{"Expired", v1alpha1.ReasonInvoiceExpired, nil})
			w.settle(object.Status.PaymentRequest, true)
			w.rest(object)
			w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
			if told := w.told(); told[v1alpha1.EventInvoiceSettledLate] != 1 {
				t.Errorf("a person was told %v, want SettledLate once", told)
			}
			w.quiet(object)
		})
		t.Run("failed by the node"+in, func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			object := w.open("order")
			if err := w.sandbox.FailInvoice(object.Status.PaymentHash); err != nil {
				t.Fatal(err)
			}
			w.pass(object)
			w.want(object, verdict{"Failed", v1alpha1.ReasonPaymentFailed, []string{"declare a new LightningInvoice"}})
			w.rest(object)
			w.quiet(object)
		})
		t.Run("in an asset"+in, func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			declared := testkit.MakeLightningInvoice("order").Namespace(w.namespace).Asset(w.sandbox.AssetIDs()[0], 700).Obj()
			object := made(w, declared)
			w.pass(object)
			w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
			issued, err := bolt11.Decode(object.Status.PaymentRequest)
			if err != nil || issued.Asset == nil || issued.Asset.ID != w.sandbox.AssetIDs()[0] || issued.Asset.Amount != 700 {
				t.Errorf("issued %+v, %v", issued, err)
			}
			if asset := object.Status.Asset; asset == nil || asset.Amount != 700 || object.Status.AmountSats == nil {
				t.Errorf("the status says %+v and %v sat", asset, object.Status.AmountSats)
			}
			w.settle(object.Status.PaymentRequest, false)
			w.rest(object)
			w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
		})
		t.Run("in an asset that the node does not have"+in, func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			object := made(w, testkit.MakeLightningInvoice("order").Namespace(w.namespace).
				Asset("rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8", 700).Obj())
			w.rest(object)
			w.want(object, verdict{"Failed", v1alpha1.ReasonRequestRefused, []string{"refuses to issue", "UnknownContractId"}})
			w.quiet(object)
			if calls := w.called(sandbox.CreateInvoice); calls != 1 {
				t.Errorf("asked for it %d times", calls)
			}
		})
	}
	t.Run("expired at a node that fails expired invoices", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented, func(o *sandbox.Options) { o.FailExpired = true })
		w.syncWallet()
		object := w.open("order")
		w.rest(object)
		w.want(object, verdict{"Expired", v1alpha1.ReasonInvoiceExpired, nil})
	})
}

// TestLostInvoices spoils answers to create-invoice. What nobody saw cannot be paid, so another is asked for, three times at most.
func TestLostInvoices(t *testing.T) {
	issuedUnseen := []sandbox.FaultKind{
		sandbox.FaultDropAnswer, sandbox.FaultErrorAfter, sandbox.FaultHTMLAfter, sandbox.FaultGarble, sandbox.FaultNull,
		sandbox.FaultTruncate, sandbox.FaultLandLate, sandbox.FaultDropRequest, sandbox.FaultErrorBefore, sandbox.FaultHTML,
		sandbox.FaultRedirect,
	}
	for _, f := range issuedUnseen {
		t.Run("one answer is lost: "+string(f), func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			w.fault(sandbox.Fault{Kind: f, Operation: sandbox.CreateInvoice, Delay: sandbox.Duration(2 * time.Second)})
			object := made(w, w.invoice("order").Obj())
			w.pass(object)
			w.want(object, verdict{"Pending", v1alpha1.ReasonServiceUnavailable, []string{"no invoice yet"}})
			w.reach(object, v1alpha1.ReasonOpen)
			w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
			if calls := w.called(sandbox.CreateInvoice); calls != 2 || object.Status.IssueAttempts != 2 {
				t.Errorf("asked %d times, counted %d", calls, object.Status.IssueAttempts)
			}
			w.settle(object.Status.PaymentRequest, false)
			w.rest(object)
			w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
		})
		t.Run("three answers are lost: "+string(f), func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			w.fault(sandbox.Fault{Kind: f, Operation: sandbox.CreateInvoice, Count: -1, Delay: sandbox.Duration(2 * time.Second)})
			object := made(w, w.invoice("order").Obj())
			w.rest(object)
			w.want(object, verdict{"Failed", v1alpha1.ReasonRequestRefused, []string{"3 times", "nothing was published", "declare a new LightningInvoice"}})
			w.quiet(object)
			if calls := w.called(sandbox.CreateInvoice); calls != invoice.MaxIssueAttempts {
				t.Errorf("asked %d times, want %d", calls, invoice.MaxIssueAttempts)
			}
			if object.Status.PaymentRequest != "" || len(w.published()) != 0 {
				t.Errorf("published %q", object.Status.PaymentRequest)
			}
			w.strip(object)
			w.rest(object)
			w.want(object, verdict{"Failed", v1alpha1.ReasonRequestRefused, []string{"nothing was published"}})
			if calls := w.called(sandbox.CreateInvoice); calls != invoice.MaxIssueAttempts {
				t.Errorf("asked %d times once the status was lost, want %d as before", calls, invoice.MaxIssueAttempts)
			}
		})
	}
	t.Run("a refusal that passes costs no attempt", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		w.fault(sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.CreateInvoice, Name: "LockedNode", Count: 10})
		object := made(w, w.invoice("order").Obj())
		w.reach(object, v1alpha1.ReasonOpen)
		if object.Status.IssueAttempts != 1 {
			t.Errorf("%d attempts counted, want the one that was carried out", object.Status.IssueAttempts)
		}
	})
}

// TestWrongInvoicesAreNotPublished has the service issue something else than was asked for.
func TestWrongInvoicesAreNotPublished(t *testing.T) {
	cases := map[string]struct {
		change func(*bolt11.Invoice)
		says   string
	}{
		"of another amount": {
			change: func(i *bolt11.Invoice) { millisats := amount.Sat(1501).MilliSat(); i.Amount = &millisats }, says: "1501 sat instead of 1500",
		},
		"without an amount":            {change: func(i *bolt11.Invoice) { i.Amount = nil }, says: "without an amount"},
		"of a fraction of a satoshi":   {change: func(i *bolt11.Invoice) { fraction := amount.MilliSat(1_500_001); i.Amount = &fraction }, says: "whole sat"},
		"of another network":           {change: func(i *bolt11.Invoice) { i.Prefix = "bc" }, says: "another network"},
		"that is expired":              {change: func(i *bolt11.Invoice) { i.Timestamp = i.Timestamp.Add(-2 * time.Hour) }, says: "expired already"},
		"of an asset instead of money": {change: func(i *bolt11.Invoice) { i.Asset = &bolt11.Asset{ID: "rgb:some", Amount: 5} }, says: "an asset that was not asked for"},
	}
	for name, tc := range cases {
		for _, always := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, always: %t", name, always), func(t *testing.T) {
				w := newWorld(t, sandbox.Documented)
				calls := 0
				front := w.relay(func(out http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != "/lightning/create-invoice" {
						return false
					}
					if calls++; calls > 1 && !always {
						return false
					}
					text := w.issued(func(i *bolt11.Invoice) {
						millisats := amount.Sat(1500).MilliSat()
						i.Amount = &millisats
						tc.change(i)
					})
					out.Header().Set("Content-Type", "application/json")
					_ = json.NewEncoder(out).Encode(map[string]any{"id": "r-1", "invoice": text, "status": "OPEN", "payment_type": "BTC"})
					return true
				})
				w.pass(made(w, w.fronted(front)))
				object := made(w, w.invoice("order").Wallet("fronted").Obj())
				w.pass(object)
				w.want(object, verdict{"Pending", v1alpha1.ReasonInvalidInvoice, []string{tc.says}})
				if object.Status.PaymentRequest != "" || len(w.published()) != 0 {
					t.Fatalf("published %q", object.Status.PaymentRequest)
				}
				if always {
					w.rest(object)
					w.want(object, verdict{"Failed", v1alpha1.ReasonRequestRefused, []string{"3 times", "nothing was published"}})
					if calls != invoice.MaxIssueAttempts || len(w.published()) != 0 {
						t.Errorf("asked %d times; %d records", calls, len(w.published()))
					}
					return
				}
				w.reach(object, v1alpha1.ReasonOpen)
				w.settle(object.Status.PaymentRequest, false)
				w.rest(object)
				w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
			})
		}
	}
}

// TestServiceForgetsInvoices restarts the service, which then knows no invoice by its id.
func TestServiceForgetsInvoices(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run("found by its payment hash, "+string(profile), func(t *testing.T) {
			w := newWorld(t, profile)
			w.sandbox.SetListPayments(true)
			w.syncWallet()
			object := w.open("order")
			published := object.Status.PaymentRequest
			w.sandbox.Restart()
			w.pass(object)
			w.want(object, verdict{"Open", v1alpha1.ReasonOpen, []string{"payable", "found by its payment hash"}})
			if settled := w.condition(object, v1alpha1.ConditionSettled); settled.Status != metav1.ConditionUnknown ||
				settled.Reason != v1alpha1.ReasonSourceLost {
				t.Errorf("Settled is %s for %s", settled.Status, settled.Reason)
			}
			w.settle(published, false)
			w.rest(object)
			w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
			if object.Status.PaymentRequest != published || w.called(sandbox.CreateInvoice) != 1 {
				t.Errorf("another invoice was issued: %d calls", w.called(sandbox.CreateInvoice))
			}
		})
	}
	t.Run("nobody can tell whether it was paid", func(t *testing.T) {
		w := newWorld(t, sandbox.Reference)
		w.syncWallet()
		object := w.open("order")
		w.sandbox.Restart()
		w.settle(object.Status.PaymentRequest, false)
		w.pass(object)
		w.want(object, verdict{"Open", v1alpha1.ReasonOpen, []string{"no longer shows it"}})
		w.rest(object)
		// It was paid, and the service does not say so. That it was not paid must not be claimed.
		if settled := w.condition(object, v1alpha1.ConditionSettled); settled.Status != metav1.ConditionUnknown ||
			settled.Reason != v1alpha1.ReasonSourceLost {
			t.Errorf("Settled is %s for %s: %s", settled.Status, settled.Reason, settled.Message)
		}
		w.want(object, verdict{"Expired", v1alpha1.ReasonInvoiceExpired, []string{"no longer shows whether it was paid", "ask the payer"}})
		if w.received(object.Status.PaymentRequest) != 1 {
			t.Errorf("the case is about an invoice that was paid")
		}
		w.quiet(object)
	})
	t.Run("the node forgot it", func(t *testing.T) {
		w := newWorld(t, sandbox.Reference)
		w.syncWallet()
		object := w.open("order")
		if err := w.sandbox.ForgetInvoice(object.Status.PaymentHash); err != nil {
			t.Fatal(err)
		}
		w.pass(object)
		w.want(object, verdict{"Open", v1alpha1.ReasonOpen, []string{"no longer shows it"}})
	})
}

// TestStrippedInvoices loses the status of invoices: the same BOLT11 comes back.
func TestStrippedInvoices(t *testing.T) {
	cases := map[string]struct {
		before func(w *world, object *v1alpha1.LightningInvoice)
		want   verdict
	}{
		"open": {
			before: func(*world, *v1alpha1.LightningInvoice) {},
			want:   verdict{"Open", v1alpha1.ReasonOpen, nil},
		},
		"settled": {
			before: func(w *world, object *v1alpha1.LightningInvoice) {
				w.settle(object.Status.PaymentRequest, false)
				w.rest(object)
			},
			want: verdict{"Settled", v1alpha1.ReasonSettled, nil},
		},
		"expired": {
			before: func(w *world, object *v1alpha1.LightningInvoice) { w.rest(object) },
			want:   verdict{"Expired", v1alpha1.ReasonInvoiceExpired, nil},
		},
		"open, and the service restarted": {
			before: func(w *world, _ *v1alpha1.LightningInvoice) { w.sandbox.Restart() },
			want:   verdict{"Open", v1alpha1.ReasonOpen, nil},
		},
		"open, and the service is away": {
			before: func(w *world, _ *v1alpha1.LightningInvoice) {
				w.fault(sandbox.Fault{Kind: sandbox.FaultHTML, Count: -1})
			},
			want: verdict{"Open", v1alpha1.ReasonOpen, nil},
		},
		"open, and the wallet is gone": {
			before: func(w *world, _ *v1alpha1.LightningInvoice) { w.delete(w.wallet("main")) },
			want:   verdict{"Open", v1alpha1.ReasonOpen, []string{"Wallet main does not exist"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			object := w.open("order")
			published, id := object.Status.PaymentRequest, object.Status.RequestID
			tc.before(w, object)
			w.strip(object)
			w.pass(object)
			w.want(object, tc.want)
			if object.Status.PaymentRequest != published || object.Status.RequestID != id {
				t.Errorf("another invoice is published: %s", object.Status.PaymentRequest)
			}
			if calls := w.called(sandbox.CreateInvoice); calls != 1 {
				t.Errorf("%d invoices were asked for", calls)
			}
		})
	}
	t.Run("before anything was published", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.CreateInvoice})
		object := made(w, w.invoice("order").Obj())
		w.pass(object)
		w.strip(object)
		w.reach(object, v1alpha1.ReasonOpen)
		w.settle(object.Status.PaymentRequest, false)
		w.rest(object)
		w.want(object, verdict{"Settled", v1alpha1.ReasonSettled, nil})
	})
}
