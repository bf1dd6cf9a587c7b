package queue

import "sync"

// Mailbox is a bounded queue with any number of producers, which never block, and one consumer. The
// consumer receives from Wakeup and then calls Pop until the mailbox is empty. Use [NewMailbox] to
// create a Mailbox. All methods are safe for concurrent use.
type Mailbox[T any] struct {
	// Wakeup wakes the consumer after items have been pushed.
	Wakeup Wakeup

	limit int // maximum number of items; zero after Close

	mu    sync.Mutex
	items FIFO[T]
}

// NewMailbox returns an empty mailbox that holds at most limit items.
func NewMailbox[T any](limit int) Mailbox[T] {
	return Mailbox[T]{limit: limit, Wakeup: NewWakeup()}
}

// Close makes later calls to Push fail. Pop still returns the items that are in the mailbox.
func (m *Mailbox[T]) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = 0
}

// Push appends an item and wakes the consumer. If the mailbox is full, Push drops the item and
// returns false.
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
