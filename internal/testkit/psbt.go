package testkit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"github.com/btcsuite/btcd/psbt/v2"
)

// TxidOfEnd returns the txid of the PSBT in the body of a call that ends a payment; empty where there is none.
func TxidOfEnd(body []byte) string {
	var end struct {
		SignedPSBT string `json:"signed_psbt"`
	}
	if json.Unmarshal(body, &end) != nil {
		return ""
	}
	raw, err := base64.StdEncoding.DecodeString(end.SignedPSBT)
	if err != nil {
		return ""
	}
	packet, err := psbt.NewFromRawBytes(bytes.NewReader(raw), false)
	if err != nil {
		return ""
	}
	return packet.UnsignedTx.TxHash().String()
}

// EditPSBT returns text, a finalised PSBT in base64, with the final witness of its first input as edit wants it. It panics where text is
// none.
func EditPSBT(text string, edit func(witness []byte) []byte) string {
	return RewritePSBT(text, func(packet *psbt.Packet) {
		packet.Inputs[0].FinalScriptWitness = edit(packet.Inputs[0].FinalScriptWitness)
	})
}

// WithoutTransitions returns text, a PSBT in base64, without a word of what its transaction does with RGB assets. The transaction does it
// all the same. It panics where text is none.
func WithoutTransitions(text string) string {
	return RewritePSBT(text, func(packet *psbt.Packet) {
		packet.Unknowns = nil
		for i := range packet.Inputs {
			packet.Inputs[i].Unknowns = nil
		}
		for i := range packet.Outputs {
			packet.Outputs[i].Unknowns = nil
		}
	})
}

// RewritePSBT returns text, a PSBT in base64, as edit leaves it. It panics where text is none.
func RewritePSBT(text string, edit func(*psbt.Packet)) string {
	packet, err := psbt.NewFromRawBytes(bytes.NewReader([]byte(text)), true)
	if err != nil {
		panic(err)
	}
	edit(packet)
	edited, err := packet.B64Encode()
	if err != nil {
		panic(err)
	}
	return edited
}
