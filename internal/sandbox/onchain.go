package sandbox

import (
	"errors"
	"strings"
	"time"

	"github.com/btcsuite/btcd/psbt/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/sandbox/chain"
)

// order is what onchain-send-begin was asked for.
type order struct {
	destination string
	sats        *amount.Sat
	asset       *Asset
	feeRate     amount.SatPerVByte
	deduct      bool
}

// mergeKey is what the reference server takes for the identity of an order; the wallet is no part of it.
type mergeKey struct {
	destination string
	sats        amount.Sat
	assetID     string
	assetAmount int64
	feeRate     amount.SatPerVByte
}

func (o order) mergeKey() mergeKey {
	key := mergeKey{destination: o.destination, sats: o.amount(), feeRate: o.feeRate}
	if o.asset != nil {
		key.assetID, key.assetAmount = o.asset.ID, o.asset.Amount
	}
	return key
}

// key is the order's Key in the ledger.
func (o order) key() string {
	k := o.mergeKey()
	return OrderKey(k.destination, k.sats, k.assetID, k.assetAmount, k.feeRate)
}

func (o order) amount() amount.Sat {
	if o.sats == nil {
		return 0
	}
	return *o.sats
}

// toInvoice says whether the destination is an RGB invoice. An "RGB:" in capitals is an address to the service.
func (o order) toInvoice() bool { return strings.HasPrefix(o.destination, "rgb:") }

func readOnchainBegin(f *fields) order {
	o := order{destination: f.text("address_or_rgbinvoice")}
	if sats := f.optionalInteger("amount_sats"); sats != nil {
		o.sats = (*amount.Sat)(sats)
	}
	o.feeRate = amount.SatPerVByte(f.integer("fee_rate"))
	o.asset = f.asset()
	o.deduct = f.boolOr("deduct_fee_from_amount", true)
	return o
}

// feeDeduction is what the reference server takes off the amount where the client does not say otherwise.
const feeDeduction amount.Sat = 1_000

func (s *Server) onchainBegin(c *call) answer {
	o, refusal := readBody(c, readOnchainBegin)
	if refusal != nil {
		return *refusal
	}
	switch {
	case o.toInvoice() && o.asset == nil:
		return detailError(400, "asset is required when address_or_rgbinvoice is an RGB invoice")
	case !o.toInvoice() && o.sats == nil:
		return detailError(400, "amount_sats is required for BTC withdrawal")
	}
	var packet *psbt.Packet
	var err error
	if s.opts.Profile == Reference {
		if o.amount() < 0 {
			return internalError()
		}
		packet, err = s.fixedPSBT(c.wallet, o)
	} else {
		if refusal := s.checkOrder(c.wallet, o); refusal != nil {
			return *refusal
		}
		packet, err = s.orderPSBT(c.wallet, o, c.claim)
	}
	if errors.Is(err, errZero) {
		return libraryError("InvalidAmountZero", "Invalid amount: zero")
	}
	text, refusal := begun(packet, err)
	if refusal != nil {
		return *refusal
	}
	s.memory.sends[c.wallet.xpub] = &begunSend{begin: c.began(o.key()), order: o, txid: packet.UnsignedTx.TxHash()}
	return ok(text)
}

var errZero = errors.New("amount is zero")

// fixedPSBT is what the reference server answers to any order: its own address gets the amount.
func (s *Server) fixedPSBT(w *wallet, o order) (*psbt.Packet, error) {
	sats := feeDeduction // for an asset
	if !o.toInvoice() {
		sats = o.amount()
	}
	if sats == 0 {
		return nil, errZero
	}
	script, err := s.serviceScript()
	if err != nil {
		return nil, err
	}
	return w.keys.Pay(s.chain, outputTo(script, sats), psbtRate)
}

