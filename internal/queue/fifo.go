package queue

// FIFO is an unbounded first-in, first-out queue. It stores items in a linked list of blocks, so it
// grows without copying the items. The zero value is an empty queue. A FIFO is not safe for
// concurrent use.
type FIFO[T any] struct {
	head, tail *block[T] // both are nil until the first Push
	count      int
}

// block is a node of the linked list and holds consecutive items.
type block[T any] struct {
	// Only items[first:end] are in the queue.
	items      [32]T
	first, end int
	next       *block[T]
}

// Len returns the number of items in the queue.
func (f *FIFO[T]) Len() int { return f.count }

// Push appends an item.
func (f *FIFO[T]) Push(item T) {
	switch {
	case f.tail == nil:
		f.tail = &block[T]{}
		f.head = f.tail
	case f.tail.end == len(f.tail.items):
		f.tail.next = &block[T]{}
		f.tail = f.tail.next
	}
	f.tail.items[f.tail.end] = item
	f.tail.end++
	f.count++
}

// Pop removes and returns the oldest item. It returns false if the queue is empty.
func (f *FIFO[T]) Pop() (item T, ok bool) {
	if f.count == 0 {
		return item, false
	}
	oldest := f.head
	var zero T
	// Clear the slot, so that the garbage collector can free the item once the caller no longer
	// uses it.
	item, oldest.items[oldest.first] = oldest.items[oldest.first], zero
	oldest.first++
	f.count--
	switch {
	case f.count == 0: // The queue is empty, so the last block can be reused.
		oldest.first, oldest.end = 0, 0
	case oldest.first == len(oldest.items):
		f.head = oldest.next
	}
	return item, true
}
