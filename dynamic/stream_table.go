package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// errStreamExists is the error of a second stream with one id.
var errStreamExists = errors.NewErrorf(errors.AlreadyExists, "there is a stream with this id")

// streamTable holds the open streams of a conn, or of a served method on one topic.
type streamTable struct {
	counters *streamCounters

	mu      sync.RWMutex
	closed  error              // what add returns then
	streams map[string]*stream // by id
}

// add fails if the table is closed, or with errStreamExists.
func (t *streamTable) add(s *stream) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed != nil {
		return t.closed
	}
	if t.streams[string(s.id)] != nil {
		return errStreamExists
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

// deliver brings a frame to its stream; it never blocks.
func (t *streamTable) deliver(frame *wire.Stream) {
	t.mu.RLock()
	s := t.streams[string(frame.StreamID)]
	t.mu.RUnlock()
	if s == nil {
		t.counters.unawaited.Add(1)
		return
	}
	s.receive(frame)
}

// waiting returns how many messages have come and were not read yet.
func (t *streamTable) waiting() (messages uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, s := range t.streams {
		messages += s.waiting()
	}
	return messages
}

// close closes all streams, and lets no more in.
func (t *streamTable) close(cause error) {
	t.mu.Lock()
	if t.closed == nil {
		t.closed = cause
	}
	streams := make([]*stream, 0, len(t.streams))
	for _, s := range t.streams {
		streams = append(streams, s)
	}
	t.mu.Unlock()
	for _, s := range streams {
		_ = s.Close(cause) // a close that cannot be sent is not known to the peer, but the stream is closed
	}
}
