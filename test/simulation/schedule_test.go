package simulation

import (
	"fmt"
	"iter"
	"runtime/debug"
	"sync"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// task is a coroutine of the scheduler: a reconcile of a replica, or the service at work on a request. It hands control back before each
// call that it makes, and whenever it waits.
type task struct {
	name string
	// replica is nil for the service's side of a request.
	replica *replica
	object  *object
	// uid is what the cache said that the object's is.
	uid string
	// cached is the object as the cache showed it last.
	cached client.Object
	// do is what the task does; on is what it does it on, nil before it runs for the first time.
	do func()
	on *coroutine
	// The task goes on at until; one that awaits another goes on when that is done, at until at the latest.
	until  time.Time
	awaits *task
	// killed tells that its process is gone: it makes no further call.
	killed, done bool
	crashed      bool
	failure      string

	result ctrl.Result
	err    error

	// began and ahead are the last writes of a record by which the task announced a begin, and an end.
	began int32
	// signaturesAt is the revision at which the task last listed what people signed.
	signaturesAt int64
	ahead        *writeAhead
	looks        looks
	// recordLost tells that the record with which it works was deleted meanwhile.
	recordLost bool
}

// crash is what a task of a dead process panics with.
type crash struct{}

// spawn makes a task of do; it runs when the scheduler first resumes it.
func (s *sim) spawn(t *task, do func()) *task {
	t.do = do
	s.tasks = append(s.tasks, t)
	return t
}

// coroutine runs one task after the other, of whichever simulation. A reconcile is deep: a stack that has grown once serves the next.
type coroutine struct {
	// resume lets the task run until it hands control back by yield, or is done.
	resume func() (struct{}, bool)
	yield  func(struct{}) bool
	task   *task
}

// idle are coroutines that wait for a task.
var idle struct {
	sync.Mutex
	list []*coroutine
}

func coroutineFor(t *task) *coroutine {
	idle.Lock()
	defer idle.Unlock()
	if last := len(idle.list) - 1; last >= 0 {
		c := idle.list[last]
		idle.list = idle.list[:last]
		c.task = t
		return c
	}
	c := &coroutine{task: t}
	c.resume, _ = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		for {
			c.task.toItsEnd()
			c.task = nil
			yield(struct{}{})
		}
	})
	return c
}

func (c *coroutine) rest() {
	idle.Lock()
	defer idle.Unlock()
	idle.list = append(idle.list, c)
}

func (t *task) toItsEnd() {
	defer func() {
		if cause := recover(); cause != nil {
			t.crashed = true
			if _, ok := cause.(crash); !ok {
				t.failure = fmt.Sprintf("panic: %v\n%s", cause, debug.Stack())
			}
		}
		t.done = true
	}()
	if !t.killed {
		t.do()
	}
}

// run lets t go on until it hands control back.
func (s *sim) run(t *task) {
	s.current = t
	if t.on == nil {
		t.on = coroutineFor(t)
	}
	t.on.resume()
	if t.done {
		t.on.rest()
		t.on = nil
	}
	s.current = nil
	if t.failure != "" {
		s.fail("panic", "%s: %s", t.name, t.failure)
		t.failure = ""
	}
}

// handBack gives control to the scheduler until it resumes the current task.
func (s *sim) handBack() {
	t := s.current
	if !t.killed {
		t.on.yield(struct{}{})
	}
	if t.killed {
		panic(crash{})
	}
}

// sleep lets d pass for the current task.
func (s *sim) sleep(d time.Duration) {
	s.current.until = s.clock.Now().Add(d)
	s.handBack()
}

// await waits for other, but not beyond deadline, and reports whether other is done.
func (s *sim) await(other *task, deadline time.Time) bool {
	t := s.current
	t.awaits, t.until = other, deadline
	s.handBack()
	t.awaits, t.until = nil, s.clock.Now()
	return other.done
}

// virtualClock is a clock on which waiting hands control to the scheduler.
type virtualClock struct {
	*clocktesting.FakeClock
	sim *sim
}

// Sleep implements clock.Clock.
func (c *virtualClock) Sleep(d time.Duration) { c.sim.sleep(d) }

// readyAt is when t can go on; zero if it cannot until another task is done.
func (t *task) readyAt(now time.Time) time.Time {
	at := t.until
	if t.awaits != nil && t.awaits.done {
		at = now
	}
	if t.replica != nil && t.replica.frozenUntil.After(at) {
		at = t.replica.frozenUntil
	}
	return at
}

// step does the next thing: what that is, the seed says. It returns false where nothing is left to do before limit.
func (s *sim) step(limit time.Time) bool {
	now := s.clock.Now()
	if !now.Before(limit) {
		return false
	}
	s.choices = s.choices[:0]
	next := limit
	consider := func(at time.Time, weight int, do func()) {
		if at.After(now) {
			if at.Before(next) {
				next = at
			}
			return
		}
		s.choices = append(s.choices, choice{weight, do})
	}
	for _, t := range s.tasks {
		consider(t.readyAt(now), 60, func() { s.run(t) })
	}
	for _, r := range s.replicas {
		s.offer(r, consider)
	}
	for _, o := range s.objects {
		if !o.payAt.IsZero() {
			consider(o.payAt, 20, func() { s.pay(o) })
		}
		if s.hopeless(o) {
			consider(now, 20, func() { s.giveUp(o) })
		}
	}
	s.offerConsent(consider)
	s.offerSigning(consider)
	if s.chaotic {
		if len(s.choices) == 0 {
			at := next
			consider(now, 40, func() { s.advance(at.Sub(now)) })
		}
		s.offerChaos(consider)
		if s.losesAfter > 0 && s.judge.sendWrites >= s.losesAfter {
			consider(now, 20, s.loseHalf)
		}
	}
	total := 0
	for _, c := range s.choices {
		total += c.weight
	}
	if total == 0 {
		if !next.Before(limit) {
			return false
		}
		s.advance(next.Sub(now))
		return true
	}
	pick := s.random.IntN(total)
	for _, c := range s.choices {
		if pick -= c.weight; pick < 0 {
			c.do()
			break
		}
	}
	s.bury()
	return true
}

type choice struct {
	weight int
	do     func()
}

// offer adds what replica r can do: start a reconcile, catch up with the API server, start again after a crash.
func (s *sim) offer(r *replica, consider func(time.Time, int, func())) {
	if r.dead {
		consider(r.downUntil, 40, func() { s.start(r) })
		return
	}
	at := r.frozenUntil
	if s.leading(r) && r.running() < 4 {
		for i, due := range r.due {
			if due.IsZero() || r.busy[i] {
				continue
			}
			consider(latest(due, at), 30, func() { s.reconcile(r, s.objects[i]) })
		}
	}
	for _, kind := range watchedKinds {
		if r.seen[kind] < len(s.api.watches[kind]) {
			consider(at, 20, func() { s.catchUp(r, kind) })
		}
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// bury takes note of tasks that are done, and ends those of processes that died.
func (s *sim) bury() {
	for _, r := range s.replicas {
		if !r.dying {
			continue
		}
		r.dying = false
		for _, t := range s.tasks {
			if t.replica == r && !t.done {
				t.killed = true
				s.run(t)
			}
		}
	}
	living := s.tasks[:0]
	for _, t := range s.tasks {
		if !t.done {
			living = append(living, t)
			continue
		}
		if t.replica != nil {
			s.finished(t)
		}
	}
	clear(s.tasks[len(living):])
	s.tasks = living
}

// advance lets d pass.
func (s *sim) advance(d time.Duration) {
	s.clock.Step(d)
}
