package approval_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/approval"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/testkit"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func order() *payment.Order {
	return &payment.Order{
		Kind:        v1alpha1.RecordLightningPayment,
		Holder:      v1alpha1.RecordHolder{Kind: "LightningPayment", Namespace: "team", Name: "rent", UID: "1"},
		Wallet:      v1alpha1.RecordWallet{Name: "main", XpubVanilla: "xpub", Server: "https://utexo.test"},
		PaymentHash: "00", Destination: "02", AmountSats: 5000, MaxFeeSats: 100, StartBefore: noon.Add(time.Hour),
	}
}

// TestPlanHash changes each part of an order: what was approved is then another plan.
func TestPlanHash(t *testing.T) {
	seen := map[string]string{approval.PlanHash(order()): "the order"}
	if again := approval.PlanHash(order()); seen[again] == "" {
		t.Error("the hash of one order is not always the same")
	}
	for name, change := range map[string]func(o *payment.Order){
		"another kind":                 func(o *payment.Order) { o.Kind = v1alpha1.RecordOnchainSend },
		"another namespace":            func(o *payment.Order) { o.Holder.Namespace = "other" },
		"another name":                 func(o *payment.Order) { o.Holder.Name = "bread" },
		"a later resource of the name": func(o *payment.Order) { o.Holder.UID = "2" },
		"another wallet":               func(o *payment.Order) { o.Wallet.Name = "other" },
		"another namespace's wallet":   func(o *payment.Order) { o.Wallet.Namespace = "treasury" },
		"other keys":                   func(o *payment.Order) { o.Wallet.XpubVanilla = "ypub" },
		"another service":              func(o *payment.Order) { o.Wallet.Server = "https://other.test" },
		"another invoice":              func(o *payment.Order) { o.PaymentHash = "01" },
		"another payee":                func(o *payment.Order) { o.Destination = "03" },
		"another amount":               func(o *payment.Order) { o.AmountSats++ },
		"a higher fee":                 func(o *payment.Order) { o.MaxFeeSats++ },
		"another fee rate":             func(o *payment.Order) { o.FeeRate++ },
		"another time":                 func(o *payment.Order) { o.StartBefore = o.StartBefore.Add(time.Second) },
		"an asset":                     func(o *payment.Order) { o.Asset = &v1alpha1.AssetAmount{ID: "rgb:a", Amount: 1} },
		"more of an asset":             func(o *payment.Order) { o.Asset = &v1alpha1.AssetAmount{ID: "rgb:a", Amount: 2} },
		"parts that run together":      func(o *payment.Order) { o.Holder.Name, o.Holder.UID = "ren", "t1" },
	} {
		o := order()
		change(o)
		hash := approval.PlanHash(o)
		if before := seen[hash]; before != "" || len(hash) != 64 {
			t.Errorf("%s has the hash %s, as %s", name, hash, before)
		}
		seen[hash] = name
	}
}

