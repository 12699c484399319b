package controller

import (
	"context"
	"sync"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/utexo/utexo-operator/internal/observer"
)

// Queues are the work queues of the controllers, by kind, for what is to be looked at because of something that happened in this process.
type Queues struct {
	mutex  sync.Mutex
	queues map[observer.Kind]workqueue.TypedRateLimitingInterface[reconcile.Request]
	// early is what was added to the queue of a controller before that started.
	early []observer.Subject
}

// Priorities in a queue, higher ones first. What was created or changed has 0, what was there when the process started -100.
const (
	// priorityTurn is of a payment whose turn it is: its wallet waits for it.
	priorityTurn = 10
	// priorityLook is of what only looks.
	priorityLook = -200
)

// add has who reconciled.
func (q *Queues) add(who observer.Subject, priority int) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	queue, request := q.queues[who.Kind], reconcile.Request{NamespacedName: who.NamespacedName}
	if queue == nil {
		q.early = append(q.early, who)
		return
	}
	if ordered, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		ordered.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, request)
		return
	}
	queue.Add(request)
}

// source has the queue of the controller of a kind known once it starts.
func (q *Queues) source(kind observer.Kind) source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		q.mutex.Lock()
		defer q.mutex.Unlock()
		if q.queues == nil {
			q.queues = map[observer.Kind]workqueue.TypedRateLimitingInterface[reconcile.Request]{}
		}
		q.queues[kind] = queue
		var rest []observer.Subject
		for _, who := range q.early {
			if who.Kind != kind {
				rest = append(rest, who)
				continue
			}
			queue.Add(reconcile.Request{NamespacedName: who.NamespacedName})
		}
		q.early = rest
		return nil
	})
}

// Drain returns what was added to queues that do not exist. For tests and simulations, which have none.
func (q *Queues) Drain() []observer.Subject {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	drained := q.early
	q.early = nil
	return drained
}
