package utexo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/oapi-codegen/nullable"

	"github.com/utexo/utexo-operator/internal/utexo/api"
)

// Balance is one keychain's on-chain bitcoin, in sat.
type Balance struct {
	Settled, Future, Spendable int64
}

// Balances is what the service holds for the wallet; of some deployments what their node holds for all wallets.
type Balances struct {
	Vanilla, Colored Balance
	OffchainTotal    *int64 // sat in channels; nil where the service did not say
	Assets           []AssetBalance
}

// AssetBalance is what there is of one RGB asset, in its smallest unit.
type AssetBalance struct {
	AssetID                    string
	Ticker                     string // empty where the asset has none
	Precision                  int32  // decimal digits
	Settled, Future, Spendable int64
	OffchainOutbound           *int64 // what channels can send; nil where the service did not say
}

// Registration is the service's answer to Register.
type Registration struct {
	Address string    // an address of the wallet; empty where the service did not say
	Balance *Balances // without Assets; nil where the service did not say
}

// SettleResult is the service's answer to Settle. The documented answer is empty here: only {"result": "success"}.
type SettleResult struct {
	Channels       []SettledChannel
	ChannelsOpened int64
	// Refusal is the name of the error with which the service did nothing, in an answer of 200; else empty.
	Refusal        string
	RefusalMessage string
}

// SettledChannel is one channel that the service opened, or failed to open: then Error says why.
type SettledChannel struct {
	Type           string // btc or asset
	AssetID        string
	CapacitySats   *int64
	AssetAmount    *int64 // in the asset's smallest unit
	FeeReserveSats *int64
	Result         string
	Error          string
}

// Register makes the wallet known to the service. It may be repeated. Source: operationId registerWallet.
func (c *Client) Register(ctx context.Context) (Registration, error) {
	var out Registration
	err := c.do(ctx, call{
		operation: opRegister,
		timeout:   c.config.BeginTimeout, // the service syncs a wallet that is new to it
		build: func(server string) (*http.Request, error) {
			return api.NewRegisterWalletRequest(server, (*api.RegisterWalletParams)(&c.wallet))
		},
		decode: whole(&out, c.decodeRegistration),
	})
	if err != nil {
		return Registration{}, err
	}
	return out, nil
}

// Balance returns the wallet's balances. Source: operationId getBalance.
func (c *Client) Balance(ctx context.Context) (Balances, error) {
	var out Balances
	err := c.do(ctx, call{
		operation: opBalance,
		timeout:   c.config.ReadTimeout,
		registers: true,
		build: func(server string) (*http.Request, error) {
			return api.NewGetBalanceRequest(server, &c.wallet)
		},
		decode: whole(&out, c.decodeBalances),
	})
	if err != nil {
		return Balances{}, err
	}
	return out, nil
}

// Settle moves on-chain balances into channels, which spends on-chain fees. Nothing tells afterwards whether a call whose answer was
// lost did so, but settling what is settled does nothing. It is sent at most once, and nothing of it is written after notAfter.
// Source: operationId settle.
func (c *Client) Settle(ctx context.Context, notAfter time.Time) (SettleResult, error) {
	var out SettleResult
	err := c.do(ctx, call{
		operation: opSettle,
		timeout:   c.config.EndTimeout, // it opens channels, for up to 60 s each
		guarded:   true,
		notAfter:  notAfter,
		build: func(server string) (*http.Request, error) {
			return api.NewSettleRequest(server, (*api.SettleParams)(&c.wallet))
		},
		decode: whole(&out, c.decodeSettle),
	})
	if err != nil {
		return SettleResult{}, err
	}
	return out, nil
}

func (c *Client) decodeRegistration(body []byte) (Registration, error) {
	read, err := unmarshal[api.RegisterWalletResponse](body)
	if err != nil {
		return Registration{}, err
	}
	out := Registration{Address: c.show(orZero(read.Address))}
	if read.BtcBalance != nil {
		balances, err := decodeBitcoin(*read.BtcBalance)
		if err != nil {
			return Registration{}, err
		}
		out.Balance = &balances
	}
	return out, nil
}

