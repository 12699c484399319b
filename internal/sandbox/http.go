package sandbox

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Operation is the operationId of a call in the OpenAPI document, or a call that the service makes of its node.
type Operation string

// The operations of the API.
const (
	RegisterWallet   Operation = "registerWallet"
	CreateInvoice    Operation = "createLightningInvoice"
	ReceiveRequest   Operation = "getLightningReceiveRequest"
	FeeEstimate      Operation = "getLightningSendFeeEstimate"
	PayBegin         Operation = "payLightningInvoiceBegin"
	PayEnd           Operation = "payLightningInvoiceEnd"
	SendRequest      Operation = "getLightningSendRequest"
	ListPayments     Operation = "listLightningPayments"
	OnchainReceive   Operation = "onchainReceive"
	UnusedAddresses  Operation = "getUnusedDepositAddresses"
	Balance          Operation = "getBalance"
	Settle           Operation = "settle"
	OnchainBegin     Operation = "onchainSendBegin"
	OnchainEnd       Operation = "onchainSendEnd"
	OnchainStatus    Operation = "getOnchainSendStatus"
	ListTransfers    Operation = "listOnchainTransfers"
	ListTransactions Operation = "listTransactions" // in no document, served all the same
)

type route struct {
	method string
	path   string // a trailing slash takes one more segment, the id
	op     Operation
	handle func(*Server, *call) answer
}

func routes(profile Profile) []route {
	status := "/onchain-send/"
	if profile == Reference {
		status = "/lightning/onchain-send/"
	}
	return []route{
		{http.MethodPost, "/wallet/register", RegisterWallet, (*Server).register},
		{http.MethodPost, "/lightning/create-invoice", CreateInvoice, (*Server).createInvoice},
		{http.MethodGet, "/lightning/receive-request/", ReceiveRequest, (*Server).receiveRequest},
		{http.MethodPost, "/lightning/fee-estimate", FeeEstimate, (*Server).feeEstimate},
		{http.MethodPost, "/lightning/pay-invoice-begin", PayBegin, (*Server).payBegin},
		{http.MethodPost, "/lightning/pay-invoice-end", PayEnd, (*Server).payEnd},
		{http.MethodGet, "/lightning/send-request/", SendRequest, (*Server).sendRequest},
		{http.MethodGet, "/lightning/listpayments", ListPayments, (*Server).listPayments},
		{http.MethodGet, "/lightning/onchain-receive", OnchainReceive, (*Server).onchainReceive},
		{http.MethodGet, "/lightning/unused-addresses", UnusedAddresses, (*Server).unusedAddresses},
		{http.MethodGet, "/lightning/balance", Balance, (*Server).balance},
		{http.MethodPost, "/lightning/settle", Settle, (*Server).settle},
		{http.MethodPost, "/lightning/onchain-send-begin", OnchainBegin, (*Server).onchainBegin},
		{http.MethodPost, "/lightning/onchain-send-end", OnchainEnd, (*Server).onchainEnd},
		{http.MethodGet, status, OnchainStatus, (*Server).onchainStatus},
		{http.MethodPost, "/lightning/listtransfers", ListTransfers, (*Server).listTransfers},
		{http.MethodGet, "/lightning/listtransactions", ListTransactions, (*Server).listTransactions},
	}
}

// match finds the route of a request, or the answer of the framework where there is none.
func match(table []route, r *http.Request) (found *route, id string, refusal *answer) {
	var allowed string
	for i, candidate := range table {
		rest, under := strings.CutPrefix(r.URL.EscapedPath(), candidate.path)
		if takesID := strings.HasSuffix(candidate.path, "/"); !under || takesID == (rest == "") || strings.Contains(rest, "/") {
			continue
		}
		if candidate.method != r.Method {
			allowed = candidate.method
			continue
		}
		if id, err := url.PathUnescape(rest); err == nil {
			return &table[i], id, nil
		}
	}
	if allowed != "" {
		a := detailError(http.StatusMethodNotAllowed, "Method Not Allowed")
		a.header = http.Header{"Allow": {allowed}}
		return nil, "", &a
	}
	if shorter, cut := strings.CutSuffix(r.URL.Path, "/"); cut && shorter != "" {
		trimmed := *r
		trimmed.URL = &url.URL{Path: shorter}
		if found, _, _ := match(table, &trimmed); found != nil {
			location := url.URL{Scheme: "http", Host: r.Host, Path: shorter, RawQuery: r.URL.RawQuery}
			a := answer{status: http.StatusTemporaryRedirect, header: http.Header{"Location": {location.String()}}}
			return nil, "", &a
		}
	}
	a := detailError(http.StatusNotFound, "Not Found")
	return nil, "", &a
}

