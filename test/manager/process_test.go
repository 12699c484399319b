package manager_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/utexo/utexo-operator/internal/testkit"
)

// manager is a process of the manager.
type manager struct {
	*testkit.Process
	t *testing.T
	// killed tells that the case ended it, so that its exit code means nothing.
	killed bool
	// checked tells that its log was looked through already.
	checked bool
}

// running are all managers that may be running, for whoever has to end them in a hurry.
var running struct {
	sync.Mutex
	managers []*manager
}

func killRunning() {
	running.Lock()
	defer running.Unlock()
	for _, m := range running.managers {
		m.Process.Kill()
	}
}

// startManager starts a manager that comes to the API server as config says. At the end of the case it is asked to stop, must do so with
// exit code 0, and its log is checked.
func startManager(t *testing.T, config *rest.Config, arguments ...string) *manager {
	t.Helper()
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := testkit.WriteKubeconfig(kubeconfig, config); err != nil {
		t.Fatal(err)
	}
	running.Lock()
	defer running.Unlock()
	process, err := testkit.StartProcess(filepath.Join(dir, "log"), binary, append([]string{
		"--kubeconfig", kubeconfig, "--metrics-bind-address=0", "--health-probe-bind-address=0",
		"--leader-elect=false", "--wallet-sync-interval=1s", "--zap-log-level=7", "--zap-time-encoding=rfc3339nano",
	}, arguments...)...)
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{Process: process, t: t}
	running.managers = append(running.managers, m)
	t.Cleanup(m.finish)
	return m
}

// finish ends the process if it is still there, and checks what it left.
func (m *manager) finish() {
	if m.checked {
		return
	}
	if !m.killed {
		m.stop()
	}
	m.checked = true
	log, err := os.ReadFile(m.Log)
	if err != nil {
		m.t.Error(err)
	}
	for _, problem := range logProblems(string(log), canaries()) {
		m.t.Errorf("the log %s", problem)
	}
	if m.t.Failed() {
		lines := strings.Split(strings.TrimSpace(string(log)), "\n")
		m.t.Logf("the end of the log of %v:\n%s", m.Process, strings.Join(lines[max(0, len(lines)-80):], "\n"))
	}
}

// identity is what the process calls itself in the Leases of wallets; empty where it ended before it said so.
func (m *manager) identity() string {
	m.t.Helper()
	log, err := os.ReadFile(m.Log)
	if err != nil {
		m.t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		var entry struct {
			Identity string `json:"identity"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Identity != "" {
			return entry.Identity
		}
	}
	return ""
}

// discard ends a process that ended already: its log is checked and removed. For cases that start very many.
func (m *manager) discard() {
	m.finish()
	if err := os.Remove(m.Log); err != nil {
		m.t.Error(err)
	}
	running.Lock()
	defer running.Unlock()
	running.managers = slices.DeleteFunc(running.managers, func(other *manager) bool { return other == m })
}

// stop asks the process to end and waits until it has.
func (m *manager) stop() {
	m.t.Helper()
	m.killed = true
	m.Signal(syscall.SIGCONT) // a suspended process does not hear
	m.Stop(30 * time.Second)
	code := m.ExitCode()
	log, err := os.ReadFile(m.Log)
	if code != 0 && (err != nil || len(log) > 0) { // one that has logged nothing yet does not listen to signals yet
		m.t.Errorf("the manager ended with exit code %d when it was asked to stop", code)
	}
}

// kill ends the process where it is.
func (m *manager) kill() {
	m.killed = true
	m.Process.Kill()
}

// freeAddress is an address on this machine at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// patience is how long anything may take: much longer than it does, for a machine that compiles beside the tests.
const patience = 2 * time.Minute

// await looks again and again until look returns nil, and fails the case with what it last said where that takes too long.
func await(t *testing.T, what string, look func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := look()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waiting until %s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// awaitEnd waits until the process has ended by itself and returns its exit code.
func (m *manager) awaitEnd() int {
	m.t.Helper()
	await(m.t, "the manager ended", func() error {
		select {
		case <-m.Done:
			return nil
		default:
			return fmt.Errorf("it is running")
		}
	})
	m.killed = true
	return m.ExitCode()
}
