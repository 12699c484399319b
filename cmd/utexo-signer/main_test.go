package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/remotesigner"
	"github.com/utexo/utexo-operator/internal/signer"
	"github.com/utexo/utexo-operator/internal/signerserver"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// The PSBTs of these vectors are of one wallet; what leaves it by the first is 100,426 sat.
const (
	small, large = "vanilla-kc1-to-p2wpkh", "vanilla-two-recipients"
	smallOutflow = 100_426
)

type vector struct {
	Name, Mnemonic string
	UnsignedPSBT   string `json:"unsigned_psbt"`
	SignedPSBT     string `json:"signed_psbt"`
}

// program is the built signer and all the files that it is given.
type program struct {
	t                *testing.T
	directory, path  string
	servers, clients *testkit.Authority
	public           keys.Public
	vectors          map[string]vector
	process          *testkit.Process
	starts           int
}

func build(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, directory: t.TempDir(), vectors: map[string]vector{}}
	p.path = filepath.Join(p.directory, "utexo-signer")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", p.path, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v: %s", err, out)
	}
	var file struct{ Cases []vector }
	text, err := os.ReadFile("../../internal/psbtcheck/testdata/psbt-cases.json")
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Cases {
		p.vectors[v.Name] = v
	}
	set, err := keys.FromMnemonic(p.vectors[small].Mnemonic, "", bitcoin.Regtest)
	if err != nil {
		t.Fatal(err)
	}
	p.public = set.Public()
	for name, into := range map[string]**testkit.Authority{"servers": &p.servers, "clients": &p.clients} {
		if *into, err = testkit.NewAuthority(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.servers.WriteServerFiles(p.directory, p.clients); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.directory, "mnemonic"), []byte(p.vectors[small].Mnemonic+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *program) arguments(more ...string) []string {
	return append([]string{
		"--listen=127.0.0.1:0", "--health-listen=127.0.0.1:0", "--network=regtest", "--keys-dir=" + p.directory,
		"--journal=" + filepath.Join(p.directory, "journal"), "--tls-cert=" + filepath.Join(p.directory, "tls.crt"),
		"--tls-key=" + filepath.Join(p.directory, "tls.key"), "--client-ca=" + filepath.Join(p.directory, "ca.crt"),
		"--max-payment-sats=2000000", "--max-fee-sats=10000", "--max-daily-sats=1000000",
	}, more...)
}

// start starts the program and returns a client of it and the URL of its health.
func (p *program) start(more ...string) (remote *remotesigner.Client, health string) {
	p.t.Helper()
	p.starts++
	log := filepath.Join(p.directory, fmt.Sprintf("log-%d", p.starts))
	var err error
	if p.process, err = testkit.StartProcess(log, p.path, p.arguments(more...)...); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(p.process.Kill)
	addresses := map[string]string{}
	for deadline := time.Now().Add(20 * time.Second); len(addresses) < 2; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(log)
		if err != nil {
			p.t.Fatal(err)
		}
		select {
		case <-p.process.Done:
			p.t.Fatalf("it ended: %s", text)
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("it does not listen: %s", text)
		}
		for line := range bytes.Lines(text) {
			var entry struct{ Msg, For, Address string }
			if json.Unmarshal(line, &entry) == nil && entry.Msg == "listening" {
				addresses[entry.For] = entry.Address
			}
		}
	}
	certificate, err := p.clients.Client("operator")
	if err != nil {
		p.t.Fatal(err)
	}
	remote, err = remotesigner.New(remotesigner.Config{
		URL: "https://" + addresses["requests"], Public: p.public, ClientCertificate: certificate, CABundle: p.servers.PEM,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(remote.CloseIdleConnections)
	return remote, "http://" + addresses["health"] + "/healthz"
}

func (p *program) request(name string, sats amount.Sat) signer.Request {
	intent := signer.Intent{
		Kind: signer.OnchainSend, Record: "oc-" + name, Attempt: 1, Destination: "bcrt1qvp3xf2tzmqpcxcflzc4nv06e6fmfshfgp9e6dx",
		AmountSats: sats, MaxFeeSats: 10_000, FeeRate: 2,
	}
	return signer.Request{UnsignedPSBT: p.vectors[name].UnsignedPSBT, Policy: intent.Policy(), Intent: intent}
}

func (p *program) signs(remote *remotesigner.Client, name string, sats amount.Sat) {
	p.t.Helper()
	signed, err := remote.Sign(p.t.Context(), p.request(name, sats))
	if err != nil || signed.PSBT != p.vectors[name].SignedPSBT {
		p.t.Errorf("%s: %v, or other bytes than the official signer's", name, err)
	}
}

func (p *program) refuses(remote *remotesigner.Client, name string, sats amount.Sat, code string) {
	p.t.Helper()
	refused := new(signer.RefusedError)
	if _, err := remote.Sign(p.t.Context(), p.request(name, sats)); !errors.As(err, &refused) || refused.Code != code {
		p.t.Errorf("%s: %v, want %s", name, err, code)
	}
}

// TestKilledSignerKeepsItsCount ends the program by SIGKILL right after a signature, and starts it anew.
func TestKilledSignerKeepsItsCount(t *testing.T) {
	p := build(t)
	remote, health := p.start()
	if err := remote.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get(health)
	if err != nil || answer.Body.Close() != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("health: %v, %v", answer, err)
	}
	p.signs(remote, small, 100_000)
	p.refuses(remote, large, 1_000_000, signerserver.DailyLimit) // 1,004,896 sat
	p.process.Kill()

	limit := fmt.Sprintf("--max-daily-sats=%d", smallOutflow+1_004_896-1)
	remote, _ = p.start(limit)
	p.refuses(remote, large, 1_000_000, signerserver.DailyLimit) // for one sat of what was signed before
	p.signs(remote, small, 100_000)                              // again, and counted once
	p.process.Kill()

	// A line that a crash tore: the signature had not left.
	file, err := os.OpenFile(filepath.Join(p.directory, "journal"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteString(`{"at":"2026-01-01T00:00:00Z","txid":"ab`)
	}
	if err != nil || file.Close() != nil {
		t.Fatal(err)
	}
	remote, _ = p.start(limit)
	p.refuses(remote, large, 1_000_000, signerserver.DailyLimit)
	p.process.Kill()

	remote, _ = p.start(fmt.Sprintf("--max-daily-sats=%d", smallOutflow+1_004_896))
	p.signs(remote, large, 1_000_000)
	p.process.Signal(syscall.SIGTERM)
	if code := p.process.ExitCode(); code != 0 {
		t.Errorf("asked to end it ended with %d", code)
	}
	for i := range p.starts {
		log, err := os.ReadFile(filepath.Join(p.directory, fmt.Sprintf("log-%d", i+1)))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{strings.Join(strings.Fields(p.vectors[small].Mnemonic)[:2], " "), "tprv", "cHNid"} {
			if strings.Contains(string(log), secret) {
				t.Errorf("log %d holds %q", i+1, secret)
			}
		}
	}
}

// TestLimitsOfAssets signs no payment of an asset, and nothing in doubt, unless a flag says so.
func TestLimitsOfAssets(t *testing.T) {
	required := []string{
		"--network=regtest", "--keys-dir=/keys", "--journal=/journal", "--tls-cert=/tls.crt", "--tls-key=/tls.key", "--client-ca=/ca.crt",
		"--max-payment-sats=1", "--max-fee-sats=2", "--max-daily-sats=3",
	}
	limits := signerserver.Limits{MaxPaymentSats: 1, MaxFeeSats: 2, MaxDailySats: 3}
	for name, tc := range map[string]struct {
		more []string
		want func(*signerserver.Limits)
	}{
		"none":         {nil, func(*signerserver.Limits) {}},
		"seven units":  {[]string{"--max-asset-amount=7"}, func(l *signerserver.Limits) { l.MaxAssetAmount = 7 }},
		"all in doubt": {[]string{"--allow-unproved-assets"}, func(l *signerserver.Limits) { l.UnprovedAssets = true }},
	} {
		t.Run(name, func(t *testing.T) {
			want := limits
			tc.want(&want)
			got, err := parse(append(slices.Clone(required), tc.more...), io.Discard)
			if diff := cmp.Diff(want, got.limits); err != nil || diff != "" {
				t.Errorf("%v, limits (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestBadStarts(t *testing.T) {
	p := build(t)
	without := func(flag string) []string {
		var rest []string
		for _, argument := range p.arguments() {
			if !strings.HasPrefix(argument, flag+"=") {
				rest = append(rest, argument)
			}
		}
		return rest
	}
	broken := filepath.Join(p.directory, "broken")
	if err := os.WriteFile(broken, []byte("no journal\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	words := filepath.Join(p.directory, "words")
	if err := os.Mkdir(words, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(words, "mnemonic"), []byte("abandon abandon zebrafish"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		arguments []string
		want      string
	}{
		"no limit of a payment":  {without("--max-payment-sats"), "--max-payment-sats is required"},
		"no limit of fees":       {without("--max-fee-sats"), "--max-fee-sats is required"},
		"no limit of a day":      {without("--max-daily-sats"), "--max-daily-sats is required"},
		"a negative limit":       {p.arguments("--max-daily-sats=-1"), "-1 sat"},
		"fewer assets than none": {p.arguments("--max-asset-amount=-1"), "-1 units"},
		"no network":             {without("--network"), "--network is required"},
		"an unknown network":     {p.arguments("--network=testnet4"), "--network is mainnet"},
		"no journal":             {without("--journal"), "--journal is required"},
		"no authority":           {without("--client-ca"), "--client-ca is required"},
		"an empty authority":     {p.arguments("--client-ca="), "--client-ca is required"},
		"an authority of none":   {p.arguments("--client-ca=" + broken), "no certificate in PEM"},
		"a certificate of none":  {p.arguments("--tls-cert=" + broken), "certificate and key cannot be read"},
		"a directory of nothing": {p.arguments("--keys-dir=" + filepath.Join(p.directory, "none")), "neither mnemonic"},
		"a mistyped mnemonic":    {p.arguments("--keys-dir=" + words), "cannot be used: mnemonic"},
		"another file":           {p.arguments("--journal=" + broken), "no journal of this program"},
		"a foreign address":      {p.arguments("--allow-address=bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"), "allowed address 1"},
		"an argument":            {p.arguments("mainnet"), "unexpected argument"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			err := run(t.Context(), tc.arguments, &stdout, &stderr)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "zebrafish") {
				t.Errorf("the error quotes the mnemonic: %v", err)
			}
		})
	}
}
