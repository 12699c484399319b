package observer_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/utexo/utexo-operator/internal/observer"
	"github.com/utexo/utexo-operator/internal/utexo"
)

const server = "https://service.example"

var (
	till  = types.NamespacedName{Namespace: "shop", Name: "till"}
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	limit = observer.Options{MaxInterval: 10 * time.Second, LooksPerSecond: 10}
)

func hash(n int) string { return fmt.Sprintf("%064x", n) }

func order(n int) observer.Subject {
	return observer.Subject{Kind: observer.Invoice, NamespacedName: types.NamespacedName{Namespace: "shop", Name: fmt.Sprintf("order-%05d", n)}}
}

// bench drives an Observer as its reconciler does, with a service of its own.
type bench struct {
	t   *testing.T
	o   *observer.Observer
	now time.Time
	// listed is what the service lists; failing is the error that it answers instead, offered whether it lists at all, pause for how long
	// it asks to be left alone.
	listed  []utexo.Payment
	failing error
	offered bool
	pause   time.Duration
	// took is how long a list takes.
	took  time.Duration
	lists []time.Time
	// looks are when each subject was released.
	looks map[observer.Subject][]time.Time
	// again has a subject watched again when it was released, as its reconciler does; nil for what is watched as before.
	again func(who observer.Subject)
}

func newBench(t *testing.T) *bench {
	return &bench{t: t, o: observer.New(limit), now: noon, offered: true, looks: map[observer.Subject][]time.Time{}}
}

// open has n invoices watched that are issued now and expire after an hour.
func (b *bench) open(n int) {
	for i := range n {
		b.watch(i, b.now.Add(2*time.Second), noon.Add(time.Hour))
	}
}

func (b *bench) watch(n int, lookAt, lookBy time.Time) bool {
	return b.o.Watch(till, server, order(n), observer.Watch{PaymentHashes: []string{hash(n)}, Inbound: true, LookAt: lookAt, LookBy: lookBy}, b.now)
}

// see sees to the wallet once, and returns after how long it is to be seen to again.
func (b *bench) see() time.Duration {
	if b.o.MayList(till, b.now) {
		asked := b.now
		b.lists = append(b.lists, asked)
		b.now = b.now.Add(b.took)
		if b.failing == nil && b.offered {
			for _, one := range b.listed {
				b.o.Saw(till, one, asked)
			}
		}
		b.o.Listed(till, asked, b.failing, b.offered, b.pause, b.now)
	}
	for _, who := range b.o.Release(till, b.now) {
		b.looks[who] = append(b.looks[who], b.now)
		if b.again != nil {
			b.again(who)
		}
	}
	return b.o.Next(till, b.now)
}

// pass lets time pass.
func (b *bench) pass(d time.Duration) {
	for end := b.now.Add(d); ; {
		after := b.see()
		if after == 0 || b.now.Add(after).After(end) {
			b.now = end
			return
		}
		b.now = b.now.Add(after)
	}
}

func (b *bench) total() (looks int) {
	for _, at := range b.looks {
		looks += len(at)
	}
	return looks
}

// young has each invoice look again as one that is as old as its watch: from 2 s to a minute.
func (b *bench) young(since time.Time) func(observer.Subject) {
	return func(who observer.Subject) {
		var n int
		if _, err := fmt.Sscanf(who.Name, "order-%d", &n); err != nil {
			b.t.Fatal(err)
		}
		b.watch(n, b.now.Add(min(max(b.now.Sub(since), 2*time.Second), time.Minute)), noon.Add(time.Hour))
	}
}

func paid(n int) utexo.Payment {
	return utexo.Payment{PaymentHash: hash(n), Inbound: true, Status: utexo.SendSucceeded}
}

