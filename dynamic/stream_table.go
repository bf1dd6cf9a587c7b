package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// errStreamExists is the error of a second stream with one id.
var errStreamExists = errors.NewErrorf(errors.AlreadyExists, "there is a stream with this id")

// streamTable holds the open streams of a conn, or of the listeners of a served method on one topic.
type streamTable struct {
	counters *streamCounters

	mu      sync.RWMutex
	streams map[string]*stream // by id
}

// add fails with errStreamExists, or with ErrStreamEOF if the stream's listener is closing.
func (t *streamTable) add(s *stream) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.streams[string(s.id)] != nil {
		return errStreamExists
	}
	if s.endpoint != nil && s.endpoint.isClosing() {
		return errors.ErrStreamEOF
	}
	if t.streams == nil {
		t.streams = map[string]*stream{}
	}
	t.streams[string(s.id)] = s
	return nil
}

func (t *streamTable) remove(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.streams, string(s.id))
}

// dispatch brings a frame to its stream; it never blocks.
func (t *streamTable) dispatch(frame *wire.Stream) {
	t.mu.RLock()
	s := t.streams[string(frame.StreamID)]
	t.mu.RUnlock()
	if s == nil {
		t.counters.unmatched.Add(1)
		return
	}
	s.receive(frame)
}

// endpointStreams returns the streams of a listener; those of a conn with nil.
func (t *streamTable) endpointStreams(e *endpoint) (streams []*stream) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, s := range t.streams {
		if s.endpoint == e {
			streams = append(streams, s)
		}
	}
	return streams
}

// waiting returns how many messages have come for the streams of a listener, or of a conn, and were not read yet.
func (t *streamTable) waiting(e *endpoint) (messages uint64) {
	for _, s := range t.endpointStreams(e) {
		messages += s.waiting()
	}
	return messages
}

// close closes the streams of a listener that is closing.
func (t *streamTable) close(e *endpoint) {
	for _, s := range t.endpointStreams(e) {
		_ = s.Close(errors.ErrStreamEOF) // a close that cannot be sent is not known to the peer, but the stream is closed
	}
}