// checkOrder is the documented service's look at an order: what it refuses there never becomes a send.
func (s *Server) checkOrder(w *wallet, o order) *answer {
	refuse := func(a answer) *answer { return &a }
	if o.feeRate < 1 || o.feeRate > 1000 {
		return refuse(libraryError("InvalidFeeRate", "Invalid fee rate: use 1 to 1000 sat/vB"))
	}
	if !o.toInvoice() {
		if _, err := s.addressScript(o.destination); err != nil {
			return refuse(detailError(400, "Invalid address: "+err.Error()))
		}
		if o.amount() <= 0 {
			return refuse(libraryError("InvalidAmountZero", "Invalid amount: zero"))
		}
		return nil
	}
	held := w.node.asset(o.asset.ID)
	switch refusal := s.checkRGB(w.node, o); {
	case held == nil:
		return refuse(libraryError("AssetNotFound", "Asset with id "+o.asset.ID+" not found"))
	case refusal != nil:
		return refuse(libraryError(refusal.Name, refusal.Text))
	}
	return nil
}

// checkRGB says why n cannot send o, an order for an RGB invoice.
func (s *Server) checkRGB(n *node, o order) *nodeError {
	held, refusal := n.checkAsset(o.asset)
	if refusal != nil {
		return refusal
	}
	invoice, err := rgb.ParseInvoice(o.destination)
	if err != nil {
		return &nodeError{"Invalid RGB invoice: " + err.Error(), 400, "InvalidInvoice"}
	}
	switch network, known := invoice.Network.Network(); {
	case !known || network != s.opts.Network:
		return &nodeError{"Invalid RGB invoice: it is for another network", 400, "InvalidInvoice"}
	case invoice.Contract != nil && invoice.Contract.String() != o.asset.ID:
		return &nodeError{"Invalid RGB invoice: it asks for another asset", 400, "InvalidInvoice"}
	case invoice.Amount != nil && *invoice.Amount != uint64(o.asset.Amount):
		return &nodeError{"Invalid RGB invoice: it asks for another amount", 400, "InvalidInvoice"}
	case n.sentTo(invoice.Beneficiary.String()):
		return &nodeError{"Recipient ID already used", 403, "RecipientIDAlreadyUsed"}
	case held.onchain < o.asset.Amount:
		return &nodeError{"Insufficient assignments", 403, "InsufficientAssignments"}
	}
	return nil
}

// orderPSBT is the documented service's transaction: it pays the order itself. Claim is how it lies about an asset, or empty.
func (s *Server) orderPSBT(w *wallet, o order, claim string) (*psbt.Packet, error) {
	if o.toInvoice() {
		invoice, err := rgb.ParseInvoice(o.destination)
		if err != nil {
			return nil, err
		}
		return s.transferPSBT(w, *o.asset, invoice.Beneficiary, o.feeRate, claim)
	}
	script, err := s.addressScript(o.destination)
	if err != nil {
		return nil, err
	}
	packet, err := w.keys.Pay(s.chain, outputTo(script, o.amount()), o.feeRate)
	if err != nil || !o.deduct {
		return packet, err
	}
	fee, err := packet.GetTxFee()
	if err != nil {
		return nil, err
	}
	return w.keys.Pay(s.chain, outputTo(script, o.amount()-amount.Sat(fee)), o.feeRate)
}

func (s *Server) onchainEnd(c *call) answer {
	text, refusal := readBody(c, readEnd)
	if refusal != nil {
		return *refusal
	}
	slot := s.memory.sends[c.wallet.xpub]
	if slot == nil {
		return detailError(400, "No PSBT found. Please call /withdraw-begin first to create a PSBT.")
	}
	evidence, signed, refusal := s.checkSigned(text, slot.txid)
	if refusal != nil {
		return *refusal
	}
	s.ledger.requests[c.entry].Begin = slot.begin
	if s.opts.Profile == Reference {
		return s.takeReference(c, slot, evidence)
	}
	return s.takeDocumented(c, slot, evidence, signed)
}

