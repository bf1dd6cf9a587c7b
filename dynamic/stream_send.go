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

// inFlightMessage is a sent message that has not been acknowledged yet. It implements
// bus.DeliveryReport.
type inFlightMessage struct {
	stream *stream
	id     id.Call
	// number is the number of the message as defined by the field Messages of
	// [UnacknowledgedError]. It is used only if the stream has a send window.
	number uint64
	// sent is the time from the start of the stream until the message was sent.
	sent time.Duration
	// context limits how long publishing the message may take.
	context lazyctx.Context
	timer   *time.Timer
	// result is a channel of capacity one. It receives the error of the message, or nil, for the
	// waiting Send. If the stream has a send window, result is nil, because Send does not wait.
	result chan error
}

// send sends a message. If the stream has no send window, it waits for the acknowledgement.
func (s *stream) send(message proto.Message, opts []StreamOption) error {
	m := &inFlightMessage{stream: s, id: id.NewRequest()}
	if s.windowSlots != nil {
		m.number = s.sendCalls.Add(1)
	}
	if err := s.sendType.Check(message); err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "message of stream %s: %w", s.method.FullName(), err)
	}
	o := newSendOptions(opts, s)
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
		// The method complete has put the error into the channel, unless the channel already
		// contained a result.
		return <-m.result
	}
}

// sendMessage publishes a message and adds it to the messages in flight. If sendMessage fails, the
// message is not in flight, and its slot in the send window has been released.
func (s *stream) sendMessage(m *inFlightMessage, message proto.Message, o *sendOptions) error {
	now := time.Now()
	m.sent = now.Sub(s.started)
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
	s.tapStream(TrafficMessageOut, message, nil)
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

// publish sends a frame on the open stream. If another frame is being sent, publish waits for its
// turn.
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

// lockSend acquires s.sendLock. If ctx ends first, lockSend returns the error of ctx. It calls
// ctx.Done only if it has to wait, because a lazyctx.Context creates a channel for this call.
func (s *stream) lockSend(ctx context.Context) error {
	select {
	case s.sendLock <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.sendLock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stream) unlockSend() { <-s.sendLock }

// track adds a message to the messages in flight and starts its timer. It returns an error if the
// stream is closed.
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

// onAck handles the acknowledgement of a message, or of the request that opens the stream. It never
// blocks.
func (s *stream) onAck(frame *wire.Stream) {
	requestID, ok := id.ParseCall(frame.RequestID)
	if s.opening != nil && requestID == s.opening.id {
		s.opening.onAck(frame)
		return
	}
	if ok {
		if m := s.complete(requestID, nil); m != nil {
			s.clock.passed(m.sent)
			return
		}
	}
	s.drop(dropUnmatched)
}

// onTimeout makes the message fail with ErrRequestTimedOut.
func (m *inFlightMessage) onTimeout() {
	m.stream.complete(m.id, m.stream.withFacts(errors.ErrRequestTimedOut, errors.ReasonSilent))
}

// Delivered implements bus.DeliveryReport. If the frame was lost or had no receivers, the message
// fails. Otherwise, Delivered does nothing, because the acknowledgement completes the message.
func (m *inFlightMessage) Delivered(receivers int, err error) {
	switch {
	case err != nil:
		m.stream.complete(m.id, m.stream.withFacts(transport.ClassifyError(err)))
	case receivers == 0:
		m.stream.complete(m.id, m.stream.withFacts(errors.ErrNoResponse, errors.ReasonNobodyListening))
	}
}

// complete ends the wait for the acknowledgement of a message. outcome is the error of the message,
// or nil. complete returns the message, or nil if no message with this ID is in flight. The
// acknowledgement, the timeout, the bus and the caller's context may all lead to a call to
// complete. Only the first call for a message has an effect.
func (s *stream) complete(requestID id.Call, outcome error) *inFlightMessage {
	s.mu.Lock()
	m := s.inFlight[requestID]
	delete(s.inFlight, requestID)
	if m != nil && outcome != nil {
		s.noteUnacknowledgedLocked(m, outcome)
	}
	if len(s.inFlight) == 0 && s.allAcked != nil {
		close(s.allAcked)
		s.allAcked = nil
	}
	s.mu.Unlock()
	if m != nil {
		m.complete(outcome)
	}
	return m
}

// complete passes outcome to the waiting Send, or releases the slot in the send window. The caller
// must have removed the message from the messages in flight, so that complete is called only once.
func (m *inFlightMessage) complete(outcome error) {
	m.timer.Stop()
	if m.result != nil {
		m.result <- outcome
	} else {
		m.stream.releaseSlot()
	}
}
