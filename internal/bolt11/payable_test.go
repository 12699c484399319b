package bolt11

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
)

func TestCheckPayable(t *testing.T) {
	sats := func(n amount.Sat) *amount.Sat { return &n }
	plain := func(*Invoice) {}
	withAsset := func(i *Invoice) { i.Asset = &Asset{ID: assetID, Amount: 10} }
	soon := issued.Add(time.Minute)
	for name, tc := range map[string]struct {
		invoice     func(*Invoice)
		terms       Terms
		wantReason  Reason
		wantMention []string
	}{
		"no amount declared":            {invoice: plain, terms: Terms{}},
		"the declared amount":           {invoice: plain, terms: Terms{AmountSats: sats(3000)}},
		"the declared asset":            {invoice: withAsset, terms: Terms{Asset: &Asset{ID: assetID, Amount: 10}}},
		"the declared asset and amount": {invoice: withAsset, terms: Terms{Asset: &Asset{ID: assetID, Amount: 10}, AmountSats: sats(3000)}},
		"an asset, nothing declared":    {invoice: withAsset, terms: Terms{}},
		"a mainnet wallet": {
			invoice: plain, terms: Terms{Network: bitcoin.Mainnet},
			wantReason: WrongNetwork, wantMention: []string{"lnbcrt", "mainnet", "lnbc)"},
		},
		"a testnet invoice, signet wallet": {
			invoice: func(i *Invoice) { i.Prefix = "tb" }, terms: Terms{Network: bitcoin.Signet},
			wantReason: WrongNetwork, wantMention: []string{"lntb ", "lntbs"},
		},
		"a simnet invoice": {invoice: func(i *Invoice) { i.Prefix = "sb" }, wantReason: WrongNetwork, wantMention: []string{"lnsb"}},
		"expired": {
			invoice: plain, terms: Terms{Now: issued.Add(time.Hour)},
			wantReason: Expired, wantMention: []string{"2026-01-01T01:00:00Z", "new one"},
		},
		"within the margin": {
			invoice: plain, terms: Terms{Now: issued.Add(59 * time.Minute), Margin: time.Minute},
			wantReason: Expired, wantMention: []string{"2026-01-01T01:00:00Z", "1m0s"},
		},
		"just before the margin": {invoice: plain, terms: Terms{Now: issued.Add(59*time.Minute - time.Second), Margin: time.Minute}},
		"no amount": {
			invoice: func(i *Invoice) { i.Amount = nil }, terms: Terms{AmountSats: sats(3000)},
			wantReason: NoAmount, wantMention: []string{"names it"},
		},
		"an asset without sat": {invoice: func(i *Invoice) { withAsset(i); i.Amount = nil }, wantReason: NoAmount},
		"a fraction of a satoshi": {
			invoice: func(i *Invoice) { i.Amount = new(amount.MilliSat(3_000_001)) }, terms: Terms{AmountSats: sats(3000)},
			wantReason: SubSatoshi, wantMention: []string{"3000001 msat"},
		},
		"a satoshi more": {
			invoice: plain, terms: Terms{AmountSats: sats(2999)},
			wantReason: AmountMismatch, wantMention: []string{"3000 sat", "2999 sat", "amountSats"},
		},
		"a satoshi less":  {invoice: plain, terms: Terms{AmountSats: sats(3001)}, wantReason: AmountMismatch},
		"an amount of 0":  {invoice: plain, terms: Terms{AmountSats: sats(0)}, wantReason: AmountMismatch},
		"its msat as sat": {invoice: plain, terms: Terms{AmountSats: sats(3_000_000)}, wantReason: AmountMismatch},
		"an asset, sat declared": {
			invoice: withAsset, terms: Terms{AmountSats: sats(3000)},
			wantReason: AssetMismatch, wantMention: []string{"10 units", assetID, "declare asset"},
		},
		"bitcoin, an asset declared": {
			invoice: plain, terms: Terms{Asset: &Asset{ID: assetID, Amount: 10}},
			wantReason: AssetMismatch, wantMention: []string{assetID, "amountSats"},
		},
		"another asset": {
			invoice: withAsset, terms: Terms{Asset: &Asset{ID: otherAssetID, Amount: 10}},
			wantReason: AssetMismatch, wantMention: []string{assetID, otherAssetID},
		},
		"another asset amount": {
			invoice: withAsset, terms: Terms{Asset: &Asset{ID: assetID, Amount: 11}},
			wantReason: AssetMismatch, wantMention: []string{"10 units", "11 units"},
		},
		"the declared asset, other sat": {
			invoice: withAsset, terms: Terms{Asset: &Asset{ID: assetID, Amount: 10}, AmountSats: sats(1)},
			wantReason: AmountMismatch,
		},
		"an asset id that is not canonical, as declared": {
			invoice:    func(i *Invoice) { i.Asset = &Asset{ID: strings.ReplaceAll(assetID, "-", ""), Amount: 10} },
			terms:      Terms{Asset: &Asset{ID: strings.ReplaceAll(assetID, "-", ""), Amount: 10}},
			wantReason: BadAsset, wantMention: []string{"canonical"},
		},
		"a very long asset id": {invoice: func(i *Invoice) { i.Asset = &Asset{ID: strings.Repeat("x", 639), Amount: 10} }, wantReason: BadAsset},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.terms.Network == "" {
				tc.terms.Network = bitcoin.Regtest
			}
			if tc.terms.Now.IsZero() {
				tc.terms.Now = soon
			}
			err := makeInvoice(tc.invoice).CheckPayable(tc.terms)
			if tc.wantReason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok || refusal.Reason != tc.wantReason {
				t.Fatalf("got %v, want reason %s", err, tc.wantReason)
			}
			if len(refusal.Message) > 512 {
				t.Errorf("message of %d bytes", len(refusal.Message))
			}
			for _, mention := range tc.wantMention {
				if !strings.Contains(refusal.Message, mention) {
					t.Errorf("message %q does not mention %q", refusal.Message, mention)
				}
			}
		})
	}
}

// An unset network must not match an invoice by accident.
func TestCheckPayableWithoutANetwork(t *testing.T) {
	err := makeInvoice().CheckPayable(Terms{Now: issued})
	if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Reason != WrongNetwork {
		t.Errorf("got %v", err)
	}
}

func TestAmountSats(t *testing.T) {
	for name, tc := range map[string]struct {
		amount   *amount.MilliSat
		want     amount.Sat
		wantHas  bool
		wantFail error
	}{
		"none":           {},
		"whole":          {amount: new(amount.MilliSat(3_000_000)), want: 3000, wantHas: true},
		"a fraction":     {amount: new(amount.MilliSat(1)), wantHas: true, wantFail: amount.ErrSubSatoshi},
		"all there ever": {amount: new(amount.MaxSat.MilliSat()), want: amount.MaxSat, wantHas: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, has, err := (&Invoice{Amount: tc.amount}).AmountSats()
			if got != tc.want || has != tc.wantHas || !errors.Is(err, tc.wantFail) {
				t.Errorf("got %d, %t, %v", got, has, err)
			}
		})
	}
}
