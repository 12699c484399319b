package controller_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// verdict is what a person reads of a resource.
type verdict struct {
	// phase of a payment or an invoice; a wallet has none.
	phase string
	// reason is that of the condition Ready.
	reason string
	// says is what its message has to tell, the remedy above all.
	says []string
}

// want holds what object's status says against a verdict.
func (w *world) want(object client.Object, want verdict) {
	w.t.Helper()
	w.get(object)
	if err := testkit.CheckStatus(object); err != nil {
		w.t.Error(err)
	}
	ready := w.ready(object)
	if got := phase(object); got != want.phase || ready.Reason != want.reason {
		w.t.Errorf("%q for %s, want %q for %s; message: %s", got, ready.Reason, want.phase, want.reason, ready.Message)
	}
	for _, text := range want.says {
		if !strings.Contains(ready.Message, text) {
			w.t.Errorf("the message does not say %q: %s", text, ready.Message)
		}
	}
	if strings.Contains(ready.Message, "%!") {
		w.t.Errorf("the message is badly formatted: %s", ready.Message)
	}
}

// ready is the condition Ready of object.
func (w *world) ready(object client.Object) metav1.Condition {
	w.t.Helper()
	return w.condition(object, v1alpha1.ConditionReady)
}

func (w *world) condition(object client.Object, kind string) metav1.Condition {
	w.t.Helper()
	found := meta.FindStatusCondition(conditionsOf(object), kind)
	if found == nil {
		w.t.Fatalf("%T %s has no condition %s", object, object.GetName(), kind)
	}
	return *found
}

func conditionsOf(object client.Object) []metav1.Condition {
	return object.(interface{ GetConditions() []metav1.Condition }).GetConditions()
}

// phase is the phase of a payment or an invoice.
func phase(object client.Object) string {
	switch o := object.(type) {
	case *v1alpha1.LightningInvoice:
		return string(o.Status.Phase)
	case *v1alpha1.Settlement:
		return string(o.Status.Phase)
	}
	return string(phaseOf(object))
}

// pass makes one pass over object and returns after how long it wants the next; 0 for never. Without a boundary a pass has no reason to
// fail, and what it leaves as status is right.
func (w *world) pass(object client.Object) time.Duration {
	w.t.Helper()
	result, err := w.reconcile(object)
	switch {
	case err != nil && (w.boundary == nil || errors.Is(err, reconcile.TerminalError(nil))):
		w.t.Fatalf("a pass failed: %v", err)
	case err != nil:
		return time.Second
	}
	if w.exists(object) && w.boundary == nil {
		if err := testkit.CheckStatus(object); err != nil {
			w.t.Fatal(err)
		}
	}
	return result.RequeueAfter
}

// rest makes passes, moving the clock to when they want the next, until object wants no more.
func (w *world) rest(object client.Object) {
	w.t.Helper()
	w.until(object, "it rests", func(after time.Duration) bool { return after == 0 })
}

// reach makes passes, moving the clock, until Ready has the reason.
func (w *world) reach(object client.Object, reason string) {
	w.t.Helper()
	w.until(object, "its reason is "+reason, func(time.Duration) bool { return w.exists(object) && w.ready(object).Reason == reason })
}

func (w *world) until(object client.Object, what string, done func(after time.Duration) bool) {
	w.t.Helper()
	for range 400 {
		after := w.pass(object)
		if done(after) {
			return
		}
		if after == 0 {
			break
		}
		w.clock.Step(after)
	}
	w.t.Fatalf("%T %s does not come to where %s: %+v", object, object.GetName(), what, conditionsOf(object))
}

// watch makes passes for a time, moving the clock.
func (w *world) watch(object client.Object, duration time.Duration) {
	w.t.Helper()
	until := w.clock.Now().Add(duration)
	for w.clock.Now().Before(until) {
		after := w.pass(object)
		if after == 0 {
			after = time.Minute
		}
		w.clock.Step(min(after, until.Sub(w.clock.Now())))
	}
}

