package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/psbt/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/sandbox/chain"
)

// What the reference server assumes (constants of the service, not of the protocol).
const (
	defaultExpiry                    = 420 * time.Second
	defaultMaxFee                    = 3000
	referenceFee                     = 10
	psbtRate      amount.SatPerVByte = 5
	// documentedRate keeps the documented service's PSBTs within small fee limits.
	documentedRate amount.SatPerVByte = 1
)

// Instants as Python's isoformat writes them.
const (
	microseconds = "2006-01-02T15:04:05.000000Z"
	wholeSeconds = "2006-01-02T15:04:05Z"
)

type createInvoiceRequest struct {
	sats   *int64
	asset  *Asset
	expiry *int64
}

func readCreateInvoice(f *fields) createInvoiceRequest {
	return createInvoiceRequest{f.optionalInteger("amount_sats"), f.asset(), f.optionalInteger("expiry_seconds")}
}

type receiveBody struct {
	ID          string      `json:"id"`
	Invoice     string      `json:"invoice"`
	Status      string      `json:"status"`
	PaymentType string      `json:"payment_type"`
	AmountSats  *amount.Sat `json:"amount_sats"`
	Asset       *Asset      `json:"asset"`
	CreatedAt   string      `json:"created_at"`
}

func (s *Server) createInvoice(c *call) answer {
	request, refusal := readBody(c, readCreateInvoice)
	if refusal != nil {
		return *refusal
	}
	if request.sats == nil && request.asset == nil {
		return detailError(400, "amount_sats is required for BTC invoices")
	}
	sats, expiry := assetInvoiceSats, defaultExpiry
	if request.sats != nil {
		sats = amount.Sat(*request.sats)
	}
	if request.expiry != nil && *request.expiry != 0 {
		expiry = time.Duration(min(*request.expiry, maxExpirySeconds)) * time.Second
	}
	reply := askNode(s, NodeCreateInvoice, c.wallet.xpub, func() (*invoice, *nodeError) {
		if sats < 0 || expiry < 0 || request.asset != nil && request.asset.Amount < 0 {
			return nil, &nodeError{Text: "Unprocessable Entity", Code: 422} // the node reads unsigned numbers
		}
		return s.issue(c.wallet.node, c.wallet, sats, request.asset, expiry)
	})
	if failed := settled(c, reply); failed != nil {
		return *failed
	}
	inv := reply.value
	inv.id = s.entropy.uuid("receive")
	s.memory.receives[inv.id] = &receive{id: inv.id, hash: inv.hash, wallet: c.wallet, created: s.now()}
	c.effect(EffectCreated, inv.id)
	if delay := s.opts.Timing.AutoPay; delay >= 0 {
		n := c.wallet.node
		s.after(delay, func() { _ = s.payFromOutside(n, inv, false) }) // an invoice that cannot be paid stays as it is
	}
	return ok(inv.body(s.memory.receives[inv.id], "OPEN"))
}

// maxExpirySeconds is the longest expiry that a time.Duration holds.
const maxExpirySeconds = int64(time.Duration(1<<63-1) / time.Second)

// settled lets the reply's time pass and returns the server's answer where the node gave nothing to go on with.
func settled[T any](c *call, reply nodeReply[T]) *answer {
	c.wait(reply.took)
	var failed answer
	switch {
	case reply.lost:
		failed = unreachable(reply.text)
	case reply.refusal != nil:
		failed = reply.refusal.answer()
	case reply.garbled:
		failed = internalError()
	default:
		return nil
	}
	return &failed
}

func (inv *invoice) body(r *receive, status string) receiveBody {
	body := receiveBody{
		ID: r.id, Invoice: inv.text, Status: status, PaymentType: "BTC", CreatedAt: r.created.Format(microseconds),
	}
	if inv.decoded.Amount != nil {
		sats := inv.decoded.Amount.CeilSat()
		body.AmountSats = &sats
	}
	if inv.decoded.Asset != nil {
		body.PaymentType = "ASSET"
		body.Asset = &Asset{ID: inv.decoded.Asset.ID, Amount: int64(inv.decoded.Asset.Amount)}
	}
	return body
}

