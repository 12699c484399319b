package model

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// networks are the two kinds of payment: whether they are on-chain.
var networks = map[string]bool{"Lightning": false, "on-chain": true}

// bound returns how many faults the searches allow: 2, or MODEL_FAULTS.
func bound(t *testing.T) int {
	text, ok := os.LookupEnv("MODEL_FAULTS")
	if !ok {
		return 2
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("MODEL_FAULTS=%q is no number of faults", text)
	}
	return n
}

// TestModel visits every state that up to two faults lead to, and finds none that breaks the promise.
func TestModel(t *testing.T) {
	for name, onchain := range networks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := newSearch(config{onchain: onchain, faults: supported, withdrawals: true}, bound(t)).run()
			if broken := found.violated(); len(broken) > 0 {
				t.Errorf("broken: %v", broken)
			}
			t.Log(found.report())
		})
	}
}

// TestKey packs and unpacks every state that needs no fault, under all names that it can have.
func TestKey(t *testing.T) {
	for name, onchain := range networks {
		found := newSearch(config{onchain: onchain, faults: supported, withdrawals: true}, 0).run()
		for _, k := range found.keys {
			s := k.unpack()
			for i := range s.reps {
				s.reps[i].pay ^= 1
			}
			s.pays[0], s.pays[1] = s.pays[1], s.pays[0]
			s.reps[0], s.reps[1] = s.reps[1], s.reps[0]
			s.slot = renamed(s.slot, 1)
			if s.leaseOp != free {
				s.leasePay ^= 1
			}
			if got := s.pack(); got != k {
				t.Fatalf("%s: the state %+v has two keys, %x and %x", name, s, k, got)
			}
		}
	}
}

// TestLateAnswer sees that the model knows doubts that end by themselves: by an answer that comes late, and by the claim of the id that it brought,
// which another manager finds.
func TestLateAnswer(t *testing.T) {
	found := newSearch(config{onchain: true, faults: crash, withdrawals: true}, 1).run()
	ended := map[string]int{}
	for _, k := range found.keys {
		s := k.unpack()
		for _, step := range found.next(&s, false) {
			if s.pays[step.pay].phase == unknown && step.to.pays[step.pay].phase == submitted {
				ended[step.what]++
			}
		}
	}
	for _, how := range []string{"writes what came of the end", "finds the id of the send claimed"} {
		if ended[how] == 0 {
			t.Errorf("no doubt ends where a manager %s: %v", how, ended)
		}
	}
	t.Log(ended)
}

// TestRuleRemoved switches off one rule at a time and finds what it is there for, with no more faults than that takes.
func TestRuleRemoved(t *testing.T) {
	type want struct {
		onchain     bool
		faults      fault
		withdrawals bool
		broken      invariant
	}
	for rule, wants := range map[uint][]want{
		1: {{withdrawals: true, broken: falseFailure}, {onchain: true, faults: restart, broken: paidTwice}},
		2: {{withdrawals: true, broken: falseFailure}, {onchain: true, faults: restart, broken: paidTwice}},
		3: {{withdrawals: true, broken: falseFailure}, {onchain: true, faults: restart, broken: paidTwice}},
		4: {{faults: late, withdrawals: true, broken: falseFailure}, {onchain: true, faults: restart, broken: paidTwice}},
		// An on-chain send cannot be looked up before it has an id, so that its absence is never evidence.
		5: {{withdrawals: true, broken: falseFailure}},
		6: {{faults: foreignBegin, broken: falseSuccess}, {onchain: true, faults: foreignBegin, broken: falseSuccess}},
		7: {{faults: lie, withdrawals: true, broken: falseFailure}, {onchain: true, faults: lostAnswer | restart, broken: paidTwice}},
		// A Lightning payment can always be looked up, so that there is nothing to guess.
		8: {{onchain: true, faults: restart, broken: paidTwice}},
	} {
		t.Run(fmt.Sprintf("R%d", rule), func(t *testing.T) {
			for _, w := range wants {
				found := newSearch(config{onchain: w.onchain, faults: w.faults, withdrawals: w.withdrawals, without: 1 << rule}, 2)
				found.until = []invariant{w.broken}
				if found.run(); found.count[w.broken] == 0 {
					t.Errorf("on-chain %v: never %q", w.onchain, w.broken)
				}
				t.Logf("on-chain %v: %s", w.onchain, found.report())
			}
		})
	}
}

// TestShortcut takes simplifications that look harmless, and finds why they are not.
func TestShortcut(t *testing.T) {
	for name, tc := range map[string]struct {
		config config
		broken invariant
	}{
		"the answer to a repeated end frees the wallet": {
			config{shortcuts: repetitionFrees, onchain: true, faults: late | restart}, paidTwice,
		},
		"the answer to a repeated end frees the wallet, and another payment is deleted": {
			config{shortcuts: repetitionFrees, onchain: true, faults: late, withdrawals: true}, falseFailure,
		},
		"an absence counts while the call may still land": {
			config{shortcuts: earlyAbsence, faults: late | lie, withdrawals: true}, falseFailure,
		},
		"an absence is dated when it is weighed": {
			config{shortcuts: lateWeighing, faults: late | lie, withdrawals: true}, falseFailure,
		},
		"an answer that only a person has is waited for": {
			config{shortcuts: waiting, onchain: true, faults: lostAnswer | restart}, deadEnd,
		},
	} {
		t.Run(name, func(t *testing.T) {
			found := newSearch(tc.config, 2)
			found.until = []invariant{tc.broken}
			if found.run(); found.count[tc.broken] == 0 {
				t.Errorf("never %q", tc.broken)
			}
			t.Log(found.report())
		})
	}
}

// TestBeyond says what the protocol is not made for, and how far it then holds.
func TestBeyond(t *testing.T) {
	for name, tc := range map[string]struct {
		config config
		faults int
		broken []invariant
	}{
		// The node refuses to pay a hash twice. But what was given up for good can still be paid by the frozen call.
		"a frozen manager, Lightning": {config{faults: supported | pause}, bound(t), []invariant{falseFailure}},
		"a frozen manager and any other fault than a restart, on-chain": {
			config{faults: (supported | pause) &^ restart, onchain: true}, 2, nil,
		},
		"a frozen manager and a deletion, on-chain": {
			config{faults: pause, onchain: true, withdrawals: true}, 1, []invariant{falseFailure},
		},
		"a frozen manager and a restart, on-chain": {
			config{faults: pause | restart, onchain: true}, 2, []invariant{paidTwice, falseFailure},
		},
		"a foreign client that also ends, Lightning": {
			config{faults: foreignBegin | foreignEnd | restart}, 2, []invariant{falseFailure},
		},
		"a foreign client that also ends, and a restart, on-chain": {
			config{faults: foreignBegin | foreignEnd | restart, onchain: true}, 2, []invariant{paidTwice, falseFailure},
		},
		"a second copy of an answered call, Lightning": {config{faults: straggler | restart}, 2, []invariant{falseFailure}},
		"a second copy of an answered call, and a restart, on-chain": {
			config{faults: straggler | restart, onchain: true}, 2, []invariant{paidTwice, falseFailure},
		},
		"something on the way that sends a call again, Lightning": {config{faults: resent | restart, withdrawals: true}, 2, nil},
		"something on the way that sends a call again, and a restart, on-chain": {
			config{faults: resent | restart, onchain: true}, 2, []invariant{paidTwice, falseFailure},
		},
	} {
		t.Run(name, func(t *testing.T) {
			found := newSearch(tc.config, tc.faults).run()
			if diff := cmp.Diff(tc.broken, found.violated()); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
			t.Log(found.report())
		})
	}
}
