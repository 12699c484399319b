// Command manager runs the controllers of utexo-operator. See --help for its flags.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/prometheus/client_golang/prometheus"
	uberzap "go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/shard"
)

// version is set when the program is linked.
var version = "unknown"

// shutdownTimeout is how long running work may take to finish: more than the 150 s of the call that moves money.
const shutdownTimeout = 180 * time.Second

type flags struct {
	metricsAddress, probeAddress, pprof      string
	metricsInsecure, leaderElect             bool
	namespace, watchNamespaces, shard        string
	quarantine, walletSyncInterval           time.Duration
	recordRetention                          time.Duration
	observeInterval                          time.Duration
	concurrency, looksPerSecond              int
	apiQPS, apiBurst                         int
	showVersion                              bool
	leaseDuration, renewDeadline, retryEvery time.Duration
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

func run() error {
	var f flags
	f.bind(flag.CommandLine)
	logging := zap.Options{}
	logging.BindFlags(flag.CommandLine)
	flag.Parse()
	if f.showVersion {
		fmt.Println(version)
		return nil
	}
	if err := f.check(flag.Args(), logging.Level); err != nil {
		return err
	}
	logger := setLogger(zap.NewRaw(zap.UseFlagOptions(&logging)))
	if err := start(ctrl.SetupSignalHandler(), f); err != nil {
		logger.Error(err, "the manager ends")
		os.Exit(1)
	}
	return nil
}

// setLogger makes raw the log of everybody: of the controllers, and of libraries that were given none or know none but the standard one.
func setLogger(raw *uberzap.Logger) logr.Logger {
	logger := zapr.NewLogger(raw)
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	uberzap.RedirectStdLog(raw)
	return logger
}

func (f *flags) bind(set *flag.FlagSet) {
	set.StringVar(&f.metricsAddress, "metrics-bind-address", ":8443", "Address of the metrics endpoint; 0 serves none.")
	set.BoolVar(&f.metricsInsecure, "metrics-insecure", false,
		"Serve metrics over plain HTTP to everybody, for a test on your own machine. Otherwise over HTTPS, to whom the API server authenticates and allows to get /metrics.")
	set.StringVar(&f.probeAddress, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz; 0 serves none.")
	set.StringVar(&f.pprof, "pprof-bind-address", "0",
		"Address, of this machine alone, of the Go profiles under /debug/pprof/, as 127.0.0.1:6060; 0 serves none. They are served to everybody who can reach it.")
	set.BoolVar(&f.leaderElect, "leader-elect", true, "Work only while holding the leader's Lease. Needed for more than one replica.")
	set.DurationVar(&f.leaseDuration, "leader-lease-duration", 30*time.Second, "How long other replicas wait before they take the lead.")
	set.DurationVar(&f.renewDeadline, "leader-renew-deadline", 20*time.Second, "How long the leader tries to renew before it steps down.")
	set.DurationVar(&f.retryEvery, "leader-retry-period", 5*time.Second, "How often replicas try to take or renew the lead.")
	set.StringVar(&f.namespace, "namespace", ownNamespace(), "The operator's own namespace, for PaymentRecords and Leases.")
	set.StringVar(&f.watchNamespaces, "watch-namespaces", "", "Namespaces to work in, separated by commas; empty for all.")
	set.StringVar(&f.shard, "shard", "",
		"Shard to work for: Wallets, and what names them, whose label payments.utexo.com/shard has this value. Empty for those without the label. All shards have one --namespace.")
	set.DurationVar(&f.quarantine, "quarantine", payment.DefaultPolicy().Quarantine,
		"How long a wallet begins nothing new after a call whose answer was lost. Must exceed the client's deadline (150s) and the service's longest work (120s) together; less is for tests against a sandbox.")
	set.DurationVar(&f.recordRetention, "record-retention", 0,
		"How long after its end, and after the expiry of its invoice, the record of a Lightning payment whose resource is gone is kept; 0 for ever, otherwise at least 720h. Needs the rights of config/retention.")
	set.DurationVar(&f.walletSyncInterval, "wallet-sync-interval", 30*time.Second, "How often a wallet's balance is read.")
	set.IntVar(&f.concurrency, "concurrency", 16, "How many resources of a kind are worked on at once. A wallet pays one at a time regardless.")
	defaults := observer.DefaultOptions()
	set.DurationVar(&f.observeInterval, "observe-interval", defaults.MaxInterval,
		"How often, at most, the payments of a service are listed for a wallet on which something is open and nothing happens. A list that takes long is asked for less often.")
	set.IntVar(&f.looksPerSecond, "looks-per-second", defaults.LooksPerSecond,
		"How many looks at what is open, lists among them, one service gets a second in the long run. A service that lists no payments is asked about each of N open invoices at least every minute or every 2*N/looks-per-second seconds, whichever is longer.")
	set.IntVar(&f.apiQPS, "kube-api-qps", controller.ClientQPS,
		"How many calls a second of each kind of object this manager makes at the API server in the long run, reads and writes counted apart.")
	set.IntVar(&f.apiBurst, "kube-api-burst", controller.ClientBurst, "How many of them it makes at once.")
	set.BoolVar(&f.showVersion, "version", false, "Print the version and leave.")
}

// secretLevel is the log level from which on client-go writes down what the API server answers, the Secrets of wallets too.
const secretLevel = 8

// check says what is wrong with the flags, with what was left of the command line, or with the level of the log; a nil level is the default.
func (f *flags) check(rest []string, level zapcore.LevelEnabler) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: flags are --name=value, and what follows an argument is not read", rest[0])
	case level != nil && level.Enabled(-secretLevel):
		return fmt.Errorf("--zap-log-level must be below %d, from where on the log would hold the keys of wallets", secretLevel)
	case f.namespace == "":
		return errors.New("--namespace must name the operator's namespace")
	case shard.Check(f.shard) != nil:
		return fmt.Errorf("--shard: %w", shard.Check(f.shard))
	case f.pprof != "0" && !isLoopback(f.pprof):
		return errors.New("--pprof-bind-address must be 0 or a port of an address that only this machine reaches, as 127.0.0.1:6060")
	case f.quarantine <= 0 || f.walletSyncInterval < time.Second:
		return errors.New("--quarantine must be positive and --wallet-sync-interval at least 1s")
	case f.recordRetention != 0 && f.recordRetention < payment.MinRetention:
		return fmt.Errorf("--record-retention must be 0 or at least %s", payment.MinRetention)
	case f.observeInterval < 2*time.Second || f.looksPerSecond < 1:
		return errors.New("--observe-interval must be at least 2s and --looks-per-second at least 1")
	case f.apiQPS < 10 || f.apiBurst < f.apiQPS:
		return errors.New("--kube-api-qps must be at least 10, and --kube-api-burst no less than it")
	case f.concurrency < 1:
		return errors.New("--concurrency must be at least 1")
	case f.watchNamespaces != "" && slices.Contains(f.namespaces(), ""):
		return errors.New("--watch-namespaces has an empty name, which would mean all namespaces")
	case f.leaderElect && (f.leaseDuration <= f.renewDeadline || f.renewDeadline <= f.retryEvery*6/5 || f.retryEvery <= 0):
		return errors.New("--leader-lease-duration must exceed --leader-renew-deadline, and that 1.2 times --leader-retry-period, which must be positive")
	}
	return nil
}