// call is one request on its way through the service.
type call struct {
	s        *Server
	ctx      context.Context
	request  *http.Request
	body     []byte
	route    *route
	id       string // of the path
	identity identity
	wallet   *wallet
	// entry is the request's place in the log.
	entry int
	// memory is that of the process that took the call on.
	memory *memory
	// patient is false for a request that is processed by an event: it must not wait for the clock.
	patient bool
	// claim is how a begun PSBT lies about an asset; empty where it does not.
	claim string
}

func (c *call) effect(effect Effect, key string) {
	c.s.ledger.requests[c.entry].Effect = effect
	c.s.ledger.requests[c.entry].Key = key
}

// wait lets d pass while others are served. Where the service restarts meanwhile, the call dies with its process: wait panics with
// killed.
func (c *call) wait(d time.Duration) {
	if d <= 0 || !c.patient {
		return
	}
	c.s.unlock()
	c.s.opts.Sleep(c.ctx, d)
	c.s.lock()
	if c.memory != c.s.memory {
		panic(killed{})
	}
}

type killed struct{}

// maxBody is far more than any body of the API; a longer one is cut, and so malformed.
const maxBody = 1 << 20

// Handler returns the API. Faults that break a connection make it panic with http.ErrAbortHandler, which net/http turns into a
// closed connection.
func (s *Server) Handler() http.Handler {
	table := routes(s.opts.Profile)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
		if err != nil {
			panic(http.ErrAbortHandler) // the client went away before the request was complete
		}
		s.deliver(table, r, body).write(w)
	})
}

// deliver takes a request through the faults to the service, and the answer back through them.
func (s *Server) deliver(table []route, r *http.Request, body []byte) delivery {
	s.lock()
	defer s.unlock()
	found, id, refusal := match(table, r)
	c := &call{s: s, ctx: r.Context(), request: r, body: body, route: found, id: id, memory: s.memory, patient: true}
	c.identity, _ = identify(r)
	c.log()
	if found == nil {
		s.ledger.requests[c.entry].Status = refusal.status
		return delivery{answer: *refusal}
	}
	return s.throughFaults(c)
}

func (c *call) log() {
	request := Request{At: c.s.now(), Method: c.request.Method, Path: c.request.URL.Path, Wallet: c.identity.vanilla}
	if c.route != nil {
		request.Operation = c.route.op
	}
	c.entry = c.s.ledger.log(request)
}

// process is the service without faults: headers, wallet, body, route, in this order.
func (c *call) process() answer {
	a := c.dispatch()
	c.s.ledger.requests[c.entry].Status = a.status
	return a
}

func (c *call) dispatch() answer {
	_, violations := identify(c.request)
	missingHeader := len(violations) > 0
	if !missingHeader && c.route.op != RegisterWallet {
		c.wallet = c.s.wallets[c.identity.vanilla]
		if c.wallet == nil && c.s.opts.Profile == Reference {
			return errNoWallet(c.identity.vanilla)
		}
		if c.wallet == nil {
			return detailError(http.StatusBadRequest, "Wallet not initialized")
		}
	}
	if missingHeader {
		// The framework reports the body's violations in the same list.
		if read := bodyReaders[c.route.op]; read != nil {
			if body := parseBody(c.request, c.body, &violations); body != nil {
				read(body)
			}
		}
		return invalid(violations)
	}
	return c.route.handle(c.s, c)
}

// bodyReaders validate the body of each operation that has one, for the sake of what they report.
var bodyReaders = map[Operation]func(*fields){
	CreateInvoice: func(f *fields) { readCreateInvoice(f) },
	FeeEstimate:   func(f *fields) { readFeeEstimate(f) },
	PayBegin:      func(f *fields) { readPayBegin(f) },
	PayEnd:        func(f *fields) { readEnd(f) },
	OnchainBegin:  func(f *fields) { readOnchainBegin(f) },
	OnchainEnd:    func(f *fields) { readEnd(f) },
	ListTransfers: func(f *fields) { readListTransfers(f) },
}

// readBody returns what read makes of the call's body, or the 422 that lists everything wrong with it.
func readBody[T any](c *call, read func(*fields) T) (T, *answer) {
	var violations []violation
	var value T
	if f := parseBody(c.request, c.body, &violations); f != nil {
		value = read(f)
	}
	if len(violations) > 0 {
		refusal := invalid(violations)
		return value, &refusal
	}
	return value, nil
}

// encode returns the body of a as it goes over the wire; a redirect has none.
func (a answer) encode() []byte {
	if a.status == http.StatusTemporaryRedirect {
		return nil
	}
	body, err := json.Marshal(a.body)
	if err != nil {
		panic(err) // bodies are structs of this package
	}
	return body
}
