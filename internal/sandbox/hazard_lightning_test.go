package sandbox_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/sandbox/sandboxtest"
)

// The hazards of the public reference server, by the numbers under which docs/sandbox.md lists them.

// reference starts the reference profile.
func reference(t *testing.T) *fixture {
	t.Helper()
	return start(t, sandbox.Options{Profile: sandbox.Reference})
}

// wantAnswer checks a status, and that the body holds text.
func wantAnswer(t *testing.T, code int, body string, wantCode int, text string) {
	t.Helper()
	if code != wantCode || !strings.Contains(body, text) {
		t.Errorf("answer %d %s, want %d with %q", code, body, wantCode, text)
	}
}

// wantMoved checks how often money moved for key.
func (f *fixture) wantMoved(key string, want int) {
	f.Helper()
	if moved := f.server.Moved(key); len(moved) != want {
		f.Errorf("moved %d times, want %d: %+v", len(moved), want, moved)
	}
}

const (
	noInvoice     = "No invoice found. Please call /pay-invoice-begin first to create a PSBT."
	noPSBT        = "No PSBT found. Please call /withdraw-begin first to create a PSBT."
	sendRequest   = "/lightning/send-request/"
	onchainStatus = "/lightning/onchain-send/"
)

func TestHazard01_EndPaysWhatWasBegunLast(t *testing.T) {
	f := reference(t)
	invoiceA, hashA := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	invoiceB, hashB := f.issue(sandbox.NewInvoice{AmountSats: 2_000})
	signedA := f.client.Sign(f.client.BeginPay(invoiceA))
	signedB := f.client.Sign(f.client.BeginPay(invoiceB))
	code, body := f.client.EndPay(signedA)
	wantAnswer(t, code, body, 200, hashB)
	code, body = f.client.EndPay(signedB)
	wantAnswer(t, code, body, 400, noInvoice)
	f.pass(2 * time.Second)
	f.wantMoved(hashA, 0)
	f.wantMoved(hashB, 1)
}

func TestHazard02_EndTakesAnyFinalisedPSBT(t *testing.T) {
	tests := map[string]struct {
		signed func(f *fixture, unsigned string) string
		want   sandbox.Evidence
	}{
		"another wallet's": {
			signed: func(f *fixture, _ string) string {
				bob := sandboxtest.NewClient(f.T, f.server, "bob").Register()
				text, _ := f.issue(sandbox.NewInvoice{AmountSats: 1})
				return bob.Sign(bob.BeginPay(text))
			},
		},
		"an on-chain one": {
			signed: func(f *fixture, _ string) string { return f.client.Sign(f.client.BeginSend(f.addr(), 5_000)) },
		},
		"one with a flipped signature bit": {
			signed: func(f *fixture, unsigned string) string { return f.client.Spoil(f.client.Sign(unsigned)) },
			want:   sandbox.Evidence{Asked: true},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := reference(t)
			invoice, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
			unsigned := f.client.BeginPay(invoice)
			code, body := f.client.EndPay(tc.signed(f, unsigned))
			wantAnswer(t, code, body, 200, hash)
			f.pass(2 * time.Second)
			moved := f.server.Moved(hash)
			if len(moved) != 1 || moved[0].PSBT.Valid || moved[0].PSBT.Asked != tc.want.Asked || moved[0].PSBT.Problem == "" {
				t.Errorf("moved %+v, want once with a PSBT that the ledger calls invalid", moved)
			}
		})
	}
	t.Run("but no unsigned one", func(t *testing.T) {
		f := reference(t)
		invoice, _ := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
		code, body := f.client.EndPay(f.client.BeginPay(invoice))
		wantAnswer(t, code, body, 400, `"error":"CannotFinalizePsbt"`)
	})
}

// duringNode makes the node slow and runs do while the first answer of it is under way.
func duringNode(t *testing.T, do func(f *fixture)) *fixture {
	t.Helper()
	var f *fixture
	waits := 0
	f = start(t, sandbox.Options{
		Profile: sandbox.Reference,
		Timing:  sandbox.Timing{Node: 100 * time.Millisecond},
		Sleep: func(context.Context, time.Duration) {
			// Of a payment's two calls the second pays.
			if waits++; waits == 2 {
				do(f)
			}
		},
	})
	return f
}

