package controller_test

import (
	"testing"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
)

// TestWalletOfTheSameName deletes a Wallet and declares another under its name: nothing that was learnt of the first is taken for the
// second, which is registered by itself.
func TestWalletOfTheSameName(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	w.syncWallet()
	registered := w.called(sandbox.RegisterWallet)
	wallet := w.wallet("main")
	w.get(wallet)
	again := wallet.DeepCopy()
	w.delete(wallet)
	w.pass(wallet)
	w.recreate(again)
	w.pass(again)
	w.want(w.wallet("main"), verdict{reason: v1alpha1.ReasonSynced})
	if calls := w.called(sandbox.RegisterWallet) - registered; calls != 1 {
		t.Errorf("the second Wallet was registered %d times, want once", calls)
	}
}
