package sandbox

import (
	"encoding/hex"
	"fmt"

	"github.com/btcsuite/btcd/wire/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/sandbox/chain"
)

const (
	// channelKeychain of a node's vanilla account holds the outputs that fund its channels.
	channelKeychain = 2
	// assetChannelCapacity is what the reference server opens an asset channel with, in sat.
	assetChannelCapacity amount.Sat = 30_010
	// assetInvoiceSats is the smallest bitcoin amount of an asset invoice (RGB Lightning Node, HTLC_MIN_MSAT).
	assetInvoiceSats amount.Sat = 3_000
	// closeRate is the fee rate of closing transactions.
	closeRate amount.SatPerVByte = 2
)

// channel is one of a node's channels. Its funding is a coin of the sandbox's chain.
type channel struct {
	id       string
	funding  wire.OutPoint
	capacity amount.Sat
	local    amount.Sat // what the node can send
	remote   amount.Sat // what it can receive
	asset    *assetShare
	closing  bool
	// stale keeps the channel listed as open between the close call and the closing transaction (hazard 16).
	stale bool
}

// assetShare is the asset side of an asset channel.
type assetShare struct {
	id            string
	local, remote int64
}

// mintChannel gives n a channel that somebody else paid for.
func (s *Server) mintChannel(n *node, capacity, local amount.Sat, asset *assetShare) error {
	script, err := n.funding.Vanilla.Script(channelKeychain, uint32(n.opened))
	if err != nil {
		return err
	}
	n.addChannel(s, s.chain.Grant(script, capacity, s.now()), capacity, local, asset)
	return nil
}

func (n *node) addChannel(s *Server, funding wire.OutPoint, capacity, local amount.Sat, asset *assetShare) *channel {
	n.opened++
	id := s.entropy.next("channel")
	c := &channel{id: hex.EncodeToString(id[:]), funding: funding, capacity: capacity, local: local, remote: capacity - local, asset: asset}
	n.channels = append(n.channels, c)
	return c
}

// channelFor returns the first open channel for an asset, or for bitcoin where asset is nil.
func (n *node) channelFor(asset *Asset) *channel {
	for _, c := range n.channels {
		if c.closing {
			continue
		}
		if asset == nil && c.asset == nil || asset != nil && c.asset != nil && c.asset.id == asset.ID {
			return c
		}
	}
	return nil
}

// reserve takes what p sends off a channel that can carry it; false where none can. The bitcoin that goes with an asset is not
// counted: it is the same few sat each way.
func (n *node) reserve(p *payment) bool {
	for _, c := range n.channels {
		sats := p.msat.CeilSat() + p.fee
		switch {
		case c.closing || (c.asset == nil) != (p.asset == nil):
		case p.asset == nil && c.local >= sats:
			c.local -= sats
			c.remote += sats
			p.from = c
			return true
		case p.asset != nil && c.asset.id == p.asset.ID && c.asset.local >= p.asset.Amount:
			c.asset.local -= p.asset.Amount
			c.asset.remote += p.asset.Amount
			p.from = c
			return true
		}
	}
	return false
}

// release gives back what reserve took.
func (n *node) release(p *payment) {
	if p.asset != nil {
		p.from.asset.local += p.asset.Amount
		p.from.asset.remote -= p.asset.Amount
		return
	}
	sats := p.msat.CeilSat() + p.fee
	p.from.local += sats
	p.from.remote -= sats
}

// canReceive says whether a channel can take p.
func (n *node) canReceive(p *payment) bool {
	c := n.channelFor(p.asset)
	if c == nil {
		return false
	}
	if p.asset != nil {
		return c.asset.remote >= p.asset.Amount
	}
	return c.remote >= p.msat.CeilSat()
}

func (c *channel) credit(p *payment) {
	if p.asset != nil {
		c.asset.local += p.asset.Amount
		c.asset.remote -= p.asset.Amount
		return
	}
	c.local += p.msat.CeilSat()
	c.remote -= p.msat.CeilSat()
}

// outbound returns what n can send over its open bitcoin channels.
func (n *node) outbound() amount.Sat {
	var sum amount.Sat
	for _, c := range n.channels {
		if !c.closing && c.asset == nil {
			sum += c.local
		}
	}
	return sum
}

// assetOutbound returns what n can send of an asset over its open channels.
func (n *node) assetOutbound(id string) int64 {
	var sum int64
	for _, c := range n.channels {
		if !c.closing && c.asset != nil && c.asset.id == id {
			sum += c.asset.local
		}
	}
	return sum
}

// openChannel moves capacity from the node's coins into a new channel. An asset's share comes from what the node holds on chain.
func (s *Server) openChannel(n *node, capacity amount.Sat, asset *assetShare) (*channel, *nodeError) {
	script, err := n.funding.Vanilla.Script(channelKeychain, uint32(n.opened))
	if err != nil {
		return nil, &nodeError{"Failed to open channel", 500, "FailedOpenChannel"}
	}
	tx, fee, refusal := s.spend(n, []*wire.TxOut{wire.NewTxOut(int64(capacity), script)}, closeRate)
	if refusal != nil {
		return nil, refusal
	}
	if asset != nil {
		n.asset(asset.id).onchain -= asset.local
	}
	c := n.addChannel(s, wire.OutPoint{Hash: tx.TxHash()}, capacity, capacity, asset)
	s.ledger.add(Entry{
		At: s.now(), Kind: ChannelOpen, Key: c.id, AmountSats: capacity, Asset: asset.held(), FeeSats: fee, Txid: tx.TxHash().String(),
	})
	return c, nil
}

func (a *assetShare) held() *Asset {
	if a == nil {
		return nil
	}
	return &Asset{ID: a.id, Amount: a.local}
}

// closeChannel starts a cooperative close: the channel carries nothing from now on, its coins follow after the delay.
func (s *Server) closeChannel(n *node, c *channel) *nodeError {
	if c.closing {
		return &nodeError{"Cannot perform this operation while the channel is closing", 403, "ChangingState"}
	}
	c.closing = true
	s.after(s.opts.Timing.Close, func() { s.finishClose(n, c) })
	return nil
}

// finishClose spends the channel's funding: the node's share, less the fee, to the node, the rest to the peer.
func (s *Server) finishClose(n *node, c *channel) {
	tx, fee, err := s.closingTx(n, c)
	if err != nil {
		panic(fmt.Sprintf("sandbox: closing a channel: %v", err)) // its funding is ours and unspent
	}
	if c.asset != nil {
		n.asset(c.asset.id).onchain += c.asset.local
	}
	n.drop(c)
	s.ledger.add(Entry{
		At: s.now(), Kind: ChannelClose, Key: c.id, AmountSats: c.local, Asset: c.asset.held(), FeeSats: fee, Txid: tx.TxHash().String(),
	})
	s.confirmSoon()
}

func (n *node) drop(c *channel) {
	for i, known := range n.channels {
		if known == c {
			n.channels = append(n.channels[:i], n.channels[i+1:]...)
			return
		}
	}
}

func (s *Server) closingTx(n *node, c *channel) (*wire.MsgTx, amount.Sat, error) {
	own, err := n.coins.DepositScript(s.chain)
	if err != nil {
		return nil, 0, err
	}
	peer, err := s.peerScript(c)
	if err != nil {
		return nil, 0, err
	}
	packet, err := n.funding.Sweep(s.chain, c.funding, []chain.Share{{Script: own, Value: c.local}, {Script: peer, Value: c.remote}}, closeRate)
	if err != nil {
		return nil, 0, err
	}
	return s.signAndSubmit(n, packet)
}
