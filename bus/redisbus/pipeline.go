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
	// maxInFlight is the number of unanswered batches at which a pipeline stops writing. One would
	// make the largest batches, but each command would wait a full round trip; two keep Redis busy
	// while the replies to the previous batch are read.
	maxInFlight = 2
	// maxPublishBatch is the maximum number of publications in a batch.
	maxPublishBatch = 512
	// maxLockBatch is the maximum number of lock attempts in a batch. The first process that asks
	// for a lock gets it, so large batches would give a whole burst of frames to one process.
	maxLockBatch = 64
	// maxBatchBytes is the size at which a batch is complete. A larger batch has left the
	// processor's caches by the time it is written.
	maxBatchBytes = 256 << 10
	// maxInlineBytes is how many waiting bytes a caller writes itself. A socket's send buffer
	// usually takes that many without blocking; more are left to the pipeline's goroutine.
	maxInlineBytes = 32 << 10
)

// errFull is the error of enqueue if capacity commands wait.
var errFull = errors.NewErrorf(errors.ResourceExhausted,
	"redis bus: too many commands wait for a Redis server that does not answer fast enough")

// command is a command that a pipeline sends. Redis answers each with a reply of one line.
type command interface {
	// size returns about how many bytes the command has.
	size() int
	// write writes the command in RESP.
	write(w *bufio.Writer)
	// complete takes the reply from Redis, or the error for which there is none. The pipeline calls
	// it exactly once for each command it has accepted, on its own goroutine.
	complete(reply int64, err error)
}

// pipeline sends commands of one kind in order over its own socket. The caller writes while fewer
// than maxInFlight batches are unanswered, which saves waking a goroutine for each command. Beyond
// that, commands wait, and leave together in one batch when all replies to an earlier batch have
// arrived: batches grow with the load, and neither a timer nor a batch size has to be tuned.
//
// A pipeline of go-redis cannot do this: it takes a connection from the pool, writes once, and
// holds the connection until all replies have come, and it allocates several objects for each
// command. Own sockets and RESP took a unary call from 28 to 13 allocations (2,490 to 1,288 bytes),
// and updates to one subscriber from 434k to 751k a second. Unary calls are about as fast as
// through go-redis.
//
// Two locks are involved. writeLock is held while bytes are written, mu only while fields change; a
// goroutine that needs both takes writeLock first. Callers never wait for writeLock: if it is
// taken, the holder looks at the queue again before it leaves, see [pipeline.flush].
type pipeline[T command] struct {
	session *session
	node    *redis.Client
	// required pipelines end the session when their socket fails; others dial again.
	required bool
	// capacity is the maximum length of waiting, in commands.
	capacity int
	// maxBatch is the maximum length of a batch, in commands.
	maxBatch int
	// dialRequest holds a token if the pipeline must dial: commands wait and there is no socket.
	dialRequest chan struct{}

	// writeLock is held while a batch is written to the socket.
	writeLock sync.Mutex

	// mu guards the fields below. The pipeline's goroutine reads socket without it, because it
	// alone sets that field.
	mu      sync.Mutex
	socket  *socket
	waiting []T
	// waitingBytes is the sum of the sizes of waiting.
	waitingBytes int
	// inFlight has the batches without all their replies, oldest first. A nil batch is a PING.
	inFlight [][]T
	// freeBatches has empty batches for reuse.
	freeBatches [][]T
	// spaceFreed is closed when commands leave waiting. It is nil while no caller waits for that.
	spaceFreed chan struct{}
	// closedErr is the error of enqueue once the session has ended. It is nil before.
	closedErr error

	// Only the pipeline's goroutine uses the fields below.

	// completed counts the completed commands of the oldest batch.
	completed int
	// replies counts all replies.
	replies int
	// repliesAtCheck is the value of replies at the last health check.
	repliesAtCheck int
	// lastProgress is the time of the last health check that found the pipeline idle or new
	// replies.
	lastProgress time.Time
	// replyDeadline is how long Redis may take for the remaining replies after the session has
	// ended.
	replyDeadline time.Time
}

// newPipeline returns a pipeline that writes to socket. If socket is nil, the pipeline dials node
// when the first command is enqueued.
func newPipeline[T command](s *session, capacity, maxBatch int, node *redis.Client, socket *socket) *pipeline[T] {
	return &pipeline[T]{
		session: s, node: node, required: node == s.node, capacity: capacity, maxBatch: maxBatch, socket: socket,
		dialRequest: make(chan struct{}, 1),
	}
}

// send enqueues item and flushes the pipeline.
func (p *pipeline[T]) send(ctx context.Context, item T) error {
	err := p.enqueue(ctx, item)
	if err == nil {
		p.flush(maxInlineBytes)
	}
	return err
}

// enqueue appends item to the waiting commands; flush writes it. If the queue is full, a required
// pipeline waits for space until ctx or the session ends, and any other returns errFull. enqueue
// returns the session's error once the session has ended. If it returns nil, item will be
// completed.
func (p *pipeline[T]) enqueue(ctx context.Context, item T) error {
	for {
		spaceFreed, err := p.tryEnqueue(item)
		// The caller of an optional pipeline is the session's reader. It must not wait for one slow
		// server of a cluster, because frames whose locks are on other servers come through it too.
		if !errors.Is(err, errFull) || !p.required {
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

// tryEnqueue appends item to the waiting commands without blocking. If the queue is full, it
// returns errFull and a channel that is closed when there is space.
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

// flush writes the waiting commands unless maxInFlight batches are unanswered. If more than
// maxBytes wait, flush leaves them to the pipeline's goroutine.
//
// If another goroutine holds writeLock, flush returns at once. No command is forgotten: the holder
// runs the loop again after it has unlocked, and so finds commands that were enqueued meanwhile.
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

// flushAll writes the waiting commands whatever their size. The pipeline's goroutine calls it.
func (p *pipeline[T]) flushAll() { p.flush(math.MaxInt) }

// readyToWrite returns the socket and the number of waiting bytes if a batch may be written now, or
// else a nil socket. It returns a nil socket, too, if more than maxBytes wait and a batch is in
// flight: the reply to that batch will wake the pipeline's goroutine, which then writes them.
func (p *pipeline[T]) readyToWrite(maxBytes int) (bytes int, socket *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 || len(p.inFlight) >= maxInFlight || p.waitingBytes > maxBytes && len(p.inFlight) > 0 {
		return 0, nil
	}
	return p.waitingBytes, p.socket
}

// nextBatch moves waiting commands to a new batch in flight and returns it, or nil if no batch may
// be written. The batch is registered before it is written, so that its replies always find it. The
// caller holds writeLock, so batches are written in the order of inFlight.
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

// signalSpaceLocked wakes the callers that wait for space.
func (p *pipeline[T]) signalSpaceLocked() {
	if p.spaceFreed != nil {
		close(p.spaceFreed)
		p.spaceFreed = nil
	}
}

// writeBatch writes a batch to the socket. On failure it closes the socket; the pipeline's
// goroutine then fails to read, and reports the error to all commands. The caller holds writeLock.
func (p *pipeline[T]) writeBatch(socket *socket, batch []T) {
	for i := range batch {
		batch[i].write(socket.writer)
	}
	if socket.writer.Flush() != nil {
		_ = socket.Close()
	}
}
