package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// receive handles a frame of this stream that has arrived from the bus. It never blocks. It drops a
// frame whose expiry is not later than the time of sending, and a message that arrives after its
// expiry. Other frames are valid however late they arrive: a late acknowledgement has no effect,
// because its message is no longer in flight.
func (s *stream) receive(frame *wire.Stream, expanded int) {
	now := time.Now()
	arrived := now.Sub(s.started)
	s.lastRecv.Store(int64(arrived))
	switch {
	case s.Err() != nil:
		s.drop(dropUnmatched)
	case frame.Expiry <= max(frame.SentAt, 0):
		s.drop(dropExpired)
	default:
		s.handleOp(frame, expanded, now, arrived)
	}
}

func (s *stream) handleOp(frame *wire.Stream, expanded int, now time.Time, arrived time.Duration) {
	switch frame.Op {
	case wire.StreamMessage:
		deadline := s.clock.deadline(frame, now, arrived)
		if deadline <= arrived {
			s.drop(dropExpired)
			return
		}
		if s.dedup.Seen(s.dedupKey, frame.RequestID, frame.SentAt, now) {
			s.drop(dropDuplicated)
			return
		}
		s.tapStream(TrafficMessageIn, nil, frame.Body.Raw)
		s.enqueue(streamMessage{frame.RequestID, frame.SentAt, frame.Expiry, deadline, frame.Body.Raw, expanded})
	case wire.StreamAck:
		s.onAck(frame)
	case wire.StreamClose:
		s.onRemoteClose(frame)
	case wire.StreamPing:
		// A ping carries no data. The call to deadline updates the clock; its result is not needed.
		s.clock.deadline(frame, now, arrived)
	default:
		s.drop(dropUnmatched)
	}
}

// drop counts a frame of this stream that is dropped.
func (s *stream) drop(reason dropReason) {
	s.drops.add(reason, droppedFrame{method: s.method, channel: s.remote.Name})
}

// enqueue adds a message to the mailbox, or drops and counts it if there is no room for it.
func (s *stream) enqueue(message streamMessage) {
	size := int64(len(message.body))
	hasRoom := s.mailboxBytes.Add(size) <= maxMailboxBytes || s.mailbox.Len() == 0
	if hasRoom && s.decompressed.TryTake(message.expanded) {
		if s.mailbox.Push(message) {
			return
		}
		s.decompressed.Release(message.expanded)
	}
	s.mailboxBytes.Add(-size)
	s.drop(dropOverflowed)
}

// dequeue takes the next message out of the mailbox. It returns false if there is none.
func (s *stream) dequeue() (message streamMessage, ok bool) {
	message, ok = s.mailbox.Pop()
	s.decompressed.Release(message.expanded)
	s.mailboxBytes.Add(-int64(len(message.body)))
	return message, ok
}

// closeMailbox drops the messages that no one will read, and those that arrive later.
func (s *stream) closeMailbox() {
	s.mailbox.Close()
	for _, ok := s.dequeue(); ok; _, ok = s.dequeue() {
	}
}

// pump delivers messages until the stream is closed. After that, it delivers the messages that
// arrived before the close, as long as the user reads them. When pump returns, all calls to Close
// and all keepalive checks of the stream have ended.
func (s *stream) pump() {
	defer close(s.pumpDone)
	for s.pumpNext() {
	}
	s.closeMailbox()
	s.chain.finish(s.Err())
	s.consumer.finish()
	s.release()
	<-s.tasks.Close()
}

// pumpNext waits for a message and delivers it. If the message cannot be decoded, pumpNext closes
// the stream. It returns false if the stream is closed and no more messages can be delivered.
func (s *stream) pumpNext() bool {
	message, ok := s.dequeue()
	if !ok {
		select {
		case <-s.mailbox.Wakeup:
			return true
		case <-s.done:
		}
		// The stream is closed, but messages that arrived earlier are still delivered.
		if message, ok = s.dequeue(); !ok {
			return false
		}
	}
	if message.deadline <= time.Since(s.started) && s.Err() == nil {
		s.drop(dropExpired)
		return true
	}
	decoded, err := s.recvType.Decode(message.body)
	if err != nil {
		// The error does not matter, because the stream is closed on this side in any case.
		_ = s.Close(errors.NewError(errors.MalformedRequest, err))
		return false
	}
	if s.chain != nil {
		return s.chain.receive(s, message, decoded)
	}
	return s.deliver(&message, decoded)
}

// deliver passes a message to the user and acknowledges it. pending is nil if the message has
// already been acknowledged. It returns false if the user no longer reads messages. While the
// user's channel is full, no acknowledgement is sent, which slows down the sender.
func (s *stream) deliver(pending *streamMessage, decoded proto.Message) bool {
	early := s.consumer.canDeliver()
	if pending != nil && !early {
		return s.deliverInTime(pending, decoded)
	}
	// Acknowledge the message before putting it into the channel. In the reverse order, the user's
	// reply could overtake the acknowledgement, so Send on the other side could return after the
	// reply had arrived.
	if pending != nil {
		s.acknowledge(pending)
	}
	_, reads := s.consumer.deliver(decoded, nil)
	return reads
}

// deliverInTime waits until the user's channel has room for a message, and then acknowledges the
// message. If the message expires first, it is dropped and counted, because the sender's Send has
// already failed. deliverInTime returns false if the user no longer reads messages.
func (s *stream) deliverInTime(pending *streamMessage, decoded proto.Message) bool {
	expiry := time.NewTimer(pending.deadline - time.Since(s.started))
	defer expiry.Stop()
	delivered, reads := s.consumer.deliver(decoded, expiry.C)
	switch {
	case delivered:
		s.acknowledge(pending)
	case reads:
		s.drop(dropExpired)
	}
	return reads
}

// acknowledge sends the acknowledgement of a message. If this fails, the other side's Send times
// out.
func (s *stream) acknowledge(message *streamMessage) {
	ack := wire.Stream{
		StreamID: s.id, RequestID: message.requestID, SentAt: message.sentAt, Expiry: message.expiry, Op: wire.StreamAck,
	}
	frame, err := ack.AppendFrame(nil)
	if err != nil {
		// This cannot happen, because encoding fails only if an ID is invalid, and the IDs of a
		// received frame are valid.
		return
	}
	ctx := lazyctx.Context{Parent: s.context, Expiry: time.Now().Add(s.timeout)}
	defer ctx.Cancel()
	_ = s.publish(&ctx, frame, nil)
}
