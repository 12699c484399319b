// Package sandbox is the whole UTEXO API with nothing behind it: wallets, a Lightning node, a chain and a counterparty, in process and
// in memory. It is the embedded default of the demo, the server of the tests and the adversary of the fault suite, and its ledger is
// the judge of all three: it holds what really moved, whatever any answer said.
//
// Nothing in it runs by itself. Time comes from Options.Clock, everything that falls due is done by Server.Advance, which each request
// calls first, and every key, id and preimage comes from Options.Seed: the same seed and the same calls give the same bytes.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/clock"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
)

// Profile says which service the sandbox imitates.
type Profile string

const (
	// Documented answers as the API's documents say: one node a wallet, signatures verified, the PSBT of an on-chain send is the
	// transaction that is broadcast.
	Documented Profile = "documented"
	// Reference answers as the public reference server does, its hazards included: one node for all wallets, PSBTs are checked for
	// being finalised and thrown away, equal sends are merged, and a restart forgets.
	Reference Profile = "reference"
)

// What Options fill in where they are left zero.
const (
	DefaultFundSats       amount.Sat = 10_000_000
	DefaultNodeSats       amount.Sat = 1_000_000
	DefaultChannelSats    amount.Sat = 50_000_000
	DefaultRoutingFeeSats amount.Sat = 50
)

// Options configure a Server. The zero value is a documented service on regtest, on the real clock.
type Options struct {
	// Profile is Documented where empty.
	Profile Profile
	// Network is regtest where empty.
	Network bitcoin.Network
	// Clock is the real one where nil.
	Clock clock.Clock
	// Sleep waits for d or until ctx is done, for a request that the service answers late. It waits on Clock where nil; a simulation
	// puts its scheduler here.
	Sleep func(ctx context.Context, d time.Duration)
	// Seed is where all keys, ids and preimages come from.
	Seed uint64

	// FundSats is what a wallet owns on chain once it is registered, in sat, in four vanilla coins; there are five colored coins of
	// 1,000 sat besides.
	FundSats amount.Sat
	// Unfunded gives a new wallet no coins at all.
	Unfunded bool
	// NodeSats is what a node owns on chain, in sat.
	NodeSats amount.Sat
	// ChannelSats is what a node can send, and can receive, over its one bitcoin channel, in sat.
	ChannelSats amount.Sat
	// RoutingFeeSats is what a Lightning payment costs, in sat, under the documented profile. The reference server names no fees.
	RoutingFeeSats amount.Sat
	// Keychain is the vanilla keychain of the wallets: 1 where nil, 0 in newer wallet libraries.
	Keychain *uint32
	// FailExpired makes the node fail expired invoices when payments are read, as nodes since February 2026 do: they are FAILED then
	// instead of EXPIRED, and no longer payable.
	FailExpired bool
	// Assets are the RGB assets that every node holds; one with the ticker USDT where nil.
	Assets []AssetOptions

	Timing Timing
}

// AssetOptions describe an RGB asset. Its id comes from the seed and the ticker.
type AssetOptions struct {
	Ticker    string `json:"ticker"`
	Precision int    `json:"precision"`
	// Onchain and Offchain are what a node holds of it, in the smallest unit.
	Onchain  int64 `json:"onchain"`
	Offchain int64 `json:"offchain"`
}

// Timing says how long things take. Zero is the default that the field names; negative is never, or at once for a delay.
type Timing struct {
	// Speed divides every duration below, defaults included. Expiries, which clients see, are left alone.
	Speed int
	// Payment is from pay-invoice-end to a payment's outcome: 2 s.
	Payment time.Duration
	// AutoPay is after how long the counterparty pays an invoice by itself: never.
	AutoPay time.Duration
	// Block is from a transaction to the block that confirms it: 30 s. Negative leaves mining to Mine.
	Block time.Duration
	// Settle is how often the service settles by itself: 300 s in the reference profile, never in the documented one.
	Settle time.Duration
	// Step is between two steps of an on-chain send of the reference server: 500 ms.
	Step time.Duration
	// Close is from the call that closes a channel to its closing transaction: 1.5 s.
	Close time.Duration
	// Poll is how often the reference server looks whether its balance rose: 40 s.
	Poll time.Duration
	// BalanceLimit is how long it looks: 1200 s.
	BalanceLimit time.Duration
	// Node is how long the node takes to answer any call: at once.
	Node time.Duration
}

