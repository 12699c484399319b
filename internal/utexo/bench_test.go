package utexo

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkEachPayment reads the list of a node that made 30,000 payments, 10 MB, over HTTP. The service's own allocations are in
// it, and small.
func BenchmarkEachPayment(b *testing.B) {
	const payments = 30_000
	var body strings.Builder
	for i := range payments {
		separator := ","
		if i == 0 {
			separator = `{"payments":[`
		}
		fmt.Fprintf(&body, `%s{"amt_msat":%d,"asset_amount":null,"asset_id":null,"payment_hash":"%064x","inbound":%t,"status":"Succeeded",`+
			`"created_at":1767268800,"updated_at":1767268802,"payee_pubkey":"02%064x"}`, separator, 1000*i, i, i%2 == 0, i/100)
	}
	body.WriteString("]}")
	text := []byte(body.String())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) }))
	defer server.Close()
	client, err := New(Config{URL: server.URL, Wallet: testWallet, Insecure: true})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		seen := 0
		if err := client.EachPayment(b.Context(), func(Payment) { seen++ }); err != nil || seen != payments {
			b.Fatalf("%d payments, %v", seen, err)
		}
	}
}
