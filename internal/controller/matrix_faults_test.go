package controller_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"syscall"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/internal/sandbox"
)

// singleFault is the one thing that goes wrong in a trial. One of crash, kube, wire and service is set.
type singleFault struct {
	// class is K, U or crash, kind one of the kinds below, name tells the variants of a kind apart.
	class, kind, name string
	// crash ends the process before the call, or after its effect.
	crash *bool
	// kube makes, or does not make, a call of the API server.
	kube func(r *trial, call kubeCall) error
	// wire answers a call of the service that never leaves.
	wire func(request *http.Request) (*http.Response, error)
	// service is the fault of the sandbox, at the call's place.
	service *sandbox.Fault
	// refuses tells of a refusal for good: the resource may come to be Failed, and no money may move.
	refuses bool
	// clear tells, of an end of an on-chain send, that its answer leaves no doubt.
	clear bool
	// removes tells that the resource itself goes and does not come back.
	removes bool
}

// The kinds of faults.
const (
	kindConflict      = "conflict"
	kindTimeout       = "timeout without effect"
	kindTimeoutEffect = "timeout with effect"
	kindOverload      = "429-5xx"
	kindStale         = "stale read"
	kindGone          = "object gone or new UID"
	kindAlreadyExists = "AlreadyExists"
	kindForbidden     = "forbidden"
	kindRefused       = "refused before send"
	kindRequestLost   = "request lost"
	kindResponseLost  = "response lost"
	kindLate          = "lands late"
	kindTwice         = "delivered twice"
	kindErrorBefore   = "5xx without effect"
	kindErrorAfter    = "5xx with effect"
	kindMalformed     = "200 cut or malformed"
	kindNull          = "200 null or unknown enum"
	kindNamed         = "4xx by name"
	kindThrottle      = "429/503 Retry-After"
	kindOtherObject   = "answer of another object"
	kindCrashed       = "crash"
)

// How late is late: before anybody asks again, and short of what the quarantine allows for, 300 s.
const (
	soon = 15 * time.Second
	late = 4 * time.Minute
)

// faultsAt are all faults that make sense at one step of an operation. Nothing is put between two calls: what happens there, signing
// above all, is pure, so that a crash there is a crash before the next call.
func faultsAt(o operation, steps []step, at int) []*singleFault {
	place := steps[at]
	all := []*singleFault{
		{class: "crash", kind: kindCrashed, name: "crash before", crash: ptr.To(false)},
		{class: "crash", kind: kindCrashed, name: "crash after", crash: ptr.To(true)},
	}
	if place.kube != nil {
		return append(all, kubeFaults(o, place, unsubmitted(steps, at))...)
	}
	return append(all, serviceFaults(place)...)
}

// unsubmitted reports whether nothing was submitted before the call at.
func unsubmitted(steps []step, at int) bool {
	for _, earlier := range steps[:at+1] {
		if strings.HasSuffix(earlier.call, "-end") {
			return false
		}
	}
	return true
}

