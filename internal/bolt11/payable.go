package bolt11

import (
	"time"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/rgb"
)

// Terms are what an invoice must agree with to be paid.
type Terms struct {
	// Network is the wallet's network.
	Network bitcoin.Network
	// AmountSats is the amount that was declared; nil declares none.
	AmountSats *amount.Sat
	// Asset is the asset and amount that were declared; nil declares none.
	Asset *Asset
	// Now is the time, Margin how long before its expiry an invoice is no longer begun.
	Now    time.Time
	Margin time.Duration
}

// CheckPayable returns nil where i may be paid under terms, else *Refusal. Where terms declare neither an amount nor an asset, the
// invoice alone says what is paid; an asset invoice passes a declared amount of sat only together with a declared asset, because
// the sat that it also names are the smaller part of what leaves the wallet.
func (i *Invoice) CheckPayable(terms Terms) error {
	if i.Prefix != terms.Network.InvoicePrefix() {
		return refusal(WrongNetwork, "the invoice is of the network that ln%s stands for, the wallet of %s (ln%s); use an invoice of the wallet's network",
			i.Prefix, terms.Network, terms.Network.InvoicePrefix())
	}
	expiry := i.ExpiresAt().Format(time.RFC3339)
	if i.Expired(terms.Now) {
		return refusal(Expired, "the invoice expired at %s; ask for a new one", expiry)
	}
	if i.Expired(terms.Now.Add(terms.Margin)) {
		return refusal(Expired, "the invoice expires at %s, and no payment is begun within %s of that; ask for a new one", expiry, terms.Margin)
	}
	sats, hasAmount, err := i.AmountSats()
	switch {
	case !hasAmount:
		return refusal(NoAmount, "the invoice leaves the amount to the payer, which cannot be paid; ask for one that names it")
	case err != nil:
		return refusal(SubSatoshi, "the invoice asks for %d msat, which is not a whole number of satoshi; ask for one that is", int64(*i.Amount))
	}
	if refused := i.checkAsset(terms); refused != nil {
		return refused
	}
	if terms.AmountSats != nil && *terms.AmountSats != sats {
		return refusal(AmountMismatch, "the invoice asks for %d sat, declared are %d sat; correct amountSats or ask for another invoice",
			int64(sats), int64(*terms.AmountSats))
	}
	return nil
}

func (i *Invoice) checkAsset(terms Terms) *Refusal {
	asked, declared := i.Asset, terms.Asset
	if asked == nil {
		if declared == nil {
			return nil
		}
		return refusal(AssetMismatch, "the invoice asks for bitcoin alone, declared are %d units of %.80q; declare amountSats or ask for another invoice",
			declared.Amount, declared.ID)
	}
	if _, err := rgb.ParseAssetID(asked.ID); err != nil {
		return refusal(BadAsset, "the invoice names its asset %.80q, which is not a canonical RGB contract id; ask for one from a node of today",
			asked.ID)
	}
	switch {
	case declared == nil && terms.AmountSats != nil:
		return refusal(AssetMismatch, "the invoice asks for %d units of the RGB asset %s, declared is an amount of bitcoin; declare asset",
			asked.Amount, asked.ID)
	case declared != nil && *declared != *asked:
		return refusal(AssetMismatch, "the invoice asks for %d units of %s, declared are %d units of %.80q; correct asset or ask for another invoice",
			asked.Amount, asked.ID, declared.Amount, declared.ID)
	}
	return nil
}
