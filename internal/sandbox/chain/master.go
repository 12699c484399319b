package chain

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/btcutil/v2/hdkeychain"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/txscript/v2"

	"github.com/utexo/utexo-operator/internal/memo"
)

// Master is the private half of a wallet: of the node that the sandbox plays, and of the wallets of tests. It signs whatever it is
// given and is no model for a signer. Worlds may share one.
type Master struct {
	key    *hdkeychain.ExtendedKey
	params *chaincfg.Params
	// derived remembers private keys, by their paths as fmt prints them.
	derived *memo.Memo[string, *hdkeychain.ExtendedKey]
	// Fingerprint is that of the master key, 8 hex digits.
	Fingerprint string
}

// NewMaster returns the BIP 32 master key of seed (16 to 64 bytes).
func NewMaster(seed []byte, params *chaincfg.Params) (*Master, error) {
	key, err := hdkeychain.NewMaster(seed, params)
	if err != nil {
		return nil, err
	}
	public, err := key.ECPubKey()
	if err != nil {
		return nil, err
	}
	fingerprint := address.Hash160(public.SerializeCompressed())[:4]
	return &Master{
		key: key, params: params, derived: memo.New[string, *hdkeychain.ExtendedKey](128), Fingerprint: hex.EncodeToString(fingerprint),
	}, nil
}

// AccountKey returns the extended public key of m/86'/coinType'/0'.
func (m *Master) AccountKey(coinType uint32) (string, error) {
	const hardened = hdkeychain.HardenedKeyStart
	key, err := m.derive([]uint32{purpose + hardened, coinType + hardened, hardened})
	if err != nil {
		return "", err
	}
	public, err := key.Neuter()
	if err != nil {
		return "", err
	}
	return public.String(), nil
}

// Account returns the account m/86'/coinType'/0'.
func (m *Master) Account(coinType uint32) (*Account, error) {
	xpub, err := m.AccountKey(coinType)
	if err != nil {
		return nil, err
	}
	return NewAccount(xpub, m.Fingerprint, coinType, m.params)
}

func (m *Master) derive(path []uint32) (*hdkeychain.ExtendedKey, error) {
	name := fmt.Sprint(path)
	if known, ok := m.derived.Get(name); ok {
		return known, nil
	}
	key, err := m.key, error(nil)
	for _, step := range path {
		if key, err = key.Derive(step); err != nil {
			return nil, err
		}
	}
	// An ExtendedKey keeps its public key on first use: do that here, where nobody else has it.
	if _, err := key.ECPubKey(); err != nil {
		return nil, err
	}
	m.derived.Put(name, key)
	return key, nil
}

// Sign signs and finalises the inputs of packet whose derivation names m, and leaves the others.
func (m *Master) Sign(packet *psbt.Packet) error {
	prevOuts := txscript.NewMultiPrevOutFetcher(nil)
	for i, in := range packet.UnsignedTx.TxIn {
		if packet.Inputs[i].WitnessUtxo == nil {
			return errors.New("signing: an input without witness UTXO")
		}
		prevOuts.AddPrevOut(in.PreviousOutPoint, packet.Inputs[i].WitnessUtxo)
	}
	hashes := txscript.NewTxSigHashes(packet.UnsignedTx, prevOuts)
	for i := range packet.Inputs {
		in := &packet.Inputs[i]
		for _, from := range in.TaprootBip32Derivation {
			if hex.EncodeToString(binary.LittleEndian.AppendUint32(nil, from.MasterKeyFingerprint)) != m.Fingerprint {
				continue
			}
			child, err := m.derive(from.Bip32Path)
			if err != nil {
				return err
			}
			key, err := child.ECPrivKey()
			if err != nil {
				return err
			}
			in.TaprootKeySpendSig, err = txscript.RawTxInTaprootSignature(packet.UnsignedTx, hashes, i, in.WitnessUtxo.Value,
				in.WitnessUtxo.PkScript, nil, txscript.SigHashDefault, key)
			if err != nil {
				return err
			}
			if _, err := psbt.MaybeFinalize(packet, i); err != nil {
				return err
			}
		}
	}
	return nil
}
