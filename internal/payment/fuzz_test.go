package payment

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// FuzzResolve holds that no text but a person's word on exactly this record and attempt resolves anything.
func FuzzResolve(f *testing.F) {
	for _, word := range []string{
		"", ":", "::", ":::", recordUID, recordUID + ":2:notpaid", recordUID + ":2:paid:abc", recordUID + ":2:paid:", recordUID + ":2:notpaid:x",
		recordUID + ":02:notpaid", recordUID + ":1:notpaid", recordUID + ":2:paid:a:b", recordUID + ":2:PAID:abc", ":2:notpaid",
	} {
		f.Add(recordUID, int32(2), word)
	}
	f.Add("", int32(0), ":0:notpaid")
	f.Add("a:2", int32(2), "a:2:2:notpaid")
	f.Fuzz(func(t *testing.T, uid string, attempt int32, word string) {
		if !utf8.ValidString(word) || !utf8.ValidString(uid) {
			return // no annotation and no UID is
		}
		order := makeOnchainOrder()
		for _, phase := range []v1alpha1.RecordPhase{
			v1alpha1.RecordClaimed, v1alpha1.RecordBegan, v1alpha1.RecordSubmitting, v1alpha1.RecordSubmitted, v1alpha1.RecordSucceeded,
			v1alpha1.RecordFailed, v1alpha1.RecordCancelled, v1alpha1.RecordUnknown,
		} {
			record := makeRecord(order, makeJournal(order, phase))
			record.UID, record.Journal.Attempt = types.UID(uid), attempt
			next, ok := Resolve(record, word, landed)
			id, paid := strings.CutPrefix(word, fmt.Sprintf("%s:%d:paid:", uid, attempt))
			paid = paid && id != ""
			notPaid := word == fmt.Sprintf("%s:%d:notpaid", uid, attempt)
			want := phase == v1alpha1.RecordUnknown && uid != "" && !strings.Contains(uid, ":") && len(word) <= 512 && (paid || notPaid)
			switch {
			case ok != want:
				t.Fatalf("%q on attempt %d of record %q in phase %s: resolved is %t", word, attempt, uid, phase, ok)
			case !ok && !SameJournal(&next, &record.Journal):
				t.Fatalf("%q resolves nothing and changes the journal", word)
			case ok && paid != (next.Phase == v1alpha1.RecordSucceeded), ok && notPaid != (next.Phase == v1alpha1.RecordFailed):
				t.Fatalf("%q leads to %s", word, next.Phase)
			}
			assertFits(t, next)
		}
	})
}

// FuzzTransitions takes bytes for what happens to a payment, and text and number for what its service says beside. What holds of every
// history holds of these.
func FuzzTransitions(f *testing.F) {
	f.Add([]byte{}, "", int64(0))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0}, "PENDING", int64(1000))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 5, 0, 5, 4, 0, 5, 5, 0}, "rgb:x", int64(100_000))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 6, 0, 14, 2, 0, 0, 0, 0, 6, 3}, strings.Repeat("\u20ac", 300), int64(-1))
	f.Add([]byte{2, 0, 0, 0, 0, 0, 7, 0, 7, 0, 8, 2, 0, 0, 0}, "\x00\x1b[2J", int64(99_000))
	f.Add([]byte{3, 0, 0, 0, 0, 0, 0, 0, 13, 2, 0, 0, 12, 0, 0, 0}, assetID, int64(10))
	kinds := []string{
		"a Lightning payment", "a send by a service that answers repetitions", "a send by a service of which nothing is known",
		"an asset send by a service that answers repetition",
	}
	f.Fuzz(func(t *testing.T, events []byte, text string, number int64) {
		if len(events) > 400 || !utf8.ValidString(text) {
			return // a service's answer is JSON
		}
		next := func(n int, _ string) int {
			if len(events) == 0 {
				return 0
			}
			chosen := int(events[0]) % n
			events = events[1:]
			return chosen
		}
		kind := payments[kinds[next(len(kinds), "kind")]]
		h := newHistory(t, kind.order(), kind.profile, next)
		h.people = kind.people
		h.garbage = func(shown *Sighting) {
			shown.Word, shown.ErrorMessage = text, text
			switch next(8, "garbage") {
			case 1:
				shown.Destination = text
			case 2:
				shown.AmountSatsRequested, shown.AmountSatsSent, shown.FeeSats = &number, &number, &number
			case 3:
				shown.SweepTxid = text
			case 4:
				shown.CloseTxids = []string{text, text}
			case 5:
				shown.Asset = &v1alpha1.AssetAmount{ID: text, Amount: number}
			case 6:
				shown.RequestID = text
			case 7:
				shown.Presence = Presence(number)
			}
		}
		for len(events) > 0 {
			h.happen()
		}
		h.settle()
	})
}

