package model

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// key is a state, packed. Managers and payments have no names in it: what differs in names alone is one state.
type key [2]uint64

// packer writes values of so many bits.
type packer struct {
	word uint64
	used uint
}

func (p *packer) put(bits uint, value uint8) {
	p.word |= uint64(value) << p.used
	p.used += bits
}

func (p *packer) flag(value bool) {
	if value {
		p.word |= 1 << p.used
	}
	p.used++
}

type unpacker struct{ word uint64 }

func (u *unpacker) take(bits uint) uint8 {
	value := uint8(u.word & (1<<bits - 1))
	u.word >>= bits
	return value
}

func (u *unpacker) flag() bool { return u.take(1) == 1 }

func (pay *payment) pack() uint64 {
	var p packer
	p.put(4, pay.phase)
	p.put(2, pay.misses)
	p.put(2, pay.ends)
	p.flag(pay.absent)
	p.put(3, pay.id)
	p.put(3, pay.known)
	p.flag(pay.withdrawn)
	p.flag(pay.open)
	p.put(1, pay.begins)
	p.put(2, pay.tails)
	p.put(3, pay.entry)
	p.put(2, pay.moved)
	return p.word
}

func (pay *payment) unpack(u *unpacker) {
	pay.phase, pay.misses, pay.ends = u.take(4), u.take(2), u.take(2)
	pay.absent, pay.id, pay.known, pay.withdrawn, pay.open = u.flag(), u.take(3), u.take(3), u.flag(), u.flag()
	pay.begins, pay.tails, pay.entry, pay.moved = u.take(1), u.take(2), u.take(3), u.take(2)
}

const (
	paymentBits = 25
	replicaBits = 15
)

func (r *replica) pack(swap uint8) uint64 {
	var p packer
	p.put(4, r.at)
	if r.at != idle {
		p.put(1, r.pay^swap)
	} else {
		p.put(1, 0)
	}
	p.put(4, r.answer)
	p.flag(r.stale)
	p.flag(r.older)
	p.flag(r.lost)
	p.flag(r.expired)
	p.flag(r.frozen)
	p.flag(r.repeats)
	return p.word
}

func (r *replica) unpack(u *unpacker) {
	r.at, r.pay, r.answer = u.take(4), u.take(1), u.take(4)
	r.stale, r.older, r.lost, r.expired, r.frozen, r.repeats = u.flag(), u.flag(), u.flag(), u.flag(), u.flag(), u.flag()
}

// pack returns the least of the keys that s has under other names.
func (s *state) pack() key {
	pays := [2]uint64{s.pays[0].pack(), s.pays[1].pack()}
	var least key
	for swap := range uint8(2) {
		var p packer
		p.put(2, s.leaseOp)
		p.put(1, renamed(s.leasePay, swap*min(s.leaseOp, 1)))
		p.put(2, renamed(s.slot, swap))
		p.flag(s.lied)
		p.flag(s.foreignBegan)
		k := key{pays[swap] | pays[1-swap]<<paymentBits | p.word<<(2*paymentBits)}
		first, second := s.reps[0].pack(swap), s.reps[1].pack(swap)
		k[1] = min(first, second) | max(first, second)<<replicaBits
		if swap == 0 || k[0] < least[0] || k[0] == least[0] && k[1] < least[1] {
			least = k
		}
	}
	return least
}

func renamed(pay, swap uint8) uint8 {
	if pay < foreign {
		return pay ^ swap
	}
	return pay
}

func (k key) unpack() state {
	var s state
	u := unpacker{k[0]}
	s.pays[0].unpack(&u)
	s.pays[1].unpack(&u)
	s.leaseOp, s.leasePay, s.slot, s.lied, s.foreignBegan = u.take(2), u.take(1), u.take(2), u.flag(), u.flag()
	u = unpacker{k[1]}
	s.reps[0].unpack(&u)
	s.reps[1].unpack(&u)
	return s
}

