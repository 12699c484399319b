package transition

import (
	"math/big"
	"slices"

	"github.com/utexo/utexo-operator/internal/rgb"
)

// A multi-protocol commitment (LNPBP-4) is a merkle tree with a leaf for each contract, at a place that its id decides, and leaves made
// of a random number everywhere else. Who knows the number knows of every leaf what it is.

// block is such a tree with all its leaves.
type block struct {
	depth    byte
	cofactor uint16
	leaves   []leaf
	entropy  uint64
}

// leaf is a contract's commitment, or where Contract is nil what stands for any other.
type leaf struct {
	contract *rgb.ContractID
	bundle   [32]byte
	hash     [32]byte
}

const (
	minDepth = 3
	// maxDepth allows 4096 contracts.
	maxDepth = 12

	leafContract = 0x10
	leafEntropy  = 0x11
)

func contractLeaf(contract rgb.ContractID, bundle [32]byte) leaf {
	return leaf{&contract, bundle, tagged(tagNode, append(append([]byte{leafContract}, contract[:]...), bundle[:]...))}
}

func emptyLeaf(entropy uint64, position int) [32]byte {
	return tagged(tagNode, little.AppendUint32(little.AppendUint64([]byte{leafEntropy}, entropy), uint32(position)))
}

// commitment is what stands in the OP_RETURN.
func (b *block) commitment() [32]byte {
	hashes := make([][32]byte, 0, len(b.leaves))
	for _, leaf := range b.leaves {
		hashes = append(hashes, leaf.hash)
	}
	root := merkle(hashes)
	return tagged(tagRoot, append(little.AppendUint16([]byte{b.depth}, b.cofactor), root[:]...))
}

// position is where the leaf of contract has to be, in a tree of that depth and cofactor.
func position(contract rgb.ContractID, depth byte, cofactor uint16) int {
	width := max(1<<depth-int(cofactor), 1)
	slices.Reverse(contract[:]) // its own copy; the number is little-endian
	number := new(big.Int).SetBytes(contract[:])
	return int(number.Mod(number, big.NewInt(int64(width))).Int64())
}

// plant makes the tree of bundles, by contract.
func plant(bundles map[rgb.ContractID][32]byte, entropy uint64) (*block, error) {
	const cofactors = 8
	for depth := byte(minDepth); depth <= maxDepth; depth++ {
		for cofactor := range uint16(cofactors) {
			b := &block{depth: depth, cofactor: cofactor, leaves: make([]leaf, 1<<depth), entropy: entropy}
			taken := 0
			for contract, bundle := range bundles {
				at := position(contract, depth, cofactor)
				if b.leaves[at].contract == nil {
					taken++
				}
				b.leaves[at] = contractLeaf(contract, bundle)
			}
			if taken < len(bundles) {
				continue // two contracts at one place
			}
			for i := range b.leaves {
				if b.leaves[i].contract == nil {
					b.leaves[i].hash = emptyLeaf(entropy, i)
				}
			}
			return b, nil
		}
	}
	return nil, fail(Unsupported, "%d contracts do not fit into one commitment", len(bundles))
}

func (b *block) encode() []byte {
	raw := little.AppendUint16([]byte{b.depth}, b.cofactor)
	raw = little.AppendUint32(raw, uint32(len(b.leaves)))
	for _, leaf := range b.leaves {
		if leaf.contract == nil {
			raw = append(append(raw, 0, b.depth), leaf.hash[:]...)
		} else {
			raw = append(append(append(raw, 1), leaf.contract[:]...), leaf.bundle[:]...)
		}
	}
	return little.AppendUint64(append(raw, 1), b.entropy)
}

// decodeBlock reads a block that has all its leaves and says its random number.
func decodeBlock(raw []byte) (*block, error) {
	r := &reader{rest: raw}
	b := &block{depth: r.byte(), cofactor: r.uint16()}
	count := r.uint32()
	if !r.failed && (b.depth < 1 || b.depth > maxDepth || count != 1<<b.depth || int(b.cofactor) >= 1<<b.depth) {
		return nil, fail(Unsupported, "the tree of commitments is not shown with all its leaves")
	}
	for i := uint32(0); i < count && !r.failed; i++ {
		switch r.byte() {
		case 0:
			if depth := r.byte(); depth != b.depth && !r.failed {
				return nil, fail(Unsupported, "the tree of commitments is not shown with all its leaves")
			}
			b.leaves = append(b.leaves, leaf{hash: r.hash()})
		case 1:
			contract := rgb.ContractID(r.hash())
			b.leaves = append(b.leaves, contractLeaf(contract, r.hash()))
		default:
			r.failed = true
		}
	}
	switch known := r.byte(); {
	case r.failed || known > 1:
		return nil, fail(Unreadable, "the tree of commitments is not in strict encoding")
	case known == 0:
		return nil, fail(Unsupported, "the random number of the tree of commitments is not told, so that its leaves may be anything")
	}
	b.entropy = r.uint64()
	if r.failed || len(r.rest) > 0 {
		return nil, fail(Unreadable, "the tree of commitments is not in strict encoding")
	}
	return b, nil
}

// check holds the leaves against the contracts of which the PSBT shows the bundles.
func (b *block) check(bundles map[rgb.ContractID][32]byte) error {
	shown := 0
	for i, leaf := range b.leaves {
		switch {
		case leaf.contract == nil && leaf.hash != emptyLeaf(b.entropy, i):
			return fail(Hidden, "the transaction commits to something that the PSBT does not show (leaf %d of %d): a contract of which nothing is known",
				i, len(b.leaves))
		case leaf.contract == nil:
			continue
		case position(*leaf.contract, b.depth, b.cofactor) != i:
			return fail(Contradiction, "the commitment of asset %s is at a place where nobody looks for it, so that the asset would be lost", leaf.contract)
		}
		bundle, ok := bundles[*leaf.contract]
		if !ok {
			return fail(Hidden, "the transaction moves asset %s and the PSBT does not show how", leaf.contract)
		}
		if bundle != leaf.bundle {
			return fail(Contradiction, "the transaction commits to another movement of asset %s than the PSBT shows", leaf.contract)
		}
		shown++
	}
	if shown != len(bundles) {
		return fail(Contradiction, "the PSBT shows movements of %d assets and the transaction commits to %d", len(bundles), shown)
	}
	return nil
}
