package signer

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
)

type vectorCase struct {
	Name         string          `json:"name"`
	Network      bitcoin.Network `json:"network"`
	Mnemonic     string          `json:"mnemonic"`
	UnsignedPSBT string          `json:"unsigned_psbt"`
	SignedPSBT   string          `json:"signed_psbt"`
	Expect       string          `json:"expect"`
	Layer        psbtcheck.Layer `json:"layer"`
	Inspection   *struct {
		Txid       string     `json:"txid"`
		NetOutflow amount.Sat `json:"net_outflow_sats"`
	} `json:"inspection"`
}

type vectorFile struct {
	Policy struct {
		MaxAddressIndex uint32             `json:"max_address_index"`
		MaxFeeRate      amount.SatPerVByte `json:"max_fee_rate_sat_per_vb"`
		MaxFeeSats      amount.Sat         `json:"max_fee_sats"`
	} `json:"policy"`
	Intent struct {
		PayTo      string     `json:"pay_to"`
		AmountSats amount.Sat `json:"amount_sats"`
	} `json:"intent_of_the_base_case"`
	Cases []vectorCase `json:"cases"`
}

// vectors returns the cases of package psbtcheck, the one that creates coins among them.
func vectors(t testing.TB) vectorFile {
	t.Helper()
	var file vectorFile
	var create vectorCase
	for name, into := range map[string]any{"psbt-cases.json": &file, "psbt-create-utxos.json": &create} {
		raw, err := os.ReadFile("../psbtcheck/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	if len(file.Cases) == 0 {
		t.Fatal("no cases")
	}
	create.Name, create.Expect = "create-utxos", "sign"
	file.Cases = append(file.Cases, create)
	return file
}

// policy is the one that the vectors name, with a limit on the outflow that only the base case's intent sets.
func (f vectorFile) policy(c vectorCase) psbtcheck.Policy {
	p := psbtcheck.DefaultPolicy()
	p.MaxFeeSats, p.MaxFeeRate, p.MaxAddressIndex = f.Policy.MaxFeeSats, f.Policy.MaxFeeRate, f.Policy.MaxAddressIndex
	p.MaxNetOutflowSats = amount.MaxSat
	if c.Name != "vanilla-two-recipients" && c.Name != "create-utxos" { // every other case is made from the base case
		p.Intent = &psbtcheck.Intent{Address: f.Intent.PayTo, AmountSats: f.Intent.AmountSats}
	}
	return p
}

func local(t testing.TB, mnemonic string, network bitcoin.Network) *Local {
	t.Helper()
	set, err := keys.FromMnemonic(mnemonic, "", network)
	if err != nil {
		t.Fatal(err)
	}
	return NewLocal(set)
}

func TestVectors(t *testing.T) {
	file := vectors(t)
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			signer := local(t, c.Mnemonic, c.Network)
			request := Request{UnsignedPSBT: c.UnsignedPSBT, Policy: file.policy(c)}
			signed, err := signer.Sign(t.Context(), request)
			var refusal *psbtcheck.Refusal
			if err != nil && !errors.As(err, &refusal) {
				t.Fatalf("%v is no *Refusal", err)
			}
			switch c.Expect {
			case "sign":
				if err != nil {
					t.Fatal(err)
				}
				if signed.PSBT != c.SignedPSBT {
					t.Errorf("signed PSBT\n%s\nwant\n%s", signed.PSBT, c.SignedPSBT)
				}
				if signed.Txid != c.Inspection.Txid || signed.Inspection.NetOutflowSats != c.Inspection.NetOutflow {
					t.Errorf("txid %s, outflow %d sat; want %s, %d", signed.Txid, signed.Inspection.NetOutflowSats, c.Inspection.Txid, c.Inspection.NetOutflow)
				}
				tx, err := Extract(signed.PSBT)
				if err != nil {
					t.Fatal(err)
				}
				if tx.TxHash().String() != c.Inspection.Txid {
					t.Errorf("extracted %s", tx.TxHash())
				}
				owner, err := signer.Public(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := Accept(t.Context(), owner, request, c.SignedPSBT); err != nil {
					t.Errorf("the vector's signed PSBT is not accepted: %v", err)
				}
			case "refuse":
				if refusal == nil || refusal.Layer != c.Layer || signed != nil {
					t.Errorf("%v, want a refusal of layer %s", err, c.Layer)
				}
			case "either":
				if refusal == nil || refusal.Code != psbtcheck.UnusualSighash || signed != nil {
					t.Errorf("%v, want %s", err, psbtcheck.UnusualSighash)
				}
			default:
				t.Fatalf("unknown expectation %q", c.Expect)
			}
		})
	}
}

func TestSignStopsWithItsContext(t *testing.T) {
	file := vectors(t)
	c := file.Cases[0]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	signed, err := local(t, c.Mnemonic, c.Network).Sign(ctx, Request{UnsignedPSBT: c.UnsignedPSBT, Policy: file.policy(c)})
	if signed != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}
