package stream

import (
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// ErrExists is the error for a request to open a stream whose ID is already in use. In most cases,
// the bus has delivered the request twice.
var ErrExists = errors.NewErrorf(errors.AlreadyExists, "stream id is already in use")

// Table contains open streams and passes frames to them. A conn has a table for its streams. On a
// server, each inbound has a table for the streams whose frames it receives. The zero value is
// empty. All methods are safe for concurrent use.
type Table struct {
	mu sync.RWMutex
	// streams contains the open streams, keyed by stream ID.
	streams map[string]*Stream
}

// Add adds a stream to the table. It fails with ErrExists if the ID is in use, and with
// errors.ErrStreamEOF if the stream's owner is closing. An owner is marked as closing before the
// method Close is called, and Add checks the mark while mu is held. Therefore, either Add fails or
// Close finds the stream.
func (t *Table) Add(s *Stream) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.streams[string(s.config.ID)] != nil {
		return ErrExists
	}
	if s.config.Owner != nil && s.config.Owner.IsClosing() {
		return errors.ErrStreamEOF
	}
	if t.streams == nil {
		t.streams = map[string]*Stream{}
	}
	t.streams[string(s.config.ID)] = s
	return nil
}

// Remove removes a stream. It does nothing if the table does not contain the stream, even if it
// contains another one with the same ID.
func (t *Table) Remove(s *Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.streams[string(s.config.ID)] == s {
		delete(t.streams, string(s.config.ID))
	}
}

// Dispatch passes a frame to its stream. expanded is how many bytes of memory the frame keeps
// because it was compressed. Dispatch returns false if the table does not contain the stream. It
// never blocks. The stream keeps the memory of the frame.
func (t *Table) Dispatch(frame *wire.Stream, expanded int) bool {
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
func (t *Table) streamsOf(owner Owner) (streams []*Stream) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, s := range t.streams {
		if s.config.Owner == owner {
			streams = append(streams, s)
		}
	}
	return streams
}

// Waiting returns the number of messages that have arrived on the streams of owner and have not
// been read yet. For the streams of a conn, owner must be nil.
func (t *Table) Waiting(owner Owner) (messages uint64) {
	for _, s := range t.streamsOf(owner) {
		messages += s.waiting()
	}
	return messages
}

// Close closes all streams of owner with errors.ErrStreamEOF and waits until their other sides have
// been notified. The owner must already be marked as closing.
func (t *Table) Close(owner Owner) {
	var closing sync.WaitGroup
	for _, s := range t.streamsOf(owner) {
		// The streams are closed concurrently, because each Close may wait for the bus. If Close
		// returns an error, the other side may not have been notified, but the stream is closed on
		// this side.
		closing.Go(func() { _ = s.Close(errors.ErrStreamEOF) })
	}
	closing.Wait()
}
