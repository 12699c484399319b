package sandbox_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	testclock "k8s.io/utils/clock/testing"

	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/sandbox/sandboxtest"
)

var noon = time.Date(2026, 1, 8, 12, 0, 0, 0, time.UTC)

// fixture is a sandbox on a clock that the test steps, and one registered wallet.
type fixture struct {
	*testing.T
	clock  *testclock.FakeClock
	server *sandbox.Server
	client *sandboxtest.Client
}

func start(t *testing.T, opts sandbox.Options) *fixture {
	t.Helper()
	f := &fixture{T: t, clock: testclock.NewFakeClock(noon)}
	opts.Clock = f.clock
	f.server = sandbox.New(opts)
	f.client = sandboxtest.NewClient(t, f.server, "alice").Register()
	return f
}

// pass lets d pass and does what falls due.
func (f *fixture) pass(d time.Duration) {
	f.clock.Step(d)
	f.server.Advance()
}

// issue returns an invoice of the counterparty and its payment hash.
func (f *fixture) issue(n sandbox.NewInvoice) (text, hash string) {
	f.Helper()
	text, err := f.server.IssueInvoice(n)
	if err != nil {
		f.Fatal(err)
	}
	return text, f.hash(text)
}

// hash returns the payment hash of a BOLT11.
func (f *fixture) hash(text string) string {
	f.Helper()
	decoded, err := bolt11.Decode(text)
	if err != nil {
		f.Fatal(err)
	}
	return decoded.PaymentHashHex()
}

// addr returns a fresh address of the counterparty.
func (f *fixture) addr() string {
	f.Helper()
	address, err := f.server.NewAddress()
	if err != nil {
		f.Fatal(err)
	}
	return address
}

// fault puts a fault in force.
func (f *fixture) fault(fault sandbox.Fault) {
	f.Helper()
	if _, err := f.server.AddFault(fault); err != nil {
		f.Fatal(err)
	}
}

// field returns one member of a JSON object.
func field(t *testing.T, body, name string) any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(body), &object); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return object[name]
}

// status asks the status of the object at path.
func (f *fixture) status(path string) any {
	f.Helper()
	code, body := f.client.Get(path)
	if code != 200 {
		f.Fatalf("GET %s: %d %s", path, code, body)
	}
	return field(f.T, body, "status")
}

var profiles = map[string]sandbox.Options{
	"documented": {Profile: sandbox.Documented},
	"reference":  {Profile: sandbox.Reference},
}

