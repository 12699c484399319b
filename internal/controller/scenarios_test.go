package controller_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/invoice"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// subject is a resource that scenarios are put upon.
type subject struct {
	name    string
	profile sandbox.Profile
	make    func(w *world) client.Object
}

const (
	lightningDocumented = "LightningPayment, documented"
	lightningReference  = "LightningPayment, reference"
	onchainDocumented   = "OnchainSend, documented"
	onchainReference    = "OnchainSend, reference"
	invoiceDocumented   = "LightningInvoice, documented"
	invoiceReference    = "LightningInvoice, reference"
	walletDocumented    = "Wallet, documented"
)

func subjects() []subject {
	pay := func(w *world) client.Object { return w.payment("rent", w.supplierInvoice(5000)).Obj() }
	send := func(w *world) client.Object { return w.send("payroll", 20000).Obj() }
	receive := func(w *world) client.Object { return w.invoice("order").Expiry(6 * time.Hour).Obj() }
	return []subject{
		{lightningDocumented, sandbox.Documented, pay},
		{lightningReference, sandbox.Reference, pay},
		{onchainDocumented, sandbox.Documented, send},
		{onchainReference, sandbox.Reference, send},
		{invoiceDocumented, sandbox.Documented, receive},
		{invoiceReference, sandbox.Reference, receive},
		{walletDocumented, sandbox.Documented, func(w *world) client.Object { return w.wallet("main") }},
	}
}

func (s subject) pays() bool    { return strings.HasPrefix(s.name, "LightningPayment") || s.onchain() }
func (s subject) onchain() bool { return strings.HasPrefix(s.name, "OnchainSend") }
func (s subject) invoice() bool { return strings.HasPrefix(s.name, "LightningInvoice") }
func (s subject) wallet() bool  { return strings.HasPrefix(s.name, "Wallet") }

// shared reports whether a subject differs from another only in its service, where all wallets share a node and no payments are listed.
func (s subject) shared() bool { return s.name == lightningReference || s.name == invoiceReference }

// leaves reports whether the plot of that number leaves call n to the next plots, or to the same subject at the other service, which make
// the same calls.
func (s subject) leaves(plot, n int) bool {
	if os.Getenv("SCENARIOS") == "all" {
		return false
	}
	if s.profile == sandbox.Documented {
		n += 2
	}
	return (plot+n)%4 != 0
}

// boundary is a call of a run without a fault: what a scenario is put before.
type boundary struct {
	// n counts from 0.
	n    int
	path []string
}

func (b boundary) String() string { return fmt.Sprintf("call %d %s", b.n+1, b.path[b.n]) }

// index is the first call that ends like that.
func (b boundary) index(suffix string) int {
	return slices.IndexFunc(b.path, func(call string) bool { return strings.HasSuffix(call, suffix) })
}

func (b boundary) begin() int { return b.index("-begin") }
func (b boundary) end() int   { return b.index("-end") }

// inDoubt reports whether a process that stops before this call leaves the outcome of an on-chain send open to all that come after it:
// from the write-ahead until the answer of the service is recorded.
func (b boundary) inDoubt() bool { return b.n >= b.end() && b.n <= b.end()+2 }

// inside reports whether a process that stops before this call leaves a Lease that tells of a call to the service.
func (b boundary) inside() bool { return b.n > b.index("K create Lease") && b.n <= b.end() }

func isWrite(call string) bool {
	return strings.HasPrefix(call, "K create") || strings.HasPrefix(call, "K patch") || strings.HasPrefix(call, "K delete")
}

// scene is one case: a subject, and what happens to it at a boundary.
type scene struct {
	*world
	subject subject
	object  client.Object
	// service is the clock of the sandbox, which runs with the world's but does not jump with it.
	service *clocktesting.FakeClock
	// resync has the Wallet looked at before every pass, as is done at every change of it, and each minute.
	resync bool
	// disturbed tells that something happened in the current pass, so that its status may be outdated already.
	disturbed, hit bool
	// readable are the BOLT11s that a LightningInvoice ever showed, by its UID, and paid those that the customer paid.
	readable map[types.UID][]string
	paidFor  map[string]bool
	// rival is another payment of the same wallet; nil where there is none.
	rival client.Object
	// uids are the UIDs that the object had.
	uids []types.UID

	ending     string
	violations int
}

