package utexo

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// decoded is a value or the text of the error.
type decoded struct {
	Value any
	Err   string
}

func decode[T any](decode func([]byte) (T, error)) func(string) decoded {
	return func(body string) decoded {
		value, err := decode([]byte(body))
		if err != nil {
			return decoded{Err: err.Error()}
		}
		return decoded{Value: value}
	}
}

func decodeAList[T any](key string, bare bool, item func(json.RawMessage) (T, error)) func(string) decoded {
	return decode(func(body []byte) ([]T, error) { return decodeList(strings.NewReader(string(body)), key, bare, item) })
}

func testClientWithoutServer() *Client { return &Client{secrets: newSecrets(Config{})} }

func TestDecode(t *testing.T) {
	var (
		c            = testClientWithoutServer()
		receive      = decode(c.decodeReceiveRequest)
		send         = decode(c.decodeSendRequest)
		psbt         = decode(c.decodePSBT)
		fee          = decode(decodeFee)
		balances     = decode(c.decodeBalances)
		registration = decode(c.decodeRegistration)
		settle       = decode(c.decodeSettle)
		deposit      = decode(c.decodeDepositAddress)
		onchainEnd   = decode(c.decodeOnchainSendEnd)
		onchain      = decode(c.decodeOnchainSend)
		payments     = decodeAList("payments", false, c.decodePayment)
		transfers    = decodeAList("transfers", true, c.decodeTransfer)

		noJSON = "the answer is no JSON, or is cut off"
		noList = "the answer is not the documented list, or is cut off"
		second = time.Date(2026, 1, 8, 12, 0, 0, 0, time.UTC)
		one    = new(int64(1))
	)
	tests := map[string]struct {
		decode func(string) decoded
		body   string
		want   decoded
	}{
		"an invoice": {
			receive,
			`{"id":"0d6f2a3c-1f8e","invoice":"lnbcrt50u1p","status":"OPEN","payment_type":"BTC","amount_sats":5000,"asset":null,"created_at":"2026-01-08T12:00:00.847838Z"}`,
			decoded{Value: ReceiveRequest{
				ID: "0d6f2a3c-1f8e", PaymentRequest: "lnbcrt50u1p", Status: ReceiveOpen, StatusWord: "OPEN",
				AmountSats: new(int64(5000)), CreatedAt: second.Add(847838 * time.Microsecond),
			}},
		},
		"an asset invoice, in small letters, with a quoted amount": {
			receive,
			`{"id":"1","invoice":"lnbcrt1","status":"settled","amount_sats":"3000","asset":{"asset_id":"rgb:a","amount":"10"}}`,
			decoded{Value: ReceiveRequest{
				ID: "1", PaymentRequest: "lnbcrt1", Status: ReceiveSettled, StatusWord: "settled",
				AmountSats: new(int64(3000)), Asset: &Asset{ID: "rgb:a", Amount: 10},
			}},
		},
		"an invoice in a state to come": {
			receive, `{"id":"1","invoice":"lnbcrt1","status":"HELD\n<b>"}`,
			decoded{Value: ReceiveRequest{ID: "1", PaymentRequest: "lnbcrt1", StatusWord: "HELD"}},
		},
		"an invoice without an id":           {receive, `{"invoice":"lnbcrt1","status":"OPEN"}`, decoded{Err: "the answer lacks an id, an invoice or a status"}},
		"an invoice whose id leaves a path":  {receive, `{"id":"../x","invoice":"lnbcrt1","status":"OPEN"}`, decoded{Err: "the answer lacks an id, an invoice or a status"}},
		"an invoice of two lines":            {receive, `{"id":"1","invoice":"lnbcrt1\nx","status":"OPEN"}`, decoded{Err: "the answer lacks an id, an invoice or a status"}},
		"an invoice without its amount":      {receive, `{"id":"1","invoice":"lnbcrt1","status":"OPEN","asset":{"asset_id":"rgb:a"}}`, decoded{Err: "the answer holds an asset without its id or amount"}},
		"an invoice over a part of a sat":    {receive, `{"id":"1","invoice":"lnbcrt1","status":"OPEN","amount_sats":0.5}`, decoded{Err: "the answer is not the documented one: an amount is not a whole number"}},
		"an invoice over more than there is": {receive, `{"id":"1","invoice":"lnbcrt1","status":"OPEN","amount_sats":9223372036854775808}`, decoded{Err: "the answer is not the documented one: an amount does not fit in 64 bits"}},
		"an invoice whose id is a number":    {receive, `{"id":1,"invoice":"lnbcrt1","status":"OPEN"}`, decoded{Err: `the answer is not the documented one: "id" is a JSON number`}},

		"a payment": {
			send,
			`{"id":"` + testHash + `","status":"PENDING","payment_type":"BTC","amount_sats":5000,"asset":null,"fee_sats":null,"created_at":"2026-01-08T12:00:00Z"}`,
			decoded{Value: SendRequest{ID: testHash, Status: SendPending, StatusWord: "PENDING", AmountSats: new(int64(5000)), CreatedAt: second}},
		},
		"a payment that failed at once": {
			send, `{"id":"` + testHash + `","status":"Failed","fee_sats":0}`,
			decoded{Value: SendRequest{ID: testHash, Status: SendFailed, StatusWord: "Failed", FeeSats: new(int64(0))}},
		},
		"a payment of an asset": {
			send, `{"id":"` + testHash + `","status":"succeeded","asset":{"asset_id":"rgb:a","amount":1}}`,
			decoded{Value: SendRequest{ID: testHash, Status: SendSucceeded, StatusWord: "succeeded", Asset: &Asset{"rgb:a", 1}}},
		},
		"a payment in a word that only folds to one that is known": {
			send, `{"id":"` + testHash + `","status":"ſucceeded"}`,
			decoded{Value: SendRequest{ID: testHash, StatusWord: "ſucceeded"}},
		},
		"a payment whose id is no hash": {send, `{"id":"1","status":"PENDING"}`, decoded{Err: "the answer lacks a payment hash or a status"}},
		"a payment without a status":    {send, `{"id":"` + testHash + `"}`, decoded{Err: "the answer lacks a payment hash or a status"}},
		"a payment cut off":             {send, `{"id":"` + testHash + `","status":"PEND`, decoded{Err: noJSON}},
		"a payment and more":            {send, `{"id":"` + testHash + `","status":"PENDING"}x`, decoded{Err: noJSON}},
		"null is said apart":            {send, ` null `, decoded{Err: errNull.Error()}},
		"a clock nobody can read is no error": {
			send, `{"id":"` + testHash + `","status":"PENDING","created_at":{"a":1}}`,
			decoded{Value: SendRequest{ID: testHash, Status: SendPending, StatusWord: "PENDING"}},
		},

		"a PSBT":                     {psbt, `"` + testPSBT + `"`, decoded{Value: testPSBT}},
		"a PSBT without its padding": {psbt, `"cHNidP8B"`, decoded{Value: "cHNidP8B"}},
		"a PSBT in an object":        {psbt, `{"psbt":"` + testPSBT + `"}`, decoded{Err: `the answer is not the documented one: "" is a JSON object`}},
		"a PSBT in hex":              {psbt, `"70736274ff"`, decoded{Err: "the answer is not a PSBT in base64"}},
		"a PSBT that is not base64":  {psbt, `"cHNidP8B-_"`, decoded{Err: "the answer is not a PSBT in base64"}},
		"no PSBT":                    {psbt, `""`, decoded{Err: "the answer is not a PSBT in base64"}},
		"a fee":                      {fee, `10`, decoded{Value: int64(10)}},
		"a fee of nothing":           {fee, `0`, decoded{Value: int64(0)}},
		"a fee in quotes":            {fee, `"50"`, decoded{Value: int64(50)}},
		"a fee below nothing":        {fee, `-1`, decoded{Err: "the fee is negative"}},
		"a fee in an object":         {fee, `{"fee":1}`, decoded{Err: "the answer is not the documented one: an amount is not an integer"}},
		"no fee":                     {fee, `null`, decoded{Err: errNull.Error()}},

		"the balances": {
			balances, `{"balance":{"vanilla":{"settled":1,"future":2,"spendable":3},"colored":{"settled":4,"future":5,"spendable":6},
			"offchain_balance":{"total":7,"details":[{"expiry_time":"2026-01-08T12:00:00Z","amount":7}]}},"asset_balances":[
			{"asset_id":"rgb:a","ticker":"USDT\u202e","precision":6,"balance":{"settled":10,"future":11,"spendable":12,"offchain_outbound":13}},
			{"asset_id":"rgb:b","ticker":null,"precision":0,"balance":{"settled":"10","future":0,"spendable":0}}]}`,
			decoded{Value: Balances{Vanilla: Balance{1, 2, 3}, Colored: Balance{4, 5, 6}, OffchainTotal: new(int64(7)), Assets: []AssetBalance{
				{AssetID: "rgb:a", Ticker: "USDT", Precision: 6, Settled: 10, Future: 11, Spendable: 12, OffchainOutbound: new(int64(13))},
				{AssetID: "rgb:b", Settled: 10},
			}}},
		},
		"balances that lack one are not zero": {
			balances, `{"balance":{"vanilla":{"settled":1,"future":2},"colored":{"settled":4,"future":5,"spendable":6}},"asset_balances":[]}`,
			decoded{Err: "the vanilla balance: a required integer is absent"},
		},
		"balances that are no object":   {balances, `{"balance":null,"asset_balances":null}`, decoded{Err: "the vanilla balance: a required integer is absent"}},
		"an asset of too many decimals": {balances, `{"balance":{"vanilla":{"settled":1,"future":2,"spendable":3},"colored":{"settled":4,"future":5,"spendable":6}},"asset_balances":[{"asset_id":"rgb:a","precision":4294967296,"balance":{"settled":1,"future":1,"spendable":1}}]}`, decoded{Err: "the precision of an asset is out of range"}},
		"an asset without its id":       {balances, `{"balance":{"vanilla":{"settled":1,"future":2,"spendable":3},"colored":{"settled":4,"future":5,"spendable":6}},"asset_balances":[{"precision":0,"balance":{"settled":1,"future":1,"spendable":1}}]}`, decoded{Err: "the balance of an asset lacks its id"}},
		"a registration": {
			registration, `{"address":"bcrt1q","btc_balance":{"vanilla":{"settled":1,"future":2,"spendable":3},"colored":{"settled":4,"future":5,"spendable":6}}}`,
			decoded{Value: Registration{Address: "bcrt1q", Balance: &Balances{Vanilla: Balance{1, 2, 3}, Colored: Balance{4, 5, 6}}}},
		},
		"a registration that says nothing": {registration, `{}`, decoded{Value: Registration{}}},

		"the documented settlement": {settle, `{"result":"success"}`, decoded{Value: SettleResult{}}},
		"the service's settlement": {
			settle, `{"results":[{"type":"btc","capacity_sat":48000,"fee_reserve":2000,"result":{"temporary_channel_id":"ab"},"error":null},
			{"type":"asset","asset_id":"rgb:a","asset_amount":"5","error":"<b>403</b>: {'error': 'x'}"}],"total_channels_opened":1}`,
			decoded{Value: SettleResult{ChannelsOpened: 1, Channels: []SettledChannel{
				{Type: "btc", CapacitySats: new(int64(48000)), FeeReserveSats: new(int64(2000)), Result: "map[temporary_channel_id:ab]"},
				{Type: "asset", AssetID: "rgb:a", AssetAmount: new(int64(5)), Error: "403 : {'error': 'x'}"},
			}}},
		},
		"a settlement refused with 200": {
			settle, `{"error":"InsufficientBitcoins","message":"no\nfunds","results":[],"total_channels_opened":0}`,
			decoded{Value: SettleResult{Refusal: "InsufficientBitcoins", RefusalMessage: "no funds"}},
		},
		"a settlement that is a word": {settle, `"success"`, decoded{Err: `the answer is not the documented one: "" is a JSON string`}},

		"a deposit address": {
			deposit, `{"btc_address":"bcrt1q","asset_invoice":"rgb:x","expires_at":"2026-01-08T12:00:00Z"}`,
			decoded{Value: DepositAddress{"bcrt1q", "rgb:x", second}},
		},
		"a deposit address without an end": {deposit, `{"btc_address":"bcrt1q","asset_invoice":"","expires_at":null}`, decoded{Value: DepositAddress{Address: "bcrt1q"}}},
		"no deposit address":               {deposit, `{"asset_invoice":"rgb:x"}`, decoded{Err: "the answer lacks an address, or holds one that is none"}},
		"a deposit address of two lines":   {deposit, `{"btc_address":"bcrt1q\nx"}`, decoded{Err: "the answer lacks an address, or holds one that is none"}},

		"an end as documented":           {onchainEnd, `{"send_id":"s1","txid":"ab"}`, decoded{Value: OnchainSend{ID: "s1", Txid: new("ab")}}},
		"an end of the reference server": {onchainEnd, `{"withdrawal_id":"w1","status":"REQUESTED"}`, decoded{Value: OnchainSend{ID: "w1", StatusWord: "REQUESTED"}}},
		"an end with both, equal":        {onchainEnd, `{"withdrawal_id":"w1","send_id":"w1"}`, decoded{Value: OnchainSend{ID: "w1"}}},
		"an end with two ids":            {onchainEnd, `{"withdrawal_id":"w1","send_id":"s1"}`, decoded{Err: "the answer holds two different ids"}},
		"an end without an id":           {onchainEnd, `{"status":"REQUESTED"}`, decoded{Err: "the answer lacks an id"}},
		"an end with an id that is none": {onchainEnd, `{"send_id":"a b"}`, decoded{Err: "the answer's id is not one of the service"}},
		"a send of the reference server": {
			onchain, `{"withdrawal_id":"w1","status":"FAILED","address_or_rgbinvoice":"bcrt1q","amount_sats_requested":100000,"amount_sats_sent":99000,
			"asset":null,"close_txids":["c1","c2"],"sweep_txid":null,"fee_sats":1000,"timestamps":{"created_at":1767873600,"updated_at":1767873601},
			"error_code":"SWEEP_FAILED","error_message":"403: {'error': 'x',\n 'code': 403}","retryable":true}`,
			decoded{Value: OnchainSend{
				ID: "w1", Status: OnchainFailed, StatusWord: "FAILED", DestinationEcho: "bcrt1q", AmountSatsRequested: new(int64(100000)),
				AmountSatsSent: new(int64(99000)), CloseTxids: []string{"c1", "c2"}, FeeSats: new(int64(1000)), CreatedAt: second, UpdatedAt: second.Add(time.Second),
				ErrorCode: "SWEEP_FAILED", ErrorMessage: "403: {'error': 'x', 'code': 403}", Retryable: true,
			}},
		},
		"a send as documented": {
			onchain, `{"send_id":"s1","status":"completed","sweep_txid":"ab","timestamps":{"created":1767873600,"completed":1767873601}}`,
			decoded{Value: OnchainSend{ID: "s1", Status: OnchainConfirmed, StatusWord: "completed", SweepTxid: new("ab"), CreatedAt: second, CompletedAt: second.Add(time.Second)}},
		},
		"a send that is confirmed":     {onchain, `{"status":"CONFIRMED","asset":{"asset_id":"rgb:a","amount":1}}`, decoded{Value: OnchainSend{Status: OnchainConfirmed, StatusWord: "CONFIRMED", Asset: &Asset{"rgb:a", 1}}}},
		"a send in a state to come":    {onchain, `{"status":"NEARLY"}`, decoded{Value: OnchainSend{StatusWord: "NEARLY"}}},
		"a send without a status":      {onchain, `{"send_id":"s1"}`, decoded{Err: "the answer lacks a status"}},
		"a send to what is no address": {onchain, `{"status":"pending","address_or_rgbinvoice":"a\nb"}`, decoded{Value: OnchainSend{StatusWord: "pending"}}},

		"payments": {
			payments, `{"total":2,"payments":[
			{"amt_msat":5000000,"asset_amount":null,"asset_id":null,"payment_hash":"` + strings.ToUpper(testHash) + `","inbound":false,"status":"Pending","created_at":1767873600,"updated_at":1767873601,"payee_pubkey":"02ab"},
			{"amt_msat":"3000000","asset_amount":1,"asset_id":"rgb:a","payment_hash":"` + testHash + `","inbound":true,"status":"Claimable"}],"more":{"payments":[]}}`,
			decoded{Value: []Payment{
				{PaymentHash: testHash, Status: SendPending, StatusWord: "Pending", AmountMsat: new(int64(5000000)), PayeePubkey: "02ab", CreatedAt: second, UpdatedAt: second.Add(time.Second)},
				{PaymentHash: testHash, Inbound: true, StatusWord: "Claimable", AmountMsat: new(int64(3000000)), AssetAmount: one, AssetID: "rgb:a"},
			}},
		},
		"no payments":                            {payments, `{"payments":[]}`, decoded{Value: []Payment{}}},
		"payments without their list":            {payments, `{}`, decoded{Err: noList}},
		"payments that are null":                 {payments, `{"payments":null}`, decoded{Err: noList}},
		"payments twice":                         {payments, `{"payments":[],"payments":[]}`, decoded{Err: noList}},
		"payments bare":                          {payments, `[]`, decoded{Err: noList}},
		"payments cut off between":               {payments, `{"payments":[]`, decoded{Err: noList}},
		"payments cut off within":                {payments, `{"payments":[{"payment_hash":"` + testHash, decoded{Err: noList}},
		"payments and more":                      {payments, `{"payments":[]} []`, decoded{Err: noList}},
		"payments of which one is unreadable":    {payments, `{"payments":[{"payment_hash":"` + testHash + `","inbound":true,"status":"Failed"},{"payment_hash":"x","inbound":true,"status":"Failed"}]}`, decoded{Err: "item 1 of the list: a payment lacks its hash, direction or status"}},
		"payments of which one has no direction": {payments, `{"payments":[{"payment_hash":"` + testHash + `","status":"Failed"}]}`, decoded{Err: "item 0 of the list: a payment lacks its hash, direction or status"}},
		"payments of which one is null":          {payments, `{"payments":[null]}`, decoded{Err: "item 0 of the list: the answer is null"}},

		"transfers as documented": {
			transfers, `[{"idx":1,"batch_transfer_idx":2,"created_at":1767873600,"updated_at":1767873601,"status":"Settled","amount":5,"kind":"ReceiveBlind",
			"txid":"ab","recipient_id":"utxob:x","receive_utxo":{"txid":"cd","vout":1},"change_utxo":null,"expiration":1767873600,"transport_endpoints":[{"endpoint":"rpc://x","transport_type":0,"used":true}]}]`,
			decoded{Value: []Transfer{{
				Index: 1, BatchIndex: new(int64(2)), Status: "Settled", Kind: "ReceiveBlind", Amount: new(int64(5)), Txid: "ab", RecipientID: "utxob:x",
				ReceiveUtxo: "cd:1", CreatedAt: second, UpdatedAt: second.Add(time.Second), ExpiresAt: second,
			}}},
		},
		"transfers of newer deployments": {
			transfers, `{"transfers":[
			{"idx":1,"status":2,"kind":3,"requested_assignment":{"amount":7},"assignments":[{"amount":6}],"txid":null,"receive_utxo":"cd:1","change_utxo":"ef:0","invoice_string":"rgb:x"},
			{"idx":2,"status":0,"kind":0,"requested_assignment":{"type":"Fungible","value":8}},
			{"idx":3,"requested_assignment":null,"assignments":[{"amount":1},{"type":"Fungible","value":"2"},{"type":"Any"}]},
			{"idx":4,"receive_utxo":7,"status":{},"assignments":[]}]}`,
			decoded{Value: []Transfer{
				{Index: 1, Status: "2", Kind: "3", Amount: new(int64(7)), ReceiveUtxo: "cd:1", ChangeUtxo: "ef:0"},
				{Index: 2, Status: "0", Kind: "0", Amount: new(int64(8))},
				{Index: 3, Amount: new(int64(3))},
				{Index: 4},
			}},
		},
		"no transfers":                     {transfers, `[]`, decoded{Value: []Transfer{}}},
		"a transfer without an index":      {transfers, `[{}]`, decoded{Err: "item 0 of the list: a transfer lacks its index"}},
		"a transfer of more than there is": {transfers, fmt.Sprintf(`[{"idx":1,"assignments":[{"amount":%d},{"amount":1}]}]`, int64(math.MaxInt64)), decoded{Err: "item 0 of the list: a transfer's assignments do not add up"}},
		"a transfer of less than nothing":  {transfers, `[{"idx":1,"assignments":[{"amount":-1}]}]`, decoded{Err: "item 0 of the list: a transfer's assignments do not add up"}},
		"a transfer of a part":             {transfers, `[{"idx":1,"requested_assignment":{"amount":0.5}}]`, decoded{Err: "item 0 of the list: a transfer's assignment cannot be read"}},
		"transfers that are a word":        {transfers, `"none"`, decoded{Err: noList}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.decode(tc.body)); diff != "" {
				t.Errorf("decoding %s (-want +got):\n%s", tc.body, diff)
			}
		})
	}
}

