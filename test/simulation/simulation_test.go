package simulation

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// TestMain lets garbage wait: a run leaves much of it and keeps little.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// runSeed runs one seed and returns what is left of it.
func runSeed(seed uint64, broken mutation, tracing bool) (s *sim) {
	s = newSim(seed, broken, tracing)
	defer func() {
		if cause := recover(); cause != nil {
			s.fail("panic", "%v\n%s", cause, debug.Stack())
		}
	}()
	s.play()
	return s
}

// report is what a person needs to go on with a seed that failed: what broke, how it came to that, and how to see all of it.
func report(seed uint64) string {
	const shown = 150
	s := runSeed(seed, mutation{}, true)
	var out strings.Builder
	for _, f := range s.failures {
		fmt.Fprintf(&out, "%s: %s\n", f.oracle, f.text)
	}
	end := slices.IndexFunc(s.trace, func(line string) bool { return strings.Contains(line, "!!!") }) + 1
	var story []string
	for _, line := range s.trace[:end] {
		if !strings.Contains(line, " K get ") || strings.Contains(line, "!!!") {
			story = append(story, line)
		}
	}
	fmt.Fprintf(&out, "%s\nagain, from the beginning and with what was read: make simulate SEED=%d",
		strings.Join(story[max(0, len(story)-shown):], "\n"), seed)
	return out.String()
}

// environment returns a number that the caller of the tests may set.
func environment(t *testing.T, name string) (value uint64, set bool) {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return 0, false
	}
	value, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return value, true
}

// inParallel calls do with the numbers from 0 to count-1, one a processor at a time, until one call returns false.
func inParallel(count uint64, do func(uint64) bool) {
	var next atomic.Uint64
	var stopped atomic.Bool
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < count && !stopped.Load(); i = next.Add(1) - 1 {
				if !do(i) {
					stopped.Store(true)
				}
			}
		})
	}
	workers.Wait()
}

// seedsInCI is how many seeds run where nobody asks for another number, if timeInCI suffices.
const (
	seedsInCI = 20_000
	timeInCI  = 18 * time.Minute
)

// TestSeeds runs 20,000 seeds, or as many as fit into timeInCI and the time that the tests have. SEEDS says how many instead, FIRST from
// which on; SEED runs one and shows its timeline, and with REPEAT as often as that, comparing what it leaves behind.
func TestSeeds(t *testing.T) {
	if seed, ok := environment(t, "SEED"); ok {
		if times, ok := environment(t, "REPEAT"); ok {
			repeat(t, seed, times)
			return
		}
		s := runSeed(seed, mutation{}, true)
		t.Log("\n" + strings.Join(s.trace, "\n"))
		for _, f := range s.failures {
			t.Errorf("%s: %s", f.oracle, f.text)
		}
		return
	}
	count, asked := environment(t, "SEEDS")
	if !asked {
		count = seedsInCI
	}
	first, ok := environment(t, "FIRST")
	if !ok {
		first = 1
	}
	const spare, pause = 2 * time.Minute, 30 * time.Second // for the other tests; between two reports
	started := time.Now()
	until := started.Add(timeInCI)
	if deadline, limited := t.Deadline(); limited && deadline.Add(-spare).Before(until) {
		until = deadline.Add(-spare)
	}
	var mutex sync.Mutex
	told, done, failed := started, 0, 0
	var sum stats
	inParallel(count, func(i uint64) bool {
		s := runSeed(first+i, mutation{}, false)
		mutex.Lock()
		defer mutex.Unlock()
		done++
		sum.add(s.judge.stats)
		if len(s.failures) > 0 {
			failed++
			t.Errorf("seed %d: %s", s.seed, report(s.seed))
		}
		if now := time.Now(); now.Sub(told) > pause {
			told = now
			t.Logf("%d seeds, %.1f a second", done, float64(done)/now.Sub(started).Seconds())
		}
		return failed < 10 && (asked || time.Now().Before(until))
	})
	elapsed := time.Since(started)
	t.Log(&sum)
	t.Logf("%d of %d seeds in %s: %.1f a second", done, count, elapsed.Round(time.Millisecond), float64(done)/elapsed.Seconds())
}

