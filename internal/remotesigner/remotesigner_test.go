package remotesigner_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/psbt/v2"
	"k8s.io/utils/clock"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/remotesigner"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/signerserver"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// vector is a PSBT with what the official signer makes of it.
type vector struct {
	Name         string          `json:"name"`
	Network      bitcoin.Network `json:"network"`
	Mnemonic     string          `json:"mnemonic"`
	UnsignedPSBT string          `json:"unsigned_psbt"`
	SignedPSBT   string          `json:"signed_psbt"`
	Expect       string          `json:"expect"`
}

func vectors(t *testing.T) map[string]vector {
	t.Helper()
	var file struct{ Cases []vector }
	var create vector
	for name, into := range map[string]any{"psbt-cases.json": &file, "psbt-create-utxos.json": &create} {
		text, err := os.ReadFile("../psbtcheck/testdata/" + name)
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	create.Name, create.Expect = "create-utxos", "sign"
	byName := map[string]vector{}
	for _, v := range append(file.Cases, create) {
		byName[v.Name] = v
	}
	return byName
}

func (v vector) keys(t *testing.T) *keys.Set {
	t.Helper()
	set, err := keys.FromMnemonic(v.Mnemonic, "", v.Network)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// request asks for v's signature, for an invoice that is large enough for every vector.
func (v vector) request(t *testing.T) signer.Request {
	t.Helper()
	millisats := amount.Sat(100_000_000).MilliSat()
	invoice := &bolt11.Invoice{
		Prefix: v.Network.InvoicePrefix(), Amount: &millisats, PaymentHash: sha256.Sum256([]byte("hash")), PaymentSecret: sha256.Sum256([]byte("secret")),
		Timestamp: time.Now().Truncate(time.Second), Expiry: time.Hour, Description: "rent", MinFinalCLTVExpiry: 144, Features: bolt11.Features{8, 14},
	}
	seed := sha256.Sum256([]byte("a payee"))
	key, _ := btcec.PrivKeyFromBytes(seed[:])
	text, err := bolt11.Encode(invoice, key)
	if err != nil {
		t.Fatal(err)
	}
	intent := signer.Intent{
		Kind: signer.LightningPayment, Record: "ln-1", Attempt: 1, PaymentRequest: text, PaymentHash: invoice.PaymentHashHex(),
		Destination: fmt.Sprintf("%x", key.PubKey().SerializeCompressed()), AmountSats: 100_000_000, MaxFeeSats: 20_000,
	}
	return signer.Request{UnsignedPSBT: v.UnsignedPSBT, Policy: intent.Policy(), Intent: intent}
}

// generous are limits that no vector reaches. Some spend colored coins and show nothing of assets.
var generous = signerserver.Limits{MaxPaymentSats: amount.MaxSat, MaxFeeSats: 1_000_000, MaxDailySats: amount.MaxSat, UnprovedAssets: true}

func authority(t *testing.T, name string) *testkit.Authority {
	t.Helper()
	made, err := testkit.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// listen serves handler at 127.0.0.1 as the signer's program does, to clients of the authority, and returns its URL.
func listen(t *testing.T, servers, clients *testkit.Authority, handler http.Handler, logs io.Writer) string {
	t.Helper()
	directory := t.TempDir()
	if err := servers.WriteServerFiles(directory, clients); err != nil {
		t.Fatal(err)
	}
	config, err := signerserver.TLSFiles{
		Certificate: filepath.Join(directory, "tls.crt"), Key: filepath.Join(directory, "tls.key"), ClientCA: filepath.Join(directory, "ca.crt"),
	}.Config()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := signerserver.HTTPServer(handler, slog.New(slog.NewJSONHandler(logs, nil)))
	go server.Serve(tls.NewListener(listener, config)) //nolint:errcheck // it says that it was closed
	t.Cleanup(func() { _ = server.Close() })
	return "https://" + listener.Addr().String()
}

// rig is a signer and what its clients need.
type rig struct {
	t                *testing.T
	servers, clients *testkit.Authority
	public           keys.Public
	url              string
	logs             bytes.Buffer
}

func newRig(t *testing.T, set *keys.Set, limits signerserver.Limits) *rig {
	t.Helper()
	r := &rig{t: t, servers: authority(t, "servers"), clients: authority(t, "clients"), public: set.Public()}
	journal, err := signerserver.OpenJournal(filepath.Join(t.TempDir(), "journal"), r.public, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = journal.Close() })
	server, err := signerserver.New(signerserver.Config{
		Keys: set, Limits: limits, Journal: journal, Clock: clock.RealClock{}, Log: slog.New(slog.NewJSONHandler(&r.logs, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.url = listen(t, r.servers, r.clients, server.Handler(), io.Discard)
	return r
}

func (r *rig) config() remotesigner.Config {
	r.t.Helper()
	certificate, err := r.clients.Client("operator")
	if err != nil {
		r.t.Fatal(err)
	}
	return remotesigner.Config{URL: r.url, Public: r.public, ClientCertificate: certificate, CABundle: r.servers.PEM, Timeout: 5 * time.Second}
}

func client(t *testing.T, config remotesigner.Config) *remotesigner.Client {
	t.Helper()
	made, err := remotesigner.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.CloseIdleConnections)
	return made
}

// TestVectors has the remote signer sign what the official one signed: byte for byte the same, and the same as the local signer.
func TestVectors(t *testing.T) {
	signed := 0
	for name, v := range vectors(t) {
		if v.Expect != "sign" {
			continue
		}
		signed++
		t.Run(name, func(t *testing.T) {
			set := v.keys(t)
			r := newRig(t, set, generous)
			remote := client(t, r.config())
			if err := remote.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			request := v.request(t)
			got, err := remote.Sign(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			want, err := signer.NewLocal(set).Sign(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			if got.PSBT != want.PSBT || got.PSBT != v.SignedPSBT || got.Txid != want.Txid || got.Inspection.Digest != want.Inspection.Digest {
				t.Errorf("signed PSBT\n%s\nlocally\n%s\nthe vector's\n%s", got.PSBT, want.PSBT, v.SignedPSBT)
			}
			for _, secret := range append(strings.Fields(v.Mnemonic), v.UnsignedPSBT, v.SignedPSBT, request.Intent.PaymentRequest, r.public.XpubVanilla) {
				if strings.Contains(r.logs.String(), `"`+secret) || len(secret) > 20 && strings.Contains(r.logs.String(), secret) {
					t.Errorf("the log holds %.20s…: %s", secret, r.logs.String())
				}
			}
			if !strings.Contains(r.logs.String(), want.Txid) {
				t.Errorf("the log does not tell of the signature: %s", r.logs.String())
			}
		})
	}
	if signed < 3 {
		t.Errorf("%d vectors were signed", signed)
	}
}

// TestNothingUnsafeIsSent refuses like a local signer what the service must not ask for, and does not even show it to the signer.
func TestNothingUnsafeIsSent(t *testing.T) {
	all := vectors(t)
	v := all["fake-change"]
	asked := false
	r := &rig{t: t, servers: authority(t, "servers"), clients: authority(t, "clients"), public: v.keys(t).Public()}
	r.url = listen(t, r.servers, r.clients, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }), io.Discard)
	signed, err := client(t, r.config()).Sign(t.Context(), v.request(t))
	if refusal := new(psbtcheck.Refusal); signed != nil || !errors.As(err, &refusal) || refusal.Code != psbtcheck.FalseChange || asked {
		t.Errorf("%v, the signer was asked: %t", err, asked)
	}
}

// TestRefusal passes on what the signer's limits say.
func TestRefusal(t *testing.T) {
	v := vectors(t)["vanilla-kc1-to-p2wpkh"]
	limits := generous
	limits.MaxPaymentSats = 99_999_999
	signed, err := client(t, newRig(t, v.keys(t), limits).config()).Sign(t.Context(), v.request(t))
	refused := new(signer.RefusedError)
	if signed != nil || !errors.As(err, &refused) || refused.Code != signerserver.PaymentTooLarge || !strings.Contains(refused.Message, "99999999") {
		t.Errorf("%v, want a refusal", err)
	}
}

// TestOtherSigner has a signer of other keys.
func TestOtherSigner(t *testing.T) {
	v := vectors(t)["vanilla-kc1-to-p2wpkh"]
	other, err := keys.FromMnemonic("abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about", "", v.Network)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, other, generous)
	config := r.config()
	config.Public = v.keys(t).Public()
	remote := client(t, config)
	mismatch := new(remotesigner.MismatchError)
	if err := remote.Check(t.Context()); !errors.As(err, &mismatch) || mismatch.What != "masterFingerprint" {
		t.Errorf("%v, want a mismatch", err)
	}
	refused := new(signer.RefusedError)
	if _, err := remote.Sign(t.Context(), v.request(t)); !errors.As(err, &refused) || refused.Code != signerserver.WrongWallet {
		t.Errorf("%v, want %s", err, signerserver.WrongWallet)
	}
}

// TestMutualTLS tries what is not mutual TLS between the two that know each other.
func TestMutualTLS(t *testing.T) {
	v := vectors(t)["vanilla-kc1-to-p2wpkh"]
	r := newRig(t, v.keys(t), generous)
	stranger := authority(t, "clients") // of the same name
	for name, tc := range map[string]struct {
		edit func(*remotesigner.Config) error
		want string
	}{
		"a client of another authority": {func(c *remotesigner.Config) (err error) {
			c.ClientCertificate, err = stranger.Client("operator")
			return err
		}, "client certificate"},
		"a server's certificate for a client": {func(c *remotesigner.Config) error {
			certPEM, keyPEM, err := r.clients.Issue("operator", true)
			if err == nil {
				c.ClientCertificate, err = tls.X509KeyPair(certPEM, keyPEM)
			}
			return err
		}, "client certificate"},
		"a server of another authority": {func(c *remotesigner.Config) error {
			c.CABundle = stranger.PEM
			return nil
		}, "does not vouch"},
		"a server of another name": {func(c *remotesigner.Config) error {
			c.URL = strings.Replace(c.URL, "127.0.0.1", "localhost", 1)
			return nil
		}, "does not vouch"},
		"no server": {func(c *remotesigner.Config) error {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			c.URL = "https://" + listener.Addr().String()
			return listener.Close()
		}, "does not answer"},
		"a server that says nothing": {func(c *remotesigner.Config) error {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				t.Cleanup(func() { _ = listener.Close() })
				c.URL, c.Timeout = "https://"+listener.Addr().String(), 100*time.Millisecond
			}
			return err
		}, "does not answer"},
		"a server that resets the connection": {func(c *remotesigner.Config) error {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = listener.Close() })
			c.URL = "https://" + listener.Addr().String()
			go resetAll(listener)
			return nil
		}, "client certificate"},
		"an old TLS": {func(c *remotesigner.Config) error {
			old := httptest.NewUnstartedServer(http.NotFoundHandler())
			certPEM, keyPEM, err := r.servers.Issue("server", true)
			if err != nil {
				return err
			}
			pair, err := tls.X509KeyPair(certPEM, keyPEM)
			old.TLS = &tls.Config{MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
			old.Config.ErrorLog = slog.NewLogLogger(slog.NewJSONHandler(io.Discard, nil), slog.LevelInfo)
			old.StartTLS()
			t.Cleanup(old.Close)
			c.URL = old.URL
			return err
		}, "its TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			config := r.config()
			if err := tc.edit(&config); err != nil {
				t.Fatal(err)
			}
			remote := client(t, config)
			for what, err := range map[string]error{"Check": remote.Check(t.Context()), "Sign": signing(t, remote, v)} {
				unavailable := new(signer.UnavailableError)
				if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s: %v, want %q", what, err, tc.want)
				}
			}
		})
	}
	if strings.Contains(r.logs.String(), "signed") {
		t.Errorf("somebody got a signature: %s", r.logs.String())
	}
}

