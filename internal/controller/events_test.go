package controller_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// TestEvents counts what a person is told of a resource, from its declaration to long after its end.
func TestEvents(t *testing.T) {
	type counts = map[string]int
	payment := func(w *world) client.Object { return w.payment("rent", w.supplierInvoice(5000)).Obj() }
	send := func(w *world) client.Object { return w.send("payroll", 20000).Obj() }
	cases := map[string]struct {
		profile sandbox.Profile
		before  func(w *world)
		make    func(w *world) client.Object
		during  func(w *world, object client.Object)
		want    counts
	}{
		"a payment": {make: payment, want: counts{"InFlight": 1, "Succeeded": 1}},
		"a send":    {make: send, want: counts{"InFlight": 1, "Succeeded": 1}},
		"a payment whose answer is lost": {
			before: func(w *world) { w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.PayEnd}) },
			make:   payment, want: counts{"InFlight": 1, "Succeeded": 1},
		},
		"a payment that has to be submitted twice": {
			before: func(w *world) { w.fault(sandbox.Fault{Kind: sandbox.FaultDropRequest, Operation: sandbox.PayEnd}) },
			make:   payment, want: counts{"Submitting": 1, "InFlight": 1, "Succeeded": 1},
		},
		"a send that has to be asked for twice": {
			profile: sandbox.Reference,
			before: func(w *world) {
				w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.OnchainEnd})
			},
			make: send, want: counts{"Submitting": 1, "InFlight": 1, "Succeeded": 1},
		},
		"a send of which nobody knows": {
			before: func(w *world) {
				w.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.OnchainEnd})
			},
			make: send, want: counts{"OutcomeUnknown": 1},
		},
		"a payment that fails": {
			before: func(w *world) {
				if err := w.sandbox.SetPayee("", sandbox.PayeeFails); err != nil {
					w.t.Fatal(err)
				}
			},
			make: payment, want: counts{"InFlight": 1, "PaymentFailed": 1},
		},
		"a payment that cannot be paid": {
			make: func(w *world) client.Object { return w.payment("rent", w.supplierInvoice(0)).Obj() },
			want: counts{"InvalidInvoice": 1},
		},
		"a payment that is suspended for a while": {
			make: func(w *world) client.Object {
				return w.payment("rent", w.supplierInvoice(5000)).Suspend().Obj()
			},
			during: func(w *world, object client.Object) {
				pay := object.(*v1alpha1.LightningPayment)
				w.watch(pay, time.Hour)
				w.change(pay, func() { pay.Spec.Suspend = false })
			},
			want: counts{"Suspended": 1, "InFlight": 1, "Succeeded": 1},
		},
		"a payment at a service that is away for hours": {
			make: payment,
			during: func(w *world, object client.Object) {
				w.fault(sandbox.Fault{Kind: sandbox.FaultHTML, Count: -1})
				w.watch(object, 3*time.Hour)
				w.sandbox.ClearFaults(0)
			},
			want: counts{"ServiceUnavailable": 1, "InFlight": 1, "Succeeded": 1},
		},
		"an invoice that is paid": {
			make: func(w *world) client.Object { return w.invoice("order").Obj() },
			during: func(w *world, object client.Object) {
				w.pass(object)
				w.settle(object.(*v1alpha1.LightningInvoice).Status.PaymentRequest, false)
			},
			want: counts{"Open": 1, "Settled": 1},
		},
		"an invoice that expires": {
			make: func(w *world) client.Object { return w.invoice("order").Obj() },
			want: counts{"Open": 1, "InvoiceExpired": 1},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.profile == "" {
				tc.profile = sandbox.Documented
			}
			w := newWorld(t, tc.profile)
			w.syncWallet()
			if told := w.told(); !maps.Equal(told, counts{"Synced": 1}) {
				t.Errorf("of the wallet a person was told %v, want Synced once", told)
			}
			if tc.before != nil {
				tc.before(w)
			}
			object := made(w, tc.make(w))
			if tc.during != nil {
				tc.during(w, object)
			}
			w.rest(object)
			w.quiet(object)
			if told := w.told(); !maps.Equal(told, tc.want) {
				t.Errorf("a person was told %v, want %v", told, tc.want)
			}
			w.start()
			w.quiet(object)
			if told := w.told(); len(told) > 0 {
				t.Errorf("a new process told again: %v", told)
			}
		})
	}
}

