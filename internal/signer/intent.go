package signer

import (
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/rgb"
)

// Intent is what a PSBT is to pay, as it was declared. A PSBT does not say: it commits to no invoice, and may pay the service instead of
// the payee. A signer with rules of its own needs it; Local, which has none, does not look at it.
type Intent struct {
	Kind IntentKind
	// Record and Attempt name the attempt: a PaymentRecord, and which of its attempts.
	Record  string
	Attempt int32
	// PaymentRequest, a BOLT11, and PaymentHash, 64 hexadecimal digits, are a Lightning payment's.
	PaymentRequest string
	PaymentHash    string
	// Destination is the payee's public key in hex, an address or an RGB invoice in full.
	Destination string
	// AmountSats is what the payee gets in bitcoin: of an asset payment over Lightning the sat that its invoice names too, of an asset
	// sent on-chain 0.
	AmountSats amount.Sat
	// Asset is nil where bitcoin alone is paid.
	Asset      *Asset
	MaxFeeSats amount.Sat
	// FeeRate is what an on-chain send was declared with; else 0.
	FeeRate amount.SatPerVByte
}

// IntentKind is the kind of resource that declares a payment.
type IntentKind string

// The kinds.
const (
	LightningPayment IntentKind = "LightningPayment"
	OnchainSend      IntentKind = "OnchainSend"
)

// Asset is an amount of an RGB asset, in its smallest unit.
type Asset struct {
	ID     string
	Amount int64
}

// Policy is what a PSBT of i may do. The service's PSBT does not commit to the invoice or the address, so it is bounded by what may leave
// the wallet in all, its own fee included: the amount and the cap on fees. What it does with assets is held against i itself, and must be
// proved wherever coins are spent that may carry any, of a payment of bitcoin too. To let a doubt pass is for the one who signs to say, and
// never for what is declared: a signer that means to sets AllowUnproved.
func (i Intent) Policy() psbtcheck.Policy {
	policy := psbtcheck.DefaultPolicy()
	policy.MaxNetOutflowSats = i.AmountSats + i.MaxFeeSats
	policy.MaxFeeSats = policy.MaxNetOutflowSats
	policy.MaxFeeRate = max(policy.MaxFeeRate, 2*i.FeeRate)
	policy.VanillaOnly = i.Kind == OnchainSend && i.Asset == nil
	policy.Assets = i.assetRule()
	return policy
}

func (i Intent) assetRule() *psbtcheck.AssetRule {
	if i.Asset == nil {
		return &psbtcheck.AssetRule{}
	}
	transfer := &psbtcheck.AssetTransfer{AssetID: i.Asset.ID, Amount: uint64(i.Asset.Amount)}
	if i.Kind == OnchainSend {
		transfer.Payee = &rgb.Beneficiary{} // nobody, for an invoice that cannot be read
		if invoice, err := rgb.ParseInvoice(i.Destination); err == nil {
			transfer.Payee = &invoice.Beneficiary
		}
	}
	return &psbtcheck.AssetRule{Transfer: transfer}
}
