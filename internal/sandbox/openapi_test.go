package sandbox_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/utexo/utexo-operator/internal/sandbox"
)

// contract holds requests and answers against the OpenAPI document.
type contract struct {
	router  routers.Router
	covered map[string]bool // by operationId
}

func loadContract(t *testing.T) (*contract, *openapi3.T) {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromFile("../../api/openapi/utexo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	document.Servers = openapi3.Servers{{URL: "http://sandbox.invalid"}}
	router, err := legacy.NewRouter(document)
	if err != nil {
		t.Fatal(err)
	}
	return &contract{router: router, covered: map[string]bool{}}, document
}

// check makes a call that the document allows and returns what the answer violates; wantStatus 0 is any.
func (c *contract) check(f *fixture, method, path, body string, wantStatus int) string {
	f.Helper()
	request, err := http.NewRequestWithContext(f.Context(), method, "http://sandbox.invalid"+path, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	request.Header = f.client.Header()
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	route, params, err := c.router.FindRoute(request)
	if err != nil {
		f.Fatalf("%s %s is not in the document: %v", method, path, err)
	}
	c.covered[route.Operation.OperationID] = true
	input := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if err := openapi3filter.ValidateRequest(f.Context(), input); err != nil {
		f.Fatalf("%s %s: the test's own request: %v", method, path, err)
	}
	response, answer, err := f.client.Do(method, path, body)
	if err != nil {
		f.Fatal(err)
	}
	if wantStatus != 0 && response.StatusCode != wantStatus {
		f.Errorf("%s %s: status %d %s, want %d", method, path, response.StatusCode, answer, wantStatus)
	}
	output := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: response.StatusCode, Header: response.Header,
		Body: io.NopCloser(bytes.NewReader(answer)), Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	if err := openapi3filter.ValidateResponse(f.Context(), output); err != nil {
		f.Errorf("%s %s: answer %s: %v", method, path, answer, err)
	}
	return string(answer)
}

func TestDocumentedAnswersKeepTheContract(t *testing.T) {
	c, document := loadContract(t)
	f := start(t, sandbox.Options{})
	asset := f.server.AssetIDs()[0]
	text := func(answer string) string {
		var value string
		if err := json.Unmarshal([]byte(answer), &value); err != nil {
			t.Fatalf("%v in %s", err, answer)
		}
		return value
	}
	post := func(path, body string) string { t.Helper(); return c.check(f, http.MethodPost, path, body, 200) }
	get := func(path string) string { t.Helper(); return c.check(f, http.MethodGet, path, "", 200) }

	post("/wallet/register", "")
	for _, body := range []string{`{"amount_sats":100}`, fmt.Sprintf(`{"asset":{"asset_id":%q,"amount":5},"expiry_seconds":60}`, asset)} {
		created := post("/lightning/create-invoice", body)
		get("/lightning/receive-request/" + field(t, created, "id").(string))
	}
	get("/lightning/receive-request/unknown")
	for _, n := range []sandbox.NewInvoice{{AmountSats: 100}, {Asset: &sandbox.Asset{ID: asset, Amount: 5}}} {
		invoice, hash := f.issue(n)
		body := fmt.Sprintf(`{"invoice":%q}`, invoice)
		post("/lightning/fee-estimate", body)
		unsigned := text(post("/lightning/pay-invoice-begin", body))
		post("/lightning/pay-invoice-end", fmt.Sprintf(`{"signed_psbt":%q}`, f.client.Sign(unsigned)))
		get("/lightning/send-request/" + hash)
		f.pass(2 * time.Second)
		get("/lightning/send-request/" + hash)
	}
	get("/lightning/send-request/" + strings.Repeat("0", 64))
	get("/lightning/listpayments")
	get("/lightning/onchain-receive")
	get("/lightning/unused-addresses")
	get("/lightning/balance")
	post("/lightning/settle", "")
	rgbInvoice, err := f.server.IssueRGBInvoice(asset, 9)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		fmt.Sprintf(`{"address_or_rgbinvoice":%q,"amount_sats":5000,"fee_rate":2}`, f.addr()),
		fmt.Sprintf(`{"address_or_rgbinvoice":%q,"fee_rate":2,"asset":{"asset_id":%q,"amount":9}}`, rgbInvoice, asset),
	} {
		unsigned := text(post("/lightning/onchain-send-begin", body))
		sent := post("/lightning/onchain-send-end", fmt.Sprintf(`{"signed_psbt":%q}`, f.client.Sign(unsigned)))
		id := field(t, sent, "send_id").(string)
		get("/onchain-send/" + id)
		f.pass(time.Minute)
		get("/onchain-send/" + id)
	}
	post("/lightning/listtransfers", fmt.Sprintf(`{"asset_id":%q}`, asset))
	get("/lightning/listtransactions")

	// Errors have the one loose shape of the document; each status is held against it too.
	errors := map[string]int{
		`/lightning/create-invoice {}`:                                                                                    400,
		`/lightning/pay-invoice-begin {"invoice":"lnbcrt1"}`:                                                              400,
		`/lightning/pay-invoice-end {"signed_psbt":"AAAA"}`:                                                               400,
		`/lightning/onchain-send-begin {"address_or_rgbinvoice":"x","amount_sats":1,"fee_rate":1}`:                        400,
		`/lightning/onchain-send-begin {"address_or_rgbinvoice":"rgb:","amount_sats":1,"fee_rate":1}`:                     400,
		`/lightning/onchain-send-begin {"address_or_rgbinvoice":"` + f.addr() + `","amount_sats":900000000,"fee_rate":1}`: 422,
		`/lightning/listtransfers {"asset_id":"rgb:unknown"}`:                                                             404,
	}
	for call, status := range errors {
		path, body, _ := strings.Cut(call, " ")
		c.check(f, http.MethodPost, path, body, status)
	}
	c.check(f, http.MethodGet, "/onchain-send/unknown", "", 404)
	c.check(f, http.MethodGet, "/lightning/send-request/short", "", 400)

	for path, item := range document.Paths.Map() {
		for method, operation := range item.Operations() {
			if !c.covered[operation.OperationID] {
				t.Errorf("%s %s was not called", method, path)
			}
		}
	}
}
