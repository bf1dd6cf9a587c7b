package natsbus

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// bulkBytes is how many unconfirmed bytes may precede a PING before bulkFactor applies: it
	// takes the server longer to read them, which must not look like a dead connection.
	bulkBytes = 1 << 20
	// bulkFactor multiplies the time limit of a flush behind more than bulkBytes.
	bulkFactor = 5
)

// flush is one PING/PONG exchange with the server. NATS processes a connection's commands in order,
// so after a successful flush the server has processed everything sent before the PING, and all
// that it had sent before the PONG has been delivered to the subscribers.
type flush struct {
	done chan struct{}
	err  error // set before done is closed
}

func newFlush() *flush { return &flush{done: make(chan struct{})} }

// flusher runs flushes one at a time. SUB and UNSUB have no reply in the NATS protocol, so every
// Subscribe and Close needs a flush to know that the server has processed it. Each flush serves all
// callers that requested one before it started: a server that subscribes to thousands of topics
// concurrently waits for a few round trips instead of one for each topic. Probes and pending
// delivery reports use the same flushes.
type flusher struct {
	// wake has capacity one; a spurious wake-up costs one PING.
	wake chan struct{}

	mu   sync.Mutex
	next *flush
	// pingSentAt is when the unanswered PING was sent, and zero if there is none.
	pingSentAt time.Time
}

func newFlusher() flusher { return flusher{wake: make(chan struct{}, 1), next: newFlush()} }

// request returns a flush that has not started yet and wakes the flusher to run it. A flush that is
// in progress does not suffice: its PING may precede what the caller has sent.
func (f *flusher) request() *flush {
	f.mu.Lock()
	next := f.next
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return next
}

// start returns the requested flush; later requests get another one.
func (f *flusher) start() *flush {
	f.mu.Lock()
	defer f.mu.Unlock()
	current := f.next
	f.next = newFlush()
	return current
}

func (f *flusher) setPingSentAt(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pingSentAt = t
}

// stalled reports whether a PING has been unanswered for longer than limit.
func (f *flusher) stalled(limit time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.pingSentAt.IsZero() && time.Since(f.pingSentAt) > limit
}

// waitFlushed waits for a flush that starts after the call. It returns the error of the flush or
// ctx, or bus.ErrClosed.
func (b *Bus) waitFlushed(ctx context.Context) error {
	pending := b.flusher.request()
	select {
	case <-pending.done:
		return pending.err
	case <-ctx.Done():
		return ctx.Err()
	case <-b.ctx.Done():
		return bus.ErrClosed
	}
}

// runFlusher runs requested flushes until the bus is closed. The last flush may never complete, so
// its waiters also select on the bus's context.
//
// The order of the steps matters. Permission errors reach nats.go before the PONG, but its error
// handler may run later, so the flush waits for it. Then the bus becomes connected, and only then
// does the barrier release messages that the dispatcher has held since the reconnect.
func (b *Bus) runFlusher() {
	confirmed := b.nc.Stats().OutBytes
	for {
		select {
		case <-b.flusher.wake:
		case <-b.ctx.Done():
			return
		}
		epoch := b.conn.epoch()
		current := b.flusher.start()
		sent := b.nc.Stats().OutBytes
		current.err = b.roundTrip(sent - confirmed)
		if current.err == nil {
			confirmed = sent
			b.waitAsyncErrors()
			b.markConnected(epoch)
			b.waitDelivered()
		}
		close(current.done)
	}
}

// waitDelivered sends the barrier through inbound and waits until the dispatcher has reached it, so
// that everything received before has been delivered.
func (b *Bus) waitDelivered() {
	select {
	case b.inbound <- barrier:
	case <-b.ctx.Done():
		return
	}
	select {
	case <-b.barrierReached:
	case <-b.ctx.Done():
	}
}

// roundTrip sends PINGs until one is answered. If the time limit has passed and nothing at all was
// received during the last attempt, it marks the bus as disconnected and forces nats.go to
// reconnect. A server that still sends messages is alive, even if its PONG is late. unconfirmed is
// the number of bytes that were sent since the last answered PING.
func (b *Bus) roundTrip(unconfirmed uint64) error {
	limit := b.options.probeInterval
	if unconfirmed > bulkBytes {
		limit *= bulkFactor
	}
	for deadline := time.Now().Add(limit); ; {
		if b.nc.Status() != nats.CONNECTED {
			return errConnLost
		}
		received := b.nc.Stats().InMsgs
		err := b.ping()
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, context.DeadlineExceeded):
			return errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: no confirmation from the server: %w", err)
		case b.nc.Stats().InMsgs == received && time.Now().After(deadline):
			b.markDisconnected(b.noAnswerError())
			_ = b.nc.ForceReconnect() // fails if the connection was closed
			return b.noAnswerError()
		}
	}
}

// ping sends a PING and waits for the PONG, for at most one probe interval.
func (b *Bus) ping() error {
	b.flusher.setPingSentAt(time.Now())
	defer b.flusher.setPingSentAt(time.Time{})
	ctx, cancel := context.WithTimeout(b.ctx, b.options.probeInterval)
	defer cancel()
	return b.nc.FlushWithContext(ctx)
}

func (b *Bus) noAnswerError() error {
	return errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: the server did not answer for %v", b.options.probeInterval)
}
