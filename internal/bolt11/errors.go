package bolt11

import "fmt"

// Reason says in one word why a text or an invoice is refused. The set is closed: the constants below.
type Reason string

// What makes a text no invoice (Decode).
const (
	// Malformed: the text, or one of its fields, does not have the form that BOLT 11 gives it.
	Malformed Reason = "Malformed"
	// BadChecksum: the text was altered or cut.
	BadChecksum Reason = "BadChecksum"
	// BadSignature: the payee's node did not sign this text.
	BadSignature Reason = "BadSignature"
	// UnknownNetwork: the prefix names no network that is known.
	UnknownNetwork Reason = "UnknownNetwork"
	// BadAmount: the amount is misspelt, 0, a fraction of a millisatoshi or above 21 million BTC.
	BadAmount Reason = "BadAmount"
	// MissingField: a field without which nothing can be paid is not there.
	MissingField Reason = "MissingField"
	// AmbiguousField: a field that may be there once is there twice, so that readers would differ.
	AmbiguousField Reason = "AmbiguousField"
	// UnsupportedFeature: the payee requires a feature that is not understood.
	UnsupportedFeature Reason = "UnsupportedFeature"
	// BadAsset: the RGB fields are incomplete or unreadable, or (CheckPayable) the asset id is not canonical.
	BadAsset Reason = "BadAsset"
)

// What keeps an invoice from being paid under given terms (CheckPayable).
const (
	// WrongNetwork: the invoice is of another network than the wallet.
	WrongNetwork Reason = "WrongNetwork"
	// Expired: the time to pay is over, or so near its end that a payment might not make it.
	Expired Reason = "Expired"
	// NoAmount: the invoice leaves the amount to the payer, which the service refuses to pay.
	NoAmount Reason = "NoAmount"
	// SubSatoshi: the amount is not a whole number of satoshi.
	SubSatoshi Reason = "SubSatoshi"
	// AmountMismatch: the amount is not the declared one.
	AmountMismatch Reason = "AmountMismatch"
	// AssetMismatch: the asset or its amount is not the declared one.
	AssetMismatch Reason = "AssetMismatch"
)

// Error says why a text is not an invoice that can be read. Message is for a person and names the remedy where there is one.
type Error struct {
	Reason  Reason
	Message string
}

func (e *Error) Error() string { return e.Message }

// Refusal says why a readable invoice must not be paid under the terms given. Message is for a person: both values, and the remedy.
type Refusal struct {
	Reason  Reason
	Message string
}

func (r *Refusal) Error() string { return r.Message }

func decodeError(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func refusal(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