// resetAll ends each connection with a reset once its client has spoken: an alert that was on its way is lost so, too.
func resetAll(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = connection.Read(make([]byte, 1))
		_ = connection.(*net.TCPConn).SetLinger(0)
		_ = connection.Close()
	}
}

func signing(t *testing.T, remote *remotesigner.Client, v vector) error {
	t.Helper()
	signed, err := remote.Sign(t.Context(), v.request(t))
	if (signed != nil) != (err == nil) {
		t.Errorf("answer %v with error %v", signed, err)
	}
	return err
}

// TestHostileSigner answers what no signer would, and is believed nothing.
func TestHostileSigner(t *testing.T) {
	all := vectors(t)
	v := all["vanilla-kc1-to-p2wpkh"]
	good := v.SignedPSBT
	psbtOf := func(text string, edit func(*psbt.Packet)) string {
		packet, err := psbt.NewFromRawBytes(strings.NewReader(text), true)
		if err != nil {
			t.Fatal(err)
		}
		edit(packet)
		edited, err := packet.B64Encode()
		if err != nil {
			t.Fatal(err)
		}
		return edited
	}
	answer := func(signed string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(remotesigner.Answer{Version: 1, SignedPSBT: signed})
		}
	}
	status := func(code int, body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", "https://127.0.0.1:1/v1/sign")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, tc := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		want   string
		// refused tells that it is the signer's decision.
		refused bool
	}{
		"the honest answer, to see that the others are at fault": {answer(good), "", false},

		"the unsigned PSBT":     {answer(v.UnsignedPSBT), "not signed", false},
		"another signed PSBT":   {answer(all["vanilla-two-recipients"].SignedPSBT), "another transaction", false},
		"no PSBT":               {answer(""), "cannot be read", false},
		"bytes after the PSBT":  {answer(good + "AAAA"), "cannot be read", false},
		"a zeroed signature":    {answer(psbtOf(good, func(p *psbt.Packet) { clear(p.Inputs[0].FinalScriptWitness[2:]) })), "invalid signature", false},
		"a changed signature":   {answer(psbtOf(good, func(p *psbt.Packet) { p.Inputs[0].FinalScriptWitness[40] ^= 1 })), "invalid signature", false},
		"a changed output":      {answer(psbtOf(good, func(p *psbt.Packet) { p.UnsignedTx.TxOut[0].Value++ })), "another transaction", false},
		"another worth of coin": {answer(psbtOf(good, func(p *psbt.Packet) { p.Inputs[0].WitnessUtxo.Value++ })), "another transaction", false},
		"a field added to an input": {answer(psbtOf(good, func(p *psbt.Packet) {
			p.Inputs[0].Unknowns = append(p.Inputs[0].Unknowns, &psbt.Unknown{Key: []byte{0xf0, 9}, Value: []byte("note")})
		})), "more of the PSBT", false},
		"a field added to an output": {answer(psbtOf(good, func(p *psbt.Packet) {
			p.Outputs[0].Unknowns = append(p.Outputs[0].Unknowns, &psbt.Unknown{Key: []byte{0xf0, 9}, Value: []byte("note")})
		})), "more of the PSBT", false},
		"a field added to all": {answer(psbtOf(good, func(p *psbt.Packet) {
			p.Unknowns = append(p.Unknowns, &psbt.Unknown{Key: []byte{0xf0, 9}, Value: []byte("note")})
		})), "more of the PSBT", false},

		"a later version": {status(200, `{"version":2,"signedPSBT":"`+good+`"}`), "version", false},
		"no JSON":         {status(200, "cHNidP8B"), "not of the protocol", false},
		"two answers":     {status(200, `{"version":1,"signedPSBT":"`+good+`"}{}`), "not of the protocol", false},
		"another type": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, `{"version":1,"signedPSBT":"`+good+`"}`)
		}, "not of the protocol", false},
		"too much":           {status(200, `{"version":1,"signedPSBT":"`+good+`"}`+strings.Repeat(" ", remotesigner.MaxAnswerBytes)), "too long", false},
		"too much, refusing": {status(422, strings.Repeat("x", remotesigner.MaxAnswerBytes+1)), "too long", false},
		"too long a header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Much", strings.Repeat("x", 1<<20))
		}, "does not answer", false},
		"a redirect":           {status(307, ""), "redirect", false},
		"another redirect":     {status(308, ""), "redirect", false},
		"a switch of protocol": {status(303, ""), "redirect", false},
		"a failure":            {status(500, good), "status 500", false},
		"another success":      {status(202, good), "status 202", false},
		"a refusal in silence": {status(422, `{}`), "without a code", false},
		"an aborted answer":    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "breaks the connection off", false},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"version":1`)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "does not end", false},
		"a refusal with escapes": {
			status(422, `{"code":"No\u001b[31m","message":"one\r\ntwo\u0000 \u202e`+strings.Repeat("long", 500)+`"}`), "onetwo ?long", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := &rig{t: t, servers: authority(t, "servers"), clients: authority(t, "clients"), public: v.keys(t).Public()}
			r.url = listen(t, r.servers, r.clients, http.HandlerFunc(tc.answer), io.Discard)
			err := signing(t, client(t, r.config()), v)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			unavailable, refused := new(signer.UnavailableError), new(signer.RefusedError)
			if errors.As(err, &refused) != tc.refused || errors.As(err, &unavailable) == tc.refused || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if refusal := new(psbtcheck.Refusal); errors.As(err, &refusal) {
				t.Errorf("%v would be taken for the service's fault", err)
			}
			if len(err.Error()) > 400 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) || strings.Contains(err.Error(), good) {
				t.Errorf("the message is long, has control characters or quotes the PSBT: %q", err)
			}
		})
	}
}

// TestServerReadsStrictly sends what is no request.
func TestServerReadsStrictly(t *testing.T) {
	v := vectors(t)["vanilla-kc1-to-p2wpkh"]
	r := newRig(t, v.keys(t), generous)
	config := r.config()
	caller := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{config.ClientCertificate}, RootCAs: pool(t, config.CABundle),
	}}}
	request := v.request(t)
	good, err := json.Marshal(remotesigner.Request{
		Version: 1, Network: v.Network, UnsignedPSBT: v.UnsignedPSBT, Intent: remotesigner.NewIntent(request.Intent),
		Wallet: remotesigner.Wallet{MasterFingerprint: r.public.MasterFingerprint, XpubVanilla: r.public.XpubVanilla},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		method, path, kind, body string
		want                     int
	}{
		"the request, to see that the others are at fault": {"POST", "/v1/sign", "application/json", string(good), 200},

		"a field that nobody knows": {"POST", "/v1/sign", "application/json", strings.Replace(string(good), `{"version":1`, `{"version":1,"force":true`, 1), 400},
		"a later version":           {"POST", "/v1/sign", "application/json", strings.Replace(string(good), `"version":1`, `"version":2`, 1), 422},
		"two requests":              {"POST", "/v1/sign", "application/json", string(good) + string(good), 400},
		"no JSON":                   {"POST", "/v1/sign", "application/json", v.UnsignedPSBT, 400},
		"nothing":                   {"POST", "/v1/sign", "application/json", "", 400},
		"a form":                    {"POST", "/v1/sign", "application/x-www-form-urlencoded", string(good), 415},
		"too much":                  {"POST", "/v1/sign", "application/json", strings.Repeat(" ", remotesigner.MaxRequestBytes) + string(good), 413},
		"another method":            {"GET", "/v1/sign", "", "", 405},
		"another path":              {"POST", "/v1/keys", "application/json", string(good), 405},
		"no path":                   {"GET", "/", "", "", 404},
	} {
		t.Run(name, func(t *testing.T) {
			sent, err := http.NewRequestWithContext(t.Context(), tc.method, r.url+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			sent.Header.Set("Content-Type", tc.kind)
			answer, err := caller.Do(sent)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(answer.Body)
			if err != nil || answer.Body.Close() != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != tc.want || tc.want != 200 && bytes.Contains(text, []byte("cHNid")) {
				t.Errorf("status %d, want %d; body %.200s", answer.StatusCode, tc.want, text)
			}
		})
	}
}

func pool(t *testing.T, bundle []byte) *x509.CertPool {
	t.Helper()
	made := x509.NewCertPool()
	if !made.AppendCertsFromPEM(bundle) {
		t.Fatal("no certificate")
	}
	return made
}

func TestConfig(t *testing.T) {
	certificate, err := authority(t, "clients").Client("operator")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		edit func(*remotesigner.Config)
		want string
	}{
		"plain http":          {func(c *remotesigner.Config) { c.URL = "http://signer.test" }, "url has to begin with https://"},
		"no host":             {func(c *remotesigner.Config) { c.URL = "https:///" }, "url is not a URL"},
		"a password":          {func(c *remotesigner.Config) { c.URL = "https://user:secret@signer.test" }, "url holds a user"},
		"a query":             {func(c *remotesigner.Config) { c.URL = "https://signer.test?token=secret" }, "url holds a user"},
		"no certificate":      {func(c *remotesigner.Config) { c.ClientCertificate = tls.Certificate{} }, "clientCertSecretRef"},
		"a bundle of nothing": {func(c *remotesigner.Config) { c.CABundle = []byte("secret") }, "caBundleRef"},
	} {
		t.Run(name, func(t *testing.T) {
			config := remotesigner.Config{URL: "https://signer.test", ClientCertificate: certificate}
			if _, err := remotesigner.New(config); err != nil {
				t.Fatal(err)
			}
			tc.edit(&config)
			_, err := remotesigner.New(config)
			if refused := new(remotesigner.ConfigError); !errors.As(err, &refused) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}