func TestRequired(t *testing.T) {
	asset := order()
	asset.Asset = &v1alpha1.AssetAmount{ID: "rgb:a", Amount: 1}
	dear := order()
	dear.MaxFeeSats = dear.AmountSats + 1
	above := func(sats int64, people *int32) *v1alpha1.WalletLimits {
		return &v1alpha1.WalletLimits{RequireApprovalAboveSats: &sats, RequiredApprovals: people}
	}
	for name, tc := range map[string]struct {
		limits *v1alpha1.WalletLimits
		order  *payment.Order
		want   int
	}{
		"no limits":                        {nil, order(), 0},
		"limits without approvals":         {&v1alpha1.WalletLimits{MaxPaymentSats: new(int64(1))}, asset, 0},
		"as much as needs none":            {above(5000, new(int32(2))), order(), 0},
		"one sat more":                     {above(4999, new(int32(2))), order(), 2},
		"a fee of more":                    {above(5000, new(int32(2))), dear, 2},
		"a fee of as much":                 {above(5001, new(int32(2))), dear, 0},
		"one person where nothing is said": {above(0, nil), order(), 1},
		"an asset always":                  {above(1_000_000, nil), asset, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := approval.Required(tc.limits, tc.order); got != tc.want {
				t.Errorf("%d, want %d", got, tc.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	by := func(approver string, change ...func(a *v1alpha1.PaymentApproval)) v1alpha1.PaymentApproval {
		a := testkit.MakePaymentApproval(approver, v1alpha1.PaymentReference{Kind: "LightningPayment", Name: "rent", UID: "1"}, "main",
			approval.PlanHash(order()), noon.Add(time.Hour))
		a.Namespace = "team"
		for _, f := range change {
			f(a)
		}
		return *a
	}
	spec := func(change func(s *v1alpha1.PaymentApprovalSpec)) func(a *v1alpha1.PaymentApproval) {
		return func(a *v1alpha1.PaymentApproval) { change(&a.Spec) }
	}
	for name, tc := range map[string]struct {
		approvals []v1alpha1.PaymentApproval
		nobody    bool
		want      []string
		// says is part of what a person is told where it is not enough.
		says string
	}{
		"nobody yet":                {nil, false, nil, "approved by 0 of 2"},
		"one of two":                {[]v1alpha1.PaymentApproval{by("alice")}, false, []string{"alice"}, "approved by 1 of 2"},
		"two":                       {[]v1alpha1.PaymentApproval{by("bob"), by("alice")}, false, []string{"alice", "bob"}, ""},
		"one twice":                 {[]v1alpha1.PaymentApproval{by("alice"), by("alice")}, false, []string{"alice"}, "1 of 2"},
		"of the author":             {[]v1alpha1.PaymentApproval{by("author"), by("bob")}, false, []string{"bob"}, "the author's own"},
		"of an author nobody knows": {[]v1alpha1.PaymentApproval{by("alice"), by("bob")}, true, nil, "does not say who declared"},
		"of another plan": {
			[]v1alpha1.PaymentApproval{by("alice", spec(func(s *v1alpha1.PaymentApprovalSpec) { s.PlanHash = strings.Repeat("0", 64) }))},
			false, nil, "another plan",
		},
		"that has ended": {
			[]v1alpha1.PaymentApproval{by("alice", spec(func(s *v1alpha1.PaymentApprovalSpec) { s.ExpiresAt = metav1.NewTime(noon) }))},
			false, nil, "has ended",
		},
		"for another Wallet": {
			[]v1alpha1.PaymentApproval{by("alice", spec(func(s *v1alpha1.PaymentApprovalSpec) { s.WalletRef.Name = "petty-cash" }))},
			false, nil, "another Wallet",
		},
		"for a Wallet elsewhere": {
			[]v1alpha1.PaymentApproval{by("alice", spec(func(s *v1alpha1.PaymentApprovalSpec) { s.WalletRef.Namespace = "other" }))},
			false, nil, "another Wallet",
		},
		"of an earlier resource": {
			[]v1alpha1.PaymentApproval{by("alice", spec(func(s *v1alpha1.PaymentApprovalSpec) { s.PaymentRef.UID = "0" }))},
			false, nil, "0 of 2",
		},
		"of another namespace": {[]v1alpha1.PaymentApproval{by("alice", func(a *v1alpha1.PaymentApproval) { a.Namespace = "other" })}, false, nil, "0 of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			need := approval.Need{Order: order(), Wallet: v1alpha1.WalletReference{Namespace: "team", Name: "main"}, Author: "author", Required: 2}
			if tc.nobody {
				need.Author = ""
			}
			state := need.Judge(tc.approvals, noon)
			if diff := cmp.Diff(tc.want, state.Approvers); diff != "" {
				t.Errorf("approvers (-want +got):\n%s", diff)
			}
			obstacle := state.Obstacle("0f")
			if (obstacle == nil) != (tc.says == "") || obstacle != nil && (!strings.Contains(obstacle.Message, tc.says) || obstacle.DeadEnd) {
				t.Errorf("%+v, want %q", obstacle, tc.says)
			}
		})
	}
}
