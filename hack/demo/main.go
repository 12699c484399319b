// Command demo shows the operator at work on one machine: it starts etcd, kube-apiserver, the sandbox and the manager, applies
// config/samples, prints every change, and compares at the end what was declared with what the sandbox's ledger says was paid.
//
// It stays up until Ctrl-C; with DEMO_EXIT=1 it leaves at once. The exit code is 0 only if everything that was declared happened, once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/utexo/utexo-operator/internal/testkit"
)

// demo is one run.
type demo struct {
	root, dir string
	profile   string
	timeout   time.Duration
	out       io.Writer
	started   time.Time
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	d := demo{out: os.Stdout, started: time.Now()}
	flag.StringVar(&d.profile, "profile", "documented", "service to imitate: documented, or reference with its hazards")
	flag.DurationVar(&d.timeout, "timeout", 3*time.Minute, "how long everything may take")
	flag.Parse()
	if d.profile != "documented" && d.profile != "reference" {
		return fmt.Errorf("--profile is documented or reference, not %q", d.profile)
	}
	if d.root, err = testkit.ModuleRoot(); err != nil {
		return err
	}
	d.dir = filepath.Join(d.root, "bin", "demo")
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}

	cluster, err := d.startCluster(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.stop()) }()
	sandbox, err := d.startSandbox(ctx)
	if err != nil {
		return err
	}
	defer sandbox.Stop(stopPatience)
	if err := cluster.install(ctx); err != nil {
		return err
	}
	manager, err := d.startManager(ctx, cluster)
	if err != nil {
		return err
	}
	defer manager.Stop(stopPatience)

	if err := d.happen(ctx, cluster, sandbox); err != nil {
		return fmt.Errorf("%w (the manager's log is %s)", err, manager.Log)
	}
	if os.Getenv("DEMO_EXIT") == "1" {
		return nil
	}
	d.say("Everything stays up until Ctrl-C. In another terminal:")
	fmt.Fprintf(d.out, "  export KUBECONFIG=%s\n  %s get utexo -A\n  curl -s %s/admin/ledger\n", cluster.kubectl.Kubeconfig,
		filepath.Join(d.root, "bin", "k8s", "kubectl"), sandbox.url)
	select {
	case <-ctx.Done():
		return nil
	case <-manager.Done:
		return fmt.Errorf("the manager ended; its log is %s", manager.Log)
	case <-sandbox.Done:
		return fmt.Errorf("the sandbox ended; its log is %s", sandbox.Log)
	}
}

// happen applies the samples, shows what happens and judges the end.
func (d *demo) happen(ctx context.Context, cluster *cluster, sandbox *sandboxProcess) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	changes, err := watchSamples(ctx, cluster)
	if err != nil {
		return err
	}
	invoice, err := sandbox.issueInvoice(ctx, 5000)
	if err != nil {
		return err
	}
	d.say("A supplier issues an invoice of 5000 sat; its BOLT11 goes into the ConfigMap supplier-invoice.")
	if err := cluster.makeConfigMap(ctx, "supplier-invoice", "invoice", invoice); err != nil {
		return err
	}
	samples, err := cluster.samples(ctx, sandbox.url, d.profile)
	if err != nil {
		return err
	}
	watchErr := d.apply(ctx, cluster, samples, changes)
	if errors.Is(watchErr, context.DeadlineExceeded) {
		watchErr = fmt.Errorf("not everything happened within %s", d.timeout)
	}
	// What there is, is shown also where something is missing.
	show, cancelShow := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancelShow()
	if err := d.tables(show, cluster, sandbox); err != nil {
		return errors.Join(watchErr, err)
	}
	return watchErr
}

// apply applies the samples and follows them to their end. A reference service closes the wallet's channels for an on-chain send, and
// what is declared over Lightning then finds none: there the sends come last.
func (d *demo) apply(ctx context.Context, cluster *cluster, samples []string, changes <-chan change) error {
	last := map[string]change{}
	sends, others := partition(samples, func(sample string) bool {
		return d.profile == "reference" && strings.Contains(sample, "\nkind: OnchainSend\n")
	})
	d.say("Applying config/samples.")
	if err := cluster.apply(ctx, others); err != nil {
		return err
	}
	if len(sends) > 0 {
		if err := d.follow(ctx, changes, last, "Wallet", "LightningInvoice", "LightningPayment"); err != nil {
			return err
		}
		d.say("Applying the on-chain send, for which this service closes the channels.")
		if err := cluster.apply(ctx, sends); err != nil {
			return err
		}
	}
	return d.follow(ctx, changes, last, "Wallet", "LightningInvoice", "LightningPayment", "OnchainSend")
}

// partition returns the samples that are such, and the others.
func partition(samples []string, such func(string) bool) (these, others []string) {
	for _, sample := range samples {
		if such(sample) {
			these = append(these, sample)
		} else {
			others = append(others, sample)
		}
	}
	return these, others
}

// say prints one line with the time since the start.
func (d *demo) say(format string, arguments ...any) {
	fmt.Fprintf(d.out, "%6.1fs  %s\n", time.Since(d.started).Seconds(), fmt.Sprintf(format, arguments...))
}
