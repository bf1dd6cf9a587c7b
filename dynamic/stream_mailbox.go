package dynamic

import "sync"

// mailbox is a bounded queue between the bus, which puts things in and never waits, and the one goroutine that takes
// them out. It grows as needed.
type mailbox[T any] struct {
	limit int
	wake  chan struct{} // room for one: there is something to take

	mu    sync.Mutex
	items []T
	next  int // the first item that is still there
}

func newMailbox[T any](limit int) mailbox[T] {
	return mailbox[T]{limit: limit, wake: make(chan struct{}, 1)}
}

// put reports false if there is no room.
func (m *mailbox[T]) put(item T) bool {
	m.mu.Lock()
	if len(m.items)-m.next >= m.limit {
		m.mu.Unlock()
		return false
	}
	if m.next > len(m.items)/2 && len(m.items) == cap(m.items) { // rather move than grow
		kept := copy(m.items, m.items[m.next:])
		clear(m.items[kept:])
		m.items, m.next = m.items[:kept], 0
	}
	m.items = append(m.items, item)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default: // whoever takes has not looked since it was last woken
	}
	return true
}

// take returns the oldest item, or false if there is none.
func (m *mailbox[T]) take() (item T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next == len(m.items) {
		return item, false
	}
	var none T
	item, m.items[m.next] = m.items[m.next], none
	m.next++
	if m.next == len(m.items) {
		m.items, m.next = m.items[:0], 0
	}
	return item, true
}
