package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPageIsUpToDate is what make verify checks too, for whoever runs the tests only.
func TestPageIsUpToDate(t *testing.T) {
	page := mustRead(t, "../../docs/conditions.md")
	groups, err := readGroups(mustRead(t, "../../api/v1alpha1/conditions.go"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := rewrite(page, groups)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(page)); diff != "" {
		t.Errorf("run make generate: docs/conditions.md (-generated +committed):\n%s", diff)
	}
}

func TestRewrite(t *testing.T) {
	const source = `package p

// Reasons of progress: with Ready=Unknown
// and Reconciling=True.
const (
	// ReasonOpen means that a | b. Or so.
	ReasonOpen = "Open"
	// ReasonPending is the first of all.
	ReasonPending = "Pending"
)

const unrelated = 1 + 1
`
	groups, err := readGroups([]byte(strings.ReplaceAll(source, "\nconst unrelated = 1 + 1\n", "")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := rewrite([]byte("before\n"+beginMark+"old\n"+endMark+"after\n"), groups)
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n" + beginMark + `
## Reasons of progress

With Ready=Unknown and Reconciling=True.

| name | meaning |
| --- | --- |
| ` + "`Open`" + ` | A \| b. Or so. |
| ` + "`Pending`" + ` | The first of all. |

` + endMark + "after\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("rewrite (-want +got):\n%s", diff)
	}
	if _, err := readGroups([]byte(source)); err == nil {
		t.Error("a constant without a comment was read")
	}
}

func TestReadGroupsRefuses(t *testing.T) {
	for name, source := range map[string]string{
		"a block without a comment":                "package p\nconst (\n\t// A is a.\n\tA = \"A\"\n)",
		"a constant without a comment":             "package p\n// Block.\nconst (\n\tA = \"A\"\n)",
		"a comment that is about another name":     "package p\n// Block.\nconst (\n\t// B is a.\n\tA = \"A\"\n)",
		"a constant that is no text":               "package p\n// Block.\nconst (\n\t// A is a.\n\tA = 1\n)",
		"a constant that repeats the one before":   "package p\n// Block.\nconst (\n\t// A is a.\n\tA = iota\n\t// B is b.\n\tB\n)",
		"two constants that share a comment":       "package p\n// Block.\nconst (\n\t// A is a.\n\tA, B = \"A\", \"B\"\n)",
		"a file that is not Go":                    "conditions",
		"a comment of a block that is no sentence": "package p\n// Block\nconst (\n\t// A is a.\n\tA = \"A\"\n)",
	} {
		t.Run(name, func(t *testing.T) {
			if groups, err := readGroups([]byte(source)); err == nil {
				t.Errorf("got %v, want an error", groups)
			}
		})
	}
}

func TestRewriteNeedsItsMarks(t *testing.T) {
	for name, page := range map[string]string{
		"no mark":              "text\n",
		"no mark of the end":   beginMark,
		"no mark of the start": endMark,
		"the marks swapped":    endMark + beginMark,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := rewrite([]byte(page), nil); err == nil {
				t.Errorf("got %q, want an error", got)
			}
		})
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
