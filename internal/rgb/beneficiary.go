package rgb

import (
	"bytes"
	"encoding/hex"
	"strings"

	"github.com/btcsuite/btcd/btcec/v2/schnorr"
	"github.com/btcsuite/btcd/txscript/v2"
)

// BeneficiaryKind tells who gets an asset.
type BeneficiaryKind string

const (
	// BlindedSeal is an output that the payee has already, hidden behind a hash.
	BlindedSeal BeneficiaryKind = "utxob"
	// WitnessOutput is an output that the paying transaction makes for the payee.
	WitnessOutput BeneficiaryKind = "wvout"
)

// Beneficiary is who gets the asset of an invoice.
type Beneficiary struct {
	Kind BeneficiaryKind
	// Payload is the 32-byte blinded seal; or the 33 bytes of a witness output: the address type (1 P2PKH, 2 P2SH, 3 P2WPKH, 4 P2WSH,
	// 5 P2TR), the hash or x-only key, and zeros up to the end.
	Payload []byte
	// InternalKey is the x-only Taproot key under a witness output's, where the payee tells it.
	InternalKey *[32]byte
}

// The address types of witness outputs: the opcodes around the hash or key.
var outputTypes = []struct {
	length         int
	before, behind []byte
}{
	1: {20, []byte{txscript.OP_DUP, txscript.OP_HASH160, 20}, []byte{txscript.OP_EQUALVERIFY, txscript.OP_CHECKSIG}}, // P2PKH
	2: {20, []byte{txscript.OP_HASH160, 20}, []byte{txscript.OP_EQUAL}},                                              // P2SH
	3: {20, []byte{txscript.OP_0, 20}, nil},                                                                          // P2WPKH
	4: {32, []byte{txscript.OP_0, 32}, nil},                                                                          // P2WSH
	5: {32, []byte{txscript.OP_1, 32}, nil},                                                                          // P2TR
}

const taprootType = 5

// NewWitnessOutput returns the beneficiary that is paid to script: P2PKH, P2SH, P2WPKH, P2WSH or P2TR. It returns *Error for another.
// Only tests make one: what is paid to comes from an invoice.
func NewWitnessOutput(script []byte) (Beneficiary, error) {
	for kind, output := range outputTypes {
		if kind > 0 && len(script) == len(output.before)+output.length+len(output.behind) &&
			bytes.HasPrefix(script, output.before) && bytes.HasSuffix(script, output.behind) {
			payload := make([]byte, 33)
			payload[0] = byte(kind)
			copy(payload[1:], script[len(output.before):][:output.length])
			beneficiary := Beneficiary{Kind: WitnessOutput, Payload: payload}
			return beneficiary, beneficiary.check()
		}
	}
	return Beneficiary{}, refuse(Unsupported, "no address has the script of %d bytes that is to be paid", len(script))
}

// Script returns the output script that a witness output is paid to, and nil for a blinded seal.
func (b Beneficiary) Script() []byte {
	if b.Kind != WitnessOutput || b.check() != nil {
		return nil
	}
	output := outputTypes[b.Payload[0]]
	return append(append(bytes.Clone(output.before), b.Payload[1:1+output.length]...), output.behind...)
}

// String returns the beneficiary as an invoice holds it, after its network.
func (b Beneficiary) String() string {
	sum := checksum(string(b.Kind), b.Payload)
	text := string(b.Kind) + ":" + chunk(baid64.EncodeToString(append(bytes.Clone(b.Payload), sum[:]...)))
	if b.InternalKey != nil {
		text += "+" + hex.EncodeToString(b.InternalKey[:])
	}
	return text
}

func parseBeneficiary(text string) (Beneficiary, error) {
	text, key, hasKey := strings.Cut(text, "+")
	kind, encoded, _ := strings.Cut(text, ":")
	beneficiary := Beneficiary{Kind: BeneficiaryKind(kind)}
	size := 32
	switch beneficiary.Kind {
	case BlindedSeal:
	case WitnessOutput:
		size = 33
	default:
		return Beneficiary{}, refuse(Malformed, "the beneficiary of the invoice is of kind %s, neither utxob nor wvout", quote(kind))
	}
	data, err := baid64.DecodeString(strings.ReplaceAll(encoded, "-", ""))
	if err != nil || len(data) != size+4 {
		return Beneficiary{}, refuse(Malformed, "the beneficiary of the invoice is not %d bytes and a checksum in RGB's base 64", size)
	}
	beneficiary.Payload = data[:size:size]
	if sum := checksum(kind, beneficiary.Payload); !bytes.Equal(sum[:], data[size:]) {
		return Beneficiary{}, refuse(BadChecksum, "the checksum of the invoice's beneficiary does not match: it was altered; copy it again")
	}
	if !isSpelling(text, beneficiary.String()) {
		return Beneficiary{}, refuse(Malformed, "the beneficiary of the invoice is not in its canonical spelling, which is %s", beneficiary)
	}
	if hasKey {
		octets, err := hex.DecodeString(key)
		if err != nil || len(octets) != 32 || key != strings.ToLower(key) {
			return Beneficiary{}, refuse(Malformed, "the internal key of the invoice is not 64 lower-case hexadecimal digits")
		}
		beneficiary.InternalKey = (*[32]byte)(octets)
	}
	return beneficiary, beneficiary.check()
}

// check refuses what decodes but is no output that a payee can spend, or that has a second spelling.
func (b Beneficiary) check() error {
	isOutput := b.Kind == WitnessOutput
	if b.InternalKey != nil {
		if _, err := schnorr.ParsePubKey(b.InternalKey[:]); err != nil || !isOutput {
			return refuse(Malformed, "the internal key of the invoice is not the key of an output")
		}
	}
	if !isOutput {
		return nil
	}
	if len(b.Payload) != 33 || b.Payload[0] == 0 || int(b.Payload[0]) >= len(outputTypes) {
		return refuse(Malformed, "the beneficiary of the invoice is of no known address type")
	}
	if rest := b.Payload[1+outputTypes[b.Payload[0]].length:]; len(bytes.Trim(rest, "\x00")) > 0 {
		return refuse(Malformed, "the beneficiary of the invoice is longer than its address type allows")
	}
	if b.Payload[0] == taprootType {
		if _, err := schnorr.ParsePubKey(b.Payload[1:]); err != nil {
			return refuse(Malformed, "the beneficiary of the invoice is a Taproot key that is not on the curve: nobody could spend it")
		}
	}
	return nil
}
