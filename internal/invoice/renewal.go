package invoice

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/readiness"
)

// lateLook is how often invoices that were renewed are looked at.
const lateLook = time.Minute

// RenewalRecordName is the name of the record of the invoice that the n-th renewal of a resource published; RecordName is that of renewal 0.
func RenewalRecordName(uid string, renewal int32) string {
	if renewal == 0 {
		return RecordName(uid)
	}
	return fmt.Sprintf("%s-%d", RecordName(uid), renewal)
}

// RecordNames are the names of the records of all invoices of a resource that may still be paid, as far as its status can tell, which may
// lag behind by one renewal. Some may not exist.
func RecordNames(object *v1alpha1.LightningInvoice) []string {
	latest := object.Status.Renewals
	var names []string
	for renewal := max(0, latest-v1alpha1.MaxInvoiceHistory); renewal <= latest+1; renewal++ {
		names = append(names, RenewalRecordName(string(object.UID), renewal))
	}
	return names
}

// MayHaveSuccessor reports whether there may be an invoice after record that the status of its resource does not tell of: the status was
// lost, or a process ended between publishing and telling.
func MayHaveSuccessor(object *v1alpha1.LightningInvoice, record *v1alpha1.PaymentRecord, now time.Time) bool {
	if record == nil || IsGivenUp(record) {
		return false
	}
	if status := object.Status; status.Phase == "" || status.IssueRenewal > status.Renewals { // lost, or the next was asked for
		return true
	}
	if object.Spec.Renewal != v1alpha1.RenewOnExpiry {
		return false
	}
	issued, err := bolt11.DecodeKept(record.Spec.PaymentRequest)
	return err == nil && issued.Expired(now)
}

// PastOf is what a status tells of an invoice that was renewed, by its record.
func PastOf(record *v1alpha1.PaymentRecord, renewal int32) v1alpha1.InvoiceGeneration {
	var shown v1alpha1.LightningInvoiceStatus
	publish(&shown, record)
	past := v1alpha1.InvoiceGeneration{
		Renewal: renewal, PaymentHash: record.Spec.PaymentHash, RequestID: record.Spec.RequestID, CreatedAt: shown.CreatedAt,
		ExpiresAt: shown.ExpiresAt, Outcome: v1alpha1.OutcomeWatched,
	}
	if completed := record.Journal.CompletedAt; completed != nil { // for the resource, or for none
		settled := metav1.NewTime(completed.Truncate(time.Second))
		past.Outcome, past.SettledAt = v1alpha1.OutcomeSettled, &settled
	}
	return past
}

// Watched are the invoices of a status that were renewed and may still be paid, or of which that is not known yet, newest first.
func Watched(status *v1alpha1.LightningInvoiceStatus) []v1alpha1.InvoiceGeneration {
	return slices.DeleteFunc(slices.Clone(status.History), func(g v1alpha1.InvoiceGeneration) bool { return g.Outcome != v1alpha1.OutcomeWatched })
}

// SettledHash is the payment hash of the invoice whose payment settled a resource; empty where it is not settled.
func SettledHash(status *v1alpha1.LightningInvoiceStatus) string {
	if status.Phase != v1alpha1.InvoiceSettled {
		return ""
	}
	if paid := settledOf(status); paid != nil {
		return paid.PaymentHash
	}
	return status.PaymentHash
}

// Sooner is the earlier of two times to look again, of which 0 is never.
func Sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

func renews(f Facts) bool { return f.Invoice.Spec.Renewal == v1alpha1.RenewOnExpiry }

// AwaitsExpiry reports whether a resource is Failed only until its invoice, which the service called failed, expires and is renewed.
func AwaitsExpiry(object *v1alpha1.LightningInvoice) bool {
	status := object.Status
	return object.Spec.Renewal == v1alpha1.RenewOnExpiry && status.Phase == v1alpha1.InvoiceFailed && status.PaymentRequest != ""
}

// remember brings the history of a status up to the record that was published last.
func remember(status *v1alpha1.LightningInvoiceStatus, f Facts) {
	status.Renewals = f.Renewal
	for _, past := range f.Past {
		if !slices.ContainsFunc(status.History, func(g v1alpha1.InvoiceGeneration) bool { return g.Renewal == past.Renewal }) {
			status.History = append(status.History, past)
		}
	}
	slices.SortFunc(status.History, func(a, b v1alpha1.InvoiceGeneration) int { return cmp.Compare(b.Renewal, a.Renewal) })
	status.History = status.History[:min(len(status.History), v1alpha1.MaxInvoiceHistory)]
	if paid := settledOf(status); paid != nil && status.Phase != v1alpha1.InvoiceSettled {
		status.Phase, status.SettledAt = v1alpha1.InvoiceSettled, paid.SettledAt
	}
}

