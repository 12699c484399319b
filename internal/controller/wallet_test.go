package controller_test

import (
	"cmp"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// TestWalletShowsWhatItIs reads the status of a wallet that works.
func TestWalletShowsWhatItIs(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run(string(profile)+" service", func(t *testing.T) {
			w := newWorld(t, profile)
			if len(w.sandbox.Wallets()) != 0 {
				t.Fatal("the wallet is registered before anybody did it")
			}
			wallet := w.wallet("main")
			w.pass(wallet)
			w.want(wallet, verdict{"", v1alpha1.ReasonSynced, nil})
			known := w.sandbox.Wallets()
			if len(known) != 1 {
				t.Fatalf("the service knows %d wallets, want the one", len(known))
			}
			set, err := keys.FromMnemonic(mnemonic, "", bitcoin.Regtest)
			if err != nil {
				t.Fatal(err)
			}
			public, status := set.Public(), wallet.Status
			if status.MasterFingerprint != public.MasterFingerprint || status.XpubVanilla != public.XpubVanilla ||
				status.XpubColored != public.XpubColored || status.XpubVanilla != known[0].Xpub {
				t.Errorf("keys %s %s %s, want %+v", status.MasterFingerprint, status.XpubVanilla, status.XpubColored, public)
			}
			if profile == sandbox.Documented && (status.Balance == nil || status.Balance.Vanilla.SpendableSats != int64(sandbox.DefaultFundSats) ||
				status.Balance.Colored.SettledSats != 5000 || status.Balance.Offchain == nil ||
				status.Balance.Offchain.TotalSats != int64(sandbox.DefaultChannelSats)) {
				t.Errorf("balance %+v", status.Balance)
			}
			if len(status.Assets) != 1 || status.Assets[0].AssetID != w.sandbox.AssetIDs()[0] || status.Assets[0].Ticker != "USDT" ||
				status.Assets[0].Precision != 6 || status.Assets[0].OffchainOutbound == nil || *status.Assets[0].OffchainOutbound != 20_000_000_000 {
				t.Errorf("assets %+v", status.Assets)
			}
			for _, kind := range []string{v1alpha1.ConditionRegistered, v1alpha1.ConditionSignerReady, v1alpha1.ConditionSynced} {
				if got := w.condition(wallet, kind); got.Status != metav1.ConditionTrue {
					t.Errorf("%s is %s: %s", kind, got.Status, got.Message)
				}
			}
			if status.JournalEpoch == "" || status.LastSyncTime == nil {
				t.Errorf("epoch %q, synced at %v", status.JournalEpoch, status.LastSyncTime)
			}
		})
	}
	t.Run("a balance that did not change is not written", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		wallet := w.wallet("main")
		w.get(wallet)
		before := wallet.ResourceVersion
		w.quiet(wallet)
		if w.get(wallet); wallet.ResourceVersion != before {
			t.Errorf("twenty minutes without a change were written")
		}
		if err := w.sandbox.FundWallet(wallet.Status.XpubVanilla, false, 12_345); err != nil {
			t.Fatal(err)
		}
		w.pass(wallet)
		if got, want := wallet.Status.Balance.Vanilla.SpendableSats, int64(sandbox.DefaultFundSats)+12_345; got != want {
			t.Errorf("spendable are %d sat, want %d", got, want)
		}
	})
	t.Run("a service that forgot the wallet is told again", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		w.sandbox.Reset()
		wallet := w.wallet("main")
		w.pass(wallet)
		w.want(wallet, verdict{"", v1alpha1.ReasonSynced, nil})
		if known := w.sandbox.Wallets(); len(known) != 1 {
			t.Errorf("the service knows %d wallets, want the one", len(known))
		}
	})
}

