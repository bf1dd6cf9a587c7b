package flush

import (
	"sync"
	"time"
)

// Flush is one exchange of PING and PONG with the server.
type Flush struct {
	done chan struct{}
	// err is set before done is closed.
	err error
}

// Never returns a flush that never ends.
func Never() *Flush { return &Flush{} }

func newFlush() *Flush { return &Flush{done: make(chan struct{})} }

// Done returns a channel that is closed when the flush has succeeded or failed. A flush that has
// not begun when Run returns never ends.
func (f *Flush) Done() <-chan struct{} { return f.done }

// Err returns the error of a failed flush, or nil if the flush has succeeded. It must not be called
// before the channel of Done is closed.
func (f *Flush) Err() error { return f.err }

// Flusher runs flushes one at a time. Use [New] to create a Flusher.
type Flusher struct {
	probeInterval time.Duration
	// wake receives a value when a flush is requested. Its capacity is one. A spurious wake-up
	// costs only a PING.
	wake chan struct{}

	// mu guards the fields below.
	mu sync.Mutex
	// next is the flush that has not begun yet.
	next *Flush
	// pings changes whenever a PING is sent, answered or given up.
	pings uint64
	// overdueSince is the time at which a probe interval ended without an answer to the current
	// PING. It is zero if there is no such PING.
	overdueSince time.Time
}

// New returns a flusher. probeInterval is the time within which the server must answer a PING.
// [Flusher.RoundTrip] allows more time in some cases.
func New(probeInterval time.Duration) *Flusher {
	return &Flusher{probeInterval: probeInterval, wake: make(chan struct{}, 1), next: newFlush()}
}

// Request returns a flush that has not begun yet, and wakes the goroutine in Run to begin it. A
// flush in progress would not suffice, because its PING may have been sent before the commands of
// the caller.
func (f *Flusher) Request() *Flush {
	f.mu.Lock()
	next := f.next
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return next
}

// Run calls exchange for each requested flush, until closed is closed. exchange sends a PING and
// waits for the answer; its error is the error of the flush.
func (f *Flusher) Run(closed <-chan struct{}, exchange func() error) {
	for {
		select {
		case <-f.wake:
		case <-closed:
			return
		}
		current := f.begin()
		current.err = exchange()
		close(current.done)
	}
}

// begin returns the flush that must run now. Later calls to Request return a new flush.
func (f *Flusher) begin() *Flush {
	f.mu.Lock()
	defer f.mu.Unlock()
	current := f.next
	f.next = newFlush()
	return current
}

// Stalled returns an error if a PING has been unanswered for longer than one and a half probe
// intervals, and nil otherwise. RoundTrip waits for each PING for at most one interval. If a PING
// takes longer, nats.go is blocked in a write.
func (f *Flusher) Stalled() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.overdueSince.IsZero() || time.Since(f.overdueSince) <= f.probeInterval/2 {
		return nil
	}
	return silenceError(f.probeInterval * 3 / 2)
}

// beginPing returns the number of a PING that is about to be sent.
func (f *Flusher) beginPing() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pings++
	return f.pings
}

// endPing is called when the current PING has been answered or given up.
func (f *Flusher) endPing() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pings++
	f.overdueSince = time.Time{}
}

// setOverdue is called when a probe interval has ended without an answer to the PING with the given
// number. It does nothing if that PING is no longer the current one.
func (f *Flusher) setOverdue(number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pings == number {
		f.overdueSince = time.Now()
	}
}
