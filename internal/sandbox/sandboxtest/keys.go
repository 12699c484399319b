// Package sandboxtest holds what tests of the sandbox, and tests that use it, share: keys that sign its PSBTs and a client of its API.
// Only tests import it.
package sandboxtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"testing"

	"github.com/btcsuite/btcd/psbt/v2"

	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/sandbox/chain"
)

// Identity is what the API's headers carry of a wallet.
type Identity struct {
	XpubVanilla, XpubColored, Fingerprint string
}

// Keys is a wallet whose private keys the test holds.
type Keys struct {
	Identity
	t      testing.TB
	master *chain.Master
}

// NewKeys returns the wallet that name stands for: the same name, the same keys.
func NewKeys(t testing.TB, name string, network bitcoin.Network) *Keys {
	t.Helper()
	params, err := network.Params()
	if err != nil {
		t.Fatal(err)
	}
	seed := sha256.Sum256([]byte("sandboxtest " + name))
	master, err := chain.NewMaster(seed[:], params)
	if err != nil {
		t.Fatal(err)
	}
	k := &Keys{t: t, master: master, Identity: Identity{Fingerprint: master.Fingerprint}}
	if k.XpubVanilla, err = master.AccountKey(network.CoinType()); err != nil {
		t.Fatal(err)
	}
	if k.XpubColored, err = master.AccountKey(network.ColoredCoinType()); err != nil {
		t.Fatal(err)
	}
	return k
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
	if err := k.master.Sign(packet); err != nil {
		k.t.Fatal(err)
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