// invariant is something that must never be seen.
type invariant uint8

const (
	paidTwice invariant = iota
	falseSuccess
	// falseFailure: a payment is given up for good and its money moved.
	falseFailure
	// needlessDoubt: a Lightning payment is Unknown.
	needlessDoubt
	// deadEnd: without a further fault, no outcome can be reached.
	deadEnd
	invariants
)

func (i invariant) String() string {
	return [...]string{"paid twice", "succeeded without money moved", "given up although money moved", "a Lightning payment is Unknown", "dead end"}[i]
}

func (x *stepper) broken(s *state) (found [invariants]bool) {
	for i := range s.pays {
		pay := &s.pays[i]
		found[paidTwice] = found[paidTwice] || pay.moved > 1
		found[falseSuccess] = found[falseSuccess] || pay.phase == succeeded && pay.moved == 0
		found[falseFailure] = found[falseFailure] || (pay.phase == closed || pay.phase == cancelled) && pay.moved > 0
		found[needlessDoubt] = found[needlessDoubt] || !x.onchain && pay.phase == unknown
	}
	return found
}

// final reports whether nothing more is expected of s.
func (s *state) final() bool {
	for i := range s.pays {
		switch s.pays[i].phase {
		case succeeded, closed, cancelled, unknown:
		default:
			return false
		}
	}
	return s.reps[0].at == idle && s.reps[1].at == idle
}

// search is a breadth-first search, first through all that needs no fault, then through all that needs one, and so on. A state that
// was reached with fewer faults can do all that it could do with more.
type search struct {
	*stepper
	// bound is how many faults there may be.
	bound int
	// until, where it is not empty, ends the search once all these were seen broken.
	until []invariant

	keys   []key
	parent []uint32
	depths []uint16
	// table finds a key: open addressing over indexes into keys, plus one.
	table []uint32

	// count and first tell of each invariant how many states break it, and which was the first.
	count [invariants]int
	first [invariants]uint32
	// layer n begins at layers[n].
	layers []int
	took   time.Duration
}

func newSearch(c config, bound int) *search {
	return &search{stepper: &stepper{config: &c}, bound: bound, table: make([]uint32, 1<<16)}
}

