package bolt11

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/amount"
)

// vectors is testdata/bolt11.json: the examples of BOLT 11, invoices of RGB Lightning nodes, and constructed ones.
type vectors struct {
	SigningKey  string `json:"signing_key_hex"`
	Spec        []vector
	Guide       []vector
	Constructed []vector
}

type vector struct {
	Name    string
	Invoice string
	Valid   bool
	Decoded decoded
}

// decoded is what a vector says about its invoice.
type decoded struct {
	AmountMsat      *amount.MilliSat `json:"amount_msat"`
	AssetAmount     uint64           `json:"asset_amount"`
	AssetID         string           `json:"asset_id"`
	Description     *string
	DescriptionHash string `json:"description_hash"`
	ExpirySeconds   int64  `json:"expiry_seconds"`
	Payee           string
	PaymentHash     string `json:"payment_hash"`
	PaymentSecret   string `json:"payment_secret"`
	Prefix          string
	RouteHints      int `json:"route_hints"`
	Timestamp       int64
}

func describe(invoice *Invoice) decoded {
	d := decoded{
		AmountMsat:    invoice.Amount,
		ExpirySeconds: int64(invoice.Expiry / time.Second),
		Payee:         hex.EncodeToString(invoice.Payee[:]),
		PaymentHash:   invoice.PaymentHashHex(),
		PaymentSecret: hex.EncodeToString(invoice.PaymentSecret[:]),
		Prefix:        invoice.Prefix,
		RouteHints:    len(invoice.RouteHints),
		Timestamp:     invoice.Timestamp.Unix(),
	}
	if invoice.Asset != nil {
		d.AssetAmount, d.AssetID = invoice.Asset.Amount, invoice.Asset.ID
	}
	if invoice.DescriptionHash != nil {
		d.DescriptionHash = hex.EncodeToString(invoice.DescriptionHash[:])
	} else {
		d.Description = &invoice.Description
	}
	return d
}

func readVectors(t testing.TB) (vectors, *btcec.PrivateKey) {
	t.Helper()
	data, err := os.ReadFile("testdata/bolt11.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if got := [3]int{len(v.Spec), len(v.Guide), len(v.Constructed)}; got != [3]int{25, 3, 8} {
		t.Fatalf("the file has %v vectors", got)
	}
	secret, err := hex.DecodeString(v.SigningKey)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := btcec.PrivKeyFromBytes(secret)
	return v, key
}

func (v vectors) all() []vector {
	return append(append(append([]vector{}, v.Spec...), v.Guide...), v.Constructed...)
}

func (v vectors) invoice(t testing.TB, name string) string {
	t.Helper()
	for _, vector := range v.all() {
		if vector.Name == name {
			return vector.Invoice
		}
	}
	t.Fatalf("no vector %q", name)
	return ""
}

// wantReasons are the reasons for which the vectors that are not valid must be refused.
var wantReasons = map[string]Reason{
	"required-feature-100":      UnsupportedFeature,
	"bad-checksum":              BadChecksum,
	"no-separator":              Malformed,
	"mixed-case":                Malformed,
	"signature-not-recoverable": BadSignature,
	"too-short":                 Malformed,
	"unknown-multiplier":        BadAmount,
	"sub-millisatoshi":          BadAmount,
	"payment-secret-missing":    MissingField,
	"high-s-with-payee-field":   BadSignature,
	"no-description":            MissingField,
	"unknown-prefix":            UnknownNetwork,
	"asset-amount-without-id":   BadAsset,
}

func TestDecodeVectors(t *testing.T) {
	v, _ := readVectors(t)
	for _, vector := range v.all() {
		t.Run(vector.Name, func(t *testing.T) {
			invoice, err := Decode(vector.Invoice)
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
		})
	}
}

