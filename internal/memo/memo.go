// Package memo keeps what pure functions returned that are asked the same at every look at a payment, and are slow to answer.
package memo

import "sync"

// Memo keeps the latest results of a pure function, by its argument. It never holds more than twice its size, and everything that was
// asked for within the last size results. The zero value keeps nothing; use New. It may be used by several goroutines at once.
type Memo[K comparable, V any] struct {
	size  int
	mutex sync.Mutex
	// young takes what is new until it is full and becomes old, whose remains are forgotten.
	young, old map[K]V
}

// New returns a memo that keeps at least size results.
func New[K comparable, V any](size int) *Memo[K, V] {
	return &Memo[K, V]{size: size, young: map[K]V{}}
}

// Get returns what was kept for key. Callers share it: nobody changes what it refers to.
func (m *Memo[K, V]) Get(key K) (V, bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if value, ok := m.young[key]; ok {
		return value, true
	}
	value, ok := m.old[key]
	if ok {
		m.put(key, value)
	}
	return value, ok
}

// Put keeps value for key.
func (m *Memo[K, V]) Put(key K, value V) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.put(key, value)
}

func (m *Memo[K, V]) put(key K, value V) {
	if len(m.young) >= m.size {
		m.young, m.old = make(map[K]V, m.size), m.young
	}
	if m.size > 0 {
		m.young[key] = value
	}
}
