package queue

// FIFO is a queue without a limit. It is for one goroutine at a time. Its memory is a list of blocks, so that it grows
// without copying.
type FIFO[T any] struct {
	head, tail *fifoBlock[T] // nil: it is empty and keeps no memory
	count      int
}

type fifoBlock[T any] struct {
	items      [32]T
	first, end int // the oldest item, and the room for another
	nextBlock  *fifoBlock[T]
}

func (f *FIFO[T]) Len() int { return f.count }

func (f *FIFO[T]) Push(item T) {
	switch {
	case f.tail == nil:
		f.tail = &fifoBlock[T]{}
		f.head = f.tail
	case f.tail.end == len(f.tail.items):
		f.tail.nextBlock = &fifoBlock[T]{}
		f.tail = f.tail.nextBlock
	}
	f.tail.items[f.tail.end] = item
	f.tail.end++
	f.count++
}

// Pop returns the oldest item, or false if there is none.
func (f *FIFO[T]) Pop() (item T, ok bool) {
	if f.count == 0 {
		return item, false
	}
	block := f.head
	var none T
	item, block.items[block.first] = block.items[block.first], none
	block.first++
	f.count--
	switch {
	case f.count == 0: // the block is used again
		block.first, block.end = 0, 0
	case block.first == len(block.items):
		f.head = block.nextBlock
	}
	return item, true
}
