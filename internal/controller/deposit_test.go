package controller_test

import (
	"testing"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// TestDepositAddress is paid at its address, which a settlement then uses up.
func TestDepositAddress(t *testing.T) {
	w := newWorld(t, sandbox.Reference)
	w.syncWallet()
	follows, stays := testkit.MakeDepositAddress(w.namespace, "till"), testkit.MakeDepositAddress(w.namespace, "printed")
	stays.Spec.Rotation = v1alpha1.RotateNever
	for _, object := range []*v1alpha1.DepositAddress{follows, stays} {
		w.create(object)
		w.pass(object)
		w.want(object, verdict{reason: v1alpha1.ReasonAddressIssued, says: []string{"pay to this address"}})
		if object.Status.Address == "" || object.Status.AssetInvoice == "" || object.Status.ExpiresAt == nil {
			t.Fatalf("nothing to pay to: %+v", object.Status)
		}
	}
	first, firstInvoice := follows.Status.Address, follows.Status.AssetInvoice
	w.quiet(follows) // which takes twenty minutes

	if _, err := w.sandbox.FundAddress(first, 100_000, true); err != nil {
		t.Fatal(err)
	}
	settlement := made(w, testkit.MakeSettlement(w.namespace, "monday"))
	w.rest(settlement)
	w.want(settlement, verdict{phase: "Succeeded", reason: v1alpha1.ReasonSettlementDone, says: []string{"channels opened: 1"}})

	for _, object := range []*v1alpha1.DepositAddress{follows, stays} {
		w.pass(object)
		w.want(object, verdict{reason: v1alpha1.ReasonAddressIssued})
	}
	if follows.Status.Address == first || len(follows.Status.History) != 1 || follows.Status.History[0].Address != first {
		t.Errorf("the address that was used is still shown, or not in the history: %+v", follows.Status)
	}
	if stays.Status.Address != first {
		t.Errorf("the printed address became %s", stays.Status.Address)
	}
	if told := w.told(); told[v1alpha1.EventAddressRotated] != 1 {
		t.Errorf("events %v, want one %s", told, v1alpha1.EventAddressRotated)
	}
	if stays.Status.AssetInvoice == firstInvoice {
		t.Error("an asset invoice of the address before is still shown")
	}
}

// TestDepositAddressIsNoneOfTheWalletsKeys looks for the addresses of both kinds of service among the wallet's keys. As long as an honest
// service's are none of them, that an address is none says nothing.
func TestDepositAddressIsNoneOfTheWalletsKeys(t *testing.T) {
	for _, profile := range []sandbox.Profile{sandbox.Documented, sandbox.Reference} {
		t.Run(string(profile), func(t *testing.T) {
			w := newWorld(t, profile)
			w.syncWallet()
			object := made(w, testkit.MakeDepositAddress(w.namespace, "till"))
			w.pass(object)
			w.get(object)
			set, err := keys.FromMnemonic(mnemonic, "", bitcoin.Regtest)
			if err != nil {
				t.Fatal(err)
			}
			deriver, err := set.Public().Deriver()
			if err != nil {
				t.Fatal(err)
			}
			own, err := deriver.Address(keys.Path{Network: bitcoin.Regtest, Account: keys.Vanilla, Index: 5})
			if err != nil {
				t.Fatal(err)
			}
			for text, want := range map[string]bool{own: true, object.Status.Address: false} {
				address, err := bitcoin.ParseAddress(text, bitcoin.Regtest)
				if err != nil {
					t.Fatal(err)
				}
				if path, found := deriver.Find(address.Script); found != want {
					t.Errorf("%s is the wallet's own: %t, at %v; want %t", text, found, path, want)
				}
			}
		})
	}
}

// TestAssetInvoiceDiesEarly waits an hour, after which the reference server fails the invoice that it had called good for a day.
func TestAssetInvoiceDiesEarly(t *testing.T) {
	w := newWorld(t, sandbox.Reference)
	w.syncWallet()
	object := made(w, testkit.MakeDepositAddress(w.namespace, "till"))
	w.pass(object)
	w.get(object)
	address, invoice := object.Status.Address, object.Status.AssetInvoice
	w.watch(object, 61*time.Minute)
	w.get(object)
	if object.Status.Address != address || object.Status.AssetInvoice == invoice || len(object.Status.History) != 1 ||
		object.Status.History[0].AssetInvoice != invoice {
		t.Errorf("status %+v, want the same address with another invoice", object.Status)
	}
	if told := w.told(); told[v1alpha1.EventAssetInvoiceReplaced] != 1 {
		t.Errorf("events %v, want one %s", told, v1alpha1.EventAssetInvoiceReplaced)
	}
}

// TestDepositAddressOfASilentService keeps what was shown, and shows nothing where nothing was.
func TestDepositAddressOfASilentService(t *testing.T) {
	w := newWorld(t, sandbox.Documented)
	early := made(w, testkit.MakeDepositAddress(w.namespace, "early"))
	w.pass(early)
	w.want(early, verdict{reason: v1alpha1.ReasonWalletNotReady})
	w.syncWallet()
	known := made(w, testkit.MakeDepositAddress(w.namespace, "known"))
	w.pass(known)
	w.get(known)
	address := known.Status.Address
	w.fault(sandbox.Fault{Kind: sandbox.FaultErrorBefore, Operation: sandbox.OnchainReceive, Count: -1})
	fresh := made(w, testkit.MakeDepositAddress(w.namespace, "fresh"))
	w.pass(fresh)
	w.want(fresh, verdict{reason: v1alpha1.ReasonServiceUnavailable})
	w.pass(known)
	w.want(known, verdict{reason: v1alpha1.ReasonAddressIssued, says: []string{"cannot be asked about now"}})
	if known.Status.Address != address || fresh.Status.Address != "" {
		t.Errorf("addresses %q and %q, want the known one and none", known.Status.Address, fresh.Status.Address)
	}
	w.sandbox.ClearFaults(0)
	for _, object := range []*v1alpha1.DepositAddress{known, fresh, early} {
		w.pass(object)
		w.want(object, verdict{reason: v1alpha1.ReasonAddressIssued, says: []string{"pay to this address"}})
	}
}
