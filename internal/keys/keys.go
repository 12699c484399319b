// Package keys turns a mnemonic or account keys into what a wallet needs: the public half that the service is told, the scripts
// that are the wallet's own, and signatures. Private keys stay inside a Set: it signs, and shows nothing.
//
// The scheme is BIP 39, BIP 32 and BIP 86 (Taproot, key path only) with two accounts, as RGB-Tools/rgb-lib has them:
// m/86'/coin'/0' with coin 0 or 1 (vanilla) and 827166 or 827167 (colored), on mainnet or elsewhere.
package keys

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
	"github.com/btcsuite/btcd/btcutil/v2/hdkeychain"
	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/txscript/v2"

	"github.com/utexo/utexo-operator/internal/bitcoin"
)

// Public is the public half of a wallet: what the service's three headers carry, and all that inspection needs. It is comparable.
type Public struct {
	Network bitcoin.Network
	// XpubVanilla and XpubColored are the extended public keys of the accounts, in base 58 (BIP 32).
	XpubVanilla string
	XpubColored string
	// MasterFingerprint is the first four bytes of HASH160 of the master public key: 8 lower-case hexadecimal digits.
	MasterFingerprint string
}

// ParsePublic reads the public half of a wallet of which no private key is known here. It refuses, with an *Error, what is not an
// account's extended public key of network. Which of the two is the colored one cannot be seen from the keys.
func ParsePublic(network bitcoin.Network, xpubVanilla, xpubColored, masterFingerprint string) (Public, error) {
	pub := Public{Network: network, MasterFingerprint: masterFingerprint}
	accounts, err := parseAccounts(network, xpubVanilla, xpubColored, masterFingerprint, false)
	if err != nil {
		return Public{}, err
	}
	pub.XpubVanilla, pub.XpubColored = accounts[0].String(), accounts[1].String()
	return pub, nil
}

// Fingerprint returns MasterFingerprint as bytes; zeros where it is not valid.
func (p Public) Fingerprint() [4]byte {
	var fp [4]byte
	if raw, err := hex.DecodeString(p.MasterFingerprint); err == nil && len(raw) == len(fp) {
		copy(fp[:], raw)
	}
	return fp
}

// Set holds the private keys of a wallet's two accounts. It signs and tells its public half; no method, format verb or encoding of
// it reveals a key. It is safe for concurrent use.
type Set struct {
	public Public
	// sign closes over the keys, which are in no field: what prints or copies a struct by reflection finds a function.
	sign func(Path, [32]byte) ([schnorr.SignatureSize]byte, error)
}

// FromMnemonic derives the keys of a BIP 39 mnemonic in English with an optional passphrase. It fails with an *Error.
func FromMnemonic(mnemonic, passphrase string, network bitcoin.Network) (*Set, error) {
	params, err := network.Params()
	if err != nil {
		return nil, refuse(UnknownNetwork, "network", "must be mainnet, testnet, signet or regtest")
	}
	raw, err := seed(mnemonic, passphrase)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	master, err := hdkeychain.NewMaster(raw, params)
	if err != nil {
		return nil, refuse(UnusableKey, "mnemonic", "leads to no usable master key")
	}
	defer master.Zero()
	masterKey, err := master.ECPubKey()
	if err != nil {
		return nil, refuse(UnusableKey, "mnemonic", "leads to no usable master key")
	}
	var accounts [2]*hdkeychain.ExtendedKey
	for i, account := range Accounts() {
		if accounts[i], err = derive(master, Path{Network: network, Account: account}.Steps()[:3]...); err != nil {
			return nil, err
		}
	}
	return newSet(accounts, hex.EncodeToString(address.Hash160(masterKey.SerializeCompressed())[:4]), network)
}

// FromAccountKeys takes the extended private keys of the two accounts, in base 58, and the master fingerprint that they do not
// carry. They open these two accounts and nothing else of the seed, which is why a cluster had better hold them than the mnemonic.
// It fails with an *Error.
func FromAccountKeys(xprvVanilla, xprvColored, masterFingerprint string, network bitcoin.Network) (*Set, error) {
	accounts, err := parseAccounts(network, xprvVanilla, xprvColored, masterFingerprint, true)
	if err != nil {
		return nil, err
	}
	return newSet(accounts, masterFingerprint, network)
}

// FromSecret makes keys of the data of a Secret, or of files of its form: mnemonic and optionally passphrase, or xprvVanilla, xprvColored
// and masterFingerprint. White space around them, and between words, is ignored. It fails with an *Error.
func FromSecret(data map[string][]byte, network bitcoin.Network) (*Set, error) {
	if mnemonic, ok := data["mnemonic"]; ok {
		return FromMnemonic(strings.Join(strings.Fields(string(mnemonic)), " "), string(data["passphrase"]), network)
	}
	trimmed := func(key string) string { return strings.TrimSpace(string(data[key])) }
	if trimmed("xprvVanilla") == "" || trimmed("xprvColored") == "" || trimmed("masterFingerprint") == "" {
		return nil, refuse(Missing, "key material", "is neither mnemonic nor xprvVanilla, xprvColored and masterFingerprint")
	}
	return FromAccountKeys(trimmed("xprvVanilla"), trimmed("xprvColored"), trimmed("masterFingerprint"), network)
}

// Public returns the public half.
func (s *Set) Public() Public { return s.public }

// SignTaproot returns the 64-byte BIP 340 signature of digest, a BIP 341 signature hash, by the BIP 86 output key at path. The
// nonce takes no auxiliary randomness, so that the same digest gives the same bytes, those of the official signer.
func (s *Set) SignTaproot(path Path, digest [32]byte) ([schnorr.SignatureSize]byte, error) {
	if path.Network != s.public.Network || !path.valid() {
		return [schnorr.SignatureSize]byte{}, refuse(UnusableKey, "path", "leads to no key of the wallet's accounts")
	}
	return s.sign(path, digest)
}

