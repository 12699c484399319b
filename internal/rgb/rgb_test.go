package rgb

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/utexo/utexo-operator/internal/bitcoin"
)

// vectors is testdata/rgb.json: public ids and invoices.
type vectors struct {
	AssetIDs []struct {
		AssetID    string `json:"asset_id"`
		ContractID string `json:"contract_id_hex"`
	} `json:"asset_ids"`
	BadAssetIDs []struct {
		AssetID string `json:"asset_id"`
		Why     string
	} `json:"bad_asset_ids"`
	Amounts []struct {
		Amount uint64
		Text   string
	}
	Invoices []struct {
		Name    string
		Invoice string
		Valid   bool
		Decoded decoded
	}
}

type decoded struct {
	Net       Net
	Contract  *string
	Amount    *uint64
	Kind      BeneficiaryKind
	Payload   string
	Expiry    *int64
	Endpoints []string
}

func describe(invoice *Invoice) decoded {
	d := decoded{
		Net:       invoice.Network,
		Amount:    invoice.Amount,
		Kind:      invoice.Beneficiary.Kind,
		Payload:   hex.EncodeToString(invoice.Beneficiary.Payload),
		Endpoints: invoice.Endpoints,
	}
	if invoice.Contract != nil {
		d.Contract = new(invoice.Contract.String())
	}
	if invoice.Expiry != nil {
		d.Expiry = new(invoice.Expiry.Unix())
	}
	return d
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	data, err := os.ReadFile("testdata/rgb.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if got := [4]int{len(v.AssetIDs), len(v.BadAssetIDs), len(v.Amounts), len(v.Invoices)}; got != [4]int{3, 4, 5, 11} {
		t.Fatalf("the file has %v vectors", got)
	}
	return v
}

func assertReason(t *testing.T, err error, want Reason) {
	t.Helper()
	got, ok := errors.AsType[*Error](err)
	if !ok || got.Reason != want {
		t.Fatalf("got error %v, want reason %q", err, want)
	}
	if got.Message == "" || len(got.Message) > 512 {
		t.Errorf("message of %d bytes", len(got.Message))
	}
}

func TestAssetIDs(t *testing.T) {
	v := readVectors(t)
	for _, vector := range v.AssetIDs {
		id, err := ParseAssetID(vector.AssetID)
		if err != nil {
			t.Errorf("%s: %v", vector.AssetID, err)
		}
		if got := hex.EncodeToString(id[:]); got != vector.ContractID {
			t.Errorf("%s: got %s, want %s", vector.AssetID, got, vector.ContractID)
		}
		if got := id.String(); got != vector.AssetID {
			t.Errorf("written as %s, want %s", got, vector.AssetID)
		}
	}
	good := v.AssetIDs[0].AssetID
	bad := map[string]string{
		"nothing":               "",
		"a scheme alone":        "rgb:",
		"no groups":             strings.ReplaceAll(good, "-", ""),
		"other groups":          strings.Replace(good, "4-mR", "-4mR", 1),
		"a hyphen at the end":   good + "-",
		"an upper-case scheme":  "RGB" + good[3:],
		"white space":           good + " ",
		"a line break inside":   strings.Replace(good, "-", "\n", 1),
		"33 bytes":              good + "AA",
		"base64 of other tools": strings.Replace(good, "~", "+", 1),
		"base 58, as of 0.10":   "rgb:2dkSTbr-jFhznbPmo-TQafzswCN-av4gTsJjX-ttx6CNou5-M98k8Zd",
		"a checksum suffix":     good + "#cinema-ball-amber",
		"something very long":   "rgb:" + strings.Repeat("A", 100_000),
		"not UTF-8":             "rgb:\xff",
	}
	for _, vector := range v.BadAssetIDs {
		bad[vector.Why] = vector.AssetID
	}
	for name, text := range bad {
		t.Run(name, func(t *testing.T) {
			_, err := ParseAssetID(text)
			assertReason(t, err, Malformed)
		})
	}
}