func newScene(t *testing.T, s subject) *scene {
	t.Helper()
	service := clocktesting.NewFakeClock(time.Now())
	w := newWorld(t, s.profile, func(o *sandbox.Options) {
		o.Clock = service
		// One look finds a send under way, the next one done.
		o.Timing.Block = 3 * time.Second
		if s.profile == sandbox.Reference {
			o.Timing.Speed, o.Timing.Block = 20, time.Minute
		}
	})
	service.SetTime(w.clock.Now())
	c := &scene{world: w, subject: s, service: service, readable: map[types.UID][]string{}, paidFor: map[string]bool{}}
	if !s.wallet() {
		w.syncWallet()
		c.object = s.make(w)
		w.create(c.object)
	} else {
		c.object = s.make(w)
		w.get(c.object)
	}
	c.uids = append(c.uids, c.object.GetUID())
	return c
}

// path is what a subject calls where nothing happens to it.
func (s subject) path(t *testing.T) []string {
	t.Helper()
	c := newScene(t, s)
	var path []string
	c.boundary = func(call string, after bool) error {
		if !after {
			path = append(path, call)
		}
		return nil
	}
	c.play(c.object)
	c.boundary = nil
	c.judge(judging{})
	if want := map[bool]string{true: "Ready"}[s.wallet()]; c.ending != "Succeeded" && c.ending != "Settled" && c.ending != want {
		t.Fatalf("without a fault %s ends %s", s.name, c.ending)
	}
	return path
}

func (c *scene) violate(format string, arguments ...any) {
	c.t.Helper()
	c.violations++
	c.t.Errorf(format, arguments...)
}

// at has something done once, right before the n-th call of the path.
func (c *scene) at(b boundary, do func()) {
	count := -1
	c.boundary = func(_ string, after bool) error {
		if after {
			return nil
		}
		if count++; count == b.n {
			c.boundary = nil
			c.disturbed, c.hit = true, true
			do()
		}
		return nil
	}
}

// meanwhile does what another worker of the same process does while the one at the boundary waits.
func (c *scene) meanwhile(do func()) {
	c.dead = false
	do()
	c.dead = true // as world.cross has it while it asks the boundary
}

// step lets time pass.
func (c *scene) step(d time.Duration) {
	c.clock.Step(d)
	c.service.Step(d)
}

// look makes one pass over an object, and returns after how long the next is wanted; 0 for never.
func (c *scene) look(object client.Object) time.Duration {
	c.t.Helper()
	c.disturbed = false
	if c.resync && !c.subject.wallet() {
		for _, namespace := range c.walletNamespaces(object) {
			wallet := c.wallet("main")
			wallet.Namespace = namespace
			if _, err := c.reconcile(wallet); err != nil {
				c.violate("reconciling the wallet: %v", err)
			}
		}
	}
	result, err := c.reconcile(object)
	switch {
	case errors.Is(err, reconcile.TerminalError(nil)):
		c.violate("an invariant broke: %v", err)
		return 0
	case err != nil:
		return time.Second
	}
	if c.exists(object) {
		if err := testkit.CheckStatus(object); err != nil && !c.disturbed {
			c.violate("%v", err)
		}
		c.customer(object)
	}
	if c.subject.wallet() && result.RequeueAfter >= time.Minute {
		return 0 // it is in sync, and looked at each minute for ever
	}
	return result.RequeueAfter
}

func (c *scene) walletNamespaces(object client.Object) []string {
	var namespaces []string
	for _, namespace := range []string{c.namespace, object.GetNamespace()} {
		if !slices.Contains(namespaces, namespace) {
			namespaces = append(namespaces, namespace)
		}
	}
	return namespaces
}

// customer pays the BOLT11 that a LightningInvoice shows, once.
func (c *scene) customer(object client.Object) {
	c.t.Helper()
	shown, ok := object.(*v1alpha1.LightningInvoice)
	if !ok || shown.Status.PaymentRequest == "" {
		return
	}
	text := shown.Status.PaymentRequest
	if !slices.Contains(c.readable[shown.UID], text) {
		c.readable[shown.UID] = append(c.readable[shown.UID], text)
	}
	if !c.paidFor[text] {
		c.paidFor[text] = true
		c.settle(text, false)
	}
}

