package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/sandbox/sandboxtest"
)

const zeroHash = "0000000000000000000000000000000000000000000000000000000000000000"

// TestReferenceErrorBodies holds the recorded error bodies of the public reference server, byte for byte.
func TestReferenceErrorBodies(t *testing.T) {
	missing := func(loc, input string) string {
		return `{"detail":[{"type":"missing","loc":` + loc + `,"msg":"Field required","input":` + input + `}]}`
	}
	violation := func(kind, loc, message, input string) string {
		return `{"detail":[{"type":"` + kind + `","loc":` + loc + `,"msg":"` + message + `","input":` + input + `}]}`
	}
	tests := map[string]struct {
		call   string // METHOD PATH
		body   string
		edit   func(http.Header)
		fault  sandbox.Fault
		status int
		want   string
	}{
		"no such path":               {call: "GET /lightning/nothing", status: 404, want: `{"detail":"Not Found"}`},
		"the documented status path": {call: "GET /onchain-send/x", status: 404, want: `{"detail":"Not Found"}`},
		"another method":             {call: "GET /lightning/settle", status: 405, want: `{"detail":"Method Not Allowed"}`},
		"a trailing slash":           {call: "GET /lightning/balance/", status: 307},
		"a header is missing": {
			call: "GET /lightning/balance", edit: func(h http.Header) { h.Del("xpub-van") },
			status: 422, want: missing(`["header","xpub-van"]`, "null"),
		},
		"a header and the body are missing": {
			call: "POST /lightning/create-invoice", edit: func(h http.Header) { h.Del("master-fingerprint") }, status: 422,
			want: `{"detail":[{"type":"missing","loc":["header","master-fingerprint"],"msg":"Field required","input":null},` +
				`{"type":"missing","loc":["body"],"msg":"Field required","input":null}]}`,
		},
		"an unregistered wallet comes before an invalid body": {
			call: "POST /lightning/create-invoice", body: "{", edit: func(h http.Header) { h.Set("xpub-van", "tpubX") },
			status: 404, want: `{"error":"Wallet for client 'tpubX' does not exist."}`,
		},
		"a null body":     {call: "POST /lightning/create-invoice", body: "null", status: 422, want: missing(`["body"]`, "null")},
		"a missing field": {call: "POST /lightning/pay-invoice-begin", body: `{}`, status: 422, want: missing(`["body","invoice"]`, "{}")},
		"a missing nested field": {
			call: "POST /lightning/create-invoice", body: `{"asset":{"asset_id":"rgb:x"}}`,
			status: 422, want: missing(`["body","asset","amount"]`, `{"asset_id":"rgb:x"}`),
		},
		"two violations in one list": {
			call: "POST /lightning/onchain-send-begin", body: `{"amount_sats":"x"}`, status: 422,
			want: `{"detail":[{"type":"missing","loc":["body","address_or_rgbinvoice"],"msg":"Field required","input":{"amount_sats":"x"}},` +
				`{"type":"int_parsing","loc":["body","amount_sats"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"x"},` +
				`{"type":"missing","loc":["body","fee_rate"],"msg":"Field required","input":{"amount_sats":"x"}}]}`,
		},
		"a fraction": {
			call: "POST /lightning/create-invoice", body: `{"amount_sats":1.5}`, status: 422,
			want: violation("int_from_float", `["body","amount_sats"]`, "Input should be a valid integer, got a number with a fractional part", "1.5"),
		},
		"an object for an integer": {
			call: "POST /lightning/create-invoice", body: `{"amount_sats":{}}`, status: 422,
			want: violation("int_type", `["body","amount_sats"]`, "Input should be a valid integer", "{}"),
		},
		"null for an integer with a default": {
			call: "POST /lightning/pay-invoice-begin", body: `{"invoice":"x","max_fee_sats":null}`, status: 422,
			want: violation("int_type", `["body","max_fee_sats"]`, "Input should be a valid integer", "null"),
		},
		"a number for a string": {
			call: "POST /lightning/pay-invoice-begin", body: `{"invoice":5}`, status: 422,
			want: violation("string_type", `["body","invoice"]`, "Input should be a valid string", "5"),
		},
		"a word for a boolean": {
			call: "POST /lightning/onchain-send-begin", body: `{"address_or_rgbinvoice":"a","fee_rate":1,"deduct_fee_from_amount":"maybe"}`, status: 422,
			want: violation("bool_parsing", `["body","deduct_fee_from_amount"]`, "Input should be a valid boolean, unable to interpret input", `"maybe"`),
		},
		"a string for an object": {
			call: "POST /lightning/create-invoice", body: `{"asset":"rgb"}`, status: 422,
			want: violation("model_attributes_type", `["body","asset"]`, "Input should be a valid dictionary or object to extract fields from", `"rgb"`),
		},
		"a body of plain text": {
			call: "POST /lightning/create-invoice", body: `{}`, edit: func(h http.Header) { h.Set("Content-Type", "text/plain") }, status: 422,
			want: violation("model_attributes_type", `["body"]`, "Input should be a valid dictionary or object to extract fields from", `"{}"`),
		},
		"no JSON": {
			call: "POST /lightning/create-invoice", body: `{"amount_sats": ]}`, status: 422,
			want: `{"detail":[{"type":"json_invalid","loc":["body",16],"msg":"JSON decode error","input":{},"ctx":{"error":"Expecting value"}}]}`,
		},
		"neither amount nor asset": {
			call: "POST /lightning/create-invoice", body: `{}`, status: 400, want: `{"detail":"amount_sats is required for BTC invoices"}`,
		},
		"an RGB invoice without asset": {
			call: "POST /lightning/onchain-send-begin", body: `{"address_or_rgbinvoice":"rgb:x","fee_rate":1}`,
			status: 400, want: `{"detail":"asset is required when address_or_rgbinvoice is an RGB invoice"}`,
		},
		"an RGB: in capitals is an address": {
			call: "POST /lightning/onchain-send-begin", body: `{"address_or_rgbinvoice":"RGB:x","fee_rate":1}`,
			status: 400, want: `{"detail":"amount_sats is required for BTC withdrawal"}`,
		},
		"a negative on-chain amount": {
			call: "POST /lightning/onchain-send-begin", body: `{"address_or_rgbinvoice":"x","amount_sats":-5,"fee_rate":1}`, status: 500,
			want: `{"error":"InternalServerError","message":"[Manager] An unexpected error occurred. Please try again later."}`,
		},
		"an on-chain amount of nothing": {
			call: "POST /lightning/onchain-send-begin", body: `{"address_or_rgbinvoice":"x","amount_sats":0,"fee_rate":1}`,
			status: 422, want: `{"error":"InvalidAmountZero","message":"Invalid amount: zero","status":422}`,
		},
		"more than the wallet has": {
			call: "POST /lightning/onchain-send-begin", body: `{"address_or_rgbinvoice":"x","amount_sats":90000000,"fee_rate":1}`, status: 422,
			want: `{"error":"InsufficientBitcoins","message":"Insufficient bitcoin funds: needed '90001420', available '10000000'","status":422}`,
		},
		"no PSBT at all": {
			call: "POST /lightning/pay-invoice-end", body: `{"signed_psbt":"x"}`,
			status: 400, want: `{"error":"InvalidPsbt","message":"Invalid PSBT: not one PSBT in base64","status":400}`,
		},
		"an on-chain end without begin, whatever the PSBT": {
			call: "POST /lightning/onchain-send-end", body: `{"signed_psbt":"x"}`, status: 400, want: `{"detail":"` + noPSBT + `"}`,
		},
		"an unknown payment": {
			call: "GET " + sendRequest + zeroHash, status: 403,
			want: `{"detail":{"error":"Payment not found: ` + zeroHash + `","code":403,"name":"PaymentNotFound"}}`,
		},
		"an id that is no payment hash": {
			call: "GET " + sendRequest + "abc", status: 400,
			want: `{"detail":{"error":"Invalid payment hash: abc","code":400,"name":"InvalidPaymentHash"}}`,
		},
		"an unknown receive id": {call: "GET /lightning/receive-request/x", status: 200, want: "null"},
		"an unknown send id":    {call: "GET " + onchainStatus + "x", status: 404, want: `{"detail":"Withdrawal not found"}`},
		"listpayments":          {call: "GET /lightning/listpayments", status: 405, want: `{"detail":{"error":"Method Not Allowed","code":405}}`},
		"an unknown asset": {
			call: "POST /lightning/listtransfers", body: `{"asset_id":"rgb:x"}`,
			status: 404, want: `{"error":"AssetNotFound","message":"Asset with id rgb:x not found","status":404}`,
		},
		"an invoice of an unknown asset": {
			call: "POST /lightning/create-invoice", body: `{"asset":{"asset_id":"rgb:x","amount":1}}`,
			status: 403, want: `{"detail":{"error":"Unknown RGB contract ID","code":403,"name":"UnknownContractId"}}`,
		},
		"a key of another network": {
			call: "POST /wallet/register", edit: func(h http.Header) { h.Set("xpub-van", "xpub") },
			status: 400, want: `{"error":"InvalidPubkey","message":"Invalid pubkey: not an account key of this network","status":400}`,
		},
		"no node": {
			call: "GET /lightning/balance", fault: sandbox.Fault{Kind: sandbox.FaultDropRequest, Operation: sandbox.NodeBalance},
			status: 500, want: `{"detail":"Failed to communicate with RLN node: [Errno 111] Connection refused"}`,
		},
		"a node that answers without JSON": {
			call: "GET /lightning/balance", fault: sandbox.Fault{Kind: sandbox.FaultErrorBefore, Operation: sandbox.NodeBalance},
			status: 502, want: `{"detail":{"error":"Bad Gateway","code":502}}`,
		},
		"a locked node": {
			call: "GET /lightning/balance", fault: sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.NodeBalance, Name: "LockedNode"},
			status: 403, want: `{"detail":{"error":"LockedNode","code":403,"name":"LockedNode"}}`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := reference(t)
			if tc.fault.Kind != "" {
				f.fault(tc.fault)
			}
			method, path, _ := strings.Cut(tc.call, " ")
			request := httptest.NewRequest(method, path, strings.NewReader(tc.body))
			request.Header = f.client.Header()
			if tc.edit != nil {
				tc.edit(request.Header)
			}
			recorder := httptest.NewRecorder()
			f.server.Handler().ServeHTTP(recorder, request)
			if recorder.Code != tc.status || recorder.Body.String() != tc.want {
				t.Errorf("got  %d %s\nwant %d %s", recorder.Code, recorder.Body, tc.status, tc.want)
			}
		})
	}
}

