package main

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 101)
	for i := range hundred {
		hundred[len(hundred)-1-i] = float64(i)
	}
	for name, tc := range map[string]struct {
		values  []float64
		percent float64
		want    float64
	}{
		"of none":                 {nil, 50, 0},
		"of one":                  {[]float64{7}, 99, 7},
		"the middle of three":     {[]float64{3, 1, 2}, 50, 2},
		"the middle of four":      {[]float64{4, 1, 3, 2}, 50, 2.5},
		"the 99th of a hundred":   {hundred, 99, 99},
		"the lowest":              {hundred, 0, 0},
		"the highest":             {hundred, 100, 100},
		"the 95th between values": {[]float64{0, 10}, 95, 9.5},
	} {
		t.Run(name, func(t *testing.T) {
			if got := percentile(tc.values, tc.percent); math.Abs(got-tc.want) > 1e-9 {
				t.Errorf("it is %v, want %v", got, tc.want)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{
		0: "0", 3: "3", 12.04: "12.0", 1.234: "1.23", 0.5678: "0.568", 123.4: "123", 999: "999", 1000: "1,000", 1234567.8: "1,234,568",
		-1500: "-1,500",
	} {
		if got := number(value); got != want {
			t.Errorf("%v is written %s, want %s", value, got, want)
		}
	}
}

func TestFigures(t *testing.T) {
	got := figures([][]measure{
		{{name: "share", value: 0.9, target: "≥ 0.8"}, {name: "took", unit: "ms", value: 5}},
		{{name: "share", value: 0.7, target: "≥ 0.8"}, {name: "took", unit: "s", value: 1}},
		{{name: "share", value: 0.8, target: "≥ 0.8"}, {name: "took", unit: "ms", value: 7}},
	})
	want := []Figure{
		{Name: "share", Target: "≥ 0.8", Median: 0.8, Runs: []float64{0.9, 0.7, 0.8}},
		{Name: "took", Unit: "ms", Median: 6, Runs: []float64{5, 7}},
		{Name: "took", Unit: "s", Median: 1, Runs: []float64{1}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
}

// sample is a report with a table of each form.
func sample() *Report {
	return &Report{
		Started: time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC), Version: "v1", Machine: "a machine", Settings: "Settings",
		Results: []Result{
			{Scenario: "invoices", About: "What it is.", Seconds: 12.3, Figures: []Figure{
				{Name: "share", Target: "≥ 0.8", Median: 0.8, Runs: []float64{0.9, 0.7, 0.8}},
				{Name: "took", Unit: "ms", Median: 5, Runs: []float64{5}},
			}},
			{Scenario: hotScenario, About: "Benchmarks.", Figures: []Figure{
				{Name: "bolt11 Decode", Unit: "ns/op", Median: 170_000, Runs: []float64{170_000}},
				{Name: "bolt11 Decode", Unit: "B/op", Median: 2456, Runs: []float64{2456}},
				{Name: "utexo List", Unit: "ns/op", Median: 5, Runs: []float64{5}},
			}},
		},
	}
}

const samplePage = `Measured on 2026-01-02, of v1, on: a machine. Settings.

### invoices

What it is. (12 s.)

| figure | median | runs | target |
| --- | --- | --- | --- |
| share | 0.800 | 3: 0.700 to 0.900 | ≥ 0.8 |
| took | 5 ms | 1 |  |

### hot

Benchmarks. (0 s.)

| benchmark | ns/op | B/op |
| --- | --- | --- |
| bolt11 Decode | 170,000 | 2,456 |
| utexo List | 5 |  |
`

func TestMarkdown(t *testing.T) {
	if diff := cmp.Diff(samplePage, sample().markdown()); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
}

func TestReportIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	if err := sample().writeJSON(path); err != nil {
		t.Fatal(err)
	}
	read, err := readReport(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), read); diff != "" {
		t.Errorf("read back (-written +read):\n%s", diff)
	}
}

func TestPage(t *testing.T) {
	text := "# Title\n\n" + beginMarker + "\nold\n" + endMarker + "\n\nThe end.\n"
	want := "# Title\n\n" + beginMarker + "\n\nnew\n\n" + endMarker + "\n\nThe end.\n"
	for range 2 { // written twice it is the same
		parsed, err := parsePage([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if text = string(parsed.with("new\n")); text != want {
			t.Errorf("the page is %q, want %q", text, want)
		}
	}
	for _, broken := range []string{"# Title\n", beginMarker + "\nold\n", endMarker + "\n"} {
		if _, err := parsePage([]byte(broken)); err == nil {
			t.Errorf("%q has a place for a report", broken)
		}
	}
}

// TestDocsHaveAPlaceForTheReport keeps the lines in the page that -docs writes between.
func TestDocsHaveAPlaceForTheReport(t *testing.T) {
	if err := sample().writeDocs(filepath.Join(t.TempDir(), "missing.md")); err == nil {
		t.Error("a page that is not there was written")
	}
	if _, err := readPage(filepath.Join("..", "..", "docs", "performance.md")); err != nil {
		t.Error(err)
	}
}

func TestCountAudit(t *testing.T) {
	const us, them = userPrefix + "utexo-operator", userPrefix + "yardstick"
	line := func(user, verb, resource, subresource string) string {
		return fmt.Sprintf(`{"kind":"Event","verb":%q,"user":{"username":%q},"objectRef":{"resource":%q,"subresource":%q}}`+"\n",
			verb, user, resource, subresource)
	}
	log := line(us, "patch", "lightninginvoices", "status") + line(us, "patch", "lightninginvoices", "status") +
		line(us, "create", "events", "") + line(us, "watch", "wallets", "") + line(them, "patch", "lightninginvoices", "status") +
		line(us, "get", "wallets", "") + line(us, "get", "", "") +
		strings.TrimSuffix(line(us, "get", "secrets", ""), "\n") // is being written
	got, err := countAudit(strings.NewReader(log), us)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(asked{"patch lightninginvoices/status": 2, "create events": 1, "get wallets": 1}, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if got.writes() != 2 || got.reads() != 1 {
		t.Errorf("%d writes and %d reads, want 2 and 1", got.writes(), got.reads())
	}
	if _, err := countAudit(strings.NewReader("{\n"), us); err == nil {
		t.Error("a log that is no JSON was counted")
	}
}

func TestSumMetrics(t *testing.T) {
	got := sumMetrics([]byte(`# HELP up whatever
up 1
passes{controller="wallet",result="ok"} 100
passes{controller="a",result="ok"} 2
passes{controller="a",result="an error"} 3e0
`), `controller="wallet"`)
	if diff := cmp.Diff(map[string]float64{"up": 1, "passes": 5}, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestProcess(t *testing.T) {
	// The name of a program may hold anything.
	seconds, err := cpuSeconds("42 (a) b) S 1 42 42 0 -1 4194560 0 0 0 0 250 50 0 0 20 0 9 0 100 1 1")
	if err != nil || seconds != 3 {
		t.Errorf("it took %v s, %v, want 3", seconds, err)
	}
	if _, err := cpuSeconds("42 (a) S 1"); err == nil {
		t.Error("a stat file that is cut was read")
	}
	status := []byte("Name:\ta\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
	if peak, missing := kilobytes(status, "VmHWM:"), kilobytes(status, "VmSwap:"); peak != 2<<20 || missing != 0 {
		t.Errorf("VmHWM is %v, VmSwap %v", peak, missing)
	}
}

func TestParseBenchmarks(t *testing.T) {
	got, err := parseBenchmarks("bolt11", `goos: linux
BenchmarkDecode/guide-1-2         	     200	    160000 ns/op	    2552 B/op	      30 allocs/op
BenchmarkList-2    	      20	1081325723 ns/op	   8.55 MB/s	  10106592 live-B
PASS
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []measure{
		{name: "bolt11 Decode/guide-1", unit: "ns/op", value: 160_000},
		{name: "bolt11 Decode/guide-1", unit: "B/op", value: 2552},
		{name: "bolt11 Decode/guide-1", unit: "allocs/op", value: 30},
		{name: "bolt11 List", unit: "ns/op", value: 1_081_325_723},
		{name: "bolt11 List", unit: "MB/s", value: 8.55},
		{name: "bolt11 List", unit: "live-B", value: 10_106_592},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(measure{})); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
	if _, err := parseBenchmarks("bolt11", "PASS\n"); err == nil {
		t.Error("no benchmark was found, and nobody was told")
	}
}

func TestChoose(t *testing.T) {
	all, err := choose("")
	if err != nil || len(all) != len(scenarios) {
		t.Errorf("%d scenarios, %v, want all", len(all), err)
	}
	two, err := choose("hot,invoices")
	if err != nil || len(two) != 2 || two[0].name != "hot" || two[1].name != "invoices" {
		t.Errorf("got %v, %v", two, err)
	}
	if _, err := choose("invoices,moon"); err == nil || !strings.Contains(err.Error(), `"moon"`) {
		t.Errorf("a scenario that does not exist: %v", err)
	}
}
