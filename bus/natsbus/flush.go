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
	// bulkBytes is how many bytes a link in use may have to carry before a question reaches the server, without being taken
	// for slow.
	bulkBytes = 1 << 20
	// bulkFactor is how many probe intervals the server may take to read what is more than that.
	bulkFactor = 5
)

// flush is one round trip to the server. When it has succeeded, the server has seen all that was sent before it began,
// and all that the server had sent by then has been delivered.
type flush struct {
	done chan struct{}
	err  error // set before done is closed
}

func newFlush() *flush { return &flush{done: make(chan struct{})} }

// flusher are made one at a time, each for all who asked before it began.
type flusher struct {
	wake chan struct{}

	mu         sync.Mutex
	next       *flush
	pingSentAt time.Time // since when for the server's answer, zero if nobody waits
}

func newFlusher() flusher { return flusher{wake: make(chan struct{}, 1), next: newFlush()} }

// request returns a trip that has not begun.
func (t *flusher) request() *flush {
	t.mu.Lock()
	next := t.next
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return next
}

func (t *flusher) start() *flush {
	t.mu.Lock()
	defer t.mu.Unlock()
	current := t.next
	t.next = newFlush()
	return current
}

func (t *flusher) setPingSentAt(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pingSentAt = at
}

// stalled reports whether the server has not answered for longer than limit.
func (t *flusher) stalled(limit time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.pingSentAt.IsZero() && time.Since(t.pingSentAt) > limit
}

// waitFlushed returns when the server has seen all that was sent before the call, and what it had sent has been delivered.
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

// runFlusher makes trips until the bus is closed. Whoever waits for one watches the bus's context too.
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

// waitDelivered returns when all that has come has been delivered.
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

// roundTrip gives the link up if the server is silent. It has more patience if the server has many bytes to read before
// the question.
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
