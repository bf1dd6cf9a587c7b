package main

import (
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// clockEvery is the number of updates between two calls of time.Now, which costs as much as a cheap
// publication.
const clockEvery = 16

// feed is a load in which one publisher sends updates to subscribers.
type feed struct {
	publish func() error
	// flush sends the updates that publish has buffered. It is nil if publish does not buffer.
	flush func() error
	// copies is the number of subscribers that receive each update.
	copies uint64
	// window is the maximum number of updates in flight; 0 means no limit.
	window int

	// delivered counts correct updates, wrong counts the others.
	delivered atomic.Uint64
	wrong     atomic.Uint64
	// pending counts the received copies of each update in flight. It is empty without a window.
	pending []atomic.Uint64
	// arrived receives a value for each update in a window that all subscribers have received.
	arrived chan struct{}
}

// subscriber counts the updates that it receives.
type subscriber struct {
	feed     *feed
	received uint64
}

// newFeed returns a feed without subscribers. The caller sets publish.
func newFeed(copies, window int) *feed {
	return &feed{
		copies: uint64(copies), window: window, //nolint:gosec // not negative
		pending: make([]atomic.Uint64, window), arrived: make(chan struct{}, window),
	}
}

// subscriber returns a new subscriber of f.
func (f *feed) subscriber() *subscriber { return &subscriber{feed: f} }

// got counts an update; right says whether its content is correct. The goroutine of the subscriber
// calls got for each update. Updates have no sequence numbers: the nth update that a subscriber
// receives is taken for the nth published one, which holds as long as none is lost.
func (s *subscriber) got(right bool) {
	f := s.feed
	if !right {
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
	default: // the publisher has counted the update as lost
	}
}

// run implements load.
func (f *feed) run(until time.Time) tally {
	f.delivered.Store(0)
	f.wrong.Store(0)
	f.landed(false) // discard late arrivals of the previous run
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

// publishUntil publishes updates until the given time, at least one.
func (f *feed) publishUntil(until time.Time) tally {
	var result tally
	free := f.window
	for n := 0; n == 0 || n%clockEvery != 0 || time.Now().Before(until); n++ {
		if f.window > 0 {
			if free += f.landed(free == 0); free == 0 {
				free = f.window // count the updates in flight as lost
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

// landed returns the number of updates that all subscribers have received since the previous call.
// With wait, it waits up to the duration settled for the first one.
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
