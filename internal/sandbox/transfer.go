package sandbox

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/rgb/transition"
)

// How the PSBT of an asset transfer lies, as the claim of FaultAssetLie. All of them sign well, and none is seen in satoshis.
const (
	ClaimOtherAmount     = "other-amount"     // a unit more than was asked for
	ClaimOtherSeal       = "other-seal"       // to somebody else
	ClaimOtherAsset      = "other-asset"      // of another asset
	ClaimHiddenContract  = "hidden-contract"  // and of another asset too, which the PSBT does not show
	ClaimOtherCommitment = "other-commitment" // the transaction commits to something else than is shown
	ClaimNoTransition    = "no-transition"    // nothing is shown
	// ClaimEarlierChange is no lie: the rest goes to an output of an earlier transaction, as wallets do it, whose owner nobody can tell.
	ClaimEarlierChange = "earlier-change"
)

var assetClaims = []string{
	ClaimOtherAmount, ClaimOtherSeal, ClaimOtherAsset, ClaimHiddenContract, ClaimOtherCommitment, ClaimNoTransition, ClaimEarlierChange,
}

// witnessSats is what a payee's own output gets in an asset transfer.
const witnessSats amount.Sat = 1_000

// Outputs of an asset transfer.
const (
	commitmentOutput = 0
	changeOutput     = 1
	payeeOutput      = 2
)

// transferPSBT is an RGB transfer as wallets write it: the units go to the beneficiary, and what else the node holds of the asset back to
// the wallet. Claim is a lie, or empty.
func (s *Server) transferPSBT(w *wallet, asset Asset, to rgb.Beneficiary, rate amount.SatPerVByte, claim string) (*psbt.Packet, error) {
	contract, err := rgb.ParseAssetID(asset.ID)
	if err != nil {
		return nil, err
	}
	blinding := binary.LittleEndian.Uint64(s.entropy.nonce("blinding"))
	paid := transition.Assignment{
		Type: transition.TypeAsset, Kind: transition.Fungible, Amount: uint64(asset.Amount), Seal: transition.Seal{Kind: transition.Blinded},
	}
	copy(paid.Seal.Hash[:], to.Payload)
	var outputs []*wire.TxOut
	if script := to.Script(); script != nil {
		outputs = outputTo(script, witnessSats)
		paid.Seal = transition.Seal{Vout: payeeOutput, Blinding: blinding}
	}
	packet, err := w.keys.SendAsset(s.chain, [32]byte{}, rate, outputs...)
	if err != nil {
		return nil, err
	}
	change := paid
	change.Amount, change.Seal = s.rest(w.node, asset), transition.Seal{Vout: changeOutput, Blinding: blinding + 1}
	sent := s.transfer(contract, change, paid)
	transitions := []*transition.Transition{sent}
	stranger := transition.Seal{Kind: transition.Blinded, Hash: s.entropy.named("stranger's seal")}
	switch claim {
	case ClaimOtherAmount:
		sent.Assignments[1].Amount++
	case ClaimOtherSeal:
		sent.Assignments[1].Seal = stranger
	case ClaimOtherAsset:
		sent.Contract = s.entropy.named("another asset")
	case ClaimHiddenContract:
		hidden := change
		hidden.Seal = stranger
		transitions = append(transitions, s.transfer(s.entropy.named("another asset"), hidden))
	case ClaimEarlierChange:
		sent.Assignments[0].Seal = transition.Seal{Kind: transition.Outpoint, Txid: s.entropy.named("earlier transaction"), Blinding: blinding}
	}
	if sent.Assignments[0].Amount == 0 {
		sent.Assignments = sent.Assignments[1:]
	}
	if err := transition.Attach(packet, commitmentOutput, transitions, binary.LittleEndian.Uint64(s.entropy.nonce("entropy"))); err != nil {
		return nil, err
	}
	switch claim {
	case ClaimHiddenContract:
		err = transition.Hide(packet, commitmentOutput, transitions[1].Contract)
	case ClaimOtherCommitment:
		other := s.entropy.named("another commitment")
		packet.UnsignedTx.TxOut[commitmentOutput].PkScript, err = txscript.NullDataScript(other[:])
	case ClaimNoTransition:
		packet.Unknowns = nil
	}
	return packet, err
}

// transfer is a transition that spends one allocation.
func (s *Server) transfer(contract rgb.ContractID, assignments ...transition.Assignment) *transition.Transition {
	return &transition.Transition{
		Contract: contract, Nonce: math.MaxUint64, Type: transition.TypeTransfer,
		Inputs:      []transition.Output{{Op: s.entropy.named("allocation of " + contract.String()), Type: transition.TypeAsset}},
		Assignments: slices.Clone(assignments),
	}
}

// rest is what the node has left on chain of an asset once some of it was sent.
func (s *Server) rest(n *node, asset Asset) uint64 {
	held := n.asset(asset.ID)
	if held == nil || held.onchain <= asset.Amount {
		return 0
	}
	return uint64(held.onchain - asset.Amount)
}

// nonce returns the next bytes of label.
func (e *entropy) nonce(label string) []byte {
	raw := e.next(label)
	return raw[:]
}
