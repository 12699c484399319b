// Package transition reads the RGB state transitions that a PSBT carries, and proves by hashing alone that they are what the
// transaction commits to: that whoever signs it assigns exactly these amounts of these assets to exactly these seals, and nothing else.
// It writes them too, for services that are imitated and for tests.
//
// The forms are those of RGB 0.11.1 (rgb-consensus: operation/commit.rs, operation/bundle.rs, commit_verify; rgb-psbt-utils): strict
// encoding, tagged SHA-256, the commitment in the first OP_RETURN (LNPBP-4). What is in another form is refused, not guessed at.
//
// What it cannot see: how much of an asset the spent coins carry, since that is in the history of the contract and not in the PSBT; and
// a contract whose allocations are spent without a transition, which burns them.
package transition

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/utexo/utexo-operator/internal/rgb"
)

// What wallets write for the transfer of a fungible asset: the type of the transition, and of what it assigns (rgb-schemas).
const (
	TypeTransfer uint16 = 10000
	TypeAsset    uint16 = 4000
)

// OpID is the identity of an operation: the hash of all that it does.
type OpID [32]byte

// Output is what an operation assigned: an allocation that a transition spends.
type Output struct {
	Op OpID
	// Type is the kind of state, Index its place among those of its kind.
	Type  uint16
	Index uint16
}

// Transition is one operation of a contract: it spends allocations and assigns new ones.
type Transition struct {
	Contract rgb.ContractID
	// Nonce orders transitions; wallets write the highest number.
	Nonce uint64
	Type  uint16
	// Metadata is strictly encoded, and opaque here. Nil stands for none.
	Metadata []byte
	Globals  []Global
	// Inputs are in ascending order, Assignments in that of their types.
	Inputs      []Output
	Assignments []Assignment
	// Signature is 64 bytes or nil. It is not committed to, and decides nothing here.
	Signature []byte
}

// Global is a piece of the contract's public state.
type Global struct {
	Type uint16
	Data []byte
}

// StateKind tells what is assigned.
type StateKind uint8

// The kinds of state.
const (
	Right    StateKind = 0 // nothing but the right itself
	Fungible StateKind = 1 // an amount
	Data     StateKind = 2 // bytes, such as a token
)

// Assignment gives a piece of a contract's state to the owner of a seal.
type Assignment struct {
	Type uint16
	Kind StateKind
	// Amount is in the asset's smallest unit, of a Fungible one.
	Amount uint64
	// Data is of a Data one.
	Data []byte
	Seal Seal
}

// SealKind tells how a seal is written.
type SealKind uint8

// The kinds of seals.
const (
	// Witness is an output of the transaction that commits to the transition.
	Witness SealKind = iota
	// Outpoint is an output of another transaction.
	Outpoint
	// Blinded is an output hidden behind a hash.
	Blinded
)

// Seal is the output whose owner gets what is assigned.
type Seal struct {
	Kind SealKind
	// Hash is what a Blinded seal shows.
	Hash [32]byte
	// Txid, in the order of the wire, is an Outpoint's. Vout and Blinding are of both others.
	Txid     [32]byte
	Vout     uint32
	Blinding uint64
}

const (
	tagOperation = "urn:lnp-bp:rgb:operation#2024-02-03"
	tagBundle    = "urn:lnp-bp:rgb:bundle#2024-02-03"
	tagSeal      = "urn:lnp-bp:seals:secret#2024-02-03"
	tagValue     = "urn:ubideco:strict-types:value-hash#2024-02-10"
	tagNode      = "urn:ubideco:merkle:node#2024-01-31"
	tagRoot      = "urn:ubideco:mpc:commitment#2024-01-31"
)

// tagged is a tagged hash (BIP 340).
func tagged(tag string, message []byte) [32]byte {
	key := sha256.Sum256([]byte(tag))
	hash := sha256.New()
	hash.Write(key[:])
	hash.Write(key[:])
	hash.Write(message)
	return [32]byte(hash.Sum(nil))
}

var little = binary.LittleEndian

// Conceal returns the hash that stands for the seal wherever it is committed to: of a Blinded one what it shows.
func (s Seal) Conceal() [32]byte {
	if s.Kind == Blinded {
		return s.Hash
	}
	return tagged(tagSeal, s.append(nil))
}

// ID returns the identity of t, which commits to everything but the signature.
func (t *Transition) ID() OpID {
	globals := make([][32]byte, 0, len(t.Globals))
	for _, global := range t.Globals {
		globals = append(globals, tagged(tagNode, appendBlob(little.AppendUint16(nil, global.Type), global.Data)))
	}
	inputs := make([][32]byte, 0, len(t.Inputs))
	for _, input := range t.Inputs {
		inputs = append(inputs, tagged(tagNode, input.append(nil)))
	}
	assignments := make([][32]byte, 0, len(t.Assignments))
	for _, a := range t.Assignments {
		seal := a.Seal.Conceal()
		assignments = append(assignments, tagged(tagNode, append(a.appendState(little.AppendUint16(nil, a.Type)), seal[:]...)))
	}
	metadata := tagged(tagValue, t.metadata())
	message := little.AppendUint64(little.AppendUint16(nil, version), t.Nonce)
	message = append(append(message, kindTransition), t.Contract[:]...)
	message = append(little.AppendUint16(message, t.Type), metadata[:]...)
	for _, leaves := range [][][32]byte{globals, inputs, assignments} {
		root := merkle(leaves)
		message = append(message, root[:]...)
	}
	return tagged(tagOperation, message)
}

// version is that of the fast-forward mechanism; transitions of another one are not read.
const version uint16 = 0

// kindTransition tells a transition from a genesis in an operation's commitment.
const kindTransition = 1

// merkle returns the root over leaves, of which there may be none (LNPBP-81).
func merkle(leaves [][32]byte) [32]byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	return branch(leaves, 0, uint64(len(leaves)))
}

func branch(leaves [][32]byte, depth byte, width uint64) [32]byte {
	switch len(leaves) {
	case 0:
		return node(0, depth, width, virtual, virtual)
	case 1:
		return node(1, depth, width, leaves[0], virtual)
	case 2:
		return node(2, depth, width, leaves[0], leaves[1])
	}
	half := (len(leaves) + 1) / 2
	return node(2, depth, width, branch(leaves[:half], depth+1, width), branch(leaves[half:], depth+1, width))
}

// virtual stands for a branch that is not there.
var virtual = func() (leaf [32]byte) {
	for i := range leaf {
		leaf[i] = 0xff
	}
	return leaf
}()

// node hashes two nodes of a tree of width leaves; branches is how many of them are there.
func node(branches, depth byte, width uint64, first, second [32]byte) [32]byte {
	message := little.AppendUint64([]byte{branches, depth}, width)
	message = append(message, make([]byte, 32-8)...) // the width has 256 bits
	return tagged(tagNode, append(append(message, first[:]...), second[:]...))
}
