package utexo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/utexo/utexo-operator/internal/utexo/api"
)

// Presence says whether the service has what was asked for. The zero value is that it did not say.
//
// What counts as which answer, by lookup:
//
//	lookup          Present                Absent                                    Unknown, no error      Unknown, an error
//	ReceiveRequest  200, that id           200 null; 403 UnknownLNInvoice; 404 (*)   -                      everything else
//	SendRequest     200, that hash         403 PaymentNotFound                       200 null; 404 (*)      everything else
//	OnchainSend     200, that id or none   404 "Withdrawal not found"                200 null               everything else
//
// (*) in a shape of the service, and not about the wallet or the path. "Unknown, no error" is an answer that does not prove
// anything: of a payment that was never begun it allows to go on, of one that was it allows nothing. Everything else is a 5xx, a
// 405, a gateway's page, an answer about another id, and no answer at all.
//
// Absent is what the service says now. Of a receive request and of an on-chain send it says no more than that: their ids are lost
// when the service restarts, while the invoice stays payable and the send may have moved money. Of a Lightning payment it is the
// node that speaks; a payment may still be on its way to it.
type Presence int

const (
	// PresenceUnknown: no answer that says anything.
	PresenceUnknown Presence = iota
	// Present: the answer is about what was asked for.
	Present
	// Absent: the service answered that it has no such thing.
	Absent
)

// String returns the name that logs use.
func (p Presence) String() string {
	switch p {
	case Present:
		return "Present"
	case Absent:
		return "Absent"
	default:
		return "Unknown"
	}
}

// Asset is an amount of an RGB asset.
type Asset struct {
	ID     string // rgb:…
	Amount int64  // in the asset's smallest unit
}

// ReceiveStatus is how far an invoice is. A word that is not known is ReceiveUnrecognised, to be treated as open.
type ReceiveStatus int

// The states of an invoice. None is final: an expired one can still be settled.
const (
	ReceiveUnrecognised ReceiveStatus = iota
	ReceiveOpen
	ReceiveSettled
	ReceiveExpired
	ReceiveFailed
)

// String returns the service's word for s.
func (s ReceiveStatus) String() string {
	switch s {
	case ReceiveOpen:
		return "OPEN"
	case ReceiveSettled:
		return "SETTLED"
	case ReceiveExpired:
		return "EXPIRED"
	case ReceiveFailed:
		return "FAILED"
	default:
		return "unrecognised"
	}
}

func receiveStatus(text string) ReceiveStatus {
	switch word(text) {
	case "OPEN":
		return ReceiveOpen
	case "SETTLED":
		return ReceiveSettled
	case "EXPIRED":
		return ReceiveExpired
	case "FAILED":
		return ReceiveFailed
	}
	return ReceiveUnrecognised
}

// SendStatus is how far a Lightning payment is, of either direction. A word that is not known is SendUnrecognised, to be treated as
// pending.
type SendStatus int

// The states of a Lightning payment.
const (
	SendUnrecognised SendStatus = iota
	SendPending
	SendSucceeded
	SendFailed
)

// String returns the service's word for s.
func (s SendStatus) String() string {
	switch s {
	case SendPending:
		return "PENDING"
	case SendSucceeded:
		return "SUCCEEDED"
	case SendFailed:
		return "FAILED"
	default:
		return "unrecognised"
	}
}

func sendStatus(text string) SendStatus {
	switch word(text) {
	case "PENDING":
		return SendPending
	case "SUCCEEDED":
		return SendSucceeded
	case "FAILED":
		return SendFailed
	}
	return SendUnrecognised
}

// InvoiceRequest asks for a BOLT11. AmountSats or Asset is required; with Asset, AmountSats is the bitcoin that goes with it.
type InvoiceRequest struct {
	AmountSats    *int64
	Asset         *Asset
	ExpirySeconds int64 // 0 leaves it to the service, which takes 420 s
}

// ReceiveRequest is an invoice that the service made.
type ReceiveRequest struct {
	ID             string
	PaymentRequest string // the BOLT11
	Status         ReceiveStatus
	StatusWord     string // as the service spelled it
	AmountSats     *int64
	Asset          *Asset
	CreatedAt      time.Time // zero where the service did not say
}

// SendRequest is a Lightning payment.
type SendRequest struct {
	ID         string // the payment hash, 64 lower-case hex digits
	Status     SendStatus
	StatusWord string // as the service spelled it
	AmountSats *int64 // nil for an asset payment
	Asset      *Asset
	FeeSats    *int64    // nil where the service did not say
	CreatedAt  time.Time // zero where the service did not say
}

