package bolt11

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/address/v2/bech32"
	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
)

const (
	assetID      = "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8"
	otherAssetID = "rgb:CJkb4YZw-jRiz2sk-~PARPio-wtVYI1c-XAEYCqO-wTfvRZ8"
)

var issued = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// makeInvoice returns an invoice of 3,000 sat on regtest, an hour long, for the tests to change.
func makeInvoice(change ...func(*Invoice)) *Invoice {
	invoice := &Invoice{
		Prefix:             "bcrt",
		Amount:             new(amount.MilliSat(3_000_000)),
		PaymentHash:        [32]byte{1, 2, 3},
		PaymentSecret:      [32]byte{4, 5, 6},
		Timestamp:          issued,
		Expiry:             time.Hour,
		Description:        "rent",
		MinFinalCLTVExpiry: 18,
		Features:           Features{8, 14, 17},
	}
	for _, c := range change {
		c(invoice)
	}
	return invoice
}

func TestDecodeRefusesText(t *testing.T) {
	v, _ := readVectors(t)
	valid := v.invoice(t, "signet-btc")
	prefix, groups, err := bech32.DecodeNoLimit(valid)
	if err != nil {
		t.Fatal(err)
	}
	bech32m, err := bech32.EncodeM(prefix, groups)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		text        string
		wantReason  Reason
		wantMention string
	}{
		"nothing":                    {text: "", wantReason: Malformed, wantMention: "empty"},
		"white space before":         {text: " " + valid, wantReason: Malformed, wantMention: "white space"},
		"a line break after":         {text: valid + "\n", wantReason: Malformed, wantMention: "white space"},
		"white space of Unicode":     {text: "\u2003" + valid, wantReason: Malformed, wantMention: "white space"},
		"a lightning URI":            {text: "lightning:" + valid, wantReason: Malformed, wantMention: "lightning:"},
		"a lightning URI, QR style":  {text: strings.ToUpper("lightning:" + valid), wantReason: Malformed, wantMention: "lightning:"},
		"a bitcoin URI":              {text: "bitcoin:bc1q?lightning=" + valid, wantReason: Malformed, wantMention: "lightning"},
		"one character changed":      {text: strings.Replace(valid, "p54", "p55", 1), wantReason: BadChecksum, wantMention: "copy it again"},
		"the end cut off":            {text: valid[:len(valid)-3], wantReason: BadChecksum, wantMention: "copy it again"},
		"a bech32m checksum":         {text: bech32m, wantReason: BadChecksum, wantMention: "bech32m"},
		"an address":                 {text: "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", wantReason: Malformed, wantMention: "too short"},
		"a foreign script":           {text: strings.Replace(valid, "lntbs", "lntbß", 1), wantReason: Malformed, wantMention: "bech32"},
		"more than any QR code":      {text: strings.Repeat("q", maxLength+1), wantReason: Malformed, wantMention: "7089"},
		"a word":                     {text: "invoice", wantReason: Malformed, wantMention: "not a BOLT11 invoice"},
		"a placeholder of the guide": {text: "lnbc100n1...", wantReason: Malformed, wantMention: "not a BOLT11 invoice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(tc.text)
			assertReason(t, err, tc.wantReason)
			if !strings.Contains(err.Error(), tc.wantMention) {
				t.Errorf("message %q does not mention %q", err, tc.wantMention)
			}
		})
	}
}

