package pipeline

import "slices"

const (
	// minInFlight is the number of unanswered batches at which a pipeline stops writing, unless the
	// link is slow. A limit of one would lead to the largest batches, but each command would wait
	// for a full round trip. With two, Redis stays busy while the replies to the previous batch are
	// being read.
	minInFlight = 2
	// maxInFlight is the largest number of unanswered batches on a slow link; see [link].
	maxInFlight = 64
	// maxInFlightBytes is the total size of the unanswered batches, in bytes, at which a pipeline
	// stops writing. minInFlight batches are permitted whatever their size.
	maxInFlightBytes = 16 << 20
	// maxBatchBytes is the size in bytes at which no more commands are added to a batch. The data
	// of a larger batch would no longer be in the processor's caches by the time it is written.
	maxBatchBytes = 256 << 10
	// A batch of at least contendedBatch commands shows a pipeline that there are concurrent
	// callers. After contentionWindow smaller batches in a row, the pipeline no longer expects any.
	contendedBatch   = 4
	contentionWindow = 64
)

// batch is a group of commands that were written together.
type batch[T Command] struct {
	// items is nil if the batch is a PING.
	items []T
	// bytes is the total size of the commands in bytes.
	bytes int
}

// queue holds the commands of a pipeline while they wait to be written, and then until Redis has
// replied to them. Commands are written in batches. The queue decides when a batch may be written
// and how large it is. It has no lock: Pipeline.mu guards it.
type queue[T Command] struct {
	// capacity is the maximum number of waiting commands.
	capacity int
	// maxBatch is the maximum number of commands in a batch.
	maxBatch int

	waiting []T
	// waitingBytes is the total size of the waiting commands, in bytes.
	waitingBytes int
	// spaceFreed is closed when commands are removed from waiting. It is nil while no caller is
	// waiting for space.
	spaceFreed chan struct{}
	// contention is positive while concurrent callers are expected. A batch of at least
	// contendedBatch commands sets it to contentionWindow; any other batch decrements it.
	contention int

	// inFlight lists the batches to which Redis has not fully replied yet, oldest first.
	inFlight []batch[T]
	// inFlightBytes is the total size of the commands in inFlight, in bytes.
	inFlightBytes int
	// inFlightLimit is the number of batches in flight at which the pipeline stops writing. Only
	// the pipeline's goroutine sets it.
	inFlightLimit int
	// freeBatches contains empty batches for reuse.
	freeBatches [][]T
}

// add appends item to the waiting commands. If the maximum number of commands is already waiting,
// it returns ErrFull and a channel that is closed when space becomes available.
func (q *queue[T]) add(item T) (spaceFreed <-chan struct{}, err error) {
	if len(q.waiting) >= q.capacity {
		if q.spaceFreed == nil {
			q.spaceFreed = make(chan struct{})
		}
		return q.spaceFreed, ErrFull
	}
	q.waiting = append(q.waiting, item)
	q.waitingBytes += item.Size()
	return nil, nil //nolint:nilnil // the caller need not wait
}

// signalSpace wakes the callers that are waiting for space.
func (q *queue[T]) signalSpace() {
	if q.spaceFreed != nil {
		close(q.spaceFreed)
		q.spaceFreed = nil
	}
}

// limitReached reports whether no further batch may be written before a reply arrives.
func (q *queue[T]) limitReached() bool {
	return len(q.inFlight) >= q.inFlightLimit || len(q.inFlight) >= minInFlight && q.inFlightBytes >= maxInFlightBytes
}

// isSlow reports whether the limit on batches in flight has been raised for a slow link.
func (q *queue[T]) isSlow() bool { return q.inFlightLimit != minInFlight }

// bytesToWrite returns the number of bytes that the socket's send buffer must hold if the waiting
// commands are written now. On a slow link, the buffer may still contain the batches in flight.
func (q *queue[T]) bytesToWrite() int {
	if q.isSlow() {
		return q.waitingBytes + q.inFlightBytes
	}
	return q.waitingBytes
}

// mustWait reports whether nothing can be written now, because no command is waiting or because a
// reply must arrive first. A reply is awaited if the limit on batches in flight is reached or, on a
// fast link, if more than maxBytes bytes are waiting.
func (q *queue[T]) mustWait(maxBytes int) bool {
	return len(q.waiting) == 0 || q.limitReached() || q.bytesToWrite() > maxBytes && len(q.inFlight) > 0 && !q.isSlow()
}

// nextBatch moves waiting commands to a new batch in flight and returns it. It returns nil if no
// batch may be written now, or if the commands take more than maxBytes bytes.
func (q *queue[T]) nextBatch(maxBytes int) []T {
	if len(q.waiting) == 0 || q.limitReached() || q.bytesToWrite() > maxBytes {
		return nil
	}
	var items []T
	if last := len(q.freeBatches) - 1; last >= 0 {
		items, q.freeBatches = q.freeBatches[last], q.freeBatches[:last]
	}
	bytes := 0
	for len(items) < min(len(q.waiting), q.maxBatch) && bytes < maxBatchBytes {
		item := q.waiting[len(items)]
		items = append(items, item)
		bytes += item.Size()
	}
	q.contention = max(q.contention-1, 0)
	if len(items) >= contendedBatch {
		q.contention = contentionWindow
	}
	q.waiting = slices.Delete(q.waiting, 0, len(items))
	q.waitingBytes -= bytes
	q.inFlight = append(q.inFlight, batch[T]{items, bytes})
	q.inFlightBytes += bytes
	q.signalSpace()
	return items
}

// addPing adds a batch in flight that stands for a PING.
func (q *queue[T]) addPing() { q.inFlight = append(q.inFlight, batch[T]{}) }

// oldest returns the batch to which the next reply belongs. ok is false if no batch is in flight.
func (q *queue[T]) oldest() (oldest batch[T], ok bool) {
	if len(q.inFlight) == 0 {
		return batch[T]{}, false
	}
	return q.inFlight[0], true
}

// removeOldest removes the oldest batch in flight after Redis has replied to all of its commands.
// The caller has cleared the items of the batch, because their slice is reused.
func (q *queue[T]) removeOldest() {
	oldest := q.inFlight[0]
	q.inFlight = slices.Delete(q.inFlight, 0, 1)
	q.inFlightBytes -= oldest.bytes
	if oldest.items != nil && len(q.freeBatches) < q.inFlightLimit {
		q.freeBatches = append(q.freeBatches, oldest.items[:0])
	}
}

// setLimit sets the number of batches in flight at which the pipeline stops writing.
func (q *queue[T]) setLimit(limit int) {
	if limit == minInFlight && q.isSlow() {
		q.freeBatches = nil // a fast link needs fewer
	}
	q.inFlightLimit = limit
}

// isEmpty reports whether no command is waiting or in flight.
func (q *queue[T]) isEmpty() bool { return len(q.inFlight)+len(q.waiting) == 0 }

// takeAll removes and returns all batches in flight, oldest first, and the waiting commands as the
// last batch. It also resets the limit that was raised for a slow link.
func (q *queue[T]) takeAll() []batch[T] {
	all := slices.Concat(q.inFlight, []batch[T]{{items: q.waiting}})
	q.inFlight, q.inFlightBytes, q.waiting, q.waitingBytes = nil, 0, nil, 0
	q.inFlightLimit = minInFlight
	q.signalSpace()
	return all
}
