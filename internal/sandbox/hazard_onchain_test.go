package sandbox_test

import (
	"testing"
	"time"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/sandbox/sandboxtest"
)

// send takes an order of sats to address on and returns its id.
func (f *fixture) send(address string, sats int64) string {
	f.Helper()
	return f.end(f.client, f.client.Sign(f.client.BeginSend(address, sats)))
}

func (f *fixture) end(client *sandboxtest.Client, signed string) string {
	f.Helper()
	code, body := client.EndSend(signed)
	if code != 200 {
		f.Fatalf("end: %d %s", code, body)
	}
	return field(f.T, body, "withdrawal_id").(string)
}

// wantStatus checks the status of a send and its error code, "" for none.
func (f *fixture) wantStatus(id, status, errorCode string) {
	f.Helper()
	code, body := f.client.Get(onchainStatus + id)
	got := ""
	if text, ok := field(f.T, body, "error_code").(string); ok {
		got = text
	}
	if code != 200 || field(f.T, body, "status") != status || got != errorCode {
		f.Errorf("send is %d %s, want %s %s", code, body, status, errorCode)
	}
}

func orderKey(address string, sats int64) string {
	return sandbox.OrderKey(address, amount.Sat(sats), "", 0, 5)
}

func TestHazard08_SecondBeginHijacksBothEnds(t *testing.T) {
	f := reference(t)
	a, b := f.addr(), f.addr()
	signedA := f.client.Sign(f.client.BeginSend(a, 10_000))
	signedB := f.client.Sign(f.client.BeginSend(b, 20_000))
	if first, second := f.end(f.client, signedA), f.end(f.client, signedB); first != second {
		t.Errorf("the ends answer %s and %s, want one id", first, second)
	}
	f.pass(time.Minute)
	f.wantMoved(orderKey(a, 10_000), 0)
	f.wantMoved(orderKey(b, 20_000), 1)
}

func TestHazard09_EqualOrdersAreMerged(t *testing.T) {
	f := reference(t)
	address := f.addr()
	first := f.send(address, 10_000)
	f.pass(time.Minute)
	f.wantStatus(first, "CONFIRMED", "")
	if second := f.send(address, 10_000); second != first {
		t.Errorf("the second order got id %s, want the first's %s", second, first)
	}
	f.pass(time.Minute)
	f.wantMoved(orderKey(address, 10_000), 1)
}

func TestHazard10_EqualOrdersOfTwoWalletsAreMerged(t *testing.T) {
	f := reference(t)
	bob := sandboxtest.NewClient(t, f.server, "bob").Register()
	address := f.addr()
	first := f.send(address, 10_000)
	if second := f.end(bob, bob.Sign(bob.BeginSend(address, 10_000))); second != first {
		t.Errorf("bob's order got id %s, want alice's %s", second, first)
	}
	f.pass(time.Minute)
	f.wantMoved(orderKey(address, 10_000), 1)
}

func TestHazard11_FailedOrderIsAnsweredForEver(t *testing.T) {
	f := reference(t)
	address := f.addr()
	f.fault(sandbox.Fault{Kind: sandbox.FaultRefuse, Operation: sandbox.NodeSendBtc, Status: 500, Name: "FailedBdkSync"})
	first := f.send(address, 10_000)
	f.pass(time.Minute)
	f.wantStatus(first, "FAILED", "SWEEP_FAILED")
	if second := f.send(address, 10_000); second != first {
		t.Errorf("the order after FAILED got id %s, want %s", second, first)
	}
	f.pass(time.Minute)
	f.wantMoved(orderKey(address, 10_000), 0)

	var unsigned string
	f.client.MustPost("/lightning/onchain-send-begin", `{"address_or_rgbinvoice":"`+address+`","amount_sats":10000,"fee_rate":6}`, &unsigned)
	if third := f.end(f.client, f.client.Sign(unsigned)); third == first {
		t.Error("another fee rate is answered with the failed send, want a new one")
	}
}

func TestHazard12_RepeatedEndIsOneSend(t *testing.T) {
	f := reference(t)
	address := f.addr()
	signed := f.client.Sign(f.client.BeginSend(address, 10_000))
	first := f.end(f.client, signed)
	for range 3 {
		if again := f.end(f.client, signed); again != first {
			t.Errorf("repeated end got id %s, want %s", again, first)
		}
	}
	f.pass(time.Minute)
	if again := f.end(f.client, signed); again != first {
		t.Errorf("end repeated later got id %s, want %s", again, first)
	}
	f.wantMoved(orderKey(address, 10_000), 1)
}

