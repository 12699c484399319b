// Package model holds the payment protocol of docs/protocol.md as an abstract state machine, and a search through all that can happen
// to it: every interleaving of two managers, two payments of one wallet, the service, and a bounded number of faults.
//
// Time has no numbers in it. A call may land as long as its window is open, and the window of a payment closes at any moment; what is
// left of its calls is then gone. Only a manager that freezes between its last look at the clock and the socket escapes that.
package model

import "slices"

// What a run of the model is about.
type config struct {
	onchain bool
	// faults are the kinds that may happen, each up to the search's bound in all.
	faults fault
	// without holds the rules that are switched off, bit n for rule n.
	without uint
	// shortcuts are plausible simplifications of the protocol.
	shortcuts shortcut
	// withdrawals lets a payment be deleted, or run out of time, at any moment.
	withdrawals bool
}

func (c *config) keeps(rule uint) bool      { return c.without&(1<<rule) == 0 }
func (c *config) may(kind fault) bool       { return c.faults&kind != 0 }
func (c *config) takes(short shortcut) bool { return c.shortcuts&short != 0 }

// How many attempts of a payment may come to nothing, and how often the end of one may be called. A third of either shows nothing that
// the second does not.
const (
	maxMisses = 2
	maxEnds   = 2
)

type fault uint

const (
	crash fault = 1 << iota
	lostRequest
	lostAnswer
	// late is a call that is given up and lands afterwards, while its window is open.
	late
	// doubled is a call that is delivered twice at once; either answer may be the one that is read.
	doubled
	staleRead
	// restart makes the service forget what was begun and, on-chain, what it sent.
	restart
	foreignBegin
	// lie is one look-up that says "not found" of a payment that exists.
	lie
	// pause freezes a manager between its last look at the clock and the socket, for as long as it likes.
	pause
	// foreignEnd lets the foreign client end what it began; it then ends what was begun last.
	foreignEnd
	// straggler is a call that is answered, and of which a second copy lands afterwards.
	straggler
	// resent is a call that has its effect, and is then sent again by something between us and the service; the second answer is read.
	resent

	// supported are the faults that the protocol is made for.
	supported = crash | lostRequest | lostAnswer | late | doubled | staleRead | restart | foreignBegin | lie
)

type shortcut uint

const (
	// repetitionFrees lets the answer to a repeated end free the wallet, although the end before it had none.
	repetitionFrees shortcut = 1 << iota
	// earlyAbsence counts the first of two absences while the call may still land.
	earlyAbsence
	// lateWeighing dates an absence when it is weighed, not when it was asked for.
	lateWeighing
	// waiting waits for an answer that only a person can give.
	waiting
)

// Phases of a record. failed is looked at once more and then becomes closed.
const (
	claimed uint8 = iota
	began
	submitting
	submitted
	succeeded
	failed
	closed
	cancelled
	unknown
)

// What the service holds of a payment. A Lightning node knows requested (pending), done and refused (failed).
const (
	nothing uint8 = iota
	requested
	done
	// refused is a failure before any money moved.
	refused
	// doubtful is a failure that is reported although money moved.
	doubtful
)

// What is in the service's slot, whose order an id stands for. In a payment, 0 and 1 mean itself and the other one.
const (
	foreign uint8 = 2
	nobody  uint8 = 3
	// gone is an id that the service forgot.
	gone uint8 = 4
)

// payment is a payment's record, its calls on the way, and what the service has of it.
type payment struct {
	phase uint8
	// misses is how many attempts came to nothing, ends how often the end of this one was called.
	misses, ends uint8
	// absent tells that the first of two absences counts; in failed, that absence was the reason.
	absent bool
	// id is whose order the answered id stands for: 0 its own. known is the same in the claim of that id, which is written before the record
	// and stays: it tells of an answer that the record never got.
	id, known uint8
	// withdrawn tells that the resource is being deleted, or may no longer start.
	withdrawn bool
	// open tells that calls of it may still land.
	open bool
	// begins and tails are calls on the way.
	begins, tails uint8

	entry, moved uint8
}

