package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/utexo/utexo-operator/internal/sandbox"
)

// admin makes a call of the admin API and returns its answer.
func (f *fixture) admin(method, path, body string) (int, string) {
	f.Helper()
	recorder := httptest.NewRecorder()
	f.server.AdminHandler().ServeHTTP(recorder, httptest.NewRequest(method, path, strings.NewReader(body)))
	return recorder.Code, strings.TrimSpace(recorder.Body.String())
}

// mustAdmin makes a call that must succeed and returns one member of its answer.
func (f *fixture) mustAdmin(method, path, body, member string) any {
	f.Helper()
	code, answer := f.admin(method, path, body)
	if code != http.StatusOK {
		f.Fatalf("%s %s: %d %s", method, path, code, answer)
	}
	return field(f.T, answer, member)
}

func TestAdminFlow(t *testing.T) {
	f := start(t, sandbox.Options{})
	post := func(path, body, member string) any {
		t.Helper()
		return f.mustAdmin(http.MethodPost, path, body, member)
	}

	// A payment to the counterparty, by a fault's way and a hanging payee.
	invoice := post("/admin/invoices", `{"amount_sats":1500,"description":"tea"}`, "invoice").(string)
	hash := f.hash(invoice)
	post("/admin/payee", fmt.Sprintf(`{"payment_hash":%q,"mode":"hang"}`, hash), "done")
	if id := post("/admin/faults", `{"kind":"drop-answer","operation":"payLightningInvoiceEnd","delay":"1s"}`, "id"); id != 1.0 {
		t.Errorf("the first fault has id %v, want 1", id)
	}
	signed := f.client.Sign(f.client.BeginPay(invoice))
	if _, _, err := f.client.Do(http.MethodPost, "/lightning/pay-invoice-end", `{"signed_psbt":"`+signed+`"}`); err == nil {
		t.Error("the answer was not dropped")
	}
	post("/admin/resolve", fmt.Sprintf(`{"payment_hash":%q,"succeeded":true}`, hash), "done")
	_, listed := f.admin(http.MethodGet, "/admin/ledger?kind=lightning-out&key="+hash, "")
	var entries []sandbox.Entry
	if err := json.Unmarshal([]byte(listed), &entries); err != nil || len(entries) != 1 || entries[0].AmountSats != 1_500 {
		t.Errorf("ledger %s, %v; want the payment", listed, err)
	}
	_, faults := f.admin(http.MethodGet, "/admin/faults", "")
	if want := `[{"id":1,"kind":"drop-answer","operation":"payLightningInvoiceEnd","delay":"1s","seen":1,"hit":1}]`; faults != want {
		t.Errorf("faults %s, want %s", faults, want)
	}
	f.mustAdmin(http.MethodDelete, "/admin/faults/1", "", "done")
	f.mustAdmin(http.MethodDelete, "/admin/faults", "", "done")
	if _, faults := f.admin(http.MethodGet, "/admin/faults", ""); faults != "[]" {
		t.Errorf("faults %s, want none", faults)
	}

	// An invoice of the wallet, paid late; one that the node fails, one that it forgets.
	id, own, _ := f.create(`{"amount_sats":40}`)
	post("/admin/skip", `{"by":"1h"}`, "now")
	post("/admin/pay", fmt.Sprintf(`{"invoice":%q,"late":true}`, own), "payment_hash")
	if got := f.status("/lightning/receive-request/" + id); got != "SETTLED" {
		t.Errorf("paid late: %v, want SETTLED", got)
	}
	for _, path := range []string{"/admin/fail-invoice", "/admin/forget-invoice"} {
		_, _, ownHash := f.create(`{"amount_sats":40}`)
		post(path, fmt.Sprintf(`{"payment_hash":%q}`, ownHash), "done")
	}

	// The chain.
	address := post("/admin/addresses", "", "address").(string)
	post("/admin/fund", fmt.Sprintf(`{"xpub_van":%q,"amount_sats":5000}`, f.client.XpubVanilla), "done")
	post("/admin/fund", fmt.Sprintf(`{"address":%q,"amount_sats":5000,"unconfirmed":true}`, address), "txid")
	height := f.mustAdmin(http.MethodGet, "/admin/info", "", "height").(float64)
	if mined := post("/admin/mine", `{"blocks":3}`, "height"); mined != height+3 {
		t.Errorf("height %v after 3 blocks on %v", mined, height)
	}
	post("/admin/rgb-invoices", fmt.Sprintf(`{"asset_id":%q,"amount":5}`, f.server.AssetIDs()[0]), "invoice")
	_, wallets := f.admin(http.MethodGet, "/admin/wallets", "")
	if !strings.Contains(wallets, `"vanilla_sats":10005000`) || !strings.Contains(wallets, f.client.Fingerprint) {
		t.Errorf("wallets %s, want the funded one", wallets)
	}

	// The service.
	post("/admin/foreign-begin", fmt.Sprintf(`{"xpub_van":%q,"onchain":true}`, f.client.XpubVanilla), "done")
	post("/admin/listpayments", `{"on":false}`, "done")
	post("/admin/restart", "", "done")
	if code, _ := f.client.EndSend(signed); code != 400 {
		t.Errorf("end after a restart: %d, want 400", code)
	}
	_, requests := f.admin(http.MethodGet, "/admin/requests", "")
	if !strings.Contains(requests, `"fault":"drop-answer"`) || !strings.Contains(requests, `"foreign":true`) {
		t.Errorf("requests %s, want the faulty and the foreign one", requests)
	}
	post("/admin/reset", "", "done")
	if _, ledger := f.admin(http.MethodGet, "/admin/ledger", ""); ledger != "[]" {
		t.Errorf("ledger after a reset %s, want []", ledger)
	}
	if now := f.server.Now(); !now.Equal(noon.Add(time.Hour)) {
		t.Errorf("a reset set the time back to %v", now)
	}
}

