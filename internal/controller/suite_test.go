package controller_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// The one control plane of this test binary.
var (
	apiConfig *rest.Config
	apiClient client.WithWatch
)

func TestMain(m *testing.M) {
	// Cases wait for the API server more than they work. -parallel on the command line counts more.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(func() int {
		log.SetLogger(zap.New(zap.WriteTo(os.Stderr), zap.UseDevMode(false), zap.Level(zapErrorLevel)))
		// Nothing here watches, and the cache of what could be watched takes a twentieth of the time.
		config, _, stop, err := testkit.StartControlPlane("watch-cache=false", "enable-priority-and-fairness=false")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() {
			if err := stop(); err != nil {
				fmt.Fprintln(os.Stderr, "stopping the control plane:", err)
			}
		}()
		config.QPS = -1 // no limit
		apiConfig = config
		if apiClient, err = client.NewWithWatch(config, client.Options{Scheme: testkit.Scheme()}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// zapErrorLevel keeps the expected noise of injected faults out of the output.
const zapErrorLevel = zapLevel(4)

// mnemonic is public: it stands in the documentation of the service.
const mnemonic = "split capable text loop dream live outside suspect eight carry fine relax"

// world is a namespace with a wallet, a sandbox, and controllers on a clock that only the test moves.
type world struct {
	t *testing.T
	// api reads again only what may have changed: see remembering. A test that writes past it reads from apiClient.
	api       client.WithWatch
	sandbox   *sandbox.Server
	url       string
	clock     *clocktesting.FakeClock
	operator  string
	namespace string

	// boundary, where it is not nil, is asked before and after each call that a controller makes, of the API server ("K get Wallet") or
	// of the service ("U GET /lightning/balance"). An error it returns before takes the call's place, one it returns after its answer's.
	boundary func(call string, after bool) error
	// kube and wire, where they are not nil, make the calls of the API server and of the service, between their boundaries.
	kube func(call kubeCall) error
	wire func(request *http.Request, next http.RoundTripper) (*http.Response, error)
	// policy and tune, where they are not nil, change the numbers of a process that is started.
	policy func(*payment.Policy)
	tune   func(*controller.Controllers)
	// log is where a process logs, where it is set.
	log *logr.Logger
	// observer is how a process observes the service, where it is set.
	observer *observer.Options

	controllers *controller.Controllers
	events      *events.FakeRecorder
	starts      int
	dead        bool
}

// newWorld makes a world with a funded wallet whose status is not there yet.
func newWorld(t *testing.T, profile sandbox.Profile, change ...func(*sandbox.Options)) *world {
	t.Helper()
	w := newService(t, profile, change...)
	w.operator, w.namespace = w.makeNamespace("operator-"), w.makeNamespace("team-")
	w.makeSecret("main", map[string]string{"mnemonic": mnemonic})
	w.create(w.mainWallet(profile))
	w.start()
	return w
}

// newService makes a world with a service and nothing else.
func newService(t *testing.T, profile sandbox.Profile, change ...func(*sandbox.Options)) *world {
	t.Helper()
	// The API server stamps objects with the real time; the clock starts there and runs ahead.
	w := &world{t: t, api: remembering(apiClient), clock: clocktesting.NewFakeClock(time.Now().Truncate(time.Second))}
	options := sandbox.Options{Profile: profile, Clock: w.clock, Seed: 7, Sleep: func(context.Context, time.Duration) {}}
	for _, f := range change {
		f(&options)
	}
	w.sandbox = sandbox.New(options)
	server := httptest.NewServer(w.sandbox.Handler())
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// mainWallet is the Wallet main, of the service's profile.
func (w *world) mainWallet(profile sandbox.Profile) *v1alpha1.Wallet {
	wallet := testkit.MakeWallet("main").Namespace(w.namespace).URL(w.url).Obj()
	if profile == sandbox.Reference {
		wallet.Spec.Endpoint.Profile = v1alpha1.ProfileReference
	}
	return wallet
}

func (w *world) makeNamespace(prefix string) string {
	w.t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix}}
	w.create(namespace)
	return namespace.Name
}

func (w *world) makeSecret(name string, data map[string]string) {
	w.t.Helper()
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, StringData: data})
}

// create creates an object as a user would.
func (w *world) create(object client.Object) {
	w.t.Helper()
	if err := w.api.Create(w.t.Context(), object); err != nil {
		w.t.Fatalf("creating %T: %v", object, err)
	}
}