// Where a manager is in its critical section.
const (
	idle       uint8 = iota
	locked           // has the Lease, for a begin
	looked           // knows that the service does not have the payment
	callsBegin       // wrote Began
	begun            // has a PSBT
	declared         // wrote the end into the Lease
	callsEnd         // wrote Submitting
	answered         // has an answer, or none
	releasing        // is done, cleanly
	givesUp          // without rule 1 only: decided to cancel
	weighs           // with lateWeighing only: was told "not found"
)

// Answers to an end call.
const (
	unclear uint8 = iota
	unsent
	rejected
	exists
	// accepted + n: with the id of n's order: own, other, foreign, -, gone.
	accepted
	// onTheWay is no answer: something between us and the service sends the call again.
	onTheWay uint8 = 15
)

// replica is one manager process.
type replica struct {
	at, pay, answer uint8
	// stale: the record was written since it was read. older: by another attempt.
	stale, older bool
	// lost: the Lease was taken over. expired: the time to send is over. frozen: it was looked at before.
	lost, expired, frozen bool
	repeats               bool
}

func (r *replica) inside() bool { return r.at != idle && r.at != givesUp && r.at != weighs }

// Operations in the Lease.
const (
	free uint8 = iota
	forBegin
	forEnd
)

type state struct {
	pays               [2]payment
	reps               [2]replica
	leaseOp, leasePay  uint8
	slot               uint8
	lied, foreignBegan bool
}

func initial() state {
	s := state{slot: nobody}
	for i := range s.pays {
		s.pays[i].id, s.pays[i].known = nobody, nobody
	}
	return s
}

// settle forgets what nothing depends on any more, so that equal states look equal.
func (s *state) settle() {
	for i := range s.pays {
		switch pay := &s.pays[i]; pay.phase {
		case claimed, began:
			pay.ends, pay.absent, pay.id = 0, false, nobody
		case submitted:
			pay.ends, pay.absent, pay.withdrawn = 0, false, false
		case failed:
			pay.misses, pay.ends, pay.withdrawn = 0, 0, false
		case unknown:
			pay.absent = false
		case succeeded, closed, cancelled:
			pay.misses, pay.ends, pay.absent, pay.withdrawn = 0, 0, false, false
		}
	}
	for i := range s.reps {
		switch rep := &s.reps[i]; rep.at {
		case releasing:
			*rep = replica{at: releasing, pay: rep.pay, lost: rep.lost}
		case begun:
			rep.expired = false // the end has a time of its own
		}
	}
}

// step is one thing that happens.
type step struct {
	to    state
	fault bool
	who   uint8 // replica, or world
	pay   uint8
	what  string
}

const world uint8 = 9

// stepper collects what can happen in a state.
type stepper struct {
	*config
	from   state
	faulty bool // faults too
	steps  []step
}

func (x *stepper) emit(to *state, who, pay uint8, what string) {
	x.steps = append(x.steps, step{*to, false, who, pay, what})
}

// risk is emit for a fault of a kind.
func (x *stepper) risk(kind fault, to *state, who, pay uint8, what string) {
	if x.faulty && x.may(kind) {
		x.steps = append(x.steps, step{*to, true, who, pay, what})
	}
}

// next returns all that can happen in s.
func (x *stepper) next(s *state, faulty bool) []step {
	x.from, x.faulty, x.steps = *s, faulty, x.steps[:0]
	for r := range uint8(2) {
		x.manager(r)
	}
	for p := range uint8(2) {
		x.time(p)
		x.service(p)
	}
	x.world()
	return x.steps
}

