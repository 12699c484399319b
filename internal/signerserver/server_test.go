package signerserver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/remotesigner"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/signer"
)

// The base case of the vectors pays payTo 100,000 sat for a fee of 426 sat. That of the lie names one sat more of its coin.
const (
	payTo       = "bcrt1qvp3xf2tzmqpcxcflzc4nv06e6fmfshfgp9e6dx"
	baseOutflow = 100_426
	assetID     = "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8"
)

type vector struct {
	Name, Mnemonic string
	UnsignedPSBT   string `json:"unsigned_psbt"`
	SignedPSBT     string `json:"signed_psbt"`
}

func vectors(t *testing.T) map[string]vector {
	t.Helper()
	var file struct{ Cases []vector }
	text, err := os.ReadFile("../psbtcheck/testdata/psbt-cases.json")
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]vector{}
	for _, v := range file.Cases {
		byName[v.Name] = v
	}
	return byName
}

func baseKeys(t *testing.T) *keys.Set {
	t.Helper()
	set, err := keys.FromMnemonic(vectors(t)["vanilla-kc1-to-p2wpkh"].Mnemonic, "", bitcoin.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// testServer is a server whose clock and files the case has.
type testServer struct {
	*Server
	t     *testing.T
	clock *clocktesting.FakePassiveClock
	path  string
}

func newServer(t *testing.T, limits Limits) *testServer {
	t.Helper()
	s := &testServer{t: t, clock: clocktesting.NewFakePassiveClock(noon), path: filepath.Join(t.TempDir(), "journal")}
	s.start(limits)
	return s
}

// start starts a server with the journal of the one before, as after its end.
func (s *testServer) start(limits Limits) {
	s.t.Helper()
	set := baseKeys(s.t)
	if s.Server != nil {
		closed(s.t, s.journal)
	}
	journal, err := OpenJournal(s.path, set.Public(), s.clock.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = journal.Close() }) // a case may have closed it
	s.Server, err = New(Config{Keys: set, Limits: limits, Journal: journal, Clock: s.clock, Log: slog.New(slog.NewJSONHandler(io.Discard, nil))})
	if err != nil {
		s.t.Fatal(err)
	}
}

// asks is a request for the signature of a vector's PSBT, for the send that the base case makes unless change says otherwise.
func asks(t *testing.T, name string, change ...func(*remotesigner.Request)) *remotesigner.Request {
	t.Helper()
	public := baseKeys(t).Public()
	request := &remotesigner.Request{
		Version: 1, Network: public.Network, UnsignedPSBT: vectors(t)[name].UnsignedPSBT,
		Wallet: remotesigner.Wallet{MasterFingerprint: public.MasterFingerprint, XpubVanilla: public.XpubVanilla},
		Intent: remotesigner.Intent{
			Kind: signer.OnchainSend, Record: "oc-1", Attempt: 1, Destination: payTo, AmountSats: 100_000, MaxFeeSats: 1000, FeeRate: 2,
		},
	}
	for _, f := range change {
		f(request)
	}
	return request
}

// paying makes a request's intent the payment of an invoice.
func paying(t *testing.T, edit func(*bolt11.Invoice)) func(*remotesigner.Request) {
	t.Helper()
	millisats := amount.Sat(100_000).MilliSat()
	invoice := &bolt11.Invoice{
		Prefix: "bcrt", Amount: &millisats, PaymentHash: sha256.Sum256([]byte("hash")), PaymentSecret: sha256.Sum256([]byte("secret")),
		Timestamp: noon, Expiry: time.Hour, Description: "rent", MinFinalCLTVExpiry: 144, Features: bolt11.Features{8, 14},
	}
	edit(invoice)
	text, err := bolt11.Encode(invoice, payeeKey())
	if err != nil {
		t.Fatal(err)
	}
	return func(r *remotesigner.Request) {
		r.Intent = remotesigner.Intent{
			Kind: signer.LightningPayment, Record: "ln-1", Attempt: 1, PaymentRequest: text, PaymentHash: invoice.PaymentHashHex(),
			Destination: payee(), AmountSats: 100_000, MaxFeeSats: 1000,
		}
	}
}

func payeeKey() *btcec.PrivateKey {
	seed := sha256.Sum256([]byte("a payee"))
	key, _ := btcec.PrivKeyFromBytes(seed[:])
	return key
}

func payee() string { return hex.EncodeToString(payeeKey().PubKey().SerializeCompressed()) }

func same(*bolt11.Invoice) {}

// sendingAsset makes a request's intent an asset that is sent to an RGB invoice.
func sendingAsset(t *testing.T) func(*remotesigner.Request) {
	t.Helper()
	address, err := bitcoin.ParseAddress(payTo, bitcoin.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	contract, err := rgb.ParseAssetID(assetID)
	if err != nil {
		t.Fatal(err)
	}
	beneficiary, err := rgb.NewWitnessOutput(address.Script)
	if err != nil {
		t.Fatal(err)
	}
	units := uint64(7)
	text, err := rgb.FormatInvoice(&rgb.Invoice{Contract: &contract, Amount: &units, Network: rgb.Regtest, Beneficiary: beneficiary})
	if err != nil {
		t.Fatal(err)
	}
	return func(r *remotesigner.Request) {
		r.Intent = remotesigner.Intent{
			Kind: signer.OnchainSend, Record: "oc-1", Attempt: 1, Destination: text, Asset: &remotesigner.Asset{ID: assetID, Amount: 7},
			MaxFeeSats: 200_000, FeeRate: 2,
		}
	}
}

var roomy = Limits{MaxPaymentSats: 1_000_000, MaxFeeSats: 200_000, MaxDailySats: 10_000_000, MaxAssetAmount: 7}

func TestJudgement(t *testing.T) {
	const base = "vanilla-kc1-to-p2wpkh"
	limited := func(change func(*Limits)) Limits {
		limits := roomy
		change(&limits)
		return limits
	}
	intent := func(change func(*remotesigner.Intent)) func(*remotesigner.Request) {
		return func(r *remotesigner.Request) { change(&r.Intent) }
	}
	for name, tc := range map[string]struct {
		limits Limits
		psbt   string
		change []func(*remotesigner.Request)
		// code of the refusal; empty where it is signed.
		code string
	}{
		"a send":                               {limits: roomy},
		"a Lightning payment":                  {limits: roomy, change: []func(*remotesigner.Request){paying(t, same)}},
		"an asset, whatever the PSBT shows":    {limits: limited(func(l *Limits) { l.UnprovedAssets = true }), change: []func(*remotesigner.Request){sendingAsset(t)}},
		"an asset that the PSBT does not show": {limits: roomy, change: []func(*remotesigner.Request){sendingAsset(t)}, code: "AssetNotProven"},
		"the largest payment":                  {limits: limited(func(l *Limits) { l.MaxPaymentSats = 100_000 })},
		"a payment too large":                  {limits: limited(func(l *Limits) { l.MaxPaymentSats = 99_999 }), code: PaymentTooLarge},
		"more than the most of an asset": {
			limits: limited(func(l *Limits) { l.MaxAssetAmount, l.UnprovedAssets = 6, true }), change: []func(*remotesigner.Request){sendingAsset(t)}, code: PaymentTooLarge,
		},
		"the largest fee":      {limits: limited(func(l *Limits) { l.MaxFeeSats = 426 })},
		"a fee too large":      {limits: limited(func(l *Limits) { l.MaxFeeSats = 425 }), code: "OutflowTooHigh"},
		"the last of the day":  {limits: limited(func(l *Limits) { l.MaxDailySats = baseOutflow })},
		"too much for the day": {limits: limited(func(l *Limits) { l.MaxDailySats = baseOutflow - 1 }), code: DailyLimit},
		"a signer that signs nothing": {
			limits: Limits{}, code: PaymentTooLarge,
		},

		"an allowed address": {limits: limited(func(l *Limits) { l.Addresses = []string{strings.ToUpper(payTo)} })},
		"another address": {
			limits: limited(func(l *Limits) {
				l.Addresses = []string{"bcrt1peasutyryerxx0chunqagkymygcgzpj5sv52tp33gyt26f5xqjt4sfj4zk0"}
			}),
			code: DestinationNotAllowed,
		},
		"an address where a node is allowed": {limits: limited(func(l *Limits) { l.Nodes = []string{payee()} }), code: DestinationNotAllowed},
		"an allowed node": {
			limits: limited(func(l *Limits) { l.Nodes = []string{strings.ToUpper(payee())} }), change: []func(*remotesigner.Request){paying(t, same)},
		},
		"a node where an address is allowed": {
			limits: limited(func(l *Limits) { l.Addresses = []string{payTo} }), change: []func(*remotesigner.Request){paying(t, same)},
			code: DestinationNotAllowed,
		},
		"an allowed asset": {limits: limited(func(l *Limits) { l.Assets = []string{assetID} }), change: []func(*remotesigner.Request){sendingAsset(t)}, code: "AssetNotProven"},
		"an asset where an address is allowed": {
			limits: limited(func(l *Limits) { l.Addresses = []string{payTo} }), change: []func(*remotesigner.Request){sendingAsset(t)}, code: AssetNotAllowed,
		},
		"an allowed asset of a node that is not allowed": {
			limits: limited(func(l *Limits) { l.Assets = []string{assetID} }), code: DestinationNotAllowed,
			change: []func(*remotesigner.Request){
				paying(t, func(i *bolt11.Invoice) { i.Asset = &bolt11.Asset{ID: assetID, Amount: 7} }),
				intent(func(i *remotesigner.Intent) { i.Asset = &remotesigner.Asset{ID: assetID, Amount: 7} }),
			},
		},

		"a later version":     {limits: roomy, change: []func(*remotesigner.Request){func(r *remotesigner.Request) { r.Version = 2 }}, code: UnsupportedVersion},
		"another network":     {limits: roomy, change: []func(*remotesigner.Request){func(r *remotesigner.Request) { r.Network = "signet" }}, code: WrongNetwork},
		"another fingerprint": {limits: roomy, change: []func(*remotesigner.Request){func(r *remotesigner.Request) { r.Wallet.MasterFingerprint = "00000000" }}, code: WrongWallet},
		"another key":         {limits: roomy, change: []func(*remotesigner.Request){func(r *remotesigner.Request) { r.Wallet.XpubVanilla += "x" }}, code: WrongWallet},

		"another amount than the invoice's": {limits: roomy, change: []func(*remotesigner.Request){paying(t, same), intent(func(i *remotesigner.Intent) { i.AmountSats++ })}, code: InvalidIntent},
		"another hash than the invoice's":   {limits: roomy, change: []func(*remotesigner.Request){paying(t, same), intent(func(i *remotesigner.Intent) { i.PaymentHash = strings.Repeat("0", 64) })}, code: InvalidIntent},
		"another payee than the invoice's":  {limits: roomy, change: []func(*remotesigner.Request){paying(t, same), intent(func(i *remotesigner.Intent) { i.Destination = "02" + i.Destination[2:] + "0" })}, code: InvalidIntent},
		"an asset that the invoice has not": {limits: roomy, change: []func(*remotesigner.Request){paying(t, same), intent(func(i *remotesigner.Intent) { i.Asset = &remotesigner.Asset{ID: assetID, Amount: 7} })}, code: InvalidIntent},
		"an invoice of another network":     {limits: roomy, change: []func(*remotesigner.Request){paying(t, func(i *bolt11.Invoice) { i.Prefix = "tb" })}, code: InvalidIntent},
		"an expired invoice":                {limits: roomy, change: []func(*remotesigner.Request){paying(t, func(i *bolt11.Invoice) { i.Timestamp = noon.Add(-time.Hour) })}, code: InvalidIntent},
		"no invoice":                        {limits: roomy, change: []func(*remotesigner.Request){paying(t, same), intent(func(i *remotesigner.Intent) { i.PaymentRequest = "" })}, code: InvalidIntent},
		"an address of another network":     {limits: roomy, change: []func(*remotesigner.Request){intent(func(i *remotesigner.Intent) { i.Destination = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4" })}, code: InvalidIntent},
		"an address with an invoice":        {limits: roomy, change: []func(*remotesigner.Request){intent(func(i *remotesigner.Intent) { i.PaymentHash = "00" })}, code: InvalidIntent},
		"another amount than the RGB invoice": {
			limits: roomy, change: []func(*remotesigner.Request){sendingAsset(t), intent(func(i *remotesigner.Intent) { i.Asset.Amount++ })}, code: InvalidIntent,
		},
		"bitcoin with an RGB invoice": {limits: roomy, change: []func(*remotesigner.Request){sendingAsset(t), intent(func(i *remotesigner.Intent) { i.AmountSats = 1 })}, code: InvalidIntent},
		"an asset to an address":      {limits: roomy, change: []func(*remotesigner.Request){sendingAsset(t), intent(func(i *remotesigner.Intent) { i.Destination = payTo })}, code: InvalidIntent},
		"no asset":                    {limits: roomy, change: []func(*remotesigner.Request){sendingAsset(t), intent(func(i *remotesigner.Intent) { i.Asset.Amount = 0 })}, code: InvalidIntent},
		"another kind":                {limits: roomy, change: []func(*remotesigner.Request){intent(func(i *remotesigner.Intent) { i.Kind = "Settlement" })}, code: InvalidIntent},
		"no record":                   {limits: roomy, change: []func(*remotesigner.Request){intent(func(i *remotesigner.Intent) { i.Record = "" })}, code: InvalidIntent},
		"no attempt":                  {limits: roomy, change: []func(*remotesigner.Request){intent(func(i *remotesigner.Intent) { i.Attempt = 0 })}, code: InvalidIntent},
		"a negative amount":           {limits: roomy, change: []func(*remotesigner.Request){intent(func(i *remotesigner.Intent) { i.AmountSats = -1 })}, code: InvalidIntent},
		"a fee that overflows": {
			limits: limited(func(l *Limits) { l.MaxFeeSats = amount.MaxSat }), code: InvalidIntent,
			change: []func(*remotesigner.Request){intent(func(i *remotesigner.Intent) { i.MaxFeeSats = 1<<63 - 1 })},
		},
		"a fee rate beyond all":            {limits: roomy, change: []func(*remotesigner.Request){intent(func(i *remotesigner.Intent) { i.FeeRate = 1 << 62 })}, code: InvalidIntent},
		"less than leaves the wallet":      {limits: roomy, change: []func(*remotesigner.Request){intent(func(i *remotesigner.Intent) { i.AmountSats -= 1000 })}, code: "OutflowTooHigh"},
		"more than the declared fee":       {limits: roomy, change: []func(*remotesigner.Request){intent(func(i *remotesigner.Intent) { i.MaxFeeSats = 425 })}, code: "OutflowTooHigh"},
		"change that does not come back":   {limits: roomy, psbt: "fake-change", code: "FalseChange"},
		"another wallet's coin":            {limits: roomy, psbt: "foreign-fingerprint", code: "ForeignFingerprint"},
		"an output that may be changed":    {limits: roomy, psbt: "sighash-anyonecanpay", code: "UnusualSighash"},
		"a PSBT with something behind it":  {limits: roomy, psbt: "trailing-bytes", code: "TrailingBytes"},
		"a PSBT that costs far too much":   {limits: roomy, psbt: "absurd-fee", code: "FeeTooHigh"},
		"a PSBT with change beyond a scan": {limits: roomy, psbt: "change-at-absurd-index", code: "ChangeOutOfReach"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.psbt == "" {
				tc.psbt = base
			}
			s := newServer(t, tc.limits)
			signed, err := s.Sign(t.Context(), asks(t, tc.psbt, tc.change...))
			spent := s.journal.SpentSats(noon)
			if tc.code == "" {
				if err != nil || signed.PSBT != vectors(t)[tc.psbt].SignedPSBT || spent != baseOutflow {
					t.Errorf("%v, and %d sat are counted", err, spent)
				}
				return
			}
			refused := new(signer.RefusedError)
			if signed != nil || !errors.As(err, &refused) || refused.Code != tc.code || spent != 0 {
				t.Errorf("%v, want %s; %d sat are counted", err, tc.code, spent)
			}
		})
	}
}

// TestDailyLimit counts a transaction once, over restarts, for 24 hours.
func TestDailyLimit(t *testing.T) {
	limits := roomy
	limits.MaxDailySats = baseOutflow + 1_004_896 - 1
	s := newServer(t, limits)
	first := asks(t, "vanilla-kc1-to-p2wpkh")
	second := asks(t, "vanilla-two-recipients", func(r *remotesigner.Request) { r.Intent.AmountSats, r.Intent.MaxFeeSats = 1_000_000, 10_000 })
	sign := func(when string, request *remotesigner.Request, code string, spent amount.Sat) {
		t.Helper()
		signed, err := s.Sign(t.Context(), request)
		refused := new(signer.RefusedError)
		if (code == "") != (err == nil) || (signed != nil) != (err == nil) || code != "" && (!errors.As(err, &refused) || refused.Code != code) {
			t.Errorf("%s: %v, want %q", when, err, code)
		}
		if got := s.journal.SpentSats(s.clock.Now()); got != spent {
			t.Errorf("%s: %d sat are counted, want %d", when, got, spent)
		}
	}
	sign("the first", first, "", baseOutflow)
	sign("the first again", first, "", baseOutflow)
	sign("more than is left", second, DailyLimit, baseOutflow)
	s.start(limits)
	sign("more than is left, after a restart", second, DailyLimit, baseOutflow)
	sign("the first again, after a restart", first, "", baseOutflow)

	s.start(Limits{Addresses: []string{"bcrt1peasutyryerxx0chunqagkymygcgzpj5sv52tp33gyt26f5xqjt4sfj4zk0"}})
	sign("what was signed, whatever the limits are now", first, "", baseOutflow)
	sign("what was not", second, PaymentTooLarge, baseOutflow)

	s.start(limits)
	s.clock.SetTime(noon.Add(Window - 1))
	sign("a moment before the day is over", second, DailyLimit, baseOutflow)
	s.clock.SetTime(noon.Add(Window))
	sign("a day later", second, "", 1_004_896)
	sign("the first, a day later", first, DailyLimit, 1_004_896)
}

// TestAnExpiredInvoiceIsSignedAgain since its signature is out, and the one who lost it needs it.
func TestAnExpiredInvoiceIsSignedAgain(t *testing.T) {
	s := newServer(t, roomy)
	request := asks(t, "vanilla-kc1-to-p2wpkh", paying(t, same))
	if _, err := s.Sign(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	s.clock.SetTime(noon.Add(2 * time.Hour))
	if _, err := s.Sign(t.Context(), request); err != nil {
		t.Error(err)
	}
}

// TestOneTransactionWithOtherCoins asks for one transaction twice, its coin said to be worth one sat more the second time. One of the two
// signatures is void on chain, and nobody here knows which: both count.
func TestOneTransactionWithOtherCoins(t *testing.T) {
	limits := roomy
	limits.MaxDailySats = 2*baseOutflow + 1
	s := newServer(t, limits)
	for _, name := range []string{"vanilla-kc1-to-p2wpkh", "amount-lie", "vanilla-kc1-to-p2wpkh", "amount-lie"} {
		if _, err := s.Sign(t.Context(), asks(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.journal.SpentSats(noon); got != limits.MaxDailySats {
		t.Errorf("%d sat are counted, want %d", got, limits.MaxDailySats)
	}
	limits.MaxDailySats--
	s = newServer(t, limits)
	if _, err := s.Sign(t.Context(), asks(t, "vanilla-kc1-to-p2wpkh")); err != nil {
		t.Fatal(err)
	}
	refused := new(signer.RefusedError)
	if _, err := s.Sign(t.Context(), asks(t, "amount-lie")); !errors.As(err, &refused) || refused.Code != DailyLimit {
		t.Errorf("%v, want %s: a coin that is said to be worth less must not be a way around the limit", err, DailyLimit)
	}
}

// TestNoSignatureWithoutJournal lets no signature out that a restart would not count.
func TestNoSignatureWithoutJournal(t *testing.T) {
	s := newServer(t, roomy)
	health := func() int {
		answer := httptest.NewRecorder()
		s.HealthHandler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil))
		return answer.Code
	}
	if got := health(); got != http.StatusOK {
		t.Fatalf("health is %d", got)
	}
	closed(t, s.journal)
	signed, err := s.Sign(t.Context(), asks(t, "vanilla-kc1-to-p2wpkh"))
	if signed != nil || !errors.Is(err, ErrJournal) {
		t.Errorf("%v, want %v", err, ErrJournal)
	}
	body, err := json.Marshal(asks(t, "vanilla-kc1-to-p2wpkh"))
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, remotesigner.SignPath, strings.NewReader(string(body)))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, request)
	if answer.Code != http.StatusServiceUnavailable || strings.Contains(answer.Body.String(), "cHNid") {
		t.Errorf("status %d, want one that makes the operator ask again: %s", answer.Code, answer.Body)
	}
	if got := health(); got != http.StatusServiceUnavailable {
		t.Errorf("health is %d", got)
	}
}

func TestLimitsThatAreNone(t *testing.T) {
	for name, limits := range map[string]Limits{
		"a negative amount":             {MaxPaymentSats: -1},
		"more than there is":            {MaxDailySats: amount.MaxSat + 1},
		"a negative amount of an asset": {MaxAssetAmount: -1},
		"an address of another network": {Addresses: []string{"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"}},
		"a node that is no key":         {Nodes: []string{"02" + strings.Repeat("0", 64)}},
		"a node of another length":      {Nodes: []string{payee()[2:]}},
		"a node that is no hex":         {Nodes: []string{fmt.Sprintf("%066s", "x")}},
		"an asset that is none":         {Assets: []string{"rgb:1234"}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := limits.Check(bitcoin.Regtest); err == nil {
				t.Error("they are accepted")
			}
		})
	}
}
