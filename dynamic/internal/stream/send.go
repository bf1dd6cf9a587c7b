package stream

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/tap"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// SendOptions configures one call to [Stream.Send]. The zero value stands for the defaults.
type SendOptions struct {
	// Timeout limits how long Send waits for a slot in the send window, and how long it may then
	// take until the acknowledgement arrives. If it is zero, the timeout of the stream applies.
	Timeout time.Duration
	// Context ends the Send early. If it is nil, the context of the stream applies.
	Context context.Context //nolint:containedctx // it has the lifetime of one Send
}

// bounds returns the limits of a call to Send.
func (s *Stream) bounds(o SendOptions) bounds {
	b := bounds{timeout: s.config.Timeout, context: s.context}
	if o.Timeout > 0 {
		b.timeout = o.Timeout
	}
	if o.Context != nil {
		b.context, b.done = o.Context, o.Context.Done()
	}
	return b
}

// SendBounds returns the limits that a call to Send would have at this moment: a context, a
// timeout, and the size of the send window, or 0 if there is none.
func (s *Stream) SendBounds(o SendOptions) (ctx context.Context, timeout time.Duration, window int) {
	b := s.bounds(o)
	return b.context, b.timeout, cap(s.inFlight.slots)
}

// Send sends a message. If the stream has no send window, Send waits for the acknowledgement. If
// earlier messages in the window have failed, Send returns an [UnacknowledgedError] and does not
// send the message. If the stream is closed, Send returns the same error as Err. The stream keeps
// no reference to the message.
func (s *Stream) Send(message proto.Message, o SendOptions) error {
	f := &s.inFlight
	m := &sentMessage{inFlight: f, id: id.NewRequest()}
	if f.slots != nil {
		m.number = f.sendCalls.Add(1)
	}
	if err := s.config.SendType.Check(message); err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "message of stream %s: %w", s.config.Method.FullName(), err)
	}
	b := s.bounds(o)
	if f.slots != nil {
		if err := f.acquireSlot(&b); err != nil {
			return err
		}
		return s.sendMessage(m, message, &b)
	}
	m.result = make(chan error, 1)
	if err := s.sendMessage(m, message, &b); err != nil {
		return err
	}
	select {
	case err := <-m.result:
		return err
	case <-b.done:
		f.complete(m.id, s.config.contextError(b.context))
		// The call to complete has put the error into the channel, unless the channel already
		// contained a result.
		return <-m.result
	}
}

// sendMessage adds a message to the messages in flight and publishes it. If sendMessage fails, the
// message is not in flight, and its slot in the send window has been released.
func (s *Stream) sendMessage(m *sentMessage, message proto.Message, b *bounds) error {
	now := time.Now()
	m.sent = now.Sub(s.started)
	m.deadline = m.sent + b.timeout
	m.context.Parent, m.context.Expiry = b.context, now.Add(b.timeout)
	outgoing := wire.Stream{
		StreamID: s.config.ID, RequestID: m.id[:], SentAt: now.UnixNano(), Expiry: m.context.Expiry.UnixNano(),
		Op: wire.StreamMessage, Body: s.config.SendType.Body(message),
	}
	frame, err := outgoing.AppendFrame(nil)
	if err != nil {
		s.inFlight.releaseSlot()
		return errors.NewErrorf(errors.MalformedRequest,
			"message of stream %s cannot be encoded: %w", s.config.Method.FullName(), err)
	}
	if err := s.inFlight.add(m); err != nil {
		s.inFlight.releaseSlot()
		return err
	}
	s.tapEvent(tap.MessageOut, message, nil)
	defer m.context.Cancel()
	if err := s.publish(&m.context, frame, m.sent, m); err != nil {
		s.inFlight.complete(m.id, nil)
		if closed := s.Err(); closed != nil {
			return closed
		}
		return s.config.withFacts(transport.ClassifyError(err))
	}
	return nil
}

// Flush waits until all messages sent so far have been acknowledged. It returns an
// [UnacknowledgedError] if a message was not acknowledged, and another error if ctx ends first.
func (s *Stream) Flush(ctx context.Context) error { return s.inFlight.flush(ctx) }

// Accept acknowledges the client's request to open the stream, which is the argument open, and
// reports the opened stream to the tap. keepalive is the keepalive interval of this side, or 0 to
// announce none. ctx limits how long this may take, in addition to the timeout of the stream. If
// Accept fails, the client has not been notified that the stream is open.
func (s *Stream) Accept(ctx context.Context, open *wire.Stream, keepalive time.Duration) error {
	ack := wire.Stream{
		StreamID: s.config.ID, RequestID: open.RequestID, SentAt: open.SentAt, Expiry: open.Expiry,
		Op: wire.StreamAck, Keepalive: int64(keepalive),
	}
	if err := s.publishControl(ctx, &ack); err != nil {
		return err
	}
	s.tapEvent(tap.Open, nil, nil)
	return nil
}

// Acknowledge sends the acknowledgement of a message. If this fails, the message times out on the
// other side. A [Chain] calls it for a message that its interceptors have not passed on.
func (s *Stream) Acknowledge(received *Received) {
	_ = s.publishControl(s.context, &wire.Stream{
		StreamID: s.config.ID, RequestID: received.requestID, SentAt: received.sentAt, Expiry: received.expiry, Op: wire.StreamAck,
	})
}

// publishControl sends a frame that contains no message. It gives up when parent ends or after the
// timeout of the stream. Encoding fails only if an ID is invalid, but a stream with such an ID
// cannot be opened, and the IDs of received frames are valid.
func (s *Stream) publishControl(parent context.Context, control *wire.Stream) error {
	frame, err := control.AppendFrame(nil)
	if err != nil {
		return err
	}
	now := time.Since(s.started)
	ctx := lazyctx.Context{Parent: parent, Expiry: s.started.Add(now + s.config.Timeout)}
	defer ctx.Cancel()
	return s.publish(&ctx, frame, now, nil)
}

// publish sends a frame on the open stream. If another frame is being sent, publish waits for its
// turn. now is the present time, measured from the start of the stream.
func (s *Stream) publish(ctx context.Context, frame []byte, now time.Duration, report bus.DeliveryReport) error {
	if err := s.lockSend(ctx); err != nil {
		return err
	}
	defer s.unlockSend()
	if s.isClosed() {
		return s.Err()
	}
	s.lastSent.Store(int64(now))
	return s.config.Bus.Publish(ctx, s.config.Remote, frame, report)
}

// lockSend acquires s.sendLock. If ctx ends first, lockSend returns the error of ctx. It calls
// ctx.Done only if it has to wait, because a lazyctx.Context creates a channel for this call.
func (s *Stream) lockSend(ctx context.Context) error {
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

func (s *Stream) unlockSend() { <-s.sendLock }
