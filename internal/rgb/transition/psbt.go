package transition

import (
	"bytes"
	"maps"
	"slices"

	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/txscript/v2"

	"github.com/utexo/utexo-operator/internal/rgb"
)

// The proprietary fields (BIP 174) in which wallets put transitions: prefix, type, and key data.
const (
	proprietary = 0xfc

	prefixRGB     = "RGB" // global
	rgbTransition = 0x01  // operation id → transition
	rgbMethod     = 0x02  // → 0, the commitment is in an OP_RETURN
	rgbConsumers  = 0x04  // contract id → allocations and the operations that spend them

	prefixMPC     = "MPC" // of the output with the commitment
	mpcMessage    = 0x00  // contract id → bundle id
	mpcEntropy    = 0x01
	mpcCommitment = 0x10
	mpcBlock      = 0x11

	prefixOpret     = "OPRET" // of the same output
	opretCommitment = 0x01
)

const (
	maxTransitions   = 256
	consumerSize     = 36 + 32
	commitmentPrefix = 2 // OP_RETURN and the length
)

// Proof is what a transaction does with assets, all of it.
type Proof struct {
	// Commitment is what stands in the OP_RETURN, the output number Output.
	Commitment [32]byte
	Output     int
	// Transitions are in the order of the PSBT.
	Transitions []*Transition
}

// Read proves what the transaction of packet does with assets: every transition that the PSBT shows is committed to by the transaction,
// in the place where validators look, and the transaction commits to nothing else. It fails with *Error.
func Read(packet *psbt.Packet) (*Proof, error) {
	s, err := readShown(packet)
	if err != nil {
		return nil, err
	}
	bundles, err := s.bundles()
	if err != nil {
		return nil, err
	}
	proof := &Proof{Transitions: s.order}
	if proof.Output, err = host(packet); err != nil {
		return nil, err
	}
	proof.Commitment = [32]byte(packet.UnsignedTx.TxOut[proof.Output].PkScript[commitmentPrefix:])
	fields := packet.Outputs[proof.Output].Unknowns
	raw, ok := find(fields, prefixMPC, mpcBlock)
	if !ok {
		return nil, fail(Unsupported, "the PSBT shows transitions and not the tree of commitments that they are in")
	}
	b, err := decodeBlock(raw)
	if err != nil {
		return nil, err
	}
	if b.commitment() != proof.Commitment {
		return nil, fail(Contradiction, "the OP_RETURN of the transaction is not the commitment that the PSBT shows")
	}
	if err := b.check(bundles); err != nil {
		return nil, err
	}
	return proof, restated(fields, b, bundles)
}

// restated holds what the fields of the output say a second time against what was proved.
func restated(fields []*psbt.Unknown, b *block, bundles map[rgb.ContractID][32]byte) error {
	commitment := b.commitment()
	for _, field := range fields {
		prefix, kind, data, _ := split(field.Key)
		want := field.Value
		switch {
		case prefix == prefixMPC && kind == mpcCommitment, prefix == prefixOpret && kind == opretCommitment:
			want = commitment[:]
		case prefix == prefixMPC && kind == mpcEntropy:
			want = little.AppendUint64(nil, b.entropy)
		case prefix == prefixMPC && kind == mpcMessage:
			var bundle [32]byte
			if len(data) == 32 {
				bundle = bundles[rgb.ContractID(data)]
			}
			want = bundle[:]
		}
		if !bytes.Equal(field.Value, want) {
			return fail(Contradiction, "the PSBT contradicts itself about what its transaction commits to")
		}
	}
	return nil
}

// shown is what a PSBT says of transitions, before it is held against the transaction.
type shown struct {
	transitions map[OpID]*Transition
	order       []*Transition
	consumers   map[rgb.ContractID][]Consumer
}

func readShown(packet *psbt.Packet) (*shown, error) {
	s := &shown{transitions: map[OpID]*Transition{}, consumers: map[rgb.ContractID][]Consumer{}}
	for _, field := range packet.Unknowns {
		prefix, kind, data, ok := split(field.Key)
		if !ok || prefix != prefixRGB {
			continue
		}
		if err := s.read(kind, data, field.Value); err != nil {
			return nil, err
		}
	}
	if len(s.order) == 0 {
		return nil, fail(NotShown, "the PSBT shows no transition")
	}
	return s, nil
}

