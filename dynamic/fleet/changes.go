package fleet

import (
	"context"

	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// ChangeStream delivers the changes of all servers of a bus. All methods are safe for concurrent
// use.
type ChangeStream struct {
	updates dynamic.Subscription[*dynamicpb.Message]
	changes chan *Change
	cancel  context.CancelFunc
	// ended is closed when the goroutine that delivers changes has ended.
	ended chan struct{}
}

// Changes subscribes to the changes of all servers of the bus. It returns once the bus has
// confirmed the subscription. To follow the state of a fleet, subscribe first and then ask with
// [Fleet.Servers], so that no change between the two is missed. A server that is killed publishes
// no change.
//
// The stream ends when ctx ends, when the conn is closed, or at [ChangeStream.Close]. Changes
// returns the errors of [dynamic.Client.Subscribe].
func (f *Fleet) Changes(ctx context.Context) (*ChangeStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	updates, err := f.changes.Subscribe(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	s := &ChangeStream{updates: updates, changes: make(chan *Change), cancel: cancel, ended: make(chan struct{})}
	go func() { // Close waits for this goroutine.
		defer close(s.ended)
		defer close(s.changes)
		for update := range updates.Channel() {
			// Once the stream has ended, s.changes may have no reader. The remaining updates are
			// then dropped.
			select {
			case s.changes <- fromMessage[Change](update):
			case <-ctx.Done():
			case <-f.conn.Done():
			}
		}
	}()
	return s, nil
}

// Channel returns the channel that delivers changes. It is closed when the stream has ended.
func (s *ChangeStream) Channel() <-chan *Change { return s.changes }

// Err returns why the stream has ended; see [dynamic.Subscription]. It returns nil while the stream
// is active and after Close.
func (s *ChangeStream) Err() error { return s.updates.Err() }

// Dropped returns the number of changes that were lost because the channel was not read in time.
func (s *ChangeStream) Dropped() uint64 { return s.updates.Stats().Dropped }

// Close ends the stream. Its error is that of [dynamic.Subscription]'s Close.
func (s *ChangeStream) Close() error {
	err := s.updates.Close()
	s.cancel() // The goroutine may be waiting for a reader.
	<-s.ended
	return err
}
