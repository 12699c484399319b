package sandbox

import "github.com/utexo/utexo-operator/internal/amount"

// settleReserve is what the reference server leaves on chain when it opens a channel.
const settleReserve amount.Sat = 2_000

type settleResult struct {
	Type        string        `json:"type"` // btc | asset
	AssetID     *string       `json:"asset_id"`
	CapacitySat amount.Sat    `json:"capacity_sat"`
	AssetAmount *int64        `json:"asset_amount"`
	FeeReserve  amount.Sat    `json:"fee_reserve"`
	Result      *settleOpened `json:"result"`
	Error       *string       `json:"error"`
}

type settleOpened struct {
	TemporaryChannelID string `json:"temporary_channel_id"`
}

type settleBody struct {
	Results []settleResult `json:"results"`
	Opened  int            `json:"total_channels_opened"`
}

type settleRefusal struct {
	Error   string `json:"error"`
	Message string `json:"message"`
	settleBody
}

type documentedSettle struct {
	Result string `json:"result"`
}

func (s *Server) settle(c *call) answer {
	body, refusal := s.settleNode(c.wallet.node, s.depositKey(c.wallet))
	if body.Opened > 0 {
		c.effect(EffectSettled, "")
	}
	switch {
	case s.opts.Profile == Documented:
		return ok(documentedSettle{"success"})
	case refusal != "":
		return ok(settleRefusal{"Insufficient funds", refusal, body})
	}
	return ok(body)
}

// scheduleSettle lets the service settle by itself, for ever.
func (s *Server) scheduleSettle() {
	s.after(s.opts.Timing.Settle, func() {
		for _, n := range s.nodes {
			s.settleNode(n, s.keyOfNode(n))
		}
		s.scheduleSettle()
	})
}

func (s *Server) keyOfNode(n *node) string {
	for _, w := range s.walletOrder {
		if w.node == n {
			return s.depositKey(w)
		}
	}
	return ""
}

// settleNode opens at most one bitcoin channel, out of a confirmed deposit to the address that onchain-receive handed out, and one
// asset channel. It returns why it opened none although there was a deposit.
func (s *Server) settleNode(n *node, key string) (body settleBody, refusal string) {
	body.Results = []settleResult{}
	if d := s.memory.deposits[key]; d != nil && s.depositConfirmed(n, d) {
		_, spendable := n.coins.Vanilla.Balance(s.chain)
		capacity := spendable - settleReserve
		if capacity < minimumGrant {
			return body, "Not enough balance to open a channel"
		}
		if s.openInto(n, &body, settleResult{Type: "btc", CapacitySat: capacity, FeeReserve: settleReserve}, nil) {
			delete(s.memory.deposits, key)
		}
	}
	if len(n.assets) > 0 {
		s.settleAsset(n, n.assets[0], &body) // the reference server knows one asset only
	}
	return body, ""
}

// settleAsset opens a channel where more of the asset is on chain than off it.
func (s *Server) settleAsset(n *node, held *nodeAsset, body *settleBody) {
	if held.onchain <= n.assetOutbound(held.id) {
		return
	}
	result := settleResult{
		Type: "asset", AssetID: &held.id, CapacitySat: assetChannelCapacity, FeeReserve: settleReserve,
	}
	amount := held.onchain
	result.AssetAmount = &amount
	s.openInto(n, body, result, &assetShare{id: held.id, local: amount})
}

// openInto opens a channel and notes the outcome: a failed one is a result as well.
func (s *Server) openInto(n *node, body *settleBody, result settleResult, share *assetShare) bool {
	reply := askNode(s, NodeOpenChannel, "", func() (*channel, *nodeError) { return s.openChannel(n, result.CapacitySat, share) })
	if message, failed := reply.failure(); failed {
		result.Error = &message
		body.Results = append(body.Results, result)
		return false
	}
	result.Result = &settleOpened{TemporaryChannelID: reply.value.id}
	body.Results = append(body.Results, result)
	body.Opened++
	return true
}

// depositConfirmed says whether the deposit arrived. One newer transaction without a block hides it.
func (s *Server) depositConfirmed(n *node, d *deposit) bool {
	history := s.chain.History(n.coins.Vanilla.Owns)
	if len(history) > 0 && history[len(history)-1].Height == 0 {
		return false
	}
	for _, coin := range s.chain.Unspent(func(script []byte) bool { return string(script) == string(d.script) }) {
		if coin.Height > 0 {
			return true
		}
	}
	return false
}
