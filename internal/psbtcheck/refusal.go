package psbtcheck

import "fmt"

// Layer names the question that a PSBT failed. They are asked in this order.
type Layer string

// The layers.
const (
	// LayerParse: is it exactly one unsigned PSBT of version 0?
	LayerParse Layer = "parse"
	// LayerKeys: is every input provably the wallet's own BIP 86 key-path coin?
	LayerKeys Layer = "keys"
	// LayerPolicy: is it harmless, whatever was asked for?
	LayerPolicy Layer = "policy"
	// LayerIntent: is it what was asked for?
	LayerIntent Layer = "intent"
)

// Code says in one word why a PSBT was refused.
type Code string

// The codes of LayerParse.
const (
	TooLarge           Code = "TooLarge"
	NotBase64          Code = "NotBase64"
	NotPSBT            Code = "NotPSBT"
	Truncated          Code = "Truncated"
	TrailingBytes      Code = "TrailingBytes"
	DuplicateField     Code = "DuplicateField"
	BadField           Code = "BadField"
	BadTransaction     Code = "BadTransaction"
	UnsupportedVersion Code = "UnsupportedVersion"
	NotSigned          Code = "NotSigned"
)

// The codes of LayerKeys.
const (
	AlreadySigned      Code = "AlreadySigned"
	NotKeyPath         Code = "NotKeyPath"
	DuplicateInput     Code = "DuplicateInput"
	NoCoin             Code = "NoCoin"
	NoDerivation       Code = "NoDerivation"
	SeveralDerivations Code = "SeveralDerivations"
	ForeignFingerprint Code = "ForeignFingerprint"
	ForeignPath        Code = "ForeignPath"
	KeyMismatch        Code = "KeyMismatch"
	ScriptMismatch     Code = "ScriptMismatch"
)

// The codes of LayerPolicy.
const (
	ImpossibleAmount    Code = "ImpossibleAmount"
	OutputsExceedInputs Code = "OutputsExceedInputs"
	UnusualSighash      Code = "UnusualSighash"
	FalseChange         Code = "FalseChange"
	ChangeOutOfReach    Code = "ChangeOutOfReach"
	BurntValue          Code = "BurntValue"
	FeeTooHigh          Code = "FeeTooHigh"
	FeeRateTooHigh      Code = "FeeRateTooHigh"
	OutflowTooHigh      Code = "OutflowTooHigh"
	ColoredInput        Code = "ColoredInput"
	Locked              Code = "Locked"
	NotStandard         Code = "NotStandard"
)

// The codes of LayerIntent.
const (
	UnreadableIntent Code = "UnreadableIntent"
	NotPaid          Code = "NotPaid"
	WrongAmount      Code = "WrongAmount"
	PaysOthers       Code = "PaysOthers"

	// AssetNotProven: what becomes of assets is not known. All others are known to be wrong.
	AssetNotProven   Code = "AssetNotProven"
	AssetFalsified   Code = "AssetFalsified"
	AssetLeaves      Code = "AssetLeaves"
	AssetNotPaid     Code = "AssetNotPaid"
	AssetWrongAmount Code = "AssetWrongAmount"
)

// Refusal is the error of a PSBT that must not be signed.
type Refusal struct {
	Layer Layer
	Code  Code
	// Message is for a person: what is wrong, at which input or output. It holds addresses and amounts of the PSBT, no key and no
	// text of a library, and is the same for the same PSBT.
	Message string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("PSBT refused (%s): %s", r.Layer, r.Message)
}

func refuse(layer Layer, code Code, format string, args ...any) *Refusal {
	return &Refusal{Layer: layer, Code: code, Message: fmt.Sprintf(format, args...)}
}
