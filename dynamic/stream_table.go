package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// errStreamExists is returned if the stream ID of an open request is already in use by an open
// stream. Usually this means that the bus has delivered the request twice.
var errStreamExists = errors.NewErrorf(errors.AlreadyExists, "stream id is already in use")

// streamTable dispatches frames to open streams. It contains either the streams of a conn or those
// of all endpoints that use the same inbound, which holds a method's bus subscriptions.
type streamTable struct {
	counters *streamCounters

	mu      sync.RWMutex
	streams map[string]*stream // keyed by stream ID
}

// add adds a stream to the table. It fails with errStreamExists if the ID is in use, and with
// ErrStreamEOF if the stream's owner is closing. The owner is checked while mu is held: close is
// called after the endpoint has been marked as closing, so either add fails or close finds the
// stream.
func (t *streamTable) add(s *stream) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.streams[string(s.id)] != nil {
		return errStreamExists
	}
	if s.owner != nil && s.owner.isClosing() {
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

// dispatch passes a frame to the stream it belongs to. It never blocks.
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

// streamsOf returns the streams served by owner. The streams of a conn have a nil owner.
func (t *streamTable) streamsOf(owner streamOwner) (streams []*stream) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, s := range t.streams {
		if s.owner == owner {
			streams = append(streams, s)
		}
	}
	return streams
}

// waiting returns the number of messages that have arrived on the streams of owner but have not
// been read yet. The streams of a conn have a nil owner.
func (t *streamTable) waiting(owner streamOwner) (messages uint64) {
	for _, s := range t.streamsOf(owner) {
		messages += s.waiting()
	}
	return messages
}

// close closes all streams of owner. The owner must already be marked as closing.
func (t *streamTable) close(owner streamOwner) {
	for _, s := range t.streamsOf(owner) {
		// If Close returns an error, the client may not have been notified, but the stream is
		// closed on this side.
		_ = s.Close(errors.ErrStreamEOF)
	}
}
