package turns_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/utexo/utexo-operator/internal/turns"
)

// desk is a wallet's line with who was called.
type desk struct {
	*turns.Turns[string]
	t      *testing.T
	clock  *clocktesting.FakeClock
	called []string
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, clock: clocktesting.NewFakeClock(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))}
	d.Turns = turns.New(d.clock, func(who string) { d.called = append(d.called, who) })
	return d
}

func (d *desk) enters(who string, want bool) {
	d.t.Helper()
	if got := d.Enter(d.t.Context(), "main", who); got != want {
		d.t.Errorf("%s enters: %t", who, got)
	}
}

func (d *desk) wantCalled(want ...string) {
	d.t.Helper()
	if !slices.Equal(d.called, want) {
		d.t.Errorf("called: %v, want %v", d.called, want)
	}
	d.called = nil
}

func TestOneAfterAnother(t *testing.T) {
	d := newDesk(t)
	d.enters("a", true)
	d.enters("b", false)
	d.enters("c", false)
	d.enters("b", false) // asks again, and stays where it is
	d.wantCalled()
	if !d.Enter(t.Context(), "other", "z") {
		t.Error("another wallet has a line of its own")
	}
	d.Leave("main")
	d.wantCalled("b")
	d.enters("d", false) // b was called
	d.enters("b", true)
	d.Leave("main")
	d.wantCalled("c")
	d.enters("c", true)
	d.Leave("main")
	d.wantCalled("d")
	d.enters("d", true)
	d.Leave("main")
	d.wantCalled()
	d.enters("e", true)
}

func TestForfeit(t *testing.T) {
	d := newDesk(t)
	d.enters("a", true)
	for _, who := range []string{"b", "c", "d", "e"} {
		d.enters(who, false)
	}
	d.Forfeit("c") // in line
	d.Forfeit("z") // unknown
	d.Leave("main")
	d.wantCalled("b")
	d.Forfeit("b") // called
	d.wantCalled("d")
	d.enters("d", true)
	d.Forfeit("d") // inside, at the end of its pass
	d.wantCalled()
	d.Leave("main")
	d.wantCalled("e")
}

// TestNoShow calls one that does not come.
func TestNoShow(t *testing.T) {
	d := newDesk(t)
	d.enters("a", true)
	d.enters("b", false)
	d.enters("c", false)
	d.Leave("main")
	d.wantCalled("b")
	d.clock.Step(9 * time.Second)
	d.enters("d", false)
	d.wantCalled()
	d.clock.Step(2 * time.Second)
	d.enters("d", false)
	d.wantCalled("c")
	d.enters("b", false) // too late
	d.enters("c", true)
}

// TestNear calls the next one while one is still inside: it waits at the door.
func TestNear(t *testing.T) {
	d := newDesk(t)
	d.Turns = turns.New[string](clock.RealClock{}, func(who string) { d.called = append(d.called, who) })
	d.enters("a", true)
	d.enters("b", false)
	d.Near("main")
	d.Near("main")
	d.wantCalled("b")
	entered := make(chan bool)
	go func() { entered <- d.Enter(t.Context(), "main", "b") }()
	select {
	case <-entered:
		t.Fatal("b did not wait for a")
	case <-time.After(50 * time.Millisecond):
	}
	d.Leave("main")
	if !<-entered {
		t.Error("b was called, waited, and did not come in")
	}
	d.Leave("main")
}

// TestNearAndLong calls one that then waits for longer than it has patience: it stays the first.
func TestNearAndLong(t *testing.T) {
	d := newDesk(t)
	d.enters("a", true)
	d.enters("b", false)
	d.enters("c", false)
	d.Near("main")
	d.wantCalled("b")
	entered := make(chan bool)
	go func() { entered <- d.Enter(t.Context(), "main", "b") }()
	for !d.clock.HasWaiters() {
		time.Sleep(time.Millisecond)
	}
	d.clock.Step(6 * time.Second)
	if <-entered {
		t.Fatal("b is inside together with a")
	}
	d.Leave("main")
	d.wantCalled("b")
	d.enters("b", true)
}

// TestCrowd has many come, wait, give up and leave at random from many goroutines: two are never inside at once, and each one that goes on
// wanting comes in.
func TestCrowd(t *testing.T) {
	const crowd = 200
	var mutex sync.Mutex
	inside, served := 0, map[string]bool{}
	calls := make(chan string, 100*crowd)
	line := turns.New(clock.RealClock{}, func(who string) { calls <- who })
	pass := func(who string, random *rand.Rand) {
		if random.IntN(10) == 0 { // it is held by something else in this pass, and is looked at again later
			line.Forfeit(who)
			calls <- who
			return
		}
		if !line.Enter(t.Context(), "main", who) {
			return
		}
		mutex.Lock()
		if inside++; inside != 1 {
			t.Errorf("%d are inside", inside)
		}
		mutex.Unlock()
		line.Near("main")
		mutex.Lock()
		inside--
		served[who] = true
		mutex.Unlock()
		line.Leave("main")
		line.Forfeit(who)
	}
	for n := range crowd {
		calls <- fmt.Sprint(n)
	}
	var workers sync.WaitGroup
	busy := map[string]bool{} // a queue hands no key to two workers
	for n := range 8 {
		random := rand.New(rand.NewPCG(1, uint64(n)))
		workers.Go(func() {
			for {
				select {
				case who := <-calls:
					mutex.Lock()
					again := busy[who]
					busy[who] = true
					done := served[who]
					mutex.Unlock()
					if again {
						calls <- who
						continue
					}
					if !done {
						pass(who, random)
					} else {
						line.Forfeit(who)
					}
					mutex.Lock()
					busy[who] = false
					mutex.Unlock()
				case <-time.After(300 * time.Millisecond):
					return
				}
			}
		})
	}
	workers.Wait()
	if len(served) != crowd {
		t.Errorf("%d of %d came in", len(served), crowd)
	}
}
