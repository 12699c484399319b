package utexo

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"
)

// TestMoneyCallsLeaveOnce gives each guarded call every answer that could tempt an HTTP client to try again, and counts what arrived.
func TestMoneyCallsLeaveOnce(t *testing.T) {
	const page = "<html><h1>Bad Gateway</h1></html>"
	tests := map[string]struct {
		handle     func(net.Conn, string)
		greet      func(net.Conn) bool
		wantCode   string
		wantStatus int
		wantRetry  time.Duration
		unread     bool // the server did not wait for the request
	}{
		"closes before it reads": {
			greet: func(net.Conn) bool { return false }, unread: true,
		},
		"resets before it reads": {
			greet: func(conn net.Conn) bool { return conn.(*net.TCPConn).SetLinger(0) != nil }, unread: true,
		},
		"answers before it reads": {
			greet: func(conn net.Conn) bool {
				_, _ = io.WriteString(conn, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				return true
			},
			unread: true,
		},
		"reads and closes":             {handle: writes(""), wantCode: CodeConnection},
		"reads and resets":             {handle: func(conn net.Conn, _ string) { _ = conn.(*net.TCPConn).SetLinger(0) }, wantCode: CodeConnection},
		"closes within the header":     {handle: writes("HTTP/1.1 200 OK\r\nContent-Le"), wantCode: CodeConnection},
		"closes within the body":       {handle: writes("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"id\":"), wantCode: CodeConnection, wantStatus: 200},
		"closes within a chunked body": {handle: writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnull\r\n"), wantCode: CodeConnection, wantStatus: 200},
		"closes within a body of unknown length": {
			handle: writes("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"id\":\"" + testHash), wantCode: CodeUnexpectedAnswer, wantStatus: 200,
		},
		"closes within an error": {
			handle: writes("HTTP/1.1 400 Bad Request\r\nContent-Length: 1000\r\n\r\n" + bodyNoInvoice), wantCode: CodeConnection, wantStatus: 400,
		},
		"is no web server":            {handle: writes("SSH-2.0-OpenSSH_9.6\r\n"), wantCode: CodeConnection},
		"sends an endless header":     {handle: writes("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 2*maxHeaderBytes) + "\r\n\r\n"), wantCode: CodeConnection},
		"redirects with 301":          {handle: redirects(301), wantCode: CodeRedirected, wantStatus: 301},
		"redirects with 302":          {handle: redirects(302), wantCode: CodeRedirected, wantStatus: 302},
		"redirects with 303":          {handle: redirects(303), wantCode: CodeRedirected, wantStatus: 303},
		"redirects with 307":          {handle: redirects(307), wantCode: CodeRedirected, wantStatus: 307},
		"redirects with 308":          {handle: redirects(308), wantCode: CodeRedirected, wantStatus: 308},
		"answers null":                {handle: answers(200, "null"), wantCode: CodeUnexpectedAnswer, wantStatus: 200},
		"answers another object":      {handle: answers(200, "{}"), wantCode: CodeUnexpectedAnswer, wantStatus: 200},
		"answers a number":            {handle: answers(200, "7"), wantCode: CodeUnexpectedAnswer, wantStatus: 200},
		"answers nothing":             {handle: answers(200, ""), wantCode: CodeUnexpectedAnswer, wantStatus: 200},
		"answers a page":              {handle: answers(200, page), wantCode: CodeUnexpectedAnswer, wantStatus: 200},
		"answers too much":            {handle: answers(200, `"`+strings.Repeat("a", maxAnswer)+`"`), wantCode: CodeAnswerTooLarge, wantStatus: 200},
		"fails with too much":         {handle: answers(400, strings.Repeat("a", maxAnswer+1)), wantCode: CodeAnswerTooLarge, wantStatus: 400},
		"has no content":              {handle: writes("HTTP/1.1 204 No Content\r\n\r\n"), wantCode: CodeUnexpectedStatus, wantStatus: 204},
		"switches protocols":          {handle: writes("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), wantCode: CodeUnexpectedStatus, wantStatus: 101},
		"asks for more patience":      {handle: writes("HTTP/1.1 102 Processing\r\n\r\n"), wantCode: CodeConnection},
		"fails without a word":        {handle: answers(500, ""), wantCode: CodeUnexpectedStatus, wantStatus: 500},
		"lost its node":               {handle: answers(500, `{"detail":"Failed to communicate with RLN node: "}`), wantCode: CodeNodeUnreachable, wantStatus: 500},
		"is behind a broken proxy":    {handle: answers(502, page), wantCode: CodeUnexpectedStatus, wantStatus: 502},
		"is too busy":                 {handle: writes("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"), wantCode: CodeUnexpectedStatus, wantStatus: 503, wantRetry: 7 * time.Second},
		"limits the rate":             {handle: writes("HTTP/1.1 429 Slow\r\nRetry-After: 999999999\r\nContent-Length: 0\r\n\r\n"), wantCode: CodeUnexpectedStatus, wantStatus: 429, wantRetry: 24 * time.Hour},
		"was not meant (misdirected)": {handle: answers(421, ""), wantCode: CodeUnexpectedStatus, wantStatus: 421},
		"never answers": {
			handle:   func(conn net.Conn, _ string) { _, _ = io.Copy(io.Discard, conn) }, // until the client hangs up
			wantCode: CodeTimeout,
		},
		"answers one byte and waits": {
			handle: func(conn net.Conn, _ string) {
				writes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")(conn, "")
				_, _ = io.Copy(io.Discard, conn)
			},
			wantCode: CodeTimeout, wantStatus: 200,
		},
	}
	for name, tc := range tests {
		for operation, send := range moneyCalls {
			t.Run(name+", "+operation, func(t *testing.T) {
				server := newRawServer(t, tc.handle)
				server.greet = tc.greet
				client := newTestClient(t, server.url(), func(c *Config) {
					c.Dial = server.dial
					if tc.wantCode == CodeTimeout {
						c.BeginTimeout, c.EndTimeout = time.Second, time.Second // enough to write on a starved machine
					}
				})
				err := send(t.Context(), client, inAMinute())
				e, ok := errors.AsType[*Error](err)
				if !ok {
					t.Fatalf("error = %v, want an *Error", err)
				}
				if tc.unread { // then the client may notice before it writes, and says so if that is so
					server.mu.Lock()
					if e.Effect != EffectUnknown && (e.Effect != EffectNotSent || server.sent != 0) {
						t.Errorf("error = %v, effect %v, and %d bytes left", e, e.Effect, server.sent)
					}
					server.mu.Unlock()
				} else if e.Code != tc.wantCode || e.StatusCode != tc.wantStatus || e.Effect != EffectUnknown || e.RetryAfter != tc.wantRetry {
					t.Errorf("error = %v (effect %v, retry after %v), want HTTP %d, %s, unknown effect, retry after %v",
						e, e.Effect, e.RetryAfter, tc.wantStatus, tc.wantCode, tc.wantRetry)
				}
				dials, requests, _ := server.state()
				if dials != 1 || len(requests) > 1 || len(requests) == 0 && !tc.unread {
					t.Errorf("%d connections with %d requests, want one of each", dials, len(requests))
				}
			})
		}
	}
}

// answers returns a handler that gives one complete answer and keeps the connection, as a server does that is asked again.
func answers(status int, body string) func(net.Conn, string) {
	return func(conn net.Conn, _ string) {
		response := http.Response{
			StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
		}
		_ = response.Write(conn) // the client may have hung up
	}
}

func redirects(status int) func(net.Conn, string) {
	return func(conn net.Conn, _ string) {
		response := http.Response{
			StatusCode: status, ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Location": {"http://" + conn.LocalAddr().String() + "/elsewhere"}},
		}
		_ = response.Write(conn) // the client may have hung up
	}
}

func TestMoneyCallsUseNewConnections(t *testing.T) {
	server := newRawServer(t, answers(400, bodyNoInvoice))
	client := newTestClient(t, server.url(), func(c *Config) { c.Dial = server.dial })
	for range 3 {
		if _, err := client.PayInvoiceEnd(t.Context(), testPSBT, inAMinute()); err == nil {
			t.Fatal("PayInvoiceEnd succeeded")
		}
	}
	dials, requests, _ := server.state()
	if dials != 3 || len(requests) != 3 {
		t.Errorf("%d connections with %d requests, want 3 of each", dials, len(requests))
	}
	for _, request := range requests {
		if !strings.Contains(request, "Connection: close") {
			t.Errorf("a request keeps its connection:\n%s", request)
		}
		for _, header := range []string{"idempotency", "expect"} {
			if strings.Contains(strings.ToLower(request), header) {
				t.Errorf("a request holds %s:\n%s", header, request)
			}
		}
	}
}

func TestNothingIsSentWhereThatCanBeProven(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		notAfter  time.Time
		wantDials int
		wantCode  string
		wantCause error
		// change may step the clock, cancel the call or break the connection.
		change func(config *Config, clock *testclock.FakePassiveClock, cancel context.CancelFunc)
		url    string
	}{
		"the instant has passed": {
			notAfter: now.Add(-time.Nanosecond), wantCode: CodeNotAfter, wantCause: ErrNotAfterPassed,
		},
		"there is no instant": {
			wantCode: CodeNotAfter, wantCause: ErrNotAfterPassed,
		},
		"the instant passes while it connects": {
			notAfter: now.Add(time.Second), wantDials: 1, wantCode: CodeNotAfter, wantCause: ErrNotAfterPassed,
			change: func(config *Config, clock *testclock.FakePassiveClock, _ context.CancelFunc) {
				dial := config.Dial
				config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					clock.SetTime(now.Add(2 * time.Second))
					return conn, err
				}
			},
		},
		"the caller has given up": {
			notAfter: now, wantCode: CodeCanceled, wantCause: context.Canceled,
			change: func(_ *Config, _ *testclock.FakePassiveClock, cancel context.CancelFunc) { cancel() },
		},
		"the caller gives up while it connects, and then it does connect": {
			notAfter: now, wantDials: 1, wantCode: CodeCanceled, wantCause: context.Canceled,
			change: func(config *Config, _ *testclock.FakePassiveClock, cancel context.CancelFunc) {
				dial := config.Dial
				config.Dial = func(_ context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(context.Background(), network, addr)
					cancel()
					time.Sleep(20 * time.Millisecond) // let the call return first: its connection must be of no use
					return conn, err
				}
			},
		},
		"nobody listens": {
			notAfter: now, wantDials: 1, wantCode: CodeConnection,
			change: func(config *Config, _ *testclock.FakePassiveClock, _ context.CancelFunc) {
				dial := config.Dial
				config.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
					return dial(ctx, network, "127.0.0.1:1")
				}
			},
		},
		"it connects too late": {
			notAfter: now, wantDials: 0, wantCode: CodeTimeout, wantCause: context.DeadlineExceeded,
			change: func(config *Config, _ *testclock.FakePassiveClock, _ context.CancelFunc) {
				config.BeginTimeout, config.EndTimeout = 10*time.Millisecond, 10*time.Millisecond
				config.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			},
		},
		"the other side does not speak TLS": {
			notAfter: now, wantDials: 1, wantCode: CodeConnection, url: "https",
		},
	}
	for name, tc := range tests {
		for operation, send := range moneyCalls {
			t.Run(name+", "+operation, func(t *testing.T) {
				server := newRawServer(t, answers(400, bodyNoInvoice))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				fake := testclock.NewFakePassiveClock(now)
				url := server.url()
				if tc.url != "" {
					url = strings.Replace(url, "http", tc.url, 1)
				}
				client := newTestClient(t, url, func(c *Config) {
					c.Clock, c.Dial = fake, server.dial
					if tc.change != nil {
						tc.change(c, fake, cancel)
					}
				})
				err := send(ctx, client, tc.notAfter)
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Effect != EffectNotSent || e.Code != tc.wantCode || tc.wantCause != nil && !errors.Is(err, tc.wantCause) {
					t.Errorf("error = %v, want %s, not sent, because of %v", err, tc.wantCode, tc.wantCause)
				}
				if strings.Contains(name, "connect, and then") {
					time.Sleep(40 * time.Millisecond) // time for what must not happen
				}
				dials, requests, received := server.state()
				if dials != tc.wantDials || len(requests) != 0 {
					t.Errorf("%d connections, %d requests, want %d and none", dials, len(requests), tc.wantDials)
				}
				if tc.url == "" && received != 0 {
					t.Errorf("%d bytes arrived, want none", received)
				}
			})
		}
	}
}

// TestNotSentHoldsAtEveryMoment gives calls up at moments spread over their whole life, and looks afterwards at what really left.
func TestNotSentHoldsAtEveryMoment(t *testing.T) {
	effects := map[Effect]int{}
	for i := range 300 {
		server := newRawServer(t, answers(400, bodyNoPSBT))
		client := newTestClient(t, server.url(), func(c *Config) { c.Dial = server.dial })
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*2*time.Microsecond)
		_, err := client.OnchainSendEnd(ctx, testPSBT, inAMinute())
		cancel()
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("OnchainSendEnd error = %v", err)
		}
		effects[e.Effect]++
		_, requests, received := server.state()
		if e.Effect == EffectNotSent && (received != 0 || len(requests) != 0) || e.Effect == EffectRefused && len(requests) != 1 {
			t.Errorf("given up after %d µs: %v, effect %v, but %d bytes and %d requests arrived", 2*i, err, e.Effect, received, len(requests))
		}
	}
	if effects[EffectNotSent] == 0 || effects[EffectNotSent] == 300 {
		t.Errorf("the moments are not spread: %v", effects)
	}
}

// TestNotAfterWithinARequest lets the instant pass when a part of a large request has left.
func TestNotAfterWithinARequest(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	fake := testclock.NewFakePassiveClock(now)
	server := newRawServer(t, answers(400, bodyNoInvoice))
	client := newTestClient(t, server.url(), func(c *Config) {
		c.Clock = fake
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := server.dial(ctx, network, addr)
			return &steppingConn{Conn: conn, after: func() { fake.SetTime(now.Add(time.Hour)) }}, err
		}
	})
	_, err := client.PayInvoiceEnd(t.Context(), testPSBT+strings.Repeat("A", 1<<20), now.Add(time.Second))
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Effect != EffectUnknown || e.Code != CodeNotAfter {
		t.Errorf("error = %v, want %s of unknown effect", err, CodeNotAfter)
	}
	if _, requests, received := server.state(); len(requests) != 0 || received == 0 || received > 1<<20 {
		t.Errorf("%d requests, %d bytes arrived, want no whole request and a part of one", len(requests), received)
	}
}

