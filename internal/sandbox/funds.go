package sandbox

import (
	"fmt"
	"time"

	"github.com/btcsuite/btcd/address/v2"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
	"github.com/btcsuite/btcd/txscript/v2"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/sandbox/chain"
)

type offchainBalance struct {
	Total   amount.Sat       `json:"total"`
	Details []offchainDetail `json:"details"`
}

type offchainDetail struct {
	ExpiryTime string     `json:"expiry_time"`
	Amount     amount.Sat `json:"amount"`
}

type walletBalanceBody struct {
	Balance       btcBalanceBody     `json:"balance"`
	AssetBalances []assetBalanceBody `json:"asset_balances"`
}

type assetBalanceBody struct {
	AssetID   string             `json:"asset_id"`
	Ticker    string             `json:"ticker"`
	Precision int                `json:"precision"`
	Balance   assetBalanceDetail `json:"balance"`
}

type assetBalanceDetail struct {
	Settled          int64 `json:"settled"`
	Future           int64 `json:"future"`
	Spendable        int64 `json:"spendable"`
	OffchainOutbound int64 `json:"offchain_outbound"`
}

// offchainLife is how far ahead the reference server dates the expiry of what is in a channel, at each reading anew.
const offchainLife = 30 * 24 * time.Hour

// balance is the node's. The documented service adds what the wallet's own keys hold.
func (s *Server) balance(c *call) answer {
	n := c.wallet.node
	reply := askNode(s, NodeBalance, c.wallet.xpub, func() (walletBalanceBody, *nodeError) {
		body := walletBalanceBody{Balance: s.coinBalance(n.coins), AssetBalances: []assetBalanceBody{}}
		if s.opts.Profile == Documented {
			own := s.coinBalance(c.wallet.keys)
			body.Balance.Vanilla.add(own.Vanilla)
			body.Balance.Colored.add(own.Colored)
		}
		offchain := &offchainBalance{Total: n.outbound(), Details: []offchainDetail{}}
		for _, ch := range n.channels {
			if ch.asset == nil && !ch.closing {
				offchain.Details = append(offchain.Details, offchainDetail{s.now().Add(offchainLife).Format(wholeSeconds), ch.local})
			}
		}
		body.Balance.Offchain = offchain
		for _, held := range n.assets {
			body.AssetBalances = append(body.AssetBalances, assetBalanceBody{
				AssetID: held.id, Ticker: held.ticker, Precision: held.precision,
				Balance: assetBalanceDetail{held.onchain, held.onchain, held.onchain, n.assetOutbound(held.id)},
			})
		}
		return body, nil
	})
	if failed := settled(c, reply); failed != nil {
		return *failed
	}
	return ok(reply.value)
}

func (b *balanceBody) add(other balanceBody) {
	b.Settled += other.Settled
	b.Future += other.Future
	b.Spendable += other.Spendable
}

// deposit is an address that was handed out.
type deposit struct {
	address  string
	script   []byte
	created  time.Time
	invoice  string
	invoiced time.Time
}

type depositBody struct {
	Address   string `json:"btc_address"`
	Invoice   string `json:"asset_invoice"`
	ExpiresAt string `json:"expires_at"`
}

const (
	depositLife = 24 * time.Hour
	// invoiceLife is when the reference server's watcher fails the asset invoice, whatever expires_at says.
	invoiceLife = time.Hour
)

func (d *deposit) body() depositBody {
	return depositBody{d.address, d.invoice, d.created.Add(depositLife).Format(wholeSeconds)}
}

// depositKey says who shares an address: on the reference server everybody does.
func (s *Server) depositKey(w *wallet) string {
	if s.opts.Profile == Reference {
		return ""
	}
	return w.xpub
}

func (s *Server) onchainReceive(c *call) answer {
	d, err := s.currentDeposit(c.wallet)
	if err != nil {
		return libraryError("Internal", "Internal error: "+err.Error())
	}
	return ok(d.body())
}

