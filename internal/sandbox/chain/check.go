package chain

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/utexo/utexo-operator/internal/amount"
)

// Reasons for which a signed PSBT is refused before the chain looks at its transaction.
var (
	ErrEncoding         = errors.New("not one PSBT in base64")
	ErrNotFinalizable   = errors.New("PSBT has an input without a signature")
	ErrOtherTransaction = errors.New("PSBT is not the transaction that was asked for")
)

// ParseSigned decodes a base64 PSBT and finalises it, without a look at any signature: what a watch-only wallet does. It fails with
// ErrEncoding or ErrNotFinalizable.
func ParseSigned(text string) (*wire.MsgTx, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrEncoding
	}
	// btcd's reader stops after the last map: what follows would go unseen.
	rest := bytes.NewReader(raw)
	packet, err := psbt.NewFromRawBytes(rest, false)
	if err != nil || rest.Len() > 0 {
		return nil, ErrEncoding
	}
	if err := psbt.MaybeFinalizeAll(packet); err != nil {
		return nil, ErrNotFinalizable
	}
	tx, err := psbt.Extract(packet)
	if err != nil {
		return nil, ErrNotFinalizable
	}
	return tx, nil
}

// Encode returns packet in base64.
func Encode(packet *psbt.Packet) (string, error) {
	var raw bytes.Buffer
	if err := packet.Serialize(&raw); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(raw.Bytes()), nil
}

// Signed is a signed PSBT and what the chain thinks of it.
type Signed struct {
	Tx   *wire.MsgTx
	Txid chainhash.Hash
	Fee  amount.Sat // 0 where Invalid is set
	// Invalid says why the chain would not take the transaction; nil where it would.
	Invalid error
}

// CheckSigned decodes and finalises text and judges it as the answer to the unsigned transaction asked. It returns an error,
// ErrEncoding or ErrNotFinalizable, only where there is no transaction to speak of; every other objection is in Signed.Invalid, so that
// a server that does not verify can still be judged by what it was given.
func (c *Chain) CheckSigned(text string, asked chainhash.Hash) (Signed, error) {
	tx, err := ParseSigned(text)
	if err != nil {
		return Signed{}, err
	}
	signed := Signed{Tx: tx, Txid: tx.TxHash()}
	if signed.Txid != asked {
		signed.Invalid = fmt.Errorf("%w: txid %s", ErrOtherTransaction, signed.Txid)
		return signed, nil
	}
	if known, ok := c.Tx(signed.Txid); ok {
		signed.Fee = known.Fee // submitted before: its coins are spent, by itself
		return signed, nil
	}
	signed.Fee, signed.Invalid = c.Verify(tx)
	return signed, nil
}
