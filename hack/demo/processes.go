package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/utexo/utexo-operator/internal/sandbox"
)

// process is a program that the demo started.
type process struct {
	command *exec.Cmd
	log     string
	done    chan struct{}
}

// start runs a program of bin/ with its output in a log file. Its process group is its own: Ctrl-C is the demo's to pass on.
func (d *demo) start(name string, arguments ...string) (*process, error) {
	p := &process{log: filepath.Join(d.dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	p.command = exec.Command(filepath.Join(d.root, "bin", name), arguments...)
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		_ = p.command.Wait() // how it ended is in its log
		_ = log.Close()
		close(p.done)
	}()
	return p, nil
}

// stop asks the program to end, and ends it where it does not.
func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		_ = p.command.Process.Kill()
		<-p.done
	}
}

// sandboxProcess is a sandbox and where it listens.
type sandboxProcess struct {
	*process
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
	s := &sandboxProcess{process: started}
	for s.url == "" {
		select {
		case <-ctx.Done():
			s.stop()
			return nil, ctx.Err()
		case <-s.done:
			return nil, fmt.Errorf("the sandbox ended; its log is %s", s.log)
		case <-time.After(50 * time.Millisecond):
		}
		printed, err := os.ReadFile(s.log)
		if err != nil {
			s.stop()
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

func (d *demo) startManager(ctx context.Context, cluster *cluster) (*process, error) {
	manager, err := d.start("manager", "--kubeconfig", cluster.operatorKubeconfig, "--metrics-bind-address", "0",
		"--health-probe-bind-address", "0", "--wallet-sync-interval", "5s", "--zap-time-encoding", "rfc3339nano")
	if err != nil {
		return nil, err
	}
	d.say("The manager is running as %s/utexo-operator, with the roles of config/rbac; its log is %s.", operatorNamespace, manager.log)
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
