package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	operator "github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/testkit"
	"github.com/utexo/utexo-operator/internal/utexo"
)

// The roles in which this program starts itself, for the operator to be compared with.
const (
	// roleCeiling is the least that any controller can do for a LightningInvoice whose calls are written down first.
	roleCeiling = "ceiling"
	// roleBare is a manager that caches the kinds that the operator does, whole but for who managed which field, and does nothing.
	roleBare = "bare"
)

// runYardstick is the program in one of its roles, until it is asked to end. Its manager is set up as the operator's.
func runYardstick(role string, arguments []string) error {
	var namespace, url, kubeconfig, metrics, probes, pprof string
	var concurrency, apiQPS, apiBurst int
	flags := flag.NewFlagSet(role, flag.ContinueOnError)
	flags.StringVar(&namespace, "namespace", "", "")
	flags.StringVar(&url, "url", "", "")
	flags.StringVar(&kubeconfig, "kubeconfig", "", "")
	flags.StringVar(&metrics, "metrics-bind-address", "", "")
	flags.StringVar(&probes, "health-probe-bind-address", "", "")
	flags.StringVar(&pprof, "pprof-bind-address", "", "")
	flags.IntVar(&concurrency, "concurrency", 0, "")
	flags.IntVar(&apiQPS, "kube-api-qps", 0, "")
	flags.IntVar(&apiBurst, "kube-api-burst", 0, "")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	log.SetLogger(logr.Discard())
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = float32(apiQPS), apiBurst
	transform := operator.Slim
	if role == roleBare {
		transform = cache.TransformStripManagedFields()
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: testkit.Scheme(), HealthProbeBindAddress: probes, PprofBindAddress: pprof, Metrics: metricsserver.Options{BindAddress: metrics},
		Cache: cache.Options{
			DefaultTransform: transform, DefaultNamespaces: map[string]cache.Config{namespace: {}},
		},
	})
	if err != nil {
		return err
	}
	synced := func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
	ctx := ctrl.SetupSignalHandler()
	if role == roleCeiling {
		err = setUpCeiling(mgr, url, concurrency)
	} else {
		err = cacheAll(ctx, mgr)
	}
	if err := errors.Join(err, mgr.AddReadyzCheck("caches", synced)); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// cacheAll caches the kinds that the operator caches.
func cacheAll(ctx context.Context, mgr ctrl.Manager) error {
	for _, kind := range []client.Object{
		&v1alpha1.Wallet{}, &v1alpha1.LightningInvoice{}, &v1alpha1.LightningPayment{}, &v1alpha1.OnchainSend{}, &v1alpha1.Settlement{},
		&v1alpha1.Statement{}, &v1alpha1.DepositAddress{}, &v1alpha1.PaymentApproval{},
		&v1alpha1.PaymentSignature{},
	} {
		if _, err := mgr.GetCache().GetInformer(ctx, kind, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("caching %T: %w", kind, err)
		}
	}
	return nil
}

// ceiling does for a LightningInvoice one write ahead, one call of the service and one write of what it answered, and nothing else: it
// keeps no record, reads nothing afresh, checks nothing and tells nobody.
type ceiling struct {
	client  client.Client
	service *utexo.Client
}

func setUpCeiling(mgr ctrl.Manager, url string, concurrency int) error {
	set, err := keys.FromMnemonic(mnemonic, "ceiling", bitcoin.Regtest)
	if err != nil {
		return err
	}
	service, err := newClient(url, set.Public())
	if err != nil {
		return err
	}
	if _, err := service.Register(context.Background()); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).Named("ceiling").
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		For(&v1alpha1.LightningInvoice{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(&ceiling{client: mgr.GetClient(), service: service})
}

func newClient(url string, public keys.Public) (*utexo.Client, error) {
	return utexo.New(utexo.Config{URL: url, Insecure: true, Wallet: utexo.Wallet{
		XpubVanilla: public.XpubVanilla, XpubColored: public.XpubColored, MasterFingerprint: public.MasterFingerprint,
	}})
}

// Reconcile issues the invoice of one LightningInvoice.
func (c *ceiling) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var object v1alpha1.LightningInvoice
	if err := c.client.Get(ctx, request.NamespacedName, &object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if object.Status.Phase == v1alpha1.InvoiceOpen {
		return ctrl.Result{}, nil
	}
	before := object.DeepCopy()
	object.Status.Phase, object.Status.IssueAttempts, object.Status.ObservedGeneration = v1alpha1.InvoicePending, 1, object.Generation
	if err := c.write(ctx, before, &object); err != nil {
		return ctrl.Result{}, err
	}
	wanted := utexo.InvoiceRequest{AmountSats: object.Spec.AmountSats, ExpirySeconds: object.Spec.ExpirySeconds}
	answer, err := c.service.CreateInvoice(ctx, wanted)
	if err != nil {
		return ctrl.Result{}, err
	}
	before = object.DeepCopy()
	object.Status.Phase, object.Status.RequestID, object.Status.PaymentRequest = v1alpha1.InvoiceOpen, answer.ID, answer.PaymentRequest
	return ctrl.Result{}, c.write(ctx, before, &object)
}

func (c *ceiling) write(ctx context.Context, before, after *v1alpha1.LightningInvoice) error {
	return c.client.Status().Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}
