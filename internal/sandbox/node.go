package sandbox

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chainhash/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/sandbox/chain"
)

type txid = chainhash.Hash

// node stands in for an RGB Lightning Node. What it holds is durable: only Reset forgets it.
type node struct {
	name   string
	key    *btcec.PrivateKey
	pubkey string // hex
	master *chain.Master
	coins  *chain.Wallet // what it owns on chain
	// funding is the same account again, which owns the channels' funding and nothing else.
	funding *chain.Wallet
	assets  []*nodeAsset

	channels []*channel
	opened   int // channels ever opened: the next one's index in channelKeychain

	invoices  map[string]*invoice // by payment hash
	payments  map[string]*payment // by payment hash, both directions
	order     []*payment
	transfers []*transfer
}

// nodeAsset is what a node holds of an RGB asset.
type nodeAsset struct {
	id        string
	ticker    string
	precision int
	onchain   int64
}

// Statuses of payments and invoices, in the node's words.
const (
	nodePending   = "Pending"
	nodeSucceeded = "Succeeded"
	nodeFailed    = "Failed"
	nodeExpired   = "Expired"
)

// invoice is one that the node issued.
type invoice struct {
	hash     string
	preimage [32]byte
	text     string
	decoded  *bolt11.Invoice
	wallet   string
	id       string // the receive id of the service
	paid     bool
	failed   bool
}

// payment is the node's record of a payment, to it or from it.
type payment struct {
	hash    string
	inbound bool
	status  string
	msat    amount.MilliSat
	asset   *Asset
	payee   string
	created time.Time
	updated time.Time
	// The rest is not the node's but the ledger's: who caused it, by which begin and PSBT.
	wallet  string
	begin   int
	psbt    *Evidence
	attempt int
	from    *channel // outbound: what it was sent through
	fee     amount.Sat
}

// addNode starts a node with coins, one bitcoin channel, and the option's assets with a channel each.
func (s *Server) addNode(name string) *node {
	n, err := s.newNode(name)
	if err == nil {
		err = s.endow(n)
	}
	if err != nil {
		panic(fmt.Sprintf("sandbox: starting a node: %v", err)) // from the seed, so it never depends on a request
	}
	s.nodes = append(s.nodes, n)
	return n
}

func (s *Server) newNode(name string) (*node, error) {
	master, err := s.entropy.master(name, s.params)
	if err != nil {
		return nil, err
	}
	vanilla, err := master.Account(s.opts.Network.CoinType())
	if err != nil {
		return nil, err
	}
	funding, err := master.Account(s.opts.Network.CoinType())
	if err != nil {
		return nil, err
	}
	colored, err := master.Account(s.opts.Network.ColoredCoinType())
	if err != nil {
		return nil, err
	}
	n := &node{
		name:     name,
		key:      s.entropy.key(name),
		master:   master,
		coins:    &chain.Wallet{Vanilla: vanilla, Colored: colored, Keychain: 0},
		funding:  &chain.Wallet{Vanilla: funding},
		invoices: map[string]*invoice{},
		payments: map[string]*payment{},
	}
	n.pubkey = hex.EncodeToString(n.key.PubKey().SerializeCompressed())
	return n, nil
}

func (s *Server) endow(n *node) error {
	err := s.mintChannel(n, 2*s.opts.ChannelSats, s.opts.ChannelSats, nil)
	if s.opts.Profile == Reference { // the documented service spends the wallet's own coins
		err = errors.Join(
			err,
			s.grant(n.coins, "", false, 1, s.opts.NodeSats),
			s.grant(n.coins, "", true, coloredCoins, coloredValue),
		)
	}
	for _, a := range s.opts.Assets {
		asset := &nodeAsset{id: s.entropy.assetID(a.Ticker), ticker: a.Ticker, precision: a.Precision, onchain: a.Onchain}
		n.assets = append(n.assets, asset)
		held := &assetShare{id: asset.id, local: a.Offchain, remote: a.Offchain}
		err = errors.Join(err, s.mintChannel(n, assetChannelCapacity, assetChannelCapacity, held))
	}
	return err
}

func (n *node) asset(id string) *nodeAsset {
	for _, asset := range n.assets {
		if asset.id == id {
			return asset
		}
	}
	return nil
}

// issue makes an invoice over sats, and asset where it is not nil.
func (s *Server) issue(n *node, w *wallet, sats amount.Sat, asset *Asset, expiry time.Duration) (*invoice, *nodeError) {
	if asset != nil {
		if _, refusal := n.checkAsset(asset); refusal != nil {
			return nil, refusal
		}
		if sats < assetInvoiceSats {
			return nil, &nodeError{fmt.Sprintf("Invalid amount: amt_msat cannot be less than %d when transferring an RGB asset",
				assetInvoiceSats.MilliSat()), 400, "InvalidAmount"}
		}
	}
	if sats < 0 || sats > amount.MaxSat || expiry < 0 {
		return nil, &nodeError{"Invalid invoice: out of range", 400, "InvalidInvoice"}
	}
	text, preimage, err := s.writeInvoice(n.key, "invoice of "+n.name, sats, asset, expiry, "")
	if err != nil {
		return nil, &nodeError{"Failed to create invoice: " + err.Error(), 500, "FailedInvoiceCreation"}
	}
	decoded, err := bolt11.Decode(text)
	if err != nil {
		return nil, &nodeError{"Failed to create invoice: " + err.Error(), 500, "FailedInvoiceCreation"}
	}
	inv := &invoice{hash: decoded.PaymentHashHex(), preimage: preimage, text: text, decoded: decoded, wallet: w.xpub}
	n.invoices[inv.hash] = inv
	n.record(&payment{
		hash: inv.hash, inbound: true, status: nodePending, msat: sats.MilliSat(), asset: asset, payee: n.pubkey,
		created: s.now(), updated: s.now(), wallet: w.xpub,
	})
	return inv, nil
}

