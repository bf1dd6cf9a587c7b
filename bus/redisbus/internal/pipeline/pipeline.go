package pipeline

import (
	"context"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxInlineBytes is the maximum number of waiting bytes that a caller's goroutine writes itself.
// The socket's send buffer usually has room for 32 KiB, so the write does not block. Larger amounts
// are left to the pipeline's goroutine.
const maxInlineBytes = 32 << 10

// Session is the part of a session that its pipelines need. Its methods must be safe for concurrent
// use.
type Session interface {
	// Context returns a context that is canceled when the session ends. It is always the same.
	Context() context.Context
	// Err returns the error that has ended the session, or nil if the session has not ended.
	Err() error
	// Fail ends the session because of cause. If it has already ended, Fail does nothing.
	Fail(cause error)
}

// Config configures a [Pipeline].
type Config struct {
	// Session is the session to which the pipeline belongs.
	Session Session
	// Dial connects to the server. It must return when its context ends, and limit how long it
	// takes.
	Dial func(ctx context.Context) (*resp.Conn, error)
	// Required reports whether a failure of the connection ends the session. Pipelines that are not
	// required dial again.
	Required bool
	// Refresh is called on a pipeline that is not required, because another server may have taken
	// over. It is called when the connection has failed, or when Redis has not replied for some
	// time. It may be nil if the pipeline is required.
	Refresh func(ctx context.Context)
	// Capacity is the maximum number of waiting commands. It must be positive.
	Capacity int
	// MaxBatch is the maximum number of commands in a batch. It must be positive.
	MaxBatch int
	// ProbeInterval determines how quickly a dead connection is detected. It is the minimum time
	// that Redis is given to reply.
	ProbeInterval time.Duration
}

// Pipeline sends commands of one kind, in order, over its own connection. Create one with [New].
// The package documentation says when commands are written, and on which goroutine.
type Pipeline[T Command] struct {
	config  Config
	session Session
	// dialRequest holds a value if the pipeline must dial because commands are waiting and there is
	// no connection.
	dialRequest chan struct{}

	// writeLock is held while a batch is written to the connection. A goroutine that needs
	// writeLock and mu must lock writeLock first. Callers never wait for writeLock (see
	// [Pipeline.flush]).
	writeLock sync.Mutex

	// mu guards the fields below. The pipeline's goroutine may read conn and queue.inFlightLimit
	// without mu, because no other goroutine sets them.
	mu    sync.Mutex
	conn  *resp.Conn
	queue queue[T]
	// gathering reports whether a goroutine is in gather.
	gathering bool
	// closedErr is the error that Enqueue returns once the session has ended. Until then it is nil.
	closedErr error

	// Only the pipeline's goroutine uses the fields below.

	// completed is the number of completed commands in the oldest batch.
	completed int
	link      link
	liveness  liveness
}

// New returns a pipeline that sends commands over conn and closes it in the end. If conn is nil,
// the pipeline dials when the first command is enqueued. The caller must start a goroutine that
// calls Run.
func New[T Command](config Config, conn *resp.Conn) *Pipeline[T] {
	return &Pipeline[T]{
		config: config, session: config.Session, conn: conn, dialRequest: make(chan struct{}, 1),
		queue:    queue[T]{capacity: config.Capacity, maxBatch: config.MaxBatch, inFlightLimit: minInFlight},
		liveness: liveness{interval: config.ProbeInterval},
	}
}

// Send enqueues item and flushes the pipeline. Its errors are those of [Pipeline.Enqueue].
func (p *Pipeline[T]) Send(ctx context.Context, item T) error {
	err := p.Enqueue(ctx, item)
	if err == nil && p.gather() {
		p.flush(maxInlineBytes)
	}
	return err
}

// Enqueue appends item to the waiting commands, to be written by Flush. If the maximum number of
// commands is already waiting, Enqueue on a required pipeline waits for space until ctx or the
// session ends. On any other pipeline, it returns [ErrFull]. Enqueue returns ctx.Err() if ctx ends
// first, and the session's error once the session has ended. If Enqueue returns nil, item is
// guaranteed to be completed.
func (p *Pipeline[T]) Enqueue(ctx context.Context, item T) error {
	for {
		spaceFreed, err := p.tryEnqueue(item)
		// Only the session's reader uses pipelines that are not required. It must not wait for a
		// single slow server of a cluster, because it also reads the frames whose locks are on
		// other servers.
		if !errors.Is(err, ErrFull) || !p.config.Required {
			return err
		}
		p.flush(maxInlineBytes)
		select {
		case <-spaceFreed:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.session.Context().Done():
			return p.session.Err()
		}
	}
}

// Flush writes the waiting commands, unless too many batches are in flight. If they are large, it
// leaves them to the pipeline's goroutine. It does not wait for the network.
func (p *Pipeline[T]) Flush() { p.flush(maxInlineBytes) }

// tryEnqueue appends item to the waiting commands without blocking. If the maximum number of
// commands is already waiting, it returns ErrFull and a channel that is closed when space becomes
// available. If there is no connection yet, it makes the pipeline's goroutine dial.
func (p *Pipeline[T]) tryEnqueue(item T) (spaceFreed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closedErr != nil {
		return nil, p.closedErr
	}
	if spaceFreed, err = p.queue.add(item); err == nil && p.conn == nil {
		select {
		case p.dialRequest <- struct{}{}:
		default:
		}
	}
	return spaceFreed, err
}

// gather yields the processor once, so that other callers can add their commands to the batch. It
// does so only if there are concurrent callers and a batch may be written now. It reports whether
// the caller must flush the pipeline. It returns false if another goroutine is in gather, because
// that goroutine flushes the pipeline.
func (p *Pipeline[T]) gather() (flush bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gathering || p.queue.contention == 0 || p.queue.limitReached() {
		return !p.gathering
	}
	p.gathering = true
	p.mu.Unlock()
	runtime.Gosched()
	p.mu.Lock()
	p.gathering = false
	return true
}

// flush writes the waiting commands unless too many batches are in flight. If they take more than
// maxBytes bytes, it leaves them to the pipeline's goroutine. It reports whether commands must wait
// for a reply.
func (p *Pipeline[T]) flush(maxBytes int) (blocked bool) {
	for {
		bytes, conn, blocked := p.readyToWrite(maxBytes)
		switch {
		case conn == nil:
			return blocked
		case bytes > maxBytes:
			conn.Interrupt()
			return false
		// The goroutine that holds writeLock repeats this loop after unlocking it, and then finds
		// the commands that are waiting now.
		case !p.writeLock.TryLock():
			return false
		}
		if items := p.nextBatch(maxBytes); items != nil {
			p.writeBatch(conn, items)
		}
		p.writeLock.Unlock()
	}
}

// flushAll writes the waiting commands regardless of their total size. Only the pipeline's
// goroutine calls it.
func (p *Pipeline[T]) flushAll() (blocked bool) { return p.flush(math.MaxInt) }

// readyToWrite returns the connection to which the waiting commands must be written, or nil if
// nothing can be written now. bytes is how much room they need in the socket's send buffer. blocked
// reports whether commands must wait for the reply to a batch in flight. The reply then wakes the
// pipeline's goroutine, which writes the commands.
func (p *Pipeline[T]) readyToWrite(maxBytes int) (bytes int, conn *resp.Conn, blocked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queue.mustWait(maxBytes) {
		return 0, nil, len(p.queue.waiting) > 0
	}
	return p.queue.bytesToWrite(), p.conn, false
}

// nextBatch moves waiting commands to a new batch and returns it, or returns nil if no batch may be
// written now. It adds the batch to those in flight before the batch is written, so that each reply
// can be matched with its command. The caller must hold writeLock, so that batches are written in
// the order in which they were added.
func (p *Pipeline[T]) nextBatch(maxBytes int) []T {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.nextBatch(maxBytes)
}

// writeBatch writes a batch to the connection. If that fails, it closes the connection. The
// pipeline's goroutine then gets a read error and completes all commands with an error. The caller
// must hold writeLock.
func (p *Pipeline[T]) writeBatch(conn *resp.Conn, items []T) {
	for i := range items {
		items[i].Write(conn.Writer)
	}
	if conn.Writer.Flush() != nil {
		_ = conn.Close()
	}
}
