package psbtcheck

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
)

type vectorInput struct {
	Index             int    `json:"index"`
	ValueSats         int64  `json:"value_sats"`
	Script            string `json:"script"`
	Class             string `json:"class"`
	Address           string `json:"address"`
	Owned             string `json:"owned"`
	Path              string `json:"path"`
	DerivationClaimed bool   `json:"derivation_claimed"`
}

type vectorInspection struct {
	Txid               string        `json:"txid"`
	Inputs             []vectorInput `json:"inputs"`
	Outputs            []vectorInput `json:"outputs"`
	OwnedIn            int64         `json:"owned_in_sats"`
	OwnedInVanilla     int64         `json:"owned_in_vanilla_sats"`
	OwnedInColored     int64         `json:"owned_in_colored_sats"`
	SelfOut            int64         `json:"self_out_sats"`
	SelfOutVanilla     int64         `json:"self_out_vanilla_sats"`
	SelfOutColored     int64         `json:"self_out_colored_sats"`
	ExternalOut        int64         `json:"external_out_sats"`
	OpReturn           int64         `json:"op_return_sats"`
	Fee                int64         `json:"fee_sats"`
	NetOutflow         int64         `json:"net_outflow_sats"`
	SignedWeight       int64         `json:"signed_weight_wu"`
	SignedVSize        int64         `json:"signed_vsize_vb"`
	FeeRate            string        `json:"fee_rate_sat_per_vb"`
	NetOutflowMinusFee int64         `json:"net_outflow_minus_fee_sats"`
}

type vectorCase struct {
	Name         string            `json:"name"`
	Network      bitcoin.Network   `json:"network"`
	Mnemonic     string            `json:"mnemonic"`
	UnsignedPSBT string            `json:"unsigned_psbt"`
	SignedPSBT   string            `json:"signed_psbt"`
	Expect       string            `json:"expect"`
	Layer        Layer             `json:"layer"`
	Inspection   *vectorInspection `json:"inspection"`
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

func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

func readCases(t testing.TB) vectorFile {
	t.Helper()
	var file vectorFile
	readJSON(t, "psbt-cases.json", &file)
	if len(file.Cases) == 0 {
		t.Fatal("no cases in psbt-cases.json")
	}
	return file
}

func readCreateUTXOs(t testing.TB) vectorCase {
	t.Helper()
	var c vectorCase
	readJSON(t, "psbt-create-utxos.json", &c)
	return c
}

func owner(t testing.TB, mnemonic string, network bitcoin.Network) keys.Public {
	t.Helper()
	set, err := keys.FromMnemonic(mnemonic, "", network)
	if err != nil {
		t.Fatal(err)
	}
	return set.Public()
}

// figures writes i as the vectors do.
func figures(i *Inspection) vectorInspection {
	v := vectorInspection{
		Txid:    i.Txid,
		OwnedIn: int64(i.OwnInputs.Vanilla + i.OwnInputs.Colored), OwnedInVanilla: int64(i.OwnInputs.Vanilla), OwnedInColored: int64(i.OwnInputs.Colored),
		SelfOut: int64(i.TotalToSelf), SelfOutVanilla: int64(i.ToSelf.Vanilla), SelfOutColored: int64(i.ToSelf.Colored),
		ExternalOut: int64(i.ExternalSats), OpReturn: int64(i.OpReturnSats), Fee: int64(i.FeeSats), NetOutflow: int64(i.NetOutflowSats),
		SignedWeight: i.Weight, SignedVSize: i.VSize, FeeRate: i.FeeRateDecimal(), NetOutflowMinusFee: int64(i.NetOutflowSats - i.FeeSats),
	}
	for n, in := range i.Inputs {
		v.Inputs = append(v.Inputs, vectorInput{
			Index: n, ValueSats: int64(in.ValueSats), Script: hex.EncodeToString(in.Script), Class: in.Class, Address: in.Address,
			Owned: string(in.Path.Account), Path: in.Path.String(), DerivationClaimed: true, // or it would have been refused
		})
	}
	for n, out := range i.Outputs {
		o := vectorInput{
			Index: n, ValueSats: int64(out.ValueSats), Script: hex.EncodeToString(out.Script), Class: out.Class, Address: out.Address,
			DerivationClaimed: out.DerivationClaimed,
		}
		if out.Kind == Own {
			o.Owned, o.Path = string(out.Path.Account), out.Path.String()
		}
		v.Outputs = append(v.Outputs, o)
	}
	return v
}

func TestCases(t *testing.T) {
	file := readCases(t)
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			inspection, err := Inspect(c.UnsignedPSBT, owner(t, c.Mnemonic, c.Network))
			switch {
			case err == nil && c.Inspection == nil:
				t.Fatal("it is inspected; it should be refused before")
			case err == nil:
				if diff := cmp.Diff(*c.Inspection, figures(inspection)); diff != "" {
					t.Errorf("inspection (-want +got):\n%s", diff)
				}
				policy := Policy{
					MaxNetOutflowSats: amount.MaxSat, MaxFeeSats: file.Policy.MaxFeeSats, MaxFeeRate: file.Policy.MaxFeeRate,
					MaxAddressIndex: file.Policy.MaxAddressIndex,
				}
				if c.Name != "vanilla-two-recipients" { // every other case is made from the base case
					policy.Intent = &Intent{Address: file.Intent.PayTo, AmountSats: file.Intent.AmountSats}
				}
				err = inspection.Check(policy)
			case c.Inspection != nil:
				t.Fatalf("it should be inspected: %v", err)
			}
			var refusal *Refusal
			if err != nil && !errors.As(err, &refusal) {
				t.Fatalf("%v is no *Refusal", err)
			}
			switch c.Expect {
			case "sign":
				if err != nil {
					t.Errorf("refused: %v", err)
				}
			case "refuse":
				if refusal == nil || refusal.Layer != c.Layer {
					t.Errorf("%v, want a refusal of layer %s", err, c.Layer)
				}
			case "either": // signing with another hash type would be safe; we sign one only
				if refusal == nil || refusal.Code != UnusualSighash {
					t.Errorf("%v, want %s", err, UnusualSighash)
				}
			default:
				t.Fatalf("unknown expectation %q", c.Expect)
			}
			if refusal != nil {
				t.Log(refusal)
			}
		})
	}
}

