package simulation

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/payment"
)

// mutation takes a rule of the protocol away, from outside the product: in what its API server, its clock or its service do.
type mutation struct {
	rules  rules
	policy func(*payment.Policy)
	tune   func(*controller.Controllers)
	// read changes what the uncached reader reads.
	read func(client.Object)
	// answer changes what the client is answered.
	answer func(s *sim, t *task, operation string, a *answer)
	// resend makes the transport send again what had no answer.
	resend bool
}