// TestOneListServesAll watches 10,000 invoices for half an hour in which nothing happens.
func TestOneListServesAll(t *testing.T) {
	b := newBench(t)
	b.open(10_000)
	for n := range 10_000 {
		b.listed = append(b.listed, utexo.Payment{PaymentHash: hash(n), Inbound: true, Status: utexo.SendPending})
	}
	b.pass(30 * time.Minute)
	if b.total() != 0 {
		t.Errorf("%d looks although a list says that nothing happened", b.total())
	}
	if lists := len(b.lists); lists < 180 || lists > 220 {
		t.Errorf("%d lists in 1800 s, one every 10 s expected", lists)
	}
}

// TestWhatAListShowsLooks has some of many invoices paid: just those look, once each, within two intervals.
func TestWhatAListShowsLooks(t *testing.T) {
	b := newBench(t)
	b.open(1000)
	b.pass(10 * time.Minute)
	at := b.now
	b.again = func(who observer.Subject) { b.o.Forget(who) } // each finds itself paid
	for n := range 100 {
		b.listed = append(b.listed, paid(7*n))
	}
	b.listed = append(b.listed,
		utexo.Payment{PaymentHash: hash(3), Inbound: false, Status: utexo.SendSucceeded}, // of somebody who pays it from here
		utexo.Payment{PaymentHash: hash(4), Inbound: true, Status: utexo.SendPending},
		paid(5000)) // of another client
	b.pass(5 * time.Minute)
	for n := range 1000 {
		looks, want := len(b.looks[order(n)]), 0
		if n%7 == 0 && n < 700 {
			want = 1
		}
		if looks != want {
			t.Errorf("invoice %d looked %d times, want %d", n, looks, want)
		}
		if looks > 0 && b.looks[order(n)][0].Sub(at) > 2*limit.MaxInterval {
			t.Errorf("invoice %d looked after %s", n, b.looks[order(n)][0].Sub(at))
		}
	}
}

// TestAServiceThatContradictsItself lists an invoice as paid which is open where it is asked for: it looks again, as it would without a
// list, and not with every list. One that is listed as failed looks once.
func TestAServiceThatContradictsItself(t *testing.T) {
	b := newBench(t)
	b.open(2)
	b.again = b.young(noon)
	b.listed = []utexo.Payment{paid(0), {PaymentHash: hash(1), Inbound: true, Status: utexo.SendFailed}}
	b.pass(20 * time.Minute)
	if looks := len(b.looks[order(0)]); looks < 15 || looks > 30 {
		t.Errorf("an invoice that is listed as paid and is not looked %d times in 20 minutes", looks)
	}
	if looks := len(b.looks[order(1)]); looks != 1 {
		t.Errorf("an invoice that is listed as failed looked %d times", looks)
	}
}

// TestNothingIsListed counts the looks where the service lists no payments: never more than its limit, and each invoice within the bound
// that is documented.
func TestNothingIsListed(t *testing.T) {
	for name, tc := range map[string]struct {
		invoices int
		failing  error
		offered  bool
		// longest is the documented bound on the time between two looks at one invoice.
		longest time.Duration
	}{
		"a few, and no list is offered":    {100, utexo.ErrNotAvailable, false, 61 * time.Second},
		"many, and no list is offered":     {2000, utexo.ErrNotAvailable, false, 2 * 200 * time.Second},
		"many, and the list never answers": {2000, errors.New("no answer"), true, 2 * 200 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.failing, b.offered = tc.failing, tc.offered
			b.open(tc.invoices)
			b.again = b.young(noon)
			const span = 25 * time.Minute
			b.pass(span)
			if most := int(span.Seconds())*limit.LooksPerSecond + 10*limit.LooksPerSecond; b.total()+len(b.lists) > most {
				t.Errorf("%d looks and %d lists, more than %d", b.total(), len(b.lists), most)
			}
			for n := range tc.invoices {
				last := noon
				for _, at := range append(b.looks[order(n)], noon.Add(span)) {
					if at.Sub(last) > tc.longest+2*time.Second {
						t.Fatalf("invoice %d was not looked at for %s", n, at.Sub(last))
					}
					last = at
				}
			}
			if !tc.offered && len(b.lists) > 6 {
				t.Errorf("a service that offers no list was asked for one %d times", len(b.lists))
			}
		})
	}
}

