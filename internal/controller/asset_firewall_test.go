package controller_test

import (
	"net/http"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// guarded makes a world whose wallet has an asset policy; empty for none.
func guarded(t *testing.T, profile sandbox.Profile, policy v1alpha1.AssetPolicy) *world {
	t.Helper()
	w := newWorld(t, profile)
	w.guard(policy)
	w.syncWallet()
	return w
}

func (w *world) guard(policy v1alpha1.AssetPolicy) {
	w.t.Helper()
	if policy == "" {
		return
	}
	wallet := w.wallet("main")
	w.change(wallet, func() { wallet.Spec.Signer = &v1alpha1.WalletSigner{AssetPolicy: policy} })
}

// assetSend declares that 700 units are sent to an RGB invoice, which edit may change.
func (w *world) assetSend(edit func(*rgb.Invoice)) client.Object {
	w.t.Helper()
	asset := w.sandbox.AssetIDs()[0]
	text, err := w.sandbox.IssueRGBInvoice(asset, 700)
	if err != nil {
		w.t.Fatal(err)
	}
	invoice, err := rgb.ParseInvoice(text)
	if err != nil {
		w.t.Fatal(err)
	}
	if edit != nil {
		edit(invoice)
	}
	return testkit.MakeOnchainSend("payroll").Namespace(w.namespace).RGBInvoice(invoice.String()).Asset(asset, 700).Obj()
}

func (w *world) assetPayment() client.Object { return w.payment("rent", w.assetInvoice(700)).Obj() }

// toOutput lets an invoice ask for an output of the payee's instead of a seal.
func toOutput(script string) func(*rgb.Invoice) {
	return func(i *rgb.Invoice) {
		payee, err := rgb.NewWitnessOutput([]byte(script))
		if err != nil {
			panic(err)
		}
		i.Beneficiary = payee
	}
}

const payeeScript = "\x00\x14payee's hash, 20 byt"

// refusedAssets checks that nothing was signed and nothing moved, and that it stays so.
func (w *world) refusedAssets(object client.Object, says ...string) {
	w.t.Helper()
	w.want(object, verdict{"Failed", v1alpha1.ReasonPSBTRejected, append(says, "nothing was signed")})
	w.paid(0)
	if begins := w.called(sandbox.PayBegin) + w.called(sandbox.OnchainBegin); begins != 1 || w.ends() != 0 {
		w.t.Errorf("%d calls that begin, %d that move money", begins, w.ends())
	}
	w.quiet(object)
}

// paidAssets checks that 700 units moved, with a warning or without.
func (w *world) paidAssets(object client.Object, warned bool) {
	w.t.Helper()
	w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	w.paid(1)
	if out := moved(w)[0]; out.Asset == nil || out.Asset.ID != w.sandbox.AssetIDs()[0] || out.Asset.Amount != 700 {
		w.t.Errorf("moved %+v, want 700 units of the asset", out.Asset)
	}
	w.warned(warned)
}

// warned checks that there was one event of something that is not proved, or none.
func (w *world) warned(want bool) {
	w.t.Helper()
	count := 0
	for _, event := range w.emitted() {
		if strings.HasPrefix(event, "Warning "+v1alpha1.EventAssetNotProven+" ") {
			count++
		}
	}
	if count > 1 || (count == 1) != want {
		w.t.Errorf("%d events of what is not proved, want any: %t", count, want)
	}
}

// TestProvedAssetsArePaid pays assets through a service that shows what its transactions do with them.
func TestProvedAssetsArePaid(t *testing.T) {
	cases := map[string]func(w *world) client.Object{
		"to a blinded seal": func(w *world) client.Object { return w.assetSend(nil) },
		"to an output":      func(w *world) client.Object { return w.assetSend(toOutput(payeeScript)) },
		"over Lightning":    (*world).assetPayment,
	}
	for name, order := range cases {
		for _, policy := range []v1alpha1.AssetPolicy{"", v1alpha1.AssetPolicyStrict, v1alpha1.AssetPolicyWarn} {
			t.Run(name+", policy "+string(policy), func(t *testing.T) {
				w := guarded(t, sandbox.Documented, policy)
				object := made(w, order(w))
				w.rest(object)
				w.paidAssets(object, false)
			})
		}
	}
}

// TestAssetLies has the service begin transactions that move other assets than was declared, not one of which shows in satoshis.
func TestAssetLies(t *testing.T) {
	send := func(w *world) client.Object { return w.assetSend(nil) }
	cases := map[string]struct {
		order func(w *world) client.Object
		claim string
		// doubt tells of a transaction that is not proved, and not proved to be wrong.
		doubt bool
		says  string
	}{
		"a unit more":                           {order: send, claim: sandbox.ClaimOtherAmount, says: "the payee would get 701 units instead of 700"},
		"a unit more, to an output":             {order: func(w *world) client.Object { return w.assetSend(toOutput(payeeScript)) }, claim: sandbox.ClaimOtherAmount, says: "701"},
		"to somebody else":                      {order: send, claim: sandbox.ClaimOtherSeal, says: "700 units of"},
		"of another asset":                      {order: send, claim: sandbox.ClaimOtherAsset, says: "which was not asked for"},
		"of another asset too":                  {order: send, claim: sandbox.ClaimHiddenContract, says: "does not show"},
		"not what it shows":                     {order: send, claim: sandbox.ClaimOtherCommitment, says: "OP_RETURN"},
		"without a word":                        {order: send, claim: sandbox.ClaimNoTransition, doubt: true, says: "spec.signer.assetPolicy Warn"},
		"with change to an earlier transaction": {order: send, claim: sandbox.ClaimEarlierChange, doubt: true, says: "of an earlier transaction"},

		"a unit more, over Lightning":          {order: (*world).assetPayment, claim: sandbox.ClaimOtherAmount, says: "701"},
		"of another asset, over Lightning":     {order: (*world).assetPayment, claim: sandbox.ClaimOtherAsset, says: "which was not asked for"},
		"of another asset too, over Lightning": {order: (*world).assetPayment, claim: sandbox.ClaimHiddenContract, says: "does not show"},
		"not what it shows, over Lightning":    {order: (*world).assetPayment, claim: sandbox.ClaimOtherCommitment, says: "OP_RETURN"},
		"without a word, over Lightning":       {order: (*world).assetPayment, claim: sandbox.ClaimNoTransition, doubt: true, says: "shows no transition"},
	}
	for name, tc := range cases {
		for _, policy := range []v1alpha1.AssetPolicy{"", v1alpha1.AssetPolicyStrict, v1alpha1.AssetPolicyWarn} {
			t.Run(name+", policy "+string(policy), func(t *testing.T) {
				w := guarded(t, sandbox.Documented, policy)
				for _, begin := range []sandbox.Operation{sandbox.PayBegin, sandbox.OnchainBegin} {
					w.fault(sandbox.Fault{Kind: sandbox.FaultAssetLie, Claim: tc.claim, Operation: begin, Count: -1})
				}
				object := made(w, tc.order(w))
				w.rest(object)
				if tc.doubt && policy == v1alpha1.AssetPolicyWarn {
					w.paidAssets(object, true)
					return
				}
				w.refusedAssets(object, tc.says)
				w.warned(false)
			})
		}
	}
}

// TestTheServiceChoosesItsOwnSeal is what cannot be proved of a Lightning payment: whose the seal is that the service names.
func TestTheServiceChoosesItsOwnSeal(t *testing.T) {
	w := guarded(t, sandbox.Documented, v1alpha1.AssetPolicyStrict)
	w.fault(sandbox.Fault{Kind: sandbox.FaultAssetLie, Claim: sandbox.ClaimOtherSeal, Operation: sandbox.PayBegin})
	object := made(w, w.assetPayment())
	w.rest(object)
	w.paidAssets(object, false)
}

// TestServiceWithoutTransitions pays through the reference server, whose transactions show nothing of assets.
func TestServiceWithoutTransitions(t *testing.T) {
	bitcoin := func(w *world) client.Object { return w.payment("rent", w.supplierInvoice(5000)).Obj() }
	send := func(w *world) client.Object { return w.assetSend(nil) }
	cases := map[string]struct {
		order  func(w *world) client.Object
		policy v1alpha1.AssetPolicy
		// refused, or paid with a warning, or without.
		refused, warned bool
	}{
		"a send":                    {order: send, refused: true},
		"a send, Strict":            {order: send, policy: v1alpha1.AssetPolicyStrict, refused: true},
		"a send, Warn":              {order: send, policy: v1alpha1.AssetPolicyWarn, warned: true},
		"an asset payment":          {order: (*world).assetPayment, refused: true},
		"an asset payment, Warn":    {order: (*world).assetPayment, policy: v1alpha1.AssetPolicyWarn, warned: true},
		"a bitcoin payment":         {order: bitcoin},
		"a bitcoin payment, Strict": {order: bitcoin, policy: v1alpha1.AssetPolicyStrict, refused: true},
		"a bitcoin payment, Warn":   {order: bitcoin, policy: v1alpha1.AssetPolicyWarn, warned: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := guarded(t, sandbox.Reference, tc.policy)
			object := made(w, tc.order(w))
			w.rest(object)
			if tc.refused {
				w.refusedAssets(object, "assetPolicy Warn")
				return
			}
			w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(1)
			w.warned(tc.warned)
		})
	}
}

