// Package observer decides when a service is asked about what is open on a wallet. Where the service lists its payments, one list a wallet
// and interval serves all of it, and only what the list shows to have changed, or whose time has come, asks for itself. Where it does not,
// what is open is looked at one by one, as often as the service's limit allows.
//
// All of it is a hint and never the truth: a resource that is released asks the service for itself before it says anything new.
//
// The package keeps lists in memory and calls nothing. It is safe for concurrent use.
package observer

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/utexo/utexo-operator/internal/utexo"
)

// Kind is a kind of subject.
type Kind string

// Kinds of subjects.
const (
	Invoice Kind = "LightningInvoice"
	Payment Kind = "LightningPayment"
	Send    Kind = "OnchainSend"
	// Receipt is the PaymentRecord of an invoice whose resource is gone.
	Receipt Kind = "PaymentRecord"
)

// Subject is a resource that waits for news of its service.
type Subject struct {
	Kind Kind
	types.NamespacedName
}

// Watch is what a subject waits for.
type Watch struct {
	// PaymentHashes are 64 lower-case hex digits each.
	PaymentHashes []string
	// Inbound tells whether it waits to be paid, or for a payment of its own.
	Inbound bool
	// LookAt is when the subject looks for itself where no list tells of it; the zero instant is never.
	LookAt time.Time
	// LookBy is when it does, whatever a list tells; the zero instant is never.
	LookBy time.Time
}

// Options are the limits of an Observer.
type Options struct {
	// MaxInterval is the longest time between two lists of payments of a quiet wallet.
	MaxInterval time.Duration
	// LooksPerSecond is how many looks, lists among them, a service gets.
	LooksPerSecond int
}

// DefaultOptions are the defaults of the manager.
func DefaultOptions() Options { return Options{MaxInterval: 10 * time.Second, LooksPerSecond: 10} }

const (
	// minInterval is between two lists right after something happened.
	minInterval = 2 * time.Second
	// fresh is how long a list is good for: where none was read for longer, what is open looks for itself.
	fresh = time.Minute
	// unlisted is after how long a service that offers no list is asked for one again.
	unlisted = 10 * time.Minute
	// forgotten is after how long a released subject that did not come back is released again.
	forgotten = 5 * time.Minute
	// share bounds which part of the time a service is busy with lists: a list that takes long is asked for less often.
	share = 20
	// maxPressure bounds how long a service can keep everybody waiting by one answer.
	maxPressure = 10 * time.Minute
)

// Observer keeps what is watched.
type Observer struct {
	options Options

	mutex   sync.Mutex
	wallets map[types.NamespacedName]*wallet
	of      map[Subject]*wallet
	servers map[string]*server
}

// server is what all wallets at one service share.
type server struct {
	limit *rate.Limiter
	// pausedUntil is when the service, which asked for a pause, may be asked again.
	pausedUntil time.Time
	wallets     int
}

// wallet is what is open on one wallet.
type wallet struct {
	name     types.NamespacedName
	server   *server
	address  string
	subjects map[Subject]*subject
	byHash   map[string][]*subject

	interval time.Duration
	listAt   time.Time
	listedAt time.Time // when the last good list was asked for
	goodList int       // its number, from 1; 0 for none
	noList   bool
	lists    int
	// wakeAt is when it will be seen to again.
	wakeAt time.Time
}

type subject struct {
	Subject
	Watch
	// told is what the last list said of it that made it look.
	told utexo.SendStatus
	// hinted tells that a list says something new, and that it was not released for that yet.
	hinted bool
	// since is from when on it is watched, paidIn the number of the last list that showed it paid.
	since  time.Time
	paidIn int
	// releasedAt is when it was released; zero while it waits.
	releasedAt time.Time
	// eager is how soon it wanted to look.
	eager time.Duration
}

// New returns an Observer without anything to watch.
func New(options Options) *Observer {
	return &Observer{
		options: options, wallets: map[types.NamespacedName]*wallet{}, of: map[Subject]*wallet{}, servers: map[string]*server{},
	}
}