func (n *node) checkAsset(asset *Asset) (*nodeAsset, *nodeError) {
	known := n.asset(asset.ID)
	if known == nil {
		return nil, &nodeError{"Unknown RGB contract ID", 403, "UnknownContractId"}
	}
	if asset.Amount <= 0 {
		return nil, &nodeError{"Invalid amount: asset amount must be positive", 400, "InvalidAmount"}
	}
	return known, nil
}

func (n *node) record(p *payment) {
	if n.payments[p.hash] == nil {
		n.order = append(n.order, p)
	} else {
		for i, known := range n.order {
			if known.hash == p.hash {
				n.order[i] = p
			}
		}
	}
	n.payments[p.hash] = p
}

// invoiceStatus is what the node says of an invoice that it issued.
func (n *node) invoiceStatus(inv *invoice, now time.Time) string {
	switch {
	case inv.paid:
		return nodeSucceeded
	case inv.failed:
		return nodeFailed
	case inv.decoded.Expired(now):
		return nodeExpired
	}
	return nodePending
}

// failExpired is what newer nodes do when their payments are read.
func (s *Server) failExpired(n *node) {
	if !s.opts.FailExpired {
		return
	}
	for _, p := range n.order {
		if inv := n.invoices[p.hash]; inv != nil && p.status == nodePending && inv.decoded.Expired(s.now()) {
			inv.failed, p.status, p.updated = true, nodeFailed, s.now()
		}
	}
}

// cause is on whose behalf and by which order a payment is sent.
type cause struct {
	wallet   string
	begin    int
	psbt     *Evidence
	fee      amount.Sat
	feeLimit amount.Sat // above it there is no route; the reference server never looks
}

// send starts a payment. It answers Pending, or Failed where it is clear at once that no payment goes out; Lightning payments happen
// exactly once because a hash that is pending or succeeded is refused here.
func (s *Server) send(n *node, text string, by cause) (*payment, *nodeError) {
	decoded, err := bolt11.Decode(text)
	if err != nil {
		return nil, &nodeError{"Invalid invoice: " + err.Error(), 400, "InvalidInvoice"}
	}
	if network, ok := decoded.Network(); !ok || network != s.opts.Network {
		return nil, &nodeError{"Invalid invoice: the invoice is for another network", 400, "InvalidInvoice"}
	}
	if decoded.Amount == nil {
		return nil, &nodeError{"Invalid amount: the invoice has no amount", 400, "InvalidAmount"}
	}
	hash := decoded.PaymentHashHex()
	p := &payment{
		hash: hash, status: nodeFailed, msat: *decoded.Amount, payee: hex.EncodeToString(decoded.Payee[:]),
		created: s.now(), updated: s.now(), wallet: by.wallet, begin: by.begin, psbt: by.psbt, fee: by.fee, attempt: 1,
	}
	if decoded.Asset != nil {
		p.asset = &Asset{ID: decoded.Asset.ID, Amount: int64(decoded.Asset.Amount)}
	}
	if known := n.payments[hash]; known != nil {
		if known.inbound {
			// Our own invoice: no route to oneself. The record of the invoice stays what it is.
			return p, nil
		}
		if known.status != nodeFailed {
			return nil, &nodeError{"There is already a payment with this hash in status " + known.status, 403, "DuplicatePayment"}
		}
		p.attempt = known.attempt + 1
	}
	n.record(p)
	if decoded.Expired(s.now()) || by.fee > by.feeLimit || !n.reserve(p) {
		return p, nil
	}
	p.status = nodePending
	s.routePayment(n, p)
	return p, nil
}

// conclude ends a pending payment of n.
func (s *Server) conclude(n *node, p *payment, succeeded bool) {
	if p.status != nodePending {
		return
	}
	p.updated = s.now()
	if !succeeded {
		p.status = nodeFailed
		n.release(p)
		return
	}
	p.status = nodeSucceeded
	s.ledger.add(Entry{
		At: s.now(), Kind: LightningOut, Key: p.hash, Wallet: p.wallet, Destination: p.payee, AmountSats: p.msat.CeilSat(),
		Asset: p.asset, FeeSats: p.fee, SendID: p.hash, PSBT: p.psbt, Begin: p.begin,
	})
}

// receive books a payment of inv by a counterparty.
func (s *Server) receive(n *node, inv *invoice) {
	p := n.payments[inv.hash]
	inv.paid = true
	p.status, p.updated = nodeSucceeded, s.now()
	if into := n.channelFor(p.asset); into != nil {
		into.credit(p)
	}
	s.ledger.add(Entry{
		At: s.now(), Kind: LightningIn, Key: inv.hash, Wallet: inv.wallet, Destination: n.pubkey, AmountSats: p.msat.CeilSat(),
		Asset: p.asset, SendID: inv.id,
	})
}
