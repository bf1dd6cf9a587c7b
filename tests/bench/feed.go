package main

import (
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// clockEvery is after how many updates a publisher looks at the clock, which takes as long as a cheap publication.
const clockEvery = 16

// feed is a load in which one publisher sends updates to subscribers.
type feed struct {
	publish func() error
	flush   func() error // sends what publish has kept back; nil if it keeps nothing
	copies  uint64       // how many subscribers get each update
	window  int          // how many may be on their way; 0 is any number

	delivered atomic.Uint64 // right ones
	wrong     atomic.Uint64
	pending   []atomic.Uint64 // in a window: copies that have come, of each update that is on its way
	arrived   chan struct{}   // in a window: an update has come to all
}

// subscriber counts what it gets.
type subscriber struct {
	feed     *feed
	received uint64
}

// newFeed is told later how to publish, and has no subscribers yet.
func newFeed(copies, window int) *feed {
	return &feed{
		copies: uint64(copies), window: window, //nolint:gosec // not negative
		pending: make([]atomic.Uint64, window), arrived: make(chan struct{}, window),
	}
}

// subscriber returns one more.
func (f *feed) subscriber() *subscriber { return &subscriber{feed: f} }

// got is called with each update by the goroutine of the subscriber. Updates have no numbers: as long as none is lost,
// the nth that one of several gets is the nth that was published.
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
	default: // it was given up
	}
}

// run is the load.
func (f *feed) run(until time.Time) tally {
	f.delivered.Store(0)
	f.wrong.Store(0)
	f.landed(false) // what came last
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

// publishUntil publishes at least one update.
func (f *feed) publishUntil(until time.Time) tally {
	var result tally
	free := f.window
	for n := 0; n == 0 || n%clockEvery != 0 || time.Now().Before(until); n++ {
		if f.window > 0 {
			if free += f.landed(free == 0); free == 0 {
				free = f.window // those on their way are lost
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

// landed returns how many updates have arrived since it was last called. It waits for one, but not for long, if it is
// told to.
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
