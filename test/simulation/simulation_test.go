package simulation

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// runSeed runs one seed and returns what is left of it.
func runSeed(seed uint64, broken mutation, tracing bool) *sim {
	s := newSim(seed, broken, tracing)
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

// TestSeeds runs as many seeds as fit into 25 seconds, and 60 at least. SEEDS says how many instead, FIRST from which on; SEED runs one and
// shows its timeline.
func TestSeeds(t *testing.T) {
	if seed, ok := environment(t, "SEED"); ok {
		s := runSeed(seed, mutation{}, true)
		t.Log("\n" + strings.Join(s.trace, "\n"))
		for _, f := range s.failures {
			t.Errorf("%s: %s", f.oracle, f.text)
		}
		return
	}
	count, budget := uint64(60), 25*time.Second
	if asked, ok := environment(t, "SEEDS"); ok {
		count, budget = asked, 0
	}
	first := uint64(1)
	if asked, ok := environment(t, "FIRST"); ok {
		first = asked
	}
	started := time.Now()
	seed, failed := first, 0
	var sum stats
	for ; seed < first+count || time.Since(started) < budget; seed++ {
		s := runSeed(seed, mutation{}, false)
		sum.add(s.judge.stats)
		if len(s.failures) > 0 {
			t.Errorf("seed %d: %s", seed, report(seed))
			if failed++; failed == 10 {
				t.Fatal("ten seeds failed, which is enough")
			}
		}
	}
	elapsed := time.Since(started)
	t.Log(&sum)
	t.Logf("%d seeds in %s: %.1f seeds a second", seed-first, elapsed.Round(time.Millisecond), float64(seed-first)/elapsed.Seconds())
}

// TestSameSeedSameTrace runs seeds twice and compares all that they leave behind, byte for byte: timeline, ledger and objects.
func TestSameSeedSameTrace(t *testing.T) {
	for seed := uint64(1); seed <= 50; seed++ {
		first, second := runSeed(seed, mutation{}, true).dump(), runSeed(seed, mutation{}, true).dump()
		if first == second {
			continue
		}
		one, other := strings.Split(first, "\n"), strings.Split(second, "\n")
		for i := range min(len(one), len(other)) {
			if one[i] != other[i] {
				t.Fatalf("seed %d, line %d:\n%s\n%s", seed, i+1, one[i], other[i])
			}
		}
		t.Fatalf("seed %d: %d lines, then %d", seed, len(one), len(other))
	}
}