func TestLightningFlow(t *testing.T) {
	for name, opts := range profiles {
		for _, asset := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, asset %t", name, asset), func(t *testing.T) {
				f := start(t, opts)
				invoice := sandbox.NewInvoice{AmountSats: 5_000}
				if asset {
					invoice = sandbox.NewInvoice{Asset: &sandbox.Asset{ID: f.server.AssetIDs()[0], Amount: 700}}
				}
				text, hash := f.issue(invoice)
				unsigned := f.client.BeginPay(text)
				code, body := f.client.EndPay(f.client.Sign(unsigned))
				if code != 200 || field(t, body, "id") != hash || field(t, body, "status") != "PENDING" {
					t.Fatalf("end: %d %s, want 200 PENDING of %s", code, body, hash)
				}
				if moved := f.server.Moved(hash); len(moved) != 0 {
					t.Errorf("money moved while the payment is pending: %+v", moved)
				}
				f.pass(2 * time.Second)
				if got := f.status("/lightning/send-request/" + hash); got != "SUCCEEDED" {
					t.Errorf("status %v, want SUCCEEDED", got)
				}
				moved := f.server.Moved(hash)
				if len(moved) != 1 {
					t.Fatalf("moved %d times, want once", len(moved))
				}
				decoded, err := bolt11.Decode(text)
				if err != nil {
					t.Fatal(err)
				}
				want := sandbox.Entry{
					Seq: moved[0].Seq, At: noon.Add(2 * time.Second), Kind: sandbox.LightningOut, Key: hash, Wallet: f.client.XpubVanilla,
					Destination: fmt.Sprintf("%x", decoded.Payee), AmountSats: 5_000, Asset: invoice.Asset, FeeSats: 50, SendID: hash, Begin: 1,
					PSBT: &sandbox.Evidence{Txid: f.client.Decode(unsigned).UnsignedTx.TxID(), Asked: true, Valid: true, FeeSats: moved[0].PSBT.FeeSats},
				}
				if asset {
					want.AmountSats = 3_000
				}
				if opts.Profile == sandbox.Reference {
					want.FeeSats = 0
				}
				if diff := cmp.Diff(want, moved[0]); diff != "" {
					t.Errorf("ledger (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestReceiveFlow(t *testing.T) {
	for name, opts := range profiles {
		t.Run(name, func(t *testing.T) {
			f := start(t, opts)
			var created struct{ ID, Invoice, Status string }
			f.client.MustPost("/lightning/create-invoice", `{"amount_sats":1234}`, &created)
			if created.Status != "OPEN" {
				t.Errorf("a new invoice is %s, want OPEN", created.Status)
			}
			hash, err := f.server.PayInvoice(created.Invoice, false)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.status("/lightning/receive-request/" + created.ID); got != "SETTLED" {
				t.Errorf("status %v, want SETTLED", got)
			}
			if _, err := f.server.PayInvoice(created.Invoice, false); err == nil {
				t.Error("an invoice was paid twice")
			}
			ledger := f.server.Ledger()
			last := ledger[len(ledger)-1]
			if last.Kind != sandbox.LightningIn || last.Key != hash || last.AmountSats != 1234 || last.SendID != created.ID {
				t.Errorf("ledger ends with %+v, want 1234 sat in for %s", last, hash)
			}
		})
	}
}

func TestOnchainFlowDocumented(t *testing.T) {
	f := start(t, sandbox.Options{})
	address := f.addr()
	unsigned := f.client.BeginSend(address, 40_000)
	code, body := f.client.EndSend(f.client.Sign(unsigned))
	txid := f.client.Decode(unsigned).UnsignedTx.TxID()
	id, _ := field(t, body, "send_id").(string)
	if code != 200 || id == "" || field(t, body, "txid") != txid {
		t.Fatalf("end: %d %s, want an id and txid %s", code, body, txid)
	}
	if got := f.status("/onchain-send/" + id); got != "pending" {
		t.Errorf("status %v, want pending", got)
	}
	f.pass(30 * time.Second)
	if got := f.status("/onchain-send/" + id); got != "completed" {
		t.Errorf("status after a block %v, want completed", got)
	}
	moved := f.server.Moved(sandbox.OrderKey(address, 40_000, "", 0, 5))
	if len(moved) != 1 || moved[0].AmountSats != 40_000 || moved[0].Destination != address || moved[0].Txid != txid || !moved[0].PSBT.Valid {
		t.Errorf("moved %+v, want 40,000 sat to %s once", moved, address)
	}
}

func TestOnchainAssetFlow(t *testing.T) {
	for name, opts := range profiles {
		t.Run(name, func(t *testing.T) {
			f := start(t, opts)
			assetID := f.server.AssetIDs()[0]
			invoice, err := f.server.IssueRGBInvoice(assetID, 77)
			if err != nil {
				t.Fatal(err)
			}
			code, body := f.client.EndSend(f.client.Sign(f.client.BeginSendAsset(invoice, assetID, 77)))
			if code != 200 {
				t.Fatalf("end: %d %s", code, body)
			}
			f.pass(time.Minute)
			moved := f.server.Moved(sandbox.OrderKey(invoice, 0, assetID, 77, 5))
			if len(moved) != 1 || *moved[0].Asset != (sandbox.Asset{ID: assetID, Amount: 77}) {
				t.Errorf("moved %+v, want 77 units once", moved)
			}
			var transfers []struct{ Kind, Status int }
			f.client.MustPost("/lightning/listtransfers", fmt.Sprintf(`{"asset_id":%q}`, assetID), &transfers)
			if len(transfers) != 1 || transfers[0].Kind != 3 || transfers[0].Status != 2 {
				t.Errorf("transfers %+v, want one settled send", transfers)
			}
		})
	}
}

func TestWalletsOfTheDocumentedServicePayEachOther(t *testing.T) {
	f := start(t, sandbox.Options{})
	bob := sandboxtest.NewClient(t, f.server, "bob").Register()
	var created struct{ ID, Invoice string }
	bob.MustPost("/lightning/create-invoice", `{"amount_sats":2500}`, &created)
	if code, body := f.client.EndPay(f.client.Sign(f.client.BeginPay(created.Invoice))); code != 200 {
		t.Fatalf("end: %d %s", code, body)
	}
	f.pass(2 * time.Second)
	var received struct{ Status string }
	bob.MustGet("/lightning/receive-request/"+created.ID, &received)
	if received.Status != "SETTLED" {
		t.Errorf("bob's invoice is %s, want SETTLED", received.Status)
	}
	if code, body := f.client.Get("/lightning/receive-request/" + created.ID); code != 200 || body != "null" {
		t.Errorf("another wallet's invoice: %d %s, want 200 null", code, body)
	}
}
