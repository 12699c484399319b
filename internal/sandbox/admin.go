package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
)

// AdminHandler returns the admin API, under /admin/: what the Go methods of Server do, as JSON. docs/sandbox.md describes it. It asks
// nobody who they are; keep it where only tests and demos reach it.
func (s *Server) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"GET /admin/info":            s.adminInfo,
		"GET /admin/ledger":          s.adminLedger,
		"GET /admin/requests":        func(*http.Request) (any, error) { return s.Requests(), nil },
		"GET /admin/wallets":         func(*http.Request) (any, error) { return s.Wallets(), nil },
		"GET /admin/faults":          func(*http.Request) (any, error) { return s.Faults(), nil },
		"POST /admin/faults":         s.adminAddFault,
		"DELETE /admin/faults":       func(*http.Request) (any, error) { s.ClearFaults(0); return done, nil },
		"DELETE /admin/faults/{id}":  s.adminClearFault,
		"POST /admin/mine":           s.adminMine,
		"POST /admin/skip":           s.adminSkip,
		"POST /admin/fund":           s.adminFund,
		"POST /admin/invoices":       s.adminIssue,
		"POST /admin/rgb-invoices":   s.adminIssueRGB,
		"POST /admin/addresses":      s.adminAddress,
		"POST /admin/pay":            s.adminPay,
		"POST /admin/payee":          s.adminPayee,
		"POST /admin/resolve":        s.adminResolve,
		"POST /admin/fail-invoice":   s.adminInvoice(s.FailInvoice),
		"POST /admin/forget-invoice": s.adminInvoice(s.ForgetInvoice),
		"POST /admin/foreign-begin":  s.adminForeignBegin,
		"POST /admin/listpayments":   s.adminListPayments,
		"POST /admin/restart":        func(*http.Request) (any, error) { s.Restart(); return done, nil },
		"POST /admin/reset":          func(*http.Request) (any, error) { s.Reset(); return done, nil },
	} {
		mux.HandleFunc(pattern, adminJSON(handle))
	}
	return mux
}

type adminDone struct {
	Done bool `json:"done"`
}

var done = adminDone{true}

func adminJSON(handle func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := handle(r)
		status := http.StatusOK
		if err != nil {
			status = http.StatusBadRequest
			value = struct {
				Error string `json:"error"`
			}{err.Error()}
		}
		var body bytes.Buffer
		encoder := json.NewEncoder(&body)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(value); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(body.Bytes())
	}
}

// readAdmin reads the request's JSON; no body leaves out as it is, and an unknown member is an error.
func readAdmin(r *http.Request, out any) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(out); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	return nil
}

// Info says what a sandbox is and how far it has come.
type Info struct {
	Profile     Profile         `json:"profile"`
	Network     bitcoin.Network `json:"network"`
	Seed        uint64          `json:"seed"`
	Now         time.Time       `json:"now"`
	NextEvent   *time.Time      `json:"next_event"` // null where nothing is planned
	Height      int32           `json:"height"`
	Mempool     int             `json:"mempool"`
	Wallets     int             `json:"wallets"`
	Requests    int             `json:"requests"`
	Movements   int             `json:"movements"`
	AssetIDs    []string        `json:"asset_ids"`
	ListPayment bool            `json:"listpayments"`
}

// Info returns the state of the sandbox in numbers.
func (s *Server) Info() Info {
	ids := s.AssetIDs()
	s.lock()
	defer s.unlock()
	info := Info{
		Profile: s.opts.Profile, Network: s.opts.Network, Seed: s.opts.Seed, Now: s.now(), Height: s.chain.Height(),
		Mempool: len(s.chain.Mempool()), Wallets: len(s.walletOrder), Requests: len(s.ledger.requests), Movements: len(s.ledger.entries),
		AssetIDs: ids, ListPayment: s.listing,
	}
	if at, planned := s.agenda.next(); planned {
		info.NextEvent = &at
	}
	return info
}

func (s *Server) adminInfo(*http.Request) (any, error) { return s.Info(), nil }

// WalletInfo is a registered wallet: its keys, and what they own on chain.
type WalletInfo struct {
	Xpub        string     `json:"xpub_van"`
	Fingerprint string     `json:"master_fingerprint"`
	Address     string     `json:"address"`
	VanillaSats amount.Sat `json:"vanilla_sats"`
	ColoredSats amount.Sat `json:"colored_sats"`
	Node        string     `json:"node_pubkey"`
	Outbound    amount.Sat `json:"outbound_sats"`
}

// Wallets returns the registered wallets in the order of their registration.
func (s *Server) Wallets() []WalletInfo {
	s.lock()
	defer s.unlock()
	infos := []WalletInfo{}
	for _, w := range s.walletOrder {
		info := WalletInfo{Xpub: w.xpub, Fingerprint: w.fingerprint, Node: w.node.pubkey, Outbound: w.node.outbound()}
		info.Address, _ = w.keys.DepositAddress(s.chain) // registering has derived it
		_, info.VanillaSats = w.keys.Vanilla.Balance(s.chain)
		_, info.ColoredSats = w.keys.Colored.Balance(s.chain)
		infos = append(infos, info)
	}
	return infos
}

// adminLedger lists the movements; ?key= and ?kind= choose.
func (s *Server) adminLedger(r *http.Request) (any, error) {
	key, kind := r.URL.Query().Get("key"), Kind(r.URL.Query().Get("kind"))
	entries := []Entry{}
	for _, entry := range s.Ledger() {
		if (key == "" || entry.Key == key) && (kind == "" || entry.Kind == kind) {
			entries = append(entries, entry)
		}
	}
	return entries, nil
}

