package stream

import (
	"time"

	"google.golang.org/protobuf/proto"
)

// Reader is the channel from which the user reads the messages of a stream. Recv is the Go type of
// the messages.
type Reader[Recv proto.Message] struct {
	stream   *Stream
	messages chan Recv
}

// NewReader returns the reader of a stream. It must be called once for each stream, before Run. The
// stream's RecvType must decode messages of type Recv.
func NewReader[Recv proto.Message](s *Stream) *Reader[Recv] {
	r := &Reader[Recv]{s, make(chan Recv, s.config.Buffer)}
	var c consumer = r
	s.consumer.Store(&c)
	return r
}

// Messages returns the channel of the messages. It is closed after the stream has been closed and
// the messages that arrived before have been delivered.
func (r *Reader[Recv]) Messages() <-chan Recv { return r.messages }

func (r *Reader[Recv]) canDeliver() bool { return len(r.messages) < cap(r.messages) }

func (r *Reader[Recv]) waiting() int { return len(r.messages) }

func (r *Reader[Recv]) deliver(message proto.Message, expired <-chan time.Time) (delivered, reads bool) {
	select {
	case r.messages <- message.(Recv):
		return true, true
	case <-expired:
		if r.stream.Err() == nil {
			return false, true
		}
	case <-r.stream.closed:
	}
	delivered = r.deliverAfterClose(message.(Recv))
	return delivered, delivered
}

// deliverAfterClose delivers a message that arrived before the stream was closed. It returns false
// if the user closes the stream, or does not read the message within the timeout of the stream. If
// there were no timeout, the goroutine of the stream would never end once the user has stopped
// reading.
func (r *Reader[Recv]) deliverAfterClose(message Recv) bool {
	timer := time.NewTimer(r.stream.config.Timeout)
	defer timer.Stop()
	select {
	case r.messages <- message:
		return true
	case <-timer.C:
	case <-r.stream.readerGone:
	}
	return false
}

func (r *Reader[Recv]) finish() { close(r.messages) }