// change updates object as a user would.
func (w *world) change(object client.Object, edit func()) {
	w.t.Helper()
	w.get(object)
	edit()
	if err := w.api.Update(w.t.Context(), object); err != nil {
		w.t.Fatalf("changing %T: %v", object, err)
	}
}

func (w *world) annotate(object client.Object, key, value string) {
	w.t.Helper()
	w.change(object, func() {
		annotations := object.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[key] = value
		object.SetAnnotations(annotations)
	})
}

// delete asks for object's deletion, which a finalizer may hold up.
func (w *world) delete(object client.Object) {
	w.t.Helper()
	if err := w.api.Delete(w.t.Context(), object); err != nil {
		w.t.Fatalf("deleting %T: %v", object, err)
	}
}

// recreate creates what is like object under its name.
func (w *world) recreate(object client.Object) {
	w.t.Helper()
	object.SetUID("")
	object.SetResourceVersion("")
	object.SetFinalizers(nil)
	object.SetGeneration(0)
	w.create(object)
}

// strip empties the status, as a restore from a backup does.
func (w *world) strip(object client.Object) {
	w.t.Helper()
	w.get(object)
	switch o := object.(type) {
	case *v1alpha1.Wallet:
		o.Status = v1alpha1.WalletStatus{}
	case *v1alpha1.LightningInvoice:
		o.Status = v1alpha1.LightningInvoiceStatus{}
	case *v1alpha1.LightningPayment:
		o.Status = v1alpha1.LightningPaymentStatus{}
	case *v1alpha1.OnchainSend:
		o.Status = v1alpha1.OnchainSendStatus{}
	case *v1alpha1.Settlement:
		o.Status = v1alpha1.SettlementStatus{}
	case *v1alpha1.Statement:
		o.Status = v1alpha1.StatementStatus{}
	}
	if err := w.api.Status().Update(w.t.Context(), object); err != nil {
		w.t.Fatalf("stripping the status of %T: %v", object, err)
	}
}

// record is the record that object's status names.
func (w *world) record(object client.Object) *v1alpha1.PaymentRecord {
	w.t.Helper()
	w.get(object)
	name := ""
	switch o := object.(type) {
	case *v1alpha1.LightningInvoice:
		name = o.Status.RecordRef
	case *v1alpha1.LightningPayment:
		name = o.Status.RecordRef
	case *v1alpha1.OnchainSend:
		name = o.Status.RecordRef
	}
	if name == "" {
		w.t.Fatalf("%T %s names no record", object, object.GetName())
	}
	record := &v1alpha1.PaymentRecord{ObjectMeta: metav1.ObjectMeta{Namespace: w.operator, Name: name}}
	w.get(record)
	return record
}

// records are all records of a kind.
func (w *world) records(kind v1alpha1.RecordKind) []v1alpha1.PaymentRecord {
	w.t.Helper()
	var list v1alpha1.PaymentRecordList
	if err := w.api.List(w.t.Context(), &list, client.InNamespace(w.operator)); err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(r v1alpha1.PaymentRecord) bool { return r.Spec.Kind != kind })
}

// published are the records of invoices that somebody can be shown; one that was given up has a record too.
func (w *world) published() []v1alpha1.PaymentRecord {
	w.t.Helper()
	return slices.DeleteFunc(w.records(v1alpha1.RecordLightningInvoice), func(r v1alpha1.PaymentRecord) bool { return invoice.IsGivenUp(&r) })
}

// fault lets something go wrong at the service.
func (w *world) fault(f sandbox.Fault) {
	w.t.Helper()
	if _, err := w.sandbox.AddFault(f); err != nil {
		w.t.Fatal(err)
	}
}

// called counts the calls of an operation that the operator made.
func (w *world) called(operation sandbox.Operation) int {
	count := 0
	for _, request := range w.sandbox.Requests() {
		if request.Operation == operation && !request.Repeat && !request.Foreign {
			count++
		}
	}
	return count
}

