package conformance_test

import (
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// peerStream is one side of a stream of the reference peer. It behaves like a psrpc stream.
type peerStream struct {
	link    link
	to      address
	id      string
	timeout time.Duration
	// received receives the messages of the other side. If it is full, further messages are dropped
	// and not acknowledged.
	received chan string
	closed   chan struct{}

	mu   sync.Mutex
	acks map[string]chan struct{} // keyed by request ID
	err  *failure                 // the error with which the stream was closed
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

// ack acknowledges a frame. The acknowledgement repeats the IDs and times of the frame.
func (s *peerStream) ack(f message) {
	send(s.link, s.to, typeStream, message{}.withText(streamID, s.id).withText(streamRequest, f.text(streamRequest)).
		withInt(streamSentAt, f.int64(streamSentAt)).withInt(streamExpiry, f.int64(streamExpiry)).withSub(streamAck, nil))
}

// await returns a channel that is closed when the frame with the given request ID is acknowledged.
func (s *peerStream) await(request string) <-chan struct{} {
	acked := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks[request] = acked
	return acked
}

// message sends a message and waits until the other side acknowledges it.
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

// close closes the stream with an error, unless the stream is already closed. A nil error stands
// for psrpc's error "stream closed".
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

// deliver handles a frame from the other side.
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

// streamTable contains the open streams of one side, keyed by ID.
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

// deliver passes a frame to its stream. It drops frames of unknown streams.
func (t *streamTable) deliver(f message) {
	t.mu.Lock()
	s := t.streams[f.text(streamID)]
	t.mu.Unlock()
	if s != nil {
		s.deliver(f)
	}
}
