package sandbox

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bolt11"
)

// PayeeMode says what the payees of our payments do.
type PayeeMode string

// The modes.
const (
	// PayeeSettles takes the payment after Timing.Payment.
	PayeeSettles PayeeMode = "settle"
	// PayeeFails refuses it after Timing.Payment.
	PayeeFails PayeeMode = "fail"
	// PayeeHangs holds it until Resolve.
	PayeeHangs PayeeMode = "hang"
)

// counterparty is everybody else on the Lightning network: it pays and is paid.
type counterparty struct {
	mode      PayeeMode
	byHash    map[string]PayeeMode
	issued    int // invoices
	addresses int
}

func newCounterparty() *counterparty {
	return &counterparty{mode: PayeeSettles, byHash: map[string]PayeeMode{}}
}

func (p *counterparty) modeOf(hash string) PayeeMode {
	if mode, ok := p.byHash[hash]; ok {
		return mode
	}
	return p.mode
}

// Errors of the counterparty's side.
var (
	ErrUnknownInvoice = errors.New("no invoice of the sandbox's wallets has this payment hash")
	ErrNotPayable     = errors.New("the invoice is paid or expired already")
	ErrNoCapacity     = errors.New("no channel of the node can take the payment")
	ErrNotPending     = errors.New("no payment with this hash is pending")
)

// NewInvoice describes an invoice that the counterparty issues for a wallet to pay. A zero AmountSats without Asset leaves the amount
// open, which the service refuses to pay.
type NewInvoice struct {
	AmountSats  amount.Sat
	Asset       *Asset
	Expiry      time.Duration // 1 h where zero
	Description string
}

// IssueInvoice returns a signed BOLT11 of the counterparty.
func (s *Server) IssueInvoice(n NewInvoice) (string, error) {
	s.lock()
	defer s.unlock()
	return s.issueForWallets(n)
}

func (s *Server) issueForWallets(n NewInvoice) (string, error) {
	if n.Expiry == 0 {
		n.Expiry = bolt11.DefaultExpiry
	}
	if n.Asset != nil && n.AmountSats == 0 {
		n.AmountSats = assetInvoiceSats
	}
	s.payee.issued++
	// Payees differ, so that a payment can be seen to reach the right one.
	key := s.entropy.key(fmt.Sprintf("payee %d", s.payee.issued))
	text, _, err := s.writeInvoice(key, "invoice of the counterparty", n.AmountSats, n.Asset, n.Expiry, n.Description)
	return text, err
}

// writeInvoice signs an invoice; sats 0 leaves the amount open.
func (s *Server) writeInvoice(key *btcec.PrivateKey, label string, sats amount.Sat, asset *Asset, expiry time.Duration,
	description string,
) (string, [32]byte, error) {
	preimage := s.entropy.next("preimage, " + label)
	inv := &bolt11.Invoice{
		Prefix:             s.opts.Network.InvoicePrefix(),
		PaymentHash:        sha256.Sum256(preimage[:]),
		PaymentSecret:      s.entropy.next("payment secret, " + label),
		Timestamp:          s.now(),
		Expiry:             expiry,
		Description:        description,
		MinFinalCLTVExpiry: 144,
		PayeeNamed:         true,
		Features:           bolt11.Features{8, 14},
	}
	if sats > 0 {
		msat := sats.MilliSat()
		inv.Amount = &msat
	}
	if asset != nil {
		inv.Asset = &bolt11.Asset{ID: asset.ID, Amount: uint64(asset.Amount)}
	}
	text, err := bolt11.Encode(inv, key)
	return text, preimage, err
}

// routePayment takes p, which n has pending, to its payee: another node of the sandbox, or the counterparty, which reaches everybody.
func (s *Server) routePayment(n *node, p *payment) {
	mode := s.payee.modeOf(p.hash)
	if mode == PayeeHangs {
		return
	}
	attempt := p.attempt
	s.after(s.opts.Timing.Payment, func() {
		if n.payments[p.hash] != p || p.attempt != attempt {
			return
		}
		s.arrive(n, p, mode == PayeeSettles)
	})
}