func TestCreateUTXOs(t *testing.T) {
	c := readCreateUTXOs(t)
	inspection, err := Inspect(c.UnsignedPSBT, owner(t, c.Mnemonic, c.Network))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*c.Inspection, figures(inspection)); diff != "" {
		t.Errorf("inspection (-want +got):\n%s", diff)
	}
	policy := DefaultPolicy()
	policy.MaxNetOutflowSats = inspection.FeeSats
	policy.VanillaOnly = true
	policy.Intent = &Intent{} // nobody else is paid
	if err := inspection.Check(policy); err != nil {
		t.Error(err)
	}
}

func TestSignedVectorsParse(t *testing.T) {
	for _, c := range append(readCases(t).Cases, readCreateUTXOs(t)) {
		if c.SignedPSBT == "" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			signed, err := ParseSigned(c.SignedPSBT)
			if err != nil {
				t.Fatal(err)
			}
			if signed.Txid() != c.Inspection.Txid {
				t.Errorf("txid %s, want %s", signed.Txid(), c.Inspection.Txid)
			}
			var refusal *Refusal
			if _, err := ParseSigned(c.UnsignedPSBT); !errors.As(err, &refusal) || refusal.Code != NotSigned {
				t.Errorf("the unsigned one as signed: %v, want %s", err, NotSigned)
			}
			if _, err := Parse(c.SignedPSBT); !errors.As(err, &refusal) || refusal.Code != AlreadySigned {
				t.Errorf("the signed one as unsigned: %v, want %s", err, AlreadySigned)
			}
		})
	}
}
