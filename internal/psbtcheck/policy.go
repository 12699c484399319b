package psbtcheck

import (
	"bytes"
	"slices"

	"github.com/btcsuite/btcd/txscript/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
)

// Policy is what a PSBT may do. Zero limits are limits of zero: the zero Policy refuses every PSBT. Start from DefaultPolicy.
type Policy struct {
	// MaxNetOutflowSats bounds what leaves the wallet, fee included: the amount plus the cap on the fee.
	MaxNetOutflowSats amount.Sat
	// MaxFeeSats and MaxFeeRate bound the transaction's fee.
	MaxFeeSats amount.Sat
	MaxFeeRate amount.SatPerVByte
	// MaxAddressIndex is the highest index of a keychain that change may go to: no scan of the chain looks further.
	MaxAddressIndex uint32
	// MaxLockHeight is the highest block height that the transaction may be locked until. One that confirms years later would be
	// taken for lost, and paid again.
	MaxLockHeight uint32
	// VanillaOnly refuses coins of the colored account. Set it where no asset is to move: a colored coin may carry assets away, or burn
	// them, while every figure is right.
	VanillaOnly bool
	// Assets is what may happen to RGB assets; nil checks satoshis alone.
	Assets *AssetRule
	// Intent is where exactly the money shall go; nil where the service alone decides that, within the limits.
	Intent *Intent
}

// DefaultPolicy allows fees of up to 20,000 sat at up to 100 sat/vB, change at indexes up to 1,000,000 and locks until height
// 10,000,000. It allows no outflow: set MaxNetOutflowSats.
func DefaultPolicy() Policy {
	return Policy{MaxFeeSats: 20_000, MaxFeeRate: 100, MaxAddressIndex: 1_000_000, MaxLockHeight: 10_000_000}
}

// Intent is the one payment that a transaction shall make, besides what comes back to the wallet. The zero Intent is that nobody
// else is paid.
type Intent struct {
	// Address is the payee's, on the wallet's network; or Script is its output script. At most one is set.
	Address string
	Script  []byte
	// AmountSats is exactly what the payee gets.
	AmountSats amount.Sat
}

// lockTimeThreshold divides lock times: heights below, instants from it on (BIP 65).
const lockTimeThreshold = 500_000_000

const (
	sequenceFinal            = 0xffffffff
	sequenceNoRelativeLock   = 1 << 31 // BIP 68
	sequenceRelativeLockMask = 0xffff
)

// maxStandardWeight is what nodes relay (bitcoin/bitcoin: MAX_STANDARD_TX_WEIGHT).
const maxStandardWeight = 400_000

// Check tells whether i is within p: nil, or the *Refusal of LayerPolicy or LayerIntent that comes first.
func (i *Inspection) Check(p Policy) error {
	for _, check := range []func(Policy) error{
		i.checkInputs, i.checkOutputs, i.checkFee, i.checkTransaction, i.checkIntent, i.checkAssets,
	} {
		if err := check(p); err != nil {
			return err
		}
	}
	return nil
}

func (i *Inspection) checkInputs(p Policy) error {
	for n, input := range i.Inputs {
		if input.Sighash != uint32(txscript.SigHashDefault) {
			return refuse(LayerPolicy, UnusualSighash, "input %d asks for signature hash type %#x; only the default, which covers the whole transaction, is signed", n, input.Sighash)
		}
	}
	if p.VanillaOnly && slices.ContainsFunc(i.Inputs, func(input Input) bool { return input.Path.Account == keys.Colored }) {
		return refuse(LayerPolicy, ColoredInput, "it spends %d sat of colored coins, which may carry assets, where no asset is to move", i.OwnInputs.Colored)
	}
	return nil
}

func (i *Inspection) checkOutputs(p Policy) error {
	for n, output := range i.Outputs {
		switch {
		case output.FalseClaim:
			return refuse(LayerPolicy, FalseChange, "output %d claims to come back to the wallet and does not", n)
		case output.Kind == OpReturn && output.ValueSats != 0:
			return refuse(LayerPolicy, BurntValue, "output %d burns %d sat in an OP_RETURN", n, output.ValueSats)
		case output.Kind == Own && output.Path.Index > p.MaxAddressIndex:
			return refuse(LayerPolicy, ChangeOutOfReach, "output %d comes back to %s, beyond index %d, where no scan finds it", n, output.Path, p.MaxAddressIndex)
		}
	}
	return nil
}

