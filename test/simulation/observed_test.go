package simulation

import (
	"github.com/utexo/utexo-operator/internal/observer"
)

// observedKind is the kind of an entry in the queue of the controller that observes services: a wallet on which something is open.
const observedKind = "Observed"

// observe has the operator of a seed observe its services, as a manager does. Elsewhere each resource looks for itself, so that both ways
// are simulated.
func (s *sim) observe() {
	options := observer.DefaultOptions()
	s.options.Observer = &options
	for _, o := range s.objects {
		if o.key.kind == "Wallet" {
			s.addObject(&object{key: objectKey{observedKind, o.key.namespace, o.key.name}})
		}
	}
}

// told puts into the queues of r what its process itself wants looked at.
func (s *sim) told(r *replica) {
	if r.controllers.Queues == nil {
		return
	}
	for _, who := range r.controllers.Queues.Drain() {
		kind := string(who.Kind)
		if kind == "Wallet" {
			kind = observedKind
		}
		if o := s.objectOf(objectKey{kind, who.Namespace, who.Name}); o != nil {
			r.due[o.index] = s.clock.Now()
			r.dirty[o.index] = true
			s.judge.stats.told++
		}
	}
}
