package transition

import (
	"bytes"
	"cmp"
	"slices"
)

// Strict encoding: little-endian numbers, counts of one or two bytes as the type has them, maps and sets in ascending order.

// Encode returns t in strict encoding. It fails with *Error where t has no encoding: more of something than a count can tell, inputs or
// assignments out of order.
func (t *Transition) Encode() ([]byte, error) {
	raw := append(little.AppendUint16(nil, version), t.Contract[:]...)
	raw = little.AppendUint16(little.AppendUint64(raw, t.Nonce), t.Type)
	raw = append(raw, t.metadata()...)
	types := chunked(t.Globals, func(g Global) uint16 { return g.Type })
	raw = append(raw, byte(len(types)))
	for _, globals := range types {
		raw = little.AppendUint16(little.AppendUint16(raw, globals[0].Type), uint16(len(globals)))
		for _, global := range globals {
			raw = appendBlob(raw, global.Data)
		}
	}
	raw = little.AppendUint16(raw, uint16(len(t.Inputs)))
	for _, input := range t.Inputs {
		raw = input.append(raw)
	}
	kinds := chunked(t.Assignments, func(a Assignment) uint16 { return a.Type })
	raw = little.AppendUint16(raw, uint16(len(kinds)))
	for _, assignments := range kinds {
		raw = append(little.AppendUint16(raw, assignments[0].Type), byte(assignments[0].Kind))
		raw = little.AppendUint16(raw, uint16(len(assignments)))
		for _, a := range assignments {
			tag := byte(0)
			if a.Seal.Kind == Blinded {
				tag = 1
			}
			raw = a.appendState(a.Seal.append(append(raw, tag)))
		}
	}
	if t.Signature == nil {
		raw = append(raw, 0)
	} else {
		raw = append(append(raw, 1), t.Signature...)
	}
	switch decoded, err := Decode(raw); {
	case err != nil:
		return nil, err
	case decoded.ID() != t.ID():
		return nil, fail(Unreadable, "a transition has no encoding: its parts are out of order, or too many")
	}
	return raw, nil
}

// Decode reads exactly one transition in strict encoding. It fails with *Error.
func Decode(raw []byte) (*Transition, error) {
	if len(raw) > maxTransition {
		return nil, fail(Unreadable, "a transition of %d bytes is longer than %d", len(raw), maxTransition)
	}
	r := &reader{rest: raw}
	t := &Transition{}
	ffv := r.uint16()
	copy(t.Contract[:], r.take(32))
	t.Nonce, t.Type = r.uint64(), r.uint16()
	t.readMetadata(r, raw)
	t.readGlobals(r)
	t.readInputs(r)
	t.readAssignments(r)
	switch r.byte() {
	case 0:
	case 1:
		t.Signature = bytes.Clone(r.take(64))
	default:
		r.failed = true
	}
	switch {
	case ffv != version && len(raw) > 2:
		return nil, fail(Unsupported, "a transition is of version %d, which is not known", ffv)
	case r.failed || len(r.rest) > 0:
		return nil, fail(Unreadable, "a transition is not in strict encoding")
	}
	return t, nil
}

// Limits far above what wallets write.
const (
	maxTransition = 128 << 10
	// perTransition bounds inputs, assignments and pieces of global state, each.
	perTransition = 4096
)

// metadata returns the strict encoding of none where there is none.
func (t *Transition) metadata() []byte {
	if t.Metadata == nil {
		return []byte{0}
	}
	return t.Metadata
}

func (t *Transition) readMetadata(r *reader, raw []byte) {
	start := len(raw) - len(r.rest)
	count := int(r.byte())
	previous := -1
	for range count {
		previous = r.ascending(previous)
		r.blob()
	}
	if count > 0 && !r.failed {
		t.Metadata = bytes.Clone(raw[start : len(raw)-len(r.rest)])
	}
}

func (t *Transition) readGlobals(r *reader) {
	previous := -1
	for range r.byte() {
		previous = r.ascending(previous)
		for range r.count(len(t.Globals)) {
			t.Globals = append(t.Globals, Global{Type: uint16(previous), Data: bytes.Clone(r.blob())})
		}
	}
}

func (t *Transition) readInputs(r *reader) {
	for range r.count(0) {
		input := r.output()
		if n := len(t.Inputs); n > 0 && compareOutputs(t.Inputs[n-1], input) >= 0 {
			r.failed = true
		}
		t.Inputs = append(t.Inputs, input)
	}
}

