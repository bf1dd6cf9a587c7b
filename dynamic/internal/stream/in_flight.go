package stream

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
)

// sentMessage is a message that was sent and has not been acknowledged yet. It implements
// bus.DeliveryReport.
type sentMessage struct {
	inFlight *inFlight
	id       id.Call
	// number is the number of the message as defined by UnacknowledgedError.Messages. It is used
	// only if the stream has a send window.
	number uint64
	// sent is the time at which the message was sent, and deadline the time until which it must be
	// acknowledged. Both are measured from the start of the stream.
	sent, deadline time.Duration
	// context limits how long publishing the message may take.
	context lazyctx.Context
	// result is a channel of capacity one. It receives the error of the message, or nil, for the
	// waiting Send. If the stream has a send window, result is nil, because Send does not wait.
	result chan error
}

// Delivered implements bus.DeliveryReport. If the frame was lost or had no receivers, the message
// fails. Otherwise, Delivered does nothing, because the acknowledgement completes the message.
func (m *sentMessage) Delivered(receivers int, err error) {
	switch f := m.inFlight; {
	case err != nil:
		f.complete(m.id, f.config.withFacts(transport.ClassifyError(err)))
	case receivers == 0:
		f.complete(m.id, f.config.withFacts(errors.ErrNoResponse, errors.ReasonNobodyListening))
	}
}

// complete passes outcome to the waiting Send, or releases the slot in the send window. The caller
// must have removed the message from the messages in flight, so that complete is called only once.
func (m *sentMessage) complete(outcome error) {
	if m.result != nil {
		m.result <- outcome
	} else {
		m.inFlight.releaseSlot()
	}
}

// bounds limits how long one Send may take.
type bounds struct {
	timeout time.Duration
	context context.Context //nolint:containedctx // it has the lifetime of one Send
	// done is the Done channel of the context that was passed to Send. It is nil if there was none.
	// The end of the stream's own context needs no channel, because it ends all messages in flight.
	done <-chan struct{}
}

// inFlight holds the messages that have not been acknowledged yet. It ends the wait for those that
// are not acknowledged in time, and limits their number if there is a send window.
//
// One timer serves all messages, because a timer for each message would cost two more allocations.
// Acknowledgements do not stop the timer. It is set only if it would fire too late for a message.
type inFlight struct {
	config *Config
	// started is the start of the stream, from which all times are measured.
	started time.Time
	// closed is the channel that is closed after the method close has returned.
	closed <-chan struct{}
	// slots contains one element for each unacknowledged message in the send window. It is nil if
	// the stream has no window.
	slots chan struct{}
	// sendCalls is the number of calls to Send. It is counted only on a stream with a send window.
	sendCalls atomic.Uint64
	// failing is true while failure would return an error. failure checks it first, so that Send
	// need not lock mu if there is no error.
	failing atomic.Bool

	mu sync.Mutex
	// err is the reason why the stream was closed. It is nil while the stream is open.
	err error
	// messages is nil once the stream is closed.
	messages map[id.Call]*sentMessage
	// allAcked is closed when the last message in flight has been acknowledged or has failed. It is
	// nil if no Flush is waiting.
	allAcked chan struct{}
	// unacknowledged is the error that the next Send or Flush returns because messages in the send
	// window have failed. It is nil if there is no such error.
	unacknowledged *UnacknowledgedError
	// timer calls expire. It is nil until the first message is sent.
	timer *time.Timer
	// timerAt is the time for which the timer is set. It is not later than the deadline of any
	// message. It is 0 if the timer is not set.
	timerAt time.Duration
}

// add adds a message to the messages in flight. It returns an error if the stream is closed.
func (f *inFlight) add(m *sentMessage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	f.messages[m.id] = m
	if f.timerAt == 0 || m.deadline < f.timerAt {
		f.setTimerLocked(m.deadline, m.deadline-m.sent)
	}
	return nil
}

// setTimerLocked sets the timer to fire at the given time, which is d from now.
func (f *inFlight) setTimerLocked(at, d time.Duration) {
	f.timerAt = at
	if f.timer == nil {
		f.timer = time.AfterFunc(d, f.expire)
	} else {
		f.timer.Reset(d)
	}
}

// expire fails all messages whose deadline has passed, and sets the timer for the next deadline.
// The timer calls it.
func (f *inFlight) expire() {
	timedOut := f.config.withFacts(errors.ErrRequestTimedOut, errors.ReasonSilent)
	f.mu.Lock()
	now := time.Since(f.started)
	var expired []*sentMessage
	next := time.Duration(0)
	for _, m := range f.messages {
		if m.deadline <= now {
			expired = append(expired, m)
			f.removeLocked(m, timedOut)
		} else if next == 0 || m.deadline < next {
			next = m.deadline
		}
	}
	if f.timerAt = 0; next != 0 {
		f.setTimerLocked(next, next-now)
	}
	f.mu.Unlock()
	for _, m := range expired {
		m.complete(timedOut)
	}
}