// Validate says what is wrong with o; New panics on what it reports.
func (o Options) Validate() error {
	filled := o.withDefaults()
	_, err := filled.Network.Params()
	if filled.Profile != Documented && filled.Profile != Reference {
		err = errors.Join(err, fmt.Errorf("unknown profile %q: use %s or %s", filled.Profile, Documented, Reference))
	}
	for _, sats := range []amount.Sat{filled.FundSats, filled.NodeSats, filled.ChannelSats} {
		if sats < minimumGrant || sats > amount.MaxSat/2 {
			err = errors.Join(err, fmt.Errorf("a grant of %d sat: give %d sat at least", sats, minimumGrant))
		}
	}
	if o.Timing.Speed < 0 {
		err = errors.Join(err, fmt.Errorf("a speed of %d", o.Timing.Speed))
	}
	if filled.RoutingFeeSats < 0 {
		err = errors.Join(err, errors.New("a negative routing fee"))
	}
	return err
}

// minimumGrant keeps every coin that the sandbox mints above dust.
const minimumGrant amount.Sat = 10_000

func (o Options) withDefaults() Options {
	orDefault(&o.Profile, Documented)
	orDefault(&o.Network, bitcoin.Regtest)
	orDefault(&o.FundSats, DefaultFundSats)
	orDefault(&o.NodeSats, DefaultNodeSats)
	orDefault(&o.ChannelSats, DefaultChannelSats)
	orDefault(&o.RoutingFeeSats, DefaultRoutingFeeSats)
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Sleep == nil {
		o.Sleep = sleepOn(o.Clock)
	}
	if o.Keychain == nil {
		keychain := uint32(1)
		o.Keychain = &keychain
	}
	if o.Assets == nil {
		o.Assets = []AssetOptions{{Ticker: "USDT", Precision: 6, Onchain: 5_000_000_000, Offchain: 20_000_000_000}}
	}
	o.Timing = o.Timing.withDefaults(o.Profile)
	return o
}

func (t Timing) withDefaults(profile Profile) Timing {
	never := time.Duration(-1)
	orDefault(&t.Speed, 1)
	orDefault(&t.Payment, 2*time.Second)
	orDefault(&t.AutoPay, never)
	orDefault(&t.Block, 30*time.Second)
	if profile == Reference {
		orDefault(&t.Settle, 300*time.Second)
	} else {
		orDefault(&t.Settle, never)
	}
	orDefault(&t.Step, 500*time.Millisecond)
	orDefault(&t.Close, 1500*time.Millisecond)
	orDefault(&t.Poll, 40*time.Second)
	orDefault(&t.BalanceLimit, 1200*time.Second)
	t.Speed = max(t.Speed, 1)
	for _, d := range []*time.Duration{&t.Payment, &t.AutoPay, &t.Block, &t.Settle, &t.Step, &t.Close, &t.Poll, &t.BalanceLimit, &t.Node} {
		if *d > 0 {
			*d = max(*d/time.Duration(t.Speed), 1)
		}
	}
	// What repeats must not do so without end when time jumps.
	t.Poll = max(t.Poll, time.Millisecond)
	if t.Settle > 0 {
		t.Settle = max(t.Settle, time.Second)
	}
	t.Speed = 1 // withDefaults is applied twice: by Validate and by New
	return t
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func sleepOn(c clock.Clock) func(context.Context, time.Duration) {
	return func(ctx context.Context, d time.Duration) {
		timer := c.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C():
		case <-ctx.Done():
		}
	}
}
