package utexo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

const testToken = "a-token-that-nobody-may-see"

// everyCall makes each call of the API once. It returns what it is said to have found, where it is a look-up.
var everyCall = []struct {
	operation string
	// movesMoney tells that only a listed answer is a refusal.
	movesMoney bool
	call       func(ctx context.Context, c *Client) (found string, presence Presence, err error)
}{
	{opRegister, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := c.Register(ctx)
		return "", 0, err
	}},
	{opBalance, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := c.Balance(ctx)
		return "", 0, err
	}},
	{opCreateInvoice, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := c.CreateInvoice(ctx, InvoiceRequest{AmountSats: new(int64(5000))})
		return "", 0, err
	}},
	{opReceiveRequest, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		found, presence, err := c.ReceiveRequest(ctx, testID)
		return found.ID, presence, err
	}},
	{opFeeEstimate, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		fee, err := c.FeeEstimate(ctx, testInvoice)
		if err == nil && fee < 0 {
			err = fmt.Errorf("a fee of %d sat", fee)
		}
		return "", 0, err
	}},
	{opPayInvoiceBegin, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := c.PayInvoiceBegin(ctx, testInvoice, 100, inAMinute())
		return "", 0, err
	}},
	{opPayInvoiceEnd, true, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := c.PayInvoiceEnd(ctx, testPSBT, inAMinute())
		return "", 0, err
	}},
	{opSendRequest, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		found, presence, err := c.SendRequest(ctx, testHash)
		return found.ID, presence, err
	}},
	{opListPayments, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := listPayments(ctx, c)
		return "", 0, err
	}},
	{opOnchainReceive, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := c.OnchainReceive(ctx)
		return "", 0, err
	}},
	{opUnusedAddresses, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := c.UnusedAddresses(ctx)
		return "", 0, err
	}},
	{opSettle, true, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := c.Settle(ctx, inAMinute())
		return "", 0, err
	}},
	{opOnchainBegin, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := c.OnchainSendBegin(ctx, OnchainOrder{Destination: "bcrt1qexample", AmountSats: new(int64(5000)), FeeRate: 2}, inAMinute())
		return "", 0, err
	}},
	{opOnchainEnd, true, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := c.OnchainSendEnd(ctx, testPSBT, inAMinute())
		return "", 0, err
	}},
	{opOnchainSend, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		found, presence, err := c.OnchainSend(ctx, testID)
		return found.ID, presence, err
	}},
	{opListTransfers, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := c.ListTransfers(ctx, "rgb:asset")
		return "", 0, err
	}},
	{opListTransactions, false, func(ctx context.Context, c *Client) (string, Presence, error) {
		_, err := c.ListTransactions(ctx)
		return "", 0, err
	}},
}

const testID = "0f8fad5b-d9cb-469f-a165-70867728950e"

// fuzzClient is a client whose secrets are known, over a transport of the test.
func fuzzClient(t *testing.T, change func(*Config)) *Client {
	t.Helper()
	return newTestClient(t, "http://service.invalid", func(config *Config) {
		config.BearerToken = testToken
		config.ReadTimeout, config.BeginTimeout, config.EndTimeout = time.Second, time.Second, time.Second
		change(config)
	})
}

// checkError holds what is true of every error of a call, and returns it as the *Error that it is.
func checkError(t *testing.T, operation string, err error) *Error {
	t.Helper()
	failed, ok := errors.AsType[*Error](err)
	if !ok || failed.Operation != operation || failed.Code == "" {
		t.Fatalf("%s fails with %#v", operation, err)
	}
	if len(failed.Message) > maxMessage || !utf8.ValidString(failed.Message) || strings.ContainsFunc(failed.Message, unicode.IsControl) {
		t.Fatalf("%s fails with the message %q", operation, failed.Message)
	}
	for _, secret := range []string{testToken, testWallet.XpubVanilla, testWallet.XpubColored, testPSBT} {
		if strings.Contains(failed.Error(), secret) {
			t.Fatalf("%s tells a secret: %v", operation, failed)
		}
	}
	if failed.RetryAfter < 0 || failed.RetryAfter > 24*time.Hour {
		t.Fatalf("%s is to be called again after %v", operation, failed.RetryAfter)
	}
	return failed
}