// FuzzSendClaimName holds that two ids never share a record, and that each has one that the API server takes.
func FuzzSendClaimName(f *testing.F) {
	for _, pair := range [][2]string{
		{sendID, strings.ToUpper(sendID)},
		{"a", "a-"},
		{"", "x"},
		{"ABC", "x" + digest("send", "ABC")},
		{"é", "e"},
		{"-", "--"},
		{strings.Repeat("a", 100), strings.Repeat("a", 101)},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, id := range []string{a, b} {
			if wrong := validation.IsDNS1123Subdomain(SendClaimName(id)); len(wrong) > 0 || !strings.HasPrefix(SendClaimName(id), "sid-") {
				t.Fatalf("%q makes the name %q: %v", id, SendClaimName(id), wrong)
			}
		}
		if (SendClaimName(a) == SendClaimName(b)) != (a == b) {
			t.Fatalf("%q and %q make the names %q and %q", a, b, SendClaimName(a), SendClaimName(b))
		}
	})
}

// bytesOf deals out the bytes of a fuzz input as choices; a spent one deals zeros.
type bytesOf []byte

func (b *bytesOf) choose(n int) int {
	if len(*b) == 0 {
		return 0
	}
	chosen := int((*b)[0]) % n
	*b = (*b)[1:]
	return chosen
}

func (b *bytesOf) yes() bool { return b.choose(2) == 1 }

// moment is an instant around those of a payment, or none.
func (b *bytesOf) moment() *metav1.MicroTime {
	offsets := []time.Duration{
		0, time.Second, 2 * time.Second, 21 * time.Second, 31 * time.Second, time.Minute, policy.Quarantine - time.Second, policy.Quarantine,
		policy.Quarantine + 22*time.Second, 2*policy.Quarantine + 22*time.Second, time.Hour, 25 * time.Hour, -time.Hour,
	}
	n := b.choose(len(offsets) + 1)
	if n == len(offsets) {
		return nil
	}
	return at(t0.Add(offsets[n]))
}

func (b *bytesOf) now() time.Time {
	if moment := b.moment(); moment != nil {
		return moment.Time
	}
	return landed
}

var recordPhases = []v1alpha1.RecordPhase{
	v1alpha1.RecordClaimed, v1alpha1.RecordBegan, v1alpha1.RecordSubmitting, v1alpha1.RecordSubmitted, v1alpha1.RecordSucceeded,
	v1alpha1.RecordFailed, v1alpha1.RecordCancelled, v1alpha1.RecordUnknown, v1alpha1.RecordAwaitingSignature,
}

func (b *bytesOf) order() *Order {
	return []func() *Order{makeLightningOrder, makeOnchainOrder, makeAssetOrder}[b.choose(3)]()
}

// journal is any journal of order, of histories that there are not too.
func (b *bytesOf) journal(order *Order, phases ...v1alpha1.RecordPhase) v1alpha1.PaymentJournal {
	journal := NewJournal(order)
	journal.Phase = phases[b.choose(len(phases))]
	journal.Attempt, journal.EndCalls = int32(b.choose(5)), int32(b.choose(7))
	journal.Misses, journal.Refusals = int32(b.choose(5)), int32(b.choose(40))
	journal.StartedAt, journal.SubmittedAt, journal.NotAfter = b.moment(), b.moment(), b.moment()
	journal.RetryAfter, journal.FirstAbsentAt, journal.FirstFailedAt = b.moment(), b.moment(), b.moment()
	journal.CompletedAt, journal.RecheckedAt = b.moment(), b.moment()
	journal.RequestID = []string{"", requestID(order), "other"}[b.choose(3)]
	journal.SweepTxid = []string{"", "ab"}[b.choose(2)]
	journal.AbsentBefore = b.yes()
	return journal
}