// currentDeposit returns the address in use. The reference server changes it only after a settle that opened a channel (or a
// restart), the documented one once it was paid or expired.
func (s *Server) currentDeposit(w *wallet) (*deposit, error) {
	key := s.depositKey(w)
	d := s.memory.deposits[key]
	if d != nil && s.opts.Profile == Documented && (s.depositPaid(w.node, d) || !s.now().Before(d.created.Add(depositLife))) {
		d = nil
	}
	if d == nil {
		address, err := w.node.coins.DepositAddress(s.chain)
		if err != nil {
			return nil, err
		}
		script, err := s.addressScript(address)
		if err != nil {
			return nil, err
		}
		d = &deposit{address: address, script: script, created: s.now()}
		s.memory.deposits[key] = d
	}
	if d.invoice == "" || s.opts.Profile == Reference && !s.now().Before(d.invoiced.Add(invoiceLife)) {
		d.invoice, d.invoiced = s.blindedInvoice(nil, nil), s.now()
	}
	return d, nil
}

func (s *Server) depositPaid(n *node, d *deposit) bool {
	return len(s.chain.Unspent(func(script []byte) bool { return string(script) == string(d.script) })) > 0
}

// blindedInvoice returns an RGB invoice to a fresh blinded seal; contract and units may be nil.
func (s *Server) blindedInvoice(contract *rgb.ContractID, units *uint64) string {
	seal := s.entropy.next("blinded seal")
	expiry := s.now().Add(depositLife).Truncate(time.Second)
	invoice := rgb.Invoice{
		Contract: contract, Amount: units, Network: rgb.NetOf(s.opts.Network), Expiry: &expiry,
		Beneficiary: rgb.Beneficiary{Kind: rgb.BlindedSeal, Payload: seal[:]},
		Endpoints:   []string{"rpcs://proxy.sandbox.invalid/json-rpc"},
	}
	return invoice.String()
}

type unusedBody struct {
	Addresses []depositBody `json:"addresses"`
}

func (s *Server) unusedAddresses(c *call) answer {
	body := unusedBody{Addresses: []depositBody{}}
	if d := s.memory.deposits[s.depositKey(c.wallet)]; d != nil && !s.depositPaid(c.wallet.node, d) {
		body.Addresses = append(body.Addresses, d.body())
	}
	return ok(body)
}

// transfer is an on-chain movement of an asset in the node's list.
type transfer struct {
	index     int
	assetID   string
	amount    int64
	invoice   string
	recipient string
	txid      string
	at        time.Time
}

// sentTo says whether the node sent to a recipient before; RGB recipients are good for one transfer.
func (n *node) sentTo(recipient string) bool {
	for _, t := range n.transfers {
		if t.recipient == recipient {
			return true
		}
	}
	return false
}

func (s *Server) recordTransfer(taken *send) {
	n := taken.wallet.node
	t := &transfer{
		index: len(n.transfers) + 1, assetID: taken.order.asset.ID, amount: taken.order.asset.Amount, invoice: taken.order.destination,
		txid: *taken.txid, at: s.now(),
	}
	if invoice, err := rgb.ParseInvoice(t.invoice); err == nil {
		t.recipient = invoice.Beneficiary.String()
	}
	n.transfers = append(n.transfers, t)
}

// transferBody is an item of listtransfers: status 2 is Settled, kind 3 Send.
type transferBody struct {
	Idx                 int              `json:"idx"`
	BatchTransferIdx    int              `json:"batch_transfer_idx"`
	CreatedAt           int64            `json:"created_at"`
	UpdatedAt           int64            `json:"updated_at"`
	Status              int              `json:"status"`
	Amount              *int64           `json:"amount,omitempty"`
	RequestedAssignment *assignmentBody  `json:"requested_assignment,omitempty"`
	Assignments         []assignmentBody `json:"assignments,omitempty"`
	Kind                int              `json:"kind"`
	Txid                string           `json:"txid"`
	RecipientID         string           `json:"recipient_id"`
	ReceiveUtxo         *string          `json:"receive_utxo"`
	ChangeUtxo          *string          `json:"change_utxo"`
	Expiration          *int64           `json:"expiration"`
	InvoiceString       string           `json:"invoice_string,omitempty"`
	TransportEndpoints  []endpointBody   `json:"transport_endpoints"`
}

type assignmentBody struct {
	Amount int64 `json:"amount"`
}

type endpointBody struct {
	Endpoint      string `json:"endpoint"`
	TransportType int    `json:"transport_type"`
	Used          bool   `json:"used"`
}

func readListTransfers(f *fields) *string {
	if raw, present := f.get("asset_id", false); !present || string(raw) == "null" {
		return nil
	}
	id := f.text("asset_id")
	return &id
}