// Statuses of an on-chain send of the reference server, and of the documented one.
const (
	statusRequested     = "REQUESTED"
	statusClosing       = "CLOSING_CHANNELS"
	statusWaitingClose  = "WAITING_CLOSE_CONFIRMATIONS"
	statusWaitingRise   = "WAITING_BALANCE_UPDATE"
	statusSweeping      = "SWEEPING_OUTPUTS"
	statusBroadcast     = "BROADCASTED"
	statusConfirmed     = "CONFIRMED"
	statusFailed        = "FAILED"
	statusPending       = "pending"
	statusCompleted     = "completed"
	codeCloseFailed     = "CHANNEL_CLOSE_FAILED"
	codeBalanceTimeout  = "BALANCE_UPDATE_TIMEOUT"
	codeSweepFailed     = "SWEEP_FAILED"
	codeProcessingError = "PROCESSING_ERROR"
)

// send is an on-chain send that the service took on.
type send struct {
	id       string
	wallet   *wallet
	order    order
	begin    int
	evidence *Evidence
	status   string
	created  time.Time
	updated  time.Time
	closed   []string
	hash     txid    // of the transaction that was broadcast
	txid     *string // the same; nil before that
	fee      *amount.Sat
	sent     *amount.Sat
	failure  *sendFailure
}

type sendFailure struct{ code, message string }

type referenceTaken struct {
	WithdrawalID string `json:"withdrawal_id"`
	Status       string `json:"status"`
}

// takeReference takes an order on unless an equal one was taken before, by whomever.
func (s *Server) takeReference(c *call, slot *begunSend, evidence *Evidence) answer {
	taken := s.memory.merged[slot.order.mergeKey()]
	if taken != nil {
		c.effect(EffectMerged, taken.id)
		return ok(referenceTaken{taken.id, taken.status})
	}
	taken = s.take(c, slot, evidence, statusRequested)
	s.memory.merged[slot.order.mergeKey()] = taken
	s.startSweep(taken)
	return ok(referenceTaken{taken.id, taken.status})
}

func (s *Server) take(c *call, slot *begunSend, evidence *Evidence, status string) *send {
	taken := &send{
		id: s.entropy.uuid("send"), wallet: c.wallet, order: slot.order, begin: slot.begin, evidence: evidence, status: status,
		created: s.now(), updated: s.now(), closed: []string{},
	}
	s.memory.taken[taken.id] = taken
	c.effect(EffectSent, taken.id)
	return taken
}

type documentedTaken struct {
	SendID string `json:"send_id"`
	Txid   string `json:"txid"`
}

// takeDocumented broadcasts the wallet's own transaction. A repeated end is answered with the first one's id.
func (s *Server) takeDocumented(c *call, slot *begunSend, evidence *Evidence, signed *chain.Signed) answer {
	if slot.sendID != "" {
		c.effect(EffectMerged, slot.sendID)
		return ok(documentedTaken{slot.sendID, evidence.Txid})
	}
	if slot.order.asset != nil {
		if refusal := s.checkRGB(c.wallet.node, slot.order); refusal != nil {
			return libraryError(refusal.Name, refusal.Text)
		}
	}
	if _, err := s.chain.Submit(signed.Tx); err != nil {
		return libraryError("InvalidPsbt", "Invalid PSBT: "+err.Error())
	}
	taken := s.take(c, slot, evidence, statusPending)
	slot.sendID, taken.fee = taken.id, &signed.Fee
	taken.broadcast(signed.Txid)
	if slot.order.asset == nil {
		sent := amount.Sat(signed.Tx.TxOut[0].Value)
		taken.sent = &sent
	}
	s.bookSend(taken, signed.Fee)
	s.confirmSoon()
	return ok(documentedTaken{taken.id, evidence.Txid})
}

func (taken *send) broadcast(hash txid) {
	text := hash.String()
	taken.hash, taken.txid = hash, &text
}

