package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// mailboxSlack is how many messages, beyond those that fit into its channel, a stream takes from a sender with a
// large window. What comes on top of that is dropped, and the sender gets no acknowledgement.
const mailboxSlack = 1024

// streamMessage is a message that has come, with what its acknowledgement repeats.
type streamMessage struct {
	requestID      []byte
	sentAt, expiry int64
	body           []byte
}

// streamConsumer is where the pump brings messages. Only the pump calls it.
type streamConsumer interface {
	// canDeliver tells whether deliver will not have to wait.
	canDeliver() bool
	// deliver waits until the message is taken over. It returns false if nobody takes messages any more.
	deliver(message proto.Message) bool
	// finish says that nothing more will come.
	finish()
}

// receive takes a frame for this stream from the bus; it never blocks.
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
	case wire.StreamPing: // it was heard, that is all
	default:
		s.counters.unmatched.Add(1)
	}
}

// pump hands over messages until the stream is closed and what came before is read or not wanted any more. When it
// returns, nothing of the stream is left running.
func (s *stream) pump() {
	defer close(s.pumpDone)
	for s.pumpNext() {
	}
	s.chain.finish(s.Err())
	s.consumer.finish()
	s.release()
	<-s.tasks.Close()
}

// pumpNext waits for a message and hands it over. It reports false if no more will come.
func (s *stream) pumpNext() bool {
	message, ok := s.mailbox.Pop()
	if !ok {
		select {
		case <-s.mailbox.Wakeup:
			return true
		case <-s.done:
		}
		if message, ok = s.mailbox.Pop(); !ok { // nothing is put in any more
			return false
		}
	}
	decoded, err := s.recvType.Decode(message.body)
	if err != nil {
		_ = s.Close(errors.NewError(errors.MalformedRequest, err)) // or it was closed before
		return false
	}
	if s.chain != nil {
		return s.chain.receive(s, message, decoded)
	}
	return s.deliver(&message, decoded)
}

// transferEndpoints lets the reader have a message, and acknowledges it unless that was done. It reports false if nobody takes
// messages any more.
func (s *stream) deliver(pending *streamMessage, decoded proto.Message) bool {
	early := s.consumer.canDeliver() // then it can be read at once, and what the reader sends comes after the ack
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

// acknowledge tells the sender that a message can be read. If that fails, the sender's time for it will be up.
func (s *stream) acknowledge(message *streamMessage) {
	ack := wire.Stream{
		StreamID: s.id, RequestID: message.requestID, SentAt: message.sentAt, Expiry: message.expiry, Op: wire.StreamAck,
	}
	frame, err := ack.AppendFrame(nil)
	if err != nil {
		return // not with ids that came in a frame
	}
	ctx := lazyctx.Context{Parent: s.context, Expiry: time.Now().Add(s.timeout)}
	defer ctx.Cancel()
	_ = s.publish(&ctx, frame, nil)
}
