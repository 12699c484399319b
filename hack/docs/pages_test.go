package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// pages returns the hand-written pages by their path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	tutorials, err := filepath.Glob("../../docs/tutorials/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{"README.md": string(mustRead(t, "../../README.md")), "CONTRIBUTING.md": string(mustRead(t, "../../CONTRIBUTING.md"))}
	for _, file := range slices.Concat(files, tutorials) {
		found[strings.TrimPrefix(filepath.ToSlash(file), "../../")] = string(mustRead(t, file))
	}
	delete(found, "docs/api-reference.md")
	return found
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fence   = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	// word is a name of the API as the first cell of a row.
	word = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
)

func TestLinksLeadSomewhere(t *testing.T) {
	all := pages(t)
	for path, page := range all {
		for _, found := range link.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := path
			if target != "" {
				file = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(filepath.Join("../..", file)); err != nil {
				t.Errorf("%s: link to %s: %v", path, found[1], err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(all[file]), anchor) {
				t.Errorf("%s: link to %s: %s has no such heading", path, found[1], file)
			}
		}
	}
}

// anchors are the headings of a page as links name them.
func anchors(page string) []string {
	var found []string
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ', r == '-':
				return '-'
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
				return r
			}
			return -1
		}, strings.ToLower(match[1]))
		found = append(found, anchor)
	}
	return found
}

// TestManifestsAreAccepted gives the manifests of all pages to an API server.
func TestManifestsAreAccepted(t *testing.T) {
	_, c, stop, err := testkit.StartControlPlane()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stopping the control plane: %v", err)
		}
	})
	strict := serializer.NewCodecFactory(testkit.Scheme(), serializer.EnableStrict).UniversalDeserializer()
	seen := 0
	for path, page := range pages(t) {
		for _, block := range fence.FindAllStringSubmatch(page, -1) {
			if block[1] != "yaml" || strings.Contains(block[2], "kustomize.config.k8s.io") {
				continue
			}
			for document := range bytes.SplitSeq([]byte(block[2]), []byte("\n---\n")) {
				object, _, err := strict.Decode(document, nil, nil)
				if err != nil {
					t.Errorf("%s: %v in:\n%s", path, err, document)
					continue
				}
				seen++
				declared := object.(client.Object)
				declared.SetNamespace("default")
				if err := c.Create(t.Context(), declared, client.DryRunAll); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("there are no manifests on the pages")
	}
}

// TestTablesAreComplete holds the tables of each kind's page against its Go type.
func TestTablesAreComplete(t *testing.T) {
	all := pages(t)
	for path, sections := range map[string]map[string]any{
		"docs/wallet.md":           {"Spec": v1alpha1.WalletSpec{}, "Status": v1alpha1.WalletStatus{}},
		"docs/lightninginvoice.md": {"Spec": v1alpha1.LightningInvoiceSpec{}, "Status": v1alpha1.LightningInvoiceStatus{}},
		"docs/lightningpayment.md": {"Spec": v1alpha1.LightningPaymentSpec{}, "Status": v1alpha1.LightningPaymentStatus{}},
		"docs/onchainsend.md":      {"Spec": v1alpha1.OnchainSendSpec{}, "Status": v1alpha1.OnchainSendStatus{}},
		"docs/depositaddress.md":   {"Spec": v1alpha1.DepositAddressSpec{}, "Status": v1alpha1.DepositAddressStatus{}},
		"docs/paymentapproval.md":  {"Spec": v1alpha1.PaymentApprovalSpec{}},
		"docs/manual-signing.md":   {"Spec": v1alpha1.PaymentSignatureSpec{}},
		"docs/settlement.md":       {"Spec": v1alpha1.SettlementSpec{}, "Status": v1alpha1.SettlementStatus{}},
		"docs/statement.md":        {"Spec": v1alpha1.StatementSpec{}, "Status": v1alpha1.StatementStatus{}},
		"docs/paymentrecord.md":    {"Spec": v1alpha1.PaymentRecordSpec{}, "Journal": v1alpha1.PaymentJournal{}},
	} {
		for title, of := range sections {
			t.Run(path+" "+title, func(t *testing.T) {
				want := fields(reflect.TypeOf(of), title == "Spec")
				got := words(section(all[path], title))
				slices.Sort(want)
				slices.Sort(got)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("fields of the type, fields of the table (-type +table):\n%s", diff)
				}
			})
		}
	}
}

// fields returns the JSON names of a struct's fields; nested, where deep is true, as a path to each leaf.
func fields(of reflect.Type, deep bool) []string {
	var found []string
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		kind := field.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		if !deep || kind.Kind() != reflect.Struct || kind.PkgPath() == reflect.TypeFor[metav1.Time]().PkgPath() {
			found = append(found, name)
			continue
		}
		for _, inner := range fields(kind, deep) {
			found = append(found, name+"."+inner)
		}
	}
	return found
}

