// Package readiness derives the standard conditions Ready, Reconciling and Stalled, as kstatus reads them. Conditions are written and
// never read: what they say is derived each time from phase and reason.
package readiness

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// Outcome says where a resource stands.
type Outcome int

// Outcomes.
const (
	// InProgress means that progress is expected, by itself or from whom the message names.
	InProgress Outcome = iota
	// Done means that what was declared is so.
	Done
	// DeadEnd means that nothing more happens until somebody acts.
	DeadEnd
)

// Summary is what the standard conditions say.
type Summary struct {
	Outcome Outcome
	// Reason is one of the reasons of v1alpha1.
	Reason  string
	Message string
	// NotReady makes Ready False, and not Unknown, while in progress: for kinds whose readiness others wait on.
	NotReady bool
	// Also are further conditions: type, status, reason and message.
	Also []metav1.Condition
	// Without are the types of conditions that no longer are.
	Without []string
}

// maxMessage is the most that a condition's message should hold, in bytes.
const maxMessage = 512

// Conditions returns existing brought up to summary for a generation of a resource. A condition whose status does not change keeps its
// lastTransitionTime; existing is not changed.
func Conditions(existing []metav1.Condition, generation int64, summary Summary, now time.Time) []metav1.Condition {
	conditions := make([]metav1.Condition, len(existing))
	copy(conditions, existing)
	set := func(kind string, status metav1.ConditionStatus, reason, message string) {
		if len(message) > maxMessage {
			message = strings.ToValidUTF8(message[:maxMessage], "") // not within a character
		}
		meta.SetStatusCondition(&conditions, metav1.Condition{
			Type: kind, Status: status, Reason: reason, Message: message,
			ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
		})
	}
	switch summary.Outcome {
	case Done:
		set(v1alpha1.ConditionReady, metav1.ConditionTrue, summary.Reason, summary.Message)
		meta.RemoveStatusCondition(&conditions, v1alpha1.ConditionReconciling)
		meta.RemoveStatusCondition(&conditions, v1alpha1.ConditionStalled)
	case DeadEnd:
		set(v1alpha1.ConditionReady, metav1.ConditionFalse, summary.Reason, summary.Message)
		set(v1alpha1.ConditionStalled, metav1.ConditionTrue, summary.Reason, summary.Message)
		meta.RemoveStatusCondition(&conditions, v1alpha1.ConditionReconciling)
	default:
		ready := metav1.ConditionUnknown
		if summary.NotReady {
			ready = metav1.ConditionFalse
		}
		set(v1alpha1.ConditionReady, ready, summary.Reason, summary.Message)
		set(v1alpha1.ConditionReconciling, metav1.ConditionTrue, summary.Reason, summary.Message)
		meta.RemoveStatusCondition(&conditions, v1alpha1.ConditionStalled)
	}
	for _, condition := range summary.Also {
		set(condition.Type, condition.Status, condition.Reason, condition.Message)
	}
	for _, kind := range summary.Without {
		meta.RemoveStatusCondition(&conditions, kind)
	}
	return conditions
}