type steppingConn struct {
	net.Conn
	after func()
}

func (c *steppingConn) Write(p []byte) (int, error) {
	defer c.after()
	return c.Conn.Write(p)
}

func TestAnAbandonedRequestIsNotDelivered(t *testing.T) {
	server := newRawServer(t, answers(400, bodyNoInvoice))
	var linger atomic.Int64
	linger.Store(-1)
	client := newTestClient(t, server.url(), func(c *Config) {
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := server.dial(ctx, network, addr)
			return &lingeringConn{Conn: conn, seconds: &linger}, err
		}
	})
	if _, err := client.PayInvoiceEnd(t.Context(), testPSBT, inAMinute()); err == nil {
		t.Fatal("PayInvoiceEnd succeeded")
	}
	if got := linger.Load(); got != 0 {
		t.Errorf("linger = %d, want 0: a closed socket goes on sending", got)
	}
}

type lingeringConn struct {
	net.Conn
	seconds *atomic.Int64
}

func (c *lingeringConn) SetLinger(seconds int) error {
	c.seconds.Store(int64(seconds))
	return nil
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestAWrapperCannotRepeatAMoneyCall(t *testing.T) {
	server := newRawServer(t, answers(503, ""))
	client := newTestClient(t, server.url(), func(c *Config) {
		c.Dial = server.dial
		c.Instrument = func(next http.RoundTripper) http.RoundTripper {
			return roundTripFunc(func(req *http.Request) (*http.Response, error) {
				if resp, err := next.RoundTrip(req); err != nil || resp.StatusCode != 503 {
					return resp, err
				}
				return next.RoundTrip(req)
			})
		}
	})
	_, err := client.OnchainSendEnd(t.Context(), testPSBT, inAMinute())
	if e, ok := errors.AsType[*Error](err); !ok || e.Effect != EffectUnknown || !errors.Is(err, errRepeated) {
		t.Errorf("error = %v, want %v of unknown effect", err, errRepeated)
	}
	if dials, requests, _ := server.state(); dials != 1 || len(requests) != 1 {
		t.Errorf("%d connections with %d requests, want one of each", dials, len(requests))
	}
}

func TestInjectedTransport(t *testing.T) {
	tests := map[string]struct {
		err  error
		want Effect
	}{
		"any error leaves the effect unknown": {errors.New("lost"), EffectUnknown},
		"one that says so proves it":          {errors.Join(ErrNotSent, errors.New("refused")), EffectNotSent},
		"a timeout leaves the effect unknown": {context.DeadlineExceeded, EffectUnknown},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			calls := 0
			client := newTestClient(t, "http://utexo.invalid", func(c *Config) {
				c.Transport = roundTripFunc(func(*http.Request) (*http.Response, error) {
					calls++
					return nil, tc.err
				})
			})
			_, err := client.PayInvoiceEnd(t.Context(), testPSBT, inAMinute())
			if e, ok := errors.AsType[*Error](err); !ok || e.Effect != tc.want || calls != 1 {
				t.Errorf("error = %v after %d calls, want effect %v after one", err, calls, tc.want)
			}
			_, err = client.PayInvoiceEnd(t.Context(), testPSBT, time.Now().Add(-time.Second))
			if e, ok := errors.AsType[*Error](err); !ok || e.Effect != EffectNotSent || calls != 1 {
				t.Errorf("after its time: error = %v after %d calls, want not sent", err, calls)
			}
		})
	}
}

