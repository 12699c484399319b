// Package psbtcheck says what a PSBT would do to a wallet before anybody signs it: which of its coins it spends, to whom, at which
// fee. It decides with the public keys alone, and never by what the PSBT claims: a claim is a hint where to derive and compare.
//
// A PSBT is asked in four layers: does it parse (BIP 174), is every input the wallet's own key-path coin (BIP 86, BIP 371), is it
// within the policy, and does it do what was asked for. Whatever fails is a *Refusal.
//
// What it cannot see: a false amount of an input, which makes the signature void on chain instead (BIP 341), and how much of an RGB
// asset the coins carry. Where the PSBT shows what it does with assets, that is proved: see Assets and Policy.Assets.
package psbtcheck

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"github.com/btcsuite/btcd/psbt/v2"
)

// MaxBytes bounds the PSBT, decoded: some 3,000 inputs, more than a transaction that nodes relay can hold.
const MaxBytes = 512 << 10

// PSBT is one PSBT of version 0, read strictly.
type PSBT struct {
	raw    []byte
	packet *psbt.Packet
}

// Parse reads text as exactly one unsigned PSBT of version 0 (BIP 174) in standard base64, without line breaks, whose inputs have
// the fields of a Taproot key-path spend and no others, apart from proprietary and unassigned ones. It fails with a *Refusal.
func Parse(text string) (*PSBT, error) {
	raw, err := decode(text)
	if err != nil {
		return nil, err
	}
	m, err := scan(raw)
	if err != nil {
		return nil, err
	}
	for i, input := range m.inputs {
		if err := checkUnsignedInput(i, input); err != nil {
			return nil, err
		}
	}
	return decodePacket(raw)
}

// ParseSigned reads text as exactly one PSBT of version 0 whose every input is finalised with one 64-byte signature: what a signer
// returns. It does not verify the signatures. It fails with a *Refusal of LayerParse.
func ParseSigned(text string) (*PSBT, error) {
	raw, err := decode(text)
	if err != nil {
		return nil, err
	}
	m, err := scan(raw)
	if err != nil {
		return nil, err
	}
	for i, input := range m.inputs {
		if err := checkSignedInput(i, input); err != nil {
			return nil, err
		}
	}
	return decodePacket(raw)
}

// Packet returns the decoded PSBT. It belongs to the PSBT: change it only where nothing else reads it.
func (p *PSBT) Packet() *psbt.Packet { return p.packet }

// Txid returns the id of the transaction, 64 hexadecimal digits. Signing does not change it (BIP 141).
func (p *PSBT) Txid() string { return p.packet.UnsignedTx.TxHash().String() }

// Digest returns the SHA-256 of the PSBT, decoded from base64: 64 hexadecimal digits.
func (p *PSBT) Digest() string {
	sum := sha256.Sum256(p.raw)
	return hex.EncodeToString(sum[:])
}

func decode(text string) ([]byte, error) {
	if base64.StdEncoding.DecodedLen(len(text)) > MaxBytes+2 { // up to two bytes of padding
		return nil, refuse(LayerParse, TooLarge, "it is larger than %d bytes", MaxBytes)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || base64.StdEncoding.EncodeToString(raw) != text { // the decoder skips line breaks and stray bits
		return nil, refuse(LayerParse, NotBase64, "it is not standard base64 on one line")
	}
	return raw, nil
}

// checkUnsignedInput refuses the fields that a Taproot key-path input does not have before it is signed. What it lets through and
// the signer does not know, proprietary RGB fields among it, is kept and changes nothing.
func checkUnsignedInput(i int, input fields) error {
	for _, f := range input {
		switch f.key[0] {
		case 0x02, 0x07, 0x08, 0x13, 0x14:
			return refuse(LayerKeys, AlreadySigned, "input %d is signed already", i)
		case 0x15, 0x18:
			return refuse(LayerKeys, NotKeyPath, "input %d commits to a script; only plain key-path coins are signed", i)
		case 0x00, 0x04, 0x05, 0x06, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e:
			return refuse(LayerKeys, NotKeyPath, "input %d has fields (type %#02x) that a Taproot key-path coin has not", i, f.key[0])
		case inputWitnessUTXO:
			if err := checkCoin(i, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// witnessPrefix begins the final witness of a key-path spend with SIGHASH_DEFAULT: one item of 64 bytes (BIP 341).
var witnessPrefix = []byte{1, 64}

func checkSignedInput(i int, input fields) error {
	signed := false
	for _, f := range input {
		switch kind := f.key[0]; {
		case kind == inputWitnessUTXO:
			if err := checkCoin(i, f); err != nil {
				return err
			}
		case kind == inputFinalWitness && len(f.value) == len(witnessPrefix)+64 && bytes.HasPrefix(f.value, witnessPrefix):
			signed = true
		case kind == inputFinalWitness:
			return refuse(LayerParse, NotSigned, "the witness of input %d is not one 64-byte signature", i)
		case kind <= 0x1e:
			return refuse(LayerParse, NotSigned, "input %d has a field (type %#02x) that a finalised Taproot input has not", i, kind)
		}
	}
	if !signed {
		return refuse(LayerParse, NotSigned, "input %d is not signed and finalised", i)
	}
	return nil
}

// checkCoin refuses a coin whose script has not the length that precedes it.
func checkCoin(i int, f field) error {
	r := &reader{rest: f.value}
	_, value := r.take(8)
	_, script := r.sized()
	if !value || !script || len(r.rest) != 0 {
		return refuse(LayerParse, BadField, "the coin (witness UTXO) of input %d cannot be read", i)
	}
	return nil
}

// decodePacket has the library decode raw, which was scanned.
func decodePacket(raw []byte) (*PSBT, error) {
	packet, err := psbt.NewFromRawBytes(bytes.NewReader(raw), false)
	if err != nil {
		return nil, refuse(LayerParse, BadField, "a field of it has not the form of its type")
	}
	return &PSBT{raw: raw, packet: packet}, nil
}
