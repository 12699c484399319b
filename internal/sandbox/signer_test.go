package sandbox_test

import (
	"testing"
	"time"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/sandbox/sandboxtest"
	"github.com/utexo/utexo-operator/internal/signer"
)

// TestTheOperatorsSignerSignsEveryPSBT takes every kind of PSBT through inspection and the operator's own signer.
func TestTheOperatorsSignerSignsEveryPSBT(t *testing.T) {
	const mnemonic = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
	set, err := keys.FromMnemonic(mnemonic, "", bitcoin.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	local := signer.NewLocal(set)
	public, err := local.Public(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, opts := range profiles {
		for _, keychain := range []uint32{0, 1} {
			opts.Keychain = &keychain
			f := start(t, opts)
			client := sandboxtest.NewWatchOnlyClient(t, f.server, sandboxtest.Identity{
				XpubVanilla: public.XpubVanilla, XpubColored: public.XpubColored, Fingerprint: public.MasterFingerprint,
			}).Register()
			asset := f.server.AssetIDs()[0]
			lightning, _ := f.issue(sandbox.NewInvoice{AmountSats: 5_000})
			colored, _ := f.issue(sandbox.NewInvoice{Asset: &sandbox.Asset{ID: asset, Amount: 3}})
			rgbInvoice, err := f.server.IssueRGBInvoice(asset, 4)
			if err != nil {
				t.Fatal(err)
			}
			steps := map[string]struct {
				begin   func() string
				end     func(string) (int, string)
				outflow amount.Sat
			}{
				"payment":       {func() string { return client.BeginPay(lightning) }, client.EndPay, 5_000},
				"asset payment": {func() string { return client.BeginPay(colored) }, client.EndPay, 0},
				"send":          {func() string { return client.BeginSend(f.addr(), 20_000) }, client.EndSend, 20_000},
				"asset send":    {func() string { return client.BeginSendAsset(rgbInvoice, asset, 4) }, client.EndSend, 1_000},
			}
			for step, do := range steps {
				policy := psbtcheck.DefaultPolicy()
				policy.MaxNetOutflowSats = do.outflow + 3_000
				signed, err := local.Sign(t.Context(), signer.Request{UnsignedPSBT: do.begin(), Policy: policy})
				if err != nil {
					t.Errorf("%s, %s, keychain %d: %v", name, step, keychain, err)
					continue
				}
				if code, body := do.end(signed.PSBT); code != 200 {
					t.Errorf("%s, %s: end answers %d %s", name, step, code, body)
				}
			}
			f.pass(2 * time.Minute)
			valid := 0
			for _, entry := range f.server.Ledger() {
				if entry.PSBT != nil && entry.PSBT.Valid && entry.PSBT.Asked {
					valid++
				} else if entry.PSBT != nil {
					t.Errorf("%s: the ledger objects to a signature: %+v", name, entry.PSBT)
				}
			}
			if valid == 0 {
				t.Errorf("%s: nothing moved", name)
			}
		}
	}
}
