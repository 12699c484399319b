package psbtcheck

import (
	"encoding/base64"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
)

// basePolicy allows exactly what the base case does.
func basePolicy() Policy {
	p := DefaultPolicy()
	p.MaxNetOutflowSats = 100_426
	p.MaxFeeSats = 426
	p.MaxFeeRate = 3
	p.MaxAddressIndex = 6
	p.VanillaOnly = true
	p.Intent = &Intent{Address: "bcrt1qvp3xf2tzmqpcxcflzc4nv06e6fmfshfgp9e6dx", AmountSats: 100_000}
	return p
}

// p2wpkh is the script of the base case's payee.
var p2wpkh = append([]byte{0x00, 0x14}, []byte("\x60\x62\x64\xa9\x62\xd8\x03\x83\x61\x3f\x16\x2b\x36\x3f\x59\xd2\x76\x98\x5d\x28")...)

func TestRefusals(t *testing.T) {
	const h = 1 << 31
	generator := []byte("\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95\xce\x87\x0b\x07\x02\x9b\xfc\xdb\x2d\xce\x28\xd9\x59\xf2\x81\x5b\x16\xf8\x17\x98")
	compressed := append([]byte{0x02}, generator...)
	cases := map[string]struct {
		edit   func(*draft)
		text   func(string) string // a change of the text itself
		policy func(*Policy)
		want   Code // none: accepted
	}{
		"the base case": {},

		// parse
		"an empty text":                         {text: func(string) string { return "" }, want: NotPSBT},
		"more than the size limit":              {text: func(string) string { return strings.Repeat("A", MaxBytes*4/3+8) }, want: TooLarge},
		"a line break at the end":               {text: func(s string) string { return s + "\n" }, want: NotBase64},
		"a line break in the middle":            {text: func(s string) string { return s[:40] + "\r\n" + s[40:] }, want: NotBase64},
		"no padding":                            {text: func(s string) string { return strings.TrimRight(s, "=") }, want: NotBase64},
		"the URL alphabet":                      {text: func(s string) string { return strings.ReplaceAll(s, "/", "_") }, want: NotBase64},
		"two PSBTs in a row":                    {text: func(s string) string { return s + s }, want: NotBase64},
		"a base64 text that is no PSBT":         {text: func(string) string { return "aGVsbG8gd29ybGQ=" }, want: NotPSBT},
		"bits set under the padding":            {text: func(s string) string { return strings.TrimSuffix(s, "A==") + "B==" }, want: NotBase64},
		"a first field that is no transaction":  {edit: func(d *draft) { d.global = append(fields{{[]byte{0xfc, 1}, nil}}, d.global...); d.rawTx = []byte{} }, want: NotPSBT},
		"an unsigned transaction with key data": {edit: func(d *draft) { d.global[0].key = []byte{0, 0} }, want: NotPSBT},
		"a byte after the last map":             {edit: func(d *draft) { d.tail = []byte{1} }, want: TrailingBytes},
		"a further empty map":                   {edit: func(d *draft) { d.tail = []byte{0} }, want: TrailingBytes},
		"a map missing":                         {edit: func(d *draft) { d.outputs = d.outputs[:1] }, want: Truncated},
		"a value cut short":                     {edit: func(d *draft) { d.outputs[1] = nil; d.tail = []byte{1, 0xfc, 9, 1}; d.outputs = d.outputs[:1] }, want: Truncated},
		"a length in a longer form":             {edit: func(d *draft) { d.outputs = d.outputs[:1]; d.tail = []byte{1, 0xfc, 0xfd, 1, 0, 7, 0} }, want: Truncated},
		"a length of 2⁶⁴-1": {edit: func(d *draft) {
			d.outputs = d.outputs[:1]
			d.tail = append([]byte{1, 0xfc, 0xff}, slices.Repeat([]byte{0xff}, 8)...)
		}, want: Truncated},
		"a global field twice": {edit: func(d *draft) {
			d.global = append(d.global, field{[]byte{0xfc, 1, 'x'}, nil}, field{[]byte{0xfc, 1, 'x'}, []byte{1}})
		}, want: DuplicateField},
		"an input field twice":          {edit: func(d *draft) { d.inputs[0] = append(d.inputs[0], d.inputs[0].get(0x17)) }, want: DuplicateField},
		"an unknown output field twice": {edit: func(d *draft) { d.outputs[0] = fields{{[]byte{0xfc, 1}, []byte{1}}, {[]byte{0xfc, 1}, []byte{2}}} }, want: DuplicateField},
		"version 2":                     {edit: func(d *draft) { d.global = append(d.global, field{[]byte{0xfb}, []byte{2, 0, 0, 0}}) }, want: UnsupportedVersion},
		"version 0, said":               {edit: func(d *draft) { d.global = append(d.global, field{[]byte{0xfb}, []byte{0, 0, 0, 0}}) }},
		"a global field of version 2":   {edit: func(d *draft) { d.global = append(d.global, field{[]byte{0x04}, []byte{1}}) }, want: UnsupportedVersion},
		"an input field of version 2":   {edit: func(d *draft) { d.inputs[0].set([]byte{0x0e}, make([]byte, 32)) }, want: UnsupportedVersion},
		"an output field of version 2":  {edit: func(d *draft) { d.outputs[0].set([]byte{0x03}, make([]byte, 8)) }, want: UnsupportedVersion},
		"a field type of two bytes":     {edit: func(d *draft) { d.inputs[0] = append(d.inputs[0], field{[]byte{0xfd, 0x08, 0x01}, []byte{1}}) }, want: BadField},
		"a coin whose script has another length": {edit: func(d *draft) {
			value := slices.Clone(d.inputs[0].get(0x01).value)
			value[8]++
			d.inputs[0].set([]byte{0x01}, value)
		}, want: BadField},
		"a coin with a byte after its script": {edit: func(d *draft) {
			value := d.inputs[0].get(0x01).value
			d.inputs[0].set([]byte{0x01}, append(slices.Clone(value), 0))
		}, want: BadField},
		"a coin of eight bytes":             {edit: func(d *draft) { d.inputs[0].set([]byte{0x01}, make([]byte, 8)) }, want: BadField},
		"an internal key off the curve":     {edit: func(d *draft) { d.inputs[0].set([]byte{0x17}, slices.Repeat([]byte{0xff}, 32)) }, want: BadField},
		"a sighash of three bytes":          {edit: func(d *draft) { d.inputs[0].set([]byte{0x03}, make([]byte, 3)) }, want: BadField},
		"a derivation of five bytes":        {edit: func(d *draft) { d.inputs[0].set(d.inputs[0].get(0x16).key, make([]byte, 6)) }, want: BadField},
		"a transaction of no bytes":         {edit: func(d *draft) { d.rawTx = []byte{} }, want: BadTransaction},
		"a byte after the transaction":      {edit: func(d *draft) { d.text(); d.rawTx = append(slices.Clone(d.global[0].value), 0) }, want: BadTransaction},
		"a byte of the transaction missing": {edit: func(d *draft) { d.text(); d.rawTx = slices.Clone(d.global[0].value[:len(d.global[0].value)-1]) }, want: BadTransaction},
		"a transaction that ends within an input": {edit: func(d *draft) {
			d.rawTx = append([]byte{2, 0, 0, 0, 1}, make([]byte, 36)...)
			d.rawTx = append(d.rawTx, 0xfd, 0, 0, 0, 0)
		}, want: BadTransaction},
		"a transaction that ends within a script": {edit: func(d *draft) {
			d.text()
			d.rawTx = append(slices.Clone(d.global[0].value[:46]), 1, 0, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0)
		}, want: BadTransaction},
		"a signed transaction":          {edit: func(d *draft) { d.tx.TxIn[0].SignatureScript = []byte{0x51} }, want: BadTransaction},
		"a transaction without outputs": {edit: func(d *draft) { d.tx.TxOut = nil; d.outputs = nil }, want: BadTransaction},
		"a transaction without inputs":  {edit: func(d *draft) { d.tx.TxIn = nil; d.inputs = nil }, want: BadTransaction},
		"a transaction that says it has four billion inputs": {edit: func(d *draft) {
			d.rawTx = append([]byte{2, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff}, make([]byte, 60)...)
		}, want: BadTransaction},
		"a transaction that says it has many outputs": {edit: func(d *draft) {
			d.text()
			d.rawTx = append(slices.Clone(d.global[0].value[:46]), 0xfd, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0)
		}, want: BadTransaction},

		// keys
		"a partial signature":        {edit: func(d *draft) { d.inputs[0].set(append([]byte{0x02}, compressed...), []byte{0x30}) }, want: AlreadySigned},
		"a key-path signature":       {edit: func(d *draft) { d.inputs[0].set([]byte{0x13}, make([]byte, 64)) }, want: AlreadySigned},
		"a final witness":            {edit: func(d *draft) { d.inputs[0].set([]byte{0x08}, append([]byte{1, 64}, make([]byte, 64)...)) }, want: AlreadySigned},
		"a final witness of nothing": {edit: func(d *draft) { d.inputs[0].set([]byte{0x08}, nil) }, want: AlreadySigned},
		"a signature for a script": {edit: func(d *draft) {
			d.inputs[0].set(slices.Concat([]byte{0x14}, generator, generator), make([]byte, 64))
		}, want: AlreadySigned},
		"a final script signature": {edit: func(d *draft) { d.inputs[0].set([]byte{0x07}, []byte{0}) }, want: AlreadySigned},
		"an empty merkle root":     {edit: func(d *draft) { d.inputs[0].set([]byte{0x18}, nil) }, want: NotKeyPath},
		"a leaf script":            {edit: func(d *draft) { d.inputs[0].set(append([]byte{0x15, 0xc0}, generator...), []byte{0x51, 0xc0}) }, want: NotKeyPath},
		"a leaf hash": {edit: func(d *draft) {
			f := d.inputs[0].get(0x16)
			d.inputs[0].set(f.key, derivation(d.fingerprint(), vanilla(1, 5).Steps(), [32]byte{7}))
		}, want: NotKeyPath},
		"a whole previous transaction":        {edit: func(d *draft) { d.inputs[0].set([]byte{0x00}, []byte{2, 0, 0, 0}) }, want: NotKeyPath},
		"a redeem script":                     {edit: func(d *draft) { d.inputs[0].set([]byte{0x04}, []byte{0x51}) }, want: NotKeyPath},
		"a derivation of another script type": {edit: func(d *draft) { d.inputs[0].set(append([]byte{0x06}, compressed...), make([]byte, 4)) }, want: NotKeyPath},
		"a MuSig2 field":                      {edit: func(d *draft) { d.inputs[0].set(append([]byte{0x1a}, compressed...), compressed) }, want: NotKeyPath},
		"one coin twice": {edit: func(d *draft) {
			d.addInput(vanilla(1, 5), 250_000)
			d.tx.TxIn[1].PreviousOutPoint = d.tx.TxIn[0].PreviousOutPoint
		}, want: DuplicateInput},
		"no coin":       {edit: func(d *draft) { d.inputs[0].remove(0x01) }, want: NoCoin},
		"no derivation": {edit: func(d *draft) { d.inputs[0].remove(0x16) }, want: NoDerivation},
		"nothing about the second input": {edit: func(d *draft) {
			d.addInput(vanilla(0, 0), 1000)
			d.inputs[1] = nil
		}, want: NoCoin},
		"two derivations": {edit: func(d *draft) {
			d.inputs[0] = append(d.inputs[0], field{append([]byte{0x16}, generator...), derivation(d.fingerprint(), vanilla(0, 0).Steps())})
		}, want: SeveralDerivations},
		"another fingerprint": {edit: func(d *draft) {
			d.inputs[0].set(d.inputs[0].get(0x16).key, derivation([4]byte{1, 2, 3, 4}, vanilla(1, 5).Steps()))
		}, want: ForeignFingerprint},
		"the fingerprint in the other byte order": {edit: func(d *draft) {
			fp := d.fingerprint()
			slices.Reverse(fp[:])
			d.inputs[0].set(d.inputs[0].get(0x16).key, derivation(fp, vanilla(1, 5).Steps()))
		}, want: ForeignFingerprint},
		"a foreign second input": {edit: func(d *draft) {
			d.addInput(vanilla(0, 0), 1000)
			d.inputs[1].set(d.inputs[1].get(0x16).key, derivation([4]byte{1, 2, 3, 4}, vanilla(0, 0).Steps()))
		}, want: ForeignFingerprint},
		"a path of BIP 84": {edit: func(d *draft) {
			d.inputs[0].set(d.inputs[0].get(0x16).key, derivation(d.fingerprint(), []uint32{84 + h, 1 + h, h, 1, 5}))
		}, want: ForeignPath},
		"a path of mainnet": {edit: func(d *draft) {
			d.inputs[0].set(d.inputs[0].get(0x16).key, derivation(d.fingerprint(), []uint32{86 + h, h, h, 1, 5}))
		}, want: ForeignPath},
		"keychain 2": {edit: func(d *draft) {
			d.inputs[0].set(d.inputs[0].get(0x16).key, derivation(d.fingerprint(), []uint32{86 + h, 1 + h, h, 2, 5}))
		}, want: ForeignPath},
		"a path of no steps": {edit: func(d *draft) {
			d.inputs[0].set(d.inputs[0].get(0x16).key, derivation(d.fingerprint(), nil))
		}, want: ForeignPath},
		"the path of the neighbour": {edit: func(d *draft) {
			d.inputs[0].set(d.inputs[0].get(0x16).key, derivation(d.fingerprint(), vanilla(1, 6).Steps()))
		}, want: KeyMismatch},
		"the path of the other account": {edit: func(d *draft) {
			d.inputs[0].set(d.inputs[0].get(0x16).key, derivation(d.fingerprint(), colored(1, 5).Steps()))
		}, want: KeyMismatch},
		"another key at the right path": {edit: func(d *draft) {
			value := d.inputs[0].get(0x16).value
			d.inputs[0].set(append([]byte{0x16}, generator...), value)
		}, want: KeyMismatch},
		"an internal key of the neighbour": {edit: func(d *draft) {
			child := d.child(vanilla(1, 6))
			d.inputs[0].set([]byte{0x17}, child.InternalKey[:])
		}, want: KeyMismatch},
		"no internal key": {edit: func(d *draft) { d.inputs[0].remove(0x17) }},
		"the coin of a neighbour": {edit: func(d *draft) {
			d.inputs[0].set([]byte{0x01}, coin(250_000, d.child(vanilla(1, 6)).Script()))
		}, want: ScriptMismatch},
		"a coin of the right key without the tweak": {edit: func(d *draft) {
			child := d.child(vanilla(1, 5))
			d.inputs[0].set([]byte{0x01}, coin(250_000, append([]byte{0x51, 0x20}, child.InternalKey[:]...)))
		}, want: ScriptMismatch},
		"a coin of another type": {edit: func(d *draft) { d.inputs[0].set([]byte{0x01}, coin(250_000, p2wpkh)) }, want: ScriptMismatch},

		// policy
		"a coin of more than all bitcoin":         {edit: func(d *draft) { d.own(0, vanilla(1, 5), int64(amount.MaxSat)+1) }, want: ImpossibleAmount},
		"a coin of less than nothing":             {edit: func(d *draft) { d.own(0, vanilla(1, 5), -1) }, want: ImpossibleAmount},
		"coins of more than all bitcoin together": {edit: func(d *draft) { d.addInput(vanilla(0, 0), int64(amount.MaxSat)) }, want: ImpossibleAmount},
		"more coins than the size limit holds": {edit: func(d *draft) {
			for range 5000 {
				d.addInput(vanilla(0, 0), int64(amount.MaxSat))
			}
		}, want: TooLarge},
		"an output of more than all bitcoin": {edit: func(d *draft) { d.tx.TxOut[0].Value = int64(amount.MaxSat) + 1 }, want: ImpossibleAmount},
		"an output of less than nothing":     {edit: func(d *draft) { d.tx.TxOut[0].Value = -100_000 }, want: ImpossibleAmount},
		"outputs that overflow into a small sum": {edit: func(d *draft) {
			d.tx.TxOut[0].Value, d.tx.TxOut[1].Value = 1<<62, 1<<62
			d.addOutput(1<<62, p2wpkh)
			d.addOutput(1<<62+1000, p2wpkh)
		}, want: ImpossibleAmount},
		"an output that makes the sum overflow": {edit: func(d *draft) { d.tx.TxOut[1].Value = math.MaxInt64 }, want: ImpossibleAmount},
		"many outputs whose sum overflows": {edit: func(d *draft) {
			d.own(0, vanilla(1, 5), int64(amount.MaxSat))
			for range 8800 { // 8,800 × 2.1·10¹⁵ is just above 2⁶⁴
				d.addOutput(int64(amount.MaxSat), nil)
			}
		}, want: ImpossibleAmount},
		"outputs above inputs by one": {edit: func(d *draft) { d.own(0, vanilla(1, 5), 100_000+149_574-1) }, want: OutputsExceedInputs},
		"no fee at all":               {edit: func(d *draft) { d.own(0, vanilla(1, 5), 100_000+149_574) }},
		"SIGHASH_DEFAULT, said":       {edit: func(d *draft) { d.inputs[0].set([]byte{0x03}, make([]byte, 4)) }},
		"SIGHASH_NONE":                {edit: func(d *draft) { d.inputs[0].set([]byte{0x03}, []byte{2, 0, 0, 0}) }, want: UnusualSighash},
		"SIGHASH_SINGLE on the second input": {edit: func(d *draft) {
			d.addInput(vanilla(0, 0), 1)
			d.inputs[1].set([]byte{0x03}, []byte{3, 0, 0, 0})
		}, want: UnusualSighash},
		"a hash type beyond one byte": {edit: func(d *draft) { d.inputs[0].set([]byte{0x03}, []byte{0, 1, 0, 0}) }, want: UnusualSighash},
		"change that claims the neighbour's path": {edit: func(d *draft) {
			f := d.outputs[1].get(0x07)
			d.outputs[1].set(f.key, derivation(d.fingerprint(), vanilla(1, 7).Steps()))
		}, want: FalseChange},
		"change that claims a path of no account": {edit: func(d *draft) {
			f := d.outputs[1].get(0x07)
			d.outputs[1].set(f.key, derivation(d.fingerprint(), []uint32{86 + h, 1 + h, 5 + h, 1, 6}))
		}, want: FalseChange},
		"change with a leaf hash": {edit: func(d *draft) {
			f := d.outputs[1].get(0x07)
			d.outputs[1].set(f.key, derivation(d.fingerprint(), vanilla(1, 6).Steps(), [32]byte{1}))
		}, want: FalseChange},
		"change with a script tree":        {edit: func(d *draft) { d.outputs[1].set([]byte{0x06}, []byte{0, 0xc0, 1, 0x51}) }, want: FalseChange},
		"change with another internal key": {edit: func(d *draft) { d.outputs[1].set([]byte{0x05}, generator) }, want: FalseChange},
		"change under another key name": {edit: func(d *draft) {
			v := d.outputs[1].get(0x07).value
			d.outputs[1].set(append([]byte{0x07}, generator...), v)
		}, want: FalseChange},
		"change that claims two keys": {edit: func(d *draft) {
			d.outputs[1] = append(d.outputs[1], field{append([]byte{0x07}, generator...), derivation(d.fingerprint(), vanilla(0, 0).Steps())})
		}, want: FalseChange},
		"a payee claimed as own, of another script type": {edit: func(d *draft) {
			fp := d.fingerprint()
			d.outputs[0].set(append([]byte{0x02}, compressed...), fp[:])
		}, want: FalseChange},
		"a payee with a derivation of its own": {edit: func(d *draft) {
			d.outputs[0].set(append([]byte{0x02}, compressed...), []byte{9, 9, 9, 9})
		}},
		"a payee with a Taproot derivation of its own": {edit: func(d *draft) {
			d.outputs[0].set(append([]byte{0x07}, generator...), derivation([4]byte{9, 9, 9, 9}, vanilla(0, 0).Steps()))
		}},
		"change about which nothing is said": {edit: func(d *draft) { d.outputs[1] = nil }},
		"change beyond the index limit":      {policy: func(p *Policy) { p.MaxAddressIndex = 5 }, want: ChangeOutOfReach},
		"change beyond the window about which nothing is said": {edit: func(d *draft) {
			d.tx.TxOut[1].PkScript = d.child(vanilla(1, keys.Window)).Script()
			d.outputs[1] = nil
		}, policy: func(p *Policy) { p.MaxNetOutflowSats = amount.MaxSat }, want: PaysOthers},
		"an empty OP_RETURN":              {edit: func(d *draft) { d.addOutput(0, []byte{0x6a}) }, policy: lenientFee},
		"an OP_RETURN commitment":         {edit: func(d *draft) { d.addOutput(0, append([]byte{0x6a, 0x20}, generator...)) }, policy: lenientFee},
		"an OP_RETURN that burns one sat": {edit: func(d *draft) { d.addOutput(1, []byte{0x6a, 0x01, 0x07}) }, policy: lenientFee, want: BurntValue},
		"a fee above the limit by one":    {policy: func(p *Policy) { p.MaxFeeSats = 425 }, want: FeeTooHigh},
		"a fee rate above the limit":      {policy: func(p *Policy) { p.MaxFeeRate = 2 }, want: FeeRateTooHigh},
		"a fee rate above the limit by a fraction": {
			edit:   func(d *draft) { d.own(0, vanilla(1, 5), 250_001) },
			policy: func(p *Policy) { p.MaxFeeSats, p.MaxNetOutflowSats = 427, 100_427 }, want: FeeRateTooHigh,
		},
		"an outflow above the limit by one":        {policy: func(p *Policy) { p.MaxNetOutflowSats = 100_425 }, want: OutflowTooHigh},
		"the zero policy":                          {policy: func(p *Policy) { *p = Policy{} }, want: ChangeOutOfReach},
		"the default policy":                       {policy: func(p *Policy) { *p = DefaultPolicy() }, want: OutflowTooHigh},
		"a colored coin where no asset is to move": {edit: func(d *draft) { d.own(0, colored(0, 5), 250_000) }, want: ColoredInput},
		"a colored coin where an asset may move": {
			edit:   func(d *draft) { d.own(0, colored(0, 5), 250_000) },
			policy: func(p *Policy) { p.VanillaOnly = false },
		},
		"transaction version 0":             {edit: func(d *draft) { d.tx.Version = 0 }, want: NotStandard},
		"transaction version 3":             {edit: func(d *draft) { d.tx.Version = 3 }, want: NotStandard},
		"transaction version 1":             {edit: func(d *draft) { d.tx.Version = 1 }},
		"a transaction too heavy for relay": {edit: func(d *draft) { d.addOutput(0, append([]byte{0x6a}, make([]byte, 100_000)...)) }, policy: noLimits, want: NotStandard},
		"a relative lock":                   {edit: func(d *draft) { d.tx.TxIn[0].Sequence = 1 }, want: Locked},
		"a relative lock in units of time":  {edit: func(d *draft) { d.tx.TxIn[0].Sequence = 1<<22 | 1 }, want: Locked},
		"a relative lock of nothing":        {edit: func(d *draft) { d.tx.TxIn[0].Sequence = 0 }},
		"a relative lock in version 1":      {edit: func(d *draft) { d.tx.TxIn[0].Sequence = 1; d.tx.Version = 1 }},
		"a lock until a year":               {edit: func(d *draft) { d.tx.LockTime = 4_000_000_000 }, want: Locked},
		"a lock that final sequences undo":  {edit: func(d *draft) { d.tx.LockTime = 4_000_000_000; d.tx.TxIn[0].Sequence = 0xffffffff }},
		"a lock where one of the sequences is not final": {edit: func(d *draft) {
			d.addInput(vanilla(0, 0), 0)
			d.tx.TxIn[1].Sequence, d.tx.LockTime = 0xffffffff, 4_000_000_000
		}, policy: lenientFee, want: Locked},
		"a lock until a year where any height will do": {
			edit: func(d *draft) { d.tx.LockTime = 4_000_000_000 }, policy: func(p *Policy) { p.MaxLockHeight = math.MaxUint32 }, want: Locked,
		},
		"a lock until the limit's height":       {edit: func(d *draft) { d.tx.LockTime = 10_000_000 }},
		"a lock until a height above it":        {edit: func(d *draft) { d.tx.LockTime = 10_000_001 }, want: Locked},
		"a lock until the last height there is": {edit: func(d *draft) { d.tx.LockTime = 499_999_999 }, want: Locked},

		// intent
		"a payee twice named":    {policy: func(p *Policy) { p.Intent.Script = p2wpkh }, want: UnreadableIntent},
		"an amount for no payee": {policy: func(p *Policy) { p.Intent.Address = "" }, want: UnreadableIntent},
		"a mainnet address":      {policy: func(p *Policy) { p.Intent.Address = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq" }, want: UnreadableIntent},
		"a placeholder":          {policy: func(p *Policy) { p.Intent.Address = "bcrt1q..." }, want: UnreadableIntent},
		"a public key as address": {policy: func(p *Policy) {
			p.Intent.Address = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
		}, want: UnreadableIntent},
		"another payee":            {policy: func(p *Policy) { p.Intent.Address = ""; p.Intent.Script = []byte{0x51} }, want: PaysOthers},
		"the payee as a script":    {policy: func(p *Policy) { p.Intent.Address = ""; p.Intent.Script = p2wpkh }},
		"the payee in capitals":    {policy: func(p *Policy) { p.Intent.Address = strings.ToUpper(p.Intent.Address) }},
		"nobody else to pay":       {policy: func(p *Policy) { p.Intent = &Intent{} }, want: PaysOthers},
		"no intent":                {policy: func(p *Policy) { p.Intent = nil }},
		"a sat less for the payee": {edit: func(d *draft) { d.tx.TxOut[0].Value--; d.tx.TxOut[1].Value++ }, want: WrongAmount},
		"a sat more for the payee": {edit: func(d *draft) { d.tx.TxOut[0].Value++; d.tx.TxOut[1].Value-- }, policy: noLimits, want: WrongAmount},
		"the payee paid twice": {
			edit:   func(d *draft) { d.own(0, vanilla(1, 5), 350_100); d.addOutput(100_000, p2wpkh) },
			policy: noLimits, want: WrongAmount,
		},
		"the payee and another": {edit: func(d *draft) { d.addOutput(300, []byte{0x51}) }, policy: noLimits, want: PaysOthers},
		"a payee not paid at all": {edit: func(d *draft) {
			d.tx.TxOut[0].PkScript = d.child(vanilla(0, 0)).Script()
		}, want: NotPaid},
		"the wallet itself as payee": {edit: func(d *draft) {
			d.tx.TxOut[0].PkScript = d.child(vanilla(0, 0)).Script()
		}, policy: func(p *Policy) {
			p.MaxFeeRate = 100
			p.Intent.Address = "bcrt1pvpmd0cuvyha2sjylhr57kd6t8x9jrju8f063mdvkmk4c5uq464qqjpeapm"
		}},
	}

	tested := map[string]bool{string(NotSigned): true} // of ParseSigned: TestParseSignedRefusals
	for name, tc := range cases {
		tested[string(tc.want)] = true
		t.Run(name, func(t *testing.T) {
			d := newDraft(t)
			if tc.edit != nil {
				tc.edit(d)
			}
			text := d.text()
			if tc.text != nil {
				text = tc.text(text)
			}
			policy := basePolicy()
			if tc.policy != nil {
				tc.policy(&policy)
			}
			err := inspectAndCheck(text, d.deriver.Public(), policy)
			var refusal *Refusal
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && !errors.As(err, &refusal):
				t.Errorf("%v, want %s", err, tc.want)
			case tc.want != "" && (refusal.Code != tc.want || refusal.Message == ""):
				t.Errorf("%s (%v), want %s", refusal.Code, err, tc.want)
			}
		})
	}
	for _, tc := range assetCases {
		tested[string(tc.want)] = true
	}
	for code, layer := range declaredCodes(t) {
		if !tested[code] {
			t.Errorf("no case is refused with %s (%s)", code, layer)
		}
	}
}

func lenientFee(p *Policy) { p.MaxFeeSats, p.MaxFeeRate, p.MaxNetOutflowSats = 10_000, 100, 110_000 }

func noLimits(p *Policy) {
	p.MaxFeeSats, p.MaxFeeRate, p.MaxNetOutflowSats = amount.MaxSat, amount.SatPerVByte(amount.MaxSat), amount.MaxSat
}

func inspectAndCheck(text string, owner keys.Public, policy Policy) error {
	inspection, err := Inspect(text, owner)
	if err != nil {
		return err
	}
	return inspection.Check(policy)
}

// declaredCodes reads the codes of refusal.go, each with the comment above its group.
func declaredCodes(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "refusal.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]string{}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			value := spec.(*ast.ValueSpec)
			if kind, ok := value.Type.(*ast.Ident); ok && kind.Name == "Code" {
				codes[strings.Trim(value.Values[0].(*ast.BasicLit).Value, `"`)] = group.Doc.Text()
			}
		}
	}
	if len(codes) == 0 {
		t.Fatal("no codes in refusal.go")
	}
	return codes
}