// listed reads the closed list of answers that prove that a call which moves money had no effect, a second time and from generic JSON.
func listed(operation string, status int, body []byte) bool {
	var answer map[string]any
	if json.Unmarshal(body, &answer) != nil {
		return false
	}
	word, hasWord := answer["error"].(string)
	_, hasError := answer["error"]
	detail, hasDetail := answer["detail"]
	if hasError && hasDetail {
		return false
	}
	text, _ := detail.(string)
	node, _ := detail.(map[string]any)
	named := func(want string) bool { return node["name"] == want && node["code"] == float64(status) }
	library := func(want string) bool {
		_, says := answer["message"].(string)
		return word == want && says && answer["status"] == float64(status)
	}
	switch status {
	case 404:
		return hasWord && len(answer) == 1 && strings.HasPrefix(word, "Wallet for client '") && strings.HasSuffix(word, "' does not exist.")
	case 422:
		items, _ := detail.([]any)
		for _, item := range items {
			fields, _ := item.(map[string]any)
			place, _ := fields["loc"].([]any)
			_, says := fields["msg"].(string)
			if !says || len(place) == 0 || place[0] != "header" && place[0] != "body" {
				return false
			}
		}
		return len(items) > 0
	case 400:
		if text == textWalletNotInitialized || len(answer) == 1 && word == textWalletNotInitialized {
			return true
		}
	}
	switch operation {
	case opPayInvoiceEnd:
		return status == 400 && (text == textNoInvoiceBegun || library("InvalidPsbt") || library("CannotFinalizePsbt") ||
			named("InvalidInvoice") || named("InvalidAmount") || named("IncompleteRGBInfo")) ||
			status == 403 && (named("DuplicatePayment") || named("LockedNode") || named("ChangingState"))
	case opOnchainEnd:
		return status == 400 && (text == textNoPSBTBegun || library("InvalidPsbt") || library("CannotFinalizePsbt"))
	}
	return false
}

// FuzzEveryAnswer answers every call of the API with any status, header and body. No answer proves that nothing was sent; none but a
// listed one that a call which moves money did nothing; none but the one that says so that a payment is absent; and no error tells a
// secret.
func FuzzEveryAnswer(f *testing.F) {
	bodies := []string{
		``, `null`, `{}`, `[]`, `50`, `{"detail":"Not Found"}`, `{"detail":"Withdrawal not found"}`, bodyUnregistered, bodyNotInitialized,
		bodyNoInvoice, bodyNoPSBT, bodyDuplicate, bodyPaymentNotFound, bodyMissingHeader,
		`{"error":"CannotFinalizePsbt","message":"x","status":400}`, `{"detail":"Failed to communicate with RLN node: "}`,
		`{"detail":{"error":"` + testToken + ` ` + testPSBT + `","code":403,"name":"LockedNode"}}`,
		`{"id":"` + testHash + `","status":"SUCCEEDED"}`, `{"id":"` + testID + `","invoice":"lnbcrt1","status":"OPEN"}`, `"` + testPSBT + `"`,
		`{"withdrawal_id":"` + testID + `","status":"CONFIRMED"}`, `{"payments":[]}`, `[{"txid":"a","sent":1,"received":0,"fee":0}]`,
	}
	for n, body := range bodies {
		f.Add(uint8(n), 200, "120", []byte(body))
		for _, status := range []int{400, 403, 404, 422} {
			f.Add(uint8(6), status, "Wed, 21 Oct 2026 07:28:00 GMT", []byte(body))
			f.Add(uint8(13), status, "-1", []byte(body))
		}
	}
	for which, status := range []int{100, 204, 301, 307, 401, 405, 409, 429, 500, 501, 502, 503, 504, 999} {
		f.Add(uint8(which), status, "", []byte(bodyNoPSBT))
	}
	f.Fuzz(func(t *testing.T, which uint8, status int, retryAfter string, body []byte) {
		if status < 100 || status > 999 {
			return // net/http reads no other
		}
		called := everyCall[int(which)%len(everyCall)]
		client := fuzzClient(t, func(config *Config) {
			config.Transport = roundTripFunc(func(request *http.Request) (*http.Response, error) {
				return &http.Response{
					StatusCode: status, Header: http.Header{"Retry-After": {retryAfter}}, Body: io.NopCloser(bytes.NewReader(body)), Request: request,
				}, nil
			})
		})
		found, presence, err := called.call(t.Context(), client)
		switch {
		case presence == Present && (err != nil || found != testHash && found != testID):
			t.Fatalf("%s finds %q, %v in %d %q", called.operation, found, err, status, body)
		case presence == Absent && !saysAbsent(called.operation, status, body):
			t.Fatalf("%s finds nothing in %d %q", called.operation, status, body)
		}
		if err == nil {
			if status != http.StatusOK && presence == Present {
				t.Fatalf("%s succeeds with %d", called.operation, status)
			}
			return
		}
		failed := checkError(t, called.operation, err)
		switch {
		case failed.Effect == EffectNotSent:
			t.Fatalf("%s was answered %d and not sent", called.operation, status)
		case called.movesMoney && failed.Effect == EffectRefused && !listed(called.operation, status, body):
			t.Fatalf("%s is refused by %d %q", called.operation, status, body)
		case failed.Effect == EffectRefused && (status < 400 || status >= 500):
			t.Fatalf("%s is refused by %d", called.operation, status)
		}
	})
}

