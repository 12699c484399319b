package sandbox_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// assetBalance is what balance says of an asset.
type assetBalance struct{ Settled, Outbound int64 }

func (f *fixture) assetBalance(id string) assetBalance {
	f.Helper()
	var body struct {
		Assets []struct {
			ID      string `json:"asset_id"`
			Balance struct {
				Settled  int64 `json:"settled"`
				Outbound int64 `json:"offchain_outbound"`
			} `json:"balance"`
		} `json:"asset_balances"`
	}
	f.client.MustGet("/lightning/balance", &body)
	for _, asset := range body.Assets {
		if asset.ID == id {
			return assetBalance{asset.Balance.Settled, asset.Balance.Outbound}
		}
	}
	f.Fatalf("no balance of %s", id)
	return assetBalance{}
}

func TestAssetsMoveOverTheirChannel(t *testing.T) {
	f := start(t, sandbox.Options{Assets: []sandbox.AssetOptions{{Ticker: "TKN", Onchain: 10, Offchain: 100}}})
	id := f.server.AssetIDs()[0]
	want := func(balance assetBalance) {
		t.Helper()
		if diff := cmp.Diff(balance, f.assetBalance(id)); diff != "" {
			t.Errorf("balance (-want +got):\n%s", diff)
		}
	}
	pay := func(units int64) string {
		t.Helper()
		text, hash := f.issue(sandbox.NewInvoice{Asset: &sandbox.Asset{ID: id, Amount: units}})
		code, body := f.client.EndPay(f.client.Sign(f.client.BeginPay(text)))
		wantAnswer(t, code, body, 200, `"amount_sats":null`)
		return hash
	}
	want(assetBalance{10, 100})
	pay(30)
	want(assetBalance{10, 70})
	if err := f.server.SetPayee("", sandbox.PayeeFails); err != nil {
		t.Fatal(err)
	}
	failing := pay(40)
	want(assetBalance{10, 30})
	f.pass(2 * time.Second)
	want(assetBalance{10, 70}) // given back
	f.wantMoved(failing, 0)
	if hash := pay(71); f.status(sendRequest+hash) != "FAILED" {
		t.Error("more than the channel holds did not fail at once")
	}

	_, own, _ := f.create(fmt.Sprintf(`{"asset":{"asset_id":%q,"amount":25}}`, id))
	if _, err := f.server.PayInvoice(own, false); err != nil {
		t.Fatal(err)
	}
	want(assetBalance{10, 95})
	_, tooMuch, _ := f.create(fmt.Sprintf(`{"asset":{"asset_id":%q,"amount":500}}`, id))
	if _, err := f.server.PayInvoice(tooMuch, false); !errors.Is(err, sandbox.ErrNoCapacity) {
		t.Errorf("receiving more than the channel takes: %v, want %v", err, sandbox.ErrNoCapacity)
	}
	code, body := f.client.Post("/lightning/create-invoice", fmt.Sprintf(`{"amount_sats":2999,"asset":{"asset_id":%q,"amount":1}}`, id))
	wantAnswer(t, code, body, 400, `"name":"InvalidAmount"`)
}

func TestSettleOpensAnAssetChannel(t *testing.T) {
	f := start(t, sandbox.Options{
		Profile: sandbox.Reference, Assets: []sandbox.AssetOptions{{Ticker: "TKN", Onchain: 50, Offchain: 20}},
	})
	id := f.server.AssetIDs()[0]
	code, body := f.client.Post("/lightning/settle", "")
	wantAnswer(t, code, body, 200, fmt.Sprintf(`"type":"asset","asset_id":%q,"capacity_sat":30010,"asset_amount":50`, id))
	if diff := cmp.Diff(assetBalance{0, 70}, f.assetBalance(id)); diff != "" {
		t.Errorf("balance (-want +got):\n%s", diff)
	}
}