// TestUnusableWallets declares wallets that cannot be used, reads why, and sees payments wait for them.
func TestUnusableWallets(t *testing.T) {
	words := strings.Fields(mnemonic)
	secret := func(data map[string]string) func(*world, *v1alpha1.Wallet) {
		return func(w *world, wallet *v1alpha1.Wallet) {
			w.makeSecret("other", data)
			wallet.Spec.Keys.SecretRef.Name = "other"
		}
	}
	replaced := func(position int, word string) string {
		changed := strings.Fields(mnemonic)
		changed[position] = word
		return strings.Join(changed, " ")
	}
	endpoint := func(edit func(*world, *v1alpha1.Endpoint)) func(*world, *v1alpha1.Wallet) {
		return func(w *world, wallet *v1alpha1.Wallet) { edit(w, &wallet.Spec.Endpoint) }
	}
	always := func(f sandbox.Fault) func(*world, *v1alpha1.Wallet) {
		return func(w *world, _ *v1alpha1.Wallet) {
			f.Count = -1
			w.fault(f)
		}
	}
	cases := map[string]struct {
		make func(*world, *v1alpha1.Wallet)
		want verdict
		// signer is whether the keys are fine all the same.
		signer bool
		// prefix is that of the network's invoices, where it is not regtest's.
		prefix string
	}{
		"its Secret does not exist": {
			make: func(_ *world, wallet *v1alpha1.Wallet) { wallet.Spec.Keys.SecretRef.Name = "nowhere" },
			want: verdict{"", v1alpha1.ReasonSecretNotFound, []string{"Secret nowhere", "create it"}},
		},
		"its Secret has other keys": {
			make: secret(map[string]string{"seed": mnemonic}),
			want: verdict{"", v1alpha1.ReasonInvalidKeys, []string{"Secret other", "mnemonic", "xprvVanilla"}},
		},
		"its mnemonic is empty": {
			make: secret(map[string]string{"mnemonic": " "}),
			want: verdict{"", v1alpha1.ReasonInvalidKeys, []string{"Secret other", "12"}},
		},
		"a word of its mnemonic is misspelt": {
			make: secret(map[string]string{"mnemonic": replaced(7, "suspekt")}),
			want: verdict{"", v1alpha1.ReasonInvalidKeys, []string{"Secret other", "8"}},
		},
		"a word of its mnemonic is another": {
			make: secret(map[string]string{"mnemonic": replaced(7, "zoo")}),
			want: verdict{"", v1alpha1.ReasonInvalidKeys, []string{"Secret other", "checksum"}},
		},
		"a word of its mnemonic is missing": {
			make: secret(map[string]string{"mnemonic": strings.Join(words[1:], " ")}),
			want: verdict{"", v1alpha1.ReasonInvalidKeys, []string{"Secret other", "11"}},
		},
		"its account keys are not of this network": {
			make: secret(map[string]string{"xprvVanilla": "xprv9s21ZrQH143K", "xprvColored": "xprv9s21ZrQH143K", "masterFingerprint": "00000000"}),
			want: verdict{"", v1alpha1.ReasonInvalidKeys, []string{"Secret other"}},
		},
		"it is of testnet and the service of regtest": {
			make: func(_ *world, wallet *v1alpha1.Wallet) { wallet.Spec.Network = v1alpha1.NetworkTestnet },
			want: verdict{"", v1alpha1.ReasonNetworkMismatch, []string{"regtest", "declares testnet", "use the service of that network"}}, signer: true, prefix: "tb",
		},
		"it is of mainnet and the service of regtest": {
			make: func(_ *world, wallet *v1alpha1.Wallet) { wallet.Spec.Network = v1alpha1.NetworkMainnet },
			want: verdict{"", v1alpha1.ReasonNotRegistered, []string{"not an account key of this network"}}, signer: true, prefix: "bc",
		},
		"nothing listens at its service": {
			make: endpoint(func(w *world, e *v1alpha1.Endpoint) {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					w.t.Fatal(err)
				}
				e.URL = "http://" + listener.Addr().String()
				if err := listener.Close(); err != nil {
					w.t.Fatal(err)
				}
			}),
			want: verdict{"", v1alpha1.ReasonServiceUnavailable, []string{"cannot be registered"}}, signer: true,
		},
		"its service answers web pages": {
			make: always(sandbox.Fault{Kind: sandbox.FaultHTML}),
			want: verdict{"", v1alpha1.ReasonServiceUnavailable, []string{"cannot be registered"}}, signer: true,
		},
		"its service answers pages with 200": {
			make: always(sandbox.Fault{Kind: sandbox.FaultGarble}),
			want: verdict{"", v1alpha1.ReasonServiceUnavailable, []string{"cannot be registered"}}, signer: true,
		},
		"its service sends it elsewhere": {
			make: always(sandbox.Fault{Kind: sandbox.FaultRedirect, Location: "https://elsewhere.invalid"}),
			want: verdict{"", v1alpha1.ReasonServiceUnavailable, []string{"Redirected"}}, signer: true,
		},
		"its service shows no balance": {
			make: always(sandbox.Fault{Kind: sandbox.FaultErrorBefore, Operation: sandbox.Balance}),
			want: verdict{"", v1alpha1.ReasonServiceUnavailable, []string{"balance cannot be read"}}, signer: true,
		},
		"its service throttles": {
			make: always(sandbox.Fault{Kind: sandbox.FaultThrottle, Operation: sandbox.Balance, RetryAfter: 40}),
			want: verdict{"", v1alpha1.ReasonServiceUnavailable, []string{"balance cannot be read"}}, signer: true,
		},
		"its service answers a balance too slowly": {
			make: endpoint(func(w *world, e *v1alpha1.Endpoint) {
				e.Timeout = &metav1.Duration{Duration: time.Second}
				e.URL = w.relay(func(_ http.ResponseWriter, r *http.Request) bool {
					slow := r.URL.Path == "/lightning/balance"
					if slow {
						<-r.Context().Done() // until the operator gives up
					}
					return slow
				})
			}),
			want: verdict{"", v1alpha1.ReasonServiceUnavailable, []string{"balance cannot be read", "Timeout"}}, signer: true,
		},
		"its CA bundle is none": {
			make: endpoint(func(w *world, e *v1alpha1.Endpoint) {
				w.create(w.configMap("ca", "ca.crt", "nonsense"))
				e.URL, e.Insecure, e.CABundleRef = "https://utexo.invalid", false, &v1alpha1.KeyReference{Name: "ca", Key: "ca.crt"}
			}),
			want: verdict{"", v1alpha1.ReasonInvalidEndpoint, []string{"spec.endpoint cannot be used"}}, signer: true,
		},
		"its CA bundle does not exist": {
			make: endpoint(func(_ *world, e *v1alpha1.Endpoint) {
				e.URL, e.Insecure, e.CABundleRef = "https://utexo.invalid", false, &v1alpha1.KeyReference{Name: "ca", Key: "ca.crt"}
			}),
			want: verdict{"", v1alpha1.ReasonInvalidEndpoint, []string{"ConfigMap ca with key ca.crt", "create it"}}, signer: true,
		},
		"its service's certificate is nobody's": {
			make: endpoint(func(w *world, e *v1alpha1.Endpoint) {
				e.URL, e.Insecure = w.secured().URL, false
			}),
			want: verdict{"", v1alpha1.ReasonServiceUnavailable, []string{"certificate"}}, signer: true,
		},
		"the Secret of its token does not exist": {
			make: endpoint(func(_ *world, e *v1alpha1.Endpoint) {
				e.TokenSecretRef = &v1alpha1.KeyReference{Name: "token", Key: "token"}
			}),
			want: verdict{"", v1alpha1.ReasonSecretNotFound, []string{"Secret token", "create it"}},
		},
		"the Secret of its token lacks the key": {
			make: endpoint(func(w *world, e *v1alpha1.Endpoint) {
				w.makeSecret("token", map[string]string{"other": "t0ken"})
				e.TokenSecretRef = &v1alpha1.KeyReference{Name: "token", Key: "token"}
			}),
			want: verdict{"", v1alpha1.ReasonSecretNotFound, []string{"Secret token has no key token"}},
		},
		"its token cannot be sent": {
			make: endpoint(func(w *world, e *v1alpha1.Endpoint) {
				w.makeSecret("token", map[string]string{"token": "t0k\nen"})
				e.TokenSecretRef = &v1alpha1.KeyReference{Name: "token", Key: "token"}
			}),
			want: verdict{"", v1alpha1.ReasonInvalidEndpoint, []string{"spec.endpoint cannot be used"}}, signer: true,
		},
		"its client certificate is none": {
			make: endpoint(func(w *world, e *v1alpha1.Endpoint) {
				w.makeSecret("client", map[string]string{corev1.TLSCertKey: "nonsense", corev1.TLSPrivateKeyKey: "nonsense"})
				e.ClientCertSecretRef = &v1alpha1.LocalReference{Name: "client"}
			}),
			want: verdict{"", v1alpha1.ReasonInvalidEndpoint, []string{"Secret client", "tls.crt"}}, signer: true,
		},
		"its headers name the wallet": {
			make: endpoint(func(_ *world, e *v1alpha1.Endpoint) { e.Headers = map[string]string{"xpub-van": "mine"} }),
			want: verdict{"", v1alpha1.ReasonInvalidEndpoint, []string{"spec.endpoint cannot be used"}}, signer: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.makeSecret("fine", map[string]string{"mnemonic": mnemonic})
			declared := testkit.MakeWallet("treasury").Namespace(w.namespace).URL(w.url).KeysFrom("fine").Obj()
			tc.make(w, declared)
			wallet := made(w, declared)
			invoice := w.issued(func(i *bolt11.Invoice) { i.Prefix = cmp.Or(tc.prefix, i.Prefix) })
			pay := made(w, w.payment("rent", invoice).Wallet("treasury").Obj())

			w.pass(pay) // before the wallet was looked at
			after := w.pass(wallet)
			w.want(wallet, tc.want)
			if after < time.Second || after > time.Minute {
				t.Errorf("the wallet is looked at again after %v", after)
			}
			message := w.ready(wallet).Message
			for _, word := range append(words, "suspekt", "t0k") {
				if strings.Contains(" "+strings.ReplaceAll(message, "\n", " ")+" ", " "+word+" ") {
					t.Errorf("the message holds the secret %q: %s", word, message)
				}
			}
			if signer := meta.FindStatusCondition(wallet.Status.Conditions, v1alpha1.ConditionSignerReady); tc.signer &&
				(signer == nil || signer.Status != metav1.ConditionTrue) {
				t.Errorf("the keys are fine, and SignerReady is %+v", signer)
			}

			w.pass(pay)
			w.want(pay, verdict{"Pending", v1alpha1.ReasonWalletNotReady, []string{"Wallet treasury"}})
			w.watch(pay, 10*time.Minute)
			w.want(pay, verdict{"Pending", v1alpha1.ReasonWalletNotReady, []string{"Wallet treasury"}})
			w.untouched()
		})
	}
}

