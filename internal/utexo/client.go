// Package utexo calls the UTEXO HTTP API for one wallet.
//
// It is built around one question: when a call fails, what is known of its effect? Every error is an *Error whose Effect answers
// it. The two calls that move money, PayInvoiceEnd and OnchainSendEnd, leave this process at most once each, whatever the network
// and the service do: over a connection of their own, without retry, redirect, proxy, HTTP/2 or keep-alive, and not a byte of
// them after the instant that the caller names. The calls that begin a payment are sent in the same way.
//
// Looking something up answers with a Presence, so that "the service says there is none" is never confused with "the service
// does not say".
//
// A wallet that the service does not know is registered on the way, and the call repeated once: by every read, CreateInvoice,
// FeeEstimate and the two begins, for which that answer proves that nothing was done. The ends and Settle never do it.
package utexo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
	"k8s.io/utils/clock"

	"github.com/utexo/utexo-operator/internal/utexo/api"
)

const (
	defaultReadTimeout  = 35 * time.Second  // the service waits up to 30 s for its node
	defaultBeginTimeout = 60 * time.Second  // the PSBT is built from a wallet that may have to sync first
	defaultEndTimeout   = 150 * time.Second // the service may need 120 s for an end
	defaultUserAgent    = "utexo-operator"

	maxAnswer = 1 << 20
	maxList   = 64 << 20 // lists are unpaged
)

// Wallet names the wallet that the calls are about. The keys are public ones: they show every address, yet spend nothing.
type Wallet struct {
	// XpubVanilla and XpubColored are the account extended public keys, in base58 (BIP 32).
	XpubVanilla, XpubColored string
	// MasterFingerprint is the BIP 32 fingerprint of the master key, 8 hex digits.
	MasterFingerprint string
}

// Config says where the service is and as whom to call it. Only URL and Wallet are required.
type Config struct {
	// URL is the service's base URL; the API's paths are appended to it. Without user, query and fragment.
	URL    string
	Wallet Wallet
	// Insecure allows plain http. It never weakens https.
	Insecure bool
	// BearerToken is sent as the Authorization header.
	BearerToken string
	// ClientCertificate is presented to a service that asks for one.
	ClientCertificate *tls.Certificate
	// CABundle holds the certificates, in PEM, of the only authorities that are trusted; without it those of the system are.
	CABundle []byte
	// Headers are added to each request. Their values are taken for secrets.
	Headers   map[string]string
	UserAgent string // default "utexo-operator"

	ReadTimeout  time.Duration // of a call that moves nothing; default 35 s
	BeginTimeout time.Duration // default 60 s
	EndTimeout   time.Duration // of PayInvoiceEnd, OnchainSendEnd and Settle; default 150 s, more than the service itself needs

	// Clock tells the time that notAfter is compared with; default the real one.
	Clock clock.PassiveClock
	// Dial connects to the service; default a net.Dialer. For tests.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Transport replaces the package's own, and with it the guarantees of the own one about what leaves this process; the instant
	// notAfter is then only checked before RoundTrip. Its errors are EffectUnknown unless they wrap ErrNotSent. For simulations.
	Transport http.RoundTripper
	// Instrument wraps the transport in use, for traces and metrics. A request that may be sent once is refused to a wrapper that
	// sends it again.
	Instrument func(http.RoundTripper) http.RoundTripper
}

// String returns the URL alone: a Config that is printed shows no token and no key.
func (c Config) String() string { return "utexo.Config{URL: " + c.URL + "}" }

// GoString is String, for the verb %#v.
func (c Config) GoString() string { return c.String() }

// Client calls the service for one wallet. It is safe for concurrent use, but begin, sign and end are one critical section a wallet
// that the caller holds: the service keeps a single pending begin.
type Client struct {
	config    Config
	transport http.RoundTripper
	injected  bool // transport is not ours
	secrets   secrets
	wallet    api.GetBalanceParams // converts into the parameters of every other operation
	// sendPath is 1 + the index in onchainSendPaths of the one that this deployment serves; 0 while that is not known.
	sendPath atomic.Int32
}

