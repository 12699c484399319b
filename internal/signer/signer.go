// Package signer signs PSBTs that pass inspection, and verifies every signature before anybody sees it.
package signer

import (
	"context"

	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
)

// Request asks for the signatures of one PSBT.
type Request struct {
	// UnsignedPSBT is one PSBT of version 0 in base64.
	UnsignedPSBT string
	// Policy is what it may do. The zero Policy allows nothing.
	Policy psbtcheck.Policy
	// Intent is what it is to pay, for signers that judge by themselves.
	Intent Intent
}

// Signed is a PSBT with all its signatures.
type Signed struct {
	// PSBT is in base64, every input finalised.
	PSBT string
	// Txid is the id of its transaction, which the unsigned one has too.
	Txid string
	// Inspection is what was found in the unsigned PSBT, and passed the policy.
	Inspection *psbtcheck.Inspection
}

// Signer signs for one wallet. Signing has no side effects and may be repeated.
type Signer interface {
	// Public returns the public half of the wallet's keys.
	Public(ctx context.Context) (keys.Public, error)
	// Sign inspects the PSBT, holds it against the policy and signs all of its inputs. It fails with a *psbtcheck.Refusal where the
	// PSBT must not be signed; then nothing was. A signer that is somewhere else also fails with a *RefusedError or an
	// *UnavailableError.
	Sign(ctx context.Context, request Request) (*Signed, error)
}

// RefusedError is the error of a signer that has rules of its own, and would not sign by one of them. Asking again does not help.
type RefusedError struct {
	// Code is one word, Message a sentence for a person. Both are the signer's, in printable ASCII and of bounded length.
	Code    string
	Message string
}

func (e *RefusedError) Error() string { return "the signer refuses (" + e.Code + "): " + e.Message }

// UnavailableError is the error of a signer that gave no usable answer. Signing has no effects, so it may be asked again.
type UnavailableError struct {
	// Problem is a sentence for a person, without a full stop. It quotes nothing that the signer sent, and is the same for the same
	// problem.
	Problem string
}

func (e *UnavailableError) Error() string { return e.Problem }