func TestBalances(t *testing.T) {
	type sats struct{ Settled, Future, Spendable amount.Sat }
	type balance struct {
		Balance struct {
			Vanilla, Colored sats
			Offchain         struct{ Total amount.Sat } `json:"offchain_balance"`
		}
	}
	read := func(f *fixture) (b balance) {
		f.Helper()
		f.client.MustGet("/lightning/balance", &b)
		return b
	}
	f := start(t, sandbox.Options{FundSats: 400_000, ChannelSats: 70_000})
	text, _ := f.issue(sandbox.NewInvoice{AmountSats: 10_000})
	if code, body := f.client.EndPay(f.client.Sign(f.client.BeginPay(text))); code != 200 {
		t.Fatalf("end: %d %s", code, body)
	}
	packet := f.client.Decode(f.client.BeginSend(f.addr(), 90_000))
	fee, err := packet.GetTxFee()
	if err != nil {
		t.Fatal(err)
	}
	if code, body := f.client.EndSend(f.client.Sign(f.client.Encode(packet))); code != 200 {
		t.Fatalf("end: %d %s", code, body)
	}
	left := 400_000 - 90_000 - amount.Sat(fee)
	// 90,000 and a fee need one of the four coins; its change waits for a block.
	var want balance
	want.Balance.Vanilla = sats{300_000, left, left}
	want.Balance.Colored = sats{5_000, 5_000, 5_000}
	want.Balance.Offchain.Total = 70_000 - 10_000 - sandbox.DefaultRoutingFeeSats
	if diff := cmp.Diff(want, read(f)); diff != "" {
		t.Errorf("balance (-want +got):\n%s", diff)
	}
	f.pass(time.Minute)
	want.Balance.Vanilla.Settled = left
	if diff := cmp.Diff(want, read(f)); diff != "" {
		t.Errorf("balance after a block (-want +got):\n%s", diff)
	}
}

func TestFeeEstimates(t *testing.T) {
	for name, want := range map[string]string{"documented": "50", "reference": "10"} {
		f := start(t, profiles[name])
		text, _ := f.issue(sandbox.NewInvoice{AmountSats: 10_000})
		code, body := f.client.Post("/lightning/fee-estimate", fmt.Sprintf(`{"invoice":%q}`, text))
		if code != 200 || body != want {
			t.Errorf("%s: %d %s, want %s", name, code, body, want)
		}
		code, body = f.client.Post("/lightning/fee-estimate", `{"invoice":"no invoice"}`)
		if name == "reference" { // which does not even look
			wantAnswer(t, code, body, 200, "10")
		} else {
			wantAnswer(t, code, body, 400, "Invalid invoice")
		}
	}
}

func TestDocumentedRefusesOrders(t *testing.T) {
	f := start(t, sandbox.Options{Network: bitcoin.Signet})
	asset := f.server.AssetIDs()[0]
	elsewhere := sandbox.New(sandbox.Options{Network: bitcoin.Regtest})
	rgb := func(server *sandbox.Server, id string, units int64) string {
		t.Helper()
		invoice, err := server.IssueRGBInvoice(id, units)
		if err != nil {
			t.Fatal(err)
		}
		return invoice
	}
	assetOrder := func(invoice, id string, units int64) string {
		return fmt.Sprintf(`{"address_or_rgbinvoice":%q,"fee_rate":1,"asset":{"asset_id":%q,"amount":%d}}`, invoice, id, units)
	}
	order := func(address string, sats, rate int64) string {
		return fmt.Sprintf(`{"address_or_rgbinvoice":%q,"amount_sats":%d,"fee_rate":%d,"deduct_fee_from_amount":false}`, address, sats, rate)
	}
	regtest, err := elsewhere.NewAddress()
	if err != nil {
		t.Fatal(err)
	}
	other := "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8"
	tests := map[string]struct {
		body string
		want string
	}{
		"another network's address":        {order(regtest, 5_000, 1), "Invalid address"},
		"a public key for an address":      {order("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", 5_000, 1), "Invalid address"},
		"a fee rate of nothing":            {order(f.addr(), 5_000, 0), "InvalidFeeRate"},
		"a negative amount":                {order(f.addr(), -1, 1), "InvalidAmountZero"},
		"dust":                             {order(f.addr(), 329, 1), "OutputBelowDustLimit"},
		"another network's RGB invoice":    {assetOrder(rgb(elsewhere, "", 0), asset, 1), "another network"},
		"an RGB invoice of another asset":  {assetOrder(rgb(f.server, other, 0), asset, 1), "another asset"},
		"an RGB invoice of another amount": {assetOrder(rgb(f.server, "", 2), asset, 1), "another amount"},
		"text after rgb:":                  {assetOrder("rgb:x", asset, 1), "Invalid RGB invoice"},
		"more than the wallet has":         {assetOrder(rgb(f.server, "", 0), asset, 5_000_000_001), "InsufficientAssignments"},
		"an unknown asset":                 {assetOrder(rgb(f.server, "", 0), other, 1), "AssetNotFound"},
		"nothing of an asset":              {assetOrder(rgb(f.server, "", 0), asset, 0), "InvalidAmount"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			code, body := f.client.Post("/lightning/onchain-send-begin", tc.body)
			if code < 400 || code > 499 || !strings.Contains(body, tc.want) {
				t.Errorf("got %d %s, want a refusal with %q", code, body, tc.want)
			}
		})
	}
}

