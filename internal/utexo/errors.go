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
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Effect says what is known of the effect that a failed call had on the service.
type Effect int

const (
	// EffectUnknown is everything that is not proven: a timeout, a reset, a 5xx, a redirect, a body that does not parse. A call
	// that moves money may have moved it.
	EffectUnknown Effect = iota
	// EffectNotSent says that not one byte of the request left this process, and that none will.
	EffectNotSent
	// EffectRefused says that the service answered completely, in a shape that it uses before it does anything.
	EffectRefused
)

// String returns the name that logs and metrics use.
func (e Effect) String() string {
	switch e {
	case EffectNotSent:
		return "NotSent"
	case EffectRefused:
		return "Refused"
	default:
		return "Unknown"
	}
}

// Codes of Error.Code. Where the service gives an error a name (the node's and the wallet library's do), Code is that name; the
// ones listed first are those that a caller treats in its own way. The others are ours, for answers without a name and for calls
// without an answer.
const (
	CodeDuplicatePayment = "DuplicatePayment"   // the node has a payment of this hash, pending or succeeded
	CodePaymentNotFound  = "PaymentNotFound"    // the node has no payment of this hash
	CodeUnknownLNInvoice = "UnknownLNInvoice"   // the node has no such invoice any more
	CodeAssetNotFound    = "AssetNotFound"      // no such asset in this wallet
	CodeInvalidPsbt      = "InvalidPsbt"        // the PSBT does not parse
	CodeCannotFinalize   = "CannotFinalizePsbt" // the PSBT is not wholly signed
	CodeNoInvoiceBegun   = "NoInvoiceBegun"     // pay-invoice-end without a begin that the service remembers
	CodeNoPSBTBegun      = "NoPSBTBegun"        // onchain-send-end without a begin that the service remembers
	CodeWalletUnknown    = "WalletNotRegistered"
	CodeSendNotFound     = "SendNotFound"     // no such on-chain send (any more)
	CodePathNotFound     = "PathNotFound"     // this deployment does not serve the path
	CodeMethodNotAllowed = "MethodNotAllowed" // this deployment does not serve the operation
	CodeValidation       = "Validation"       // the request is malformed
	CodeRequestRejected  = "RequestRejected"  // the request makes no sense to the service
	CodeNodeUnreachable  = "NodeUnreachable"  // the service lost its node during the call
	CodeNodeError        = "NodeError"        // the node answered an error without a name
	// CodeInternalError is the service's own word of a 5xx. Nothing is done because of it: only tests name it.
	CodeInternalError    = "InternalServerError"
	CodeRedirected       = "Redirected"       // 3xx, which is never followed
	CodeUnexpectedStatus = "UnexpectedStatus" // an error answer of no known shape
	CodeUnexpectedAnswer = "UnexpectedAnswer" // 200 with a body that is not the documented one
	CodeAnswerTooLarge   = "AnswerTooLarge"   // the body is over the limit
	CodeTimeout          = "Timeout"          // no complete answer in time
	CodeCanceled         = "Canceled"         // the caller gave up
	CodeConnection       = "ConnectionFailed" // no connection, or it broke
	CodeNotAfter         = "NotAfterPassed"   // the instant after which nothing may be written has passed
	CodeInvalidArgument  = "InvalidArgument"  // the caller's mistake, found before anything was sent
)

// Errors to test for with errors.Is.
var (
	// ErrWalletNotRegistered: the service does not know the wallet; Register makes it known.
	ErrWalletNotRegistered = errors.New("the service does not know the wallet")
	// ErrNotAvailable: this deployment does not offer the operation. Asking again does not help.
	ErrNotAvailable = errors.New("the service does not offer this operation")
	// ErrNotAfterPassed: the instant after which nothing may be written has passed.
	ErrNotAfterPassed = errors.New("the time to send has passed")
	// ErrNotSent is for a Config.Transport to wrap: its RoundTrip failed and provably nothing left. Any other error of an injected
	// transport is EffectUnknown.
	ErrNotSent = errors.New("nothing was sent")
)

// Error is every error that a call to the service returns.
type Error struct {
	// Operation is the operationId of the API's document.
	Operation string
	// StatusCode is that of the answer; 0 where there was none.
	StatusCode int
	// Code is the name that the service gave the error, or one of the Code constants. From the service it is an open vocabulary.
	Code string
	// Message is one line of at most 200 bytes, free of markup, control characters, keys, tokens and PSBTs, and free of what
	// changes by itself (ports, instants).
	Message string
	// Effect says what is known of the server.
	Effect Effect
	// RetryAfter is how long the service asked to wait; 0 where it did not ask.
	RetryAfter time.Duration

	cause error
}