// sighting is anything that a look may show.
func (b *bytesOf) sighting(order *Order, text string, number int64) Sighting {
	seen := Sighting{
		Presence: Presence(b.choose(6)), State: State(b.choose(4)), Complete: b.yes(), Word: text, ErrorMessage: text, Problem: text,
		RequestID:   []string{"", requestID(order), strings.ToUpper(requestID(order)), text}[b.choose(4)],
		Destination: []string{"", order.Destination, text}[b.choose(3)], SweepTxid: []string{"", text}[b.choose(2)],
		ErrorCode: []string{"", "SWEEP_FAILED", "CHANNEL_CLOSE_FAILED", text}[b.choose(4)], CloseTxids: [][]string{nil, {text, text}}[b.choose(2)],
	}
	if b.yes() {
		seen.AskedAt = b.now()
	}
	declared, paid := int64(order.AmountSats), int64(order.AmountSats)-number
	amounts := []*int64{nil, &number, &declared, &paid}
	seen.AmountSatsRequested, seen.AmountSatsSent, seen.FeeSats = amounts[b.choose(4)], amounts[b.choose(4)], amounts[b.choose(4)]
	seen.Asset = []*v1alpha1.AssetAmount{nil, order.Asset, {ID: text, Amount: number}}[b.choose(3)]
	return seen
}

// after are the phases that may follow one.
var after = map[v1alpha1.RecordPhase]string{
	v1alpha1.RecordClaimed: "Claimed Began Submitted Succeeded Failed Cancelled", // the service may have the payment already
	v1alpha1.RecordBegan:   "Began Claimed Submitting Submitted Succeeded Failed Cancelled",
	// Of what is being signed nothing was submitted.
	v1alpha1.RecordAwaitingSignature: "AwaitingSignature Claimed Submitting Failed Cancelled",
	v1alpha1.RecordSubmitting:        "Submitting Claimed Submitted Succeeded Failed Unknown",
	v1alpha1.RecordSubmitted:         "Submitted Succeeded Failed Unknown",
	v1alpha1.RecordFailed:            "Failed Submitted Succeeded",
	v1alpha1.RecordUnknown:           "Unknown Succeeded Failed",
	v1alpha1.RecordSucceeded:         "Succeeded",
	v1alpha1.RecordCancelled:         "Cancelled",
}

// assertFollows holds what is true of a journal and the next.
func assertFollows(t *testing.T, order *Order, before, next v1alpha1.PaymentJournal) {
	t.Helper()
	if !slices.Contains(strings.Fields(after[before.Phase]), string(next.Phase)) {
		t.Fatalf("%s is followed by %s", before.Phase, next.Phase)
	}
	if before.Phase == v1alpha1.RecordSucceeded && !SameJournal(&before, &next) {
		t.Fatal("what succeeded changed")
	}
	if next.Attempt != before.Attempt || next.Holder != before.Holder {
		t.Fatalf("attempt %d of %v is followed by %d of %v", before.Attempt, before.Holder, next.Attempt, next.Holder)
	}
	if before.AbsentBefore && !next.AbsentBefore {
		t.Fatal("it is forgotten that the hash was unknown before")
	}
	if order.Kind == v1alpha1.RecordOnchainSend && before.RequestID != "" && next.RequestID != before.RequestID {
		t.Fatalf("send %s becomes %s", before.RequestID, next.RequestID)
	}
	if order.Kind == v1alpha1.RecordLightningPayment && next.Phase == v1alpha1.RecordUnknown && before.Phase != v1alpha1.RecordUnknown {
		t.Fatal("a Lightning payment became unknown")
	}
	assertFits(t, next)
}