// arrive ends p. A payment to another node of the sandbox pays that node's invoice, unless it cannot be paid any more.
func (s *Server) arrive(n *node, p *payment, succeeded bool) {
	if p.status != nodePending {
		return
	}
	if to, inv := s.invoiceOf(p.hash); succeeded && inv != nil {
		if inv.paid || inv.failed || !to.canReceive(to.payments[p.hash]) {
			succeeded = false
		} else {
			s.receive(to, inv)
		}
	}
	s.conclude(n, p, succeeded)
}

// invoiceOf finds the node that issued the invoice with that hash.
func (s *Server) invoiceOf(hash string) (*node, *invoice) {
	for _, n := range s.nodes {
		if inv := n.invoices[hash]; inv != nil {
			return n, inv
		}
	}
	return nil, nil
}

// SetPayee says what payees do from now on: the one of a payment hash, or all others where hash is empty.
func (s *Server) SetPayee(hash string, mode PayeeMode) error {
	s.lock()
	defer s.unlock()
	switch mode {
	case PayeeSettles, PayeeFails, PayeeHangs:
	default:
		return fmt.Errorf("unknown mode %q: use %s, %s or %s", mode, PayeeSettles, PayeeFails, PayeeHangs)
	}
	if hash == "" {
		s.payee.mode = mode
	} else {
		s.payee.byHash[hash] = mode
	}
	return nil
}

// Resolve ends a payment that is pending, one that hangs above all. It fails with ErrNotPending.
func (s *Server) Resolve(hash string, succeeded bool) error {
	s.lock()
	defer s.unlock()
	for _, n := range s.nodes {
		if p := n.payments[hash]; p != nil && !p.inbound && p.status == nodePending {
			s.arrive(n, p, succeeded)
			return nil
		}
	}
	return ErrNotPending
}

// PayInvoice lets the counterparty pay a BOLT11 that a wallet of the sandbox issued. Late pays it even after its expiry: EXPIRED is
// not for ever. It fails with ErrUnknownInvoice, ErrNotPayable or ErrNoCapacity.
func (s *Server) PayInvoice(text string, late bool) (hash string, err error) {
	s.lock()
	defer s.unlock()
	decoded, err := bolt11.Decode(text)
	if err != nil {
		return "", err
	}
	hash = decoded.PaymentHashHex()
	n, inv := s.invoiceOf(hash)
	if inv == nil || inv.text != text {
		return hash, ErrUnknownInvoice
	}
	return hash, s.payFromOutside(n, inv, late)
}

func (s *Server) payFromOutside(n *node, inv *invoice, late bool) error {
	switch {
	case inv.paid, inv.failed, inv.decoded.Expired(s.now()) && !late:
		return ErrNotPayable
	case !n.canReceive(n.payments[inv.hash]):
		return ErrNoCapacity
	}
	s.receive(n, inv)
	return nil
}

// FailInvoice makes the node give up an unpaid invoice: its status becomes FAILED. It fails with ErrUnknownInvoice or ErrNotPayable.
func (s *Server) FailInvoice(hash string) error {
	s.lock()
	defer s.unlock()
	n, inv := s.invoiceOf(hash)
	if inv == nil {
		return ErrUnknownInvoice
	}
	if inv.paid {
		return ErrNotPayable
	}
	inv.failed = true
	n.payments[hash].status, n.payments[hash].updated = nodeFailed, s.now()
	return nil
}

// ForgetInvoice makes the node lose an invoice: asking for it is 403 UnknownLNInvoice. It fails with ErrUnknownInvoice.
func (s *Server) ForgetInvoice(hash string) error {
	s.lock()
	defer s.unlock()
	n, inv := s.invoiceOf(hash)
	if inv == nil {
		return ErrUnknownInvoice
	}
	delete(n.invoices, hash)
	return nil
}
