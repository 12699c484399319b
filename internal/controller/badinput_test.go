package controller_test

import (
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// TestUnpayableInvoices declares payments of BOLT11s that must not be paid, and reads why they are not.
func TestUnpayableInvoices(t *testing.T) {
	type builder = testkit.LightningPaymentBuilder
	cases := map[string]struct {
		make func(w *world) *builder
		want verdict
		// ages tells that the message changes once, when the invoice that is about to expire does.
		ages bool
	}{
		"one character is wrong": {
			make: func(w *world) *builder {
				good := w.supplierInvoice(5000)
				wrong := "q"
				if good[60] == 'q' {
					wrong = "p"
				}
				return w.payment("rent", good[:60]+wrong+good[61:])
			},
			want: verdict{"Failed", v1alpha1.ReasonInvalidInvoice, []string{"cannot be read", "checksum"}},
		},
		"the end is cut off": {
			make: func(w *world) *builder {
				good := w.supplierInvoice(5000)
				return w.payment("rent", good[:len(good)-10])
			},
			want: verdict{"Failed", v1alpha1.ReasonInvalidInvoice, []string{"cannot be read"}},
		},
		"it is an address": {
			make: func(w *world) *builder { return w.payment("rent", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080") },
			want: verdict{"Failed", v1alpha1.ReasonInvalidInvoice, []string{"cannot be read"}},
		},
		"it is of mainnet": {
			make: func(w *world) *builder {
				return w.payment("rent", w.issued(func(i *bolt11.Invoice) { i.Prefix = "bc" }))
			},
			want: verdict{"Failed", v1alpha1.ReasonWrongNetwork, []string{"lnbc", "regtest", "use an invoice of the wallet's network"}},
		},
		"it expired": {
			make: func(w *world) *builder {
				return w.payment("rent", w.issued(func(i *bolt11.Invoice) { i.Timestamp = i.Timestamp.Add(-2 * time.Hour) }))
			},
			want: verdict{"Failed", v1alpha1.ReasonInvoiceExpired, []string{"expired", "ask for a new one"}},
		},
		"it expires too soon for a payment to arrive": {
			make: func(w *world) *builder {
				return w.payment("rent", w.issued(func(i *bolt11.Invoice) { i.Expiry = 59 * time.Second }))
			},
			want: verdict{"Failed", v1alpha1.ReasonInvoiceExpired, []string{"expires", "ask for a new one"}},
			ages: true,
		},
		"it names no amount": {
			make: func(w *world) *builder { return w.payment("rent", w.supplierInvoice(0)) },
			want: verdict{"Failed", v1alpha1.ReasonInvalidInvoice, []string{"ask for one that names it"}},
		},
		"it asks for a fraction of a satoshi": {
			make: func(w *world) *builder {
				return w.payment("rent", w.issued(func(i *bolt11.Invoice) {
					fraction := amount.MilliSat(5_000_001)
					i.Amount = &fraction
				}))
			},
			want: verdict{"Failed", v1alpha1.ReasonInvalidInvoice, []string{"5000001 msat", "ask for one that is"}},
		},
		"it asks for another amount than the guard": {
			make: func(w *world) *builder { return w.payment("rent", w.supplierInvoice(5000)).AmountSats(4999) },
			want: verdict{"Failed", v1alpha1.ReasonAmountMismatch, []string{"5000 sat", "4999 sat", "correct amountSats"}},
		},
		"it asks for an asset and the guard is in sat": {
			make: func(w *world) *builder { return w.payment("rent", w.assetInvoice(700)).AmountSats(3000) },
			want: verdict{"Failed", v1alpha1.ReasonAmountMismatch, []string{"700 units", "declare asset"}},
		},
		"it asks for bitcoin and the guard is an asset": {
			make: func(w *world) *builder {
				return w.payment("rent", w.supplierInvoice(5000)).Asset(w.sandbox.AssetIDs()[0], 5000)
			},
			want: verdict{"Failed", v1alpha1.ReasonAmountMismatch, []string{"bitcoin alone", "declare amountSats"}},
		},
		"it asks for more of the asset than the guard": {
			make: func(w *world) *builder {
				return w.payment("rent", w.assetInvoice(701)).Asset(w.sandbox.AssetIDs()[0], 700)
			},
			want: verdict{"Failed", v1alpha1.ReasonAmountMismatch, []string{"701 units", "700 units", "correct asset"}},
		},
		"its time to start is over": {
			make: func(w *world) *builder {
				return w.payment("rent", w.supplierInvoice(5000)).ValidUntil(w.clock.Now().Add(-time.Second))
			},
			want: verdict{"Failed", v1alpha1.ReasonValidityElapsed, []string{"nothing was sent", "declare a new one"}},
		},
		"the service expects more than the cap on fees": {
			make: func(w *world) *builder { return w.payment("rent", w.supplierInvoice(5000)).MaxFeeSats(49) },
			want: verdict{"Failed", v1alpha1.ReasonFeeTooHigh, []string{"50 sat", "maxFeeSats 49", "new resource"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			pay := made(w, tc.make(w).Obj())
			w.rest(pay)
			w.want(pay, tc.want)
			w.untouched()
			if records := w.records(v1alpha1.RecordLightningPayment); len(records) > 0 {
				t.Errorf("what cannot be paid was recorded: %+v", records)
			}
			if tc.ages {
				w.watch(pay, time.Hour)
			}
			w.quiet(pay)
			w.delete(pay)
			if w.exists(pay) {
				t.Errorf("it cannot be deleted: it has %v", pay.Finalizers)
			}
		})
	}
}

// TestUnpayableSends is the same for on-chain sends.
func TestUnpayableSends(t *testing.T) {
	type builder = testkit.OnchainSendBuilder
	rgbInvoice := func(w *world, change func(*rgb.Invoice)) string {
		text, err := w.sandbox.IssueRGBInvoice(w.sandbox.AssetIDs()[0], 700)
		if err != nil {
			w.t.Fatal(err)
		}
		invoice, err := rgb.ParseInvoice(text)
		if err != nil {
			w.t.Fatal(err)
		}
		change(invoice)
		return invoice.String()
	}
	toInvoice := func(w *world, invoice string) *builder {
		return testkit.MakeOnchainSend("payroll").Namespace(w.namespace).RGBInvoice(invoice).Asset(w.sandbox.AssetIDs()[0], 700)
	}
	toAddress := func(w *world, address string, sats int64) *builder {
		return testkit.MakeOnchainSend("payroll").Namespace(w.namespace).Address(address).AmountSats(sats)
	}
	cases := map[string]struct {
		make func(w *world) *builder
		want verdict
	}{
		"the address is of mainnet": {
			make: func(w *world) *builder { return toAddress(w, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 20000) },
			want: verdict{"Failed", v1alpha1.ReasonWrongNetwork, []string{"mainnet", "regtest"}},
		},
		"one character of the address is wrong": {
			make: func(w *world) *builder { return toAddress(w, "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt081", 20000) },
			want: verdict{"Failed", v1alpha1.ReasonInvalidAddress, []string{"cannot be paid", "was altered", "copy it again"}},
		},
		"the address is a public key in hex": {
			make: func(w *world) *builder { return toAddress(w, "02"+strings.Repeat("79be667ef9dcbbac", 4), 20000) },
			want: verdict{"Failed", v1alpha1.ReasonInvalidAddress, []string{"cannot be paid"}},
		},
		"the amount is dust for the address": {
			make: func(w *world) *builder { return toAddress(w, "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", 545) },
			want: verdict{"Failed", v1alpha1.ReasonAmountMismatch, []string{"545 sat", "546", "declare more"}},
		},
		"its time to start is over": {
			make: func(w *world) *builder { return w.send("payroll", 20000).ValidUntil(w.clock.Now().Add(-time.Second)) },
			want: verdict{"Failed", v1alpha1.ReasonValidityElapsed, []string{"nothing was sent", "declare a new one"}},
		},
		"the RGB invoice asks for another asset": {
			make: func(w *world) *builder {
				return toInvoice(w, rgbInvoice(w, func(i *rgb.Invoice) { i.Contract[0] ^= 1 }))
			},
			want: verdict{"Failed", v1alpha1.ReasonAmountMismatch, []string{"asset"}},
		},
		"the RGB invoice asks for another amount": {
			make: func(w *world) *builder {
				return toInvoice(w, rgbInvoice(w, func(i *rgb.Invoice) { *i.Amount = 701 }))
			},
			want: verdict{"Failed", v1alpha1.ReasonAmountMismatch, []string{"701", "700"}},
		},
		"the RGB invoice is of another network": {
			make: func(w *world) *builder {
				return toInvoice(w, rgbInvoice(w, func(i *rgb.Invoice) { i.Network = rgb.Testnet3 }))
			},
			want: verdict{"Failed", v1alpha1.ReasonWrongNetwork, []string{"regtest"}},
		},
		"the RGB invoice expired": {
			make: func(w *world) *builder {
				return toInvoice(w, rgbInvoice(w, func(i *rgb.Invoice) {
					past := w.clock.Now().Add(-time.Hour).UTC()
					i.Expiry = &past
				}))
			},
			want: verdict{"Failed", v1alpha1.ReasonInvoiceExpired, []string{"expired"}},
		},
		"the RGB invoice cannot be read": {
			make: func(w *world) *builder { return toInvoice(w, "rgb:nonsense/of/all/kinds") },
			want: verdict{"Failed", v1alpha1.ReasonInvalidInvoice, []string{"cannot be read"}},
		},
		"the asset id is no contract id": {
			make: func(w *world) *builder {
				return toInvoice(w, rgbInvoice(w, func(*rgb.Invoice) {})).Asset("rgb:nonsense", 700)
			},
			want: verdict{"Failed", v1alpha1.ReasonInvalidSpec, []string{"spec.asset.id"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			send := made(w, tc.make(w).Obj())
			w.rest(send)
			w.want(send, tc.want)
			w.untouched()
			if records := w.records(v1alpha1.RecordOnchainSend); len(records) > 0 {
				t.Errorf("what cannot be sent was recorded: %+v", records)
			}
			w.quiet(send)
		})
	}
}

// TestAssetsArePaidAsDeclared pays what the unpayable cases above are a hair's breadth away from.
func TestAssetsArePaidAsDeclared(t *testing.T) {
	cases := map[string]func(w *world) client.Object{
		"a BOLT11 with its asset as guard": func(w *world) client.Object {
			return w.payment("rent", w.assetInvoice(700)).Asset(w.sandbox.AssetIDs()[0], 700).Obj()
		},
		"a BOLT11 without a guard": func(w *world) client.Object { return w.payment("rent", w.assetInvoice(700)).Obj() },
		"an RGB invoice": func(w *world) client.Object {
			invoice, err := w.sandbox.IssueRGBInvoice(w.sandbox.AssetIDs()[0], 700)
			if err != nil {
				w.t.Fatal(err)
			}
			return testkit.MakeOnchainSend("payroll").Namespace(w.namespace).RGBInvoice(invoice).Asset(w.sandbox.AssetIDs()[0], 700).Obj()
		},
	}
	for name, tc := range cases {
		for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
			t.Run(name+", "+string(profile)+" service", func(t *testing.T) {
				policy := v1alpha1.AssetPolicyStrict
				if profile == sandbox.Reference { // it does not show what its transactions do with assets
					policy = v1alpha1.AssetPolicyWarn
				}
				w := guarded(t, profile, policy)
				object := made(w, tc(w))
				w.rest(object)
				w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
				w.paid(1)
				if out := moved(w)[0]; out.Asset == nil || out.Asset.ID != w.sandbox.AssetIDs()[0] || out.Asset.Amount != 700 {
					t.Errorf("moved %+v, want 700 units of the asset", out.Asset)
				}
			})
		}
	}
}

// TestTooMuchWouldLeaveTheWallet has services ask to sign what was declared, at a fee above the cap.
func TestTooMuchWouldLeaveTheWallet(t *testing.T) {
	cases := map[string]struct {
		profile sandbox.Profile
		make    func(w *world) client.Object
		says    []string
	}{
		"the fee of a payment's transaction is above the cap": {
			profile: sandbox.Documented,
			make: func(w *world) client.Object {
				return w.payment("rent", w.supplierInvoice(5000)).MaxFeeSats(60).Obj()
			},
			says: []string{"154 sat", "spec.maxFeeSats 60", "nothing was signed", "declare a higher cap in a new resource"},
		},
		"the fee of the reference server's transaction is above the cap": {
			profile: sandbox.Reference,
			make: func(w *world) client.Object {
				return w.send("payroll", 20000).MaxFeeSats(100).Obj()
			},
			says: []string{"770 sat", "spec.maxFeeSats 100", "nothing was signed", "declare a higher cap in a new resource"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.profile)
			w.syncWallet()
			object := made(w, tc.make(w))
			w.rest(object)
			w.want(object, verdict{"Failed", v1alpha1.ReasonFeeTooHigh, tc.says})
			w.paid(0)
			if w.ends() != 0 {
				t.Errorf("%d calls that move money", w.ends())
			}
			w.quiet(object)
		})
	}
}

// TestHostileBegins spoils the answer to the call that begins a payment. What nobody asked for is not signed; what could not be read
// costs time, and no money.
func TestHostileBegins(t *testing.T) {
	unread := []sandbox.FaultKind{
		sandbox.FaultGarble, sandbox.FaultNull, sandbox.FaultTruncate, sandbox.FaultHTML, sandbox.FaultHTMLAfter, sandbox.FaultErrorBefore,
		sandbox.FaultErrorAfter, sandbox.FaultDropRequest, sandbox.FaultDropAnswer, sandbox.FaultRedirect, sandbox.FaultThrottle,
		sandbox.FaultRestart, sandbox.FaultRestartAfter, sandbox.FaultDeliverTwice, sandbox.FaultLandLate, sandbox.FaultForeignBegin,
	}
	kinds := map[string]struct {
		begin sandbox.Operation
		make  func(w *world) client.Object
	}{
		"payment": {sandbox.PayBegin, func(w *world) client.Object { return w.payment("rent", w.supplierInvoice(1000)).Obj() }},
		"send":    {sandbox.OnchainBegin, func(w *world) client.Object { return w.send("payroll", 2000).Obj() }},
	}
	for kind, k := range kinds {
		for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
			setUp := func(t *testing.T, f sandbox.Fault) (*world, client.Object) {
				w := newWorld(t, profile)
				w.syncWallet()
				f.Operation = k.begin
				f.Delay = sandbox.Duration(20 * time.Second)
				w.fault(f)
				return w, made(w, k.make(w))
			}
			t.Run(kind+" at a "+string(profile)+" service that asks to sign something else", func(t *testing.T) {
				w, object := setUp(t, sandbox.Fault{Kind: sandbox.FaultOtherObject})
				w.rest(object)
				w.want(object, verdict{"Failed", v1alpha1.ReasonPSBTRejected, []string{"something else than what was declared", "nothing was signed"}})
				w.paid(0)
				if w.ends() != 0 {
					t.Errorf("%d calls that move money", w.ends())
				}
				w.quiet(object)
			})
			t.Run(kind+" at a "+string(profile)+" service that refuses it for good", func(t *testing.T) {
				w, object := setUp(t, sandbox.Fault{Kind: sandbox.FaultRefuse, Status: 400, Name: "InvalidInvoice", Message: "Invalid invoice", Count: -1})
				w.rest(object)
				w.want(object, verdict{"Failed", v1alpha1.ReasonRequestRefused, []string{"nothing was sent", "InvalidInvoice"}})
				w.paid(0)
				w.quiet(object)
			})
			t.Run(kind+" at a "+string(profile)+" service whose node is locked for a while", func(t *testing.T) {
				w, object := setUp(t, sandbox.Fault{Kind: sandbox.FaultRefuse, Status: 403, Name: "LockedNode", Message: "locked", Count: 2})
				w.reach(object, v1alpha1.ReasonServiceUnavailable)
				w.want(object, verdict{"Pending", v1alpha1.ReasonServiceUnavailable, []string{"LockedNode"}})
				w.rest(object)
				w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
				w.paid(1)
			})
			for _, f := range unread {
				t.Run(kind+" at a "+string(profile)+" service: "+string(f), func(t *testing.T) {
					w, object := setUp(t, sandbox.Fault{Kind: f})
					w.rest(object)
					w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
					w.paid(1)
					if w.ends() != 1 {
						t.Errorf("%d calls that move money", w.ends())
					}
				})
			}
		}
	}
}

// TestEstimatesThatFail has the service give no estimate of the fee: nothing is begun without one, and nothing is lost.
func TestEstimatesThatFail(t *testing.T) {
	for _, f := range []sandbox.FaultKind{
		sandbox.FaultRefuse, sandbox.FaultErrorBefore, sandbox.FaultGarble, sandbox.FaultNull, sandbox.FaultHTML, sandbox.FaultThrottle,
	} {
		t.Run(string(f), func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			w.fault(sandbox.Fault{Kind: f, Operation: sandbox.FeeEstimate, Count: 3})
			pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Obj())
			w.pass(pay)
			w.want(pay, verdict{"Pending", v1alpha1.ReasonServiceUnavailable, []string{"no fee estimate"}})
			w.untouched()
			w.rest(pay)
			w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(1)
		})
	}
}

