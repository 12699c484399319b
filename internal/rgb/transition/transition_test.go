package transition

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/wire/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/utexo/utexo-operator/internal/rgb"
)

var array = rapid.Custom(func(t *rapid.T) [32]byte {
	return [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "bytes"))
})

func drawSeal(t *rapid.T) Seal {
	switch kind := rapid.SampledFrom([]SealKind{Witness, Outpoint, Blinded}).Draw(t, "seal"); kind {
	case Blinded:
		return Seal{Kind: kind, Hash: array.Draw(t, "hash")}
	case Outpoint:
		return Seal{Kind: kind, Txid: array.Draw(t, "txid"), Vout: rapid.Uint32().Draw(t, "vout"), Blinding: rapid.Uint64().Draw(t, "blinding")}
	default:
		return Seal{Kind: kind, Vout: rapid.Uint32().Draw(t, "vout"), Blinding: rapid.Uint64().Draw(t, "blinding")}
	}
}

// drawTransition draws a transition of any shape.
func drawTransition(t *rapid.T) *Transition {
	drawn := &Transition{Contract: rgb.ContractID(array.Draw(t, "contract")), Nonce: rapid.Uint64().Draw(t, "nonce"), Type: rapid.Uint16().Draw(t, "type")}
	if rapid.Bool().Draw(t, "hasMetadata") {
		drawn.Metadata = appendBlob(little.AppendUint16([]byte{1}, rapid.Uint16().Draw(t, "meta")), rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "value"))
	}
	types := rapid.SliceOfNDistinct(rapid.Uint16(), 0, 3, rapid.ID[uint16])
	for _, kind := range slices.Sorted(slices.Values(types.Draw(t, "globals"))) {
		for range rapid.IntRange(1, 2).Draw(t, "values") {
			drawn.Globals = append(drawn.Globals, Global{kind, rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "global")})
		}
	}
	inputs := map[Output]bool{}
	for range rapid.IntRange(1, 5).Draw(t, "inputs") {
		inputs[Output{OpID(array.Draw(t, "op")), rapid.Uint16().Draw(t, "ty"), rapid.Uint16().Draw(t, "no")}] = true
	}
	drawn.Inputs = slices.SortedFunc(maps.Keys(inputs), compareOutputs)
	for _, kind := range slices.Sorted(slices.Values(types.Draw(t, "kinds"))) {
		state := rapid.SampledFrom([]StateKind{Right, Fungible, Data}).Draw(t, "state")
		for range rapid.IntRange(1, 4).Draw(t, "assignments") {
			a := Assignment{Type: kind, Kind: state, Seal: drawSeal(t)}
			switch state {
			case Fungible:
				a.Amount = rapid.Uint64().Draw(t, "amount")
			case Data:
				a.Data = rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "data")
			}
			drawn.Assignments = append(drawn.Assignments, a)
		}
	}
	if rapid.Bool().Draw(t, "signed") {
		drawn.Signature = rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "signature")
	}
	return drawn
}

// newPacket is a PSBT of one input with an OP_RETURN and a Taproot output.
func newPacket(t interface{ Fatal(...any) }) *psbt.Packet {
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(&wire.OutPoint{Index: 1}, nil, nil))
	tx.AddTxOut(wire.NewTxOut(0, []byte{0x6a}))
	tx.AddTxOut(wire.NewTxOut(1000, append([]byte{0x51, 0x20}, make([]byte, 32)...)))
	packet, err := psbt.NewFromUnsignedTx(tx)
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

// TestRoundTrip attaches transitions of several contracts and finds the same ones proved; one that is hidden is missed.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		transitions := rapid.SliceOfN(rapid.Custom(drawTransition), 1, 4).Draw(t, "transitions")
		packet := newPacket(t)
		if err := Attach(packet, 0, transitions, rapid.Uint64().Draw(t, "entropy")); err != nil {
			t.Fatal(err)
		}
		proof, err := Read(packet)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(transitions, proof.Transitions); diff != "" {
			t.Errorf("read (-attached +read):\n%s", diff)
		}
		contract := transitions[0].Contract
		if err := Hide(packet, 0, contract); err != nil {
			t.Fatal(err)
		}
		_, err = Read(packet)
		want := Hidden
		if !slices.ContainsFunc(transitions, func(t *Transition) bool { return t.Contract != contract }) {
			want = NotShown
		}
		if refused, ok := errors.AsType[*Error](err); !ok || refused.Reason != want {
			t.Errorf("with a contract hidden: %v, want %s", err, want)
		}
	})
}

