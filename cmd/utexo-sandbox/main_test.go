package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serveSandbox runs the program on free ports and returns the URLs that it prints.
func serveSandbox(t *testing.T, lines int, args ...string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, args, in, io.Discard) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	urls := map[string]string{}
	scanner := bufio.NewScanner(out)
	for range lines {
		if !scanner.Scan() {
			t.Fatal("the program printed no URL")
		}
		name, url, _ := strings.Cut(scanner.Text(), ": ")
		urls[name] = url
	}
	return urls
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	return fetchWith(t, http.DefaultClient, url)
}

func fetchWith(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestRunServesBothFaces(t *testing.T) {
	urls := serveSandbox(t, 2, "--listen=127.0.0.1:0", "--admin-listen=localhost:0", "--profile=reference", "--speed=10")
	if status, body := fetch(t, urls["api"]+"/lightning/balance"); status != http.StatusUnprocessableEntity || !strings.Contains(body, "xpub-van") {
		t.Errorf("balance without headers: %d %s, want 422", status, body)
	}
	if status, body := fetch(t, urls["admin"]+"/admin/info"); status != http.StatusOK || !strings.Contains(body, `"profile":"reference"`) {
		t.Errorf("info: %d %s, want 200 of the reference profile", status, body)
	}
	if status, _ := fetch(t, urls["api"]+"/admin/info"); status != http.StatusNotFound {
		t.Errorf("admin on the API's address: %d, want 404", status)
	}
}

func TestRunRefusesFlags(t *testing.T) {
	tests := map[string][]string{
		"an unknown profile":         {"--profile=other"},
		"an unknown network":         {"--network=utexo"},
		"a certificate without key":  {"--tls-cert=cert.pem"},
		"an argument":                {"serve"},
		"no speed":                   {"--speed=0"},
		"a flag that does not exist": {"--verbose"},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
				t.Error("run accepted it")
			}
		})
	}
}

func TestRunServesTLS(t *testing.T) {
	// The certificate of httptest is good for 127.0.0.1; only its two files are wanted.
	model := httptest.NewTLSServer(http.NotFoundHandler())
	defer model.Close()
	certificate := model.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: certificate.Certificate[0]},
		"tls.key": {Type: "PRIVATE KEY", Bytes: key},
	}
	dir := t.TempDir()
	for name, block := range files {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	urls := serveSandbox(t, 1, "--listen=127.0.0.1:0", "--admin-listen=",
		"--tls-cert="+filepath.Join(dir, "tls.crt"), "--tls-key="+filepath.Join(dir, "tls.key"))
	if status, _ := fetchWith(t, model.Client(), urls["api"]+"/lightning/balance"); status != http.StatusUnprocessableEntity || !strings.HasPrefix(urls["api"], "https://") {
		t.Errorf("%s answers %d, want 422 over HTTPS", urls["api"], status)
	}
}

func TestRunServesOnePort(t *testing.T) {
	// A port that was free a moment ago: one address for both faces has to be named.
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	urls := serveSandbox(t, 1, "--listen="+address, "--admin-listen="+address)
	if status, _ := fetch(t, urls["api"]+"/admin/info"); status != http.StatusOK {
		t.Errorf("admin on the API's address: %d, want 200", status)
	}
}
