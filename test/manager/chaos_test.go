package manager_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// setting is a number of the chaos that the environment may change.
func setting(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < 0 {
		t.Fatalf("%s is %q, which is no number of things", name, text)
	}
	return value
}

// TestChaos lets two managers, one of which leads, make PAYMENTS payments from four wallets at two services that do much wrong, kills the
// leader KILLS times and suspends it PAUSES times, at instants that SEED chooses around the calls of payments. Every payment must be made
// once, or be shown as what a person has to look up; and when the person has, nothing is open.
func TestChaos(t *testing.T) {
	t.Parallel()
	takeTurns(t)
	seed := setting(t, "SEED", 1)
	c := newChaos(t, setting(t, "PAYMENTS", 24), uint64(seed))
	kills, pauses := setting(t, "KILLS", 6), setting(t, "PAUSES", 3)
	strikes := slices.Concat(slices.Repeat([]func(){c.killLeader}, kills), slices.Repeat([]func(){c.suspendLeader}, pauses))
	c.random.Shuffle(len(strikes), func(i, j int) { strikes[i], strikes[j] = strikes[j], strikes[i] })
	started := time.Now()
	for i, strike := range strikes {
		c.declare((i + 1) * c.planned / len(strikes))
		c.keepTwo()
		c.breakSomething()
		strike()
		if (i+1)%50 == 0 {
			t.Logf("%d of %d strikes after %s: %s", i+1, len(strikes), time.Since(started).Round(time.Second), &c.tally)
		}
	}
	c.declare(c.planned)
	c.calm()
	c.judge()
	t.Logf("seed %d, %d kills, %d pauses in %s: %s", seed, kills, pauses, time.Since(started).Round(time.Second), &c.tally)
	if kills > 0 && c.tally.inside == 0 {
		t.Error("no leader was killed while it paid")
	}
	if pauses > 0 && c.tally.takeovers == 0 {
		t.Error("no leader lost the lead while it was suspended")
	}
}

// chaos is a run of TestChaos.
type chaos struct {
	t      *testing.T
	random *rand.Rand
	sides  []*side
	// arguments start a manager, leader leads, standby waits to. led is who held the lead when last looked.
	arguments       []string
	leader, standby *manager
	led             string
	planned         int
	tally           tally
}

// side is a service with two wallets, and what is paid from them.
type side struct {
	*world
	kind    kind
	wallets []string
	orders  []order
	// late is when the last late landing that was asked for is over.
	late time.Time
}

// tally is what happened.
type tally struct {
	inside, takeovers, kept, starved, armed, struck int
	succeeded, failed, unknown, begins, ends        int
}

func (t *tally) String() string {
	return fmt.Sprintf("%d wallets left behind in their critical section, %d leaders lost the lead suspended and %d kept it, "+
		"%d processes lost it by themselves; %d faults armed, %d struck; %d begins, %d ends; %d Succeeded, %d Failed, %d Unknown", t.inside, t.takeovers, t.kept, t.starved, t.armed, t.struck, t.begins, t.ends,
		t.succeeded, t.failed, t.unknown)
}

func newChaos(t *testing.T, payments int, seed uint64) *chaos {
	t.Helper()
	c := &chaos{t: t, planned: payments, random: rand.New(rand.NewPCG(seed, 0x6368616f73))}
	var namespaces []string
	for _, name := range []string{"Lightning", "on-chain"} {
		s := &side{kind: kinds[name], wallets: []string{"left", "right"}}
		s.world = newWorld(t, newService(t, sandbox.Reference, func(o *sandbox.Options) { o.NodeSats, o.FundSats = 100_000_000, 100_000_000 }))
		for _, wallet := range s.wallets {
			s.addWallet(wallet)
		}
		c.sides = append(c.sides, s)
		namespaces = append(namespaces, s.namespace)
	}
	c.arguments = []string{
		"--leader-elect=true", "--leader-lease-duration=4s", "--leader-renew-deadline=3s", "--leader-retry-period=500ms",
		"--watch-namespaces=" + strings.Join(namespaces, ","), "--quarantine=10s", "--zap-log-level=info",
	}
	for _, s := range c.sides {
		s.quarantine = 10 * time.Second
	}
	before := leader(t)
	c.leader = startManager(t, operator, c.arguments...)
	c.led = awaitLeader(t, before)
	c.standby = startManager(t, operator, c.arguments...)
	for _, s := range c.sides {
		s.awaitReady(s.wallets...)
	}
	// The first send closes the node's channel, and a second one that meets the closing channel would fail.
	onchain := c.sides[1]
	first := onchain.send("left", "first", 50_000)
	onchain.awaitPaid(first)
	return c
}