func TestStatusWords(t *testing.T) {
	type words struct{ Receive, Send, Onchain string }
	tests := map[string]words{
		"OPEN":                        {"OPEN", "unrecognised", "in progress"},
		"open":                        {"OPEN", "unrecognised", "in progress"},
		"Settled":                     {"SETTLED", "unrecognised", "in progress"},
		"EXPIRED":                     {"EXPIRED", "unrecognised", "in progress"},
		"failed":                      {"FAILED", "FAILED", "FAILED"},
		"Pending":                     {"unrecognised", "PENDING", "in progress"},
		"SUCCEEDED":                   {"unrecognised", "SUCCEEDED", "in progress"},
		"CONFIRMED":                   {"unrecognised", "unrecognised", "CONFIRMED"},
		"Completed":                   {"unrecognised", "unrecognised", "CONFIRMED"},
		"REQUESTED":                   {"unrecognised", "unrecognised", "in progress"},
		"CLOSING_CHANNELS":            {"unrecognised", "unrecognised", "in progress"},
		"WAITING_CLOSE_CONFIRMATIONS": {"unrecognised", "unrecognised", "in progress"},
		"WAITING_BALANCE_UPDATE":      {"unrecognised", "unrecognised", "in progress"},
		"SWEEPING_OUTPUTS":            {"unrecognised", "unrecognised", "in progress"},
		"BROADCASTED":                 {"unrecognised", "unrecognised", "in progress"},
		"":                            {"unrecognised", "unrecognised", "in progress"},
		"FAILED ":                     {"unrecognised", "unrecognised", "in progress"},
	}
	for text, want := range tests {
		got := words{receiveStatus(text).String(), sendStatus(text).String(), onchainStatus(text).String()}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// listPayments returns what EachPayment visits of a list that is whole.
func listPayments(ctx context.Context, c *Client) (all []Payment, err error) {
	if err := c.EachPayment(ctx, func(one Payment) { all = append(all, one) }); err != nil {
		return nil, err
	}
	return all, nil
}

func TestListsMayBeLarge(t *testing.T) {
	item := `{"payment_hash":"` + testHash + `","inbound":true,"status":"Succeeded"}`
	const items = 20_000 // over 2 MB, where other answers end at 1 MB
	body := `{"payments":[` + strings.Repeat(item+",", items-1) + item + `]}`
	payments, err := listPayments(t.Context(), newTestClient(t, answering(t, 200, body).URL))
	if err != nil || len(payments) != items {
		t.Errorf("EachPayment visited %d payments, %v, want %d", len(payments), err, items)
	}
}

func TestBoundedReader(t *testing.T) {
	for length, want := range map[int]error{0: nil, 9: nil, 10: nil, 11: errTooLarge, 1000: errTooLarge} {
		reader := &boundedReader{reader: strings.NewReader(strings.Repeat("x", length)), left: 10}
		var buffer [3]byte
		var err error
		total := 0
		for err == nil {
			var n int
			n, err = reader.Read(buffer[:])
			total += n
		}
		if reader.err != want || total != min(length, 10) {
			t.Errorf("%d bytes: read %d, %v, want %v", length, total, reader.err, want)
		}
	}
}

// fuzzDecoder checks that a decoder does not panic, that what it accepts satisfies check, and that its errors can be shown.
func fuzzDecoder[T any](f *testing.F, decode func([]byte) (T, error), check func(T) bool, seeds ...string) {
	for _, seed := range append(seeds, `null`, `{}`, `[]`, `""`, `0`, `{"a":1e999}`, `{"id":{"id":[]}}`) {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		value, err := decode(body)
		if err == nil && !check(value) {
			t.Fatalf("%q decodes to %+v", body, value)
		}
		if err != nil {
			if text := clean(err.Error(), redactor(), maxMessage); len(text) == 0 || len(text) > maxMessage {
				t.Fatalf("%q fails with %q", body, text)
			}
		}
	})
}

func FuzzDecodeReceiveRequest(f *testing.F) {
	fuzzDecoder(f, testClientWithoutServer().decodeReceiveRequest, func(r ReceiveRequest) bool {
		return identity.MatchString(r.ID) && r.PaymentRequest != "" && len(r.StatusWord) <= maxMessage
	}, `{"id":"1","invoice":"lnbcrt1","status":"OPEN","amount_sats":"10","asset":{"asset_id":"a","amount":1},"created_at":"2026-01-08T12:00:00Z"}`)
}

func FuzzDecodeSendRequest(f *testing.F) {
	fuzzDecoder(f, testClientWithoutServer().decodeSendRequest, func(r SendRequest) bool {
		return hexHash.MatchString(r.ID) && (r.Status != SendSucceeded || strings.EqualFold(r.StatusWord, "succeeded"))
	}, `{"id":"`+testHash+`","status":"SUCCEEDED","fee_sats":null,"amount_sats":10.0}`)
}

func FuzzDecodePSBT(f *testing.F) {
	fuzzDecoder(f, testClientWithoutServer().decodePSBT, func(s string) bool { return strings.HasPrefix(s, psbtMagic) }, `"`+testPSBT+`"`)
}

func FuzzDecodeFee(f *testing.F) {
	fuzzDecoder(f, decodeFee, func(fee int64) bool { return fee >= 0 }, `50`, `"50"`, `50.0`, `-1`)
}

func FuzzDecodeBalances(f *testing.F) {
	balance := `{"settled":1,"future":2,"spendable":3}`
	fuzzDecoder(f, testClientWithoutServer().decodeBalances, func(b Balances) bool {
		for _, asset := range b.Assets {
			if asset.AssetID == "" || asset.Precision < 0 {
				return false
			}
		}
		return true
	}, `{"balance":{"vanilla":`+balance+`,"colored":`+balance+`,"offchain_balance":{"total":1}},"asset_balances":[{"asset_id":"a","precision":1,"balance":`+balance+`}]}`)
}

func FuzzDecodeRegistration(f *testing.F) {
	fuzzDecoder(f, testClientWithoutServer().decodeRegistration, func(r Registration) bool { return !strings.ContainsAny(r.Address, " \n") },
		`{"address":"bcrt1q","btc_balance":null}`)
}

func FuzzDecodeSettle(f *testing.F) {
	fuzzDecoder(f, testClientWithoutServer().decodeSettle, func(r SettleResult) bool { return len(r.RefusalMessage) <= maxMessage },
		`{"result":"success"}`, `{"error":"x","message":"y","results":[{"type":"btc","result":{},"error":[]}],"total_channels_opened":0}`)
}

func FuzzDecodeDepositAddress(f *testing.F) {
	fuzzDecoder(f, testClientWithoutServer().decodeDepositAddress, func(d DepositAddress) bool { return d.Address != "" },
		`{"btc_address":"bcrt1q","asset_invoice":"rgb:x","expires_at":"2026-01-08T12:00:00Z"}`)
}

func FuzzDecodeOnchainSendEnd(f *testing.F) {
	fuzzDecoder(f, testClientWithoutServer().decodeOnchainSendEnd, func(s OnchainSend) bool { return identity.MatchString(s.ID) },
		`{"send_id":"s1","txid":"ab"}`, `{"withdrawal_id":"w1","status":"REQUESTED"}`)
}

func FuzzDecodeOnchainSend(f *testing.F) {
	fuzzDecoder(f, testClientWithoutServer().decodeOnchainSend, func(s OnchainSend) bool {
		return (s.ID == "" || identity.MatchString(s.ID)) && len(s.ErrorMessage) <= maxMessage
	}, `{"withdrawal_id":"w1","status":"FAILED","timestamps":{"created_at":1,"x":null},"close_txids":["c"],"retryable":true,"asset":{"asset_id":"a","amount":1}}`)
}

func FuzzDecodePayments(f *testing.F) {
	decode := func(body []byte) ([]Payment, error) {
		return decodeList(strings.NewReader(string(body)), "payments", false, testClientWithoutServer().decodePayment)
	}
	fuzzDecoder(f, decode, func(payments []Payment) bool {
		for _, payment := range payments {
			if !hexHash.MatchString(payment.PaymentHash) {
				return false
			}
		}
		return payments != nil
	}, `{"x":[],"payments":[{"payment_hash":"`+testHash+`","inbound":false,"status":"Failed","amt_msat":"1"}]}`)
}

func FuzzDecodeTransfers(f *testing.F) {
	decode := func(body []byte) ([]Transfer, error) {
		return decodeList(strings.NewReader(string(body)), "transfers", true, testClientWithoutServer().decodeTransfer)
	}
	fuzzDecoder(f, decode, func(transfers []Transfer) bool { return transfers != nil },
		`[{"idx":1,"requested_assignment":{"amount":7},"receive_utxo":{"txid":"a","vout":0}}]`, `{"transfers":[{"idx":1,"assignments":[{"amount":1}]}]}`)
}
