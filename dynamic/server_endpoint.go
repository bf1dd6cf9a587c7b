package dynamic

import (
	"context"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// endpoint serves one method, on one topic if the method has topics, for one version of a service.
// The bus subscriptions belong to its inbound, which may outlive it, see [Registration.Replace].
type endpoint struct {
	plan  *serverPlan
	topic []string
	// name is the name of the request channel and the key of the endpoint in its registration.
	name string
	// handle runs the interceptors and the handler of a call. Streams do not use it.
	handle  serveFunc
	inbound *inbound

	// fromPredecessor is true if Replace created the endpoint because the previous version served the
	// topic, and RegisterTopic has not been called for it yet. The registration's mu guards it.
	fromPredecessor bool

	// inFlight counts the requests and streams that are being handled.
	inFlight lifecycle.InFlight
	// closing is closed when the endpoint stops accepting requests and streams.
	closing chan struct{}

	drainOnce, detachOnce, closeOnce sync.Once
}

// newEndpoint returns an endpoint with an inbound of its own, without subscriptions.
func newEndpoint(plan *serverPlan, topic []string) *endpoint {
	e := &endpoint{
		plan:    plan,
		topic:   slices.Clone(topic),
		name:    plan.registration.endpointName(plan.method, topic),
		closing: make(chan struct{}),
	}
	e.inbound = newInbound(e)
	e.handle = plan.handler.intercepted(plan.registration.interceptors.rpc, newRPCInfo(plan.method, e.topic))
	return e
}

// subscribe subscribes to the channels of the method. When it returns nil the method can be called.
func (e *endpoint) subscribe(ctx context.Context) error {
	return e.inbound.subscribe(ctx, e.plan.method.RequireClaim())
}

// subscribers returns how many servers of this process share one bus subscription, and thus count
// as one receiver, for this method. It returns 0 if this server is alone, and for queue methods,
// whose clients do not wait for all servers. The number changes as servers come and go, so it is
// taken when a request arrives.
func (e *endpoint) subscribers() uint32 {
	if e.plan.method.Queue() {
		return 0
	}
	return e.inbound.frames.Subscribers()
}

// waiting returns the number of stream messages that the handlers have not read yet.
func (e *endpoint) waiting() uint64 { return e.inbound.streams.waiting(e) }

// isClosing reports whether drain was called.
func (e *endpoint) isClosing() bool {
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}

// drain stops accepting requests and closes the streams. Requests that are being handled continue.
func (e *endpoint) drain() {
	e.drainOnce.Do(func() { close(e.closing) })
	if e.inbound.isStream {
		// The subscription stays as long as there are streams, so new opens are rejected here.
		// Another server or version claims them.
		e.inFlight.Close()
	}
	e.inbound.detach(e)
}

// close calls drain and stops listening for grants. Requests that still wait for one are not
// granted.
func (e *endpoint) close() {
	e.drain()
	e.closeOnce.Do(e.inbound.releaseGrants)
}

// reuseInbound makes e use the inbound of predecessor, if that is for the same channel, in place of
// its own. The subscriptions then need not be replaced, so no request is lost or delivered twice.
// If Replace fails later, the inbound stays with predecessor; it may have subscribed to grants that
// only e needs, which are ignored.
func (e *endpoint) reuseInbound(predecessor *endpoint) {
	if predecessor == nil {
		return
	}
	if i := predecessor.inbound; i.channel == e.inbound.channel && i.mode == e.inbound.mode {
		e.inbound = i
		i.addEndpoint()
	}
}