func (x *search) slot(k key) uint64 {
	h := (k[0] ^ k[1]*0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	h ^= h >> 29
	h *= 0x94d049bb133111eb
	mask := uint64(len(x.table) - 1)
	i := (h ^ h>>32) & mask
	for x.table[i] != 0 && x.keys[x.table[i]-1] != k {
		i = (i + 1) & mask
	}
	return i
}

// visit keeps a state that was not seen yet.
func (x *search) visit(s *state, from int) {
	s.settle()
	k := s.pack()
	i := x.slot(k)
	if x.table[i] != 0 {
		return
	}
	x.keys, x.parent = append(x.keys, k), append(x.parent, uint32(max(from, 0)))
	depth := uint16(0)
	if from >= 0 {
		depth = x.depths[from] + 1
	}
	x.depths = append(x.depths, depth)
	x.table[i] = uint32(len(x.keys))
	for i, broken := range x.broken(s) {
		if broken {
			x.found(invariant(i), uint32(len(x.keys)-1))
		}
	}
	if 2*len(x.keys) > len(x.table) {
		x.table = make([]uint32, 2*len(x.table))
		for n, k := range x.keys {
			x.table[x.slot(k)] = uint32(n + 1)
		}
	}
}

func (x *search) found(what invariant, at uint32) {
	if x.count[what] == 0 {
		x.first[what] = at
	}
	x.count[what]++
}

// violated returns the invariants that were seen broken.
func (x *search) violated() (all []invariant) {
	for i, n := range x.count {
		if n > 0 {
			all = append(all, invariant(i))
		}
	}
	return all
}

func (x *search) satisfied() bool {
	return len(x.until) > 0 && !slices.ContainsFunc(x.until, func(one invariant) bool { return x.count[one] == 0 })
}

// run searches.
func (x *search) run() *search {
	began := time.Now()
	defer func() { x.took = time.Since(began) }()
	start := initial()
	x.visit(&start, -1)
	first := 0
	for n := 0; ; n++ {
		x.layers = append(x.layers, first)
		for i := first; i < len(x.keys); i++ {
			s := x.keys[i].unpack()
			steps := x.next(&s, false)
			for j := range steps {
				x.visit(&steps[j].to, i)
			}
			if x.satisfied() {
				return x
			}
		}
		if n == x.bound {
			break
		}
		last := len(x.keys)
		for i := first; i < last; i++ {
			s := x.keys[i].unpack()
			steps := x.next(&s, true)
			for j := range steps {
				if steps[j].fault {
					x.visit(&steps[j].to, i)
				}
			}
		}
		first = last
	}
	x.deadEnds()
	return x
}

// deadEnds looks, from every state, for a way to an end without a further fault. Late states come first: they are nearest to one.
func (x *search) deadEnds() {
	good := make([]bool, len(x.keys))
	for i := len(x.keys) - 1; i >= 0 && !x.satisfied(); i-- {
		if good[i] {
			continue
		}
		path := x.wayOut(uint32(i), good, map[uint32]bool{})
		for _, at := range path {
			good[at] = true
		}
		if path == nil {
			x.found(deadEnd, uint32(i))
		}
	}
}

// wayOut returns the states from at to a final or a good one.
func (x *search) wayOut(at uint32, good []bool, seen map[uint32]bool) []uint32 {
	s := x.keys[at].unpack()
	if good[at] || s.final() {
		return []uint32{at}
	}
	seen[at] = true
	var successors []uint32
	steps := x.next(&s, false)
	for j := range steps {
		steps[j].to.settle()
		next := x.table[x.slot(steps[j].to.pack())] - 1
		if good[next] {
			return []uint32{at}
		}
		successors = append(successors, next)
	}
	for _, next := range successors {
		if !seen[next] {
			if path := x.wayOut(next, good, seen); path != nil {
				return append(path, at)
			}
		}
	}
	return nil
}

// trace tells how a state is reached.
func (x *search) trace(at uint32) string {
	way := []uint32{at}
	for at != 0 {
		at = x.parent[at]
		way = append(way, at)
	}
	slices.Reverse(way)
	var text strings.Builder
	s := initial()
	names := [2]string{"A", "B"}
	for n, to := range way[1:] {
		steps := x.next(&s, true)
		one := step{fault: true}
		for _, candidate := range steps {
			candidate.to.settle()
			if one.fault && candidate.to.pack() == x.keys[to] {
				one = candidate // rather one without a fault
			}
		}
		who := "payment " + names[one.pay]
		if one.who != world {
			who = fmt.Sprintf("manager %d, payment %s", one.who+1, names[one.pay])
		}
		mark := " "
		if one.fault {
			mark = "!"
		}
		fmt.Fprintf(&text, "%3d %s %s: %s\n", n+1, mark, who, one.what)
		s = one.to
		s.settle()
	}
	return text.String()
}

// report tells what was found.
func (x *search) report() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d states", len(x.keys))
	for n := range x.layers {
		end := len(x.keys)
		if n+1 < len(x.layers) {
			end = x.layers[n+1]
		}
		fmt.Fprintf(&text, ", %d with %d faults", end-x.layers[n], n)
	}
	fmt.Fprintf(&text, "; depth %d; %s", slices.Max(x.depths), x.took.Round(10*time.Millisecond))
	for i, n := range x.count {
		if n > 0 {
			fmt.Fprintf(&text, "\n%s: %d states, the first by\n%s", invariant(i), n, x.trace(x.first[i]))
		}
	}
	return text.String()
}
