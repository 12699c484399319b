package simulation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// apiServer keeps objects as an API server does, as far as the operator can tell: one resourceVersion for all, compare-and-swap, a status
// subresource of its own, generations, finalizers, and the history that watches replay. It is written for this test because a payment makes
// some thirty calls, and thousands of payments have to fit in a minute.
type apiServer struct {
	clock    clock.PassiveClock
	revision int64
	uids     int
	objects  map[objectKey]*history
	keys     []objectKey // of objects, in the order of creation: maps have no order
	watches  map[string][]change
	rules    rules
	// written is told of every change that was stored.
	written func(change)
}

// rules are what the API server guarantees. The zero value keeps them all; only tests of the oracles break some.
type rules struct {
	// blindPatches ignores the resourceVersion of patches of a kind.
	blindPatches string
	// overwrites lets a creation replace what has that name already.
	overwrites func(objectKey) bool
	// swallows says which patches are answered as if they were stored, and are not.
	swallows func(before, after client.Object) bool
	// undeletes lists PaymentSignatures that were deleted.
	undeletes bool
	// rewrites changes what is stored.
	rewrites func(client.Object)
}

type objectKey struct{ kind, namespace, name string }

func (k objectKey) String() string { return k.kind + " " + k.name }

// change is one stored write. before is nil at a creation, after once the object is gone; text is after in JSON, empty then.
type change struct {
	revision      int64
	key           objectKey
	before, after client.Object
	text          []byte
}

// history is all that one name ever held, oldest first; an object of nil is one that is gone.
type history []version

type version struct {
	revision int64
	object   client.Object
	// document is the object as JSON, nil where it is gone. Versions share parts of it: nobody changes them.
	document map[string]any
}

func newAPIServer(now clock.PassiveClock) *apiServer {
	return &apiServer{clock: now, objects: map[objectKey]*history{}, watches: map[string][]change{}, written: func(change) {}}
}

// kindOf names the kinds that the operator uses. A simulation has no others.
func kindOf(object any) string {
	switch object.(type) {
	case *v1alpha1.PaymentRecord, *v1alpha1.PaymentRecordList:
		return "PaymentRecord"
	case *v1alpha1.PaymentApproval, *v1alpha1.PaymentApprovalList:
		return "PaymentApproval"
	case *v1alpha1.PaymentSignature, *v1alpha1.PaymentSignatureList:
		return "PaymentSignature"
	case *v1alpha1.LightningPayment:
		return "LightningPayment"
	case *v1alpha1.OnchainSend:
		return "OnchainSend"
	case *v1alpha1.Wallet:
		return "Wallet"
	case *v1alpha1.LightningInvoice:
		return "LightningInvoice"
	case *v1alpha1.Settlement:
		return "Settlement"
	case *coordinationv1.Lease:
		return "Lease"
	case *corev1.Secret:
		return "Secret"
	}
	panic(fmt.Sprintf("the simulated API server has no %T", object))
}

func keyOf(object client.Object) objectKey {
	return objectKey{kindOf(object), object.GetNamespace(), object.GetName()}
}

func resourceOf(kind string) schema.GroupResource {
	return schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: kind}
}

// at returns what key held at revision; nil for nothing. Nobody changes what it returns.
func (a *apiServer) at(key objectKey, revision int64) client.Object {
	return a.versionAt(key, revision).object
}

func (a *apiServer) versionAt(key objectKey, revision int64) version {
	if held := a.objects[key]; held != nil {
		for i := len(*held) - 1; i >= 0; i-- {
			if (*held)[i].revision <= revision {
				return (*held)[i]
			}
		}
	}
	return version{}
}

func (a *apiServer) current(key objectKey) client.Object { return a.at(key, a.revision) }

// get reads key as it was at revision into object.
func (a *apiServer) get(key objectKey, object client.Object, revision int64) error {
	found := a.at(key, revision)
	if found == nil {
		return apierrors.NewNotFound(resourceOf(key.kind), key.name)
	}
	assign(object, found)
	return nil
}

// assign makes object a copy of value.
func assign(object, value client.Object) {
	reflect.ValueOf(object).Elem().Set(reflect.ValueOf(value.DeepCopyObject()).Elem())
}

