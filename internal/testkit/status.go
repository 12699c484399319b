package testkit

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// maxMessage is how long, in bytes, a condition's message may be: one sentence with the remedy.
const maxMessage = 512

// reported is what the check reads of every kind's status.
type reported struct {
	ObservedGeneration int64              `json:"observedGeneration"`
	Conditions         []metav1.Condition `json:"conditions"`
}

// CheckStatus checks what must be so whenever a reconciler returned, whatever the case was about. The error names everything that is not:
//   - observedGeneration is the object's generation, in the status and in those conditions that have one;
//   - each condition has a reason and a message, of at most 512 bytes, and stands once;
//   - Reconciling and Stalled are absent unless True;
//   - exactly one of Ready, Reconciling and Stalled is True, so that a reader always learns who moves next;
//   - kstatus, by which Flux and Helm judge health, says Current where Ready is True, Failed where Stalled is, else InProgress; of an
//     object that is being deleted it says Terminating, whatever its conditions.
//
// A PaymentRecord has no conditions and fails.
func CheckStatus(obj client.Object) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return fmt.Errorf("reading the status of %s: %w", describe(obj), err)
	}
	// ToUnstructured of an object that is unstructured already returns its own map, and kstatus only reads it.
	u := &unstructured.Unstructured{Object: content}
	fields, found, err := unstructured.NestedMap(content, "status")
	if err != nil || !found {
		return errors.Join(fmt.Errorf("%s has no status", describe(obj)), err)
	}
	var r reported
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &r); err != nil {
		return fmt.Errorf("reading the status of %s: %w", describe(obj), err)
	}
	problems := slices.Concat(r.checkGenerations(obj.GetGeneration()), r.checkConditions())

	want := r.wantHealth()
	if !obj.GetDeletionTimestamp().IsZero() {
		want = status.TerminatingStatus
	}
	switch got, err := status.Compute(u); {
	case err != nil:
		problems = append(problems, "kstatus cannot read it: "+err.Error())
	case got.Status != want:
		problems = append(problems, fmt.Sprintf("kstatus says %s (%s), want %s", got.Status, got.Message, want))
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("the status of %s is wrong:\n\t%s\nits conditions:\n%s", describe(obj), strings.Join(problems, "\n\t"), r.listConditions())
}

func (r *reported) checkGenerations(generation int64) (problems []string) {
	if r.ObservedGeneration != generation {
		problems = append(problems, fmt.Sprintf("observedGeneration is %d, want %d, the generation", r.ObservedGeneration, generation))
	}
	for _, c := range r.Conditions {
		if c.ObservedGeneration != 0 && c.ObservedGeneration != generation {
			problems = append(problems, fmt.Sprintf("condition %s has observedGeneration %d, want %d, the generation", c.Type, c.ObservedGeneration, generation))
		}
	}
	return problems
}

func (r *reported) checkConditions() (problems []string) {
	seen := map[string]bool{}
	for _, c := range r.Conditions {
		if seen[c.Type] {
			problems = append(problems, fmt.Sprintf("condition %s stands twice", c.Type))
		}
		seen[c.Type] = true
		if c.Reason == "" {
			problems = append(problems, fmt.Sprintf("condition %s has no reason", c.Type))
		}
		if c.Message == "" {
			problems = append(problems, fmt.Sprintf("condition %s has no message", c.Type))
		}
		if len(c.Message) > maxMessage {
			problems = append(problems, fmt.Sprintf("condition %s has a message of %d bytes, want at most %d", c.Type, len(c.Message), maxMessage))
		}
		if c.LastTransitionTime.IsZero() {
			problems = append(problems, fmt.Sprintf("condition %s has no lastTransitionTime", c.Type))
		}
		if (c.Type == v1alpha1.ConditionReconciling || c.Type == v1alpha1.ConditionStalled) && c.Status != metav1.ConditionTrue {
			problems = append(problems, fmt.Sprintf("condition %s is %s, want it absent unless True", c.Type, c.Status))
		}
	}
	if !seen[v1alpha1.ConditionReady] {
		problems = append(problems, "there is no condition Ready")
	}
	var isTrue []string
	for _, conditionType := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
		if r.isTrue(conditionType) {
			isTrue = append(isTrue, conditionType)
		}
	}
	switch len(isTrue) {
	case 0:
		problems = append(problems, "none of Ready, Reconciling and Stalled is True, want exactly one")
	case 1:
	default:
		problems = append(problems, strings.Join(isTrue, " and ")+" are True together, want exactly one")
	}
	return problems
}

func (r *reported) wantHealth() status.Status {
	switch {
	case r.isTrue(v1alpha1.ConditionReady):
		return status.CurrentStatus
	case r.isTrue(v1alpha1.ConditionStalled):
		return status.FailedStatus
	default:
		return status.InProgressStatus
	}
}

// isTrue is not meta.IsStatusConditionTrue, which sees only the first of two conditions of one type.
func (r *reported) isTrue(conditionType string) bool {
	return slices.ContainsFunc(r.Conditions, func(c metav1.Condition) bool {
		return c.Type == conditionType && c.Status == metav1.ConditionTrue
	})
}

func (r *reported) listConditions() string {
	if len(r.Conditions) == 0 {
		return "\tnone"
	}
	var b strings.Builder
	for _, c := range r.Conditions {
		fmt.Fprintf(&b, "\t%s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// describe returns kind, namespace and name of obj. What a typed client returns does not say its kind.
func describe(obj client.Object) string {
	kind := fmt.Sprintf("%T", obj)
	if gvk, err := apiutil.GVKForObject(obj, Scheme()); err == nil {
		kind = gvk.Kind
	}
	return fmt.Sprintf("%s %s/%s", kind, obj.GetNamespace(), obj.GetName())
}