func TestAmounts(t *testing.T) {
	for _, vector := range readVectors(t).Amounts {
		if got := FormatAmount(vector.Amount); got != vector.Text {
			t.Errorf("%d is written %q, want %q", vector.Amount, got, vector.Text)
		}
		if got, err := ParseAmount(vector.Text); err != nil || got != vector.Amount {
			t.Errorf("%q is read as %d, %v; want %d", vector.Text, got, err, vector.Amount)
		}
	}
	for _, amount := range []uint64{1, math.MaxInt64, 1 << 63, math.MaxUint64} {
		if got, err := ParseAmount(FormatAmount(amount)); err != nil || got != amount {
			t.Errorf("%d is read back as %d, %v", amount, got, err)
		}
	}
	for name, text := range map[string]string{
		"nothing":                    "",
		"half a byte":                "a",
		"high zero bytes":            "BFaa",
		"bits that are left over":    "BG",
		"a letter of other alphabet": "Bi",
		"padding":                    "BF======",
		"a line break":               "B\nF",
		"more than 64 bits":          strings.Repeat("Z", 14),
		"72 bits":                    strings.Repeat("Z", 14) + "R",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseAmount(text)
			assertReason(t, err, Malformed)
		})
	}
}

var wantReasons = map[string]Reason{
	"contract-garbage":          Malformed,
	"segment-missing":           Malformed,
	"expiry-not-a-number":       Malformed,
	"scheme":                    Malformed,
	"documentation-placeholder": Malformed,
	"seal-checksum":             BadChecksum,
}