// declare declares payments until there are as many.
func (c *chaos) declare(count int) {
	declared := 0
	for _, s := range c.sides {
		declared += len(s.orders)
	}
	for ; declared < count; declared++ {
		s := c.sides[declared%2]
		wallet := s.wallets[c.random.IntN(2)]
		s.orders = append(s.orders, s.kind.declare(s.world, wallet, fmt.Sprintf("payment-%d", declared), int64(2000+declared)))
	}
}

// hostile are faults that leave it open what the service did, or not; none takes as long as a quarantine.
var hostile = []sandbox.FaultKind{
	sandbox.FaultRefuseConnection, sandbox.FaultDropRequest, sandbox.FaultDropAnswer, sandbox.FaultDelay, sandbox.FaultSlowAnswer,
	sandbox.FaultLandLate, sandbox.FaultDeliverTwice, sandbox.FaultErrorBefore, sandbox.FaultErrorAfter, sandbox.FaultTruncate,
	sandbox.FaultGarble, sandbox.FaultNull, sandbox.FaultThrottle, sandbox.FaultHTML, sandbox.FaultHTMLAfter,
}

// breakSomething arms a fault at one of the services, every other time.
func (c *chaos) breakSomething() {
	if c.random.IntN(2) == 0 {
		return
	}
	s := c.sides[c.random.IntN(2)]
	operations := []sandbox.Operation{s.kind.begin, s.kind.end, s.kind.end, sandbox.SendRequest, sandbox.OnchainStatus, sandbox.Balance}
	f := sandbox.Fault{
		Kind: hostile[c.random.IntN(len(hostile))], Operation: operations[c.random.IntN(len(operations))],
		Delay: sandbox.Duration(time.Duration(1+c.random.IntN(1500)) * time.Millisecond),
	}
	if f.Kind == sandbox.FaultThrottle {
		f.RetryAfter = 1
	}
	s.service.fault(c.t, f)
	c.tally.armed++
}

// moment waits until a payment is at one of its calls, and a little more. Where nothing is under way it does not wait long.
func (c *chaos) moment() {
	s := c.sides[c.random.IntN(2)]
	select {
	case <-s.service.trap(s.kind.paths[c.random.IntN(len(s.kind.paths))], 1):
		time.Sleep(time.Duration(c.random.Int64N(int64(40 * time.Millisecond))))
	case <-c.leader.Done: // on a machine that is too busy it may lose the lead by itself
	case <-time.After(time.Second):
	}
}

// killLeader kills the leader, which the standby follows.
func (c *chaos) killLeader() {
	c.moment()
	c.leader.kill()
	c.bury(c.leader)
	c.awaitTakeover()
	c.promote()
}

// suspendLeader suspends the leader for so short that it keeps the lead, or for so long that the standby has it and pays. Then the leader
// goes on where it was.
func (c *chaos) suspendLeader() {
	c.moment()
	c.leader.Signal(syscall.SIGSTOP)
	if c.random.IntN(3) == 0 {
		time.Sleep(time.Duration(c.random.Int64N(int64(500 * time.Millisecond))))
		c.leader.Signal(syscall.SIGCONT)
		c.tally.kept++
		return
	}
	c.awaitTakeover()
	time.Sleep(time.Duration(c.random.Int64N(int64(2 * time.Second))))
	c.leader.Signal(syscall.SIGCONT)
	select {
	case <-c.leader.Done:
		c.tally.takeovers++
		c.bury(c.leader)
		c.promote()
	case <-c.standby.Done: // which lost the lead to the leader again: the machine is too busy
		c.replaceStandby()
	case <-time.After(20 * time.Second):
		// It did not lead: on a machine that is too busy a standby may have been faster than the one before it.
		c.leader, c.standby = c.standby, c.leader
		c.tally.kept++
	}
}

