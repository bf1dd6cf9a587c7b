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
	// bulkBytes is the number of bytes above which a flush gets more time. If more bytes have been
	// sent since the last answered PING, the flush may take bulkFactor probe intervals. The server
	// needs longer to read so many bytes, and the delay must not be mistaken for a dead connection.
	bulkBytes = 1 << 20
	// bulkFactor is the number of probe intervals that a flush may take after more than bulkBytes
	// bytes have been sent. A write may take as long (see connOptions).
	bulkFactor = 5
	// receivingFactor is the number of probe intervals that a flush may take while the server sends
	// messages but has not answered the PING.
	receivingFactor = 3
)

// flush is one PING/PONG exchange with the server. NATS processes the commands of a connection in
// order. After a successful flush, the server has therefore processed everything that the bus sent
// before the PING. In addition, everything that the server sent before the PONG has been delivered
// to the subscribers.
type flush struct {
	done chan struct{}
	// err is set before done is closed.
	err error
}

func newFlush() *flush { return &flush{done: make(chan struct{})} }

// flusher runs flushes one at a time. Subscribe and Close need a flush, because it shows that the
// server has processed their SUB or UNSUB, which has no reply. Each flush serves all callers that
// have requested one before it started. A server that subscribes to thousands of topics at once
// therefore waits for a few round trips only.
type flusher struct {
	// wake receives a value when a flush is requested. Its capacity is one. A spurious wake-up
	// costs only a PING.
	wake chan struct{}

	mu   sync.Mutex
	next *flush
	// pingSentAt is the time at which the unanswered PING was sent. It is zero if all PINGs have
	// been answered.
	pingSentAt time.Time
}

func newFlusher() flusher { return flusher{wake: make(chan struct{}, 1), next: newFlush()} }

// request returns a flush that has not started yet and wakes the flusher to run it. A flush in
// progress would not suffice, because its PING may have been sent before the caller's commands.
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

// start returns the flush that the flusher must run now. Later calls to request return a new flush.
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

// waitFlushed waits for a flush that starts after the call. It returns the error of the flush, the
// error of ctx if ctx ends first, or bus.ErrClosed if the bus is closed.
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

// runFlusher runs requested flushes until the bus is closed. A flush that is requested after that
// never completes, so a goroutine that waits for it must also wait for the bus's context.
func (b *Bus) runFlusher() {
	nc := b.conn()
	confirmed := nc.Stats().OutBytes
	for {
		select {
		case <-b.flusher.wake:
		case <-b.ctx.Done():
			return
		}
		epoch := b.state.epoch()
		current := b.flusher.start()
		if current := b.conn(); current != nc {
			nc, confirmed = current, 0
		}
		sent := nc.Stats().OutBytes
		current.err = b.roundTrip(nc, sent-confirmed)
		if current.err == nil {
			confirmed = sent
			// The order matters. First wait until nats.go has reported the permission errors that
			// preceded the PONG, so that Subscribe can return them. Then mark the bus as connected,
			// which lets the dispatcher deliver the messages held since a reconnect. Last, wait
			// until these and all others received before the PONG have been delivered.
			b.waitAsyncErrors()
			b.markConnected(epoch)
			b.waitDelivered()
		}
		close(current.done)
	}
}

// waitDelivered sends the barrier on inbound and waits until the dispatcher has reached it. By
// then, all messages received before the barrier have been delivered.
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

// roundTrip sends PINGs until one is answered. unconfirmed is the number of bytes sent since the
// last answered PING. If the server does not answer in time, roundTrip marks the bus as
// disconnected and makes nats.go reconnect. It waits longer while messages arrive, because the PONG
// may be queued behind them. The time remains limited, because these messages do not prove that the
// server receives what the bus sends.
func (b *Bus) roundTrip(nc *nats.Conn, unconfirmed uint64) error {
	started, before := time.Now(), nc.Stats()
	for {
		if nc.Status() != nats.CONNECTED {
			return errConnLost
		}
		received := nc.Stats().InMsgs
		err := b.ping(nc)
		now := nc.Stats()
		limit := flushLimitsFor(b.options.probeInterval, unconfirmed, now.InBytes-before.InBytes)
		silent := now.InMsgs == received
		switch waited := time.Since(started); {
		case err == nil:
			return nil
		case !errors.Is(err, context.DeadlineExceeded):
			return errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: no confirmation from the server: %w", err)
		case waited >= limit.receiving, silent && waited >= limit.silent:
			b.markDisconnected(noAnswerError(waited))
			// If this fails, the connection has already been closed.
			_ = nc.ForceReconnect()
			return noAnswerError(waited)
		}
	}
}

// flushLimits are the time limits of a flush.
type flushLimits struct {
	// silent is the limit while nothing arrives from the server.
	silent time.Duration
	// receiving is the limit while messages arrive from the server, but not yet the PONG.
	receiving time.Duration
}

// flushLimitsFor returns the time limits of a flush. sent is the number of bytes that may be in
// transit ahead of the PING. received is the number of bytes that may be ahead of the PONG.
func flushLimitsFor(probeInterval time.Duration, sent, received uint64) flushLimits {
	limits := flushLimits{silent: probeInterval, receiving: receivingFactor * probeInterval}
	if sent > bulkBytes {
		limits.silent = bulkFactor * probeInterval
	}
	if sent > bulkBytes || received > bulkBytes {
		limits.receiving = bulkFactor * probeInterval
	}
	return limits
}

// ping sends a PING and waits for the PONG for at most one probe interval.
func (b *Bus) ping(nc *nats.Conn) error {
	b.flusher.setPingSentAt(time.Now())
	defer b.flusher.setPingSentAt(time.Time{})
	ctx, cancel := context.WithTimeout(b.ctx, b.options.probeInterval)
	defer cancel()
	return nc.FlushWithContext(ctx)
}

func noAnswerError(waited time.Duration) error {
	return errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: the server did not answer for %v",
		waited.Round(time.Millisecond))
}