var (
	extendedKey       = regexp.MustCompile(`^[0-9A-Za-z]{1,200}$`)
	masterFingerprint = regexp.MustCompile(`^[0-9A-Fa-f]{8}$`)
)

// reservedHeaders are set by the client or by HTTP itself, or would make something on the way repeat a request.
var reservedHeaders = map[string]bool{
	"Xpub-Van": true, "Xpub-Col": true, "Master-Fingerprint": true, "Authorization": true, "User-Agent": true,
	"Host": true, "Accept": true, "Accept-Encoding": true, "Content-Type": true, "Content-Length": true, "Content-Encoding": true,
	"Transfer-Encoding": true, "Connection": true, "Keep-Alive": true, "Expect": true, "Te": true, "Trailer": true, "Upgrade": true,
	"Cookie": true, "Idempotency-Key": true, "X-Idempotency-Key": true,
}

// New returns a client, or a *ConfigError that names the field at fault. It connects to nothing.
func New(config Config) (*Client, error) {
	if err := checkURL(config.URL, config.Insecure); err != nil {
		return nil, err
	}
	if err := checkWallet(config.Wallet); err != nil {
		return nil, err
	}
	if !httpguts.ValidHeaderFieldValue(config.BearerToken) || strings.TrimSpace(config.BearerToken) != config.BearerToken {
		return nil, &ConfigError{"BearerToken", "holds characters that a header cannot"}
	}
	for name, value := range config.Headers {
		if err := checkHeader(name, value); err != nil {
			return nil, err
		}
	}
	tlsConfig, err := tlsConfig(config)
	if err != nil {
		return nil, err
	}
	config.URL = strings.TrimRight(config.URL, "/")
	setDefault(&config.ReadTimeout, defaultReadTimeout)
	setDefault(&config.BeginTimeout, defaultBeginTimeout)
	setDefault(&config.EndTimeout, defaultEndTimeout)
	setDefault(&config.UserAgent, defaultUserAgent)
	if !httpguts.ValidHeaderFieldValue(config.UserAgent) {
		return nil, &ConfigError{"UserAgent", "holds characters that a header cannot"}
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}

	c := &Client{
		config:    config,
		transport: config.Transport,
		injected:  config.Transport != nil,
		secrets:   newSecrets(config),
		wallet: api.GetBalanceParams{
			XpubVan:           config.Wallet.XpubVanilla,
			XpubCol:           config.Wallet.XpubColored,
			MasterFingerprint: config.Wallet.MasterFingerprint,
		},
	}
	if c.transport == nil {
		c.transport = newTransport(config.Dial, tlsConfig)
	}
	if config.Instrument != nil {
		c.transport = config.Instrument(c.transport)
	}
	return c, nil
}

// String returns the service's URL: a Client that is printed shows no token and no key.
func (c *Client) String() string { return c.config.String() }

// GoString is String, for the verb %#v.
func (c *Client) GoString() string { return c.String() }

// CloseIdleConnections closes the connections that are kept for the next read. For a client that is replaced by another.
func (c *Client) CloseIdleConnections() {
	if pool, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		pool.CloseIdleConnections()
	}
}

func setDefault[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

func checkURL(text string, insecure bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil: // whose text quotes the URL
		return &ConfigError{"URL", "is not a URL"}
	case u.Scheme == "http" && !insecure:
		return &ConfigError{"URL", "is plain http, which shows the wallet to everybody on the way; use https or allow it with Insecure"}
	case u.Scheme != "https" && u.Scheme != "http":
		return &ConfigError{"URL", "has to begin with https://"}
	case u.Hostname() == "":
		return &ConfigError{"URL", "names no host"}
	case u.User != nil:
		return &ConfigError{"URL", "holds a user or password; use BearerToken or Headers"}
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return &ConfigError{"URL", "holds a query or fragment"}
	}
	return nil
}