func (s *Server) receiveRequest(c *call) answer {
	r := s.memory.receives[c.id]
	if r == nil || s.opts.Profile == Documented && r.wallet != c.wallet {
		return ok(nil)
	}
	n := r.wallet.node
	reply := askNode(s, NodeInvoiceStatus, c.wallet.xpub, func() (string, *nodeError) {
		inv := n.invoices[r.hash]
		if inv == nil {
			return "", &nodeError{"Unknown LN invoice", 403, "UnknownLNInvoice"}
		}
		return n.invoiceStatus(inv, s.now()), nil
	})
	if reply.garbled {
		return ok(n.invoices[r.hash].body(r, "OPEN")) // an unknown word of the node
	}
	if failed := settled(c, reply); failed != nil {
		return *failed
	}
	words := map[string]string{nodePending: "OPEN", nodeSucceeded: "SETTLED", nodeExpired: "EXPIRED", nodeFailed: "FAILED"}
	return ok(n.invoices[r.hash].body(r, words[reply.value]))
}

type feeEstimateRequest struct {
	invoice string
	asset   *Asset
}

func readFeeEstimate(f *fields) feeEstimateRequest {
	return feeEstimateRequest{f.text("invoice"), f.asset()}
}

func (s *Server) feeEstimate(c *call) answer {
	request, refusal := readBody(c, readFeeEstimate)
	if refusal != nil {
		return *refusal
	}
	if s.opts.Profile == Reference {
		return ok(referenceFee) // a constant; the invoice is not even parsed
	}
	if refusal := s.checkInvoice(request.invoice); refusal != nil {
		return *refusal
	}
	return ok(s.opts.RoutingFeeSats)
}

// checkInvoice is the documented service's look at an invoice before it begins anything.
func (s *Server) checkInvoice(text string) *answer {
	decoded, err := bolt11.Decode(text)
	if err == nil {
		if network, known := decoded.Network(); !known || network != s.opts.Network {
			err = errors.New("the invoice is for another network")
		}
	}
	if err == nil {
		return nil
	}
	refusal := detailError(400, "Invalid invoice: "+err.Error())
	return &refusal
}

type payBeginRequest struct {
	invoice string
	maxFee  int64
}

func readPayBegin(f *fields) payBeginRequest {
	return payBeginRequest{f.text("invoice"), f.integerOr("max_fee_sats", defaultMaxFee)}
}

func (s *Server) payBegin(c *call) answer {
	request, refusal := readBody(c, readPayBegin)
	if refusal != nil {
		return *refusal
	}
	var packet *psbt.Packet
	var err error
	if s.opts.Profile == Reference {
		// Whatever the invoice, the PSBT pays one fixed RGB invoice.
		packet, err = c.wallet.keys.SendAsset(s.chain, s.entropy.named("RLN_TEST_INVOICE"), psbtRate)
	} else {
		if refusal := s.checkInvoice(request.invoice); refusal != nil {
			return *refusal
		}
		packet, err = s.paymentPSBT(c.wallet, request.invoice, c.claim)
	}
	text, refusal := begun(packet, err)
	if refusal != nil {
		return *refusal
	}
	s.memory.pays[c.wallet.xpub] = &begunPayment{
		begin: c.began(hashOf(request.invoice)), invoice: request.invoice, maxFee: amount.Sat(request.maxFee), txid: packet.UnsignedTx.TxHash(),
	}
	return ok(text)
}

// paymentPSBT is the documented service's transaction behind a payment: the amount to the service, of bitcoin or of an asset. Claim is how
// it lies about an asset, or empty.
func (s *Server) paymentPSBT(w *wallet, invoice, claim string) (*psbt.Packet, error) {
	decoded, err := bolt11.Decode(invoice)
	if err != nil {
		return nil, err
	}
	if decoded.Asset != nil && w.node.asset(decoded.Asset.ID) != nil {
		seal := s.entropy.named("service's seal")
		to := rgb.Beneficiary{Kind: rgb.BlindedSeal, Payload: seal[:]}
		return s.transferPSBT(w, Asset{ID: decoded.Asset.ID, Amount: int64(decoded.Asset.Amount)}, to, documentedRate, claim)
	}
	if decoded.Asset != nil || decoded.Amount == nil {
		return w.keys.SendAsset(s.chain, sha256.Sum256([]byte(invoice)), documentedRate)
	}
	script, err := s.serviceScript()
	if err != nil {
		return nil, err
	}
	return w.keys.Pay(s.chain, outputTo(script, max(decoded.Amount.CeilSat(), chain.DustLimit(script))), documentedRate)
}

