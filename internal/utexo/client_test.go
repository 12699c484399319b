package utexo

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	tests := map[string]struct {
		change    func(*Config)
		wantField string
	}{
		"no URL":                          {func(c *Config) { c.URL = "" }, "URL"},
		"no URL at all":                   {func(c *Config) { c.URL = "https://[::1" }, "URL"},
		"plain http":                      {func(c *Config) { c.URL = "http://utexo.test" }, "URL"},
		"plain HTTP":                      {func(c *Config) { c.URL = "HTTP://utexo.test" }, "URL"},
		"another scheme":                  {func(c *Config) { c.URL, c.Insecure = "unix:///run/utexo", true }, "URL"},
		"no host":                         {func(c *Config) { c.URL = "https:///v2" }, "URL"},
		"a password in the URL":           {func(c *Config) { c.URL = "https://user:secret@utexo.test" }, "URL"},
		"a query in the URL":              {func(c *Config) { c.URL = "https://utexo.test/?key=secret" }, "URL"},
		"a fragment in the URL":           {func(c *Config) { c.URL = "https://utexo.test/#secret" }, "URL"},
		"no vanilla key":                  {func(c *Config) { c.Wallet.XpubVanilla = "" }, "Wallet.XpubVanilla"},
		"a line break in a key":           {func(c *Config) { c.Wallet.XpubColored = "tpub\r\nX-Evil: 1" }, "Wallet.XpubColored"},
		"a fingerprint of seven digits":   {func(c *Config) { c.Wallet.MasterFingerprint = "a66bffe" }, "Wallet.MasterFingerprint"},
		"a token with a line break":       {func(c *Config) { c.BearerToken = "x\r\nXpub-Van: y" }, "BearerToken"},
		"a token with its file's newline": {func(c *Config) { c.BearerToken = "token\n" }, "BearerToken"},
		"a user agent with a line break":  {func(c *Config) { c.UserAgent = "x\ny" }, "UserAgent"},
		"a bundle without certificates":   {func(c *Config) { c.CABundle = []byte("none") }, "CABundle"},
		"a certificate without key": {
			func(c *Config) { c.ClientCertificate = &tls.Certificate{Certificate: [][]byte{{1}}} }, "ClientCertificate",
		},
		"the wallet's header":         {func(c *Config) { c.Headers = map[string]string{"xpub-van": "x"} }, "Headers"},
		"the same with underscores":   {func(c *Config) { c.Headers = map[string]string{"XPUB_COL": "x"} }, "Headers"},
		"the fingerprint's header":    {func(c *Config) { c.Headers = map[string]string{"Master-Fingerprint": "x"} }, "Headers"},
		"the token's header":          {func(c *Config) { c.Headers = map[string]string{"AUTHORIZATION": "x"} }, "Headers"},
		"a header that invites retry": {func(c *Config) { c.Headers = map[string]string{"Idempotency-Key": "x"} }, "Headers"},
		"another one":                 {func(c *Config) { c.Headers = map[string]string{"x-idempotency-key": "x"} }, "Headers"},
		"HTTP's own header":           {func(c *Config) { c.Headers = map[string]string{"transfer-encoding": "chunked"} }, "Headers"},
		"a proxy's header":            {func(c *Config) { c.Headers = map[string]string{"Proxy-Authorization": "x"} }, "Headers"},
		"a name with a line break":    {func(c *Config) { c.Headers = map[string]string{"A\r\nB": "x"} }, "Headers"},
		"no name":                     {func(c *Config) { c.Headers = map[string]string{"": "x"} }, "Headers"},
		"a value with a line break":   {func(c *Config) { c.Headers = map[string]string{"A": "canary\r\nXpub-Van: x"} }, "Headers"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			config := Config{URL: "https://utexo.test", Wallet: testWallet}
			tc.change(&config)
			_, err := New(config)
			e, ok := errors.AsType[*ConfigError](err)
			if !ok || e.Field != tc.wantField {
				t.Fatalf("New error = %v, want a ConfigError of %s", err, tc.wantField)
			}
			for _, secret := range []string{"secret", "canary"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes the value: %v", err)
				}
			}
		})
	}
}

