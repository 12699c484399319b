package manager_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// leader reads who has the lead; empty for nobody.
func leader(t *testing.T) string {
	t.Helper()
	var lease coordinationv1.Lease
	err := api.Get(t.Context(), client.ObjectKey{Namespace: testkit.OperatorNamespace, Name: "utexo-operator"}, &lease)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}

// awaitLeader waits until somebody else than before leads.
func awaitLeader(t *testing.T, before string) (now string) {
	t.Helper()
	await(t, "another manager leads", func() error {
		if now = leader(t); now == "" || now == before {
			return fmt.Errorf("%q leads", now)
		}
		return nil
	})
	return now
}

// TestSuspendedLeader suspends the leader inside three calls: the end of a payment, the end of a send, and the begin of a payment. Another
// takes the lead and goes on; then the first wakes up with the three answers before it, and believes for a moment that it still leads.
func TestSuspendedLeader(t *testing.T) {
	t.Parallel()
	takeTurns(t)
	lightning, onchain := newKillWorld(t, kinds["Lightning"], "ending", "beginning"), newKillWorld(t, kinds["on-chain"], "main")
	arguments := []string{
		"--leader-elect=true", "--leader-lease-duration=4s", "--leader-renew-deadline=3s", "--leader-retry-period=1s",
		"--watch-namespaces=" + lightning.namespace + "," + onchain.namespace, "--quarantine=3s",
	}
	before := leader(t)
	first := startManager(t, operator, arguments...)
	led := awaitLeader(t, before)
	second := startManager(t, operator, arguments...)
	lightning.awaitReady("ending", "beginning")
	onchain.awaitReady("main")
	slow := sandbox.Duration(15 * time.Second) // longer than it takes until the leader is suspended
	lightning.service.fault(t, sandbox.Fault{
		Kind: sandbox.FaultSlowAnswer, Operation: sandbox.PayEnd, Delay: slow, Wallet: lightning.wallet("ending").Status.XpubVanilla,
	})
	lightning.service.fault(t, sandbox.Fault{
		Kind: sandbox.FaultSlowAnswer, Operation: sandbox.PayBegin, Delay: slow, Wallet: lightning.wallet("beginning").Status.XpubVanilla,
	})
	onchain.service.fault(t, sandbox.Fault{Kind: sandbox.FaultSlowAnswer, Operation: sandbox.OnchainEnd, Delay: slow})
	ended, begun := lightning.pay("ending", "ended", 5000), lightning.pay("beginning", "begun", 6000)
	sent := onchain.send("main", "payroll", 20_000)
	await(t, "the three calls are under way", func() error {
		return errors.Join(
			lightning.service.hit(sandbox.PayEnd, 1), lightning.service.hit(sandbox.PayBegin, 1), onchain.service.hit(sandbox.OnchainEnd, 1))
	})
	first.Signal(syscall.SIGSTOP)
	for name, phase := range map[string]v1alpha1.RecordPhase{
		"ended": lightning.record(ended).Journal.Phase, "payroll": onchain.record(sent).Journal.Phase,
	} {
		if phase != v1alpha1.RecordSubmitting {
			t.Fatalf("%s is %s: the leader was suspended too late for this case to mean anything", name, phase)
		}
	}

	awaitLeader(t, led)
	// The payment that was ended is known by its hash. The one that was begun must wait until the begin cannot land any more; here it is
	// let on at once, so that the first manager wakes up in time for its own end, by its own clock, and only the Lease can stop it.
	lightning.awaitPaid(ended)
	lightning.outlast("beginning")
	lightning.awaitPaid(begun)

	await(t, "the first manager has been answered", func() error { return errors.Join(lightning.service.busy(), onchain.service.busy()) })
	first.Signal(syscall.SIGCONT)
	if code := first.awaitEnd(); code == 0 {
		t.Error("a manager that lost the lead ended as if nothing had happened")
	}
	if log, err := os.ReadFile(first.Log); err != nil || !strings.Contains(string(log), "leader election lost") {
		t.Errorf("the first manager does not say why it ended: %v", err)
	}
	onchain.awaitPaid(sent)
	lightning.awaitPaid(ended, begun)
	for _, wallet := range []string{"ending", "beginning"} {
		if n := lightning.service.count(sandbox.PayEnd, lightning.wallet(wallet).Status.XpubVanilla); n != 1 {
			t.Errorf("the payment from %s was ended %d times", wallet, n)
		}
	}
	if n := onchain.service.count(sandbox.OnchainBegin, onchain.wallet("main").Status.XpubVanilla); n != 1 {
		t.Errorf("the send was begun %d times", n)
	}
	second.stop()
}
