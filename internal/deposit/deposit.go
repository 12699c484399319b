// Package deposit is the machine of a DepositAddress: what is shown of what the service hands out, and when to look again. It is pure.
//
// Nothing here can pay twice; what must hold is that nobody is shown an address of another network, and that whoever was shown one that
// is shown no more finds it in the history. Whose an address is cannot be told: services hand out one of their node's, which is derived from
// no key of the wallet's.
package deposit

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/readiness"
	"github.com/utexo/utexo-operator/internal/rgb"
)

const (
	// maxHistory is how many retired addresses a status holds.
	maxHistory = 100
	// lookAgain is how often the service is asked: it tells nobody that an address was used.
	lookAgain = time.Minute
)

// Seen is what the service hands out now.
type Seen struct {
	Address      string
	AssetInvoice string
	// ExpiresAt is when the service says that this ends; zero where it does not.
	ExpiresAt time.Time
}

// Facts is everything that Decide looks at.
type Facts struct {
	Deposit *v1alpha1.DepositAddress
	Network bitcoin.Network
	// Waiting is why nothing could be seen; nil where Seen says what was.
	Waiting *payment.Obstacle
	Seen    *Seen
}

// Decision is what Decide wants.
type Decision struct {
	Status       v1alpha1.DepositAddressStatus
	RequeueAfter time.Duration
	Events       []payment.Event
}

// Decide returns the status of a DepositAddress after a look at the service. What was shown stays shown where there was none.
func Decide(f Facts, now time.Time) Decision {
	d := Decision{Status: *f.Deposit.Status.DeepCopy(), RequeueAfter: lookAgain}
	d.Status.ObservedGeneration = f.Deposit.Generation
	if f.Seen == nil {
		d.waits(f, f.Waiting, now)
		return d
	}
	if _, err := bitcoin.ParseAddress(f.Seen.Address, f.Network); err != nil {
		d.waits(f, &payment.Obstacle{
			Reason: v1alpha1.ReasonInvalidAddress, Message: fmt.Sprintf("the service hands out no address of %s, and none is shown: %v", f.Network, err),
		}, now)
		return d
	}
	d.show(f, now)
	message := "pay to this address"
	if d.Status.AssetInvoice == "" {
		message += "; the service offers no asset invoice that can be paid"
	}
	d.Status.Conditions = readiness.Conditions(f.Deposit.Status.Conditions, f.Deposit.Generation, readiness.Summary{
		Outcome: readiness.Done, Reason: v1alpha1.ReasonAddressIssued, Message: message,
	}, now)
	return d
}

// waits shows why nothing new is known. An address that was shown before can still be paid to.
func (d *Decision) waits(f Facts, obstacle *payment.Obstacle, now time.Time) {
	summary := readiness.Summary{Reason: obstacle.Reason, Message: obstacle.Message}
	switch {
	case obstacle.DeadEnd:
		summary.Outcome = readiness.DeadEnd
	case d.Status.Address != "":
		summary = readiness.Summary{
			Outcome: readiness.Done, Reason: v1alpha1.ReasonAddressIssued,
			Message: "pay to this address, which the service cannot be asked about now: " + obstacle.Message,
		}
	}
	d.Status.Conditions = readiness.Conditions(f.Deposit.Status.Conditions, f.Deposit.Generation, summary, now)
	d.RequeueAfter = obstacle.RetryAfter
	if !obstacle.DeadEnd {
		d.RequeueAfter = max(obstacle.RetryAfter, lookAgain/4)
	}
}

// show takes over what the service hands out, and keeps what it replaces.
func (d *Decision) show(f Facts, now time.Time) {
	status, seen := &d.Status, f.Seen
	address := seen.Address
	if f.Deposit.Spec.Rotation == v1alpha1.RotateNever && status.Address != "" {
		address = status.Address
	}
	invoice, expires := readable(f, seen)
	moved, replaced := status.Address != "" && status.Address != address, status.AssetInvoice != "" && status.AssetInvoice != invoice
	if moved || replaced {
		retired := v1alpha1.RetiredAddress{Address: status.Address, RetiredAt: metav1.NewTime(now.Truncate(time.Second))}
		if replaced {
			retired.AssetInvoice = status.AssetInvoice
		}
		status.History = append([]v1alpha1.RetiredAddress{retired}, status.History[:min(len(status.History), maxHistory-1)]...)
	}
	if moved {
		d.Events = append(d.Events, payment.Event{Reason: v1alpha1.EventAddressRotated, Message: "the service hands out " + address + " now"})
	}
	if early := status.ExpiresAt; replaced && !moved && early != nil && now.Before(early.Time) {
		d.Events = append(d.Events, payment.Event{
			Warning: true, Reason: v1alpha1.EventAssetInvoiceReplaced,
			Message: fmt.Sprintf("the asset invoice that was to be good until %s was replaced by the service: whoever has the old one needs the new one",
				early.UTC().Format(time.RFC3339)),
		})
	}
	status.Address, status.AssetInvoice, status.ExpiresAt = address, invoice, expires
}

// maxInvoice is how long an asset invoice may be in a status, in bytes.
const maxInvoice = 2048

// readable returns the asset invoice and when it expires; empty where it cannot be read or shown, is over, or is of another network.
func readable(f Facts, seen *Seen) (string, *metav1.Time) {
	invoice, err := rgb.ParseInvoice(seen.AssetInvoice)
	if err != nil || invoice.Network != rgb.NetOf(f.Network) || len(seen.AssetInvoice) > maxInvoice {
		return "", nil
	}
	expires := seen.ExpiresAt
	if invoice.Expiry != nil && (expires.IsZero() || invoice.Expiry.Before(expires)) {
		expires = *invoice.Expiry
	}
	if expires.IsZero() {
		return seen.AssetInvoice, nil
	}
	instant := metav1.NewTime(expires.Truncate(time.Second))
	return seen.AssetInvoice, &instant
}
