package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

func aboutHot(*bench) string {
	return "Go benchmarks of what every payment and every look at one takes, and of reading a list of 30,000 payments, 10 MB, of which " +
		"nothing is kept."
}

// hotBenchmarks are the packages whose benchmarks are run, and which of them.
var hotBenchmarks = []struct{ pkg, pattern string }{
	{"./internal/bolt11", "^BenchmarkDecode(Kept)?$"},
	{"./internal/psbtcheck", "^BenchmarkInspect$"},
	{"./internal/signer", "^BenchmarkSign(HundredInputs)?$"},
	{"./internal/payment", "^BenchmarkDecide$"},
	{"./internal/invoice", "^BenchmarkDecide$"},
	{"./internal/utexo", "^BenchmarkEachPayment$"},
}

// runHot runs the Go benchmarks of the hot paths.
func (b *bench) runHot(ctx context.Context) ([]measure, error) {
	var measures []measure
	for _, hot := range hotBenchmarks {
		command := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench="+hot.pattern, "-benchmem", hot.pkg)
		command.Dir = b.root
		out, err := command.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %s", hot.pkg, err, out)
		}
		found, err := parseBenchmarks(strings.TrimPrefix(hot.pkg, "./internal/"), string(out))
		if err != nil {
			return nil, err
		}
		measures = append(measures, found...)
	}
	return measures, nil
}

// parseBenchmarks reads the lines of benchmarks that go test prints, for example "BenchmarkDecode/tip-2  100  23 ns/op  8 B/op".
func parseBenchmarks(pkg, out string) ([]measure, error) {
	var measures []measure
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if at := strings.LastIndexByte(name, '-'); at > 0 { // the number of processors
			name = name[:at]
		}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("reading %q: %w", strings.TrimSpace(line), err)
			}
			measures = append(measures, measure{name: pkg + " " + name, unit: fields[i+1], value: value})
		}
	}
	if len(measures) == 0 {
		return nil, errors.New("there is no benchmark in " + pkg)
	}
	return measures, nil
}
