package psbtcheck

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/rgb/transition"
)

// Assets is what a transaction does with RGB assets, as far as it is proved. Colored coins may carry more than a PSBT says.
type Assets struct {
	// Unproved says why Moves are not known; nil where they are, all of them.
	Unproved *transition.Error
	// Moves are all assignments of all transitions, in the order of the PSBT.
	Moves []AssetMove
	// Unusual names the assets with a transition that is more or less than a plain transfer, of which the moves do not tell all.
	Unusual []string
	// Outflows is, by asset in the order of the ids, what does not go to an output of the owner's colored account.
	Outflows []AssetOutflow
}

// AssetMove is one assignment of a contract's state.
type AssetMove struct {
	AssetID string
	// Kind tells amounts from rights and data; Type is the contract's number for what is assigned.
	Kind transition.StateKind
	Type uint16
	// Amount is in the asset's smallest unit.
	Amount uint64
	To     AssetPayee
	// Output is the number of the transaction's output, where To is one; Seal the blinded seal, or the hash of another one; Outpoint
	// where an AnotherOutput is.
	Output   uint32
	Seal     [32]byte
	Outpoint string
}

// AssetPayee says to whom an assignment goes.
type AssetPayee string

// The payees.
const (
	// OwnOutput is an output of the transaction to the owner's colored account.
	OwnOutput AssetPayee = "OwnOutput"
	// OwnVanilla is an output to the owner's vanilla account, whose coins are spent without a look at assets.
	OwnVanilla AssetPayee = "OwnVanilla"
	// OthersOutput is an output of the transaction to somebody else.
	OthersOutput AssetPayee = "OthersOutput"
	// BlindedSeal is an output behind a hash.
	BlindedSeal AssetPayee = "BlindedSeal"
	// AnotherOutput is an output of another transaction, which may be the owner's.
	AnotherOutput AssetPayee = "AnotherOutput"
	// Nobody is an output that does not exist, cannot be spent, or is spent by the transaction itself: the asset is lost.
	Nobody AssetPayee = "Nobody"
)

// AssetOutflow is what of one asset goes elsewhere than to the owner's outputs.
type AssetOutflow struct {
	AssetID string
	// Amount is in the smallest unit, the highest number where it is more.
	Amount uint64
}

// AssetRule is what a transaction may do with assets.
type AssetRule struct {
	// Transfer is the one that was asked for; nil where no asset is to move.
	Transfer *AssetTransfer
	// AllowUnproved lets pass what is not proved, and no more: what is proved to be wrong is refused all the same. See Doubt.
	AllowUnproved bool
}

// AssetTransfer is a transfer of one fungible asset.
type AssetTransfer struct {
	AssetID string
	// Amount is in the smallest unit, above 0.
	Amount uint64
	// Payee gets exactly Amount. Nil where the payee is the service's to choose: then no more than Amount leaves the wallet.
	Payee *rgb.Beneficiary
}

// assetsOf says what p's transaction, of which result has inputs and outputs, does with assets.
func assetsOf(packet *psbt.Packet, result *Inspection) Assets {
	proof, err := transition.Read(packet)
	if unproved, ok := errors.AsType[*transition.Error](err); ok {
		return Assets{Unproved: unproved}
	}
	var assets Assets
	outflow := map[string]uint64{}
	for _, t := range proof.Transitions {
		id := t.Contract.String()
		if t.Type != transition.TypeTransfer || t.Metadata != nil || len(t.Globals) > 0 || len(t.Assignments) == 0 {
			assets.Unusual = append(assets.Unusual, id)
		}
		for _, a := range t.Assignments {
			move := AssetMove{AssetID: id, Kind: a.Kind, Type: a.Type, Amount: a.Amount, Seal: a.Seal.Conceal()}
			move.to(a.Seal, packet.UnsignedTx, result)
			assets.Moves = append(assets.Moves, move)
			if move.To != OwnOutput {
				outflow[id] = saturated(outflow[id], move.Amount)
			}
		}
	}
	for id, units := range outflow {
		assets.Outflows = append(assets.Outflows, AssetOutflow{id, units})
	}
	slices.SortFunc(assets.Outflows, func(a, b AssetOutflow) int { return cmp.Compare(a.AssetID, b.AssetID) })
	return assets
}

