package utexo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fullAnswers are an answer to each call in which every string that the client reads is there, and the call, with all that it returns.
var fullAnswers = map[string]struct {
	body string
	call func(context.Context, *Client) (any, error)
}{
	opRegister: {`{"address":"bcrt1q"}`, func(ctx context.Context, c *Client) (any, error) { return c.Register(ctx) }},
	opBalance: {
		`{"balance":{"vanilla":{"settled":1,"future":2,"spendable":3},"colored":{"settled":4,"future":5,"spendable":6}},
		"asset_balances":[{"asset_id":"rgb:a","ticker":"USDT","precision":6,"balance":{"settled":1,"future":1,"spendable":1}}]}`,
		func(ctx context.Context, c *Client) (any, error) { return c.Balance(ctx) },
	},
	opCreateInvoice: {
		`{"id":"` + testID + `","invoice":"lnbcrt1","status":"OPEN","asset":{"asset_id":"rgb:a","amount":1},"created_at":"2026-01-08T12:00:00Z"}`,
		func(ctx context.Context, c *Client) (any, error) {
			return c.CreateInvoice(ctx, InvoiceRequest{AmountSats: new(int64(5000))})
		},
	},
	opReceiveRequest: {
		`{"id":"` + testID + `","invoice":"lnbcrt1","status":"OPEN","asset":{"asset_id":"rgb:a","amount":1},"created_at":"2026-01-08T12:00:00Z"}`,
		func(ctx context.Context, c *Client) (any, error) {
			found, _, err := c.ReceiveRequest(ctx, testID)
			return found, err
		},
	},
	opFeeEstimate: {`"50"`, func(ctx context.Context, c *Client) (any, error) { return c.FeeEstimate(ctx, testInvoice) }},
	opPayInvoiceBegin: {`"` + testPSBT + `"`, func(ctx context.Context, c *Client) (any, error) {
		return c.PayInvoiceBegin(ctx, testInvoice, 100, inAMinute())
	}},
	opPayInvoiceEnd: {
		`{"id":"` + testHash + `","status":"SUCCEEDED","asset":{"asset_id":"rgb:a","amount":1},"created_at":"2026-01-08T12:00:00Z"}`,
		func(ctx context.Context, c *Client) (any, error) { return c.PayInvoiceEnd(ctx, testPSBT, inAMinute()) },
	},
	opSendRequest: {
		`{"id":"` + testHash + `","status":"SUCCEEDED","asset":{"asset_id":"rgb:a","amount":1},"created_at":"2026-01-08T12:00:00Z"}`,
		func(ctx context.Context, c *Client) (any, error) {
			found, _, err := c.SendRequest(ctx, testHash)
			return found, err
		},
	},
	opListPayments: {
		`{"payments":[{"amt_msat":1,"asset_amount":1,"asset_id":"rgb:a","payment_hash":"` + testHash + `","inbound":true,"status":"Succeeded","payee_pubkey":"02ab"}]}`,
		func(ctx context.Context, c *Client) (any, error) { return listPayments(ctx, c) },
	},
	opOnchainReceive: {
		`{"btc_address":"bcrt1q","asset_invoice":"rgb:~/~/~/bcrt:utxob:x?endpoints=x","expires_at":"2026-01-08T12:00:00Z"}`,
		func(ctx context.Context, c *Client) (any, error) { return c.OnchainReceive(ctx) },
	},
	opUnusedAddresses: {
		`{"addresses":[{"btc_address":"bcrt1q","asset_invoice":"rgb:~/~/~/bcrt:utxob:x?endpoints=x","expires_at":"2026-01-08T12:00:00Z"}]}`,
		func(ctx context.Context, c *Client) (any, error) { return c.UnusedAddresses(ctx) },
	},
	opSettle: {
		`{"error":"Insufficient","message":"no funds","total_channels_opened":1,"results":[{"type":"asset","asset_id":"rgb:a","result":{"id":"ab"},"error":"x"}]}`,
		func(ctx context.Context, c *Client) (any, error) { return c.Settle(ctx, inAMinute()) },
	},
	opOnchainBegin: {`"` + testPSBT + `"`, func(ctx context.Context, c *Client) (any, error) {
		return c.OnchainSendBegin(ctx, OnchainOrder{Destination: "bcrt1qexample", AmountSats: new(int64(5000)), FeeRate: 2}, inAMinute())
	}},
	opOnchainEnd: {`{"withdrawal_id":"` + testID + `","status":"REQUESTED","txid":"` + testHash + `"}`, func(ctx context.Context, c *Client) (any, error) {
		return c.OnchainSendEnd(ctx, testPSBT, inAMinute())
	}},
	opOnchainSend: {
		`{"send_id":"` + testID + `","status":"FAILED","address_or_rgbinvoice":"bcrt1q","asset":{"asset_id":"rgb:a","amount":1},"close_txids":["c1"],
		"sweep_txid":"` + testHash + `","timestamps":{"created_at":"2026-01-08T12:00:00Z"},"error_code":"SWEEP_FAILED","error_message":"403"}`,
		func(ctx context.Context, c *Client) (any, error) {
			found, _, err := c.OnchainSend(ctx, testID)
			return found, err
		},
	},
	opListTransfers: {
		`[{"idx":1,"status":"Settled","kind":"Send","txid":"ab","recipient_id":"utxob:x","receive_utxo":{"txid":"cd","vout":1},"change_utxo":"ef:0"}]`,
		func(ctx context.Context, c *Client) (any, error) { return c.ListTransfers(ctx, "rgb:a") },
	},
	opListTransactions: {`[{"txid":"` + testHash + `","sent":1,"received":0,"fee":0}]`, func(ctx context.Context, c *Client) (any, error) {
		return c.ListTransactions(ctx)
	}},
}

