package utexo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/oapi-codegen/nullable"

	"github.com/utexo/utexo-operator/internal/utexo/api"
)

// OnchainStatus is how far an on-chain send is. Every word that is not known is OnchainInProgress.
type OnchainStatus int

// The states of an on-chain send. OnchainFailed is no proof that no money moved.
const (
	OnchainInProgress OnchainStatus = iota
	OnchainConfirmed                // the service handed the transaction to the network; not that it is mined
	OnchainFailed
)

// String returns the service's word for s.
func (s OnchainStatus) String() string {
	switch s {
	case OnchainConfirmed:
		return "CONFIRMED"
	case OnchainFailed:
		return "FAILED"
	default:
		return "in progress"
	}
}

func onchainStatus(text string) OnchainStatus {
	switch word(text) {
	case "CONFIRMED", "COMPLETED":
		return OnchainConfirmed
	case "FAILED":
		return OnchainFailed
	}
	return OnchainInProgress
}

// DepositAddress is where the wallet, or in some deployments every wallet of the service, receives: by the service's word, for the keys
// are its node's.
type DepositAddress struct {
	Address      string
	AssetInvoice string    // an RGB invoice; the service may drop it long before ExpiresAt
	ExpiresAt    time.Time // zero where the service did not say
}

// OnchainOrder is what to send on-chain. For an address AmountSats is required, for an RGB invoice Asset.
type OnchainOrder struct {
	Destination string // an address or an RGB invoice
	AmountSats  *int64
	Asset       *Asset
	FeeRate     int64 // sat/vB
}

// OnchainSend is an on-chain send. OnchainSendEnd knows the first four fields only.
type OnchainSend struct {
	ID         string
	Status     OnchainStatus
	StatusWord string  // as the service spelled it; may be empty after OnchainSendEnd
	Txid       *string // some deployments; nil where the service did not say

	// DestinationEcho is the address or RGB invoice that this id belongs to. The service merges equal sends, so it may be another
	// resource's.
	DestinationEcho     string
	AmountSatsRequested *int64
	AmountSatsSent      *int64
	Asset               *Asset
	CloseTxids          []string // of some deployments channel ids
	SweepTxid           *string
	FeeSats             *int64
	ErrorCode           string
	ErrorMessage        string // at most 200 bytes
	Retryable           bool   // a label of the service; nothing there retries, and money may have moved
	CreatedAt           time.Time
	UpdatedAt           time.Time
	CompletedAt         time.Time // zero where the service did not say, as the two before
}

// Transfer is an on-chain transfer of an RGB asset, or of bitcoin where no asset was asked for.
type Transfer struct {
	Index       int64
	BatchIndex  *int64
	Status      string // the name, or the number as text: 0 WaitingCounterparty, 1 WaitingConfirmations, 2 Settled, 3 Failed
	Kind        string // the name, or the number as text: 0 Issuance, 1 ReceiveBlind, 2 ReceiveWitness, 3 Send, 4 Inflation
	Amount      *int64 // in the asset's smallest unit; nil where the service did not say
	Txid        string
	RecipientID string
	ReceiveUtxo string // txid:vout
	ChangeUtxo  string // txid:vout
	CreatedAt   time.Time
	UpdatedAt   time.Time
	ExpiresAt   time.Time
}

// OnchainReceive returns the current deposit address. It stays the same until it was used. Source: operationId onchainReceive.
func (c *Client) OnchainReceive(ctx context.Context) (DepositAddress, error) {
	var out DepositAddress
	err := c.do(ctx, call{
		operation: opOnchainReceive,
		timeout:   c.config.ReadTimeout,
		registers: true,
		build: func(server string) (*http.Request, error) {
			return api.NewOnchainReceiveRequest(server, (*api.OnchainReceiveParams)(&c.wallet))
		},
		decode: whole(&out, c.decodeDepositAddress),
	})
	if err != nil {
		return DepositAddress{}, err
	}
	return out, nil
}

