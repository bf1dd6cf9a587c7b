package dynamic

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// inFlightMessage is a message on its way. It takes the bus's report on it.
type inFlightMessage struct {
	stream  *stream
	id      id.Call
	context lazyctx.Context // bounds the publication
	timer   *time.Timer
	result  chan error // room for one, for a Send that waits; nil in a window
}

// send sends a message. Without a window it waits for the acknowledgement.
func (s *stream) send(message proto.Message, opts []StreamOption) error {
	if err := s.sendType.Check(message); err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "message of stream %s: %w", s.method.FullName(), err)
	}
	o := newSendOptions(opts, s)
	m := &inFlightMessage{stream: s, id: id.NewRequest()}
	if s.windowSlots != nil {
		if err := s.acquireSlot(&o); err != nil {
			return err
		}
		return s.sendMessage(m, message, &o)
	}
	m.result = make(chan error, 1)
	if err := s.sendMessage(m, message, &o); err != nil {
		return err
	}
	select {
	case err := <-m.result:
		return err
	case <-o.done:
		s.complete(m.id, s.withFacts(errors.FromContext(o.ctx.Err()), transport.ContextReason(o.ctx.Err())))
		return <-m.result // the same, unless something else was first
	}
}

// sendMessage publishes a message, which stays unacked if that succeeds.
func (s *stream) sendMessage(m *inFlightMessage, message proto.Message, o *sendOptions) error {
	now := time.Now()
	outgoing := wire.Stream{
		StreamID: s.id, RequestID: m.id[:], SentAt: now.UnixNano(), Expiry: now.Add(o.timeout).UnixNano(),
		Op: wire.StreamMessage, Body: s.sendType.Body(message),
	}
	frame, err := outgoing.AppendFrame(nil)
	if err != nil {
		s.releaseSlot()
		return errors.NewErrorf(errors.MalformedRequest, "message of stream %s cannot be encoded: %w", s.method.FullName(), err)
	}
	if err := s.track(m, o.timeout); err != nil {
		s.releaseSlot()
		return err
	}
	m.context.Parent, m.context.Expiry = o.ctx, now.Add(o.timeout)
	defer m.context.Cancel()
	if err := s.publish(&m.context, frame, m); err != nil {
		s.complete(m.id, nil)
		if closed := s.Err(); closed != nil {
			return closed
		}
		return s.withFacts(transport.ClassifyError(err))
	}
	return nil
}

// publish sends a frame of the open stream, after those that are being sent.
func (s *stream) publish(ctx context.Context, frame []byte, report bus.DeliveryReport) error {
	if err := s.lockSend(ctx); err != nil {
		return err
	}
	defer s.unlockSend()
	if err := s.Err(); err != nil {
		return err
	}
	s.lastSent.Store(int64(time.Since(s.started)))
	return s.bus.Publish(ctx, s.remote, frame, report)
}

func (s *stream) lockSend(ctx context.Context) error {
	select {
	case s.sendLock <- struct{}{}:
		return nil
	default: // ask ctx only if there is need to wait
	}
	select {
	case s.sendLock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stream) unlockSend() { <-s.sendLock }

// track makes a message one that waits for its acknowledgement.
func (s *stream) track(m *inFlightMessage, timeout time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.inFlight[m.id] = m
	m.timer = time.AfterFunc(timeout, m.onTimeout)
	return nil
}

// onAck takes an acknowledgement; it never blocks.
func (s *stream) onAck(frame *wire.Stream) {
	requestID, ok := id.ParseCall(frame.RequestID)
	switch {
	case s.opening != nil && requestID == s.opening.id:
		s.opening.onAck(frame)
	case !ok || !s.complete(requestID, nil):
		s.counters.unmatched.Add(1)
	}
}

// onTimeout gives a message up.
func (m *inFlightMessage) onTimeout() {
	m.stream.complete(m.id, m.stream.withFacts(errors.ErrRequestTimedOut, errors.ReasonSilent))
}

// Published takes the bus's report on a message.
func (m *inFlightMessage) Delivered(receivers int, err error) {
	switch {
	case err != nil:
		m.stream.complete(m.id, m.stream.withFacts(transport.ClassifyError(err)))
	case receivers == 0:
		m.stream.complete(m.id, m.stream.withFacts(errors.ErrNoResponse, errors.ReasonNobodyListening))
	}
}

// complete ends the wait for a message's acknowledgement. It reports false if nobody waits for that.
func (s *stream) complete(requestID id.Call, outcome error) bool {
	s.mu.Lock()
	m := s.inFlight[requestID]
	delete(s.inFlight, requestID)
	if m != nil && m.result == nil && s.windowErr == nil {
		s.windowErr = outcome
	}
	if len(s.inFlight) == 0 && s.allAcked != nil {
		close(s.allAcked)
		s.allAcked = nil
	}
	s.mu.Unlock()
	if m == nil {
		return false
	}
	m.complete(outcome)
	return true
}

// complete is called once: by who has taken the message from those that are unacked.
func (m *inFlightMessage) complete(outcome error) {
	m.timer.Stop()
	if m.result != nil {
		m.result <- outcome
	} else {
		m.stream.releaseSlot()
	}
}
