package main

import (
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// clockEvery is the number of updates that are published between two calls to time.Now. Reading the
// clock can take as long as publishing an update. Reading it for every update would therefore
// distort the measurement.
const clockEvery = 16

// feed measures one publisher that sends updates to subscribers. Its method run implements [load].
type feed struct {
	// publish publishes one update.
	publish func() error
	// flush sends the updates that publish has buffered. It is nil if publish does not buffer
	// updates.
	flush func() error
	// copies is the number of subscribers that receive each update.
	copies uint64
	// window is the maximum number of published updates that have not been received by all
	// subscribers yet. 0 means no limit.
	window int

	// delivered is the number of received updates with the expected content, over all subscribers.
	// wrong is the number of all other received updates.
	delivered atomic.Uint64
	wrong     atomic.Uint64
	// pending tells the feed when all subscribers have received an update. It has one counter for
	// each slot of the window. Updates use the slots in turn, and each received copy of an update
	// increments the counter of its slot. When all subscribers have received an update, its counter
	// is a multiple of copies. pending is empty if the window is unlimited.
	pending []atomic.Uint64
	// arrived receives a value whenever all subscribers have received an update. It is not used if
	// the window is unlimited.
	arrived chan struct{}
}

// subscriber counts the updates that it receives.
type subscriber struct {
	feed     *feed
	received uint64
}

// newFeed returns a feed without subscribers. The caller must set publish before running the feed.
func newFeed(copies, window int) *feed {
	return &feed{
		copies: uint64(copies), window: window, //nolint:gosec // not negative
		pending: make([]atomic.Uint64, window), arrived: make(chan struct{}, window),
	}
}

// subscriber returns a new subscriber of f.
func (f *feed) subscriber() *subscriber { return &subscriber{feed: f} }

// got counts a received update. correct reports whether the content of the update is as expected.
// All calls for one subscriber must be made from the same goroutine.
//
// The update frees its slot of the window once all subscribers have received it. Updates carry no
// numbers, so got counts them to find the slot. The count is wrong only after an update was lost.
func (s *subscriber) got(correct bool) {
	f := s.feed
	if !correct {
		f.wrong.Add(1)
		return
	}
	n := f.delivered.Add(1)
	if f.window == 0 {
		return
	}
	if f.copies > 1 {
		n = s.received
		s.received++
	}
	pending := &f.pending[n%uint64(f.window)] //nolint:gosec // not negative
	if pending.Add(1)%f.copies != 0 {
		return
	}
	select {
	case f.arrived <- struct{}{}:
	default:
		// The channel is full only if the publisher has already counted the update as lost.
	}
}

// run implements load. It publishes updates until the given time and then waits until they have
// been received or count as lost.
func (f *feed) run(until time.Time) tally {
	f.delivered.Store(0)
	f.wrong.Store(0)
	// Ignore updates of the previous run that arrived late.
	f.landed(false)
	start := time.Now()
	result := f.publishUntil(until)
	if f.flush != nil {
		result.err = errors.Join(result.err, f.flush())
	}
	result.elapsed = time.Since(start)

	want := result.completed * f.copies
	last := settle(func() bool { return f.delivered.Load()+f.wrong.Load() >= want }, f.delivered.Load)
	result.delivered = f.delivered.Load()
	result.deliveredIn = max(last.Sub(start), result.elapsed)
	result.lost = want - min(result.delivered, want)
	if excess := result.delivered - min(result.delivered, want); excess > 0 || f.wrong.Load() > 0 {
		result.failed += excess + f.wrong.Load()
		result.err = errors.Join(result.err, errWrongAnswer)
	}
	return result
}

// publishUntil publishes updates until the given time. It always publishes at least one.
func (f *feed) publishUntil(until time.Time) tally {
	var result tally
	free := f.window
	for n := 0; n == 0 || n%clockEvery != 0 || time.Now().Before(until); n++ {
		if f.window > 0 {
			if free += f.landed(free == 0); free == 0 {
				// No update has arrived for some time, so those in flight count as lost.
				free = f.window
			}
			free--
		}
		if err := f.publish(); err != nil {
			result.failed++
			result.err = err
			continue
		}
		result.completed++
	}
	return result
}

// landed returns the number of updates that have been received by all subscribers since the
// previous call. If there are none and wait is true, landed waits for one update. It returns 0 if
// no update arrives within half a second, the value of [settled].
func (f *feed) landed(wait bool) int {
	n := 0
	for {
		select {
		case <-f.arrived:
			n++
			continue
		default:
		}
		if n > 0 || !wait {
			return n
		}
		giveUp := time.NewTimer(settled)
		select {
		case <-f.arrived:
			n++
		case <-giveUp.C:
			return 0
		}
		giveUp.Stop()
	}
}
