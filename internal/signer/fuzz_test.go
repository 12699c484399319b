package signer

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"

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

// FuzzTransaction builds any transaction out of coins and outputs of the wallet and of strangers, and signs it where that is allowed. What
// is signed spends the wallet's own coins alone, and no more leaves than the policy says, as counted from what was built.
func FuzzTransaction(f *testing.F) {
	own := local(f, guide, bitcoin.Regtest)
	deriver := deriverOf(f, own)
	stranger := deriverOf(f, local(f, "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about", bitcoin.Regtest))
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 5, 1, 2, 0, 0, 1, 0, 6})
	f.Add([]byte{1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 5, 1, 2, 0, 0, 1, 0, 6})
	for kind := range byte(5) {
		f.Add([]byte{0, kind, 0, 1, 0, 0, 0, 0, 0, 1, 5, kind, 3, 0, 0, 1, 0, 6})
		f.Add([]byte{2, 0, 0, 1, 0, 0, 0, kind, 0, 1, 1, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 4, kind, 3, 1, 2, 0, 1, 0, 6})
	}
	values := []int64{0, 1, 330, 546, 1000, 9_500, 10_000, 100_000, 1_000_000, int64(amount.MaxSat), int64(amount.MaxSat) + 1, -1}
	f.Fuzz(func(t *testing.T, input []byte) {
		choose := func(n int) int {
			if len(input) == 0 {
				return 0
			}
			chosen := int(input[0]) % n
			input = input[1:]
			return chosen
		}
		child := func(of *keys.Deriver) (keys.Child, *psbt.TaprootBip32Derivation, keys.Path) {
			place := path(keys.Accounts()[choose(2)], uint32(choose(2)), uint32(choose(4)))
			c, err := of.Child(place)
			if err != nil {
				t.Fatal(err)
			}
			fingerprint := of.Public().Fingerprint()
			return c, &psbt.TaprootBip32Derivation{
				XOnlyPubKey: c.InternalKey[:], Bip32Path: place.Steps(), MasterKeyFingerprint: binary.LittleEndian.Uint32(fingerprint[:]),
			}, place
		}
		tx := wire.NewMsgTx(int32(2 - choose(2)))
		var inputs []psbt.PInput
		foreign, colored, unusual := false, false, false
		var spent, back, paid amount.Sat
		for n := range 1 + choose(4) {
			tx.AddTxIn(&wire.TxIn{PreviousOutPoint: wire.OutPoint{Index: uint32(n - choose(8)/7)}, Sequence: []uint32{0xfffffffd, 0xffffffff, 10}[choose(3)]})
			kind := choose(8)
			coin, derivation, place := child(deriver)
			in := psbt.PInput{TaprootInternalKey: coin.InternalKey[:], TaprootBip32Derivation: []*psbt.TaprootBip32Derivation{derivation}}
			script := coin.Script()
			switch kind {
			case 5: // a stranger's coin, and said to be ours
				theirs, _, _ := child(stranger)
				script, foreign = theirs.Script(), true
			case 6: // a stranger's coin
				theirs, derivation, _ := child(stranger)
				script, foreign = theirs.Script(), true
				in.TaprootInternalKey, in.TaprootBip32Derivation = theirs.InternalKey[:], []*psbt.TaprootBip32Derivation{derivation}
			case 7:
				in.SighashType = []txscript.SigHashType{txscript.SigHashAll, txscript.SigHashNone | txscript.SigHashAnyOneCanPay}[choose(2)]
				unusual = true
			}
			value := values[choose(len(values))]
			colored = colored || place.Account == keys.Colored
			in.WitnessUtxo = wire.NewTxOut(value, script)
			spent += amount.Sat(value)
			inputs = append(inputs, in)
		}
		var outputs []psbt.POutput
		for range 1 + choose(4) {
			value := values[choose(len(values))]
			kind := choose(5)
			mine, derivation, _ := child(deriver)
			out, script := psbt.POutput{}, mine.Script()
			switch kind {
			case 0, 1:
				if kind == 0 {
					out = psbt.POutput{TaprootInternalKey: mine.InternalKey[:], TaprootBip32Derivation: []*psbt.TaprootBip32Derivation{derivation}}
				}
				back += amount.Sat(value)
			case 2, 3:
				theirs, _, _ := child(stranger)
				script = theirs.Script()
				if kind == 3 { // said to come back
					out = psbt.POutput{TaprootInternalKey: mine.InternalKey[:], TaprootBip32Derivation: []*psbt.TaprootBip32Derivation{derivation}}
				}
			case 4:
				script = []byte{txscript.OP_RETURN, 1, 0}
			}
			paid += amount.Sat(value)
			tx.AddTxOut(wire.NewTxOut(value, script))
			outputs = append(outputs, out)
		}
		tx.LockTime = []uint32{0, 100, 600_000_000}[choose(3)]
		packet, err := psbt.NewFromUnsignedTx(tx)
		if err != nil {
			return
		}
		packet.Inputs, packet.Outputs = inputs, outputs
		encoded, err := packet.B64Encode()
		if err != nil {
			return // the library writes no such PSBT
		}
		policy := psbtcheck.DefaultPolicy()
		policy.MaxNetOutflowSats = amount.Sat(values[choose(9)])
		policy.VanillaOnly = choose(2) == 1
		signed, err := own.Sign(t.Context(), Request{UnsignedPSBT: encoded, Policy: policy})
		if err != nil {
			if _, ok := errors.AsType[*psbtcheck.Refusal](err); !ok {
				t.Fatalf("%v is no *Refusal", err)
			}
			return
		}
		outflow, fee := spent-back, spent-paid
		switch {
		case foreign, unusual:
			t.Fatalf("signed: a stranger's coin %t, an unusual signature %t: %s", foreign, unusual, encoded)
		case policy.VanillaOnly && colored:
			t.Fatalf("colored coins are spent: %s", encoded)
		case outflow > policy.MaxNetOutflowSats, fee > policy.MaxFeeSats, fee < 0, spent > amount.MaxSat:
			t.Fatalf("%d sat leave the wallet, %d of them as fee; %d may: %s", outflow, fee, policy.MaxNetOutflowSats, encoded)
		case signed.Inspection.NetOutflowSats != outflow, signed.Inspection.FeeSats != fee:
			t.Fatalf("%d sat leave the wallet, %d of them as fee; inspected %+v", outflow, fee, signed.Inspection)
		}
		if final, err := Extract(signed.PSBT); err != nil || final.TxHash() != tx.TxHash() {
			t.Fatalf("what was signed is not what was built: %v", err)
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
