package controller_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// operation is what the matrix puts faults upon: a resource, from its declaration to its end.
type operation struct {
	name    string
	kind    string
	profile sandbox.Profile
	make    func(w *world) client.Object
}

func operations() []operation {
	var all []operation
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		add := func(kind, path string, make func(w *world) client.Object) {
			all = append(all, operation{fmt.Sprintf("%s %s, %s service", kind, path, profile), kind, profile, make})
		}
		add("LightningInvoice", "until Open and Settled", func(w *world) client.Object { return w.invoice("order").Obj() })
		add("LightningPayment", "until Succeeded", func(w *world) client.Object { return w.payment("rent", w.supplierInvoice(5000)).Obj() })
		add("OnchainSend", "until Succeeded", func(w *world) client.Object { return w.send("payroll", 20000).Obj() })
		add("Wallet", "until synced", nil)
	}
	return all
}

func (o operation) lightning() bool { return o.kind == "LightningPayment" }
func (o operation) onchain() bool   { return o.kind == "OnchainSend" }
func (o operation) pays() bool      { return o.lightning() || o.onchain() }

// step is one call of an operation without a fault: a place for one.
type step struct {
	// call is the boundary's name of it.
	call string
	// kube is the call where it is one of the API server, without the object; kind is that of the object.
	kube *kubeCall
	kind string
	// missing tells of a read that finds nothing, versions how many the resource had had by then.
	missing  bool
	versions int
	// operation is the call where it is one of the service, the nth of its kind.
	operation sandbox.Operation
	nth       int
}

// trial is one run of an operation under the eyes of the oracles.
type trial struct {
	*world
	operation
	// manifest is what was declared, object the resource.
	manifest, object client.Object
	// fault strikes at the call of the index at; nil for none. struck tells that it did.
	fault  *singleFault
	at     int
	struck bool
	// position is the index of the current call, steps are all so far.
	position int
	steps    []step
	// restore is done after the pass in which it was set: what a person mends.
	restore func()
	// rules are what is taken away from the protocol; see matrix_rules_test.go.
	rules removal
	// people, where it is not nil, has the keys of the wallet, of which the cluster then has none: whatever a status asks to be signed is
	// signed at once. signatures counts what was.
	people     *keys.Set
	signatures int
	// earlier, where it is not nil, is done before the resource is declared.
	earlier func(r *trial)
	// movements are how many entries the ledger had by then.
	movements int

	// versions of the resource, as the API server stored them.
	versions []client.Object
	// trace is what happened, told the events of processes that are gone, later what twenty further passes did.
	trace []traced
	// record is the name of the payment's record that was written last, invoices are the BOLT11s that could be read.
	invoices []string
	record   string
	told     []string
	// shown is everything that was stored, but for Secrets, and logged.
	shown bytes.Buffer
	later []string
}

// quickly has the service do in seconds what is waited for, for fewer looks that are all alike.
func quickly(o *sandbox.Options) { o.Timing.Block, o.Timing.Poll = 3*time.Second, 500*time.Millisecond }

// newTrial declares the resource of an operation in a world of its own, with all eyes open.
func newTrial(t *testing.T, o operation, fault *singleFault, at int, change ...func(*trial)) *trial {
	t.Helper()
	r := &trial{world: newService(t, o.profile, quickly), operation: o, fault: fault, at: at, position: -1}
	for _, f := range change {
		f(r)
	}
	// Records and resources may be in one namespace; it saves the time to make another.
	r.namespace = r.makeNamespace("matrix-")
	r.operator = r.namespace
	secret := map[string]string{"token": canaryToken}
	if r.people == nil {
		secret["mnemonic"] = mnemonic
	}
	r.makeSecret("main", secret)
	logger := zap.New(zap.WriteTo(&r.shown), zap.UseDevMode(false))
	r.log = &logger
	wallet := r.declaredWallet()
	r.create(wallet)
	r.start()
	r.object = wallet
	if o.kind != "Wallet" {
		r.syncWallet()
		r.object = o.make(r.world)
		r.emitted()
	}
	if r.earlier != nil {
		r.earlier(r)
	}
	r.movements = len(r.sandbox.Ledger())
	r.manifest = r.object.DeepCopyObject().(client.Object)
	if o.kind != "Wallet" {
		r.create(r.object)
	}
	r.versions = []client.Object{r.object.DeepCopyObject().(client.Object)}
	if fault != nil && fault.service != nil {
		r.world.fault(*fault.service)
	}
	r.watchCalls()
	return r
}

// declaredWallet is the Wallet main. The documented service gets a token with each request.
func (r *trial) declaredWallet() *v1alpha1.Wallet {
	wallet := r.mainWallet(r.profile)
	if r.profile == sandbox.Documented {
		wallet.Spec.Endpoint.TokenSecretRef = &v1alpha1.KeyReference{Name: "main", Key: "token"}
	}
	if r.people != nil {
		signedByPeople(wallet, r.people.Public())
	}
	return wallet
}

