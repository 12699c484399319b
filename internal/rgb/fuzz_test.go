package rgb

import (
	"errors"
	"testing"
	"time"

	"github.com/utexo/utexo-operator/internal/bitcoin"
)

// FuzzParseAssetID holds that an asset has one spelling: what is read is written the same.
func FuzzParseAssetID(f *testing.F) {
	for _, text := range []string{
		"", "rgb:", contract, contract[4:], contract + "-", "RGB:" + contract[4:], "rgb:" + contract[4:12] + contract[13:],
		"rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseAssetID(text)
		if err != nil {
			if refused, ok := errors.AsType[*Error](err); !ok || refused.Reason == "" || len(refused.Message) > 512 {
				t.Fatalf("not a typed error: %v", err)
			}
			return
		}
		if id.String() != text {
			t.Fatalf("%q is read, and written %q", text, id)
		}
	})
}

// FuzzAmount holds that an amount has one spelling.
func FuzzAmount(f *testing.F) {
	for _, amount := range []uint64{0, 1, 100, 1 << 32, 1 << 63, 1<<64 - 1} {
		f.Add(FormatAmount(amount), amount)
	}
	f.Add("aaaa", uint64(255))
	f.Fuzz(func(t *testing.T, text string, amount uint64) {
		if read, err := ParseAmount(text); err == nil && FormatAmount(read) != text {
			t.Fatalf("%q is read as %d, which is written %q", text, read, FormatAmount(read))
		}
		if read, err := ParseAmount(FormatAmount(amount)); err != nil || read != amount {
			t.Fatalf("%d is written %q and read as %d, %v", amount, FormatAmount(amount), read, err)
		}
	})
}

// FuzzCheck holds that an invoice which may be paid under terms asks for nothing else than these.
func FuzzCheck(f *testing.F) {
	for _, vector := range readVectors(f).Invoices {
		f.Add(vector.Invoice, contract, int64(100), int64(1_767_225_599))
	}
	f.Add("rgb:~/~/~/bcrt:"+seal, contract, int64(1), int64(0))
	f.Add("rgb:~/~/"+FormatAmount(1<<64-1)+"/bcrt:"+seal, contract, int64(-1), int64(0))
	f.Fuzz(func(t *testing.T, text, assetID string, amount, now int64) {
		invoice, err := ParseInvoice(text)
		if err != nil {
			return
		}
		terms := Terms{Network: bitcoin.Regtest, AssetID: assetID, Amount: amount, Now: time.Unix(now, 0)}
		if err := invoice.Check(terms); err != nil {
			if refused, ok := errors.AsType[*Refusal](err); !ok || refused.Reason == "" || refused.Message == "" {
				t.Fatalf("not a typed refusal: %v", err)
			}
			return
		}
		switch {
		case amount < 1, invoice.Amount != nil && (*invoice.Amount != uint64(amount) || *invoice.Amount > 1<<63-1):
			t.Fatalf("%d is paid for %q", amount, text)
		case invoice.Contract != nil && invoice.Contract.String() != assetID:
			t.Fatalf("%s is paid for %q", assetID, text)
		case invoice.Expiry != nil && !terms.Now.Before(*invoice.Expiry):
			t.Fatalf("%q is paid at %s", text, terms.Now)
		case invoice.Network != Regtest:
			t.Fatalf("%q is paid on regtest", text)
		}
	})
}
