package deposit

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/rgb"
	"github.com/utexo/utexo-operator/internal/testkit"
)

const (
	first   = "bcrt1peasutyryerxx0chunqagkymygcgzpj5sv52tp33gyt26f5xqjt4sfj4zk0"
	second  = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
	mainnet = "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"
)

var t0 = time.Date(2026, time.January, 1, 12, 0, 0, 0, time.UTC)

// assetInvoice is an RGB invoice that asks for anything, until expires where that is not zero.
func assetInvoice(t *testing.T, network bitcoin.Network, mark byte, expires time.Time) string {
	t.Helper()
	invoice := &rgb.Invoice{Network: rgb.NetOf(network)}
	invoice.Beneficiary = rgb.Beneficiary{Kind: rgb.BlindedSeal, Payload: slices.Repeat([]byte{mark}, 32)}
	if !expires.IsZero() {
		invoice.Expiry = &expires
	}
	text, err := rgb.FormatInvoice(invoice)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// shown is a DepositAddress that shows address and invoice until expires.
func shown(rotation v1alpha1.AddressRotation, address, invoice string, expires time.Time) *v1alpha1.DepositAddress {
	object := &v1alpha1.DepositAddress{ObjectMeta: metav1.ObjectMeta{Name: "till", Namespace: "team", Generation: 1}}
	object.Spec = v1alpha1.DepositAddressSpec{WalletRef: v1alpha1.WalletReference{Name: "main"}, Rotation: rotation}
	object.Status.Address, object.Status.AssetInvoice = address, invoice
	if !expires.IsZero() {
		object.Status.ExpiresAt = &metav1.Time{Time: expires}
	}
	return object
}

func TestDecide(t *testing.T) {
	day := t0.Add(24 * time.Hour)
	old, fresh := assetInvoice(t, bitcoin.Regtest, 1, time.Time{}), assetInvoice(t, bitcoin.Regtest, 2, time.Time{})
	short := assetInvoice(t, bitcoin.Regtest, 3, t0.Add(time.Hour))
	foreign := assetInvoice(t, bitcoin.Mainnet, 4, time.Time{})
	unavailable := &payment.Obstacle{Reason: v1alpha1.ReasonServiceUnavailable, Message: "no answer", RetryAfter: 10 * time.Second}
	retired := func(address, invoice string) []v1alpha1.RetiredAddress {
		return []v1alpha1.RetiredAddress{{Address: address, AssetInvoice: invoice, RetiredAt: metav1.NewTime(t0)}}
	}
	for name, tc := range map[string]struct {
		deposit *v1alpha1.DepositAddress
		waiting *payment.Obstacle
		seen    *Seen

		wantAddress, wantInvoice string
		wantExpires              time.Time
		wantHistory              []v1alpha1.RetiredAddress
		wantReady                metav1.ConditionStatus
		wantReason               string
		wantEvents               []string
		wantAfter                time.Duration
	}{
		"the first look shows what is handed out": {
			deposit: shown(v1alpha1.RotateOnUse, "", "", time.Time{}), seen: &Seen{Address: first, AssetInvoice: old, ExpiresAt: day},
			wantAddress: first, wantInvoice: old, wantExpires: day, wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantAfter: time.Minute,
		},
		"the same again changes nothing": {
			deposit: shown(v1alpha1.RotateOnUse, first, old, day), seen: &Seen{Address: first, AssetInvoice: old, ExpiresAt: day},
			wantAddress: first, wantInvoice: old, wantExpires: day, wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantAfter: time.Minute,
		},
		"another address retires the one before": {
			deposit: shown(v1alpha1.RotateOnUse, first, old, day), seen: &Seen{Address: second, AssetInvoice: fresh, ExpiresAt: day},
			wantAddress: second, wantInvoice: fresh, wantExpires: day, wantHistory: retired(first, old),
			wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantEvents: []string{v1alpha1.EventAddressRotated}, wantAfter: time.Minute,
		},
		"another address with the same invoice": {
			deposit: shown(v1alpha1.RotateOnUse, first, old, day), seen: &Seen{Address: second, AssetInvoice: old, ExpiresAt: day},
			wantAddress: second, wantInvoice: old, wantExpires: day, wantHistory: retired(first, ""),
			wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantEvents: []string{v1alpha1.EventAddressRotated}, wantAfter: time.Minute,
		},
		"without rotation the first address stays": {
			deposit: shown(v1alpha1.RotateNever, first, old, day), seen: &Seen{Address: second, AssetInvoice: old, ExpiresAt: day},
			wantAddress: first, wantInvoice: old, wantExpires: day, wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantAfter: time.Minute,
		},
		"without rotation the invoice is replaced all the same": {
			deposit: shown(v1alpha1.RotateNever, first, old, t0.Add(-time.Second)), seen: &Seen{Address: second, AssetInvoice: fresh, ExpiresAt: day},
			wantAddress: first, wantInvoice: fresh, wantExpires: day, wantHistory: retired(first, old),
			wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantAfter: time.Minute,
		},
		"an invoice that is replaced before its time is news": {
			deposit: shown(v1alpha1.RotateOnUse, first, old, day), seen: &Seen{Address: first, AssetInvoice: fresh, ExpiresAt: day},
			wantAddress: first, wantInvoice: fresh, wantExpires: day, wantHistory: retired(first, old),
			wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantEvents: []string{"!" + v1alpha1.EventAssetInvoiceReplaced}, wantAfter: time.Minute,
		},
		"an invoice that is replaced when it is over is not": {
			deposit: shown(v1alpha1.RotateOnUse, first, old, t0), seen: &Seen{Address: first, AssetInvoice: fresh, ExpiresAt: day},
			wantAddress: first, wantInvoice: fresh, wantExpires: day, wantHistory: retired(first, old),
			wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantAfter: time.Minute,
		},
		"what the invoice says of its end counts more than the service": {
			deposit: shown(v1alpha1.RotateOnUse, "", "", time.Time{}), seen: &Seen{Address: first, AssetInvoice: short, ExpiresAt: day},
			wantAddress: first, wantInvoice: short, wantExpires: t0.Add(time.Hour), wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantAfter: time.Minute,
		},
		"an invoice without an end": {
			deposit: shown(v1alpha1.RotateOnUse, "", "", time.Time{}), seen: &Seen{Address: first, AssetInvoice: old},
			wantAddress: first, wantInvoice: old, wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantAfter: time.Minute,
		},
		"an invoice of another network is not shown": {
			deposit: shown(v1alpha1.RotateOnUse, "", "", time.Time{}), seen: &Seen{Address: first, AssetInvoice: foreign, ExpiresAt: day},
			wantAddress: first, wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantAfter: time.Minute,
		},
		"an invoice that cannot be read is not shown": {
			deposit: shown(v1alpha1.RotateOnUse, "", "", time.Time{}), seen: &Seen{Address: first, AssetInvoice: "rgb:", ExpiresAt: day},
			wantAddress: first, wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantAfter: time.Minute,
		},
		"an address of another network is not shown": {
			deposit: shown(v1alpha1.RotateOnUse, "", "", time.Time{}), seen: &Seen{Address: mainnet, AssetInvoice: old, ExpiresAt: day},
			wantReady: metav1.ConditionUnknown, wantReason: v1alpha1.ReasonInvalidAddress, wantAfter: 15 * time.Second,
		},
		"an address of another network does not replace one": {
			deposit: shown(v1alpha1.RotateOnUse, first, old, day), seen: &Seen{Address: mainnet, AssetInvoice: old, ExpiresAt: day},
			wantAddress: first, wantInvoice: old, wantExpires: day, wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantAfter: 15 * time.Second,
		},
		"a service that does not answer": {
			deposit: shown(v1alpha1.RotateOnUse, "", "", time.Time{}), waiting: unavailable,
			wantReady: metav1.ConditionUnknown, wantReason: v1alpha1.ReasonServiceUnavailable, wantAfter: 15 * time.Second,
		},
		"a service that does not answer any more": {
			deposit: shown(v1alpha1.RotateOnUse, first, old, day), waiting: unavailable,
			wantAddress: first, wantInvoice: old, wantExpires: day, wantReady: metav1.ConditionTrue, wantReason: v1alpha1.ReasonAddressIssued, wantAfter: 15 * time.Second,
		},
		"a wallet that must not be named": {
			deposit:   shown(v1alpha1.RotateOnUse, "", "", time.Time{}),
			waiting:   &payment.Obstacle{Reason: v1alpha1.ReasonInvalidSpec, Message: "another namespace", DeadEnd: true},
			wantReady: metav1.ConditionFalse, wantReason: v1alpha1.ReasonInvalidSpec,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Decide(Facts{Deposit: tc.deposit, Network: bitcoin.Regtest, Waiting: tc.waiting, Seen: tc.seen}, t0)
			after := tc.deposit.DeepCopy()
			after.Status = got.Status
			if err := testkit.CheckStatus(after); err != nil {
				t.Error(err)
			}
			ready := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionReady)
			if ready.Status != tc.wantReady || ready.Reason != tc.wantReason {
				t.Errorf("Ready is %s for %s (%s), want %s for %s", ready.Status, ready.Reason, ready.Message, tc.wantReady, tc.wantReason)
			}
			want := v1alpha1.DepositAddressStatus{ObservedGeneration: 1, Address: tc.wantAddress, AssetInvoice: tc.wantInvoice, History: tc.wantHistory}
			if !tc.wantExpires.IsZero() {
				want.ExpiresAt = &metav1.Time{Time: tc.wantExpires}
			}
			got.Status.Conditions = nil
			if diff := cmp.Diff(want, got.Status); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			var events []string
			for _, event := range got.Events {
				events = append(events, strings.Repeat("!", map[bool]int{true: 1}[event.Warning])+event.Reason)
			}
			if diff := cmp.Diff(tc.wantEvents, events); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if got.RequeueAfter != tc.wantAfter {
				t.Errorf("looks again after %s, want %s", got.RequeueAfter, tc.wantAfter)
			}
		})
	}
}

// TestHistoryIsBounded lets the service hand out another address two hundred times.
func TestHistoryIsBounded(t *testing.T) {
	object := shown(v1alpha1.RotateOnUse, "", "", time.Time{})
	addresses := []string{first, second}
	for i := range 200 {
		object.Status = Decide(Facts{Deposit: object, Network: bitcoin.Regtest, Seen: &Seen{Address: addresses[i%2]}}, t0.Add(time.Duration(i)*time.Minute)).Status
	}
	if got := len(object.Status.History); got != 100 {
		t.Fatalf("%d entries, want 100", got)
	}
	if newest, want := object.Status.History[0].RetiredAt.Time, t0.Add(199*time.Minute); !newest.Equal(want) {
		t.Errorf("the newest entry is of %s, want %s first", newest, want)
	}
	if got, want := fmt.Sprint(object.Status.History[99].RetiredAt.Time), fmt.Sprint(t0.Add(100*time.Minute)); got != want {
		t.Errorf("the oldest entry is of %s, want %s", got, want)
	}
}
