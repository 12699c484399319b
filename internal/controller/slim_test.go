package controller_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/testkit"
)

func TestSlim(t *testing.T) {
	made := func(annotations map[string]string) *v1alpha1.LightningPayment {
		return &v1alpha1.LightningPayment{
			ObjectMeta: metav1.ObjectMeta{Name: "rent", Annotations: annotations},
			Status:     v1alpha1.LightningPaymentStatus{Phase: v1alpha1.PaymentSucceeded},
		}
	}
	for name, tc := range map[string]struct{ annotations, want map[string]string }{
		"applied by kubectl":    {map[string]string{corev1.LastAppliedConfigAnnotation: "{}"}, nil},
		"and annotated":         {map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "author": "alice"}, map[string]string{"author": "alice"}},
		"created":               {nil, nil},
		"created and annotated": {map[string]string{"author": "alice"}, map[string]string{"author": "alice"}},
	} {
		t.Run(name, func(t *testing.T) {
			object := made(tc.annotations)
			object.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
			got, err := controller.Slim(object)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(made(tc.want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	signature := testkit.MakePaymentSignature(v1alpha1.PaymentReference{Kind: "OnchainSend", Name: "payroll", UID: "1"}, 2, "cHNidP8=")
	want := signature.DeepCopy()
	want.Spec.PSBT = ""
	if got, err := controller.Slim(signature); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("a signature became %v, %v", got, err)
	}
	tombstone := toolscache.DeletedFinalStateUnknown{Key: "team/rent"}
	if got, err := controller.Slim(tombstone); err != nil || got != tombstone {
		t.Errorf("a tombstone became %v, %v", got, err)
	}
}
