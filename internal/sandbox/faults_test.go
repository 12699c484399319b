package sandbox_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/sandbox/sandboxtest"
)

// TestFaultsOfAPayment ends a payment under each fault, in process and over a socket, and looks at what reached the client and at what
// the service did.
func TestFaultsOfAPayment(t *testing.T) {
	const broken = -1 // no complete answer
	minute := sandbox.Duration(time.Minute)
	tests := map[string]struct {
		fault      sandbox.Fault
		wantStatus int
		wantBody   string // part of it
		wantErr    error  // in process
		wantMoved  int
		// wantLate is how often money moved after the fault's delay.
		wantLate int
	}{
		"a refused connection": {fault: sandbox.Fault{Kind: sandbox.FaultRefuseConnection}, wantStatus: broken, wantErr: syscall.ECONNREFUSED},
		"a lost request":       {fault: sandbox.Fault{Kind: sandbox.FaultDropRequest}, wantStatus: broken, wantErr: syscall.ECONNRESET},
		"a lost answer":        {fault: sandbox.Fault{Kind: sandbox.FaultDropAnswer}, wantStatus: broken, wantErr: syscall.ECONNRESET, wantMoved: 1, wantLate: 1},
		"a late landing":       {fault: sandbox.Fault{Kind: sandbox.FaultLandLate, Delay: minute}, wantStatus: broken, wantErr: syscall.ECONNRESET, wantLate: 1},
		"a second delivery": {
			fault: sandbox.Fault{Kind: sandbox.FaultDeliverTwice}, wantStatus: 403, wantBody: "DuplicatePayment", wantMoved: 1, wantLate: 1,
		},
		"a second delivery, answered as the first": {
			fault: sandbox.Fault{Kind: sandbox.FaultDeliverTwice, First: true}, wantStatus: 200, wantBody: "PENDING", wantMoved: 1, wantLate: 1,
		},
		"a second delivery later": {
			fault: sandbox.Fault{Kind: sandbox.FaultDeliverTwice, Delay: minute}, wantStatus: 200, wantBody: "PENDING", wantMoved: 1, wantLate: 1,
		},
		"an error before": {fault: sandbox.Fault{Kind: sandbox.FaultErrorBefore, Status: 503}, wantStatus: 503, wantBody: "unexpected error"},
		"an error after":  {fault: sandbox.Fault{Kind: sandbox.FaultErrorAfter}, wantStatus: 500, wantBody: "unexpected error", wantMoved: 1, wantLate: 1},
		"a cut answer":    {fault: sandbox.Fault{Kind: sandbox.FaultTruncate}, wantStatus: broken, wantErr: io.ErrUnexpectedEOF, wantMoved: 1, wantLate: 1},
		"garbage":         {fault: sandbox.Fault{Kind: sandbox.FaultGarble}, wantStatus: 200, wantBody: `{"id": "`, wantMoved: 1, wantLate: 1},
		"null":            {fault: sandbox.Fault{Kind: sandbox.FaultNull}, wantStatus: 200, wantBody: "null", wantMoved: 1, wantLate: 1},
		"an unknown word": {fault: sandbox.Fault{Kind: sandbox.FaultUnknownStatus}, wantStatus: 200, wantBody: "AWAITING_MANUAL_REVIEW", wantMoved: 1, wantLate: 1},
		"a refusal by name": {
			fault: sandbox.Fault{Kind: sandbox.FaultRefuse, Status: 403, Name: "ChangingState"}, wantStatus: 403, wantBody: `"name":"ChangingState"`,
		},
		"a throttle":        {fault: sandbox.Fault{Kind: sandbox.FaultThrottle, RetryAfter: 7}, wantStatus: 429},
		"a gateway's page":  {fault: sandbox.Fault{Kind: sandbox.FaultHTML}, wantStatus: 502, wantBody: "<html>"},
		"a page afterwards": {fault: sandbox.Fault{Kind: sandbox.FaultHTMLAfter, Status: 504}, wantStatus: 504, wantBody: "<html>", wantMoved: 1, wantLate: 1},
		"another object":    {fault: sandbox.Fault{Kind: sandbox.FaultOtherObject}, wantStatus: 200, wantBody: "PENDING", wantMoved: 1, wantLate: 1},
		"a redirect":        {fault: sandbox.Fault{Kind: sandbox.FaultRedirect}, wantStatus: 307},
		"a restart":         {fault: sandbox.Fault{Kind: sandbox.FaultRestart}, wantStatus: 400, wantBody: "No invoice found"},
		"a restart afterwards": {
			fault: sandbox.Fault{Kind: sandbox.FaultRestartAfter}, wantStatus: broken, wantErr: syscall.ECONNRESET, wantMoved: 1, wantLate: 1,
		},
		"a foreign begin": {fault: sandbox.Fault{Kind: sandbox.FaultForeignBegin}, wantStatus: 200, wantBody: "PENDING"},
	}
	for name, tc := range tests {
		for _, socket := range []bool{false, true} {
			t.Run(name+map[bool]string{false: " in process", true: " over a socket"}[socket], func(t *testing.T) {
				f := reference(t)
				client := f.client
				if socket {
					listener := httptest.NewServer(f.server.Handler())
					t.Cleanup(listener.Close)
					client = client.At(listener.URL)
				}
				invoice, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
				signed := client.Sign(client.BeginPay(invoice))
				tc.fault.Operation = sandbox.PayEnd
				f.fault(tc.fault)
				response, body, err := client.Do(http.MethodPost, "/lightning/pay-invoice-end", sandboxtest.Signed(signed))
				if tc.wantStatus == broken {
					if err == nil || !socket && !errors.Is(err, tc.wantErr) {
						t.Errorf("got %s, %v; want %v", body, err, tc.wantErr)
					}
				} else if err != nil || response.StatusCode != tc.wantStatus || !strings.Contains(string(body), tc.wantBody) {
					t.Errorf("got %v %s, %v; want %d with %q", response, body, err, tc.wantStatus, tc.wantBody)
				}
				f.pass(3 * time.Second)
				f.wantMoved(hash, tc.wantMoved)
				f.pass(2 * time.Minute)
				f.wantMoved(hash, tc.wantLate)
				// The fault is spent.
				if faults := f.server.Faults(); faults[0].Hit != 1 {
					t.Errorf("the fault hit %d times, want once", faults[0].Hit)
				}
			})
		}
	}
}

