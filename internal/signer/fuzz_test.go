package signer

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/btcsuite/btcd/psbt/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
)

// FuzzSign signs whatever it can. What is signed verifies, is within the policy as counted from the transaction and the keys, keeps
// every proprietary field, and comes out the same again.
func FuzzSign(f *testing.F) {
	signer := local(f, guide, bitcoin.Regtest)
	deriver := deriverOf(f, signer)
	for _, c := range vectors(f).Cases {
		raw, err := base64.StdEncoding.DecodeString(c.UnsignedPSBT)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	raw, err := base64.StdEncoding.DecodeString(text(f, transfer(f, deriver, path(keys.Colored, 0, 0), path(keys.Vanilla, 1, 3))))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	policy := psbtcheck.DefaultPolicy()
	policy.MaxNetOutflowSats = 110_000
	f.Fuzz(func(t *testing.T, raw []byte) {
		request := Request{UnsignedPSBT: base64.StdEncoding.EncodeToString(raw), Policy: policy}
		signed, err := signer.Sign(t.Context(), request)
		if err != nil {
			if refusal := new(psbtcheck.Refusal); !errors.As(err, &refusal) {
				t.Fatalf("%v is no *Refusal", err)
			}
			return
		}
		tx, err := Extract(signed.PSBT)
		if err != nil {
			t.Fatal(err)
		}
		before, after := packetOf(t, request.UnsignedPSBT), packetOf(t, signed.PSBT)
		if tx.TxHash() != before.UnsignedTx.TxHash() || tx.TxHash().String() != signed.Txid {
			t.Fatal("another transaction was signed")
		}
		var outflow amount.Sat
		for i := range tx.TxIn {
			outflow += amount.Sat(before.Inputs[i].WitnessUtxo.Value)
		}
		for i, txOut := range tx.TxOut {
			if isOwn(t, deriver, before.Outputs[i], txOut.PkScript) {
				outflow -= amount.Sat(txOut.Value)
			}
		}
		if outflow > policy.MaxNetOutflowSats {
			t.Fatalf("%d sat leave the wallet, %d are allowed", outflow, policy.MaxNetOutflowSats)
		}
		if unknowns(before) != unknowns(after) {
			t.Fatalf("unknown fields %s became %s", unknowns(before), unknowns(after))
		}
		again, err := signer.Sign(t.Context(), request)
		if err != nil || again.PSBT != signed.PSBT {
			t.Fatalf("signed again: %v, other bytes", err)
		}
	})
}

// isOwn tells whether script is the wallet's at a path that output names, or in the window.
func isOwn(t *testing.T, deriver *keys.Deriver, output psbt.POutput, script []byte) bool {
	t.Helper()
	if _, ok := deriver.Find(script); ok {
		return true
	}
	for _, derivation := range output.TaprootBip32Derivation {
		if path, ok := keys.ParsePath(bitcoin.Regtest, derivation.Bip32Path); ok {
			child, err := deriver.Child(path)
			if err == nil && bytes.Equal(child.Script(), script) {
				return true
			}
		}
	}
	return false
}

// unknowns writes the fields of packet that the library does not know, map by map, in their order.
func unknowns(packet *psbt.Packet) string {
	var b bytes.Buffer
	write := func(fields []*psbt.Unknown) {
		for _, f := range fields {
			b.WriteString(hex.EncodeToString(f.Key) + "=" + hex.EncodeToString(f.Value) + " ")
		}
		b.WriteString("/ ")
	}
	write(packet.Unknowns)
	for _, input := range packet.Inputs {
		write(input.Unknowns)
	}
	for _, output := range packet.Outputs {
		write(output.Unknowns)
	}
	return b.String()
}

func BenchmarkSign(b *testing.B) {
	file := vectors(b)
	c := file.Cases[0]
	signer := local(b, c.Mnemonic, c.Network)
	request := Request{UnsignedPSBT: c.UnsignedPSBT, Policy: file.policy(c)}
	for b.Loop() {
		if _, err := signer.Sign(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignHundredInputs(b *testing.B) {
	signer := local(b, guide, bitcoin.Regtest)
	var paths []keys.Path
	for i := range uint32(100) {
		paths = append(paths, path(keys.Vanilla, 1, i))
	}
	request := Request{UnsignedPSBT: text(b, transfer(b, deriverOf(b, signer), paths...)), Policy: transferPolicy()}
	request.Policy.MaxFeeRate = 1
	for b.Loop() {
		if _, err := signer.Sign(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	c := vectors(b).Cases[0]
	for b.Loop() {
		if err := Verify(c.UnsignedPSBT, c.SignedPSBT); err != nil {
			b.Fatal(err)
		}
	}
}