// start starts the operator anew, as after a crash: nothing that a process before knew is there.
func (w *world) start() {
	w.starts++
	w.dead = false
	w.events = events.NewFakeRecorder(10000)
	policy := payment.DefaultPolicy()
	if w.policy != nil {
		w.policy(&policy)
	}
	w.controllers = controller.New(w.intercepted(true), w.intercepted(false), w.events, controller.Options{
		Namespace: w.operator, Identity: fmt.Sprintf("process-%d", w.starts), Clock: w.clock, Policy: policy,
		SyncInterval: time.Minute, Concurrency: 1, Observer: w.observer,
		Instrument: func(next http.RoundTripper) http.RoundTripper { return &boundaryTransport{world: w, next: next} },
	})
	if w.tune != nil {
		w.tune(w.controllers)
	}
}

// kubeCall is a call of the API server by a controller.
type kubeCall struct {
	// verb is as RBAC has it, subresource what it is of; mostly empty.
	verb, subresource string
	// key is empty for a list.
	key client.ObjectKey
	// cached tells of a read that a manager answers from its cache, dryRun of a create that stores nothing.
	cached, dryRun bool
	// object is what is read into, or written and then as the API server stored it.
	object runtime.Object
	// patch is what a patch changes.
	patch client.Patch
	do    func() error
}

// crashed is what a boundary panics with to end the process there.
type crashed struct{}

// errInjected is a fault of the API server.
var errInjected = errors.New("injected fault")

// cross asks the boundary. A process that ended there calls nothing any more, from deferred functions neither.
func (w *world) cross(call string, after bool) error {
	if w.dead {
		panic(crashed{})
	}
	if w.boundary == nil {
		return nil
	}
	w.dead = true // unless the boundary returns
	err := w.boundary(call, after)
	w.dead = false
	return err
}

// around makes a call between its two boundaries.
func (w *world) around(call string, do func() error) error {
	if err := w.cross(call, false); err != nil {
		return err
	}
	err := do()
	if injected := w.cross(call, true); injected != nil {
		return injected
	}
	return err
}

// call makes a call of the API server, between its two boundaries.
func (w *world) call(call kubeCall) error {
	name := "K " + call.verb + " "
	if call.dryRun {
		name = "K try to " + call.verb + " "
	}
	if call.subresource != "" {
		name += call.subresource + " "
	}
	return w.around(name+kindOf(call.object), func() error {
		if w.kube == nil {
			return call.do()
		}
		return w.kube(call)
	})
}

// intercepted is the API server as the controllers reach it. A manager answers the reads of the one that is cached from memory.
func (w *world) intercepted(cached bool) client.WithWatch {
	return interceptor.NewClient(w.api, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
			if !cached {
				c = apiClient
			}
			return w.call(kubeCall{verb: "get", key: key, cached: cached, object: object, do: func() error { return c.Get(ctx, key, object, opts...) }})
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			return w.call(kubeCall{verb: "list", cached: cached, object: list, do: func() error { return c.List(ctx, list, opts...) }})
		},
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.CreateOption) error {
			dryRun := slices.Contains(opts, client.CreateOption(client.DryRunAll))
			return w.call(kubeCall{verb: "create", key: client.ObjectKeyFromObject(object), object: object, dryRun: dryRun, do: func() error {
				return c.Create(ctx, object, opts...)
			}})
		},
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.DeleteOption) error {
			return w.call(kubeCall{verb: "delete", key: client.ObjectKeyFromObject(object), object: object, do: func() error {
				return c.Delete(ctx, object, opts...)
			}})
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return w.call(kubeCall{verb: "patch", key: client.ObjectKeyFromObject(object), object: object, patch: patch, do: func() error {
				return c.Patch(ctx, object, patch, opts...)
			}})
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, object client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			call := kubeCall{verb: "patch", subresource: name, key: client.ObjectKeyFromObject(object), object: object, patch: patch}
			call.do = func() error { return c.SubResource(name).Patch(ctx, object, patch, opts...) }
			return w.call(call)
		},
	})
}

func kindOf(object any) string {
	name := fmt.Sprintf("%T", object)
	return name[strings.LastIndex(name, ".")+1:]
}

// boundaryTransport makes the calls of the service cross the world's boundaries.
type boundaryTransport struct {
	world *world
	next  http.RoundTripper
}

