package simulation

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// runSeed runs one seed and returns it.
func runSeed(seed uint64, broken mutation, tracing bool) *sim {
	s := newSim(seed, broken, tracing)
	s.play()
	return s
}

// report is what a person needs to go on with a seed that failed.
func report(seed uint64) string {
	s := runSeed(seed, mutation{}, true)
	var out strings.Builder
	for _, f := range s.failures {
		fmt.Fprintf(&out, "%s: %s\n", f.oracle, f.text)
	}
	fmt.Fprintf(&out, "again: SEED=%d go test ./test/simulation -run TestSeeds -v\n", seed)
	return out.String()
}

// TestSeeds runs as many seeds as fit into 45 seconds, and 100 at least; SEEDS says how many instead, SEED which one, with its timeline.
func TestSeeds(t *testing.T) {
	if text := os.Getenv("SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s := runSeed(seed, mutation{}, true)
		t.Log("\n" + strings.Join(s.trace, "\n"))
		for _, f := range s.failures {
			t.Errorf("%s: %s", f.oracle, f.text)
		}
		return
	}
	started := time.Now()
	first, count, budget := uint64(1), uint64(100), 45*time.Second
	if text := os.Getenv("SEEDS"); text != "" {
		asked, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		count, budget = asked, 0
	}
	if text := os.Getenv("FIRST"); text != "" {
		asked, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first = asked
	}
	seed, failed := first, 0
	for ; seed < first+count || time.Since(started) < budget; seed++ {
		if s := runSeed(seed, mutation{}, false); len(s.failures) > 0 {
			t.Errorf("seed %d:\n%s", seed, report(seed))
			if failed++; failed == 20 {
				break
			}
		}
	}
	elapsed := time.Since(started)
	t.Logf("%d seeds in %s: %.1f seeds a second", seed-first, elapsed.Round(time.Millisecond), float64(seed-first)/elapsed.Seconds())
}