func (i *Inspection) checkFee(p Policy) error {
	switch {
	case i.FeeSats > p.MaxFeeSats:
		return refuse(LayerPolicy, FeeTooHigh, "its fee of %d sat is above the limit of %d sat", i.FeeSats, p.MaxFeeSats)
	case i.FeeRate > p.MaxFeeRate:
		return refuse(LayerPolicy, FeeRateTooHigh, "its fee rate of %s sat/vB is above the limit of %d sat/vB", i.FeeRateDecimal(), p.MaxFeeRate)
	case i.NetOutflowSats > p.MaxNetOutflowSats:
		return refuse(LayerPolicy, OutflowTooHigh, "%d sat would leave the wallet, fee included, above the limit of %d sat", i.NetOutflowSats, p.MaxNetOutflowSats)
	}
	return nil
}

func (i *Inspection) checkTransaction(p Policy) error {
	if i.Version != 1 && i.Version != 2 {
		return refuse(LayerPolicy, NotStandard, "its transaction version %d is not 1 or 2", i.Version)
	}
	if i.Weight > maxStandardWeight {
		return refuse(LayerPolicy, NotStandard, "it weighs %d units; nodes relay up to %d", i.Weight, maxStandardWeight)
	}
	final := true
	for n, input := range i.Inputs {
		final = final && input.Sequence == sequenceFinal
		if i.Version >= 2 && input.Sequence&sequenceNoRelativeLock == 0 && input.Sequence&sequenceRelativeLockMask != 0 {
			return refuse(LayerPolicy, Locked, "input %d may be spent only some time after its coin confirmed", n)
		}
	}
	switch {
	case final || i.LockTime == 0:
		return nil
	case i.LockTime >= lockTimeThreshold:
		return refuse(LayerPolicy, Locked, "it is locked until an instant (lock time %d)", i.LockTime)
	case i.LockTime > p.MaxLockHeight:
		return refuse(LayerPolicy, Locked, "it is locked until block %d, above the limit of %d", i.LockTime, p.MaxLockHeight)
	}
	return nil
}

func (i *Inspection) checkIntent(p Policy) error {
	if p.Intent == nil {
		return nil
	}
	payee, err := p.Intent.script(i.Network)
	if err != nil {
		return err
	}
	paid := 0
	for n, output := range i.Outputs {
		switch {
		case payee != nil && bytes.Equal(output.Script, payee): // the payee may be the wallet itself
			paid++
			if output.ValueSats != p.Intent.AmountSats {
				return refuse(LayerIntent, WrongAmount, "output %d pays the payee %d sat instead of %d sat", n, output.ValueSats, p.Intent.AmountSats)
			}
		case output.Kind == External:
			return refuse(LayerIntent, PaysOthers, "output %d pays %d sat to %s, which was not asked for", n, output.ValueSats, output.who())
		}
	}
	switch {
	case payee != nil && paid == 0:
		return refuse(LayerIntent, NotPaid, "no output pays the payee")
	case paid > 1:
		return refuse(LayerIntent, WrongAmount, "%d outputs pay the payee instead of one", paid)
	}
	return nil
}

// script returns the payee's output script; nil for the zero Intent.
func (intent *Intent) script(network bitcoin.Network) ([]byte, error) {
	switch {
	case intent.Address != "" && intent.Script != nil:
		return nil, refuse(LayerIntent, UnreadableIntent, "what was asked for names the payee twice")
	case intent.Address == "" && intent.Script == nil && intent.AmountSats != 0:
		return nil, refuse(LayerIntent, UnreadableIntent, "what was asked for names no payee")
	case intent.Address == "":
		return intent.Script, nil
	}
	payee, err := bitcoin.ParseAddress(intent.Address, network)
	if err != nil {
		return nil, refuse(LayerIntent, UnreadableIntent, "what was asked for cannot be paid: %v", err)
	}
	return payee.Script, nil
}

// who names the payee of o in a message.
func (o Output) who() string {
	if o.Address == "" {
		return "a script without an address"
	}
	return o.Address
}