func TestRefusedAndSucceededMoneyCalls(t *testing.T) {
	t.Run("a refusal is one answer to one request", func(t *testing.T) {
		server := newRawServer(t, answers(403, bodyDuplicate))
		client := newTestClient(t, server.url(), func(c *Config) { c.Dial = server.dial })
		_, err := client.PayInvoiceEnd(t.Context(), testPSBT, inAMinute())
		if e, ok := errors.AsType[*Error](err); !ok || e.Effect != EffectRefused || e.Code != CodeDuplicatePayment {
			t.Errorf("error = %v, want %s, refused", err, CodeDuplicatePayment)
		}
		if dials, requests, _ := server.state(); dials != 1 || len(requests) != 1 {
			t.Errorf("%d connections with %d requests, want one of each", dials, len(requests))
		}
	})
	t.Run("the request holds what was ordered and no more", func(t *testing.T) {
		server := newRawServer(t, answers(200, `"`+testPSBT+`"`))
		client := newTestClient(t, server.url(), func(c *Config) { c.Dial = server.dial })
		order := OnchainOrder{Destination: "bcrt1qexample", AmountSats: new(int64(5000)), FeeRate: 2}
		if psbt, err := client.OnchainSendBegin(t.Context(), order, inAMinute()); err != nil || psbt != testPSBT {
			t.Errorf("OnchainSendBegin = %q, %v", psbt, err)
		}
		order = OnchainOrder{Destination: "rgb:x", Asset: &Asset{ID: "rgb:asset", Amount: 7}, FeeRate: 3}
		if psbt, err := client.OnchainSendBegin(t.Context(), order, inAMinute()); err != nil || psbt != testPSBT {
			t.Errorf("OnchainSendBegin = %q, %v", psbt, err)
		}
		if psbt, err := client.PayInvoiceBegin(t.Context(), testInvoice, 0, inAMinute()); err != nil || psbt != testPSBT {
			t.Errorf("PayInvoiceBegin = %q, %v", psbt, err)
		}
		_, requests, _ := server.state()
		want := []string{
			`{"address_or_rgbinvoice":"bcrt1qexample","amount_sats":5000,"deduct_fee_from_amount":false,"fee_rate":2}`,
			`{"address_or_rgbinvoice":"rgb:x","asset":{"amount":7,"asset_id":"rgb:asset"},"deduct_fee_from_amount":false,"fee_rate":3}`,
			`{"invoice":"lnbcrt10u1pexample","max_fee_sats":0}`,
		}
		for i := range want {
			if i >= len(requests) || !strings.HasSuffix(requests[i], "\n"+want[i]) {
				t.Errorf("request %d is not %s:\n%q", i, want[i], requests)
			}
		}
	})
	t.Run("a call without its argument is not made", func(t *testing.T) {
		server := newRawServer(t, answers(200, "null"))
		client := newTestClient(t, server.url(), func(c *Config) { c.Dial = server.dial })
		_, noInvoice := client.PayInvoiceBegin(t.Context(), "", 1, inAMinute())
		_, negativeFee := client.PayInvoiceBegin(t.Context(), testInvoice, -1, inAMinute())
		_, noPSBT := client.PayInvoiceEnd(t.Context(), "", inAMinute())
		_, noRate := client.OnchainSendBegin(t.Context(), OnchainOrder{Destination: "x"}, inAMinute())
		_, noSignedPSBT := client.OnchainSendEnd(t.Context(), "", inAMinute())
		_, _, noHash := client.SendRequest(t.Context(), "../balance")
		_, _, noID := client.OnchainSend(t.Context(), "..")
		_, _, slash := client.ReceiveRequest(t.Context(), "a/b")
		for i, err := range []error{noInvoice, negativeFee, noPSBT, noRate, noSignedPSBT, noHash, noID, slash} {
			if e, ok := errors.AsType[*Error](err); !ok || e.Effect != EffectNotSent || e.Code != CodeInvalidArgument || e.Temporary() {
				t.Errorf("call %d: error = %v, want %s, not sent", i, err, CodeInvalidArgument)
			}
		}
		if dials, _, _ := server.state(); dials != 0 {
			t.Errorf("%d connections, want none", dials)
		}
	})
}