// play makes passes over objects, moving the clocks to when the first of them wants the next, until none wants one, or until nothing has
// changed for so long that nothing will.
func (c *scene) play(objects ...client.Object) {
	c.t.Helper()
	const forLong = 40 * time.Minute
	last, unchanged, calm := "", 0, time.Duration(0)
	for range 200 {
		next := time.Duration(0)
		for _, object := range objects {
			if after := c.look(object); after > 0 && (next == 0 || after < next) {
				next = after
			}
		}
		if next == 0 && c.subject.wallet() && c.disturbed {
			next = time.Minute // what was disturbed is seen in the next pass
		}
		if next == 0 {
			return
		}
		versions := ""
		for _, object := range objects {
			versions += " " + object.GetResourceVersion()
		}
		if versions != last || c.boundary != nil {
			last, unchanged, calm = versions, 0, 0
		}
		if unchanged++; unchanged > 5 {
			next = min(4*next, 3*time.Minute) // a queue may be late
		}
		if calm += next; calm > forLong {
			return
		}
		c.step(next)
	}
	c.violate("%s does not come to rest: %+v", objects[0].GetName(), conditionsOf(objects[0]))
}

// judging is what a scenario allows beyond what always holds.
type judging struct {
	// unknown: the outcome may end Unknown.
	unknown bool
	// waits: the payment may wait for a person or for what was taken away, with these reasons.
	waits []string
	// lost: the records of what was done are gone.
	lost bool
	// twice: the money may move twice, as docs/protocol.md says.
	twice bool
	// unsettled: an invoice may be paid without being seen to be, since the service forgot it.
	unsettled bool
	// foreign: another client of the wallet has its own orders.
	foreign bool
	// objects are all resources that declare the payment; only the scene's where empty.
	objects []client.Object
}

// money counts the calls that can lead to money moving, or to an invoice being there to be paid.
func (c *scene) money() int {
	if c.subject.invoice() {
		return c.called(sandbox.CreateInvoice) // a payment has one issued where it must learn who its own node is
	}
	return c.ends() + c.called(sandbox.PayBegin) + c.called(sandbox.OnchainBegin)
}

// order is the key of a payment in the ledger, and what it has to bring to whom.
func (c *scene) order(object client.Object) (key, destination string, sats int64) {
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		return c.hashOf(o.Spec.Invoice), "", 5000
	case *v1alpha1.OnchainSend:
		key := sandbox.OrderKey(o.Spec.To.Address, satsOf(*o.Spec.AmountSats), "", 0, 2)
		return key, o.Spec.To.Address, *o.Spec.AmountSats
	}
	return "", "", 0
}

// movements are those of the scene's order. Any other has to be another client's.
func (c *scene) movements(foreign bool) int {
	c.t.Helper()
	key, destination, sats := c.order(c.object)
	rival, _, _ := c.order(c.rival)
	others := map[int]bool{}
	for _, request := range c.sandbox.Requests() {
		others[request.Begin] = others[request.Begin] || request.Foreign
	}
	count := 0
	for _, entry := range moved(c.world) {
		switch {
		case entry.Key == key:
			count++
			if int64(entry.AmountSats) != sats || (destination != "" && entry.Destination != destination) {
				c.violate("moved %d sat to %s, declared are %d to %s", entry.AmountSats, entry.Destination, sats, destination)
			}
		case c.rival != nil && entry.Key == rival:
		case !foreign || !others[entry.Begin]:
			c.violate("money moved that nobody ordered: %+v", entry)
		}
	}
	return count
}

// judge holds the end of a scene against what was promised.
func (c *scene) judge(allowed judging) {
	c.t.Helper()
	switch {
	case c.subject.wallet():
		c.judgeWallet(allowed)
	case c.subject.invoice():
		c.judgeInvoice(allowed)
	default:
		c.judgePayment(allowed)
	}
}