// TestPlainHTTPIsRefused is the API server's work.
func TestPlainHTTPIsRefused(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	wallet := testkit.MakeWallet("treasury").Namespace(w.namespace).URL(w.url).Obj()
	wallet.Spec.Endpoint.Insecure = false
	if err := w.api.Create(t.Context(), wallet); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "insecure: true") {
		t.Errorf("creating a Wallet at plain HTTP: %v", err)
	}
}

// TestWalletsThatRecover mends a wallet and sees what waited for it go on.
func TestWalletsThatRecover(t *testing.T) {
	// Each spoils a wallet before it is declared and returns what mends it.
	cases := map[string]func(*world, *v1alpha1.Wallet) (mend func()){
		"its Secret appears": func(w *world, wallet *v1alpha1.Wallet) func() {
			wallet.Spec.Keys.SecretRef.Name = "later"
			return func() { w.makeSecret("later", map[string]string{"mnemonic": mnemonic}) }
		},
		"its Secret is mended": func(w *world, wallet *v1alpha1.Wallet) func() {
			w.makeSecret("later", map[string]string{"mnemonic": "zoo zoo zoo"})
			wallet.Spec.Keys.SecretRef.Name = "later"
			return func() {
				secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "later"}}
				w.change(secret, func() { secret.Data["mnemonic"] = []byte("  " + strings.ReplaceAll(mnemonic, " ", "\n") + "\n") })
			}
		},
		"its service comes back": func(w *world, _ *v1alpha1.Wallet) func() {
			w.fault(sandbox.Fault{Kind: sandbox.FaultHTML, Count: -1})
			return func() { w.sandbox.ClearFaults(0) }
		},
		"its service's certificate is trusted": func(w *world, wallet *v1alpha1.Wallet) func() {
			server := w.secured()
			wallet.Spec.Endpoint.URL, wallet.Spec.Endpoint.Insecure = server.URL, false
			wallet.Spec.Endpoint.CABundleRef = &v1alpha1.KeyReference{Name: "ca", Key: "ca.crt"}
			authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
			return func() { w.create(w.configMap("ca", "ca.crt", string(authority))) }
		},
		"the Secret of its token appears": func(w *world, wallet *v1alpha1.Wallet) func() {
			wallet.Spec.Endpoint.TokenSecretRef = &v1alpha1.KeyReference{Name: "token", Key: "token"}
			return func() { w.makeSecret("token", map[string]string{"token": "t0ken\n"}) }
		},
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.makeSecret("fine", map[string]string{"mnemonic": mnemonic})
			declared := testkit.MakeWallet("treasury").Namespace(w.namespace).URL(w.url).KeysFrom("fine").Obj()
			mend := spoil(w, declared)
			wallet := made(w, declared)
			pay := made(w, w.payment("rent", w.supplierInvoice(5000)).Wallet("treasury").Obj())
			w.clock.Step(w.pass(wallet))
			w.pass(pay)
			w.want(pay, verdict{"Pending", v1alpha1.ReasonWalletNotReady, nil})
			mend()
			w.pass(wallet)
			w.want(wallet, verdict{"", v1alpha1.ReasonSynced, nil})
			w.rest(pay)
			w.want(pay, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(1)
		})
	}
}

