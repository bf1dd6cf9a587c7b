package fleet

import (
	"context"
	"sync"

	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// MaxTapped is the maximum number of servers that one call to [Fleet.TapServers] watches.
const MaxTapped = 20

// TapStream delivers copies of what goes through servers. All methods are safe for concurrent use.
type TapStream struct {
	streams []dynamic.ClientStream[*dynamicpb.Message, *dynamicpb.Message]
	events  chan *TapEvent
	// ended is closed when the goroutines that deliver events have ended.
	ended chan struct{}

	mu  sync.Mutex
	err error
}

// Tap watches what goes through a server. The stream delivers an event for each request, response,
// stream message, update and claim that the [TapRequest] selects. The server's program must have
// called [Serve] with the option [WithTap]. The tap does not delay calls: the server sends copies,
// and leaves out events rather than wait for a slow reader. [TapEvent.Missed] is the number of
// events that were left out before an event.
//
// Tap returns errors.ErrNoResponse if there is no such server or if it permits no taps. If the
// server rejects the TapRequest, for example because its filter is invalid, the stream ends with an
// error; see [TapStream.Err].
//
// The stream ends when ctx ends, when the conn is closed, when the server stops, or at
// [TapStream.Close]. The caller must end it.
func (f *Fleet) Tap(ctx context.Context, serverID string, request TapRequest) (*TapStream, error) {
	return f.TapServers(ctx, []string{serverID}, request)
}

// TapServers is like [Fleet.Tap], for up to [MaxTapped] servers at the same time. The events are in
// no particular order; [TapEvent.ServerID] says which server has sent an event. MaxPerSecond
// applies to each server. If one of the servers cannot be watched, TapServers returns an error and
// watches none. The stream ends when the streams of all servers have ended.
func (f *Fleet) TapServers(ctx context.Context, serverIDs []string, request TapRequest) (*TapStream, error) {
	if len(serverIDs) == 0 || len(serverIDs) > MaxTapped {
		return nil, errors.NewErrorf(errors.InvalidArgument, "fleet: a tap watches 1 to %d servers, not %d", MaxTapped, len(serverIDs))
	}
	s := &TapStream{events: make(chan *TapEvent), ended: make(chan struct{})}
	c, err := newClient(f.conn, fleetService(), tapMethod)
	if err != nil {
		return nil, err
	}
	for _, id := range serverIDs {
		stream, err := c.OpenStream(ctx, dynamic.WithTopic(id))
		if err == nil {
			s.streams = append(s.streams, stream)
			err = stream.Send(toMessage(&request))
		}
		if err != nil {
			s.closeStreams()
			return nil, err
		}
	}
	var running sync.WaitGroup
	for i, stream := range s.streams {
		running.Go(func() { s.deliver(stream, serverIDs[i]) })
	}
	go func() { // Close waits for this goroutine.
		running.Wait()
		close(s.events)
		close(s.ended)
	}()
	return s, nil
}

// deliver passes on the events of one server until its stream ends.
func (s *TapStream) deliver(stream dynamic.ClientStream[*dynamicpb.Message, *dynamicpb.Message], serverID string) {
	for message := range stream.Channel() {
		event := fromMessage[TapEvent](message)
		event.ServerID = serverID
		select {
		case s.events <- event:
		case <-stream.Context().Done():
			// After the end of the stream, there may be no reader any more, so the event is
			// dropped.
		}
	}
	if err := stream.Err(); !errors.Is(err, errors.ErrStreamClosed) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err == nil {
			s.err = err
		}
	}
}

// Channel returns the channel that delivers events. It is closed when the stream has ended.
func (s *TapStream) Channel() <-chan *TapEvent { return s.events }

// Err returns the first error that ended the stream of a server. Such an error says, for example,
// that the filter is invalid or that the client may not watch the server. Err returns nil if there
// has been no error. Close does not cause an error.
func (s *TapStream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the stream and waits until no more events are delivered. It returns nil.
func (s *TapStream) Close() error {
	s.closeStreams()
	<-s.ended
	return nil
}

func (s *TapStream) closeStreams() {
	for _, stream := range s.streams {
		// If this message does not reach the server, the server's keepalive ends the stream.
		_ = stream.Close(nil)
	}
}