// Payment is what EachPayment visits.
type Payment struct {
	PaymentHash string // 64 lower-case hex digits
	Inbound     bool
	Status      SendStatus
	StatusWord  string // as the service spelled it
	AmountMsat  *int64
	AssetID     string
	AssetAmount *int64
	PayeePubkey string
	CreatedAt   time.Time // zero where the service did not say
	UpdatedAt   time.Time // zero where the service did not say
}

// CreateInvoice makes an invoice. It cannot be repeated: each call makes another, and one whose answer is lost cannot be found again
// (nor paid, for nobody has seen it). Source: operationId createLightningInvoice.
func (c *Client) CreateInvoice(ctx context.Context, request InvoiceRequest) (ReceiveRequest, error) {
	body := api.CreateLightningInvoiceRequestModel{AmountSats: integer(request.AmountSats), Asset: wireAsset(request.Asset)}
	if request.ExpirySeconds != 0 {
		body.ExpirySeconds = integer(&request.ExpirySeconds)
	}
	var out ReceiveRequest
	err := c.do(ctx, call{
		operation: opCreateInvoice,
		timeout:   c.config.ReadTimeout,
		registers: true,
		build: func(server string) (*http.Request, error) {
			return api.NewCreateLightningInvoiceRequest(server, (*api.CreateLightningInvoiceParams)(&c.wallet), body)
		},
		decode: whole(&out, c.decodeReceiveRequest),
	})
	if err == nil {
		err = c.refuseEcho(opCreateInvoice, out.ID)
	}
	if err != nil {
		return ReceiveRequest{}, err
	}
	return out, nil
}

// ReceiveRequest looks up an invoice by the id that CreateInvoice gave. See Presence for what is known of one that is Absent.
// Source: operationId getLightningReceiveRequest.
func (c *Client) ReceiveRequest(ctx context.Context, id string) (ReceiveRequest, Presence, error) {
	if !identity.MatchString(id) {
		return ReceiveRequest{}, PresenceUnknown, c.invalidArgument(opReceiveRequest, "the id is not one of the service", nil)
	}
	var out ReceiveRequest
	err := c.do(ctx, call{
		operation: opReceiveRequest,
		timeout:   c.config.ReadTimeout,
		registers: true,
		build: func(server string) (*http.Request, error) {
			return api.NewGetLightningReceiveRequestRequest(server, id, (*api.GetLightningReceiveRequestParams)(&c.wallet))
		},
		decode: whole(&out, c.decodeReceiveRequest),
	})
	switch {
	case errors.Is(err, errNull), nodeSays(err, CodeUnknownLNInvoice), notFound(err):
		return ReceiveRequest{}, Absent, nil
	case err != nil:
		return ReceiveRequest{}, PresenceUnknown, err
	case out.ID != id:
		return ReceiveRequest{}, PresenceUnknown, c.unexpected(opReceiveRequest, "the answer is about another invoice")
	}
	return out, Present, nil
}

// FeeEstimate returns the routing fee, in sat, that the service expects for paying invoice, a BOLT11 string; sat for asset payments
// too. It has no side effects and may be repeated. Source: operationId getLightningSendFeeEstimate.
func (c *Client) FeeEstimate(ctx context.Context, invoice string) (int64, error) {
	var out int64
	err := c.do(ctx, call{
		operation: opFeeEstimate,
		timeout:   c.config.ReadTimeout,
		registers: true,
		build: func(server string) (*http.Request, error) {
			return api.NewGetLightningSendFeeEstimateRequest(server, (*api.GetLightningSendFeeEstimateParams)(&c.wallet),
				api.GetLightningSendFeeEstimateRequestModel{Invoice: invoice})
		},
		decode: whole(&out, decodeFee),
	})
	if err != nil {
		return 0, err
	}
	return out, nil
}

