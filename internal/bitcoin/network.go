// Package bitcoin holds what the other packages share of Bitcoin itself: networks and addresses.
package bitcoin

import (
	"fmt"

	"github.com/btcsuite/btcd/chaincfg/v2"
)

// Network names a Bitcoin network as a Wallet's spec does.
type Network string

// The networks. Testnet is testnet3 and testnet4, which share every prefix.
const (
	Mainnet Network = "mainnet"
	Testnet Network = "testnet"
	Signet  Network = "signet"
	Regtest Network = "regtest"
)

// Params returns the chain parameters of n, or an error for a name that is none of the constants.
func (n Network) Params() (*chaincfg.Params, error) {
	switch n {
	case Mainnet:
		return &chaincfg.MainNetParams, nil
	case Testnet:
		return &chaincfg.TestNet3Params, nil
	case Signet:
		return &chaincfg.SigNetParams, nil
	case Regtest:
		return &chaincfg.RegressionNetParams, nil
	}
	return nil, fmt.Errorf("unknown bitcoin network %q", string(n))
}

// CoinType returns the BIP 44 coin type, without its hardening, of the vanilla (bitcoin) account of n: 0 on mainnet, 1 elsewhere.
func (n Network) CoinType() uint32 {
	if n == Mainnet {
		return 0
	}
	return 1
}

// ColoredCoinType returns the coin type, without its hardening, of the colored (RGB) account of n: 827166 on mainnet, 827167
// elsewhere (RGB-Tools/rgb-lib).
func (n Network) ColoredCoinType() uint32 {
	if n == Mainnet {
		return 827166
	}
	return 827167
}

// InvoicePrefix returns the human-readable part, after "ln", of a BOLT 11 invoice of n: bc, tb, tbs or bcrt.
func (n Network) InvoicePrefix() string {
	switch n {
	case Mainnet:
		return "bc"
	case Testnet:
		return "tb"
	case Signet:
		return "tbs"
	case Regtest:
		return "bcrt"
	}
	return ""
}
