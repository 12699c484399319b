package bitcoin

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
	"github.com/btcsuite/btcd/txscript/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/memo"
)

// AddressType names an output script as Bitcoin Core does.
type AddressType string

// The types that are paid.
const (
	P2PKH  AddressType = "pubkeyhash"
	P2SH   AddressType = "scripthash"
	P2WPKH AddressType = "witness_v0_keyhash"
	P2WSH  AddressType = "witness_v0_scripthash"
	P2TR   AddressType = "witness_v1_taproot"
)

// Address is an output that can be paid and, as far as can be told, spent again.
type Address struct {
	// Text is the one spelling of the address: a segwit address in lower case.
	Text string
	// Script is the output script.
	Script []byte
	Type   AddressType
}

// AddressReason says in one word why a text is refused as an address. The set is closed: the constants below.
type AddressReason string

const (
	// Malformed: the text is no address, or its checksum does not match.
	Malformed AddressReason = "Malformed"
	// WrongNetwork: the address is of another network than the wallet.
	WrongNetwork AddressReason = "WrongNetwork"
	// Unsupported: what the text stands for could be paid, but not to somebody who can be known to spend it.
	Unsupported AddressReason = "Unsupported"
)

// AddressError says why a text is not an address to pay. Message is for a person and names the remedy where there is one.
type AddressError struct {
	Reason  AddressReason
	Message string
}

func (e *AddressError) Error() string { return e.Message }