// Watch has what is open on a wallet, whose service has that address, watched from now on. It reports whether the wallet has to be seen
// to sooner than Next said.
func (o *Observer) Watch(of types.NamespacedName, address string, who Subject, watch Watch, now time.Time) bool {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	told := utexo.SendStatus(0)
	if before := o.of[who]; before != nil {
		known := before.subjects[who]
		if before.name == of && before.address == address && slices.Equal(known.PaymentHashes, watch.PaymentHashes) {
			known.Watch, known.eager, known.releasedAt = watch, watch.LookAt.Sub(now), time.Time{}
			return before.wake(known, now)
		}
		told = known.told
		o.drop(before, known)
	}
	w := o.wallet(of, address, now)
	added := &subject{Subject: who, Watch: watch, told: told, since: now, eager: watch.LookAt.Sub(now)}
	w.subjects[who], o.of[who] = added, w
	for _, hash := range watch.PaymentHashes {
		w.byHash[hash] = append(w.byHash[hash], added)
	}
	w.hurry(now)
	return w.wake(added, now)
}

// wake reports whether the wallet is to be seen to sooner than is planned because of one, and plans that.
func (w *wallet) wake(one *subject, now time.Time) bool {
	at := w.listAt
	if due := w.dueAt(one, now); !due.IsZero() && due.Before(at) {
		at = due
	}
	if !w.wakeAt.IsZero() && !at.Before(w.wakeAt) {
		return false
	}
	w.wakeAt = at
	return true
}

// wallet returns the wallet of that name and address.
func (o *Observer) wallet(name types.NamespacedName, address string, now time.Time) *wallet {
	if w := o.wallets[name]; w != nil {
		if w.address != address { // it moved: what is open there is told by the new service
			o.leave(w)
			w.address, w.server, w.noList, w.listedAt = address, o.join(address), false, time.Time{}
			w.listAt, w.interval, w.lists, w.goodList = now, minInterval, 0, 0
		}
		return w
	}
	w := &wallet{
		name: name, address: address, server: o.join(address), subjects: map[Subject]*subject{}, byHash: map[string][]*subject{},
		interval: minInterval, listAt: now,
	}
	o.wallets[name] = w
	return w
}

func (o *Observer) join(address string) *server {
	s := o.servers[address]
	if s == nil {
		// The burst serves what changes at once; the rate holds in the long run.
		s = &server{limit: rate.NewLimiter(rate.Limit(o.options.LooksPerSecond), 10*o.options.LooksPerSecond)}
		o.servers[address] = s
	}
	s.wallets++
	return s
}

func (o *Observer) leave(w *wallet) {
	if w.server.wallets--; w.server.wallets == 0 {
		delete(o.servers, w.address)
	}
}

// hurry has the next list asked for soon.
func (w *wallet) hurry(now time.Time) {
	w.interval = minInterval
	if soon := now.Add(minInterval); !w.noList && w.goodList > 0 && soon.Before(w.listAt) {
		w.listAt = soon
	}
}

// Forget ends the watch of a subject that waits for nothing more.
func (o *Observer) Forget(who Subject) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if w := o.of[who]; w != nil {
		o.drop(w, w.subjects[who])
	}
}

func (o *Observer) drop(w *wallet, gone *subject) {
	delete(w.subjects, gone.Subject)
	delete(o.of, gone.Subject)
	for _, hash := range gone.PaymentHashes {
		rest := slices.DeleteFunc(w.byHash[hash], func(s *subject) bool { return s == gone })
		if w.byHash[hash] = rest; len(rest) == 0 {
			delete(w.byHash, hash)
		}
	}
	if len(w.subjects) == 0 {
		o.leave(w)
		delete(o.wallets, w.name)
	}
}