func TestRequestHeaders(t *testing.T) {
	server := newRawServer(t, answers(404, `{"detail":"Withdrawal not found"}`))
	client := newTestClient(t, server.url()+"/base/v2/", func(c *Config) {
		c.BearerToken = "canary-token"
		c.Headers = map[string]string{"x-api-key": "canary-key"}
		c.UserAgent = "utexo-operator/v1"
	})
	if _, presence, err := client.OnchainSend(t.Context(), "5f3c"); err != nil || presence != Absent {
		t.Errorf("OnchainSend = %v, %v", presence, err)
	}
	client.CloseIdleConnections()
	_, requests, _ := server.state()
	want := []string{strings.Join([]string{
		"GET /base/v2/onchain-send/5f3c",
		"Accept: application/json\r",
		"Authorization: Bearer canary-token\r",
		"Master-Fingerprint: " + testWallet.MasterFingerprint + "\r",
		"User-Agent: utexo-operator/v1\r",
		"X-Api-Key: canary-key\r",
		"Xpub-Col: " + testWallet.XpubColored + "\r",
		"Xpub-Van: " + testWallet.XpubVanilla + "\r",
		"\n",
	}, "\n")}
	if diff := cmp.Diff(want, requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestNoSecretInErrors has a server that sends back everything it was sent, in every shape of an error.
func TestNoSecretInErrors(t *testing.T) {
	const token, key, psbt = "canary-token-0123456789", "canary-key-0123456789", testPSBT + "CANARYCANARY"
	shapes := []string{
		`{"detail":%s}`, `{"detail":[{"loc":["body","signed_psbt"],"msg":%s,"input":%[1]s}]}`, `{"error":%s}`,
		`{"error":"Name","message":%s,"status":400}`, `{"detail":{"error":%s,"code":400,"name":%[1]s}}`, `%s`, `{"id":%s}`,
		`{"error":"InternalServerError","message":%s}`, `[%s]`, `{"settled":%s,"id":{}}`,
	}
	for _, status := range []int{200, 307, 400, 403, 404, 422, 500} {
		for _, shape := range shapes {
			for _, split := range []string{"", "\u0000", "\u202e"} {
				server := serving(t, func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body) // what did not arrive is not echoed
					var said strings.Builder
					for _, values := range r.Header {
						for _, value := range values {
							half := len(value) / 2
							said.WriteString(value[:half] + split + value[half:] + " ")
						}
					}
					quoted, err := json.Marshal("echo: " + string(body) + said.String())
					if err != nil {
						t.Errorf("Marshal: %v", err)
					}
					w.Header().Set("Location", "/"+token)
					w.WriteHeader(status)
					_, _ = fmt.Fprintf(w, shape, quoted)
				})
				client := newTestClient(t, server.URL, func(c *Config) {
					c.BearerToken = token
					c.Headers = map[string]string{"X-Api-Key": key}
				})
				_, paid := client.PayInvoiceEnd(t.Context(), psbt, inAMinute())
				_, sent := client.OnchainSendEnd(t.Context(), psbt, inAMinute())
				_, balance := client.Balance(t.Context())
				_, list := listPayments(t.Context(), client)
				settled, settling := client.Settle(t.Context(), inAMinute())
				for _, err := range []error{paid, sent, balance, list} {
					if e, ok := errors.AsType[*Error](err); !ok || e.StatusCode != status {
						t.Fatalf("%d %s: error = %v, want one of that answer", status, shape, err)
					}
				}
				printed := fmt.Sprintf("%v %v %v %v %v %+v %v %+v %#v %v %+v %#v",
					paid, sent, balance, list, settling, settled, client, client, client, client.config, client.config, client.config)
				for _, secret := range []string{token, key, "CANARY", testWallet.XpubVanilla, testWallet.XpubColored, testWallet.MasterFingerprint} {
					if strings.Contains(printed, secret) {
						t.Fatalf("%d %s: %s is in %s", status, shape, secret, printed)
					}
				}
			}
		}
	}
}