// world does what neither a manager nor a payment does.
func (x *stepper) world() {
	t := x.from
	t.slot = nobody
	for i := range t.pays {
		if !x.onchain {
			break // the node keeps its payments
		}
		t.pays[i].entry = nothing
		if t.pays[i].id != nobody {
			t.pays[i].id = gone
		}
		if t.pays[i].known != nobody {
			t.pays[i].known = gone
		}
		if answer := t.reps[i].answer; answer >= accepted && answer != onTheWay {
			t.reps[i].answer = accepted + gone
		}
	}
	x.risk(restart, &t, world, 0, "the service restarts")

	t = x.from
	t.slot, t.foreignBegan = foreign, x.may(foreignEnd)
	x.risk(foreignBegin, &t, world, 0, "a foreign client begins")
	if t := x.from; t.foreignBegan {
		t.foreignBegan = false
		x.serve(&t)
		x.emit(&t, world, 0, "the foreign client ends what was begun last")
	}
}

// time closes windows and takes orders back.
func (x *stepper) time(p uint8) {
	resending := slices.ContainsFunc(x.from.reps[:], func(rep replica) bool { return rep.pay == p && rep.answer == onTheWay })
	if x.from.pays[p].open && !resending {
		t := x.from
		t.pays[p].open, t.pays[p].begins, t.pays[p].tails = false, 0, 0
		for r := range t.reps {
			if t.reps[r].inside() && t.reps[r].pay == p {
				t.reps[r].expired = true
			}
		}
		x.emit(&t, world, p, "the quarantine of its calls is over")
	}
	if pay := &x.from.pays[p]; x.withdrawals && !pay.withdrawn && pay.phase <= submitting {
		t := x.from
		t.pays[p].withdrawn = true
		x.emit(&t, world, p, "is withdrawn")
	}
}

// service goes on with a payment, and takes the calls that were on the way.
func (x *stepper) service(p uint8) {
	if x.from.pays[p].entry == requested {
		t := x.from
		t.pays[p].entry = done
		t.pays[p].moved = min(t.pays[p].moved+1, 2)
		x.emit(&t, world, p, "the service moves the money")
		if x.onchain {
			t.pays[p].entry = doubtful
			x.emit(&t, world, p, "the service moves the money and reports a failure")
		}
		t = x.from
		t.pays[p].entry = refused
		x.emit(&t, world, p, "fails at the service")
	}
	if x.from.pays[p].begins > 0 {
		t := x.from
		t.pays[p].begins--
		t.slot = p
		x.emit(&t, world, p, "a begin of it lands late")
	}
	if x.from.pays[p].tails > 0 {
		t := x.from
		t.pays[p].tails--
		x.serve(&t)
		x.emit(&t, world, p, "an end of it lands late")
	}
}

// serve is the service's side of an end: it executes what was begun last, whatever was signed. It returns whose order that was, for an
// answer that accepts, or the answer.
func (x *stepper) serve(s *state) (order, answer uint8) {
	order = s.slot
	switch order {
	case nobody:
		return order, rejected
	case foreign:
		if !x.onchain {
			s.slot = nobody
		}
		return order, accepted
	}
	pay := &s.pays[order]
	if x.onchain {
		if pay.entry == nothing { // else it answers with the send that it has
			pay.entry = requested
		}
		return order, accepted
	}
	if pay.entry == requested || pay.entry == done {
		return order, exists // and what was begun stays
	}
	pay.entry = requested
	s.slot = nobody
	return order, accepted
}