// rightOrder reports whether nothing that was seen of a send contradicts what was ordered.
func rightOrder(order *Order, seen Sighting) bool {
	switch {
	case seen.Destination != "" && !strings.EqualFold(seen.Destination, order.Destination):
		return false
	case order.Asset != nil:
		return seen.Asset == nil || *seen.Asset == *order.Asset
	case seen.Asset != nil, seen.AmountSatsRequested != nil && *seen.AmountSatsRequested != int64(order.AmountSats):
		return false
	case seen.AmountSatsSent == nil || *seen.AmountSatsSent == int64(order.AmountSats):
		return true
	}
	missing := int64(order.AmountSats) - *seen.AmountSatsSent
	return *seen.AmountSatsSent > 0 && seen.FeeSats != nil && missing == *seen.FeeSats && missing >= 0 && missing <= int64(order.MaxFeeSats)
}

// FuzzSighted shows anything to any journal: what succeeded stays, only a success of this very order is one, and only what proves it
// makes a payment failed or sent anew.
func FuzzSighted(f *testing.F) {
	for first := range byte(6) {
		f.Add([]byte{first % 3, first, 1, 1, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 1, 0, 0, 3, 1, 1, 0, 1, 1, 0, 0, 0, 2, 2, 0, 1, 9}, "PENDING", int64(1000))
		f.Add([]byte{first % 3, first, 1, 1, 0, 0, 0, 1, 3, 13, 13, 2, 13, 13, 1, 0, 0, 3, 2, 0, 1, 1, 0, 2, 0, 0, 2, 3, 1, 0, 10}, "FAILED", int64(1))
		f.Add([]byte{first % 3, first, 1, 1, 0, 0, 0, 1, 3, 13, 2, 13, 13, 13, 1, 0, 0, 2, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}, "", int64(0))
	}
	f.Fuzz(func(t *testing.T, input []byte, text string, number int64) {
		if !utf8.ValidString(text) {
			return // a service's answer is JSON
		}
		b := bytesOf(input)
		order := b.order()
		phases := []v1alpha1.RecordPhase{ // those in which a look is made
			v1alpha1.RecordClaimed, v1alpha1.RecordBegan, v1alpha1.RecordSubmitting, v1alpha1.RecordSubmitted, v1alpha1.RecordFailed, v1alpha1.RecordSucceeded,
		}
		if order.Kind == v1alpha1.RecordOnchainSend {
			phases = []v1alpha1.RecordPhase{v1alpha1.RecordSubmitted, v1alpha1.RecordSucceeded}
		}
		journal := b.journal(order, phases...)
		before := *journal.DeepCopy()
		seen := b.sighting(order, text, number)
		profile := []v1alpha1.ServerProfile{v1alpha1.ProfileReference, v1alpha1.ProfileConservative}[b.choose(2)]
		now := b.now()
		next, events := Sighted(order, journal, seen, profile, policy, now)
		if !SameJournal(&journal, &before) {
			t.Fatal("the journal that was given was changed")
		}
		assertFollows(t, order, before, next)
		for _, event := range events {
			if event.Reason == "" || event.Message == "" || len(event.Message) > 1024 {
				t.Fatalf("an event %+v", event)
			}
		}
		if asked := seen.AskedAt; !asked.IsZero() && asked.Before(now) {
			now = asked // it counts from then
		}
		couldLand := before.Phase == v1alpha1.RecordSubmitting && (before.NotAfter == nil || now.Before(before.NotAfter.Add(policy.Quarantine)))
		if couldLand && seen.Presence == Absent && !SameJournal(&next, &before) {
			t.Fatal("what is not seen before it could land counts")
		}
		if next.Phase == before.Phase {
			return
		}
		lightning := order.Kind == v1alpha1.RecordLightningPayment
		key := order.PaymentHash
		if !lightning {
			key = before.RequestID
		}
		if seen.RequestID != "" && !strings.EqualFold(seen.RequestID, key) {
			t.Fatalf("%s by a look at %q", next.Phase, seen.RequestID)
		}
		apart := func(first *metav1.MicroTime, least time.Duration) bool {
			return first != nil && now.Sub(first.Time) >= least
		}
		switch next.Phase {
		case v1alpha1.RecordSucceeded:
			if seen.Presence != Outbound || seen.State != StateSucceeded || !lightning && !rightOrder(order, seen) {
				t.Fatalf("succeeded by %+v", seen)
			}
		case v1alpha1.RecordClaimed:
			if before.Phase != v1alpha1.RecordSubmitting || !lightning || seen.Presence != Absent || couldLand ||
				!seen.Complete && !apart(before.FirstAbsentAt, policy.Quarantine) {
				t.Fatalf("from %s another attempt follows %+v", before.Phase, seen)
			}
		case v1alpha1.RecordFailed:
			switch {
			case seen.Presence == Absent && lightning && before.Phase == v1alpha1.RecordSubmitting && !couldLand:
			case seen.Presence == Inbound && lightning && (before.Phase == v1alpha1.RecordSubmitting && !couldLand ||
				before.Phase == v1alpha1.RecordSubmitted && apart(before.FirstFailedAt, policy.FailureDistance)):
			case seen.Presence == Outbound && lightning && seen.State == StateFailed && apart(before.FirstFailedAt, policy.FailureDistance):
			case seen.Presence == Outbound && !lightning && seen.State == StateFailed && profile == v1alpha1.ProfileReference &&
				seen.SweepTxid == "" && before.SweepTxid == "" && seen.ErrorCode == "CHANNEL_CLOSE_FAILED" && rightOrder(order, seen):
			default:
				t.Fatalf("failed by %+v from %s", seen, before.Phase)
			}
		case v1alpha1.RecordUnknown:
			if next.Message == "" || next.Reason != v1alpha1.ReasonOutcomeUnknown {
				t.Fatalf("unknown without a word to a person: %+v", next)
			}
		}
	})
}