func (c *Client) decodeBalances(body []byte) (Balances, error) {
	read, err := unmarshal[api.WalletBalanceResponse](body)
	if err != nil {
		return Balances{}, err
	}
	out, err := decodeBitcoin(read.Balance)
	if err != nil {
		return Balances{}, err
	}
	for _, asset := range read.AssetBalances {
		balance, err := c.decodeAssetBalance(asset)
		if err != nil {
			return Balances{}, err
		}
		out.Assets = append(out.Assets, balance)
	}
	return out, nil
}

func decodeBitcoin(read api.BtcBalanceResponse) (Balances, error) {
	vanilla, err := decodeBalance(read.Vanilla)
	if err != nil {
		return Balances{}, fmt.Errorf("the vanilla balance: %w", err)
	}
	colored, err := decodeBalance(read.Colored)
	if err != nil {
		return Balances{}, fmt.Errorf("the colored balance: %w", err)
	}
	out := Balances{Vanilla: vanilla, Colored: colored}
	if offchain := optional(read.OffchainBalance); offchain != nil {
		out.OffchainTotal = offchain.Total.Pointer()
	}
	return out, nil
}

func decodeBalance(read api.Balance) (Balance, error) {
	var out Balance
	err := cmp.Or(
		get(&out.Settled, read.Settled),
		get(&out.Future, read.Future),
		get(&out.Spendable, read.Spendable),
	)
	return out, err
}

func (c *Client) decodeAssetBalance(read api.AssetBalance) (AssetBalance, error) {
	var precision int64
	out := AssetBalance{
		AssetID:          c.keep(read.AssetID),
		Ticker:           c.keep(orZero(optional(read.Ticker))),
		OffchainOutbound: optionalInt(read.Balance.OffchainOutbound),
	}
	err := cmp.Or(
		get(&precision, read.Precision),
		get(&out.Settled, read.Balance.Settled),
		get(&out.Future, read.Balance.Future),
		get(&out.Spendable, read.Balance.Spendable),
	)
	switch {
	case err != nil:
		return AssetBalance{}, fmt.Errorf("the balance of an asset: %w", err)
	case out.AssetID == "":
		return AssetBalance{}, errors.New("the balance of an asset lacks its id")
	case precision < 0 || precision > math.MaxUint8: // RGB precisions are 0 to 18
		return AssetBalance{}, errors.New("the precision of an asset is out of range")
	}
	out.Precision = int32(precision)
	return out, nil
}

// get stores a required integer.
func get(into *int64, from api.Integer) (err error) {
	*into, err = from.Get()
	return err
}

// settleAnswer holds the fields that are known of an answer which the API's document leaves open.
type settleAnswer struct {
	Error   nullable.Nullable[string] `json:"error"`
	Message nullable.Nullable[string] `json:"message"`
	Results []struct {
		Type        string                         `json:"type"`
		AssetID     nullable.Nullable[string]      `json:"asset_id"`
		Capacity    nullable.Nullable[api.Integer] `json:"capacity_sat"`
		AssetAmount nullable.Nullable[api.Integer] `json:"asset_amount"`
		FeeReserve  nullable.Nullable[api.Integer] `json:"fee_reserve"`
		Result      nullable.Nullable[any]         `json:"result"`
		Error       nullable.Nullable[any]         `json:"error"`
	} `json:"results"`
	Opened nullable.Nullable[api.Integer] `json:"total_channels_opened"`
}

func (c *Client) decodeSettle(body []byte) (SettleResult, error) {
	read, err := unmarshal[settleAnswer](body)
	if err != nil {
		return SettleResult{}, err
	}
	out := SettleResult{
		ChannelsOpened: orZero(optionalInt(read.Opened)),
		Refusal:        c.clean(orZero(optional(read.Error))),
		RefusalMessage: c.clean(orZero(optional(read.Message))),
	}
	for _, result := range read.Results {
		out.Channels = append(out.Channels, SettledChannel{
			Type:           c.clean(result.Type),
			AssetID:        c.keep(orZero(optional(result.AssetID))),
			CapacitySats:   optionalInt(result.Capacity),
			AssetAmount:    optionalInt(result.AssetAmount),
			FeeReserveSats: optionalInt(result.FeeReserve),
			Result:         c.text(result.Result),
			Error:          c.text(result.Error),
		})
	}
	return out, nil
}

// text returns a field of no documented type as a clean line; empty where it is absent or null.
func (c *Client) text(field nullable.Nullable[any]) string {
	value := optional(field)
	if value == nil {
		return ""
	}
	return c.clean(fmt.Sprint(*value))
}
