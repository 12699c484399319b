package utexo

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

var testWallet = Wallet{
	XpubVanilla:       "tpubDDMTD6EJKKLP6Gx9JUnMpjf9NYyePJszmqBnNqULNmcgEuU1yQ3JsHhWZdRFecszWETnNsmhEe9vnaNibfzZkDDHycbR2rGFbXdHWRgBfu7",
	XpubColored:       "tpubDDPLJfdVbDoGtnn6hSto3oCnm6hpfHe9uk2MxcANanxk87EuquhSVfSLQv7e5UykgzaFn41DUXaikjjVGcUSUTGNaJ9LcozfRwatKp1vTfC",
	MasterFingerprint: "a66bffef",
}

const (
	testHash    = "6c5e9d6b5a3c6c4a5c3c4e2c7d8f9a0b1c2d3e4f5061728394a5b6c7d8e9f001"
	testPSBT    = "cHNidP8BAAoCAAAAAAAAAAAAAAAA"
	testInvoice = "lnbcrt10u1pexample"
)

// answering starts a server that gives every request the same answer.
func answering(t *testing.T, status int, body string) *httptest.Server {
	t.Helper()
	return serving(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the client may have hung up, which is what some tests are about
	})
}

func serving(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// newTestClient returns a client of a plain http server.
func newTestClient(t *testing.T, url string, change ...func(*Config)) *Client {
	t.Helper()
	config := Config{URL: url, Wallet: testWallet, Insecure: true}
	for _, f := range change {
		f(&config)
	}
	client, err := New(config)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return client
}

// inAMinute is a notAfter that does not matter.
func inAMinute() time.Time { return time.Now().Add(time.Minute) }

// moneyCalls are the calls that are guarded, by operation.
var moneyCalls = map[string]func(context.Context, *Client, time.Time) error{
	opPayInvoiceBegin: func(ctx context.Context, c *Client, notAfter time.Time) error {
		_, err := c.PayInvoiceBegin(ctx, testInvoice, 100, notAfter)
		return err
	},
	opPayInvoiceEnd: func(ctx context.Context, c *Client, notAfter time.Time) error {
		_, err := c.PayInvoiceEnd(ctx, testPSBT, notAfter)
		return err
	},
	opOnchainBegin: func(ctx context.Context, c *Client, notAfter time.Time) error {
		_, err := c.OnchainSendBegin(ctx, OnchainOrder{Destination: "bcrt1qexample", AmountSats: new(int64(5000)), FeeRate: 2}, notAfter)
		return err
	},
	opOnchainEnd: func(ctx context.Context, c *Client, notAfter time.Time) error {
		_, err := c.OnchainSendEnd(ctx, testPSBT, notAfter)
		return err
	},
}

// rawServer speaks TCP, so that it can misbehave below HTTP and see every byte that arrives.
type rawServer struct {
	listener net.Listener
	handle   func(conn net.Conn, request string)
	greet    func(conn net.Conn) bool // before anything is read; false ends the connection

	mu       sync.Mutex
	dials    int
	sent     int // bytes that left the client
	received bytes.Buffer
	requests []string
	serving  sync.WaitGroup
}

// newRawServer starts one whose handle is called with each connection from which a whole request was read.
func newRawServer(t *testing.T, handle func(conn net.Conn, request string)) *rawServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{listener: listener, handle: handle}
	s.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed by stop
			}
			s.serving.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *rawServer) stop() {
	_ = s.listener.Close() // closing twice is fine
	s.serving.Wait()
}

func (s *rawServer) url() string { return "http://" + s.listener.Addr().String() }

// dial counts the client's attempts to connect.
func (s *rawServer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	s.dials++
	s.mu.Unlock()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &sendingConn{TCPConn: conn.(*net.TCPConn), server: s}, nil
}

// sendingConn is the client's side of a connection, which counts what left it.
type sendingConn struct {
	*net.TCPConn
	server *rawServer
}

func (c *sendingConn) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.server.mu.Lock()
	c.server.sent += n
	c.server.mu.Unlock()
	return n, err
}

func (s *rawServer) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if s.greet != nil && !s.greet(conn) {
		return
	}
	reader := bufio.NewReader(io.TeeReader(conn, lockedWriter{s}))
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		var head strings.Builder
		head.WriteString(request.Method + " " + request.URL.Path + "\n")
		_ = request.Header.Write(&head) // a strings.Builder does not fail
		s.mu.Lock()
		s.requests = append(s.requests, head.String()+"\n"+string(body))
		s.mu.Unlock()
		if s.handle == nil {
			return
		}
		s.handle(conn, string(body))
		if request.Close {
			return
		}
	}
}

// state stops the server and returns what it saw.
func (s *rawServer) state() (dials int, requests []string, received int) {
	s.stop()
	return s.dials, s.requests, s.received.Len()
}

type lockedWriter struct{ server *rawServer }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return w.server.received.Write(p)
}

// writes returns a handler that answers with these bytes and closes the connection.
func writes(answer string) func(net.Conn, string) {
	return func(conn net.Conn, _ string) {
		_, _ = io.WriteString(conn, answer) // the client may have hung up
	}
}