// repeat runs a seed again and again, and compares all that it leaves behind with what it left the first time.
func repeat(t *testing.T, seed, times uint64) {
	want := runSeed(seed, mutation{}, true).dump()
	started := time.Now()
	inParallel(times-1, func(uint64) bool {
		got := runSeed(seed, mutation{}, true).dump()
		if got != want {
			t.Errorf("seed %d again: %s", seed, firstDifference(want, got))
		}
		return got == want
	})
	t.Logf("seed %d, %d times in %s: %d bytes each time", seed, times, time.Since(started).Round(time.Second), len(want))
}

// TestSameSeedSameTrace runs seeds twice and compares all that they leave behind, byte for byte: timeline, ledger and objects.
func TestSameSeedSameTrace(t *testing.T) {
	inParallel(50, func(i uint64) bool {
		first, second := runSeed(i+1, mutation{}, true).dump(), runSeed(i+1, mutation{}, true).dump()
		if first != second {
			t.Errorf("seed %d: %s", i+1, firstDifference(first, second))
		}
		return true
	})
}

// TestClocks lets the clocks of replicas jump by up to an hour, both ways, beside all other faults. What is counted in time then no longer
// holds, a quarantine above all; that a Lightning payment is paid once does not depend on a clock.
func TestClocks(t *testing.T) {
	var mutex sync.Mutex
	broken, jumps := map[string]int{}, append([]evil{{60, (*sim).jumpClock}}, evils...)
	inParallel(100, func(i uint64) bool {
		s := runSeed(i+1, mutation{evils: jumps}, false)
		mutex.Lock()
		defer mutex.Unlock()
		for _, f := range s.failures {
			switch {
			case f.oracle == "I1" && strings.HasPrefix(f.text, string(v1alpha1.RecordLightningPayment)), f.oracle == "I11", f.oracle == "I15", f.oracle == "panic":
				t.Errorf("seed %d: %s: %s", s.seed, f.oracle, f.text)
			default:
				broken[f.oracle]++
			}
		}
		return true
	})
	t.Logf("what depends on clocks and did not hold: %v", broken)
}

// TestOneRecordLost deletes the record of one Lightning payment again and again, beside all other faults: it is paid once all the same, and
// what becomes of it is known.
func TestOneRecordLost(t *testing.T) {
	var mutex sync.Mutex
	var sum stats
	losing := append([]evil{{60, (*sim).loseOneRecord}}, evils...)
	inParallel(400, func(i uint64) bool {
		s := runSeed(i+1, mutation{evils: losing}, false)
		mutex.Lock()
		defer mutex.Unlock()
		sum.add(s.judge.stats)
		for _, f := range s.failures {
			t.Errorf("seed %d: %s: %s", s.seed, f.oracle, f.text)
		}
		return !t.Failed()
	})
	t.Log(&sum)
	if sum.recordsLost < 50 {
		t.Error("too little was lost for this to mean anything")
	}
}

// TestExtras has all of what else only some seeds have in each of a few: 30 seeds of each kind, or SEEDS from FIRST on.
func TestExtras(t *testing.T) {
	count, asked := environment(t, "SEEDS")
	if !asked {
		count = 30
	}
	first, ok := environment(t, "FIRST")
	if !ok {
		first = 1
	}
	for name, tc := range map[string]struct {
		extra
		happened func(*stats) int
	}{
		"Settlements":              {settlements, func(sum *stats) int { return sum.settles }},
		"half of the records lost": {halves, func(sum *stats) int { return 4 * sum.recordsLost }},
		"signed by people":         {signatures, func(sum *stats) int { return sum.signed }},
		"renewals":                 {renewals, func(sum *stats) int { return sum.renewed }},
	} {
		t.Run(name, func(t *testing.T) {
			var mutex sync.Mutex
			var sum stats
			inParallel(count, func(i uint64) bool {
				s := runSeed(first+i, mutation{extra: tc.extra}, false)
				mutex.Lock()
				defer mutex.Unlock()
				sum.add(s.judge.stats)
				for _, f := range s.failures {
					t.Errorf("seed %d: %s: %s", s.seed, f.oracle, f.text)
				}
				return true
			})
			t.Log(&sum)
			if happened := uint64(tc.happened(&sum)); happened < count/2 {
				t.Errorf("it happened %d times: too little for this to mean anything", happened)
			}
		})
	}
}

func firstDifference(first, second string) string {
	one, other := strings.Split(first, "\n"), strings.Split(second, "\n")
	for i := range min(len(one), len(other)) {
		if one[i] != other[i] {
			return fmt.Sprintf("line %d:\n%s\n%s", i+1, one[i], other[i])
		}
	}
	return fmt.Sprintf("%d lines, then %d", len(one), len(other))
}
