// Package shard says which manager works on what. A manager has one shard, by name, or none; a Wallet and all that names it carry the
// shard's name in a label, or none of them does. Which process makes a payment is all that a shard decides: what keeps it from being made
// twice are its record and the wallet's Lease, which know of no shards.
package shard

import (
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
)

// lease is the name of the Lease by which the managers that have no shard elect their leader.
const lease = "utexo-operator"

// Check says what is wrong with the name of a shard. It is a DNS label, so that it can be a label's value and a part of a Lease's name;
// the empty name is that of no shard.
func Check(name string) error {
	if name == "" {
		return nil
	}
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("%q cannot be the name of a shard: %s", name, strings.Join(problems, "; "))
	}
	return nil
}

// Lease is the name of the Lease by which the managers of a shard elect their leader.
func Lease(name string) string {
	if name == "" {
		return lease
	}
	return lease + "-" + name
}

// silence is for how long a manager that runs may not have renewed its Lease: ten times the default of --leader-lease-duration, and more
// than a Deployment takes to start another one.
const silence = 5 * time.Minute

// IsServed reports whether a manager of a shard runs, by the Lease of its leader. Clocks may differ by less than 5 minutes.
func IsServed(elected *coordinationv1.Lease, now time.Time) bool {
	return elected.Spec.RenewTime != nil && now.Sub(elected.Spec.RenewTime.Time) < silence
}

// Selector selects what the managers of a shard work on: what carries its label or, for the empty name, no such label. The name must be
// one that Check accepts.
func Selector(name string) labels.Selector {
	operator, values := selection.DoesNotExist, []string(nil)
	if name != "" {
		operator, values = selection.Equals, []string{name}
	}
	requirement, err := labels.NewRequirement(v1alpha1.ShardLabel, operator, values)
	if err != nil {
		return labels.Nothing() // a name that no label can have
	}
	return labels.NewSelector().Add(*requirement)
}

// Has reports whether the managers of a shard work on object.
func Has(name string, object metav1.Object) bool {
	return Selector(name).Matches(labels.Set(object.GetLabels()))
}

// Same reports whether two objects are of one shard. One with an empty label is of no manager's, and of another than one without.
func Same(a, b metav1.Object) bool {
	one, labelled := a.GetLabels()[v1alpha1.ShardLabel]
	other, labelledToo := b.GetLabels()[v1alpha1.ShardLabel]
	return one == other && labelled == labelledToo
}

// Mismatch is why a resource that names wallet waits: it is of another shard. It is nil where both are of one. Who looks again is told by
// a watch: one of the two comes into the other's shard.
func Mismatch(user metav1.Object, wallet *v1alpha1.Wallet) *payment.Obstacle {
	if Same(user, wallet) {
		return nil
	}
	remedy := "remove the label from this resource, or move the Wallet and all that names it"
	switch name, labelled := wallet.Labels[v1alpha1.ShardLabel]; {
	case name != "":
		remedy = fmt.Sprintf("label this resource %s=%s, or move the Wallet and all that names it", v1alpha1.ShardLabel, name)
	case labelled:
		remedy = "no manager works on that Wallet until its label has a value, or goes"
	}
	return &payment.Obstacle{Reason: v1alpha1.ReasonShardMismatch, Message: fmt.Sprintf(
		"this resource has %s, its Wallet %s has %s: %s", labelOf(user), wallet.Name, labelOf(wallet), remedy)}
}

// labelOf is the shard label of object as a sentence has it.
func labelOf(object metav1.Object) string {
	name, labelled := object.GetLabels()[v1alpha1.ShardLabel]
	switch {
	case name != "":
		return v1alpha1.ShardLabel + "=" + name
	case labelled:
		return "an empty label " + v1alpha1.ShardLabel
	}
	return "no label " + v1alpha1.ShardLabel
}
