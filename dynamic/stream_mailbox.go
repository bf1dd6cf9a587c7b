package dynamic

import "sync"

// mailbox is a bounded queue between the bus, which puts things in and never waits, and the one goroutine that takes
// them out.
type mailbox[T any] struct {
	limit  int
	wakeup wakeup // there is something to take

	mu    sync.Mutex
	items fifo[T]
}

func newMailbox[T any](limit int) mailbox[T] {
	return mailbox[T]{limit: limit, wakeup: newWakeup()}
}

// push reports false if there is no room.
func (m *mailbox[T]) push(item T) bool {
	m.mu.Lock()
	if m.items.len() >= m.limit {
		m.mu.Unlock()
		return false
	}
	m.items.push(item)
	m.mu.Unlock()
	m.wakeup.send()
	return true
}

func (m *mailbox[T]) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.items.len()
}

// pop returns the oldest item, or false if there is none.
func (m *mailbox[T]) pop() (item T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.items.pop()
}