// isLoopback reports whether address is a port that only this machine reaches.
func isLoopback(address string) bool {
	parsed, err := netip.ParseAddrPort(address)
	return err == nil && parsed.Addr().IsLoopback()
}

// namespaces are those of --watch-namespaces.
func (f *flags) namespaces() []string {
	names := strings.Split(f.watchNamespaces, ",")
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
	}
	return names
}

// ownNamespace is the namespace of the pod, or the one that the manifests use.
func ownNamespace() string {
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		return namespace
	}
	if text, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace"); err == nil {
		return strings.TrimSpace(string(text))
	}
	return "utexo-system"
}

func start(ctx context.Context, f flags) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	config.QPS, config.Burst = float32(f.apiQPS), f.apiBurst
	config.UserAgent = "utexo-operator/" + version

	if err := f.ensureNamespace(ctx, config); err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, f.options())
	if err != nil {
		return fmt.Errorf("setting up: %w", err)
	}
	policy := payment.DefaultPolicy()
	policy.Quarantine = f.quarantine
	options := controller.Options{
		Namespace: f.namespace, Identity: identity(), UserAgent: config.UserAgent, Clock: clock.RealClock{}, Policy: policy,
		SyncInterval: f.walletSyncInterval, Concurrency: f.concurrency, Shard: f.shard,
		Observer: &observer.Options{MaxInterval: f.observeInterval, LooksPerSecond: f.looksPerSecond},
	}
	if f.watchNamespaces != "" {
		options.Namespaces = f.namespaces()
	}
	controllers := controller.New(mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder("utexo-operator"), options)
	if err := controllers.SetupWithManager(ctx, mgr, options); err != nil {
		return err
	}
	if f.recordRetention > 0 {
		if err := mgr.Add(controllers.Retention(f.recordRetention)); err != nil {
			return fmt.Errorf("setting up the retention of records: %w", err)
		}
	}
	collectors := []prometheus.Collector{controller.NewPaymentCollector(controllers.Tally, mgr.GetClient())}
	if controllers.Unserved != nil {
		collectors = append(collectors, controllers.Unserved)
	}
	for _, collector := range collectors {
		if err := metrics.Registry.Register(collector); err != nil {
			return fmt.Errorf("setting up metrics: %w", err)
		}
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("caches", cachesSynced(mgr)); err != nil {
		return err
	}
	ctrl.Log.Info("starting", "version", version, "namespace", f.namespace, "identity", options.Identity, "shard", f.shard)
	if err := runUntil(ctx, mgr); err != nil {
		return fmt.Errorf("running: %w", err)
	}
	return nil
}