func (s *shown) read(kind byte, data, value []byte) error {
	switch {
	case kind == rgbMethod && bytes.Equal(value, []byte{0}):
		return nil
	case kind != rgbTransition && kind != rgbConsumers:
		return fail(Unsupported, "the PSBT says of its transitions what is not understood (field %#02x)", kind)
	case len(data) != 32:
		return fail(Unreadable, "a field of the PSBT about transitions has a key of %d bytes instead of 32", len(data))
	case kind == rgbTransition && len(s.order) == maxTransitions:
		return fail(Unreadable, "the PSBT shows more than %d transitions", maxTransitions)
	}
	if kind == rgbTransition {
		t, err := Decode(value)
		if err != nil {
			return err
		}
		if t.ID() != OpID(data) {
			return fail(Contradiction, "a transition in the PSBT is not the one that it is said to be: it was altered")
		}
		s.transitions[OpID(data)] = t
		s.order = append(s.order, t)
		return nil
	}
	count := len(value) / consumerSize
	if len(value)%consumerSize != 0 || count == 0 || count > perTransition {
		return fail(Unreadable, "the list of allocations that the transitions spend cannot be read")
	}
	r := &reader{rest: value}
	var consumers []Consumer
	for i := range count {
		consumers = append(consumers, Consumer{Output: r.output(), By: r.hash()})
		if i > 0 && compareOutputs(consumers[i-1].Output, consumers[i].Output) >= 0 {
			return fail(Unreadable, "the list of allocations that the transitions spend is out of order")
		}
	}
	s.consumers[rgb.ContractID(data)] = consumers
	return nil
}

// bundles returns the identity of each contract's bundle. It refuses lists that name transitions which are not shown, and transitions
// that are on no list: nobody would know of the one what it does, or of the other whether it happens.
func (s *shown) bundles() (map[rgb.ContractID][32]byte, error) {
	bundles := map[rgb.ContractID][32]byte{}
	listed := 0
	for contract, consumers := range s.consumers {
		for _, c := range consumers {
			t, ok := s.transitions[c.By]
			if !ok || t.Contract != contract {
				return nil, fail(Hidden, "an allocation of asset %s is spent by a transition that the PSBT does not show", contract)
			}
			if _, found := slices.BinarySearchFunc(t.Inputs, c.Output, compareOutputs); !found {
				return nil, fail(Contradiction, "a transition of asset %s does not spend what it is listed for", contract)
			}
			if _, chained := s.transitions[c.Output.Op]; chained {
				return nil, fail(Unsupported, "a transition of asset %s spends what another one in the same PSBT assigns", contract)
			}
		}
		listed += len(consumers)
		bundles[contract] = bundle(consumers)
	}
	spent := 0
	for _, t := range s.order {
		spent += len(t.Inputs)
	}
	if spent != listed {
		return nil, fail(Contradiction, "the PSBT shows transitions that spend %d allocations, and lists %d", spent, listed)
	}
	return bundles, nil
}

// host returns the output that validators take for the commitment, the first of OP_RETURN and Taproot outputs, where it is an OP_RETURN
// of 32 bytes.
func host(packet *psbt.Packet) (int, error) {
	for i, output := range packet.UnsignedTx.TxOut {
		script := output.PkScript
		switch {
		case txscript.IsPayToTaproot(script):
			return 0, fail(Contradiction, "validators look for the commitment in the Taproot output %d, which is before any OP_RETURN: the assets would be lost", i)
		case len(script) == 0 || script[0] != txscript.OP_RETURN:
			continue
		case len(script) != commitmentPrefix+32 || script[1] != txscript.OP_DATA_32:
			return 0, fail(Contradiction, "the OP_RETURN in output %d holds no commitment: the assets would be lost", i)
		}
		return i, nil
	}
	return 0, fail(Contradiction, "the PSBT shows transitions and its transaction commits to none")
}

// split returns the parts of a proprietary key; ok is false for another one.
func split(key []byte) (prefix string, kind byte, data []byte, ok bool) {
	// Prefix length and type are compact sizes; those of interest take one byte.
	if len(key) < 2 || key[0] != proprietary || key[1] >= 0xfd || len(key) < 3+int(key[1]) {
		return "", 0, nil, false
	}
	rest := key[2+int(key[1]):]
	return string(key[2 : 2+int(key[1])]), rest[0], rest[1:], true
}

func find(fields []*psbt.Unknown, prefix string, kind byte) ([]byte, bool) {
	for _, field := range fields {
		if p, k, data, ok := split(field.Key); ok && p == prefix && k == kind && len(data) == 0 {
			return field.Value, true
		}
	}
	return nil, false
}

