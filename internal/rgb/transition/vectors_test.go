package transition

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/google/go-cmp/cmp"
)

type vector struct {
	Name        string   `json:"name"`
	PSBT        string   `json:"psbt"`
	Contract    string   `json:"contract"`
	Operation   string   `json:"operation"`
	Bundle      string   `json:"bundle"`
	Commitment  string   `json:"commitment"`
	Assignments []string `json:"assignments"`
}

func vectors(t testing.TB) []vector {
	t.Helper()
	raw, err := os.ReadFile("testdata/rgb-psbts.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []vector }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) != 2 {
		t.Fatalf("%d cases, want 2", len(file.Cases))
	}
	return file.Cases
}

func (v vector) packet(t testing.TB) *psbt.Packet {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(v.PSBT)
	if err != nil {
		t.Fatal(err)
	}
	packet, err := psbt.NewFromRawBytes(bytes.NewReader(raw), false)
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

// told is an assignment in words.
func told(a Assignment) string {
	switch a.Seal.Kind {
	case Witness:
		return fmt.Sprintf("%d to output %d", a.Amount, a.Seal.Vout)
	case Outpoint:
		return fmt.Sprintf("%d to outpoint %s:%d", a.Amount, chainhash.Hash(a.Seal.Txid), a.Seal.Vout)
	}
	return fmt.Sprintf("%d to seal %x", a.Amount, a.Seal.Hash)
}

// TestVectors reads PSBTs that rgb-lib wrote, and writes them again as it did.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			packet := v.packet(t)
			proof, err := Read(packet)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(proof.Commitment[:]); got != v.Commitment || proof.Output != 0 || len(proof.Transitions) != 1 {
				t.Errorf("commitment %s in output %d of %d transitions", got, proof.Output, len(proof.Transitions))
			}
			shown := proof.Transitions[0]
			var assigned []string
			for _, a := range shown.Assignments {
				if a.Type != TypeAsset || a.Kind != Fungible {
					t.Errorf("assigns type %d of kind %d", a.Type, a.Kind)
				}
				assigned = append(assigned, told(a))
			}
			if diff := cmp.Diff(v.Assignments, assigned); diff != "" {
				t.Errorf("assignments (-want +got):\n%s", diff)
			}
			id := shown.ID()
			if got := hex.EncodeToString(id[:]); got != v.Operation || shown.Contract.String() != v.Contract || shown.Type != TypeTransfer {
				t.Errorf("operation %s of contract %s, type %d", got, shown.Contract, shown.Type)
			}
			consumed := bundle([]Consumer{{shown.Inputs[0], id}})
			if got := hex.EncodeToString(consumed[:]); got != v.Bundle {
				t.Errorf("bundle %s, want %s", got, v.Bundle)
			}

			again := v.packet(t)
			again.Unknowns, again.Outputs[0].Unknowns = nil, nil
			raw, _ := find(packet.Outputs[0].Unknowns, prefixMPC, mpcEntropy)
			if err := Attach(again, 0, proof.Transitions, little.Uint64(raw)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(packet, again); diff != "" {
				t.Errorf("written again (-rgb-lib +here):\n%s", diff)
			}
		})
	}
}

// TestEachByteCounts alters the transition, the list of what it spends, the tree of commitments and the OP_RETURN, a bit at a time.
func TestEachByteCounts(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			count := 0
			try := func(what string, value func(*psbt.Packet) []byte) {
				for i := range value(v.packet(t)) {
					for bit := range 8 {
						packet := v.packet(t)
						value(packet)[i] ^= 1 << bit
						if _, err := Read(packet); err == nil {
							t.Errorf("bit %d of byte %d of %s may be altered", bit, i, what)
						} else if _, typed := errors.AsType[*Error](err); !typed {
							t.Errorf("%v is no *Error", err)
						}
						count++
					}
				}
			}
			for i, field := range v.packet(t).Unknowns {
				try(fmt.Sprintf("global value %x", field.Key[:6]), func(p *psbt.Packet) []byte { return p.Unknowns[i].Value })
				if len(field.Value) > 1 { // not the method, whose absence means the same
					try(fmt.Sprintf("global key %x", field.Key[:6]), func(p *psbt.Packet) []byte { return p.Unknowns[i].Key })
				}
			}
			for i, field := range v.packet(t).Outputs[0].Unknowns {
				try(fmt.Sprintf("output value %x", field.Key), func(p *psbt.Packet) []byte { return p.Outputs[0].Unknowns[i].Value })
			}
			try("the OP_RETURN", func(p *psbt.Packet) []byte { return p.UnsignedTx.TxOut[0].PkScript })
			if count < 8*700 {
				t.Errorf("only %d bits were altered", count)
			}
		})
	}
}