func kubeFaults(o operation, place step, nothingSubmitted bool) []*singleFault {
	var all []*singleFault
	add := func(kind, name string, do func(r *trial, call kubeCall) error) {
		all = append(all, &singleFault{class: "K", kind: kind, name: name, kube: do})
	}
	instead := func(kind, name string, fault func(call kubeCall) error) {
		add(kind, name, func(_ *trial, call kubeCall) error { return fault(call) })
	}
	instead(kindTimeout, kindTimeout, timedOut)
	instead(kindOverload, "429", func(kubeCall) error { return apierrors.NewTooManyRequests("slow down", 1) })
	instead(kindOverload, "500", func(kubeCall) error { return apierrors.NewInternalError(errors.New("etcd has no leader")) })
	instead(kindForbidden, kindForbidden, func(call kubeCall) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: kindOf(call.object)}, call.key.Name, errors.New("no rule allows it"))
	})
	switch place.kube.verb {
	case "get":
		if place.kube.cached && place.versions > 1 {
			add(kindStale, "stale read of the version before", func(r *trial, call kubeCall) error { return r.stale(call, len(r.versions)-2) })
		}
		if place.kube.cached && place.versions > 2 {
			add(kindStale, "stale read of the first version", func(r *trial, call kubeCall) error { return r.stale(call, 0) })
		}
	case "create":
		add(kindTimeoutEffect, kindTimeoutEffect, effectual)
		add(kindAlreadyExists, "AlreadyExists, from an earlier process", func(r *trial, call kubeCall) error {
			r.createdBefore(call.object.(client.Object))
			return call.do()
		})
		instead(kindAlreadyExists, "AlreadyExists, and gone since", func(call kubeCall) error {
			return apierrors.NewAlreadyExists(schema.GroupResource{Resource: kindOf(call.object)}, call.key.Name)
		})
	case "patch":
		add(kindTimeoutEffect, kindTimeoutEffect, effectual)
		add(kindConflict, kindConflict, func(r *trial, call kubeCall) error {
			r.touch(call.object.(client.Object))
			return call.do()
		})
	case "delete":
		add(kindTimeoutEffect, kindTimeoutEffect, effectual)
	}
	return append(all, goneFaults(o, place, nothingSubmitted)...)
}

// goneFaults take away what a call is about. A record is deleted by nobody, which the protocol takes for granted; where it says that the
// payment is safe all the same, over Lightning and before anything was submitted, that is tried. The records of claims are written once
// and not read again.
func goneFaults(o operation, place step, nothingSubmitted bool) []*singleFault {
	gone := &singleFault{class: "K", kind: kindGone, name: "object gone"}
	anew := &singleFault{class: "K", kind: kindGone, name: "object with a new UID"}
	name := place.kube.key.Name
	switch {
	case place.missing || place.kube.verb == "create" || place.kube.verb == "list":
		return nil
	case place.kind == o.kind:
		gone.removes = true
		gone.kube = func(r *trial, call kubeCall) error { r.force(r.object); return call.do() }
		anew.kube = func(r *trial, call kubeCall) error { r.force(r.object); r.declareAgain(); return call.do() }
		return []*singleFault{gone, anew}
	case place.kind == "Wallet":
		gone.kube = func(r *trial, call kubeCall) error {
			r.force(r.world.wallet("main"))
			r.restore = func() { r.alone(r.declareWallet) }
			return call.do()
		}
		anew.kube = func(r *trial, call kubeCall) error {
			r.force(r.world.wallet("main"))
			r.create(r.declaredWallet())
			r.restore = func() { r.alone(r.syncWallet) }
			return call.do()
		}
		return []*singleFault{gone, anew}
	case place.kind == "Secret" && name == "main":
		gone.kube = func(r *trial, call kubeCall) error {
			keys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name}}
			r.get(keys)
			r.force(keys)
			r.restore = func() { r.alone(func() { keys.ResourceVersion, keys.UID = "", ""; r.create(keys) }) }
			return call.do()
		}
		return []*singleFault{gone}
	case place.kind == "Secret", place.kind == "Lease":
		gone.kube = func(r *trial, call kubeCall) error { r.take(call); return call.do() }
		return []*singleFault{gone}
	case place.kind == "PaymentRecord" && mayGo(o, name, nothingSubmitted):
		gone.kube = func(r *trial, call kubeCall) error { r.take(call); return call.do() }
		gone.refuses = strings.HasPrefix(name, "oc-") // a status that names it holds the send until its time is over
		return []*singleFault{gone}
	}
	return nil
}

func mayGo(o operation, record string, nothingSubmitted bool) bool {
	switch {
	case strings.HasPrefix(record, "ln-"), strings.HasPrefix(record, "in-"):
		return true
	case strings.HasPrefix(record, "epoch-"):
		return o.kind == "Wallet"
	}
	return strings.HasPrefix(record, "oc-") && nothingSubmitted
}

