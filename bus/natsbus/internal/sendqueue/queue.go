package sendqueue

import (
	"runtime"
	"sync"
)

const (
	// MaxQueued is the maximum number of items that one sender accepts from other goroutines.
	// Further goroutines wait until the sender has finished, and one of them becomes the next
	// sender. This keeps a call to Send from sending other goroutines' items indefinitely.
	MaxQueued = 256
	// contentionWindow is the number of consecutive Send calls without contention after which the
	// queue no longer expects concurrent senders.
	contentionWindow = 64
)

// Queue sends items one at a time. The first goroutine that calls Send becomes the sender. While it
// is sending, other goroutines append their items to the queue and return. The sender sends its own
// item and then the queue, so the items of each goroutine stay in order. Use [New] to create a
// Queue. All methods are safe for concurrent use.
type Queue[T any] struct {
	// send sends an item.
	send func(item T) error
	// onLost is called if send has failed with the item of another goroutine.
	onLost func(item T, err error)

	// mu guards all fields below.
	mu sync.Mutex
	// senderDone wakes the goroutines that are waiting because queued has reached MaxQueued.
	senderDone *sync.Cond
	// sending reports whether a goroutine is currently the sender. The sender empties the queue
	// before it finishes.
	sending bool
	// queued counts the items that the current sender has accepted from other goroutines.
	queued int
	// contention is positive while concurrent senders are expected. A sender that has sent items
	// for other goroutines sets it to contentionWindow; any other sender decrements it.
	contention int
	queue      []T
	// spare is the slice of the previous batch. It is reused for the next queue.
	spare []T
}

// New returns an empty queue. send sends an item; calls are never concurrent. If send fails for an
// item that another goroutine has queued, onLost is called with the error, because that goroutine's
// call to Send has already returned. Neither function may call Send.
func New[T any](send func(item T) error, onLost func(item T, err error)) *Queue[T] {
	q := &Queue[T]{send: send, onLost: onLost}
	q.senderDone = sync.NewCond(&q.mu)
	return q
}

// Send sends item, or leaves it to the goroutine that is sending now. It returns nil if another
// goroutine sends item, and otherwise the error of sending it.
func (q *Queue[T]) Send(item T) error {
	queued, contended := q.submit(item)
	if queued {
		return nil
	}
	if contended {
		// Let other goroutines queue their items for the same write.
		runtime.Gosched()
	}
	err := q.send(item)
	for batch := q.nextBatch(); len(batch) > 0; batch = q.nextBatch() {
		for _, item := range batch {
			if err := q.send(item); err != nil {
				q.onLost(item, err)
			}
		}
	}
	return err
}

// submit appends item to the queue of the current sender and returns queued = true. If the queue is
// full, it waits until the sender has finished. If there is no sender, the caller becomes the
// sender. It must send its own item, and then the batches that nextBatch returns until one is
// empty. If contended is true, the sender should first yield the processor once.
func (q *Queue[T]) submit(item T) (queued, contended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.sending && q.queued == MaxQueued {
		q.senderDone.Wait()
	}
	if !q.sending {
		q.sending = true
		return false, q.contention > 0
	}
	q.queued++
	q.queue = append(q.queue, item)
	return true, false
}

// nextBatch returns the items that were queued since the previous call. If the batch is empty, the
// caller is no longer the sender. The batch is valid until the next call.
func (q *Queue[T]) nextBatch() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		q.contention = max(q.contention-1, 0)
		if q.queued > 0 {
			q.contention = contentionWindow
		}
		q.sending, q.queued = false, 0
		q.senderDone.Broadcast()
		return nil
	}
	clear(q.spare)
	q.queue, q.spare = q.spare[:0], q.queue
	return q.spare
}
