package psbtcheck

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
)

// Inspection is what signing an unsigned PSBT would mean for its owner. All inputs are the owner's.
type Inspection struct {
	// Network is the owner's: a PSBT does not say.
	Network bitcoin.Network
	// Txid is the id of the transaction, signed or not: 64 hexadecimal digits.
	Txid string
	// Digest is the SHA-256 of the unsigned PSBT, decoded from base64: 64 hexadecimal digits.
	Digest string
	// Version and LockTime are the transaction's.
	Version  int32
	LockTime uint32

	Inputs  []Input
	Outputs []Output

	// OwnInputs is what the owner's coins put in, by account; ToSelf what comes back to them.
	OwnInputs Split
	ToSelf    Split
	// TotalToSelf is the sum of ToSelf.
	TotalToSelf amount.Sat
	// ExternalSats goes to others; OpReturnSats to nobody, ever.
	ExternalSats amount.Sat
	OpReturnSats amount.Sat
	// FeeSats is inputs minus outputs.
	FeeSats amount.Sat
	// NetOutflowSats is what the owner has less afterwards: OwnInputs minus ToSelf, which is ExternalSats, OpReturnSats and FeeSats.
	NetOutflowSats amount.Sat

	// Weight (weight units) and VSize (virtual bytes) are those of the signed transaction, exactly (BIP 141).
	Weight int64
	VSize  int64
	// FeeRate is FeeSats over VSize, rounded up.
	FeeRate amount.SatPerVByte

	// Assets is what happens to RGB assets.
	Assets Assets
}

// Split is an amount by account.
type Split struct{ Vanilla, Colored amount.Sat }

// Input is a coin of the owner's that the transaction spends.
type Input struct {
	Txid      string
	Vout      uint32
	ValueSats amount.Sat
	Script    []byte
	Class     string // as Output.Class
	Address   string
	Path      keys.Path
	Sequence  uint32
	// Sighash is the signature hash type asked for; 0 is SIGHASH_DEFAULT (BIP 341).
	Sighash uint32
}

// Output is a coin that the transaction makes.
type Output struct {
	ValueSats amount.Sat
	Script    []byte
	// Class is the template of the script in the words of txscript, such as witness_v1_taproot.
	Class string
	// Address is how the owner's network writes the script; empty where no address stands for it.
	Address string
	Kind    OutputKind
	// Path is where the key of an Own output is.
	Path *keys.Path
	// DerivationClaimed tells that the PSBT names the owner's master fingerprint for the output; FalseClaim that it does so wrongly.
	DerivationClaimed bool
	FalseClaim        bool
}

// OutputKind says to whom an output goes.
type OutputKind string

// The kinds. External is all that is not provably the owner's.
const (
	Own      OutputKind = "Own"
	External OutputKind = "External"
	OpReturn OutputKind = "OpReturn"
)

// FeeRateDecimal returns FeeSats over VSize in sat/vB with three decimals, rounded to the nearest, for people to read.
func (i *Inspection) FeeRateDecimal() string {
	vsize := uint64(i.VSize)
	milli := (uint64(i.FeeSats)*1000 + vsize/2) / vsize
	return fmt.Sprintf("%d.%03d", milli/1000, milli%1000)
}

// Inspect parses unsigned, a PSBT in base64, and says what it does to owner. It fails with a *Refusal of LayerParse or LayerKeys, of
// LayerPolicy where the amounts make no sense, or with the *keys.Error of an owner that is none.
func Inspect(unsigned string, owner keys.Public) (*Inspection, error) {
	p, err := Parse(unsigned)
	if err != nil {
		return nil, err
	}
	return p.Inspect(owner)
}