func TestHazard13_RestartMakesTheSameOrderMoveMoneyAgain(t *testing.T) {
	f := reference(t)
	address := f.addr()
	first := f.send(address, 10_000)
	f.pass(time.Minute)
	f.server.Restart()
	if second := f.send(address, 10_000); second == first {
		t.Error("the order is still merged after a restart")
	}
	f.pass(time.Minute)
	f.wantMoved(orderKey(address, 10_000), 2)
}

func TestHazard14_RestartForgetsASendOnItsWay(t *testing.T) {
	f := reference(t)
	address := f.addr()
	id := f.send(address, 10_000)
	f.pass(5 * time.Second)
	f.wantStatus(id, "WAITING_BALANCE_UPDATE", "")
	f.server.Restart()
	f.pass(time.Hour)
	code, body := f.client.Get(onchainStatus + id)
	wantAnswer(t, code, body, 404, `{"detail":"Withdrawal not found"}`)
	f.wantMoved(orderKey(address, 10_000), 0)
	if closed := f.count(sandbox.ChannelClose); closed != 1 {
		t.Errorf("%d channels closed, want 1", closed)
	}
}

func (f *fixture) count(kind sandbox.Kind) int {
	n := 0
	for _, entry := range f.server.Ledger() {
		if entry.Kind == kind {
			n++
		}
	}
	return n
}

func TestHazard15_TwoSendsThroughOneChannel(t *testing.T) {
	f := reference(t)
	a, b := f.addr(), f.addr()
	first := f.send(a, 10_000)
	second := f.send(b, 20_000)
	f.pass(time.Minute)
	f.wantStatus(first, "CONFIRMED", "")
	f.wantStatus(second, "FAILED", "CHANNEL_CLOSE_FAILED")
	f.wantMoved(orderKey(b, 20_000), 0)
	if again := f.send(b, 20_000); again != second {
		t.Errorf("the failed order again got id %s, want %s", again, second)
	}
}

func TestHazard16_SlowCloseIsStuckForEver(t *testing.T) {
	f := reference(t)
	f.fault(sandbox.Fault{Kind: sandbox.FaultStale, Operation: sandbox.NodeCloseChannel})
	id := f.send(f.addr(), 10_000)
	f.pass(5 * time.Second)
	f.pass(15 * time.Minute)
	f.wantStatus(id, "WAITING_CLOSE_CONFIRMATIONS", "")
	if closed := f.count(sandbox.ChannelClose); closed != 1 {
		t.Errorf("%d channels closed, want 1", closed)
	}
}

func TestHazard17_AnyDepositCountsAsTheClosedChannel(t *testing.T) {
	// The closing transaction never comes within the test.
	f := start(t, sandbox.Options{Profile: sandbox.Reference, Timing: sandbox.Timing{Close: time.Hour}})
	address := f.addr()
	id := f.send(address, 10_000)
	f.pass(5 * time.Second)
	f.wantStatus(id, "WAITING_BALANCE_UPDATE", "")
	var deposit struct {
		Address string `json:"btc_address"`
	}
	f.client.MustGet("/lightning/onchain-receive", &deposit)
	if _, err := f.server.FundAddress(deposit.Address, 1_500, false); err != nil {
		t.Fatal(err)
	}
	f.pass(41 * time.Second)
	f.wantStatus(id, "CONFIRMED", "")
	f.wantMoved(orderKey(address, 10_000), 1)
	if closed := f.count(sandbox.ChannelClose); closed != 0 {
		t.Errorf("%d channels closed, want none yet", closed)
	}
}

func TestHazard18_FailedRetryableAfterTheMoneyLeft(t *testing.T) {
	faults := map[string]sandbox.Fault{
		"the node takes more than 60 s": {Kind: sandbox.FaultDelay, Operation: sandbox.NodeSendBtc, Delay: sandbox.Duration(61 * time.Second)},
		"the node's answer is dropped":  {Kind: sandbox.FaultDropAnswer, Operation: sandbox.NodeSendBtc},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			f := reference(t)
			f.fault(fault)
			address := f.addr()
			id := f.send(address, 10_000)
			f.pass(3 * time.Minute)
			f.wantStatus(id, "FAILED", "SWEEP_FAILED")
			_, body := f.client.Get(onchainStatus + id)
			if field(t, body, "retryable") != true || field(t, body, "sweep_txid") != nil {
				t.Errorf("send is %s, want retryable and without a sweep_txid", body)
			}
			f.wantMoved(orderKey(address, 10_000), 1)
		})
	}
}
