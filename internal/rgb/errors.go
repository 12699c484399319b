package rgb

import "fmt"

// Reason says in one word why a text or an invoice is refused. The set is closed: the constants below.
type Reason string

// What makes a text unreadable.
const (
	// Malformed: the text does not follow the grammar, or not in its canonical spelling.
	Malformed Reason = "Malformed"
	// BadChecksum: the beneficiary's checksum does not match; the text was altered.
	BadChecksum Reason = "BadChecksum"
	// UnknownNetwork: the invoice names a chain that this package does not know.
	UnknownNetwork Reason = "UnknownNetwork"
	// Unsupported: well formed, yet of a kind that is not paid here (a token of a non-fungible contract).
	Unsupported Reason = "Unsupported"
)

// What keeps a readable invoice from being paid under given terms.
const (
	// WrongNetwork: the invoice is of another network than the wallet.
	WrongNetwork Reason = "WrongNetwork"
	// WrongAsset: the invoice asks for another asset than was declared.
	WrongAsset Reason = "WrongAsset"
	// AmountMismatch: the invoice asks for another amount than was declared.
	AmountMismatch Reason = "AmountMismatch"
	// Expired: the invoice may no longer be paid.
	Expired Reason = "Expired"
)

// Error says why a text is not an id, an amount or an invoice.
type Error struct {
	Reason  Reason
	Message string
}

func (e *Error) Error() string { return e.Message }

// Refusal says why a readable invoice must not be paid under the terms given to Check.
type Refusal struct {
	Reason  Reason
	Message string
}

func (r *Refusal) Error() string { return r.Message }

func refuse(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// quote shows a foreign text in a message: escaped, and cut, since it may be of any length.
func quote(text string) string {
	const limit = 80
	if len(text) > limit {
		return fmt.Sprintf("%q…", text[:limit])
	}
	return fmt.Sprintf("%q", text)
}