func (s *Server) adminAddFault(r *http.Request) (any, error) {
	var f Fault
	if err := readAdmin(r, &f); err != nil {
		return nil, err
	}
	id, err := s.AddFault(f)
	return struct {
		ID int `json:"id"`
	}{id}, err
}

func (s *Server) adminClearFault(r *http.Request) (any, error) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 {
		return nil, errors.New("a fault's id is a number from 1")
	}
	s.ClearFaults(id)
	return done, nil
}

func (s *Server) adminMine(r *http.Request) (any, error) {
	request := struct {
		Blocks int `json:"blocks"`
	}{1}
	if err := readAdmin(r, &request); err != nil {
		return nil, err
	}
	if request.Blocks < 1 || request.Blocks > 1_000 {
		return nil, errors.New("blocks is 1 to 1000")
	}
	s.Mine(request.Blocks)
	return struct {
		Height int32 `json:"height"`
	}{s.Height()}, nil
}

func (s *Server) adminSkip(r *http.Request) (any, error) {
	var request struct {
		By Duration `json:"by"`
	}
	if err := readAdmin(r, &request); err != nil {
		return nil, err
	}
	if request.By <= 0 {
		return nil, errors.New(`by is how far to skip, such as "10m"`)
	}
	s.Skip(time.Duration(request.By))
	return s.Info(), nil
}

func (s *Server) adminFund(r *http.Request) (any, error) {
	var request struct {
		Xpub        string     `json:"xpub_van"`
		Colored     bool       `json:"colored"`
		Address     string     `json:"address"`
		Unconfirmed bool       `json:"unconfirmed"`
		AmountSats  amount.Sat `json:"amount_sats"`
	}
	if err := readAdmin(r, &request); err != nil {
		return nil, err
	}
	if (request.Xpub == "") == (request.Address == "") {
		return nil, errors.New("fund either xpub_van or address")
	}
	if request.Xpub != "" {
		return done, s.FundWallet(request.Xpub, request.Colored, request.AmountSats)
	}
	txid, err := s.FundAddress(request.Address, request.AmountSats, !request.Unconfirmed)
	return struct {
		Txid string `json:"txid"`
	}{txid}, err
}

func (s *Server) adminIssue(r *http.Request) (any, error) {
	var request struct {
		AmountSats    amount.Sat `json:"amount_sats"`
		Asset         *Asset     `json:"asset"`
		ExpirySeconds int64      `json:"expiry_seconds"`
		Description   string     `json:"description"`
	}
	if err := readAdmin(r, &request); err != nil {
		return nil, err
	}
	if request.ExpirySeconds < 0 || request.ExpirySeconds > maxExpirySeconds {
		return nil, errors.New("expiry_seconds is out of range")
	}
	text, err := s.IssueInvoice(NewInvoice{
		AmountSats: request.AmountSats, Asset: request.Asset, Description: request.Description,
		Expiry: time.Duration(request.ExpirySeconds) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	decoded, err := bolt11.Decode(text)
	if err != nil {
		return nil, err
	}
	return struct {
		Invoice     string    `json:"invoice"`
		PaymentHash string    `json:"payment_hash"`
		ExpiresAt   time.Time `json:"expires_at"`
	}{text, decoded.PaymentHashHex(), decoded.ExpiresAt()}, nil
}

func (s *Server) adminIssueRGB(r *http.Request) (any, error) {
	var request struct {
		AssetID string `json:"asset_id"`
		Amount  int64  `json:"amount"`
	}
	if err := readAdmin(r, &request); err != nil {
		return nil, err
	}
	text, err := s.IssueRGBInvoice(request.AssetID, request.Amount)
	return struct {
		Invoice string `json:"invoice"`
	}{text}, err
}

func (s *Server) adminAddress(*http.Request) (any, error) {
	address, err := s.NewAddress()
	return struct {
		Address string `json:"address"`
	}{address}, err
}

type paymentHashBody struct {
	PaymentHash string `json:"payment_hash"`
}

func (s *Server) adminPay(r *http.Request) (any, error) {
	var request struct {
		Invoice string `json:"invoice"`
		Late    bool   `json:"late"`
	}
	if err := readAdmin(r, &request); err != nil {
		return nil, err
	}
	hash, err := s.PayInvoice(request.Invoice, request.Late)
	return paymentHashBody{hash}, err
}

func (s *Server) adminPayee(r *http.Request) (any, error) {
	var request struct {
		PaymentHash string    `json:"payment_hash"`
		Mode        PayeeMode `json:"mode"`
	}
	if err := readAdmin(r, &request); err != nil {
		return nil, err
	}
	return done, s.SetPayee(request.PaymentHash, request.Mode)
}

func (s *Server) adminResolve(r *http.Request) (any, error) {
	var request struct {
		PaymentHash string `json:"payment_hash"`
		Succeeded   bool   `json:"succeeded"`
	}
	if err := readAdmin(r, &request); err != nil {
		return nil, err
	}
	return done, s.Resolve(request.PaymentHash, request.Succeeded)
}

func (s *Server) adminInvoice(do func(hash string) error) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var request paymentHashBody
		if err := readAdmin(r, &request); err != nil {
			return nil, err
		}
		return done, do(request.PaymentHash)
	}
}

func (s *Server) adminForeignBegin(r *http.Request) (any, error) {
	var request struct {
		Xpub    string `json:"xpub_van"`
		Onchain bool   `json:"onchain"`
	}
	if err := readAdmin(r, &request); err != nil {
		return nil, err
	}
	return done, s.ForeignBegin(request.Xpub, request.Onchain)
}

func (s *Server) adminListPayments(r *http.Request) (any, error) {
	var request struct {
		On bool `json:"on"`
	}
	if err := readAdmin(r, &request); err != nil {
		return nil, err
	}
	s.SetListPayments(request.On)
	return done, nil
}