func TestRedactionFindsForeignKeys(t *testing.T) {
	redact := redactor("short", "x", "")
	private := "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
	encoded := base64.StdEncoding.EncodeToString([]byte("psbt\xff\x01\x00\x0a"))
	for text, want := range map[string]string{
		"key " + private + ".": "key [redacted].",
		"v" + private[1:]:      "[redacted]",
		"psbt=" + encoded:      "psbt=[redacted]",
		"a short text":         "a short text",
	} {
		if got := redact(text); got != want {
			t.Errorf("redact(%q) = %q, want %q", text, got, want)
		}
	}
}

// walletServer does not know a wallet until it is registered.
type walletServer struct {
	registered, registers, calls atomic.Int64
	neverKnows                   bool
	registration                 int // status of register; 0 is 200
	answer                       string
}

func (s *walletServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/wallet/register":
		s.registers.Add(1)
		if s.registration != 0 {
			w.WriteHeader(s.registration)
			return
		}
		s.registered.Store(1)
		_, _ = io.WriteString(w, `{"address":"bcrt1q","btc_balance":null}`)
	case s.registered.Load() == 0 || s.neverKnows:
		s.calls.Add(1)
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, bodyUnregistered)
	default:
		s.calls.Add(1)
		_, _ = io.WriteString(w, s.answer)
	}
}