// listApprovals lists the PaymentApprovals of one payment, by its UID.
func (a *apiServer) listApprovals(list *v1alpha1.PaymentApprovalList, options *client.ListOptions) {
	uid, selected := options.FieldSelector.RequiresExactMatch("spec.paymentRef.uid")
	if !selected {
		panic("PaymentApprovals are listed of one payment")
	}
	for _, key := range a.keys {
		if key.kind != "PaymentApproval" || key.namespace != options.Namespace {
			continue
		}
		if found, ok := a.current(key).(*v1alpha1.PaymentApproval); ok && found.Spec.PaymentRef.UID == uid {
			list.Items = append(list.Items, *found.DeepCopy())
		}
	}
}

// listSignatures lists the PaymentSignatures of one payment, by its UID.
func (a *apiServer) listSignatures(list *v1alpha1.PaymentSignatureList, options *client.ListOptions) {
	uid, selected := options.FieldSelector.RequiresExactMatch("spec.paymentRef.uid")
	if !selected {
		panic("PaymentSignatures are listed of one payment")
	}
	for _, key := range a.keys {
		if key.kind != "PaymentSignature" || key.namespace != options.Namespace {
			continue
		}
		found := a.current(key)
		if found == nil && a.rules.undeletes {
			found = (*a.objects[key])[0].object
		}
		if given, ok := found.(*v1alpha1.PaymentSignature); ok && given.Spec.PaymentRef.UID == uid {
			list.Items = append(list.Items, *given.DeepCopy())
		}
	}
}

// listRecords lists PaymentRecords.
func (a *apiServer) listRecords(list *v1alpha1.PaymentRecordList, options *client.ListOptions) {
	selector := options.LabelSelector
	if selector == nil {
		selector = labels.Everything()
	}
	for _, key := range a.keys {
		if key.kind != "PaymentRecord" || options.Namespace != "" && key.namespace != options.Namespace {
			continue
		}
		found := a.current(key)
		if found == nil || !selector.Matches(labels.Set(found.GetLabels())) {
			continue
		}
		list.Items = append(list.Items, *found.(*v1alpha1.PaymentRecord).DeepCopy())
		if options.Limit > 0 && int64(len(list.Items)) == options.Limit {
			return
		}
	}
}

