package sandbox

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// absent is what a look-up says of an object that it does not know.
func (s *Server) absent(op Operation) answer {
	switch {
	case op == SendRequest && s.opts.Profile == Reference:
		return (&nodeError{"Payment not found", 403, "PaymentNotFound"}).answer()
	case op == OnchainStatus && s.opts.Profile == Reference:
		return detailError(404, "Withdrawal not found")
	case op == OnchainStatus:
		return detailError(404, "Send not found")
	case op == ListPayments:
		return ok(listPaymentsBody{Payments: []listedPayment{}})
	case op == ListTransfers:
		return ok([]transferBody{})
	}
	return ok(nil)
}

// claimed turns the answer of a look-up into what the lie says. Of a payment that does not exist it makes one up.
func (s *Server) claimed(c *call, a answer, claim string) answer {
	words := map[Operation]map[string]string{
		SendRequest:    {ClaimPending: "PENDING", ClaimSucceeded: "SUCCEEDED", ClaimFailed: "FAILED"},
		ReceiveRequest: {ClaimPending: "OPEN", ClaimSucceeded: "SETTLED", ClaimFailed: "FAILED"},
		OnchainStatus:  {ClaimPending: statusSweeping, ClaimSucceeded: statusConfirmed, ClaimFailed: statusFailed},
		ListPayments:   {ClaimPending: nodePending, ClaimSucceeded: nodeSucceeded, ClaimFailed: nodeFailed},
	}
	if s.opts.Profile == Documented {
		words[OnchainStatus][ClaimPending], words[OnchainStatus][ClaimSucceeded] = statusPending, statusCompleted
	}
	if c.route.op == SendRequest && (a.body == nil || a.status != http.StatusOK) {
		a = ok(paymentBody{ID: c.id, PaymentType: "BTC", CreatedAt: s.now().Format(wholeSeconds)})
	}
	return withStatus(a, words[c.route.op][claim])
}

// withStatus replaces the status words of a successful answer.
func withStatus(a answer, word string) answer {
	return edited(a, func(member string, _ any) (any, bool) { return word, member == "status" })
}

// edited replaces members of a successful JSON answer, at any depth, where edit says so.
func edited(a answer, edit func(member string, value any) (any, bool)) answer {
	if a.status != http.StatusOK || a.body == nil {
		return a
	}
	decoder := json.NewDecoder(bytes.NewReader(a.encode()))
	decoder.UseNumber()
	var body any
	if err := decoder.Decode(&body); err != nil {
		return a
	}
	a.body = editAny(body, edit)
	return a
}

func editAny(value any, edit func(string, any) (any, bool)) any {
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			if replacement, ok := edit(name, member); ok {
				v[name] = replacement
			} else {
				v[name] = editAny(member, edit)
			}
		}
	case []any:
		for i := range v {
			v[i] = editAny(v[i], edit)
		}
	}
	return value
}

// otherObject processes c, or for a look-up asks for another object instead, and answers with the other's ids. Where there is no
// other, one is made up.
func (s *Server) otherObject(c *call) answer {
	switch c.route.op {
	case PayBegin, OnchainBegin:
		a := c.process()
		if a.status != http.StatusOK {
			return a
		}
		return s.otherPSBT(c)
	case FeeEstimate:
		c.process()
		return ok(987_654)
	case SendRequest, ReceiveRequest, OnchainStatus:
		asked := c.id
		if c.id = s.otherID(c.route.op, asked); c.id != "" {
			if a := c.process(); a.status == http.StatusOK && a.body != nil {
				return a
			}
		}
		c.id = asked
	}
	a := c.process()
	return edited(a, func(member string, value any) (any, bool) {
		text, isText := value.(string)
		switch member {
		case "id", "send_id", "withdrawal_id", "payment_hash", "txid":
			if !isText {
				return nil, false
			}
			if other := s.otherID(c.route.op, text); other != "" && len(other) == len(text) {
				return other, true
			}
			if len(text) == 64 {
				made := s.entropy.next("other object")
				return hex.EncodeToString(made[:]), true
			}
			return s.entropy.uuid("other object"), true
		}
		return nil, false
	})
}

// otherPSBT is a transaction that the wallet could sign, and that nobody asked for.
func (s *Server) otherPSBT(c *call) answer {
	script, err := s.serviceScript()
	if err != nil {
		return libraryError("Internal", "Internal error: "+err.Error())
	}
	text, refusal := begun(c.wallet.keys.Pay(s.chain, outputTo(script, minimumGrant), psbtRate))
	if refusal != nil {
		return *refusal
	}
	return ok(text)
}

// otherID returns the id of another object of the kind that op is about; empty where there is none.
func (s *Server) otherID(op Operation, not string) string {
	var ids []string
	switch op {
	case SendRequest, PayEnd:
		for _, n := range s.nodes {
			for _, p := range n.order {
				ids = append(ids, p.hash)
			}
		}
	case ReceiveRequest, CreateInvoice:
		for id := range s.memory.receives {
			ids = append(ids, id)
		}
	case OnchainStatus, OnchainEnd:
		for id := range s.memory.taken {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids) // maps have no order
	for _, id := range ids {
		if id != not {
			return id
		}
	}
	return ""
}

// ForeignBegin lets another client of the wallet begin an order: a payment of a fresh invoice of the counterparty, or with onchain a
// send to it. It takes the wallet's one slot. It fails for an unknown wallet.
func (s *Server) ForeignBegin(xpub string, onchain bool) error {
	s.lock()
	defer s.unlock()
	w := s.wallets[xpub]
	if w == nil {
		return fmt.Errorf("no wallet %q is registered", xpub)
	}
	return s.foreignBegin(identity{vanilla: w.xpub, colored: "-", fingerprint: w.fingerprint}, onchain)
}

func (s *Server) foreignBegin(id identity, onchain bool) error {
	var path, body string
	if onchain {
		address, err := s.newAddress()
		if err != nil {
			return err
		}
		path, body = "/lightning/onchain-send-begin", fmt.Sprintf(`{"address_or_rgbinvoice":%q,"amount_sats":%d,"fee_rate":1}`, address, minimumGrant)
	} else {
		text, err := s.issueForWallets(NewInvoice{AmountSats: minimumGrant, Description: "foreign"})
		if err != nil {
			return err
		}
		path, body = "/lightning/pay-invoice-begin", fmt.Sprintf(`{"invoice":%q}`, text)
	}
	header := http.Header{}
	header.Set(headerVanilla, id.vanilla)
	header.Set(headerColored, id.colored)
	header.Set(headerFingerprint, id.fingerprint)
	r := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: path}, Header: header}
	found, _, _ := match(routes(s.opts.Profile), r)
	c := &call{s: s, request: r, body: []byte(body), route: found, identity: id, memory: s.memory}
	c.log()
	s.ledger.requests[c.entry].Foreign = true
	if a := c.process(); a.status != http.StatusOK {
		return fmt.Errorf("the foreign begin was refused: %s", strings.TrimSpace(string(a.encode())))
	}
	return nil
}