// manager lets a process take its next step, or die.
func (x *stepper) manager(r uint8) {
	rep := &x.from.reps[r]
	p := rep.pay
	if rep.at == idle {
		for p := range uint8(2) {
			x.decide(r, p)
		}
		return
	}
	t := x.from
	t.reps[r] = replica{}
	x.risk(crash, &t, r, p, "crashes")
	switch rep.at {
	case locked:
		x.lookBefore(r, p)
	case looked:
		t := x.from
		if !x.write(&t, r, p) {
			t.reps[r].at = releasing
			x.emit(&t, r, p, "finds that the record changed")
			return
		}
		pay := &t.pays[p]
		pay.phase, pay.ends, pay.absent, pay.id = began, 0, false, nobody
		if other := &t.reps[1-r]; other.at != idle && other.pay == p {
			other.older = true
		}
		t.reps[r].at = callsBegin
		x.emit(&t, r, p, "writes Began")
	case callsBegin:
		x.callBegin(r, p)
	case begun:
		x.declare(r, p)
	case declared:
		t := x.from
		if !x.write(&t, r, p) {
			t.reps[r] = replica{}
			x.emit(&t, r, p, "finds that the record changed")
			return
		}
		t.pays[p].phase = submitting
		t.pays[p].ends = min(t.pays[p].ends+1, maxEnds)
		t.reps[r].at = callsEnd
		x.emit(&t, r, p, "writes Submitting")
	case callsEnd:
		x.callEnd(r, p)
	case answered:
		x.conclude(r, p)
	case releasing:
		t := x.from
		if !rep.lost {
			t.leaseOp, t.leasePay = free, 0
		}
		t.reps[r] = replica{}
		x.emit(&t, r, p, "frees the wallet")
	case givesUp:
		t := x.from
		x.write(&t, r, p)
		t.pays[p].phase = cancelled
		t.reps[r] = replica{}
		x.emit(&t, r, p, "writes Cancelled")
	case weighs:
		t := x.from
		t.reps[r] = replica{}
		if x.write(&t, r, p) {
			x.weighAbsence(&t, p, !t.pays[p].open)
		}
		x.emit(&t, r, p, "weighs the absence")
	}
}

// write is a compare-and-swap of a record: it fails where somebody wrote since the record was read.
func (x *stepper) write(s *state, r, p uint8) bool {
	if s.reps[r].stale && x.keeps(1) {
		return false
	}
	s.reps[r].stale = false
	if other := &s.reps[1-r]; other.at != idle && other.pay == p {
		other.stale = true
	}
	return true
}

// decide is what an idle manager does about a payment, by its record.
func (x *stepper) decide(r, p uint8) {
	pay := &x.from.pays[p]
	if pay.phase > began {
		x.attempt(r, p, true)
	}
	switch pay.phase {
	case claimed, began:
		if !pay.withdrawn {
			x.attempt(r, p, false)
			return
		}
		t := x.from
		if !x.keeps(1) {
			t.reps[r] = replica{at: givesUp, pay: p}
			x.emit(&t, r, p, "decides to cancel")
			return
		}
		x.write(&t, r, p)
		t.pays[p].phase = cancelled
		x.emit(&t, r, p, "writes Cancelled")
	case submitting:
		switch {
		case !x.onchain:
			x.look(r, p)
		case pay.known != nobody:
			x.findClaim(r, p)
		default:
			x.repeat(r, p)
		}
	case unknown:
		if pay.known != nobody && pay.id == nobody {
			x.findClaim(r, p)
		}
	case submitted, failed:
		x.look(r, p)
	}
}

// attempt enters the critical section. A manager that read an old record does so although it should not.
func (x *stepper) attempt(r, p uint8, stale bool) {
	s := &x.from
	other := &s.reps[1-r]
	held := other.inside() && !other.lost
	enters := s.leaseOp == free || !s.pays[s.leasePay].open ||
		(!x.keeps(3) && held) || (!x.keeps(4) && !held)
	if !enters || (stale && (!x.faulty || !x.may(staleRead))) {
		return
	}
	t := x.from
	x.take(&t, r, p, forBegin)
	t.reps[r] = replica{at: locked, pay: p, stale: stale}
	if x.onchain {
		t.reps[r].at = looked
	}
	if stale {
		x.risk(staleRead, &t, r, p, "locks the wallet on an old record")
		return
	}
	x.emit(&t, r, p, "locks the wallet")
}

// take writes a call into the Lease, and with it whose the wallet is.
func (x *stepper) take(s *state, r, p, operation uint8) {
	s.leaseOp, s.leasePay = operation, p
	s.pays[p].open = true
	if other := &s.reps[1-r]; other.inside() {
		other.lost = true
	}
}

// lookBefore asks a Lightning node for the payment before anything is begun.
func (x *stepper) lookBefore(r, p uint8) {
	t := x.from
	if t.pays[p].entry == nothing {
		t.reps[r].at = looked
		x.emit(&t, r, p, "looks: not found")
		return
	}
	t.reps[r].at, t.lied = looked, true
	if !x.from.lied {
		x.risk(lie, &t, r, p, "looks: not found, which is a lie")
	}
	t = x.from
	t.reps[r].at = releasing
	if x.write(&t, r, p) {
		x.weighPresence(&t, p)
	}
	x.emit(&t, r, p, "looks: exists, and adopts")
}

