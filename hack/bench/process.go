package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/utexo/utexo-operator/internal/testkit"
)

// program is a manager under measurement: the operator's, or what it is compared with.
type program struct {
	*testkit.Process
	account                string
	metrics, probes, pprof string
	started                time.Time
	profiled               chan error
}

// use is what a program had used at some time.
type use struct {
	cpuSeconds float64
	// residentBytes is what it takes of the machine's memory, peakBytes the most it took.
	residentBytes, peakBytes float64
	// liveBytes is what is in use of the Go heap once all garbage is gone.
	liveBytes float64
}

// start starts the program at path as an account, and waits until it is ready, which is when its caches are filled.
func (b *bench) start(ctx context.Context, account, path string, arguments ...string) (*program, error) {
	p := &program{account: account, profiled: make(chan error, 1)}
	for _, address := range []*string{&p.metrics, &p.probes, &p.pprof} {
		free, err := freeAddress()
		if err != nil {
			return nil, err
		}
		*address = free
	}
	kubeconfig := filepath.Join(b.dir, account+".kubeconfig")
	if err := testkit.WriteKubeconfig(kubeconfig, b.cluster.accounts[account]); err != nil {
		return nil, err
	}
	p.started = time.Now()
	var err error
	p.Process, err = testkit.StartProcess(filepath.Join(b.dir, account+".log"), path, append(arguments,
		"--kubeconfig="+kubeconfig, "--metrics-bind-address="+p.metrics, "--health-probe-bind-address="+p.probes, "--pprof-bind-address="+p.pprof,
		fmt.Sprintf("--concurrency=%d", b.concurrency), fmt.Sprintf("--kube-api-qps=%d", b.apiQPS), fmt.Sprintf("--kube-api-burst=%d", 2*b.apiQPS))...)
	if err != nil {
		return nil, err
	}
	err = until(ctx, account+" is ready", func() (bool, error) {
		select {
		case <-p.Done:
			return false, fmt.Errorf("it ended; its log is %s", p.Log)
		default:
		}
		_, err := get(ctx, "http://"+p.probes+"/readyz")
		return err == nil, nil
	})
	if err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// operator starts the operator's manager for a namespace.
func (b *bench) operator(ctx context.Context, namespace string) (*program, error) {
	return b.start(ctx, testkit.OperatorAccount, filepath.Join(b.dir, "manager"),
		"--watch-namespaces="+namespace, "--metrics-insecure", "--leader-elect=false")
}

// yardstick starts what the operator is compared with, in one of its roles.
func (b *bench) yardstick(ctx context.Context, role, namespace, url string) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.start(ctx, yardstickAccount, self, role, "--namespace="+namespace, "--url="+url)
}

// end asks the program to end and waits until it has.
func (p *program) end() { p.Stop(30 * time.Second) }

// use reads what the program has used. It has its garbage collected first where live is wanted.
func (p *program) use(ctx context.Context, live bool) (use, error) {
	var u use
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return u, err
	}
	if u.cpuSeconds, err = cpuSeconds(string(stat)); err != nil {
		return u, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return u, err
	}
	u.residentBytes, u.peakBytes = kilobytes(status, "VmRSS:"), kilobytes(status, "VmHWM:")
	if live {
		if _, err := get(ctx, "http://"+p.pprof+"/debug/pprof/heap?gc=1"); err != nil {
			return u, err
		}
		metrics, err := p.scrape(ctx)
		if err != nil {
			return u, err
		}
		u.liveBytes = metrics["go_memstats_heap_alloc_bytes"]
	}
	return u, nil
}

// cpuSeconds reads the processor time of a process, in user and kernel mode, from its stat file in /proc.
func cpuSeconds(stat string) (float64, error) {
	const ticksPerSecond = 100                                          // on every architecture that Go runs Linux on
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // before it is a name, which may hold anything
	if len(fields) < 13 {
		return 0, errors.New("the stat file of a process is too short")
	}
	user, err := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond, errors.Join(err, err2)
}

// kilobytes reads a size from the status file of a process in /proc; 0 where it is not there.
func kilobytes(status []byte, name string) float64 {
	for line := range bytes.Lines(status) {
		if fields := strings.Fields(string(line)); len(fields) == 3 && fields[0] == name {
			value, _ := strconv.ParseFloat(fields[1], 64) // the kernel writes numbers
			return value * 1024
		}
	}
	return 0
}

// scrape reads the program's metrics, the series of a name added up, but for those of the Wallets' controller, which looks at each Wallet in
// its interval whatever else there is.
func (p *program) scrape(ctx context.Context) (map[string]float64, error) {
	text, err := get(ctx, "http://"+p.metrics+"/metrics")
	if err != nil {
		return nil, err
	}
	return sumMetrics(text, `controller="wallet"`), nil
}

// sumMetrics adds up the series of each name in the text format of Prometheus, but for those that have a label.
func sumMetrics(text []byte, without string) map[string]float64 {
	sums := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || strings.HasPrefix(line, "#") || strings.Contains(line[:at], without) {
			continue
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			continue
		}
		name, _, _ := strings.Cut(line[:at], "{")
		sums[name] += value
	}
	return sums
}

// profile takes a CPU profile from now on, for as long as -profile-seconds says, where -profile names a directory.
func (b *bench) profile(ctx context.Context, p *program, scenario string) {
	if b.profiles == "" {
		p.profiled <- nil
		return
	}
	go func() {
		url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.pprof, int(b.profileFor.Seconds()))
		p.profiled <- save(ctx, url, filepath.Join(b.profiles, scenario+"-cpu.pprof"))
	}()
}

// profileEnd waits for the CPU profile and takes one of the heap.
func (b *bench) profileEnd(ctx context.Context, p *program, scenario string) error {
	err := <-p.profiled
	if b.profiles == "" || err != nil {
		return err
	}
	return save(ctx, "http://"+p.pprof+"/debug/pprof/heap?gc=1", filepath.Join(b.profiles, scenario+"-heap.pprof"))
}

func save(ctx context.Context, url, path string) error {
	content, err := get(ctx, url)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// get fetches url, which has to be answered with 200.
func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is answered with %s", url, response.Status)
	}
	return content, err
}

// freeAddress is an address on this machine at which nobody listens.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// machine is how busy the machine and the control plane have been, in seconds of a processor.
type machine struct{ busy, total, controlPlane float64 }

// now reads how busy the machine is.
func (m *machine) now() error {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(stat), "\n")
	for i, field := range strings.Fields(first)[1:] {
		value, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return err
		}
		if i < 8 { // what follows is in the others already
			m.total += value / 100
		}
		if i < 8 && i != 3 && i != 4 { // idle, and waiting for a disk
			m.busy += value / 100
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return err
	}
	for _, path := range processes {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat))
		if ours := len(fields) > 3 && fields[3] == fmt.Sprint(os.Getpid()); ours && (fields[1] == "(kube-apiserver)" || fields[1] == "(etcd)") {
			seconds, err := cpuSeconds(string(stat))
			if err != nil {
				return err
			}
			m.controlPlane += seconds
		}
	}
	return nil
}