func (a *apiServer) create(object client.Object) error {
	key := keyOf(object)
	before := a.current(key)
	if before != nil && (a.rules.overwrites == nil || !a.rules.overwrites(key)) {
		return apierrors.NewAlreadyExists(resourceOf(key.kind), key.name)
	}
	created := decoded(object, encoded(object))
	a.uids++
	created.SetUID(types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", a.uids)))
	created.SetCreationTimestamp(metav1.NewTime(a.clock.Now().Truncate(1e9)))
	created.SetGeneration(1)
	created.SetDeletionTimestamp(nil)
	switch o := created.(type) {
	case *v1alpha1.LightningPayment:
		o.Status = v1alpha1.LightningPaymentStatus{ObservedGeneration: -1}
	case *v1alpha1.OnchainSend:
		o.Status = v1alpha1.OnchainSendStatus{ObservedGeneration: -1}
	case *v1alpha1.LightningInvoice:
		o.Status = v1alpha1.LightningInvoiceStatus{ObservedGeneration: -1}
	case *v1alpha1.Wallet:
		o.Status = v1alpha1.WalletStatus{ObservedGeneration: -1}
	case *v1alpha1.Settlement:
		o.Status = v1alpha1.SettlementStatus{ObservedGeneration: -1}
	case *corev1.Secret:
		for name, text := range o.StringData {
			if o.Data == nil {
				o.Data = map[string][]byte{}
			}
			o.Data[name] = []byte(text)
		}
		o.StringData = nil
	}
	a.store(key, before, version{object: created})
	assign(object, created)
	return nil
}

// patch applies a JSON merge patch (RFC 7386) to the object or to its status, and returns the result in object.
func (a *apiServer) patch(object client.Object, data []byte, status bool) error {
	key := keyOf(object)
	held := a.versionAt(key, a.revision)
	before := held.object
	if before == nil {
		return apierrors.NewNotFound(resourceOf(key.kind), key.name)
	}
	patch := generic(data)
	if metadata, ok := patch["metadata"].(map[string]any); ok && a.rules.blindPatches != key.kind {
		if expected, ok := metadata["resourceVersion"].(string); ok && expected != before.GetResourceVersion() {
			return apierrors.NewConflict(resourceOf(key.kind), key.name, fmt.Errorf("it is at %s, not %s", before.GetResourceVersion(), expected))
		}
	}
	document := separated(key.kind, held.document, merged(held.document, patch), status)
	metadata := maps.Clone(document["metadata"].(map[string]any))
	document["metadata"] = metadata
	old := held.document["metadata"].(map[string]any)
	for _, name := range []string{"uid", "creationTimestamp", "deletionTimestamp", "generation", "resourceVersion"} {
		metadata[name] = old[name]
		if old[name] == nil {
			delete(metadata, name)
		}
	}
	if reflect.DeepEqual(held.document, document) {
		assign(object, before)
		return nil
	}
	if !status && declaresOther(key.kind, held.document, document) {
		metadata["generation"] = json.Number(strconv.FormatInt(before.GetGeneration()+1, 10))
	}
	metadata["resourceVersion"] = strconv.FormatInt(a.revision+1, 10)
	text := encoded(document)
	after := decoded(object, text)
	if err := validate(key, before, after); err != nil {
		return err
	}
	switch {
	case a.rules.swallows != nil && a.rules.swallows(before, after):
		after.SetResourceVersion(before.GetResourceVersion())
	case after.GetDeletionTimestamp() != nil && len(after.GetFinalizers()) == 0:
		a.store(key, before, version{})
	default:
		a.store(key, before, version{object: after, document: document}, text...)
	}
	assign(object, after)
	return nil
}

// update changes an object as a person does, on whatever it is now.
func (a *apiServer) update(key objectKey, status bool, edit func(client.Object)) {
	before := a.current(key)
	if before == nil {
		return
	}
	after := before.DeepCopyObject().(client.Object)
	edit(after)
	if !status && declaresOther(key.kind, documentOf(before), documentOf(after)) {
		after.SetGeneration(before.GetGeneration() + 1)
	}
	if after.GetDeletionTimestamp() != nil && len(after.GetFinalizers()) == 0 {
		after = nil
	}
	a.store(key, before, version{object: after})
}

func (a *apiServer) remove(key objectKey) error {
	before := a.current(key)
	if before == nil {
		return apierrors.NewNotFound(resourceOf(key.kind), key.name)
	}
	if len(before.GetFinalizers()) == 0 {
		a.store(key, before, version{})
		return nil
	}
	if before.GetDeletionTimestamp() == nil {
		after := before.DeepCopyObject().(client.Object)
		now := metav1.NewTime(a.clock.Now().Truncate(1e9))
		after.SetDeletionTimestamp(&now)
		after.SetGeneration(before.GetGeneration() + 1)
		a.store(key, before, version{object: after})
	}
	return nil
}

// store keeps a version, whose document and text it makes where they are not given. One without an object is the end of what was there.
func (a *apiServer) store(key objectKey, before client.Object, made version, text ...byte) {
	a.revision++
	made.revision = a.revision
	after := made.object
	if after != nil {
		if a.rules.rewrites != nil {
			a.rules.rewrites(after)
			made.document = nil
		}
		if made.document == nil {
			after.SetResourceVersion(strconv.FormatInt(a.revision, 10))
			text = encoded(after)
			made.document = generic(text)
		}
	}
	held := a.objects[key]
	if held == nil {
		held = &history{}
		a.objects[key] = held
		a.keys = append(a.keys, key)
	}
	*held = append(*held, made)
	stored := change{a.revision, key, before, after, text}
	if slices.Contains(watchedKinds, key.kind) {
		a.watches[key.kind] = append(a.watches[key.kind], stored)
	}
	a.written(stored)
}

// hasStatus tells of the kinds whose status is a subresource of its own.
func hasStatus(kind string) bool {
	switch kind {
	case "Wallet", "LightningInvoice", "LightningPayment", "OnchainSend", "Settlement":
		return true
	}
	return false
}

// separated keeps a write of the object out of its status, and the other way round. What it returns may be changed at the top.
func separated(kind string, before, after map[string]any, status bool) map[string]any {
	if !hasStatus(kind) {
		if status {
			panic(kind + " has no status")
		}
		return maps.Clone(after)
	}
	from, of := before, after
	if !status {
		from, of = after, before
	}
	made := maps.Clone(from)
	if made["status"] = of["status"]; made["status"] == nil {
		delete(made, "status")
	}
	return made
}

// declaresOther reports whether what is declared changed: what a generation counts.
func declaresOther(kind string, before, after map[string]any) bool {
	if kind == "PaymentRecord" && !reflect.DeepEqual(before["journal"], after["journal"]) {
		return true
	}
	return (kind == "PaymentRecord" || hasStatus(kind)) && !reflect.DeepEqual(before["spec"], after["spec"])
}

func documentOf(object client.Object) map[string]any { return generic(encoded(object)) }

// validate is the rules of PaymentRecord's schema that compare with what was there, as config/crd/bases has them, and that nobody adds a
// finalizer to what is being deleted.
func validate(key objectKey, before, after client.Object) error {
	problem := ""
	if before.GetDeletionTimestamp() != nil && len(after.GetFinalizers()) > len(before.GetFinalizers()) {
		problem = "no new finalizers can be added if the object is being deleted"
	}
	if old, ok := before.(*v1alpha1.PaymentRecord); ok {
		problem = invalidRecord(old, after.(*v1alpha1.PaymentRecord))
	}
	if problem == "" {
		return nil
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: 422, Reason: metav1.StatusReasonInvalid, Message: key.String() + ": " + problem,
	}}
}

