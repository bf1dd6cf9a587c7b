package queue

import "sync"

// Mailbox is a bounded queue between the bus, which puts things in and never waits, and the one goroutine that takes
// them out.
type Mailbox[T any] struct {
	limit  int
	Wakeup Wakeup // there is something to take

	mu    sync.Mutex
	items FIFO[T]
}

func NewMailbox[T any](limit int) Mailbox[T] {
	return Mailbox[T]{limit: limit, Wakeup: NewWakeup()}
}

// Push reports false if there is no room.
func (m *Mailbox[T]) Push(item T) bool {
	m.mu.Lock()
	if m.items.Len() >= m.limit {
		m.mu.Unlock()
		return false
	}
	m.items.Push(item)
	m.mu.Unlock()
	m.Wakeup.Send()
	return true
}

func (m *Mailbox[T]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.items.Len()
}

// Pop returns the oldest item, or false if there is none.
func (m *Mailbox[T]) Pop() (item T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.items.Pop()
}
