package sandboxtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/utexo/utexo-operator/internal/sandbox"
)

// Client is a client of a sandbox's API as one wallet.
type Client struct {
	*Keys    // nil of a watch-only client, which cannot sign
	identity Identity
	t        testing.TB
	http     *http.Client
	base     string
}

// NewClient returns a client of server for the wallet that name stands for, not registered yet. It calls in process.
func NewClient(t testing.TB, server *sandbox.Server, name string) *Client {
	t.Helper()
	return NewClientFor(t, server, NewKeys(t, name, server.Options().Network))
}

// NewClientFor is NewClient for keys that are there already.
func NewClientFor(t testing.TB, server *sandbox.Server, keys *Keys) *Client {
	client := NewWatchOnlyClient(t, server, keys.Identity)
	client.Keys = keys
	return client
}

// NewWatchOnlyClient is NewClient for a wallet whose keys somebody else holds.
func NewWatchOnlyClient(t testing.TB, server *sandbox.Server, identity Identity) *Client {
	return &Client{
		identity: identity,
		t:        t,
		http: &http.Client{
			Transport:     server.Transport(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		base: "http://sandbox.invalid",
	}
}

// At makes c call the server at base over HTTP.
func (c *Client) At(base string) *Client {
	over := *c
	over.base = base
	over.http = &http.Client{CheckRedirect: c.http.CheckRedirect}
	return &over
}

// Header returns the three headers that name the wallet.
func (c *Client) Header() http.Header {
	header := http.Header{}
	header.Set("xpub-van", c.identity.XpubVanilla)
	header.Set("xpub-col", c.identity.XpubColored)
	header.Set("master-fingerprint", c.identity.Fingerprint)
	return header
}

// Do makes a call with a body of JSON, nil for none, and returns the answer with its body read. The error is the connection's, a
// body that ends early included.
func (c *Client) Do(method, path, body string) (*http.Response, []byte, error) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header = c.Header()
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response, answer, err
}

// Post makes a call whose connection must hold, and returns status and body.
func (c *Client) Post(path, body string) (int, string) {
	c.t.Helper()
	return c.call(http.MethodPost, path, body)
}

// Get is Post without a body.
func (c *Client) Get(path string) (int, string) {
	c.t.Helper()
	return c.call(http.MethodGet, path, "")
}

func (c *Client) call(method, path, body string) (int, string) {
	c.t.Helper()
	response, answer, err := c.Do(method, path, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return response.StatusCode, string(answer)
}

// MustPost is Post of a call that must be answered 200; the answer is read into out, which may be nil.
func (c *Client) MustPost(path, body string, out any) {
	c.t.Helper()
	c.must(http.MethodPost, path, body, out)
}

// MustGet is MustPost of a read.
func (c *Client) MustGet(path string, out any) {
	c.t.Helper()
	c.must(http.MethodGet, path, "", out)
}

func (c *Client) must(method, path, body string, out any) {
	c.t.Helper()
	status, answer := c.call(method, path, body)
	if status != http.StatusOK {
		c.t.Fatalf("%s %s: status %d: %s", method, path, status, answer)
	}
	if out == nil {
		return
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(answer)))
	if err := decoder.Decode(out); err != nil {
		c.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
	}
}

// Register registers the wallet.
func (c *Client) Register() *Client {
	c.t.Helper()
	c.MustPost("/wallet/register", "", nil)
	return c
}

// BeginPay begins paying invoice and returns the unsigned PSBT.
func (c *Client) BeginPay(invoice string) string {
	c.t.Helper()
	return c.text("/lightning/pay-invoice-begin", map[string]any{"invoice": invoice})
}

// BeginSend begins an on-chain send of sats at 5 sat/vB, without deduction, and returns the unsigned PSBT.
func (c *Client) BeginSend(destination string, sats int64) string {
	c.t.Helper()
	return c.text("/lightning/onchain-send-begin", map[string]any{
		"address_or_rgbinvoice": destination, "amount_sats": sats, "fee_rate": 5, "deduct_fee_from_amount": false,
	})
}

// BeginSendAsset begins an on-chain send of an asset at 5 sat/vB and returns the unsigned PSBT.
func (c *Client) BeginSendAsset(rgbInvoice, assetID string, units int64) string {
	c.t.Helper()
	return c.text("/lightning/onchain-send-begin", map[string]any{
		"address_or_rgbinvoice": rgbInvoice, "fee_rate": 5, "asset": sandbox.Asset{ID: assetID, Amount: units},
	})
}

func (c *Client) text(path string, body any) string {
	c.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	var psbt string
	c.MustPost(path, string(encoded), &psbt)
	return psbt
}

// Signed returns the body of an end call.
func Signed(psbt string) string { return `{"signed_psbt":"` + psbt + `"}` }

// EndPay ends a payment with the signed PSBT and returns status and body.
func (c *Client) EndPay(signed string) (int, string) {
	c.t.Helper()
	return c.Post("/lightning/pay-invoice-end", Signed(signed))
}

// EndSend ends an on-chain send with the signed PSBT and returns status and body.
func (c *Client) EndSend(signed string) (int, string) {
	c.t.Helper()
	return c.Post("/lightning/onchain-send-end", Signed(signed))
}
