package signerserver

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/remotesigner"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/signer"
)

// Window is the time over which spending is summed.
const Window = 24 * time.Hour

// Limits are what a signer signs at most, whoever asks. Zero amounts are limits of zero.
type Limits struct {
	// MaxPaymentSats bounds the amount of one payment, MaxFeeSats what may leave the wallet beside it.
	MaxPaymentSats amount.Sat
	MaxFeeSats     amount.Sat
	// MaxDailySats bounds what leaves the wallet in any 24 hours, fees included.
	MaxDailySats amount.Sat
	// Addresses, Nodes (public keys in hex) and Assets (RGB contract ids) are the only destinations; where all three are empty every
	// destination is allowed. A payment of an asset needs the asset, one over Lightning the node, one of bitcoin on-chain the address.
	Addresses, Nodes, Assets []string
	// MaxAssetAmount bounds the amount of an asset of one payment, in the asset's smallest unit, whichever asset. No day counts them.
	MaxAssetAmount int64
	// UnprovedAssets signs what spends colored coins and does not prove what becomes of their assets, payments of bitcoin too, and still
	// nothing that is proved wrong. Whoever asks can leave any proof out: with it, no limit here holds for assets.
	UnprovedAssets bool
}

// Check says what is wrong with l on network, and puts its destinations into the spelling in which they are compared.
func (l *Limits) Check(network bitcoin.Network) error {
	for _, sats := range []amount.Sat{l.MaxPaymentSats, l.MaxFeeSats, l.MaxDailySats} {
		if sats < 0 || sats > amount.MaxSat {
			return fmt.Errorf("a limit of %d sat is not an amount of bitcoin", sats)
		}
	}
	if l.MaxAssetAmount < 0 {
		return fmt.Errorf("a limit of %d units is not an amount of an asset", l.MaxAssetAmount)
	}
	for i, text := range l.Addresses {
		address, err := bitcoin.ParseAddress(text, network)
		if err != nil {
			return fmt.Errorf("allowed address %d: %w", i+1, err)
		}
		l.Addresses[i] = address.Text
	}
	for i, text := range l.Nodes {
		raw, err := hex.DecodeString(text)
		if err == nil {
			_, err = btcec.ParsePubKey(raw)
		}
		if err != nil || len(raw) != btcec.PubKeyBytesLenCompressed {
			return fmt.Errorf("allowed node %d is not a compressed public key in hex", i+1)
		}
		l.Nodes[i] = strings.ToLower(text)
	}
	for i, text := range l.Assets {
		id, err := rgb.ParseAssetID(text)
		if err != nil {
			return fmt.Errorf("allowed asset %d: %w", i+1, err)
		}
		l.Assets[i] = id.String()
	}
	return nil
}

// The codes of a refusal, beside those of package psbtcheck.
const (
	UnsupportedVersion    = "UnsupportedVersion"
	WrongWallet           = "WrongWallet"
	WrongNetwork          = "WrongNetwork"
	InvalidIntent         = "InvalidIntent"
	PaymentTooLarge       = "PaymentTooLarge"
	DailyLimit            = "DailyLimit"
	DestinationNotAllowed = "DestinationNotAllowed"
	AssetNotAllowed       = "AssetNotAllowed"
)

func refuse(code, format string, arguments ...any) *signer.RefusedError {
	return &signer.RefusedError{Code: code, Message: fmt.Sprintf(format, arguments...)}
}

// addressed refuses a request that is for another signer.
func addressed(request *remotesigner.Request, own keys.Public) *signer.RefusedError {
	switch {
	case request.Version != remotesigner.Version:
		return refuse(UnsupportedVersion, "this signer speaks version %d of the protocol", remotesigner.Version)
	case request.Network != own.Network:
		return refuse(WrongNetwork, "this signer is on %s", own.Network)
	case request.Wallet.MasterFingerprint != own.MasterFingerprint || request.Wallet.XpubVanilla != own.XpubVanilla:
		return refuse(WrongWallet, "this signer has the keys of another wallet")
	}
	return nil
}

// consistent refuses an intent that contradicts the invoice or address it names, which was not payable at the instant at, or makes no
// sense.
func consistent(intent signer.Intent, network bitcoin.Network, at time.Time) *signer.RefusedError {
	for _, sats := range []amount.Sat{intent.AmountSats, intent.MaxFeeSats} {
		if sats < 0 || sats > amount.MaxSat {
			return refuse(InvalidIntent, "it names a negative amount of sat, or more than there is")
		}
	}
	switch {
	case intent.FeeRate < 0 || intent.FeeRate > 1_000_000:
		return refuse(InvalidIntent, "its fee rate makes no sense")
	case intent.Record == "" || len(intent.Record) > 253 || intent.Attempt < 1:
		return refuse(InvalidIntent, "it names no attempt of a payment")
	case intent.Asset != nil && intent.Asset.Amount <= 0:
		return refuse(InvalidIntent, "its amount of the asset is not positive")
	case intent.Kind == signer.LightningPayment:
		return consistentLightning(intent, network, at)
	case intent.Kind == signer.OnchainSend:
		return consistentOnchain(intent, network, at)
	}
	return refuse(InvalidIntent, "its kind is neither LightningPayment nor OnchainSend")
}

