package wire_test

import (
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// peerStream is either side of a stream as psrpc's are.
type peerStream struct {
	link    link
	to      address
	id      string
	timeout time.Duration
	// received has what the other side sent; what has no room is dropped without an
	// acknowledgement.
	received chan string
	closed   chan struct{}

	mu   sync.Mutex
	acks map[string]chan struct{} // by request id
	err  *failure                 // why it is closed
}

func newPeerStream(l link, to address, id string, timeout time.Duration) *peerStream {
	return &peerStream{
		link: l, to: to, id: id, timeout: timeout,
		received: make(chan string, 100), closed: make(chan struct{}), acks: map[string]chan struct{}{},
	}
}

// send publishes a frame of the stream.
func (s *peerStream) send(request string, body protowire.Number, inner message) {
	now := time.Now()
	send(s.link, s.to, typeStream, message{}.withText(streamID, s.id).withText(streamRequest, request).
		withInt(streamSentAt, now.UnixNano()).withInt(streamExpiry, now.Add(s.timeout).UnixNano()).withSub(body, inner))
}

// ack acknowledges a frame, with its ids and times.
func (s *peerStream) ack(f message) {
	send(s.link, s.to, typeStream, message{}.withText(streamID, s.id).withText(streamRequest, f.text(streamRequest)).
		withInt(streamSentAt, f.int64(streamSentAt)).withInt(streamExpiry, f.int64(streamExpiry)).withSub(streamAck, nil))
}

// await returns what is closed by the first acknowledgement of a frame.
func (s *peerStream) await(request string) <-chan struct{} {
	acked := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks[request] = acked
	return acked
}

// message sends a text and waits until the other side has acknowledged it.
func (s *peerStream) message(body string) *failure {
	id := newID("REQ_")
	acked := s.await(id)
	s.send(id, streamMessage, message{}.withBytes(messageRaw, text(body)))
	timer := time.NewTimer(s.timeout)
	defer timer.Stop()
	select {
	case <-acked:
		return nil
	case <-s.closed:
		return s.err
	case <-timer.C:
		return &failure{"deadline_exceeded", "request timed out"}
	}
}

// close closes the stream with a cause, nil for none, unless it is closed.
func (s *peerStream) close(cause *failure) {
	if cause == nil {
		cause = &failure{"canceled", "stream closed"}
	}
	if s.end(cause) {
		s.send(newID("REQ_"), streamClose, message{}.withText(closeError, cause.text).withText(closeCode, cause.code))
	}
}

func (s *peerStream) end(cause *failure) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false
	}
	s.err = cause
	close(s.closed)
	return true
}

// deliver takes a frame of the other side.
func (s *peerStream) deliver(f message) {
	switch {
	case f.has(streamAck):
		s.mu.Lock()
		acked := s.acks[f.text(streamRequest)]
		delete(s.acks, f.text(streamRequest))
		s.mu.Unlock()
		if acked != nil {
			close(acked)
		}
	case f.has(streamMessage):
		select {
		case s.received <- textOf(f.sub(streamMessage).bytes(messageRaw)):
			s.ack(f)
		default:
		}
	case f.has(streamClose):
		body := f.sub(streamClose)
		s.end(&failure{body.text(closeCode), body.text(closeError)})
	}
}

// streamTable finds the streams of one side by their ids.
type streamTable struct {
	mu      sync.Mutex
	streams map[string]*peerStream
}

func (t *streamTable) add(s *peerStream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.streams == nil {
		t.streams = map[string]*peerStream{}
	}
	t.streams[s.id] = s
}

func (t *streamTable) remove(s *peerStream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.streams, s.id)
}

// deliver drops the frames of unknown streams.
func (t *streamTable) deliver(f message) {
	t.mu.Lock()
	s := t.streams[f.text(streamID)]
	t.mu.Unlock()
	if s != nil {
		s.deliver(f)
	}
}