// withEach calls visit with value in which one string after the other, and then all of them at once, is changed.
func withEach(value any, change func(string) string, visit func(any)) {
	for target := 0; ; target++ {
		strung := 0
		changed := walk(value, func(text string) string {
			strung++
			if strung-1 == target {
				return change(text)
			}
			return text
		})
		if target >= strung {
			break
		}
		visit(changed)
	}
	visit(walk(value, change))
}

// walk returns a copy of value, generic JSON, with every string in it changed.
func walk(value any, change func(string) string) any {
	switch value := value.(type) {
	case string:
		return change(value)
	case []any:
		items := make([]any, len(value))
		for i, item := range value {
			items[i] = walk(item, change)
		}
		return items
	case map[string]any:
		fields := make(map[string]any, len(value))
		for _, name := range slices.Sorted(maps.Keys(value)) { // so that strings are counted in the same order every time
			fields[name] = walk(value[name], change)
		}
		return fields
	}
	return value
}

// TestNoSecretInAnswers has a service that puts a secret into each string of each answer, alone, behind what belongs there and in its
// place.
func TestNoSecretInAnswers(t *testing.T) {
	const header = "canary-header-0123456789"
	places := map[string]func(text, secret string) string{
		"alone":  func(_, secret string) string { return secret },
		"behind": func(text, secret string) string { return text + secret },
		"over":   func(text, secret string) string { return secret + text[min(len(secret), len(text)):] },
		"within": func(text, secret string) string { return text[:len(text)/2] + secret + text[len(text)/2:] },
		"upper":  func(text, secret string) string { return strings.ToUpper(text) + secret },
	}
	tokens := map[string]string{
		"a word":                  "canaryTOKEN0123",
		"longer than a word":      "canarytoken0123456789abcdefghijk",
		"an id":                   "canary.token-0123_456~789",
		"a JSON web token":        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.Y2FuYXJ5Y2FuYXJ5",
		"hex digits":              "0123456789abcdef0123456789abcdef",
		"a hash":                  strings.Repeat("c0ffee00", 8),
		"a hash in great letters": strings.Repeat("C0FFEE00", 8),
		"base64":                  "Y2FuYXJ5+/Y2",
	}
	for name, token := range tokens {
		t.Run(name, func(t *testing.T) {
			answer := ""
			client := fuzzClient(t, func(config *Config) {
				config.BearerToken, config.Headers = token, map[string]string{"X-Api-Key": header}
				config.Transport = roundTripFunc(func(request *http.Request) (*http.Response, error) {
					return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(answer)), Request: request}, nil
				})
			})
			if len(fullAnswers) != len(everyCall) {
				t.Fatalf("%d answers to %d calls", len(fullAnswers), len(everyCall))
			}
			for operation, full := range fullAnswers {
				answer = full.body
				if _, err := full.call(t.Context(), client); err != nil {
					t.Fatalf("%s without a secret: %v", operation, err)
				}
				var value any
				if err := json.Unmarshal([]byte(full.body), &value); err != nil {
					t.Fatal(err)
				}
				for _, secret := range []string{token, header, testWallet.XpubVanilla, testWallet.XpubColored} {
					for place, put := range places {
						withEach(value, func(text string) string { return put(text, secret) }, func(changed any) {
							body, err := json.Marshal(changed)
							if err != nil {
								t.Fatal(err)
							}
							answer = string(body)
							checkNoSecret(t, operation+" "+place, client, full.call, secret)
						})
					}
				}
			}
		})
	}
}

