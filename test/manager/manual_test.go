package manager_test

import (
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// payByHand pays from a wallet whose keys are in no Secret: the manager is woken by what somebody signs.
func (w *world) payByHand() {
	w.t.Helper()
	w.grant("cold")
	passphrase, token := "passphrase-"+rand.String(12), "token-"+rand.String(12)
	canary(passphrase)
	canary(token)
	set, err := keys.FromMnemonic(mnemonic, passphrase, bitcoin.Regtest)
	if err != nil {
		w.t.Fatal(err)
	}
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "cold"}, StringData: map[string]string{"token": token}})
	public := set.Public()
	wallet := testkit.MakeWallet("cold").Namespace(w.namespace).URL(w.service.url).Token("cold", "token").
		WatchOnly(public.XpubVanilla, public.XpubColored, public.MasterFingerprint).Obj()
	wallet.Spec.Signer = &v1alpha1.WalletSigner{Type: v1alpha1.SignerManual}
	w.create(wallet)
	w.awaitReady("cold")

	paid := w.pay("cold", "by-hand", 1004)
	payment := paid.object.(*v1alpha1.LightningPayment)
	await(w.t, "the payment waits for a signature", func() error {
		w.get(payment)
		if payment.Status.Signing == nil {
			return errors.New("nothing is to be signed")
		}
		return because(payment.Status.Conditions, metav1.ConditionUnknown, v1alpha1.ReasonAwaitingSignature)
	})
	request := payment.Status.Signing
	intent := signer.Intent{Kind: signer.LightningPayment, AmountSats: 1004, MaxFeeSats: 1000}
	signed, err := signer.NewLocal(set).Sign(w.t.Context(), signer.Request{UnsignedPSBT: request.PSBT, Policy: intent.Policy(), Intent: intent})
	if err != nil {
		w.t.Fatal(err)
	}
	signature := testkit.MakePaymentSignature(v1alpha1.PaymentReference{Kind: "LightningPayment", Name: payment.Name, UID: string(payment.UID)},
		request.Attempt, signed.PSBT)
	signature.Namespace, signature.Spec.WalletRef.Name = w.namespace, "cold"
	w.createAs("carol", signature)
	w.awaitPaid(paid)
}