func invalidRecord(old, record *v1alpha1.PaymentRecord) string {
	was, is := &old.Journal, &record.Journal
	free := was.Phase == v1alpha1.RecordCancelled || was.Phase == v1alpha1.RecordFailed && was.SubmittedAt == nil
	claim := old.Spec.Kind == v1alpha1.RecordOrderClaim && record.Spec.Kind == v1alpha1.RecordOrderClaim
	switch {
	case !free && !claim && !equality.Semantic.DeepEqual(old.Spec, record.Spec):
		return "spec is immutable"
	case was.Phase == v1alpha1.RecordSucceeded && is.Phase != v1alpha1.RecordSucceeded:
		return "a payment that succeeded stays so"
	case is.Attempt < was.Attempt:
		return "attempts are never taken back"
	case was.RequestID != "" && is.RequestID != was.RequestID:
		return "the service's id of a payment never changes"
	case !free && !claim && (was.Holder.Kind != is.Holder.Kind || was.Holder.Namespace != is.Holder.Namespace || was.Holder.Name != is.Holder.Name):
		return "a record changes hands only where nothing was submitted"
	}
	return ""
}

func encoded(object any) []byte {
	text, err := json.Marshal(object)
	if err != nil {
		panic(err) // typed objects encode, and so does what was decoded
	}
	return text
}

// decoded returns a new object of prototype's type.
func decoded(prototype client.Object, text []byte) client.Object {
	made := reflect.New(reflect.TypeOf(prototype).Elem()).Interface().(client.Object)
	if err := json.Unmarshal(text, made); err != nil {
		panic(fmt.Sprintf("decoding %T: %v", prototype, err))
	}
	return made
}

func generic(text []byte) map[string]any {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var document map[string]any
	if err := decoder.Decode(&document); err != nil {
		panic(err) // we encoded it
	}
	return document
}

// merged applies patch to document as RFC 7386 says, and changes neither.
func merged(document, patch map[string]any) map[string]any {
	made := maps.Clone(document)
	if made == nil {
		made = map[string]any{}
	}
	for name, value := range patch {
		switch v := value.(type) {
		case nil:
			delete(made, name)
		case map[string]any:
			inner, _ := made[name].(map[string]any)
			made[name] = merged(inner, v)
		default:
			made[name] = value
		}
	}
	return made
}
