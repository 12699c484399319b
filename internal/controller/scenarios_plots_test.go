package controller_test

import (
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// plots are all scenarios.
func plots() []plot {
	all := []plot{
		{name: "deleted", run: deleted},
		{name: "deleted and declared again", run: declaredAgain},
		{name: "status stripped", run: func(c *scene, b boundary) {
			c.at(b, func() { c.strip(c.object.DeepCopyObject().(client.Object)) })
			c.play(c.object)
			c.judge(judging{})
		}},
		{name: "records lost", asks: true, run: recordsLost},
		{name: "new cluster", asks: true, run: newCluster},
		{name: "service restarted", asks: true, run: restarted},
		{name: "edited and suspended", run: suspendedAt},
	}
	all = append(all, pauses()...)
	all = append(all, rollbacks()...)
	all = append(all, twins()...)
	all = append(all, strangers()...)
	all = append(all, secrets()...)
	return append(all, jumps()...)
}

func paysOnly(s subject, _ boundary) bool { return s.pays() }

func deleted(c *scene, b boundary) {
	c.at(b, func() { c.delete(c.object.DeepCopyObject().(client.Object)) })
	c.play(c.object)
	if c.exists(c.object) {
		c.violate("it stays: %v", c.object.GetFinalizers())
	}
	c.judge(judging{})
}

// declaredAgain deletes the resource and declares it anew as soon as it is gone, as a forced replacement does.
func declaredAgain(c *scene, b boundary) {
	declared := false
	again := func() {
		if copied := c.object.DeepCopyObject().(client.Object); !declared && !c.exists(copied) {
			declared = true
			c.recreate(c.object)
			c.uids = append(c.uids, c.object.GetUID())
		}
	}
	c.at(b, func() {
		c.delete(c.object.DeepCopyObject().(client.Object))
		again()
	})
	c.play(c.object)
	again()
	c.play(c.object)
	if !declared {
		c.violate("it stays: %v", c.object.GetFinalizers())
	}
	c.judge(judging{})
}

// loseRecords takes away all that the operator remembers.
func (c *scene) loseRecords() {
	c.t.Helper()
	c.resync = true
	for _, kind := range []client.Object{&v1alpha1.PaymentRecord{}, &coordinationv1.Lease{}, &corev1.Secret{}} {
		if err := c.api.DeleteAllOf(c.t.Context(), kind, client.InNamespace(c.operator)); err != nil {
			c.t.Fatalf("deleting all of %T: %v", kind, err)
		}
	}
}

func recordsLost(c *scene, b boundary) {
	c.at(b, c.loseRecords)
	c.play(c.object)
	c.afterTheLoss()
}

// newCluster loses all that is in the cluster, the process too, and applies the manifests to another.
func newCluster(c *scene, b boundary) {
	c.at(b, func() {
		c.loseRecords()
		c.remove(c.object.DeepCopyObject().(client.Object))
		wallet := c.wallet("main")
		if c.exists(wallet) {
			c.remove(wallet)
		}
		if !c.subject.wallet() {
			c.recreate(wallet)
		}
		c.recreate(c.object)
		c.uids = append(c.uids, c.object.GetUID())
		panic(crashed{})
	})
	c.play(c.object)
	c.afterTheLoss()
}

// remove takes an object away, whatever its finalizers want.
func (c *scene) remove(object client.Object) {
	c.t.Helper()
	c.change(object, func() { object.SetFinalizers(nil) })
	if c.exists(object.DeepCopyObject().(client.Object)) { // it goes with the finalizer where it is being deleted
		c.delete(object)
	}
}

// afterTheLoss judges a payment of which the records are gone. An on-chain send that is held for that is treated as the runbook says.
func (c *scene) afterTheLoss() {
	c.t.Helper()
	if c.subject.onchain() && c.exists(c.object) && c.ready(c.object).Reason == v1alpha1.ReasonJournalLost {
		c.followRunbook()
		return
	}
	c.judge(judging{lost: true})
}

// followRunbook deletes a held send that was made, and releases one that was not.
func (c *scene) followRunbook() {
	c.t.Helper()
	c.quietly(c.object)
	before, count, started := c.ends(), c.movements(false), phase(c.object) != string(v1alpha1.PaymentPending)
	if count > 1 {
		c.violate("money moved %d times", count)
	}
	if count == 1 && !started {
		c.delete(c.object)
		c.look(c.object)
		if c.exists(c.object) {
			c.violate("nothing was sent for it, and it stays: %v", c.object.GetFinalizers())
		}
		if c.ends() != before || c.movements(false) != 1 {
			c.violate("%d calls that move money for a send that is held", c.ends()-before)
		}
		c.ending = "held for JournalLost, was paid"
		return
	}
	wallet := c.wallet("main")
	c.change(wallet, func() { wallet.Spec.AcknowledgedEpoch = "another" })
	c.play(c.object)
	if reason := c.ready(c.object).Reason; reason != v1alpha1.ReasonJournalLost || c.ends() != before {
		c.violate("acknowledged was another epoch, and it is %s", reason)
	}
	c.change(wallet, func() { wallet.Spec.AcknowledgedEpoch = wallet.Status.JournalEpoch })
	c.play(c.object)
	c.judge(judging{unknown: started})
	c.ending = "held for JournalLost, released: " + c.ending
}

func restarted(c *scene, b boundary) {
	c.at(b, c.sandbox.Restart)
	c.play(c.object)
	c.judge(judging{
		// A restart forgets sends that were taken.
		unknown: c.subject.onchain() && b.n > b.end(),
		// Where the service has no list of payments either, nothing is left that shows that an invoice was paid.
		unsettled: c.subject.name == invoiceReference,
	})
}

// suspendedAt tries to change what is declared, and suspends what can be for an hour.
func suspendedAt(c *scene, b boundary) {
	suspend := func(value bool) {
		copied := c.object.DeepCopyObject().(client.Object)
		if !c.subject.wallet() && value {
			c.refuseEdits(copied)
		}
		c.change(copied, func() {
			switch o := copied.(type) {
			case *v1alpha1.LightningPayment:
				o.Spec.Suspend = value
			case *v1alpha1.OnchainSend:
				o.Spec.Suspend = value
			case *v1alpha1.Wallet:
				o.Spec.Suspend = value
			}
		})
	}
	c.at(b, func() { suspend(true) })
	c.play(c.object)
	if before := c.ends(); c.subject.pays() && c.ready(c.object).Reason == v1alpha1.ReasonSuspended {
		c.step(time.Hour)
		c.play(c.object)
		if c.ends() != before {
			c.violate("%d calls that move money while it is suspended", c.ends()-before)
		}
	}
	suspend(false)
	c.play(c.object)
	if !c.subject.wallet() {
		c.refuseEdits(c.object)
	}
	c.judge(judging{})
}

// pauses stop the leader at a boundary while another process takes over, and let it go on when that one has come as far as the name says.
func pauses() []plot {
	resumes := []struct {
		name  string
		until func(call string, after bool) bool
	}{
		{"at once", func(string, bool) bool { return true }},
		{"when the other has begun", func(call string, after bool) bool {
			return after && (strings.HasSuffix(call, "-begin") || strings.HasSuffix(call, "/create-invoice"))
		}},
		{"when the other has submitted", func(call string, after bool) bool { return after && strings.HasSuffix(call, "-end") }},
		{"at the end", func(string, bool) bool { return false }},
	}
	var all []plot
	for n, r := range resumes {
		all = append(all, plot{
			name: "leader paused, resumed " + r.name, asks: n == 3,
			suits: func(s subject, b boundary) bool {
				switch n {
				case 1: // where nobody begins any more, this is the case at the end
					return s.pays() && b.n <= b.end() || s.invoice() && b.n <= b.index("/create-invoice")+1
				case 2:
					return s.pays() && b.n <= b.end()
				}
				return true
			},
			run: func(c *scene, b boundary) { paused(c, b, r.until) },
		})
	}
	return append(all, plot{
		name:  "leader paused, resumed when another payment has begun",
		suits: func(s subject, b boundary) bool { return s.pays() && b.n <= b.end() },
		run:   rivaled,
	})
}

// rivaled has the other process begin a payment of the same wallet that is not the one at which the leader stopped.
func rivaled(c *scene, b boundary) {
	rival := c.subject.make(c.world)
	rival.SetName("rival")
	c.rival = rival
	paused(c, b, func(call string, after bool) bool { return after && strings.HasSuffix(call, "-begin") })
	if end, reason := c.endOf(rival); end != "Succeeded" {
		c.violate("the other payment is %s for %s", end, reason)
	}
	key, _, _ := c.order(rival)
	if count := len(c.sandbox.Moved(key)); count != 1 {
		c.violate("the other payment moved money %d times", count)
	}
}

func paused(c *scene, b boundary, until func(call string, after bool) bool) {
	stopped, resume, finished := make(chan struct{}), make(chan struct{}), make(chan struct{})
	leader := *c
	leader.object = c.object.DeepCopyObject().(client.Object)
	leader.at(b, func() {
		close(stopped)
		<-resume
	})
	go func() { // it takes turns with the test's own goroutine: one of the two always waits for the other
		defer close(finished)
		for range 20 {
			after := leader.look(leader.object)
			if leader.hit {
				return
			}
			leader.step(after)
		}
	}()
	select {
	case <-stopped:
	case <-finished:
		return
	}
	c.hit = true
	c.world = &world{
		t: c.t, api: c.api, sandbox: c.sandbox, url: c.url, clock: c.clock, operator: c.operator, namespace: c.namespace, starts: c.starts + 100,
	}
	c.start()
	resumed, since := false, c.clock.Now()
	release := func() {
		resumed = true
		before := c.money()
		close(resume)
		<-finished
		if late := c.clock.Now().Sub(since); c.subject.pays() && late > time.Minute && c.money() != before {
			c.violate("whoever was paused made a call that can move money %v later", late)
		}
	}
	c.boundary = func(call string, after bool) error {
		if now := c.clock.Now().Sub(since); !resumed && b.inside() && strings.HasSuffix(call, "-begin") && now < payment.DefaultPolicy().Quarantine {
			c.violate("the other begins %v after a call that may still land", now)
		}
		if !resumed && until(call, after) {
			c.disturbed = true
			release()
		}
		return nil
	}
	objects := []client.Object{c.object}
	if c.rival != nil {
		c.create(c.rival)
		objects = []client.Object{c.rival, c.object}
	}
	c.play(objects...)
	c.boundary = nil
	if !resumed {
		release()
	}
	c.play(objects...)
	c.violations += leader.violations
	c.judge(judging{
		// Whoever takes over cannot ask this service for the answer; one that came to whoever was paused counts when that one goes on.
		unknown: c.subject.name == onchainDocumented && b.n == b.end(),
	})
}

// moment is what the cluster knew at some time of a payment and of all that the operator remembers.
type moment struct {
	records v1alpha1.PaymentRecordList
	leases  coordinationv1.LeaseList
	secrets corev1.SecretList
	object  client.Object
}

func (c *scene) remember() *moment {
	c.t.Helper()
	m := &moment{object: c.object.DeepCopyObject().(client.Object)}
	for _, list := range []client.ObjectList{&m.records, &m.leases, &m.secrets} {
		if err := c.api.List(c.t.Context(), list, client.InNamespace(c.operator)); err != nil {
			c.t.Fatal(err)
		}
	}
	c.get(m.object)
	return m
}

// setBack makes the cluster know what it knew then.
func (c *scene) setBack(m *moment) {
	c.t.Helper()
	c.loseRecords()
	var all []client.Object
	for i := range m.records.Items {
		all = append(all, &m.records.Items[i])
	}
	for i := range m.leases.Items {
		all = append(all, &m.leases.Items[i])
	}
	for i := range m.secrets.Items {
		all = append(all, &m.secrets.Items[i])
	}
	for _, object := range all {
		object.SetUID("")
		object.SetResourceVersion("")
		object.SetOwnerReferences(nil) // the UIDs of the records are others now
		c.create(object)
	}
	current := m.object.DeepCopyObject().(client.Object)
	c.change(current, func() { current.SetFinalizers(m.object.GetFinalizers()) })
	m.object.SetResourceVersion(current.GetResourceVersion())
	if err := c.api.Status().Update(c.t.Context(), m.object); err != nil {
		c.t.Fatal(err)
	}
}

// rollbacks end the process at a boundary and set the cluster back by some writes.
func rollbacks() []plot {
	var all []plot
	for _, by := range []int{1, 4, 100} {
		name := fmt.Sprintf("etcd set back by %d writes", by)
		if by == 1 {
			name = "etcd set back by one write"
		}
		if by == 100 {
			name = "etcd set back to the start"
		}
		all = append(all,
			plot{name: name, asks: true, run: func(c *scene, b boundary) { rolledBack(c, b, by, false) }},
			plot{
				name: name + ", and held by hand", suits: func(s subject, _ boundary) bool { return s.onchain() },
				run: func(c *scene, b boundary) { rolledBack(c, b, by, true) },
			})
	}
	return all
}

func rolledBack(c *scene, b boundary, by int, held bool) {
	writes := func(path []string) (count int) {
		for _, call := range path {
			if isWrite(call) {
				count++
			}
		}
		return count
	}
	keep := max(writes(b.path[:b.n])-by, 0)
	var then *moment
	if keep == 0 {
		then = c.remember()
	}
	c.at(b, func() {
		c.setBack(then)
		if held { // step 3 of the runbook
			kind := client.MatchingLabels{"payments.utexo.com/record-kind": string(v1alpha1.RecordWalletEpoch)}
			if err := c.api.DeleteAllOf(c.t.Context(), &v1alpha1.PaymentRecord{}, client.InNamespace(c.operator), kind); err != nil {
				c.t.Fatal(err)
			}
		}
		panic(crashed{})
	})
	count, ask := 0, c.boundary
	c.boundary = func(call string, after bool) error {
		if after && isWrite(call) {
			if count++; count == keep {
				then = c.remember()
			}
		}
		return ask(call, after)
	}
	c.play(c.object)
	if held && c.exists(c.object) && c.ready(c.object).Reason == v1alpha1.ReasonJournalLost {
		c.followRunbook()
		return
	}
	ahead := 0 // after how many writes the record says that the send was submitted, or that the invoice is published
	switch {
	case c.subject.onchain():
		ahead = writes(b.path[:b.end()])
	case c.subject.invoice():
		ahead = writes(b.path[:b.index("/create-invoice")+2])
	}
	c.judge(judging{
		// What docs/protocol.md says is not covered: the records say less than what happened, and look complete.
		twice: (c.subject.onchain() && b.n > b.end() || c.subject.invoice()) && !held && keep < ahead,
		// A record that says Submitting while the call was answered, or is not there to be repeated under the Lease of then.
		unknown: c.subject.onchain() && (keep >= ahead && keep <= ahead+1),
	})
}

// twins declare the same payment again at the boundary, and have another worker look at it there and then.
func twins() []plot {
	variants := []struct {
		name  string
		words string
	}{
		{"in another name", ""},
		{"in another namespace", mnemonic},
		{"from another wallet", otherMnemonic},
	}
	var all []plot
	for _, v := range variants {
		all = append(all, plot{name: "declared twice, " + v.name, suits: paysOnly, run: func(c *scene, b boundary) {
			namespace, name := c.namespace, "twin"
			if v.words != "" {
				namespace, name = c.neighbour(v.words), c.object.GetName()
			}
			twin := again(c.object, namespace, name)
			c.at(b, func() {
				c.create(twin)
				c.meanwhile(func() { c.look(twin) })
				c.disturbed = true
			})
			c.play(c.object, twin)
			c.judge(judging{objects: []client.Object{c.object, twin}})
		}})
	}
	return all
}

// neighbour is another namespace with a Wallet main of these keys, which is ready.
func (c *scene) neighbour(words string) string {
	c.t.Helper()
	home := c.wallet("main")
	c.get(home)
	copied := again(home, c.makeNamespace("neighbour-"), "main").(*v1alpha1.Wallet)
	c.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: copied.Namespace, Name: "main"}, StringData: map[string]string{"mnemonic": words}})
	c.create(copied)
	if _, err := c.reconcile(copied); err != nil {
		c.t.Fatal(err)
	}
	c.get(copied)
	if err := testkit.CheckStatus(copied); err != nil {
		c.t.Fatal(err)
	}
	return copied.Namespace
}