// TestBitcoinOrdersMoveNoAsset answers the begin of a payment of bitcoin with a transfer of an asset.
func TestBitcoinOrdersMoveNoAsset(t *testing.T) {
	for _, policy := range []v1alpha1.AssetPolicy{"", v1alpha1.AssetPolicyStrict, v1alpha1.AssetPolicyWarn} {
		t.Run("policy "+string(policy), func(t *testing.T) {
			w := guarded(t, sandbox.Documented, policy)
			psbt := w.client().BeginPay(w.assetInvoice(700))
			fronted := w.fronted(w.relay(func(out http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/pay-invoice-begin") {
					return false
				}
				_, _ = out.Write([]byte(asJSON(psbt)))
				return true
			}))
			if policy != "" {
				fronted.Spec.Signer = &v1alpha1.WalletSigner{AssetPolicy: policy}
			}
			w.pass(made(w, fronted))
			pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Wallet("fronted").Obj())
			w.rest(pay)
			w.refusedAssets(pay, "where no asset was to move")
		})
	}
}

// TestPolicyOfThen changes the policy between a submission with a lost answer and its repetition, which sends nothing new.
func TestPolicyOfThen(t *testing.T) {
	w := guarded(t, sandbox.Reference, v1alpha1.AssetPolicyWarn)
	w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.OnchainEnd})
	object := made(w, w.assetSend(nil))
	w.reach(object, v1alpha1.ReasonSubmitting)
	w.guard(v1alpha1.AssetPolicyStrict)
	w.syncWallet()
	w.rest(object)
	w.paidAssets(object, true)
	if w.ends() != 2 {
		t.Errorf("%d calls that move money, want the second to ask for the answer to the first", w.ends())
	}
}