func checkWallet(w Wallet) error {
	switch {
	case !extendedKey.MatchString(w.XpubVanilla):
		return &ConfigError{"Wallet.XpubVanilla", "is not an extended public key"}
	case !extendedKey.MatchString(w.XpubColored):
		return &ConfigError{"Wallet.XpubColored", "is not an extended public key"}
	case !masterFingerprint.MatchString(w.MasterFingerprint):
		return &ConfigError{"Wallet.MasterFingerprint", "is not 8 hex digits"}
	}
	return nil
}

func checkHeader(name, value string) error {
	field := "Headers"
	if !httpguts.ValidHeaderFieldName(name) {
		return &ConfigError{field, "holds a name that is not one of a header"}
	}
	// Some servers read xpub_van as xpub-van.
	canonical := http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	if reservedHeaders[canonical] || strings.HasPrefix(canonical, "Proxy-") {
		return &ConfigError{field, fmt.Sprintf("may not set %q, which the client or HTTP sets", canonical)}
	}
	if !httpguts.ValidHeaderFieldValue(value) {
		return &ConfigError{field, fmt.Sprintf("holds a value for %q with characters that a header cannot", canonical)}
	}
	return nil
}

func tlsConfig(config Config) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if len(config.CABundle) > 0 {
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(config.CABundle) {
			return nil, &ConfigError{"CABundle", "holds no certificate in PEM"}
		}
	}
	if config.ClientCertificate != nil {
		if len(config.ClientCertificate.Certificate) == 0 || config.ClientCertificate.PrivateKey == nil {
			return nil, &ConfigError{"ClientCertificate", "lacks the certificate or its key"}
		}
		out.Certificates = []tls.Certificate{*config.ClientCertificate}
	}
	return out, nil
}

// call is one request and what is expected of its answer.
type call struct {
	operation string
	timeout   time.Duration
	limit     int64 // of the body of a 200; 0 is maxAnswer
	// guarded calls have a notAfter, and the zero instant is long past.
	guarded  bool
	notAfter time.Time
	// registers allows the client to register an unknown wallet and to repeat the call.
	registers bool
	build     func(server string) (*http.Request, error)
	// decode reads the body of a 200 to its end.
	decode func(io.Reader) error
}

// do carries out one call. Its error is an *Error.
func (c *Client) do(ctx context.Context, call call) error {
	err := c.attempt(ctx, call)
	if !call.registers || !errors.Is(err, ErrWalletNotRegistered) {
		return err
	}
	_, cause := c.Register(ctx)
	if failed, ok := errors.AsType[*Error](cause); ok {
		return &Error{
			Operation:  call.operation,
			StatusCode: failed.StatusCode,
			Code:       failed.Code,
			Message:    c.clean("registering the wallet: " + failed.Message),
			Effect:     EffectRefused, // that of the call, which the service did not carry out; not that of the registration
			RetryAfter: failed.RetryAfter,
			cause:      errors.Join(ErrWalletNotRegistered, cause),
		}
	}
	return c.attempt(ctx, call)
}

// attempt sends one request, once.
func (c *Client) attempt(ctx context.Context, call call) error {
	req, err := call.build(c.config.URL + "/")
	if err != nil {
		return c.invalidArgument(call.operation, "the request cannot be built", err)
	}
	if err := ctx.Err(); err != nil {
		return c.notSent(call.operation, err)
	}
	ctx, cancel := context.WithTimeout(ctx, call.timeout)
	defer cancel()

	var sending *once // of what net/http may not repeat
	if req.Method != http.MethodGet {
		sending = &once{clock: c.config.Clock, notAfter: call.notAfter}
		ctx = withOnce(ctx, sending)
	}
	if call.guarded && (call.notAfter.IsZero() || sending.passed()) {
		return c.notSent(call.operation, ErrNotAfterPassed)
	}
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})

	resp, err := c.transport.RoundTrip(c.complete(req).WithContext(ctx))
	if err != nil {
		effect := EffectUnknown
		switch {
		case c.injected:
			if errors.Is(err, ErrNotSent) {
				effect = EffectNotSent
			}
		case sending != nil:
			started, late := sending.seal()
			if late {
				err = errors.Join(ErrNotAfterPassed, err)
			}
			if !started {
				effect = EffectNotSent
			}
		case !connected.Load():
			effect = EffectNotSent
		}
		return c.noAnswer(call.operation, 0, effect, err)
	}
	defer func() { _ = resp.Body.Close() }() // what counts was read, or its reading failed
	return c.answer(call, resp)
}

