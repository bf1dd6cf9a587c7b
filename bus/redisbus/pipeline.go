package redisbus

import (
	"bufio"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// maxInFlight is how many batches of a lane may be on their way: one would make the largest, and the longest waits.
	maxInFlight = 2
	// maxPublishBatch and maxLockBatch are how many commands a batch has at most. Whoever asks for locks first gets them all, so
	// that large batches would give a burst of frames to one process.
	maxPublishBatch, maxLockBatch = 512, 64
	// maxBatchBytes is the size at which a batch is complete: a larger one is out of the processor's caches when it is sent.
	maxBatchBytes = 256 << 10
	// maxInlineBytes is how many bytes whoever puts in a command also writes: a socket takes so many at once.
	maxInlineBytes = 32 << 10
)

var errFull = errors.NewErrorf(errors.ResourceExhausted, "redis bus: too many commands wait for their server")

// command is what a lane sends. Redis answers it with one line.
type command interface {
	// size is about how many bytes it has.
	size() int
	write(w *bufio.Writer)
	// complete tells what became of it: Redis' answer, or why Redis could not be asked.
	complete(answer int64, err error)
}

// pipeline sends commands of one kind in order, over a connection of its own. As long as few batches are on their way whoever
// puts in a command writes it, which saves waking a goroutine. Else it waits for a reply, with all that come meanwhile.
type pipeline[T command] struct {
	session     *session
	node        *redis.Client
	required    bool          // the session ends if the lane's connection fails. Else the lane takes another one
	capacity    int           // for so many waiting commands
	maxBatch    int           // this many are sent together at most
	dialRequest chan struct{} // holds a token if commands wait for a connection to be made

	writeLock sync.Mutex // held by whoever writes

	mu           sync.Mutex
	socket       *socket
	waiting      []T
	waitingBytes int           // size of what is waiting
	inFlight     [][]T         // batches on their way, the oldest first. One without commands is a PING
	freeBatches  [][]T         // empty batches
	spaceFreed   chan struct{} // closed when what is waiting has been taken; nil if nobody asked
	closedErr    error         // why the lane takes no more

	// Of the lane's goroutine.
	completed      int       // commands of the oldest batch
	replies        int       // all that came
	repliesAtCheck int       // answers when the deadline last passed
	lastProgress   time.Time // then the lane was idle, or answers had come
	replyDeadline  time.Time // how long Redis may take for what is on its way, once the session has ended
}

// newPipeline returns a lane over connection; without one it makes it once it is needed.
func newPipeline[T command](s *session, capacity, maxBatch int, node *redis.Client, socket *socket) *pipeline[T] {
	return &pipeline[T]{
		session: s, node: node, required: node == s.node, capacity: capacity, maxBatch: maxBatch, socket: socket,
		dialRequest: make(chan struct{}, 1),
	}
}

// send puts item into the lane and sees to it that it is written.
func (p *pipeline[T]) send(ctx context.Context, item T) error {
	err := p.enqueue(ctx, item)
	if err == nil {
		p.flush(maxInlineBytes)
	}
	return err
}

// enqueue puts item into the lane, where it waits for a flush. An essential lane waits for room if it must; another one
// fails if it is full. Once the session has ended put returns its error; a nil error means that item will be settled.
func (p *pipeline[T]) enqueue(ctx context.Context, item T) error {
	for {
		spaceFreed, err := p.tryEnqueue(item)
		if !errors.Is(err, errFull) || !p.required { // the server of another does not answer, which holds up nobody else
			return err
		}
		p.flush(maxInlineBytes)
		select {
		case <-spaceFreed:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.session.ctx.Done():
			return p.session.err()
		}
	}
}

// tryEnqueue returns what to wait for if it fails with errFull.
func (p *pipeline[T]) tryEnqueue(item T) (spaceFreed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closedErr != nil:
		return nil, p.closedErr
	case len(p.waiting) >= p.capacity:
		if p.spaceFreed == nil {
			p.spaceFreed = make(chan struct{})
		}
		return p.spaceFreed, errFull
	}
	p.waiting = append(p.waiting, item)
	p.waitingBytes += item.size()
	if p.socket == nil {
		select {
		case p.dialRequest <- struct{}{}:
		default:
		}
	}
	return nil, nil //nolint:nilnil // there is nothing to wait for
}

// flush writes what is waiting, unless too much is on its way, or somebody else writes, who then sees to it. More bytes
// than most are left to the lane's goroutine.
func (p *pipeline[T]) flush(maxBytes int) {
	for {
		bytes, socket := p.readyToWrite(maxBytes)
		switch {
		case socket == nil:
			return
		case bytes > maxBytes:
			socket.interruptRead()
			return
		case !p.writeLock.TryLock():
			return
		}
		if batch := p.nextBatch(maxBytes); batch != nil {
			p.writeBatch(socket, batch)
		}
		p.writeLock.Unlock()
	}
}

// flushAll is the flush of the lane's goroutine.
func (p *pipeline[T]) flushAll() { p.flush(math.MaxInt) }

// readyToWrite returns the connection if something is to be written on it, and how much. More than most need the lane's
// goroutine, which is woken by answers unless there are none to come.
func (p *pipeline[T]) readyToWrite(maxBytes int) (bytes int, socket *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 || len(p.inFlight) >= maxInFlight || p.waitingBytes > maxBytes && len(p.inFlight) > 0 {
		return 0, nil
	}
	return p.waitingBytes, p.socket
}

// nextBatch returns the next batch, which counts as sent from now on; nil if there may be none.
func (p *pipeline[T]) nextBatch(maxBytes int) []T {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 || len(p.inFlight) >= maxInFlight || p.waitingBytes > maxBytes {
		return nil
	}
	var batch []T
	if last := len(p.freeBatches) - 1; last >= 0 {
		batch, p.freeBatches = p.freeBatches[last], p.freeBatches[:last]
	}
	for bytes := 0; len(batch) < min(len(p.waiting), p.maxBatch) && bytes < maxBatchBytes; {
		item := p.waiting[len(batch)]
		batch = append(batch, item)
		bytes += item.size()
		p.waitingBytes -= item.size()
	}
	p.waiting = slices.Delete(p.waiting, 0, len(batch))
	p.inFlight = append(p.inFlight, batch)
	p.signalSpaceLocked()
	return batch
}

// signalSpaceLocked tells those who wait for room.
func (p *pipeline[T]) signalSpaceLocked() {
	if p.spaceFreed != nil {
		close(p.spaceFreed)
		p.spaceFreed = nil
	}
}

// writeBatch sends a batch. If that fails the lane's goroutine finds the connection closed.
func (p *pipeline[T]) writeBatch(socket *socket, batch []T) {
	for i := range batch {
		batch[i].write(socket.writer)
	}
	if socket.writer.Flush() != nil {
		_ = socket.Close()
	}
}
