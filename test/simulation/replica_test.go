package simulation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/controller"
)

// replica is one process of the operator: reconcilers, a cache that lags, and a work queue.
type replica struct {
	sim         *sim
	name        string
	starts      int
	controllers *controller.Controllers
	// dead tells that there is no process, dying that its tasks are still to be ended, downUntil when another starts.
	dead, dying bool
	downUntil   time.Time
	// offset is by how much its clock is ahead.
	offset time.Duration
	// frozenUntil is until when the process does nothing, as one that is paused by its kernel.
	frozenUntil time.Time
	// seen is how many changes of a kind the cache has taken in.
	seen map[string]int
	// due is when an object is to be reconciled, zero for not at all; dirty that it changed while it was being reconciled.
	due      []time.Time
	busy     []bool
	dirty    []bool
	failures []int
}

var watchedKinds = []string{"Wallet", "LightningInvoice", "LightningPayment", "OnchainSend", "Settlement", "PaymentApproval", "PaymentSignature"}

// start starts a process: its caches are filled, and everything is reconciled once.
func (s *sim) start(r *replica) {
	r.starts++
	r.dead, r.frozenUntil = false, time.Time{}
	count := len(s.objects)
	r.due, r.busy, r.dirty, r.failures = make([]time.Time, count), make([]bool, count), make([]bool, count), make([]int, count)
	r.seen = map[string]int{}
	for _, kind := range watchedKinds {
		r.seen[kind] = len(s.api.watches[kind])
	}
	options := s.options
	options.Identity = fmt.Sprintf("%s-%d", r.name, r.starts)
	options.Transport = &transport{sim: s}
	options.Clock = &replicaClock{s.clock, r}
	options.Shard = s.shardOf(r)
	r.controllers = controller.New(&replicaClient{replica: r, cached: true}, &replicaClient{replica: r}, &recorder{s}, options)
	r.controllers.Payments.Turns = nil // which block, and one thing happens at a time here
	if s.mutation.tune != nil {
		s.mutation.tune(r.controllers)
	}
	s.note("%s starts", options.Identity)
	s.enqueueAll(r)
}

func (s *sim) enqueueAll(r *replica) {
	for i, o := range s.objects {
		if s.api.current(o.key) != nil {
			r.due[i] = s.clock.Now()
		}
	}
}

func (r *replica) running() int {
	count := 0
	for _, busy := range r.busy {
		if busy {
			count++
		}
	}
	return count
}

// die ends the process; its tasks make no further call.
func (s *sim) die(r *replica) {
	r.dead, r.dying = true, true
	r.downUntil = s.clock.Now().Add(time.Duration(1+s.random.IntN(40)) * time.Second)
	s.note("%s-%d crashes", r.name, r.starts)
}

// reconcile starts a reconcile of o.
func (s *sim) reconcile(r *replica, o *object) {
	r.due[o.index], r.busy[o.index], r.dirty[o.index] = time.Time{}, true, false
	t := &task{name: fmt.Sprintf("%s %s", r.name, o.key.name), replica: r, object: o}
	if cached := s.cachedAt(r, o.key); cached != nil {
		t.uid = string(cached.GetUID())
	}
	controllers := r.controllers
	s.spawn(t, func() {
		ctx := log.IntoContext(context.Background(), s.logger)
		request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.key.namespace, Name: o.key.name}}
		switch o.key.kind {
		case "Wallet":
			t.result, t.err = controllers.Wallet.Reconcile(ctx, request)
		case "LightningInvoice":
			t.result, t.err = controllers.Invoice.Reconcile(ctx, request)
		case "PaymentRecord":
			t.result, t.err = controllers.Receipt.Reconcile(ctx, request)
		case "LightningPayment":
			t.result, t.err = controllers.Payment.Reconcile(ctx, request)
		case "OnchainSend":
			t.result, t.err = controllers.Send.Reconcile(ctx, request)
		case "Settlement":
			t.result, t.err = controllers.Settle.Reconcile(ctx, request)
		case observedKind:
			t.result, t.err = controllers.Observe.Reconcile(ctx, request)
		}
	})
}

