package dynamic

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// acquireSlot waits for a free slot in the send window. It returns an error if no slot becomes free
// in time, if the stream is closed, or if an earlier message in the window has failed.
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

// takeWindowErr returns s.windowErr and resets it to nil.
func (s *stream) takeWindowErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	failure := s.windowErr
	s.windowErr = nil
	return failure
}

// Flush waits until all messages sent so far have been acknowledged. It returns an error if a
// message was not acknowledged or if ctx ends first.
func (s *stream) Flush(ctx context.Context) error {
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