// watchCalls puts the trial around every call.
func (r *trial) watchCalls() {
	r.boundary = func(call string, after bool) error {
		if !after {
			r.position++
			r.steps = append(r.steps, step{call: call, versions: len(r.versions)})
		}
		if r.strikes() && r.fault.crash != nil && *r.fault.crash == after {
			r.struck = true
			r.told = append(r.told, r.emitted()...)
			panic(crashed{})
		}
		return nil
	}
	r.kube, r.wire = r.callKube, r.callService
}

// alone does what is no part of the operation: nobody looks, and no call is counted.
func (r *trial) alone(do func()) {
	boundary, kube, wire := r.boundary, r.kube, r.wire
	r.boundary, r.kube, r.wire = nil, nil, nil
	do()
	r.boundary, r.kube, r.wire = boundary, kube, wire
}

// strikes reports whether the fault is due at the current call.
func (r *trial) strikes() bool { return r.fault != nil && !r.struck && r.position == r.at }

// callKube makes a call of the API server, or what the fault makes of it, and remembers what was stored.
func (r *trial) callKube(call kubeCall) error {
	do := r.rules.kubeOf(r, call)
	place := &r.steps[len(r.steps)-1]
	place.kube, place.kind = &kubeCall{verb: call.verb, subresource: call.subresource, key: call.key, cached: call.cached}, kindOf(call.object)
	call.do = func() error {
		err := do()
		if err == nil && (call.verb == "create" || call.verb == "patch") {
			r.stored(call.object.(client.Object))
		}
		return err
	}
	if r.strikes() && r.fault.kube != nil {
		r.struck = true
		return r.fault.kube(r, call)
	}
	err := call.do()
	place.missing = apierrors.IsNotFound(err)
	return err
}

// stored looks at what was written.
func (r *trial) stored(object client.Object) {
	if _, ok := object.(*corev1.Secret); ok {
		return
	}
	shown := asJSON(object)
	if request := signingOf(object); request != nil {
		shown = strings.ReplaceAll(shown, request.PSBT, "") // which is there to be read
	}
	fmt.Fprintln(&r.shown, shown)
	object = object.DeepCopyObject().(client.Object)
	if record, ok := object.(*v1alpha1.PaymentRecord); ok {
		if kind := record.Spec.Kind; kind == v1alpha1.RecordLightningPayment || kind == v1alpha1.RecordOnchainSend {
			r.record = record.Name
		}
		r.trace = append(r.trace, traced{at: r.clock.Now(), record: record})
		return
	}
	if kindOf(object) != r.kind || object.GetName() != r.object.GetName() {
		return
	}
	r.versions = append(r.versions, object)
	r.trace = append(r.trace, traced{at: r.clock.Now(), resource: object})
	if request := signingOf(object); request != nil && request.PSBT != "" {
		r.signs(object, request)
	}
	if issued, ok := object.(*v1alpha1.LightningInvoice); ok && issued.Status.PaymentRequest != "" &&
		!slices.Contains(r.invoices, issued.Status.PaymentRequest) {
		// A customer pays the first BOLT11 that can be read, at once.
		if r.invoices = append(r.invoices, issued.Status.PaymentRequest); len(r.invoices) == 1 {
			r.settle(issued.Status.PaymentRequest, false)
		}
	}
}

// signs is what a person does who reads what is to be signed.
func (r *trial) signs(object client.Object, request *v1alpha1.SigningRequest) {
	r.t.Helper()
	signature := testkit.MakePaymentSignature(referenceTo(object), request.Attempt, signPSBT(r.people, request.PSBT, r.t))
	signature.Namespace, signature.Name = object.GetNamespace(), fmt.Sprintf("signature-%s-%d-%s", object.GetUID(), request.Attempt, request.Txid[:12])
	switch err := r.api.Create(r.t.Context(), signature); {
	case err == nil:
		r.signatures++
	case !apierrors.IsAlreadyExists(err):
		r.t.Fatalf("creating a signature: %v", err)
	}
}

// callService makes a call of the service, or what the fault makes of it, and remembers those that begin and end payments.
func (r *trial) callService(request *http.Request, next http.RoundTripper) (*http.Response, error) {
	before := len(r.sandbox.Requests())
	send := func(request *http.Request) (*http.Response, error) {
		if r.strikes() && r.fault.wire != nil {
			r.struck = true
			return r.fault.wire(request)
		}
		return next.RoundTrip(request)
	}
	begins, ends := strings.HasSuffix(request.URL.Path, "-begin"), strings.HasSuffix(request.URL.Path, "-end")
	var made *moneyCall
	if begins || ends {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		copied := request.Clone(request.Context())
		copied.Body = io.NopCloser(bytes.NewReader(body))
		request, made = copied, r.leaving(ends, body)
	}
	response, err := r.rules.answerOf(request, func() (*http.Response, error) { return send(request) }, made)
	requests := r.sandbox.Requests()
	if len(requests) > before {
		place := &r.steps[len(r.steps)-1]
		place.operation = requests[before].Operation
	}
	if made != nil && made.answer == nil {
		made.answer = readAnswer(&response, err, len(requests) == before)
	}
	return response, err
}

