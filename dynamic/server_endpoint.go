package dynamic

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// endpoint serves one method of one version of a service. If the method has topics, there is one
// endpoint per topic. The bus subscriptions belong to the field inbound, which a new version of the
// service may take over (see [Registration.Replace]).
type endpoint struct {
	// The fields that calls use come first, so that they share a cache line; see [message.Type].

	// target is the target of the inbound while the inbound passes all frames to this endpoint.
	target target
	plan   *serverPlan
	// handle passes a call through the interceptors to the handler. It is not used for streams.
	handle serveFunc
	// inFlight counts the requests and streams that the endpoint is currently handling.
	inFlight lifecycle.InFlight

	inbound *inbound
	topic   []string
	// name is the name of the request channel. The registration uses it as the key of the endpoint.
	name string
	// suspended reports whether the endpoint has no subscriptions and receives no requests, because
	// its server is drained; see registration_suspend.go.
	suspended bool

	// fromPredecessor reports whether Replace has created the endpoint for a topic of the previous
	// version. RegisterTopic clears it when it is called for that topic. Registration.mu guards
	// this field.
	fromPredecessor bool

	// closing is closed when the endpoint stops accepting requests and streams.
	closing chan struct{}

	// abandoning is the timer that calls abandonClaims. drain sets it if the method requires
	// claims. Otherwise, it is nil.
	abandoning *time.Timer

	drainOnce, detachOnce sync.Once
	// closeStarted is set by the first call to close, and closed is closed when that call is done.
	// A sync.Once would do the same outside tests. In a testing/synctest bubble, however, time does
	// not advance while a goroutine is blocked in Once.Do. If the first call waited for a broker
	// that does not answer, its timeout would never expire.
	closeStarted atomic.Bool
	closed       chan struct{}
}

// newEndpoint returns an endpoint with its own inbound, which has no subscriptions yet. The
// endpoint is suspended if its registration is.
func newEndpoint(plan *serverPlan, topic []string) *endpoint {
	e := &endpoint{
		plan:    plan,
		topic:   slices.Clone(topic),
		name:    plan.registration.endpointName(plan.method, topic),
		closing: make(chan struct{}),
		closed:  make(chan struct{}),

		suspended: plan.registration.suspended.Load(),
	}
	e.target.endpoint = e
	e.inbound = newInbound(e)
	e.handle = plan.handler.intercepted(plan.registration.interceptors.rpc, newRPCInfo(plan.method, e.topic))
	return e
}

// subscribe subscribes to the channels of the method. Once subscribe has returned nil, the method
// can be called. If the endpoint is suspended, subscribe does nothing.
func (e *endpoint) subscribe(ctx context.Context) error {
	if e.suspended {
		return nil
	}
	return e.inbound.subscribe(ctx, e.plan.method.RequireClaim())
}

// subscribers returns how many servers in this process share one bus subscription for this method,
// and thus count as one receiver. It returns 0 if this server has its own subscription. It also
// returns 0 for queue methods, whose clients do not wait for all servers. The number changes while
// servers start and stop, so it is read for each request.
func (e *endpoint) subscribers() uint32 {
	if e.plan.method.Queue() {
		return 0
	}
	return e.inbound.frames.Subscribers()
}

func (e *endpoint) waiting() uint64 { return e.inbound.streams.waiting(e) }

// isClosing reports whether drain has been called.
func (e *endpoint) isClosing() bool {
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}

// drain stops accepting requests and closes the streams. Requests that are already being handled
// continue.
func (e *endpoint) drain() {
	e.drainOnce.Do(func() {
		close(e.closing)
		if e.plan.method.RequireClaim() {
			e.abandoning = time.AfterFunc(DefaultSelectionTimeout, e.abandonClaims)
		}
	})
	if e.inbound.isStream {
		// The subscription stays open while other endpoints use the inbound, so requests to open
		// streams may still arrive. Because inFlight is closed, e does not claim them. Another
		// server, or another version of the service, can claim them.
		e.inFlight.Close()
	}
	e.inbound.detach(e)
}

// abandonClaims drops the requests of e that still wait for their clients to select a server. It is
// called some time after drain, so that clients can select this server until then. Without
// abandonClaims, Shutdown would have to wait for requests whose clients have already given up.
func (e *endpoint) abandonClaims() {
	e.plan.server.pendingClaims.abandon(func(other *endpoint) bool { return other == e })
}

// close calls drain and stops receiving grants, in which clients name the servers that they have
// selected. Requests that are still waiting for a grant will not be handled.
func (e *endpoint) close() {
	e.drain()
	if e.closeStarted.Swap(true) {
		<-e.closed
		return
	}
	defer close(e.closed)
	if e.abandoning != nil {
		e.abandoning.Stop()
		e.abandonClaims()
	}
	e.inbound.releaseGrants()
}

// reuseInbound makes e use the bus subscriptions of predecessor, the endpoint that it replaces (see
// [Registration.Replace]), or does nothing if that is nil. No request is then lost or delivered
// twice. Both endpoints must have the same channel and mode, and neither may be suspended. If
// Replace fails later, predecessor keeps the inbound, and ignores grants to which only e has
// subscribed.
func (e *endpoint) reuseInbound(predecessor *endpoint) {
	if predecessor == nil || e.suspended || predecessor.suspended {
		return
	}
	if i := predecessor.inbound; i.channel == e.inbound.channel && i.mode == e.inbound.mode {
		e.inbound = i
		i.addEndpoint()
	}
}