// TestWalletEvents takes a service away and back.
func TestWalletEvents(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	wallet := w.wallet("main")
	w.watch(wallet, time.Hour)
	w.fault(sandbox.Fault{Kind: sandbox.FaultHTML, Count: -1})
	w.watch(wallet, time.Hour)
	w.sandbox.ClearFaults(0)
	w.watch(wallet, time.Hour)
	if told := w.told(); !maps.Equal(told, map[string]int{"Synced": 2, "ServiceUnavailable": 1}) {
		t.Errorf("a person was told %v, want Synced twice and ServiceUnavailable once", told)
	}
}

// extendedPrivateKey is how one begins in base58 (BIP 32), which a BOLT11 invoice, all in lower case, may spell by chance up to its first
// capital letter.
var extendedPrivateKey = regexp.MustCompile(`[a-z]prv[1-9a-km-z]{0,30}[A-HJ-NP-Z]`)

func TestAnExtendedPrivateKeyIsFound(t *testing.T) {
	for text, want := range map[string]bool{
		// Test vector 1 of BIP 32, its root in either spelling of the network.
		`"xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"`: true,
		`tprv8ZgxMBicQKsPeDgjzdC36fs6bMjGApWDNLR9erAXMs5skhMv36j9MV5ecvfavji5khqjWaWSFhN3YcCUUdiKH6isR4Pwy3U5y5egddBr16m`:   true,
		`"invoice":"lnbcrt50u1p0jzv5j78mrk0ytdqswfhd4ftyn2zj2exkrx2zprvmsmcaauql8ahf6qpfxrvdx","maxFeeSats":3000`:           false,
	} {
		if got := extendedPrivateKey.MatchString(text); got != want {
			t.Errorf("found in %s: %t", text, got)
		}
	}
}