func (x *stepper) callBegin(r, p uint8) {
	if rep := &x.from.reps[r]; rep.expired && !rep.frozen {
		t := x.from
		t.reps[r].at = releasing
		if x.write(&t, r, p) {
			t.pays[p].phase = claimed
		}
		x.emit(&t, r, p, "is too late to begin")
		return
	}
	t := x.from
	t.slot, t.reps[r].at, t.reps[r].frozen = p, begun, false
	x.emit(&t, r, p, "begins") // twice at once comes to the same
	t.pays[p].begins = 1
	x.risk(straggler, &t, r, p, "begins, and a copy is on the way")

	t = x.from
	t.reps[r] = replica{}
	x.risk(lostRequest, &t, r, p, "begins, the request is lost")
	t.pays[p].begins = 1
	x.risk(late, &t, r, p, "begins, the request is late")
	t = x.from
	t.slot, t.reps[r] = p, replica{}
	x.risk(lostAnswer, &t, r, p, "begins, the answer is lost")
	if t = x.from; !t.reps[r].frozen {
		t.reps[r].frozen = true
		x.risk(pause, &t, r, p, "freezes right before it begins")
	}
}

// declare asks for permission a last time and writes the end into the Lease.
func (x *stepper) declare(r, p uint8) {
	t := x.from
	if t.pays[p].withdrawn {
		t.reps[r].at = releasing
		x.emit(&t, r, p, "has no permission any more")
		return
	}
	if t.reps[r].lost && x.keeps(3) {
		t.reps[r] = replica{}
		x.emit(&t, r, p, "finds that the wallet was taken over")
		return
	}
	t.leaseOp, t.leasePay, t.pays[p].open = forEnd, p, true
	t.reps[r].expired = false
	t.reps[r].at = declared
	if !x.keeps(2) {
		t.reps[r].at = callsEnd
	}
	x.emit(&t, r, p, "declares the end")
}

func (x *stepper) callEnd(r, p uint8) {
	rep := &x.from.reps[r]
	answer := func(t *state, answer uint8) *state {
		t.reps[r].at, t.reps[r].answer, t.reps[r].frozen = answered, answer, false
		return t
	}
	if rep.expired && !rep.frozen && rep.answer != onTheWay {
		t := x.from
		x.emit(answer(&t, unsent), r, p, "is too late to end")
		return
	}
	t := x.from
	order, word := x.serve(&t)
	given := word
	switch {
	case word != accepted:
	case order == foreign:
		given = accepted + foreign
	case order != p:
		given = accepted + 1
	}
	x.emit(answer(&t, given), r, p, "ends, and is answered")
	if word == accepted && !x.onchain {
		t := t
		x.risk(doubled, answer(&t, exists), r, p, "ends, twice at once")
	}
	t.pays[p].tails = min(t.pays[p].tails+1, 2)
	x.risk(straggler, &t, r, p, "ends, is answered, and a copy is on the way")

	t = x.from
	x.serve(&t)
	again := t
	again.reps[r].answer = onTheWay
	x.risk(resent, &again, r, p, "ends, and the call is sent again on the way")
	x.risk(lostAnswer, answer(&t, unclear), r, p, "ends, the answer is lost")
	if !x.onchain && t.slot == nobody && order < foreign {
		t.slot = order // the node did not answer the service either: what was begun stays
		x.risk(lostAnswer, &t, r, p, "ends, the node's answer is lost")
	}
	t = x.from
	x.risk(lostRequest, answer(&t, unclear), r, p, "ends, the request is lost")
	t.pays[p].tails = min(t.pays[p].tails+1, 2)
	x.risk(late, &t, r, p, "ends, the request is late")
	if t = x.from; !rep.frozen {
		t.reps[r].frozen = true
		x.risk(pause, &t, r, p, "freezes right before it ends")
	}
}