// TestFailedStaysFailed takes the cause of a failure away. Whoever was told that a payment failed may have paid in another way since.
func TestFailedStaysFailed(t *testing.T) {
	cases := map[string]struct {
		// fail brings a payment to where it failed before anything was sent, and returns it with what takes the cause away.
		fail   func(w *world) (pay *v1alpha1.LightningPayment, mend func())
		reason string
	}{
		"the fee falls": {
			fail: func(w *world) (*v1alpha1.LightningPayment, func()) {
				w.fault(sandbox.Fault{Kind: sandbox.FaultOtherObject, Operation: sandbox.FeeEstimate}) // 987654 sat, once
				return made(w, w.payment("rent", w.supplierInvoice(5000)).Obj()), func() {}
			},
			reason: v1alpha1.ReasonFeeTooHigh,
		},
		"the wallet is declared anew, of another network": {
			fail: func(w *world) (*v1alpha1.LightningPayment, func()) {
				wallet := testkit.MakeWallet("treasury").Namespace(w.namespace).URL(w.url).KeysFrom("main").Network(v1alpha1.NetworkTestnet).Obj()
				w.pass(made(w, wallet))
				return made(w, w.payment("rent", w.supplierInvoice(5000)).Wallet("treasury").Obj()), func() {
					w.delete(wallet)
					wallet.Spec.Network = v1alpha1.NetworkRegtest
					w.recreate(wallet)
					w.pass(wallet)
				}
			},
			reason: v1alpha1.ReasonWrongNetwork,
		},
		"the service takes back a refusal": {
			fail: func(w *world) (*v1alpha1.LightningPayment, func()) {
				w.fault(sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.PayBegin, Status: 400, Name: "InvalidInvoice"})
				return made(w, w.payment("rent", w.supplierInvoice(5000)).Obj()), func() {}
			},
			reason: v1alpha1.ReasonRequestRefused,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			pay, mend := tc.fail(w)
			w.rest(pay)
			w.want(pay, verdict{"Failed", tc.reason, nil})
			mend()
			w.start()
			w.watch(pay, 2*time.Hour)
			w.want(pay, verdict{"Failed", tc.reason, nil})
			w.paid(0)
			w.quiet(pay)
			w.paid(0)
		})
	}
}