// Waits reports whether a subject was not released, so that it need not look for itself now. One that is not watched yet will be told.
func (o *Observer) Waits(who Subject) bool {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	w := o.of[who]
	return w == nil || w.subjects[who].releasedAt.IsZero()
}

// Lists reports whether a list tells of what is open on a wallet.
func (o *Observer) Lists(of types.NamespacedName, now time.Time) bool {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	w := o.wallets[of]
	return w != nil && w.isListed(now)
}

func (w *wallet) isListed(now time.Time) bool {
	return !w.noList && w.goodList > 0 && now.Sub(w.listedAt) < fresh
}

// MayList reports whether the payments of a wallet are to be listed now, for which Listed is called after. It counts against the limit of
// the service.
func (o *Observer) MayList(of types.NamespacedName, now time.Time) bool {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	w := o.wallets[of]
	return w != nil && !now.Before(w.listAt) && !now.Before(w.server.pausedUntil) && w.server.limit.AllowN(now, 1)
}

// Saw is told of each payment of a list while it is read.
func (o *Observer) Saw(of types.NamespacedName, seen utexo.Payment, now time.Time) {
	if seen.Status != utexo.SendSucceeded && seen.Status != utexo.SendFailed {
		return
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	w := o.wallets[of]
	if w == nil {
		return
	}
	for _, one := range w.byHash[seen.PaymentHash] {
		if one.Inbound == seen.Inbound && seen.Status == utexo.SendSucceeded {
			one.paidIn = w.lists + 1
		}
		// What looked since and does not show it yet, as the service contradicts itself, looks again when it wants to.
		isNews := one.told != seen.Status || seen.Status == utexo.SendSucceeded && !now.Before(one.LookAt)
		if one.Inbound == seen.Inbound && one.releasedAt.IsZero() && isNews {
			one.told, one.hinted = seen.Status, true
		}
	}
}

// Listed is told of a list that was asked for at an instant and is read, or why it is not: pause is how long the service asked to wait,
// offered is false where it lists no payments at all.
func (o *Observer) Listed(of types.NamespacedName, asked time.Time, err error, offered bool, pause time.Duration, now time.Time) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	w := o.wallets[of]
	if w == nil {
		return
	}
	w.server.pause(pause, now)
	w.lists++
	w.noList = !offered
	switch {
	case !offered:
		w.interval = unlisted
	case err != nil:
		w.interval = min(max(2*w.interval, minInterval), fresh)
	default:
		w.listedAt, w.goodList = asked, w.lists
		if len(sortedHints(w)) > 0 {
			w.interval = minInterval
		} else {
			w.interval = min(w.interval*3/2, o.options.MaxInterval)
		}
		w.interval = max(w.interval, min(share*now.Sub(asked), fresh/2))
	}
	w.listAt = now.Add(jittered(w.interval, w.name, w.lists))
}

// Paid reports whether a list that was asked for at or after an instant shows a payment of any of what a subject watches; known is false
// where there is no such list, or it is older than the watch.
func (o *Observer) Paid(who Subject, since time.Time) (paid, known bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	w := o.of[who]
	if w == nil || w.goodList == 0 {
		return false, false
	}
	one := w.subjects[who]
	return one.paidIn == w.goodList, !w.listedAt.Before(since) && !w.listedAt.Before(one.since)
}

// sortedHints are the subjects of which a list says something new.
func sortedHints(w *wallet) []*subject {
	var hinted []*subject
	for _, one := range w.subjects {
		if one.hinted {
			hinted = append(hinted, one)
		}
	}
	slices.SortFunc(hinted, byName)
	return hinted
}

func byName(a, b *subject) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// jittered is up to a tenth less than d, by a number that differs between wallets and from one time to the next: many wallets of one
// service do not ask at the same instant.
func jittered(d time.Duration, name types.NamespacedName, n int) time.Duration {
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%s %d", name, n)
	return d - time.Duration(hash.Sum64()%1000)*d/10_000
}