// UnusedAddresses returns the deposit addresses that received nothing yet. Where the deployment does not offer it,
// errors.Is(err, ErrNotAvailable). Source: operationId getUnusedDepositAddresses.
func (c *Client) UnusedAddresses(ctx context.Context) ([]DepositAddress, error) {
	var out []DepositAddress
	err := c.do(ctx, call{
		operation: opUnusedAddresses,
		timeout:   c.config.ReadTimeout,
		limit:     maxList,
		registers: true,
		build: func(server string) (*http.Request, error) {
			return api.NewGetUnusedDepositAddressesRequest(server, (*api.GetUnusedDepositAddressesParams)(&c.wallet))
		},
		decode: func(r io.Reader) (err error) {
			out, err = decodeList(r, "addresses", false, func(item json.RawMessage) (DepositAddress, error) {
				return c.decodeDepositAddress(item)
			})
			return err
		},
	})
	if err != nil {
		return nil, unavailable(err)
	}
	return out, nil
}

// OnchainSendBegin tells the service what the next OnchainSendEnd sends, and returns the PSBT to sign, in base64. The amount is what
// the recipient gets: the service is told not to take its fee from it. It moves no money, but replaces what was begun before, so an
// unclear error means that no other send of this wallet may end for a while. Nothing of it is written after notAfter.
// Source: operationId onchainSendBegin.
func (c *Client) OnchainSendBegin(ctx context.Context, order OnchainOrder, notAfter time.Time) (string, error) {
	if order.Destination == "" || order.FeeRate <= 0 { // the service takes a rate of 0 for 5
		return "", c.invalidArgument(opOnchainBegin, "there is no destination or no fee rate", nil)
	}
	body := api.OnchainSendRequestModel{
		AddressOrRgbinvoice: order.Destination,
		AmountSats:          integer(order.AmountSats),
		Asset:               wireAsset(order.Asset),
		FeeRate:             api.NewInteger(order.FeeRate),
		DeductFeeFromAmount: new(false),
	}
	var psbt string
	err := c.do(ctx, call{
		operation: opOnchainBegin,
		timeout:   c.config.BeginTimeout,
		guarded:   true,
		notAfter:  notAfter,
		registers: true,
		build: func(server string) (*http.Request, error) {
			return api.NewOnchainSendBeginRequest(server, (*api.OnchainSendBeginParams)(&c.wallet), body)
		},
		decode: whole(&psbt, c.decodePSBT),
	})
	if err != nil {
		return "", err
	}
	return psbt, nil
}

// OnchainSendEnd MOVES MONEY: the service carries out the send that was begun last. It is sent at most once, and nothing of it is
// written after notAfter. Cancelling ctx gives up the answer, not the send.
//
// The id is in the answer only. After an error whose Effect is EffectUnknown nothing tells whether the send exists.
// Source: operationId onchainSendEnd.
func (c *Client) OnchainSendEnd(ctx context.Context, signedPSBT string, notAfter time.Time) (OnchainSend, error) {
	if signedPSBT == "" {
		return OnchainSend{}, c.invalidArgument(opOnchainEnd, "there is no signed PSBT", nil)
	}
	var out OnchainSend
	err := c.do(ctx, call{
		operation: opOnchainEnd,
		timeout:   c.config.EndTimeout,
		guarded:   true,
		notAfter:  notAfter,
		build: func(server string) (*http.Request, error) {
			return api.NewOnchainSendEndRequest(server, (*api.OnchainSendEndParams)(&c.wallet),
				api.SendAssetEndRequestModel{SignedPsbt: signedPSBT})
		},
		decode: whole(&out, c.decodeOnchainSendEnd),
	})
	if err == nil {
		err = c.refuseEcho(opOnchainEnd, out.ID)
	}
	if err != nil {
		return OnchainSend{}, err
	}
	return out, nil
}

// onchainSendPaths are where deployments answer for a send: the documented path, and the one of the public reference server.
var onchainSendPaths = []func(server string) string{
	func(server string) string { return server },
	func(server string) string { return server + "lightning/" },
}

