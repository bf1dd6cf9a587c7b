package dynamic

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// enterWindow waits for a free slot, and fails if a message that was in one has failed.
func (s *stream) enterWindow(o *sendOptions) error {
	if err := s.waitForSlot(o); err != nil {
		return err
	}
	err := s.Err()
	if err == nil {
		err = s.takeFailure()
	}
	if err != nil {
		s.leaveWindow()
	}
	return err
}

func (s *stream) waitForSlot(o *sendOptions) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(o.timeout)
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-s.done:
		return s.Err()
	case <-timer.C:
		return s.failed(errors.ErrRequestTimedOut, errors.ReasonSilent)
	case <-o.done:
		return s.failed(errors.FromContext(o.ctx.Err()), contextReason(o.ctx.Err()))
	}
}

// leaveWindow gives a slot back.
func (s *stream) leaveWindow() {
	if s.slots != nil {
		<-s.slots
	}
}

// takeFailure returns the failure of a message in the window, once.
func (s *stream) takeFailure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	failure := s.failure
	s.failure = nil
	return failure
}

// Flush waits until no message is unacked.
func (s *stream) Flush(ctx context.Context) error {
	for {
		drained := s.drain()
		if err := s.takeFailure(); err != nil || drained == nil {
			return err
		}
		select {
		case <-drained:
		case <-s.done:
		case <-ctx.Done():
			return s.failed(errors.FromContext(ctx.Err()), contextReason(ctx.Err()))
		}
	}
}

// drain returns a channel that is closed when no message is unacked, or nil if none is.
func (s *stream) drain() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unacked) == 0 {
		return nil
	}
	if s.drained == nil {
		s.drained = make(chan struct{})
	}
	return s.drained
}