// findClaim takes the id of a send from its claim, where the process that was answered died, or was paused, before it wrote the record.
func (x *stepper) findClaim(r, p uint8) {
	t := x.from
	pay := &t.pays[p]
	x.write(&t, r, p)
	pay.phase, pay.id = submitted, pay.known
	x.emit(&t, r, p, "finds the id of the send claimed")
}

// claim writes down the id that an end of an on-chain send was answered with, unless it is there already. One id is of one payment.
func (x *stepper) claim(r, p uint8) bool {
	t := x.from
	rep, pay := t.reps[r], &t.pays[p]
	if !x.onchain || rep.answer < accepted || pay.known != nobody {
		return false
	}
	id := rep.answer - accepted
	if sibling := t.pays[1-p].known; x.keeps(6) && (id == 1 && sibling == 0 || id == 0 && sibling == 1) {
		return false
	}
	pay.known = id
	x.emit(&t, r, p, "claims the id of the send")
	return true
}

// conclude writes what came of an end.
func (x *stepper) conclude(r, p uint8) {
	if x.claim(r, p) {
		return
	}
	t := x.from
	rep, pay := t.reps[r], &t.pays[p]
	t.reps[r] = replica{}
	clean := func(is bool) {
		if is {
			t.reps[r] = replica{at: releasing, pay: p, lost: rep.lost}
		}
		x.emit(&t, r, p, "writes what came of the end")
	}
	open := pay.phase == submitting || pay.phase == unknown || pay.phase == began && !x.keeps(2)
	if x.keeps(1) && (rep.older || !open) {
		clean(rep.answer != unclear && (!rep.repeats || x.takes(repetitionFrees))) // somebody knows more
		return
	}
	if !x.keeps(2) && pay.phase == began {
		pay.phase, pay.ends = submitting, 1
	}
	t.reps[r].stale = false
	x.write(&t, r, p)
	first := pay.ends == 1
	trusted := first || x.takes(repetitionFrees)
	answer := rep.answer
	if answer == unclear && !x.keeps(7) {
		answer, first = unsent, true
	}
	switch {
	case answer >= accepted && !x.onchain && answer != accepted && x.keeps(6):
		clean(false) // another invoice was paid; ours is looked for by its own hash
	case answer >= accepted && x.onchain && pay.known == nobody:
		x.doubt(pay) // the id is another resource's
		clean(trusted)
	case answer >= accepted:
		pay.id = answer - accepted
		pay.phase = submitted
		clean(trusted)
	case answer == unsent && first:
		pay.phase = claimed
		clean(true)
	case answer == exists:
		clean(true)
	case answer == rejected && !x.onchain:
		x.refusedLightning(&t, r, p, clean)
	case answer == rejected && first:
		x.retry(pay)
		clean(true)
	case answer == rejected:
		x.doubt(pay) // it forgot, and with it perhaps a send
		clean(false)
	default:
		clean(false)
	}
}

// refusedLightning asks after a refusal whether the service has the payment all the same.
func (x *stepper) refusedLightning(t *state, r, p uint8, clean func(bool)) {
	if t.pays[p].entry == nothing {
		x.retry(&t.pays[p])
		clean(true)
		return
	}
	clean(true)
	lying := x.steps[len(x.steps)-1].to
	if !lying.lied {
		lying.lied = true
		x.retry(&lying.pays[p])
		x.risk(lie, &lying, r, p, "is refused and looks: not found, which is a lie")
	}
}

// retry is what follows proof that an attempt was not sent.
func (x *stepper) retry(pay *payment) {
	pay.phase, pay.absent = claimed, false
	if pay.misses = min(pay.misses+1, maxMisses); pay.misses == maxMisses {
		pay.phase, pay.absent = failed, true
		if x.onchain {
			pay.phase = closed
		}
	}
}

// doubt is where the outcome cannot be known.
func (x *stepper) doubt(pay *payment) {
	if x.takes(waiting) {
		return
	}
	pay.phase = unknown
	if !x.keeps(8) {
		x.retry(pay)
	}
}