// OnchainSend looks up a send by the id that OnchainSendEnd gave. See Presence for what is known of one that is Absent: its money may
// have moved. Source: operationId getOnchainSendStatus.
func (c *Client) OnchainSend(ctx context.Context, id string) (OnchainSend, Presence, error) {
	if !identity.MatchString(id) {
		return OnchainSend{}, PresenceUnknown, c.invalidArgument(opOnchainSend, "the id is not one of the service", nil)
	}
	known := int(c.sendPath.Load()) - 1
	first := max(known, 0)
	out, presence, err := c.onchainSendAt(ctx, first, id)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == CodePathNotFound {
		first = 1 - first
		out, presence, err = c.onchainSendAt(ctx, first, id)
	}
	if presence != PresenceUnknown && first != known {
		c.sendPath.Store(int32(first) + 1)
	}
	return out, presence, err
}

func (c *Client) onchainSendAt(ctx context.Context, path int, id string) (OnchainSend, Presence, error) {
	var out OnchainSend
	err := c.do(ctx, call{
		operation: opOnchainSend,
		timeout:   c.config.ReadTimeout,
		registers: true,
		build: func(server string) (*http.Request, error) {
			return api.NewGetOnchainSendStatusRequest(onchainSendPaths[path](server), id, (*api.GetOnchainSendStatusParams)(&c.wallet))
		},
		decode: whole(&out, c.decodeOnchainSend),
	})
	e, isError := errors.AsType[*Error](err)
	switch {
	case errors.Is(err, errNull):
		return OnchainSend{}, PresenceUnknown, nil
	case isError && e.StatusCode == http.StatusNotFound && e.Code == CodeSendNotFound:
		return OnchainSend{}, Absent, nil
	case err != nil:
		return OnchainSend{}, PresenceUnknown, err
	case out.ID == "": // not every deployment repeats it
		out.ID = id
	case out.ID != id:
		return OnchainSend{}, PresenceUnknown, c.unexpected(opOnchainSend, "the answer is about another send")
	}
	return out, Present, nil
}

// Transaction is an on-chain transaction of the wallet, or of the node behind the service, in sat.
type Transaction struct {
	Txid                string
	Received, Sent, Fee int64
}

// Outflow is what left for others, in sat, without the fee.
func (t Transaction) Outflow() int64 { return t.Sent - t.Received - t.Fee }

// ListTransactions returns the on-chain transactions. errors.Is(err, ErrNotAvailable) where the service does not offer it, which is
// common. Source: operationId listTransactions.
func (c *Client) ListTransactions(ctx context.Context) ([]Transaction, error) {
	var out []Transaction
	err := c.do(ctx, call{
		operation: opListTransactions,
		timeout:   c.config.ReadTimeout,
		limit:     maxList,
		registers: true,
		build: func(server string) (*http.Request, error) {
			return api.NewListTransactionsRequest(server, (*api.ListTransactionsParams)(&c.wallet))
		},
		decode: func(r io.Reader) (err error) {
			out, err = decodeList(r, "transactions", true, c.decodeTransaction)
			return err
		},
	})
	if err != nil {
		return nil, unavailable(err)
	}
	return out, nil
}

// ListTransfers returns the on-chain transfers of an asset; of none with an empty assetID, which not every deployment allows. Where
// the deployment does not offer it, errors.Is(err, ErrNotAvailable). Source: operationId listOnchainTransfers.
func (c *Client) ListTransfers(ctx context.Context, assetID string) ([]Transfer, error) {
	var out []Transfer
	err := c.do(ctx, call{
		operation: opListTransfers,
		timeout:   c.config.ReadTimeout,
		limit:     maxList,
		registers: true,
		build: func(server string) (*http.Request, error) {
			params := (*api.ListOnchainTransfersParams)(&c.wallet)
			if assetID == "" {
				return api.NewListOnchainTransfersRequestWithBody(server, params, "application/json", strings.NewReader(`{"asset_id":null}`))
			}
			return api.NewListOnchainTransfersRequest(server, params, api.ListLightningTransfersRequest{AssetID: assetID})
		},
		decode: func(r io.Reader) (err error) {
			out, err = decodeList(r, "transfers", true, c.decodeTransfer)
			return err
		},
	})
	if err != nil {
		return nil, unavailable(err)
	}
	return out, nil
}

