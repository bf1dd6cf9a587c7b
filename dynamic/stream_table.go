package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// errStreamExists is returned for an open request whose stream id belongs to an open stream.
// Usually the bus has delivered the request twice.
var errStreamExists = errors.NewErrorf(errors.AlreadyExists, "stream id is already in use")

// streamTable dispatches frames to open streams: those of a conn, or those of all endpoints of an
// inbound.
type streamTable struct {
	counters *streamCounters

	mu      sync.RWMutex
	streams map[string]*stream // by id
}

// add adds a stream. It fails with errStreamExists if the id is in use, and with ErrStreamEOF if
// the stream's owner is closing. The owner is checked under mu: close runs after the endpoint
// was marked as closing, so either add fails or close finds the stream.
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

// dispatch passes a frame to its stream. It never blocks.
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

// streamsOf returns the streams that owner serves. With a nil owner it returns the streams of a
// conn.
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

// waiting returns the number of messages that have arrived on the streams of owner and were not read
// yet. With a nil owner it counts the messages of a conn's streams.
func (t *streamTable) waiting(owner streamOwner) (messages uint64) {
	for _, s := range t.streamsOf(owner) {
		messages += s.waiting()
	}
	return messages
}

// close closes the streams of an endpoint that is closing.
func (t *streamTable) close(owner streamOwner) {
	for _, s := range t.streamsOf(owner) {
		// After an error the client was not notified, but the stream is closed on this side.
		_ = s.Close(errors.ErrStreamEOF)
	}
}