// Each case is signed and has a good checksum, so that nothing but the field in question can be the reason.
func TestDecodeRefusesFields(t *testing.T) {
	_, key := readVectors(t)
	hash, secret := make([]byte, 32), bytes.Repeat([]byte{7}, 32)
	complete := func(w *writer) {
		w.bytes(tagPaymentHash, hash)
		w.bytes(tagPaymentSecret, secret)
		w.bytes(tagDescription, []byte("rent"))
	}
	for name, tc := range map[string]struct {
		prefix     string
		write      func(*writer)
		wantReason Reason // none: the invoice must be read
	}{
		"complete":                           {write: func(*writer) {}},
		"fields that may repeat":             {write: func(w *writer) { w.field(2, nil); w.field(2, nil) }},
		"leading zeros in the expiry":        {write: func(w *writer) { w.field(tagExpiry, []byte{0, 0, 1, 28}) }},
		"an expiry without a digit":          {write: func(w *writer) { w.field(tagExpiry, nil) }},
		"a second payment hash to skip":      {write: func(w *writer) { w.bytes(tagPaymentHash, hash[:20]) }},
		"a fallback of an unknown version":   {write: func(w *writer) { w.field(tagFallback, []byte{19, 0}) }},
		"an odd feature nobody knows":        {write: func(w *writer) { w.features(Features{999}) }},
		"AMP as an option":                   {write: func(w *writer) { w.features(Features{31}) }},
		"AMP required":                       {write: func(w *writer) { w.features(Features{30}) }, wantReason: UnsupportedFeature},
		"the highest even feature":           {write: func(w *writer) { w.features(Features{5114}) }, wantReason: UnsupportedFeature},
		"two payment hashes":                 {write: func(w *writer) { w.bytes(tagPaymentHash, secret) }, wantReason: AmbiguousField},
		"two payment secrets":                {write: func(w *writer) { w.bytes(tagPaymentSecret, hash) }, wantReason: AmbiguousField},
		"two descriptions":                   {write: func(w *writer) { w.bytes(tagDescription, nil) }, wantReason: AmbiguousField},
		"a description and a hash":           {write: func(w *writer) { w.bytes(tagDescriptionHash, hash) }, wantReason: AmbiguousField},
		"two expiries":                       {write: func(w *writer) { w.integer(tagExpiry, 60); w.integer(tagExpiry, 61) }, wantReason: AmbiguousField},
		"two time locks":                     {write: func(w *writer) { w.integer(tagMinFinalCLTV, 1); w.integer(tagMinFinalCLTV, 2) }, wantReason: AmbiguousField},
		"two feature fields":                 {write: func(w *writer) { w.features(Features{8}); w.features(Features{9}) }, wantReason: AmbiguousField},
		"two metadata fields":                {write: func(w *writer) { w.bytes(tagMetadata, hash); w.bytes(tagMetadata, hash) }, wantReason: AmbiguousField},
		"two asset ids":                      {write: func(w *writer) { asset(w, assetID, 1); w.bytes(tagAssetID, []byte(otherAssetID)) }, wantReason: AmbiguousField},
		"two asset amounts":                  {write: func(w *writer) { asset(w, assetID, 1); w.integer(tagAssetAmount, 2) }, wantReason: AmbiguousField},
		"an expiry above 64 bits":            {write: func(w *writer) { w.field(tagExpiry, bytes.Repeat([]byte{31}, 13)) }, wantReason: Malformed},
		"a time lock above 64 bits":          {write: func(w *writer) { w.field(tagMinFinalCLTV, append([]byte{16}, make([]byte, 12)...)) }, wantReason: Malformed},
		"a description that is not UTF-8":    {write: func(w *writer) { w.bytes(2, nil); replaceDescription(w, []byte{0xff}) }, wantReason: Malformed},
		"padding that is not zero":           {write: func(w *writer) { w.field(tagMetadata, []byte{0, 1}) }, wantReason: Malformed},
		"padding of a whole group":           {write: func(w *writer) { w.field(tagMetadata, []byte{0}) }, wantReason: Malformed},
		"padding of the hash":                {write: func(w *writer) { w.field(tagPaymentHash, append(make([]byte, 51), 1)) }, wantReason: Malformed},
		"padding of the description hash":    {write: func(w *writer) { w.field(tagDescriptionHash, append(make([]byte, 51), 1)) }, wantReason: Malformed},
		"a payee that is no point":           {write: func(w *writer) { w.bytes(tagPayee, append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...)) }, wantReason: BadSignature},
		"another payee":                      {write: func(w *writer) { w.bytes(tagPayee, generator(t)) }, wantReason: BadSignature},
		"a route hint without a hop":         {write: func(w *writer) { w.field(tagRouteHint, nil) }, wantReason: Malformed},
		"a route hint and a half":            {write: func(w *writer) { w.bytes(tagRouteHint, append(hopsBytes([]Hop{{NodeID: [33]byte(generator(t))}}), 0)) }, wantReason: Malformed},
		"a route hint from no node":          {write: func(w *writer) { w.bytes(tagRouteHint, make([]byte, hopBytes)) }, wantReason: Malformed},
		"a fallback without a version":       {write: func(w *writer) { w.field(tagFallback, nil) }, wantReason: Malformed},
		"a fallback that is no witness":      {write: func(w *writer) { w.field(tagFallback, append([]byte{0}, regroup(make([]byte, 21))...)) }, wantReason: Malformed},
		"a fallback that is no P2SH":         {write: func(w *writer) { w.field(tagFallback, append([]byte{18}, regroup(make([]byte, 32))...)) }, wantReason: Malformed},
		"a fallback with odd bits":           {write: func(w *writer) { w.field(tagFallback, []byte{1, 0}) }, wantReason: Malformed},
		"a field that runs over the end":     {write: func(w *writer) { w.groups = append(w.groups, 2, 0, 1) }, wantReason: Malformed},
		"the head of a field":                {write: func(w *writer) { w.groups = append(w.groups, 2, 0) }, wantReason: Malformed},
		"an asset without an amount":         {write: func(w *writer) { w.bytes(tagAssetID, []byte(assetID)) }, wantReason: BadAsset},
		"an asset amount without an id":      {write: func(w *writer) { w.integer(tagAssetAmount, 1) }, wantReason: BadAsset},
		"an asset amount of 0":               {write: func(w *writer) { asset(w, assetID, 0) }, wantReason: BadAsset},
		"an asset amount above int64":        {write: func(w *writer) { asset(w, assetID, 1<<63) }, wantReason: BadAsset},
		"the largest asset amount":           {write: func(w *writer) { asset(w, assetID, math.MaxInt64) }},
		"an asset amount above 64 bits":      {write: func(w *writer) { w.field(tagAssetAmount, bytes.Repeat([]byte{31}, 13)) }, wantReason: BadAsset},
		"an asset id without a character":    {write: func(w *writer) { asset(w, "", 1) }, wantReason: BadAsset},
		"an asset id with a terminal escape": {write: func(w *writer) { asset(w, "rgb:\x1b[2J", 1) }, wantReason: BadAsset},
		"an asset id that is no bytes":       {write: func(w *writer) { w.field(tagAssetID, []byte{1}) }, wantReason: BadAsset},
		"an asset id of earlier releases":    {write: func(w *writer) { asset(w, "rgb:2dkSTbr-jFhznbPmo-TQafzswCN-av4gTsJjX-ttx6CNou5-M98k8Zd", 1) }},
		"simnet":                             {prefix: "lnsb30u", write: func(*writer) {}},
		"a prefix without a currency":        {prefix: "ln30u", write: func(*writer) {}, wantReason: UnknownNetwork},
		"a prefix of another kind":           {prefix: "lx", write: func(*writer) {}, wantReason: Malformed},
		"an amount of 0":                     {prefix: "lnbc0", write: func(*writer) {}, wantReason: BadAmount},
	} {
		t.Run(name, func(t *testing.T) {
			w := writer{groups: make([]byte, timestampGroups)}
			complete(&w)
			tc.write(&w)
			if tc.prefix == "" {
				tc.prefix = "lnbcrt30u"
			}
			text, err := sign(tc.prefix, w.groups, key)
			if err != nil || w.err != nil {
				t.Fatal(err, w.err)
			}
			if _, err = Decode(text); tc.wantReason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			assertReason(t, err, tc.wantReason)
		})
	}
}

