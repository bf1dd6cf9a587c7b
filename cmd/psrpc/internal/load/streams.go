package load

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// DefaultEchoTimeout is how long a message on a stream waits for its answer.
const DefaultEchoTimeout = 3 * time.Second

// StreamOptions configure [NewStreams].
type StreamOptions struct {
	// Streams is the number of streams. 0 stands for 1.
	Streams int
	// Window is the number of messages that may be unacknowledged on a stream at once. 0 stands for 1:
	// each operation then lasts until its message is acknowledged.
	Window int
	// Echo makes each operation wait until a message comes back.
	Echo bool
	// EchoTimeout is how long an operation waits with Echo. 0 stands for [DefaultEchoTimeout].
	EchoTimeout time.Duration
}

// Streams sends messages on streams, which it opens again if they end.
type Streams struct {
	target  *Target
	client  *messages
	options StreamOptions
	streams []*stream
	// discarding counts the goroutines that read and discard the messages of the servers.
	discarding sync.WaitGroup
}

// stream is one of the streams of a run. If it ends, the next operation opens a new one in its
// place.
type stream struct {
	// mu is held while the stream is opened. With Echo, each operation holds it until its answer
	// has arrived, so that no other operation reads this answer.
	mu   sync.Mutex
	open dynamic.ClientStream[proto.Message, proto.Message]
}

// NewStreams opens the streams.
func NewStreams(t *Target, options StreamOptions) (*Streams, error) {
	client, err := t.client()
	if err != nil {
		return nil, err
	}
	options.Streams = max(options.Streams, 1)
	if options.EchoTimeout <= 0 {
		options.EchoTimeout = DefaultEchoTimeout
	}
	withWindow := *t
	withWindow.Options = slices.Concat(t.Options, []dynamic.RequestOption{dynamic.WithStreamWindow(options.Window)})
	s := &Streams{target: &withWindow, client: client, options: options}
	for range options.Streams {
		opened := new(stream)
		if _, err := s.current(opened); err != nil {
			s.Close()
			return nil, err
		}
		s.streams = append(s.streams, opened)
	}
	return s, nil
}

// current returns the open stream. If the stream has ended, it opens a new one. The caller must
// hold stream.mu, unless the stream is not shared yet.
func (s *Streams) current(stream *stream) (dynamic.ClientStream[proto.Message, proto.Message], error) {
	if stream.open != nil && stream.open.Err() == nil {
		return stream.open, nil
	}
	opened, err := s.client.OpenStream(context.Background(), s.target.Options...)
	if err != nil {
		return nil, err
	}
	stream.open = opened
	if !s.options.Echo {
		s.discarding.Go(func() { discard(opened.Channel()) })
	}
	return opened, nil
}

// Do is an [Operation] that sends a message. The caller's number determines the stream. With Echo,
// Do also waits for the answer.
func (s *Streams) Do(_ context.Context, request Request) error {
	message, err := s.target.Data.Message(request)
	if err != nil {
		return err
	}
	stream := s.streams[request.Caller%len(s.streams)]
	stream.mu.Lock()
	open, err := s.current(stream)
	if !s.options.Echo || err != nil {
		stream.mu.Unlock()
		if err != nil {
			return err
		}
		return open.Send(message)
	}
	defer stream.mu.Unlock()
	if err := open.Send(message); err != nil {
		return err
	}
	timer := time.NewTimer(s.options.EchoTimeout)
	defer timer.Stop()
	select {
	case _, ok := <-open.Channel():
		if !ok {
			return errors.Join(errors.NewErrorf(errors.Unavailable, "the stream has ended"), open.Err())
		}
		return nil
	case <-timer.C:
		// Close the stream. Otherwise, a late answer would be taken for the answer to the next
		// message.
		_ = open.Close(nil)
		return errors.NewErrorf(errors.DeadlineExceeded, "no message came back within %s", s.options.EchoTimeout)
	}
}

// Flush waits until the server has acknowledged all messages. It returns an error if some are not
// acknowledged.
func (s *Streams) Flush(ctx context.Context) error {
	var problems []error
	for _, stream := range s.streams {
		stream.mu.Lock()
		open := stream.open
		stream.mu.Unlock()
		problems = append(problems, open.Flush(ctx))
	}
	return errors.Join(problems...)
}

// Close closes the streams.
func (s *Streams) Close() {
	for _, stream := range s.streams {
		_ = stream.open.Close(nil)
	}
	s.discarding.Wait()
}

// discard reads messages until the stream ends. If they were not read, the server could not send.
func discard(messages <-chan proto.Message) {
	for range messages {
	}
}