// settledOf is the invoice of the history that was paid, or nil.
func settledOf(status *v1alpha1.LightningInvoiceStatus) *v1alpha1.InvoiceGeneration {
	for i := range status.History {
		if status.History[i].Outcome == v1alpha1.OutcomeSettled {
			return &status.History[i]
		}
	}
	return nil
}

// paidEarlier is the first invoice of the history that was just seen to be paid, or nil.
func paidEarlier(f Facts, status *v1alpha1.LightningInvoiceStatus) *v1alpha1.InvoiceGeneration {
	for i := len(status.History) - 1; i >= 0; i-- {
		if past := &status.History[i]; past.Outcome == v1alpha1.OutcomeWatched && f.Earlier[past.Renewal] == Settled {
			return past
		}
	}
	return nil
}

// settleEarlier is for an invoice that was paid after it was renewed. Whatever else of the resource is paid has no resource any more.
func settleEarlier(f Facts, status v1alpha1.LightningInvoiceStatus, paid *v1alpha1.InvoiceGeneration, now time.Time) Decision {
	settled := metav1.NewTime(now.Truncate(time.Second))
	paid.Outcome, paid.SettledAt, status.SettledAt = v1alpha1.OutcomeSettled, &settled, &settled
	decision := rest(f, status, v1alpha1.InvoiceSettled, settledSummaryOf(&status), now, 0)
	decision.PaidEarlier = paid.DeepCopy()
	decision.Events = []payment.Event{{
		Reason: v1alpha1.EventInvoiceSettledLate, Message: "an invoice was paid after it had been renewed: a payment was on its way",
	}}
	return decision
}

// settledSummaryOf tells which invoice was paid: the latest, or one that was renewed.
func settledSummaryOf(status *v1alpha1.LightningInvoiceStatus) readiness.Summary {
	if settledOf(status) == nil {
		return settledSummary
	}
	const message = "paid, by an invoice that was renewed since: see status.history"
	return readiness.Summary{
		Outcome: readiness.Done, Reason: v1alpha1.ReasonSettled, Message: message,
		Also: []metav1.Condition{{Type: v1alpha1.ConditionSettled, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSettled, Message: message}},
	}
}

// conclude says what became of the invoices that were watched long enough. Each is looked at once more after its time.
func conclude(f Facts, status *v1alpha1.LightningInvoiceStatus, now time.Time) {
	for i := range status.History {
		past := &status.History[i]
		if past.Outcome != v1alpha1.OutcomeWatched || past.ExpiresAt != nil && now.Before(past.ExpiresAt.Add(LateSettlement)) {
			continue
		}
		switch f.Earlier[past.Renewal] {
		case Lost:
			past.Outcome = v1alpha1.OutcomeUnknown
		case Open, Expired, Failed:
			past.Outcome = v1alpha1.OutcomeExpired
		}
	}
}

// renew has the next invoice issued after one that the service shows to be unpaid. It waits where more could not be watched: that needs a
// service whose invoices live for a shorter time than was asked for, or that does not tell what became of them.
func renew(f Facts, status v1alpha1.LightningInvoiceStatus, now time.Time) Decision {
	if next := status.Renewals + 1; status.IssueRenewal != next {
		status.IssueRenewal, status.IssueAttempts = next, 0
	}
	if len(Watched(&status)) >= v1alpha1.MaxInvoiceHistory {
		return rest(f, status, v1alpha1.InvoiceRenewing, readiness.Summary{
			Reason:  v1alpha1.ReasonProgressing,
			Message: "expired unpaid; as many earlier invoices as can be watched may still be paid: the next one is issued when one of them no longer can",
		}, now, lateLook)
	}
	obstacle := f.NoIssuing
	if obstacle == nil {
		obstacle = f.Held
	}
	decision := issue(f, status, v1alpha1.InvoiceRenewing, obstacle, now)
	decision.GiveUp = decision.Status.Phase == v1alpha1.InvoiceFailed
	return decision
}

// unseenExpiry is for an invoice that expired while the service does not tell whether it was paid: it is not renewed before that.
func unseenExpiry(f Facts, status v1alpha1.LightningInvoiceStatus, obstacle *payment.Obstacle, now time.Time) Decision {
	summary := readiness.Summary{
		Reason: v1alpha1.ReasonServiceUnavailable, Message: "expired; the next one is issued once the service tells that it was not paid",
	}
	after := pollAfter(&status, now)
	if obstacle != nil {
		summary.Reason, summary.Message = obstacle.Reason, summary.Message+": "+obstacle.Message
		after = max(after, obstacle.RetryAfter)
	}
	return rest(f, status, v1alpha1.InvoiceRenewing, summary, now, after)
}