// TestDecodeKept reads what Decode reads, but for who signed it, and refuses all else that Decode refuses.
func TestDecodeKept(t *testing.T) {
	v, _ := readVectors(t)
	for _, vector := range v.all() {
		t.Run(vector.Name, func(t *testing.T) {
			kept, err := DecodeKept(vector.Invoice)
			if reason := wantReasons[vector.Name]; reason == BadSignature { // of which Decode looks at nothing else
				return
			} else if !vector.Valid {
				assertReason(t, err, reason)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want, err := Decode(vector.Invoice)
			if err != nil {
				t.Fatal(err)
			}
			if !want.PayeeNamed {
				want.Payee = [33]byte{}
			}
			if diff := cmp.Diff(want, kept); diff != "" {
				t.Errorf("kept (-decoded +kept):\n%s", diff)
			}
		})
	}
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

// What the vectors do not list of their invoices, from the text of BOLT 11.
func TestDecodeDetails(t *testing.T) {
	v, _ := readVectors(t)
	decode := func(name string) *Invoice {
		invoice, err := Decode(v.invoice(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return invoice
	}
	node := [33]byte(fromHex(t, "029e03a901b85534ff1e92c43c74431f7ce72046060fcf7a95c37e148f78c77255"))
	other := [33]byte(fromHex(t, "039e03a901b85534ff1e92c43c74431f7ce72046060fcf7a95c37e148f78c77255"))
	want := [][]Hop{{
		{NodeID: node, ShortChannelID: 66051<<40 | 263430<<16 | 1800, FeeBaseMsat: 1, FeeProportionalMillionths: 20, CLTVExpiryDelta: 3},
		{NodeID: other, ShortChannelID: 197637<<40 | 395016<<16 | 2314, FeeBaseMsat: 2, FeeProportionalMillionths: 30, CLTVExpiryDelta: 4},
	}}
	if diff := cmp.Diff(want, decode("two-hop-route-hint").RouteHints); diff != "" {
		t.Errorf("route hints (-want +got):\n%s", diff)
	}
	wantFallbacks := []Fallback{{Version: 0, Program: fromHex(t, "751e76e8199196d454941c45d1b3a323f1433bd6")}}
	if diff := cmp.Diff(wantFallbacks, decode("fallback-p2wpkh").Fallbacks); diff != "" {
		t.Errorf("fallbacks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Features{8, 14, 99}, decode("features-8-14-99").Features); diff != "" {
		t.Errorf("features (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(fromHex(t, "01fafaf0"), decode("payment-metadata").Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if got := decode("pico-amount-one-week").MinFinalCLTVExpiry; got != 10 {
		t.Errorf("final time lock %d, want 10", got)
	}
	if got := decode("coffee-60s").MinFinalCLTVExpiry; got != DefaultMinFinalCLTVExpiry {
		t.Errorf("final time lock %d, want the default", got)
	}
	var tags []byte
	for _, field := range decode("fields-to-be-skipped").Unknown {
		tags = append(tags, field.Tag)
	}
	if diff := cmp.Diff([]byte{10, 9, 1, 1, 23, 23, 16, 16, 19, 19}, tags); diff != "" {
		t.Errorf("skipped tags (-want +got):\n%s", diff)
	}
	if named, recovered := decode("guide-1").PayeeNamed, decode("coffee-60s").PayeeNamed; !named || recovered {
		t.Errorf("payee named: %t and %t, want true and false", named, recovered)
	}
}

func fromHex(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEncodeWritesTheConstructedAssetInvoice(t *testing.T) {
	v, key := readVectors(t)
	want := v.invoice(t, "regtest-asset-10")
	invoice, err := Decode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Encode(invoice, key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
}

// The key of BOLT 11's examples signs their fields again; in another order, hence under another signature.
func TestEncodeKeepsTheFieldsOfVectors(t *testing.T) {
	v, key := readVectors(t)
	rewritten := 0
	for _, vector := range v.all() {
		if vector.Decoded.Payee != hex.EncodeToString(key.PubKey().SerializeCompressed()) {
			continue
		}
		rewritten++
		t.Run(vector.Name, func(t *testing.T) {
			invoice, err := Decode(vector.Invoice)
			if err != nil {
				t.Fatal(err)
			}
			assertRoundTrip(t, invoice, key)
		})
	}
	if rewritten != 19 {
		t.Errorf("%d vectors are signed with the key, want 19", rewritten)
	}
}

func assertRoundTrip(t testing.TB, invoice *Invoice, key *btcec.PrivateKey) {
	t.Helper()
	text, err := Encode(invoice, key)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(invoice, again); diff != "" {
		t.Errorf("read back (-written +read):\n%s", diff)
	}
	repeated, err := Encode(again, key)
	if err != nil || repeated != text {
		t.Errorf("written twice: %q and %q, %v", text, repeated, err)
	}
	if upper, err := Decode(strings.ToUpper(text)); err != nil || !cmp.Equal(upper, again) {
		t.Errorf("upper case is read otherwise: %v", err)
	}
}