func transfer(contract, op byte, assignments ...Assignment) *Transition {
	return &Transition{
		Contract: rgb.ContractID{contract}, Type: TypeTransfer, Inputs: []Output{{OpID{op}, TypeAsset, 0}}, Assignments: assignments,
	}
}

func units(amount uint64) Assignment {
	return Assignment{Type: TypeAsset, Kind: Fungible, Amount: amount, Seal: Seal{Vout: 1}}
}

func TestReadRefuses(t *testing.T) {
	fieldOf := func(p *psbt.Packet, prefix string, kind byte) *psbt.Unknown {
		for _, field := range slices.Concat(p.Unknowns, p.Outputs[0].Unknowns) {
			if name, k, _, _ := split(field.Key); name == prefix && k == kind {
				return field
			}
		}
		t.Fatalf("no field %s %#x", prefix, kind)
		return nil
	}
	drop := func(p *psbt.Packet, f *psbt.Unknown) {
		is := func(other *psbt.Unknown) bool { return other == f }
		p.Unknowns = slices.DeleteFunc(p.Unknowns, is)
		p.Outputs[0].Unknowns = slices.DeleteFunc(p.Outputs[0].Unknowns, is)
	}
	// replant puts another tree into the PSBT, and the commitment to it into the transaction.
	replant := func(p *psbt.Packet, edit func(*block)) {
		b, err := decodeBlock(fieldOf(p, prefixMPC, mpcBlock).Value)
		if err != nil {
			t.Fatal(err)
		}
		edit(b)
		p.Outputs[0].Unknowns = nil
		if err := b.attach(p, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	place := func(b *block) int { return slices.IndexFunc(b.leaves, func(l leaf) bool { return l.contract != nil }) }
	cases := map[string]struct {
		with []*Transition // another one than the usual
		edit func(*psbt.Packet)
		want Reason
	}{
		"nothing that is RGB's":      {edit: func(p *psbt.Packet) { p.Unknowns = nil }, want: NotShown},
		"other proprietary fields":   {edit: func(p *psbt.Packet) { p.Unknowns = []*psbt.Unknown{field("RGBX", 1, nil, nil), {Key: []byte{0xfc, 3}}} }, want: NotShown},
		"a transition that is cut":   {edit: func(p *psbt.Packet) { f := fieldOf(p, prefixRGB, rgbTransition); f.Value = f.Value[:40] }, want: Unreadable},
		"a transition and a byte":    {edit: func(p *psbt.Packet) { f := fieldOf(p, prefixRGB, rgbTransition); f.Value = append(f.Value, 0) }, want: Unreadable},
		"a huge transition":          {edit: func(p *psbt.Packet) { fieldOf(p, prefixRGB, rgbTransition).Value = make([]byte, maxTransition+1) }, want: Unreadable},
		"a transition of the future": {edit: func(p *psbt.Packet) { fieldOf(p, prefixRGB, rgbTransition).Value[0] = 1 }, want: Unsupported},
		"a short operation id":       {edit: func(p *psbt.Packet) { f := fieldOf(p, prefixRGB, rgbTransition); f.Key = f.Key[:20] }, want: Unreadable},
		"another operation id":       {edit: func(p *psbt.Packet) { fieldOf(p, prefixRGB, rgbTransition).Key[9] ^= 1 }, want: Contradiction},
		"a commitment in a key":      {edit: func(p *psbt.Packet) { fieldOf(p, prefixRGB, rgbMethod).Value = []byte{1} }, want: Unsupported},
		"a field that is not known":  {edit: func(p *psbt.Packet) { p.Unknowns = append(p.Unknowns, field(prefixRGB, 9, nil, nil)) }, want: Unsupported},
		"a list that is cut":         {edit: func(p *psbt.Packet) { f := fieldOf(p, prefixRGB, rgbConsumers); f.Value = f.Value[1:] }, want: Unreadable},
		"a list out of order": {edit: func(p *psbt.Packet) {
			f := fieldOf(p, prefixRGB, rgbConsumers)
			f.Value = append(f.Value, f.Value...)
		}, want: Unreadable},
		"a list that names another operation":  {edit: func(p *psbt.Packet) { fieldOf(p, prefixRGB, rgbConsumers).Value[40] ^= 1 }, want: Hidden},
		"a list that names another allocation": {edit: func(p *psbt.Packet) { fieldOf(p, prefixRGB, rgbConsumers).Value[0] ^= 1 }, want: Contradiction},
		"a list of another contract":           {edit: func(p *psbt.Packet) { fieldOf(p, prefixRGB, rgbConsumers).Key[6] ^= 8 }, want: Hidden},
		"no list":                              {edit: func(p *psbt.Packet) { drop(p, fieldOf(p, prefixRGB, rgbConsumers)) }, want: Contradiction},
		"no tree":                              {edit: func(p *psbt.Packet) { drop(p, fieldOf(p, prefixMPC, mpcBlock)) }, want: Unsupported},
		"a tree that is cut":                   {edit: func(p *psbt.Packet) { f := fieldOf(p, prefixMPC, mpcBlock); f.Value = f.Value[:90] }, want: Unreadable},
		"a tree without its random number": {edit: func(p *psbt.Packet) {
			f := fieldOf(p, prefixMPC, mpcBlock)
			f.Value = append(f.Value[:len(f.Value)-9], 0)
		}, want: Unsupported},
		"a tree of which a branch is folded": {edit: func(p *psbt.Packet) { fieldOf(p, prefixMPC, mpcBlock).Value[8] = 2 }, want: Unsupported},
		"a tree of 32 levels":                {edit: func(p *psbt.Packet) { fieldOf(p, prefixMPC, mpcBlock).Value[0] = 32 }, want: Unsupported},
		"a cofactor as large as the tree":    {edit: func(p *psbt.Packet) { fieldOf(p, prefixMPC, mpcBlock).Value[1] = 8 }, want: Unsupported},
		"a leaf that is not empty": {edit: func(p *psbt.Packet) {
			replant(p, func(b *block) { b.leaves[(place(b)+1)%8].hash[0] ^= 1 })
		}, want: Hidden},
		"a contract that is committed to and not shown": {edit: func(p *psbt.Packet) {
			replant(p, func(b *block) {
				for id := byte(1); ; id++ {
					if at := position(rgb.ContractID{id}, b.depth, b.cofactor); b.leaves[at].contract == nil {
						b.leaves[at] = contractLeaf(rgb.ContractID{id}, [32]byte{})
						return
					}
				}
			})
		}, want: Hidden},
		"a leaf at another place": {edit: func(p *psbt.Packet) {
			replant(p, func(b *block) {
				at := place(b)
				other := (at + 1) % 8
				b.leaves[at], b.leaves[other] = leaf{hash: emptyLeaf(b.entropy, at)}, b.leaves[at]
			})
		}, want: Contradiction},
		"no leaf": {edit: func(p *psbt.Packet) {
			replant(p, func(b *block) { b.leaves[place(b)] = leaf{hash: emptyLeaf(b.entropy, place(b))} })
		}, want: Contradiction},
		"a leaf of another bundle": {edit: func(p *psbt.Packet) {
			replant(p, func(b *block) { at := place(b); b.leaves[at] = contractLeaf(*b.leaves[at].contract, [32]byte{1}) })
		}, want: Contradiction},
		"another OP_RETURN":  {edit: func(p *psbt.Packet) { p.UnsignedTx.TxOut[0].PkScript[20] ^= 1 }, want: Contradiction},
		"a longer OP_RETURN": {edit: func(p *psbt.Packet) { p.UnsignedTx.TxOut[0].PkScript = append(p.UnsignedTx.TxOut[0].PkScript, 0) }, want: Contradiction},
		"no OP_RETURN":       {edit: func(p *psbt.Packet) { p.UnsignedTx.TxOut = p.UnsignedTx.TxOut[:0] }, want: Contradiction},
		"a Taproot output before it": {edit: func(p *psbt.Packet) {
			slices.Reverse(p.UnsignedTx.TxOut)
			slices.Reverse(p.Outputs)
		}, want: Contradiction},
		"another commitment in words": {edit: func(p *psbt.Packet) { fieldOf(p, prefixOpret, opretCommitment).Value[0] ^= 1 }, want: Contradiction},
		"another message in words":    {edit: func(p *psbt.Packet) { fieldOf(p, prefixMPC, mpcMessage).Value[0] ^= 1 }, want: Contradiction},
		"another random number":       {edit: func(p *psbt.Packet) { fieldOf(p, prefixMPC, mpcEntropy).Value[0] ^= 1 }, want: Contradiction},
		"a transition that spends what another assigns": {
			with: func() []*Transition {
				first := transfer(7, 1, units(5))
				second := transfer(7, 2, units(5))
				second.Inputs[0].Op = first.ID()
				return []*Transition{first, second}
			}(),
			want: Unsupported,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			packet := newPacket(t)
			transitions := []*Transition{transfer(7, 1, units(990), units(10))}
			if tc.with != nil {
				transitions = tc.with
			}
			if err := Attach(packet, 0, transitions, 42); err != nil {
				t.Fatal(err)
			}
			if tc.edit != nil {
				if _, err := Read(packet); err != nil {
					t.Fatal(err)
				}
				tc.edit(packet)
			}
			_, err := Read(packet)
			if refused, ok := errors.AsType[*Error](err); !ok || refused.Reason != tc.want || refused.Message == "" {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	good := func() *Transition { return transfer(7, 1, units(1)) }
	if _, err := good().Encode(); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Transition){
		"no input":             func(t *Transition) { t.Inputs = nil },
		"the same input twice": func(t *Transition) { t.Inputs = append(t.Inputs, t.Inputs[0]) },
		"types out of order":   func(t *Transition) { t.Assignments = append(t.Assignments, Assignment{Type: 1}) },
		"two kinds of one type": func(t *Transition) {
			t.Assignments = append(t.Assignments, Assignment{Type: TypeAsset, Kind: Right})
		},
		"an unknown kind":          func(t *Transition) { t.Assignments[0].Kind = 3 },
		"more than a count tells":  func(t *Transition) { t.Assignments = slices.Repeat(t.Assignments, 1<<16+1) },
		"data that is too long":    func(t *Transition) { t.Globals = []Global{{1, make([]byte, 1<<16)}} },
		"metadata that is nothing": func(t *Transition) { t.Metadata = []byte{9} },
		"a short signature":        func(t *Transition) { t.Signature = []byte{1} },
	} {
		t.Run(name, func(t *testing.T) {
			bad := good()
			edit(bad)
			if _, err := bad.Encode(); err == nil {
				t.Error("encoded")
			}
			if err := Attach(newPacket(t), 0, []*Transition{bad}, 1); err == nil {
				t.Error("attached")
			}
		})
	}
}

// FuzzDecode holds that a transition has one encoding.
func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.packet(f).Unknowns[0].Value)
	}
	raw, err := transfer(1, 2, units(3), Assignment{Type: 4010, Kind: Right, Seal: Seal{Kind: Blinded}}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		read, err := Decode(raw)
		if err != nil {
			if refused, ok := errors.AsType[*Error](err); !ok || refused.Reason == "" || len(refused.Message) > 256 {
				t.Fatalf("not a typed error: %v", err)
			}
			return
		}
		again, err := read.Encode()
		if err != nil || !bytes.Equal(raw, again) {
			t.Fatalf("%x is written again as %x, %v", raw, again, err)
		}
	})
}