// Inspect says what p, which Parse has read, does to owner. It fails as the function Inspect does.
func (p *PSBT) Inspect(owner keys.Public) (*Inspection, error) {
	deriver, err := owner.Deriver()
	if err != nil {
		return nil, fmt.Errorf("public keys of the wallet: %w", err)
	}
	params, err := owner.Network.Params()
	if err != nil {
		return nil, err
	}
	fingerprint := owner.Fingerprint()
	in := inspector{deriver: deriver, params: params, fingerprint: binary.LittleEndian.Uint32(fingerprint[:])}
	tx := p.packet.UnsignedTx
	result := &Inspection{Network: owner.Network, Txid: p.Txid(), Digest: p.Digest(), Version: tx.Version, LockTime: tx.LockTime}

	var inputSum, outputSum amount.Sat
	spent := map[wire.OutPoint]bool{}
	for i, txIn := range tx.TxIn {
		if spent[txIn.PreviousOutPoint] {
			return nil, refuse(LayerKeys, DuplicateInput, "input %d spends the same coin as another", i)
		}
		spent[txIn.PreviousOutPoint] = true
		input, err := in.input(i, txIn, &p.packet.Inputs[i])
		if err != nil {
			return nil, err
		}
		if !add(&inputSum, input.ValueSats) {
			return nil, refuse(LayerPolicy, ImpossibleAmount, "the coins up to input %d are worth more than all bitcoin, or less than nothing", i)
		}
		result.Inputs = append(result.Inputs, *input)
		result.OwnInputs.add(input.Path.Account, input.ValueSats)
	}
	for i, txOut := range tx.TxOut {
		output := in.output(txOut, &p.packet.Outputs[i])
		if !add(&outputSum, output.ValueSats) {
			return nil, refuse(LayerPolicy, ImpossibleAmount, "the outputs up to number %d are worth more than all bitcoin, or less than nothing", i)
		}
		result.Outputs = append(result.Outputs, output)
		switch output.Kind {
		case Own:
			result.TotalToSelf += output.ValueSats
			result.ToSelf.add(output.Path.Account, output.ValueSats)
		case External:
			result.ExternalSats += output.ValueSats
		case OpReturn:
			result.OpReturnSats += output.ValueSats
		}
	}
	if outputSum > inputSum {
		return nil, refuse(LayerPolicy, OutputsExceedInputs, "its outputs are worth %d sat more than its inputs", outputSum-inputSum)
	}
	result.FeeSats = inputSum - outputSum
	result.NetOutflowSats = inputSum - result.TotalToSelf
	result.Weight = signedWeight(tx)
	result.VSize = (result.Weight + 3) / 4
	result.FeeRate = amount.SatPerVByte((int64(result.FeeSats) + result.VSize - 1) / result.VSize)
	result.Assets = assetsOf(p.packet, result)
	return result, nil
}

// add adds value to sum; false where either is no amount of bitcoin. Sums stay below amount.MaxSat, so none overflows.
func add(sum *amount.Sat, value amount.Sat) bool {
	if value < 0 || value > amount.MaxSat || *sum+value > amount.MaxSat {
		return false
	}
	*sum += value
	return true
}

func (s *Split) add(account keys.Account, value amount.Sat) {
	if account == keys.Colored {
		s.Colored += value
	} else {
		s.Vanilla += value
	}
}

// signedWeight returns the weight of tx with one 64-byte signature an input: 4 units a byte without witnesses; 1 a byte for marker and
// flag, and for each input's count of items, length and signature (BIP 141, BIP 341).
func signedWeight(tx *wire.MsgTx) int64 {
	return 4*int64(tx.SerializeSizeStripped()) + 2 + int64(len(tx.TxIn))*(1+1+64)
}

// inspector compares what a PSBT claims with what the owner's keys derive.
type inspector struct {
	deriver     *keys.Deriver
	params      *chaincfg.Params
	fingerprint uint32 // as the library reads it: little-endian
}

