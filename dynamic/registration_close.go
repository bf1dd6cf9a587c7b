package dynamic

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const (
	// closeGrace is how long Close waits for the bus after its context has ended. A working bus
	// needs less time to end the subscriptions. Close therefore succeeds even if its context ends
	// while the bus is still ending them.
	closeGrace = 100 * time.Millisecond
	// killGrace is how long Kill waits for the bus before it cancels the contexts of the handlers.
	// During this time, the clients of open streams are told that their streams are closed.
	killGrace = time.Second
)

// registrationEnd tracks how far a registration has been closed. All calls to Close and Kill share
// it. The method runEnd runs on a goroutine of its own, because it may have to wait for a broker
// that does not answer.
type registrationEnd struct {
	endpoints []*endpoint
	// drained is closed when the bus delivers no more requests and all streams have been closed.
	drained chan struct{}
	// abandoned ends when runEnd must no longer wait for running handlers. runEnd then closes the
	// subscriptions to grants and cancellations. Calling the function abandon ends this context.
	abandoned context.Context //nolint:containedctx // it has the lifetime of the registration's end
	abandon   context.CancelFunc
	// released is closed when all subscriptions of the registration have been closed.
	released chan struct{}
}

// Close stops accepting requests for the service and waits for running handlers to return. If ctx
// ends first, Close cancels the contexts of the handlers and returns an error that wraps ctx.Err().
// It returns the same kind of error if the bus has not ended all subscriptions by then, for example
// because the broker does not answer. The bus then ends them in the background. Close returns at
// most 0.2 s after ctx has ended.
//
// Every call to Close waits for running handlers, not just the first. After Close, the service can
// be registered again, unless this registration has been replaced (see [Registration.Replace]).
func (r *Registration) Close(ctx context.Context) error {
	if ctx == nil {
		return nilarg.ErrContext
	}
	end := r.startEnd()
	defer r.server.forget(r, end)
	if err := waitWithGrace(ctx, end.drained); err != nil {
		r.stopHandlers(end)
		return r.endError(err, "the bus still delivers requests")
	}
	if err := r.waitIdle(ctx, end.endpoints); err != nil {
		r.stopHandlers(end)
		waitAtMost(closeGrace, end.released)
		return r.endError(err, "handlers were still running")
	}
	if err := waitWithGrace(ctx, end.released); err != nil {
		r.stopHandlers(end)
		return r.endError(err, "the bus has not ended all subscriptions")
	}
	return nil
}

func (r *Registration) endError(err error, problem string) error {
	return errors.NewErrorf(errors.FromContext(err).Code(), "service %s: %s: %w", r.service.Name(), problem, err)
}

// Kill stops accepting requests for the service and cancels the contexts of running handlers. It
// does not wait for the handlers to return. If the broker does not answer, Kill returns after the
// timeout of the server plus one second (see [WithServerTimeout]). The subscriptions then end in
// the background.
func (r *Registration) Kill() {
	end := r.startEnd()
	defer r.server.forget(r, end)
	// The streams are closed before the contexts are canceled. Their clients then receive
	// errors.ErrStreamEOF rather than an error about a canceled context.
	waitAtMost(killGrace, end.drained)
	r.stopHandlers(end)
	waitAtMost(r.server.options.timeout, end.released)
}

// startEnd starts to end the registration, unless this has already been started. From then on,
// topics can be neither registered nor deregistered.
func (r *Registration) startEnd() *registrationEnd {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end == nil {
		r.end = &registrationEnd{
			endpoints: r.currentEndpointsLocked(),
			drained:   make(chan struct{}),
			released:  make(chan struct{}),
		}
		r.end.abandoned, r.end.abandon = context.WithCancel(context.Background())
		go r.runEnd(r.end)
	}
	return r.end
}

// isEnding reports whether the registration has been closed or is being closed.
func (r *Registration) isEnding() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end != nil
}

// runEnd ends the subscriptions of the registration. It ends the subscriptions to requests at once.
// Those to grants and cancellations are needed until the running requests have ended or have been
// abandoned.
func (r *Registration) runEnd(end *registrationEnd) {
	r.announce(wire.PresenceDraining, end.endpoints...)
	forEachConcurrently(end.endpoints, (*endpoint).drain)
	close(end.drained)
	_ = r.waitIdle(end.abandoned, end.endpoints)
	end.abandon()
	r.announce(wire.PresenceLeft, end.endpoints...)
	forEachConcurrently(end.endpoints, (*endpoint).close)
	r.cancelSubscription.Close()
	r.discoverySubscription.Close()
	r.unicast.closeFor(r)
	r.cancel()
	close(end.released)
	r.server.remove(r)
}

// stopHandlers cancels the contexts of running handlers and makes the endpoints reject further
// requests. Handlers that are still running can still send their responses.
func (r *Registration) stopHandlers(end *registrationEnd) {
	end.abandon()
	r.cancel()
	r.rejectRequests(end.endpoints)
}

// rejectRequests makes the endpoints reject further requests. It also closes r.drainingEndpoints,
// which then counts no further endpoints.
func (r *Registration) rejectRequests(endpoints []*endpoint) {
	for _, e := range endpoints {
		e.inFlight.Close()
	}
	r.drainingEndpoints.Close()
}

// waitIdle makes the endpoints reject further requests. It then waits for the requests and streams
// that are being handled, including those of endpoints that were removed earlier.
func (r *Registration) waitIdle(ctx context.Context, endpoints []*endpoint) error {
	r.rejectRequests(endpoints)
	for _, e := range endpoints {
		if err := waitFor(ctx, e.inFlight.Close()); err != nil {
			return err
		}
	}
	return waitFor(ctx, r.drainingEndpoints.Close())
}

// maxConcurrentCloses is the maximum number of endpoints of a registration that wait for the bus at
// the same time.
const maxConcurrentCloses = 256

// forEachConcurrently calls f for all endpoints concurrently and waits until all calls have
// returned. Each call may wait for the broker, so the round trips of sequential calls would add up.
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

// waitFor waits until done is closed or ctx ends. It returns nil if done is closed, even if ctx has
// ended too, and otherwise the error of ctx.
func waitFor(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitWithGrace waits until done is closed. If ctx ends first, waitWithGrace waits for closeGrace
// longer. If done is still open then, it returns the error of ctx.
func waitWithGrace(ctx context.Context, done <-chan struct{}) error {
	if err := waitFor(ctx, done); err != nil && !waitAtMost(closeGrace, done) {
		return err
	}
	return nil
}

// waitAtMost waits until done is closed, but no longer than limit. It reports whether done is
// closed.
func waitAtMost(limit time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