// FuzzRead holds that what is proved can be said in one way only: a PSBT that is read has in its OP_RETURN the commitment to what was read.
func FuzzRead(f *testing.F) {
	for _, v := range vectors(f) {
		packet := v.packet(f)
		block, _ := find(packet.Outputs[0].Unknowns, prefixMPC, mpcBlock)
		f.Add(packet.Unknowns[0].Key, packet.Unknowns[0].Value, packet.Unknowns[2].Key, packet.Unknowns[2].Value, block, packet.UnsignedTx.TxOut[0].PkScript)
	}
	f.Fuzz(func(t *testing.T, key, value, listKey, list, block, script []byte) {
		packet := newPacket(t)
		packet.Unknowns = []*psbt.Unknown{{Key: key, Value: value}, {Key: listKey, Value: list}}
		packet.Outputs[0].Unknowns = []*psbt.Unknown{field(prefixMPC, mpcBlock, nil, block)}
		packet.UnsignedTx.TxOut[0].PkScript = script
		proof, err := Read(packet)
		if err != nil {
			if refused, ok := errors.AsType[*Error](err); !ok || refused.Reason == "" || len(refused.Message) > 256 {
				t.Fatalf("not a typed error: %v", err)
			}
			return
		}
		b, err := decodeBlock(block)
		if err != nil {
			t.Fatal(err)
		}
		again := newPacket(t)
		if err := Attach(again, 0, proof.Transitions, b.entropy); err != nil {
			t.Fatal(err)
		}
		shape, err := decodeBlock(mustFind(again.Outputs[0].Unknowns))
		if err != nil {
			t.Fatal(err)
		}
		// A wallet may choose another depth or cofactor; with the same ones it is the same commitment.
		if shape.depth == b.depth && shape.cofactor == b.cofactor && !bytes.Equal(again.UnsignedTx.TxOut[0].PkScript, script) {
			t.Fatalf("read %+v from a transaction that commits to something else", proof)
		}
	})
}

func mustFind(fields []*psbt.Unknown) []byte {
	raw, _ := find(fields, prefixMPC, mpcBlock)
	return raw
}
