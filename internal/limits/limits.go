// Package limits says what a wallet's limits let a payment take. It is pure: it knows no cluster, no network and no clock.
package limits

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/payment"
)

// Window is how long what was spent counts.
const Window = 24 * time.Hour

// Check says which limit of one payment alone keeps order from being paid, or nil. What waits for a limit starts once it is raised, so
// that no obstacle is a dead end.
func Check(limits *v1alpha1.WalletLimits, order *payment.Order) *payment.Obstacle {
	if limits == nil {
		return nil
	}
	blocked := func(reason, format string, arguments ...any) *payment.Obstacle {
		return &payment.Obstacle{Reason: reason, Message: "blocked by the Wallet, and nothing was sent: " + fmt.Sprintf(format, arguments...)}
	}
	switch {
	case limits.MaxPaymentSats != nil && order.AmountSats > amount.Sat(*limits.MaxPaymentSats):
		return blocked(v1alpha1.ReasonLimitExceeded, "it pays %d sat, above spec.limits.maxPaymentSats %d", order.AmountSats, *limits.MaxPaymentSats)
	case limits.MaxFeeSats != nil && order.MaxFeeSats > amount.Sat(*limits.MaxFeeSats):
		return blocked(v1alpha1.ReasonLimitExceeded, "it declares maxFeeSats %d, above spec.limits.maxFeeSats %d", order.MaxFeeSats, *limits.MaxFeeSats)
	case !allowed(limits.AllowedDestinations, order):
		return blocked(v1alpha1.ReasonDestinationNotAllowed, "spec.limits.allowedDestinations has no entry for %s", described(order))
	case limits.DailySats != nil && Need(order) > amount.Sat(*limits.DailySats):
		return blocked(v1alpha1.ReasonLimitExceeded, "it takes up to %d sat with its fee, above spec.limits.dailySats %d", Need(order), *limits.DailySats)
	}
	return nil
}

// Need is the most, in sat, that order takes from the wallet.
func Need(order *payment.Order) amount.Sat { return order.AmountSats + order.MaxFeeSats }

// described is whom order pays, with what.
func described(order *payment.Order) string {
	switch {
	case order.Asset != nil && order.Kind == v1alpha1.RecordLightningPayment:
		return fmt.Sprintf("%d of asset %s to node %s", order.Asset.Amount, order.Asset.ID, order.Destination)
	case order.Asset != nil:
		return fmt.Sprintf("%d of asset %s to an RGB invoice", order.Asset.Amount, order.Asset.ID)
	case order.Kind == v1alpha1.RecordLightningPayment:
		return "bitcoin to node " + order.Destination
	}
	return "bitcoin to address " + order.Destination
}

func allowed(destinations []v1alpha1.AllowedDestination, order *payment.Order) bool {
	return len(destinations) == 0 || slices.ContainsFunc(destinations, func(entry v1alpha1.AllowedDestination) bool { return fits(entry, order) })
}

// fits reports whether order pays whom entry allows.
func fits(entry v1alpha1.AllowedDestination, order *payment.Order) bool {
	lightning := order.Kind == v1alpha1.RecordLightningPayment
	switch {
	case entry.NodePublicKey != "" && !(lightning && strings.EqualFold(entry.NodePublicKey, order.Destination)):
		return false
	case entry.Address != "" && (lightning || order.Asset != nil || payment.CanonicalAddress(entry.Address) != order.Destination):
		return false
	case entry.AssetID == "":
		return order.Asset == nil
	case order.Asset == nil || order.Asset.ID != entry.AssetID:
		return false
	}
	return entry.MaxAssetAmount == nil || order.Asset.Amount <= *entry.MaxAssetAmount
}

// Debit is what one payment takes, or may take, from a wallet.
type Debit struct {
	Sats amount.Sat
	// At is from when on it counts, see payment.CountsFrom.
	At time.Time
	// Final tells that the payment was made, so that it will take neither more nor less.
	Final bool
}

// DebitOf is the debit of a recorded payment, or nil for one that took nothing: it was not submitted, or failed. One whose outcome is
// not known counts in full, with its highest fee.
func DebitOf(record *v1alpha1.PaymentRecord) *Debit {
	journal := &record.Journal
	switch {
	case record.Spec.Kind != v1alpha1.RecordLightningPayment && record.Spec.Kind != v1alpha1.RecordOnchainSend, journal.SubmittedAt == nil:
		return nil
	case journal.Phase == v1alpha1.RecordFailed, journal.Phase == v1alpha1.RecordCancelled:
		return nil
	}
	debit := &Debit{At: payment.CountsFrom(journal).Time, Final: journal.Phase == v1alpha1.RecordSucceeded}
	if record.Spec.AmountSats != nil {
		debit.Sats = amount.Sat(*record.Spec.AmountSats)
	}
	switch {
	case journal.Phase == v1alpha1.RecordSucceeded && journal.FeeSats != nil && *journal.FeeSats >= 0:
		debit.Sats += amount.Sat(min(*journal.FeeSats, int64(amount.MaxSat))) // which may be more than was allowed: no service has to hold to that
		if journal.Plan != nil {                                              // what was signed has left, whatever the service calls its fee
			debit.Sats = max(debit.Sats, amount.Sat(journal.Plan.OutflowSats))
		}
	default:
		debit.Sats += amount.Sat(record.Spec.MaxFeeSats)
	}
	return debit
}

// Standing is what is left of a budget.
type Standing struct {
	// SpentSats counts in the last 24 hours.
	SpentSats amount.Sat
	// RemainingSats may be spent now; 0 where more was spent than is allowed now.
	RemainingSats amount.Sat

	debits    []Debit
	dailySats amount.Sat
}

// StandingOf is what debits leave of dailySats.
func StandingOf(dailySats int64, debits []Debit, now time.Time) Standing {
	standing := Standing{dailySats: amount.Sat(dailySats)}
	for _, debit := range debits {
		if now.Sub(debit.At) < Window {
			standing.debits = append(standing.debits, debit)
			standing.SpentSats += debit.Sats
		}
	}
	slices.SortFunc(standing.debits, func(a, b Debit) int { return a.At.Compare(b.At) })
	standing.RemainingSats = max(standing.dailySats-standing.SpentSats, 0)
	return standing
}

// Block says why need sats cannot be spent now, and until when; nil where they can.
func (s Standing) Block(need amount.Sat, now time.Time) *payment.Obstacle {
	if need <= s.RemainingSats {
		return nil
	}
	obstacle := &payment.Obstacle{Reason: v1alpha1.ReasonBudgetExceeded}
	until := "more is allowed"
	spent := s.SpentSats
	for _, debit := range s.debits {
		if spent -= debit.Sats; s.dailySats-spent >= need {
			at := debit.At.Add(Window)
			until = at.UTC().Format(time.RFC3339)
			obstacle.RetryAfter = min(max(at.Sub(now), time.Second), s.recheck())
			break
		}
	}
	obstacle.Message = fmt.Sprintf("blocked by the Wallet until %s, and nothing was sent: it takes up to %d sat with its fee, and spec.limits.dailySats %d leaves %d",
		until, need, s.dailySats, s.RemainingSats)
	return obstacle
}

// recheck is how often it is looked whether a budget allows more by now: what is under way may fail, or cost less than it might have.
// Where nothing is, only time helps, or another limit, which makes it look by itself.
func (s Standing) recheck() time.Duration {
	if slices.ContainsFunc(s.debits, func(debit Debit) bool { return !debit.Final }) {
		return 5 * time.Minute
	}
	return time.Hour
}