// leaving remembers a begin or an end at the instant at which it leaves, and what the API server then has on record.
func (r *trial) leaving(ends bool, body []byte) *moneyCall {
	made := &moneyCall{end: ends, onchain: r.onchain(), record: r.record}
	if ends {
		made.txid = testkit.TxidOfEnd(body)
	}
	record := &v1alpha1.PaymentRecord{ObjectMeta: metav1.ObjectMeta{Namespace: r.operator, Name: r.record}}
	if r.record != "" && r.exists(record) {
		made.ahead = &record.Journal
	}
	r.trace = append(r.trace, traced{at: r.clock.Now(), call: made})
	return made
}

// maxTrialPasses is far more than any operation needs after one fault.
const maxTrialPasses = 300

// run makes passes, moving the clock to when they want the next, until the operation has come to its end.
func (r *trial) run() {
	r.t.Helper()
	for range maxTrialPasses {
		before, signed := r.struck, r.signatures
		result, err := r.reconcile(r.object)
		if err != nil && errors.Is(err, reconcile.TerminalError(nil)) {
			r.t.Fatalf("an invariant of the operator broke: %v", err)
		}
		mended := r.restore != nil
		if mended {
			r.restore()
			r.restore = nil
		}
		after := result.RequeueAfter
		if err != nil || mended || r.signatures > signed {
			after = time.Second
		}
		if err == nil && before == r.struck && !mended && r.exists(r.object) {
			if err := testkit.CheckStatus(r.object); err != nil {
				r.t.Error(err)
			}
		}
		if r.ended(after) {
			return
		}
		r.clock.Step(after)
	}
	r.t.Fatalf("%s does not come to rest: %s", r.kind, asJSON(conditionsOf(r.object)))
}

func (r *trial) ended(after time.Duration) bool {
	if r.kind != "Wallet" || !r.exists(r.object) {
		return after == 0
	}
	return meta.IsStatusConditionTrue(conditionsOf(r.object), v1alpha1.ConditionReady)
}

// rest20 makes twenty further passes and remembers what they wrote, or called that could move money.
func (r *trial) rest20() {
	r.boundary = func(call string, after bool) error {
		writes := strings.HasPrefix(call, "K ") && !strings.HasPrefix(call, "K get") && !strings.HasPrefix(call, "K list")
		if !after && (writes || movesMoney(call)) {
			r.later = append(r.later, call)
		}
		return nil
	}
	// What does not change need not be read twenty times: a manager answers these reads from its cache as well.
	unchanged := r.exists(r.object)
	r.kube = func(call kubeCall) error {
		if call.cached && call.verb == "get" && unchanged {
			reflect.ValueOf(call.object).Elem().Set(reflect.ValueOf(r.object.DeepCopyObject()).Elem())
			return nil
		}
		unchanged = unchanged && (call.verb == "get" || call.verb == "list")
		return call.do()
	}
	r.wire = nil
	for range 20 {
		if _, err := r.reconcile(r.object); err != nil {
			r.later = append(r.later, err.Error())
		}
		r.clock.Step(time.Minute)
	}
}

// movesMoney reports whether a call of the service may move money, out or in. Registering a wallet, once a process, and looking do not.
func movesMoney(call string) bool {
	return strings.HasSuffix(call, "-begin") || strings.HasSuffix(call, "-end") || strings.HasSuffix(call, "/create-invoice") ||
		strings.HasSuffix(call, "/settle")
}

// outcome lets everything that is still under way at the service happen, and collects what the oracles judge.
func (r *trial) outcome() *outcome {
	r.t.Helper()
	r.clock.Step(2 * time.Hour)
	r.sandbox.Advance()
	if r.kind == "Wallet" && r.exists(r.object) {
		// A wallet is looked at for ever, and a list that answers by now says what was not known before.
		if _, err := r.reconcile(r.object); err != nil {
			r.later = append(r.later, err.Error())
		}
	}
	r.rest20()
	found := &outcome{
		operation: r.operation, manifest: r.manifest, trace: r.trace, invoices: r.invoices, later: r.later, told: map[string]int{},
	}
	if r.exists(r.object) {
		found.object = r.object
	}
	for _, entry := range r.sandbox.Ledger()[r.movements:] {
		switch entry.Kind {
		case sandbox.LightningIn, sandbox.LightningOut, sandbox.OnchainOut:
			found.ledger = append(found.ledger, entry)
		}
	}
	for _, event := range append(r.told, r.emitted()...) {
		fmt.Fprintln(&r.shown, event)
		found.told[strings.Fields(event)[1]]++
	}
	for _, request := range r.sandbox.Requests() {
		if request.Effect == sandbox.EffectCreated && !request.Repeat {
			found.issued++
		}
	}
	if found.object != nil && phase(found.object) == string(v1alpha1.PaymentUnknown) {
		found.unknownMetric = r.unknownMetric()
	}
	found.shown = r.shown.String()
	return found
}
