package remotesigner

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/signer"
)

// DefaultTimeout is how long a call may take.
const DefaultTimeout = 10 * time.Second

const maxHeaderBytes = 16 << 10

// Config says where the signer is, and whose keys it must have.
type Config struct {
	// URL is the signer's base URL, https; the protocol's paths are appended to it. Without user, query and fragment.
	URL string
	// Public is the wallet's public half, as its owner declared it.
	Public keys.Public
	// ClientCertificate is what the signer knows the operator by.
	ClientCertificate tls.Certificate
	// CABundle holds the certificates, in PEM, of the only authorities that are trusted; without it those of the system are.
	CABundle  []byte
	Timeout   time.Duration // of one call; default DefaultTimeout
	UserAgent string
}

// String returns the URL alone: a Config that is printed shows no key.
func (c Config) String() string { return "remotesigner.Config{URL: " + c.URL + "}" }

// GoString is String, for the verb %#v.
func (c Config) GoString() string { return c.String() }

// ConfigError says which field of a Config cannot be used. It quotes no value.
type ConfigError struct{ Field, Problem string }

func (e *ConfigError) Error() string { return e.Field + " " + e.Problem }

// MismatchError says that the signer has other keys than the wallet.
type MismatchError struct {
	// What differs: network, masterFingerprint, xpubVanilla or xpubColored.
	What string
}

func (e *MismatchError) Error() string {
	return "the signer has another " + e.What + " than the Wallet declares"
}

// Client asks one signer for one wallet. It is safe for concurrent use.
type Client struct {
	base      string
	public    keys.Public
	transport *http.Transport
	timeout   time.Duration
	agent     string
}

var _ signer.Signer = (*Client)(nil)

// New returns a client, or a *ConfigError. It connects to nothing.
func New(config Config) (*Client, error) {
	parsed, err := url.Parse(config.URL)
	switch {
	case err != nil, parsed.Hostname() == "":
		return nil, &ConfigError{"url", "is not a URL with a host"}
	case parsed.Scheme != "https":
		return nil, &ConfigError{"url", "has to begin with https://"}
	case parsed.User != nil || parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "":
		return nil, &ConfigError{"url", "holds a user, query or fragment"}
	case len(config.ClientCertificate.Certificate) == 0 || config.ClientCertificate.PrivateKey == nil:
		return nil, &ConfigError{"clientCertSecretRef", "names no certificate and key"}
	}
	secured := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{config.ClientCertificate},
	}
	if len(config.CABundle) > 0 {
		secured.RootCAs = x509.NewCertPool()
		if !secured.RootCAs.AppendCertsFromPEM(config.CABundle) {
			return nil, &ConfigError{"caBundleRef", "names no certificate in PEM"}
		}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	timeout := config.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	return &Client{
		base: strings.TrimRight(config.URL, "/"), public: config.Public, timeout: timeout, agent: config.UserAgent,
		// No proxy: a signer is near, and what it is asked is nobody else's business.
		transport: &http.Transport{
			Protocols: protocols, TLSClientConfig: secured, DisableCompression: true, MaxResponseHeaderBytes: maxHeaderBytes,
			DialContext:         (&net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout: timeout, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute,
		},
	}, nil
}

// String returns the signer's URL: a Client that is printed shows no key.
func (c *Client) String() string { return "remotesigner.Client{URL: " + c.base + "}" }

// GoString is String, for the verb %#v.
func (c *Client) GoString() string { return c.String() }

// CloseIdleConnections closes the connections that are kept for the next call. For a client that is replaced by another.
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }

// Public returns the wallet's public half as its owner declared it. It asks nobody: Check does.
func (c *Client) Public(context.Context) (keys.Public, error) { return c.public, nil }

// Check asks the signer whose keys it has. It fails with a *signer.UnavailableError or, where they are not the wallet's, with a
// *MismatchError.
func (c *Client) Check(ctx context.Context) error {
	var have Keys
	if err := c.call(ctx, http.MethodGet, KeysPath, nil, &have); err != nil {
		return err
	}
	if have.Version != Version {
		return unavailable("the wallet's signer speaks another version of the protocol")
	}
	for _, same := range []struct{ what, have, want string }{
		{"network", string(have.Network), string(c.public.Network)},
		{"masterFingerprint", have.MasterFingerprint, c.public.MasterFingerprint},
		{"xpubVanilla", have.XpubVanilla, c.public.XpubVanilla},
		{"xpubColored", have.XpubColored, c.public.XpubColored},
	} {
		if same.have != same.want {
			return &MismatchError{same.what}
		}
	}
	return nil
}

