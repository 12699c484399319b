// Command bench measures the operator: the real manager, as a process and as its own account, on a real etcd and kube-apiserver, at a
// sandbox that takes its time for each answer. Next to it, in the same run, it measures the least that any controller could do, because
// ratios hold on a machine that is busy with other things, and times do not.
//
// It writes what it found as JSON, and with -docs into docs/performance.md, which says how to read it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// bench is one run of the program.
type bench struct {
	root, dir string
	cluster   *cluster

	latency     time.Duration
	concurrency int
	// apiQPS is to how many calls a second of a kind they hold themselves at the API server.
	apiQPS int
	// How many resources each scenario has.
	invoices, payments, wallets, walletPayments, open, settled, finished int
	// window is how long nothing happens where that is measured.
	window time.Duration
	// unlisted has open invoices measured at a service that lists no payments, too.
	unlisted bool
	// warm tells that the API server has issued invoices before.
	warm bool
	// profiles is where CPU and heap profiles of the manager go; empty for none.
	profiles   string
	profileFor time.Duration
}

// scenario is something that is measured.
type scenario struct {
	name string
	// long is of those that run -long-runs times instead of -runs.
	long bool
	// outside is of those that need no cluster.
	outside bool
	about   func(b *bench) string
	run     func(b *bench, ctx context.Context) ([]measure, error)
}

// hotScenario is the one whose figures are of Go benchmarks.
const hotScenario = "hot"

// scenarios are all there are, in the order in which they run.
var scenarios = []scenario{
	{name: "invoices", about: aboutInvoices, run: (*bench).runInvoices},
	{name: "payments", about: aboutPayments, run: (*bench).runPayments},
	{name: "open", long: true, about: aboutOpen, run: (*bench).runOpen},
	{name: "finished", long: true, about: aboutFinished, run: (*bench).runFinished},
	{name: hotScenario, outside: true, about: aboutHot, run: (*bench).runHot},
}

func main() {
	var err error
	if len(os.Args) > 1 && slices.Contains([]string{roleCeiling, roleBare}, os.Args[1]) {
		err = runYardstick(os.Args[1], os.Args[2:])
	} else {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	log.SetLogger(logr.Discard()) // that of the clients here
	b := &bench{}
	var only, output, from string
	var runs, longRuns int
	var docs, full bool
	flag.StringVar(&only, "scenarios", "", "which to run, separated by commas; all where empty: "+strings.Join(names(), ", "))
	flag.IntVar(&runs, "runs", 3, "how often a scenario runs; its figures are medians")
	flag.IntVar(&longRuns, "long-runs", 1, "how often the scenarios open and finished run")
	flag.StringVar(&output, "json", "bin/bench/results.json", "where the results go")
	flag.StringVar(&from, "from", "", "run nothing: read the results from this file")
	flag.BoolVar(&docs, "docs", false, "write the results into docs/performance.md")
	flag.BoolVar(&full, "full", false, "the sizes of the targets, for which 20 minutes are too few: -open 10000 -unlisted=false -finished 100000 -window 3m")
	flag.DurationVar(&b.latency, "latency", 20*time.Millisecond, "how long the service takes for an answer")
	flag.IntVar(&b.concurrency, "concurrency", 16, "--concurrency of the manager, and of what it is compared with")
	flag.IntVar(&b.apiQPS, "kube-api-qps", controller.ClientQPS, "--kube-api-qps of both, and half of --kube-api-burst")
	flag.IntVar(&b.invoices, "invoices", 3000, "LightningInvoices that are applied at once")
	flag.IntVar(&b.payments, "payments", 100, "LightningPayments of one wallet")
	flag.IntVar(&b.wallets, "wallets", 16, "wallets that pay side by side")
	flag.IntVar(&b.walletPayments, "wallet-payments", 40, "LightningPayments of each of them")
	flag.IntVar(&b.open, "open", 2000, "LightningInvoices that are open while nothing happens")
	flag.IntVar(&b.settled, "settled", 100, "how many of them are paid at once")
	flag.BoolVar(&b.unlisted, "unlisted", true,
		"measure open invoices at a service that lists no payments, too, where N of them take up to N/5 seconds to be looked at once")
	flag.IntVar(&b.finished, "finished", 10_000, "resources that are finished")
	flag.DurationVar(&b.window, "window", time.Minute, "how long nothing happens where that is measured")
	flag.StringVar(&b.profiles, "profile", "", "directory for CPU and heap profiles of the manager")
	flag.DurationVar(&b.profileFor, "profile-seconds", 10*time.Second, "how long a CPU profile is")
	flag.Parse()
	if full {
		// With as much garbage as it usually keeps the API server takes more memory for so many objects than small machines have. Nothing
		// else that is started here comes near to this.
		if err := os.Setenv("GOMEMLIMIT", "12GiB"); err != nil {
			return err
		}
		b.open, b.unlisted, b.finished, b.window = 10_000, false, 100_000, 3*time.Minute
	}
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: everything is a flag", flag.Arg(0))
	}
	if err := b.check(runs, longRuns); err != nil {
		return err
	}
	if b.root, err = testkit.ModuleRoot(); err != nil {
		return err
	}
	page := filepath.Join(b.root, "docs", "performance.md")
	if from != "" {
		report, err := readReport(from)
		if err != nil {
			return err
		}
		return show(report, docs, page)
	}
	report, err := b.measure(ctx, chosen, runs, longRuns)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return err
	}
	if err := report.writeJSON(output); err != nil {
		return err
	}
	return show(report, docs, page)
}

