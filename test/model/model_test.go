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

// TestRuleRemoved switches off one rule at a time and finds what it is there for.
func TestRuleRemoved(t *testing.T) {
	type want struct {
		onchain, withdrawals bool
		broken               []invariant
	}
	lightning := want{withdrawals: true, broken: []invariant{falseFailure}}
	for rule, wants := range map[uint][]want{
		1: {lightning, {onchain: true, broken: []invariant{paidTwice}}},
		2: {lightning, {onchain: true, broken: []invariant{paidTwice}}},
		3: {lightning, {onchain: true, broken: []invariant{paidTwice}}},
		4: {lightning, {onchain: true, broken: []invariant{paidTwice}}},
		5: {lightning}, // there is nothing to look an on-chain send up by, so its absence is never evidence
		6: {{broken: []invariant{falseSuccess}}, {onchain: true, broken: []invariant{falseSuccess}}},
		7: {lightning, {onchain: true, broken: []invariant{paidTwice}}},
		8: {{onchain: true, broken: []invariant{paidTwice}}}, // a Lightning payment is never unresolved
	} {
		t.Run(fmt.Sprintf("R%d", rule), func(t *testing.T) {
			for _, w := range wants {
				found := newSearch(config{onchain: w.onchain, faults: supported, withdrawals: w.withdrawals, without: 1 << rule}, 2)
				found.until = w.broken
				found.run()
				for _, one := range w.broken {
					if found.count[one] == 0 {
						t.Errorf("on-chain %v: never %s", w.onchain, one)
					}
				}
				t.Logf("on-chain %v: %s", w.onchain, found.report())
			}
		})
	}
}

// TestShortcut takes simplifications that look harmless, and finds why they are not.
func TestShortcut(t *testing.T) {
	for name, tc := range map[string]struct {
		take    shortcut
		onchain bool
		broken  []invariant
	}{
		"the answer to a repeated end frees the wallet": {repetitionFrees, true, []invariant{paidTwice, falseFailure}},
		"an absence counts while the call may land":     {earlyAbsence, false, []invariant{falseFailure}},
		"an absence is dated when it is weighed":        {lateWeighing, false, []invariant{falseFailure}},
	} {
		t.Run(name, func(t *testing.T) {
			found := newSearch(config{onchain: tc.onchain, faults: supported, withdrawals: true, shortcuts: tc.take}, 2)
			found.until = tc.broken
			if diff := cmp.Diff(tc.broken, found.run().violated()); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
			t.Log(found.report())
		})
	}
}

// TestBeyond says what the protocol does not cover, and how far it then goes.
func TestBeyond(t *testing.T) {
	for name, tc := range map[string]struct {
		config config
		faults int
		broken []invariant
	}{
		"a frozen manager, Lightning, where nothing is given up": {config{faults: supported | pause, endless: true}, 2, nil},
		"a frozen manager, Lightning":                            {config{faults: supported | pause, withdrawals: true}, 1, []invariant{falseFailure}},
		"a frozen manager alone, on-chain":                       {config{faults: supported | pause, onchain: true}, 1, nil},
		"a frozen manager and a restart, on-chain": {
			config{faults: pause | restart, onchain: true}, 2, []invariant{paidTwice},
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