// Sign inspects the PSBT before the signer sees it, and verifies what the signer answers: the same transaction, every signature valid,
// nothing else changed. It fails as signer.Signer says.
func (c *Client) Sign(ctx context.Context, request signer.Request) (*signer.Signed, error) {
	inspection, err := psbtcheck.Inspect(request.UnsignedPSBT, c.public)
	if err != nil {
		return nil, err
	}
	if err := inspection.Check(request.Policy); err != nil {
		return nil, err
	}
	body, err := json.Marshal(Request{
		Version: Version, Network: c.public.Network, UnsignedPSBT: request.UnsignedPSBT, Intent: NewIntent(request.Intent),
		Wallet: Wallet{MasterFingerprint: c.public.MasterFingerprint, XpubVanilla: c.public.XpubVanilla},
	})
	if err != nil || len(body) > MaxRequestBytes {
		return nil, unavailable("what the wallet's signer would have to be asked is too long")
	}
	var answer Answer
	if err := c.call(ctx, http.MethodPost, SignPath, body, &answer); err != nil {
		return nil, err
	}
	if answer.Version != Version {
		return nil, unavailable("the wallet's signer speaks another version of the protocol")
	}
	signed, err := signer.AcceptExact(ctx, c.public, request, answer.SignedPSBT)
	if err != nil {
		return nil, disbelieved(err)
	}
	return signed, nil
}

// disbelieved says what is wrong with a signed PSBT that was answered. A *psbtcheck.Refusal must not get out: it would be taken for one
// of what the service asked to sign.
func disbelieved(err error) error {
	switch {
	case errors.Is(err, signer.ErrOtherTransaction):
		return unavailable("the wallet's signer answered with another transaction than it was asked to sign")
	case errors.Is(err, signer.ErrInvalidSignature):
		return unavailable("the wallet's signer answered with an invalid signature")
	case errors.Is(err, signer.ErrAltered):
		return unavailable("the wallet's signer changed more of the PSBT than its signatures")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return unavailable("the wallet's signer was not waited for")
	}
	return unavailable("the wallet's signer answered with a PSBT that cannot be read or is not signed")
}

// call makes one call and reads its answer into answer. Neither is repeated here; signing may be, since the same PSBT gives the same
// signatures.
func (c *Client) call(ctx context.Context, method, path string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return unavailable("the wallet's signer has a URL that cannot be used")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.agent)
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.transport.RoundTrip(request) // which follows no redirect
	if err != nil {
		return unreachable(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(response.Body, MaxAnswerBytes+1))
	switch {
	case err != nil: // who answers at all has accepted the certificate
		return unavailable("the wallet's signer does not end its answer")
	case len(text) > MaxAnswerBytes:
		return unavailable("the wallet's signer gives an answer that is too long")
	case response.StatusCode == http.StatusUnprocessableEntity:
		return refusal(response, text)
	case response.StatusCode >= 300 && response.StatusCode < 400:
		return unavailable("the wallet's signer answers with a redirect, which is not followed")
	case response.StatusCode != http.StatusOK:
		return unavailable(fmt.Sprintf("the wallet's signer answers with status %d", response.StatusCode))
	}
	return decode(response, text, answer)
}

// decode reads exactly one JSON value.
func decode(response *http.Response, text []byte, into any) error {
	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" || json.Unmarshal(text, into) != nil {
		return unavailable("the wallet's signer gives an answer that is not of the protocol")
	}
	return nil
}

func refusal(response *http.Response, text []byte) error {
	var refused Refusal
	if err := decode(response, text, &refused); err != nil {
		return err
	}
	code, message := Plain(refused.Code, MaxCodeBytes), Plain(refused.Message, MaxMessageBytes)
	if code == "" || message == "" {
		return unavailable("the wallet's signer refuses without a code and a message")
	}
	return &signer.RefusedError{Code: code, Message: message}
}

// unreachable says why there was no answer, in words that stay the same while the reason does.
func unreachable(err error) error {
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		return unavailable("the wallet's signer shows a certificate that its CA bundle does not vouch for, or that is not of its URL")
	}
	if brokenOff(err) {
		return unavailable("the wallet's signer breaks the connection off: it may not accept the operator's client certificate or its TLS")
	}
	return unavailable("the wallet's signer does not answer")
}

// brokenOff reports whether there was a connection, and the signer ended it. A TLS 1.3 client has sent its request before the server
// judges its certificate (RFC 8446, appendix E.1.2); whether it then reads the alert or finds the connection reset is chance.
func brokenOff(err error) bool {
	if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "remote error" { // a TLS alert
		return true
	}
	for _, ended := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, ended) {
			return true
		}
	}
	return false
}

func unavailable(problem string) error { return &signer.UnavailableError{Problem: problem} }