// saysAbsent reports whether an answer to a look-up says that there is no such thing.
func saysAbsent(operation string, status int, body []byte) bool {
	text := unescaped(body)
	switch operation {
	case opSendRequest:
		return status == 403 && strings.Contains(text, CodePaymentNotFound)
	case opOnchainSend:
		return status == 404 && strings.Contains(text, textSendNotFound)
	case opReceiveRequest:
		return status == 200 && strings.TrimSpace(string(body)) == "null" || status == 404 || strings.Contains(text, CodeUnknownLNInvoice)
	}
	return false
}

// brokenConn accepts some bytes, then fails, and answers with some other bytes once it was written to.
type brokenConn struct {
	net.Conn // what is not overridden is not called
	accepts  int
	answer   io.Reader
	onWrite  func(accepted int)

	mu      sync.Mutex
	written chan struct{}
	started bool
	closed  chan struct{}
	once    sync.Once
}

func (c *brokenConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(p), c.accepts)
	c.accepts -= n
	if n > 0 {
		c.onWrite(n)
		if !c.started {
			c.started = true
			close(c.written)
		}
	}
	if n < len(p) {
		return n, errors.New("broken pipe")
	}
	return n, nil
}

func (c *brokenConn) Read(p []byte) (int, error) {
	select {
	case <-c.written:
		return c.answer.Read(p)
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *brokenConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}
func (*brokenConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*brokenConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*brokenConn) SetDeadline(time.Time) error      { return nil }
func (*brokenConn) SetReadDeadline(time.Time) error  { return nil }
func (*brokenConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzConnection makes the guarded calls over a connection that breaks after any number of bytes and answers with any others. A call
// leaves at most once, and one of which a byte left was sent.
func FuzzConnection(f *testing.F) {
	for _, accepts := range []int{0, 1, 100, 1 << 20} {
		for which := range uint8(4) {
			f.Add(which, accepts, []byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull"))
			f.Add(which, accepts, []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 200\r\n\r\n"+bodyNoInvoice))
			f.Add(which, accepts, []byte("HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"))
			f.Add(which, accepts, []byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n"))
			f.Add(which, accepts, []byte(""))
		}
	}
	operations := []string{opPayInvoiceBegin, opPayInvoiceEnd, opOnchainBegin, opOnchainEnd}
	f.Fuzz(func(t *testing.T, which uint8, accepts int, answer []byte) {
		operation := operations[int(which)%len(operations)]
		if accepts < 0 {
			accepts = -1 // which is: the dial fails
		}
		var mu sync.Mutex
		dials, left := 0, 0
		client := fuzzClient(t, func(config *Config) {
			config.Dial = func(context.Context, string, string) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				dials++
				if accepts < 0 {
					return nil, errors.New("connection refused")
				}
				return &brokenConn{
					accepts: accepts, answer: bytes.NewReader(answer), written: make(chan struct{}), closed: make(chan struct{}),
					onWrite: func(n int) {
						mu.Lock()
						defer mu.Unlock()
						left += n
					},
				}, nil
			}
		})
		err := moneyCalls[operation](t.Context(), client, inAMinute())
		mu.Lock()
		defer mu.Unlock()
		registers := slices.Contains([]string{opPayInvoiceBegin, opOnchainBegin}, operation) && errors.Is(err, ErrWalletNotRegistered)
		if dials > 1 && !registers {
			t.Fatalf("%s was sent %d times", operation, dials)
		}
		if err == nil {
			if left == 0 {
				t.Fatalf("%s succeeded and was not sent", operation)
			}
			return
		}
		failed := checkError(t, operation, err)
		if failed.Effect == EffectNotSent && left > 0 {
			t.Fatalf("%d bytes of %s left, and it was not sent: %v", left, operation, failed)
		}
		if failed.Effect == EffectRefused && (left == 0 || failed.StatusCode < 400 || failed.StatusCode > 499) {
			t.Fatalf("%s is refused by %d after %d bytes", operation, failed.StatusCode, left)
		}
	})
}

// FuzzTransportError wraps errors in one another: an injected transport's is proof that nothing was sent where it says so, and only
// there.
func FuzzTransportError(f *testing.F) {
	for n := range uint8(8) {
		f.Add(n, []byte{0, 1, 2, 3, 4, 5, 6, 7}, "text")
		f.Add(n, []byte{7, 0}, "nothing was sent")
	}
	f.Fuzz(func(t *testing.T, which uint8, wraps []byte, text string) {
		if len(wraps) > 20 {
			return
		}
		var cause error = &net.OpError{Op: "write", Err: errors.New(text)}
		notSent := false
		for _, wrap := range wraps {
			switch wrap % 8 {
			case 0:
				cause = fmt.Errorf("%s: %w", text, cause)
			case 1:
				cause = &net.OpError{Op: text, Err: cause}
			case 2:
				cause = errors.Join(cause, context.DeadlineExceeded)
			case 3:
				cause = errors.Join(io.ErrUnexpectedEOF, cause)
			case 4:
				cause = fmt.Errorf("%s: %v", ErrNotSent, cause) // its words, and not the error
			case 5:
				cause = errors.Join(ErrNotAfterPassed, cause)
			case 6:
				cause = &net.DNSError{Err: cause.Error(), IsNotFound: true}
			case 7:
				cause = errors.Join(cause, ErrNotSent)
			}
			switch wrap % 8 {
			case 4, 6:
				notSent = false // what they hold is text
			case 7:
				notSent = true
			}
		}
		called := everyCall[int(which)%len(everyCall)]
		client := fuzzClient(t, func(config *Config) {
			config.Transport = roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, cause })
		})
		_, presence, err := called.call(t.Context(), client)
		if presence != PresenceUnknown {
			t.Fatalf("%s finds %v in %v", called.operation, presence, cause)
		}
		if failed := checkError(t, called.operation, err); failed.Effect == EffectRefused || (failed.Effect == EffectNotSent) != notSent {
			t.Fatalf("%s has the effect %s of %v", called.operation, failed.Effect, cause)
		}
	})
}

// FuzzClean holds that text of the service's becomes one printable line of bounded length, without secrets.
func FuzzClean(f *testing.F) {
	f.Add("", "")
	f.Add("<b>", "</b>")
	f.Add(strings.Repeat("x", maxMessage), "\r\n\x00\x1b[2J")
	f.Add("\u202e", testWallet.XpubColored+" "+testPSBT)
	redact := redactor(testToken, testWallet.XpubVanilla)
	f.Fuzz(func(t *testing.T, before, after string) {
		got := clean(before+testToken+after+" "+testWallet.XpubVanilla, redact, maxMessage)
		if len(got) > maxMessage || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return r == '\n' || !unicode.IsPrint(r) }) {
			t.Fatalf("%q", got)
		}
		if strings.Contains(got, testToken) || strings.Contains(got, testWallet.XpubVanilla) {
			t.Fatalf("a secret is left in %q", got)
		}
	})
}