// ends counts the calls that move money.
func (w *world) ends() int { return w.called(sandbox.PayEnd) + w.called(sandbox.OnchainEnd) }

// untouched checks that no money moved and that the service was not even asked to begin.
func (w *world) untouched() {
	w.t.Helper()
	if out := moved(w); len(out) > 0 {
		w.t.Errorf("money moved: %+v", out)
	}
	if begins := w.called(sandbox.PayBegin) + w.called(sandbox.OnchainBegin); begins+w.ends() > 0 {
		w.t.Errorf("the service was asked to begin %d times and to end %d times", begins, w.ends())
	}
}

// paid checks that money moved as often as that.
func (w *world) paid(times int) {
	w.t.Helper()
	if out := moved(w); len(out) != times {
		w.t.Errorf("money moved %d times, want %d: %+v", len(out), times, out)
	}
}

// quiet checks that twenty further passes write nothing and call nothing that could move money.
func (w *world) quiet(object client.Object) {
	w.t.Helper()
	var written []string
	w.boundary = func(call string, after bool) error {
		reads := strings.HasPrefix(call, "K get") || strings.HasPrefix(call, "K list") || strings.HasPrefix(call, "U GET") ||
			strings.HasSuffix(call, "/fee-estimate")
		if !after && !reads {
			written = append(written, call)
		}
		return nil
	}
	defer func() { w.boundary = nil }()
	for range 20 {
		if _, err := w.reconcile(object); err != nil {
			w.t.Errorf("a pass after the end: %v", err)
		}
		w.clock.Step(time.Minute)
	}
	if len(written) > 0 {
		w.t.Errorf("twenty passes after the end made %v", slices.Compact(written))
	}
}

// told counts the events so far that have the reason. It takes them all out.
func (w *world) told() map[string]int {
	counts := map[string]int{}
	for _, event := range w.emitted() {
		counts[strings.Fields(event)[1]]++
	}
	return counts
}

// payment declares a LightningPayment of the Wallet main.
func (w *world) payment(name, invoice string) *testkit.LightningPaymentBuilder {
	return testkit.MakeLightningPayment(name).Namespace(w.namespace).Invoice(invoice)
}

// send declares an OnchainSend of the Wallet main to a fresh address of somebody else's, for a day.
func (w *world) send(name string, sats int64) *testkit.OnchainSendBuilder {
	w.t.Helper()
	address, err := w.sandbox.NewAddress()
	if err != nil {
		w.t.Fatal(err)
	}
	return testkit.MakeOnchainSend(name).Namespace(w.namespace).Address(address).AmountSats(sats).MaxFeeSats(5000).
		ValidUntil(w.clock.Now().Add(24 * time.Hour))
}

// made creates an object and returns it.
func made[T client.Object](w *world, object T) T {
	w.t.Helper()
	w.create(object)
	return object
}

func (w *world) wallet(name string) *v1alpha1.Wallet {
	return &v1alpha1.Wallet{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
}

func (w *world) configMap(name, key, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Data: map[string]string{key: value}}
}

