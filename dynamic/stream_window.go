package dynamic

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// acquireSlot waits for a free slot in the send window and takes it. It returns an error if no slot
// becomes free in time, if the stream is closed, or if an earlier message in the window has failed.
func (s *stream) acquireSlot(o *sendOptions) error {
	if err := s.waitForSlot(o); err != nil {
		return err
	}
	err := s.Err()
	if err == nil {
		err = s.takeWindowErr()
	}
	if err != nil {
		s.releaseSlot()
	}
	return err
}

func (s *stream) waitForSlot(o *sendOptions) error {
	select {
	case s.windowSlots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(o.timeout)
	defer timer.Stop()
	select {
	case s.windowSlots <- struct{}{}:
		return nil
	case <-s.done:
		return s.Err()
	case <-timer.C:
		return s.withFacts(errors.ErrRequestTimedOut, errors.ReasonSilent)
	case <-o.done:
		return s.withFacts(errors.FromContext(o.ctx.Err()), transport.ContextReason(o.ctx.Err()))
	}
}

// releaseSlot releases a slot of the send window. It does nothing if the stream has no window.
func (s *stream) releaseSlot() {
	if s.windowSlots != nil {
		<-s.windowSlots
	}
}

// UnacknowledgedError means that earlier messages were not acknowledged, for example because they
// timed out or the stream was closed. Send and Flush of a stream with a send window return it. It
// wraps the error of the message that failed first, so [errors.Is] and [errors.AsType] find that
// error and its code. Each message is reported only once. The other side may have received some of
// the messages, because acknowledgements can be lost.
//
// Use errors.AsType[*dynamic.UnacknowledgedError] to get this error.
type UnacknowledgedError struct {
	// Messages contains the numbers of the messages in ascending order. The first call to Send on
	// this side of the stream has the number 1, the next one 2, and so on. Calls that returned an
	// error are counted too. If an interceptor calls its Send handler several times, each of these
	// calls is counted.
	Messages []uint64
	// Err is the error of the first message that failed.
	Err error
}

// Error implements error.
func (e *UnacknowledgedError) Error() string {
	first, last := e.Messages[0], e.Messages[len(e.Messages)-1]
	if first == last {
		return fmt.Sprintf("message %d of the stream was not acknowledged: %v", first, e.Err)
	}
	return fmt.Sprintf("%d messages of the stream, from %d to %d, were not acknowledged: %v", len(e.Messages), first, last, e.Err)
}

// Unwrap returns Err.
func (e *UnacknowledgedError) Unwrap() error { return e.Err }

// noteUnacknowledgedLocked records that m has failed with err, so that the next Send or Flush
// returns an error with the number of m. It does nothing if m does not belong to the send window.
// The caller must hold s.mu.
func (s *stream) noteUnacknowledgedLocked(m *inFlightMessage, err error) {
	// If m does not belong to the send window, the call to Send that sent m returns the error.
	if m.result != nil {
		return
	}
	if s.unacknowledged == nil {
		s.unacknowledged = &UnacknowledgedError{Err: err}
	}
	s.unacknowledged.Messages = append(s.unacknowledged.Messages, m.number)
}

// takeWindowErr returns the error about the messages in the send window that have failed since
// takeWindowErr was last called. If there are none, it returns nil.
func (s *stream) takeWindowErr() error {
	s.mu.Lock()
	failure := s.unacknowledged
	s.unacknowledged = nil
	s.mu.Unlock()
	if failure == nil {
		return nil
	}
	slices.Sort(failure.Messages)
	return failure
}

// Flush waits until all messages sent so far have been acknowledged. It returns an error if a
// message was not acknowledged or if ctx ends first.
func (s *stream) Flush(ctx context.Context) error {
	if ctx == nil {
		return nilContextError(s.method.FullName())
	}
	for {
		allAcked := s.waitAllAcked()
		if err := s.takeWindowErr(); err != nil || allAcked == nil {
			return err
		}
		select {
		case <-allAcked:
		case <-s.done:
		case <-ctx.Done():
			return s.withFacts(errors.FromContext(ctx.Err()), transport.ContextReason(ctx.Err()))
		}
	}
}

// waitAllAcked returns a channel that is closed when no message is in flight any more. If no
// message is in flight now, it returns nil.
func (s *stream) waitAllAcked() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.inFlight) == 0 {
		return nil
	}
	if s.allAcked == nil {
		s.allAcked = make(chan struct{})
	}
	return s.allAcked
}