// Error returns one line without secrets.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Operation)
	if e.StatusCode != 0 {
		fmt.Fprintf(&b, ": HTTP %d", e.StatusCode)
	}
	b.WriteString(": " + e.Code)
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

// Unwrap returns what the error was made from, for errors.Is. Its text is not cleaned: do not print it.
func (e *Error) Unwrap() error { return e.cause }

// temporaryNames are errors that the node and the wallet library give for a state that passes by itself; the HTTP status does not
// tell, 403 is both LockedNode and DuplicatePayment.
var temporaryNames = map[string]bool{
	"LockedNode": true, "ChangingState": true, "OpenChannelInProgress": true, "SyncNeeded": true, "Network": true,
	"NoValidTransportEndpoint": true,
}

// Temporary reports whether the same call may well succeed later without anybody doing something. It says nothing about whether
// repeating it is safe: that is what Effect is for.
func (e *Error) Temporary() bool {
	switch e.Code {
	case CodeInvalidArgument, CodeNotAfter, CodeCanceled:
		return false
	}
	if temporaryNames[e.Code] {
		return true
	}
	switch e.StatusCode {
	case 0, http.StatusOK: // no answer, or one that could not be read
		return true
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented:
		return false
	}
	return e.StatusCode >= 500
}

// InsufficientFunds reports whether the service refused for lack of bitcoin, of an asset or of channel capacity.
func (e *Error) InsufficientFunds() bool {
	switch e.Code {
	case "InsufficientBitcoins", "InsufficientAssignments", "InsufficientFunds", "InsufficientAssets", "InsufficientCapacity", "NoAvailableUtxos":
		return true
	}
	return false
}

// ConfigError says which field of a Config New does not accept.
type ConfigError struct {
	Field  string
	Reason string
}

// Error returns one line without the field's value, which may be secret.
func (e *ConfigError) Error() string { return fmt.Sprintf("utexo client: %s %s", e.Field, e.Reason) }

const maxMessage = 200

var (
	markup = regexp.MustCompile(`<[^<>]*>?`)
	// keyMaterial finds extended keys and PSBTs that are not the client's own, the one in any network's spelling (SLIP 132).
	keyMaterial = regexp.MustCompile(`\b[a-zA-Z](?:pub|prv)[1-9A-HJ-NP-Za-km-z]{20,}|cHNidP[0-9A-Za-z+/=_-]*`)
)

const redacted = "[redacted]"

// redactor returns a function that replaces secrets, wherever they stand, and whatever looks like a key or a PSBT.
func redactor(secrets ...string) func(string) string {
	var pairs []string
	for _, s := range secrets {
		if len(s) >= shortestSecret {
			pairs = append(pairs, s, redacted)
		}
	}
	replacer := strings.NewReplacer(pairs...)
	return func(text string) string { return keyMaterial.ReplaceAllString(replacer.Replace(text), redacted) }
}

// clean makes text from the service fit for a status, an event or a log: one line, valid UTF-8, printable, without markup and
// secrets, at most limit bytes.
func clean(text string, redact func(string) string, limit int) string {
	text = markup.ReplaceAllString(strings.ToValidUTF8(text, ""), " ")
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r): // control characters, and the invisible ones that reverse or hide text
			return -1
		}
		return r
	}, text)
	text = redact(strings.Join(strings.Fields(text), " ")) // last, so that nothing removed can have cut a secret in two
	if len(text) <= limit {
		return text
	}
	cut := limit - len("…")
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// transportFailure names a failure to get an answer, without addresses, ports and instants: a message that differs from one
// attempt to the next would be a status write each time.
func transportFailure(err error) (code, message string) {
	switch {
	case errors.Is(err, ErrNotAfterPassed):
		return CodeNotAfter, ErrNotAfterPassed.Error()
	case errors.Is(err, context.Canceled):
		return CodeCanceled, "the call was given up before an answer came"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return CodeTimeout, "no complete answer in time"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return CodeConnection, "looking up the host: " + dns.Err
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return CodeConnection, "the service's certificate is signed by an unknown authority"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return CodeConnection, "the service's certificate is not valid for this host"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return CodeConnection, "the service's certificate is invalid or has expired"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return CodeConnection, op.Op + ": " + op.Err.Error()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return CodeConnection, "the connection was closed before the answer was complete"
	}
	if errors.Is(err, ErrNotSent) {
		return CodeConnection, ErrNotSent.Error()
	}
	return CodeConnection, "no valid HTTP answer"
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// retryAfter reads the header of that name (RFC 9110, section 10.2.3): seconds or an HTTP date. At most a day, so that a typing
// mistake of a gateway does not stop a wallet.
func retryAfter(header http.Header, now time.Time) time.Duration {
	const most = 24 * time.Hour
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, most)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), most)
	}
	return 0
}