func (c *scene) judgePayment(allowed judging) {
	c.t.Helper()
	objects := allowed.objects
	if len(objects) == 0 {
		objects = []client.Object{c.object}
	}
	count := c.movements(allowed.foreign)
	if count > 1 && !allowed.twice {
		c.violate("money moved %d times", count)
	}
	var told []string // those that say that the money moved, or may have
	for _, object := range objects {
		end, reason := c.endOf(object)
		switch {
		case slices.Contains(allowed.waits, reason):
			end += ", " + reason
			if end != "Pending, "+reason || reason == v1alpha1.ReasonJournalLost {
				told = append(told, end)
			}
		case end == "Succeeded":
			if count == 0 {
				c.violate("Succeeded, and no money moved")
			}
			told = append(told, end)
		case end == "Unknown":
			if !allowed.unknown {
				c.violate("Unknown after what leaves no doubt: %+v", conditionsOf(object))
			}
			if known := c.condition(object, v1alpha1.ConditionOutcomeKnown); known.Status != metav1.ConditionFalse || c.told()[v1alpha1.ReasonOutcomeUnknown] != 1 {
				c.violate("Unknown, and OutcomeKnown is %s, or nobody was told", known.Status)
			}
			told = append(told, end)
		case end == "Failed" && len(objects) > 1 && (reason == v1alpha1.ReasonDuplicatePayment || reason == v1alpha1.ReasonOrderCollision):
			end += ", " + reason
		case end == "Failed" && c.subject.name == onchainReference && c.rival != nil: // it fails the second of two that close its channels
			if count > 0 {
				c.violate("%s, and money moved %d times", end, count)
			}
		case end == "gone, Cancelled", end == "gone, unrecorded":
			if count > 0 {
				c.violate("%s, and money moved %d times", end, count)
			}
		case end == "gone, Succeeded":
			if count == 0 {
				c.violate("recorded as Succeeded, and no money moved")
			}
			told = append(told, end)
		default:
			c.violate("came to rest as %s for %s: %+v", end, reason, conditionsOf(object))
		}
		c.ending = strings.TrimPrefix(c.ending+" + "+end, " + ")
	}
	if count > 0 && len(told) == 0 {
		c.violate("money moved, and all that is said is %s", c.ending)
	}
	if count > 1 {
		c.ending += ", moved twice"
	}
	if count != 2 && allowed.twice && c.subject.name == onchainDocumented {
		c.violate("money moved %d times where docs/protocol.md says that it moves twice: what is not covered became less", count)
	}
	if len(told) > 1 && count < 2 {
		c.violate("one movement, and it is told of twice: %s", c.ending)
	}
	for _, object := range objects {
		c.stays(object, allowed.lost)
	}
}

// endOf is what became of a payment: its phase, or of one that is gone what its record says.
func (c *scene) endOf(object client.Object) (end, reason string) {
	c.t.Helper()
	if c.exists(object) {
		return phase(object), c.ready(object).Reason
	}
	for _, kind := range []v1alpha1.RecordKind{v1alpha1.RecordLightningPayment, v1alpha1.RecordOnchainSend} {
		for _, record := range c.records(kind) {
			if holder := record.Journal.Holder; holder.Namespace == object.GetNamespace() && holder.Name == object.GetName() {
				return "gone, " + string(record.Journal.Phase), record.Journal.Reason
			}
		}
	}
	return "gone, unrecorded", ""
}

// stays checks that what came to its end stays there: 20 more passes write nothing, and losing the status, deleting and declaring it
// again call nothing that could move money.
func (c *scene) stays(object client.Object, lost bool) {
	c.t.Helper()
	c.quietly(object)
	before, count := c.money(), len(moved(c.world))
	end, reason := c.endOf(object)
	if strings.HasPrefix(end, "gone") {
		return
	}
	c.strip(object)
	c.look(object)
	again, because := c.endOf(object)
	held := lost && because == v1alpha1.ReasonJournalLost // no record and no status is left to say that it was sent
	if (again != end || because != reason) && !held {
		c.violate("%s for %s, and without its status %s for %s", end, reason, again, because)
	}
	if end == "Succeeded" && !held {
		c.delete(object)
		c.look(object)
		if c.exists(object) {
			c.violate("it succeeded and cannot be deleted: %v", object.GetFinalizers())
			return
		}
		c.recreate(object)
		c.play(object)
		if again, because := c.endOf(object); again != end {
			c.violate("%s, and declared again %s for %s", end, again, because)
		}
	}
	if after := c.money(); after != before || len(moved(c.world)) != count {
		c.violate("%d calls that could move money after the end", after-before)
	}
}

// quietly makes 20 more passes.
func (c *scene) quietly(object client.Object) {
	c.t.Helper()
	var written []string
	c.boundary = func(call string, after bool) error {
		if !after && (isWrite(call) || strings.HasPrefix(call, "U POST")) {
			written = append(written, call)
		}
		return nil
	}
	defer func() { c.boundary = nil }()
	for range 20 {
		if _, err := c.reconcile(object); err != nil {
			c.violate("a pass after the end: %v", err)
		}
		c.step(time.Minute)
	}
	if len(written) > 0 {
		c.violate("twenty passes after the end made %v", slices.Compact(written))
	}
}

