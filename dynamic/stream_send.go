package dynamic

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// unacked is a message on its way. It takes the bus's report on it.
type unacked struct {
	stream  *stream
	id      id.Call
	context lazyContext // bounds the publication
	expire  *time.Timer
	settled chan error // room for one, for a Send that waits; nil in a window
}

// send sends a message. Without a window it waits for the acknowledgement.
func (s *stream) send(message proto.Message, opts []StreamOption) error {
	if err := s.outgoing.check(message); err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "message of stream %s: %w", s.method.FullName(), err)
	}
	o := newSendOptions(opts, s)
	u := &unacked{stream: s, id: id.NewRequest()}
	if s.slots != nil {
		if err := s.enterWindow(&o); err != nil {
			return err
		}
		return s.transmit(u, message, &o)
	}
	u.settled = make(chan error, 1)
	if err := s.transmit(u, message, &o); err != nil {
		return err
	}
	select {
	case err := <-u.settled:
		return err
	case <-o.done:
		s.settle(u.id, s.failed(errors.FromContext(o.ctx.Err()), contextReason(o.ctx.Err())))
		return <-u.settled // the same, unless something else was first
	}
}

// transmit publishes a message, which stays unacked if that succeeds.
func (s *stream) transmit(u *unacked, message proto.Message, o *sendOptions) error {
	now := time.Now()
	outgoing := wire.Stream{
		StreamID: s.id, RequestID: u.id[:], SentAt: now.UnixNano(), Expiry: now.Add(o.timeout).UnixNano(),
		Op: wire.StreamMessage, Body: s.outgoing.body(message),
	}
	frame, err := outgoing.AppendFrame(nil)
	if err != nil {
		s.leaveWindow()
		return errors.NewErrorf(errors.MalformedRequest, "message of stream %s cannot be encoded: %w", s.method.FullName(), err)
	}
	if err := s.track(u, o.timeout); err != nil {
		s.leaveWindow()
		return err
	}
	u.context.parent, u.context.deadline = o.ctx, now.Add(o.timeout)
	defer u.context.cancel()
	if err := s.publish(&u.context, frame, u); err != nil {
		s.settle(u.id, nil)
		if closed := s.Err(); closed != nil {
			return closed
		}
		return s.failed(classifyPublishError(err))
	}
	return nil
}

// publish sends a frame of the open stream, after those that are being sent.
func (s *stream) publish(ctx context.Context, frame []byte, report bus.DeliveryReport) error {
	if err := s.takeLine(ctx); err != nil {
		return err
	}
	defer s.leaveLine()
	if err := s.Err(); err != nil {
		return err
	}
	s.sent.Store(int64(time.Since(s.started)))
	return s.bus.Publish(ctx, s.peer, frame, report)
}

func (s *stream) takeLine(ctx context.Context) error {
	select {
	case s.line <- struct{}{}:
		return nil
	default: // ask ctx only if there is need to wait
	}
	select {
	case s.line <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stream) leaveLine() { <-s.line }

// track makes a message one that waits for its acknowledgement.
func (s *stream) track(u *unacked, timeout time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.unacked[u.id] = u
	u.expire = time.AfterFunc(timeout, u.expired)
	return nil
}

// acknowledged takes an acknowledgement; it never blocks.
func (s *stream) acknowledged(frame *wire.Stream) {
	requestID, ok := id.ParseCall(frame.RequestID)
	switch {
	case s.opening != nil && requestID == s.opening.id:
		s.opening.acknowledged(frame)
	case !ok || !s.settle(requestID, nil):
		s.counters.unmatched.Add(1)
	}
}

// expired gives a message up.
func (u *unacked) expired() {
	u.stream.settle(u.id, u.stream.failed(errors.ErrRequestTimedOut, errors.ReasonSilent))
}

// Published takes the bus's report on a message.
func (u *unacked) Delivered(receivers int, err error) {
	switch {
	case err != nil:
		u.stream.settle(u.id, u.stream.failed(classifyPublishError(err)))
	case receivers == 0:
		u.stream.settle(u.id, u.stream.failed(errors.ErrNoResponse, errors.ReasonNobodyListening))
	}
}

// settle ends the wait for a message's acknowledgement. It reports false if nobody waits for that.
func (s *stream) settle(requestID id.Call, outcome error) bool {
	s.mu.Lock()
	u := s.unacked[requestID]
	delete(s.unacked, requestID)
	if u != nil && u.settled == nil && s.failure == nil {
		s.failure = outcome
	}
	if len(s.unacked) == 0 && s.drained != nil {
		close(s.drained)
		s.drained = nil
	}
	s.mu.Unlock()
	if u == nil {
		return false
	}
	u.settle(outcome)
	return true
}

// settle is called once: by who has taken the message from those that are unacked.
func (u *unacked) settle(outcome error) {
	u.expire.Stop()
	if u.settled != nil {
		u.settled <- outcome
	} else {
		u.stream.leaveWindow()
	}
}