func TestUnknownWalletIsRegisteredOnTheWay(t *testing.T) {
	balance := `{"balance":{"vanilla":{"settled":1,"future":2,"spendable":3},"colored":{"settled":4,"future":5,"spendable":6}},"asset_balances":[]}`
	tests := map[string]struct {
		answer    string
		call      func(*testing.T, *Client) error
		registers int64 // also how often the call is repeated
	}{
		"Balance": {balance, func(t *testing.T, c *Client) error {
			_, err := c.Balance(t.Context())
			return err
		}, 1},
		"CreateInvoice": {`{"id":"1","invoice":"lnbcrt1","status":"OPEN"}`, func(t *testing.T, c *Client) error {
			_, err := c.CreateInvoice(t.Context(), InvoiceRequest{AmountSats: new(int64(1))})
			return err
		}, 1},
		"ReceiveRequest": {`{"id":"1","invoice":"lnbcrt1","status":"OPEN"}`, func(t *testing.T, c *Client) error {
			_, _, err := c.ReceiveRequest(t.Context(), "1")
			return err
		}, 1},
		"FeeEstimate": {`10`, func(t *testing.T, c *Client) error {
			_, err := c.FeeEstimate(t.Context(), testInvoice)
			return err
		}, 1},
		"SendRequest": {`null`, func(t *testing.T, c *Client) error {
			_, _, err := c.SendRequest(t.Context(), testHash)
			return err
		}, 1},
		"OnchainSend": {`{"status":"REQUESTED"}`, func(t *testing.T, c *Client) error {
			_, _, err := c.OnchainSend(t.Context(), "1")
			return err
		}, 1},
		"EachPayment": {`{"payments":[]}`, func(t *testing.T, c *Client) error {
			_, err := listPayments(t.Context(), c)
			return err
		}, 1},
		"ListTransfers": {`[]`, func(t *testing.T, c *Client) error {
			_, err := c.ListTransfers(t.Context(), "rgb:x")
			return err
		}, 1},
		"OnchainReceive": {`{"btc_address":"bcrt1q","asset_invoice":"rgb:x"}`, func(t *testing.T, c *Client) error {
			_, err := c.OnchainReceive(t.Context())
			return err
		}, 1},
		"UnusedAddresses": {`{"addresses":[]}`, func(t *testing.T, c *Client) error {
			_, err := c.UnusedAddresses(t.Context())
			return err
		}, 1},
		"PayInvoiceBegin": {`"` + testPSBT + `"`, func(t *testing.T, c *Client) error {
			return moneyCalls[opPayInvoiceBegin](t.Context(), c, inAMinute())
		}, 1},
		"OnchainSendBegin": {`"` + testPSBT + `"`, func(t *testing.T, c *Client) error {
			return moneyCalls[opOnchainBegin](t.Context(), c, inAMinute())
		}, 1},
		"PayInvoiceEnd never": {`null`, func(t *testing.T, c *Client) error {
			return moneyCalls[opPayInvoiceEnd](t.Context(), c, inAMinute())
		}, 0},
		"OnchainSendEnd never": {`null`, func(t *testing.T, c *Client) error {
			return moneyCalls[opOnchainEnd](t.Context(), c, inAMinute())
		}, 0},
		"Settle never": {`{}`, func(t *testing.T, c *Client) error {
			_, err := c.Settle(t.Context(), inAMinute())
			return err
		}, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			server := &walletServer{answer: tc.answer}
			client := newTestClient(t, serving(t, server.ServeHTTP).URL)
			err := tc.call(t, client)
			if tc.registers == 0 {
				if e, ok := errors.AsType[*Error](err); !ok || e.Effect != EffectRefused || !errors.Is(err, ErrWalletNotRegistered) {
					t.Errorf("error = %v, want ErrWalletNotRegistered, refused", err)
				}
			} else if err != nil {
				t.Errorf("error = %v", err)
			}
			if registers, calls := server.registers.Load(), server.calls.Load(); registers != tc.registers || calls != 1+tc.registers {
				t.Errorf("%d registrations, %d calls, want %d and %d", registers, calls, tc.registers, 1+tc.registers)
			}

			server = &walletServer{neverKnows: true}
			client = newTestClient(t, serving(t, server.ServeHTTP).URL)
			if err := tc.call(t, client); !errors.Is(err, ErrWalletNotRegistered) {
				t.Errorf("a service that never knows the wallet: error = %v, want ErrWalletNotRegistered", err)
			}
			if calls := server.calls.Load(); calls != 1+tc.registers {
				t.Errorf("a service that never knows the wallet: %d calls, want %d", calls, 1+tc.registers)
			}
		})
	}
}

func TestRegistrationThatFailsOnTheWay(t *testing.T) {
	server := &walletServer{registration: http.StatusServiceUnavailable}
	client := newTestClient(t, serving(t, server.ServeHTTP).URL)
	_, err := client.PayInvoiceBegin(t.Context(), testInvoice, 1, inAMinute())
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Effect != EffectRefused || e.Operation != opPayInvoiceBegin || !e.Temporary() || !errors.Is(err, ErrWalletNotRegistered) {
		t.Errorf("error = %v, want a temporary one of the begin, refused, with ErrWalletNotRegistered", err)
	}
	if calls := server.calls.Load(); calls != 1 {
		t.Errorf("%d begins, want one", calls)
	}
}

func TestReadsShareConnections(t *testing.T) {
	server := newRawServer(t, answers(200, `null`))
	client := newTestClient(t, server.url(), func(c *Config) { c.Dial = server.dial })
	for range 5 {
		if _, _, err := client.SendRequest(t.Context(), testHash); err != nil {
			t.Fatalf("SendRequest: %v", err)
		}
	}
	client.CloseIdleConnections()
	if dials, requests, _ := server.state(); dials != 1 || len(requests) != 5 {
		t.Errorf("%d connections with %d requests, want 1 and 5", dials, len(requests))
	}
}

func TestEffectString(t *testing.T) {
	got := fmt.Sprint(EffectUnknown, EffectNotSent, EffectRefused, PresenceUnknown, Present, Absent)
	if want := "Unknown NotSent Refused Unknown Present Absent"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