// TestNoSecretIsShown lets much go right and wrong, and looks for what is secret in all that can be read: events, statuses, records and
// the log at the highest level that the manager allows.
func TestNoSecretIsShown(t *testing.T) {
	set, err := keys.FromMnemonic(mnemonic, "", bitcoin.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	faults := []sandbox.FaultKind{"", sandbox.FaultDropAnswer, sandbox.FaultGarble, sandbox.FaultOtherObject, sandbox.FaultRefuse}
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		for _, f := range faults {
			t.Run(string(profile)+" service "+string(f), func(t *testing.T) {
				w := newWorld(t, profile)
				w.makeSecret("token", map[string]string{"token": canaryToken})
				w.makeSecret("mistyped", map[string]string{"mnemonic": mnemonic + " again"})
				wallet := w.wallet("main")
				w.change(wallet, func() {
					wallet.Spec.Endpoint.TokenSecretRef = &v1alpha1.KeyReference{Name: "token", Key: "token"}
				})
				mistyped := again(wallet, w.namespace, "mistyped").(*v1alpha1.Wallet)
				mistyped.Spec.Keys.SecretRef.Name = "mistyped"
				w.create(mistyped)

				var logged strings.Builder
				logger := zap.New(zap.WriteTo(&logged), zap.Level(zapcore.Level(-7)), zap.UseDevMode(true))
				psbts := map[string]bool{}
				w.boundary = func(call string, after bool) error {
					if after && call == "K create Secret" {
						for _, psbt := range w.psbts() {
							psbts[psbt] = true
						}
					}
					return nil
				}
				pass := func(reconciler reconcile.Reconciler, object client.Object) time.Duration {
					result, err := reconciler.Reconcile(log.IntoContext(t.Context(), logger), reconcile.Request{
						NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()},
					})
					if err != nil {
						logger.Error(err, "reconciling failed") // as the queue's worker logs it
						return time.Second
					}
					return result.RequeueAfter
				}
				pass(w.controllers.Wallet, wallet)
				pass(w.controllers.Wallet, mistyped)
				for _, operation := range []sandbox.Operation{
					sandbox.PayBegin, sandbox.PayEnd, sandbox.OnchainBegin, sandbox.OnchainEnd, sandbox.SendRequest, sandbox.CreateInvoice,
				} {
					if f != "" {
						w.fault(sandbox.Fault{Kind: f, Operation: operation})
					}
				}
				pay := made(w, w.payment("rent", w.supplierInvoice(1000)).Obj())
				send := made(w, w.send("payroll", 2000).Obj())
				order := made(w, w.invoice("order").Obj())
				for range 25 {
					after := min(
						orMinute(pass(w.controllers.Payment, pay)), orMinute(pass(w.controllers.Send, send)), orMinute(pass(w.controllers.Invoice, order)),
					)
					w.clock.Step(after)
				}
				w.boundary = nil

				if logged.Len() == 0 || (f == "" && len(psbts) == 0) {
					t.Fatalf("nothing to look through: %d bytes of log, %d PSBTs", logged.Len(), len(psbts))
				}
				shown := map[string]string{
					"events": strings.Join(w.emitted(), "\n"), "what the API server shows": w.everything(), "the log": logged.String(),
				}
				secret := map[string]string{
					"the token": canaryToken, "the mnemonic": mnemonic,
					"a part of the mnemonic": "suspect eight carry", "a PSBT": "cHNidP",
				}
				for psbt := range psbts {
					secret["the middle of "+psbt[:80]] = psbt[80:120]
				}
				for where, text := range shown {
					if key := extendedPrivateKey.FindString(text); key != "" {
						t.Errorf("%s hold an extended private key, which begins with %s", where, key)
					}
					for what, needle := range secret {
						if at := strings.Index(text, needle); at >= 0 {
							t.Errorf("%s hold %s: …%s…", where, what, text[max(0, at-200):min(len(text), at+100)])
						}
					}
					for _, word := range strings.Fields(mnemonic) {
						if holdsWord(text, word) {
							t.Errorf("%s hold the word %q of the mnemonic", where, word)
						}
					}
				}
				// Public keys show every address: they are for the wallet's status and the records, not for logs and events.
				for _, where := range []string{"events", "the log"} {
					if strings.Contains(shown[where], set.Public().XpubVanilla) {
						t.Errorf("%s hold the wallet's extended public key", where)
					}
				}
			})
		}
	}
}

const canaryToken = "canary-0f5e2b7d91"

func orMinute(after time.Duration) time.Duration {
	if after == 0 {
		return time.Minute
	}
	return after
}

// holdsWord reports whether text has the word by itself. Words that the operator's own sentences use are no evidence.
func holdsWord(text, word string) bool {
	if slices.Contains([]string{"live", "text", "capable"}, word) {
		return false
	}
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }) {
		if field == word {
			return true
		}
	}
	return false
}

// psbts are the unsigned PSBTs that the operator keeps now.
func (w *world) psbts() (all []string) {
	w.t.Helper()
	var secrets corev1.SecretList
	if err := w.api.List(w.t.Context(), &secrets, client.InNamespace(w.operator)); err != nil {
		w.t.Fatal(err)
	}
	for _, secret := range secrets.Items {
		for _, value := range secret.Data {
			all = append(all, string(value))
		}
	}
	return all
}

// TestPSBTsGo looks for what is left of the unsigned PSBTs of sends that are over.
func TestPSBTsGo(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run(string(profile), func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			w.fault(sandbox.Fault{Kind: sandbox.FaultRestart, Operation: sandbox.OnchainEnd}) // the first attempt comes to nothing
			send := made(w, w.send("payroll", 20000).Obj())
			w.reach(send, v1alpha1.ReasonInFlight)
			if len(w.psbts()) == 0 {
				t.Fatal("no PSBT is kept of a send in flight")
			}
			w.rest(send)
			w.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
			if left := len(w.psbts()); left != 0 {
				t.Errorf("%d PSBTs are left of a send that is over", left)
			}
		})
	}
}