func (b *boundaryTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	call := "U " + request.Method + " " + request.URL.Path
	if err := b.world.cross(call, false); err != nil {
		return nil, err
	}
	var response *http.Response
	var err error
	if wire := b.world.wire; wire != nil {
		response, err = wire(request, b.next)
	} else {
		response, err = b.next.RoundTrip(request)
	}
	if injected := b.world.cross(call, true); injected != nil {
		if err == nil {
			_ = response.Body.Close()
		}
		return nil, injected
	}
	return response, err
}

// reconcile reconciles one object once, and starts the operator anew where the boundary ended it.
func (w *world) reconcile(object client.Object) (result ctrl.Result, err error) {
	w.t.Helper()
	defer func() {
		if reason := recover(); reason != nil {
			if _, ok := reason.(crashed); !ok {
				panic(reason)
			}
			w.start()
			result, err = ctrl.Result{RequeueAfter: time.Second}, nil
		}
	}()
	ctx := w.t.Context()
	if w.log != nil {
		ctx = log.IntoContext(ctx, *w.log)
	}
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(object)}
	switch object.(type) {
	case *v1alpha1.Wallet:
		return w.controllers.Wallet.Reconcile(ctx, request)
	case *v1alpha1.LightningInvoice:
		return w.controllers.Invoice.Reconcile(ctx, request)
	case *v1alpha1.LightningPayment:
		return w.controllers.Payment.Reconcile(ctx, request)
	case *v1alpha1.OnchainSend:
		return w.controllers.Send.Reconcile(ctx, request)
	case *v1alpha1.DepositAddress:
		return w.controllers.Deposit.Reconcile(ctx, request)
	case *v1alpha1.Settlement:
		return w.controllers.Settle.Reconcile(ctx, request)
	case *v1alpha1.PaymentSignature:
		return w.controllers.Signature.Reconcile(ctx, request)
	case *v1alpha1.Statement:
		return w.controllers.Statement.Reconcile(ctx, request)
	}
	w.t.Fatalf("no controller for %T", object)
	return ctrl.Result{}, nil
}

// syncWallet brings the wallet main to Ready.
func (w *world) syncWallet() {
	w.t.Helper()
	wallet := &v1alpha1.Wallet{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "main"}}
	if _, err := w.reconcile(wallet); err != nil {
		w.t.Fatalf("reconciling the wallet: %v", err)
	}
	w.get(wallet)
	if err := testkit.CheckStatus(wallet); err != nil {
		w.t.Fatal(err)
	}
}

// drive reconciles object until it asks for nothing more, moving the clock to when it asks for. Errors are retried after a second, as a
// work queue would. It ends after at most 200 passes or two days, and checks the status after each pass without an error.
func (w *world) drive(object client.Object) {
	w.t.Helper()
	until := w.clock.Now().Add(48 * time.Hour)
	for range 200 {
		result, err := w.reconcile(object)
		if err != nil && errors.Is(err, reconcile.TerminalError(nil)) {
			w.t.Fatalf("an invariant broke: %v", err)
		}
		if err == nil && w.exists(object) && w.boundary == nil {
			if err := testkit.CheckStatus(object); err != nil {
				w.t.Fatal(err)
			}
		}
		after := result.RequeueAfter
		if err != nil {
			after = time.Second
		}
		if after == 0 || w.clock.Now().After(until) {
			return
		}
		w.clock.Step(after)
	}
}

// get reads object as it now is.
func (w *world) get(object client.Object) {
	w.t.Helper()
	if err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		w.t.Fatalf("reading %T: %v", object, err)
	}
}

// exists reads object as it now is, and reports whether there is one.
func (w *world) exists(object client.Object) bool {
	w.t.Helper()
	err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(object), object)
	if err != nil && !apierrors.IsNotFound(err) {
		w.t.Fatalf("reading %T: %v", object, err)
	}
	return err == nil
}

// supplierInvoice is a BOLT11 of somebody else's.
func (w *world) supplierInvoice(sats int64) string {
	w.t.Helper()
	text, err := w.sandbox.IssueInvoice(sandbox.NewInvoice{AmountSats: satsOf(sats), Expiry: 6 * time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// emitted are the events so far, as "Type Reason message".
func (w *world) emitted() []string {
	var all []string
	for {
		select {
		case event := <-w.events.Events:
			all = append(all, event)
		default:
			return all
		}
	}
}
