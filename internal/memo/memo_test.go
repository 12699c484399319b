package memo

import (
	"sync"
	"testing"
)

func TestKeepsWhatIsAskedFor(t *testing.T) {
	m := New[int, string](10)
	m.Put(0, "zero")
	for i := 1; i <= 1000; i++ {
		m.Put(i, "another")
		if i%5 != 0 {
			continue
		}
		if got, ok := m.Get(0); !ok || got != "zero" {
			t.Fatalf("after %d others: %q, %t", i, got, ok)
		}
	}
}

func TestForgets(t *testing.T) {
	const size = 10
	m := New[int, int](size)
	for i := range 1000 {
		m.Put(i, i)
		if held := len(m.young) + len(m.old); held > 2*size {
			t.Fatalf("%d results are kept after %d", held, i+1)
		}
		for back := range min(size, i+1) {
			if _, ok := m.young[i-back]; !ok && !hasOld(m, i-back) {
				t.Fatalf("after %d, the one %d before it is forgotten", i, back)
			}
		}
	}
	if _, ok := m.Get(0); ok {
		t.Error("the first of 1000 is kept")
	}
}

func hasOld(m *Memo[int, int], key int) bool {
	_, ok := m.old[key]
	return ok
}

func TestZeroValueKeepsNothing(t *testing.T) {
	var m Memo[string, int]
	m.Put("one", 1)
	if _, ok := m.Get("one"); ok {
		t.Error("it keeps something")
	}
}

func TestAtOnce(t *testing.T) {
	m := New[int, int](8)
	var workers sync.WaitGroup
	for worker := range 4 {
		workers.Go(func() {
			for i := range 1000 {
				key := (i + worker) % 20
				if got, ok := m.Get(key); ok && got != key {
					t.Errorf("%d for %d", got, key)
				}
				m.Put(key, key)
			}
		})
	}
	workers.Wait()
}