// runUntil runs mgr until ctx is done and what is under way then has ended. A manager whose caches are not filled listens to no ctx, for
// as long as the API server refuses it what it watches: but nothing is under way before that.
func runUntil(ctx context.Context, mgr ctrl.Manager) error {
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	if !cachesFilled(context.Background(), mgr) {
		ctrl.Log.Info("ending before the caches were filled")
		return nil
	}
	return <-ended
}

// ensureNamespace makes the operator's namespace where the program runs on somebody's machine. In a cluster the manifests make it, and the
// manager has no right to.
func (f *flags) ensureNamespace(ctx context.Context, config *rest.Config) error {
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return nil
	}
	direct, err := client.New(config, client.Options{Scheme: scheme()})
	if err != nil {
		return fmt.Errorf("connecting to the API server: %w", err)
	}
	err = direct.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}})
	if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsForbidden(err) {
		return fmt.Errorf("creating namespace %s: %w", f.namespace, err)
	}
	return nil
}

func (f *flags) options() ctrl.Options {
	options := ctrl.Options{
		Scheme:                        scheme(),
		HealthProbeBindAddress:        f.probeAddress,
		PprofBindAddress:              f.pprof,
		LeaderElection:                f.leaderElect,
		LeaderElectionID:              shard.Lease(f.shard),
		LeaderElectionNamespace:       f.namespace,
		LeaderElectionReleaseOnCancel: true, // the process ends when the manager does
		LeaseDuration:                 &f.leaseDuration,
		RenewDeadline:                 &f.renewDeadline,
		RetryPeriod:                   &f.retryEvery,
		GracefulShutdownTimeout:       ptr.To(shutdownTimeout),
		Metrics:                       metricsserver.Options{BindAddress: f.metricsAddress},
		Cache:                         cache.Options{ByObject: controller.Cached(f.shard), DefaultTransform: controller.Slim},
		Client: client.Options{Cache: &client.CacheOptions{
			// What money depends on is never read from a cache, and Secrets are never listed.
			DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}, &v1alpha1.PaymentRecord{}},
		}},
	}
	if !f.metricsInsecure {
		options.Metrics.SecureServing = true
		options.Metrics.FilterProvider = filters.WithAuthenticationAndAuthorization
		options.Metrics.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }}
	}
	if f.watchNamespaces != "" {
		options.Cache.DefaultNamespaces = map[string]cache.Config{}
		for _, namespace := range f.namespaces() {
			options.Cache.DefaultNamespaces[namespace] = cache.Config{}
		}
	}
	return options
}

func scheme() *runtime.Scheme {
	made := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(made))
	utilruntime.Must(v1alpha1.AddToScheme(made))
	return made
}

// identity tells this process from every other, and from itself before a restart.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "manager"
	}
	return host + "_" + string(uuid.NewUUID())
}

// cachesSynced is ready once what is watched was read.
func cachesSynced(mgr ctrl.Manager) healthz.Checker {
	return func(request *http.Request) error {
		if !cachesFilled(request.Context(), mgr) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
}

// cachesFilled reports whether what is watched was read, or is within a second.
func cachesFilled(ctx context.Context, mgr ctrl.Manager) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return mgr.GetCache().WaitForCacheSync(ctx)
}
