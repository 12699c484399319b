package sandbox

import (
	"container/heap"
	"time"
)

// agenda is what is going to happen: functions and when they fall due. Equal instants happen in the order of their entry.
type agenda struct {
	queue queue
	seq   uint64
}

type event struct {
	at  time.Time
	seq uint64
	do  func()
}

// at enters do for the instant when.
func (a *agenda) at(when time.Time, do func()) {
	a.seq++
	heap.Push(&a.queue, event{at: when, seq: a.seq, do: do})
}

// due removes and returns the next event that is due at now.
func (a *agenda) due(now time.Time) (event, bool) {
	if len(a.queue) == 0 || a.queue[0].at.After(now) {
		return event{}, false
	}
	return heap.Pop(&a.queue).(event), true
}

// next returns when the next event falls due; ok is false where there is none.
func (a *agenda) next() (at time.Time, ok bool) {
	if len(a.queue) == 0 {
		return time.Time{}, false
	}
	return a.queue[0].at, true
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	popped := (*q)[last]
	*q = (*q)[:last]
	return popped
}