// FuzzEnded answers anything to the call that moves money. Only an answer for this very payment means that the service has it, only a
// first call that was refused or not sent that it has not, and a call without a clear answer is never clean.
func FuzzEnded(f *testing.F) {
	for answer := range byte(6) {
		for kind := range byte(3) {
			f.Add([]byte{kind, 0, 1, 1, 0, 0, 0, 1, 3, 13, 13, 13, 13, 13, 0, 0, 0, answer, 1, 0, 0, 0, 1}, "text")
			f.Add([]byte{kind, 0, 1, 2, 0, 0, 0, 1, 3, 13, 13, 13, 13, 13, 0, 0, 0, answer, 2, 1, 1, 1, 1}, strings.Repeat("x", 300))
		}
	}
	f.Fuzz(func(t *testing.T, input []byte, text string) {
		if !utf8.ValidString(text) {
			return
		}
		b := bytesOf(input)
		order := b.order()
		journal := b.journal(order, v1alpha1.RecordSubmitting)
		journal.RequestID = ""
		before := *journal.DeepCopy()
		answer := EndAnswer(b.choose(6))
		requestID := []string{"", requestID(order), text}[b.choose(3)]
		refusal := Obstacle{
			Reason: []string{v1alpha1.ReasonServiceUnavailable, v1alpha1.ReasonProgressing, v1alpha1.ReasonRequestRefused}[b.choose(3)], Message: text, DeadEnd: b.yes(),
		}
		profile := []v1alpha1.ServerProfile{v1alpha1.ProfileReference, v1alpha1.ProfileConservative}[b.choose(2)]
		next, events, clean := Ended(order, journal, answer, requestID, refusal, profile, policy, b.now())
		if !SameJournal(&journal, &before) {
			t.Fatal("the journal that was given was changed")
		}
		assertFollows(t, order, before, next)
		first := before.EndCalls <= 1
		lightning := order.Kind == v1alpha1.RecordLightningPayment
		switch next.Phase {
		case v1alpha1.RecordSucceeded:
			t.Fatal("succeeded without a look")
		case v1alpha1.RecordSubmitted:
			if answer != EndAccepted || requestID == "" || lightning && requestID != order.PaymentHash {
				t.Fatalf("submitted by answer %d with id %q", answer, requestID)
			}
		case v1alpha1.RecordClaimed, v1alpha1.RecordFailed:
			if !first || answer != EndNotSent && (answer != EndRefused || lightning) {
				t.Fatalf("%s by answer %d to call %d", next.Phase, answer, before.EndCalls)
			}
		}
		if clean && (answer == EndUnclear || answer == EndAccepted && next.Phase != v1alpha1.RecordSubmitted || !first && !lightning) {
			t.Fatalf("clean by answer %d to call %d: %s", answer, before.EndCalls, next.Phase)
		}
		if answer == EndAccepted && lightning && requestID != order.PaymentHash && len(events) == 0 {
			t.Fatal("another order was executed, and nobody is told")
		}
	})
}