// PayInvoiceBegin tells the service which invoice, a BOLT11 string, the next PayInvoiceEnd pays, and returns the PSBT to sign, in
// base64. It moves no money, but replaces what was begun before, so an unclear error means that no other payment of this wallet may
// end for a while. Nothing of it is written after notAfter. Source: operationId payLightningInvoiceBegin.
func (c *Client) PayInvoiceBegin(ctx context.Context, invoice string, maxFeeSats int64, notAfter time.Time) (string, error) {
	if invoice == "" || maxFeeSats < 0 {
		return "", c.invalidArgument(opPayInvoiceBegin, "there is no invoice, or the fee limit is negative", nil)
	}
	var psbt string
	err := c.do(ctx, call{
		operation: opPayInvoiceBegin,
		timeout:   c.config.BeginTimeout,
		guarded:   true,
		notAfter:  notAfter,
		registers: true,
		build: func(server string) (*http.Request, error) {
			return api.NewPayLightningInvoiceBeginRequest(server, (*api.PayLightningInvoiceBeginParams)(&c.wallet),
				api.PayLightningInvoiceRequestModel{Invoice: invoice, MaxFeeSats: integer(&maxFeeSats)})
		},
		decode: whole(&psbt, c.decodePSBT),
	})
	if err != nil {
		return "", err
	}
	return psbt, nil
}

// PayInvoiceEnd MOVES MONEY: the service pays the invoice that was begun last. It is sent at most once, and nothing of it is written
// after notAfter. Cancelling ctx gives up the answer, not the payment.
//
// The answer's ID is the payment hash of what was paid; the caller compares it with the one that it meant. After an error whose
// Effect is EffectUnknown the payment may exist: look it up by its hash. DuplicatePayment is EffectRefused, and says that the payment
// exists already. Source: operationId payLightningInvoiceEnd.
func (c *Client) PayInvoiceEnd(ctx context.Context, signedPSBT string, notAfter time.Time) (SendRequest, error) {
	if signedPSBT == "" {
		return SendRequest{}, c.invalidArgument(opPayInvoiceEnd, "there is no signed PSBT", nil)
	}
	var out SendRequest
	err := c.do(ctx, call{
		operation: opPayInvoiceEnd,
		timeout:   c.config.EndTimeout,
		guarded:   true,
		notAfter:  notAfter,
		build: func(server string) (*http.Request, error) {
			return api.NewPayLightningInvoiceEndRequest(server, (*api.PayLightningInvoiceEndParams)(&c.wallet),
				api.SendAssetEndRequestModel{SignedPsbt: signedPSBT})
		},
		decode: whole(&out, c.decodeSendRequest),
	})
	if err == nil {
		err = c.refuseEcho(opPayInvoiceEnd, out.ID)
	}
	if err != nil {
		return SendRequest{}, err
	}
	return out, nil
}

// SendRequest looks up a payment by its payment hash, 64 hex digits. It also finds invoices that the service's node issued, as if
// they were payments: EachPayment tells them apart. Source: operationId getLightningSendRequest.
func (c *Client) SendRequest(ctx context.Context, hash string) (SendRequest, Presence, error) {
	hash, ok := paymentHash(hash)
	if !ok {
		return SendRequest{}, PresenceUnknown, c.invalidArgument(opSendRequest, "the payment hash is not 64 hex digits", nil)
	}
	var out SendRequest
	err := c.do(ctx, call{
		operation: opSendRequest,
		timeout:   c.config.ReadTimeout,
		registers: true,
		build: func(server string) (*http.Request, error) {
			return api.NewGetLightningSendRequestRequest(server, hash, (*api.GetLightningSendRequestParams)(&c.wallet))
		},
		decode: whole(&out, c.decodeSendRequest),
	})
	switch {
	case errors.Is(err, errNull), notFound(err): // null is also said of a payment that exists
		return SendRequest{}, PresenceUnknown, nil
	case nodeSays(err, CodePaymentNotFound):
		return SendRequest{}, Absent, nil
	case err != nil:
		return SendRequest{}, PresenceUnknown, err
	case out.ID != hash:
		return SendRequest{}, PresenceUnknown, c.unexpected(opSendRequest, "the answer is about another payment")
	}
	return out, Present, nil
}

