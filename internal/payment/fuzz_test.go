package payment

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

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