// TestWalletAfterPayment declares the payment first.
func TestWalletAfterPayment(t *testing.T) {
	cases := map[string]func(w *world) client.Object{
		"payment": func(w *world) client.Object { return w.payment("rent", w.supplierInvoice(5000)).Wallet("late").Obj() },
		"send":    func(w *world) client.Object { return w.send("payroll", 20000).Wallet("late").Obj() },
		"invoice": func(w *world) client.Object {
			return testkit.MakeLightningInvoice("order").Namespace(w.namespace).Wallet("late").AmountSats(1000).Obj()
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			object := made(w, tc(w))
			w.pass(object)
			w.want(object, verdict{"Pending", v1alpha1.ReasonWalletNotFound, []string{"Wallet late", "create it"}})
			w.untouched()
			wallet := made(w, testkit.MakeWallet("late").Namespace(w.namespace).URL(w.url).KeysFrom("main").Obj())
			w.pass(object)
			w.want(object, verdict{"Pending", v1alpha1.ReasonWalletNotReady, []string{"Wallet late is not ready"}})
			w.pass(wallet)
			if name == "invoice" {
				w.pass(object)
				w.want(object, verdict{"Open", v1alpha1.ReasonOpen, nil})
				return
			}
			w.rest(object)
			w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(1)
		})
	}
}

