package controller_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// TestOneFaultAtEachCall puts every fault that makes sense at every call of every operation, one at a time, on a real API server. The calls
// are those of a run without a fault; none of them is typed in. Each resource has to come to its end, and the oracles judge how.
func TestOneFaultAtEachCall(t *testing.T) {
	var table matrixTable
	cases := make(chan matrixCase)
	var workers sync.WaitGroup
	for range matrixWorkers {
		workers.Go(func() {
			for c := range cases {
				t.Run(c.name(), func(t *testing.T) { table.add(c, c.run(t)) })
			}
		})
	}
	for _, o := range operations() {
		var steps []step
		t.Run(o.name+"/without a fault", func(t *testing.T) { steps = stepsOf(t, o) })
		row := table.row(o, steps)
		for at := range steps {
			for _, f := range faultsAt(o, steps, at) {
				cases <- matrixCase{operation: o, steps: steps, at: at, fault: f, row: row}
			}
		}
	}
	close(cases)
	workers.Wait()
	t.Log(table.String())
}

// matrixWorkers is how many cases run at once: they wait for the disk of etcd more than they compute.
const matrixWorkers = 6

// stepsOf are the calls of an operation without a fault, in order.
func stepsOf(t *testing.T, o operation, change ...func(*trial)) []step {
	r := newTrial(t, o, nil, 0, change...)
	r.run()
	steps := numbered(r.steps)
	report(t, r.outcome())
	names := make([]string, len(steps))
	for i := range steps {
		names[i] = steps[i].call
	}
	t.Logf("%d calls:\n%s", len(steps), strings.Join(names, "\n"))
	return steps
}

// numbered says of each call of the service which of its kind it is.
func numbered(steps []step) []step {
	counted := map[sandbox.Operation]int{}
	for i := range steps {
		if place := &steps[i]; place.kube == nil {
			counted[place.operation]++
			place.nth = counted[place.operation]
		}
	}
	return steps
}

// matrixCase is one cell of the matrix.
type matrixCase struct {
	operation
	steps []step
	at    int
	fault *singleFault
	row   *matrixRow
	// change is what is other than in the trials of the matrix.
	change []func(*trial)
}

func (c matrixCase) name() string {
	return fmt.Sprintf("%s/call %d %s/%s", c.operation.name, c.at+1, strings.ReplaceAll(c.steps[c.at].call, "/", " "), c.fault.name)
}

func (c matrixCase) run(t *testing.T) *outcome {
	r := newTrial(t, c.operation, c.fault, c.at, c.change...)
	r.run()
	if c.fault.service != nil {
		r.struck = r.sandbox.Faults()[0].Hit > 0
	}
	if !r.struck {
		t.Fatalf("call %d was not made", c.at+1)
	}
	found := r.outcome()
	found.expected = expectedOf(c.operation, c.steps, c.fault, c.at)
	report(t, found)
	return found
}

func report(t *testing.T, o *outcome) {
	t.Helper()
	for _, v := range o.violations() {
		t.Errorf("%s: %s", v.oracle, v.text)
	}
}

// matrixTable counts what ran.
type matrixTable struct {
	mutex sync.Mutex
	rows  []*matrixRow
}

// matrixRow counts the cases of an operation.
type matrixRow struct {
	operation
	kubeCalls, serviceCalls int
	classes                 map[string]int
	cells                   map[string]bool
	ends                    map[string]int
	violations              int
	maxBegins, maxEnds      int
	maxIssued               int
	// unknown are the cells that ended so, over those with more begins or ends than G5 allows.
	unknown, over []string
}

func (m *matrixTable) row(o operation, steps []step) *matrixRow {
	row := &matrixRow{operation: o, classes: map[string]int{}, cells: map[string]bool{}, ends: map[string]int{}}
	for _, place := range steps {
		if place.kube != nil {
			row.kubeCalls++
		} else {
			row.serviceCalls++
		}
	}
	m.rows = append(m.rows, row)
	return row
}

func (m *matrixTable) add(c matrixCase, o *outcome) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	row := c.row
	row.classes[c.fault.class]++
	row.cells[fmt.Sprint(c.fault.class, c.at, c.fault.kind, c.fault.crash != nil && *c.fault.crash)] = true
	row.violations += len(o.violations())
	row.ends[o.verdict()]++
	if o.unknown {
		row.unknown = append(row.unknown, c.name())
	}
	begins, ends := o.calls()
	row.maxBegins, row.maxEnds, row.maxIssued = max(row.maxBegins, begins), max(row.maxEnds, ends), max(row.maxIssued, o.issued)
	if begins > maxBegins || ends > maxEnds {
		row.over = append(row.over, fmt.Sprintf("%s: %d begins, %d ends", c.name(), begins, ends))
	}
}

// verdict is how the resource ended, in one word.
func (o *outcome) verdict() string {
	switch {
	case o.object == nil:
		return "gone"
	case o.kind == "Wallet":
		return "Synced"
	}
	return phase(o.object)
}

