package testkit

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

const generation = 3

func makeCondition(conditionType string, status metav1.ConditionStatus) metav1.Condition {
	return metav1.Condition{
		Type: conditionType, Status: status, Reason: "Tested", Message: "a case says so",
		ObservedGeneration: generation, LastTransitionTime: metav1.Unix(1_700_000_000, 0),
	}
}

func makeReported(conditions ...metav1.Condition) *v1alpha1.LightningPayment {
	payment := MakeLightningPayment("rent").Obj()
	payment.Generation = generation
	payment.Status.ObservedGeneration = generation
	payment.Status.Conditions = conditions
	return payment
}

func TestCheckStatus(t *testing.T) {
	ready := makeCondition(v1alpha1.ConditionReady, metav1.ConditionTrue)
	notReady := makeCondition(v1alpha1.ConditionReady, metav1.ConditionFalse)
	notYetReady := makeCondition(v1alpha1.ConditionReady, metav1.ConditionUnknown)
	reconciling := makeCondition(v1alpha1.ConditionReconciling, metav1.ConditionTrue)
	stalled := makeCondition(v1alpha1.ConditionStalled, metav1.ConditionTrue)

	cases := map[string]struct {
		obj  *v1alpha1.LightningPayment
		edit func(*v1alpha1.LightningPayment)
		// want are parts of the error; none where the status is as it must be.
		want []string
	}{
		"done":                       {obj: makeReported(ready)},
		"in progress":                {obj: makeReported(notYetReady, reconciling)},
		"in progress and not ready":  {obj: makeReported(notReady, reconciling)},
		"a dead end":                 {obj: makeReported(notReady, stalled)},
		"with conditions of its own": {obj: makeReported(makeCondition(v1alpha1.ConditionSucceeded, metav1.ConditionFalse), notReady, stalled)},
		"conditions without a generation are of the status's": {
			obj:  makeReported(ready),
			edit: func(p *v1alpha1.LightningPayment) { p.Status.Conditions[0].ObservedGeneration = 0 },
		},
		"being deleted": {
			obj: makeReported(notYetReady, reconciling),
			edit: func(p *v1alpha1.LightningPayment) {
				p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1_700_000_000, 0)}
			},
		},

		"a dead end that says that it goes on": {
			obj:  makeReported(notReady, reconciling, stalled),
			want: []string{"Reconciling and Stalled are True together", "kstatus says InProgress", "want Failed"},
		},
		"done and yet going on": {
			obj:  makeReported(ready, reconciling),
			want: []string{"Ready and Reconciling are True together", "kstatus says InProgress", "want Current"},
		},
		"done and a dead end": {
			obj:  makeReported(ready, stalled),
			want: []string{"Ready and Stalled are True together", "kstatus says Failed", "want Current"},
		},
		"neither done nor going on nor a dead end": {
			obj:  makeReported(notReady),
			want: []string{"none of Ready, Reconciling and Stalled is True"},
		},
		"Stalled is kept as False": {
			obj:  makeReported(ready, makeCondition(v1alpha1.ConditionStalled, metav1.ConditionFalse)),
			want: []string{"condition Stalled is False, want it absent unless True"},
		},
		"Reconciling is kept as Unknown": {
			obj:  makeReported(ready, makeCondition(v1alpha1.ConditionReconciling, metav1.ConditionUnknown)),
			want: []string{"condition Reconciling is Unknown, want it absent unless True"},
		},
		"no conditions": {
			obj:  makeReported(),
			want: []string{"there is no condition Ready", "kstatus says Current", "want InProgress", "its conditions:\n\tnone"},
		},
		"never written": {
			obj:  makeReported(notYetReady, reconciling),
			edit: func(p *v1alpha1.LightningPayment) { p.Status.ObservedGeneration = -1 },
			want: []string{"observedGeneration is -1, want 3"},
		},
		"observedGeneration left out": {
			obj:  makeReported(ready),
			edit: func(p *v1alpha1.LightningPayment) { p.Status.ObservedGeneration = 0 },
			want: []string{"observedGeneration is 0, want 3"},
		},
		"a condition about another generation": {
			obj:  makeReported(ready),
			edit: func(p *v1alpha1.LightningPayment) { p.Status.Conditions[0].ObservedGeneration = 2 },
			want: []string{"condition Ready has observedGeneration 2, want 3"},
		},
		"a condition twice": {
			obj:  makeReported(ready, ready),
			want: []string{"condition Ready stands twice"},
		},
		"a bare condition": {
			obj:  makeReported(metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}),
			want: []string{"Ready has no reason", "Ready has no message", "Ready has no lastTransitionTime"},
		},
		"a message that is a story": {
			obj:  makeReported(ready),
			edit: func(p *v1alpha1.LightningPayment) { p.Status.Conditions[0].Message = strings.Repeat("x", 513) },
			want: []string{"Ready has a message of 513 bytes, want at most 512"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.edit != nil {
				tc.edit(tc.obj)
			}
			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(tc.obj)
			if err != nil {
				t.Fatal(err)
			}
			raw := &unstructured.Unstructured{Object: content}
			raw.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("LightningPayment"))
			// A case may hold the object in either form.
			for _, obj := range []client.Object{tc.obj, raw} {
				checkError(t, CheckStatus(obj), tc.want)
			}
		})
	}
}

func checkError(t *testing.T, err error, want []string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Errorf("CheckStatus() = %v, want nil", err)
		}
		return
	}
	if err == nil {
		t.Fatalf("CheckStatus() = nil, want an error with %q", want)
	}
	for _, part := range append(want, "LightningPayment default/rent") {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("CheckStatus() = %v, want it to say %q", err, part)
		}
	}
}

func TestCheckStatusOfARecord(t *testing.T) {
	err := CheckStatus(MakePaymentRecord("ln-1").Obj())
	if err == nil || !strings.Contains(err.Error(), "PaymentRecord default/ln-1 has no status") {
		t.Errorf("CheckStatus() = %v, want that a PaymentRecord has no status", err)
	}
}