func addressError(reason AddressReason, format string, args ...any) *AddressError {
	return &AddressError{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// networks are all networks, in the order in which AddressNetworks returns them.
var networks = []Network{Mainnet, Testnet, Signet, Regtest}

// ParseAddress reads an address (BIP 173, BIP 350, or base 58) that a wallet on network may pay: P2PKH, P2SH, P2WPKH, P2WSH or P2TR.
// Test networks share prefixes, so that an address may be good on several. A public key, a future witness version, pay-to-anchor
// and a Taproot key off the curve are refused, though nodes would let them be paid. It returns *AddressError.
func ParseAddress(text string, network Network) (Address, error) {
	parsed, good, err := parseAddress(text)
	if err != nil {
		return Address{}, err
	}
	if !slices.Contains(good, network) {
		names := make([]string, len(good))
		for n := range good {
			names[n] = string(good[n])
		}
		return Address{}, addressError(WrongNetwork, "the address %s is of %s, the wallet of %q; use an address of the wallet's network", parsed.Text,
			strings.Join(names, " or "), network)
	}
	return parsed, nil
}

// AddressNetworks returns the networks on which an address may be paid, in the order of the constants: one, or the test networks that
// share its prefix. It returns *AddressError for what ParseAddress refuses on every network.
func AddressNetworks(text string) ([]Network, error) {
	_, good, err := parseAddress(text)
	return good, err
}

// addresses are those that were read last: each look at a payment reads its address more than once, and a Taproot key costs a square root.
var addresses = memo.New[string, knownAddress](4096)

type knownAddress struct {
	address Address
	good    []Network
}

// parseAddress reads text and returns the networks it is good on, at least one.
func parseAddress(text string) (Address, []Network, error) {
	known, ok := addresses.Get(text)
	if !ok {
		var err error
		if known.address, known.good, err = readAddress(text); err != nil {
			return Address{}, nil, err
		}
		addresses.Put(text, known)
	}
	known.address.Script = slices.Clone(known.address.Script)
	return known.address, slices.Clone(known.good), nil
}

func readAddress(text string) (Address, []Network, error) {
	if err := checkText(text); err != nil {
		return Address{}, nil, err
	}
	var found address.Address
	var failure error
	var good []Network
	for _, network := range networks {
		// Cannot fail: the network is one of the constants.
		params, _ := network.Params()
		decoded, err := address.DecodeAddress(text, params)
		if err != nil {
			failure = err
			continue
		}
		found = decoded
		// The library reads another network's segwit address without an error.
		if decoded.IsForNet(params) {
			good = append(good, network)
		}
	}
	if found == nil {
		return Address{}, nil, explain(text, failure)
	}
	if len(good) == 0 {
		return Address{}, nil, addressError(WrongNetwork, "the address %s is of a network that is none of Bitcoin's", quote(text))
	}
	parsed := Address{Text: found.EncodeAddress()}
	// The library reads version 1 with 20 bytes as P2WPKH, which is another script: the text it writes then differs.
	if parsed.Text != text && parsed.Text != strings.ToLower(text) {
		return Address{}, nil, explain(text, address.UnsupportedWitnessProgLenError(len(found.ScriptAddress())))
	}
	if parsed.Type = addressType(found); parsed.Type == "" {
		return Address{}, nil, addressError(Unsupported, "%s is a pay-to-anchor address: anybody could spend what it is paid", quote(text))
	}
	if parsed.Type == P2TR {
		if _, err := schnorr.ParsePubKey(found.ScriptAddress()); err != nil {
			return Address{}, nil, addressError(Unsupported, "%s is a Taproot address whose key is not on the curve: nobody could spend what it is paid",
				quote(text))
		}
	}
	script, err := txscript.PayToAddrScript(found)
	if err != nil {
		return Address{}, nil, addressError(Unsupported, "the address %s has no output script", quote(text))
	}
	parsed.Script = script
	return parsed, good, nil
}

// checkText refuses what people give for an address, with a message of its own.
func checkText(text string) error {
	const longest = 90 // BIP 173
	switch {
	case text == "":
		return addressError(Malformed, "the address is empty")
	case strings.ContainsFunc(text, unicode.IsSpace):
		return addressError(Malformed, "the address has white space in or around it; remove it")
	case len(text) > len("bitcoin:") && strings.EqualFold(text[:len("bitcoin:")], "bitcoin:"):
		return addressError(Malformed, `the address is written as a URI; give the part between "bitcoin:" and "?" alone`)
	case isPublicKey(text):
		return addressError(Unsupported, "this is a public key, not an address; ask the payee for an address")
	case len(text) > longest:
		return addressError(Malformed, "the address has %d characters, more than any has", len(text))
	}
	return nil
}

// isPublicKey tells whether text has the form of a public key, compressed or not, which the library takes for an address.
func isPublicKey(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil && (len(text) == 66 || len(text) == 130)
}

// explain turns the library's error into one that names what a person can do.
func explain(text string, err error) error {
	if version, ok := errors.AsType[address.UnsupportedWitnessVerError](err); ok {
		return addressError(Unsupported, "%s is an address of witness version %d, which has no meaning yet: anybody could spend what it is paid",
			quote(text), byte(version))
	}
	if _, ok := errors.AsType[address.UnsupportedWitnessProgLenError](err); ok {
		return addressError(Unsupported, "%s is a Taproot address of a length that has no meaning yet: anybody could spend what it is paid", quote(text))
	}
	if errors.Is(err, address.ErrUnknownAddressType) {
		return addressError(WrongNetwork, "the address %s is of a network that is none of Bitcoin's", quote(text))
	}
	return addressError(Malformed, "%s is not a bitcoin address, or was altered; copy it again", quote(text))
}

func addressType(decoded address.Address) AddressType {
	switch decoded.(type) {
	case *address.AddressPubKeyHash:
		return P2PKH
	case *address.AddressScriptHash:
		return P2SH
	case *address.AddressWitnessPubKeyHash:
		return P2WPKH
	case *address.AddressWitnessScriptHash:
		return P2WSH
	case *address.AddressTaproot:
		return P2TR
	}
	return ""
}

// quote shows a foreign text in a message: escaped, and cut, since it may be of any length.
func quote(text string) string {
	const limit = 100
	if len(text) > limit {
		return fmt.Sprintf("%q…", text[:limit])
	}
	return fmt.Sprintf("%q", text)
}

// DustLimit returns the least amount, in sat, that nodes relay in an output of script: what it costs to make and spend it at 3 sat/vB
// (Bitcoin Core, GetDustThreshold with the default -dustrelayfee). It is 0 for an output that cannot be spent, such as OP_RETURN.
func DustLimit(script []byte) amount.Sat {
	const maxScriptSize = 10_000
	if len(script) > maxScriptSize || len(script) > 0 && script[0] == txscript.OP_RETURN {
		return 0
	}
	lengthBytes := 1
	if len(script) >= 0xfd {
		lengthBytes = 3
	}
	size := 8 + lengthBytes + len(script)
	// The input that spends it: outpoint, length, signature and key, sequence. A witness counts a quarter.
	if txscript.IsWitnessProgram(script) {
		size += 32 + 4 + 1 + 107/4 + 4
	} else {
		size += 32 + 4 + 1 + 107 + 4
	}
	const rate amount.SatPerVByte = 3
	return rate.FeeFor(int64(size))
}
