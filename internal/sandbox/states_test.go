package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/sandbox/sandboxtest"
)

// create makes an invoice of the wallet and returns id, BOLT11 and payment hash.
func (f *fixture) create(body string) (id, invoice, hash string) {
	f.Helper()
	var created struct{ ID, Invoice string }
	f.client.MustPost("/lightning/create-invoice", body, &created)
	return created.ID, created.Invoice, f.hash(created.Invoice)
}

func TestReceiveStates(t *testing.T) {
	const path = "/lightning/receive-request/"
	f := reference(t)
	id, invoice, _ := f.create(`{"amount_sats":500,"expiry_seconds":0}`)
	f.pass(420*time.Second - 1)
	if got := f.status(path + id); got != "OPEN" {
		t.Errorf("before the default expiry of 420 s: %v, want OPEN", got)
	}
	f.pass(1)
	if got := f.status(path + id); got != "EXPIRED" {
		t.Errorf("at the expiry: %v, want EXPIRED", got)
	}
	if _, err := f.server.PayInvoice(invoice, false); !errors.Is(err, sandbox.ErrNotPayable) {
		t.Errorf("paying an expired invoice: %v, want %v", err, sandbox.ErrNotPayable)
	}
	if _, err := f.server.PayInvoice(invoice, true); err != nil {
		t.Fatal(err)
	}
	if got := f.status(path + id); got != "SETTLED" {
		t.Errorf("paid late: %v, want SETTLED: EXPIRED is not for ever", got)
	}

	id, _, hash := f.create(`{"amount_sats":500}`)
	if err := f.server.FailInvoice(hash); err != nil {
		t.Fatal(err)
	}
	if got := f.status(path + id); got != "FAILED" {
		t.Errorf("failed by the node: %v, want FAILED", got)
	}

	id, _, hash = f.create(`{"amount_sats":500}`)
	if err := f.server.ForgetInvoice(hash); err != nil {
		t.Fatal(err)
	}
	code, body := f.client.Get(path + id)
	wantAnswer(t, code, body, 403, `"name":"UnknownLNInvoice"`)

	id, invoice, _ = f.create(`{"amount_sats":500}`)
	f.server.Restart()
	code, body = f.client.Get(path + id)
	wantAnswer(t, code, body, 200, "null")
	if _, err := f.server.PayInvoice(invoice, false); err != nil {
		t.Errorf("after a restart the invoice is no longer payable: %v", err)
	}
}

func TestNewerNodesFailExpiredInvoices(t *testing.T) {
	f := start(t, sandbox.Options{Profile: sandbox.Reference, FailExpired: true})
	id, _, hash := f.create(`{"amount_sats":500}`)
	f.pass(time.Hour)
	if got := f.status("/lightning/receive-request/" + id); got != "EXPIRED" {
		t.Errorf("before payments are read: %v, want EXPIRED", got)
	}
	if got := f.status(sendRequest + hash); got != "FAILED" {
		t.Errorf("an inbound payment asked for as a send: %v, want FAILED", got)
	}
	if got := f.status("/lightning/receive-request/" + id); got != "FAILED" {
		t.Errorf("after payments were read: %v, want FAILED", got)
	}
}

func TestPaymentsThatFailAtOnce(t *testing.T) {
	tests := map[string]func(f *fixture) string{
		"an expired invoice": func(f *fixture) string {
			text, _ := f.issue(sandbox.NewInvoice{AmountSats: 1_000, Expiry: time.Minute})
			f.pass(time.Hour)
			return text
		},
		"the node's own invoice": func(f *fixture) string {
			_, text, _ := f.create(`{"amount_sats":1000}`)
			return text
		},
		"more than the channel can send": func(f *fixture) string {
			text, _ := f.issue(sandbox.NewInvoice{AmountSats: 2 * sandbox.DefaultChannelSats})
			return text
		},
		"an asset that the node does not have": func(f *fixture) string {
			text, _ := f.issue(sandbox.NewInvoice{Asset: &sandbox.Asset{ID: "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8", Amount: 1}})
			return text
		},
	}
	for name, invoice := range tests {
		t.Run(name, func(t *testing.T) {
			f := reference(t)
			text := invoice(f)
			code, body := f.client.EndPay(f.client.Sign(f.client.BeginPay(text)))
			wantAnswer(t, code, body, 200, `"status":"FAILED"`)
			f.pass(time.Minute)
			f.wantMoved(f.hash(text), 0)
		})
	}
}

