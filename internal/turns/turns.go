// Package turns has the payments of a wallet come one after another within a process. A wallet makes one payment at a time; without an
// order among them each would ask again and again whether it is its turn. Here each waits in line until it is called.
//
// Nothing depends on it but how soon a payment is made: that no two of them are in a wallet's critical section at once is what package
// walletlock sees to, across processes.
package turns

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// patience is how long one that was called may take to come; then it is the next one's turn.
	patience = 10 * time.Second
	// Again is how long one that waits in line does so before it asks again by itself, in case that it was forgotten. Thousands may wait.
	Again = 5 * time.Minute
)

// Turns keeps the lines of all wallets. Who identifies what waits.
type Turns[Who comparable] struct {
	clock clock.Clock
	// call tells one that it is its turn; it must not block.
	call func(Who)

	mutex   sync.Mutex
	wallets map[string]*wallet[Who]
	// at is the wallet that each one waits or is called for.
	at map[Who]string
}

type wallet[Who comparable] struct {
	inside, called     Who
	isInside, isCalled bool
	calledAt           time.Time
	line               []Who
	// left is closed when the one inside leaves.
	left chan struct{}
}

// New returns Turns that tells each one by call when it is its turn.
func New[Who comparable](clock clock.Clock, call func(Who)) *Turns[Who] {
	return &Turns[Who]{clock: clock, call: call, wallets: map[string]*wallet[Who]{}, at: map[Who]string{}}
}

// Enter reports whether it is who's turn at a wallet, who then leaves by Leave. Otherwise who waits in line, and will be called. One that
// was called while another is still inside waits for that one here, for a short time.
func (t *Turns[Who]) Enter(ctx context.Context, name string, who Who) bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	w := t.wallet(name)
	if w.isCalled && w.called == who && w.isInside {
		t.await(ctx, w)
		w = t.wallet(name)
	}
	t.expire(w)
	mayEnter := !w.isInside && (w.isCalled && w.called == who || !w.isCalled && (len(w.line) == 0 || w.line[0] == who))
	if !mayEnter {
		if w.isCalled && w.called == who { // it took too long inside: who stays first
			w.isCalled = false
			w.line = slices.Insert(w.line, 0, who)
		} else if !slices.Contains(w.line, who) {
			w.line = append(w.line, who)
		}
		t.at[who] = name
		t.next(w)
		return false
	}
	t.drop(w, who)
	w.inside, w.isInside, w.left = who, true, make(chan struct{})
	return true
}

// await waits until the one inside leaves, with the mutex given back meanwhile.
func (t *Turns[Who]) await(ctx context.Context, w *wallet[Who]) {
	left := w.left
	t.mutex.Unlock()
	defer t.mutex.Lock()
	select {
	case <-left:
	case <-ctx.Done():
	case <-t.clock.After(patience / 2):
	}
}

// Near tells that the one inside is about to leave: the next one is called, and gets ready.
func (t *Turns[Who]) Near(name string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if w := t.wallets[name]; w != nil && w.isInside {
		t.invite(w)
	}
}

// Leave ends the turn of the one inside.
func (t *Turns[Who]) Leave(name string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	w := t.wallets[name]
	if w == nil || !w.isInside {
		return
	}
	w.isInside = false
	close(w.left)
	w.calledAt = t.clock.Now() // from when on the one that is called can come
	t.next(w)
	t.tidy(name, w)
}

// Forfeit tells that who does not want a turn now, be it in line or called.
func (t *Turns[Who]) Forfeit(who Who) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	name, ok := t.at[who]
	if !ok {
		return
	}
	w := t.wallets[name]
	t.drop(w, who)
	t.next(w)
	t.tidy(name, w)
}

func (t *Turns[Who]) wallet(name string) *wallet[Who] {
	w := t.wallets[name]
	if w == nil {
		w = &wallet[Who]{}
		t.wallets[name] = w
	}
	return w
}

// drop takes who out of the line and takes back the call.
func (t *Turns[Who]) drop(w *wallet[Who], who Who) {
	delete(t.at, who)
	w.line = slices.DeleteFunc(w.line, func(other Who) bool { return other == who })
	if w.isCalled && w.called == who {
		w.isCalled = false
	}
}

// expire takes back the call of one that did not come.
func (t *Turns[Who]) expire(w *wallet[Who]) {
	if w.isCalled && !w.isInside && t.clock.Since(w.calledAt) > patience {
		delete(t.at, w.called)
		w.isCalled = false
	}
}

// next calls the first in line where nobody is inside.
func (t *Turns[Who]) next(w *wallet[Who]) {
	if !w.isInside {
		t.expire(w)
		t.invite(w)
	}
}

// invite calls the first in line, unless one is called.
func (t *Turns[Who]) invite(w *wallet[Who]) {
	if w.isCalled || len(w.line) == 0 {
		return
	}
	w.called, w.isCalled, w.calledAt = w.line[0], true, t.clock.Now()
	w.line = w.line[1:]
	t.call(w.called)
}

// tidy forgets a wallet for which nobody waits.
func (t *Turns[Who]) tidy(name string, w *wallet[Who]) {
	if !w.isInside && !w.isCalled && len(w.line) == 0 {
		delete(t.wallets, name)
	}
}