// check says what is wrong with the numbers.
func (b *bench) check(runs, longRuns int) error {
	switch {
	case min(runs, longRuns, b.invoices, b.wallets, b.walletPayments, b.settled, b.concurrency, b.apiQPS) < 1, min(b.payments, b.finished) < 2:
		return errors.New("every number is 1 at least, -payments and -finished 2")
	case 2*b.settled > b.open:
		return errors.New("-settled is at most half of -open")
	case b.window < time.Second || b.latency < 0 || b.profileFor < time.Second:
		return errors.New("-window and -profile-seconds are 1s at least, and -latency is not negative")
	}
	return nil
}

// show prints a report, and writes it into page where that is wanted.
func show(report *Report, docs bool, page string) error {
	fmt.Print(report.markdown())
	if !docs {
		return nil
	}
	return report.writeDocs(page)
}

func names() []string {
	var all []string
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return all
}

// choose returns the scenarios that are named.
func choose(only string) ([]scenario, error) {
	if only == "" {
		return scenarios, nil
	}
	var chosen []scenario
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no scenario %q: use %s", name, strings.Join(names(), ", "))
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}

// measure runs scenarios and reports on them.
func (b *bench) measure(ctx context.Context, chosen []scenario, runs, longRuns int) (_ *Report, err error) {
	if b.dir, err = os.MkdirTemp("", "utexo-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err == nil { // else the logs are wanted
			err = os.RemoveAll(b.dir)
		} else {
			err = fmt.Errorf("%w (the logs are in %s)", err, b.dir)
		}
	}()
	if b.profiles != "" {
		if err := os.MkdirAll(b.profiles, 0o755); err != nil {
			return nil, err
		}
	}
	if slices.ContainsFunc(chosen, func(s scenario) bool { return !s.outside }) {
		if err := b.command(ctx, "go", "build", "-buildvcs=false", "-o", filepath.Join(b.dir, "manager"), "./cmd/manager"); err != nil {
			return nil, err
		}
		if b.cluster, err = startCluster(ctx, b.root, b.dir); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.cluster.stop()) }()
	}
	report := &Report{
		Started: time.Now(), Version: b.version(ctx), Machine: machineName(),
		Settings: fmt.Sprintf("The service took %s for each answer, --concurrency was %d and --kube-api-qps %d", b.latency, b.concurrency, b.apiQPS),
	}
	for _, s := range chosen {
		started, times := time.Now(), runs
		if s.long {
			times = longRuns
		}
		var all [][]measure
		for i := range times {
			fmt.Fprintf(os.Stderr, "%s: run %d of %d\n", s.name, i+1, times)
			measures, err := s.run(b, ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			all = append(all, measures)
		}
		report.Results = append(report.Results, Result{
			Scenario: s.name, About: s.about(b), Seconds: time.Since(started).Seconds(), Figures: figures(all),
		})
	}
	return report, nil
}

// command runs a program in the module's directory.
func (b *bench) command(ctx context.Context, name string, arguments ...string) error {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir = b.root
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, out)
	}
	return nil
}

// version is what git calls this checkout.
func (b *bench) version(ctx context.Context) string {
	command := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty")
	command.Dir = b.root
	out, err := command.Output()
	if err != nil {
		return "an unknown version"
	}
	return strings.TrimSpace(string(out))
}

// machineName says on what is measured.
func machineName() string {
	model, memory := "an unknown processor", ""
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		memory = fmt.Sprintf(", %.0f GiB of memory", kilobytes(text, "MemTotal:")/(1<<30))
	}
	return fmt.Sprintf("%d CPUs (%s)%s, %s/%s, %s, for etcd, kube-apiserver, the manager, the sandbox and this program together",
		runtime.NumCPU(), model, memory, runtime.GOOS, runtime.GOARCH, runtime.Version())
}
