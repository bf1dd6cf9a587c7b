package serve

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// killGrace is the maximum time that Kill waits for the bus before it cancels the contexts of the
// handlers. During this time, the clients of open streams are notified that their streams are
// closed.
const killGrace = time.Second

// Close stops accepting requests for the service and waits for running handlers to return. If ctx
// ends first, Close cancels the contexts of the handlers and returns an error that wraps ctx.Err().
// It returns the same kind of error if the bus has not ended all subscriptions by then, for example
// because the broker does not answer. The bus then ends them in the background. Close returns at
// most 0.2 s after ctx has ended. Every call waits for running handlers. ctx must not be nil.
func (s *Service) Close(ctx context.Context) error {
	end := s.startEnd()
	defer s.engine.forget(s, end)
	if err := lifecycle.WaitWithGrace(ctx, end.drained); err != nil {
		s.stopHandlers(end)
		return s.endError(err, "the bus still delivers requests")
	}
	if err := s.waitIdle(ctx, end.endpoints); err != nil {
		s.stopHandlers(end)
		lifecycle.WaitAtMost(lifecycle.CloseGrace, end.released)
		return s.endError(err, "handlers were still running")
	}
	if err := lifecycle.WaitWithGrace(ctx, end.released); err != nil {
		s.stopHandlers(end)
		return s.endError(err, "the bus has not ended all subscriptions")
	}
	return nil
}

func (s *Service) endError(err error, problem string) error {
	return errors.NewErrorf(errors.FromContext(err).Code(), "service %s: %s: %w", s.Descriptor.Name(), problem, err)
}

// Kill stops accepting requests for the service and cancels the contexts of running handlers. It
// does not wait for the handlers to return. If the broker does not answer, Kill returns after the
// timeout of the engine plus one second. The subscriptions then end in the background.
func (s *Service) Kill() {
	end := s.startEnd()
	defer s.engine.forget(s, end)
	// The streams are closed before the contexts are canceled. Their clients then receive
	// errors.ErrStreamEOF rather than an error about a canceled context.
	lifecycle.WaitAtMost(killGrace, end.drained)
	s.stopHandlers(end)
	lifecycle.WaitAtMost(s.engine.Timeout, end.released)
}

// startEnd starts to end the service, unless the service is already ending. From then on, topics
// can be neither registered nor deregistered.
func (s *Service) startEnd() *serviceEnd {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		s.end = &serviceEnd{
			endpoints: s.currentEndpointsLocked(),
			drained:   make(chan struct{}),
			released:  make(chan struct{}),
		}
		s.end.abandoned, s.end.abandon = context.WithCancel(context.Background())
		go s.runEnd(s.end)
	}
	return s.end
}

// isEnding reports whether the service has been closed or is being closed.
func (s *Service) isEnding() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end != nil
}

// runEnd ends the subscriptions of the service. It ends the subscriptions to requests at once. The
// subscriptions to grants and cancellations are needed until the running requests have ended or
// have been abandoned.
func (s *Service) runEnd(end *serviceEnd) {
	s.announce(wire.PresenceDraining, end.endpoints...)
	drainAll(end.endpoints)
	close(end.drained)
	_ = s.waitIdle(end.abandoned, end.endpoints)
	end.abandon()
	s.announce(wire.PresenceLeft, end.endpoints...)
	forEachConcurrently(end.endpoints, (*endpoint).close)
	s.cancelSubscription.Close()
	s.discoverySubscription.Close()
	s.unicast.closeFor(s)
	s.cancel()
	close(end.released)
	s.engine.remove(s)
}

// stopHandlers cancels the contexts of running handlers and makes the endpoints reject further
// requests. Handlers that are still running can still send their responses.
func (s *Service) stopHandlers(end *serviceEnd) {
	end.abandon()
	s.cancel()
	s.rejectRequests(end.endpoints)
}

// rejectRequests makes the endpoints reject further requests. It also closes s.drainingEndpoints,
// which then counts no further endpoints.
func (s *Service) rejectRequests(endpoints []*endpoint) {
	for _, e := range endpoints {
		e.inFlight.Close()
	}
	s.drainingEndpoints.Close()
}

// waitIdle makes the endpoints reject further requests. It then waits for the requests and streams
// that are being handled, including those of endpoints that were removed earlier.
func (s *Service) waitIdle(ctx context.Context, endpoints []*endpoint) error {
	s.rejectRequests(endpoints)
	for _, e := range endpoints {
		if err := lifecycle.Wait(ctx, e.inFlight.Close()); err != nil {
			return err
		}
	}
	return lifecycle.Wait(ctx, s.drainingEndpoints.Close())
}

// drainAll calls drain for all endpoints, concurrently.
func drainAll(endpoints []*endpoint) {
	startDetachAll(endpoints)
	forEachConcurrently(endpoints, (*endpoint).drain)
}

// startDetachAll starts to close the subscriptions of all endpoints. It is called before the first
// of them is closed, because on NATS, the queue methods of a service share one subscription. If a
// method were drained while the others still kept this subscription open, the last requests for the
// method would arrive without a subscriber.
func startDetachAll(endpoints []*endpoint) {
	for _, e := range endpoints {
		e.inbound.startDetach(e)
	}
}

// maxConcurrentCloses is the maximum number of endpoints of a service that wait for the bus at
// the same time.
const maxConcurrentCloses = 256

// forEachConcurrently calls f for all endpoints and waits until all calls have returned. It makes
// up to maxConcurrentCloses calls at a time, because each call may wait for the broker.
func forEachConcurrently(endpoints []*endpoint, f func(*endpoint)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(len(endpoints), maxConcurrentCloses) {
		workers.Go(func() {
			for i := next.Add(1); i <= int64(len(endpoints)); i = next.Add(1) {
				f(endpoints[i-1])
			}
		})
	}
	workers.Wait()
}