// TestSuspendedWallet holds payments, lets invoices be issued, and goes on when it is asked to.
func TestSuspendedWallet(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	wallet := w.wallet("main")
	w.change(wallet, func() { wallet.Spec.Suspend = true })
	w.syncWallet()
	objects := []client.Object{
		made(w, w.payment("rent", w.supplierInvoice(5000)).Obj()),
		made(w, w.send("payroll", 20000).Obj()),
	}
	for _, object := range objects {
		w.pass(object)
		w.want(object, verdict{"Pending", v1alpha1.ReasonSuspended, []string{"spec.suspend", "set it to false"}})
		w.quiet(object)
	}
	w.untouched()
	invoice := made(w, testkit.MakeLightningInvoice("order").Namespace(w.namespace).AmountSats(1000).Obj())
	w.pass(invoice)
	w.want(invoice, verdict{"Open", v1alpha1.ReasonOpen, nil})

	w.change(wallet, func() { wallet.Spec.Suspend = false })
	w.syncWallet()
	for _, object := range objects {
		w.rest(object)
		w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	}
	w.paid(2)
}

// TestWatchOnlyWallet receives, and pays nothing.
func TestWatchOnlyWallet(t *testing.T) {
	set, err := keys.FromMnemonic(mnemonic, "", bitcoin.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	public := set.Public()
	w := newWorld(t, sandbox.Documented)
	wallet := made(w, testkit.MakeWallet("cold").Namespace(w.namespace).URL(w.url).
		WatchOnly(public.XpubVanilla, public.XpubColored, public.MasterFingerprint).Obj())
	w.pass(wallet)
	w.want(wallet, verdict{"", v1alpha1.ReasonSynced, nil})
	if signer := w.condition(wallet, v1alpha1.ConditionSignerReady); signer.Status != metav1.ConditionFalse || signer.Reason != v1alpha1.ReasonWatchOnly {
		t.Errorf("SignerReady is %s for %s", signer.Status, signer.Reason)
	}

	invoice := made(w, testkit.MakeLightningInvoice("order").Namespace(w.namespace).Wallet("cold").AmountSats(1000).Obj())
	w.pass(invoice)
	w.want(invoice, verdict{"Open", v1alpha1.ReasonOpen, nil})
	if _, err := w.sandbox.PayInvoice(invoice.Status.PaymentRequest, false); err != nil {
		t.Fatal(err)
	}
	w.rest(invoice)
	w.want(invoice, verdict{"Settled", v1alpha1.ReasonSettled, nil})

	for _, object := range []client.Object{
		w.payment("rent", w.supplierInvoice(5000)).Wallet("cold").Obj(), w.send("payroll", 20000).Wallet("cold").Obj(),
	} {
		w.create(object)
		w.pass(object)
		w.want(object, verdict{"Pending", v1alpha1.ReasonSignerNotAvailable, []string{"watch only"}})
		w.quiet(object)
	}
	w.untouched()

	mistyped := made(w, testkit.MakeWallet("mistyped").Namespace(w.namespace).URL(w.url).
		WatchOnly(public.XpubVanilla[:50]+"1"+public.XpubVanilla[51:], public.XpubColored, public.MasterFingerprint).Obj())
	w.pass(mistyped)
	w.want(mistyped, verdict{"", v1alpha1.ReasonInvalidKeys, []string{"spec.keys.watchOnly"}})
}

// TestLostJournal applies the manifests in a new cluster, where no record of what was paid exists.
func TestLostJournal(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run("the service shows an earlier payment, "+string(profile), func(t *testing.T) {
			w := newWorld(t, profile)
			w.sandbox.SetListPayments(true)
			w.syncWallet()
			old := w.supplierInvoice(5000)
			pay := made(w, w.payment("rent", old).Obj())
			w.rest(pay)
			sent := made(w, w.send("payroll", 20000).Obj())
			w.rest(sent)
			w.paid(2)
			before := w.ends()

			w.move()
			w.syncWallet()
			wallet := w.wallet("main")
			w.get(wallet)
			again := made(w, testkit.MakeOnchainSend("payroll").Namespace(w.namespace).Address(sent.Spec.To.Address).AmountSats(20000).
				MaxFeeSats(5000).ValidUntil(sent.Spec.ValidUntil.Time).Obj())
			w.pass(again)
			w.want(again, verdict{"Pending", v1alpha1.ReasonJournalLost, []string{"may already have been made", "spec.acknowledgedEpoch", wallet.Status.JournalEpoch}})
			w.quiet(again)
			w.paid(2)

			// Lightning has a key at the node: it goes on, and what was paid is adopted.
			same := made(w, w.payment("rent", old).Obj())
			w.rest(same)
			w.want(same, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			if told := w.told(); told[v1alpha1.EventAdopted] != 1 {
				t.Errorf("a person was told %v, want Adopted once", told)
			}
			w.paid(2)
			if w.ends() != before {
				t.Errorf("%d new calls that move money", w.ends()-before)
			}

			w.change(wallet, func() { wallet.Spec.AcknowledgedEpoch = "the wrong one" })
			w.syncWallet()
			w.pass(again)
			w.want(again, verdict{"Pending", v1alpha1.ReasonJournalLost, []string{wallet.Status.JournalEpoch}})
			w.delete(again) // a person looked: it was made
			other := made(w, w.send("bonus", 30000).Obj())
			w.change(wallet, func() { wallet.Spec.AcknowledgedEpoch = wallet.Status.JournalEpoch })
			w.syncWallet()
			w.rest(other)
			w.want(other, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			w.paid(3)
		})
	}
	t.Run("the wallet remembers an epoch", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		wallet := w.wallet("main")
		w.get(wallet)
		before := wallet.Status.JournalEpoch
		w.delete(&v1alpha1.PaymentRecord{ObjectMeta: metav1.ObjectMeta{Namespace: w.operator, Name: payment.EpochName(wallet.Status.XpubVanilla)}})
		send := made(w, w.send("payroll", 20000).Obj())
		w.pass(send)
		w.want(send, verdict{"Pending", v1alpha1.ReasonWalletNotReady, []string{"no journal yet"}})
		w.syncWallet()
		w.pass(send)
		w.want(send, verdict{"Pending", v1alpha1.ReasonJournalLost, nil})
		if w.get(wallet); wallet.Status.JournalEpoch == before {
			t.Errorf("the new journal has the old one's epoch %s", before)
		}
		w.untouched()
	})
	for name, stripped := range map[string]bool{"and the wallet remembers one": false, "and its status was lost too": true} {
		t.Run("another wallet of the keys made the epoch, "+name, func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.syncWallet()
			sent := w.send("payroll", 20000).Obj()
			w.rest(made(w, sent))
			w.paid(1)
			w.delete(sent)
			w.rest(sent)
			w.sandbox.Restart()
			if err := w.api.DeleteAllOf(t.Context(), &v1alpha1.PaymentRecord{}, client.InNamespace(w.operator)); err != nil {
				t.Fatal(err)
			}
			w.start()
			wallet := w.wallet("main")
			w.get(wallet)
			status := wallet.Status
			if stripped {
				w.strip(wallet)
			}

			// Its service is the same one behind a proxy that serves no lists.
			service, err := url.Parse(w.url)
			if err != nil {
				t.Fatal(err)
			}
			forward := httputil.NewSingleHostReverseProxy(service)
			proxy := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "list") {
					http.Error(out, `{"detail":{"error":"Method Not Allowed","code":405}}`, http.StatusMethodNotAllowed)
					return
				}
				forward.ServeHTTP(out, r)
			}))
			t.Cleanup(proxy.Close)
			other := testkit.MakeWallet("main").Namespace(w.makeNamespace("other-")).URL(proxy.URL).
				WatchOnly(status.XpubVanilla, status.XpubColored, status.MasterFingerprint).Obj()
			w.create(other)
			w.pass(other)

			w.recreate(sent)
			w.pass(sent) // before its wallet is looked at
			w.paid(1)
			w.syncWallet()
			w.pass(sent)
			w.want(sent, verdict{"Pending", v1alpha1.ReasonJournalLost, nil})
			w.quiet(sent)
			w.paid(1)
		})
	}
	t.Run("the wallet is new", func(t *testing.T) {
		w := newWorld(t, sandbox.Documented)
		w.syncWallet()
		send := made(w, w.send("payroll", 20000).Obj())
		w.rest(send)
		w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		w.paid(1)
	})
	for _, list := range []sandbox.Operation{sandbox.ListPayments, sandbox.ListTransfers} {
		t.Run(fmt.Sprintf("%s does not answer now", list), func(t *testing.T) {
			w := newWorld(t, sandbox.Documented)
			w.fault(sandbox.Fault{Kind: sandbox.FaultErrorBefore, Operation: list, Count: 2})
			wallet := w.wallet("main")
			w.pass(wallet)
			w.want(wallet, verdict{"", v1alpha1.ReasonServiceUnavailable, []string{"earlier payments cannot be looked for"}})
			if len(w.records(v1alpha1.RecordWalletEpoch)) != 0 {
				t.Error("an epoch was made without a look at what was paid before")
			}
			w.pass(wallet)
			w.pass(wallet)
			w.want(wallet, verdict{"", v1alpha1.ReasonSynced, nil})
		})
	}
}