func (c *Client) decodeDepositAddress(body []byte) (DepositAddress, error) {
	read, err := unmarshal[api.SingleUseDepositAddressResponse](body)
	if err != nil {
		return DepositAddress{}, err
	}
	if !visible.MatchString(read.BtcAddress) || read.AssetInvoice != "" && !visible.MatchString(read.AssetInvoice) {
		return DepositAddress{}, errors.New("the answer lacks an address, or holds one that is none")
	}
	if c.secrets.holds(read.BtcAddress) || c.secrets.holds(read.AssetInvoice) {
		return DepositAddress{}, errEchoed
	}
	return DepositAddress{
		Address:      read.BtcAddress,
		AssetInvoice: read.AssetInvoice,
		ExpiresAt:    orZero(optional(read.ExpiresAt)).Time,
	}, nil
}

// sendID returns whichever of the two ids is there. Two different ones name two sends, which no answer is about.
func sendID(sendID, withdrawalID *string) (string, error) {
	a, b := orZero(sendID), orZero(withdrawalID)
	switch {
	case a == "":
		a = b
	case b != "" && a != b:
		return "", errors.New("the answer holds two different ids")
	}
	if a != "" && !identity.MatchString(a) {
		return "", errors.New("the answer's id is not one of the service")
	}
	return a, nil
}

func (c *Client) decodeOnchainSendEnd(body []byte) (OnchainSend, error) {
	read, err := unmarshal[api.OnchainSendResponse](body)
	if err != nil {
		return OnchainSend{}, err
	}
	id, err := sendID(read.SendID, read.WithdrawalID)
	if err != nil {
		return OnchainSend{}, err
	}
	if id == "" {
		return OnchainSend{}, errors.New("the answer lacks an id")
	}
	status := orZero(read.Status)
	return OnchainSend{ID: id, Status: onchainStatus(status), StatusWord: c.keep(status), Txid: c.txid(read.Txid)}, nil
}

func (c *Client) decodeOnchainSend(body []byte) (OnchainSend, error) {
	read, err := unmarshal[api.GetOnchainSendResponse](body)
	if err != nil {
		return OnchainSend{}, err
	}
	id, err := sendID(read.SendID, read.WithdrawalID)
	if err != nil {
		return OnchainSend{}, err
	}
	asset, err := c.optionalAsset(read.Asset)
	if err != nil {
		return OnchainSend{}, err
	}
	if read.Status == "" {
		return OnchainSend{}, errors.New("the answer lacks a status")
	}
	out := OnchainSend{
		ID:                  id,
		Status:              onchainStatus(read.Status),
		StatusWord:          c.keep(read.Status),
		DestinationEcho:     c.show(orZero(read.AddressOrRgbinvoice)),
		AmountSatsRequested: optionalInt(read.AmountSatsRequested),
		AmountSatsSent:      optionalInt(read.AmountSatsSent),
		Asset:               asset,
		SweepTxid:           c.txid(read.SweepTxid),
		FeeSats:             optionalInt(read.FeeSats),
		ErrorCode:           c.clean(orZero(optional(read.ErrorCode))),
		ErrorMessage:        c.clean(orZero(optional(read.ErrorMessage))),
		Retryable:           orZero(read.Retryable),
	}
	for _, id := range orZero(read.CloseTxids) {
		out.CloseTxids = append(out.CloseTxids, c.keep(id))
	}
	stamps := orZero(read.Timestamps)
	out.CreatedAt = stamp(stamps, "created_at", "created")
	out.UpdatedAt = stamp(stamps, "updated_at", "updated")
	out.CompletedAt = stamp(stamps, "completed_at", "completed")
	return out, nil
}

// stamp returns the first of names that has an instant.
func stamp(stamps map[string]*api.Instant, names ...string) time.Time {
	for _, name := range names {
		if at := orZero(stamps[name]); !at.IsZero() {
			return at.Time
		}
	}
	return time.Time{}
}

// txid returns a transaction id, nil where there is none. An empty one is none.
func (c *Client) txid(field nullable.Nullable[string]) *string {
	text := c.keep(orZero(optional(field)))
	if text == "" {
		return nil
	}
	return &text
}