// finished does with the result of a reconcile what a work queue does.
func (s *sim) finished(t *task) {
	r, i := t.replica, t.object.index
	if t.crashed {
		if t.ahead != nil {
			s.doubt(t.recordName(), "a crash after the write-ahead")
		}
		return
	}
	if r.dead || !r.busy[i] {
		return
	}
	r.busy[i] = false
	now := s.clock.Now()
	after := t.result.RequeueAfter
	if t.err != nil {
		s.check("errors", !isTerminal(t.err), "%s: an invariant broke: %v", t.name, t.err)
		s.scan("an error", t.err.Error())
		after = time.Second << min(r.failures[i], 8)
		r.failures[i]++
	} else {
		r.failures[i] = 0
	}
	if after > 0 {
		r.due[i] = now.Add(after)
	}
	s.told(r)
	if r.dirty[i] {
		r.due[i] = now
	}
	s.note("%s done, again after %s%s", t.name, after, errorText(t.err))
}

func isTerminal(err error) bool { return strings.HasPrefix(err.Error(), "terminal error") }

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// catchUp lets the cache of r take in some of the changes of a kind that it has not seen.
func (s *sim) catchUp(r *replica, kind string) {
	behind := len(s.api.watches[kind]) - r.seen[kind]
	count := behind
	if s.chaotic {
		count = 1 + s.random.IntN(behind)
	}
	for range count {
		made := s.api.watches[kind][r.seen[kind]]
		r.seen[kind]++
		s.enqueue(r, made)
	}
}

// enqueue adds to the queue what the manager's predicates and mappings would, see SetupWithManager.
func (s *sim) enqueue(r *replica, made change) {
	add := func(o *object) {
		r.due[o.index] = s.clock.Now()
		r.dirty[o.index] = true
	}
	if made.key.kind == "PaymentApproval" || made.key.kind == "PaymentSignature" {
		given := made.after
		if given == nil {
			given = made.before
		}
		var of v1alpha1.PaymentReference
		switch given := given.(type) {
		case *v1alpha1.PaymentApproval:
			of = given.Spec.PaymentRef
		case *v1alpha1.PaymentSignature:
			of = given.Spec.PaymentRef
		}
		if o := s.objectOf(objectKey{of.Kind, made.key.namespace, of.Name}); o != nil {
			add(o)
		}
		return
	}
	own := s.objectOf(made.key)
	if made = s.asSeenBy(r, made); own == nil || made.before == nil && made.after == nil {
		return
	}
	if made.before == nil || made.after == nil || made.before.GetGeneration() != made.after.GetGeneration() ||
		fmt.Sprint(made.before.GetAnnotations()) != fmt.Sprint(made.after.GetAnnotations()) || statusLost(made.before, made.after) {
		add(own)
	}
	if made.key.kind != "Wallet" {
		return
	}
	if made.before != nil && made.after != nil && !walletChanged(made.before.(*v1alpha1.Wallet), made.after.(*v1alpha1.Wallet)) {
		return
	}
	for _, o := range s.objects {
		if o.wallet == made.key.name && s.cachedAt(r, o.key) != nil {
			add(o)
		}
	}
}

func statusLost(before, after client.Object) bool {
	type conditioned interface{ GetConditions() []metav1.Condition }
	return len(before.(conditioned).GetConditions()) > 0 && len(after.(conditioned).GetConditions()) == 0
}

func walletChanged(before, after *v1alpha1.Wallet) bool {
	return before.Generation != after.Generation ||
		meta.IsStatusConditionTrue(before.Status.Conditions, v1alpha1.ConditionReady) !=
			meta.IsStatusConditionTrue(after.Status.Conditions, v1alpha1.ConditionReady) ||
		before.Status.ObservedGeneration != after.Status.ObservedGeneration
}

// cachedAt returns what the cache of r holds of key.
func (s *sim) cachedAt(r *replica, key objectKey) client.Object {
	return s.visibleTo(r, s.api.at(key, s.cacheRevision(r, key.kind)))
}

func (s *sim) cacheRevision(r *replica, kind string) int64 {
	if kind == "PaymentRecord" {
		return s.api.revision // no cache holds them
	}
	if r.seen[kind] == 0 {
		return 0
	}
	return s.api.watches[kind][r.seen[kind]-1].revision
}

