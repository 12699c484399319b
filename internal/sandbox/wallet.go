package sandbox

import (
	"errors"
	"net/http"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/sandbox/chain"
)

// Headers that name the wallet of a request.
const (
	headerVanilla     = "xpub-van"
	headerColored     = "xpub-col"
	headerFingerprint = "master-fingerprint"
)

// wallet is a registered client. Its xpub-van alone is its identity: a later request may carry any other two headers.
type wallet struct {
	xpub        string
	fingerprint string
	keys        *chain.Wallet
	node        *node
}

// identity is what the three headers of a request say.
type identity struct{ vanilla, colored, fingerprint string }

func identify(r *http.Request) (identity, []violation) {
	var missing []violation
	get := func(name string) string {
		if values := r.Header.Values(name); len(values) > 0 {
			return values[0]
		}
		missing = append(missing, violation{
			Type: "missing", Loc: []any{"header", name}, Msg: messages["missing"], Input: []byte("null"),
		})
		return ""
	}
	return identity{get(headerVanilla), get(headerColored), get(headerFingerprint)}, missing
}

type balanceBody struct {
	Settled   amount.Sat `json:"settled"`
	Future    amount.Sat `json:"future"`
	Spendable amount.Sat `json:"spendable"`
}

type btcBalanceBody struct {
	Vanilla  balanceBody      `json:"vanilla"`
	Colored  balanceBody      `json:"colored"`
	Offchain *offchainBalance `json:"offchain_balance,omitempty"`
}

type registerBody struct {
	Address    string         `json:"address"`
	BtcBalance btcBalanceBody `json:"btc_balance"`
}

// register makes the wallet known. It is repeatable.
func (s *Server) register(c *call) answer {
	w := s.wallets[c.identity.vanilla]
	if w == nil {
		var refusal *answer
		if w, refusal = s.newWallet(c.identity); refusal != nil {
			return *refusal
		}
		c.effect(EffectRegistered, w.fingerprint)
	}
	address, err := w.keys.DepositAddress(s.chain)
	if err != nil {
		return libraryError("Internal", "Internal error: address derivation failed")
	}
	return ok(registerBody{Address: address, BtcBalance: s.coinBalance(w.keys)})
}

func (s *Server) newWallet(id identity) (*wallet, *answer) {
	network := s.opts.Network
	vanilla, err := chain.NewAccount(id.vanilla, id.fingerprint, network.CoinType(), s.params)
	var colored *chain.Account
	if err == nil {
		colored, err = chain.NewAccount(id.colored, id.fingerprint, network.ColoredCoinType(), s.params)
	}
	if err != nil {
		refusal := libraryError("InvalidPubkey", "Invalid pubkey: not an account key of this network")
		if errors.Is(err, chain.ErrFingerprint) {
			refusal = libraryError("InvalidFingerprint", "Invalid fingerprint")
		}
		return nil, &refusal
	}
	w := &wallet{
		xpub:        id.vanilla,
		fingerprint: id.fingerprint,
		keys:        &chain.Wallet{Vanilla: vanilla, Colored: colored, Keychain: *s.opts.Keychain},
	}
	if s.opts.Profile == Reference {
		w.node = s.nodes[0]
	} else {
		w.node = s.addNode("node of " + id.vanilla)
	}
	if !s.opts.Unfunded {
		if err := errors.Join(
			s.grant(w.keys, w.xpub, false, vanillaCoins, s.opts.FundSats/vanillaCoins),
			s.grant(w.keys, w.xpub, true, coloredCoins, coloredValue),
		); err != nil {
			refusal := libraryError("Internal", "Internal error: funding failed")
			return nil, &refusal
		}
	}
	s.wallets[w.xpub] = w
	s.walletOrder = append(s.walletOrder, w)
	return w, nil
}

// The coins of a new wallet. Colored ones have the 1,000 sat that wallet libraries give them, too little for a fee of their own.
const (
	vanillaCoins            = 4
	coloredCoins            = 5
	coloredValue amount.Sat = 1_000
)

// coinBalance is what the wallet's keys own on chain. Unconfirmed coins are spendable, as they are for the wallet library.
func (s *Server) coinBalance(w *chain.Wallet) btcBalanceBody {
	body := func(account *chain.Account) balanceBody {
		confirmed, all := account.Balance(s.chain)
		return balanceBody{Settled: confirmed, Future: all, Spendable: all}
	}
	return btcBalanceBody{Vanilla: body(w.Vanilla), Colored: body(w.Colored)}
}
