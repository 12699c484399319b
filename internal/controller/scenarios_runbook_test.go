package controller_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// runbook is the page that a person reads at three in the morning, and the cluster that it is about.
type runbook struct {
	*world
	root string
	text string
	// kubeconfigs are files by the name of the person that they are of.
	kubeconfigs map[string]string
}

// newRunbook makes the world of the page's own names, in which the admission policy is installed.
func newRunbook(t *testing.T) *runbook {
	t.Helper()
	root, err := testkit.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	b := &runbook{world: newService(t, sandbox.Documented), root: root, text: string(text), kubeconfigs: map[string]string{}}
	b.api = apiClient // people write with kubectl
	b.operator, b.namespace = testkit.OperatorNamespace, "treasury"
	for _, name := range []string{b.operator, b.namespace} {
		b.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	b.makeSecret("main", map[string]string{"mnemonic": mnemonic})
	b.create(b.mainWallet(sandbox.Documented))
	b.start()
	b.syncWallet()

	b.enroll("admin", apiConfig)
	b.run("admin", "kubectl apply --server-side -k config/admission; kubectl apply --server-side -f config/rbac/editor_role.yaml")
	t.Cleanup(func() { // the policy is for the whole API server
		for _, kind := range []string{"validatingadmissionpolicybinding", "validatingadmissionpolicy"} {
			if out, err := b.shell(context.Background(), "admin", "kubectl delete "+kind+" utexo-resolve"); err != nil {
				t.Errorf("removing the admission policy: %v: %s", err, out)
			}
		}
	})
	b.account("clerk")
	b.account("resolver")
	b.bind("utexo-resolver", "Role", b.operator, "resolver")
	return b
}

// account makes a person who may declare payments in the team's namespace.
func (b *runbook) account(name string) {
	b.t.Helper()
	b.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: name}})
	config, err := testkit.AccountConfig(b.t.Context(), b.api, apiConfig, b.namespace, name)
	if err != nil {
		b.t.Fatal(err)
	}
	b.enroll(name, config)
	b.bind("utexo-editor", "ClusterRole", b.namespace, name)
}

func (b *runbook) enroll(name string, config *rest.Config) {
	b.t.Helper()
	b.kubeconfigs[name] = filepath.Join(b.t.TempDir(), name)
	if err := testkit.WriteKubeconfig(b.kubeconfigs[name], config); err != nil {
		b.t.Fatal(err)
	}
}

func (b *runbook) bind(role, kind, namespace, name string) {
	b.t.Helper()
	b.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role + "-" + name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: b.namespace, Name: name}},
	})
}

// commands are those of a section of the page, in order. A part is what the wanted ones hold; all are where there is none.
func (b *runbook) commands(section string, parts ...string) string {
	b.t.Helper()
	_, after, found := strings.Cut(b.text, "\n## "+section+"\n")
	if !found {
		b.t.Fatalf("the runbook has no section %q", section)
	}
	body, _, _ := strings.Cut(after, "\n## ")
	var all []string
	for line := range strings.Lines(body) {
		if command, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "$ "); ok {
			all = append(all, command)
		}
	}
	var wanted []string
	for _, part := range parts {
		count := len(wanted)
		for _, command := range all {
			if strings.Contains(command, part) {
				wanted = append(wanted, command)
			}
		}
		if len(wanted) == count {
			b.t.Fatalf("section %q has no command with %q:\n%s", section, part, strings.Join(all, "\n"))
		}
	}
	return strings.Join(wanted, "\n")
}

// shell runs commands as somebody.
func (b *runbook) shell(ctx context.Context, who, commands string) (string, error) {
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	shell.Dir = b.root
	shell.Env = append(os.Environ(), "KUBECONFIG="+b.kubeconfigs[who], "PATH="+testkit.AssetsDirectory(b.root)+":"+os.Getenv("PATH"))
	out, err := shell.CombinedOutput()
	return string(out), err
}