func TestZeroAmountInvoiceIsRefusedAtTheEnd(t *testing.T) {
	f := reference(t)
	text, hash := f.issue(sandbox.NewInvoice{})
	code, body := f.client.EndPay(f.client.Sign(f.client.BeginPay(text)))
	wantAnswer(t, code, body, 400, `"name":"InvalidAmount"`)
	f.wantMoved(hash, 0)
}

func TestPayeeModes(t *testing.T) {
	f := reference(t)
	text, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	pay := func() (int, string) {
		t.Helper()
		return f.client.EndPay(f.client.Sign(f.client.BeginPay(text)))
	}
	outbound := f.server.Wallets()[0].Outbound
	if err := f.server.SetPayee(hash, sandbox.PayeeFails); err != nil {
		t.Fatal(err)
	}
	code, body := pay()
	wantAnswer(t, code, body, 200, "PENDING")
	f.pass(2 * time.Second)
	if got := f.status(sendRequest + hash); got != "FAILED" {
		t.Errorf("refused by the payee: %v, want FAILED", got)
	}
	if got := f.server.Wallets()[0].Outbound; got != outbound {
		t.Errorf("after the failure the channel can send %d, want %d", got, outbound)
	}
	if err := f.server.SetPayee(hash, sandbox.PayeeHangs); err != nil {
		t.Fatal(err)
	}
	code, body = pay() // after Failed the hash may be paid again
	wantAnswer(t, code, body, 200, "PENDING")
	f.pass(24 * time.Hour)
	if got := f.status(sendRequest + hash); got != "PENDING" {
		t.Errorf("hanging: %v, want PENDING", got)
	}
	code, body = pay()
	wantAnswer(t, code, body, 403, "There is already a payment with this hash in status Pending")
	if err := f.server.Resolve(hash, true); err != nil {
		t.Fatal(err)
	}
	if got := f.status(sendRequest + hash); got != "SUCCEEDED" {
		t.Errorf("resolved: %v, want SUCCEEDED", got)
	}
	f.wantMoved(hash, 1)
	if err := f.server.Resolve(hash, true); !errors.Is(err, sandbox.ErrNotPending) {
		t.Errorf("resolving twice: %v, want %v", err, sandbox.ErrNotPending)
	}
	if err := f.server.SetPayee("", "steal"); err == nil {
		t.Error("an unknown mode was accepted")
	}
}

func TestMaxFeeIsEnforcedAsDocumentedOnly(t *testing.T) {
	for name, want := range map[string]string{"documented": "FAILED", "reference": "PENDING"} {
		f := start(t, profiles[name])
		text, _ := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
		var unsigned string
		f.client.MustPost("/lightning/pay-invoice-begin", fmt.Sprintf(`{"invoice":%q,"max_fee_sats":49}`, text), &unsigned)
		code, body := f.client.EndPay(f.client.Sign(unsigned))
		wantAnswer(t, code, body, 200, want)
	}
}

func TestReferenceSendStates(t *testing.T) {
	f := reference(t)
	id := f.send(f.addr(), 10_000)
	var seen []string
	for range 4_400 { // 44 s, as fast as anybody polls
		if status := f.status(onchainStatus + id).(string); len(seen) == 0 || seen[len(seen)-1] != status {
			seen = append(seen, status)
		}
		f.pass(10 * time.Millisecond)
	}
	want := []string{"REQUESTED", "WAITING_CLOSE_CONFIRMATIONS", "WAITING_BALANCE_UPDATE", "SWEEPING_OUTPUTS", "CONFIRMED"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func TestReferenceSendAmounts(t *testing.T) {
	tests := map[string]struct {
		body       string // after the address
		wantStatus string
		wantSent   string // members of the status answer
		wantMoved  amount.Sat
	}{
		"1000 sat are taken off by default": {`"amount_sats":100000,"fee_rate":2`, "CONFIRMED", `"amount_sats_sent":99000`, 99_000},
		"of a small amount too":             {`"amount_sats":1400,"fee_rate":2`, "CONFIRMED", `"amount_sats_sent":400`, 400},
		"1300 leave dust for Taproot":       {`"amount_sats":1300,"fee_rate":2`, "FAILED", `'name': 'OutputBelowDustLimit'`, 0},
		"1000 leave nothing":                {`"amount_sats":1000,"fee_rate":2`, "FAILED", `"fee_sats":1000`, 0},
		"not where the client declines": {
			`"amount_sats":100000,"fee_rate":2,"deduct_fee_from_amount":false`, "CONFIRMED", `"amount_sats_sent":100000`, 100_000,
		},
		"a fee rate of 0 is 5": {`"amount_sats":100000,"fee_rate":0`, "CONFIRMED", `"fee_sats":1000`, 99_000},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := reference(t)
			var unsigned string
			f.client.MustPost("/lightning/onchain-send-begin", fmt.Sprintf(`{"address_or_rgbinvoice":%q,%s}`, f.addr(), tc.body), &unsigned)
			id := f.end(f.client, f.client.Sign(unsigned))
			f.pass(time.Minute)
			_, body := f.client.Get(onchainStatus + id)
			if field(t, body, "status") != tc.wantStatus || !strings.Contains(body, tc.wantSent) {
				t.Errorf("send is %s, want %s with %s", body, tc.wantStatus, tc.wantSent)
			}
			var moved amount.Sat
			for _, entry := range f.server.Ledger() {
				if entry.Kind == sandbox.OnchainOut {
					moved += entry.AmountSats
				}
			}
			if moved != tc.wantMoved {
				t.Errorf("moved %d sat, want %d", moved, tc.wantMoved)
			}
		})
	}
}