func TestParseSignedRefusals(t *testing.T) {
	signed, err := base64.StdEncoding.DecodeString(readCases(t).Cases[0].SignedPSBT)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		edit func(*fields)
		want Code
	}{
		"as it is":                      {func(*fields) {}, ""},
		"with a proprietary field":      {func(f *fields) { f.set([]byte{0xfc, 3, 'R', 'G', 'B'}, []byte{1}) }, ""},
		"without its witness":           {func(f *fields) { f.remove(0x08) }, NotSigned},
		"with a signature of 65 bytes":  {func(f *fields) { f.set([]byte{0x08}, append([]byte{1, 65}, make([]byte, 65)...)) }, NotSigned},
		"with two witness items":        {func(f *fields) { f.set([]byte{0x08}, append([]byte{2, 64}, make([]byte, 64)...)) }, NotSigned},
		"with bytes after the witness":  {func(f *fields) { f.set([]byte{0x08}, append([]byte{1, 64}, make([]byte, 65)...)) }, NotSigned},
		"with a derivation left":        {func(f *fields) { f.set(append([]byte{0x16}, make([]byte, 32)...), make([]byte, 5)) }, NotSigned},
		"with a signature script":       {func(f *fields) { f.set([]byte{0x07}, []byte{0}) }, NotSigned},
		"with a sighash":                {func(f *fields) { f.set([]byte{0x03}, []byte{1, 0, 0, 0}) }, NotSigned},
		"with a coin that is cut short": {func(f *fields) { f.set([]byte{0x01}, make([]byte, 8)) }, BadField},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDraft(t)
			m, err := scan(signed)
			if err != nil {
				t.Fatal(err)
			}
			d.maps = m
			tc.edit(&d.inputs[0])
			_, err = ParseSigned(d.text())
			var refusal *Refusal
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (!errors.As(err, &refusal) || refusal.Code != tc.want):
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
	for name, text := range map[string]string{"not base64": "*", "no PSBT": "AAAA"} {
		if _, err := ParseSigned(text); err == nil {
			t.Errorf("%s is parsed", name)
		}
	}
}