// FuzzDecide asks what to do on any facts, of histories that there are not too.
func FuzzDecide(f *testing.F) {
	for n := range byte(24) {
		f.Add([]byte{n % 3, 1, n % 8, 1, 1, 0, 0, 0, 1, 3, 13, 13, 13, 13, 13, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8}, "", int64(0))
		f.Add([]byte{n % 3, 1, n % 8, 1, 1, 0, 0, 0, 1, 3, 13, 13, 13, 13, 13, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 1, 1, n, n, n, n, n, n, n, n, 8}, "PENDING", int64(9))
		f.Add([]byte{n % 3, 1, n % 8, 1, 1, 0, 0, 0, 1, 3, 2, 13, 13, 5, 13, 1, 0, 0, n, 1, 0, 1, n, 1, 0, n, 1, 0, 1, 1, n, 8}, "x", int64(-1))
	}
	f.Fuzz(func(t *testing.T, input []byte, text string, number int64) {
		if !utf8.ValidString(text) || len(input) > 400 {
			return
		}
		b := bytesOf(input)
		order := b.order()
		facts := Facts{Order: order}
		var before v1alpha1.PaymentJournal
		if b.choose(8) > 0 {
			facts.Record = makeRecord(order, b.journal(order, recordPhases...))
			switch b.choose(8) {
			case 1:
				facts.Record.Journal.Holder = makeHolder("LightningPayment", "another")
			case 2:
				facts.Record.Journal.Holder.UID += "'"
			case 3:
				facts.Record.Spec.Destination += "'"
			case 4:
				facts.Record.Spec.Wallet.Server += "'"
			case 5:
				facts.Order = nil
			}
			before = *facts.Record.Journal.DeepCopy()
		}
		obstacle := func() *Obstacle {
			switch b.choose(6) {
			case 1:
				return deadEnd(v1alpha1.ReasonAmountMismatch, "%s", text)
			case 2:
				return &Obstacle{Reason: v1alpha1.ReasonWalletNotReady, Message: text, RetryAfter: time.Minute}
			}
			return nil
		}
		facts.Suspended, facts.Deleting, facts.Abandon = b.choose(4) == 3, b.choose(4) == 3, b.choose(4) == 3
		facts.Invalid, facts.GivenUp, facts.Waiting, facts.NoSpending, facts.Held = obstacle(), obstacle(), obstacle(), obstacle(), obstacle()
		facts.Profile = []v1alpha1.ServerProfile{v1alpha1.ProfileReference, v1alpha1.ProfileConservative, ""}[b.choose(3)]
		facts.Resolution = []string{"", text, recordUID + fmt.Sprintf(":%d:notpaid", before.Attempt), recordUID + fmt.Sprintf(":%d:paid:x", before.Attempt)}[b.choose(4)]
		if b.yes() {
			facts.FeeEstimateSats = &number
		}
		if b.yes() {
			seen := b.sighting(order, text, number)
			facts.Sighting = &seen
		}
		if facts.Order == nil {
			facts.Sighting = nil
		}
		now := b.now()
		facts.PeopleSign = b.yes()
		given := Given{Attempt: int32(b.choose(5)), Unpublished: b.choose(8) == 7}
		given.Signature, given.Problem = []string{"", text}[b.choose(2)], []string{"", text}[b.choose(2)]
		if b.yes() {
			facts.Given = &given
		}
		if facts.Record != nil {
			facts.Record.Journal.SignBefore = b.moment()
			before = *facts.Record.Journal.DeepCopy()
		}
		d := Decide(facts, policy, now)
		if again := Decide(facts, policy, now); again.Step != d.Step || again.RequeueAfter != d.RequeueAfter || again.Hold != d.Hold {
			t.Fatalf("on the same facts first %s, then %s", d.Step, again.Step)
		}
		if d.RequeueAfter < 0 || len(d.Projection.Summary.Message) > 4096 {
			t.Fatalf("again after %v, message %q", d.RequeueAfter, d.Projection.Summary.Message)
		}
		if facts.Record == nil {
			if d.Journal != nil || d.Step == Submit || d.Step == Finish || d.Step == Repeat || d.Step == Observe {
				t.Fatalf("%s of what is not recorded", d.Step)
			}
			return
		}
		if !SameJournal(&before, &facts.Record.Journal) {
			t.Fatal("Decide changed the record")
		}
		free := !facts.Suspended && !facts.Deleting && facts.Invalid == nil && facts.Waiting == nil && facts.NoSpending == nil && facts.Held == nil
		mine := facts.Order != nil && SameHolder(before.Holder, order.Holder) && SameOrder(facts.Record, order)
		if mine && before.Holder.UID != order.Holder.UID && facts.Invalid != nil && facts.Invalid.Reason == v1alpha1.ReasonAmountMismatch {
			mine = false // a namesake that declares another amount
		}
		switch d.Step {
		case Submit:
			if !free || !mine || before.Phase != v1alpha1.RecordClaimed && before.Phase != v1alpha1.RecordBegan ||
				before.RetryAfter != nil && now.Before(before.RetryAfter.Time) {
				t.Fatalf("Submit in %s: %+v", before.Phase, facts)
			}
		case Finish:
			if !free || !mine || before.Phase != v1alpha1.RecordAwaitingSignature || !facts.PeopleSign || facts.Given == nil ||
				given.Attempt != before.Attempt || given.Unpublished || given.Signature == "" ||
				before.SignBefore == nil || !now.Before(before.SignBefore.Time) {
				t.Fatalf("Finish in %s: %+v", before.Phase, facts)
			}
		case Repeat:
			if !mine || facts.Suspended || facts.Deleting || facts.NoSpending != nil || facts.Waiting != nil || facts.Held != nil ||
				before.Phase != v1alpha1.RecordSubmitting || order.Kind != v1alpha1.RecordOnchainSend ||
				facts.Profile != v1alpha1.ProfileReference || before.EndCalls >= policy.MaxEndCalls {
				t.Fatalf("Repeat in %s: %+v", before.Phase, facts)
			}
		case Claim, Estimate:
			if !NeverSubmitted(&before) || facts.Suspended || facts.Deleting || facts.GivenUp != nil || facts.Invalid != nil {
				t.Fatalf("%s in %s: %+v", d.Step, before.Phase, facts)
			}
		}
		underWay := slices.Contains([]v1alpha1.RecordPhase{
			v1alpha1.RecordSubmitting, v1alpha1.RecordSubmitted, v1alpha1.RecordUnknown,
		}, before.Phase)
		if mine && underWay && d.Step == Rest && !d.Hold && d.Journal == nil &&
			!(facts.Deleting && facts.Abandon) {
			t.Fatalf("let go in %s", before.Phase)
		}
		if d.Journal == nil {
			return
		}
		if !mine && (facts.Order != nil || !facts.Deleting || d.Journal.Phase != v1alpha1.RecordCancelled) {
			t.Fatalf("%s writes the record of another payment: %+v", d.Step, d.Journal)
		}
		assertFollows(t, order, before, *d.Journal)
		decided := d.Journal.Phase == v1alpha1.RecordSucceeded || d.Journal.Phase == v1alpha1.RecordFailed
		if decided && d.Journal.Phase != before.Phase && underWay && facts.Sighting == nil &&
			!strings.HasPrefix(facts.Resolution, recordUID+":") {
			t.Fatalf("%s becomes %s without a look and without a person's word", before.Phase, d.Journal.Phase)
		}
	})
}
