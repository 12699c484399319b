package chain

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
	"github.com/btcsuite/btcd/btcutil/v2/hdkeychain"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/txscript/v2"

	"github.com/utexo/utexo-operator/internal/memo"
)

// Reasons for which the keys of a wallet are refused.
var (
	ErrPublicKey   = errors.New("not an extended public key of this network")
	ErrFingerprint = errors.New("not a master fingerprint of 8 hex digits")
)

// purpose is the hardened first step of every path of the sandbox's wallets (BIP 86).
const purpose = 86

// Account is the watch-only half of a BIP 86 account: it derives scripts from the account's extended public key.
type Account struct {
	params      *chaincfg.Params
	xpub        string
	key         *hdkeychain.ExtendedKey
	fingerprint uint32
	coinType    uint32
	derived     map[derivation]*ownScript
	byScript    map[string]*ownScript
}

type derivation struct{ keychain, index uint32 }

// ownScript is one derived P2TR script with what a PSBT says of it.
type ownScript struct {
	at          derivation
	internalKey []byte // x-only
	script      []byte
}

// NewAccount returns the account m/86'/coinType'/0' whose extended public key is xpub, of the master key with that fingerprint (8 hex
// digits). It fails with ErrPublicKey or ErrFingerprint.
func NewAccount(xpub, fingerprint string, coinType uint32, params *chaincfg.Params) (*Account, error) {
	key, err := hdkeychain.NewKeyFromString(xpub)
	if err != nil || key.IsPrivate() || !key.IsForNet(params) {
		return nil, ErrPublicKey
	}
	raw, err := hex.DecodeString(fingerprint)
	if err != nil || len(raw) != 4 {
		return nil, ErrFingerprint
	}
	return &Account{
		params: params,
		xpub:   xpub,
		key:    key,
		// BIP 174 writes the fingerprint's bytes in order; btcd holds them as a little-endian number.
		fingerprint: binary.LittleEndian.Uint32(raw),
		coinType:    coinType,
		derived:     map[derivation]*ownScript{},
		byScript:    map[string]*ownScript{},
	}, nil
}

// Script returns the P2TR script at keychain/index, and makes the account its owner.
func (a *Account) Script(keychain, index uint32) ([]byte, error) {
	own, err := a.derive(derivation{keychain, index})
	if err != nil {
		return nil, err
	}
	return own.script, nil
}

// Address returns the address at keychain/index, and makes the account its owner.
func (a *Account) Address(keychain, index uint32) (string, error) {
	script, err := a.Script(keychain, index)
	if err != nil {
		return "", err
	}
	addr, err := address.NewAddressTaproot(script[2:], a.params)
	if err != nil {
		return "", err
	}
	return addr.EncodeAddress(), nil
}

// Owns says whether script is one that Script returned.
func (a *Account) Owns(script []byte) bool { return a.byScript[string(script)] != nil }

func (a *Account) derive(at derivation) (*ownScript, error) {
	if own := a.derived[at]; own != nil {
		return own, nil
	}
	own, err := a.compute(at)
	if err != nil {
		return nil, err
	}
	a.derived[at] = own
	a.byScript[string(own.script)] = own
	return own, nil
}

// computed remembers derivations. Simulations make thousands of worlds out of a few keys, and deriving is most of what a world costs.
var computed = memo.New[derivedFrom, *ownScript](4096)

type derivedFrom struct {
	xpub string
	at   derivation
}

func (a *Account) compute(at derivation) (*ownScript, error) {
	from := derivedFrom{a.xpub, at}
	if known, ok := computed.Get(from); ok {
		return known, nil
	}
	chain, err := a.key.Derive(at.keychain)
	if err != nil {
		return nil, fmt.Errorf("deriving keychain %d: %w", at.keychain, err)
	}
	child, err := chain.Derive(at.index)
	if err != nil {
		return nil, fmt.Errorf("deriving index %d: %w", at.index, err)
	}
	key, err := child.ECPubKey()
	if err != nil {
		return nil, err
	}
	script, err := txscript.PayToTaprootScript(txscript.ComputeTaprootKeyNoScript(key))
	if err != nil {
		return nil, err
	}
	own := &ownScript{at: at, internalKey: schnorr.SerializePubKey(key), script: script}
	computed.Put(from, own)
	return own, nil
}

// path returns the full path of own for a PSBT.
func (a *Account) path(own *ownScript) []uint32 {
	const hardened = hdkeychain.HardenedKeyStart
	return []uint32{purpose + hardened, a.coinType + hardened, hardened, own.at.keychain, own.at.index}
}

// firstUnused returns the lowest index of keychain whose script no coin of c was ever paid to: the address to hand out next. Begun
// and abandoned transactions use up no index, so own change stays where a scan of the keychain finds it.
func (a *Account) firstUnused(c *Chain, keychain uint32) (*ownScript, error) {
	for index := uint32(0); ; index++ {
		own, err := a.derive(derivation{keychain, index})
		if err != nil {
			return nil, err
		}
		if !c.everPaid(own.script) {
			return own, nil
		}
	}
}