// replicaClient is the API server as a replica reaches it: the caller of every call hands control to the scheduler first.
type replicaClient struct {
	client.Client // nil: what is not below is not used by the operator
	replica       *replica
	// cached reads come from the replica's cache.
	cached bool
}

// call makes one call between its two boundaries, at each of which the seed may have put a fault.
func (c *replicaClient) call(name string, do func() error) error {
	s := c.replica.sim
	s.judge.stats.kubeCalls++
	if err := s.cross(name, false); err != nil {
		s.note("%s K %s: not made: %v", s.current.name, name, err)
		return err
	}
	err := do()
	s.tick()
	if injected := s.cross(name, true); injected != nil {
		s.note("%s K %s: answer lost (%v)", s.current.name, name, injected)
		if ahead := s.current.ahead; ahead != nil && s.current.object.key.kind == "Settlement" {
			s.doubt(ahead.record, "a write-ahead whose answer was lost")
		}
		return injected
	}
	if s.tracing {
		s.note("%s K %s%s", s.current.name, name, errorText(err))
	}
	return err
}

// Get implements client.Reader.
func (c *replicaClient) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	s, kind := c.replica.sim, kindOf(object)
	if c.cached {
		// A cache answers at once and never fails.
		wanted := objectKey{kind, key.Namespace, key.Name}
		found := s.cachedAt(c.replica, wanted)
		if found == nil {
			return apierrors.NewNotFound(resourceOf(kind), key.Name)
		}
		assign(object, found)
		if wanted == s.current.object.key {
			s.current.uid, s.current.cached = string(object.GetUID()), found
		}
		if s.mutation.read != nil {
			s.mutation.read(object)
		}
		return nil
	}
	return c.call("get "+kind+" "+short(key.Name), func() error {
		wanted := objectKey{kind, key.Namespace, key.Name}
		revision := s.revisionToRead(wanted)
		err := s.api.get(wanted, object, revision)
		s.current.looked(wanted, revision, s.clock.Now())
		if err == nil && s.mutation.read != nil {
			s.mutation.read(object)
		}
		return err
	})
}

// List implements client.Reader.
func (c *replicaClient) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	kind := kindOf(list)
	return c.call("list "+kind, func() error {
		var all client.ListOptions
		all.ApplyOptions(options)
		s := c.replica.sim
		if approvals, ok := list.(*v1alpha1.PaymentApprovalList); ok {
			s.api.listApprovals(approvals, &all)
			if !c.cached {
				s.current.looks.approvals, s.current.looks.approvalsAt = s.api.revision, s.clock.Now()
			}
			for i := range approvals.Items {
				if s.mutation.read != nil {
					s.mutation.read(&approvals.Items[i])
				}
			}
			return nil
		}
		if signatures, ok := list.(*v1alpha1.PaymentSignatureList); ok {
			s.api.listSignatures(signatures, &all)
			s.current.signaturesAt = s.api.revision
			return nil
		}
		s.api.listRecords(list.(*v1alpha1.PaymentRecordList), &all)
		return nil
	})
}

// Create implements client.Writer.
func (c *replicaClient) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	return c.call("create "+kindOf(object)+" "+short(object.GetName()), func() error { return c.replica.sim.api.create(object) })
}

// Delete implements client.Writer.
func (c *replicaClient) Delete(_ context.Context, object client.Object, _ ...client.DeleteOption) error {
	return c.call("delete "+kindOf(object)+" "+short(object.GetName()), func() error { return c.replica.sim.api.remove(keyOf(object)) })
}

// Patch implements client.Writer.
func (c *replicaClient) Patch(_ context.Context, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
	return c.patch("patch ", object, patch, false)
}

func (c *replicaClient) patch(verb string, object client.Object, patch client.Patch, status bool) error {
	data, err := patch.Data(object)
	if err != nil {
		return err
	}
	name := verb + kindOf(object) + " " + short(object.GetName())
	if record, ok := object.(*v1alpha1.PaymentRecord); ok {
		name += fmt.Sprintf(" %s %d", record.Journal.Phase, record.Journal.Attempt)
	}
	return c.call(name, func() error { return c.replica.sim.api.patch(object, data, status) })
}

