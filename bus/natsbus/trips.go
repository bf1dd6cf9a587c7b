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
	// bulk is how many bytes a link in use may have to carry before a question reaches the server, without being taken
	// for slow.
	bulk = 1 << 20
	// bulkPatience is how many probe intervals the server may take to read what is more than that.
	bulkPatience = 5
)

// trip is one round trip to the server. When it has succeeded, the server has seen all that was sent before it began,
// and all that the server had sent by then has been delivered.
type trip struct {
	done chan struct{}
	err  error // set before done is closed
}

func newTrip() *trip { return &trip{done: make(chan struct{})} }

// trips are made one at a time, each for all who asked before it began.
type trips struct {
	wake chan struct{}

	mu      sync.Mutex
	next    *trip
	waiting time.Time // since when for the server's answer, zero if nobody waits
}

func newTrips() trips { return trips{wake: make(chan struct{}, 1), next: newTrip()} }

// join returns a trip that has not begun.
func (t *trips) join() *trip {
	t.mu.Lock()
	next := t.next
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return next
}

func (t *trips) begin() *trip {
	t.mu.Lock()
	defer t.mu.Unlock()
	current := t.next
	t.next = newTrip()
	return current
}

func (t *trips) waitSince(since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = since
}

// hanging reports whether the server has not answered for longer than limit.
func (t *trips) hanging(limit time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.waiting.IsZero() && time.Since(t.waiting) > limit
}

// await returns when the server has seen all that was sent before the call, and what it had sent has been delivered.
func (b *Bus) await(ctx context.Context) error {
	trip := b.trips.join()
	select {
	case <-trip.done:
		return trip.err
	case <-ctx.Done():
		return ctx.Err()
	case <-b.ctx.Done():
		return bus.ErrClosed
	}
}

// travel makes trips until the bus is closed. Whoever waits for one watches the bus's context too.
func (b *Bus) travel() {
	confirmed := b.nc.Stats().OutBytes
	for {
		select {
		case <-b.trips.wake:
		case <-b.ctx.Done():
			return
		}
		epoch := b.conn.epoch()
		current := b.trips.begin()
		sent := b.nc.Stats().OutBytes
		current.err = b.roundTrip(sent - confirmed)
		if current.err == nil {
			confirmed = sent
			b.hearRefusals()
			b.markConnected(epoch)
			b.awaitDelivery()
		}
		close(current.done)
	}
}

// awaitDelivery returns when all that has come has been delivered.
func (b *Bus) awaitDelivery() {
	select {
	case b.inbound <- marker:
	case <-b.ctx.Done():
		return
	}
	select {
	case <-b.marked:
	case <-b.ctx.Done():
	}
}

// roundTrip gives the link up if the server is silent. It has more patience if the server has many bytes to read before
// the question.
func (b *Bus) roundTrip(ahead uint64) error {
	patience := b.options.probeInterval
	if ahead > bulk {
		patience *= bulkPatience
	}
	for deadline := time.Now().Add(patience); ; {
		if b.nc.Status() != nats.CONNECTED {
			return errConnLost
		}
		heard := b.nc.Stats().InMsgs
		err := b.flush()
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, context.DeadlineExceeded):
			return errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: no confirmation from the server: %w", err)
		case b.nc.Stats().InMsgs == heard && time.Now().After(deadline):
			b.markDisconnected(b.silentServer())
			_ = b.nc.ForceReconnect() // fails if the connection was closed
			return b.silentServer()
		}
	}
}

func (b *Bus) flush() error {
	b.trips.waitSince(time.Now())
	defer b.trips.waitSince(time.Time{})
	ctx, cancel := context.WithTimeout(b.ctx, b.options.probeInterval)
	defer cancel()
	return b.nc.FlushWithContext(ctx)
}

func (b *Bus) silentServer() error {
	return errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: the server did not answer for %v", b.options.probeInterval)
}