// TestTheYoungAreNotLeftWaiting issues one invoice among thousands that take up the whole limit.
func TestTheYoungAreNotLeftWaiting(t *testing.T) {
	b := newBench(t)
	b.offered, b.failing = false, utexo.ErrNotAvailable
	b.open(2000)
	b.again = b.young(noon)
	b.pass(20 * time.Minute)
	issued := b.now
	b.watch(9999, issued.Add(2*time.Second), noon.Add(time.Hour))
	b.pass(10 * time.Second)
	if looks := b.looks[order(9999)]; len(looks) == 0 || looks[0].Sub(issued) > 5*time.Second {
		t.Errorf("it was looked at %v after it was issued", looks)
	}
}

// TestBeforeItEnds has invoices look when their time is over, although a list tells of them.
func TestBeforeItEnds(t *testing.T) {
	b := newBench(t)
	b.watch(1, b.now.Add(2*time.Second), noon.Add(5*time.Minute))
	b.again = func(who observer.Subject) { b.o.Forget(who) }
	b.pass(10 * time.Minute)
	if diff := cmp.Diff(map[observer.Subject]int{order(1): 1}, map[observer.Subject]int{order(1): len(b.looks[order(1)])}); diff != "" {
		t.Error(diff)
	}
	if late := b.looks[order(1)][0].Sub(noon.Add(5 * time.Minute)); late < 0 || late > time.Second {
		t.Errorf("it looked %s after it expired", late)
	}
	lists := len(b.lists)
	if b.pass(time.Hour); len(b.lists) != lists {
		t.Error("a wallet with nothing open is listed")
	}
}

// TestListThatFails loses the list: what is open looks for itself once the last good one is too old, and no more once there is one again.
func TestListThatFails(t *testing.T) {
	b := newBench(t)
	b.open(10)
	b.again = b.young(noon)
	b.pass(5 * time.Minute)
	if b.total() != 0 {
		t.Fatalf("%d looks while a list told", b.total())
	}
	lost := b.now
	b.failing = errors.New("no answer")
	b.pass(10 * time.Minute)
	for n := range 10 {
		looks := b.looks[order(n)]
		if len(looks) < 8 || looks[0].Sub(lost) > 75*time.Second {
			t.Errorf("without a list invoice %d looked %d times, first after %v", n, len(looks), looks)
		}
	}
	b.failing = nil
	b.pass(2 * time.Minute)
	before := b.total()
	b.pass(20 * time.Minute)
	if b.total() != before {
		t.Errorf("%d looks although a list tells again", b.total()-before)
	}
}

// TestServiceThatAsksForAPause is not called while it wants to be left alone, by any wallet at it.
func TestServiceThatAsksForAPause(t *testing.T) {
	b := newBench(t)
	b.open(100)
	b.again = b.young(noon)
	b.failing, b.pause = errors.New("too many requests"), 90*time.Second
	b.see()
	other := types.NamespacedName{Namespace: "shop", Name: "other"}
	b.o.Watch(other, server, observer.Subject{Kind: observer.Invoice, NamespacedName: other}, observer.Watch{PaymentHashes: []string{hash(1)}, LookAt: b.now}, b.now)
	paused := b.now.Add(90 * time.Second)
	b.failing, b.pause = nil, 0
	for b.now.Before(paused) {
		if b.o.MayList(other, b.now) || len(b.o.Release(other, b.now)) > 0 {
			t.Fatalf("the service is called %s before the end of the pause", paused.Sub(b.now))
		}
		b.see()
		b.now = b.now.Add(time.Second)
	}
	if len(b.lists) != 1 || b.total() != 0 {
		t.Errorf("%d lists and %d looks during the pause", len(b.lists), b.total())
	}
	b.pass(time.Minute)
	if len(b.lists) < 2 {
		t.Error("no list after the pause")
	}
}

