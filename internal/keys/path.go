package keys

import (
	"fmt"

	"github.com/btcsuite/btcd/btcutil/v2/hdkeychain"

	"github.com/utexo/utexo-operator/internal/bitcoin"
)

// Account names one of the two accounts of a wallet.
type Account string

// The accounts: Vanilla holds bitcoin alone, Colored the coins that RGB assets are bound to.
const (
	Vanilla Account = "vanilla"
	Colored Account = "colored"
)

// Accounts lists both, in the order of the service's headers.
func Accounts() []Account { return []Account{Vanilla, Colored} }

// Keychains is how many keychains an account has: 0 and 1. RGB wallets differ in which one they take for what (receive and change
// alike on 0, or bitcoin on 1), so both are the wallet's own on either account.
const Keychains = 2

const (
	purpose  = 86 // BIP 86: single-key Taproot
	hardened = hdkeychain.HardenedKeyStart
)

// Path is the place of one key in a wallet: m/86'/coin'/0'/Keychain/Index, where Network and Account choose the coin.
type Path struct {
	Network  bitcoin.Network
	Account  Account
	Keychain uint32
	Index    uint32
}

// String returns p as BIP 32 writes it, such as m/86'/1'/0'/1/5.
func (p Path) String() string {
	return fmt.Sprintf("m/%d'/%d'/0'/%d/%d", purpose, p.coinType(), p.Keychain, p.Index)
}

// Steps returns p as the five child numbers, hardened ones with the highest bit set, that a PSBT carries.
func (p Path) Steps() []uint32 {
	return []uint32{purpose + hardened, p.coinType() + hardened, hardened, p.Keychain, p.Index}
}

// ParsePath reads the child numbers of a PSBT's derivation. It is false unless they lead to a key of one of the two accounts of a
// wallet on network.
func ParsePath(network bitcoin.Network, steps []uint32) (Path, bool) {
	if len(steps) != 5 {
		return Path{}, false
	}
	for _, account := range Accounts() {
		p := Path{Network: network, Account: account, Keychain: steps[3], Index: steps[4]}
		if p.valid() && steps[0] == purpose+hardened && steps[1] == p.coinType()+hardened && steps[2] == hardened {
			return p, true
		}
	}
	return Path{}, false
}

func (p Path) valid() bool {
	return p.Keychain < Keychains && p.Index < hardened && (p.Account == Vanilla || p.Account == Colored)
}

func (p Path) coinType() uint32 {
	if p.Account == Colored {
		return p.Network.ColoredCoinType()
	}
	return p.Network.CoinType()
}
