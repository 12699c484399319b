package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
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
	response, err := http.Get(url)
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