func TestListTransactions(t *testing.T) {
	f := start(t, sandbox.Options{})
	unsigned := f.client.BeginSend(f.addr(), 40_000)
	if code, body := f.client.EndSend(f.client.Sign(unsigned)); code != 200 {
		t.Fatalf("end: %d %s", code, body)
	}
	type transaction struct {
		Txid         string
		Sent         amount.Sat
		Received     amount.Sat
		Fee          amount.Sat
		Confirmation *struct{ Height, Timestamp int64 } `json:"confirmation_time"`
	}
	last := func() transaction {
		t.Helper()
		var list []transaction
		f.client.MustGet("/lightning/listtransactions", &list)
		if len(list) != 10 { // nine coins of funding
			t.Fatalf("%d transactions, want 10", len(list))
		}
		return list[9]
	}
	tx := last()
	if tx.Txid != f.client.Decode(unsigned).UnsignedTx.TxID() || tx.Confirmation != nil || tx.Sent-tx.Received != 40_000+tx.Fee || tx.Fee == 0 {
		t.Errorf("transaction %+v, want 40,000 sat and a fee gone, unconfirmed", tx)
	}
	f.pass(time.Minute)
	if tx := last(); tx.Confirmation == nil || tx.Confirmation.Height != int64(f.server.Height()) || tx.Confirmation.Timestamp != noon.Add(30*time.Second).Unix() {
		t.Errorf("transaction %+v, want it confirmed 30 s later, whenever anybody looked", tx)
	}
}

func TestNodesKeepTheirMoneyAcrossARestart(t *testing.T) {
	f := start(t, sandbox.Options{})
	text, hash := f.issue(sandbox.NewInvoice{AmountSats: 10_000})
	if code, body := f.client.EndPay(f.client.Sign(f.client.BeginPay(text))); code != 200 {
		t.Fatalf("end: %d %s", code, body)
	}
	f.server.Restart()
	f.pass(2 * time.Second)
	if got := f.status(sendRequest + hash); got != "SUCCEEDED" {
		t.Errorf("the payment is %v after a restart, want SUCCEEDED", got)
	}
	f.wantMoved(hash, 1)
}

func TestOptionsAreValidated(t *testing.T) {
	for name, opts := range map[string]sandbox.Options{
		"an unknown profile":     {Profile: "strict"},
		"an unknown network":     {Network: "utexo"},
		"too small a grant":      {FundSats: 9_999},
		"more than all bitcoin":  {ChannelSats: amount.MaxSat},
		"a negative routing fee": {RoutingFeeSats: -1},
		"a negative speed":       {Timing: sandbox.Timing{Speed: -1}},
	} {
		if err := opts.Validate(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if err := (sandbox.Options{}).Validate(); err != nil {
		t.Errorf("the zero options: %v", err)
	}
}

func TestUnfundedWalletCannotBegin(t *testing.T) {
	f := start(t, sandbox.Options{Unfunded: true})
	text, _ := f.issue(sandbox.NewInvoice{AmountSats: 10_000})
	code, body := f.client.Post("/lightning/pay-invoice-begin", fmt.Sprintf(`{"invoice":%q}`, text))
	wantAnswer(t, code, body, 422, `"error":"InsufficientBitcoins"`)
	if err := f.server.FundWallet(f.client.XpubVanilla, false, 50_000); err != nil {
		t.Fatal(err)
	}
	f.client.BeginPay(text)
}