// input returns input number i, or refuses it unless it is the owner's own key-path coin.
func (in *inspector) input(i int, txIn *wire.TxIn, claimed *psbt.PInput) (*Input, error) {
	switch n := len(claimed.TaprootBip32Derivation); {
	case claimed.WitnessUtxo == nil:
		return nil, refuse(LayerKeys, NoCoin, "input %d does not say which coin it spends (witness UTXO)", i)
	case n == 0:
		return nil, refuse(LayerKeys, NoDerivation, "input %d does not say which key it needs", i)
	case n > 1:
		return nil, refuse(LayerKeys, SeveralDerivations, "input %d names %d keys; a coin of the wallet has one", i, n)
	}
	derivation := claimed.TaprootBip32Derivation[0]
	if derivation.MasterKeyFingerprint != in.fingerprint {
		return nil, refuse(LayerKeys, ForeignFingerprint, "input %d belongs to another master key", i)
	}
	if len(derivation.LeafHashes) != 0 {
		return nil, refuse(LayerKeys, NotKeyPath, "input %d commits to a script; only plain key-path coins are signed", i)
	}
	path, ok := keys.ParsePath(in.deriver.Public().Network, derivation.Bip32Path)
	if !ok {
		return nil, refuse(LayerKeys, ForeignPath, "input %d needs a key that is on neither account of the wallet", i)
	}
	child, err := in.deriver.Child(path)
	if err != nil {
		return nil, refuse(LayerKeys, ForeignPath, "input %d needs a key that does not exist", i)
	}
	internal := claimed.TaprootInternalKey
	if !bytes.Equal(derivation.XOnlyPubKey, child.InternalKey[:]) || internal != nil && !bytes.Equal(internal, child.InternalKey[:]) {
		return nil, refuse(LayerKeys, KeyMismatch, "input %d names another key than the wallet has at %s", i, path)
	}
	coin := claimed.WitnessUtxo
	if !bytes.Equal(coin.PkScript, child.Script()) {
		return nil, refuse(LayerKeys, ScriptMismatch, "input %d spends a coin that is not locked by the wallet's key at %s", i, path)
	}
	return &Input{
		Txid: txIn.PreviousOutPoint.Hash.String(), Vout: txIn.PreviousOutPoint.Index,
		ValueSats: amount.Sat(coin.Value), Script: coin.PkScript,
		Class: txscript.GetScriptClass(coin.PkScript).String(), Address: in.address(coin.PkScript),
		Path: path, Sequence: txIn.Sequence, Sighash: uint32(claimed.SighashType),
	}, nil
}

// output says to whom an output goes. A derivation of the owner's is a claim to be proved by the script; without one, the script is
// looked for among the first of every keychain.
func (in *inspector) output(txOut *wire.TxOut, claimed *psbt.POutput) Output {
	out := Output{
		ValueSats: amount.Sat(txOut.Value), Script: txOut.PkScript,
		Class: txscript.GetScriptClass(txOut.PkScript).String(), Address: in.address(txOut.PkScript), Kind: External,
	}
	if bytes.HasPrefix(txOut.PkScript, []byte{txscript.OP_RETURN}) {
		out.Kind = OpReturn
	}
	for _, derivation := range claimed.TaprootBip32Derivation {
		if derivation.MasterKeyFingerprint != in.fingerprint {
			continue
		}
		out.DerivationClaimed = true
		if path, ok := in.proved(derivation, txOut.PkScript, claimed); ok {
			out.Kind, out.Path = Own, &path
		} else {
			out.FalseClaim = true
		}
	}
	for _, derivation := range claimed.Bip32Derivation { // of another script type than the wallet has
		if derivation.MasterKeyFingerprint == in.fingerprint {
			out.DerivationClaimed, out.FalseClaim = true, true
		}
	}
	if out.Path == nil {
		if path, ok := in.deriver.Find(txOut.PkScript); ok {
			out.Kind, out.Path = Own, &path
		}
	}
	return out
}

// proved returns the path of derivation where script is that of the owner's key there, and nothing said about it contradicts.
func (in *inspector) proved(derivation *psbt.TaprootBip32Derivation, script []byte, claimed *psbt.POutput) (keys.Path, bool) {
	path, ok := keys.ParsePath(in.deriver.Public().Network, derivation.Bip32Path)
	if !ok || len(derivation.LeafHashes) != 0 || claimed.TaprootTapTree != nil {
		return path, false
	}
	child, err := in.deriver.Child(path)
	if err != nil || !bytes.Equal(script, child.Script()) || !bytes.Equal(derivation.XOnlyPubKey, child.InternalKey[:]) {
		return path, false
	}
	internal := claimed.TaprootInternalKey
	return path, internal == nil || bytes.Equal(internal, child.InternalKey[:])
}

// address returns the address of script, or nothing: for a bare public key, which the library would print as hexadecimal, too.
func (in *inspector) address(script []byte) string {
	class, addresses, _, err := txscript.ExtractPkScriptAddrs(script, in.params)
	if err != nil || len(addresses) != 1 || class == txscript.PubKeyTy || class == txscript.MultiSigTy {
		return ""
	}
	return addresses[0].EncodeAddress()
}