// refuseEdits tries to change what a payment or an invoice is about.
func (c *scene) refuseEdits(object client.Object) {
	c.t.Helper()
	text := c.supplierInvoice(6000)
	for _, edit := range map[string]func(client.Object){
		"the amount": func(object client.Object) {
			switch o := object.(type) {
			case *v1alpha1.LightningPayment:
				o.Spec.AmountSats = new(int64)
				*o.Spec.AmountSats = 5000
			case *v1alpha1.OnchainSend:
				*o.Spec.AmountSats++
			case *v1alpha1.LightningInvoice:
				*o.Spec.AmountSats++
			}
		},
		"the destination": func(object client.Object) {
			switch o := object.(type) {
			case *v1alpha1.LightningPayment:
				o.Spec.Invoice = text
			case *v1alpha1.OnchainSend:
				o.Spec.IdempotencyKey = "again"
			case *v1alpha1.LightningInvoice:
				o.Spec.WalletRef.Name = "other"
			}
		},
	} {
		copied := object.DeepCopyObject().(client.Object)
		c.get(copied)
		edit(copied)
		if err := c.api.Update(c.t.Context(), copied); !apierrors.IsInvalid(err) {
			c.violate("an edit of what was declared: got %v, want it to be refused", err)
		}
	}
}

func (c *scene) judgeInvoice(allowed judging) {
	c.t.Helper()
	for uid, texts := range c.readable {
		if len(texts) > 1 && !allowed.twice {
			c.violate("resource %s showed %d BOLT11s", uid, len(texts))
		}
	}
	for _, uid := range c.uids {
		if texts := c.readable[uid]; len(texts) > 0 {
			record := &v1alpha1.PaymentRecord{}
			record.Namespace, record.Name = c.operator, invoice.RecordName(string(uid))
			if c.exists(record) && record.Spec.PaymentRequest != texts[len(texts)-1] {
				c.violate("the record has another BOLT11 than was shown")
			}
		}
	}
	if asked := c.called(sandbox.CreateInvoice); asked > 2+len(c.uids) {
		c.violate("the service was asked for %d invoices", asked)
	}
	if out := moved(c.world); len(out) > 0 {
		c.violate("money left: %+v", out)
	}
	object := c.object.(*v1alpha1.LightningInvoice)
	if !c.exists(object) {
		c.ending = "gone"
		c.judgeReceipt(object.UID)
		return
	}
	c.ending = phase(object)
	paid := object.Status.PaymentRequest != "" && c.received(object.Status.PaymentRequest) > 0
	reason := c.ready(object).Reason
	switch {
	case slices.Contains(allowed.waits, reason):
		c.ending += ", " + reason
	case object.Status.Phase == v1alpha1.InvoiceOpen && allowed.unsettled:
		c.ending += ", source lost"
	case object.Status.Phase == v1alpha1.InvoiceSettled && !paid:
		c.violate("Settled, and nothing came in")
	case object.Status.Phase != v1alpha1.InvoiceSettled && !allowed.unsettled:
		c.violate("came to rest as %s for %s: %s", c.ending, reason, c.ready(object).Message)
	}
	before := c.money()
	c.quietly(object)
	if allowed.lost && len(c.records(v1alpha1.RecordLightningInvoice)) == 0 {
		return // its status is all that is left of it
	}
	c.strip(object)
	c.play(object)
	if again := phase(object); again != strings.Split(c.ending, ",")[0] && !allowed.unsettled {
		c.violate("%s, and without its status %s", c.ending, again)
	}
	if after := c.money(); after != before {
		c.violate("%d invoices were issued after the end", after-before)
	}
	if texts := c.readable[object.UID]; len(texts) > 1 {
		if !allowed.twice {
			c.violate("without its status it shows %d BOLT11s", len(texts))
		}
		c.ending += ", issued twice"
	}
}

// judgeReceipt checks that what a deleted invoice received is on record.
func (c *scene) judgeReceipt(uid types.UID) {
	c.t.Helper()
	request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: c.operator, Name: invoice.RecordName(string(uid))}}
	for range 20 {
		result, err := c.controllers.Receipt.Reconcile(c.t.Context(), request)
		if err != nil {
			c.violate("looking for a receipt: %v", err)
		}
		if result.RequeueAfter == 0 {
			break
		}
		c.step(10 * result.RequeueAfter)
	}
	record := &v1alpha1.PaymentRecord{}
	record.Namespace, record.Name = request.Namespace, request.Name
	if !c.exists(record) {
		if texts := c.readable[uid]; len(texts) > 0 {
			c.violate("a BOLT11 was shown and is not on record")
		}
		return
	}
	if paid := c.received(record.Spec.PaymentRequest) > 0; paid != (record.Journal.CompletedAt != nil) {
		c.violate("paid: %t, and the record says %s", paid, record.Journal.Reason)
	}
}