// hashOf names an invoice in the log: by its payment hash, where it has one.
func hashOf(invoice string) string {
	decoded, err := bolt11.Decode(invoice)
	if err != nil {
		return ""
	}
	return decoded.PaymentHashHex()
}

// began notes that the call's order is now the wallet's begun one, and returns its number.
func (c *call) began(key string) int {
	c.s.ledger.begins++
	c.effect(EffectBegan, key)
	c.s.ledger.requests[c.entry].Begin = c.s.ledger.begins
	return c.s.ledger.begins
}

// begun encodes the PSBT that a begin answers, or says in the wallet library's words why there is none.
func begun(packet *psbt.Packet, err error) (string, *answer) {
	var refusal answer
	short, isShort := errors.AsType[*chain.Shortage](err)
	switch {
	case err == nil:
		text, err := chain.Encode(packet)
		if err == nil {
			return text, nil
		}
		refusal = libraryError("Internal", "Internal error: "+err.Error())
	case isShort:
		refusal = libraryError("InsufficientBitcoins",
			fmt.Sprintf("Insufficient bitcoin funds: needed '%d', available '%d'", short.Needed, short.Available))
	case errors.Is(err, chain.ErrDust):
		refusal = libraryError("OutputBelowDustLimit", "Output below the dust limit")
	default:
		refusal = libraryError("Internal", "Internal error: "+err.Error())
	}
	return "", &refusal
}

func readEnd(f *fields) string { return f.text("signed_psbt") }

// checkSigned judges the PSBT of an end call against the transaction that was asked. The reference server sees only whether it is
// finalised; the documented one wants it valid.
func (s *Server) checkSigned(text string, asked txid) (*Evidence, *chain.Signed, *answer) {
	signed, err := s.chain.CheckSigned(text, asked)
	switch {
	case errors.Is(err, chain.ErrNotFinalizable):
		refusal := libraryError("CannotFinalizePsbt", "The provided PSBT cannot be finalized")
		return nil, nil, &refusal
	case err != nil:
		refusal := libraryError("InvalidPsbt", "Invalid PSBT: "+err.Error())
		return nil, nil, &refusal
	}
	evidence := &Evidence{Txid: signed.Txid.String(), Asked: signed.Txid == asked, Valid: signed.Invalid == nil, FeeSats: signed.Fee}
	if signed.Invalid != nil {
		evidence.Problem = signed.Invalid.Error()
		if s.opts.Profile == Documented {
			refusal := libraryError("InvalidPsbt", "Invalid PSBT: "+evidence.Problem)
			return nil, nil, &refusal
		}
	}
	return evidence, &signed, nil
}

type paymentBody struct {
	ID          string      `json:"id"`
	Status      string      `json:"status"`
	PaymentType string      `json:"payment_type"`
	AmountSats  *amount.Sat `json:"amount_sats"`
	Asset       *Asset      `json:"asset"`
	FeeSats     *amount.Sat `json:"fee_sats"`
	CreatedAt   string      `json:"created_at"`
}

func (s *Server) paymentBody(p *payment, created string) paymentBody {
	words := map[string]string{nodePending: "PENDING", nodeSucceeded: "SUCCEEDED", nodeFailed: "FAILED"}
	body := paymentBody{ID: p.hash, Status: words[p.status], PaymentType: "BTC", Asset: p.asset, CreatedAt: created}
	if p.asset != nil {
		body.PaymentType = "ASSET"
	} else {
		sats := p.msat.CeilSat()
		body.AmountSats = &sats
	}
	if s.opts.Profile == Documented && p.status == nodeSucceeded {
		body.FeeSats = &p.fee
	}
	return body
}

