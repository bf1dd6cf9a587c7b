package dynamic

import (
	"context"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// endpoint serves one method, on one topic if it has topics, for one version of a service.
type endpoint struct {
	plan    *serverPlan
	topic   []string
	name    string    // of the request channel
	handle  serveFunc // of a method that is a call; through the interceptors
	inbound *inbound

	// fromPredecessor says that it is there because the version before had it. The registration's mu guards it.
	fromPredecessor bool

	inFlight lifecycle.InFlight // inside: requests and streams that are being handled
	closing  chan struct{}      // closed when no more are taken

	drainOnce, detachOnce, closeOnce sync.Once
}

// newEndpoint returns a listener with an intake of its own.
func newEndpoint(method *serverPlan, topic []string) *endpoint {
	e := &endpoint{
		plan:    method,
		topic:   slices.Clone(topic),
		name:    method.registration.endpointName(method.method, topic),
		closing: make(chan struct{}),
	}
	e.inbound = newInbound(e)
	e.handle = method.handler.intercepted(method.registration.interceptors.rpc, newRPCInfo(method.method, e.topic))
	return e
}

// subscribe makes the method reachable.
func (e *endpoint) subscribe(ctx context.Context) error {
	return e.inbound.subscribe(ctx, e.plan.method.RequireClaim())
}

// subscribers returns how many servers the bus counts as one receiver with this one, 0 if it is by itself or if no client
// waits until all have answered. It is so as of now: for a request ask when it comes.
func (e *endpoint) subscribers() uint32 {
	if e.plan.method.Queue() {
		return 0
	}
	return e.inbound.frames.Subscribers()
}

func (e *endpoint) isClosing() bool {
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}

// drain takes no more requests, and closes the streams.
func (e *endpoint) drain() {
	e.drainOnce.Do(func() { close(e.closing) })
	if e.inbound.isStream { // another server, or version, will claim it
		e.inFlight.Close()
	}
	e.inbound.detach(e)
}

// close stops, and is granted nothing any more.
func (e *endpoint) close() {
	e.drain()
	e.closeOnce.Do(e.inbound.releaseGrants)
}
