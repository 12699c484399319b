package readiness

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

var (
	earlier = metav1.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	now     = time.Date(2026, time.January, 2, 0, 0, 0, 999, time.UTC)
	changed = metav1.Date(2026, time.January, 2, 0, 0, 0, 0, time.UTC)
)

func condition(kind string, status metav1.ConditionStatus, reason, message string, generation int64, since metav1.Time) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: generation, LastTransitionTime: since}
}

func TestConditions(t *testing.T) {
	ready := func(status metav1.ConditionStatus, since metav1.Time) metav1.Condition {
		return condition("Ready", status, "Reason", "message", 2, since)
	}
	reconciling, stalled := condition("Reconciling", "True", "Reason", "message", 2, changed), condition("Stalled", "True", "Reason", "message", 2, changed)
	before := func(kind string, status metav1.ConditionStatus) metav1.Condition {
		return condition(kind, status, "Earlier", "was so", 1, earlier)
	}
	for name, tc := range map[string]struct {
		existing []metav1.Condition
		summary  Summary
		want     []metav1.Condition
	}{
		"a new resource under way":  {summary: Summary{}, want: []metav1.Condition{ready("Unknown", changed), reconciling}},
		"a new resource that waits": {summary: Summary{NotReady: true}, want: []metav1.Condition{ready("False", changed), reconciling}},
		"a new resource that is done": {
			summary: Summary{Outcome: Done}, want: []metav1.Condition{ready("True", changed)},
		},
		"a new resource at a dead end": {
			summary: Summary{Outcome: DeadEnd}, want: []metav1.Condition{ready("False", changed), stalled},
		},
		"under way as before keeps the time, not the reason": {
			existing: []metav1.Condition{before("Ready", "Unknown"), before("Reconciling", "True")},
			want:     []metav1.Condition{ready("Unknown", earlier), condition("Reconciling", "True", "Reason", "message", 2, earlier)},
		},
		"from under way to done": {
			existing: []metav1.Condition{before("Reconciling", "True"), before("Ready", "Unknown")},
			summary:  Summary{Outcome: Done}, want: []metav1.Condition{ready("True", changed)},
		},
		"from under way to a dead end": {
			existing: []metav1.Condition{before("Ready", "Unknown"), before("Reconciling", "True")},
			summary:  Summary{Outcome: DeadEnd}, want: []metav1.Condition{ready("False", changed), stalled},
		},
		"from a dead end to under way": {
			existing: []metav1.Condition{before("Ready", "False"), before("Stalled", "True")},
			want:     []metav1.Condition{ready("Unknown", changed), reconciling},
		},
		"from a dead end to not ready keeps the time": {
			existing: []metav1.Condition{before("Ready", "False"), before("Stalled", "True")},
			summary:  Summary{NotReady: true}, want: []metav1.Condition{ready("False", earlier), reconciling},
		},
		"done as before keeps the time": {
			existing: []metav1.Condition{before("Ready", "True")}, summary: Summary{Outcome: Done}, want: []metav1.Condition{ready("True", earlier)},
		},
		"from done to a dead end": {
			existing: []metav1.Condition{before("Ready", "True")}, summary: Summary{Outcome: DeadEnd}, want: []metav1.Condition{ready("False", changed), stalled},
		},
		"other conditions stay": {
			existing: []metav1.Condition{before("Custom", "True"), before("Ready", "True")},
			summary:  Summary{Outcome: Done}, want: []metav1.Condition{before("Custom", "True"), ready("True", earlier)},
		},
		"what no longer is goes": {
			existing: []metav1.Condition{before("Ready", "True"), before("Approved", "False"), before("Synced", "True")},
			summary:  Summary{Outcome: Done, Without: []string{"Approved", "Unheard"}},
			want:     []metav1.Condition{ready("True", earlier), before("Synced", "True")},
		},
		"further conditions are set, and keep their time": {
			existing: []metav1.Condition{before("Ready", "True"), before("Settled", "Unknown"), before("Synced", "True")},
			summary: Summary{Outcome: Done, Also: []metav1.Condition{
				{Type: "Settled", Status: "True", Reason: "Settled", Message: "paid"}, {Type: "Synced", Status: "True", Reason: "Synced", Message: "fresh"},
			}},
			want: []metav1.Condition{
				ready("True", earlier), condition("Settled", "True", "Settled", "paid", 2, changed), condition("Synced", "True", "Synced", "fresh", 2, earlier),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.summary.Reason, tc.summary.Message = "Reason", "message"
			if diff := cmp.Diff(tc.want, Conditions(tc.existing, 2, tc.summary, now)); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMessagesAreCutAtACharactersBorder(t *testing.T) {
	for name, tc := range map[string]struct{ message, want string }{
		"as long as may be":   {strings.Repeat("x", 512), strings.Repeat("x", 512)},
		"longer":              {strings.Repeat("x", 600), strings.Repeat("x", 512)},
		"within a character":  {strings.Repeat("x", 511) + "€", strings.Repeat("x", 511)},
		"behind a character":  {strings.Repeat("x", 509) + "€€", strings.Repeat("x", 509) + "€"},
		"within a wide one":   {strings.Repeat("x", 510) + "𝄞", strings.Repeat("x", 510)},
		"nothing but of them": {strings.Repeat("é", 400), strings.Repeat("é", 256)},
	} {
		t.Run(name, func(t *testing.T) {
			summary := Summary{Reason: "R", Message: tc.message, Also: []metav1.Condition{{Type: "Settled", Status: "True", Reason: "R", Message: tc.message}}}
			for _, got := range Conditions(nil, 1, summary, now) {
				if got.Message != tc.want {
					t.Errorf("%s has %d bytes, ending in %q", got.Type, len(got.Message), got.Message[500:])
				}
			}
		})
	}
}

// TestConditionsAlwaysTellOneThing holds for any history of summaries: kstatus reads each as it is meant, Reconciling and Stalled are never
// together nor there without being True, the inputs stay as they were, and saying the same again changes nothing.
func TestConditionsAlwaysTellOneThing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var conditions []metav1.Condition
		for i := range rapid.IntRange(1, 8).Draw(t, "summaries") {
			summary := Summary{
				Outcome: Outcome(rapid.IntRange(0, 2).Draw(t, "outcome")), Reason: rapid.SampledFrom([]string{"A", "B"}).Draw(t, "reason"),
				Message: rapid.String().Draw(t, "message"), NotReady: rapid.Bool().Draw(t, "notReady"),
			}
			if rapid.Bool().Draw(t, "also") {
				summary.Also = []metav1.Condition{{Type: "Settled", Status: rapid.SampledFrom([]metav1.ConditionStatus{"True", "False", "Unknown"}).Draw(t, "settled"), Reason: "S"}}
			}
			at := now.Add(time.Duration(i) * time.Hour)
			before, also := deepCopy(conditions), deepCopy(summary.Also)
			next := Conditions(conditions, int64(i), summary, at)
			if diff := cmp.Diff(before, conditions); diff != "" {
				t.Fatalf("the existing conditions changed (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(also, summary.Also); diff != "" {
				t.Fatalf("the summary changed (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(next, Conditions(next, int64(i), summary, at.Add(time.Hour))); diff != "" {
				t.Fatalf("the same again is a change (-first +second):\n%s", diff)
			}
			was := byType(conditions)
			for _, c := range next {
				if len(c.Message) > 512 || !utf8.ValidString(c.Message) {
					t.Fatalf("the message of %s has %d bytes, or is not UTF-8", c.Type, len(c.Message))
				}
				if old, ok := was[c.Type]; ok && (old.Status == c.Status) != (old.LastTransitionTime == c.LastTransitionTime) {
					t.Fatalf("%s went from %s since %s to %s since %s", c.Type, old.Status, old.LastTransitionTime, c.Status, c.LastTransitionTime)
				}
			}
			assertHealth(t, next, summary.Outcome)
			conditions = next
		}
	})
}

func deepCopy(conditions []metav1.Condition) []metav1.Condition {
	if conditions == nil {
		return nil
	}
	copied := make([]metav1.Condition, len(conditions))
	for i := range conditions {
		conditions[i].DeepCopyInto(&copied[i])
	}
	return copied
}

func byType(conditions []metav1.Condition) map[string]metav1.Condition {
	found := map[string]metav1.Condition{}
	for _, c := range conditions {
		found[c.Type] = c
	}
	return found
}

func assertHealth(t *rapid.T, conditions []metav1.Condition, outcome Outcome) {
	found := byType(conditions)
	_, reconciling := found["Reconciling"]
	_, stalled := found["Stalled"]
	if len(found) != len(conditions) || reconciling && stalled || reconciling != (outcome == InProgress) || stalled != (outcome == DeadEnd) {
		t.Fatalf("outcome %d gives %+v", outcome, conditions)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1alpha1.LightningPayment{
		ObjectMeta: metav1.ObjectMeta{Name: "rent", Generation: 7},
		Status:     v1alpha1.LightningPaymentStatus{ObservedGeneration: 7, Conditions: conditions},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := status.Compute(&unstructured.Unstructured{Object: content})
	if err != nil {
		t.Fatal(err)
	}
	want := [...]status.Status{InProgress: status.InProgressStatus, Done: status.CurrentStatus, DeadEnd: status.FailedStatus}[outcome]
	if got.Status != want {
		t.Fatalf("kstatus says %s, want %s, of %+v", got.Status, want, conditions)
	}
}