func TestThrottleAndRedirectHeaders(t *testing.T) {
	f := reference(t)
	f.fault(sandbox.Fault{Kind: sandbox.FaultThrottle, RetryAfter: 7, Status: 503})
	f.fault(sandbox.Fault{Kind: sandbox.FaultRedirect, Location: "http://elsewhere.invalid/"})
	for _, want := range []struct {
		status               int
		retryAfter, location string
	}{{503, "7", ""}, {307, "", "http://elsewhere.invalid/"}} {
		response, _, err := f.client.Do(http.MethodGet, "/lightning/balance", "")
		if err != nil {
			t.Fatal(err)
		}
		if h := response.Header; response.StatusCode != want.status || h.Get("Retry-After") != want.retryAfter || h.Get("Location") != want.location {
			t.Errorf("got %d, headers %v; want %+v", response.StatusCode, h, want)
		}
	}
}

func TestOtherObjectNamesAnother(t *testing.T) {
	f := reference(t)
	first, firstHash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	second, secondHash := f.issue(sandbox.NewInvoice{AmountSats: 2_000})
	for _, invoice := range []string{first, second} {
		if code, body := f.client.EndPay(f.client.Sign(f.client.BeginPay(invoice))); code != 200 {
			t.Fatalf("end: %d %s", code, body)
		}
	}
	f.fault(sandbox.Fault{Kind: sandbox.FaultOtherObject, Operation: sandbox.SendRequest, Count: -1})
	for asked, want := range map[string]string{firstHash: secondHash, secondHash: firstHash} {
		if _, body := f.client.Get(sendRequest + asked); field(t, body, "id") != want {
			t.Errorf("asked for %s, got %s, want %s", asked, body, want)
		}
	}
	f.fault(sandbox.Fault{Kind: sandbox.FaultOtherObject, Operation: sandbox.OnchainEnd})
	signed := f.client.Sign(f.client.BeginSend(f.addr(), 9_000))
	_, body := f.client.EndSend(signed)
	made := field(t, body, "withdrawal_id")
	if _, again := f.client.EndSend(signed); field(t, again, "withdrawal_id") == made {
		t.Errorf("the answer carries the send's own id %v", made)
	}
	// A begin answers a PSBT that signs and is not what was asked.
	f.fault(sandbox.Fault{Kind: sandbox.FaultOtherObject, Operation: sandbox.OnchainBegin})
	address := f.addr()
	other := f.client.Decode(f.client.BeginSend(address, 9_000)).UnsignedTx
	asked := f.client.Decode(f.client.BeginSend(address, 9_000)).UnsignedTx
	if other.TxID() == asked.TxID() || other.TxOut[0].Value == 9_000 {
		t.Errorf("the other PSBT pays %d, want another amount than was asked", other.TxOut[0].Value)
	}
}