// strangers have another client of the wallet begin an order of its own.
func strangers() []plot {
	var all []plot
	for name, onchain := range map[string]bool{"a payment": false, "a send": true} {
		all = append(all, plot{name: "another client begins " + name, asks: true, suits: paysOnly, run: func(c *scene, b boundary) {
			wallet := c.wallet("main")
			c.get(wallet)
			c.at(b, func() {
				if err := c.sandbox.ForeignBegin(wallet.Status.XpubVanilla, onchain); err != nil {
					c.t.Fatal(err)
				}
			})
			c.play(c.object)
			c.judge(judging{
				foreign: true,
				unknown: c.subject.onchain() && onchain && b.n > b.begin() && b.n <= b.end(),
			})
		}})
	}
	return all
}

// secrets take the wallet's keys away, or put others in their place.
func secrets() []plot {
	put := func(c *scene, words string) {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "main"}}
		if c.exists(secret) {
			c.delete(secret)
		}
		if words != "" {
			c.makeSecret("main", map[string]string{"mnemonic": words})
		}
		c.resync = true
	}
	var all []plot
	for name, words := range map[string]string{"rotated": otherMnemonic, "missing": ""} {
		all = append(all,
			plot{name: "keys " + name + " for a while", run: func(c *scene, b boundary) {
				c.at(b, func() { put(c, words) })
				c.play(c.object)
				put(c, mnemonic)
				c.step(time.Minute)
				c.play(c.object)
				c.judge(judging{})
			}},
			plot{name: "keys " + name + " for good", run: func(c *scene, b boundary) {
				c.at(b, func() { put(c, words) })
				c.play(c.object)
				c.judge(judging{
					waits: []string{
						v1alpha1.ReasonWalletChanged, v1alpha1.ReasonWalletNotReady, v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonJournalLost,
					},
					unsettled: true,
				})
			}})
	}
	return all
}

// jumps set the clock of the machine that the operator runs on.
func jumps() []plot {
	var all []plot
	for name, by := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		all = append(all, plot{name: "clock jumps an hour " + name, run: func(c *scene, b boundary) {
			c.at(b, func() { c.clock.SetTime(c.clock.Now().Add(by)) })
			c.play(c.object)
			c.judge(judging{})
		}})
	}
	return all
}
