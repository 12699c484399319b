package psbtcheck

import (
	"bytes"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/btcsuite/btcd/psbt/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
)

// checkInspection inspects raw for owner and holds what is said against the transaction, which the library decodes by itself. It
// tells whether raw was inspected.
func checkInspection(t *testing.T, raw []byte, owner keys.Public) bool {
	t.Helper()
	inspection, err := Inspect(base64.StdEncoding.EncodeToString(raw), owner)
	if err != nil {
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Code == "" || refusal.Message == "" {
			t.Fatalf("%v is no full *Refusal", err)
		}
		return false
	}
	packet, err := psbt.NewFromRawBytes(bytes.NewReader(raw), false)
	if err != nil {
		t.Fatalf("inspected, and the library does not read it: %v", err)
	}
	deriver, err := owner.Deriver()
	if err != nil {
		t.Fatal(err)
	}
	tx := packet.UnsignedTx
	if inspection.Txid != tx.TxHash().String() || len(inspection.Inputs) != len(tx.TxIn) || len(inspection.Outputs) != len(tx.TxOut) {
		t.Fatalf("another transaction is inspected than that in %x", raw)
	}
	var in, out, toSelf amount.Sat
	mine := func(path keys.Path, script []byte) {
		t.Helper()
		child, err := deriver.Child(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(child.Script(), script) {
			t.Fatalf("script %x is said to be the wallet's at %s", script, path)
		}
	}
	for i, input := range inspection.Inputs {
		mine(input.Path, packet.Inputs[i].WitnessUtxo.PkScript)
		in += amount.Sat(packet.Inputs[i].WitnessUtxo.Value)
	}
	for i, txOut := range tx.TxOut {
		out += amount.Sat(txOut.Value)
		if inspection.Outputs[i].Kind == Own {
			mine(*inspection.Outputs[i].Path, txOut.PkScript)
			toSelf += amount.Sat(txOut.Value)
		} else if _, ok := deriver.Find(txOut.PkScript); ok {
			t.Fatalf("output %d is the wallet's and is said to be %s", i, inspection.Outputs[i].Kind)
		}
	}
	if in > amount.MaxSat || out > in {
		t.Fatalf("%d sat in, %d sat out", in, out)
	}
	if inspection.FeeSats != in-out || inspection.NetOutflowSats != in-toSelf || inspection.TotalToSelf != toSelf ||
		inspection.NetOutflowSats != inspection.ExternalSats+inspection.OpReturnSats+inspection.FeeSats {
		t.Fatalf("the sums are wrong: %+v", inspection)
	}
	if int64(inspection.FeeRate-1)*inspection.VSize >= int64(inspection.FeeSats) && inspection.FeeSats > 0 {
		t.Fatalf("fee rate %d of %d sat at %d vB", inspection.FeeRate, inspection.FeeSats, inspection.VSize)
	}
	return true
}

func TestEveryChangedByteIsInspectedTruly(t *testing.T) {
	for _, c := range []vectorCase{readCases(t).Cases[0], readCreateUTXOs(t)} {
		raw, err := base64.StdEncoding.DecodeString(c.UnsignedPSBT)
		if err != nil {
			t.Fatal(err)
		}
		public := owner(t, c.Mnemonic, c.Network)
		inspected := 0
		for i := range raw {
			for _, change := range []byte{0x01, 0x80} {
				changed := bytes.Clone(raw)
				changed[i] ^= change
				if checkInspection(t, changed, public) {
					inspected++
				}
			}
		}
		if all := 2 * len(raw); inspected == 0 || inspected == all {
			t.Errorf("%d of %d changed PSBTs are inspected", inspected, all)
		}
	}
}

func FuzzInspect(f *testing.F) {
	for _, c := range append(readCases(f).Cases, readCreateUTXOs(f)) {
		for _, text := range []string{c.UnsignedPSBT, c.SignedPSBT} {
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	public := owner(f, guide, bitcoin.Regtest)
	f.Fuzz(func(t *testing.T, raw []byte) {
		checkInspection(t, raw, public)
		if _, err := ParseSigned(base64.StdEncoding.EncodeToString(raw)); err != nil {
			var refusal *Refusal
			if !errors.As(err, &refusal) {
				t.Fatalf("%v is no *Refusal", err)
			}
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	c := readCreateUTXOs(b)
	public := owner(b, c.Mnemonic, c.Network)
	for b.Loop() {
		if _, err := Inspect(c.UnsignedPSBT, public); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRefuse(b *testing.B) {
	public := owner(b, guide, bitcoin.Regtest)
	text := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("psbt\xff"), MaxBytes/5))
	for b.Loop() {
		if _, err := Inspect(text, public); err == nil {
			b.Fatal("inspected")
		}
	}
}
