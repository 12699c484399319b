// Package approval says what is approved and by whom. It is pure: it knows no cluster, no network and no clock.
package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/payment"
)

// PlanHash is the SHA-256, in hex, of all that makes order what it is: the resource, the wallet at its service, whom it pays, how much, at
// most at which fee and until when. Each part is preceded by its length, so that no two plans have the same bytes.
func PlanHash(order *payment.Order) string {
	asset, units := "", int64(0)
	if order.Asset != nil {
		asset, units = order.Asset.ID, order.Asset.Amount
	}
	hash := sha256.New()
	for _, part := range []any{
		"plan 1", order.Kind, order.Holder.Namespace, order.Holder.Name, order.Holder.UID,
		order.Wallet.Namespace, order.Wallet.Name, order.Wallet.XpubVanilla, order.Wallet.Server,
		order.PaymentHash, order.Destination, order.AmountSats, asset, units, order.MaxFeeSats, order.FeeRate, order.StartBefore.Unix(),
	} {
		text := fmt.Sprint(part)
		fmt.Fprintf(hash, "%d:%s", len(text), text)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// Required is by how many people order must be approved. What an asset is worth nobody knows, so that each payment of one needs them; and
// whoever is a node on the way gets the fee, so that a high one is a payment, too.
func Required(limits *v1alpha1.WalletLimits, order *payment.Order) int {
	if limits == nil || limits.RequireApprovalAboveSats == nil {
		return 0
	}
	if above := amount.Sat(*limits.RequireApprovalAboveSats); order.Asset == nil && order.AmountSats <= above && order.MaxFeeSats <= above {
		return 0
	}
	if limits.RequiredApprovals == nil {
		return 1
	}
	return int(*limits.RequiredApprovals)
}

// Need is what a payment needs to be approved.
type Need struct {
	Order *payment.Order
	// Wallet is the Wallet as namespace and name.
	Wallet v1alpha1.WalletReference
	// Author is who declared the payment; empty where nobody says.
	Author string
	// Required is by how many people.
	Required int
}

// State is how far a payment is approved.
type State struct {
	Required int
	// Approvers have approved it, each once, sorted.
	Approvers []string
	// NextExpiry is when the first of their approvals ends; zero where there is none.
	NextExpiry time.Time
	// Rejected says of approvals that do not count why, for a person.
	Rejected []string
}

// Granted reports whether enough people approved.
func (s State) Granted() bool { return len(s.Approvers) >= s.Required }

// Judge counts the approvals of a payment. One counts that names this resource, this plan and this wallet, has not ended, and is not the
// author's. Where nobody says who the author is, none counts: an author could approve their own payment.
func (n Need) Judge(approvals []v1alpha1.PaymentApproval, now time.Time) State {
	state := State{Required: n.Required}
	hash := PlanHash(n.Order)
	for i := range approvals {
		spec := &approvals[i].Spec
		wallet := spec.WalletRef
		if wallet.Namespace == "" {
			wallet.Namespace = approvals[i].Namespace
		}
		reject := func(why string) {
			state.Rejected = append(state.Rejected, fmt.Sprintf("%s %s", approvals[i].Name, why))
		}
		switch {
		case spec.PaymentRef.Kind != n.Order.Holder.Kind || spec.PaymentRef.Name != n.Order.Holder.Name ||
			spec.PaymentRef.UID != n.Order.Holder.UID || approvals[i].Namespace != n.Order.Holder.Namespace:
		case spec.PlanHash != hash:
			reject("is of another plan")
		case wallet != n.Wallet:
			reject("is for another Wallet")
		case !now.Before(spec.ExpiresAt.Time):
			reject("has ended")
		case n.Author == "":
			reject("cannot count, since the annotation " + v1alpha1.AuthorAnnotation + " does not say who declared the payment")
		case spec.Approver == n.Author:
			reject("is the author's own")
		default:
			if !slices.Contains(state.Approvers, spec.Approver) {
				state.Approvers = append(state.Approvers, spec.Approver)
			}
			if state.NextExpiry.IsZero() || spec.ExpiresAt.Time.Before(state.NextExpiry) {
				state.NextExpiry = spec.ExpiresAt.Time
			}
		}
	}
	slices.Sort(state.Approvers)
	slices.Sort(state.Rejected)
	return state
}

// Obstacle says what is missing, or nil.
func (s State) Obstacle(hash string) *payment.Obstacle {
	if s.Granted() {
		return nil
	}
	message := fmt.Sprintf("approved by %d of %d, and nothing was sent: plan %s waits for PaymentApprovals", len(s.Approvers), s.Required, hash)
	if len(s.Rejected) > 0 {
		message += "; approval " + strings.Join(s.Rejected[:min(len(s.Rejected), 3)], ", approval ")
	}
	return &payment.Obstacle{Reason: v1alpha1.ReasonAwaitingApproval, Message: payment.Limit(message, 512)}
}