func TestTLS(t *testing.T) {
	authority := newAuthority(t)
	stranger := newAuthority(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 || len(r.TLS.PeerCertificates) != 1 {
			http.Error(w, "want HTTP/1.1 and a client certificate", http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, `{"id":"`+testHash+`","status":"PENDING"}`)
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{authority.issue(t, "utexo.test")},
		ClientCAs:    authority.pool(),
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}
	server.Config.ErrorLog = discardLog()
	server.StartTLS()
	t.Cleanup(server.Close)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	certificate := authority.issue(t, "operator")
	foreign := stranger.issue(t, "operator")
	// TLS 1.3 tells the client that its certificate is refused after it may have sent its request, so either effect is right, and instead of
	// the reason it may read that the connection was reset.
	const either = Effect(-1)
	reset := regexp.MustCompile(`connection reset by peer|broken pipe|the connection was closed`)
	tests := map[string]struct {
		host        string
		bundle      []byte
		certificate *tls.Certificate
		wantEffect  Effect
		wantMessage string // part of the error; empty: none
	}{
		"a private authority and a client certificate": {"utexo.test", authority.pem, &certificate, 0, ""},
		"an authority that is not trusted": {
			"utexo.test", stranger.pem, &certificate, EffectNotSent, "the service's certificate is signed by an unknown authority",
		},
		"the system's authorities do not know it either": {
			"utexo.test", nil, &certificate, EffectNotSent, "the service's certificate is signed by an unknown authority",
		},
		"another host's certificate": {
			"other.test", authority.pem, &certificate, EffectNotSent, "the service's certificate is not valid for this host",
		},
		"no client certificate": {
			"utexo.test", authority.pem, nil, either, "remote error: tls: certificate required",
		},
		"a stranger's client certificate": {
			"utexo.test", authority.pem, &foreign, either, "remote error: tls: ",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			client := newTestClient(t, "https://"+tc.host, func(c *Config) {
				c.Dial, c.CABundle, c.ClientCertificate, c.Insecure = dial, tc.bundle, tc.certificate, false
			})
			_, err := client.PayInvoiceEnd(t.Context(), testPSBT, inAMinute())
			if tc.wantMessage == "" {
				if err != nil {
					t.Errorf("PayInvoiceEnd: %v", err)
				}
				if _, _, err := client.SendRequest(t.Context(), testHash); err != nil {
					t.Errorf("SendRequest, over a pooled connection: %v", err)
				}
				return
			}
			e, ok := errors.AsType[*Error](err)
			told := ok && (strings.Contains(err.Error(), tc.wantMessage) || tc.wantEffect == either && reset.MatchString(err.Error()))
			if !told || tc.wantEffect != either && e.Effect != tc.wantEffect {
				t.Errorf("error = %v, want effect %v, %q", err, tc.wantEffect, tc.wantMessage)
			}
		})
	}
}

// TestOnceAfterItsCall writes when the call is over, as net/http's writing goroutine may.
func TestOnceAfterItsCall(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	client, server := net.Pipe()
	defer func() { _, _ = client.Close(), server.Close() }()
	received := make(chan int, 1)
	go func() {
		n, _ := server.Read(make([]byte, 10))
		received <- n
	}()
	o := &once{clock: testclock.NewFakePassiveClock(now), notAfter: now}
	conn := o.watch(client, client)
	if started, late := o.seal(); started || late {
		t.Errorf("seal = %t, %t before anything was written", started, late)
	}
	if n, err := conn.Write([]byte("late")); n != 0 || !errors.Is(err, errSealed) {
		t.Errorf("Write after the call = %d, %v, want %v", n, err, errSealed)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if n := <-received; n != 0 {
		t.Errorf("%d bytes arrived after the call", n)
	}
}
