package sandbox

import (
	"crypto/sha256"
	"time"

	"github.com/btcsuite/btcd/wire/v2"

	"github.com/utexo/utexo-operator/internal/amount"
)

// The reference server's on-chain send: close the channels, wait until the node's balance rose, send from the node's coins. Each step is
// an event; a restart ends it in the middle, for the send is in the memory that it loses (hazard 14).

// sweep is a send on its way through the steps.
type sweep struct {
	s      *Server
	memory *memory
	*send
	n *node
	// baseline is what the balance must exceed, deadline how long it is watched.
	baseline int64
	deadline time.Time
}

func (s *Server) startSweep(taken *send) {
	w := &sweep{s: s, memory: s.memory, send: taken, n: taken.wallet.node}
	w.next(s.opts.Timing.Step, w.closeChannels)
}

// next plans do, unless the service has restarted by then.
func (w *sweep) next(delay time.Duration, do func()) {
	w.s.after(delay, func() {
		if w.s.memory == w.memory {
			do()
		}
	})
}

func (w *sweep) enter(status string) {
	w.status, w.updated = status, w.s.now()
}

func (w *sweep) fail(code, message string) {
	w.enter(statusFailed)
	w.failure = &sendFailure{code, message}
}

// toClose lists the channels that the order makes the server close: all that could carry its kind of money, whatever the amount.
func (w *sweep) toClose() []*channel {
	var channels []*channel
	for _, c := range w.n.channels {
		if asset := w.order.asset; asset == nil && c.asset == nil && c.local > 0 || asset != nil && c.asset != nil && c.asset.id == asset.ID {
			channels = append(channels, c)
		}
	}
	return channels
}

func (w *sweep) closeChannels() {
	list := askNode(w.s, NodeListChannels, w.wallet.xpub, func() ([]*channel, *nodeError) { return w.toClose(), nil })
	if message, failed := list.failure(); failed {
		w.fail(codeProcessingError, message)
		return
	}
	if len(list.value) == 0 {
		w.sweepOutputs()
		return
	}
	w.enter(statusClosing)
	for _, c := range list.value {
		reply := askNode(w.s, NodeCloseChannel, w.wallet.xpub, func() (struct{}, *nodeError) {
			return struct{}{}, w.s.closeChannel(w.n, c)
		})
		c.stale = reply.stale
		if message, failed := reply.failure(); failed {
			w.fail(codeCloseFailed, message)
			return
		}
		w.closed = append(w.closed, c.id)
	}
	w.enter(statusWaitingClose)
	w.next(w.s.opts.Timing.Step, func() { w.confirmClose(list.value) })
}

// confirmClose looks once whether the channels are gone. Where one still counts as open, nothing ever looks again (hazard 16).
func (w *sweep) confirmClose(closed []*channel) {
	for _, c := range closed {
		for _, listed := range w.n.channels {
			if listed == c && c.stale {
				return
			}
		}
	}
	w.enter(statusWaitingRise)
	w.baseline, w.deadline = w.funds(), w.s.now().Add(w.s.opts.Timing.BalanceLimit)
	w.next(w.s.opts.Timing.Poll, w.awaitRise)
}

// funds is the balance that the server watches. It does not ask where a rise comes from (hazard 17).
func (w *sweep) funds() int64 {
	if w.order.asset != nil {
		if held := w.n.asset(w.order.asset.ID); held != nil {
			return held.onchain
		}
		return 0
	}
	_, all := w.n.coins.Vanilla.Balance(w.s.chain)
	return int64(all)
}

func (w *sweep) awaitRise() {
	switch {
	case w.funds() > w.baseline:
		w.sweepOutputs()
	case !w.s.now().Before(w.deadline):
		w.fail(codeBalanceTimeout, "Balance did not update in time")
	default:
		w.next(w.s.opts.Timing.Poll, w.awaitRise)
	}
}

func (w *sweep) sweepOutputs() {
	w.enter(statusSweeping)
	if w.order.asset == nil {
		sent := w.order.amount()
		if w.order.deduct {
			fee := feeDeduction
			w.fee = &fee
			sent -= fee
		}
		w.sent = &sent
	}
	w.next(w.s.opts.Timing.Step, w.broadcastSweep)
}

// broadcastSweep makes the call that moves the money. The server learns of it only what the answer says (hazard 18).
func (w *sweep) broadcastSweep() {
	op, pay := NodeSendBtc, w.payAddress
	if w.order.asset != nil {
		op, pay = NodeSendAsset, w.payInvoice
	}
	reply := askNode(w.s, op, w.wallet.xpub, func() (txid, *nodeError) {
		tx, fee, refusal := pay()
		if refusal != nil {
			return txid{}, refusal
		}
		paid := *w.send // the ledger knows the transaction, whether or not the server will
		paid.broadcast(tx.TxHash())
		w.s.bookSend(&paid, fee)
		return tx.TxHash(), nil
	})
	w.next(reply.took, func() {
		if message, failed := reply.failure(); failed {
			w.fail(codeSweepFailed, message)
			return
		}
		w.broadcast(reply.value)
		w.enter(statusBroadcast)
		w.enter(statusConfirmed) // the node took it; nobody waits for a block
	})
}

func (w *sweep) rate() (amount.SatPerVByte, *nodeError) {
	if w.order.feeRate < 0 || w.order.feeRate > 1000 {
		return 0, &nodeError{Text: "Unprocessable Entity", Code: 422}
	}
	if w.order.feeRate == 0 {
		return psbtRate, nil
	}
	return w.order.feeRate, nil
}

func (w *sweep) payAddress() (*wire.MsgTx, amount.Sat, *nodeError) {
	rate, refusal := w.rate()
	if refusal != nil {
		return nil, 0, refusal
	}
	script, err := w.s.addressScript(w.order.destination)
	if err != nil {
		return nil, 0, &nodeError{"Invalid address: " + err.Error(), 400, "InvalidAddress"}
	}
	return w.s.spend(w.n, outputTo(script, *w.sent), rate)
}

func (w *sweep) payInvoice() (*wire.MsgTx, amount.Sat, *nodeError) {
	rate, refusal := w.rate()
	if refusal == nil {
		refusal = w.s.checkRGB(w.n, w.order)
	}
	if refusal != nil {
		return nil, 0, refusal
	}
	return w.s.sendAsset(w.n, sha256.Sum256([]byte(w.order.destination)), rate)
}

// failure is what the server writes into error_message where the reply is no success.
func (r nodeReply[T]) failure() (message string, failed bool) {
	switch {
	case r.refusal != nil:
		return r.refusal.pythonText(), true
	case r.lost:
		return "500: Failed to communicate with RLN node: " + r.text, true
	case r.garbled:
		return "Expecting value: line 1 column 1 (char 0)", true
	}
	return "", false
}