// TestTenIsNotEleven alters the amount as a service would that wants it unnoticed.
func TestTenIsNotEleven(t *testing.T) {
	v := vectors(t)[0]
	alter := func(packet *psbt.Packet) *Transition {
		shown, err := Decode(packet.Unknowns[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		shown.Assignments[1].Amount = 11
		raw, err := shown.Encode()
		if err != nil {
			t.Fatal(err)
		}
		packet.Unknowns[0].Value = raw
		return shown
	}
	for name, edit := range map[string]func(*psbt.Packet){
		"nothing else": func(p *psbt.Packet) { alter(p) },
		"the operation id too": func(p *psbt.Packet) {
			id := alter(p).ID()
			copy(p.Unknowns[0].Key[6:], id[:])
			copy(p.Unknowns[2].Value[36:], id[:])
		},
		"the bundle and the tree too": func(p *psbt.Packet) {
			shown := alter(p)
			script := slices.Clone(p.UnsignedTx.TxOut[0].PkScript)
			p.Unknowns, p.Outputs[0].Unknowns = nil, nil
			if err := Attach(p, 0, []*Transition{shown}, 7); err != nil {
				t.Fatal(err)
			}
			p.UnsignedTx.TxOut[0].PkScript = script
		},
	} {
		t.Run(name, func(t *testing.T) {
			packet := v.packet(t)
			edit(packet)
			_, err := Read(packet)
			refused, ok := errors.AsType[*Error](err)
			if !ok || !refused.Reason.Disproved() {
				t.Errorf("got %v, want it disproved", err)
			}
		})
	}
}

// TestTreesOfAnyWidth pins identities over more leaves than the vectors have, and over none, as the same functions made them when they
// gave the operation ids, bundle ids and commitments of the public consignments of RGB 0.11.1 (up to three inputs, metadata, global state).
func TestTreesOfAnyWidth(t *testing.T) {
	made := func(inputs, assignments int) *Transition {
		made := transfer(7, 0)
		made.Inputs = nil
		for i := range inputs {
			made.Inputs = append(made.Inputs, Output{OpID{1}, TypeAsset, uint16(i)})
		}
		for i := range assignments {
			made.Assignments = append(made.Assignments, Assignment{Type: TypeAsset, Kind: Fungible, Amount: uint64(i), Seal: Seal{Vout: uint32(i), Blinding: 5}})
		}
		return made
	}
	rich := made(3, 1)
	rich.Metadata = []byte{1, 0xe8, 3, 2, 0, 8, 9}
	rich.Globals = []Global{{2010, []byte{1}}, {2010, []byte{2}}, {2011, nil}}
	rich.Assignments = append(rich.Assignments, Assignment{Type: 4020, Kind: Right, Seal: Seal{Kind: Outpoint, Txid: [32]byte{3}, Vout: 4, Blinding: 5}})
	for name, tc := range map[string]struct {
		of   *Transition
		want string
	}{
		"one input, nothing assigned":             {made(1, 0), "f5188cc858fa504ed00bd3e67d51950a2f4aaf1243ba41efb011c059a43e8ba4"},
		"two and two":                             {made(2, 2), "f4989abcb5b910e7093fa56f67d9a0ff9d3db0a6c083c390a04da06bec4f528e"},
		"three and five":                          {made(3, 5), "bb6503e378d8cc52baa5ad7d628462a0fa5375911025ee8062a559750299e57c"},
		"seven and three":                         {made(7, 3), "36521a6e4e0eca952a41b949ecde70149db38c4c23f14c7493cfc040662123e9"},
		"with metadata, global state and a right": {rich, "5fd6d395d39ac35dc84386339991a6a84f8ed28d2ec7382b7e20288cad835ba5"},
	} {
		id := tc.of.ID()
		if got := hex.EncodeToString(id[:]); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