func FuzzDecodeTransactions(f *testing.F) {
	decode := func(body []byte) ([]Transaction, error) {
		return decodeList(bytes.NewReader(body), "transactions", true, testClientWithoutServer().decodeTransaction)
	}
	fuzzDecoder(f, decode, func(transactions []Transaction) bool {
		for _, one := range transactions {
			if len(one.Txid) > maxMessage {
				return false
			}
		}
		return transactions != nil
	}, `[{"txid":"ab","received":1,"sent":"2","fee":3.0}]`, `{"transactions":[{"txid":"ab","sent":9223372036854775807,"received":-1,"fee":-1}]}`)
}

func FuzzDecodeUnusedAddresses(f *testing.F) {
	decode := func(body []byte) ([]DepositAddress, error) {
		return decodeList(bytes.NewReader(body), "addresses", false, func(item json.RawMessage) (DepositAddress, error) {
			return testClientWithoutServer().decodeDepositAddress(item)
		})
	}
	fuzzDecoder(f, decode, func(addresses []DepositAddress) bool {
		for _, one := range addresses {
			if one.Address == "" || strings.ContainsAny(one.Address+one.AssetInvoice, " \r\n\t") {
				return false
			}
		}
		return addresses != nil
	}, `{"addresses":[{"btc_address":"bcrt1q","asset_invoice":"rgb:x","expires_at":"2026-01-08T12:00:00Z"}]}`)
}

// FuzzKeepPlain holds the short way of keep against the long one.
func FuzzKeepPlain(f *testing.F) {
	for _, seed := range []string{
		"", "Succeeded", "PENDING_2", strings.Repeat("ab", 33), "cHNidP8BAHUCAAAA", "tpub" + strings.Repeat("z", 19), "two words", "x\x00", "<b>",
		"feed0123beef", "PENDING_feed0123beef", strings.Repeat("feed0123beef", 6),
	} {
		f.Add(seed)
	}
	client := &Client{secrets: newSecrets(Config{BearerToken: "feed0123beef"})}
	f.Fuzz(func(t *testing.T, text string) {
		if got, want := client.keep(text), client.clean(text); got != want {
			t.Errorf("%q is kept as %q, want %q", text, got, want)
		}
	})
}
