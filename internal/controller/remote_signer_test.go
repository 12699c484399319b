package controller_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/remotesigner"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/signerserver"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// signerWorld is a world whose wallet main has its private keys at a signer of its own, behind mutual TLS, and nowhere else.
type signerWorld struct {
	*world
	servers, clients *testkit.Authority
	directory        string
	limits           signerserver.Limits
	address          string
	// hostile, where it is not nil, answers in the signer's place with what is made of its answer.
	hostile func(w http.ResponseWriter, honest *httptest.ResponseRecorder)
	stop    func()

	mutex sync.Mutex
	// seen is all that the API server answered the operator, and all that the operator logged.
	seen bytes.Buffer
}

// roomy are limits that no payment of these cases reaches.
var roomy = signerserver.Limits{MaxPaymentSats: 1_000_000, MaxFeeSats: 20_000, MaxDailySats: 10_000_000, MaxAssetAmount: 1_000_000}

func newSignerWorld(t *testing.T, profile sandbox.Profile) *signerWorld {
	t.Helper()
	w := &signerWorld{world: newService(t, profile), directory: t.TempDir(), limits: roomy}
	w.limits.UnprovedAssets = profile == sandbox.Reference // which does not show what it does with assets
	w.operator, w.namespace = w.makeNamespace("operator-"), w.makeNamespace("team-")
	for _, made := range []struct {
		name string
		into **testkit.Authority
	}{{"servers", &w.servers}, {"clients", &w.clients}} {
		authority, err := testkit.NewAuthority(made.name)
		if err != nil {
			t.Fatal(err)
		}
		*made.into = authority
	}
	if err := w.servers.WriteServerFiles(w.directory, w.clients); err != nil {
		t.Fatal(err)
	}
	w.startSigner()
	public := w.keySet().Public()
	w.create(w.configMap("signer-ca", "ca.crt", string(w.servers.PEM)))
	w.clientSecret("signer-client", w.clients)
	wallet := w.mainWallet(profile)
	wallet.Spec.Keys = v1alpha1.WalletKeys{WatchOnly: &v1alpha1.WatchOnlyKeys{
		XpubVanilla: public.XpubVanilla, XpubColored: public.XpubColored, MasterFingerprint: public.MasterFingerprint,
	}}
	wallet.Spec.Signer = &v1alpha1.WalletSigner{Type: v1alpha1.SignerRemote, Remote: &v1alpha1.RemoteSigner{
		URL: "https://" + w.address, CABundleRef: &v1alpha1.KeyReference{Name: "signer-ca", Key: "ca.crt"},
		ClientCertSecretRef: v1alpha1.LocalReference{Name: "signer-client"}, Timeout: &metav1.Duration{Duration: 2 * time.Second},
	}}
	w.create(wallet)
	w.kube = func(call kubeCall) error {
		err := call.do()
		w.see(asJSON(call.object))
		return err
	}
	log := funcr.New(func(prefix, arguments string) { w.see(prefix + " " + arguments) }, funcr.Options{Verbosity: 10})
	w.log = &log
	w.start()
	return w
}

func (w *signerWorld) see(text string) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	fmt.Fprintln(&w.seen, text)
}

func (w *signerWorld) keySet() *keys.Set {
	w.t.Helper()
	set, err := keys.FromMnemonic(mnemonic, "", bitcoin.Regtest)
	if err != nil {
		w.t.Fatal(err)
	}
	return set
}

// clientSecret creates a Secret with a client certificate of the authority.
func (w *signerWorld) clientSecret(name string, authority *testkit.Authority) {
	w.t.Helper()
	certPEM, keyPEM, err := authority.Issue("operator", false)
	if err != nil {
		w.t.Fatal(err)
	}
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certPEM, corev1.TLSPrivateKeyKey: keyPEM},
	})
}