func TestReferenceSendFailures(t *testing.T) {
	tests := map[string]struct {
		options   sandbox.Timing
		fault     sandbox.Fault
		address   string
		wantCode  string
		wantError string
	}{
		"a bad address": {address: "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh", wantCode: "SWEEP_FAILED", wantError: "400: {'error': 'Invalid address"},
		"a node that cannot list its channels": {
			fault:    sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.NodeListChannels, Name: "LockedNode"},
			wantCode: "PROCESSING_ERROR", wantError: "403: {'error': 'LockedNode', 'code': 403, 'name': 'LockedNode'}",
		},
		"a channel that does not close": {
			fault:    sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.NodeCloseChannel, Name: "ChangingState"},
			wantCode: "CHANNEL_CLOSE_FAILED", wantError: "ChangingState",
		},
		"a balance that never rises": {
			options: sandbox.Timing{Close: 24 * time.Hour}, wantCode: "BALANCE_UPDATE_TIMEOUT", wantError: "Balance did not update",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := start(t, sandbox.Options{Profile: sandbox.Reference, Timing: tc.options})
			if tc.fault.Kind != "" {
				f.fault(tc.fault)
			}
			address := tc.address
			if address == "" {
				address = f.addr()
			}
			id := f.send(address, 10_000)
			f.pass(time.Hour)
			f.wantStatus(id, "FAILED", tc.wantCode)
			if _, body := f.client.Get(onchainStatus + id); !strings.Contains(body, tc.wantError) {
				t.Errorf("send is %s, want %q", body, tc.wantError)
			}
			f.wantMoved(orderKey(address, 10_000), 0)
		})
	}
}

func TestReferenceAssetSendClosesTheAssetsChannels(t *testing.T) {
	f := reference(t)
	asset := f.server.AssetIDs()[0]
	invoice, err := f.server.IssueRGBInvoice("", 0)
	if err != nil {
		t.Fatal(err)
	}
	id := f.end(f.client, f.client.Sign(f.client.BeginSendAsset(invoice, asset, 5)))
	f.pass(time.Minute)
	_, body := f.client.Get(onchainStatus + id)
	for _, want := range []string{`"status":"CONFIRMED"`, `"amount_sats_sent":null`, `"fee_sats":null`} {
		if !strings.Contains(body, want) {
			t.Errorf("send is %s, want %s", body, want)
		}
	}
	// The recipient of an RGB invoice is good for one transfer.
	second := f.end(f.client, f.client.Sign(f.client.BeginSendAsset(invoice, asset, 6)))
	f.pass(time.Minute)
	f.wantStatus(second, "FAILED", "SWEEP_FAILED")
	// Bitcoin channels are not touched.
	text, _ := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	code, ended := f.client.EndPay(f.client.Sign(f.client.BeginPay(text)))
	wantAnswer(t, code, ended, 200, "PENDING")
}