func saturated(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// to says whose seal is.
func (m *AssetMove) to(seal transition.Seal, tx *wire.MsgTx, result *Inspection) {
	switch seal.Kind {
	case transition.Blinded:
		m.To = BlindedSeal
		return
	case transition.Outpoint:
		outpoint := wire.OutPoint{Hash: chainhash.Hash(seal.Txid), Index: seal.Vout}
		m.To, m.Outpoint = AnotherOutput, outpoint.String()
		if slices.ContainsFunc(tx.TxIn, func(in *wire.TxIn) bool { return in.PreviousOutPoint == outpoint }) {
			m.To = Nobody
		}
		return
	}
	m.Output = seal.Vout
	if uint64(seal.Vout) >= uint64(len(result.Outputs)) {
		m.To = Nobody
		return
	}
	switch output := result.Outputs[seal.Vout]; {
	case output.Kind == OpReturn:
		m.To = Nobody
	case output.Kind == External:
		m.To = OthersOutput
	case output.Path.Account == keys.Colored:
		m.To = OwnOutput
	default:
		m.To = OwnVanilla
	}
}

// Doubt returns why it is not proved that i does with assets what rule asks for and nothing else; nil where it is. What is proved to be
// wrong is no doubt: Check refuses it.
func (i *Inspection) Doubt(rule AssetRule) *Refusal {
	if refusal, isDoubt := i.judgeAssets(rule); isDoubt {
		return refusal
	}
	return nil
}

func (i *Inspection) checkAssets(p Policy) error {
	if p.Assets == nil {
		return nil
	}
	refusal, isDoubt := i.judgeAssets(*p.Assets)
	if refusal == nil || isDoubt && p.Assets.AllowUnproved {
		return nil
	}
	return refusal
}

// judgeAssets returns what is wrong, or what is in doubt where nothing is.
func (i *Inspection) judgeAssets(rule AssetRule) (refusal *Refusal, isDoubt bool) {
	unproved := i.Assets.Unproved
	touched := slices.ContainsFunc(i.Inputs, func(input Input) bool { return input.Path.Account == keys.Colored })
	switch {
	case unproved != nil && unproved.Reason.Disproved():
		return refuse(LayerIntent, AssetFalsified, "%s", unproved.Message), false
	case unproved != nil && unproved.Reason == transition.NotShown && rule.Transfer == nil && !touched:
		return nil, false // no coin that may carry an asset is spent
	case unproved != nil && rule.Transfer == nil && !touched:
		return refuse(LayerIntent, AssetNotProven, "what it says of assets proves nothing: %s", unproved.Message), true
	case unproved != nil && rule.Transfer == nil:
		return refuse(LayerIntent, AssetNotProven, "it spends colored coins, and what becomes of the assets that they may carry is not proved: %s",
			unproved.Message), true
	case unproved != nil:
		return refuse(LayerIntent, AssetNotProven, "that %s would reach the payee, and nothing else move, is not proved: %s",
			amountOf(rule.Transfer.Amount, rule.Transfer.AssetID), unproved.Message), true
	case rule.Transfer == nil:
		return refuse(LayerIntent, AssetLeaves, "it would move %s, where no asset was to move", i.Assets.what()), false
	}
	return i.judgeTransfer(rule.Transfer)
}

// judgeTransfer holds the moves, which are proved, against the one that was asked for.
func (i *Inspection) judgeTransfer(asked *AssetTransfer) (refusal *Refusal, isDoubt bool) {
	var doubt *Refusal
	if len(i.Assets.Unusual) > 0 {
		doubt = refuse(LayerIntent, AssetNotProven, "what becomes of %s is not proved: a transition of it is no plain transfer", i.Assets.Unusual[0])
	}
	var paid uint64
	for _, move := range i.Assets.Moves {
		isAsked := move.AssetID == asked.AssetID && move.isAmount()
		toPayee := asked.Payee != nil && i.reaches(move, *asked.Payee)
		switch {
		case toPayee && isAsked:
			paid = saturated(paid, move.Amount)
		case move.To == Nobody:
			return refuse(LayerIntent, AssetLeaves, "%s would be lost: assigned to %s", move.what(), move.who()), false
		case move.To == OwnOutput:
		case move.To == OwnVanilla, move.To == AnotherOutput:
			doubt = cmp.Or(doubt, refuse(LayerIntent, AssetNotProven, "that %s stays in the wallet is not proved: it is assigned to %s", move.what(), move.who()))
		case asked.Payee == nil && isAsked:
			paid = saturated(paid, move.Amount)
		default:
			return refuse(LayerIntent, AssetLeaves, "%s would go to %s, which was not asked for", move.what(), move.who()), false
		}
	}
	want := amountOf(asked.Amount, asked.AssetID)
	switch {
	case asked.Payee == nil && paid > asked.Amount:
		return refuse(LayerIntent, AssetWrongAmount, "%s would leave the wallet instead of %d", amountOf(paid, asked.AssetID), asked.Amount), false
	case asked.Payee != nil && paid == 0:
		return refuse(LayerIntent, AssetNotPaid, "the payee would get nothing of the %s", want), false
	case asked.Payee != nil && paid != asked.Amount:
		return refuse(LayerIntent, AssetWrongAmount, "the payee would get %d units instead of %s", paid, want), false
	}
	return doubt, doubt != nil
}

// reaches tells whether move goes to payee.
func (i *Inspection) reaches(move AssetMove, payee rgb.Beneficiary) bool {
	switch move.To {
	case OwnOutput, OwnVanilla, OthersOutput: // the payee may be the wallet itself
		return payee.Kind == rgb.WitnessOutput && bytes.Equal(i.Outputs[move.Output].Script, payee.Script())
	case BlindedSeal, AnotherOutput:
		return payee.Kind == rgb.BlindedSeal && bytes.Equal(move.Seal[:], payee.Payload)
	}
	return false
}

func amountOf(units uint64, assetID string) string {
	return fmt.Sprintf("%d units of %s", units, assetID)
}

// isAmount tells an amount of a fungible asset from rights.
func (m AssetMove) isAmount() bool {
	return m.Kind == transition.Fungible && m.Type == transition.TypeAsset
}

// what names what moves.
func (m AssetMove) what() string {
	if m.isAmount() {
		return amountOf(m.Amount, m.AssetID)
	}
	return fmt.Sprintf("a right (type %d) of %s", m.Type, m.AssetID)
}

// what names the first move.
func (a Assets) what() string {
	if len(a.Moves) == 0 {
		return "assets to nobody"
	}
	return a.Moves[0].what()
}

// who names the payee.
func (m AssetMove) who() string {
	switch m.To {
	case OwnVanilla:
		return fmt.Sprintf("output %d, of the wallet's bitcoin account, where nothing watches over assets", m.Output)
	case OthersOutput:
		return fmt.Sprintf("output %d, of somebody else", m.Output)
	case BlindedSeal:
		return rgb.Beneficiary{Kind: rgb.BlindedSeal, Payload: m.Seal[:]}.String()
	case AnotherOutput:
		return fmt.Sprintf("%s, of an earlier transaction", m.Outpoint)
	}
	if m.Outpoint != "" {
		return fmt.Sprintf("%s, which this transaction spends", m.Outpoint)
	}
	return fmt.Sprintf("output %d, which nobody can spend", m.Output)
}