func asset(w *writer, id string, units uint64) {
	w.bytes(tagAssetID, []byte(id))
	w.integer(tagAssetAmount, units)
}

// replaceDescription writes a description of other bytes over the groups so far.
func replaceDescription(w *writer, description []byte) {
	at := bytes.LastIndex(w.groups, append([]byte{tagDescription, 0, 7}, regroup([]byte("rent"))...))
	w.groups = w.groups[:at]
	w.bytes(tagDescription, description)
}

// generator returns a public key that is not the signing key's: that of the secret 1.
func generator(t testing.TB) []byte {
	return fromHex(t, "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
}

func TestParseAmount(t *testing.T) {
	for text, want := range map[string]amount.MilliSat{
		"1":                     100_000_000_000,
		"1m":                    100_000_000,
		"1000m":                 100_000_000_000, // not the shortest, which is a wish, not a rule
		"2500u":                 250_000_000,
		"1n":                    100,
		"2515150n":              251_515_000,
		"10p":                   1,
		"9678785340p":           967_878_534,
		"21000000":              amount.MaxSat.MilliSat(),
		"21000000000000000000p": amount.MaxSat.MilliSat(),
	} {
		got, err := parseAmount(text)
		if err != nil || got != want {
			t.Errorf("%s: got %d msat, %v; want %d", text, got, err, want)
		}
	}
	for text, why := range map[string]string{
		"0":                      "zero",
		"0p":                     "zero",
		"00p":                    "zero",
		"01":                     "a leading zero",
		"010u":                   "a leading zero",
		"1p":                     "a tenth of a millisatoshi",
		"p":                      "no digit",
		"m":                      "no digit",
		"1x":                     "no multiplier",
		"1M":                     "upper case",
		"1mm":                    "two multipliers",
		"1u5":                    "a multiplier in the middle",
		"-1":                     "a sign",
		"1.5m":                   "a fraction",
		"1 m":                    "white space",
		"21000001":               "above 21 million BTC",
		"21000000000000000010p":  "one msat above 21 million BTC",
		"18446744073709551616":   "above 64 bits",
		"184467440737095516160p": "above 64 bits",
		"99999999999999999999n":  "above 64 bits",
	} {
		got, err := parseAmount(text)
		if err == nil {
			t.Errorf("%s (%s) was read as %d msat", text, why, got)
			continue
		}
		assertReason(t, err, BadAmount)
	}
}

// A change of any one character must not give another invoice of the same payee.
func TestDecodeNoticesEveryChange(t *testing.T) {
	_, key := readVectors(t)
	text, err := Encode(makeInvoice(func(i *Invoice) { i.PayeeNamed = true }), key)
	if err != nil {
		t.Fatal(err)
	}
	prefix, groups, err := bech32.DecodeNoLimit(text)
	if err != nil {
		t.Fatal(err)
	}
	for at := range groups {
		// The checksum is made to fit, so that the signature alone has to notice.
		changed := bytes.Clone(groups)
		changed[at] ^= 1
		forged, err := bech32.Encode(prefix, changed)
		if err != nil {
			t.Fatal(err)
		}
		invoice, err := Decode(forged)
		if recovery := len(groups) - 1; at == recovery {
			// Not used where the payee is named, and fixed by the rest of the signature otherwise.
			continue
		}
		if err == nil && invoice.Payee == [33]byte(key.PubKey().SerializeCompressed()) {
			t.Errorf("group %d may be changed", at)
		}
	}
	if _, err := Decode(strings.Replace(text, "lnbcrt30u", "lnbcrt31u", 1)); err == nil {
		t.Error("the amount may be changed")
	}
}

func TestDecodeRefusesBadSignatures(t *testing.T) {
	_, key := readVectors(t)
	for name, change := range map[string]func([]byte){
		"a recovery id of 4":      func(s []byte) { s[64] = 4 },
		"a recovery id of 255":    func(s []byte) { s[64] = 255 },
		"r of 0":                  func(s []byte) { clear(s[:32]) },
		"s of 0":                  func(s []byte) { clear(s[32:64]) },
		"r above the group order": func(s []byte) { copy(s, bytes.Repeat([]byte{0xff}, 32)) },
		"s above the group order": func(s []byte) { copy(s[32:], bytes.Repeat([]byte{0xff}, 32)) },
	} {
		for kind, named := range map[string]bool{"payee named": true, "payee recovered": false} {
			t.Run(name+", "+kind, func(t *testing.T) {
				invoice := makeInvoice(func(i *Invoice) { i.PayeeNamed = named })
				groups, err := invoice.writeFields([33]byte(key.PubKey().SerializeCompressed()))
				if err != nil {
					t.Fatal(err)
				}
				digest := signingDigest("lnbcrt30u", groups)
				compact := ecdsa.SignCompact(key, digest[:], true)
				signature := append(compact[1:], compact[0]-compressedKey)
				change(signature)
				text, err := bech32.Encode("lnbcrt30u", append(groups, regroup(signature)...))
				if err != nil {
					t.Fatal(err)
				}
				_, err = Decode(text)
				assertReason(t, err, BadSignature)
			})
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	_, key := readVectors(t)
	for name, change := range map[string]func(*Invoice){
		"no prefix":                       func(i *Invoice) { i.Prefix = "" },
		"a prefix of no network":          func(i *Invoice) { i.Prefix = "ltc" },
		"an upper-case prefix":            func(i *Invoice) { i.Prefix = "BCRT" },
		"an amount of 0":                  func(i *Invoice) { i.Amount = new(amount.MilliSat(0)) },
		"a negative amount":               func(i *Invoice) { i.Amount = new(amount.MilliSat(-1)) },
		"an amount above 21 million BTC":  func(i *Invoice) { i.Amount = new(amount.MaxSat.MilliSat() + 1) },
		"another payee's key":             func(i *Invoice) { i.Payee = [33]byte(generator(t)) },
		"a time before 1970":              func(i *Invoice) { i.Timestamp = time.Unix(-1, 0) },
		"a time above 35 bits":            func(i *Invoice) { i.Timestamp = time.Unix(1<<35, 0) },
		"no time":                         func(i *Invoice) { i.Timestamp = time.Time{} },
		"a negative expiry":               func(i *Invoice) { i.Expiry = -time.Second },
		"a description and its hash":      func(i *Invoice) { i.DescriptionHash = &[32]byte{} },
		"a description that is too long":  func(i *Invoice) { i.Description = strings.Repeat("x", 640) },
		"a description that is not UTF-8": func(i *Invoice) { i.Description = "\xff" },
		"an asset without an id":          func(i *Invoice) { i.Asset = &Asset{Amount: 1} },
		"an asset without an amount":      func(i *Invoice) { i.Asset = &Asset{ID: assetID} },
		"a required feature nobody has":   func(i *Invoice) { i.Features = Features{100} },
		"a feature that does not fit":     func(i *Invoice) { i.Features = Features{5115} },
		"a hidden second payment hash":    func(i *Invoice) { i.Unknown = []Field{{Tag: tagPaymentHash, Data: make([]byte, hashGroups)}} },
		"a tag above 31":                  func(i *Invoice) { i.Unknown = []Field{{Tag: 32}} },
		"a group above 31":                func(i *Invoice) { i.Unknown = []Field{{Tag: 2, Data: []byte{32}}} },
		"more than fits a QR code": func(i *Invoice) {
			i.Unknown = slices.Repeat([]Field{{Tag: 2, Data: make([]byte, maxFieldGroups)}}, 7)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if text, err := Encode(makeInvoice(change), key); err == nil {
				t.Errorf("written as %s", text)
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	node := [33]byte(generator(t))
	octet := rapid.SliceOf(rapid.Byte())
	rapid.Check(t, func(t *rapid.T) {
		var secret [32]byte
		copy(secret[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "secret"))
		secret[31] |= 1 // never the key 0
		key, pub := btcec.PrivKeyFromBytes(secret[:])
		invoice := &Invoice{
			Prefix:             rapid.SampledFrom(knownPrefixes).Draw(t, "prefix"),
			Payee:              [33]byte(pub.SerializeCompressed()),
			PayeeNamed:         rapid.Bool().Draw(t, "payeeNamed"),
			Timestamp:          time.Unix(rapid.Int64Range(0, 1<<35-1).Draw(t, "timestamp"), 0).UTC(),
			Expiry:             time.Duration(rapid.Uint64Range(0, maxExpirySeconds).Draw(t, "expiry")) * time.Second,
			MinFinalCLTVExpiry: rapid.Uint64().Draw(t, "cltv"),
		}
		copy(invoice.PaymentHash[:], octet.Draw(t, "hash"))
		copy(invoice.PaymentSecret[:], octet.Draw(t, "paymentSecret"))
		if rapid.Bool().Draw(t, "hasAmount") {
			invoice.Amount = new(amount.MilliSat(rapid.Int64Range(1, int64(amount.MaxSat)*1000).Draw(t, "amount")))
		}
		if rapid.Bool().Draw(t, "hashed") {
			invoice.DescriptionHash = &[32]byte{1}
		} else {
			invoice.Description = rapid.StringN(0, 100, 400).Draw(t, "description")
		}
		if rapid.Bool().Draw(t, "hasAsset") {
			invoice.Asset = &Asset{ID: assetID, Amount: rapid.Uint64Range(1, math.MaxInt64).Draw(t, "units")}
		}
		for range rapid.IntRange(0, 3).Draw(t, "hints") {
			invoice.RouteHints = append(invoice.RouteHints, []Hop{{
				NodeID: node, ShortChannelID: rapid.Uint64().Draw(t, "channel"),
				FeeBaseMsat: rapid.Uint32().Draw(t, "fee"), CLTVExpiryDelta: rapid.Uint16().Draw(t, "delta"),
			}})
		}
		for _, odd := range rapid.SliceOfNDistinct(rapid.Uint16Range(0, 100), 0, 5, rapid.ID).Draw(t, "features") {
			invoice.Features = append(invoice.Features, odd*2+1)
		}
		slices.Sort(invoice.Features)
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
	})
}

func TestExpiry(t *testing.T) {
	_, key := readVectors(t)
	for name, tc := range map[string]struct {
		expiry      time.Duration
		now         time.Time
		wantExpired bool
	}{
		"the second before":   {expiry: time.Hour, now: issued.Add(time.Hour - time.Second)},
		"the very instant":    {expiry: time.Hour, now: issued.Add(time.Hour), wantExpired: true},
		"long after":          {expiry: time.Hour, now: issued.AddDate(1, 0, 0), wantExpired: true},
		"an expiry of 0":      {expiry: 0, now: issued, wantExpired: true},
		"a clock that lags":   {expiry: time.Minute, now: issued.Add(-time.Hour)},
		"centuries":           {expiry: time.Duration(maxExpirySeconds) * time.Second, now: issued.AddDate(292, 0, 0)},
		"after the centuries": {expiry: time.Duration(maxExpirySeconds) * time.Second, now: issued.AddDate(293, 0, 0), wantExpired: true},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := Encode(makeInvoice(func(i *Invoice) { i.Expiry = tc.expiry }), key)
			if err != nil {
				t.Fatal(err)
			}
			invoice, err := Decode(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := invoice.Expired(tc.now); got != tc.wantExpired {
				t.Errorf("expired %t at %s, want %t", got, tc.now, tc.wantExpired)
			}
		})
	}
	t.Run("more than a Duration holds is cut", func(t *testing.T) {
		w := writer{groups: make([]byte, timestampGroups)}
		w.bytes(tagPaymentHash, make([]byte, 32))
		w.bytes(tagPaymentSecret, make([]byte, 32))
		w.bytes(tagDescription, nil)
		w.integer(tagExpiry, math.MaxUint64)
		text, err := sign("lnbc", w.groups, key)
		if err != nil {
			t.Fatal(err)
		}
		invoice, err := Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		if want := time.Unix(int64(maxExpirySeconds), 0); !invoice.ExpiresAt().Equal(want) {
			t.Errorf("expires at %s, want %s", invoice.ExpiresAt(), want)
		}
	})
}

func TestNetwork(t *testing.T) {
	for prefix, want := range map[string]bitcoin.Network{
		"bc": bitcoin.Mainnet, "tb": bitcoin.Testnet, "tbs": bitcoin.Signet, "bcrt": bitcoin.Regtest, "sb": "",
	} {
		got, ok := (&Invoice{Prefix: prefix}).Network()
		if got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %t", prefix, got, ok)
		}
	}
}