// Format writes "[keys]", whatever the verb.
func (s Set) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String returns "[keys]".
func (s Set) String() string { return redacted }

// GoString returns "[keys]".
func (s Set) GoString() string { return redacted }

// MarshalText returns "[keys]"; so do encoding/json and all that builds on it.
func (s Set) MarshalText() ([]byte, error) { return []byte(redacted), nil }

const redacted = "[keys]"

// newSet derives both keychains of the private accounts once; a signature then costs one derivation step.
func newSet(accounts [2]*hdkeychain.ExtendedKey, fingerprint string, network bitcoin.Network) (*Set, error) {
	type keychain struct {
		account Account
		number  uint32
	}
	chains := map[keychain]*hdkeychain.ExtendedKey{}
	var xpubs [2]string
	for i, account := range Accounts() {
		xpub, err := accounts[i].Neuter()
		if err != nil {
			return nil, refuse(WrongNetwork, string(account)+" account key", "is of an unknown version")
		}
		xpubs[i] = xpub.String()
		for number := range uint32(Keychains) {
			chain, err := derive(accounts[i], number)
			if err != nil {
				return nil, err
			}
			// ExtendedKey keeps its public key on first use: do that here, where nobody else writes.
			if _, err := chain.ECPubKey(); err != nil {
				return nil, refuse(UnusableKey, string(account)+" account key", "has an unusable keychain")
			}
			chains[keychain{account, number}] = chain
		}
		accounts[i].Zero()
	}
	sign := func(path Path, digest [32]byte) (sig [schnorr.SignatureSize]byte, err error) {
		child, err := derive(chains[keychain{path.Account, path.Keychain}], path.Index)
		if err != nil {
			return sig, err
		}
		defer child.Zero()
		internal, err := child.ECPrivKey()
		if err != nil {
			return sig, refuse(UnusableKey, "path", "leads to no private key")
		}
		defer internal.Zero()
		output := txscript.TweakTaprootPrivKey(*internal, nil) // BIP 86: the tweak commits to no script tree
		defer output.Zero()
		signature, err := schnorr.Sign(output, digest[:], schnorr.CustomNonce([32]byte{}))
		if err != nil {
			return sig, refuse(UnusableKey, "path", "leads to a key that does not sign this digest")
		}
		copy(sig[:], signature.Serialize())
		return sig, nil
	}
	return &Set{
		public: Public{Network: network, XpubVanilla: xpubs[0], XpubColored: xpubs[1], MasterFingerprint: fingerprint},
		sign:   sign,
	}, nil
}

// derive follows child numbers from key.
func derive(key *hdkeychain.ExtendedKey, steps ...uint32) (*hdkeychain.ExtendedKey, error) {
	for _, step := range steps {
		child, err := key.Derive(step)
		if err != nil {
			return nil, refuse(UnusableKey, "path", "leads to no usable key")
		}
		key = child
	}
	return key, nil
}

var fingerprintPattern = regexp.MustCompile(`^[0-9a-f]{8}$`)

// parseAccounts reads the extended keys of both accounts, private or public.
func parseAccounts(network bitcoin.Network, vanilla, colored, fingerprint string, private bool) (accounts [2]*hdkeychain.ExtendedKey, err error) {
	params, err := network.Params()
	if err != nil {
		return accounts, refuse(UnknownNetwork, "network", "must be mainnet, testnet, signet or regtest")
	}
	if !fingerprintPattern.MatchString(fingerprint) {
		return accounts, refuse(BadFingerprint, "master fingerprint", "must be 8 hexadecimal digits in lower case")
	}
	for i, text := range []string{vanilla, colored} {
		if accounts[i], err = parseAccount(text, string(Accounts()[i])+" account key", params, private); err != nil {
			return accounts, err
		}
	}
	if accounts[0].String() == accounts[1].String() {
		return accounts, refuse(SameKey, "colored account key", "is the vanilla account's key too; the accounts have different ones")
	}
	return accounts, nil
}

// maxExtendedKeyLength bounds the work of base 58, which is quadratic; an extended key has 111 characters.
const maxExtendedKeyLength = 112

// parseAccount reads the extended key of m/86'/coin'/0'. White space around it, such as a file's last line break, is ignored.
func parseAccount(text, field string, params *chaincfg.Params, private bool) (*hdkeychain.ExtendedKey, error) {
	text = strings.TrimSpace(text)
	if len(text) > maxExtendedKeyLength {
		return nil, refuse(BadExtendedKey, field, "is longer than an extended key")
	}
	key, err := hdkeychain.NewKeyFromString(text)
	if err != nil {
		return nil, refuse(BadExtendedKey, field, "is not an extended key (xpub…, xprv…, tpub… or tprv…), or a character of it is mistaken")
	}
	version := params.HDPublicKeyID
	if private {
		version = params.HDPrivateKeyID
	}
	switch {
	case private && !key.IsPrivate():
		return nil, refuse(NotPrivate, field, "is public; signing needs the private one")
	case !private && key.IsPrivate():
		return nil, refuse(NotPublic, field, "is private; give the public one, and treat the private one as disclosed")
	case !slices.Equal(key.Version(), version[:]):
		return nil, refuse(WrongNetwork, field, "belongs to another network (those of mainnet begin with x, those of the test networks with t)")
	case key.Depth() != 3 || key.ChildIndex() != hardened:
		return nil, refuse(NotAnAccount, field, "is not that of account 0, m/86'/coin'/0'")
	}
	return key, nil
}
