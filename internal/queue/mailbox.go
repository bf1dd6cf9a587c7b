package queue

import "sync"

// Mailbox is a bounded queue from any number of producers, which never block, to one consumer. The
// consumer receives from Wakeup and then calls Pop until the mailbox is empty. A Mailbox is created
// with [NewMailbox]; all its methods may be called concurrently.
type Mailbox[T any] struct {
	// Wakeup receives a value after items were pushed.
	Wakeup Wakeup

	limit int // of items

	mu    sync.Mutex
	items FIFO[T]
}

// NewMailbox returns an empty mailbox for at most limit items.
func NewMailbox[T any](limit int) Mailbox[T] {
	return Mailbox[T]{limit: limit, Wakeup: NewWakeup()}
}

// Push appends an item and wakes the consumer. It returns false, and drops the item, if the mailbox
// is full.
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

// Len returns the number of items in the mailbox.
func (m *Mailbox[T]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.items.Len()
}

// Pop removes and returns the oldest item. It returns false if the mailbox is empty.
func (m *Mailbox[T]) Pop() (item T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.items.Pop()
}
