package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// measure is one figure of one run.
type measure struct {
	name, unit string
	value      float64
	// target is what the figure is to reach, in words; empty where it has none.
	target string
}

// Figure is a measure over all runs.
type Figure struct {
	Name   string `json:"name"`
	Unit   string `json:"unit"`
	Target string `json:"target,omitempty"`
	// Median is that of Runs, which are in the order in which they were made.
	Median float64   `json:"median"`
	Runs   []float64 `json:"runs"`
}

// Result is what a scenario came to.
type Result struct {
	Scenario string `json:"scenario"`
	// About says in words what was measured, with the sizes.
	About   string   `json:"about"`
	Seconds float64  `json:"seconds"`
	Figures []Figure `json:"figures"`
}

// Report is all that a benchmark found.
type Report struct {
	Started  time.Time `json:"started"`
	Version  string    `json:"version"`
	Machine  string    `json:"machine"`
	Settings string    `json:"settings"`
	Results  []Result  `json:"results"`
}

// figures puts the measures of runs together by their names, in the order of the first run that has them.
func figures(runs [][]measure) []Figure {
	var all []Figure
	for _, run := range runs {
		for _, m := range run {
			i := slices.IndexFunc(all, func(f Figure) bool { return f.Name == m.name && f.Unit == m.unit })
			if i < 0 {
				i = len(all)
				all = append(all, Figure{Name: m.name, Unit: m.unit, Target: m.target})
			}
			all[i].Runs = append(all[i].Runs, m.value)
		}
	}
	for i := range all {
		all[i].Median = percentile(all[i].Runs, 50)
	}
	return all
}

// percentile returns the value below which percent of values lie, between two of them where it falls there; 0 of none.
func percentile(values []float64, percent float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	place := percent / 100 * float64(len(sorted)-1)
	below := int(place)
	if below+1 == len(sorted) {
		return sorted[below]
	}
	return sorted[below] + (place-float64(below))*(sorted[below+1]-sorted[below])
}

// number writes value with three digits that count, or all those before the point.
func number(value float64) string {
	switch size := math.Abs(value); {
	case value == math.Trunc(value) && size < 1000, size >= 100 && size < 1000:
		return fmt.Sprintf("%.0f", value)
	case size >= 1000:
		return grouped(int64(math.Round(value)))
	case size >= 10:
		return fmt.Sprintf("%.1f", value)
	case size >= 1:
		return fmt.Sprintf("%.2f", value)
	}
	return fmt.Sprintf("%.3f", value)
}

// grouped writes a number with a comma before each three digits.
func grouped(value int64) string {
	if value < 0 {
		return "-" + grouped(-value)
	}
	text := fmt.Sprint(value)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// markdown writes the report as docs/performance.md shows it.
func (r *Report) markdown() string {
	var out strings.Builder
	fmt.Fprintf(&out, "Measured on %s, of %s, on: %s. %s.\n", r.Started.UTC().Format(time.DateOnly), r.Version, r.Machine, r.Settings)
	for _, result := range r.Results {
		fmt.Fprintf(&out, "\n### %s\n\n%s (%s s.)\n\n", result.Scenario, result.About, number(math.Round(result.Seconds)))
		if result.Scenario == hotScenario {
			pivot(&out, result.Figures)
			continue
		}
		out.WriteString("| figure | median | runs | target |\n| --- | --- | --- | --- |\n")
		for _, f := range result.Figures {
			span := fmt.Sprint(len(f.Runs))
			if low, high := slices.Min(f.Runs), slices.Max(f.Runs); low != high {
				span += ": " + number(low) + " to " + number(high)
			}
			fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", f.Name, strings.TrimSpace(number(f.Median)+" "+f.Unit), span, f.Target)
		}
	}
	return out.String()
}

// pivot writes figures with a row for each name and a column for each unit.
func pivot(out *strings.Builder, all []Figure) {
	var names, units []string
	cells := map[[2]string]string{}
	for _, f := range all {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
		if !slices.Contains(units, f.Unit) {
			units = append(units, f.Unit)
		}
		cells[[2]string{f.Name, f.Unit}] = number(f.Median)
	}
	fmt.Fprintf(out, "| benchmark | %s |\n|%s\n", strings.Join(units, " | "), strings.Repeat(" --- |", len(units)+1))
	for _, name := range names {
		fmt.Fprintf(out, "| %s |", name)
		for _, unit := range units {
			fmt.Fprintf(out, " %s |", cells[[2]string{name, unit}])
		}
		out.WriteString("\n")
	}
}

// The lines of docs/performance.md between which the report stands.
const (
	beginMarker = "<!-- what make bench found begins here -->"
	endMarker   = "<!-- what make bench found ends here -->"
)

// page is a page of the docs in which a report stands: what comes before and after it.
type page struct{ before, after []byte }

// readPage reads the page at path.
func readPage(path string) (*page, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found, err := parsePage(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return found, nil
}

func parsePage(text []byte) (*page, error) {
	before, rest, found := bytes.Cut(text, []byte(beginMarker+"\n"))
	_, after, ends := bytes.Cut(rest, []byte(endMarker))
	if !found || !ends {
		return nil, errors.New("the page lacks the lines between which the report stands")
	}
	return &page{before, after}, nil
}

// with returns the page with text between its markers.
func (p *page) with(text string) []byte {
	return slices.Concat(p.before, []byte(beginMarker+"\n\n"+text+"\n"+endMarker), p.after)
}

// writeDocs puts the report into the page at path.
func (r *Report) writeDocs(path string) error {
	page, err := readPage(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, page.with(r.markdown()), 0o644)
}

// writeJSON keeps the report in the file at path.
func (r *Report) writeJSON(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// readReport reads what writeJSON wrote.
func readReport(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	report := &Report{}
	if err := json.Unmarshal(text, report); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return report, nil
}