func TestParseInvoiceVectors(t *testing.T) {
	for _, vector := range readVectors(t).Invoices {
		t.Run(vector.Name, func(t *testing.T) {
			invoice, err := ParseInvoice(vector.Invoice)
			if !vector.Valid {
				assertReason(t, err, wantReasons[vector.Name])
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(vector.Decoded, describe(invoice)); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(vector.Invoice, invoice.String()); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
			assertUnchunked(t, vector.Invoice)
		})
	}
}

// assertUnchunked holds that the reference implementation's second spelling, without hyphens in ids, is read alike.
func assertUnchunked(t *testing.T, text string) {
	t.Helper()
	path, query, hasQuery := strings.Cut(text, "?")
	short := strings.ReplaceAll(path, "-", "")
	if hasQuery {
		short += "?" + query
	}
	invoice, err := ParseInvoice(short)
	if err != nil || invoice.String() != text {
		t.Errorf("without hyphens it is read as %s, %v", invoice, err)
	}
}

const (
	contract = "rgb:eIbQx5Am-XRDjj01-RM~5eo7-rv2nluD-OnBJRAy-S9~Yfts"
	schema   = "XvmU3d4_nQQ8S7oagbXi07x5vjMm7P~ERukQNX6SC4M"
	seal     = "utxob:4vm1CX2Z-K8hMo59-e7dgGBS-Jka7mYn-Xe~yP85-yUiHHxr-aVlYa"
	output   = "wvout:A8cJ7Ww3-NIzADo3-Tzp_5aD-7CTBWmA-AAAAAAA-AAAAAAA-ALSQkcw"
	key      = "750f58bcca0fdb11891e7979d829b8c56e0963dba08c44f54a256cf7dbc09caf"
)

func TestParseInvoice(t *testing.T) {
	for name, text := range map[string]string{
		"an internal key":              contract + "/" + schema + "/Sa/bc:" + output + "+" + key,
		"an assignment name":           contract + "/" + schema + "/BF/bc:" + seal + "?assignment_name=assetOwner",
		"two unknown parameters":       contract + "/" + schema + "/BF/bc:" + seal + "?unknown=new&another=new",
		"known and unknown parameters": contract + "/" + schema + "/BF/bc:" + seal + "?expiry=1682086371&unknown=new",
		"percent-encoding":             contract + "/" + schema + "/BF/bc:" + seal + "?:@-%20%23=?/.%26%3D",
		"several endpoints":            contract + "/~/BF/bc:" + seal + "?endpoints=rpcs://user:pass@host-1.ex-ample.com:1234,storm://_/,wss://a",
		"an empty parameter":           contract + "/~/BF/bc:" + seal + "?a=",
		"a plus sign in a parameter":   contract + "/~/BF/bc:" + seal + "?a=b+c",
		"UTF-8 in a parameter":         contract + "/~/BF/bc:" + seal + "?a=%C3%9F",
		"test net 3":                   contract + "/~/~/tb3:" + seal,
		"test net 4":                   contract + "/~/~/tb4:" + seal,
		"signet":                       contract + "/~/~/sb:" + seal,
		"a custom signet":              contract + "/~/~/sbc:" + seal,
		"the last second of the era":   contract + "/~/~/sbc:" + seal + "?expiry=253402300799",
		"the first second of the era":  contract + "/~/~/sbc:" + seal + "?expiry=0",
	} {
		t.Run(name, func(t *testing.T) {
			invoice, err := ParseInvoice(text)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := FormatInvoice(invoice); err != nil || got != text {
				t.Errorf("written %v as\n%s, want\n%s", err, got, text)
			}
		})
	}
	t.Run("parameters are decoded", func(t *testing.T) {
		invoice, err := ParseInvoice("rgb:~/~/~/bc:" + seal + "?x%20y=%26=&endpoints=rpc://a,ws://b")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Param{{"x y", "&="}}, invoice.Params); diff != "" {
			t.Errorf("params (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"rpc://a", "ws://b"}, invoice.Endpoints); diff != "" {
			t.Errorf("endpoints (-want +got):\n%s", diff)
		}
	})
}

func TestParseInvoiceRefuses(t *testing.T) {
	base := contract + "/" + schema + "/BF/bc:" + seal
	offCurve := strings.Repeat("ff", 32)
	for name, tc := range map[string]struct {
		text       string
		wantReason Reason
	}{
		"nothing":                         {"", Malformed},
		"white space before":              {" " + base, Malformed},
		"white space after":               {base + " ", Malformed},
		"an upper-case scheme":            {"RGB" + base[3:], Malformed},
		"an authority":                    {"rgb://" + base[4:], Malformed},
		"an asset id alone":               {contract, Malformed},
		"a fifth part":                    {base + "/x", Malformed},
		"a fragment":                      {base + "#x", Malformed},
		"a fragment after the query":      {base + "?a=b#x", Malformed},
		"too long":                        {base + "?a=" + strings.Repeat("b", maxLength), Malformed},
		"no contract":                     {strings.Replace(base, contract, "rgb:", 1), Malformed},
		"other groups in the contract":    {strings.Replace(base, "eIbQx5Am-X", "eIbQx5A-mX", 1), Malformed},
		"other groups in the seal":        {strings.Replace(base, "4vm1CX2Z-K", "4vm1CX2-ZK", 1), Malformed},
		"a schema in groups":              {strings.Replace(base, "XvmU3d4_", "XvmU3d4_-", 1), Malformed},
		"a schema that is cut":            {strings.Replace(base, "SC4M/", "SC4/", 1), Malformed},
		"an amount that is none":          {strings.Replace(base, "/BF/", "/100/", 1), Malformed},
		"a token":                         {strings.Replace(base, "/BF/", "/1@0/", 1), Unsupported},
		"no state":                        {strings.Replace(base, "/BF/", "//", 1), Unsupported},
		"no network":                      {strings.Replace(base, "bc:", "", 1), UnknownNetwork},
		"an empty network":                {strings.Replace(base, "bc:", ":", 1), UnknownNetwork},
		"a test net without its number":   {strings.Replace(base, "bc:", "tb:", 1), UnknownNetwork},
		"liquid":                          {strings.Replace(base, "bc:", "lq:", 1), UnknownNetwork},
		"a network alone":                 {strings.Replace(base, ":"+seal, "", 1), UnknownNetwork},
		"an address":                      {strings.Replace(base, seal, "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", 1), Malformed},
		"a seal without its kind":         {strings.Replace(base, seal, seal[6:], 1), Malformed},
		"a seal that is cut":              {base[:len(base)-1], Malformed},
		"a seal called an output":         {strings.Replace(base, "utxob", "wvout", 1), Malformed},
		"an output, altered":              {strings.Replace(base, seal, strings.Replace(output, "A8c", "A8d", 1), 1), BadChecksum},
		"an internal key of a seal":       {base + "+" + key, Malformed},
		"no internal key after the plus":  {strings.Replace(base, seal, output, 1) + "+", Malformed},
		"a short internal key":            {strings.Replace(base, seal, output, 1) + "+" + key[2:], Malformed},
		"an upper-case internal key":      {strings.Replace(base, seal, output, 1) + "+" + strings.ToUpper(key), Malformed},
		"an internal key off the curve":   {strings.Replace(base, seal, output, 1) + "+" + offCurve, Malformed},
		"an output of type 0":             {withOutput(base, 0, 0), Malformed},
		"an output of type 6":             {withOutput(base, 6, 0), Malformed},
		"a P2WPKH output that is longer":  {withOutput(base, 3, 1), Malformed},
		"a P2TR output off the curve":     {withOutput(base, 5, 0), Malformed},
		"an empty query":                  {base + "?", Malformed},
		"a parameter without a value":     {base + "?expiry", Malformed},
		"an empty parameter":              {base + "?a=b&", Malformed},
		"a parameter twice":               {base + "?expiry=1&expiry=2", Malformed},
		"a parameter twice, one encoded":  {base + "?expiry=1&%65xpiry=2", Malformed},
		"bad percent-encoding":            {base + "?a=%2", Malformed},
		"percent-encoding of no UTF-8":    {base + "?a=%ff", Malformed},
		"a character that is not allowed": {base + "?a=\"", Malformed},
		"a negative expiry":               {base + "?expiry=-1", Malformed},
		"an expiry with a sign":           {base + "?expiry=+1", Malformed},
		"an expiry with a leading zero":   {base + "?expiry=01", Malformed},
		"an expiry after the era":         {base + "?expiry=253402300800", Malformed},
		"no assignment name":              {base + "?assignment_name=", Malformed},
		"an assignment name with a digit": {base + "?assignment_name=1a", Malformed},
		"a long assignment name":          {base + "?assignment_name=" + strings.Repeat("a", 101), Malformed},
		"no endpoint":                     {base + "?endpoints=", Malformed},
		"an endpoint that is a word":      {base + "?endpoints=bad", Malformed},
		"an endpoint of another kind":     {base + "?endpoints=rpca://host.example.com", Malformed},
		"an endpoint without a host":      {base + "?endpoints=rpc://", Malformed},
		"a second endpoint that is empty": {base + "?endpoints=rpc://a,", Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseInvoice(tc.text)
			assertReason(t, err, tc.wantReason)
		})
	}
	t.Run("a password in a bad endpoint stays out of the message", func(t *testing.T) {
		for _, query := range []string{"?endpoints=rpca://user:hunter2@host", "?endpoints=rpc://user:hunter2@host\""} {
			if _, err := ParseInvoice(base + query); err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		}
	})
}

