package serve

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/semaphore"
	"github.com/dynpsrpc/dynpsrpc/internal/timer"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// endpoint serves one method of one version of a service. If the method has topics, there is one
// endpoint per topic. The bus subscriptions belong to the field inbound, which a new version of the
// service may take over (see [Service.Replace]).
type endpoint struct {
	// The fields that calls use come first, so that they share a cache line; see [message.Type].

	// The inbound points to target while it passes all requests to this endpoint; see
	// inbound.target.
	target target
	plan   *plan
	// handle passes a call through the interceptors to the handler. It is nil for streams.
	handle HandleFunc
	// inFlight counts the requests and streams that the endpoint is currently handling.
	inFlight lifecycle.InFlight

	inbound *inbound
	topic   []string
	// name is the name of the request channel. The service uses it as the key of the endpoint.
	name string
	// suspended is true for the endpoints that a service has while its server is drained. They have
	// no subscriptions and receive no requests; see service_suspend.go.
	suspended bool

	// fromPredecessor reports whether Replace has created the endpoint for a topic of the previous
	// version. RegisterTopic clears it when it is called for that topic. Service.mu guards this
	// field.
	fromPredecessor bool

	// closing is closed when the endpoint stops accepting requests and streams.
	closing chan struct{}

	// abandoning is the timer that calls abandonClaims. drain sets it if the method requires
	// claims. Otherwise, it is nil.
	abandoning *timer.Countdown

	drainOnce, detachOnce sync.Once
	// closeStarted is set by the first call to close, and closed is closed when that call is done.
	// A sync.Once would do the same, but in a testing/synctest bubble, time does not advance while
	// a goroutine is blocked in Once.Do. The timeout of a first call that waits for the broker
	// would then never expire.
	closeStarted atomic.Bool
	closed       chan struct{}
}

// newEndpoint returns an endpoint with its own inbound, which has no subscriptions yet. The
// endpoint is suspended if its service is.
func newEndpoint(plan *plan, topic []string) *endpoint {
	e := &endpoint{
		plan:    plan,
		topic:   slices.Clone(topic),
		name:    plan.service.endpointName(plan.method, topic),
		closing: make(chan struct{}),
		closed:  make(chan struct{}),

		suspended: plan.service.suspended.Load(),
	}
	e.target.endpoint = e
	e.inbound = newInbound(e)
	if plan.handler.ForTopic != nil {
		e.handle = plan.handler.ForTopic(e.topic)
	}
	return e
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

func (e *endpoint) waiting() uint64 { return e.inbound.streams.Waiting(e) }

// IsClosing implements stream.Owner. It reports whether drain has been called.
func (e *endpoint) IsClosing() bool {
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
			e.abandoning = timer.NewCountdown(e.plan.engine.AbandonAfter, e.abandonClaims)
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

// abandonClaims drops the requests of e that still wait for their clients to select a server. A
// timer calls it some time after drain, so that clients can select this server until then. close
// calls it at once. Without abandonClaims, Shutdown would wait for requests whose clients have
// already given up.
func (e *endpoint) abandonClaims() {
	e.plan.engine.pendingClaims.abandon(func(other *endpoint) bool { return other == e })
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
// [Service.Replace]). No request is then lost or delivered twice. reuseInbound does nothing if
// predecessor is nil, if one of the endpoints is suspended, or if their channels or modes differ.
// If Replace fails later, predecessor keeps the inbound, and ignores grants to which only e has
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

// hasEvents reports whether events about requests are wanted.
func (e *endpoint) hasEvents() bool { return e.plan.service.OnEvent != nil }

// emit sets the fields Method and Topic of an event and passes it on. It must only be called if
// hasEvents returns true.
func (e *endpoint) emit(event Event) {
	event.Method, event.Topic = e.plan.method, e.topic
	e.plan.service.OnEvent(event)
}

// dropExpired counts a request that has expired and emits an event about it. late is the value for
// [Event.Late]. A negative value means that the server cannot tell how late the request is, and is
// replaced by 0.
func (e *endpoint) dropExpired(client *clientEntry, late time.Duration) {
	e.plan.engine.drops.Add(transport.DropExpired, transport.DroppedFrame{Method: e.plan.method, Peer: []byte(client.id)})
	if recorder := e.plan.recorder.Load(); recorder != nil {
		(*recorder).RecordExpired()
	}
	if e.hasEvents() {
		e.emit(Event{Kind: RequestExpired, Peer: client.id, Late: max(late, 0)})
	}
}

// plan holds everything that a service needs to serve one method. It is immutable, except for the
// recorder and the semaphore. If the method has topics, their endpoints share the plan.
type plan struct {
	engine  *Engine
	service *Service
	method  *registry.Method
	// recorder records the requests of the method.
	recorder *recorderSlot
	// semaphore limits how many requests of the method are handled at the same time.
	semaphore semaphore.Semaphore
	handler   Handler
}

func newPlan(s *Service, method *registry.Method, handler *Handler) *plan {
	return &plan{
		engine: s.engine, service: s, method: method, handler: *handler, recorder: s.recorders[method.Name()],
		semaphore: semaphore.Semaphore{Max: int64(handler.MaxConcurrent)},
	}
}

// isLimited reports whether the number of requests that are handled at the same time is limited.
func (p *plan) isLimited() bool { return p.semaphore.Max != 0 || p.engine.semaphore.Max != 0 }

// reportPanic reports a panic to the user. source says what panicked, for example "handler".
func (p *plan) reportPanic(ctx context.Context, source string, value any) {
	p.service.ReportPanic(ctx, p.method, source, value)
}

// callAffinity calls an affinity function. If the function panics, callAffinity reports the panic
// and returns a negative affinity, which declines the request. If the function calls
// runtime.Goexit, callAffinity reports this as a panic too, and the goroutine ends. recover then
// returns nil, so the variable completed shows whether the function has returned.
func (p *plan) callAffinity(ctx context.Context, function func() float32) (affinity float32) {
	completed := false
	defer func() {
		if !completed {
			p.reportPanic(ctx, "affinity function", recover())
			affinity = -1
		}
	}()
	affinity = function()
	completed = true
	return affinity
}

// recordClaim notifies the recorder of the method that the server has claimed or declined a
// request.
func (p *plan) recordClaim(affinity float32) {
	if recorder := p.recorder.Load(); recorder != nil {
		(*recorder).RecordClaim(affinity)
	}
}

// endpointName returns the name of a method's endpoint for a topic. It is the name of the request
// channel. Different topics therefore have different endpoint names.
func (s *Service) endpointName(method *registry.Method, parts []string) string {
	return wire.RequestChannel(s.Descriptor.WireName(), method.WireName(), parts, method.Queue()).Name
}
