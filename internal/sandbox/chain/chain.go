// Package chain is the sandbox's own Bitcoin: coins, a mempool, blocks that somebody mines by calling Mine, and the script engine as
// the judge of every spend. It holds no clock, no network and no randomness: the same calls give the same bytes.
package chain

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/btcsuite/btcd/chaincfg/v2"
	"github.com/btcsuite/btcd/chainhash/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/utexo/utexo-operator/internal/amount"
)

// FirstHeight is the height of a new chain: the point at which coinbases of the first block would be spendable.
const FirstHeight = 101

// Reasons for which a transaction is refused. Submit and CheckSigned wrap them.
var (
	ErrUnknownCoin    = errors.New("transaction spends a coin that does not exist")
	ErrSpentCoin      = errors.New("transaction spends a coin that is already spent")
	ErrDuplicateInput = errors.New("transaction spends the same coin twice")
	ErrValue          = errors.New("transaction pays out more than it spends")
	ErrDust           = errors.New("transaction has an output below the dust limit")
	ErrScript         = errors.New("transaction has an invalid signature")
)

// Coin is an unspent or spent transaction output.
type Coin struct {
	OutPoint wire.OutPoint
	Value    amount.Sat
	Script   []byte
	// Height is the block that holds the coin; 0 while the transaction waits in the mempool.
	Height int32
}

// Block says which transactions were confirmed when.
type Block struct {
	Height int32
	Time   time.Time
	Txids  []chainhash.Hash
}

// Tx is a transaction that the chain accepted.
type Tx struct {
	Tx     *wire.MsgTx
	Fee    amount.Sat
	Height int32 // 0 in the mempool
}

// Chain is one blockchain with its mempool. It is not safe for concurrent use.
type Chain struct {
	params  *chaincfg.Params
	coins   map[wire.OutPoint]*Coin
	spent   map[wire.OutPoint]chainhash.Hash
	txs     map[chainhash.Hash]*Tx
	order   []chainhash.Hash // of txs
	mempool []chainhash.Hash
	blocks  []Block
	height  int32
	paid    map[string]bool // scripts that were ever paid
	minted  uint64
}

// New returns a chain without coins at FirstHeight.
func New(params *chaincfg.Params) *Chain {
	return &Chain{
		params: params,
		coins:  map[wire.OutPoint]*Coin{},
		spent:  map[wire.OutPoint]chainhash.Hash{},
		txs:    map[chainhash.Hash]*Tx{},
		paid:   map[string]bool{},
		height: FirstHeight,
	}
}

// Height returns the height of the last block.
func (c *Chain) Height() int32 { return c.height }

// Mempool returns the txids that wait for a block, oldest first.
func (c *Chain) Mempool() []chainhash.Hash { return slices.Clone(c.mempool) }

// Mine adds n blocks at the instant now; the first one confirms the whole mempool.
func (c *Chain) Mine(n int, now time.Time) []Block {
	first := len(c.blocks)
	for range n {
		c.height++
		for _, txid := range c.mempool {
			tx := c.txs[txid]
			tx.Height = c.height
			for i := range tx.Tx.TxOut {
				if coin := c.coins[wire.OutPoint{Hash: txid, Index: uint32(i)}]; coin != nil {
					coin.Height = c.height
				}
			}
		}
		c.blocks = append(c.blocks, Block{Height: c.height, Time: now, Txids: c.mempool})
		c.mempool = nil
	}
	return slices.Clone(c.blocks[first:])
}

// Grant creates a coin of value for script out of nothing, in a block of its own, as a coinbase does.
func (c *Chain) Grant(script []byte, value amount.Sat, now time.Time) wire.OutPoint {
	waiting := c.mempool
	c.mempool = nil
	outpoint := c.Mint(script, value)
	c.Mine(1, now)
	c.mempool = waiting
	return outpoint
}

// Mint creates a coin of value for script out of nothing, which waits in the mempool for a block: somebody's payment.
func (c *Chain) Mint(script []byte, value amount.Sat) wire.OutPoint {
	c.minted++
	// The counter keeps two equal grants from having the same txid, as BIP 34's height does for coinbases.
	tag := binary.BigEndian.AppendUint64([]byte{8}, c.minted)
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(&wire.OutPoint{Index: wire.MaxPrevOutIndex}, tag, nil))
	tx.AddTxOut(wire.NewTxOut(int64(value), script))
	c.accept(tx, 0)
	return wire.OutPoint{Hash: tx.TxHash()}
}

// Tx returns an accepted transaction; ok is false for one that the chain does not know.
func (c *Chain) Tx(txid chainhash.Hash) (tx Tx, ok bool) {
	known, ok := c.txs[txid]
	if !ok {
		return Tx{}, false
	}
	return *known, true
}

// Unspent returns the unspent coins for which owned says yes, the largest first and those of equal value by outpoint.
func (c *Chain) Unspent(owned func(script []byte) bool) []Coin {
	var coins []Coin
	for outpoint, coin := range c.coins {
		if _, gone := c.spent[outpoint]; !gone && owned(coin.Script) {
			coins = append(coins, *coin)
		}
	}
	slices.SortFunc(coins, func(a, b Coin) int {
		return cmp.Or(
			cmp.Compare(b.Value, a.Value),
			bytes.Compare(a.OutPoint.Hash[:], b.OutPoint.Hash[:]),
			cmp.Compare(a.OutPoint.Index, b.OutPoint.Index),
		)
	})
	return coins
}

