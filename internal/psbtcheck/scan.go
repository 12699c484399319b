package psbtcheck

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The library that decodes PSBTs is lenient where a signer must not be: it ignores bytes after the last map, after the unsigned
// transaction and in the length of a coin's script, folds key types above 255 onto the known ones, and allocates what a count asks
// for before it looks for the bytes. So the maps are walked here first; the library then decodes bytes of known shape.

// The field types that decide something here (BIP 174, 370 and 371).
const (
	globalUnsignedTx = 0x00
	globalVersion    = 0xfb

	inputWitnessUTXO  = 0x01
	inputFinalWitness = 0x08
)

var magic = []byte("psbt\xff")

// field is one key and value of a map. The first byte of key is its type.
type field struct{ key, value []byte }

type fields []field

// maps are a PSBT as it is written.
type maps struct {
	global          fields
	inputs, outputs []fields
}

// scan splits raw into maps. It refuses what is not exactly one PSBT of version 0.
func scan(raw []byte) (*maps, error) {
	if !bytes.HasPrefix(raw, magic) {
		return nil, refuse(LayerParse, NotPSBT, "it does not begin as a PSBT does")
	}
	r := &reader{rest: raw[len(magic):]}
	var m maps
	var err error
	if m.global, err = r.fields("the global map"); err != nil {
		return nil, err
	}
	if len(m.global) == 0 || !bytes.Equal(m.global[0].key, []byte{globalUnsignedTx}) {
		return nil, refuse(LayerParse, NotPSBT, "it does not begin with an unsigned transaction")
	}
	for _, f := range m.global[1:] {
		switch kind := f.key[0]; {
		case kind == globalVersion && !bytes.Equal(f.value, make([]byte, 4)), kind >= 0x02 && kind <= 0x06:
			return nil, refuse(LayerParse, UnsupportedVersion, "it is not of version 0")
		}
	}
	inputs, outputs, err := countTransaction(m.global[0].value)
	if err != nil {
		return nil, err
	}
	for i := range inputs {
		input, err := r.fields(fmt.Sprintf("input %d", i))
		if err != nil {
			return nil, err
		}
		if input.hasTypes(0x0e, 0x12) {
			return nil, refuse(LayerParse, UnsupportedVersion, "input %d has fields of version 2", i)
		}
		m.inputs = append(m.inputs, input)
	}
	for i := range outputs {
		output, err := r.fields(fmt.Sprintf("output %d", i))
		if err != nil {
			return nil, err
		}
		if output.hasTypes(0x03, 0x04) {
			return nil, refuse(LayerParse, UnsupportedVersion, "output %d has fields of version 2", i)
		}
		m.outputs = append(m.outputs, output)
	}
	if len(r.rest) != 0 {
		return nil, refuse(LayerParse, TrailingBytes, "%d bytes follow its end", len(r.rest))
	}
	return &m, nil
}

// hasTypes tells whether a field's type is among first to last.
func (f fields) hasTypes(first, last byte) bool {
	for _, field := range f {
		if kind := field.key[0]; kind >= first && kind <= last {
			return true
		}
	}
	return false
}

// countTransaction returns how many inputs and outputs the unsigned transaction has. It refuses one that is signed, has none of
// either, or is not exactly tx (BIP 174: the format without witnesses).
func countTransaction(tx []byte) (inputs, outputs int, err error) {
	bad := refuse(LayerParse, BadTransaction, "its transaction cannot be read")
	r := &reader{rest: tx}
	if _, ok := r.take(4); !ok { // version
		return 0, 0, bad
	}
	n, ok := r.compactSize()
	if !ok {
		return 0, 0, bad
	}
	for range n { // a count of more than there is ends at the first that is missing
		_, outpoint := r.take(36)
		script, length := r.compactSize()
		if length && script != 0 {
			return 0, 0, refuse(LayerParse, BadTransaction, "its transaction is signed")
		}
		if _, sequence := r.take(4); !outpoint || !length || !sequence {
			return 0, 0, bad
		}
	}
	m, ok := r.compactSize()
	if !ok {
		return 0, 0, bad
	}
	for range m {
		_, value := r.take(8)
		_, script := r.sized()
		if !value || !script {
			return 0, 0, bad
		}
	}
	if _, ok := r.take(4); !ok || len(r.rest) != 0 { // lock time, and no more
		return 0, 0, bad
	}
	if n == 0 || m == 0 {
		return 0, 0, refuse(LayerParse, BadTransaction, "its transaction has no inputs or no outputs")
	}
	return int(n), int(m), nil
}

// reader consumes rest. After a failure it is of no more use.
type reader struct{ rest []byte }

// fields reads one map up to its separator. The keys and values alias rest.
func (r *reader) fields(where string) (fields, error) {
	var read fields
	seen := map[string]bool{}
	for {
		size, ok := r.compactSize()
		if ok && size == 0 {
			return read, nil
		}
		key, okKey := r.take(size)
		value, okValue := r.sized()
		if !ok || !okKey || !okValue {
			return nil, refuse(LayerParse, Truncated, "it ends within %s, or a length there is wrong", where)
		}
		if key[0] >= 0xfd { // the first byte of a longer type; BIP 174 and its successors assign none
			return nil, refuse(LayerParse, BadField, "%s has a field of an unknown type", where)
		}
		if seen[string(key)] {
			return nil, refuse(LayerParse, DuplicateField, "%s has the same field twice", where)
		}
		seen[string(key)] = true
		read = append(read, field{key, value})
	}
}

// compactSize reads a variable-length integer; false unless it has its shortest form.
func (r *reader) compactSize() (uint64, bool) {
	first, ok := r.take(1)
	if !ok {
		return 0, false
	}
	if first[0] < 0xfd {
		return uint64(first[0]), true
	}
	length := uint64(1) << (first[0] - 0xfc) // 2, 4 or 8 bytes
	raw, ok := r.take(length)
	if !ok {
		return 0, false
	}
	var wide [8]byte
	copy(wide[:], raw)
	n := binary.LittleEndian.Uint64(wide[:])
	return n, n >= [...]uint64{0xfd, 1 << 16, 1 << 32}[first[0]-0xfd]
}

// sized reads a compact size and as many bytes.
func (r *reader) sized() ([]byte, bool) {
	n, ok := r.compactSize()
	if !ok {
		return nil, false
	}
	return r.take(n)
}

func (r *reader) take(n uint64) ([]byte, bool) {
	if n > uint64(len(r.rest)) {
		return nil, false
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken, true
}
