package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
)

// ErrOtherTransaction says that a signed PSBT is not that of the unsigned one: its transaction or the coins it names differ.
var ErrOtherTransaction = errors.New("the signed PSBT is of another transaction than the unsigned one")

// ErrInvalidSignature says that a signature does not satisfy the script of the coin that it spends.
var ErrInvalidSignature = errors.New("a signature is not valid")

// ErrAltered says that a signed PSBT holds more or less than the unsigned one and its signatures.
var ErrAltered = errors.New("the signed PSBT differs from the unsigned one in more than its signatures")

// Verify tells whether signed is unsigned with all its signatures: the same transaction, spending the same coins, and every input
// satisfied under the rules by which nodes relay. Both are PSBTs in base64. It fails with a *psbtcheck.Refusal, ErrOtherTransaction or
// ErrInvalidSignature.
func Verify(unsigned, signed string) error {
	before, err := psbtcheck.Parse(unsigned)
	if err != nil {
		return err
	}
	after, err := psbtcheck.ParseSigned(signed)
	if err != nil {
		return err
	}
	if before.Txid() != after.Txid() {
		return ErrOtherTransaction
	}
	for i, input := range before.Packet().Inputs {
		a, b := input.WitnessUtxo, after.Packet().Inputs[i].WitnessUtxo
		if a == nil || b == nil || a.Value != b.Value || !bytes.Equal(a.PkScript, b.PkScript) {
			return fmt.Errorf("input %d: %w", i, ErrOtherTransaction)
		}
	}
	_, err = extract(after)
	return err
}

// Accept makes a Signed of what another signer, a person or a machine, answered to request for the wallet of owner. It trusts the
// answer in nothing: it inspects the unsigned PSBT, checks the policy and verifies the signatures. It fails as Verify and Sign do.
func Accept(ctx context.Context, owner keys.Public, request Request, signed string) (*Signed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	inspection, err := psbtcheck.Inspect(request.UnsignedPSBT, owner)
	if err != nil {
		return nil, err
	}
	if err := inspection.Check(request.Policy); err != nil {
		return nil, err
	}
	if err := Verify(request.UnsignedPSBT, signed); err != nil {
		return nil, err
	}
	return &Signed{PSBT: signed, Txid: inspection.Txid, Inspection: inspection}, nil
}

// AcceptExact is Accept for a signer that must not change anything: where the answer holds a field that Local would not have written, or
// lacks one, it fails with ErrAltered. The PSBT it returns is made anew from the unsigned one and the signatures alone.
func AcceptExact(ctx context.Context, owner keys.Public, request Request, signed string) (*Signed, error) {
	accepted, err := AcceptSignatures(ctx, owner, request, signed)
	if err != nil {
		return nil, err
	}
	after, err := psbtcheck.ParseSigned(signed)
	if err != nil {
		return nil, err
	}
	if got, err := after.Packet().B64Encode(); err != nil || got != accepted.PSBT {
		return nil, ErrAltered
	}
	return accepted, nil
}

// AcceptSignatures is Accept for signers of any kind: of what they answer it takes the signatures alone. The PSBT it returns is made of these
// and the unsigned one, and is what Local would have written.
func AcceptSignatures(ctx context.Context, owner keys.Public, request Request, signed string) (*Signed, error) {
	accepted, err := Accept(ctx, owner, request, signed)
	if err != nil {
		return nil, err
	}
	before, err := psbtcheck.Parse(request.UnsignedPSBT)
	if err != nil {
		return nil, err
	}
	after, err := psbtcheck.ParseSigned(signed)
	if err != nil {
		return nil, err
	}
	rebuilt := before.Packet()
	for i := range rebuilt.Inputs {
		rebuilt.Inputs[i] = finalised(rebuilt.Inputs[i], after.Packet().Inputs[i].FinalScriptWitness[2:])
	}
	dropDerivations(rebuilt)
	if accepted.PSBT, err = rebuilt.B64Encode(); err != nil {
		return nil, errors.New("the signed PSBT cannot be written")
	}
	return accepted, nil
}

// Extract returns the transaction of signed, a PSBT in base64 with every input finalised, ready for the network. It verifies the
// signatures against the coins that the PSBT names; only a chain knows whether these exist. It fails as Verify does.
func Extract(signed string) (*wire.MsgTx, error) {
	parsed, err := psbtcheck.ParseSigned(signed)
	if err != nil {
		return nil, err
	}
	return extract(parsed)
}

func extract(signed *psbtcheck.PSBT) (*wire.MsgTx, error) {
	packet := signed.Packet()
	spent := map[wire.OutPoint]bool{}
	for i, input := range packet.Inputs {
		outpoint := packet.UnsignedTx.TxIn[i].PreviousOutPoint
		if input.WitnessUtxo == nil || spent[outpoint] {
			return nil, fmt.Errorf("input %d names no coin, or one that is spent already: %w", i, ErrInvalidSignature)
		}
		spent[outpoint] = true
	}
	tx := finalTransaction(packet)
	coins := coinsOf(packet)
	hashes := txscript.NewTxSigHashes(tx, coins)
	for i, input := range packet.Inputs {
		coin := input.WitnessUtxo
		engine, err := txscript.NewEngine(coin.PkScript, tx, i, txscript.StandardVerifyFlags, nil, hashes, coin.Value, coins)
		if err == nil {
			err = engine.Execute()
		}
		if err != nil {
			return nil, fmt.Errorf("input %d: %w", i, ErrInvalidSignature)
		}
	}
	return tx, nil
}