func TestLaxValidation(t *testing.T) {
	f := reference(t)
	for _, sats := range []string{`5000`, `"5000"`, `5000.0`, `" 5000 "`} {
		var created struct {
			AmountSats int64 `json:"amount_sats"`
		}
		f.client.MustPost("/lightning/create-invoice", `{"amount_sats":`+sats+`,"expiry_seconds":true,"unknown":{}}`, &created)
		if created.AmountSats != 5_000 {
			t.Errorf("amount_sats %s is read as %d, want 5000", sats, created.AmountSats)
		}
	}
}

func TestTrailingSlashRedirects(t *testing.T) {
	f := reference(t)
	response, _, err := f.client.Do(http.MethodPost, "/lightning/settle/", "{}")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := response.Header.Get("Location"), "http://sandbox.invalid/lightning/settle"; response.StatusCode != 307 || got != want {
		t.Errorf("got %d to %q, want 307 to %q", response.StatusCode, got, want)
	}
}

func TestDocumentedRefusesUnregisteredWallets(t *testing.T) {
	f := start(t, sandbox.Options{})
	code, body := sandboxtest.NewClient(t, f.server, "bob").Get("/lightning/balance")
	wantAnswer(t, code, body, 400, `{"detail":"Wallet not initialized"}`)
}

