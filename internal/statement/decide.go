package statement

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/readiness"
)

// Facts is everything that Decide looks at.
type Facts struct {
	Statement *v1alpha1.Statement
	// Closed is the document that this pass wrote or found; nil before.
	Closed *Summary
	// Held is what the writing of a document ran into.
	Held *payment.Obstacle
}

// Decision is what Decide wants: Close, where it is not nil, is the period whose document is written now; else Status is what the
// resource shows at rest.
type Decision struct {
	Close        *Period
	Status       v1alpha1.StatementStatus
	RequeueAfter time.Duration
}

// Decide returns what to do next for one statement.
//
//	next period       situation                             step, Ready
//	cannot be told    any                                   rest, InvalidSpec
//	none              any                                   rest, StatementWritten
//	any               ended less than ClosingDelay ago      rest: of a period PeriodNotOver, of a schedule as before
//	over              held                                  rest, as held
//	over              a document was written in this pass   rest; the next one is another pass
//	over              otherwise                             Close
func Decide(f Facts, now time.Time) Decision {
	object := f.Statement.DeepCopy()
	if f.Closed != nil {
		closed(&object.Status, object.Spec.HistoryLimit, f.Closed)
	}
	next, err := Next(object)
	done := readiness.Summary{
		Outcome: readiness.Done, Reason: v1alpha1.ReasonStatementWritten, Message: "the document of every period that ended is written",
	}
	switch {
	case err != nil:
		return rest(object, readiness.Summary{
			Outcome: readiness.DeadEnd, Reason: v1alpha1.ReasonInvalidSpec, Message: err.Error() + "; declare a new Statement",
		}, now, 0)
	case next == nil:
		return rest(object, done, now, 0)
	}
	wait := next.To.Add(ClosingDelay).Sub(now)
	switch {
	case wait > 0 && object.Spec.Period != nil:
		return rest(object, readiness.Summary{
			Reason: v1alpha1.ReasonPeriodNotOver, Message: fmt.Sprintf("the period %s is not over, or ended just now", next),
		}, now, wait)
	case wait > 0 && object.Status.ClosedThrough == nil:
		return rest(object, readiness.Summary{
			Outcome: readiness.Done, Reason: v1alpha1.ReasonScheduled, Message: fmt.Sprintf("the first document is of the period %s", next),
		}, now, wait)
	case wait > 0:
		return rest(object, done, now, wait)
	case f.Held != nil:
		summary := readiness.Summary{Reason: f.Held.Reason, Message: f.Held.Message}
		if f.Held.DeadEnd {
			summary.Outcome = readiness.DeadEnd
		}
		return rest(object, summary, now, f.Held.RetryAfter)
	case f.Closed != nil:
		return rest(object, readiness.Summary{
			Reason: v1alpha1.ReasonProgressing, Message: "documents of earlier periods are still to be written",
		}, now, time.Second)
	}
	return Decision{Close: next}
}

func rest(object *v1alpha1.Statement, summary readiness.Summary, now time.Time, after time.Duration) Decision {
	status := object.Status
	status.ObservedGeneration = object.Generation
	status.Conditions = readiness.Conditions(status.Conditions, object.Generation, summary, now)
	return Decision{Status: status, RequeueAfter: after}
}

// What a status shows at most.
const (
	maxTotals = 2000
	maxRefs   = 1000
)

// closed enters a document into a status, and drops the oldest that are more than the limit: whole documents, of all their parts.
func closed(status *v1alpha1.StatementStatus, limit int32, document *Summary) {
	through := metav1.NewTime(document.To)
	status.ClosedThrough, status.Entries = &through, &document.Entries
	status.Totals = document.Totals[:min(len(document.Totals), maxTotals)]
	for i, part := range document.Parts {
		status.DocumentRefs = append(status.DocumentRefs, v1alpha1.StatementDocument{
			Name: part.Name, Part: int32(i + 1), From: metav1.NewTime(document.From), To: through, Entries: part.Entries, SHA256: part.SHA256,
		})
	}
	documents := 0
	for i := len(status.DocumentRefs) - 1; i >= 0; i-- {
		if status.DocumentRefs[i].Part == 1 {
			documents++
		}
		if kept := len(status.DocumentRefs) - i; documents > int(limit) || kept > maxRefs {
			cut := i + 1
			for cut < len(status.DocumentRefs) && status.DocumentRefs[cut].Part != 1 {
				cut++
			}
			status.DocumentRefs = status.DocumentRefs[cut:]
			return
		}
	}
}