// TestTooLittleToPayWith waits for funds, says so, and then pays once.
func TestTooLittleToPayWith(t *testing.T) {
	cases := map[string]func(w *world) client.Object{
		"payment": func(w *world) client.Object { return w.payment("rent", w.supplierInvoice(5000)).Obj() },
		"send":    func(w *world) client.Object { return w.send("payroll", 20000).Obj() },
	}
	for name, tc := range cases {
		for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
			t.Run(name+", "+string(profile)+" service", func(t *testing.T) {
				w := newWorld(t, profile, func(o *sandbox.Options) { o.Unfunded = true })
				w.syncWallet()
				object := made(w, tc(w))
				w.reach(object, v1alpha1.ReasonInsufficientBalance)
				w.watch(object, 20*time.Minute)
				w.want(object, verdict{"Pending", v1alpha1.ReasonInsufficientBalance, []string{"InsufficientBitcoins", "fund the wallet", "tried again"}})
				if begins := w.called(sandbox.PayBegin) + w.called(sandbox.OnchainBegin); begins > 8 || w.ends() != 0 {
					t.Errorf("in 20 minutes without funds %d begins and %d ends", begins, w.ends())
				}
				w.paid(0)
				if told := w.told(); told[v1alpha1.ReasonInsufficientBalance] != 1 {
					t.Errorf("a person was told %v, want InsufficientBalance once", told)
				}
				wallet := w.wallet("main")
				w.get(wallet)
				for _, colored := range []bool{false, true} {
					if err := w.sandbox.FundWallet(wallet.Status.XpubVanilla, colored, 1_000_000); err != nil {
						t.Fatal(err)
					}
				}
				w.rest(object)
				w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
				w.paid(1)
				if w.ends() != 1 {
					t.Errorf("%d calls that move money", w.ends())
				}
				w.quiet(object)
			})
		}
	}
}
