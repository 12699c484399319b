package simulation

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// rounds is how many pairs CI runs for each single fault: as many times it comes first, and second.
const rounds = 5

// tally counts what became of an operation under all its faults.
type tally struct {
	name                                              string
	kubeCalls, serviceCalls                           int
	kube, service, crashes                            int
	possible, runs, secondStruck, violations, unknown int
}

func (y *tally) singles() int { return y.kube + y.service + y.crashes }

// TestPairs runs each operation with every fault that it can meet, and with pairs of them: a sample in which each comes first and second,
// or all with PAIRS=all. PAIR=<operation>:<first>[:<second>] shows the timeline of one.
func TestPairs(t *testing.T) {
	if one := os.Getenv("PAIR"); one != "" {
		showPair(t, one)
		return
	}
	all := os.Getenv("PAIRS") == "all"
	var table strings.Builder
	fmt.Fprintln(&table, "| operation | calls K + U | K faults | U faults | crashes | singles | pairs | pairs run | second struck | Unknown | violations |")
	fmt.Fprintln(&table, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	started := time.Now()
	runs := 0
	for _, op := range operations {
		y := &tally{name: op.name}
		t.Run(op.name, func(t *testing.T) { runPairs(t, op, all, y) })
		runs += y.runs + y.singles()
		fmt.Fprintf(&table, "| %s | %d + %d | %d | %d | %d | %d | %d | %d | %d | %d | %d |\n", y.name, y.kubeCalls, y.serviceCalls, y.kube, y.service,
			y.crashes, y.singles(), y.possible, y.runs, y.secondStruck, y.unknown, y.violations)
	}
	t.Logf("%d runs in %s\n%s", runs, time.Since(started).Round(time.Second), table.String())
}

// pathOf is what an operation calls without faults, and what can go wrong there.
func pathOf(op operation, y *tally) ([]boundary, []strike, *sim) {
	s := runScript(op, scriptOf(nil), true)
	path := s.script.path
	for _, b := range path {
		if isServiceCall(b.call) {
			y.serviceCalls++
		} else {
			y.kubeCalls++
		}
	}
	kube, service, crashes := strikesAt(path)
	y.kube, y.service, y.crashes = len(kube), len(service), len(crashes)
	return path, append(append(kube, service...), crashes...), s
}

func runPairs(t *testing.T, op operation, all bool, y *tally) {
	path, singles, s := pathOf(op, y)
	if len(s.failures) > 0 {
		t.Fatalf("without any fault: %v\n%s", s.failures, strings.Join(s.trace, "\n"))
	}
	n := len(singles)
	y.possible = n * n
	// pairAt numbers the runs: the singles, then the pairs.
	pairAt := func(i int) (first, second int) {
		switch {
		case i < n:
			return i, -1
		case all:
			return (i - n) / n, (i - n) % n
		}
		first = (i - n) % n
		return first, (first + 1 + (i-n)/n*n/rounds) % n
	}
	y.runs = rounds * n
	if all {
		y.runs = n * n
	}
	var mutex sync.Mutex
	told := time.Now()
	done := 0
	inParallel(uint64(n+y.runs), func(i uint64) bool {
		first, second := pairAt(int(i))
		strikes := []strike{singles[first]}
		if second >= 0 {
			strikes = append(strikes, singles[second])
		}
		s := runScript(op, scriptOf(path, strikes...), false)
		mutex.Lock()
		defer mutex.Unlock()
		done++
		if second >= 0 && s.script.struck == 2 {
			y.secondStruck++
		}
		y.unknown += s.judge.stats.unknown
		s.check("script", s.script.struck > 0, "the fault did not strike")
		if len(s.failures) > 0 {
			y.violations++
			if y.violations <= 10 {
				t.Errorf("%s: %v\nagain, with its timeline: make pairs PAIR=%s",
					describe(path, strikes), s.failures, pairName(op, first, second))
			}
		}
		if now := time.Now(); now.Sub(told) > 30*time.Second {
			told = now
			t.Logf("%d of %d runs, %d violations", done, n+y.runs, y.violations)
		}
		return true
	})
}

func describe(path []boundary, strikes []strike) string {
	var parts []string
	for _, k := range strikes {
		parts = append(parts, fmt.Sprintf("%s at %d, %s", k, k.boundary, path[k.boundary].call))
	}
	return strings.Join(parts, ", then ")
}

func pairName(op operation, first, second int) string {
	if second < 0 {
		return fmt.Sprintf("%s:%d", op.name, first)
	}
	return fmt.Sprintf("%s:%d:%d", op.name, first, second)
}

// showPair runs what pairName names.
func showPair(t *testing.T, name string) {
	parts := strings.Split(name, ":")
	for _, op := range operations {
		if op.name != parts[0] {
			continue
		}
		path, singles, _ := pathOf(op, &tally{})
		var strikes []strike
		for _, part := range parts[1:] {
			number, err := strconv.Atoi(part)
			if err != nil || number >= len(singles) {
				t.Fatalf("%q names none of the %d faults", part, len(singles))
			}
			strikes = append(strikes, singles[number])
		}
		s := runScript(op, scriptOf(path, strikes...), true)
		t.Logf("%s\n%s", describe(path, strikes), strings.Join(s.trace, "\n"))
		for _, f := range s.failures {
			t.Errorf("%s: %s", f.oracle, f.text)
		}
		return
	}
	t.Fatalf("no operation %q", parts[0])
}