func TestHazard03_EndClearsAnotherBegin(t *testing.T) {
	var invoiceB, hashB, signedB string
	f := duringNode(t, func(f *fixture) { signedB = f.client.Sign(f.client.BeginPay(invoiceB)) })
	invoiceA, hashA := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	invoiceB, hashB = f.issue(sandbox.NewInvoice{AmountSats: 2_000})
	code, body := f.client.EndPay(f.client.Sign(f.client.BeginPay(invoiceA)))
	wantAnswer(t, code, body, 200, hashA)
	code, body = f.client.EndPay(signedB)
	wantAnswer(t, code, body, 400, noInvoice)
	f.pass(2 * time.Second)
	f.wantMoved(hashB, 0)
}

func TestHazard04_SameEndTwiceAtOnce(t *testing.T) {
	var signed string
	var code int
	var body string
	f := duringNode(t, func(f *fixture) { code, body = f.client.EndPay(signed) })
	invoice, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	signed = f.client.Sign(f.client.BeginPay(invoice))
	first, firstBody := f.client.EndPay(signed)
	wantAnswer(t, first, firstBody, 200, hash)
	wantAnswer(t, code, body, 403, `"name":"DuplicatePayment"`)
	f.pass(2 * time.Second)
	f.wantMoved(hash, 1)
}

func TestHazard05_NodePaysAndTheAnswerIsLost(t *testing.T) {
	f := reference(t)
	invoice, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	f.fault(sandbox.Fault{Kind: sandbox.FaultDropAnswer, Operation: sandbox.NodeSendPayment})
	signed := f.client.Sign(f.client.BeginPay(invoice))
	code, body := f.client.EndPay(signed)
	if code != 500 || body != `{"detail":"Failed to communicate with RLN node: "}` {
		t.Errorf("end: %d %s, want 500 with an empty reason", code, body)
	}
	f.pass(2 * time.Second)
	if got := f.status(sendRequest + hash); got != "SUCCEEDED" {
		t.Errorf("look-up says %v, want SUCCEEDED", got)
	}
	for range 2 { // the begun entry stays
		code, body = f.client.EndPay(signed)
		wantAnswer(t, code, body, 403, "There is already a payment with this hash in status Succeeded")
	}
	f.wantMoved(hash, 1)
}

func TestHazard06_RestartBetweenBeginAndEnd(t *testing.T) {
	f := reference(t)
	invoice, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	signed := f.client.Sign(f.client.BeginPay(invoice))
	f.server.Restart()
	code, body := f.client.EndPay(signed)
	wantAnswer(t, code, body, 400, noInvoice)
	code, body = f.client.EndPay(f.client.Sign(f.client.BeginPay(invoice)))
	wantAnswer(t, code, body, 200, hash)
	f.pass(2 * time.Second)
	f.wantMoved(hash, 1)
}

func TestHazard07_RefusedEndLeavesTheInvoiceBegun(t *testing.T) {
	f := reference(t)
	invoice, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	f.fault(sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.NodeSendPayment, Status: 403, Name: "LockedNode"})
	signed := f.client.Sign(f.client.BeginPay(invoice))
	code, body := f.client.EndPay(signed)
	wantAnswer(t, code, body, 403, `"name":"LockedNode"`)
	f.wantMoved(hash, 0)
	code, body = f.client.EndPay(signed)
	wantAnswer(t, code, body, 200, hash)
	f.pass(2 * time.Second)
	f.wantMoved(hash, 1)
}

func TestHazard19_NoChannelIsLeftAfterAnOnchainSend(t *testing.T) {
	f := reference(t)
	if code, body := f.client.EndSend(f.client.Sign(f.client.BeginSend(f.addr(), 20_000))); code != 200 {
		t.Fatalf("end of the send: %d %s", code, body)
	}
	f.pass(time.Minute)
	invoice, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	pay := func() (int, string) { return f.client.EndPay(f.client.Sign(f.client.BeginPay(invoice))) }
	code, body := pay()
	wantAnswer(t, code, body, 200, `"status":"FAILED"`)

	// settle re-opens one, but only out of a deposit to the address that was handed out.
	var deposit struct {
		Address string `json:"btc_address"`
	}
	f.client.MustGet("/lightning/onchain-receive", &deposit)
	if _, err := f.server.FundAddress(deposit.Address, 50_000, true); err != nil {
		t.Fatal(err)
	}
	f.pass(300 * time.Second)
	code, body = pay()
	wantAnswer(t, code, body, 200, `"status":"PENDING"`)
	f.pass(2 * time.Second)
	f.wantMoved(hash, 1)
}
