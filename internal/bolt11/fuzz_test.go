package bolt11

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
)

// FuzzDecode holds that any text is an invoice or an *Error, and that an invoice is read the same after it was written again. The
// payee changes with the key that signs it.
func FuzzDecode(f *testing.F) {
	v, key := readVectors(f)
	for _, vector := range v.all() {
		f.Add(vector.Invoice)
	}
	payee := [33]byte(key.PubKey().SerializeCompressed())
	f.Fuzz(func(t *testing.T, text string) {
		invoice, err := Decode(text)
		if err != nil {
			if refused, ok := errors.AsType[*Error](err); !ok || refused.Reason == "" || len(refused.Message) > 512 {
				t.Fatalf("not a typed error: %v", err)
			}
			return
		}
		invoice.Payee = payee
		assertReadBack(t, invoice, key, len(text))
	})
}

// FuzzFields does the same for arbitrary fields under a valid signature, where FuzzDecode would hardly get.
func FuzzFields(f *testing.F) {
	v, key := readVectors(f)
	for _, vector := range v.all() {
		if prefix, groups, err := splitText(vector.Invoice); err == nil && len(groups) > signatureGroups {
			f.Add(prefix, groups[:len(groups)-signatureGroups])
		}
	}
	payee := [33]byte(key.PubKey().SerializeCompressed())
	f.Fuzz(func(t *testing.T, prefix string, data []byte) {
		groups := bytes.Clone(data)
		for n := range groups {
			groups[n] &= 31
		}
		// The signature is over the prefix as it is, the text has it in lower case.
		text, err := sign(strings.ToLower(prefix), groups, key)
		if err != nil {
			return
		}
		if invoice, err := Decode(text); err == nil {
			if invoice.Payee != payee {
				t.Fatalf("payee %x", invoice.Payee)
			}
			assertReadBack(t, invoice, key, len(text))
		}
	})
}

// FuzzCheckPayable holds that an invoice which may be paid under terms asks for what these declare, on their network and in time.
func FuzzCheckPayable(f *testing.F) {
	v, _ := readVectors(f)
	for _, vector := range v.all() {
		f.Add(vector.Invoice, uint8(0), int64(0), "", uint64(0), int64(1_700_000_000))
		f.Add(vector.Invoice, uint8(3), int64(1000), "rgb:x", uint64(10), int64(0))
	}
	networks := []bitcoin.Network{bitcoin.Regtest, bitcoin.Mainnet, bitcoin.Testnet, bitcoin.Signet}
	f.Fuzz(func(t *testing.T, text string, what uint8, sats int64, asset string, units uint64, now int64) {
		invoice, err := Decode(text)
		if err != nil {
			return
		}
		terms := Terms{Network: networks[what>>2%4], Now: time.Unix(now, 0), Margin: time.Minute}
		if what&1 == 1 {
			terms.AmountSats = new(amount.Sat(sats))
		}
		if what&2 == 2 {
			terms.Asset = &Asset{ID: asset, Amount: units}
		}
		if err := invoice.CheckPayable(terms); err != nil {
			if refused, ok := errors.AsType[*Refusal](err); !ok || refused.Reason == "" || refused.Message == "" {
				t.Fatalf("not a typed refusal: %v", err)
			}
			return
		}
		asked, hasAmount, err := invoice.AmountSats()
		switch {
		case err != nil || !hasAmount || asked < 0:
			t.Fatalf("%d sat, %v, are paid for %q", asked, err, text)
		case terms.AmountSats != nil && (asked != *terms.AmountSats || invoice.Asset != nil && terms.Asset == nil):
			t.Fatalf("%d sat are paid for %q", *terms.AmountSats, text)
		case terms.Asset != nil && (invoice.Asset == nil || *invoice.Asset != *terms.Asset):
			t.Fatalf("%+v is paid for %q", terms.Asset, text)
		case !terms.Now.Add(terms.Margin).Before(invoice.ExpiresAt()):
			t.Fatalf("%q is paid at %s", text, terms.Now)
		}
		if network, known := invoice.Network(); !known || network.InvoicePrefix() != terms.Network.InvoicePrefix() {
			t.Fatalf("%q is paid on %s", text, terms.Network)
		}
	})
}

// assertReadBack checks invoice, which was read from a text of length characters.
func assertReadBack(t *testing.T, invoice *Invoice, key *btcec.PrivateKey, length int) {
	t.Helper()
	text, err := Encode(invoice, key)
	if err != nil {
		const defaults = 40 // characters at most: Encode writes the expiry and the final time lock that the text left out
		if length > maxLength-defaults {
			return
		}
		t.Fatal(err)
	}
	again, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(invoice, again); diff != "" {
		t.Errorf("read back (-read +again):\n%s", diff)
	}
}

func BenchmarkDecodeKept(b *testing.B) {
	v, _ := readVectors(b)
	text := v.invoice(b, "guide-1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeKept(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	v, _ := readVectors(b)
	for _, name := range []string{"coffee-60s", "guide-1", "regtest-asset-10"} {
		text := v.invoice(b, name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