// promote makes the standby, which leads, the leader, and starts another.
func (c *chaos) promote() {
	c.leader, c.standby = c.standby, startManager(c.t, operator, c.arguments...)
}

// awaitTakeover waits until the standby leads. On a machine that is too busy it may lose the lead at once, and another takes its place.
func (c *chaos) awaitTakeover() {
	await(c.t, "the standby leads", func() error {
		select {
		case <-c.standby.Done:
			c.replaceStandby()
		default:
		}
		now := leader(c.t)
		if now == "" || now == c.led {
			return fmt.Errorf("%q leads", now)
		}
		c.led = now
		return nil
	})
}

// keepTwo sees to it that two managers run: on a machine that is too busy they lose the lead by themselves, and end.
func (c *chaos) keepTwo() {
	select {
	case <-c.standby.Done:
		c.replaceStandby()
	default:
	}
	select {
	case <-c.leader.Done:
		c.tally.starved++
		c.bury(c.leader)
		c.promote()
		c.led = leader(c.t)
	default:
	}
}

func (c *chaos) replaceStandby() {
	c.bury(c.standby)
	c.standby = startManager(c.t, operator, c.arguments...)
	c.tally.starved++
}

// bury takes away what is left of a process that has ended.
func (c *chaos) bury(m *manager) {
	identity := m.identity()
	m.killed = true
	m.discard()
	c.outlive(identity)
}

// outlive makes what a dead process left behind as old as if its quarantine were over, once nothing of it can land any more. What a
// living one holds is left alone.
func (c *chaos) outlive(dead string) {
	for _, s := range c.sides {
		for _, request := range s.service.Requests() {
			if request.Fault == sandbox.FaultLandLate && request.At.After(s.late) {
				s.late = request.At
			}
		}
	}
	await(c.t, "the services are done with what the dead process asked", func() error {
		for _, s := range c.sides {
			if err := s.service.busy(); err != nil {
				return err
			}
			if wait := time.Until(s.late.Add(2 * time.Second)); wait > 0 {
				return fmt.Errorf("a late call may land for %s", wait)
			}
		}
		return nil
	})
	for _, s := range c.sides {
		for _, wallet := range s.wallets {
			if lease, inflight := s.lease(wallet); inflight != nil && ptr.Deref(lease.Spec.HolderIdentity, "") == dead {
				c.tally.inside++
				s.outlast(wallet)
			}
		}
	}
}

// calm ends the faults and waits until nothing is under way.
func (c *chaos) calm() {
	for _, s := range c.sides {
		for _, request := range s.service.Requests() {
			if request.Fault != "" && !request.Repeat {
				c.tally.struck++
			}
		}
		s.service.ClearFaults(0)
	}
	var last error
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		c.keepTwo()
		if last = c.settled(); last == nil {
			return
		}
	}
	c.t.Fatalf("the payments do not come to an end: %v", last)
}

// settled returns an error until all payments have come to an end.
func (c *chaos) settled() error {
	for _, s := range c.sides {
		if err := s.settled(s.orders); err != nil {
			return err
		}
	}
	return nil
}

// judge holds what is shown against the ledgers, has a person look up what is unknown, and sees that nothing happens any more.
func (c *chaos) judge() {
	unknown := map[string][]order{}
	for _, s := range c.sides {
		for _, o := range s.orders {
			if c.judgeOne(s, o) == v1alpha1.PaymentUnknown {
				unknown[s.namespace] = append(unknown[s.namespace], o)
				s.resolve(o)
			}
		}
		for _, request := range s.service.Requests() {
			switch request.Operation {
			case s.kind.begin:
				c.tally.begins++
			case s.kind.end:
				c.tally.ends++
			}
		}
	}
	await(c.t, "what a person looked up is over", func() error {
		for _, s := range c.sides {
			for _, o := range unknown[s.namespace] {
				want := v1alpha1.PaymentFailed
				if s.service.paidOnce(o.key) == nil {
					want = v1alpha1.PaymentSucceeded
				}
				if phase, why := s.phase(o); phase != want {
					return fmt.Errorf("%s is %s (%s), want %s", o.object.GetName(), phase, why, want)
				}
			}
		}
		return nil
	})
	c.quiet()
}