func (s *Server) listTransfers(c *call) answer {
	assetID, refusal := readBody(c, readListTransfers)
	if refusal != nil {
		return *refusal
	}
	bodies := []transferBody{}
	if assetID == nil { // the transfers of no asset, of which there are none
		return ok(bodies)
	}
	n := c.wallet.node
	if n.asset(*assetID) == nil {
		return libraryError("AssetNotFound", "Asset with id "+*assetID+" not found")
	}
	for _, t := range n.transfers {
		if t.assetID == *assetID {
			bodies = append(bodies, s.transferBody(t))
		}
	}
	return ok(bodies)
}

func (s *Server) transferBody(t *transfer) transferBody {
	const settled, send = 2, 3
	body := transferBody{
		Idx: t.index, BatchTransferIdx: t.index, CreatedAt: t.at.Unix(), UpdatedAt: t.at.Unix(), Status: settled, Kind: send,
		Txid: t.txid, RecipientID: t.recipient, TransportEndpoints: []endpointBody{},
	}
	if s.opts.Profile == Documented {
		body.Amount = &t.amount
		return body
	}
	body.RequestedAssignment = &assignmentBody{t.amount}
	body.Assignments = []assignmentBody{{t.amount}}
	body.InvoiceString = t.invoice
	return body
}

type transactionBody struct {
	Type         int            `json:"transaction_type"`
	Txid         string         `json:"txid"`
	Received     amount.Sat     `json:"received"`
	Sent         amount.Sat     `json:"sent"`
	Fee          amount.Sat     `json:"fee"`
	Confirmation *blockTimeBody `json:"confirmation_time"`
}

type blockTimeBody struct {
	Height    int32 `json:"height"`
	Timestamp int64 `json:"timestamp"`
}

// listTransactions lists the node's transactions, of the documented service the wallet's own too.
func (s *Server) listTransactions(c *call) answer {
	owners := []*chain.Account{c.wallet.node.coins.Vanilla, c.wallet.node.coins.Colored}
	if s.opts.Profile == Documented {
		owners = append(owners, c.wallet.keys.Vanilla, c.wallet.keys.Colored)
	}
	bodies := []transactionBody{}
	for _, tx := range s.chain.History(func(script []byte) bool {
		for _, account := range owners {
			if account.Owns(script) {
				return true
			}
		}
		return false
	}) {
		body := transactionBody{Txid: tx.Txid.String(), Received: tx.Received, Sent: tx.Sent, Fee: tx.Fee}
		if tx.Height > 0 {
			body.Confirmation = &blockTimeBody{tx.Height, tx.Time.Unix()}
		}
		bodies = append(bodies, body)
	}
	return ok(bodies)
}

// IssueRGBInvoice returns an RGB invoice of the counterparty, to a fresh blinded seal. Contract and units may be nil.
func (s *Server) IssueRGBInvoice(assetID string, units int64) (string, error) {
	s.lock()
	defer s.unlock()
	var contract *rgb.ContractID
	if assetID != "" {
		id, err := rgb.ParseAssetID(assetID)
		if err != nil {
			return "", err
		}
		contract = &id
	}
	var asked *uint64
	if units > 0 {
		n := uint64(units)
		asked = &n
	}
	return s.blindedInvoice(contract, asked), nil
}

// AssetIDs returns the ids of the assets that every node holds, in the order of Options.Assets.
func (s *Server) AssetIDs() []string {
	s.lock()
	defer s.unlock()
	ids := make([]string, 0, len(s.opts.Assets))
	for _, a := range s.opts.Assets {
		ids = append(ids, s.entropy.assetID(a.Ticker))
	}
	return ids
}

// NewAddress returns a fresh P2TR address of the counterparty, for a wallet to pay.
func (s *Server) NewAddress() (string, error) {
	s.lock()
	defer s.unlock()
	return s.newAddress()
}

func (s *Server) newAddress() (string, error) {
	s.payee.addresses++
	key := txscript.ComputeTaprootKeyNoScript(s.entropy.key(fmt.Sprintf("address %d", s.payee.addresses)).PubKey())
	addr, err := address.NewAddressTaproot(schnorr.SerializePubKey(key), s.params)
	if err != nil {
		return "", err
	}
	return addr.EncodeAddress(), nil
}
