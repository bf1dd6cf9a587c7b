package dynamic

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// errStreamExists is the error for a request to open a stream whose ID is already in use. In most
// cases, the bus has delivered the request twice.
var errStreamExists = errors.NewErrorf(errors.AlreadyExists, "stream id is already in use")

// streamTable contains open streams and passes frames to them. A conn has a table for its streams.
// On a server, each inbound has a table for the streams whose frames it receives.
type streamTable struct {
	mu sync.RWMutex
	// streams contains the open streams, keyed by stream ID.
	streams map[string]*stream
}

// add adds a stream to the table. It fails with errStreamExists if the ID is in use, and with
// ErrStreamEOF if the stream's owner is closing. An owner is marked as closing before the method
// close is called, and add checks the mark while mu is held. Therefore, either add fails or close
// finds the stream.
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

// dispatch passes a frame to its stream. It returns false if the table does not contain the stream.
// It never blocks.
func (t *streamTable) dispatch(frame *wire.Stream, expanded int) bool {
	t.mu.RLock()
	s := t.streams[string(frame.StreamID)]
	t.mu.RUnlock()
	if s == nil {
		return false
	}
	s.receive(frame, expanded)
	return true
}

// streamsOf returns the streams whose owner is owner. For the streams of a conn, owner must be nil.
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

// waiting returns the number of messages that have arrived on the streams of owner and have not
// been read yet. For the streams of a conn, owner must be nil.
func (t *streamTable) waiting(owner streamOwner) (messages uint64) {
	for _, s := range t.streamsOf(owner) {
		messages += s.waiting()
	}
	return messages
}

// close closes all streams of owner. The owner must already be marked as closing.
func (t *streamTable) close(owner streamOwner) {
	var closing sync.WaitGroup
	for _, s := range t.streamsOf(owner) {
		// The streams are closed concurrently, because each Close may wait for the bus. If Close
		// returns an error, the client may not have been notified, but the stream is closed on this
		// side.
		closing.Go(func() { _ = s.Close(errors.ErrStreamEOF) })
	}
	closing.Wait()
}
