package transition

import "fmt"

// Reason says in one word why nothing is proved. The set is closed.
type Reason string

// What keeps a transaction's effect on assets from being known. Nothing shown is known to be false.
const (
	// NotShown: the PSBT carries no transition.
	NotShown Reason = "NotShown"
	// Unreadable: a field is not in the form of its type, or larger than any wallet writes.
	Unreadable Reason = "Unreadable"
	// Unsupported: readable, and of a kind or version that is not understood, or not enough of it is shown.
	Unsupported Reason = "Unsupported"
)

// What is known to be false or hidden.
const (
	// Contradiction: what the PSBT shows is not what its transaction commits to.
	Contradiction Reason = "Contradiction"
	// Hidden: the transaction commits to something besides what the PSBT shows.
	Hidden Reason = "Hidden"
)

// Disproved tells reasons that show the PSBT to be false from those by which nothing is known.
func (r Reason) Disproved() bool { return r == Contradiction || r == Hidden }

// Error says why it is not proved what a transaction does with assets.
type Error struct {
	Reason Reason
	// Message is for a person, the same for the same PSBT.
	Message string
}

func (e *Error) Error() string { return e.Message }

func fail(reason Reason, format string, arguments ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, arguments...)}
}