// withOutput puts a witness output into the invoice base, of the given type byte and with the given last byte.
func withOutput(base string, kind, last byte) string {
	payload := make([]byte, 33)
	payload[0], payload[32] = kind, last
	return strings.Replace(base, seal, Beneficiary{Kind: WitnessOutput, Payload: payload}.String(), 1)
}

func TestWitnessOutputScripts(t *testing.T) {
	hash := strings.Repeat("ab", 20)
	for name, script := range map[string]string{
		"P2PKH":  "76a914" + hash + "88ac",
		"P2SH":   "a914" + hash + "87",
		"P2WPKH": "0014" + hash,
		"P2WSH":  "0020" + hash + strings.Repeat("cd", 12),
		"P2TR":   "5120" + key,
	} {
		t.Run(name, func(t *testing.T) {
			octets, err := hex.DecodeString(script)
			if err != nil {
				t.Fatal(err)
			}
			beneficiary, err := NewWitnessOutput(octets)
			if err != nil {
				t.Fatal(err)
			}
			text, err := FormatInvoice(&Invoice{Network: Regtest, Beneficiary: beneficiary})
			if err != nil {
				t.Fatal(err)
			}
			invoice, err := ParseInvoice(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(invoice.Beneficiary.Script()); got != script {
				t.Errorf("script %s, want %s", got, script)
			}
		})
	}
	for name, script := range map[string]string{
		"no script":           "",
		"OP_RETURN":           "6a20" + key,
		"a pay-to-anchor":     "51024e73",
		"P2TR off the curve":  "5120" + strings.Repeat("ff", 32),
		"a future witness":    "5220" + key,
		"P2WPKH and one more": "0014" + hash + "00",
	} {
		t.Run(name, func(t *testing.T) {
			octets, err := hex.DecodeString(script)
			if err != nil {
				t.Fatal(err)
			}
			if beneficiary, err := NewWitnessOutput(octets); err == nil {
				t.Errorf("taken as %s", beneficiary)
			}
		})
	}
	if script := (Beneficiary{Kind: BlindedSeal, Payload: make([]byte, 32)}).Script(); script != nil {
		t.Errorf("a seal has the script %x", script)
	}
}

func TestFormatInvoiceRefuses(t *testing.T) {
	good := Beneficiary{Kind: BlindedSeal, Payload: make([]byte, 32)}
	for name, invoice := range map[string]*Invoice{
		"no network":              {Beneficiary: good},
		"no beneficiary":          {Network: Regtest},
		"a short seal":            {Network: Regtest, Beneficiary: Beneficiary{Kind: BlindedSeal, Payload: make([]byte, 31)}},
		"a kind of its own":       {Network: Regtest, Beneficiary: Beneficiary{Kind: "self", Payload: make([]byte, 32)}},
		"an expiry before 1970":   {Network: Regtest, Beneficiary: good, Expiry: new(time.Unix(-1, 0))},
		"a known name as unknown": {Network: Regtest, Beneficiary: good, Expiry: new(time.Unix(1, 0)), Params: []Param{{"expiry", "2"}}},
		"a comma in an endpoint":  {Network: Regtest, Beneficiary: good, Endpoints: []string{"rpc://a,b"}},
	} {
		t.Run(name, func(t *testing.T) {
			if text, err := FormatInvoice(invoice); err == nil {
				t.Errorf("written as %s", text)
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	array := rapid.SliceOfN(rapid.Byte(), 32, 32)
	rapid.Check(t, func(t *rapid.T) {
		invoice := &Invoice{
			Network:     rapid.SampledFrom([]Net{Mainnet, Testnet3, Testnet4, Signet, CustomSignet, Regtest}).Draw(t, "network"),
			Beneficiary: Beneficiary{Kind: BlindedSeal, Payload: array.Draw(t, "seal")},
		}
		if rapid.Bool().Draw(t, "hasContract") {
			invoice.Contract = new(ContractID(array.Draw(t, "contract")))
		}
		if rapid.Bool().Draw(t, "hasSchema") {
			invoice.Schema = new(SchemaID(array.Draw(t, "schema")))
		}
		if rapid.Bool().Draw(t, "hasAmount") {
			invoice.Amount = new(rapid.Uint64().Draw(t, "amount"))
		}
		if rapid.Bool().Draw(t, "hasExpiry") {
			invoice.Expiry = new(time.Unix(rapid.Int64Range(0, lastSecond).Draw(t, "expiry"), 0).UTC())
		}
		for n := range rapid.IntRange(0, 3).Draw(t, "params") {
			// The digit in front keeps the names apart.
			name := strconv.Itoa(n) + rapid.StringN(0, 5, 20).Draw(t, "name")
			invoice.Params = append(invoice.Params, Param{Name: name, Value: rapid.StringN(0, 20, 80).Draw(t, "value")})
		}
		text, err := FormatInvoice(invoice)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseInvoice(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(invoice, again); diff != "" {
			t.Errorf("read back (-written +read):\n%s", diff)
		}
	})
}

func TestCheck(t *testing.T) {
	other := "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8"
	expiry := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	full := "rgb:" + contract[4:] + "/~/BF/bcrt:" + seal + "?expiry=1767225600"
	open := "rgb:~/~/~/bcrt:" + seal
	for name, tc := range map[string]struct {
		invoice     string
		change      func(*Terms)
		wantReason  Reason
		wantMention []string
	}{
		"as declared":                     {invoice: full},
		"all left to the payer":           {invoice: open},
		"all left, another asset":         {invoice: open, change: func(t *Terms) { t.AssetID = other }},
		"another network":                 {invoice: full, change: func(t *Terms) { t.Network = bitcoin.Mainnet }, wantReason: WrongNetwork, wantMention: []string{"bcrt", "mainnet"}},
		"no network":                      {invoice: full, change: func(t *Terms) { t.Network = "" }, wantReason: WrongNetwork},
		"the second before the expiry":    {invoice: full, change: func(t *Terms) { t.Now = expiry.Add(-time.Second) }},
		"the very instant of the expiry":  {invoice: full, change: func(t *Terms) { t.Now = expiry }, wantReason: Expired, wantMention: []string{"2026-01-01T00:00:00Z"}},
		"another asset":                   {invoice: full, change: func(t *Terms) { t.AssetID = other }, wantReason: WrongAsset, wantMention: []string{contract, other}},
		"no asset":                        {invoice: full, change: func(t *Terms) { t.AssetID = "" }, wantReason: WrongAsset},
		"an asset id that is not one":     {invoice: open, change: func(t *Terms) { t.AssetID = "USDT" }, wantReason: WrongAsset, wantMention: []string{"USDT"}},
		"an asset id without its hyphens": {invoice: full, change: func(t *Terms) { t.AssetID = strings.ReplaceAll(contract, "-", "") }, wantReason: WrongAsset},
		"a unit less":                     {invoice: full, change: func(t *Terms) { t.Amount = 99 }, wantReason: AmountMismatch, wantMention: []string{"100 units", "99"}},
		"a unit more":                     {invoice: full, change: func(t *Terms) { t.Amount = 101 }, wantReason: AmountMismatch},
		"no amount":                       {invoice: open, change: func(t *Terms) { t.Amount = 0 }, wantReason: AmountMismatch},
		"a negative amount":               {invoice: open, change: func(t *Terms) { t.Amount = -1 }, wantReason: AmountMismatch},
		"a negative amount, as unsigned": {
			invoice: "rgb:~/~/" + FormatAmount(math.MaxUint64) + "/bcrt:" + seal, change: func(t *Terms) { t.Amount = -1 },
			wantReason: AmountMismatch,
		},
	} {
		t.Run(name, func(t *testing.T) {
			invoice, err := ParseInvoice(tc.invoice)
			if err != nil {
				t.Fatal(err)
			}
			terms := Terms{Network: bitcoin.Regtest, AssetID: contract, Amount: 100, Now: expiry.AddDate(-1, 0, 0)}
			if tc.change != nil {
				tc.change(&terms)
			}
			err = invoice.Check(terms)
			if tc.wantReason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			refused, ok := errors.AsType[*Refusal](err)
			if !ok || refused.Reason != tc.wantReason {
				t.Fatalf("got %v, want reason %s", err, tc.wantReason)
			}
			for _, mention := range tc.wantMention {
				if !strings.Contains(refused.Message, mention) {
					t.Errorf("message %q does not mention %q", refused.Message, mention)
				}
			}
		})
	}
}

func TestNet(t *testing.T) {
	for net, want := range map[Net]bitcoin.Network{
		Mainnet: bitcoin.Mainnet, Testnet3: bitcoin.Testnet, Testnet4: bitcoin.Testnet, Signet: bitcoin.Signet,
		CustomSignet: bitcoin.Signet, Regtest: bitcoin.Regtest, "lq": "", "": "",
	} {
		if got, ok := net.Network(); got != want || ok != (want != "") {
			t.Errorf("%q is of %q, %t; want %q", net, got, ok, want)
		}
	}
	for network, want := range map[bitcoin.Network]Net{
		bitcoin.Mainnet: Mainnet, bitcoin.Testnet: Testnet3, bitcoin.Signet: Signet, bitcoin.Regtest: Regtest, "": "", "utexo": "",
	} {
		if got := NetOf(network); got != want {
			t.Errorf("%q is written %q, want %q", network, got, want)
		}
	}
}

// FuzzParseInvoice holds that any text is an invoice or an *Error, and that an invoice is read the same after it was written again.
func FuzzParseInvoice(f *testing.F) {
	for _, vector := range readVectors(f).Invoices {
		f.Add(vector.Invoice)
	}
	f.Add(contract + "/" + schema + "/BF/bc:" + seal + "?:@-%20%23=?/.%26%3D&assignment_name=a&endpoints=storm://_/,wss://a")
	f.Add("rgb:~/~/~/sbc:" + output + "+" + key)
	f.Fuzz(func(t *testing.T, text string) {
		invoice, err := ParseInvoice(text)
		if err != nil {
			if refused, ok := errors.AsType[*Error](err); !ok || refused.Reason == "" || len(refused.Message) > 512 {
				t.Fatalf("not a typed error: %v", err)
			}
			return
		}
		written, err := FormatInvoice(invoice)
		if err != nil {
			// What the text does not escape may be longer escaped.
			if len(text) <= maxLength/3 {
				t.Fatal(err)
			}
			return
		}
		again, err := ParseInvoice(written)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(invoice, again); diff != "" {
			t.Errorf("read back (-read +again):\n%s", diff)
		}
	})
}