func TestDepositAddress(t *testing.T) {
	deposit := func(client *sandboxtest.Client) (d struct {
		Address string    `json:"btc_address"`
		Invoice string    `json:"asset_invoice"`
		Expires time.Time `json:"expires_at"`
	},
	) {
		t.Helper()
		client.MustGet("/lightning/onchain-receive", &d)
		return d
	}
	t.Run("reference: one for all, the asset invoice dies after 1 h", func(t *testing.T) {
		f := reference(t)
		bob := sandboxtest.NewClient(t, f.server, "bob").Register()
		first := deposit(f.client)
		if first != deposit(bob) || !first.Expires.Equal(noon.Add(24*time.Hour)) {
			t.Errorf("bob got %+v, want alice's %+v", deposit(bob), first)
		}
		f.pass(61 * time.Minute)
		if later := deposit(f.client); later.Address != first.Address || later.Invoice == first.Invoice {
			t.Errorf("after 61 min %+v, want the same address and another invoice", later)
		}
		f.server.Restart()
		if _, err := f.server.FundAddress(first.Address, 5_000, true); err != nil {
			t.Fatal(err)
		}
		if after := deposit(f.client); after.Address == first.Address {
			t.Error("the paid address is handed out again after a restart")
		}
	})
	t.Run("documented: one a wallet, until it is paid or 24 h old", func(t *testing.T) {
		f := start(t, sandbox.Options{})
		first := deposit(f.client)
		f.pass(23 * time.Hour)
		if first != deposit(f.client) {
			t.Error("the address changed unpaid within 24 h")
		}
		if _, err := f.server.FundAddress(first.Address, 5_000, false); err != nil {
			t.Fatal(err)
		}
		if second := deposit(f.client); second.Address == first.Address {
			t.Error("the address did not change although it was paid")
		}
	})
}

func TestSettle(t *testing.T) {
	f := reference(t)
	settle := func() string {
		t.Helper()
		var raw json.RawMessage
		f.client.MustPost("/lightning/settle", "", &raw)
		return string(raw)
	}
	const nothing = `{"results":[],"total_channels_opened":0}`
	if got := settle(); got != nothing {
		t.Errorf("without a deposit: %s, want %s", got, nothing)
	}
	var deposit struct {
		Address string `json:"btc_address"`
	}
	f.client.MustGet("/lightning/onchain-receive", &deposit)
	fund := func(confirmed bool) {
		t.Helper()
		if _, err := f.server.FundAddress(deposit.Address, 100_000, confirmed); err != nil {
			t.Fatal(err)
		}
	}
	fund(true)
	fund(false)
	if got := settle(); got != nothing {
		t.Errorf("an unconfirmed transaction hides the deposit: got %s, want %s", got, nothing)
	}
	f.server.Mine(1)
	f.fault(sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.NodeOpenChannel, Name: "OpenChannelInProgress"})
	if got := settle(); !strings.Contains(got, "OpenChannelInProgress") || !strings.Contains(got, `"total_channels_opened":0`) {
		t.Errorf("a channel that does not open: %s, want an item with the error", got)
	}
	if got := settle(); !strings.Contains(got, `"type":"btc"`) || !strings.Contains(got, `"total_channels_opened":1`) {
		t.Errorf("with a deposit: %s, want a bitcoin channel", got)
	}
	if f.count(sandbox.ChannelOpen) != 1 {
		t.Errorf("%d channels opened, want 1", f.count(sandbox.ChannelOpen))
	}
	var next struct {
		Address string `json:"btc_address"`
	}
	if f.client.MustGet("/lightning/onchain-receive", &next); next.Address == deposit.Address {
		t.Error("the address did not change after settle opened a channel")
	}
}

func TestReferenceSettlesByItself(t *testing.T) {
	f := reference(t)
	var deposit struct {
		Address string `json:"btc_address"`
	}
	f.client.MustGet("/lightning/onchain-receive", &deposit)
	if _, err := f.server.FundAddress(deposit.Address, 100_000, true); err != nil {
		t.Fatal(err)
	}
	f.pass(299 * time.Second)
	if f.count(sandbox.ChannelOpen) != 0 {
		t.Error("a channel was opened before 300 s")
	}
	f.pass(time.Second)
	if f.count(sandbox.ChannelOpen) != 1 {
		t.Error("no channel was opened after 300 s")
	}
}

func TestAutoPay(t *testing.T) {
	f := start(t, sandbox.Options{Timing: sandbox.Timing{AutoPay: time.Minute}})
	id, _, _ := f.create(`{"amount_sats":500}`)
	f.pass(59 * time.Second)
	if got := f.status("/lightning/receive-request/" + id); got != "OPEN" {
		t.Errorf("before: %v, want OPEN", got)
	}
	f.pass(time.Second)
	if got := f.status("/lightning/receive-request/" + id); got != "SETTLED" {
		t.Errorf("after: %v, want SETTLED", got)
	}
}

func TestSkipPutsTheSandboxAheadOfTheClock(t *testing.T) {
	f := start(t, sandbox.Options{})
	id, _, _ := f.create(`{"amount_sats":500}`)
	f.server.Skip(time.Hour)
	if got := f.status("/lightning/receive-request/" + id); got != "EXPIRED" {
		t.Errorf("an hour later: %v, want EXPIRED", got)
	}
	if want := noon.Add(time.Hour); !f.server.Now().Equal(want) {
		t.Errorf("now is %v, want %v", f.server.Now(), want)
	}
}

