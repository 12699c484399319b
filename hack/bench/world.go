package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// service is a sandbox over HTTP that takes its time for each answer, on top of what it needs.
type service struct {
	*sandbox.Server
	url  string
	http *http.Server
}

var seeds atomic.Uint64

// newService starts a sandbox whose nodes have money for everything that a run wants paid.
func (b *bench) newService() (*service, error) {
	const plenty = 1_000_000_000_000
	s := &service{Server: sandbox.New(sandbox.Options{
		Seed: seeds.Add(1), ChannelSats: plenty, Timing: sandbox.Timing{Payment: 100 * time.Millisecond},
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	handler := s.Handler()
	s.url = "http://" + listener.Addr().String()
	s.http = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(b.latency)
		handler.ServeHTTP(w, r)
	})}
	go func() { _ = s.http.Serve(listener) }() // until close
	return s, nil
}

func (s *service) close() error { return s.http.Close() }

// calls counts the calls by operation, from the one numbered from on.
func (s *service) calls(from int) map[string]int {
	counts := map[string]int{}
	for _, request := range s.Requests()[from:] {
		counts[string(request.Operation)]++
	}
	return counts
}

// tracker knows when each resource of a kind and namespace came to be in each phase, from the events of a watch.
type tracker struct {
	stop    context.CancelFunc
	mutex   sync.Mutex
	created map[string]time.Time
	reached map[string]map[string]time.Time
	problem error
}

// track watches a kind in a namespace, whose resources are created with its method create.
func (c *cluster) track(ctx context.Context, list client.ObjectList, namespace string) (*tracker, error) {
	ctx, stop := context.WithCancel(ctx)
	watcher, err := c.api.Watch(ctx, list, client.InNamespace(namespace))
	if err != nil {
		stop()
		return nil, err
	}
	t := &tracker{stop: stop, created: map[string]time.Time{}, reached: map[string]map[string]time.Time{}}
	go func() {
		for {
			t.follow(watcher)
			// The API server ends watches as it likes, and all those of a CRD that is new. One that begins tells of everything first.
			if watcher, err = c.api.Watch(ctx, list, client.InNamespace(namespace)); err != nil {
				t.mutex.Lock()
				t.problem = err
				t.mutex.Unlock()
				return
			}
		}
	}()
	return t, nil
}

// follow notes the events of a watch until it ends.
func (t *tracker) follow(watcher watch.Interface) {
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		object, ok := event.Object.(client.Object)
		if !ok {
			return // an error, which ends the watch
		}
		t.note(object, time.Now())
	}
}

func (t *tracker) note(object client.Object, now time.Time) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	phases := t.reached[object.GetName()]
	if phases == nil {
		phases = map[string]time.Time{}
		t.reached[object.GetName()] = phases
	}
	if phase := phaseOf(object); phases[phase].IsZero() {
		phases[phase] = now
	}
}

func phaseOf(object client.Object) string {
	switch o := object.(type) {
	case *v1alpha1.LightningInvoice:
		return string(o.Status.Phase)
	case *v1alpha1.LightningPayment:
		return string(o.Status.Phase)
	}
	return ""
}

// create creates n objects as fast as the API server takes them.
func (t *tracker) create(ctx context.Context, c *cluster, n int, object func(i int) client.Object) error {
	return parallel(ctx, n, 16, func(ctx context.Context, i int) error {
		made := object(i)
		t.mutex.Lock()
		t.created[made.GetName()] = time.Now()
		t.mutex.Unlock()
		return c.api.Create(ctx, made)
	})
}

// await waits until n resources have been in a phase. One that came to be in a phase of failed is an error.
func (t *tracker) await(ctx context.Context, n int, phase string, failed ...string) error {
	return until(ctx, fmt.Sprintf("%d are %s", n, phase), func() (bool, error) {
		t.mutex.Lock()
		defer t.mutex.Unlock()
		there := 0
		for name, phases := range t.reached {
			if _, ok := phases[phase]; ok {
				there++
			}
			for _, wrong := range failed {
				if _, ok := phases[wrong]; ok {
					return false, fmt.Errorf("%s is %s", name, wrong)
				}
			}
		}
		return there >= n, t.problem
	})
}

// took returns how long it took from when a resource was created until it was in a phase, in milliseconds, and how long it took from the
// first that was created to the last that was there.
func (t *tracker) took(phase string) (each []float64, all time.Duration) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	var first, last time.Time
	for name, created := range t.created {
		reached := t.reached[name][phase]
		each = append(each, float64(reached.Sub(created))/float64(time.Millisecond))
		if first.IsZero() || created.Before(first) {
			first = created
		}
		if reached.After(last) {
			last = reached
		}
	}
	return each, last.Sub(first)
}

