package signer

import (
	"context"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
)

// Local signs with keys in this process (BIP 86, BIP 340, BIP 341), deterministically: the same PSBT gives the same bytes, those of
// the official SDK's signer. It is safe for concurrent use.
type Local struct{ keys keyring }

var _ Signer = (*Local)(nil)

// keyring is what Local needs of a *keys.Set.
type keyring interface {
	Public() keys.Public
	SignTaproot(path keys.Path, digest [32]byte) ([64]byte, error)
}

// NewLocal returns a signer with the keys of set, which is not nil.
func NewLocal(set *keys.Set) *Local { return &Local{keys: set} }

// Public returns the public half of the keys.
func (l *Local) Public(context.Context) (keys.Public, error) { return l.keys.Public(), nil }

// Sign signs request's PSBT, as Signer says. It never rewrites what it is given: where the PSBT and the keys disagree, it refuses.
func (l *Local) Sign(ctx context.Context, request Request) (*Signed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	parsed, err := psbtcheck.Parse(request.UnsignedPSBT)
	if err != nil {
		return nil, err
	}
	inspection, err := parsed.Inspect(l.keys.Public())
	if err != nil {
		return nil, err
	}
	if err := inspection.Check(request.Policy); err != nil {
		return nil, err
	}
	packet := parsed.Packet()
	if err := l.sign(packet, inspection); err != nil {
		return nil, err
	}
	text, err := packet.B64Encode()
	if err != nil {
		return nil, errors.New("the signed PSBT cannot be written")
	}
	if err := Verify(request.UnsignedPSBT, text); err != nil {
		return nil, fmt.Errorf("verifying own signatures: %w", err)
	}
	return &Signed{PSBT: text, Txid: inspection.Txid, Inspection: inspection}, nil
}

// sign adds the final witness to every input of packet, and drops what a finalised PSBT does not carry: the internal keys of inputs,
// all derivations. Unknown and proprietary fields stay in place (BIP 174).
func (l *Local) sign(packet *psbt.Packet, inspection *psbtcheck.Inspection) error {
	coins := coinsOf(packet)
	hashes := txscript.NewTxSigHashes(packet.UnsignedTx, coins)
	for i, input := range inspection.Inputs {
		hash, err := txscript.CalcTaprootSignatureHash(hashes, txscript.SigHashDefault, packet.UnsignedTx, i, coins)
		if err != nil {
			return fmt.Errorf("input %d has no signature hash", i)
		}
		signature, err := l.keys.SignTaproot(input.Path, [32]byte(hash))
		if err != nil {
			return fmt.Errorf("signing input %d: %w", i, err)
		}
		packet.Inputs[i] = finalised(packet.Inputs[i], signature[:])
	}
	dropDerivations(packet)
	return nil
}

// finalised is input with its signature and what a finalised input keeps beside it.
func finalised(input psbt.PInput, signature []byte) psbt.PInput {
	return psbt.PInput{
		WitnessUtxo:        input.WitnessUtxo,
		FinalScriptWitness: append([]byte{1, byte(len(signature))}, signature...), // one item, its length
		Unknowns:           input.Unknowns,
	}
}

func dropDerivations(packet *psbt.Packet) {
	for i := range packet.Outputs {
		packet.Outputs[i].TaprootBip32Derivation = nil
		packet.Outputs[i].Bip32Derivation = nil
	}
}

// coinsOf returns the coins that packet says its inputs spend.
func coinsOf(packet *psbt.Packet) *txscript.MultiPrevOutFetcher {
	coins := txscript.NewMultiPrevOutFetcher(nil)
	for i, txIn := range packet.UnsignedTx.TxIn {
		coins.AddPrevOut(txIn.PreviousOutPoint, packet.Inputs[i].WitnessUtxo)
	}
	return coins
}

// finalTransaction returns packet's transaction with the final witnesses, which ParseSigned has checked to be one 64-byte item each.
func finalTransaction(packet *psbt.Packet) *wire.MsgTx {
	tx := packet.UnsignedTx.Copy()
	for i := range tx.TxIn {
		tx.TxIn[i].Witness = wire.TxWitness{packet.Inputs[i].FinalScriptWitness[2:]}
	}
	return tx
}