func TestSpeedDividesDelays(t *testing.T) {
	f := start(t, sandbox.Options{Timing: sandbox.Timing{Speed: 20}})
	text, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	if code, body := f.client.EndPay(f.client.Sign(f.client.BeginPay(text))); code != 200 {
		t.Fatalf("end: %d %s", code, body)
	}
	f.pass(100 * time.Millisecond)
	f.wantMoved(hash, 1)
}

func TestForeignBeginTakesTheSlot(t *testing.T) {
	f := reference(t)
	text, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	signed := f.client.Sign(f.client.BeginPay(text))
	if err := f.server.ForeignBegin(f.client.XpubVanilla, false); err != nil {
		t.Fatal(err)
	}
	code, body := f.client.EndPay(signed)
	if code != 200 || field(t, body, "id") == hash {
		t.Errorf("end: %d %s, want another payment's id", code, body)
	}
	f.pass(2 * time.Second)
	f.wantMoved(hash, 0)
	requests := f.server.Requests()
	if foreign := requests[2]; !foreign.Foreign || foreign.Effect != sandbox.EffectBegan || requests[3].Begin != foreign.Begin {
		t.Errorf("requests %+v, want the end to execute the foreign begin", requests[2:])
	}
	if err := f.server.ForeignBegin("tpub", true); err == nil {
		t.Error("a begin for an unknown wallet was accepted")
	}
}

func TestListPaymentsShowsBothDirections(t *testing.T) {
	f := start(t, sandbox.Options{})
	text, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	_, _, own := f.create(`{"amount_sats":7}`)
	if code, body := f.client.EndPay(f.client.Sign(f.client.BeginPay(text))); code != 200 {
		t.Fatalf("end: %d %s", code, body)
	}
	f.pass(2 * time.Second)
	type item struct {
		Hash    string `json:"payment_hash"`
		Inbound bool   `json:"inbound"`
		Status  string `json:"status"`
		Msat    int64  `json:"amt_msat"`
	}
	var list struct{ Payments []item }
	f.client.MustGet("/lightning/listpayments", &list)
	want := []item{{own, true, "Pending", 7_000}, {hash, false, "Succeeded", 1_000_000}}
	if diff := cmp.Diff(want, list.Payments); diff != "" {
		t.Errorf("payments (-want +got):\n%s", diff)
	}
	f.server.SetListPayments(false)
	code, body := f.client.Get("/lightning/listpayments")
	wantAnswer(t, code, body, 405, "Method Not Allowed")
}

func TestDocumentedEndCanBeRepeated(t *testing.T) {
	f := start(t, sandbox.Options{})
	address := f.addr()
	signed := f.client.Sign(f.client.BeginSend(address, 30_000))
	_, first := f.client.EndSend(signed)
	for range 2 {
		code, again := f.client.EndSend(signed)
		wantAnswer(t, code, again, 200, field(t, first, "send_id").(string))
		f.pass(time.Minute) // also when it is mined
	}
	f.wantMoved(orderKey(address, 30_000), 1)

	// An equal order is another one, for its transaction is.
	if _, second := f.client.EndSend(f.client.Sign(f.client.BeginSend(address, 30_000))); field(t, second, "send_id") == field(t, first, "send_id") {
		t.Error("an equal order was answered with the first one's id")
	}
	f.wantMoved(orderKey(address, 30_000), 2)

	f.server.Restart()
	code, body := f.client.EndSend(signed)
	wantAnswer(t, code, body, 400, noPSBT)
	code, body = f.client.Get("/onchain-send/" + field(t, first, "send_id").(string))
	wantAnswer(t, code, body, 404, "Send not found")
}

func TestDocumentedDeductTakesTheFeeOffTheAmount(t *testing.T) {
	f := start(t, sandbox.Options{})
	var unsigned string
	f.client.MustPost("/lightning/onchain-send-begin", fmt.Sprintf(`{"address_or_rgbinvoice":%q,"amount_sats":30000,"fee_rate":5}`, f.addr()), &unsigned)
	packet := f.client.Decode(unsigned)
	fee, err := packet.GetTxFee()
	if err != nil {
		t.Fatal(err)
	}
	if sent := packet.UnsignedTx.TxOut[0].Value; sent+int64(fee) != 30_000 {
		t.Errorf("%d sent and %d of fee, want 30000 together", sent, int64(fee))
	}
}