func (c *Client) decodeTransaction(body json.RawMessage) (Transaction, error) {
	read, err := unmarshal[api.Transaction](body)
	if err != nil {
		return Transaction{}, err
	}
	out := Transaction{Txid: c.keep(read.Txid)}
	for field, value := range map[*int64]*api.Integer{&out.Received: read.Received, &out.Sent: read.Sent, &out.Fee: read.Fee} {
		if value == nil {
			continue
		}
		if *field, err = value.Get(); err != nil {
			return Transaction{}, errors.New("a transaction has an amount that is no number of sat")
		}
	}
	return out, nil
}

func (c *Client) decodeTransfer(body json.RawMessage) (Transfer, error) {
	read, err := unmarshal[api.RgbTransfer](body)
	if err != nil {
		return Transfer{}, err
	}
	index, err := read.Idx.Get()
	if err != nil {
		return Transfer{}, errors.New("a transfer lacks its index")
	}
	amount, err := transferAmount(read)
	if err != nil {
		return Transfer{}, err
	}
	out := Transfer{
		Index:       index,
		Status:      c.scalar(orZero(read.Status)),
		Kind:        c.scalar(orZero(read.Kind)),
		Amount:      amount,
		Txid:        c.keep(orZero(optional(read.Txid))),
		RecipientID: c.keep(orZero(optional(read.RecipientID))),
		ReceiveUtxo: c.outpoint(orZero(optional(read.ReceiveUtxo))),
		ChangeUtxo:  c.outpoint(orZero(optional(read.ChangeUtxo))),
		CreatedAt:   orZero(read.CreatedAt).Time,
		UpdatedAt:   orZero(read.UpdatedAt).Time,
		ExpiresAt:   orZero(optional(read.Expiration)).Time,
	}
	if read.BatchTransferIdx != nil {
		out.BatchIndex = read.BatchTransferIdx.Pointer()
	}
	return out, nil
}

// assignment is an amount of an asset in the two spellings of deployments.
type assignment struct {
	Amount api.Integer `json:"amount"`
	Value  api.Integer `json:"value"`
}

func readAssignment(data json.RawMessage) (*int64, error) {
	read, err := unmarshal[assignment](data)
	if errors.Is(err, errNull) || len(data) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, errors.New("a transfer's assignment cannot be read")
	}
	if amount := read.Amount.Pointer(); amount != nil {
		return amount, nil
	}
	return read.Value.Pointer(), nil
}

// transferAmount returns the amount in the order of how directly deployments say it: the amount, what was requested, else the sum of
// what was assigned; nil where none of them says it.
func transferAmount(read api.RgbTransfer) (*int64, error) {
	if amount := optionalInt(read.Amount); amount != nil {
		return amount, nil
	}
	if amount, err := readAssignment(orZero(optional(read.RequestedAssignment))); amount != nil || err != nil {
		return amount, err
	}
	var sum *int64
	for _, item := range orZero(optional(read.Assignments)) {
		amount, err := readAssignment(item)
		if err != nil {
			return nil, err
		}
		if amount == nil {
			continue
		}
		if sum == nil {
			sum = new(int64(0))
		}
		if *amount < 0 || *sum > math.MaxInt64-*amount {
			return nil, errors.New("a transfer's assignments do not add up")
		}
		*sum += *amount
	}
	return sum, nil
}

// scalar returns a JSON string or number as text; empty where it is neither.
func (c *Client) scalar(data json.RawMessage) string {
	if text, ok := read[string](data); ok {
		return c.keep(text)
	}
	number, _ := read[json.Number](data)
	return c.keep(number.String())
}

// outpoint returns txid:vout, of that text or of an object; empty where it is neither.
func (c *Client) outpoint(data json.RawMessage) string {
	if text, ok := read[string](data); ok {
		return c.keep(text)
	}
	object, ok := read[struct {
		Txid string      `json:"txid"`
		Vout json.Number `json:"vout"`
	}](data)
	if !ok || object.Txid == "" || object.Vout == "" {
		return ""
	}
	return c.keep(object.Txid + ":" + object.Vout.String())
}