// judgeOne judges one payment at its end.
func (c *chaos) judgeOne(s *side, o order) v1alpha1.PaymentPhase {
	phase, why := s.phase(o)
	err := s.service.paidOnce(o.key)
	_, lightning := o.object.(*v1alpha1.LightningPayment)
	switch {
	case err != nil && err != errNothingMoved:
		c.t.Errorf("%s is %s (%s): %v", o.object.GetName(), phase, why, err)
	case phase == v1alpha1.PaymentSucceeded && err != nil, phase == v1alpha1.PaymentFailed && err == nil:
		c.t.Errorf("%s is %s (%s); ledger: %v", o.object.GetName(), phase, why, err)
	case phase == v1alpha1.PaymentUnknown && lightning:
		c.t.Errorf("%s is Unknown (%s), which a Lightning payment never has to be", o.object.GetName(), why)
	}
	if err := testkit.CheckStatus(o.object); err != nil {
		c.t.Error(err)
	}
	switch phase {
	case v1alpha1.PaymentSucceeded:
		c.tally.succeeded++
	case v1alpha1.PaymentFailed:
		c.tally.failed++
		c.t.Logf("%s failed: %s", o.object.GetName(), why)
	case v1alpha1.PaymentUnknown:
		c.tally.unknown++
		c.t.Logf("%s is unknown: %s", o.object.GetName(), why)
	}
	return phase
}

// resolve is the word of a person who looked at the chain.
func (s *side) resolve(o order) {
	s.t.Helper()
	record := s.record(o)
	word := fmt.Sprintf("%s:%d:notpaid", record.UID, record.Journal.Attempt)
	if s.service.paidOnce(o.key) == nil {
		word = fmt.Sprintf("%s:%d:paid:%s", record.UID, record.Journal.Attempt, s.service.Moved(o.key)[0].Key)
	}
	before := o.object.DeepCopyObject().(client.Object)
	annotations := o.object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[controller.ResolveAnnotation] = word
	o.object.SetAnnotations(annotations)
	if err := api.Patch(s.t.Context(), o.object, client.MergeFrom(before)); err != nil {
		s.t.Fatalf("resolving %s: %v", o.object.GetName(), err)
	}
}

// quiet sees that nothing is written and nothing that moves money is called any more, by the leader and by one that starts anew.
func (c *chaos) quiet() {
	c.leader.stop()
	versions, calls := c.versions(), c.moneyCalls()
	c.awaitTakeover()
	time.Sleep(5 * time.Second)
	if now := c.moneyCalls(); now != calls {
		c.t.Errorf("%d calls that move money were made after everything had come to rest", now-calls)
	}
	for name, version := range c.versions() {
		if versions[name] != version {
			c.t.Errorf("%s was written after everything had come to rest", name)
		}
	}
}

func (c *chaos) versions() map[string]string {
	c.t.Helper()
	found := map[string]string{}
	for _, namespace := range []string{c.sides[0].namespace, c.sides[1].namespace, testkit.OperatorNamespace} {
		payments, sends, records := &v1alpha1.LightningPaymentList{}, &v1alpha1.OnchainSendList{}, &v1alpha1.PaymentRecordList{}
		for _, list := range []client.ObjectList{payments, sends, records} {
			if err := api.List(c.t.Context(), list, client.InNamespace(namespace)); err != nil {
				c.t.Fatal(err)
			}
		}
		for _, o := range payments.Items {
			found["LightningPayment "+o.Name] = o.ResourceVersion
		}
		for _, o := range sends.Items {
			found["OnchainSend "+o.Name] = o.ResourceVersion
		}
		for _, o := range records.Items {
			found["PaymentRecord "+o.Name] = o.ResourceVersion
		}
	}
	return found
}

func (c *chaos) moneyCalls() (calls int) {
	for _, s := range c.sides {
		for _, request := range s.service.Requests() {
			if request.Operation == s.kind.begin || request.Operation == s.kind.end {
				calls++
			}
		}
	}
	return calls
}