func (c *scene) judgeWallet(allowed judging) {
	c.t.Helper()
	if c.money() > 0 || len(moved(c.world)) > 0 {
		c.violate("%d calls that could move money", c.money())
	}
	wallet := c.object.(*v1alpha1.Wallet)
	if !c.exists(wallet) {
		c.ending = "gone"
		return
	}
	c.ending = "Ready"
	if reason := c.ready(wallet).Reason; reason != v1alpha1.ReasonSynced {
		c.ending = reason
		if !slices.Contains(allowed.waits, reason) {
			c.violate("came to rest for %s: %s", reason, c.ready(wallet).Message)
		}
	}
	epochs := c.records(v1alpha1.RecordWalletEpoch)
	known := slices.ContainsFunc(epochs, func(r v1alpha1.PaymentRecord) bool { return r.Spec.Epoch == wallet.Status.JournalEpoch })
	if c.ending == "Ready" && !known {
		c.violate("its epoch is %q, on record are %d others", wallet.Status.JournalEpoch, len(epochs))
	}
	for _, epoch := range epochs {
		if epoch.Journal.Reason != "" {
			c.ending += ", " + epoch.Journal.Reason
		}
	}
	c.quietly(wallet)
}

// tally counts what became of the cases of a scenario and a subject.
type tally struct {
	mutex sync.Mutex
	rows  map[string]map[string]*row
}

type row struct {
	cases, violations int
	ends              map[string]int
}

func (t *tally) add(scenario string, c *scene) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.rows == nil {
		t.rows = map[string]map[string]*row{}
	}
	if t.rows[scenario] == nil {
		t.rows[scenario] = map[string]*row{}
	}
	found := t.rows[scenario][c.subject.name]
	if found == nil {
		found = &row{ends: map[string]int{}}
		t.rows[scenario][c.subject.name] = found
	}
	found.cases++
	found.violations += c.violations
	found.ends[c.ending]++
}

func (t *tally) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "scenario\tsubject\tcases\tviolations\tended")
	cases, violations := 0, 0
	for _, scenario := range slices.Sorted(maps.Keys(t.rows)) {
		for _, name := range slices.Sorted(maps.Keys(t.rows[scenario])) {
			found := t.rows[scenario][name]
			var ends []string
			for _, end := range slices.Sorted(maps.Keys(found.ends)) {
				ends = append(ends, fmt.Sprintf("%d %s", found.ends[end], end))
			}
			fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\n", scenario, name, found.cases, found.violations, strings.Join(ends, "; "))
			cases, violations = cases+found.cases, violations+found.violations
		}
	}
	fmt.Fprintf(table, "all\t\t%d\t%d\t\n", cases, violations)
	_ = table.Flush() // to memory
	return text.String()
}

// plot is a scenario: what happens at a boundary, and how the case ends.
type plot struct {
	name string
	// asks tells that its outcome depends on what can be asked of the service, so that it is put upon subjects at either.
	asks bool
	// suits says at which boundaries of which subjects it is something of its own; nil for all.
	suits func(s subject, b boundary) bool
	run   func(c *scene, b boundary)
}

// TestScenarios puts each scenario at each call of each subject, and lets the ledger judge. Without SCENARIOS=all a scenario takes every
// second call of a subject, the next scenario and the same subject at the other service the others.
func TestScenarios(t *testing.T) {
	paths := map[string][]string{}
	for _, s := range subjects() {
		paths[s.name] = s.path(t)
		t.Logf("%s, %d calls:\n%s", s.name, len(paths[s.name]), strings.Join(paths[s.name], "\n"))
	}
	counts := &tally{}
	t.Cleanup(func() { t.Logf("what was run:\n%s", counts) })
	for number, p := range plots() {
		for _, s := range subjects() {
			if s.shared() && !p.asks {
				continue
			}
			t.Run(p.name+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				for n := range paths[s.name] {
					b := boundary{n: n, path: paths[s.name]}
					if p.suits != nil && !p.suits(s, b) || s.leaves(number, n) {
						continue
					}
					t.Run(b.String(), func(t *testing.T) {
						c := newScene(t, s)
						defer func() { counts.add(p.name, c) }()
						p.run(c, b)
						if !c.hit {
							c.violate("the call was not made")
						}
					})
				}
			})
		}
	}
}
