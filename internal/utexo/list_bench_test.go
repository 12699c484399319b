package utexo

import (
	"bytes"
	"fmt"
	"testing"
)

// BenchmarkEachPayment reads a list of 30,000 payments, some 10 MB.
func BenchmarkEachPayment(b *testing.B) {
	var body bytes.Buffer
	body.WriteString(`{"payments":[`)
	for n := range 30_000 {
		if n > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"amt_msat":%d,"asset_amount":null,"asset_id":null,"payment_hash":"%064x","inbound":%t,"status":"Succeeded",`+
			`"created_at":%d,"updated_at":%d,"payee_pubkey":"02%064x"}`, n*1000, n, n%2 == 0, 1790000000+n, 1790000100+n, n)
	}
	body.WriteString(`]}`)
	b.SetBytes(int64(body.Len()))
	b.ReportAllocs()
	for b.Loop() {
		seen := 0
		if err := eachItem(bytes.NewReader(body.Bytes()), "payments", false, decodePayment, func(Payment) { seen++ }); err != nil || seen != 30_000 {
			b.Fatal(err, seen)
		}
	}
}
