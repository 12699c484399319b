package signer

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/rgb"
)

// TestSignAssets signs a transfer of 10 units that rgb-lib wrote, byte for byte as the official SDK does, where 10 were asked for, and
// nothing where 11 were.
func TestSignAssets(t *testing.T) {
	raw, err := os.ReadFile("../rgb/transition/testdata/rgb-psbts.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct{ PSBT, Signed, Mnemonic, Contract string }
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	vector := file.Cases[0]
	set, err := keys.FromMnemonic(vector.Mnemonic, "", bitcoin.Testnet)
	if err != nil {
		t.Fatal(err)
	}
	seal, err := hex.DecodeString("fc64208fd08df3e87a9ca291ea58b54a7b9da74e51cb1c51068389d15858cdf4")
	if err != nil {
		t.Fatal(err)
	}
	transfer := &psbtcheck.AssetTransfer{
		AssetID: vector.Contract, Amount: 10, Payee: &rgb.Beneficiary{Kind: rgb.BlindedSeal, Payload: seal},
	}
	policy := psbtcheck.DefaultPolicy()
	policy.MaxNetOutflowSats, policy.Assets = 612, &psbtcheck.AssetRule{Transfer: transfer}
	request := Request{UnsignedPSBT: vector.PSBT, Policy: policy}
	signed, err := NewLocal(set).Sign(t.Context(), request)
	if err != nil || signed.PSBT != vector.Signed {
		t.Fatalf("signed as %+v, %v, want %s", signed, err, vector.Signed)
	}
	transfer.Amount = 11
	for name, sign := range map[string]func() (*Signed, error){
		"own keys":         func() (*Signed, error) { return NewLocal(set).Sign(t.Context(), request) },
		"another signer's": func() (*Signed, error) { return Accept(t.Context(), set.Public(), request, vector.Signed) },
	} {
		_, err := sign()
		if refusal, ok := errors.AsType[*psbtcheck.Refusal](err); !ok || refusal.Code != psbtcheck.AssetWrongAmount {
			t.Errorf("%s: %v, want %s", name, err, psbtcheck.AssetWrongAmount)
		}
	}
}
