package simulation

import (
	"context"
	"fmt"
	"regexp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// signature is what a person gave.
type signature struct {
	key     objectKey
	uid     string
	attempt int32
	// txid is the transaction that it signs; empty where it signs none.
	txid string
}

// signByHand takes the keys of wallet out of the cluster.
func (s *sim) signByHand(wallet *v1alpha1.Wallet, private accountKeys, name string) {
	set := s.keysOf(private, name)
	public := set.Public()
	wallet.Spec.Keys = v1alpha1.WalletKeys{WatchOnly: &v1alpha1.WatchOnlyKeys{
		XpubVanilla: public.XpubVanilla, XpubColored: public.XpubColored, MasterFingerprint: public.MasterFingerprint,
	}}
	window := metav1.Duration{Duration: time.Duration(1+s.extra.IntN(15)) * time.Minute}
	wallet.Spec.Signer = &v1alpha1.WalletSigner{Type: v1alpha1.SignerManual, Manual: &v1alpha1.ManualSigner{Window: &window}, AssetPolicy: v1alpha1.AssetPolicyWarn}
}

func (s *sim) keysOf(private accountKeys, name string) *keys.Set {
	set, err := keys.FromAccountKeys(private.vanilla, private.colored, "0102030"+name[len(name)-1:], bitcoin.Regtest)
	if err != nil {
		panic(err)
	}
	return set
}

// requestOf is what o asks people to sign and nobody did.
func (s *sim) requestOf(o *object) *v1alpha1.SigningRequest {
	if !s.byHand || o.order == nil {
		return nil
	}
	var request *v1alpha1.SigningRequest
	found := s.api.current(o.key)
	switch payment := found.(type) {
	case *v1alpha1.LightningPayment:
		request = payment.Status.Signing
	case *v1alpha1.OnchainSend:
		request = payment.Status.Signing
	}
	if request == nil || found.GetDeletionTimestamp() != nil || s.clock.Now().After(request.ExpiresAt.Time) {
		return nil
	}
	for _, g := range s.given {
		if g.txid == request.Txid && g.uid == string(found.GetUID()) && g.attempt == request.Attempt && s.api.current(g.key) != nil {
			return nil
		}
	}
	return request
}

// offerSigning adds what people can do who sign.
func (s *sim) offerSigning(consider func(time.Time, int, func())) {
	for _, o := range s.objects {
		request := s.requestOf(o)
		if request == nil {
			continue
		}
		if o.signing != request.Attempt {
			o.signing, o.signAt = request.Attempt, s.clock.Now().Add(time.Duration(1+s.extra.IntN(60))*time.Second)
			if s.chaotic && s.extra.IntN(5) == 0 {
				o.signAt = s.clock.Now().Add(time.Duration(s.extra.IntN(1200)) * time.Second)
			}
		}
		consider(o.signAt, 10, func() { s.sign(o, request) })
	}
	if s.byHand && s.chaotic && len(s.given) > 0 {
		consider(s.clock.Now(), 1, func() {
			g := s.given[s.extra.IntN(len(s.given))]
			if s.api.current(g.key) != nil {
				s.note("%s is deleted", g.key)
				_ = s.api.remove(g.key)
			}
		})
	}
}

// sign lets a person sign what is shown. As long as things go wrong some sign twice, for another attempt, or give what is not signed.
func (s *sim) sign(o *object, request *v1alpha1.SigningRequest) {
	o.signAt = s.clock.Now().Add(time.Duration(1+s.extra.IntN(120)) * time.Second)
	found := s.api.current(o.key)
	reference := v1alpha1.PaymentReference{Kind: o.key.kind, Name: o.key.name, UID: string(found.GetUID())}
	times, attempt, psbt, txid := 1, request.Attempt, "", request.Txid
	if s.chaotic {
		switch s.extra.IntN(8) {
		case 0:
			times = 2
		case 1:
			attempt += 1 - 2*int32(s.extra.IntN(2))
		case 2:
			psbt, txid = request.PSBT, ""
		}
	}
	if psbt == "" {
		policy := psbtcheck.DefaultPolicy()
		policy.MaxNetOutflowSats, policy.MaxFeeSats, policy.Assets = 1_000_000, 1_000_000, nil
		made, err := signer.NewLocal(s.keysOf(walletKeys[o.wallet[len(o.wallet)-1]-'0'], o.wallet)).Sign(context.Background(),
			signer.Request{UnsignedPSBT: request.PSBT, Policy: policy})
		if err != nil {
			s.fail("signed", "%s cannot be signed: %v", o.key, err)
			return
		}
		psbt = made.PSBT
	}
	for range times {
		made := testkit.MakePaymentSignature(reference, attempt, psbt)
		made.Namespace, made.Name, made.Spec.WalletRef.Name = team, fmt.Sprintf("signature-%d", len(s.given)), o.wallet
		s.given = append(s.given, &signature{key: keyOf(made), uid: reference.UID, attempt: attempt, txid: txid})
		s.note("somebody signs for attempt %d of %s transaction %q", attempt, o.key, txid)
		s.mustCreate(made)
	}
}

// signedFor checks, at the write-ahead of the first end of an attempt, that somebody signed what is submitted and had not taken it back.
func (s *sim) signedFor(t *task, payment client.Object, before *v1alpha1.PaymentJournal) {
	if !s.byHand || before.Phase == v1alpha1.RecordSubmitting || t.object.order == nil {
		return
	}
	for _, g := range s.given {
		if g.txid == before.Txid && g.uid == string(payment.GetUID()) && g.attempt == before.Attempt && s.api.at(g.key, t.signaturesAt) != nil {
			return
		}
	}
	s.fail("signed", "%s submits attempt %d, which nobody signed", t.name, before.Attempt)
}

// shownPSBT is what a status asks people to sign.
var shownPSBT = regexp.MustCompile(`"psbt":"[^"]*"`)

// withoutRequest is the text of a status without what it asks people to sign, which is for all to see.
func (s *sim) withoutRequest(text string) string {
	if !s.byHand {
		return text
	}
	return shownPSBT.ReplaceAllString(text, "")
}
