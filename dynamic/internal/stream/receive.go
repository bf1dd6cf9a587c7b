package stream

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/tap"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// receive handles a frame of this stream that has arrived from the bus. expanded is how many bytes
// of memory the frame keeps because it was compressed. receive never blocks. It drops a frame whose
// expiry is not later than its send time, and a message that arrives after its expiry.
// Acknowledgements and close frames are handled however late they arrive. A late acknowledgement
// has no effect, because its message is no longer in flight.
func (s *Stream) receive(frame *wire.Stream, expanded int) {
	now := time.Now()
	arrived := now.Sub(s.started)
	s.lastRecv.Store(int64(arrived))
	switch {
	case s.isClosed():
		s.drop(transport.DropUnmatched)
	case frame.Expiry <= max(frame.SentAt, 0):
		s.drop(transport.DropExpired)
	default:
		s.handleOp(frame, expanded, now, arrived)
	}
}

func (s *Stream) handleOp(frame *wire.Stream, expanded int, now time.Time, arrived time.Duration) {
	switch frame.Op {
	case wire.StreamMessage:
		s.onMessage(frame, expanded, now, arrived)
	case wire.StreamAck:
		s.onAck(frame)
	case wire.StreamClose:
		s.onRemoteClose(frame)
	case wire.StreamPing:
		// A ping carries no data. The call to deadline updates the clock; its result is not needed.
		s.clock.deadline(frame, now, arrived)
	default:
		s.drop(transport.DropUnmatched)
	}
}

// onMessage puts a message into the mailbox, or drops and counts it. It never blocks.
func (s *Stream) onMessage(frame *wire.Stream, expanded int, now time.Time, arrived time.Duration) {
	deadline := s.clock.deadline(frame, now, arrived)
	if deadline <= arrived {
		s.drop(transport.DropExpired)
		return
	}
	if s.config.Dedup.Seen(s.dedupKey, frame.RequestID, frame.SentAt, now) {
		s.drop(transport.DropDuplicated)
		return
	}
	s.tapEvent(tap.MessageIn, nil, frame.Body.Raw)
	if !s.mailbox.put(Received{frame.RequestID, frame.SentAt, frame.Expiry, deadline, frame.Body.Raw, expanded}) {
		s.drop(transport.DropOverflowed)
	}
}

// onAck handles the acknowledgement of a message, or of the request that opens the stream. It never
// blocks.
func (s *Stream) onAck(frame *wire.Stream) {
	requestID, ok := id.ParseCall(frame.RequestID)
	if s.config.Opener != nil && requestID == s.config.OpenID {
		s.config.Opener.Opened(time.Duration(frame.Keepalive))
		return
	}
	if ok {
		if m := s.inFlight.complete(requestID, nil); m != nil {
			s.clock.passed(m.sent)
			return
		}
	}
	s.drop(transport.DropUnmatched)
}

// drop counts a frame of this stream that is dropped.
func (s *Stream) drop(reason transport.DropReason) {
	s.config.Drops.Add(reason, transport.DroppedFrame{Method: s.config.Method, Channel: s.config.Remote.Name})
}

// Run delivers messages until the stream is closed. After that, it delivers the messages that
// arrived before the close, as long as the user reads them. Then it calls Config.Release. When Run
// returns, all calls to Close and all keepalive checks of the stream have ended. Run must be called
// at most once, after NewReader.
func (s *Stream) Run() {
	defer close(s.ended)
	for s.deliverNext() {
	}
	s.mailbox.close()
	if s.chain != nil {
		s.chain.Finish(s.Err())
	}
	(*s.consumer.Load()).finish()
	s.config.Release(s)
	<-s.tasks.Close()
}

// Discard releases what the stream holds if Run is not called. cause is the error that interceptors
// get. Discard does not close the stream.
func (s *Stream) Discard(cause error) {
	s.config.Release(s)
	s.mailbox.close()
	if s.chain != nil {
		s.chain.Finish(cause)
	}
}

// deliverNext waits for a message and delivers it. If the message cannot be decoded, deliverNext
// closes the stream. It returns false if the stream is closed and no more messages can be
// delivered.
func (s *Stream) deliverNext() bool {
	received, ok := s.mailbox.take()
	if !ok {
		select {
		case <-s.mailbox.messages.Wakeup:
			return true
		case <-s.closed:
		}
		// The stream is closed, but messages that arrived earlier are still delivered.
		if received, ok = s.mailbox.take(); !ok {
			return false
		}
	}
	if received.deadline <= time.Since(s.started) && s.Err() == nil {
		s.drop(transport.DropExpired)
		return true
	}
	decoded, err := s.config.RecvType.Decode(received.body)
	if err != nil {
		// The error does not matter, because the stream is closed on this side in any case.
		_ = s.Close(errors.NewError(errors.MalformedRequest, err))
		return false
	}
	if s.chain != nil {
		return s.chain.Receive(received, decoded)
	}
	return s.Deliver(&received, decoded)
}

// Deliver puts a message into the reader's channel and acknowledges it. pending is nil if the
// message has already been acknowledged. Deliver returns false if the user no longer reads
// messages. While the channel is full, no acknowledgement is sent, which slows down the sender.
func (s *Stream) Deliver(pending *Received, decoded proto.Message) bool {
	reader := *s.consumer.Load()
	early := reader.canDeliver()
	if pending != nil && !early {
		return s.deliverInTime(reader, pending, decoded)
	}
	// Acknowledge the message before putting it into the channel. In the reverse order, the user's
	// reply could overtake the acknowledgement, so Send on the other side could return after the
	// reply had arrived.
	if pending != nil {
		s.Acknowledge(pending)
	}
	_, reads := reader.deliver(decoded, nil)
	return reads
}

// deliverInTime waits until the reader's channel has room for a message, and then acknowledges the
// message. If the message expires first, it is dropped and counted, because its sender no longer
// waits for the acknowledgement. deliverInTime returns false if the user no longer reads messages.
func (s *Stream) deliverInTime(reader consumer, pending *Received, decoded proto.Message) bool {
	expiry := time.NewTimer(pending.deadline - time.Since(s.started))
	defer expiry.Stop()
	delivered, reads := reader.deliver(decoded, expiry.C)
	switch {
	case delivered:
		s.Acknowledge(pending)
	case reads:
		s.drop(transport.DropExpired)
	}
	return reads
}