// complete adds what every request carries and takes away what would let net/http send it a second time.
func (c *Client) complete(req *http.Request) *http.Request {
	for name, value := range c.config.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.config.UserAgent)
	if c.config.BearerToken != "" {
		req.Header.Set("Authorization", "Bearer "+c.config.BearerToken)
	}
	req.GetBody = nil
	req.Close = req.Method != http.MethodGet
	return req
}

// answer reads what came back. Only 200 is a success: no other status is documented as one.
func (c *Client) answer(call call, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		limit := call.limit
		if limit == 0 {
			limit = maxAnswer
		}
		body := &boundedReader{reader: resp.Body, left: limit}
		err := call.decode(body)
		switch {
		case body.err != nil:
			return c.unreadable(call.operation, resp, body.err)
		case err != nil:
			return &Error{
				Operation:  call.operation,
				StatusCode: resp.StatusCode,
				Code:       CodeUnexpectedAnswer,
				Message:    c.clean(err.Error()),
				cause:      err,
			}
		}
		return nil
	}

	var body []byte
	if resp.StatusCode != http.StatusSwitchingProtocols { // whose body is the connection, without an end
		bounded := &boundedReader{reader: resp.Body, left: maxAnswer}
		var err error
		if body, err = io.ReadAll(bounded); err != nil {
			return c.unreadable(call.operation, resp, err)
		}
	}
	v := judge(call.operation, resp.StatusCode, body)
	return &Error{
		Operation:  call.operation,
		StatusCode: resp.StatusCode,
		Code:       c.code(v.code),
		Message:    c.clean(v.text),
		Effect:     v.effect,
		RetryAfter: retryAfter(resp.Header, c.config.Clock.Now()),
		cause:      v.cause,
	}
}

// unreadable is the error of an answer that began and could not be read to its end.
func (c *Client) unreadable(operation string, resp *http.Response, err error) error {
	if errors.Is(err, errTooLarge) {
		return &Error{
			Operation: operation, StatusCode: resp.StatusCode, Code: CodeAnswerTooLarge, Message: err.Error(), cause: err,
		}
	}
	return c.noAnswer(operation, resp.StatusCode, EffectUnknown, err)
}

func (c *Client) noAnswer(operation string, status int, effect Effect, err error) error {
	code, message := transportFailure(err)
	return &Error{
		Operation: operation, StatusCode: status, Code: code, Message: c.clean(message), Effect: effect, cause: err,
	}
}

func (c *Client) notSent(operation string, err error) error {
	return c.noAnswer(operation, 0, EffectNotSent, err)
}

// invalidArgument is the error of a call that cannot be made; message is ours, cause may be nil.
func (c *Client) invalidArgument(operation, message string, cause error) error {
	return &Error{Operation: operation, Code: CodeInvalidArgument, Message: message, Effect: EffectNotSent, cause: cause}
}

// unexpected is the error of a 200 that reads well and says something that it cannot say.
func (c *Client) unexpected(operation, message string) error {
	return &Error{Operation: operation, StatusCode: http.StatusOK, Code: CodeUnexpectedAnswer, Message: message}
}

func (c *Client) clean(text string) string { return clean(text, c.secrets.redact, maxMessage) }

var errTooLarge = errors.New("the answer is larger than any that is documented")

// boundedReader reads at most left bytes, and remembers why reading stopped if that was not the end.
type boundedReader struct {
	reader io.Reader
	left   int64
	err    error
}

// Read implements io.Reader.
func (r *boundedReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if int64(len(p)) > r.left+1 {
		p = p[:r.left+1]
	}
	n, err := r.reader.Read(p)
	if int64(n) > r.left {
		n, err = int(r.left), errTooLarge
	}
	r.left -= int64(n)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}
