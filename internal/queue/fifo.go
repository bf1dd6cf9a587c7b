package queue

// FIFO is an unbounded first-in, first-out queue. Its memory is a linked list of blocks, so that it
// grows without copying items. The zero value is an empty queue. A FIFO is not safe for concurrent
// use.
type FIFO[T any] struct {
	head, tail *block[T] // nil before the first Push
	count      int
}

// block holds consecutive items of a FIFO.
type block[T any] struct {
	// items[first:end] are in the queue.
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
	// The slot is cleared so that the queue does not keep the item from being collected.
	item, oldest.items[oldest.first] = oldest.items[oldest.first], zero
	oldest.first++
	f.count--
	switch {
	case f.count == 0: // reuse the last block
		oldest.first, oldest.end = 0, 0
	case oldest.first == len(oldest.items):
		f.head = oldest.next
	}
	return item, true
}