// issued is an invoice as a sandbox issues none: of another network, say. It asks for 5000 sat within the hour unless change says
// otherwise.
func (w *world) issued(change func(*bolt11.Invoice)) string {
	w.t.Helper()
	millisats := amount.Sat(5000).MilliSat()
	invoice := &bolt11.Invoice{
		Prefix: "bcrt", Amount: &millisats, PaymentHash: sha256.Sum256([]byte(w.namespace)), PaymentSecret: sha256.Sum256([]byte("secret")),
		Timestamp: w.clock.Now(), Expiry: time.Hour, Description: "rent", MinFinalCLTVExpiry: 144, PayeeNamed: true,
		Features: bolt11.Features{8, 14},
	}
	change(invoice)
	seed := sha256.Sum256([]byte("a payee"))
	key, _ := btcec.PrivKeyFromBytes(seed[:])
	text, err := bolt11.Encode(invoice, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// assetInvoice is a BOLT11 of somebody else's that asks for units of the asset that every node of the sandbox holds.
func (w *world) assetInvoice(units int64) string {
	w.t.Helper()
	text, err := w.sandbox.IssueInvoice(sandbox.NewInvoice{
		Asset: &sandbox.Asset{ID: w.sandbox.AssetIDs()[0], Amount: units}, Expiry: 6 * time.Hour,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// hashOf is the payment hash of a BOLT11.
func (w *world) hashOf(text string) string {
	w.t.Helper()
	invoice, err := bolt11.Decode(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return invoice.PaymentHashHex()
}

// move moves the whole of the user's side and the records to a new cluster: nothing of the old one is there but the manifests.
func (w *world) move() {
	w.t.Helper()
	old := &v1alpha1.Wallet{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "main"}}
	w.get(old)
	w.operator, w.namespace = w.makeNamespace("operator-"), w.makeNamespace("team-")
	w.makeSecret("main", map[string]string{"mnemonic": mnemonic})
	w.create(&v1alpha1.Wallet{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "main"}, Spec: old.Spec})
	w.start()
}

// everything is all that the operator wrote and a user can read, as JSON: statuses, records, Leases. Of Secrets there are none in it.
func (w *world) everything() string {
	w.t.Helper()
	var all strings.Builder
	lists := []client.ObjectList{
		&v1alpha1.WalletList{}, &v1alpha1.LightningInvoiceList{}, &v1alpha1.LightningPaymentList{}, &v1alpha1.OnchainSendList{},
		&v1alpha1.PaymentRecordList{},
	}
	for _, list := range lists {
		for _, namespace := range []string{w.namespace, w.operator} {
			if err := w.api.List(w.t.Context(), list, client.InNamespace(namespace)); err != nil {
				w.t.Fatal(err)
			}
			text, err := json.Marshal(list)
			if err != nil {
				w.t.Fatal(err)
			}
			fmt.Fprintln(&all, string(text))
		}
	}
	return all.String()
}

// relay is a service in front of the sandbox, which gets the requests that answer does not answer.
func (w *world) relay(answer func(http.ResponseWriter, *http.Request) bool) string {
	w.t.Helper()
	target, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if !answer(out, r) {
			proxy.ServeHTTP(out, r)
		}
	}))
	w.t.Cleanup(server.Close)
	return server.URL
}

// secured is the sandbox behind a certificate that nobody signed.
func (w *world) secured() *httptest.Server {
	server := httptest.NewUnstartedServer(w.sandbox.Handler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it are the case
	server.StartTLS()
	w.t.Cleanup(server.Close)
	return server
}

func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// edited is a service in front of the sandbox that changes the JSON objects which it answers under a path.
func (w *world) edited(path string, edit func(body map[string]any)) string {
	w.t.Helper()
	target, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(response *http.Response) error {
		if !strings.HasPrefix(response.Request.URL.Path, path) || response.StatusCode != http.StatusOK {
			return nil
		}
		var body map[string]any
		err := json.NewDecoder(response.Body).Decode(&body)
		if err != nil {
			return err
		}
		edit(body)
		text := asJSON(body)
		response.Body = io.NopCloser(strings.NewReader(text))
		response.ContentLength = int64(len(text))
		response.Header.Set("Content-Length", fmt.Sprint(len(text)))
		return nil
	}
	server := httptest.NewServer(proxy)
	w.t.Cleanup(server.Close)
	return server.URL
}

// fronted declares a Wallet fronted, of the keys of the Wallet main, at another service.
func (w *world) fronted(url string) *v1alpha1.Wallet {
	return testkit.MakeWallet("fronted").Namespace(w.namespace).URL(url).KeysFrom("main").Obj()
}
