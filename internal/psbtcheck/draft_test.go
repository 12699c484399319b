package psbtcheck

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/wire/v2"

	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
)

const guide = "split capable text loop dream live outside suspect eight carry fine relax"

// draft is a PSBT to be changed field by field: that of the base case, one vanilla coin of 250,000 sat at 1/5 that pays 100,000 sat to
// a P2WPKH address, with change to 1/6, on regtest.
type draft struct {
	t testing.TB
	*maps
	tx *wire.MsgTx
	// tail follows the last map; rawTx, if any, stands for tx.
	tail, rawTx []byte
	deriver     *keys.Deriver
}

func newDraft(t testing.TB) *draft {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(readCases(t).Cases[0].UnsignedPSBT)
	if err != nil {
		t.Fatal(err)
	}
	m, err := scan(raw)
	if err != nil {
		t.Fatal(err)
	}
	tx := wire.NewMsgTx(2)
	if err := tx.DeserializeNoWitness(bytes.NewReader(m.global[0].value)); err != nil {
		t.Fatal(err)
	}
	deriver, err := owner(t, guide, bitcoin.Regtest).Deriver()
	if err != nil {
		t.Fatal(err)
	}
	return &draft{t: t, maps: m, tx: tx, deriver: deriver}
}

// raw writes the draft, in base64.
func (d *draft) text() string {
	d.t.Helper()
	var tx bytes.Buffer
	if err := d.tx.SerializeNoWitness(&tx); err != nil {
		d.t.Fatal(err)
	}
	d.global[0].value = tx.Bytes()
	if d.rawTx != nil {
		d.global[0].value = d.rawTx
	}
	raw := slices.Clone(magic)
	for _, m := range slices.Concat([]fields{d.global}, d.inputs, d.outputs) {
		for _, f := range m {
			raw = append(appendSized(raw, f.key), appendSized(nil, f.value)...)
		}
		raw = append(raw, 0)
	}
	return base64.StdEncoding.EncodeToString(append(raw, d.tail...))
}

func appendSized(to, b []byte) []byte {
	var size bytes.Buffer
	_ = wire.WriteVarInt(&size, 0, uint64(len(b))) // a bytes.Buffer takes everything
	return append(append(to, size.Bytes()...), b...)
}

// set replaces the first field of key's type, or adds one.
func (f *fields) set(key, value []byte) {
	i := slices.IndexFunc(*f, func(x field) bool { return x.key[0] == key[0] })
	if i < 0 {
		*f = append(*f, field{key, value})
		return
	}
	(*f)[i] = field{key, value}
}

func (f *fields) remove(kind byte) {
	*f = slices.DeleteFunc(*f, func(x field) bool { return x.key[0] == kind })
}

func (f fields) get(kind byte) field {
	return f[slices.IndexFunc(f, func(x field) bool { return x.key[0] == kind })]
}

func (d *draft) child(path keys.Path) keys.Child {
	d.t.Helper()
	child, err := d.deriver.Child(path)
	if err != nil {
		d.t.Fatal(err)
	}
	return child
}

func vanilla(keychain, index uint32) keys.Path {
	return keys.Path{Network: bitcoin.Regtest, Account: keys.Vanilla, Keychain: keychain, Index: index}
}

func colored(keychain, index uint32) keys.Path {
	return keys.Path{Network: bitcoin.Regtest, Account: keys.Colored, Keychain: keychain, Index: index}
}

// derivation is the value of a Taproot derivation (BIP 371).
func derivation(fingerprint [4]byte, steps []uint32, leafHashes ...[32]byte) []byte {
	value := []byte{byte(len(leafHashes))}
	for _, hash := range leafHashes {
		value = append(value, hash[:]...)
	}
	value = append(value, fingerprint[:]...)
	for _, step := range steps {
		value = binary.LittleEndian.AppendUint32(value, step)
	}
	return value
}

func (d *draft) fingerprint() [4]byte { return d.deriver.Public().Fingerprint() }

func coin(value int64, script []byte) []byte {
	return appendSized(binary.LittleEndian.AppendUint64(nil, uint64(value)), script)
}

// own makes input i spend a coin at path, of which nothing is false.
func (d *draft) own(i int, path keys.Path, value int64) {
	child := d.child(path)
	d.inputs[i] = fields{
		{[]byte{0x01}, coin(value, child.Script())},
		{append([]byte{0x16}, child.InternalKey[:]...), derivation(d.fingerprint(), path.Steps())},
		{[]byte{0x17}, child.InternalKey[:]},
	}
}

// addInput adds an own coin.
func (d *draft) addInput(path keys.Path, value int64) {
	d.tx.AddTxIn(&wire.TxIn{PreviousOutPoint: wire.OutPoint{Index: uint32(len(d.inputs)) + 7}, Sequence: 0xfffffffd})
	d.inputs = append(d.inputs, nil)
	d.own(len(d.inputs)-1, path, value)
}

// addOutput adds an output about which the PSBT says nothing.
func (d *draft) addOutput(value int64, script []byte) {
	d.tx.AddTxOut(wire.NewTxOut(value, script))
	d.outputs = append(d.outputs, nil)
}
