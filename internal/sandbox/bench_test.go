package sandbox_test

import (
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/sandbox/sandboxtest"
)

// BenchmarkWorld is what a simulation pays for each of its seeds: a world with one wallet.
func BenchmarkWorld(b *testing.B) {
	for name, opts := range profiles {
		b.Run(name, func(b *testing.B) {
			opts.Clock = testclock.NewFakeClock(noon)
			keys := sandboxtest.NewKeys(b, "alice", "regtest")
			for b.Loop() {
				sandboxtest.NewClientFor(b, sandbox.New(opts), keys).Register()
			}
		})
	}
}

// BenchmarkPayment is one Lightning payment, its signature by the test's keys included.
func BenchmarkPayment(b *testing.B) {
	clock := testclock.NewFakeClock(noon)
	server := sandbox.New(sandbox.Options{Clock: clock})
	client := sandboxtest.NewClient(b, server, "alice").Register()
	for b.Loop() {
		text, err := server.IssueInvoice(sandbox.NewInvoice{AmountSats: 10})
		if err != nil {
			b.Fatal(err)
		}
		if code, body := client.EndPay(client.Sign(client.BeginPay(text))); code != 200 {
			b.Fatalf("end: %d %s", code, body)
		}
		clock.Step(2 * time.Second)
		server.Advance()
	}
}