func (b *runbook) run(who, commands string) string {
	b.t.Helper()
	out, err := b.shell(b.t.Context(), who, commands)
	if err != nil {
		b.t.Fatalf("%s: %v\n%s\n%s", who, err, commands, out)
	}
	return out
}

// doubt declares a send and lets its outcome become unknown: the answer to the call that moves money is lost, or the call itself.
func (b *runbook) doubt(name string, sats int64, lost sandbox.FaultKind) *v1alpha1.OnchainSend {
	b.t.Helper()
	b.fault(sandbox.Fault{Kind: lost, Operation: sandbox.OnchainEnd})
	send := made(b.world, b.send(name, sats).Obj())
	b.rest(send)
	b.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, nil})
	return send
}

// step runs a part of a test that goes on from where the one before it ended.
func (b *runbook) step(t *testing.T, name string, do func(t *testing.T)) {
	passed := t.Run(name, func(t *testing.T) {
		parent := b.t
		defer func() { b.t = parent }()
		b.t = t
		do(t)
	})
	if !passed {
		t.FailNow()
	}
}

// What the page has the reader do, up to the word itself.
var readKey = []string{".message}", "REC=", "-o yaml", "KEY="}

// TestRunbookOutcomeUnknown does what the page says about an outcome that is unknown, command by command.
func TestRunbookOutcomeUnknown(t *testing.T) {
	b := newRunbook(t)
	const section = "OutcomeUnknown"
	steps := func(name, word string) string {
		return strings.ReplaceAll(b.commands(section, append(readKey, word)...), "refund-77", name)
	}

	paid := b.doubt("refund-77", 30000, sandbox.FaultDropAnswer)
	lost := b.doubt("refund-79", 30001, sandbox.FaultDropRequest)
	b.paid(1)

	b.step(t, "by somebody without the verb", func(t *testing.T) {
		out, err := "", error(nil)
		for n := range 100 { // a policy takes a moment to be in force, and lets a word that stands there already stay
			out, err = b.shell(t.Context(), "clerk", fmt.Sprintf(
				"kubectl annotate ocsend refund-77 -n treasury --overwrite payments.utexo.com/resolve=nobody:%d:notpaid", n))
			if err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err == nil || !strings.Contains(out, "utexo-resolver") {
			t.Fatalf("got %v, want to be told of the role: %s", err, out)
		}
		record := b.record(paid)
		out, err = b.shell(t.Context(), "clerk", fmt.Sprintf(
			"kubectl annotate ocsend refund-77 -n treasury --overwrite payments.utexo.com/resolve=%s:%d:notpaid", record.UID, record.Journal.Attempt))
		if err == nil {
			t.Errorf("somebody without the verb said what happened: %s", out)
		}
		b.rest(paid)
		b.want(paid, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, nil})
	})

	b.step(t, "with a word that does not fit", func(t *testing.T) {
		record := b.record(paid)
		other := b.record(lost)
		for name, word := range map[string]string{
			"of another record":  fmt.Sprintf("%s:%d:notpaid", other.UID, record.Journal.Attempt),
			"of another attempt": fmt.Sprintf("%s:%d:notpaid", record.UID, record.Journal.Attempt+1),
			"of an earlier one":  fmt.Sprintf("%s:%d:notpaid", record.UID, record.Journal.Attempt-1),
			"without a proof":    fmt.Sprintf("%s:%d:paid:", record.UID, record.Journal.Attempt),
			"with a typo":        fmt.Sprintf("%s:%d:not-paid", record.UID, record.Journal.Attempt),
		} {
			b.run("resolver", "kubectl annotate ocsend refund-77 -n treasury --overwrite payments.utexo.com/resolve="+word)
			b.rest(paid)
			if b.want(paid, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, nil}); t.Failed() {
				t.Errorf("a word %s was taken", name)
			}
		}
		b.quiet(paid)
	})

	b.step(t, "paid", func(t *testing.T) {
		if out := b.run("resolver", steps("refund-77", ":paid:")); !strings.Contains(out, "amountSats: 30000") {
			t.Errorf("the record does not show what the page says that it does: %s", out)
		}
		b.rest(paid)
		b.want(paid, verdict{"Succeeded", v1alpha1.ReasonSucceeded, []string{"resolved by a person as paid"}})
		shown := b.run("clerk", "kubectl get ocsend refund-77 -n treasury --no-headers") // step 5, without the table's head
		if fields := strings.Fields(shown); len(fields) < 3 || fields[0] != "refund-77" || fields[1] != "Succeeded" || fields[2] != "30000" {
			t.Errorf("kubectl shows %s", shown)
		}
		// It is final.
		b.run("resolver", b.commands(section, "REC=", "KEY=", ":notpaid"))
		b.rest(paid)
		b.want(paid, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		b.quiet(paid)
	})

	b.step(t, "not paid", func(t *testing.T) {
		b.run("resolver", steps("refund-79", ":notpaid"))
		b.rest(lost)
		b.want(lost, verdict{"Failed", v1alpha1.ReasonPaymentFailed, []string{"not paid"}})
		b.quiet(lost)
		b.paid(1)
		equal := again(lost, b.namespace, "refund-80")
		equal.SetAnnotations(nil)
		b.create(equal)
		b.rest(equal)
		b.want(equal, verdict{"Failed", v1alpha1.ReasonOrderCollision, nil})
		instead := again(equal, b.namespace, "refund-81").(*v1alpha1.OnchainSend)
		*instead.Spec.AmountSats++
		b.create(instead)
		b.rest(instead)
		b.want(instead, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		b.paid(2)
	})

	b.step(t, "after the resource is gone", func(t *testing.T) {
		send := b.doubt("refund-78", 30010, sandbox.FaultDropAnswer)
		b.delete(send)
		if b.pass(send); !b.exists(send) {
			t.Fatal("its outcome is not known, and it is gone")
		}
		b.run("resolver", b.commands("A deletion that waits", "deletion-policy="))
		if b.pass(send); b.exists(send) {
			t.Fatal("it was told not to wait, and stays")
		}
		send.SetAnnotations(nil)
		b.recreate(send)
		b.rest(send)
		b.want(send, verdict{"Unknown", v1alpha1.ReasonOutcomeUnknown, nil})
		b.run("resolver", steps("refund-78", ":paid:"))
		b.rest(send)
		b.want(send, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		b.paid(3)
		if b.ends() != 4 {
			t.Errorf("%d calls that move money, want one for each of four sends", b.ends())
		}
	})

	b.step(t, "and the cluster was restored", func(t *testing.T) {
		late := made(b.world, b.send("late", 40000).Suspend().Obj())
		b.pass(late)
		b.run("admin", b.commands("The cluster was restored", "kubectl delete payrec"))
		b.start()
		b.syncWallet()
		b.change(late, func() { late.Spec.Suspend = false })
		b.reach(late, v1alpha1.ReasonJournalLost)
		b.want(late, verdict{"Pending", v1alpha1.ReasonJournalLost, []string{"spec.acknowledgedEpoch"}})
		b.rest(paid)
		b.want(paid, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		waiting := b.run("admin", b.commands("JournalLost", "kubectl get ocsend -A"))
		if rows := strings.Split(strings.TrimSpace(waiting), "\n"); len(rows) != 2 || !strings.Contains(rows[1], " late ") {
			t.Errorf("what waits is listed as\n%s", waiting)
		}
		b.run("admin", b.commands("JournalLost", "EPOCH=", "kubectl patch uw"))
		b.syncWallet()
		b.rest(late)
		b.want(late, verdict{"Succeeded", v1alpha1.ReasonSucceeded, nil})
		b.paid(4)
	})
}