// TestReasonsExist holds the reasons on the kinds' pages against the constants, and finds those that no page explains.
func TestReasonsExist(t *testing.T) {
	groups, err := readGroups(mustRead(t, "../../api/v1alpha1/conditions.go"))
	if err != nil {
		t.Fatal(err)
	}
	known, explained := map[string]bool{}, map[string]bool{}
	for _, g := range groups {
		for _, c := range g.constants {
			known[c.value] = true
		}
	}
	all := pages(t)
	for _, path := range []string{
		"docs/wallet.md", "docs/lightninginvoice.md", "docs/lightningpayment.md", "docs/onchainsend.md", "docs/depositaddress.md", "docs/settlement.md",
		"docs/statement.md",
	} {
		for _, reason := range words(section(all[path], "Conditions and reasons")) {
			explained[reason] = true
			if !known[reason] {
				t.Errorf("%s: there is no reason %s", path, reason)
			}
		}
	}
	for _, g := range groups {
		if !strings.HasPrefix(g.title, "Reasons of") || strings.Contains(g.title, "events") {
			continue
		}
		for _, c := range g.constants {
			if !explained[c.value] && c.value != v1alpha1.ReasonPending {
				t.Errorf("no kind's page says what to do about %s", c.value)
			}
		}
	}
	if len(explained) == 0 {
		t.Error("the pages have no reasons")
	}
}

// TestPhasesAreExplained holds the tables of phases against the API's list of them.
func TestPhasesAreExplained(t *testing.T) {
	for page, kind := range map[string]string{
		"docs/lightninginvoice.md": "lightninginvoices", "docs/lightningpayment.md": "lightningpayments", "docs/onchainsend.md": "onchainsends",
	} {
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(mustRead(t, "../../config/crd/bases/payments.utexo.com_"+kind+".yaml"), &definition); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, value := range definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"].Properties["phase"].Enum {
			want = append(want, strings.Trim(string(value.Raw), `"`))
		}
		if diff := cmp.Diff(want, words(section(pages(t)[page], "What happens"))); diff != "" || len(want) == 0 {
			t.Errorf("%s: phases of the API, phases of the table (-API +table):\n%s", page, diff)
		}
	}
}

// TestAlertsAreExplained finds alerts that the runbook does not explain, or that are none.
func TestAlertsAreExplained(t *testing.T) {
	var want []string
	for _, match := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(string(mustRead(t, "../../config/prometheus/rules.yaml")), -1) {
		want = append(want, match[1])
	}
	got := words(section(pages(t)["docs/runbook.md"], "First look"))
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("alerts of config/prometheus, alerts of the runbook (-config +runbook):\n%s", diff)
	}
}

// TestFlagsExist holds the flags that the pages name against the programs'.
func TestFlagsExist(t *testing.T) {
	for page, program := range map[string]string{"docs/install.md": "manager", "docs/signer.md": "utexo-signer"} {
		source := string(mustRead(t, "../../cmd/"+program+"/main.go"))
		named := map[string]bool{}
		for _, match := range regexp.MustCompile("`--([a-z-]+)`").FindAllStringSubmatch(pages(t)[page], -1) {
			named[match[1]] = true
		}
		if len(named) == 0 {
			t.Errorf("%s names no flags", page)
		}
		for _, name := range slices.Sorted(maps.Keys(named)) {
			if !strings.HasPrefix(name, "zap-") && !strings.Contains(source, fmt.Sprintf("%q", name)) {
				t.Errorf("%s: %s has no flag --%s", page, program, name)
			}
		}
	}
}

// named is a test that a page names: a link to its file, or its name alone.
var named = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`(?:\\]\\(([^)\\s]+)\\))?")

// TestNamedTestsExist holds the tests that the pages name against the sources. On the page about security each is a link to its file.
func TestNamedTestsExist(t *testing.T) {
	sources := map[string]string{}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, "_test.go") {
			sources[filepath.Clean(path)] = string(mustRead(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	everything := strings.Join(slices.Collect(maps.Values(sources)), "\n")
	seen := 0
	for path, page := range pages(t) {
		for _, found := range named.FindAllStringSubmatch(page, -1) {
			name, target := found[1], found[2]
			source := everything
			switch {
			case target != "":
				source = sources[filepath.Join("../..", filepath.Dir(path), target)]
			case path == "docs/security.md":
				t.Errorf("%s: %s is no link to its file", path, name)
			}
			if path == "docs/security.md" {
				seen++
			}
			if !strings.Contains("\n"+source, "\nfunc "+name+"(") {
				t.Errorf("%s: there is no test %s %s", path, name, target)
			}
		}
	}
	if seen == 0 {
		t.Error("docs/security.md names no tests")
	}
}

// section returns what follows a heading of the second level, up to the next.
func section(page, title string) string {
	_, rest, _ := strings.Cut(page, "\n## "+title+"\n")
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// words returns the first cells of the rows of tables, where they are one name in backticks.
func words(text string) []string {
	var found []string
	for _, match := range word.FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}