func checkNoSecret(t *testing.T, what string, client *Client, call func(context.Context, *Client) (any, error), secret string) {
	t.Helper()
	result, err := call(t.Context(), client)
	shown, failed := json.Marshal(result)
	if failed != nil {
		t.Fatal(failed)
	}
	text := string(shown)
	if err != nil {
		text += err.Error()
	}
	if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
		t.Errorf("%s: %s is shown: %s", what, secret, text)
	}
}

// TestNoSecretInTheNameOfAnError has a service that calls its error by the token.
func TestNoSecretInTheNameOfAnError(t *testing.T) {
	const token = "canary_token_0123456789"
	for _, body := range []string{`{"detail":{"error":"x","code":400,"name":"` + token + `"}}`, `{"error":"` + token + `","message":"x","status":400}`} {
		client := newTestClient(t, answering(t, 400, body).URL, func(c *Config) { c.BearerToken = token })
		_, err := client.Balance(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeNodeError || strings.Contains(e.Error(), token) {
			t.Errorf("%s: error = %v, want a %s", body, err, CodeNodeError)
		}
	}
}

func TestKeep(t *testing.T) {
	hash := strings.Repeat("ab", 24) + testWallet.MasterFingerprint + "0badcafe"
	client := &Client{secrets: newSecrets(Config{
		Wallet: testWallet, BearerToken: "0badcafe", Headers: map[string]string{"X-Region": "eu-west-1", "X-Short": "ab"},
	})}
	for name, tc := range map[string]struct{ text, want string }{
		"a word":                       {"Succeeded", "Succeeded"},
		"a word that holds the token":  {"x0badcafe", "x[redacted]"},
		"a header's value":             {"at eu-west-1", "at [redacted]"},
		"the fingerprint":              {testWallet.MasterFingerprint, "[redacted]"},
		"a hash with the token":        {hash, strings.Repeat("ab", 24) + "[redacted][redacted]"},
		"a hash with the fingerprint":  {hash[:56] + "01234567", hash[:56] + "01234567"},
		"a value too short for secret": {"abc", "abc"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := client.keep(tc.text); got != tc.want {
				t.Errorf("keep(%q) = %q, want %q", tc.text, got, tc.want)
			}
		})
	}
}

// TestNamesThatSecretsShare holds that what a header says of a region or a tenant makes no address or id unusable.
func TestNamesThatSecretsShare(t *testing.T) {
	const address = `{"btc_address":"bcrt1q","asset_invoice":"rgb:~/~/~/bcrt:utxob:x?endpoints=rpcs://proxy.eu-central-1.example"}`
	client := newTestClient(t, answering(t, 200, address).URL, func(c *Config) {
		c.BearerToken, c.Headers = "proxy", map[string]string{"X-Region": "eu-central-1"}
	})
	got, err := client.OnchainReceive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := DepositAddress{Address: "bcrt1q", AssetInvoice: "rgb:~/~/~/bcrt:utxob:x?endpoints=rpcs://proxy.eu-central-1.example"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
