package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// receive handles a frame of this stream from the bus. It never blocks.
func (s *stream) receive(frame *wire.Stream) {
	now := time.Now()
	s.lastRecv.Store(int64(now.Sub(s.started)))
	switch {
	case s.Err() != nil:
		s.counters.unmatched.Add(1)
	case frame.Expiry <= now.UnixNano():
		s.counters.expired.Add(1)
	default:
		s.handleOp(frame, now)
	}
}

func (s *stream) handleOp(frame *wire.Stream, now time.Time) {
	switch frame.Op {
	case wire.StreamMessage:
		if s.dedup.Seen(s.dedupKey, frame.RequestID, frame.SentAt, now) {
			s.counters.duplicated.Add(1)
			return
		}
		message := streamMessage{frame.RequestID, frame.SentAt, frame.Expiry, frame.Body.Raw}
		if !s.mailbox.Push(message) {
			s.counters.overflowed.Add(1)
		}
	case wire.StreamAck:
		s.onAck(frame)
	case wire.StreamClose:
		s.onRemoteClose(frame)
	case wire.StreamPing: // receive has updated lastRecv already.
	default:
		s.counters.unmatched.Add(1)
	}
}

// pump delivers messages until the stream is closed, and then those that arrived before the close,
// as long as the user reads them. It returns when no Close and no keepalive check of the stream is
// running.
func (s *stream) pump() {
	defer close(s.pumpDone)
	for s.pumpNext() {
	}
	s.chain.finish(s.Err())
	s.consumer.finish()
	s.release()
	<-s.tasks.Close()
}

// pumpNext waits for a message and delivers it. It returns false if the stream is closed and no
// more messages can be delivered.
func (s *stream) pumpNext() bool {
	message, ok := s.mailbox.Pop()
	if !ok {
		select {
		case <-s.mailbox.Wakeup:
			return true
		case <-s.done:
		}
		// The stream is closed. What arrived before is still delivered.
		if message, ok = s.mailbox.Pop(); !ok {
			return false
		}
	}
	decoded, err := s.recvType.Decode(message.body)
	if err != nil {
		// Close fails only if the stream was closed meanwhile or the bus is down; either way it is
		// closed.
		_ = s.Close(errors.NewError(errors.MalformedRequest, err))
		return false
	}
	if s.chain != nil {
		return s.chain.receive(s, message, decoded)
	}
	return s.deliver(&message, decoded)
}

// deliver passes a message to the user and acknowledges it. pending is nil if the message was
// acknowledged already. deliver returns false if the user reads no more messages.
//
// The acknowledgement says that the message is in the user's channel; as long as the channel is
// full it is withheld, which slows the sender down. If there is room the acknowledgement is sent
// first. Otherwise the reader's reply could overtake it, and a Send on the other side would return
// after the reply to its message had arrived.
func (s *stream) deliver(pending *streamMessage, decoded proto.Message) bool {
	early := s.consumer.canDeliver()
	if pending != nil && early {
		s.acknowledge(pending)
	}
	if !s.consumer.deliver(decoded) {
		return false
	}
	if pending != nil && !early {
		s.acknowledge(pending)
	}
	return true
}

// acknowledge sends the acknowledgement of a message. If it cannot be sent, the other side's Send
// fails at its timeout.
func (s *stream) acknowledge(message *streamMessage) {
	ack := wire.Stream{
		StreamID: s.id, RequestID: message.requestID, SentAt: message.sentAt, Expiry: message.expiry, Op: wire.StreamAck,
	}
	frame, err := ack.AppendFrame(nil)
	if err != nil {
		return // Encoding fails only for invalid ids; these were decoded from a frame.
	}
	ctx := lazyctx.Context{Parent: s.context, Expiry: time.Now().Add(s.timeout)}
	defer ctx.Cancel()
	_ = s.publish(&ctx, frame, nil)
}