func (t *Transition) readAssignments(r *reader) {
	previous := -1
	for range r.uint16() {
		if r.failed {
			return
		}
		previous = r.ascending(previous)
		kind := StateKind(r.byte())
		for range r.count(len(t.Assignments)) {
			t.Assignments = append(t.Assignments, r.assignment(uint16(previous), kind))
		}
	}
}

func (r *reader) assignment(kind uint16, state StateKind) Assignment {
	a := Assignment{Type: kind, Kind: state}
	switch r.byte() {
	case 0:
		switch r.byte() {
		case 0:
			a.Seal.Kind = Witness
		case 1:
			a.Seal.Kind = Outpoint
			copy(a.Seal.Txid[:], r.take(32))
		default:
			r.failed = true
		}
		a.Seal.Vout, a.Seal.Blinding = r.uint32(), r.uint64()
	case 1:
		a.Seal.Kind = Blinded
		copy(a.Seal.Hash[:], r.take(32))
	default:
		r.failed = true
	}
	switch state {
	case Right:
	case Fungible:
		r.failed = r.byte() != amountTag || r.failed
		a.Amount = r.uint64()
	case Data:
		a.Data = bytes.Clone(r.blob())
	default:
		r.failed = true
	}
	return a
}

// amountTag says that 64 bits follow, the only kind of amount there is.
const amountTag = 8

func (a Assignment) appendState(to []byte) []byte {
	switch a.Kind {
	case Fungible:
		return little.AppendUint64(append(to, amountTag), a.Amount)
	case Data:
		return appendBlob(to, a.Data)
	}
	return to
}

func (s Seal) append(to []byte) []byte {
	switch s.Kind {
	case Blinded:
		return append(to, s.Hash[:]...)
	case Outpoint:
		to = append(append(to, 1), s.Txid[:]...)
	default:
		to = append(to, 0)
	}
	return little.AppendUint64(little.AppendUint32(to, s.Vout), s.Blinding)
}

func (o Output) append(to []byte) []byte {
	return little.AppendUint16(little.AppendUint16(append(to, o.Op[:]...), o.Type), o.Index)
}

func compareOutputs(a, b Output) int {
	return cmp.Or(bytes.Compare(a.Op[:], b.Op[:]), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Index, b.Index))
}

func appendBlob(to, data []byte) []byte {
	return append(little.AppendUint16(to, uint16(len(data))), data...)
}

// chunked splits items into runs of one type.
func chunked[T any](items []T, kind func(T) uint16) [][]T {
	var runs [][]T
	for len(items) > 0 {
		end := slices.IndexFunc(items, func(item T) bool { return kind(item) != kind(items[0]) })
		if end < 0 {
			end = len(items)
		}
		runs, items = append(runs, items[:end]), items[end:]
	}
	return runs
}

// reader consumes rest. Once it has failed, all that it returns is zero.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if r.failed || n > len(r.rest) {
		r.failed = true
		return make([]byte, n)
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint16() uint16 { return little.Uint16(r.take(2)) }
func (r *reader) uint32() uint32 { return little.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return little.Uint64(r.take(8)) }

func (r *reader) hash() (hash [32]byte) {
	copy(hash[:], r.take(32))
	return hash
}

func (r *reader) blob() []byte { return r.take(int(r.uint16())) }

func (r *reader) output() Output {
	return Output{Op: r.hash(), Type: r.uint16(), Index: r.uint16()}
}

// ascending reads the next type of a map, which is above the one before.
func (r *reader) ascending(previous int) int {
	next := int(r.uint16())
	r.failed = r.failed || next <= previous
	return next
}

// count reads how many items follow: at least one, and with those read before no more than the limit.
func (r *reader) count(before int) int {
	n := int(r.uint16())
	if n == 0 || before+n > perTransition {
		r.failed = true
	}
	if r.failed {
		return 0
	}
	return n
}

// bundle returns the identity of a contract's bundle: which allocation each of its transitions spends.
func bundle(consumers []Consumer) [32]byte {
	message := little.AppendUint16(nil, uint16(len(consumers)))
	for _, c := range consumers {
		message = append(c.Output.append(message), c.By[:]...)
	}
	return tagged(tagBundle, message)
}

// Consumer says which transition spends an allocation.
type Consumer struct {
	Output Output
	By     OpID
}