func TestDocumentedVerifiesSignatures(t *testing.T) {
	tests := map[string]struct {
		signed func(f *fixture, unsigned string) string
		want   string
	}{
		"an unsigned PSBT": {func(_ *fixture, unsigned string) string { return unsigned }, "CannotFinalizePsbt"},
		"a flipped bit":    {func(f *fixture, unsigned string) string { return f.client.Spoil(f.client.Sign(unsigned)) }, "InvalidPsbt"},
		"another PSBT":     {func(f *fixture, _ string) string { return f.client.Sign(f.client.BeginSend(f.addr(), 7_000)) }, "InvalidPsbt"},
		"something else":   {func(*fixture, string) string { return "cHNidP8=" }, "InvalidPsbt"},
		"a stranger's keys": {func(f *fixture, unsigned string) string {
			return sandboxtest.NewKeys(f.T, "eve", "regtest").Sign(unsigned)
		}, "CannotFinalizePsbt"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t, sandbox.Options{})
			invoice, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
			unsigned := f.client.BeginPay(invoice)
			code, body := f.client.EndPay(tc.signed(f, unsigned))
			wantAnswer(t, code, body, 400, `"error":"`+tc.want+`"`)
			// What was refused was not begun again: the right one still goes through.
			code, body = f.client.EndPay(f.client.Sign(unsigned))
			wantAnswer(t, code, body, 200, hash)
			f.pass(2 * time.Second)
			f.wantMoved(hash, 1)
		})
	}
}
