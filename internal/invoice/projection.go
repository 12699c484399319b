package invoice

import (
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
)

// Keys that are projected beside the payment request.
const (
	// DefaultTargetKey is the key of the payment request where the manifest names none.
	DefaultTargetKey = "paymentRequest"
	hashKey          = "paymentHash"
	expiryKey        = "expiresAt"
	amountKey        = "amountSats"
)

// Projection is what the Secret or ConfigMap of spec.publishTo holds by a status, the payment request under key; nil while nothing was
// published. A payment request that cannot be paid now is empty, and its key stays, so that what mounts it goes on running and nobody is
// shown what must not be paid. The other keys go on telling of the latest invoice.
func Projection(status *v1alpha1.LightningInvoiceStatus, key string, now time.Time) map[string]string {
	if status.RecordRef == "" {
		return nil
	}
	if key == "" {
		key = DefaultTargetKey
	}
	data := map[string]string{key: "", hashKey: status.PaymentHash, expiryKey: "", amountKey: ""}
	if status.AmountSats != nil {
		data[amountKey] = strconv.FormatInt(*status.AmountSats, 10)
	}
	if status.ExpiresAt != nil {
		data[expiryKey] = status.ExpiresAt.UTC().Format(time.RFC3339)
	}
	if status.Phase == v1alpha1.InvoiceOpen && status.ExpiresAt != nil && now.Before(status.ExpiresAt.Time) {
		data[key] = status.PaymentRequest
	}
	return data
}

// SetPublished says in a status whether its projection is where it should be; obstacle is why it is not, or nil.
func SetPublished(status *v1alpha1.LightningInvoiceStatus, generation int64, obstacle *payment.Obstacle, now time.Time) {
	condition := metav1.Condition{
		Type: v1alpha1.ConditionPublished, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonPublished, Message: "written to what publishTo names",
		ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
	}
	if obstacle != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, obstacle.Reason, obstacle.Message
	}
	meta.SetStatusCondition(&status.Conditions, condition)
}
