package sandbox_test

import (
	"errors"
	"testing"

	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/rgb/transition"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// TestAssetTransfersShowThemselves reads what the PSBTs of asset transfers show, and how they lie.
func TestAssetTransfersShowThemselves(t *testing.T) {
	cases := map[string]struct {
		claim string
		// reason is why nothing is proved; where that is empty the payee's seal gets paid units of the asset, with the change at a kind of seal.
		reason transition.Reason
		paid   uint64
		change transition.SealKind
	}{
		"as ordered":                   {paid: 7, change: transition.Witness},
		"another amount":               {claim: sandbox.ClaimOtherAmount, paid: 8, change: transition.Witness},
		"another seal":                 {claim: sandbox.ClaimOtherSeal, change: transition.Witness},
		"another asset":                {claim: sandbox.ClaimOtherAsset, change: transition.Witness},
		"an earlier output for change": {claim: sandbox.ClaimEarlierChange, paid: 7, change: transition.Outpoint},
		"a hidden contract":            {claim: sandbox.ClaimHiddenContract, reason: transition.Hidden},
		"another commitment":           {claim: sandbox.ClaimOtherCommitment, reason: transition.Contradiction},
		"no transition":                {claim: sandbox.ClaimNoTransition, reason: transition.NotShown},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := start(t, sandbox.Options{Assets: []sandbox.AssetOptions{{Ticker: "USDT", Onchain: 1000, Offchain: 1000}}})
			if tc.claim != "" {
				f.fault(sandbox.Fault{Kind: sandbox.FaultAssetLie, Claim: tc.claim, Operation: sandbox.OnchainBegin})
			}
			asset := f.server.AssetIDs()[0]
			text, err := f.server.IssueRGBInvoice(asset, 7)
			if err != nil {
				t.Fatal(err)
			}
			invoice, err := rgb.ParseInvoice(text)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := psbtcheck.Parse(f.client.BeginSendAsset(text, asset, 7))
			if err != nil {
				t.Fatal(err)
			}
			proof, err := transition.Read(parsed.Packet())
			if refused, ok := errors.AsType[*transition.Error](err); ok || tc.reason != "" {
				if refused == nil || refused.Reason != tc.reason {
					t.Errorf("%v, want %q", err, tc.reason)
				}
				return
			}
			if len(proof.Transitions) != 1 || len(proof.Transitions[0].Assignments) != 2 {
				t.Fatalf("transitions %+v", proof.Transitions)
			}
			shown := proof.Transitions[0]
			change, paid := shown.Assignments[0], shown.Assignments[1]
			if toPayee := string(paid.Seal.Hash[:]) == string(invoice.Beneficiary.Payload); toPayee && shown.Contract.String() == asset {
				if paid.Amount != tc.paid {
					t.Errorf("the payee gets %d units, want %d", paid.Amount, tc.paid)
				}
			} else if tc.paid != 0 {
				t.Errorf("the payee gets nothing, want %d units", tc.paid)
			}
			if change.Amount != 1000-7 || change.Seal.Kind != tc.change {
				t.Errorf("the rest is %d units at a seal of kind %d", change.Amount, change.Seal.Kind)
			}
		})
	}
	t.Run("the whole balance leaves no rest", func(t *testing.T) {
		f := start(t, sandbox.Options{Assets: []sandbox.AssetOptions{{Ticker: "USDT", Onchain: 7, Offchain: 1}}})
		asset := f.server.AssetIDs()[0]
		text, err := f.server.IssueRGBInvoice(asset, 7)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := psbtcheck.Parse(f.client.BeginSendAsset(text, asset, 7))
		if err != nil {
			t.Fatal(err)
		}
		proof, err := transition.Read(parsed.Packet())
		if err != nil || len(proof.Transitions[0].Assignments) != 1 {
			t.Errorf("got %+v, %v, want one assignment", proof, err)
		}
	})
	t.Run("a lie of no kind", func(t *testing.T) {
		f := start(t, sandbox.Options{})
		if _, err := f.server.AddFault(sandbox.Fault{Kind: sandbox.FaultAssetLie, Claim: sandbox.ClaimFailed}); err == nil {
			t.Error("taken")
		}
	})
}
