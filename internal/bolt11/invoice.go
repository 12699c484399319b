// Package bolt11 reads and writes Lightning invoices (BOLT 11), the fields of the RGB fork of LDK included.
//
// Decode is stricter than the specification where two readers could disagree, because the operator decides by what it reads and
// another program pays: a field given twice, an asset amount without an asset and a bech32m checksum are refused. The package knows
// no clock; CheckPayable is told the time.
package bolt11

import (
	"encoding/hex"
	"math"
	"slices"
	"time"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
)

// What a reader assumes where an invoice says nothing (BOLT 11).
const (
	DefaultExpiry             = time.Hour
	DefaultMinFinalCLTVExpiry = 18 // blocks
)

// Invoice is one BOLT 11 payment request. Decode fills every field; Encode says which of them it needs.
type Invoice struct {
	// Prefix is the currency prefix after "ln": bc, tb, tbs, bcrt, or sb for lnd's simnet.
	Prefix string
	// Amount is what the payee asks for, in msat; nil leaves it to the payer. It is at most 21 million BTC and never 0.
	Amount *amount.MilliSat
	// Asset is what the payee asks for in an RGB asset, on top of Amount; nil for a plain bitcoin invoice.
	Asset *Asset
	// PaymentHash is the SHA-256 of the preimage that the payee gives for the payment: the payment's identity.
	PaymentHash [32]byte
	// PaymentSecret keeps nodes on the way from probing the payee.
	PaymentSecret [32]byte
	// Payee is the compressed public key of the node that is paid.
	Payee [33]byte
	// PayeeNamed tells that the invoice names Payee, so that any change to it voids the signature. Without it Payee is recovered
	// from the signature, and a changed invoice is a valid one of another payee.
	PayeeNamed bool
	// Timestamp is when the invoice was made, UTC, in whole seconds.
	Timestamp time.Time
	// Expiry is how long after Timestamp the invoice may be paid, in whole seconds; 0 means never. Longer ones than a Duration
	// holds (292 years) are cut to it.
	Expiry time.Duration
	// Description says what is paid for. It is foreign text, of any content: escape it wherever it is shown. Empty where the invoice
	// has DescriptionHash instead.
	Description string
	// DescriptionHash is the SHA-256 of a description that is given elsewhere. A payer that has the text must compare it; this
	// package cannot.
	DescriptionHash *[32]byte
	// MinFinalCLTVExpiry is the time lock, in blocks, that the payee wants for the last hop.
	MinFinalCLTVExpiry uint64
	// Features are the BOLT 9 feature bits that are set, required (even) and optional (odd).
	Features Features
	// RouteHints are ways to a payee without public channels, each from a public node to the payee.
	RouteHints [][]Hop
	// Fallbacks are on-chain addresses that the payee takes instead. Nothing in this project pays them.
	Fallbacks []Fallback
	// Metadata goes to the payee with the payment; nil where there is none.
	Metadata []byte
	// Unknown holds, in their order, the fields that BOLT 11 tells a reader to skip.
	Unknown []Field
}

// Asset is an amount of an RGB asset, in the asset's smallest unit: tags 30 and 31 of the RGB fork of LDK (lightning-invoice).
type Asset struct {
	// ID is the contract id as the invoice spells it: printable ASCII, canonical only after CheckPayable.
	ID string
	// Amount is 1 to 2⁶³-1.
	Amount uint64
}

// Hop is one channel of a route hint.
type Hop struct {
	// NodeID is the compressed public key of the node that the channel leaves.
	NodeID                    [33]byte
	ShortChannelID            uint64
	FeeBaseMsat               uint32
	FeeProportionalMillionths uint32
	CLTVExpiryDelta           uint16
}

// Fallback is an on-chain output in place of a Lightning payment.
type Fallback struct {
	// Version is a witness version (0 to 16), or 17 for P2PKH and 18 for P2SH.
	Version byte
	// Program is the witness program, or the 20-byte hash.
	Program []byte
}

// Field is a tagged field as it stands in an invoice.
type Field struct {
	Tag byte
	// Data holds one 5-bit group a byte.
	Data []byte
}

// Features is the ascending list of the feature bits that are set.
type Features []uint16

// Has tells whether bit is set.
func (f Features) Has(bit uint16) bool { return slices.Contains(f, bit) }

// Network returns the network that the prefix names, and false where it is none that a wallet can be on (lnd's simnet). The prefix
// is all there is to go by: a node that signs "tb" on signet is not recognised.
func (i *Invoice) Network() (bitcoin.Network, bool) {
	for _, network := range []bitcoin.Network{bitcoin.Mainnet, bitcoin.Testnet, bitcoin.Signet, bitcoin.Regtest} {
		if network.InvoicePrefix() == i.Prefix {
			return network, true
		}
	}
	return "", false
}

// ExpiresAt returns the instant, UTC, from which the invoice may no longer be paid.
func (i *Invoice) ExpiresAt() time.Time { return i.Timestamp.Add(i.Expiry) }

// Expired tells whether the invoice may no longer be paid at now.
func (i *Invoice) Expired(now time.Time) bool { return !now.Before(i.ExpiresAt()) }

// PaymentHashHex returns the payment hash as 64 lower-case hexadecimal digits.
func (i *Invoice) PaymentHashHex() string { return hex.EncodeToString(i.PaymentHash[:]) }

// AmountSats returns the amount in sat, and false where the payer chooses it. An amount that is not a whole number of satoshi is
// amount.ErrSubSatoshi, never rounded.
func (i *Invoice) AmountSats() (amount.Sat, bool, error) {
	if i.Amount == nil {
		return 0, false, nil
	}
	sats, err := i.Amount.Sat()
	return sats, true, err
}

const maxExpirySeconds = uint64(math.MaxInt64 / int64(time.Second))

// Tags of the fields (BOLT 11), and of the RGB fork.
const (
	tagPaymentHash     = 1
	tagRouteHint       = 3
	tagFeatures        = 5
	tagExpiry          = 6
	tagFallback        = 9
	tagDescription     = 13
	tagPaymentSecret   = 16
	tagPayee           = 19
	tagDescriptionHash = 23
	tagMinFinalCLTV    = 24
	tagMetadata        = 27
	tagAssetAmount     = 30
	tagAssetID         = 31
)

// Sizes in 5-bit groups.
const (
	timestampGroups = 7
	signatureGroups = 104
	hashGroups      = 52
	payeeGroups     = 53
	maxFieldGroups  = 1<<10 - 1
)

const hopBytes = 33 + 8 + 4 + 4 + 2

// maxLength is the longest text that fits a QR code in upper case, the limit of LDK too.
const maxLength = 7089

// knownPrefixes are the currency prefixes of BOLT 11, and lnd's simnet.
var knownPrefixes = []string{"bc", "tb", "tbs", "bcrt", "sb"}

// understoodFeatures are the required bits that a payer may meet: var_onion_optin, payment_secret, basic_mpp and
// option_payment_metadata (BOLT 9). Above all AMP (30) is not among them: its payments have no fixed hash, hence no identity.
var understoodFeatures = Features{8, 14, 16, 48}