func consistentLightning(intent signer.Intent, network bitcoin.Network, at time.Time) *signer.RefusedError {
	invoice, err := bolt11.Decode(intent.PaymentRequest)
	if err != nil {
		return refuse(InvalidIntent, "its invoice cannot be read")
	}
	terms := bolt11.Terms{Network: network, AmountSats: &intent.AmountSats, Now: at}
	if intent.Asset != nil {
		terms.Asset = &bolt11.Asset{ID: intent.Asset.ID, Amount: uint64(intent.Asset.Amount)}
	}
	if err := invoice.CheckPayable(terms); err != nil {
		return refuse(InvalidIntent, "%v", err)
	}
	if invoice.PaymentHashHex() != intent.PaymentHash || hex.EncodeToString(invoice.Payee[:]) != intent.Destination {
		return refuse(InvalidIntent, "its invoice has another payment hash or payee than it names")
	}
	return nil
}

func consistentOnchain(intent signer.Intent, network bitcoin.Network, at time.Time) *signer.RefusedError {
	if intent.PaymentRequest != "" || intent.PaymentHash != "" {
		return refuse(InvalidIntent, "an on-chain send has no Lightning invoice")
	}
	if intent.Asset == nil {
		if _, err := bitcoin.ParseAddress(intent.Destination, network); err != nil {
			return refuse(InvalidIntent, "%v", err)
		}
		return nil
	}
	invoice, err := rgb.ParseInvoice(intent.Destination)
	if err == nil {
		err = invoice.Check(rgb.Terms{Network: network, AssetID: intent.Asset.ID, Amount: intent.Asset.Amount, Now: at})
	}
	switch {
	case err != nil:
		return refuse(InvalidIntent, "%v", err)
	case intent.AmountSats != 0:
		return refuse(InvalidIntent, "an RGB invoice is sent an asset, and no amount of bitcoin")
	}
	return nil
}

// policy is what a PSBT of intent, which is consistent, may do within l. What need not be proved of assets is in l alone.
func (l *Limits) policy(intent signer.Intent) psbtcheck.Policy {
	intent.MaxFeeSats = min(intent.MaxFeeSats, l.MaxFeeSats)
	policy := intent.Policy()
	policy.Assets.AllowUnproved = l.UnprovedAssets
	return policy
}

// allows refuses an intent, which is consistent, for its amount or destination.
func (l *Limits) allows(intent signer.Intent, network bitcoin.Network) *signer.RefusedError {
	if intent.AmountSats > l.MaxPaymentSats {
		return refuse(PaymentTooLarge, "a payment of %d sat is above this signer's limit of %d sat", intent.AmountSats, l.MaxPaymentSats)
	}
	if intent.Asset != nil && intent.Asset.Amount > l.MaxAssetAmount {
		return refuse(PaymentTooLarge, "a payment of %d units of an asset is above this signer's limit of %d (--max-asset-amount)",
			intent.Asset.Amount, l.MaxAssetAmount)
	}
	if len(l.Addresses)+len(l.Nodes)+len(l.Assets) == 0 {
		return nil
	}
	if intent.Asset != nil {
		id, err := rgb.ParseAssetID(intent.Asset.ID)
		if err != nil || !slices.Contains(l.Assets, id.String()) {
			return refuse(AssetNotAllowed, "the asset is not among those that this signer allows")
		}
	}
	destination, allowed := intent.Destination, l.Nodes
	if intent.Kind == signer.OnchainSend {
		if intent.Asset != nil {
			return nil // an RGB invoice is used once: the asset is all that can be listed
		}
		address, err := bitcoin.ParseAddress(intent.Destination, network)
		if err != nil {
			return refuse(InvalidIntent, "%v", err)
		}
		destination, allowed = address.Text, l.Addresses
	}
	if !slices.Contains(allowed, destination) {
		return refuse(DestinationNotAllowed, "the destination is not among those that this signer allows")
	}
	return nil
}

// fits refuses an outflow that does not fit into what is left of 24 hours in which spent left the wallet.
func (l *Limits) fits(spent, outflow amount.Sat) *signer.RefusedError {
	if left := max(l.MaxDailySats-spent, 0); outflow > left {
		return refuse(DailyLimit, "%d sat would leave the wallet, fee included, and %d sat are left of this signer's limit of %d sat in 24 hours",
			outflow, left, l.MaxDailySats)
	}
	return nil
}