// meter is what a program and its surroundings had used when it was started.
type meter struct {
	b       *bench
	program *program
	service *service
	use     use
	machine machine
	mark    int64
	calls   int
	started time.Time
}

// meter begins to measure what a program uses and asks.
func (b *bench) meter(ctx context.Context, p *program, s *service) (m *meter, err error) {
	m = &meter{b: b, program: p, service: s}
	if m.use, err = p.use(ctx, false); err != nil {
		return nil, err
	}
	if err := m.machine.now(); err != nil {
		return nil, err
	}
	if m.mark, err = b.cluster.mark(); err != nil {
		return nil, err
	}
	if s != nil {
		m.calls = len(s.Requests())
	}
	m.started = time.Now()
	return m, nil
}

// spent is what was used and asked since a meter was started.
type spent struct {
	seconds          float64
	cpuSeconds       float64
	use              use
	busy             float64 // share of the machine
	controlPlaneCPUs float64 // processors that etcd and kube-apiserver took
	asked            asked
	calls            map[string]int
}

func (m *meter) read(ctx context.Context) (s spent, err error) {
	s.seconds = time.Since(m.started).Seconds()
	now := machine{}
	if err := now.now(); err != nil {
		return s, err
	}
	s.busy = (now.busy - m.machine.busy) / (now.total - m.machine.total)
	s.controlPlaneCPUs = (now.controlPlane - m.machine.controlPlane) / s.seconds
	if s.use, err = m.program.use(ctx, true); err != nil {
		return s, err
	}
	s.cpuSeconds = s.use.cpuSeconds - m.use.cpuSeconds
	if m.service != nil {
		s.calls = m.service.calls(m.calls)
	}
	s.asked, err = m.b.cluster.since(m.mark, m.program.account)
	return s, err
}

// perResource are the counts of s for each of n resources, by what was called and asked.
func (s spent) perResource(n int) []measure {
	measures := []measure{
		{name: "kube-apiserver writes each, without events", value: float64(s.asked.writes()) / float64(n)},
		{name: "calls of the service each", value: float64(total(s.calls)) / float64(n)},
	}
	for _, what := range slices.Sorted(maps.Keys(s.asked)) {
		measures = append(measures, measure{name: "kube-apiserver: " + what, unit: "each", value: float64(s.asked[what]) / float64(n)})
	}
	for _, operation := range slices.Sorted(maps.Keys(s.calls)) {
		measures = append(measures, measure{name: "service: " + operation, unit: "each", value: float64(s.calls[operation]) / float64(n)})
	}
	return measures
}

// writes is how many of the requests write, events aside.
func (a asked) writes() int {
	writes := 0
	for what, n := range a {
		switch verb, resource, _ := strings.Cut(what, " "); {
		case resource == "events":
		case verb == "create", verb == "update", verb == "patch", verb == "delete", verb == "deletecollection":
			writes += n
		}
	}
	return writes
}

// reads is how many of the requests read.
func (a asked) reads() int { return a.of("get") + a.of("list") }

// of is how many of the requests have a verb.
func (a asked) of(verb string) int {
	count := 0
	for what, n := range a {
		if v, _, _ := strings.Cut(what, " "); v == verb {
			count += n
		}
	}
	return count
}

func total(counts map[string]int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

// resources are the figures of memory and processor of s, the processor for each of n resources.
func (s spent) resources(n int) []measure {
	const mega = 1 << 20
	return []measure{
		{name: "CPU of the manager each", unit: "ms", value: 1000 * s.cpuSeconds / float64(n)},
		{name: "memory of the manager, resident, at most", unit: "MiB", value: s.use.peakBytes / mega},
		{name: "memory of the manager, live heap", unit: "MiB", value: s.use.liveBytes / mega},
		{name: "machine busy", unit: "%", value: 100 * s.busy},
		{name: "CPUs that etcd and kube-apiserver took", value: s.controlPlaneCPUs},
	}
}

// latencies are the percentiles of how long each took.
func latencies(what string, milliseconds []float64) []measure {
	var measures []measure
	for _, percent := range []float64{50, 95, 99} {
		measures = append(measures, measure{
			name: fmt.Sprintf("%s, p%.0f", what, percent), unit: "ms", value: percentile(milliseconds, percent),
		})
	}
	return measures
}