// TestSlowList asks less often for a list that takes long.
func TestSlowList(t *testing.T) {
	b := newBench(t)
	b.open(1)
	b.took = 1200 * time.Millisecond
	b.pass(10 * time.Minute)
	if lists := len(b.lists); lists > 30 {
		t.Errorf("%d lists of 1.2 s in 600 s", lists)
	}
}

// TestWake tells when a wallet has to be seen to sooner than was planned.
func TestWake(t *testing.T) {
	b := newBench(t)
	if !b.watch(1, b.now.Add(time.Minute), noon.Add(time.Hour)) {
		t.Error("the first invoice of a wallet does not have it seen to")
	}
	if b.watch(2, b.now.Add(time.Minute), noon.Add(time.Hour)) {
		t.Error("the second one does")
	}
	b.pass(5 * time.Minute)
	if b.see() < 5*time.Second {
		t.Fatal("the wallet is not quiet")
	}
	if !b.watch(3, b.now.Add(time.Minute), noon.Add(time.Hour)) {
		t.Error("a new invoice on a quiet wallet does not have it listed sooner")
	}
	if b.watch(3, b.now.Add(time.Minute), noon.Add(time.Hour)) {
		t.Error("the same invoice again does")
	}
}

// TestReleasedAndLost releases a subject again that did not come back.
func TestReleasedAndLost(t *testing.T) {
	b := newBench(t)
	b.open(1)
	b.listed = []utexo.Payment{paid(0)}
	b.pass(time.Minute)
	if !b.o.Waits(order(1)) || b.o.Waits(order(0)) || len(b.looks[order(0)]) != 1 {
		t.Fatalf("after a minute it looked %d times", len(b.looks[order(0)]))
	}
	b.pass(6 * time.Minute)
	if looks := len(b.looks[order(0)]); looks != 2 {
		t.Errorf("after 7 minutes it looked %d times", looks)
	}
}

// TestHintBeforeItsTurn keeps what a list said of a subject that is watched anew before it was released.
func TestHintBeforeItsTurn(t *testing.T) {
	b := newBench(t)
	b.open(1)
	if !b.o.MayList(till, b.now) {
		t.Fatal("no list")
	}
	b.o.Saw(till, paid(0), b.now)
	b.o.Listed(till, b.now, nil, true, 0, b.now)
	b.watch(0, b.now.Add(time.Minute), noon.Add(time.Hour)) // a pass for another reason, which does not look
	if got := b.o.Release(till, b.now); len(got) != 1 {
		t.Errorf("released: %v", got)
	}
}

// TestMovedWallet forgets what the service before said.
func TestMovedWallet(t *testing.T) {
	b := newBench(t)
	b.open(1)
	b.offered, b.failing = false, utexo.ErrNotAvailable
	b.pass(time.Minute)
	b.offered, b.failing = true, nil
	b.o.Watch(till, server+"/v2", order(0), observer.Watch{PaymentHashes: []string{hash(0)}, Inbound: true, LookAt: b.now.Add(time.Hour)}, b.now)
	lists := len(b.lists)
	if b.pass(5 * time.Second); len(b.lists) == lists || !b.o.Lists(till, b.now) {
		t.Error("the new service is not asked for a list")
	}
}

func TestJitter(t *testing.T) {
	at := map[string]bool{}
	for n := range 20 {
		wallet := types.NamespacedName{Namespace: "shop", Name: strings.Repeat("w", n+1)}
		o := observer.New(limit)
		o.Watch(wallet, server, order(n), observer.Watch{PaymentHashes: []string{hash(n)}, LookBy: noon.Add(time.Hour)}, noon)
		o.MayList(wallet, noon)
		o.Listed(wallet, noon, nil, true, 0, noon)
		at[o.Next(wallet, noon).String()] = true
	}
	if len(at) < 15 {
		t.Errorf("20 wallets ask at %d instants", len(at))
	}
}
