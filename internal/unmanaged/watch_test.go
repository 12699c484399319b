package unmanaged_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/utexo/utexo-operator/internal/unmanaged"
)

var (
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	epoch = noon.Add(-30 * 24 * time.Hour)
)

// wallet is a watch with what its service lists and which records there are.
type wallet struct {
	unmanaged.Watch
	listed  []unmanaged.Payment
	records map[string]bool
	shown   *int64
}

func hashOf(i int) string { return fmt.Sprintf("%064x", i) }

// pays adds payments of the numbers to the list, at an instant.
func (w *wallet) pays(at time.Time, numbers ...int) {
	for _, i := range numbers {
		w.listed = append(w.listed, unmanaged.Payment{Hash: hashOf(i), CreatedAt: at})
	}
}

// look makes one look and returns what is shown then; -1 for nothing.
func (w *wallet) look(now time.Time) int64 {
	answers := map[string]bool{}
	for _, hash := range w.Ask(w.listed, epoch, now) {
		answers[hash] = w.records[hash]
	}
	w.Take(w.listed, answers, w.shown, epoch, now)
	count, _ := w.Count()
	w.shown = count
	if count == nil {
		return -1
	}
	return *count
}

func TestWhatCounts(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(w *wallet)
		// want is what is shown after looks at once, after one minute, two, and ten.
		want [4]int64
	}{
		"nothing is listed": {func(*wallet) {}, [4]int64{}},
		"every payment has a record": {func(w *wallet) {
			w.pays(noon, 1, 2)
			w.records[hashOf(1)], w.records[hashOf(2)] = true, true
		}, [4]int64{}},
		"a payment without a record counts when it was seen twice": {func(w *wallet) { w.pays(noon, 1, 2); w.records[hashOf(1)] = true }, [4]int64{0, 0, 1, 1}},
		"one that is listed twice counts once":                     {func(w *wallet) { w.pays(noon, 1, 1) }, [4]int64{0, 0, 1, 1}},
		"one from before the records began does not count":         {func(w *wallet) { w.pays(epoch.Add(-time.Second), 1) }, [4]int64{}},
		"nor one of more than a week ago":                          {func(w *wallet) { w.pays(noon.Add(-unmanaged.Window-time.Second), 1) }, [4]int64{}},
		"nor one of no instant":                                    {func(w *wallet) { w.pays(time.Time{}, 1) }, [4]int64{}},
		"one of almost a week ago counts until it is a week":       {func(w *wallet) { w.pays(noon.Add(-unmanaged.Window+5*time.Minute), 1) }, [4]int64{0, 0, 1, 0}},
		"a process that starts goes on showing what was certain":   {func(w *wallet) { w.pays(noon, 1, 2, 3); w.shown = new(int64(2)) }, [4]int64{2, 2, 3, 3}},
		"unless there are fewer by now":                            {func(w *wallet) { w.pays(noon, 1); w.shown = new(int64(5)) }, [4]int64{1, 1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wallet{records: map[string]bool{}}
			tc.prepare(w)
			var got [4]int64
			for i, after := range []time.Duration{0, time.Minute, 2 * time.Minute, 10 * time.Minute} {
				got[i] = w.look(noon.Add(after))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestALateRecordIsNoAlarm gives a payment its record between two looks.
func TestALateRecordIsNoAlarm(t *testing.T) {
	w := &wallet{records: map[string]bool{}}
	w.pays(noon, 1)
	w.look(noon)
	if w.Due(noon.Add(unmanaged.Distance - time.Second)) {
		t.Error("a payment without a record is looked at again before it can be certain")
	}
	if !w.Due(noon.Add(unmanaged.Distance)) {
		t.Error("a payment without a record is left for the next look")
	}
	w.records[hashOf(1)] = true
	for _, after := range []time.Duration{unmanaged.Distance, time.Hour} {
		if got := w.look(noon.Add(after)); got != 0 {
			t.Errorf("after %v: %d", after, got)
		}
	}
	if w.Due(noon.Add(time.Hour + unmanaged.Interval - time.Second)) {
		t.Error("a wallet without doubts is looked at before the interval is over")
	}
}

// TestAListIsWrongOnce shows somebody else's payment in one list.
func TestAListIsWrongOnce(t *testing.T) {
	w := &wallet{records: map[string]bool{}}
	w.pays(noon, 1)
	w.look(noon)
	w.listed = nil
	w.look(noon.Add(5 * time.Minute))
	w.pays(noon, 1)
	if got := w.look(noon.Add(10 * time.Minute)); got != 0 {
		t.Errorf("%d payments, of one that two lists show with one between them that does not", got)
	}
}

// TestALookIsBounded has more payments than one look asks for.
func TestALookIsBounded(t *testing.T) {
	const all = 2*unmanaged.MaxAsked + 50
	w := &wallet{records: map[string]bool{}, shown: new(int64(3))}
	for i := range all {
		w.pays(noon.Add(-time.Duration(i)*time.Minute), i)
		w.records[hashOf(i)] = i%150 != 0 // three have none
	}
	asked, looks := 0, 0
	for now := noon; w.Due(now) && looks < 10; looks++ {
		ask := w.Ask(w.listed, epoch, now)
		if len(ask) > unmanaged.MaxAsked {
			t.Fatalf("%d records are looked for at once", len(ask))
		}
		if looks == 0 && ask[0] != hashOf(0) {
			t.Errorf("the latest payment is not the first that is asked for, but %s", ask[0])
		}
		asked += len(ask)
		if got := w.look(now); got != 3 {
			t.Errorf("look %d shows %d", looks, got)
		}
	}
	if asked < all || asked > all+3*looks {
		t.Errorf("asked for %d records in %d looks, of %d payments", asked, looks, all)
	}
	if got := w.look(noon.Add(unmanaged.Interval)); got != 3 {
		t.Errorf("%d payments have no record, of 3", got)
	}
	if ask := w.Ask(w.listed, epoch, noon.Add(time.Hour)); len(ask) != 3 {
		t.Errorf("%d records are looked for again; what was found stays found", len(ask))
	}
}

// TestManyWithoutARecord has more of them than one look asks for. None counts before it was asked for twice.
func TestManyWithoutARecord(t *testing.T) {
	const all = unmanaged.MaxAsked + 50
	w := &wallet{records: map[string]bool{}}
	for i := range all {
		w.pays(noon.Add(-time.Duration(i)*time.Minute), i)
	}
	var got []int64
	for _, after := range []time.Duration{0, 2, 2, 4, 10, 20} {
		got = append(got, w.look(noon.Add(after*time.Minute)))
	}
	if diff := cmp.Diff([]int64{0, 200, 200, 250, 250, 250}, got); diff != "" {
		t.Error(diff)
	}
	if w.Due(noon.Add(29 * time.Minute)) {
		t.Error("what is certain is asked for without a pause")
	}
	w.records[hashOf(7)] = true // somebody declared to follow it
	if got := w.look(noon.Add(30 * time.Minute)); got != all-1 {
		t.Errorf("%d, after one of %d got a record", got, all)
	}
}

func TestNoList(t *testing.T) {
	w := &wallet{records: map[string]bool{}}
	if _, looked := w.Count(); looked || !w.Due(noon) {
		t.Error("a wallet that was not looked at was")
	}
	w.pays(noon, 1)
	w.look(noon)
	w.Later(noon)
	if count, looked := w.Count(); !looked || count == nil || w.Due(noon.Add(time.Minute)) {
		t.Errorf("a list that could not be read this time: %v, %t", count, looked)
	}
	w.Blind(noon)
	if count, looked := w.Count(); !looked || count != nil || w.Due(noon.Add(time.Minute)) {
		t.Errorf("without a list: %v, %t", count, looked)
	}
}

func TestDescribe(t *testing.T) {
	for name, tc := range map[string]struct {
		payments int
		want     string
	}{
		"none":              {0, "no payments"},
		"one":               {1, "a payment of the last 7 days (0000000000000000)"},
		"some":              {2, "2 payments of the last 7 days (0000000000000000, 1111111111111111)"},
		"more than a few":   {6, "6 payments of the last 7 days (the latest: 0000000000000000, 1111111111111111, 2222222222222222, 3333333333333333, 4444444444444444)"},
		"as many as can be": {5, "5 payments of the last 7 days (0000000000000000, 1111111111111111, 2222222222222222, 3333333333333333, 4444444444444444)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wallet{records: map[string]bool{}}
			for i := range tc.payments {
				w.listed = append(w.listed, unmanaged.Payment{Hash: strings.Repeat(fmt.Sprint(i), 64), CreatedAt: noon.Add(-time.Duration(i) * time.Hour)})
			}
			w.look(noon)
			w.look(noon.Add(unmanaged.Distance))
			if got := w.Describe(); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}