// Status implements client.StatusClient.
func (c *replicaClient) Status() client.SubResourceWriter { return &statusClient{client: c} }

type statusClient struct {
	client.SubResourceWriter
	client *replicaClient
}

// Patch implements client.SubResourceWriter.
func (c *statusClient) Patch(_ context.Context, object client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	return c.client.patch("patch status ", object, patch, true)
}

// short is a name as the timeline shows it.
func short(name string) string { return name[:min(len(name), 14)] }

// kubeFault is something that goes wrong at one call.
type kubeFault struct {
	// kind is crash, pause, or the error that takes the place of the call or its answer.
	kind string
	// call is what the call's name contains; empty for every call. after puts the fault behind its effect.
	call  string
	after bool
	// skip is how many matching calls pass before it strikes, count how many it then hits.
	skip, count int
	duration    time.Duration
}

// cross is a boundary of a call of the current task: control goes to the scheduler, and a fault may strike.
func (s *sim) cross(name string, after bool) error {
	t := s.current
	if t.killed || t.replica.dead {
		panic(crash{})
	}
	if !after {
		s.handBack()
	}
	if s.script != nil && t.object == s.script.object {
		return s.scripted(t, name, after)
	}
	for i := 0; i < len(s.faults); i++ {
		f := s.faults[i]
		if f.after != after || !strings.Contains(name, f.call) {
			continue
		}
		if f.skip > 0 {
			f.skip--
			continue
		}
		s.judge.disturbed = true
		if f.count--; f.count <= 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		switch f.kind {
		case "crash":
			s.judge.stats.crashes++
			s.note("%s: crash at %s, after it %t", t.name, name, after)
			s.die(t.replica)
			panic(crash{})
		case "pause":
			s.judge.stats.pauses++
			s.freeze(t.replica, f.duration)
			s.note("%s: paused for %s at %s, after it %t", t.name, f.duration, name, after)
			s.handBack()
			return nil
		}
		s.judge.stats.kubeFaults++
		return kubeError(f.kind)
	}
	return nil
}

// freeze pauses a process. Where it has an end under way for longer than others wait for the answer, it is as good as dead.
func (s *sim) freeze(r *replica, d time.Duration) {
	r.frozenUntil = s.clock.Now().Add(d)
	for _, t := range s.tasks {
		if t.replica == r && t.ahead != nil && d > quarantine {
			s.doubt(t.ahead.record, "a long pause with an end under way")
		}
	}
}

func kubeError(kind string) error {
	resource := resourceOf("object")
	switch kind {
	case "conflict":
		return apierrors.NewConflict(resource, "injected", fmt.Errorf("injected"))
	case "throttled":
		return apierrors.NewTooManyRequests("injected", 1)
	case "forbidden":
		return apierrors.NewForbidden(resource, "injected", fmt.Errorf("injected"))
	case "timeout":
		return apierrors.NewTimeoutError("injected", 1)
	case "gone":
		return apierrors.NewNotFound(resource, "injected")
	case "exists":
		return apierrors.NewAlreadyExists(resource, "injected")
	}
	return apierrors.NewInternalError(fmt.Errorf("injected"))
}

// recorder takes the events of a replica.
type recorder struct{ sim *sim }

// Eventf implements events.EventRecorder.
func (r *recorder) Eventf(regarding, _ runtime.Object, _, reason, _, note string, arguments ...any) {
	text := fmt.Sprintf(note, arguments...)
	r.sim.scan("an event", text)
	r.sim.note("event %s %s: %s", regarding.(client.Object).GetName(), reason, text)
}

// logSink takes the log of all replicas and looks for what must not be in it.
type logSink struct{ sim *sim }

func (l *logSink) Init(logr.RuntimeInfo) {}
func (l *logSink) Enabled(int) bool      { return true }
func (l *logSink) Info(_ int, text string, values ...any) {
	l.sim.scan("the log", fmt.Sprint(text, values))
}

func (l *logSink) Error(err error, text string, values ...any) {
	l.sim.scan("the log", fmt.Sprint(err, text, values))
}
func (l *logSink) WithValues(...any) logr.LogSink { return l }
func (l *logSink) WithName(string) logr.LogSink   { return l }
