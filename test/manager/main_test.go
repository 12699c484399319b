// Package manager_test runs the manager as the process that it is: with its flags, as its own account and with the roles that are
// shipped, on a real API server, and pays through it at a sandbox over HTTP. Processes are killed, suspended and asked to end while they
// pay; the sandbox's ledger is the judge.
//
// The clock is the real one. What a case would have to wait for that the manager's safety does not hang on, because the process that
// it protects from is dead, is made to look older: see world.outlast.
package manager_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/utexo/utexo-operator/internal/testkit"
)

// builtVersion is what the manager under test is linked with.
const builtVersion = "v0.0.0-under-test"

// What all cases share, set by TestMain.
var (
	// admin is how the administrator reaches the one API server, api a client of theirs.
	admin *rest.Config
	api   client.WithWatch
	// operator is how the manager's own account reaches it.
	operator *rest.Config
	kubectl  testkit.Kubectl
	// binary is the manager, built from this checkout.
	binary string
)

func TestMain(m *testing.M) {
	if asCurl() {
		os.Exit(curl(os.Args[1:], os.Stdout))
	}
	// Cases wait more than they work: they need not queue for a processor. -parallel on the command line counts more.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	flag.Parse()
	log.SetLogger(logr.Discard()) // that of the tests' own clients
	os.Exit(run(m))
}

// run runs the cases on a control plane of their own. Whatever happens, it leaves no process behind: neither a failure nor a signal, nor a
// time limit, which would end this process without asking.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "utexo-manager-test-")
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(dir)
	stop, err := setUp(dir)
	cleanUp := sync.OnceFunc(func() {
		killRunning()
		if stop != nil {
			if err := stop(); err != nil {
				failed(fmt.Errorf("stopping the control plane: %w", err))
			}
		}
	})
	defer cleanUp()
	if err != nil {
		return failed(err)
	}
	go func() {
		interrupted, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer release()
		select {
		case <-interrupted.Done():
		case <-timeLimit():
			failed(errors.New("the time limit of the tests is near; what they are doing:"))
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		}
		cleanUp()
		_ = os.RemoveAll(dir)
		os.Exit(1)
	}()
	return m.Run()
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// timeLimit fires shortly before -timeout does; never where there is none.
func timeLimit() <-chan time.Time {
	limit, ok := flag.Lookup("test.timeout").Value.(flag.Getter).Get().(time.Duration)
	if !ok || limit == 0 {
		return nil
	}
	return time.After(max(limit-15*time.Second, limit/2))
}

// setUp builds the manager, starts the control plane beside that, and installs the operator on it.
func setUp(dir string) (stop func() error, err error) {
	root, err := testkit.ModuleRoot()
	if err != nil {
		return nil, err
	}
	binary = filepath.Join(dir, "manager")
	built := make(chan error, 1)
	go func() { built <- build(root) }()
	admin, _, stop, err = testkit.StartControlPlane()
	if err := errors.Join(<-built, err); err != nil {
		return stop, err
	}
	admin.QPS, admin.Burst = 1000, 2000
	if api, err = client.NewWithWatch(admin, client.Options{Scheme: testkit.Scheme()}); err != nil {
		return stop, err
	}
	kubectl = testkit.Kubectl{Root: root, Kubeconfig: filepath.Join(dir, "admin.kubeconfig")}
	if err := testkit.WriteKubeconfig(kubectl.Kubeconfig, admin); err != nil {
		return stop, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := kubectl.InstallOperator(ctx); err != nil {
		return stop, err
	}
	if _, err := kubectl.Run(ctx, nil, "apply", "--server-side", "-k", "config/admission"); err != nil {
		return stop, err
	}
	operator, err = testkit.AccountConfig(ctx, api, admin, testkit.OperatorNamespace, testkit.OperatorAccount)
	if err != nil {
		return stop, err
	}
	canary(operator.BearerToken)
	// What tells a manager that it runs in a pod, and in which namespace.
	return stop, errors.Join(os.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1"), os.Setenv("POD_NAMESPACE", testkit.OperatorNamespace))
}

// build builds the manager with the flags that the tests themselves are built with: others would compile all of client-go once more.
func build(root string) error {
	command := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X main.version="+builtVersion, "-o", binary, "./cmd/manager")
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building the manager: %w: %s", err, out)
	}
	return nil
}