func TestLies(t *testing.T) {
	tests := map[string]struct {
		operation sandbox.Operation
		claim     string
		path      string // %h is the payment hash
		paid      bool
		want      string
	}{
		"a payment that is there is absent": {sandbox.SendRequest, sandbox.ClaimAbsent, sendRequest + "%h", true, "PaymentNotFound"},
		"one that succeeds has failed":      {sandbox.SendRequest, sandbox.ClaimFailed, sendRequest + "%h", true, `"status":"FAILED"`},
		"one that never was has succeeded":  {sandbox.SendRequest, sandbox.ClaimSucceeded, sendRequest + "%h", false, `"status":"SUCCEEDED"`},
		"the list is empty":                 {sandbox.ListPayments, sandbox.ClaimAbsent, "/lightning/listpayments", true, `{"payments":[]}`},
		"the list shows failures":           {sandbox.ListPayments, sandbox.ClaimFailed, "/lightning/listpayments", true, `"status":"Failed"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := reference(t)
			f.server.SetListPayments(true)
			invoice, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
			if tc.paid {
				if code, body := f.client.EndPay(f.client.Sign(f.client.BeginPay(invoice))); code != 200 {
					t.Fatalf("end: %d %s", code, body)
				}
				f.pass(2 * time.Second)
			}
			f.fault(sandbox.Fault{Kind: sandbox.FaultLie, Operation: tc.operation, Claim: tc.claim})
			path := strings.ReplaceAll(tc.path, "%h", hash)
			if code, body := f.client.Get(path); !strings.Contains(body, tc.want) {
				t.Errorf("the lie is %d %s, want %q", code, body, tc.want)
			}
			if _, body := f.client.Get(path); strings.Contains(body, tc.want) {
				t.Errorf("the truth is still %s", body)
			}
			f.wantMoved(hash, map[bool]int{true: 1}[tc.paid])
		})
	}
}

func TestDelays(t *testing.T) {
	// The transport blocks for as long as the fault says, on the sandbox's clock.
	for _, kind := range []sandbox.FaultKind{sandbox.FaultDelay, sandbox.FaultSlowAnswer} {
		f := reference(t)
		f.fault(sandbox.Fault{Kind: kind, Operation: sandbox.Balance, Delay: sandbox.Duration(time.Minute)})
		answered := make(chan int)
		go func() {
			code, _ := f.client.Get("/lightning/balance")
			answered <- code
		}()
		for !f.clock.HasWaiters() {
			time.Sleep(time.Millisecond)
		}
		f.clock.Step(time.Minute)
		if code := <-answered; code != 200 {
			t.Errorf("%s: answer %d, want 200", kind, code)
		}
	}
}

func TestFaultsMatch(t *testing.T) {
	f := reference(t)
	bob := sandboxtest.NewClient(t, f.server, "bob").Register()
	f.fault(sandbox.Fault{Kind: sandbox.FaultNull, Operation: sandbox.Balance, Wallet: f.client.XpubVanilla, Nth: 2, Count: 2})
	var got []string
	for range 4 {
		for _, client := range []*sandboxtest.Client{bob, f.client} {
			_, body := client.Get("/lightning/balance")
			_, other := client.Get("/lightning/unused-addresses")
			got = append(got, map[bool]string{true: "hit", false: "-"}[body == "null" || other == "null"])
		}
	}
	if diff := cmp.Diff([]string{"-", "-", "-", "hit", "-", "hit", "-", "-"}, got); diff != "" {
		t.Errorf("hits (-want +got):\n%s", diff)
	}
	f.server.ClearFaults(0)
	if faults := f.server.Faults(); len(faults) != 0 {
		t.Errorf("%d faults after clearing, want none", len(faults))
	}
}

func TestAddFaultRefuses(t *testing.T) {
	f := reference(t)
	for name, fault := range map[string]sandbox.Fault{
		"an unknown kind":              {Kind: "explode"},
		"a kind that no node call has": {Kind: sandbox.FaultRedirect, Operation: sandbox.NodeSendBtc},
		"stale anywhere else":          {Kind: sandbox.FaultStale, Operation: sandbox.PayEnd},
		"a lie without claim":          {Kind: sandbox.FaultLie},
		"a status of success":          {Kind: sandbox.FaultErrorBefore, Status: 200},
		"a negative delay":             {Kind: sandbox.FaultDelay, Delay: -1},
	} {
		if _, err := f.server.AddFault(fault); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestRestartEndsRequestsUnderWay(t *testing.T) {
	var server *sandbox.Server
	var signed string
	f := duringNode(t, func(*fixture) { server.Restart() })
	server = f.server
	invoice, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	signed = f.client.Sign(f.client.BeginPay(invoice))
	if _, body, err := f.client.Do(http.MethodPost, "/lightning/pay-invoice-end", sandboxtest.Signed(signed)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %s, %v; want the connection reset", body, err)
	}
	f.pass(time.Minute)
	f.wantMoved(hash, 1) // the node had it already
}

func TestRequestLog(t *testing.T) {
	f := start(t, sandbox.Options{})
	invoice, hash := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
	signed := f.client.Sign(f.client.BeginPay(invoice))
	f.fault(sandbox.Fault{Kind: sandbox.FaultLandLate, Operation: sandbox.PayEnd, Delay: sandbox.Duration(time.Minute)})
	if _, _, err := f.client.Do(http.MethodPost, "/lightning/pay-invoice-end", sandboxtest.Signed(signed)); err == nil {
		t.Fatal("the late end was answered")
	}
	f.pass(time.Hour)
	post := func(seq int, at time.Time, op sandbox.Operation, path string, begin int, effect sandbox.Effect, key string, status int) sandbox.Request {
		return sandbox.Request{
			Seq: seq, At: at, Operation: op, Method: http.MethodPost, Path: path, Wallet: f.client.XpubVanilla,
			Begin: begin, Effect: effect, Key: key, Status: status,
		}
	}
	lost := post(3, noon, sandbox.PayEnd, "/lightning/pay-invoice-end", 0, "", "", 0)
	lost.Fault = sandbox.FaultLandLate
	landed := post(4, noon.Add(time.Minute), sandbox.PayEnd, "/lightning/pay-invoice-end", 1, sandbox.EffectPaid, hash, 200)
	landed.Fault, landed.Repeat = sandbox.FaultLandLate, true
	want := []sandbox.Request{
		post(1, noon, sandbox.RegisterWallet, "/wallet/register", 0, sandbox.EffectRegistered, f.client.Fingerprint, 200),
		post(2, noon, sandbox.PayBegin, "/lightning/pay-invoice-begin", 1, sandbox.EffectBegan, hash, 200),
		lost, landed,
	}
	if diff := cmp.Diff(want, f.server.Requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if moved := f.server.Moved(hash); len(moved) != 1 || !moved[0].At.Equal(noon.Add(time.Minute+2*time.Second)) {
		t.Errorf("moved %+v, want once, 2 s after the landing, whenever anybody looked", moved)
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	run := func(seed uint64) string {
		f := start(t, sandbox.Options{Profile: sandbox.Reference, Seed: seed})
		invoice, _ := f.issue(sandbox.NewInvoice{AmountSats: 1_000})
		f.fault(sandbox.Fault{Kind: sandbox.FaultOtherObject, Operation: sandbox.PayEnd})
		var created struct{ Invoice string }
		f.client.MustPost("/lightning/create-invoice", `{"amount_sats":5}`, &created)
		_, ended := f.client.EndPay(f.client.Sign(f.client.BeginPay(invoice)))
		_, sent := f.client.EndSend(f.client.Sign(f.client.BeginSend(f.addr(), 9_000)))
		f.pass(10 * time.Minute)
		ledger, err := json.Marshal(f.server.Ledger())
		if err != nil {
			t.Fatal(err)
		}
		requests, err := json.Marshal(f.server.Requests())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join([]string{created.Invoice, ended, sent, string(ledger), string(requests)}, "\n")
	}
	first := run(7)
	for range 3 {
		if diff := cmp.Diff(first, run(7)); diff != "" {
			t.Fatalf("two runs of one seed differ:\n%s", diff)
		}
	}
	if first == run(8) {
		t.Error("another seed gives the same bytes")
	}
}