// bookSend enters a send that was broadcast into the ledger, and an asset transfer into the node's list.
func (s *Server) bookSend(taken *send, fee amount.Sat) {
	entry := Entry{
		At: s.now(), Kind: OnchainOut, Key: taken.order.key(), Wallet: taken.wallet.xpub, Destination: taken.order.destination,
		Asset: taken.order.asset, FeeSats: fee, SendID: taken.id, Txid: *taken.txid, PSBT: taken.evidence, Begin: taken.begin,
	}
	if taken.sent != nil {
		entry.AmountSats = *taken.sent
	}
	s.ledger.add(entry)
	if taken.order.asset != nil {
		taken.wallet.node.asset(taken.order.asset.ID).onchain -= taken.order.asset.Amount
		s.recordTransfer(taken)
	}
}

// completeSends looks which documented sends a new block confirmed.
func (s *Server) completeSends() {
	for _, taken := range s.memory.taken {
		if taken.status != statusPending {
			continue
		}
		if tx, known := s.chain.Tx(taken.hash); known && tx.Height > 0 {
			taken.status, taken.updated = statusCompleted, s.now()
		}
	}
}

type referenceSend struct {
	WithdrawalID string `json:"withdrawal_id"`
	sendBody
	Timestamps struct {
		CreatedAt int64 `json:"created_at"`
		UpdatedAt int64 `json:"updated_at"`
	} `json:"timestamps"`
	sendErrorBody
}

type documentedSend struct {
	SendID string `json:"send_id"`
	sendBody
	Timestamps struct {
		Created   int64  `json:"created"`
		Completed *int64 `json:"completed"`
	} `json:"timestamps"`
	sendErrorBody
}

type sendBody struct {
	Status              string      `json:"status"`
	Destination         string      `json:"address_or_rgbinvoice"`
	AmountSatsRequested *amount.Sat `json:"amount_sats_requested"`
	AmountSatsSent      *amount.Sat `json:"amount_sats_sent"`
	Asset               *Asset      `json:"asset"`
	CloseTxids          []string    `json:"close_txids"` // the reference server puts channel ids here
	SweepTxid           *string     `json:"sweep_txid"`
	FeeSats             *amount.Sat `json:"fee_sats"`
}

type sendErrorBody struct {
	ErrorCode    *string `json:"error_code"`
	ErrorMessage *string `json:"error_message"`
	Retryable    bool    `json:"retryable"`
}

func (s *Server) onchainStatus(c *call) answer {
	taken := s.memory.taken[c.id]
	if s.opts.Profile == Reference {
		if taken == nil {
			return detailError(404, "Withdrawal not found")
		}
		body := referenceSend{WithdrawalID: taken.id, sendBody: taken.body(), sendErrorBody: taken.failure.body()}
		body.Timestamps.CreatedAt, body.Timestamps.UpdatedAt = taken.created.Unix(), taken.updated.Unix()
		return ok(body)
	}
	if taken == nil || taken.wallet != c.wallet {
		return detailError(404, "Send not found")
	}
	body := documentedSend{SendID: taken.id, sendBody: taken.body(), sendErrorBody: taken.failure.body()}
	body.Timestamps.Created = taken.created.Unix()
	if taken.status == statusCompleted {
		completed := taken.updated.Unix()
		body.Timestamps.Completed = &completed
	}
	return ok(body)
}

func (taken *send) body() sendBody {
	return sendBody{
		Status: taken.status, Destination: taken.order.destination, AmountSatsRequested: taken.order.sats, AmountSatsSent: taken.sent,
		Asset: taken.order.asset, CloseTxids: taken.closed, SweepTxid: taken.txid, FeeSats: taken.fee,
	}
}

// body labels every failure retryable, as the reference server does. Nothing retries.
func (f *sendFailure) body() sendErrorBody {
	if f == nil {
		return sendErrorBody{}
	}
	return sendErrorBody{ErrorCode: &f.code, ErrorMessage: &f.message, Retryable: true}
}
