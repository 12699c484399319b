package signerserver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/psbt/v2"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/remotesigner"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// The transfer that rgb-lib wrote spends 1,000 sat of colored coins, of which 612 leave the wallet, and moves 10 units to this seal.
const (
	transferOutflow = 612
	transferSeal    = "fc64208fd08df3e87a9ca291ea58b54a7b9da74e51cb1c51068389d15858cdf4"
)

// transfer is that PSBT, with the wallet that owns it.
type transfer struct {
	PSBT, Mnemonic, Contract string
}

func readTransfer(t *testing.T) (transfer, *keys.Set) {
	t.Helper()
	var file struct{ Cases []transfer }
	text, err := os.ReadFile("../rgb/transition/testdata/rgb-psbts.json")
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	set, err := keys.FromMnemonic(file.Cases[0].Mnemonic, "", bitcoin.Testnet)
	if err != nil {
		t.Fatal(err)
	}
	return file.Cases[0], set
}

// lightning is the payment of an invoice of one sat, and of units of the asset unless they are 0.
func lightning(t *testing.T, asset string, units int64) remotesigner.Intent {
	t.Helper()
	millisats := amount.Sat(1).MilliSat()
	invoice := &bolt11.Invoice{
		Prefix: "tb", Amount: &millisats, PaymentHash: sha256.Sum256([]byte("hash")), PaymentSecret: sha256.Sum256([]byte("secret")),
		Timestamp: noon, Expiry: time.Hour, Description: "rent", MinFinalCLTVExpiry: 144, Features: bolt11.Features{8, 14},
	}
	intent := remotesigner.Intent{
		Kind: signer.LightningPayment, Record: "ln-1", Attempt: 1, PaymentHash: invoice.PaymentHashHex(), Destination: payee(), AmountSats: 1, MaxFeeSats: 1000,
	}
	if units > 0 {
		invoice.Asset = &bolt11.Asset{ID: asset, Amount: uint64(units)}
		intent.Asset = &remotesigner.Asset{ID: asset, Amount: units}
	}
	var err error
	if intent.PaymentRequest, err = bolt11.Encode(invoice, payeeKey()); err != nil {
		t.Fatal(err)
	}
	return intent
}

// sentTo is a send of 10 units of the asset to the seal.
func sentTo(t *testing.T, asset, seal string) remotesigner.Intent {
	t.Helper()
	contract, err := rgb.ParseAssetID(asset)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := hex.DecodeString(seal)
	if err != nil {
		t.Fatal(err)
	}
	units := uint64(10)
	text, err := rgb.FormatInvoice(&rgb.Invoice{
		Contract: &contract, Amount: &units, Network: rgb.Testnet3, Beneficiary: rgb.Beneficiary{Kind: rgb.BlindedSeal, Payload: payload},
	})
	if err != nil {
		t.Fatal(err)
	}
	return remotesigner.Intent{
		Kind: signer.OnchainSend, Record: "oc-1", Attempt: 1, Destination: text, Asset: &remotesigner.Asset{ID: asset, Amount: 10},
		MaxFeeSats: 1000, FeeRate: 2,
	}
}