// startSigner starts the signer, where it was before if it was, with the journal it then had.
func (w *signerWorld) startSigner() {
	w.t.Helper()
	set := w.keySet()
	journal, err := signerserver.OpenJournal(filepath.Join(w.directory, "journal"), set.Public(), w.clock.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	signing, err := signerserver.New(signerserver.Config{
		Keys: set, Limits: w.limits, Journal: journal, Clock: w.clock, Log: slog.New(slog.NewJSONHandler(io.Discard, nil)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	config, err := signerserver.TLSFiles{
		Certificate: filepath.Join(w.directory, "tls.crt"), Key: filepath.Join(w.directory, "tls.key"), ClientCA: filepath.Join(w.directory, "ca.crt"),
	}.Config()
	if err != nil {
		w.t.Fatal(err)
	}
	if w.address == "" {
		w.address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.address = listener.Addr().String()
	handler := signing.Handler()
	server := signerserver.HTTPServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if w.hostile == nil || r.URL.Path != remotesigner.SignPath {
			handler.ServeHTTP(out, r)
			return
		}
		honest := httptest.NewRecorder()
		handler.ServeHTTP(honest, r)
		w.hostile(out, honest)
	}), slog.New(slog.NewJSONHandler(io.Discard, nil)))
	go server.Serve(tls.NewListener(listener, config)) //nolint:errcheck // it says that it was closed
	stopped := sync.OnceFunc(func() {
		_ = server.Close()
		_ = journal.Close()
	})
	w.stop = stopped
	w.t.Cleanup(stopped)
}

// signerReady holds the wallet's condition against what is wanted.
func (w *signerWorld) signerReady(status metav1.ConditionStatus, reason, says string) {
	w.t.Helper()
	wallet := w.wallet("main")
	w.pass(wallet)
	w.get(wallet)
	if got := w.condition(wallet, v1alpha1.ConditionSignerReady); got.Status != status || got.Reason != reason || !strings.Contains(got.Message, says) {
		w.t.Errorf("SignerReady is %s for %s (%s), want %s for %s (%s)", got.Status, got.Reason, got.Message, status, reason, says)
	}
	if got := w.ready(wallet); got.Status != metav1.ConditionTrue {
		w.t.Errorf("the wallet receives all the same, and Ready is %s: %s", got.Status, got.Message)
	}
}

// TestRemoteSigner pays with keys that are in no place that the operator can read.
func TestRemoteSigner(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run(string(profile), func(t *testing.T) {
			w := newSignerWorld(t, profile)
			if profile == sandbox.Reference { // which does not show what it does with assets
				wallet := w.wallet("main")
				w.change(wallet, func() { wallet.Spec.Signer.AssetPolicy = v1alpha1.AssetPolicyWarn })
			}
			w.signerReady(metav1.ConditionTrue, v1alpha1.ReasonSignerAnswered, "has the wallet's keys")
			for _, object := range []client.Object{
				made(w.world, w.payment("rent", w.supplierInvoice(5000)).Obj()), made(w.world, w.send("payroll", 20000).Obj()),
				made(w.world, w.payment("tokens", w.assetInvoice(5)).Obj()),
			} {
				w.rest(object)
				w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
				w.quiet(object)
			}
			w.paid(3)

			var secrets corev1.SecretList
			if err := w.api.List(t.Context(), &secrets, client.InNamespace(w.namespace)); err != nil {
				t.Fatal(err)
			}
			for _, secret := range secrets.Items {
				if secret.Type != corev1.SecretTypeTLS {
					t.Errorf("Secret %s is not a client certificate", secret.Name)
				}
			}
			w.see(w.everything())
			w.see(strings.Join(w.emitted(), "\n"))
			seen := w.seen.String()
			for _, secret := range []string{mnemonic, strings.Join(strings.Fields(mnemonic)[:2], " ")} {
				if strings.Contains(seen, secret) {
					t.Errorf("the operator could read %q, or wrote it", secret)
				}
			}
			if key := extendedPrivateKey.FindString(seen); key != "" {
				t.Errorf("the operator could read an extended private key, or wrote it: it begins with %s", key)
			}
			if !strings.Contains(seen, "payment recorded") || !strings.Contains(seen, "signer-client") {
				t.Error("the scan is blind: it saw no log or no Secret")
			}
		})
	}
}

// TestRemoteSignerHoldsPayments has a signer that cannot be asked, before any payment begins.
func TestRemoteSignerHoldsPayments(t *testing.T) {
	other, err := testkit.NewAuthority("clients")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		spoil, mend  func(w *signerWorld)
		reason, says string
	}{
		"it is down": {
			func(w *signerWorld) { w.stop() }, func(w *signerWorld) { w.startSigner() }, v1alpha1.ReasonSignerNotAvailable, "does not answer",
		},
		"it does not know the operator's certificate": {
			func(w *signerWorld) {
				w.clientSecret("foreign", other)
				w.setSigner(func(s *v1alpha1.RemoteSigner) { s.ClientCertSecretRef.Name = "foreign" })
			},
			func(w *signerWorld) {
				w.setSigner(func(s *v1alpha1.RemoteSigner) { s.ClientCertSecretRef.Name = "signer-client" })
			},
			v1alpha1.ReasonSignerNotAvailable, "client certificate",
		},
		"its own certificate is another authority's": {
			func(w *signerWorld) {
				w.create(w.configMap("foreign", "ca.crt", string(other.PEM)))
				w.setSigner(func(s *v1alpha1.RemoteSigner) { s.CABundleRef.Name = "foreign" })
			},
			func(w *signerWorld) { w.setSigner(func(s *v1alpha1.RemoteSigner) { s.CABundleRef.Name = "signer-ca" }) },
			v1alpha1.ReasonSignerNotAvailable, "vouch",
		},
		"its certificate's Secret is not there": {
			func(w *signerWorld) {
				w.setSigner(func(s *v1alpha1.RemoteSigner) { s.ClientCertSecretRef.Name = "missing" })
			},
			func(w *signerWorld) { w.clientSecret("missing", w.clients) }, v1alpha1.ReasonSecretNotFound, "Secret missing",
		},
		"its certificate's Secret holds no certificate": {
			func(w *signerWorld) {
				w.makeSecret("empty", map[string]string{"token": "t0ken"})
				w.setSigner(func(s *v1alpha1.RemoteSigner) { s.ClientCertSecretRef.Name = "empty" })
			},
			func(w *signerWorld) {
				w.setSigner(func(s *v1alpha1.RemoteSigner) { s.ClientCertSecretRef.Name = "signer-client" })
			},
			v1alpha1.ReasonInvalidSigner, "tls.crt",
		},
		"its CA bundle is not there": {
			func(w *signerWorld) { w.setSigner(func(s *v1alpha1.RemoteSigner) { s.CABundleRef.Key = "none" }) },
			func(w *signerWorld) { w.setSigner(func(s *v1alpha1.RemoteSigner) { s.CABundleRef.Key = "ca.crt" }) },
			v1alpha1.ReasonInvalidSigner, "ConfigMap signer-ca",
		},
		"the wallet is watched only for a while": {
			func(w *signerWorld) {
				wallet := w.wallet("main")
				w.change(wallet, func() { wallet.Spec.Signer = nil })
			},
			func(w *signerWorld) {
				wallet := w.wallet("main")
				w.change(wallet, func() {
					wallet.Spec.Signer = &v1alpha1.WalletSigner{Type: v1alpha1.SignerRemote, Remote: &v1alpha1.RemoteSigner{
						URL: "https://" + w.address, CABundleRef: &v1alpha1.KeyReference{Name: "signer-ca", Key: "ca.crt"},
						ClientCertSecretRef: v1alpha1.LocalReference{Name: "signer-client"},
					}}
				})
			},
			v1alpha1.ReasonWatchOnly, "watch only",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSignerWorld(t, sandbox.Documented)
			tc.spoil(w)
			w.signerReady(metav1.ConditionFalse, tc.reason, tc.says)
			objects := []client.Object{
				made(w.world, w.payment("rent", w.supplierInvoice(5000)).Obj()), made(w.world, w.send("payroll", 20000).Obj()),
			}
			for _, object := range objects {
				w.pass(object)
				w.want(object, verdict{"Pending", v1alpha1.ReasonSignerNotAvailable, []string{"Wallet main cannot sign", tc.says}})
				w.quiet(object)
			}
			w.untouched()
			tc.mend(w)
			w.signerReady(metav1.ConditionTrue, v1alpha1.ReasonSignerAnswered, "")
			for _, object := range objects {
				w.rest(object)
				w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			}
			w.paid(2)
		})
	}
}