func TestAdminRefuses(t *testing.T) {
	f := reference(t)
	tests := map[string]string{
		"an unknown member":                 `POST /admin/mine {"block":1}`,
		"no block":                          `POST /admin/mine {"blocks":0}`,
		"no JSON":                           `POST /admin/mine blocks`,
		"a fault of no kind":                `POST /admin/faults {}`,
		"a delay that is none":              `POST /admin/faults {"kind":"delay","delay":"soon"}`,
		"a fault id of no number":           `DELETE /admin/faults/x`,
		"time that stands still":            `POST /admin/skip {}`,
		"neither wallet nor address":        `POST /admin/fund {"amount_sats":5000}`,
		"an unknown wallet":                 `POST /admin/fund {"xpub_van":"x","amount_sats":5000}`,
		"dust for a wallet":                 `POST /admin/fund {"xpub_van":"` + f.client.XpubVanilla + `","amount_sats":1}`,
		"an address of another network":     `POST /admin/fund {"address":"bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh","amount_sats":5000}`,
		"an invoice that cannot be written": `POST /admin/invoices {"amount_sats":2100000100000000}`,
		"an expiry of the past":             `POST /admin/invoices {"amount_sats":1,"expiry_seconds":-1}`,
		"an asset id that is none":          `POST /admin/rgb-invoices {"asset_id":"rgb:x"}`,
		"an invoice that is none":           `POST /admin/pay {"invoice":"x"}`,
		"an unknown mode":                   `POST /admin/payee {"mode":"x"}`,
		"an unknown payment":                `POST /admin/resolve {"payment_hash":"x"}`,
		"an unknown invoice":                `POST /admin/fail-invoice {"payment_hash":"x"}`,
		"a begin of nobody":                 `POST /admin/foreign-begin {"xpub_van":"x"}`,
	}
	for name, call := range tests {
		t.Run(name, func(t *testing.T) {
			parts := strings.SplitN(call+" ", " ", 3)
			code, body := f.admin(parts[0], parts[1], parts[2])
			if code != http.StatusBadRequest || field(t, body, "error") == nil {
				t.Errorf("%s: %d %s, want 400 with an error", call, code, body)
			}
		})
	}
	invoice, _ := f.issue(sandbox.NewInvoice{AmountSats: 1})
	code, body := f.admin(http.MethodPost, "/admin/pay", fmt.Sprintf(`{"invoice":%q}`, invoice))
	wantAnswer(t, code, body, 400, sandbox.ErrUnknownInvoice.Error())
}