// EachPayment visits the payments of the service's node, of both directions and possibly of other wallets: match them by hash. They are
// visited while the list, which may be long, is read. Not before it returns nil is it known that the list was whole: one that is cut off or
// has an item that cannot be read is an error. Where the deployment does not offer it, errors.Is(err, ErrNotAvailable).
// Source: operationId listLightningPayments.
func (c *Client) EachPayment(ctx context.Context, visit func(Payment)) error {
	err := c.do(ctx, call{
		operation: opListPayments,
		timeout:   c.config.ReadTimeout,
		limit:     maxList,
		registers: true,
		build: func(server string) (*http.Request, error) {
			return api.NewListLightningPaymentsRequest(server, (*api.ListLightningPaymentsParams)(&c.wallet))
		},
		decode: func(r io.Reader) error { return eachItem(r, "payments", false, c.decodePayment, visit) },
	})
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// nodeSays reports whether err is the node's own statement, of that name, that something does not exist. The status alone is none:
// the service uses 403 for a locked node too, and a gateway for itself.
func nodeSays(err error, name string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.StatusCode == http.StatusForbidden && e.Code == name && e.Effect == EffectRefused
}

// notFound reports whether err is a 404 of the service itself about what was asked for.
func notFound(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.StatusCode == http.StatusNotFound && e.Effect == EffectRefused && e.Code != CodeWalletUnknown && e.Code != CodePathNotFound
}

// unavailable adds to a 404 of a list, which without an id to look for can only be about the path, that it is ErrNotAvailable.
func unavailable(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.StatusCode != http.StatusNotFound || e.Code == CodeAssetNotFound || errors.Is(err, ErrWalletNotRegistered) {
		return err
	}
	e.cause = errors.Join(ErrNotAvailable, e.cause)
	return e
}

func integer(value *int64) *api.Integer {
	if value == nil {
		return nil
	}
	return new(api.NewInteger(*value))
}

func wireAsset(asset *Asset) *api.LightningAsset {
	if asset == nil {
		return nil
	}
	return &api.LightningAsset{AssetID: asset.ID, Amount: api.NewInteger(asset.Amount)}
}

func (c *Client) decodeReceiveRequest(body []byte) (ReceiveRequest, error) {
	read, err := unmarshal[api.LightningReceiveRequest](body)
	if err != nil {
		return ReceiveRequest{}, err
	}
	asset, err := c.optionalAsset(read.Asset)
	if err != nil {
		return ReceiveRequest{}, err
	}
	if !identity.MatchString(read.ID) || !visible.MatchString(read.Invoice) || read.Status == "" {
		return ReceiveRequest{}, errors.New("the answer lacks an id, an invoice or a status")
	}
	if c.secrets.holds(read.Invoice) {
		return ReceiveRequest{}, errEchoed
	}
	return ReceiveRequest{
		ID:             read.ID,
		PaymentRequest: read.Invoice,
		Status:         receiveStatus(read.Status),
		StatusWord:     c.keep(read.Status),
		AmountSats:     optionalInt(read.AmountSats),
		Asset:          asset,
		CreatedAt:      orZero(read.CreatedAt).Time,
	}, nil
}

func decodeFee(body []byte) (int64, error) {
	read, err := unmarshal[api.Integer](body)
	if err != nil {
		return 0, err
	}
	fee, err := read.Get()
	if err != nil {
		return 0, err
	}
	if fee < 0 {
		return 0, errors.New("the fee is negative")
	}
	return fee, nil
}

func (c *Client) decodeSendRequest(body []byte) (SendRequest, error) {
	read, err := unmarshal[api.LightningSendRequest](body)
	if err != nil {
		return SendRequest{}, err
	}
	asset, err := c.optionalAsset(read.Asset)
	if err != nil {
		return SendRequest{}, err
	}
	hash, ok := paymentHash(read.ID)
	if !ok || read.Status == "" {
		return SendRequest{}, errors.New("the answer lacks a payment hash or a status")
	}
	return SendRequest{
		ID:         hash,
		Status:     sendStatus(read.Status),
		StatusWord: c.keep(read.Status),
		AmountSats: optionalInt(read.AmountSats),
		Asset:      asset,
		FeeSats:    optionalInt(read.FeeSats),
		CreatedAt:  orZero(read.CreatedAt).Time,
	}, nil
}

func (c *Client) decodePayment(body json.RawMessage) (Payment, error) {
	read, err := unmarshal[api.Payment](body)
	if err != nil {
		return Payment{}, err
	}
	hash, ok := paymentHash(read.PaymentHash)
	if !ok || read.Inbound == nil || read.Status == "" {
		return Payment{}, errors.New("a payment lacks its hash, direction or status")
	}
	if c.secrets.holds(hash) {
		return Payment{}, errEchoed
	}
	return Payment{
		PaymentHash: hash,
		Inbound:     *read.Inbound,
		Status:      sendStatus(read.Status),
		StatusWord:  c.keep(read.Status),
		AmountMsat:  optionalInt(read.AmtMsat),
		AssetID:     c.keep(orZero(optional(read.AssetID))),
		AssetAmount: optionalInt(read.AssetAmount),
		PayeePubkey: c.keep(orZero(optional(read.PayeePubkey))),
		CreatedAt:   orZero(read.CreatedAt).Time,
		UpdatedAt:   orZero(read.UpdatedAt).Time,
	}, nil
}
