package manager_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// TestSecretNotGranted declares a Wallet whose Secret nobody let the operator read, and grants it later.
func TestSecretNotGranted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newService(t, sandbox.Documented))
	wallet := w.addWalletWithoutGrant("hot")
	payment := w.pay("hot", "rent", 5000)
	w.start()
	await(t, "the Wallet says what is missing", func() error { return w.unready("hot", v1alpha1.ReasonSecretForbidden) })
	w.get(wallet)
	if err := testkit.CheckStatus(wallet); err != nil {
		t.Error(err)
	}
	message := meta.FindStatusCondition(wallet.Status.Conditions, v1alpha1.ConditionReady).Message
	for _, part := range []string{"Secret hot", "get", "Role", "RoleBinding", w.namespace} {
		if !strings.Contains(message, part) {
			t.Errorf("the message %q does not name the remedy, %s", message, part)
		}
	}
	await(t, "the payment waits for the Wallet", func() error {
		if phase, why := w.phase(payment); phase != v1alpha1.PaymentPending || !strings.HasPrefix(why, v1alpha1.ReasonWalletNotReady) {
			return fmt.Errorf("it is %s, %s", phase, why)
		}
		return nil
	})
	if requests := w.service.Requests(); len(requests) > 0 {
		t.Errorf("the service was called without keys: %+v", requests)
	}

	w.grant("hot")
	await(t, "the Wallet is ready", func() error { return w.ready("hot") })
	w.awaitPaid(payment)
}
