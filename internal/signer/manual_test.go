package signer

import (
	"context"
	"errors"
	"testing"

	"github.com/btcsuite/btcd/psbt/v2"

	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
)

// TestManual shows people what may be signed, and takes what they sign for a stranger's: of it come the signatures, and nothing else.
func TestManual(t *testing.T) {
	local := local(t, guide, bitcoin.Regtest)
	deriver := deriverOf(t, local)
	people := NewManual(deriver.Public())
	unsigned := text(t, transfer(t, deriver, path(keys.Colored, 0, 0), path(keys.Vanilla, 1, 3)))
	request := Request{UnsignedPSBT: unsigned, Policy: transferPolicy()}
	good := mustSign(t, local, unsigned)
	edited := func(edit func(*psbt.Packet)) string {
		packet := packetOf(t, good)
		edit(packet)
		return text(t, packet)
	}
	if public, err := people.Public(t.Context()); err != nil || public != deriver.Public() {
		t.Errorf("its keys are %v, %v", public, err)
	}
	if found, err := people.Inspect(t.Context(), request); err != nil || found.PSBT != "" || found.Txid != packetOf(t, unsigned).UnsignedTx.TxHash().String() {
		t.Errorf("what is to be signed is %+v, %v", found, err)
	}
	if signed, err := people.Sign(t.Context(), request); signed != nil || !isUnavailable(err) {
		t.Errorf("it signs %v, %v", signed, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := people.Accept(cancelled, request, good); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	for name, signed := range map[string]string{
		"as it is": good,
		"with a field of another program": edited(func(p *psbt.Packet) {
			p.Unknowns = append(p.Unknowns, &psbt.Unknown{Key: []byte{0xfc, 1, 'X', 0}, Value: []byte("x")})
		}),
		"without the fields of this one": edited(func(p *psbt.Packet) { p.Unknowns, p.Inputs[0].Unknowns, p.Outputs[1].Unknowns = nil, nil, nil }),
	} {
		t.Run(name, func(t *testing.T) {
			accepted, err := people.Accept(t.Context(), request, signed)
			if err != nil || accepted.PSBT != good {
				t.Errorf("it takes %+v, %v", accepted, err)
			}
		})
	}
	for name, signed := range map[string]string{
		"nothing": "", "the unsigned PSBT": unsigned,
		"half of it":        edited(func(p *psbt.Packet) { p.Inputs[1].FinalScriptWitness = nil }),
		"another":           edited(func(p *psbt.Packet) { p.UnsignedTx.LockTime++ }),
		"other coins":       mustSign(t, local, text(t, transfer(t, deriver, path(keys.Colored, 0, 0), path(keys.Vanilla, 1, 4)))),
		"a bit of it":       edited(func(p *psbt.Packet) { p.Inputs[1].FinalScriptWitness[40] ^= 4 }),
		"the other's input": edited(func(p *psbt.Packet) { p.Inputs[1].FinalScriptWitness = p.Inputs[0].FinalScriptWitness }),
	} {
		t.Run(name, func(t *testing.T) {
			if accepted, err := people.Accept(t.Context(), request, signed); accepted != nil || !isUnavailable(err) {
				t.Errorf("it takes %v, %v", accepted, err)
			}
		})
	}
	// What must not be signed is refused before it is shown, and whatever is given for it.
	tight := request
	tight.Policy.MaxNetOutflowSats = 599
	for name, try := range map[string]func() (*Signed, error){
		"to show": func() (*Signed, error) { return people.Inspect(t.Context(), tight) },
		"to sign": func() (*Signed, error) { return people.Sign(t.Context(), tight) },
		"to take": func() (*Signed, error) { return people.Accept(t.Context(), tight, good) },
	} {
		t.Run("too much "+name, func(t *testing.T) {
			var refusal *psbtcheck.Refusal
			if signed, err := try(); signed != nil || !errors.As(err, &refusal) || refusal.Code != psbtcheck.OutflowTooHigh {
				t.Errorf("%v, %v", signed, err)
			}
		})
	}
}

func isUnavailable(err error) bool {
	var unavailable *UnavailableError
	return errors.As(err, &unavailable)
}
