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
	// PSBT must not be signed; then nothing was.
	Sign(ctx context.Context, request Request) (*Signed, error)
}