// Attach makes the transaction of packet commit to transitions, in its output number output, which becomes an OP_RETURN, and puts into the
// PSBT what Read wants to see. Entropy is what the empty leaves are made of. It fails with *Error.
func Attach(packet *psbt.Packet, output int, transitions []*Transition, entropy uint64) error {
	consumers := map[rgb.ContractID][]Consumer{}
	for _, t := range transitions {
		raw, err := t.Encode()
		if err != nil {
			return err
		}
		id := t.ID()
		packet.Unknowns = append(packet.Unknowns, field(prefixRGB, rgbTransition, id[:], raw))
		for _, input := range t.Inputs {
			consumers[t.Contract] = append(consumers[t.Contract], Consumer{input, id})
		}
	}
	packet.Unknowns = append(packet.Unknowns, field(prefixRGB, rgbMethod, nil, []byte{0}))
	contracts := slices.SortedFunc(maps.Keys(consumers), func(a, b rgb.ContractID) int { return bytes.Compare(a[:], b[:]) })
	bundles := map[rgb.ContractID][32]byte{}
	var messages []*psbt.Unknown
	for _, contract := range contracts {
		list := consumers[contract]
		slices.SortFunc(list, func(a, b Consumer) int { return compareOutputs(a.Output, b.Output) })
		var raw []byte
		for _, c := range list {
			raw = append(c.Output.append(raw), c.By[:]...)
		}
		id := bundle(list)
		bundles[contract] = id
		packet.Unknowns = append(packet.Unknowns, field(prefixRGB, rgbConsumers, contract[:], raw))
		messages = append(messages, field(prefixMPC, mpcMessage, contract[:], id[:]))
	}
	b, err := plant(bundles, entropy)
	if err != nil {
		return err
	}
	return b.attach(packet, output, messages)
}

// attach puts the commitment to b, and b itself, into an output.
func (b *block) attach(packet *psbt.Packet, output int, messages []*psbt.Unknown) error {
	commitment := b.commitment()
	script, err := txscript.NullDataScript(commitment[:])
	if err != nil {
		return fail(Unsupported, "the commitment has no script")
	}
	packet.UnsignedTx.TxOut[output].PkScript = script
	packet.Outputs[output].Unknowns = slices.Concat(packet.Outputs[output].Unknowns, messages, []*psbt.Unknown{
		field(prefixMPC, mpcEntropy, nil, little.AppendUint64(nil, b.entropy)),
		field(prefixMPC, mpcCommitment, nil, commitment[:]),
		field(prefixMPC, mpcBlock, nil, b.encode()),
		field(prefixOpret, opretCommitment, nil, commitment[:]),
	})
	return nil
}

// Hide takes from packet, whose output number output has a commitment, all that it shows of contract, as somebody would who wants to move
// an asset unseen: the transaction commits to the same as before. It fails with *Error.
func Hide(packet *psbt.Packet, output int, contract rgb.ContractID) error {
	raw, ok := find(packet.Outputs[output].Unknowns, prefixMPC, mpcBlock)
	if !ok {
		return fail(Unsupported, "the PSBT shows no tree of commitments")
	}
	b, err := decodeBlock(raw)
	if err != nil {
		return err
	}
	for i := range b.leaves {
		if b.leaves[i].contract != nil && *b.leaves[i].contract == contract {
			b.leaves[i].contract = nil
		}
	}
	packet.Unknowns = slices.DeleteFunc(packet.Unknowns, func(f *psbt.Unknown) bool {
		_, kind, data, _ := split(f.Key)
		t, err := Decode(f.Value)
		return kind == rgbTransition && err == nil && t.Contract == contract || kind == rgbConsumers && bytes.Equal(data, contract[:])
	})
	fields := slices.DeleteFunc(packet.Outputs[output].Unknowns, func(f *psbt.Unknown) bool {
		_, kind, data, _ := split(f.Key)
		return kind == mpcBlock || kind == mpcMessage && bytes.Equal(data, contract[:])
	})
	packet.Outputs[output].Unknowns = append(fields, field(prefixMPC, mpcBlock, nil, b.encode()))
	return nil
}

func field(prefix string, kind byte, data, value []byte) *psbt.Unknown {
	key := append([]byte{proprietary, byte(len(prefix))}, prefix...)
	return &psbt.Unknown{Key: append(append(key, kind), data...), Value: value}
}
