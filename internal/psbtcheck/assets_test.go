package psbtcheck

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/rgb/transition"
)

const (
	sentAsset  = "rgb:3UbEk7fj-P2g4skh-0WnPOp_-X57e_h4-WpM9KXj-mN3nyYk"
	otherAsset = "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8"
)

// readSend returns the PSBT of an RGB transfer that rgb-lib wrote: 10 units go to a blinded seal, 990 come back to output 1.
func readSend(t testing.TB) (text string, public keys.Public) {
	t.Helper()
	raw, err := os.ReadFile("../rgb/transition/testdata/rgb-psbts.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct{ PSBT, Mnemonic string }
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	return file.Cases[0].PSBT, owner(t, file.Cases[0].Mnemonic, bitcoin.Testnet)
}

func sealOf(t testing.TB, digits string) rgb.Beneficiary {
	t.Helper()
	payload, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return rgb.Beneficiary{Kind: rgb.BlindedSeal, Payload: payload}
}

const payeeSeal = "fc64208fd08df3e87a9ca291ea58b54a7b9da74e51cb1c51068389d15858cdf4"

func TestInspectAssets(t *testing.T) {
	text, public := readSend(t)
	inspection, err := Inspect(text, public)
	if err != nil {
		t.Fatal(err)
	}
	want := Assets{
		Moves: []AssetMove{
			{AssetID: sentAsset, Kind: transition.Fungible, Type: 4000, Amount: 990, To: OwnOutput, Output: 1},
			{AssetID: sentAsset, Kind: transition.Fungible, Type: 4000, Amount: 10, To: BlindedSeal, Seal: [32]byte(sealOf(t, payeeSeal).Payload)},
		},
		Outflows: []AssetOutflow{{sentAsset, 10}},
	}
	want.Moves[0].Seal = inspection.Assets.Moves[0].Seal // the hash of a seal in plain view
	if diff := cmp.Diff(want, inspection.Assets); diff != "" {
		t.Errorf("assets (-want +got):\n%s", diff)
	}
}

// sendDraft is that PSBT with its transitions written anew.
type sendDraft struct {
	t           testing.TB
	packet      *psbt.Packet
	transitions []*transition.Transition
	deriver     *keys.Deriver
}

func (d *sendDraft) own(account keys.Account) []byte {
	child, err := d.deriver.Child(keys.Path{Network: bitcoin.Testnet, Account: account, Index: 9})
	if err != nil {
		d.t.Fatal(err)
	}
	return child.Script()
}

// pay adds an output and returns the seal on it.
func (d *sendDraft) pay(script []byte) transition.Seal {
	d.packet.UnsignedTx.AddTxOut(wire.NewTxOut(0, script))
	d.packet.Outputs = append(d.packet.Outputs, psbt.POutput{})
	return transition.Seal{Vout: uint32(len(d.packet.Outputs) - 1), Blinding: 5}
}

func (d *sendDraft) change() *transition.Assignment { return &d.transitions[0].Assignments[0] }
func (d *sendDraft) paid() *transition.Assignment   { return &d.transitions[0].Assignments[1] }

// add adds a transition of another contract.
func (d *sendDraft) add(assignments ...transition.Assignment) {
	id, err := rgb.ParseAssetID(otherAsset)
	if err != nil {
		d.t.Fatal(err)
	}
	d.transitions = append(d.transitions, &transition.Transition{
		Contract: id, Type: transition.TypeTransfer, Inputs: []transition.Output{{Op: transition.OpID{3}, Type: 4000}}, Assignments: assignments,
	})
}

func units(amount uint64, seal transition.Seal) transition.Assignment {
	return transition.Assignment{Type: transition.TypeAsset, Kind: transition.Fungible, Amount: amount, Seal: seal}
}

var (
	ownSeal   = transition.Seal{Vout: 1, Blinding: 4}
	otherSeal = transition.Seal{Kind: transition.Blinded, Hash: [32]byte{1}}
)

// assetCases are changes of a transfer of 10 units that is as it was asked for.
var assetCases = map[string]struct {
	edit func(*sendDraft)
	// after changes the PSBT once it commits to its transitions.
	after func(*psbt.Packet)
	rule  func(*AssetRule)
	want  Code // none: accepted
	says  string
}{
	"as asked for": {},
	"to the payee in two pieces": {edit: func(d *sendDraft) {
		d.paid().Amount = 4
		d.transitions[0].Assignments = append(d.transitions[0].Assignments, units(6, d.paid().Seal))
	}},
	"an amount of 11": {edit: func(d *sendDraft) { d.paid().Amount = 11 }, want: AssetWrongAmount, says: "the payee would get 11 units instead of 10"},
	"an amount of 9":  {edit: func(d *sendDraft) { d.paid().Amount = 9 }, want: AssetWrongAmount},
	"sums that overflow": {edit: func(d *sendDraft) {
		d.paid().Amount = math.MaxUint64
		d.transitions[0].Assignments = append(d.transitions[0].Assignments, units(11, d.paid().Seal))
	}, want: AssetWrongAmount},
	"another seal":            {edit: func(d *sendDraft) { d.paid().Seal = otherSeal }, want: AssetLeaves, says: "10 units of " + sentAsset + " would go to utxob:"},
	"a further seal":          {edit: func(d *sendDraft) { d.change().Seal = otherSeal }, want: AssetLeaves, says: "990 units"},
	"nothing for the payee":   {edit: func(d *sendDraft) { d.transitions[0].Assignments = d.transitions[0].Assignments[:1] }, want: AssetNotPaid},
	"another asset":           {rule: func(r *AssetRule) { r.Transfer.AssetID = otherAsset }, want: AssetLeaves, says: sentAsset},
	"no asset was asked for":  {rule: func(r *AssetRule) { r.Transfer = nil }, want: AssetLeaves, says: "where no asset was to move"},
	"a right instead":         {edit: func(d *sendDraft) { d.paid().Type, d.change().Type = 4010, 4010 }, want: AssetLeaves, says: "a right (type 4010)"},
	"another contract's own":  {edit: func(d *sendDraft) { d.add(units(5, ownSeal)) }},
	"another contract leaves": {edit: func(d *sendDraft) { d.add(units(5, otherSeal)) }, want: AssetLeaves, says: "5 units of " + otherAsset},
	"another contract reaches the payee": {
		edit: func(d *sendDraft) { d.add(units(10, d.paid().Seal)) }, want: AssetLeaves, says: otherAsset,
	},
	"another contract's right leaves": {
		edit: func(d *sendDraft) {
			d.add(transition.Assignment{Type: 4020, Kind: transition.Right, Seal: otherSeal})
		}, want: AssetLeaves, says: "a right (type 4020) of " + otherAsset,
	},
	"change to somebody else's output": {
		edit: func(d *sendDraft) { d.change().Seal = d.pay([]byte{0, 20, 19: 7, 21: 1}) }, want: AssetLeaves, says: "output 2, of somebody else",
	},
	"change to the OP_RETURN":      {edit: func(d *sendDraft) { d.change().Seal.Vout = 0 }, want: AssetLeaves, says: "would be lost"},
	"change to no output":          {edit: func(d *sendDraft) { d.change().Seal.Vout = math.MaxUint32 }, want: AssetLeaves, says: "would be lost"},
	"change to the coin it spends": {edit: func(d *sendDraft) { d.change().Seal = d.spent() }, want: AssetLeaves, says: "which this transaction spends"},
	"change to another coin":       {edit: func(d *sendDraft) { d.change().Seal = d.earlier() }, want: AssetNotProven, says: "of an earlier transaction"},
	"change to the bitcoin account": {
		edit: func(d *sendDraft) { d.change().Seal = d.pay(d.own(keys.Vanilla)) }, want: AssetNotProven, says: "bitcoin account",
	},
	"change to another colored output": {edit: func(d *sendDraft) { d.change().Seal = d.pay(d.own(keys.Colored)) }},
	"a transition that burns":          {edit: func(d *sendDraft) { d.transitions[0].Type = 8010 }, want: AssetNotProven, says: "no plain transfer"},
	"a transition of nothing":          {edit: func(d *sendDraft) { d.add() }, want: AssetNotProven, says: otherAsset},
	"the payee's own coin, in plain view": {
		edit: func(d *sendDraft) { d.paid().Seal = d.earlier() },
		rule: func(r *AssetRule) {
			hash := (&sendDraft{}).earlier().Conceal()
			r.Transfer.Payee = &rgb.Beneficiary{Kind: rgb.BlindedSeal, Payload: hash[:]}
		},
	},
	"an output that was asked for": {
		edit: func(d *sendDraft) { d.paid().Seal = d.pay(p2wpkh) }, rule: toOutput(p2wpkh),
	},
	"another output than was asked for": {
		edit: func(d *sendDraft) { d.paid().Seal = d.pay([]byte{0, 20, 21: 1}) }, rule: toOutput(p2wpkh), want: AssetLeaves,
	},
	"an output beside the transition": {
		edit: func(d *sendDraft) { d.pay(p2wpkh) }, rule: toOutput(p2wpkh), want: AssetLeaves,
	},
	"no payee named":                    {rule: func(r *AssetRule) { r.Transfer.Payee = nil }},
	"no payee named, and less":          {rule: func(r *AssetRule) { r.Transfer.Payee, r.Transfer.Amount = nil, 11 }},
	"no payee named, and more":          {rule: func(r *AssetRule) { r.Transfer.Payee, r.Transfer.Amount = nil, 9 }, want: AssetWrongAmount, says: "would leave the wallet"},
	"no payee named, and another asset": {rule: func(r *AssetRule) { r.Transfer.Payee, r.Transfer.AssetID = nil, otherAsset }, want: AssetLeaves},
	"no transition":                     {after: func(p *psbt.Packet) { p.Unknowns = nil }, want: AssetNotProven, says: "shows no transition"},
	"no transition, and no order": {
		after: func(p *psbt.Packet) { p.Unknowns = nil }, rule: func(r *AssetRule) { r.Transfer = nil }, want: AssetNotProven, says: "colored coins",
	},
	"another OP_RETURN": {after: func(p *psbt.Packet) { p.UnsignedTx.TxOut[0].PkScript[9] ^= 1 }, want: AssetFalsified},
	"a hidden contract": {
		edit: func(d *sendDraft) { d.add(units(5, otherSeal)) },
		after: func(p *psbt.Packet) {
			id, err := rgb.ParseAssetID(otherAsset)
			if err == nil {
				err = transition.Hide(p, 0, id)
			}
			if err != nil {
				panic(err)
			}
		},
		want: AssetFalsified, says: "does not show",
	},
}

func toOutput(script []byte) func(*AssetRule) {
	return func(r *AssetRule) {
		payee, err := rgb.NewWitnessOutput(script)
		if err != nil {
			panic(err)
		}
		r.Transfer.Payee = &payee
	}
}

func (d *sendDraft) spent() transition.Seal {
	outpoint := d.packet.UnsignedTx.TxIn[0].PreviousOutPoint
	return transition.Seal{Kind: transition.Outpoint, Txid: outpoint.Hash, Vout: outpoint.Index}
}

func (*sendDraft) earlier() transition.Seal {
	return transition.Seal{Kind: transition.Outpoint, Txid: [32]byte{9}, Vout: 2, Blinding: 8}
}

// TestAssetRule holds transfers against what was asked for. What is wrong is refused whatever is allowed; what is in doubt only where
// that is not allowed.
func TestAssetRule(t *testing.T) {
	for name, tc := range assetCases {
		t.Run(name, func(t *testing.T) {
			text, public := readSend(t)
			parsed, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			deriver, err := public.Deriver()
			if err != nil {
				t.Fatal(err)
			}
			d := &sendDraft{t: t, packet: parsed.Packet(), deriver: deriver}
			proof, err := transition.Read(d.packet)
			if err != nil {
				t.Fatal(err)
			}
			d.transitions = proof.Transitions
			if tc.edit != nil {
				tc.edit(d)
			}
			d.packet.Unknowns, d.packet.Outputs[0].Unknowns = nil, nil
			if err := transition.Attach(d.packet, 0, d.transitions, 11); err != nil {
				t.Fatal(err)
			}
			if tc.after != nil {
				tc.after(d.packet)
			}
			var raw bytes.Buffer
			if err := d.packet.Serialize(&raw); err != nil {
				t.Fatal(err)
			}
			inspection, err := Inspect(base64.StdEncoding.EncodeToString(raw.Bytes()), public)
			if err != nil {
				t.Fatal(err)
			}
			payee := sealOf(t, payeeSeal)
			rule := AssetRule{Transfer: &AssetTransfer{AssetID: sentAsset, Amount: 10, Payee: &payee}}
			if tc.rule != nil {
				tc.rule(&rule)
			}
			policy := DefaultPolicy()
			policy.MaxNetOutflowSats, policy.Assets = 1000, &rule
			for _, allowed := range []bool{false, true} {
				rule.AllowUnproved = allowed
				want := tc.want
				if allowed && want == AssetNotProven {
					want = ""
				}
				err := inspection.Check(policy)
				refusal, refused := errors.AsType[*Refusal](err)
				switch {
				case refused != (want != ""), refused && (refusal.Code != want || refusal.Layer != LayerIntent):
					t.Errorf("with doubts allowed %t: %v, want %q", allowed, err, want)
				case refused && (!strings.Contains(refusal.Message, tc.says) || len(refusal.Message) > 320):
					t.Errorf("%q does not say %q in 320 characters", refusal.Message, tc.says)
				}
			}
			if doubt := inspection.Doubt(rule); (doubt != nil) != (tc.want == AssetNotProven) {
				t.Errorf("doubt %v, want %q", doubt, tc.want)
			}
		})
	}
}

// TestVanillaCoinsNeedNoProof spends no coin that may carry an asset.
func TestVanillaCoinsNeedNoProof(t *testing.T) {
	d := newDraft(t)
	policy := basePolicy()
	policy.Assets = &AssetRule{}
	if err := inspectAndCheck(d.text(), d.deriver.Public(), policy); err != nil {
		t.Errorf("a payment of bitcoin: %v", err)
	}
	// A field of a transition under a key that is none.
	talking := newDraft(t)
	talking.global = append(talking.global, field{[]byte("\xfc\x03RGB\x01\x00"), []byte{1}})
	err := inspectAndCheck(talking.text(), talking.deriver.Public(), policy)
	if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Code != AssetNotProven || strings.Contains(refusal.Message, "colored coins") {
		t.Errorf("one that says of assets what nobody understands: %v, want %s, and no colored coins", err, AssetNotProven)
	}
	policy.Assets.Transfer = &AssetTransfer{AssetID: sentAsset, Amount: 1}
	err = inspectAndCheck(d.text(), d.deriver.Public(), policy)
	if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Code != AssetNotProven {
		t.Errorf("a transfer without one: %v, want %s", err, AssetNotProven)
	}
}