// String prints what ran.
func (m *matrixTable) String() string {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\noperation\tK calls\tU calls\tK faults\tU faults\tcrashes\tsingles\tcells\tended\tbegins\tends\tissued\tviolations")
	sum := &matrixRow{operation: operation{name: "all"}, classes: map[string]int{}, cells: map[string]bool{}, ends: map[string]int{}}
	cells := 0
	line := func(row *matrixRow, cells int) {
		var ended []string
		for _, name := range slices.Sorted(maps.Keys(row.ends)) {
			ended = append(ended, fmt.Sprintf("%d %s", row.ends[name], name))
		}
		k, u, crashes := row.classes["K"], row.classes["U"], row.classes["crash"]
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t≤ %d\t≤ %d\t≤ %d\t%d\n", row.name, row.kubeCalls, row.serviceCalls, k, u, crashes,
			k+u+crashes, cells, strings.Join(ended, ", "), row.maxBegins, row.maxEnds, row.maxIssued, row.violations)
	}
	for _, row := range m.rows {
		line(row, len(row.cells))
		cells += len(row.cells)
		sum.kubeCalls, sum.serviceCalls, sum.violations = sum.kubeCalls+row.kubeCalls, sum.serviceCalls+row.serviceCalls, sum.violations+row.violations
		sum.maxBegins, sum.maxEnds, sum.maxIssued = max(sum.maxBegins, row.maxBegins), max(sum.maxEnds, row.maxEnds), max(sum.maxIssued, row.maxIssued)
		for class, n := range row.classes {
			sum.classes[class] += n
		}
		for name, n := range row.ends {
			sum.ends[name] += n
		}
		sum.over = append(sum.over, row.over...)
	}
	line(sum, cells)
	_ = table.Flush() // of a strings.Builder
	fmt.Fprintf(&out, "K is the API server, U the service. A cell is a call and a kind of fault; a kind may have several faults.\n")
	for _, row := range m.rows {
		for _, cell := range slices.Sorted(slices.Values(row.unknown)) {
			fmt.Fprintf(&out, "Unknown: %s\n", cell)
		}
	}
	for _, cell := range sum.over {
		fmt.Fprintf(&out, "more than %d begins or %d ends: %s\n", maxBegins, maxEnds, cell)
	}
	return out.String()
}

type zapLevel = zapcore.Level

func satsOf(sats int64) amount.Sat { return amount.Sat(sats) }

// scenario is a payment that is driven to its end under a fault.
type scenario struct {
	name    string
	profile sandbox.Profile
	make    func(w *world) client.Object
	// doubtful tells that the service is one of which nothing can be asked after a lost end.
	doubtful bool
}

func scenarios() []scenario {
	lightning := func(w *world) client.Object {
		return testkit.MakeLightningPayment("rent").Namespace(w.namespace).Invoice(w.supplierInvoice(5000)).Obj()
	}
	onchain := func(w *world) client.Object {
		address, err := w.sandbox.NewAddress()
		if err != nil {
			w.t.Fatal(err)
		}
		return testkit.MakeOnchainSend("payroll").Namespace(w.namespace).Address(address).AmountSats(20000).MaxFeeSats(5000).
			ValidUntil(w.clock.Now().Add(24 * time.Hour)).Obj()
	}
	return []scenario{
		{name: "lightning, documented service", profile: sandbox.Documented, make: lightning},
		{name: "lightning, reference service", profile: sandbox.Reference, make: lightning},
		{name: "on-chain, documented service", profile: sandbox.Documented, make: onchain, doubtful: true},
		{name: "on-chain, reference service", profile: sandbox.Reference, make: onchain},
	}
}

// moved are the movements out of the wallet that the scenario is about.
func moved(w *world) []sandbox.Entry {
	var out []sandbox.Entry
	for _, entry := range w.sandbox.Ledger() {
		if entry.Kind == sandbox.LightningOut || entry.Kind == sandbox.OnchainOut {
			out = append(out, entry)
		}
	}
	return out
}

func phaseOf(object client.Object) v1alpha1.PaymentPhase {
	switch o := object.(type) {
	case *v1alpha1.LightningPayment:
		return o.Status.Phase
	case *v1alpha1.OnchainSend:
		return o.Status.Phase
	}
	return ""
}

// fault is what happens at one boundary.
type fault struct {
	name string
	// at says what happens before or after the call, and only for calls of the kinds of K, U or both.
	at    func(after bool) error
	kinds string
}

func crash(when bool) func(bool) error {
	return func(after bool) error {
		if after == when {
			panic(crashed{})
		}
		return nil
	}
}

func lose(when bool) func(bool) error {
	return func(after bool) error {
		if after == when {
			return errInjected
		}
		return nil
	}
}

func faults() []fault {
	return []fault{
		{name: "crash before", at: crash(false), kinds: "KU"},
		{name: "crash after", at: crash(true), kinds: "KU"},
		{name: "error, no effect", at: lose(false), kinds: "K"},
		{name: "answer lost", at: lose(true), kinds: "KU"},
	}
}

// strike is a fault that hits one call of a world.
type strike struct {
	// path are the calls that were made.
	path []string
	hit  bool
}

// strike puts f at the n-th call from now on, counted from 0; -1 for at none. look, where it is not nil, is done at each boundary.
func (w *world) strike(n int, f fault, look func()) *strike {
	s := &strike{}
	w.boundary = func(call string, after bool) error {
		if look != nil {
			look()
		}
		if !after {
			s.path = append(s.path, call)
		}
		if s.hit || len(s.path) != n+1 {
			return nil
		}
		defer func() {
			if reason := recover(); reason != nil {
				s.hit = true
				panic(reason)
			}
		}()
		err := f.at(after)
		s.hit = s.hit || err != nil
		return err
	}
	w.t.Cleanup(func() {
		if n >= 0 && !s.hit {
			w.t.Errorf("call %d was not made", n+1)
		}
	})
	return s
}
