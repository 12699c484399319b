package manager_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// TestShutdown asks a manager to stop while both calls that move money hang: it waits for their answers, and writes them down.
func TestShutdown(t *testing.T) {
	t.Parallel()
	takeTurns(t)
	// Of the service of the second world nothing can be asked after a lost answer: what is not written down at the end stays unknown.
	lightning, onchain := newWorld(t, newService(t, sandbox.Documented)), newWorld(t, newService(t, sandbox.Documented))
	arguments := []string{"--leader-elect=true", "--watch-namespaces=" + lightning.namespace + "," + onchain.namespace, "--quarantine=3s"}
	manager := startManager(t, operator, arguments...)
	lightning.addWallet("main")
	onchain.addWallet("main")
	slow := sandbox.Duration(5 * time.Second)
	lightning.service.fault(t, sandbox.Fault{Kind: sandbox.FaultSlowAnswer, Operation: sandbox.PayEnd, Delay: slow, Count: -1})
	onchain.service.fault(t, sandbox.Fault{Kind: sandbox.FaultSlowAnswer, Operation: sandbox.OnchainEnd, Delay: slow, Count: -1})
	// Both are declared once both can be paid, so that both hang at once.
	lightning.awaitReady("main")
	onchain.awaitReady("main")
	payment, send := lightning.pay("main", "rent", 5000), onchain.send("main", "payroll", 20_000)
	await(t, "the payment is being ended", func() error { return lightning.service.hit(sandbox.PayEnd, 1) })
	await(t, "the send is being ended", func() error { return onchain.service.hit(sandbox.OnchainEnd, 1) })

	manager.Signal(syscall.SIGTERM)
	if code := manager.awaitEnd(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, w := range []*world{lightning, onchain} {
		if err := w.service.busy(); err != nil {
			t.Errorf("the manager ended before it was answered: %v", err)
		}
	}
	for _, record := range []*v1alpha1.PaymentRecord{lightning.record(payment), onchain.record(send)} {
		phase := record.Journal.Phase
		if phase != v1alpha1.RecordSubmitted && phase != v1alpha1.RecordSucceeded || record.Journal.RequestID == "" {
			t.Errorf("the outcome was not written down: record %s is %s with id %q", record.Name, phase, record.Journal.RequestID)
		}
	}

	startManager(t, operator, arguments...)
	lightning.awaitPaid(payment)
	onchain.awaitPaid(send)
	if n := lightning.service.count(sandbox.PayEnd, lightning.wallet("main").Status.XpubVanilla); n != 1 {
		t.Errorf("the payment was ended %d times", n)
	}
	if n := onchain.service.count(sandbox.OnchainEnd, onchain.wallet("main").Status.XpubVanilla); n != 1 {
		t.Errorf("the send was ended %d times", n)
	}
}