func (w *signerWorld) setSigner(edit func(*v1alpha1.RemoteSigner)) {
	w.t.Helper()
	wallet := w.wallet("main")
	w.change(wallet, func() { edit(wallet.Spec.Signer.Remote) })
}

// TestRemoteSignerOfAnotherWallet is not asked for anything.
func TestRemoteSignerOfAnotherWallet(t *testing.T) {
	w := newSignerWorld(t, sandbox.Documented)
	other, err := keys.FromMnemonic("abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about", "", bitcoin.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	public, wallet := other.Public(), w.wallet("main")
	w.get(wallet)
	second := testkit.MakeWallet("second").Namespace(w.namespace).URL(w.url).WatchOnly(public.XpubVanilla, public.XpubColored, public.MasterFingerprint).Obj()
	second.Spec.Signer = wallet.Spec.Signer
	w.create(second)
	w.pass(second)
	w.get(second)
	if got := w.condition(second, v1alpha1.ConditionSignerReady); got.Status != metav1.ConditionFalse || got.Reason != v1alpha1.ReasonSignerMismatch {
		t.Errorf("SignerReady is %s for %s", got.Status, got.Reason)
	}
	pay := made(w.world, w.payment("rent", w.supplierInvoice(5000)).Wallet("second").Obj())
	w.pass(pay)
	w.want(pay, verdict{"Pending", v1alpha1.ReasonSignerNotAvailable, []string{"another masterFingerprint"}})
	w.quiet(pay)
	w.untouched()
}

// TestHostileSigner answers with what is no signature of what it was asked, and nothing is submitted.
func TestHostileSigner(t *testing.T) {
	rewritten := func(edit func(signed string) string) func(http.ResponseWriter, *httptest.ResponseRecorder) {
		return func(out http.ResponseWriter, honest *httptest.ResponseRecorder) {
			var answer remotesigner.Answer
			if err := json.Unmarshal(honest.Body.Bytes(), &answer); err != nil {
				out.WriteHeader(http.StatusInternalServerError)
				return
			}
			answer.SignedPSBT = edit(answer.SignedPSBT)
			out.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(out).Encode(answer)
		}
	}
	var earlier string
	for name, tc := range map[string]struct {
		hostile func(http.ResponseWriter, *httptest.ResponseRecorder)
		says    string
	}{
		"another payment's PSBT": {rewritten(func(string) string { return earlier }), "another transaction"},
		"the PSBT unsigned": {rewritten(func(signed string) string {
			return testkit.EditPSBT(signed, func(witness []byte) []byte { return nil })
		}), "not signed"},
		"another signature": {rewritten(func(signed string) string {
			return testkit.EditPSBT(signed, func(witness []byte) []byte {
				witness[30] ^= 1
				return witness
			})
		}), "invalid signature"},
		"an oversized body": {func(out http.ResponseWriter, honest *httptest.ResponseRecorder) {
			out.Header().Set("Content-Type", "application/json")
			_, _ = out.Write(append(honest.Body.Bytes(), bytes.Repeat([]byte(" "), remotesigner.MaxAnswerBytes)...))
		}, "too long"},
		"a redirect": {func(out http.ResponseWriter, _ *httptest.ResponseRecorder) {
			out.Header().Set("Location", "/v1/sign")
			out.WriteHeader(http.StatusTemporaryRedirect)
		}, "redirect"},
		"no answer": {func(http.ResponseWriter, *httptest.ResponseRecorder) { panic(http.ErrAbortHandler) }, "breaks the connection off"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSignerWorld(t, sandbox.Documented)
			w.syncWallet()
			w.hostile = rewritten(func(signed string) string {
				earlier = signed
				return signed
			})
			first := made(w.world, w.send("first", 10000).Obj())
			w.rest(first)
			w.paid(1)
			before := w.ends()

			w.hostile = tc.hostile
			objects := []client.Object{
				made(w.world, w.payment("rent", w.supplierInvoice(5000)).Obj()), made(w.world, w.send("payroll", 20000).Obj()),
			}
			for _, object := range objects {
				w.pass(object)
				w.want(object, verdict{"Pending", v1alpha1.ReasonSignerNotAvailable, []string{tc.says, "nothing was sent", "tried again"}})
				w.watch(object, 10*time.Minute)
				w.want(object, verdict{"Pending", v1alpha1.ReasonSignerNotAvailable, []string{tc.says}})
			}
			if got := w.ends(); got != before {
				t.Errorf("%d calls that move money", got-before)
			}
			w.paid(1)
			w.hostile = nil
			for _, object := range objects {
				w.rest(object)
				w.want(object, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			}
			w.paid(3)
		})
	}
}

// TestSignerRefuses shows the signer's word as it may be shown, and pays no more than its limits allow, over its restarts too.
func TestSignerRefuses(t *testing.T) {
	w := newSignerWorld(t, sandbox.Documented)
	w.limits.MaxDailySats = 30_000
	w.stop()
	w.startSigner()
	w.syncWallet()
	first := made(w.world, w.send("first", 20000).Obj())
	w.rest(first)
	w.want(first, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	for i := range 2 {
		name := fmt.Sprintf("over-%d", i)
		over := made(w.world, w.send(name, 20001+int64(i)).Obj())
		w.rest(over)
		w.want(over, verdict{"Failed", v1alpha1.ReasonSignerRefused, []string{"DailyLimit", "nothing was signed or sent", "30000 sat"}})
		w.quiet(over)
		w.stop()
		w.startSigner()
	}
	small := made(w.world, w.send("small", 2000).MaxFeeSats(2000).Obj())
	w.rest(small)
	w.want(small, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	large := made(w.world, w.payment("large", w.supplierInvoice(int64(roomy.MaxPaymentSats)+1)).Obj())
	w.rest(large)
	w.want(large, verdict{"Failed", v1alpha1.ReasonSignerRefused, []string{signerserver.PaymentTooLarge}})
	w.paid(2)

	w.hostile = func(out http.ResponseWriter, _ *httptest.ResponseRecorder) {
		out.Header().Set("Content-Type", "application/json")
		out.WriteHeader(http.StatusUnprocessableEntity)
		_ = json.NewEncoder(out).Encode(remotesigner.Refusal{Code: "Rude\x1b[2J", Message: "line\r\nline \x00" + strings.Repeat("much ", 1000)})
	}
	rude := made(w.world, w.send("rude", 1500).Obj())
	w.rest(rude)
	w.want(rude, verdict{"Failed", v1alpha1.ReasonSignerRefused, []string{"Rude[2J", "lineline much"}})
	if message := w.ready(rude).Message; len(message) > 512 || strings.ContainsFunc(message, func(r rune) bool { return r < ' ' }) {
		t.Errorf("the message is long or has control characters: %q", message)
	}
	w.clock.Step(signerserver.Window)
	w.hostile = nil
	w.syncWallet()
	next := made(w.world, w.send("next", 20003).Obj())
	w.rest(next)
	w.want(next, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	w.paid(3)
}

// TestSignerDoubts has a signer that signs no doubt at a service that spends colored coins for a Lightning payment of bitcoin, and shows nothing
// of their assets. Whatever the Wallet allows, the signer's word is its own.
func TestSignerDoubts(t *testing.T) {
	w := newSignerWorld(t, sandbox.Reference)
	w.limits.UnprovedAssets = false
	w.stop()
	w.startSigner()
	for _, policy := range []v1alpha1.AssetPolicy{"", v1alpha1.AssetPolicyWarn} {
		wallet := w.wallet("main")
		w.change(wallet, func() { wallet.Spec.Signer.AssetPolicy = policy })
		w.syncWallet()
		pay := made(w.world, w.payment("rent"+strings.ToLower(string(policy)), w.supplierInvoice(5000)).Obj())
		w.rest(pay)
		w.want(pay, verdict{"Failed", v1alpha1.ReasonSignerRefused, []string{"AssetNotProven", "--allow-unproved-assets", "nothing was signed or sent"}})
		w.quiet(pay)
	}
	w.paid(0)
	send := made(w.world, w.send("payroll", 20000).Obj()) // no colored coin is spent
	w.rest(send)
	w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	w.paid(1)
}

// TestSignerIsAwayWhenTheAnswerIsLost keeps a send whose answer was lost from becoming Unknown for a signer that is away a while: it is
// submitted again once it can be signed again.
func TestSignerIsAwayWhenTheAnswerIsLost(t *testing.T) {
	w := newSignerWorld(t, sandbox.Reference)
	w.syncWallet()
	w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.OnchainEnd})
	send := made(w.world, w.send("payroll", 20000).Obj())
	signatures := 0
	w.hostile = func(out http.ResponseWriter, honest *httptest.ResponseRecorder) {
		if signatures++; signatures > 1 {
			panic(http.ErrAbortHandler)
		}
		out.Header().Set("Content-Type", "application/json")
		_, _ = out.Write(honest.Body.Bytes())
	}
	w.watch(send, 30*time.Second)
	w.want(send, verdict{"Submitting", v1alpha1.ReasonSignerNotAvailable, []string{"breaks the connection off", "the answer to the submission was lost"}})
	if signatures < 2 {
		t.Fatalf("it was signed %d times: the case is blind", signatures)
	}
	w.hostile = nil
	w.rest(send)
	w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
	w.paid(1)
}
