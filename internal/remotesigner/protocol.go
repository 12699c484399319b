// Package remotesigner asks a signer elsewhere for signatures, over HTTPS with mutual TLS, and believes it nothing: what comes back is
// verified as if the signer were hostile. docs/signer.md is the protocol; package signerserver is its other half.
package remotesigner

import (
	"strings"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/signer"
)

// Version is the version of the protocol.
const Version = 1

// Paths below the signer's URL.
const (
	KeysPath = "/v1/keys"
	SignPath = "/v1/sign"
)

// Limits of the bodies, in bytes. A PSBT of psbtcheck.MaxBytes fits in base64.
const (
	MaxRequestBytes = 1 << 20
	MaxAnswerBytes  = 1 << 20
)

// Limits of a refusal, in bytes, as the operator shows it.
const (
	MaxCodeBytes    = 40
	MaxMessageBytes = 300
)

// Keys is the answer to GET KeysPath: whose keys the signer has.
type Keys struct {
	Version           int             `json:"version"`
	Network           bitcoin.Network `json:"network"`
	MasterFingerprint string          `json:"masterFingerprint"`
	XpubVanilla       string          `json:"xpubVanilla"`
	XpubColored       string          `json:"xpubColored"`
}

// Request is the body of POST SignPath.
type Request struct {
	Version int             `json:"version"`
	Wallet  Wallet          `json:"wallet"`
	Network bitcoin.Network `json:"network"`
	// UnsignedPSBT is one PSBT of version 0 in base64.
	UnsignedPSBT string `json:"unsignedPSBT"`
	Intent       Intent `json:"intent"`
}

// Wallet names the wallet that is to sign.
type Wallet struct {
	MasterFingerprint string `json:"masterFingerprint"`
	XpubVanilla       string `json:"xpubVanilla"`
}

// Intent is signer.Intent on the wire.
type Intent struct {
	Kind           signer.IntentKind  `json:"kind"`
	Record         string             `json:"record"`
	Attempt        int32              `json:"attempt"`
	PaymentRequest string             `json:"paymentRequest,omitempty"`
	PaymentHash    string             `json:"paymentHash,omitempty"`
	Destination    string             `json:"destination"`
	AmountSats     amount.Sat         `json:"amountSats"`
	Asset          *Asset             `json:"asset,omitempty"`
	MaxFeeSats     amount.Sat         `json:"maxFeeSats"`
	FeeRate        amount.SatPerVByte `json:"feeRate,omitempty"`
}

// Asset is an amount of an RGB asset, in its smallest unit.
type Asset struct {
	ID     string `json:"id"`
	Amount int64  `json:"amount"`
}

// Answer is the body of a 200 to POST SignPath.
type Answer struct {
	Version int `json:"version"`
	// SignedPSBT is the PSBT of the request in base64, every input finalised and nothing else changed.
	SignedPSBT string `json:"signedPSBT"`
}

// Refusal is the body of every other answer. With status 422 it is the signer's decision, which asking again does not change.
type Refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// NewIntent is intent on the wire.
func NewIntent(intent signer.Intent) Intent {
	wire := Intent{
		Kind: intent.Kind, Record: intent.Record, Attempt: intent.Attempt, PaymentRequest: intent.PaymentRequest,
		PaymentHash: intent.PaymentHash, Destination: intent.Destination, AmountSats: intent.AmountSats, MaxFeeSats: intent.MaxFeeSats,
		FeeRate: intent.FeeRate,
	}
	if intent.Asset != nil {
		asset := Asset(*intent.Asset)
		wire.Asset = &asset
	}
	return wire
}

// Intent is what the wire says.
func (i Intent) Intent() signer.Intent {
	intent := signer.Intent{
		Kind: i.Kind, Record: i.Record, Attempt: i.Attempt, PaymentRequest: i.PaymentRequest, PaymentHash: i.PaymentHash,
		Destination: i.Destination, AmountSats: i.AmountSats, MaxFeeSats: i.MaxFeeSats, FeeRate: i.FeeRate,
	}
	if i.Asset != nil {
		asset := signer.Asset(*i.Asset)
		intent.Asset = &asset
	}
	return intent
}

// Plain returns at most limit bytes of text in printable ASCII: control characters are left out, others become question marks.
func Plain(text string, limit int) string {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || (r >= 0x7f && r < 0xa0):
			return -1
		case r > '~':
			return '?'
		}
		return r
	}, text[:min(len(text), 4*limit)]) // a character has four bytes at most
	return plain[:min(len(plain), limit)]
}
