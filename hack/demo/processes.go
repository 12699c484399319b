package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// stopPatience is how long a program may take to end when it is asked to.
const stopPatience = 20 * time.Second

// start runs a program of bin/ with its output in a log file.
func (d *demo) start(name string, arguments ...string) (*testkit.Process, error) {
	return testkit.StartProcess(filepath.Join(d.dir, name+".log"), filepath.Join(d.root, "bin", name), arguments...)
}

// sandboxProcess is a sandbox and where it listens.
type sandboxProcess struct {
	*testkit.Process
	url string
}

func (d *demo) startSandbox(ctx context.Context) (*sandboxProcess, error) {
	arguments := []string{ // one port for both APIs
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--profile", d.profile, "--autopay-after", "6s", "--payment-delay", "2s",
		"--block-interval", "2s",
	}
	if d.profile == "reference" {
		arguments = append(arguments, "--speed", "20") // which polls every 40 s
	}
	started, err := d.start("utexo-sandbox", arguments...)
	if err != nil {
		return nil, err
	}
	s := &sandboxProcess{Process: started}
	for s.url == "" {
		select {
		case <-ctx.Done():
			s.Stop(stopPatience)
			return nil, ctx.Err()
		case <-s.Done:
			return nil, fmt.Errorf("the sandbox ended; its log is %s", s.Log)
		case <-time.After(50 * time.Millisecond):
		}
		printed, err := os.ReadFile(s.Log)
		if err != nil {
			s.Stop(stopPatience)
			return nil, err
		}
		for line := range bytes.Lines(printed) {
			if url, found := bytes.CutPrefix(line, []byte("api: ")); found {
				s.url = string(bytes.TrimSpace(url))
			}
		}
	}
	d.say("The sandbox, a UTEXO API with the %s profile, is at %s.", d.profile, s.url)
	return s, nil
}

func (d *demo) startManager(ctx context.Context, cluster *cluster) (*testkit.Process, error) {
	manager, err := d.start("manager", "--kubeconfig", cluster.operatorKubeconfig, "--metrics-bind-address", "0",
		"--health-probe-bind-address", "0", "--wallet-sync-interval", "5s", "--zap-time-encoding", "rfc3339nano")
	if err != nil {
		return nil, err
	}
	d.say("The manager is running as %s/utexo-operator, with the roles of config/rbac; its log is %s.", testkit.OperatorNamespace, manager.Log)
	return manager, ctx.Err()
}

// issueInvoice has the sandbox's counterparty issue an invoice.
func (s *sandboxProcess) issueInvoice(ctx context.Context, sats int64) (string, error) {
	var issued struct {
		Invoice string `json:"invoice"`
	}
	body, err := json.Marshal(map[string]any{"amount_sats": sats, "description": "supplier invoice 1042"})
	if err != nil {
		return "", err
	}
	err = s.call(ctx, http.MethodPost, "/admin/invoices", bytes.NewReader(body), &issued)
	return issued.Invoice, err
}

func (s *sandboxProcess) ledger(ctx context.Context) ([]sandbox.Entry, error) {
	var answer []sandbox.Entry
	return answer, s.call(ctx, http.MethodGet, "/admin/ledger", nil, &answer)
}

func (s *sandboxProcess) call(ctx context.Context, method, path string, body io.Reader, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking the sandbox: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the sandbox answered %s to %s", response.Status, path)
	}
	return json.NewDecoder(response.Body).Decode(into)
}
