package shard_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/shard"
)

func of(labels map[string]string) *metav1.ObjectMeta {
	return &metav1.ObjectMeta{Name: "main", Labels: labels}
}

func labelled(name string) *metav1.ObjectMeta {
	return of(map[string]string{v1alpha1.ShardLabel: name})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, valid := range map[string]bool{
		"": true, "blue": true, "shard-1": true, "1": true, strings.Repeat("b", 63): true,
		"Blue": false, "-blue": false, "blue-": false, "blue.green": false, "blue_green": false, " ": false, "blue,green": false,
		strings.Repeat("b", 64): false,
	} {
		err := shard.Check(name)
		if (err == nil) != valid {
			t.Errorf("%q: %v, want valid %t", name, err, valid)
		}
		if err != nil || name == "" {
			continue
		}
		if problems := append(validation.IsDNS1123Subdomain(shard.Lease(name)), validation.IsValidLabelValue(name)...); len(problems) > 0 {
			t.Errorf("%q is accepted, and no Lease or label can have it: %v", name, problems)
		}
	}
}

// TestLeases holds the names of Leases against each other: two shards that shared one would have one leader.
func TestLeases(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range []string{"", "blue", "green", "operator", "utexo-operator", "blue-green"} {
		lease := shard.Lease(name)
		if other, taken := seen[lease]; taken {
			t.Errorf("%q and %q elect their leaders by one Lease, %s", name, other, lease)
		}
		seen[lease] = name
	}
	if seen["utexo-operator"] != "" {
		t.Errorf("the Lease utexo-operator is that of the shard %q", seen["utexo-operator"])
	}
}

// TestEachObjectIsOfOneShard asks every shard for every object: one works on it, and none on what carries an empty label.
func TestEachObjectIsOfOneShard(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		object *metav1.ObjectMeta
		want   string
	}{
		"no labels":           {of(nil), "none"},
		"another label":       {of(map[string]string{"payments.utexo.com/settles": "blue"}), "none"},
		"blue":                {labelled("blue"), "blue"},
		"green":               {labelled("green"), "green"},
		"a shard without any": {labelled("red"), ""},
		"an empty label":      {labelled(""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for manager, shown := range map[string]string{"": "none", "blue": "blue", "green": "green"} {
				if shard.Has(manager, tc.object) {
					got = append(got, shown)
				}
			}
			if strings.Join(got, ",") != tc.want {
				t.Errorf("%v work on it, want %q", got, tc.want)
			}
		})
	}
	if shard.Has("not a label!", labelled("not a label!")) {
		t.Error("a name that is none works on something")
	}
}

func TestMismatch(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		user, wallet *metav1.ObjectMeta
		// want is the message, empty for none.
		want string
	}{
		"neither has a label": {of(nil), of(nil), ""},
		"both have one":       {labelled("blue"), labelled("blue"), ""},
		"both have one more":  {of(map[string]string{v1alpha1.ShardLabel: "blue", "a": "b"}), labelled("blue"), ""},
		"only the wallet does": {
			of(nil), labelled("blue"), "this resource has no label payments.utexo.com/shard, its Wallet main has payments.utexo.com/shard=blue: " +
				"label this resource payments.utexo.com/shard=blue, or move the Wallet and all that names it",
		},
		"only the resource does": {
			labelled("blue"), of(nil), "this resource has payments.utexo.com/shard=blue, its Wallet main has no label payments.utexo.com/shard: " +
				"remove the label from this resource, or move the Wallet and all that names it",
		},
		"they have others": {
			labelled("blue"), labelled("green"), "this resource has payments.utexo.com/shard=blue, its Wallet main has payments.utexo.com/shard=green: " +
				"label this resource payments.utexo.com/shard=green, or move the Wallet and all that names it",
		},
		"the wallet's is empty, and nobody works on it": {
			of(nil), labelled(""), "this resource has no label payments.utexo.com/shard, its Wallet main has an empty label payments.utexo.com/shard: " +
				"no manager works on that Wallet until its label has a value, or goes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := shard.Mismatch(tc.user, &v1alpha1.Wallet{ObjectMeta: *tc.wallet})
			switch {
			case got == nil && tc.want == "":
			case got == nil || got.Reason != v1alpha1.ReasonShardMismatch || got.DeadEnd || got.Message != tc.want:
				t.Errorf("got %+v, want %q", got, tc.want)
			}
			if shard.Same(tc.user, tc.wallet) != (tc.want == "") || shard.Same(tc.wallet, tc.user) != (tc.want == "") {
				t.Error("whether they are of one shard is another matter than whether they disagree")
			}
		})
	}
	long := labelled(strings.Repeat("b", 63))
	long.Name = strings.Repeat("w", 253)
	got := shard.Mismatch(labelled(strings.Repeat("g", 63)), &v1alpha1.Wallet{ObjectMeta: *long})
	if !strings.Contains(got.Message[:512], "label this resource") {
		t.Errorf("the remedy is not within what a condition shows: %q", got.Message)
	}
}