// timedOut is what a client returns whose request had no answer.
func timedOut(call kubeCall) error {
	return &url.Error{Op: call.verb, URL: "https://kube/" + call.key.String(), Err: context.DeadlineExceeded}
}

// effectual carries the call out and loses the answer.
func effectual(_ *trial, call kubeCall) error {
	if err := call.do(); err != nil {
		return err
	}
	return timedOut(call)
}

// stale answers a read from a cache that lags behind. Everything that is read besides comes from the API server, which reads etcd.
func (r *trial) stale(call kubeCall, version int) error {
	into := reflect.ValueOf(call.object).Elem()
	into.Set(reflect.ValueOf(r.versions[version].DeepCopyObject()).Elem())
	return nil
}

// touch changes an object as somebody else would, so that the next write to it conflicts.
func (r *trial) touch(object client.Object) {
	r.t.Helper()
	copied := object.DeepCopyObject().(client.Object)
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"example.com/touched":"yes"}}}`))
	if err := r.api.Patch(r.t.Context(), copied, patch); err != nil {
		r.t.Fatalf("touching %T: %v", object, err)
	}
}

// createdBefore creates what a process that is gone created, and knew no answer of. The Lease is another process's, which let it go.
func (r *trial) createdBefore(object client.Object) {
	r.t.Helper()
	copied := object.DeepCopyObject().(client.Object)
	if lease, ok := copied.(*coordinationv1.Lease); ok {
		lease.Spec.HolderIdentity, lease.Annotations = ptr.To("another-process"), nil
	}
	r.create(copied)
}

// take deletes the object of a call, if it is there.
func (r *trial) take(call kubeCall) {
	r.t.Helper()
	object := call.object.DeepCopyObject().(client.Object)
	object.SetNamespace(call.key.Namespace)
	object.SetName(call.key.Name)
	object.SetResourceVersion("")
	object.SetUID("")
	if err := client.IgnoreNotFound(r.api.Delete(r.t.Context(), object)); err != nil {
		r.t.Fatalf("deleting %T: %v", object, err)
	}
}

// force takes a resource away at once, whatever its finalizers wait for.
func (r *trial) force(object client.Object) {
	r.t.Helper()
	copied := object.DeepCopyObject().(client.Object)
	r.get(copied)
	if len(copied.GetFinalizers()) > 0 {
		copied.SetFinalizers(nil)
		if err := r.api.Update(r.t.Context(), copied); err != nil {
			r.t.Fatalf("forcing %T: %v", object, err)
		}
	}
	r.delete(copied)
}

// declareAgain creates the resource from its manifest, and has it looked at: a manager is told of it.
func (r *trial) declareAgain() {
	r.t.Helper()
	again := r.manifest.DeepCopyObject().(client.Object)
	again.SetUID("")
	again.SetResourceVersion("")
	r.create(again)
	r.restore = func() {}
}

func (r *trial) declareWallet() {
	r.create(r.declaredWallet())
	r.syncWallet()
}

// mutating are the calls that change something at the service; all others only read.
var mutating = map[sandbox.Operation]bool{
	sandbox.RegisterWallet: true, sandbox.CreateInvoice: true, sandbox.PayBegin: true, sandbox.PayEnd: true, sandbox.OnchainBegin: true,
	sandbox.OnchainEnd: true,
}

func serviceFaults(place step) []*singleFault {
	var all []*singleFault
	add := func(kind, name string, f sandbox.Fault) *singleFault {
		f.Operation, f.Nth = place.operation, place.nth
		all = append(all, &singleFault{class: "U", kind: kind, name: name, service: &f})
		return all[len(all)-1]
	}
	all = append(all, &singleFault{class: "U", kind: kindRefused, name: kindRefused, clear: true, wire: refuseConnection})
	if place.operation == "" { // a path that this service does not have: the sandbox puts no faults there
		return append(all, namedRefusals(place)...)
	}
	add(kindRequestLost, kindRequestLost, sandbox.Fault{Kind: sandbox.FaultDropRequest})
	add(kindErrorBefore, "500 without effect", sandbox.Fault{Kind: sandbox.FaultErrorBefore})
	add(kindErrorBefore, "a gateway's page without effect", sandbox.Fault{Kind: sandbox.FaultHTML})
	add(kindMalformed, "200 cut", sandbox.Fault{Kind: sandbox.FaultTruncate})
	add(kindMalformed, "200 malformed", sandbox.Fault{Kind: sandbox.FaultGarble})
	add(kindNull, "200 null", sandbox.Fault{Kind: sandbox.FaultNull})
	add(kindNull, "200 with an unknown word", sandbox.Fault{Kind: sandbox.FaultUnknownStatus}).clear = true
	add(kindThrottle, "429 with Retry-After", sandbox.Fault{Kind: sandbox.FaultThrottle, RetryAfter: 7})
	add(kindThrottle, "503 with Retry-After", sandbox.Fault{Kind: sandbox.FaultThrottle, Status: http.StatusServiceUnavailable, RetryAfter: 7})
	add(kindOtherObject, kindOtherObject, sandbox.Fault{Kind: sandbox.FaultOtherObject})
	if mutating[place.operation] {
		add(kindResponseLost, kindResponseLost, sandbox.Fault{Kind: sandbox.FaultDropAnswer})
		add(kindErrorAfter, "500 with effect", sandbox.Fault{Kind: sandbox.FaultErrorAfter})
		add(kindErrorAfter, "a gateway's page with effect", sandbox.Fault{Kind: sandbox.FaultHTMLAfter})
		add(kindLate, "lands 15 s late", sandbox.Fault{Kind: sandbox.FaultLandLate, Delay: sandbox.Duration(soon)})
		add(kindLate, "lands 4 min late", sandbox.Fault{Kind: sandbox.FaultLandLate, Delay: sandbox.Duration(late)})
		add(kindTwice, "delivered twice, answered as the second time", sandbox.Fault{Kind: sandbox.FaultDeliverTwice}).clear = true
		add(kindTwice, "delivered again 15 s later", sandbox.Fault{
			Kind: sandbox.FaultDeliverTwice, Delay: sandbox.Duration(soon),
		}).clear = true
	}
	return append(all, namedRefusals(place)...)
}

// refuseConnection is what a dial answers where nobody listens.
func refuseConnection(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// named is a refusal in one of the service's own words.
type named struct {
	status int
	// name is that of an error of the node, or of the wallet library where library is set; text stands alone.
	name, text string
	library    bool
	// forGood refuses what no time mends.
	forGood bool
}

// names are the refusals of each operation: those that mean the same to all, and its own.
var names = map[sandbox.Operation][]named{
	sandbox.RegisterWallet: {{status: 400, text: "Invalid xpub"}, {status: 409, name: "FileAlreadyExists", library: true}},
	sandbox.CreateInvoice:  {{status: 400, name: "InvalidAmount", forGood: true}},
	sandbox.PayBegin: {
		{status: 403, name: "InsufficientCapacity"},
		{status: 400, name: "InvalidInvoice", forGood: true},
		{status: 422, name: "InsufficientBitcoins", library: true},
	},
	sandbox.PayEnd: {
		{status: 403, name: "DuplicatePayment"},
		{status: 403, name: "FailedPayment"},
		{status: 400, name: "InvalidInvoice", forGood: true},
		{status: 400, text: "No invoice found. Please call /pay-invoice-begin first to create a PSBT."},
		{status: 400, name: "CannotFinalizePsbt", library: true},
	},
	sandbox.OnchainBegin: {{status: 400, name: "InvalidFeeRate", library: true, forGood: true}, {status: 422, name: "InsufficientBitcoins", library: true}},
	sandbox.OnchainEnd: {
		{status: 400, text: "No PSBT found. Please call /withdraw-begin first to create a PSBT."},
		{status: 400, name: "CannotFinalizePsbt", library: true},
		{status: 400, name: "InvalidPsbt", library: true},
	},
	sandbox.SendRequest:    {{status: 403, name: "PaymentNotFound"}, {status: 404, text: "Not Found"}},
	sandbox.ReceiveRequest: {{status: 403, name: "PaymentNotFound"}, {status: 404, text: "Not Found"}},
	sandbox.OnchainStatus:  {{status: 404, text: "Withdrawal not found"}, {status: 404, text: "Send not found"}},
	sandbox.ListPayments:   {{status: 405, text: "Method Not Allowed"}},
}

func namedRefusals(place step) []*singleFault {
	common := []named{{status: 403, name: "LockedNode"}, {status: 403, name: "ChangingState"}, {status: 400, text: "Wallet not initialized"}}
	var all []*singleFault
	for _, n := range append(common, names[place.operation]...) {
		made := &singleFault{class: "U", kind: kindNamed, name: fmt.Sprintf("%d %s%.24s", n.status, n.name, n.text), refuses: n.forGood}
		if n.name != "" && !n.library && place.operation != "" {
			made.service = &sandbox.Fault{
				Kind: sandbox.FaultRefuse, Operation: place.operation, Nth: place.nth, Status: n.status, Name: n.name, Message: "refused by the node",
			}
		} else {
			made.wire, made.clear = n.answer, true
		}
		all = append(all, made)
	}
	return all
}

// answer is the refusal as the service words it.
func (n named) answer(request *http.Request) (*http.Response, error) {
	body := asJSON(map[string]any{"detail": n.text})
	switch {
	case n.library:
		body = asJSON(map[string]any{"error": n.name, "message": "refused by the wallet library", "status": n.status})
	case n.name != "":
		body = asJSON(map[string]any{"detail": map[string]any{"error": "refused by the node", "code": n.status, "name": n.name}})
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", n.status, http.StatusText(n.status)), StatusCode: n.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		Request: request,
	}, nil
}

// expected is what an operation may come to under a fault.
type expected struct {
	// unknown: it must be Unknown; failed: it may be Failed; gone: the resource is no more.
	unknown, failed, gone bool
	// lied: the service had something else signed than it was asked for, which the PSBT does not show.
	lied bool
	// unseen: the service answered with another invoice's id, and has no list to find this one in: it cannot be seen to be paid.
	unseen bool
}

// expectedOf says what a fault may lead to. Unknown is where docs/protocol.md has it, and nowhere else.
func expectedOf(o operation, steps []step, f *singleFault, at int) expected {
	want := expected{failed: f.refuses, gone: f.removes}
	if f.kind == kindOtherObject {
		switch steps[at].operation {
		case sandbox.FeeEstimate, sandbox.PayBegin, sandbox.OnchainBegin: // which asks for too much, or for another payee
			want.failed, want.lied = true, o.profile == sandbox.Reference
		case sandbox.CreateInvoice:
			want.unseen = o.profile == sandbox.Reference
		}
	}
	if !o.onchain() {
		return want
	}
	call := func(from int, is func(step) bool) int {
		for n := from; n < len(steps); n++ {
			if is(steps[n]) {
				return n
			}
		}
		return len(steps)
	}
	end := call(0, func(s step) bool { return strings.HasSuffix(s.call, "/onchain-send-end") })
	ahead, claimed := end-1, call(end, func(s step) bool { return s.call == "K create PaymentRecord" })
	switch {
	case f.class == "U" && at == end && f.kind == kindOtherObject:
		want.unknown = true // whose it is cannot be known from any service
	case o.profile == sandbox.Reference:
	case f.class == "U" && at == end:
		want.unknown = !f.clear
	case f.crash != nil:
		// From the write-ahead to the claim of the answered id.
		from, until := ahead, claimed
		want.unknown = (at > from || at == from && *f.crash) && (at < until || at == until && !*f.crash)
	}
	return want
}
