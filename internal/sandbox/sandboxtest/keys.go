// Package sandboxtest holds what tests of the sandbox, and tests that use it, share: keys that sign its PSBTs and a client of its API.
// Only tests import it.
package sandboxtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/btcutil/v2/hdkeychain"
	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/txscript/v2"

	"github.com/utexo/utexo-operator/internal/bitcoin"
)

// Keys is a wallet whose private keys the test holds.
type Keys struct {
	t      testing.TB
	master *hdkeychain.ExtendedKey
	// XpubVanilla, XpubColored and Fingerprint are what the API's headers carry.
	XpubVanilla, XpubColored, Fingerprint string
}

// NewKeys returns the wallet that name stands for: the same name, the same keys.
func NewKeys(t testing.TB, name string, network bitcoin.Network) *Keys {
	t.Helper()
	params, err := network.Params()
	if err != nil {
		t.Fatal(err)
	}
	seed := sha256.Sum256([]byte("sandboxtest " + name))
	master, err := hdkeychain.NewMaster(seed[:], params)
	if err != nil {
		t.Fatal(err)
	}
	public, err := master.ECPubKey()
	if err != nil {
		t.Fatal(err)
	}
	k := &Keys{t: t, master: master}
	k.Fingerprint = hex.EncodeToString(address.Hash160(public.SerializeCompressed())[:4])
	k.XpubVanilla = k.accountKey(network.CoinType())
	k.XpubColored = k.accountKey(network.ColoredCoinType())
	return k
}

func (k *Keys) accountKey(coinType uint32) string {
	const hardened = hdkeychain.HardenedKeyStart
	key, err := k.derive([]uint32{86 + hardened, coinType + hardened, hardened}).Neuter()
	if err != nil {
		k.t.Fatal(err)
	}
	return key.String()
}

func (k *Keys) derive(path []uint32) *hdkeychain.ExtendedKey {
	key := k.master
	for _, step := range path {
		var err error
		if key, err = key.Derive(step); err != nil {
			k.t.Fatal(err)
		}
	}
	return key
}

// Decode returns the PSBT that text is.
func (k *Keys) Decode(text string) *psbt.Packet {
	k.t.Helper()
	packet, err := psbt.NewFromRawBytes(bytes.NewReader([]byte(text)), true)
	if err != nil {
		k.t.Fatalf("the PSBT does not parse: %v", err)
	}
	return packet
}

// Encode returns packet in base64.
func (k *Keys) Encode(packet *psbt.Packet) string {
	k.t.Helper()
	var raw bytes.Buffer
	if err := packet.Serialize(&raw); err != nil {
		k.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw.Bytes())
}

// Sign signs and finalises every input of the unsigned PSBT whose derivation names k. It checks nothing: tests of the sandbox want
// wrong signatures too.
func (k *Keys) Sign(unsigned string) string {
	k.t.Helper()
	packet := k.Decode(unsigned)
	prevOuts := txscript.NewMultiPrevOutFetcher(nil)
	for i, in := range packet.UnsignedTx.TxIn {
		prevOuts.AddPrevOut(in.PreviousOutPoint, packet.Inputs[i].WitnessUtxo)
	}
	hashes := txscript.NewTxSigHashes(packet.UnsignedTx, prevOuts)
	for i := range packet.Inputs {
		in := &packet.Inputs[i]
		for _, from := range in.TaprootBip32Derivation {
			if fingerprint := binary.LittleEndian.AppendUint32(nil, from.MasterKeyFingerprint); hex.EncodeToString(fingerprint) != k.Fingerprint {
				continue
			}
			key, err := k.derive(from.Bip32Path).ECPrivKey()
			if err != nil {
				k.t.Fatal(err)
			}
			in.TaprootKeySpendSig, err = txscript.RawTxInTaprootSignature(packet.UnsignedTx, hashes, i, in.WitnessUtxo.Value,
				in.WitnessUtxo.PkScript, nil, txscript.SigHashDefault, key)
			if err != nil {
				k.t.Fatal(err)
			}
			if _, err := psbt.MaybeFinalize(packet, i); err != nil {
				k.t.Fatal(err)
			}
		}
	}
	return k.Encode(packet)
}

// Spoil flips one bit of the last signature of the signed PSBT, which stays finalised.
func (k *Keys) Spoil(signed string) string {
	k.t.Helper()
	packet := k.Decode(signed)
	witness := packet.Inputs[len(packet.Inputs)-1].FinalScriptWitness
	if len(witness) == 0 {
		k.t.Fatal("the PSBT is not signed")
	}
	witness[len(witness)-1] ^= 1
	return k.Encode(packet)
}
