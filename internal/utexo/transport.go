package utexo

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	dialTimeout = 10 * time.Second
	// maxHeaderBytes bounds an answer's header, and so what a hostile server can make the client keep.
	maxHeaderBytes = 64 << 10
)

var (
	errSealed   = errors.New("the call is over")
	errRepeated = errors.New("a request that may be sent once was sent again")
)

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// transport carries requests over HTTP/1.1, without proxies, compression and cookies. It never repeats a request that has a
// once: those get a connection of their own, so that net/http has no idle connection to find dead and no reason to try another.
type transport struct {
	dial   dialFunc
	tls    *tls.Config
	pooled *http.Transport // for GETs, which may be repeated
}

func newTransport(dial dialFunc, tlsConfig *tls.Config) *transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	t := &transport{dial: dial, tls: tlsConfig}
	t.pooled = t.http1(nil)
	t.pooled.MaxIdleConnsPerHost = 8
	t.pooled.IdleConnTimeout = 60 * time.Second
	return t
}

// RoundTrip implements http.RoundTripper. A request whose context carries a once is sent under it.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	o := onceFrom(req.Context())
	if o == nil {
		return t.pooled.RoundTrip(req)
	}
	if err := o.use(); err != nil {
		return nil, err
	}
	single := t.http1(o)
	single.DisableKeepAlives = true
	return single.RoundTrip(req)
}

// CloseIdleConnections is what http.Client calls it.
func (t *transport) CloseIdleConnections() { t.pooled.CloseIdleConnections() }

// http1 returns a transport whose connections write under o, if that is not nil.
func (t *transport) http1(o *once) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // HTTP/2 resends what the peer did not process, as the peer says
	return &http.Transport{
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := t.dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return o.watch(conn, conn), nil
		},
		// TLS is set up here and not by net/http, so that once counts the request's bytes and not the handshake's.
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := t.dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			config := t.tls.Clone()
			if config.ServerName == "" {
				host, _, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, errors.Join(err, conn.Close())
				}
				config.ServerName = host
			}
			encrypted := tls.Client(conn, config)
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			if err := encrypted.HandshakeContext(ctx); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			return o.watch(encrypted, conn), nil
		},
	}
}

// once lets one request leave, at most one time and not after an instant, and knows whether any of it did.
type once struct {
	clock    clock.PassiveClock
	notAfter time.Time // zero: no limit

	mu      sync.Mutex
	used    bool
	started bool // a write was begun
	sealed  bool // no write will begin any more
	late    bool // a write was refused because of notAfter
}

type onceKey struct{}

func withOnce(ctx context.Context, o *once) context.Context {
	return context.WithValue(ctx, onceKey{}, o)
}

func onceFrom(ctx context.Context) *once {
	o, _ := ctx.Value(onceKey{}).(*once)
	return o
}

// Leave is for a Config.Transport to call where a connection would write the request whose context is ctx: it keeps the guarantees that
// the client's own transport keeps. An error, which wraps ErrNotSent, means that the request must not leave: it did before, its call is
// over, or its instant notAfter has passed. For simulations.
func Leave(ctx context.Context) error {
	o := onceFrom(ctx)
	if o == nil {
		return nil
	}
	err := o.use()
	if err == nil {
		err = o.begin()
	}
	if err != nil {
		return errors.Join(ErrNotSent, err)
	}
	return nil
}

// use is called by each attempt to send the request and allows the first.
func (o *once) use() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.used {
		return errRepeated
	}
	o.used = true
	return nil
}

// begin is called before each write and refuses it when the call is over or late.
func (o *once) begin() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed {
		return errSealed
	}
	if o.passed() {
		o.late = true
		return ErrNotAfterPassed
	}
	o.started = true
	return nil
}

// passed reports whether notAfter is over.
func (o *once) passed() bool {
	return !o.notAfter.IsZero() && o.clock.Now().After(o.notAfter)
}

// seal ends the call and reports what happened. net/http writes in a goroutine that outlives RoundTrip; after seal that goroutine
// cannot begin, so that "nothing was sent" stays true.
func (o *once) seal() (started, late bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sealed = true
	return o.started, o.late
}

// watch returns conn with its writes under o. raw is the connection below the encryption.
func (o *once) watch(conn, raw net.Conn) net.Conn {
	if o == nil {
		return conn
	}
	// Without this a closed socket goes on delivering what the peer has not acknowledged, for minutes: a request that was given up
	// would land after everybody stopped looking.
	if tcp, ok := raw.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // it fails only on a socket that is closed already
	}
	return &watchedConn{Conn: conn, once: o}
}

// watchedConn asks once before every write.
type watchedConn struct {
	net.Conn
	once *once
}

// Write implements net.Conn.
func (c *watchedConn) Write(p []byte) (int, error) {
	if err := c.once.begin(); err != nil {
		return 0, err
	}
	if !c.once.notAfter.IsZero() {
		// A peer that does not read must not hold the rest of the request back until after the instant.
		left := c.once.notAfter.Sub(c.once.clock.Now())
		if err := c.Conn.SetWriteDeadline(time.Now().Add(max(left, time.Millisecond))); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}
