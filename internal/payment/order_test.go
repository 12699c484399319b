package payment

import (
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// encodeInvoice returns a regtest invoice of 5,000 sat, made at t0 and an hour long, after change.
func encodeInvoice(t testing.TB, change ...func(*bolt11.Invoice)) string {
	t.Helper()
	key, _ := btcec.PrivKeyFromBytes([]byte(strings.Repeat("k", 32)))
	invoice := &bolt11.Invoice{
		Prefix: "bcrt", Amount: new(amount.MilliSat(5_000_000)), PaymentHash: [32]byte{1, 2, 3}, PaymentSecret: [32]byte{4},
		Timestamp: t0, Expiry: time.Hour, Description: "rent", MinFinalCLTVExpiry: 18, Features: bolt11.Features{8, 14, 17},
	}
	for _, c := range change {
		c(invoice)
	}
	text, err := bolt11.Encode(invoice, key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func withAsset(id string) func(*bolt11.Invoice) {
	return func(i *bolt11.Invoice) { i.Asset = &bolt11.Asset{ID: id, Amount: 10} }
}

func TestNewLightningOrder(t *testing.T) {
	key, _ := btcec.PrivKeyFromBytes([]byte(strings.Repeat("k", 32)))
	text := encodeInvoice(t)
	pay := testkit.MakeLightningPayment("rent").Namespace("shop").Obj()
	pay.UID = "uid-of-rent"
	order, obstacle := NewLightningOrder(pay, text, bitcoin.Regtest, makeWallet(), t0)
	if obstacle != nil {
		t.Fatal(obstacle)
	}
	want := &Order{
		Kind: v1alpha1.RecordLightningPayment, Holder: makeHolder("LightningPayment", "rent"), Wallet: makeWallet(), PaymentRequest: text,
		PaymentHash: "010203" + strings.Repeat("0", 58), Destination: hexOf(key.PubKey().SerializeCompressed()),
		AmountSats: 5000, MaxFeeSats: 3000, StartBefore: t0.Add(59 * time.Minute),
	}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if got := order.RecordName(); got != "ln-010203"+strings.Repeat("0", 58) {
		t.Errorf("the record's name is %s", got)
	}

	// What the manifest says counts: its cap, its end where that comes first, and the asset.
	pay = testkit.MakeLightningPayment("rent").MaxFeeSats(0).ValidUntil(t0.Add(time.Minute)).Asset(assetID, 10).Obj()
	order, obstacle = NewLightningOrder(pay, encodeInvoice(t, withAsset(assetID)), bitcoin.Regtest, makeWallet(), t0)
	if obstacle != nil {
		t.Fatal(obstacle)
	}
	if order.MaxFeeSats != 0 || !order.StartBefore.Equal(t0.Add(time.Minute)) || *order.Asset != (v1alpha1.AssetAmount{ID: assetID, Amount: 10}) {
		t.Errorf("the order is %+v", order)
	}
	// An end after the invoice's own changes nothing.
	pay = testkit.MakeLightningPayment("rent").ValidUntil(t0.Add(24 * time.Hour)).Obj()
	if order, _ = NewLightningOrder(pay, text, bitcoin.Regtest, makeWallet(), t0); !order.StartBefore.Equal(t0.Add(59 * time.Minute)) {
		t.Errorf("the payment may start until %s", order.StartBefore)
	}
}

func hexOf(data []byte) string {
	const digits = "0123456789abcdef"
	var text strings.Builder
	for _, b := range data {
		text.WriteByte(digits[b>>4])
		text.WriteByte(digits[b&15])
	}
	return text.String()
}

func TestNewLightningOrderRefuses(t *testing.T) {
	pay := func() *testkit.LightningPaymentBuilder { return testkit.MakeLightningPayment("rent") }
	valid := encodeInvoice(t)
	broken := valid[:len(valid)-1] + map[bool]string{true: "q", false: "p"}[valid[len(valid)-1] != 'q']
	for name, tc := range map[string]struct {
		invoice    string
		pay        *v1alpha1.LightningPayment
		network    bitcoin.Network
		now        time.Time
		unread     bool
		wantReason string
		mentions   []string
	}{
		"a broken checksum":           {invoice: broken, unread: true, wantReason: v1alpha1.ReasonInvalidInvoice, mentions: []string{"cannot be read"}},
		"no invoice":                  {invoice: "", unread: true, wantReason: v1alpha1.ReasonInvalidInvoice},
		"an address":                  {invoice: "bcrt1peasutyryerxx0chunqagkymygcgzpj5sv52tp33gyt26f5xqjt4sfj4zk0", unread: true, wantReason: v1alpha1.ReasonInvalidInvoice},
		"white space around it":       {invoice: valid + "\n", unread: true, wantReason: v1alpha1.ReasonInvalidInvoice},
		"another network":             {invoice: valid, network: bitcoin.Mainnet, wantReason: v1alpha1.ReasonWrongNetwork, mentions: []string{"mainnet", "lnbcrt"}},
		"a network that nobody knows": {invoice: valid, network: "", wantReason: v1alpha1.ReasonWrongNetwork},
		"expired":                     {invoice: valid, now: t0.Add(time.Hour), wantReason: v1alpha1.ReasonInvoiceExpired, mentions: []string{"2026-01-01T13:00:00Z", "new one"}},
		"so near its expiry that it might not arrive": {invoice: valid, now: t0.Add(59 * time.Minute), wantReason: v1alpha1.ReasonInvoiceExpired, mentions: []string{"1m0s"}},
		"no amount":                        {invoice: encodeInvoice(t, func(i *bolt11.Invoice) { i.Amount = nil }), wantReason: v1alpha1.ReasonInvalidInvoice, mentions: []string{"amount"}},
		"a fraction of a satoshi":          {invoice: encodeInvoice(t, func(i *bolt11.Invoice) { i.Amount = new(amount.MilliSat(5_000_001)) }), wantReason: v1alpha1.ReasonInvalidInvoice, mentions: []string{"5000001 msat"}},
		"another amount than the guard":    {invoice: valid, pay: pay().AmountSats(4999).Obj(), wantReason: v1alpha1.ReasonAmountMismatch, mentions: []string{"5000", "4999"}},
		"an asset, and a guard in bitcoin": {invoice: encodeInvoice(t, withAsset(assetID)), pay: pay().AmountSats(5000).Obj(), wantReason: v1alpha1.ReasonAmountMismatch, mentions: []string{assetID}},
		"bitcoin, and a guard in an asset": {invoice: valid, pay: pay().Asset(assetID, 10).Obj(), wantReason: v1alpha1.ReasonAmountMismatch, mentions: []string{assetID}},
		"another asset than the guard":     {invoice: encodeInvoice(t, withAsset(otherAssetID)), pay: pay().Asset(assetID, 10).Obj(), wantReason: v1alpha1.ReasonAmountMismatch, mentions: []string{assetID, otherAssetID}},
		"another amount of the asset":      {invoice: encodeInvoice(t, withAsset(assetID)), pay: pay().Asset(assetID, 11).Obj(), wantReason: v1alpha1.ReasonAmountMismatch, mentions: []string{"10", "11"}},
		"an asset id in another spelling":  {invoice: encodeInvoice(t, withAsset(strings.ReplaceAll(assetID, "-", ""))), wantReason: v1alpha1.ReasonInvalidInvoice},
		"an asset id that is none":         {invoice: encodeInvoice(t, withAsset("a")), wantReason: v1alpha1.ReasonInvalidInvoice},
		"an asset id of any length":        {invoice: encodeInvoice(t, withAsset("rgb:"+strings.Repeat("a", 500))), wantReason: v1alpha1.ReasonInvalidInvoice},
		"validUntil over":                  {invoice: valid, pay: pay().ValidUntil(t0).Obj(), wantReason: v1alpha1.ReasonValidityElapsed, mentions: []string{"nothing was sent"}},
	} {
		t.Run(name, func(t *testing.T) {
			declared := tc.pay
			if declared == nil {
				declared = pay().Obj()
			}
			network, now := tc.network, tc.now
			if network == "" && tc.wantReason != v1alpha1.ReasonWrongNetwork {
				network = bitcoin.Regtest
			}
			if now.IsZero() {
				now = t0
			}
			order, obstacle := NewLightningOrder(declared, tc.invoice, network, makeWallet(), now)
			assertDeadEnd(t, obstacle, tc.wantReason, tc.mentions...)
			if (order == nil) != tc.unread {
				t.Errorf("the order is %+v: a record of it may exist where the invoice can be read", order)
			}
			if order != nil && order.Asset != nil && !isAssetID(order.Asset.ID) {
				t.Errorf("the order is of asset %q, which no status can show", order.Asset.ID)
			}
		})
	}
}

func assertDeadEnd(t *testing.T, obstacle *Obstacle, reason string, mentions ...string) {
	t.Helper()
	if obstacle == nil {
		t.Fatal("nothing is refused")
	}
	if obstacle.Reason != reason || !obstacle.DeadEnd || obstacle.RetryAfter != 0 {
		t.Errorf("refused as %+v, want the dead end %s", obstacle, reason)
	}
	if n := len(obstacle.Message); n < 10 || n > 512 || strings.ContainsFunc(obstacle.Message, func(r rune) bool { return r < ' ' }) {
		t.Errorf("the message is for nobody: %q", obstacle.Message)
	}
	assertMentions(t, obstacle.Message, mentions...)
}

// TestNewLightningOrderJustInTime is R11 at the second: the last instant at which a payment may start is before its margin.
func TestNewLightningOrderJustInTime(t *testing.T) {
	text := encodeInvoice(t)
	pay := testkit.MakeLightningPayment("rent").Obj()
	if _, obstacle := NewLightningOrder(pay, text, bitcoin.Regtest, makeWallet(), t0.Add(59*time.Minute-time.Nanosecond)); obstacle != nil {
		t.Errorf("refused: %+v", obstacle)
	}
	pay = testkit.MakeLightningPayment("rent").ValidUntil(t0.Add(time.Minute)).Obj()
	if _, obstacle := NewLightningOrder(pay, text, bitcoin.Regtest, makeWallet(), t0.Add(time.Minute-time.Nanosecond)); obstacle != nil {
		t.Errorf("refused: %+v", obstacle)
	}
}

const (
	regtestAddress = "bcrt1peasutyryerxx0chunqagkymygcgzpj5sv52tp33gyt26f5xqjt4sfj4zk0"
	mainnetAddress = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
	// seal is that of an invoice in rgb-lib's tests.
	seal = "utxob:cbgHUJ4e-7QyKY4U-Jsj5AZw-oI0gxZh-7fxQY2_-tFFUAZN-4CgpX"
)

func makeSend() *testkit.OnchainSendBuilder {
	return testkit.MakeOnchainSend("payout").Namespace("shop").ValidUntil(t0.Add(time.Hour))
}

func TestNewOnchainOrder(t *testing.T) {
	send := makeSend().Wallet("main").Address(strings.ToUpper(regtestAddress)).AmountSats(100_000).IdempotencyKey("march").Obj()
	send.UID = "uid-of-payout"
	order, obstacle := NewOnchainOrder(send, bitcoin.Regtest, makeWallet(), t0)
	if obstacle != nil {
		t.Fatal(obstacle)
	}
	want := makeOnchainOrder()
	want.MaxFeeSats, want.IdempotencyKey = 10_000, "march"
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}

	asset := makeSend().RGBInvoice("rgb:~/~/~/bcrt:"+seal).Asset(assetID, 10).MaxFeeSats(0).Obj()
	order, obstacle = NewOnchainOrder(asset, bitcoin.Regtest, v1alpha1.RecordWallet{}, t0)
	if obstacle != nil {
		t.Fatal(obstacle)
	}
	if order.Destination != "rgb:~/~/~/bcrt:"+seal || order.AmountSats != 0 || order.Asset.Amount != 10 || order.MaxFeeSats != 0 {
		t.Errorf("the order is %+v", order)
	}
	// Its record can be found although the wallet cannot.
	if order.Wallet.Name != "main" {
		t.Errorf("the wallet is %+v", order.Wallet)
	}
}

func TestNewOnchainOrderRefuses(t *testing.T) {
	toAsset := func(invoice string) *testkit.OnchainSendBuilder {
		return makeSend().RGBInvoice(invoice).Asset(assetID, 10)
	}
	anyAsset := "rgb:~/~/~/bcrt:" + seal
	thisAsset := strings.Replace(anyAsset, "rgb:~", assetID, 1)
	for name, tc := range map[string]struct {
		send       *testkit.OnchainSendBuilder
		network    bitcoin.Network
		now        time.Time
		wantReason string
		mentions   []string
	}{
		"a broken checksum": {
			send:       makeSend().Address(strings.TrimSuffix(regtestAddress, "0") + "q").AmountSats(1000),
			wantReason: v1alpha1.ReasonInvalidAddress, mentions: []string{"cannot be paid", "copy it again"},
		},
		"a text that is no address": {send: makeSend().Address("payout@example").AmountSats(1000), wantReason: v1alpha1.ReasonInvalidAddress},
		"white space around it":     {send: makeSend().Address(regtestAddress + " ").AmountSats(1000), wantReason: v1alpha1.ReasonInvalidAddress, mentions: []string{"white space"}},
		"a public key":              {send: makeSend().Address("02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5").AmountSats(1000), wantReason: v1alpha1.ReasonInvalidAddress},
		"an address of another network": {
			send: makeSend().Address(mainnetAddress).AmountSats(1000), wantReason: v1alpha1.ReasonWrongNetwork, mentions: []string{"mainnet", "regtest"},
		},
		"an address for a wallet of another network": {
			send: makeSend().Address(regtestAddress).AmountSats(1000), network: bitcoin.Mainnet, wantReason: v1alpha1.ReasonWrongNetwork,
		},
		"dust for a Taproot output": {
			send: makeSend().Address(regtestAddress).AmountSats(329), wantReason: v1alpha1.ReasonAmountMismatch, mentions: []string{"329", "330", "dust"},
		},
		"dust for an output of another type": {
			send: makeSend().Address("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn").AmountSats(545), wantReason: v1alpha1.ReasonAmountMismatch, mentions: []string{"546"},
		},
		"no amount": {send: makeSend().Address(regtestAddress), wantReason: v1alpha1.ReasonAmountMismatch},
		"validUntil over": {
			send: makeSend().Address(regtestAddress).AmountSats(1000).ValidUntil(t0), wantReason: v1alpha1.ReasonValidityElapsed, mentions: []string{"nothing was sent"},
		},
		"validUntil over, for an asset": {send: toAsset(anyAsset).ValidUntil(t0), wantReason: v1alpha1.ReasonValidityElapsed},
		"an RGB invoice without an asset": {
			send: makeSend().RGBInvoice(anyAsset), wantReason: v1alpha1.ReasonInvalidSpec, mentions: []string{"spec.asset"},
		},
		"an asset that is none": {
			send: makeSend().RGBInvoice(anyAsset).Asset("rgb:1234567890abcdef", 10), wantReason: v1alpha1.ReasonInvalidSpec, mentions: []string{"spec.asset.id"},
		},
		"a placeholder for an RGB invoice": {
			send: toAsset("rgb:1234567890abcdef..."), wantReason: v1alpha1.ReasonInvalidInvoice, mentions: []string{"cannot be read"},
		},
		"an RGB invoice with a broken checksum": {send: toAsset(strings.Replace(anyAsset, "cbgHUJ4e", "dbgHUJ4e", 1)), wantReason: v1alpha1.ReasonInvalidInvoice},
		"an RGB invoice of another asset": {
			send: makeSend().RGBInvoice(thisAsset).Asset(otherAssetID, 10), wantReason: v1alpha1.ReasonAmountMismatch, mentions: []string{assetID, otherAssetID},
		},
		"an RGB invoice of another amount": {
			send: toAsset(strings.Replace(anyAsset, "/~/bcrt", "/"+rgb.FormatAmount(11)+"/bcrt", 1)), wantReason: v1alpha1.ReasonAmountMismatch, mentions: []string{"11", "10"},
		},
		"an RGB invoice of another network": {
			send: toAsset(strings.Replace(anyAsset, "bcrt", "bc", 1)), wantReason: v1alpha1.ReasonWrongNetwork, mentions: []string{"regtest"},
		},
		"an RGB invoice that expired": {
			send: toAsset(anyAsset + "?expiry=1767268800"), wantReason: v1alpha1.ReasonInvoiceExpired, mentions: []string{"2026-01-01T12:00:00Z"},
		},
		"an RGB invoice whose usual spelling is longer than a record holds": {
			send: toAsset(anyAsset + "?note=" + strings.Repeat("=", 1800)), wantReason: v1alpha1.ReasonInvalidInvoice, mentions: []string{"2048"},
		},
		"an address where an RGB invoice is declared": {send: toAsset(regtestAddress), wantReason: v1alpha1.ReasonInvalidInvoice},
		"an RGB invoice where an address is declared": {send: makeSend().Address(anyAsset).AmountSats(1000), wantReason: v1alpha1.ReasonInvalidAddress},
	} {
		t.Run(name, func(t *testing.T) {
			network := tc.network
			if network == "" {
				network = bitcoin.Regtest
			}
			order, obstacle := NewOnchainOrder(tc.send.Obj(), network, makeWallet(), t0)
			assertDeadEnd(t, obstacle, tc.wantReason, tc.mentions...)
			if order == nil {
				t.Fatal("there is no order, though a record of it may exist")
			}
			if len(order.Destination) > maxDestination {
				t.Errorf("the destination has %d characters, more than a record holds", len(order.Destination))
			}
		})
	}
}

func TestNewOnchainOrderJustInTime(t *testing.T) {
	send := makeSend().Address(regtestAddress).AmountSats(330).ValidUntil(t0.Add(time.Second)).Obj()
	if _, obstacle := NewOnchainOrder(send, bitcoin.Regtest, makeWallet(), t0.Add(time.Second-1)); obstacle != nil {
		t.Errorf("refused: %+v", obstacle)
	}
}

// TestEqualOrdersHaveOneClaim is hazard 9 and 10: what the service takes for one order has one name, in whatever spelling.
func TestEqualOrdersHaveOneClaim(t *testing.T) {
	anyAsset := "rgb:~/~/~/bcrt:" + seal
	asset := func(invoice string) *testkit.OnchainSendBuilder {
		return makeSend().RGBInvoice(invoice).Asset(assetID, 10)
	}
	bitcoinTo := func(address string) *testkit.OnchainSendBuilder { return makeSend().Address(address).AmountSats(1000) }
	claim := func(t *testing.T, send *testkit.OnchainSendBuilder, change ...func(*Order)) string {
		t.Helper()
		order, obstacle := NewOnchainOrder(send.Obj(), bitcoin.Regtest, makeWallet(), t0)
		if obstacle != nil {
			t.Fatal(obstacle)
		}
		for _, c := range change {
			c(order)
		}
		return order.OrderClaimName()
	}
	for name, pair := range map[string][2]*testkit.OnchainSendBuilder{
		"an address in capitals": {bitcoinTo(regtestAddress), bitcoinTo(strings.ToUpper(regtestAddress))},
		"an RGB invoice without hyphens": {
			asset(strings.Replace(anyAsset, "rgb:~", assetID, 1)), asset(strings.Replace(strings.ReplaceAll(anyAsset, "-", ""), "rgb:~", strings.ReplaceAll(assetID, "-", ""), 1)),
		},
		"an RGB invoice in percent-encoding": {asset(anyAsset + "?expiry=1767272400"), asset(anyAsset + "?%65xpiry=1767272400")},
		"an RGB invoice with parameters in disorder": {
			asset(anyAsset + "?expiry=1767272400&endpoints=rpc://a"), asset(anyAsset + "?endpoints=rpc://a&expiry=1767272400"),
		},
		"another resource, cap and end": {bitcoinTo(regtestAddress), bitcoinTo(regtestAddress).MaxFeeSats(1).ValidUntil(t0.Add(time.Minute)).IdempotencyKey("k")},
	} {
		t.Run(name, func(t *testing.T) {
			if a, b := claim(t, pair[0]), claim(t, pair[1]); a != b {
				t.Errorf("two claims, %s and %s", a, b)
			}
		})
	}
	one := claim(t, bitcoinTo(regtestAddress))
	if other := claim(t, bitcoinTo(regtestAddress), func(o *Order) {
		o.Wallet.Name, o.Wallet.MasterFingerprint, o.Wallet.XpubVanilla = "other", "ffffffff", "tpubOther"
	}); other != one {
		t.Error("another wallet at the same service makes another claim")
	}
	seen := map[string]string{one: "the first"}
	for name, change := range map[string]func(*Order){
		"amount":      func(o *Order) { o.AmountSats++ },
		"fee rate":    func(o *Order) { o.FeeRate++ },
		"destination": func(o *Order) { o.Destination = mainnetAddress },
		"service":     func(o *Order) { o.Wallet.Server += "/x" },
		"asset":       func(o *Order) { o.AmountSats, o.Asset = 0, &v1alpha1.AssetAmount{ID: assetID, Amount: 1000} },
		"other asset": func(o *Order) { o.AmountSats, o.Asset = 0, &v1alpha1.AssetAmount{ID: otherAssetID, Amount: 1000} },
		"more of it":  func(o *Order) { o.AmountSats, o.Asset = 0, &v1alpha1.AssetAmount{ID: assetID, Amount: 1001} },
	} {
		got := claim(t, bitcoinTo(regtestAddress), change)
		if with, ok := seen[got]; ok {
			t.Errorf("%s makes the same claim as %s", name, with)
		}
		seen[got] = name
	}
}

func TestOnchainRecordNameIsTheManifests(t *testing.T) {
	name := func(change func(*testkit.OnchainSendBuilder), network bitcoin.Network, wallet v1alpha1.RecordWallet) string {
		send := makeSend().Address(regtestAddress).AmountSats(1000)
		change(send)
		order, _ := NewOnchainOrder(send.Obj(), network, wallet, t0)
		return order.RecordName()
	}
	same := func(*testkit.OnchainSendBuilder) {}
	one := name(same, bitcoin.Regtest, makeWallet())
	for what, other := range map[string]string{
		"a wallet that cannot be read": name(same, "", v1alpha1.RecordWallet{}),
		"another amount":               name(func(b *testkit.OnchainSendBuilder) { b.AmountSats(2000) }, bitcoin.Regtest, makeWallet()),
		"another end of validity":      name(func(b *testkit.OnchainSendBuilder) { b.ValidUntil(t0) }, bitcoin.Regtest, makeWallet()),
	} {
		if other != one {
			t.Errorf("%s makes it another record", what)
		}
	}
	for what, other := range map[string]string{
		"another key":       name(func(b *testkit.OnchainSendBuilder) { b.IdempotencyKey("k") }, bitcoin.Regtest, makeWallet()),
		"another namespace": name(func(b *testkit.OnchainSendBuilder) { b.Namespace("other") }, bitcoin.Regtest, makeWallet()),
		"another wallet":    name(func(b *testkit.OnchainSendBuilder) { b.Wallet("other") }, bitcoin.Regtest, makeWallet()),
	} {
		if other == one {
			t.Errorf("%s makes it the same record", what)
		}
	}
}

func TestDigestTellsPartsApart(t *testing.T) {
	parts := func(t *rapid.T, label string) []string {
		return rapid.SliceOfN(rapid.StringOf(rapid.SampledFrom([]rune("ab:12"))), 1, 4).Draw(t, label)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := parts(t, "a"), parts(t, "b")
		if same := cmp.Equal(a, b); same != (digest(a...) == digest(b...)) {
			t.Fatalf("%q and %q: equal is %t", a, b, same)
		}
	})
	for name, pair := range map[string][2][]string{
		"a border that moved":         {{"ab", "c"}, {"a", "bc"}},
		"a part that looks like two":  {{"a1:b"}, {"a", "b"}},
		"an empty part":               {{"a", ""}, {"a"}},
		"the parts in another order":  {{"a", "b"}, {"b", "a"}},
		"a key that names a resource": {{"ns", "name", "w", "k"}, {"ns", "name", "wk", ""}},
	} {
		if digest(pair[0]...) == digest(pair[1]...) {
			t.Errorf("%s gives the same digest", name)
		}
	}
}

// TestRecordNamesAreNames holds that whatever a manifest or a service says, its record has a name that the API server takes, and that the
// Secret of its PSBT has one too.
func TestRecordNamesAreNames(t *testing.T) {
	hash := rapid.StringMatching("[0-9a-f]{64}")
	rapid.Check(t, func(t *rapid.T) {
		text := func(label string) string { return rapid.String().Draw(t, label) }
		order := &Order{
			Destination: text("destination"), AmountSats: amount.Sat(rapid.Int64().Draw(t, "amount")), Wallet: v1alpha1.RecordWallet{Server: text("server")},
			FeeRate: amount.SatPerVByte(rapid.Int64().Draw(t, "rate")),
		}
		if rapid.Bool().Draw(t, "asset") {
			order.Asset = &v1alpha1.AssetAmount{ID: text("id"), Amount: rapid.Int64().Draw(t, "assetAmount")}
		}
		for prefix, name := range map[string]string{
			"ln-":    LightningRecordName(hash.Draw(t, "hash")),
			"oc-":    OnchainRecordName(text("namespace"), text("name"), text("wallet"), text("key")),
			"pin-":   InvoicePinName(text("namespace"), text("name")),
			"of-":    order.OrderClaimName(),
			"sid-":   SendClaimName(text("sendID")),
			"epoch-": EpochName(text("xpub")),
		} {
			if !strings.HasPrefix(name, prefix) {
				t.Fatalf("%s does not start with %s", name, prefix)
			}
			if wrong := validation.IsDNS1123Subdomain(name + "-psbt-2147483647"); len(wrong) > 0 || len(name) > 253 {
				t.Fatalf("%q is no name: %v", name, wrong)
			}
		}
	})
}

func TestSendClaimName(t *testing.T) {
	long := strings.Repeat("a", 101)
	for name, tc := range map[string]struct{ id, want string }{
		"an id that a name can hold": {sendID, "sid-" + sendID},
		"the longest":                {long[1:], "sid-" + long[1:]},
		"one that is longer":         {long, "sid-x" + digest("send", long)},
		"none":                       {"", "sid-x" + digest("send", "")},
		"capitals":                   {"ABC", "sid-x" + digest("send", "ABC")},
		"a dot":                      {"a.b", "sid-x" + digest("send", "a.b")},
		"a hyphen at the end":        {"a-", "sid-x" + digest("send", "a-")},
		"a letter in the middle":     {"aéb", "sid-x" + digest("send", "aéb")},
		"what looks like a digest":   {"x" + digest("send", "ABC"), "sid-x" + digest("send", "x"+digest("send", "ABC"))},
	} {
		t.Run(name, func(t *testing.T) {
			if got := SendClaimName(tc.id); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestRecordSpecIsTheOrder(t *testing.T) {
	order := makeAssetOrder()
	order.StartBefore = t0.Add(1500 * time.Millisecond)
	want := v1alpha1.PaymentRecordSpec{
		Kind: v1alpha1.RecordOnchainSend, Wallet: makeWallet(), Destination: order.Destination, AmountSats: new(int64(0)), Asset: order.Asset,
		MaxFeeSats: 2000, FeeRate: 2, StartBefore: &metav1.Time{Time: t0.Add(time.Second)},
	}
	if diff := cmp.Diff(want, order.RecordSpec()); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}

func TestSameHolderAndSameWallet(t *testing.T) {
	holder := makeHolder("LightningPayment", "rent")
	for what, tc := range map[string]struct {
		change func(*v1alpha1.RecordHolder)
		want   bool
	}{
		"nothing":       {func(*v1alpha1.RecordHolder) {}, true},
		"the UID":       {func(h *v1alpha1.RecordHolder) { h.UID = "another" }, true},
		"the kind":      {func(h *v1alpha1.RecordHolder) { h.Kind = "OnchainSend" }, false},
		"the namespace": {func(h *v1alpha1.RecordHolder) { h.Namespace = "other" }, false},
		"the name":      {func(h *v1alpha1.RecordHolder) { h.Name = "other" }, false},
	} {
		other := holder
		tc.change(&other)
		if SameHolder(holder, other) != tc.want {
			t.Errorf("with %s changed, the same holder is %t", what, !tc.want)
		}
	}
	wallet := makeWallet()
	for what, tc := range map[string]struct {
		change func(*v1alpha1.RecordWallet)
		want   bool
	}{
		"nothing":         {func(*v1alpha1.RecordWallet) {}, true},
		"the name":        {func(w *v1alpha1.RecordWallet) { w.Name = "other" }, true},
		"the fingerprint": {func(w *v1alpha1.RecordWallet) { w.MasterFingerprint = "00000000" }, false},
		"the keys":        {func(w *v1alpha1.RecordWallet) { w.XpubVanilla = "tpubOther" }, false},
		"the service":     {func(w *v1alpha1.RecordWallet) { w.Server = "https://elsewhere.invalid" }, false},
	} {
		other := wallet
		tc.change(&other)
		if SameWallet(wallet, other) != tc.want {
			t.Errorf("with %s changed, the same wallet is %t", what, !tc.want)
		}
	}
}
