package keys

import (
	"sync"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
	"github.com/btcsuite/btcd/btcutil/v2/hdkeychain"
	"github.com/btcsuite/btcd/txscript/v2"
)

// Window is how many indexes of each keychain Deriver.Find knows.
const Window = 100

// Child is one key of a wallet, seen from outside.
type Child struct {
	// InternalKey is the x-only public key at the path, before the Taproot tweak (BIP 341).
	InternalKey [schnorr.PubKeyBytesLen]byte
	// OutputKey is the x-only public key that the script names (BIP 86).
	OutputKey [schnorr.PubKeyBytesLen]byte
}

// Script returns the 34-byte P2TR output script of the child.
func (c Child) Script() []byte {
	return append([]byte{txscript.OP_1, txscript.OP_DATA_32}, c.OutputKey[:]...)
}

// Deriver finds the keys and scripts of a wallet from its public half. It is safe for concurrent use.
type Deriver struct {
	public Public
	chains map[Account][Keychains]*hdkeychain.ExtendedKey
	window func() map[[schnorr.PubKeyBytesLen]byte]Path
	// children keeps every Child of the window that was derived, by Path: those are asked for again and again.
	children sync.Map
}

// NewDeriver checks public as ParsePublic does and returns its deriver. The window of Find is made when it is first asked.
func NewDeriver(public Public) (*Deriver, error) {
	accounts, err := parseAccounts(public.Network, public.XpubVanilla, public.XpubColored, public.MasterFingerprint, false)
	if err != nil {
		return nil, err
	}
	d := &Deriver{public: public, chains: map[Account][Keychains]*hdkeychain.ExtendedKey{}}
	for i, account := range Accounts() {
		var chains [Keychains]*hdkeychain.ExtendedKey
		for number := range chains {
			if chains[number], err = derive(accounts[i], uint32(number)); err != nil {
				return nil, err
			}
		}
		d.chains[account] = chains
	}
	d.window = sync.OnceValue(d.makeWindow)
	return d, nil
}

// Public returns the public half that d derives from.
func (d *Deriver) Public() Public { return d.public }

// Child derives the key at path.
func (d *Deriver) Child(path Path) (Child, error) {
	if path.Network != d.public.Network || !path.valid() {
		return Child{}, refuse(UnusableKey, "path", "leads to no key of the wallet's accounts")
	}
	if known, ok := d.children.Load(path); ok {
		return known.(Child), nil
	}
	key, err := derive(d.chains[path.Account][path.Keychain], path.Index)
	if err != nil {
		return Child{}, err
	}
	internal, err := key.ECPubKey()
	if err != nil {
		return Child{}, refuse(UnusableKey, "path", "leads to no usable key")
	}
	var c Child
	copy(c.InternalKey[:], schnorr.SerializePubKey(internal))
	copy(c.OutputKey[:], schnorr.SerializePubKey(txscript.ComputeTaprootKeyNoScript(internal)))
	if path.Index < Window {
		d.children.Store(path, c)
	}
	return c, nil
}

// Address returns the P2TR address of the key at path.
func (d *Deriver) Address(path Path) (string, error) {
	child, err := d.Child(path)
	if err != nil {
		return "", err
	}
	params, err := d.public.Network.Params()
	if err != nil {
		return "", err
	}
	taproot, err := address.NewAddressTaproot(child.OutputKey[:], params)
	if err != nil {
		return "", refuse(UnusableKey, "path", "leads to no address")
	}
	return taproot.EncodeAddress(), nil
}

// Find returns the path of the key that script pays, where that is among the first Window of either keychain of either account.
// That it finds nothing does not prove that the script is another's.
func (d *Deriver) Find(script []byte) (Path, bool) {
	if len(script) != 2+schnorr.PubKeyBytesLen || script[0] != txscript.OP_1 || script[1] != txscript.OP_DATA_32 {
		return Path{}, false
	}
	path, ok := d.window()[[schnorr.PubKeyBytesLen]byte(script[2:])]
	return path, ok
}

func (d *Deriver) makeWindow() map[[schnorr.PubKeyBytesLen]byte]Path {
	window := make(map[[schnorr.PubKeyBytesLen]byte]Path, 2*Keychains*Window)
	for _, account := range Accounts() {
		for keychain := range uint32(Keychains) {
			for index := range uint32(Window) {
				path := Path{Network: d.public.Network, Account: account, Keychain: keychain, Index: index}
				if child, err := d.Child(path); err == nil { // BIP 32: a key that does not exist is skipped
					window[child.OutputKey] = path
				}
			}
		}
	}
	return window
}

// maxDerivers bounds the memory of Deriver's cache, some 100 kB a wallet with its window.
const maxDerivers = 256

var derivers struct {
	sync.Mutex
	known map[Public]*Deriver
}

// Deriver returns the deriver of p, the same one every time, so that its window is made once a process. It fails as NewDeriver does.
func (p Public) Deriver() (*Deriver, error) {
	derivers.Lock()
	known := derivers.known[p]
	derivers.Unlock()
	if known != nil {
		return known, nil
	}
	made, err := NewDeriver(p)
	if err != nil {
		return nil, err
	}
	derivers.Lock()
	defer derivers.Unlock()
	if known := derivers.known[p]; known != nil { // made twice at once: keep one, with one window
		return known, nil
	}
	if derivers.known == nil || len(derivers.known) >= maxDerivers {
		derivers.known = map[Public]*Deriver{}
	}
	derivers.known[p] = made
	return made, nil
}
