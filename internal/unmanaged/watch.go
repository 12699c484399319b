// Package unmanaged finds payments that a service shows as made by a wallet, or by the node behind it, and that no record knows: another
// client of the wallet made them, or another cluster, or their records were lost. It is pure: the caller lists, and looks for records.
package unmanaged

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Numbers of the watch.
const (
	// Window is how far back payments count. It bounds what a look costs.
	Window = 7 * 24 * time.Hour
	// Interval is how long after a look the next one is due.
	Interval = 10 * time.Minute
	// Distance is how far apart a payment must be seen twice without a record: a list may be wrong once, and a payment that is only
	// followed gets its record within a minute. That of any other is there before the call that moves money.
	Distance = 2 * time.Minute
	// MaxAsked is for how many payments one look has records looked for. The next one goes on with the others.
	MaxAsked = 200
)

// Payment is an outgoing Lightning payment that a service lists.
type Payment struct {
	Hash string // 64 lower-case hex digits
	// CreatedAt is zero where the service did not say. Such a payment does not count, since nobody can tell that it is not an old one.
	CreatedAt time.Time
}

// Watch is what is remembered of one wallet between looks, and what they came to. It is memory only: a process that starts looks anew.
// The zero value has not looked yet.
type Watch struct {
	// recorded are payments that have a record, which nobody deletes; suspected says since when others were seen to have none.
	// certain are those that count.
	recorded  map[string]bool
	suspected map[string]time.Time
	certain   map[string]bool
	looked    bool
	count     *int64
	latest    []string
	dueAt     time.Time
}

// Due reports whether it is time for a look.
func (w *Watch) Due(now time.Time) bool { return !now.Before(w.dueAt) }

// Later puts the next look off, since the service did not answer.
func (w *Watch) Later(now time.Time) { w.dueAt = now.Add(Distance) }

// Blind notes that the service has no list, so that nothing is known.
func (w *Watch) Blind(now time.Time) { *w = Watch{looked: true, dueAt: now.Add(Interval)} }

// Ask returns the hashes of which a record is to be looked for, the latest payments first, and last those that count already: they may
// have got one. What began before since does not count, nor what began longer than Window ago.
func (w *Watch) Ask(listed []Payment, since, now time.Time) []string {
	var open, certain []string
	for _, one := range counting(listed, since, now) {
		switch {
		case w.recorded[one.Hash]:
		case w.certain[one.Hash]:
			certain = append(certain, one.Hash)
		default:
			open = append(open, one.Hash)
		}
	}
	asked := append(open, certain...)
	return asked[:min(len(asked), MaxAsked)]
}

// counting are the payments that count, the latest first.
func counting(listed []Payment, since, now time.Time) []Payment {
	if from := now.Add(-Window); from.After(since) {
		since = from
	}
	seen := map[string]bool{}
	counting := slices.DeleteFunc(slices.Clone(listed), func(one Payment) bool {
		twice := seen[one.Hash]
		seen[one.Hash] = true
		return twice || one.CreatedAt.Before(since)
	})
	slices.SortStableFunc(counting, func(a, b Payment) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return counting
}

// Take takes in what became of the hashes that Ask returned for the same list: whether there is a record. shown is the number that people
// are shown now, nil for none: what an earlier process was certain of counts until this one had time to find out.
func (w *Watch) Take(listed []Payment, recorded map[string]bool, shown *int64, since, now time.Time) {
	next := Watch{
		recorded: map[string]bool{}, suspected: map[string]time.Time{}, certain: map[string]bool{}, looked: true, dueAt: now.Add(Interval),
	}
	open := int64(0)
	wait := func(until time.Time) {
		open++
		if until.Before(next.dueAt) {
			next.dueAt = until
		}
	}
	for _, one := range counting(listed, since, now) {
		known, asked := recorded[one.Hash]
		first, suspected := w.suspected[one.Hash]
		if known || w.recorded[one.Hash] {
			next.recorded[one.Hash] = true
			continue
		}
		if asked && !suspected {
			first, suspected = now, true
		}
		if suspected {
			next.suspected[one.Hash] = first
		}
		switch certainAt := first.Add(Distance); {
		case !asked && !w.certain[one.Hash]:
			wait(now)
		case now.Before(certainAt):
			wait(certainAt)
		default:
			next.certain[one.Hash] = true
			if len(next.latest) < maxNamed {
				next.latest = append(next.latest, one.Hash)
			}
		}
	}
	count := int64(len(next.certain))
	if shown != nil && *shown > count {
		count = min(*shown, count+open)
	}
	next.count = &count
	*w = next
}

// Count is how many payments no record knows; nil where that cannot be told. looked is false before the first look.
func (w *Watch) Count() (count *int64, looked bool) { return w.count, w.looked }

// maxNamed is how many payments a message names.
const maxNamed = 5

// Describe says how many payments there are and which, the latest first, by the first digits of their hashes.
func (w *Watch) Describe() string {
	if w.count == nil || len(w.latest) == 0 {
		return "no payments"
	}
	named := make([]string, len(w.latest))
	for i, hash := range w.latest {
		named[i] = hash[:min(len(hash), 16)]
	}
	text := fmt.Sprintf("%d payments of the last 7 days", *w.count)
	if *w.count == 1 {
		text = "a payment of the last 7 days"
	}
	if int64(len(named)) < *w.count {
		return text + " (the latest: " + strings.Join(named, ", ") + ")"
	}
	return text + " (" + strings.Join(named, ", ") + ")"
}