// Movement is what a transaction did to an owner.
type Movement struct {
	Txid     chainhash.Hash
	Received amount.Sat
	Sent     amount.Sat
	Fee      amount.Sat // of the whole transaction; 0 where the owner paid none of it
	Height   int32      // 0 in the mempool
	Time     time.Time  // of the block
}

// History returns the movements of the scripts for which owned says yes, oldest first.
func (c *Chain) History(owned func(script []byte) bool) []Movement {
	var history []Movement
	for _, txid := range c.order {
		tx := c.txs[txid]
		m := Movement{Txid: txid, Height: tx.Height}
		for _, in := range tx.Tx.TxIn {
			if coin := c.coins[in.PreviousOutPoint]; coin != nil && owned(coin.Script) {
				m.Sent += coin.Value
				m.Fee = tx.Fee
			}
		}
		for _, out := range tx.Tx.TxOut {
			if owned(out.PkScript) {
				m.Received += amount.Sat(out.Value)
			}
		}
		if m.Sent == 0 && m.Received == 0 {
			continue
		}
		if tx.Height > 0 {
			m.Time = c.blocks[tx.Height-FirstHeight-1].Time
		}
		history = append(history, m)
	}
	return history
}

// everPaid says whether any transaction of the chain pays script.
func (c *Chain) everPaid(script []byte) bool { return c.paid[string(script)] }

// Submit checks tx as a node's mempool would and spends its coins. The same transaction again is accepted again, without effect.
// It fails with one of the package's errors.
func (c *Chain) Submit(tx *wire.MsgTx) (chainhash.Hash, error) {
	txid := tx.TxHash()
	if _, known := c.txs[txid]; known {
		return txid, nil
	}
	fee, err := c.Verify(tx)
	if err != nil {
		return chainhash.Hash{}, err
	}
	for _, in := range tx.TxIn {
		c.spent[in.PreviousOutPoint] = txid
	}
	c.accept(tx, fee)
	return txid, nil
}

func (c *Chain) accept(tx *wire.MsgTx, fee amount.Sat) {
	txid := tx.TxHash()
	c.txs[txid] = &Tx{Tx: tx, Fee: fee}
	c.order = append(c.order, txid)
	c.mempool = append(c.mempool, txid)
	for i, out := range tx.TxOut {
		if txscript.IsNullData(out.PkScript) {
			continue
		}
		outpoint := wire.OutPoint{Hash: txid, Index: uint32(i)}
		c.paid[string(out.PkScript)] = true
		c.coins[outpoint] = &Coin{OutPoint: outpoint, Value: amount.Sat(out.Value), Script: out.PkScript}
	}
}

// goodSignatures remembers those that were verified: a transaction is checked when it is signed and when it is submitted.
var goodSignatures = txscript.NewSigCache(1000)

// Verify says whether Submit would accept tx, and what fee it pays. Every script runs against the chain's own coins; what a PSBT says
// of them plays no part.
func (c *Chain) Verify(tx *wire.MsgTx) (fee amount.Sat, err error) {
	prevOuts := txscript.NewMultiPrevOutFetcher(nil)
	coins := make([]*Coin, len(tx.TxIn))
	seen := map[wire.OutPoint]bool{}
	for i, in := range tx.TxIn {
		outpoint := in.PreviousOutPoint
		coin, known := c.coins[outpoint]
		_, gone := c.spent[outpoint]
		switch {
		case !known:
			return 0, fmt.Errorf("input %d: %w", i, ErrUnknownCoin)
		case gone:
			return 0, fmt.Errorf("input %d: %w", i, ErrSpentCoin)
		case seen[outpoint]:
			return 0, fmt.Errorf("input %d: %w", i, ErrDuplicateInput)
		}
		seen[outpoint] = true
		coins[i] = coin
		fee += coin.Value
		prevOuts.AddPrevOut(outpoint, wire.NewTxOut(int64(coin.Value), coin.Script))
	}
	for i, out := range tx.TxOut {
		if out.Value < 0 || amount.Sat(out.Value) > amount.MaxSat {
			return 0, fmt.Errorf("output %d: %w", i, ErrValue)
		}
		if amount.Sat(out.Value) < DustLimit(out.PkScript) {
			return 0, fmt.Errorf("output %d: %w", i, ErrDust)
		}
		fee -= amount.Sat(out.Value)
	}
	if len(tx.TxIn) == 0 || fee < 0 {
		return 0, ErrValue
	}
	hashes := txscript.NewTxSigHashes(tx, prevOuts)
	for i, coin := range coins {
		engine, err := txscript.NewEngine(coin.Script, tx, i, txscript.StandardVerifyFlags, goodSignatures, hashes, int64(coin.Value), prevOuts)
		if err != nil {
			return 0, fmt.Errorf("input %d: %w: %w", i, ErrScript, err)
		}
		if err := engine.Execute(); err != nil {
			return 0, fmt.Errorf("input %d: %w: %w", i, ErrScript, err)
		}
	}
	return fee, nil
}

// DustLimit returns the smallest value, in sat, that a node relays to script at its default 3 sat/vB; 0 for OP_RETURN.
func DustLimit(script []byte) amount.Sat {
	switch {
	case txscript.IsNullData(script):
		return 0
	case txscript.IsPayToWitnessPubKeyHash(script):
		return 294
	case txscript.IsPayToTaproot(script), txscript.IsPayToWitnessScriptHash(script):
		return 330
	case txscript.IsPayToScriptHash(script):
		return 540
	}
	return 546
}