// complete ends the wait for the acknowledgement of a message. outcome is the error of the message,
// or nil. complete returns the message, or nil if no message with this ID is in flight. The
// acknowledgement, the bus and the caller's context may all lead to a call to complete. Only the
// first call for a message has an effect.
func (f *inFlight) complete(requestID id.Call, outcome error) *sentMessage {
	f.mu.Lock()
	m := f.messages[requestID]
	if m != nil {
		f.removeLocked(m, outcome)
	}
	f.mu.Unlock()
	if m != nil {
		m.complete(outcome)
	}
	return m
}

// removeLocked removes a message that is in flight. outcome is the error of the message, or nil.
func (f *inFlight) removeLocked(m *sentMessage, outcome error) {
	delete(f.messages, m.id)
	if outcome != nil {
		f.noteUnacknowledgedLocked(m, outcome)
	}
	if len(f.messages) == 0 && f.allAcked != nil {
		close(f.allAcked)
		f.allAcked = nil
	}
}

// close makes all messages fail with err, the reason why the stream was closed. It is called once.
func (f *inFlight) close(err error) {
	f.mu.Lock()
	f.err = err
	messages := f.messages
	f.messages = nil
	for _, m := range messages {
		f.noteUnacknowledgedLocked(m, err)
	}
	f.failing.Store(true)
	if f.timer != nil {
		f.timer.Stop()
	}
	f.mu.Unlock()
	for _, m := range messages {
		m.complete(err)
	}
}

// noteUnacknowledgedLocked records that m has failed with err, so that the next Send or Flush
// returns an error with the number of m. It does nothing if m does not belong to the send window.
func (f *inFlight) noteUnacknowledgedLocked(m *sentMessage, err error) {
	// If m does not belong to the send window, the call to Send that sent m returns the error.
	if m.result != nil {
		return
	}
	if f.unacknowledged == nil {
		f.unacknowledged = &UnacknowledgedError{Err: err}
		f.failing.Store(true)
	}
	f.unacknowledged.Messages = append(f.unacknowledged.Messages, m.number)
}

// takeUnacknowledgedLocked returns the error about the messages in the send window that have failed
// since it was last called. If there are none, it returns nil.
func (f *inFlight) takeUnacknowledgedLocked() error {
	failure := f.unacknowledged
	if failure == nil {
		return nil
	}
	f.unacknowledged = nil
	f.failing.Store(f.err != nil)
	slices.Sort(failure.Messages)
	return failure
}

// failure returns the reason why the stream was closed or, if it is open, the error about messages
// in the send window that have failed. It returns nil if there is neither.
func (f *inFlight) failure() error {
	if !f.failing.Load() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	return f.takeUnacknowledgedLocked()
}

// acquireSlot waits for a free slot in the send window and takes it. It returns an error if no slot
// becomes free in time, if the stream is closed, or if an earlier message in the window has failed.
func (f *inFlight) acquireSlot(b *bounds) error {
	if err := f.waitForSlot(b); err != nil {
		return err
	}
	err := f.failure()
	if err != nil {
		f.releaseSlot()
	}
	return err
}

func (f *inFlight) waitForSlot(b *bounds) error {
	select {
	case f.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(b.timeout)
	defer timer.Stop()
	select {
	case f.slots <- struct{}{}:
		return nil
	case <-f.closed:
		return f.failure()
	case <-timer.C:
		return f.config.withFacts(errors.ErrRequestTimedOut, errors.ReasonSilent)
	case <-b.done:
		return f.config.contextError(b.context)
	}
}

// releaseSlot releases a slot of the send window. It does nothing if the stream has no window.
func (f *inFlight) releaseSlot() {
	if f.slots != nil {
		<-f.slots
	}
}

// flush waits until all messages sent so far have been acknowledged. It returns an error if a
// message was not acknowledged or if ctx ends first.
func (f *inFlight) flush(ctx context.Context) error {
	for {
		allAcked, err := f.unflushed()
		if err != nil || allAcked == nil {
			return err
		}
		select {
		case <-allAcked:
		case <-f.closed:
		case <-ctx.Done():
			return f.config.contextError(ctx)
		}
	}
}

// unflushed returns a channel that is closed when no message is in flight any more. If no message
// is in flight now, the channel is nil. err is the error about messages that have failed.
func (f *inFlight) unflushed() (allAcked <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.takeUnacknowledgedLocked(); err != nil || len(f.messages) == 0 {
		return nil, err
	}
	if f.allAcked == nil {
		f.allAcked = make(chan struct{})
	}
	return f.allAcked, nil
}