// Pressed is told that a service asked a wallet's caller to wait.
func (o *Observer) Pressed(of types.NamespacedName, pause time.Duration, now time.Time) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if w := o.wallets[of]; w != nil {
		w.server.pause(pause, now)
	}
}

func (s *server) pause(pause time.Duration, now time.Time) {
	if until := now.Add(min(pause, maxPressure)); pause > 0 && until.After(s.pausedUntil) {
		s.pausedUntil = until
	}
}

// Release returns the subjects of a wallet that are to look for themselves now, as many as the limit of its service allows: first those of
// which a list said something new, then those whose time has come. Each waits again once it is watched again.
func (o *Observer) Release(of types.NamespacedName, now time.Time) []Subject {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	w := o.wallets[of]
	if w == nil || now.Before(w.server.pausedUntil) {
		return nil
	}
	var released []Subject
	release := func(who []*subject) {
		for _, one := range who {
			if !one.releasedAt.Equal(now) && w.server.limit.AllowN(now, 1) {
				one.hinted, one.releasedAt = false, now
				released = append(released, one.Subject)
			}
		}
	}
	release(sortedHints(w))
	release(w.due(int(w.server.limit.TokensAt(now)), now))
	return released
}

// due are the subjects whose time to look has come, as many as are allowed, every second one of them by how soon it wanted to: what was
// just issued is not left waiting behind thousands that are old. One may be in it twice.
func (w *wallet) due(allowed int, now time.Time) []*subject {
	overdue := shortlist{size: allowed, compare: func(a, b entry) int { return cmp.Or(a.at.Compare(b.at), byName(a.subject, b.subject)) }}
	eager := shortlist{size: allowed, compare: func(a, b entry) int { return cmp.Or(cmp.Compare(a.eager, b.eager), overdue.compare(a, b)) }}
	for _, one := range w.subjects {
		if at := w.dueAt(one, now); !one.hinted && !at.IsZero() && !now.Before(at) {
			overdue.add(entry{one, at})
			eager.add(entry{one, at})
		}
	}
	var due []*subject
	for i := range overdue.entries {
		due = append(due, overdue.entries[i].subject, eager.entries[i].subject)
	}
	return due
}

// entry is a subject with when it was due.
type entry struct {
	*subject
	at time.Time
}

// shortlist keeps the first entries of many, in order.
type shortlist struct {
	size    int
	compare func(a, b entry) int
	entries []entry
}

func (l *shortlist) add(e entry) {
	if len(l.entries) == l.size {
		if l.size == 0 || l.compare(e, l.entries[l.size-1]) >= 0 {
			return
		}
		l.entries = l.entries[:l.size-1]
	}
	at, _ := slices.BinarySearchFunc(l.entries, e, l.compare)
	l.entries = slices.Insert(l.entries, at, e)
}

// dueAt is when a subject is to look for itself, as things are now; zero for never.
func (w *wallet) dueAt(one *subject, now time.Time) time.Time {
	switch {
	case !one.releasedAt.IsZero():
		return one.releasedAt.Add(forgotten)
	case w.lists == 0: // which comes first
		return one.LookBy
	case w.isListed(now), one.LookAt.IsZero():
		return one.LookBy
	case one.LookBy.IsZero() || one.LookAt.Before(one.LookBy):
		return one.LookAt
	}
	return one.LookBy
}

// Next is how long after now a wallet is to be seen to again; 0 where nothing is open on it.
func (o *Observer) Next(of types.NamespacedName, now time.Time) time.Duration {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	w := o.wallets[of]
	if w == nil {
		return 0
	}
	next := w.listAt
	for _, one := range w.subjects {
		at := w.dueAt(one, now)
		if one.hinted {
			at = now
		}
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	if w.server.pausedUntil.After(next) {
		next = w.server.pausedUntil
	}
	after := max(next.Sub(now), time.Second) // in which the limit allows the next looks
	w.wakeAt = now.Add(after)
	return after
}
