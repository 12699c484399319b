package signer

import (
	"errors"
	"testing"

	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// TestNoIntentLiftsProofs signs for no intent, whatever it declares, what spends colored coins and shows nothing of their assets.
func TestNoIntentLiftsProofs(t *testing.T) {
	signer := local(t, guide, bitcoin.Regtest)
	spending := func(coins ...keys.Path) string {
		return testkit.WithoutTransitions(text(t, transfer(t, deriverOf(t, signer), coins...)))
	}
	colored := spending(path(keys.Colored, 0, 0), path(keys.Vanilla, 1, 3))
	vanilla := spending(path(keys.Vanilla, 0, 0), path(keys.Vanilla, 1, 3))
	asset := &Asset{ID: "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8", Amount: 1}
	for name, tc := range map[string]struct {
		psbt   string
		intent Intent
		// code of the refusal; empty where it is signed.
		code psbtcheck.Code
	}{
		"bitcoin over Lightning":                     {colored, Intent{Kind: LightningPayment}, psbtcheck.AssetNotProven},
		"bitcoin on-chain":                           {colored, Intent{Kind: OnchainSend}, psbtcheck.ColoredInput},
		"bitcoin of no kind":                         {colored, Intent{}, psbtcheck.AssetNotProven},
		"an asset over Lightning":                    {colored, Intent{Kind: LightningPayment, Asset: asset}, psbtcheck.AssetNotProven},
		"an asset on-chain":                          {colored, Intent{Kind: OnchainSend, Asset: asset}, psbtcheck.AssetNotProven},
		"bitcoin over Lightning of no colored coins": {vanilla, Intent{Kind: LightningPayment}, ""},
		"bitcoin on-chain of no colored coins":       {vanilla, Intent{Kind: OnchainSend}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tc.intent.MaxFeeSats = 1_000_000
			signed, err := signer.Sign(t.Context(), Request{UnsignedPSBT: tc.psbt, Policy: tc.intent.Policy(), Intent: tc.intent})
			refusal, refused := errors.AsType[*psbtcheck.Refusal](err)
			switch {
			case tc.code == "" && err != nil:
				t.Error(err)
			case tc.code != "" && (signed != nil || !refused || refusal.Code != tc.code):
				t.Errorf("%v, want %s", err, tc.code)
			}
		})
	}
}