// TestColoredCoins asks for the signature of a transaction that spends colored coins and gives their assets away, which costs next to no
// satoshis. What an intent says of bitcoin lifts nothing: only the signer's own limits do.
func TestColoredCoins(t *testing.T) {
	v, set := readTransfer(t)
	strict := Limits{MaxPaymentSats: 1, MaxFeeSats: 1000, MaxDailySats: transferOutflow, MaxAssetAmount: 10}
	trusting, tight, bare := strict, strict, strict
	trusting.UnprovedAssets, tight.MaxAssetAmount, bare.MaxAssetAmount = true, 9, 0
	listed := strict
	listed.Nodes, listed.Assets = []string{payee()}, []string{assetID}
	hidden := testkit.WithoutTransitions(v.PSBT)
	half := testkit.RewritePSBT(v.PSBT, func(p *psbt.Packet) { p.Unknowns = nil })
	bitcoinOverLightning, bitcoinOnchain := lightning(t, "", 0), remotesigner.Intent{
		Kind: signer.OnchainSend, Record: "oc-1", Attempt: 1, Destination: "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", AmountSats: 1, MaxFeeSats: 1000, FeeRate: 2,
	}
	for name, tc := range map[string]struct {
		limits Limits
		psbt   string
		intent remotesigner.Intent
		// code of the refusal; empty where it is signed.
		code string
	}{
		"a payment of bitcoin that hides a transfer":                      {strict, hidden, bitcoinOverLightning, "AssetNotProven"},
		"one that hides a part of it":                                     {strict, half, bitcoinOverLightning, "AssetNotProven"},
		"one of an allowed node, where another asset is allowed":          {listed, hidden, bitcoinOverLightning, "AssetNotProven"},
		"one at a signer that signs what is not proved":                   {trusting, hidden, bitcoinOverLightning, ""},
		"a payment of bitcoin that shows a transfer":                      {strict, v.PSBT, bitcoinOverLightning, "AssetLeaves"},
		"one at a signer that signs what is not proved, but this is":      {trusting, v.PSBT, bitcoinOverLightning, "AssetLeaves"},
		"a send of bitcoin that hides a transfer":                         {strict, hidden, bitcoinOnchain, "ColoredInput"},
		"one at a signer that signs what is not proved, to an address":    {trusting, hidden, bitcoinOnchain, "ColoredInput"},
		"a payment of the asset, which is proved":                         {strict, v.PSBT, lightning(t, v.Contract, 10), ""},
		"a payment of more of it than is allowed":                         {tight, v.PSBT, lightning(t, v.Contract, 10), PaymentTooLarge},
		"a payment of a unit of it, where no amount is allowed":           {bare, v.PSBT, lightning(t, v.Contract, 1), PaymentTooLarge},
		"a payment of less of it than would leave the wallet":             {strict, v.PSBT, lightning(t, v.Contract, 9), "AssetWrongAmount"},
		"a payment of the asset that hides the transfer":                  {strict, hidden, lightning(t, v.Contract, 10), "AssetNotProven"},
		"a payment of the asset, where what is not proved is signed":      {trusting, hidden, lightning(t, v.Contract, 10), ""},
		"a payment of an asset that is not allowed":                       {listed, v.PSBT, lightning(t, v.Contract, 10), AssetNotAllowed},
		"a send of the asset, which is proved":                            {strict, v.PSBT, sentTo(t, v.Contract, transferSeal), ""},
		"a send of more of it than is allowed":                            {tight, v.PSBT, sentTo(t, v.Contract, transferSeal), PaymentTooLarge},
		"a send of the asset to somebody else":                            {trusting, v.PSBT, sentTo(t, v.Contract, strings.Repeat("07", 32)), "AssetLeaves"},
		"a send of the asset that hides the transfer":                     {strict, hidden, sentTo(t, v.Contract, transferSeal), "AssetNotProven"},
		"a send of another asset, where what is not proved may be signed": {trusting, v.PSBT, sentTo(t, assetID, transferSeal), "AssetLeaves"},
	} {
		t.Run(name, func(t *testing.T) {
			journal, err := OpenJournal(filepath.Join(t.TempDir(), "journal"), set.Public(), noon)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closed(t, journal) })
			s, err := New(Config{
				Keys: set, Limits: tc.limits, Journal: journal, Clock: clocktesting.NewFakePassiveClock(noon), Log: slog.New(slog.NewJSONHandler(io.Discard, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			public := set.Public()
			signed, err := s.Sign(t.Context(), &remotesigner.Request{
				Version: 1, Network: public.Network, UnsignedPSBT: tc.psbt, Intent: tc.intent,
				Wallet: remotesigner.Wallet{MasterFingerprint: public.MasterFingerprint, XpubVanilla: public.XpubVanilla},
			})
			spent := journal.SpentSats(noon)
			if tc.code == "" {
				if err != nil || signed.Inspection.NetOutflowSats != transferOutflow || spent != transferOutflow {
					t.Errorf("%v, and %d sat are counted", err, spent)
				}
				return
			}
			refused := new(signer.RefusedError)
			if signed != nil || !errors.As(err, &refused) || refused.Code != tc.code || spent != 0 {
				t.Fatalf("%v, want %s; %d sat are counted", err, tc.code, spent)
			}
			if named := strings.Contains(refused.Message, "--allow-unproved-assets"); named != (tc.code == "AssetNotProven") {
				t.Errorf("the flag that would lift it is named: %t: %s", named, refused.Message)
			}
		})
	}
}