// repeat ends an on-chain send again with the identical PSBT, where its own end is the last call that the Lease tells of.
func (x *stepper) repeat(r, p uint8) {
	t := x.from
	pay := &t.pays[p]
	own := t.leaseOp == forEnd && t.leasePay == p
	if !own && (t.leaseOp == free || !t.pays[t.leasePay].open) || !pay.open && (pay.ends >= maxEnds || pay.withdrawn) {
		x.write(&t, r, p)
		x.doubt(pay)
		x.emit(&t, r, p, "cannot repeat the end: the outcome is unknown")
	}
	if t = x.from; own && pay.ends < maxEnds {
		x.take(&t, r, p, forEnd)
		t.reps[r] = replica{at: declared, pay: p, repeats: true}
		x.emit(&t, r, p, "locks the wallet to repeat the end")
	}
}

// look asks the service about a submitted or failed payment and writes what that means.
func (x *stepper) look(r, p uint8) {
	t := x.from
	pay := &t.pays[p]
	if pay.phase == failed && pay.open {
		return
	}
	if x.onchain {
		if x.write(&t, r, p); x.weighOnchain(&t, p) {
			x.emit(&t, r, p, "looks by the send id")
		}
		return
	}
	if pay.id != 0 && pay.id != nobody { // without rule 6 only
		if pay.id == foreign || t.pays[1-p].entry == done {
			x.write(&t, r, p)
			pay.phase = succeeded
			x.emit(&t, r, p, "looks by the answered id: succeeded")
		}
		return
	}
	if pay.entry != nothing {
		x.write(&t, r, p)
		if before := *pay; x.weighPresence(&t, p) || before != *pay {
			x.emit(&t, r, p, "looks by the hash: exists")
		}
	}
	t = x.from
	what := "looks by the hash: not found"
	if pay.entry != nothing {
		if t.lied {
			return
		}
		t.lied = true
		what = "looks by the hash: not found, which is a lie"
	}
	if x.takes(lateWeighing) {
		t.reps[r] = replica{at: weighs, pay: p}
	} else {
		x.write(&t, r, p)
		x.weighAbsence(&t, p, !t.pays[p].open)
	}
	if t == x.from {
		return
	}
	if pay.entry != nothing {
		x.risk(lie, &t, r, p, what)
		return
	}
	x.emit(&t, r, p, what)
}

// weighPresence is what a Lightning payment that the node has means for its record.
func (x *stepper) weighPresence(s *state, p uint8) bool {
	pay := &s.pays[p]
	pay.absent = false
	switch pay.entry {
	case requested:
		pay.phase = submitted
	case done:
		pay.phase = succeeded
	case refused:
		if pay.phase == failed {
			pay.phase = closed
			return true
		}
		pay.phase = failed
	}
	return false
}

// weighAbsence is what "not found" means for the record of a Lightning payment: nothing while its call may still land, and then only
// when it was said twice.
func (x *stepper) weighAbsence(s *state, p uint8, landed bool) {
	pay := &s.pays[p]
	counts := landed || !x.keeps(5)
	switch {
	case pay.phase == failed && pay.absent:
		pay.phase = closed
	case pay.phase != submitting:
	case counts && (pay.absent || !x.keeps(7)):
		x.retry(pay)
	case counts, x.takes(earlyAbsence):
		pay.absent = true
	}
}

// weighOnchain is what the service says of the send that it answered.
func (x *stepper) weighOnchain(s *state, p uint8) bool {
	pay := &s.pays[p]
	switch {
	case pay.id == gone:
		x.doubt(pay)
	case pay.id == foreign && x.keeps(6), pay.id == 1 && x.keeps(6):
		x.doubt(pay) // another order was executed
	case pay.id == foreign:
		pay.phase = succeeded
	default:
		switch s.pays[p^pay.id].entry {
		case done:
			pay.phase = succeeded
		case refused:
			pay.phase = closed
		case doubtful:
			x.doubt(pay)
		default:
			return false
		}
	}
	return true
}
