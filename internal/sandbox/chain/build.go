package chain

import (
	"errors"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/psbt/v2"
	"github.com/btcsuite/btcd/txscript/v2"
	"github.com/btcsuite/btcd/wire/v2"

	"github.com/utexo/utexo-operator/internal/amount"
)

// ErrInsufficient says that a wallet's coins do not cover a payment and its fee.
var ErrInsufficient = errors.New("not enough bitcoin")

// Shortage is the ErrInsufficient of one payment.
type Shortage struct {
	Needed, Available amount.Sat // fee included
}

func (s *Shortage) Error() string {
	return fmt.Sprintf("%v: needed %d sat, available %d", ErrInsufficient, s.Needed, s.Available)
}

// Is makes a Shortage an ErrInsufficient.
func (s *Shortage) Is(target error) bool { return target == ErrInsufficient }

const (
	sequence = 0xfffffffd // replaceable (BIP 125), as the service's wallet library sets it
	// signatureWeight is what the witness of one Taproot key path spend adds to a transaction: item count, length, 64-byte signature.
	signatureWeight = 66
	// flagWeight is what the first witness adds to a transaction: marker and flag.
	flagWeight = 2
)

// Wallet is the watch-only wallet of a client: what its two account keys own on a chain.
type Wallet struct {
	Vanilla, Colored *Account
	// Keychain is the vanilla keychain that deposits and change use: 1 on the public server, 0 in newer libraries. RGB outputs are
	// always on colored keychain 0.
	Keychain uint32
}

// DepositAddress returns the first vanilla address that nobody paid yet.
func (w *Wallet) DepositAddress(c *Chain) (string, error) {
	own, err := w.Vanilla.firstUnused(c, w.Keychain)
	if err != nil {
		return "", err
	}
	return w.Vanilla.Address(own.at.keychain, own.at.index)
}

// DepositScript returns the script of DepositAddress.
func (w *Wallet) DepositScript(c *Chain) ([]byte, error) {
	own, err := w.Vanilla.firstUnused(c, w.Keychain)
	if err != nil {
		return nil, err
	}
	return own.script, nil
}

// Fund grants count confirmed coins of value each to the account's next unused addresses.
func (w *Wallet) Fund(c *Chain, colored bool, count int, value amount.Sat, now time.Time) ([]wire.OutPoint, error) {
	account, keychain := w.Vanilla, w.Keychain
	if colored {
		account, keychain = w.Colored, 0
	}
	var coins []wire.OutPoint
	for range count {
		own, err := account.firstUnused(c, keychain)
		if err != nil {
			return nil, err
		}
		coins = append(coins, c.Grant(own.script, value, now))
	}
	return coins, nil
}

// Balance returns the confirmed and the whole value of the unspent coins of account.
func (a *Account) Balance(c *Chain) (confirmed, all amount.Sat) {
	for _, coin := range c.Unspent(a.Owns) {
		all += coin.Value
		if coin.Height > 0 {
			confirmed += coin.Value
		}
	}
	return confirmed, all
}

// Pay returns an unsigned PSBT that pays outputs from the largest vanilla coins and returns the change. It moves nothing. It fails with
// ErrDust or ErrInsufficient.
func (w *Wallet) Pay(c *Chain, outputs []*wire.TxOut, rate amount.SatPerVByte) (*psbt.Packet, error) {
	d := &draft{chain: c, rate: rate, tx: wire.NewMsgTx(2)}
	for i, out := range outputs {
		if amount.Sat(out.Value) < DustLimit(out.PkScript) {
			return nil, fmt.Errorf("output %d: %w", i, ErrDust)
		}
		d.addOutput(out, nil)
	}
	return d.fundFrom(w.Vanilla, w.Keychain)
}

// SendAsset returns an unsigned PSBT of the shape of an RGB transfer: it spends one colored coin, commits to commitment in an OP_RETURN
// without value, the first output, and returns the coin's bitcoin to the colored account, the second. Others follow. Where that coin
// alone cannot pay for them and the fee, vanilla coins do.
func (w *Wallet) SendAsset(c *Chain, commitment [32]byte, rate amount.SatPerVByte, others ...*wire.TxOut) (*psbt.Packet, error) {
	coins := c.Unspent(w.Colored.Owns)
	if len(coins) == 0 {
		return nil, &Shortage{Needed: 1}
	}
	opReturn, err := txscript.NullDataScript(commitment[:])
	if err != nil {
		return nil, err
	}
	change, err := w.Colored.firstUnused(c, 0)
	if err != nil {
		return nil, err
	}
	d := &draft{chain: c, rate: rate, tx: wire.NewMsgTx(2)}
	d.addOutput(wire.NewTxOut(0, opReturn), nil)
	d.addInput(coins[0], w.Colored)
	d.addOutput(wire.NewTxOut(0, change.script), &owned{w.Colored, change})
	for _, out := range others {
		d.addOutput(out, nil)
	}
	if rest := -d.missing(); rest >= DustLimit(change.script) {
		d.tx.TxOut[1].Value = int64(rest)
		return d.packet()
	}
	d.tx.TxOut[1].Value = int64(coins[0].Value)
	return d.fundFrom(w.Vanilla, w.Keychain)
}