func (s *Server) payEnd(c *call) answer {
	text, refusal := readBody(c, readEnd)
	if refusal != nil {
		return *refusal
	}
	slot := s.memory.pays[c.wallet.xpub]
	var asked txid
	if slot != nil {
		asked = slot.txid
	}
	if slot == nil {
		// The PSBT is looked at first, and here no more than that: there is nothing to hold it against.
		if _, err := chain.ParseSigned(text); err == nil {
			return detailError(400, "No invoice found. Please call /pay-invoice-begin first to create a PSBT.")
		}
	}
	evidence, _, refusal := s.checkSigned(text, asked)
	if refusal != nil {
		return *refusal
	}
	decoding := askNode(s, NodeDecode, c.wallet.xpub, func() (struct{}, *nodeError) { return struct{}{}, nil })
	if failed := settled(c, decoding); failed != nil {
		return *failed
	}
	by := cause{wallet: c.wallet.xpub, begin: slot.begin, psbt: evidence}
	if s.opts.Profile == Documented {
		by.fee, by.feeLimit = s.opts.RoutingFeeSats, slot.maxFee
	}
	memory := s.memory
	reply := askNode(s, NodeSendPayment, c.wallet.xpub, func() (*payment, *nodeError) {
		p, refusal := s.send(c.wallet.node, slot.invoice, by)
		if refusal == nil {
			s.ledger.requests[c.entry].Begin = slot.begin
			c.effect(map[bool]Effect{true: EffectPaid, false: EffectFailed}[p.status == nodePending], p.hash)
		}
		return p, refusal
	})
	var status string
	if reply.value != nil {
		status = reply.value.status // as the node answered; it may move on while the answer is under way
	}
	if failed := settled(c, reply); failed != nil {
		return *failed // the begun invoice stays, and can be paid again
	}
	delete(memory.pays, c.wallet.xpub) // whatever was begun meanwhile
	answered := *reply.value
	answered.status = status
	return ok(s.paymentBody(&answered, s.now().Format(microseconds)))
}

func (s *Server) sendRequest(c *call) answer {
	raw, err := hex.DecodeString(c.id)
	if err != nil || len(raw) != sha256.Size {
		return (&nodeError{"Invalid payment hash: " + c.id, 400, "InvalidPaymentHash"}).answer()
	}
	hash := hex.EncodeToString(raw)
	reply := askNode(s, NodeGetPayment, c.wallet.xpub, func() (*payment, *nodeError) {
		s.failExpired(c.wallet.node)
		p := c.wallet.node.payments[hash]
		if p == nil {
			return nil, &nodeError{fmt.Sprintf("Payment not found: %s", hash), 403, "PaymentNotFound"}
		}
		return p, nil
	})
	if reply.garbled {
		return ok(nil)
	}
	if s.opts.Profile == Documented && reply.refusal != nil && reply.refusal.Name == "PaymentNotFound" {
		return ok(nil)
	}
	if failed := settled(c, reply); failed != nil {
		return *failed
	}
	if reply.value.inbound && s.opts.Profile == Documented {
		return ok(nil)
	}
	return ok(s.paymentBody(reply.value, reply.value.created.Format(wholeSeconds)))
}

type listedPayment struct {
	AmtMsat     amount.MilliSat `json:"amt_msat"`
	AssetAmount *int64          `json:"asset_amount"`
	AssetID     *string         `json:"asset_id"`
	PaymentHash string          `json:"payment_hash"`
	Inbound     bool            `json:"inbound"`
	Status      string          `json:"status"`
	CreatedAt   int64           `json:"created_at"`
	UpdatedAt   int64           `json:"updated_at"`
	PayeePubkey string          `json:"payee_pubkey"`
}

type listPaymentsBody struct {
	Payments []listedPayment `json:"payments"`
}

func (s *Server) listPayments(c *call) answer {
	reply := askNode(s, NodeListPayments, c.wallet.xpub, func() (listPaymentsBody, *nodeError) {
		if !s.listing {
			// The server POSTs where the node serves GET.
			return listPaymentsBody{}, &nodeError{Text: "Method Not Allowed", Code: 405}
		}
		s.failExpired(c.wallet.node)
		body := listPaymentsBody{Payments: []listedPayment{}}
		for _, p := range c.wallet.node.order {
			listed := listedPayment{
				AmtMsat: p.msat, PaymentHash: p.hash, Inbound: p.inbound, Status: p.status,
				CreatedAt: p.created.Unix(), UpdatedAt: p.updated.Unix(), PayeePubkey: p.payee,
			}
			if p.asset != nil {
				listed.AssetID, listed.AssetAmount = &p.asset.ID, &p.asset.Amount
			}
			body.Payments = append(body.Payments, listed)
		}
		return body, nil
	})
	if failed := settled(c, reply); failed != nil {
		return *failed
	}
	return ok(reply.value)
}

// SetListPayments makes listpayments answer, or be 405 as on the reference server, where it is off from the start.
func (s *Server) SetListPayments(on bool) {
	s.lock()
	defer s.unlock()
	s.listing = on
}
