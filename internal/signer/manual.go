package signer

import (
	"context"
	"errors"

	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
)

// Manual is the signer of a wallet whose payments people sign, one by one and elsewhere. It has public keys only: it inspects what they are
// shown and verifies what they give back. It is safe for concurrent use.
type Manual struct{ public keys.Public }

var _ Signer = (*Manual)(nil)

// NewManual returns the signer of the wallet with these public keys.
func NewManual(public keys.Public) *Manual { return &Manual{public: public} }

// Public returns the public half of the wallet's keys.
func (m *Manual) Public(context.Context) (keys.Public, error) { return m.public, nil }

// Sign inspects request as every Signer does, and then fails with an *UnavailableError: it has nobody to ask.
func (m *Manual) Sign(ctx context.Context, request Request) (*Signed, error) {
	if _, err := m.Inspect(ctx, request); err != nil {
		return nil, err
	}
	return nil, &UnavailableError{Problem: "people sign this wallet's payments, and none of them signed this one"}
}

// Inspect returns what people would sign, without a signature: what must not be signed is refused, with a *psbtcheck.Refusal, and must not be
// shown to anybody as something to sign.
func (m *Manual) Inspect(ctx context.Context, request Request) (*Signed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	inspection, err := psbtcheck.Inspect(request.UnsignedPSBT, m.public)
	if err != nil {
		return nil, err
	}
	if err := inspection.Check(request.Policy); err != nil {
		return nil, err
	}
	return &Signed{Txid: inspection.Txid, Inspection: inspection}, nil
}

// Accept verifies what somebody gave as request's signed PSBT, and takes its signatures alone. A *psbtcheck.Refusal is of the unsigned PSBT;
// what is wrong with the signed one is an *UnavailableError, which quotes nothing of it.
func (m *Manual) Accept(ctx context.Context, request Request, signed string) (*Signed, error) {
	if _, err := m.Inspect(ctx, request); err != nil {
		return nil, err
	}
	accepted, err := AcceptSignatures(ctx, m.public, request, signed)
	if err != nil {
		return nil, &UnavailableError{Problem: disbelieved(err)}
	}
	return accepted, nil
}

// disbelieved says what is wrong with a signed PSBT.
func disbelieved(err error) string {
	switch {
	case errors.Is(err, ErrOtherTransaction):
		return "it is of another transaction"
	case errors.Is(err, ErrInvalidSignature):
		return "a signature in it is not valid"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "it could not be looked at in time"
	}
	return "it is no PSBT whose every input has its final signature"
}