// Share is a part of a coin and who gets it.
type Share struct {
	Script []byte
	Value  amount.Sat
}

// Sweep returns an unsigned PSBT that splits one vanilla coin into shares; the first share that can pays the fee, and one that is
// dust goes to the fee too.
func (w *Wallet) Sweep(c *Chain, outpoint wire.OutPoint, shares []Share, rate amount.SatPerVByte) (*psbt.Packet, error) {
	coin := c.coins[outpoint]
	if coin == nil || !w.Vanilla.Owns(coin.Script) {
		return nil, ErrUnknownCoin
	}
	d := &draft{chain: c, rate: rate, tx: wire.NewMsgTx(2)}
	d.addInput(*coin, w.Vanilla)
	for _, share := range shares {
		if share.Value >= DustLimit(share.Script) {
			d.addOutput(wire.NewTxOut(int64(share.Value), share.Script), nil)
		}
	}
	for _, out := range d.tx.TxOut {
		if short := d.missing(); short > 0 && amount.Sat(out.Value)-short >= DustLimit(out.PkScript) {
			out.Value -= int64(short)
		}
	}
	if d.missing() > 0 || len(d.tx.TxOut) == 0 {
		return nil, &Shortage{Needed: coin.Value + d.missing(), Available: coin.Value}
	}
	return d.packet()
}

// owned names the script of an account behind an input or output.
type owned struct {
	account *Account
	script  *ownScript
}

// draft is a transaction under construction.
type draft struct {
	chain   *Chain
	rate    amount.SatPerVByte
	tx      *wire.MsgTx
	inputs  []owned
	coins   []Coin
	outputs []*owned // nil for an output that is not the wallet's
}

func (d *draft) addInput(coin Coin, account *Account) {
	in := wire.NewTxIn(&coin.OutPoint, nil, nil)
	in.Sequence = sequence
	d.tx.AddTxIn(in)
	d.coins = append(d.coins, coin)
	d.inputs = append(d.inputs, owned{account, account.byScript[string(coin.Script)]})
}

func (d *draft) addOutput(out *wire.TxOut, own *owned) {
	d.tx.AddTxOut(out)
	d.outputs = append(d.outputs, own)
}

// fee returns what the draft costs as it stands, once every input is signed.
func (d *draft) fee() amount.Sat {
	weight := 4*d.tx.SerializeSizeStripped() + flagWeight + signatureWeight*len(d.tx.TxIn)
	return d.rate.FeeFor(int64(weight+3) / 4)
}

// missing returns by how much the inputs fall short of outputs and fee; negative where something is left over.
func (d *draft) missing() amount.Sat {
	sum := d.fee()
	for _, out := range d.tx.TxOut {
		sum += amount.Sat(out.Value)
	}
	return sum - d.value()
}

// value returns the sum of the inputs.
func (d *draft) value() amount.Sat {
	var sum amount.Sat
	for _, coin := range d.coins {
		sum += coin.Value
	}
	return sum
}

// fundFrom adds the account's largest coins until outputs and fee are paid, and a change output where the rest is above dust; a smaller
// rest goes to the fee.
func (d *draft) fundFrom(account *Account, keychain uint32) (*psbt.Packet, error) {
	for _, coin := range d.chain.Unspent(account.Owns) {
		if d.missing() <= 0 {
			break
		}
		d.addInput(coin, account)
	}
	if short := d.missing(); short > 0 {
		return nil, &Shortage{Needed: d.value() + short, Available: d.value()}
	}
	own, err := account.firstUnused(d.chain, keychain)
	if err != nil {
		return nil, err
	}
	withChange := *d
	withChange.tx = d.tx.Copy()
	withChange.addOutput(wire.NewTxOut(0, own.script), &owned{account, own})
	if rest := -withChange.missing(); rest >= DustLimit(own.script) {
		withChange.tx.TxOut[len(withChange.tx.TxOut)-1].Value = int64(rest)
		return withChange.packet()
	}
	return d.packet()
}

// packet wraps the draft as a PSBT with the fields that a BIP 86 signer needs: witness UTXO, internal key and derivation (BIP 371).
func (d *draft) packet() (*psbt.Packet, error) {
	d.tx.LockTime = uint32(d.chain.height)
	packet, err := psbt.NewFromUnsignedTx(d.tx)
	if err != nil {
		return nil, err
	}
	for i, in := range d.inputs {
		packet.Inputs[i].WitnessUtxo = wire.NewTxOut(int64(d.coins[i].Value), d.coins[i].Script)
		packet.Inputs[i].TaprootInternalKey = in.script.internalKey
		packet.Inputs[i].TaprootBip32Derivation = in.derivations()
	}
	for i, out := range d.outputs {
		if out != nil {
			packet.Outputs[i].TaprootInternalKey = out.script.internalKey
			packet.Outputs[i].TaprootBip32Derivation = out.derivations()
		}
	}
	return packet, nil
}

func (o owned) derivations() []*psbt.TaprootBip32Derivation {
	return []*psbt.TaprootBip32Derivation{{
		XOnlyPubKey:          o.script.internalKey,
		MasterKeyFingerprint: o.account.fingerprint,
		Bip32Path:            o.account.path(o.script),
	}}
}