func TestInspectNeedsAnOwner(t *testing.T) {
	text := newDraft(t).text()
	var refused *keys.Error
	if _, err := Inspect(text, keys.Public{Network: bitcoin.Regtest}); !errors.As(err, &refused) {
		t.Errorf("%v is no *keys.Error", err)
	}
	// The PSBT names a coin type, not a network: what is on regtest is readable on signet, at other addresses.
	if inspection, err := Inspect(text, owner(t, guide, bitcoin.Signet)); err != nil || !strings.HasPrefix(inspection.Outputs[0].Address, "tb1") {
		t.Errorf("on signet: %v", err)
	}
	var refusal *Refusal
	if _, err := Inspect(text, owner(t, guide, bitcoin.Mainnet)); !errors.As(err, &refusal) || refusal.Code != ForeignPath {
		t.Errorf("on mainnet: %v, want %s", err, ForeignPath)
	}
}

func TestCountsDoNotAllocate(t *testing.T) {
	d := newDraft(t)
	d.rawTx = append([]byte{2, 0, 0, 0, 0xfe, 0, 0, 12, 0}, make([]byte, 60)...) // 786,432 inputs
	text := d.text()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Parse(text)
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Fatal("parsed")
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("%d bytes were allocated for a PSBT of %d", grown, len(text))
	}
}

// TestColoredCoinsOfNoValue spends a colored coin of 0 sat, which carries assets like any other.
func TestColoredCoinsOfNoValue(t *testing.T) {
	inspection := &Inspection{Version: 2, VSize: 100, Weight: 400, Inputs: []Input{{Path: keys.Path{Account: keys.Colored}}}}
	err := inspection.Check(Policy{VanillaOnly: true})
	if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Code != ColoredInput {
		t.Errorf("got %v, want a refusal of the colored coin", err)
	}
}
