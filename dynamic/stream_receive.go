package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// receive handles a frame of this stream that has arrived from the bus. It never blocks.
//
// Only messages can be too late. The acknowledgement of a message that is no longer in flight has no
// effect, and a close is final however late it arrives. The times of other frames are therefore only
// checked for consistency.
func (s *stream) receive(frame *wire.Stream) {
	now := time.Now()
	arrived := now.Sub(s.started)
	s.lastRecv.Store(int64(arrived))
	switch {
	case s.Err() != nil:
		s.counters.unmatched.Add(1)
	case frame.Expiry <= max(frame.SentAt, 0):
		s.counters.expired.Add(1)
	default:
		s.handleOp(frame, now, arrived)
	}
}

func (s *stream) handleOp(frame *wire.Stream, now time.Time, arrived time.Duration) {
	switch frame.Op {
	case wire.StreamMessage:
		deadline := s.clock.deadline(frame, now, arrived)
		if deadline <= arrived {
			s.counters.expired.Add(1)
			return
		}
		if s.dedup.Seen(s.dedupKey, frame.RequestID, frame.SentAt, now) {
			s.counters.duplicated.Add(1)
			return
		}
		message := streamMessage{frame.RequestID, frame.SentAt, frame.Expiry, deadline, frame.Body.Raw}
		if !s.mailbox.Push(message) {
			s.counters.overflowed.Add(1)
		}
	case wire.StreamAck:
		s.onAck(frame)
	case wire.StreamClose:
		s.onRemoteClose(frame)
	case wire.StreamPing: // receive has already updated lastRecv
		s.clock.deadline(frame, now, arrived)
	default:
		s.counters.unmatched.Add(1)
	}
}

// pump delivers messages until the stream is closed. It then delivers the messages that had arrived
// before the close, as long as the user reads them. When pump returns, no call to Close and no
// keepalive check of the stream is running.
func (s *stream) pump() {
	defer close(s.pumpDone)
	for s.pumpNext() {
	}
	s.chain.finish(s.Err())
	s.consumer.finish()
	s.release()
	<-s.tasks.Close()
}

// pumpNext waits for a message and delivers it. It returns false if no more messages can be
// delivered because the stream is closed.
func (s *stream) pumpNext() bool {
	message, ok := s.mailbox.Pop()
	if !ok {
		select {
		case <-s.mailbox.Wakeup:
			return true
		case <-s.done:
		}
		// The stream is closed, but messages that arrived earlier are still delivered.
		if message, ok = s.mailbox.Pop(); !ok {
			return false
		}
	}
	if message.deadline <= time.Since(s.started) && s.Err() == nil {
		s.counters.expired.Add(1)
		return true
	}
	decoded, err := s.recvType.Decode(message.body)
	if err != nil {
		// Close can fail only if the stream has been closed in the meantime or the bus is down. The
		// stream is closed in either case.
		_ = s.Close(errors.NewError(errors.MalformedRequest, err))
		return false
	}
	if s.chain != nil {
		return s.chain.receive(s, message, decoded)
	}
	return s.deliver(&message, decoded)
}

// deliver passes a message to the user and acknowledges it. pending is nil if the message has
// already been acknowledged. deliver returns false if the user reads no more messages.
//
// An acknowledgement means that the message is in the user's channel. It is withheld while the
// channel is full, which slows down the sender. If the channel has room, the acknowledgement is
// sent before the message is put into the channel. In the reverse order, the user's reply could
// overtake the acknowledgement. A Send on the other side could then return after the reply to its
// message had arrived.
func (s *stream) deliver(pending *streamMessage, decoded proto.Message) bool {
	early := s.consumer.canDeliver()
	if pending != nil && !early {
		return s.deliverInTime(pending, decoded)
	}
	if pending != nil {
		s.acknowledge(pending)
	}
	_, reads := s.consumer.deliver(decoded, nil)
	return reads
}

// deliverInTime waits until the user's channel has room for a message, and then acknowledges the
// message. If the message expires first, it is dropped and counted: its Send has failed, and the
// sender may have sent it again. deliverInTime returns false if the user reads no more messages.
func (s *stream) deliverInTime(pending *streamMessage, decoded proto.Message) bool {
	expiry := time.NewTimer(pending.deadline - time.Since(s.started))
	defer expiry.Stop()
	delivered, reads := s.consumer.deliver(decoded, expiry.C)
	switch {
	case delivered:
		s.acknowledge(pending)
	case reads:
		s.counters.expired.Add(1)
	}
	return reads
}

// acknowledge sends the acknowledgement of a message. If it cannot be sent, the other side's Send
// times out.
func (s *stream) acknowledge(message *streamMessage) {
	ack := wire.Stream{
		StreamID: s.id, RequestID: message.requestID, SentAt: message.sentAt, Expiry: message.expiry, Op: wire.StreamAck,
	}
	frame, err := ack.AppendFrame(nil)
	if err != nil {
		// This cannot happen: encoding fails only for invalid IDs, but a received frame has valid
		// IDs.
		return
	}
	ctx := lazyctx.Context{Parent: s.context, Expiry: time.Now().Add(s.timeout)}
	defer ctx.Cancel()
	_ = s.publish(&ctx, frame, nil)
}
