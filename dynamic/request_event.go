package dynamic

import (
	"cmp"
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// RequestEventKind says what has happened to a request.
type RequestEventKind uint8

const (
	// RequestReceived means that a server has received a request. The server may still drop it, for
	// example because it has expired or because the client selects another server.
	RequestReceived RequestEventKind = iota + 1
	// RequestExpired means that a server has dropped a request whose deadline had passed.
	RequestExpired
	// ClaimDecided reports the outcome of the claims for a request; see [ClaimOutcome]. It occurs
	// only if the method of the request requires a claim. On a server, the event is about the claim
	// of this server only.
	ClaimDecided
)

// ClaimOutcome is the result of the claims for one request.
type ClaimOutcome uint8

const (
	// ClaimGranted means on a server that the client has selected this server, which now handles
	// the request. On a conn, it means that a server was selected.
	ClaimGranted ClaimOutcome = iota + 1
	// ClaimLost means that the client has selected another server, or has given up the call. It
	// occurs on servers only.
	ClaimLost
	// ClaimTimedOut means that no server was selected in time. On a server, it means that this
	// server has given the request up before the client selected a server. A server does so if the
	// request expires, if a limit for waiting requests is reached (see [WithGrantTimeout] and
	// [WithMaxPendingClaims]), or if it stops serving the method or topic. On a conn, no server has
	// claimed the request in time, or there is no server.
	ClaimTimedOut
	// ClaimSkipped means that a server handles the request, or has answered it, without waiting
	// until it is selected. This is usual if only one server receives the request, as with queue
	// methods.
	ClaimSkipped
	// ClaimDeclined means on a server that it did not claim the request. For example, its affinity
	// was negative, a limit was reached, or it could not decode the request. On a conn, no claim
	// was acceptable.
	ClaimDeclined
)

// claimOutcomes contains the names of the outcomes.
var claimOutcomes = [...]string{
	ClaimGranted: "granted", ClaimLost: "lost", ClaimTimedOut: "timed_out", ClaimSkipped: "skipped", ClaimDeclined: "declined",
}

// String returns the name of the outcome, for example "granted".
func (o ClaimOutcome) String() string {
	if o == 0 || int(o) >= len(claimOutcomes) {
		return "unknown"
	}
	return claimOutcomes[o]
}

// RequestEvent says what has happened to a request, or to a request to open a stream.
type RequestEvent struct {
	Kind RequestEventKind
	// Info describes the method and the topic.
	Info RPCInfo
	// Peer is the ID of the client on a server. On a conn, it is the ID of the server that was
	// selected or has answered, or empty if there is none.
	Peer string
	// Late is the time from the deadline, by the client's clock, to the arrival of the request, by
	// this server's clock. It is set only for RequestExpired. It is 0 if the server cannot tell how
	// late the request is, because the two clocks may differ.
	Late time.Duration
	// Outcome and Wait are set only for ClaimDecided. Wait is the time from the arrival of the
	// request on the server, or from its publication by the conn, until the decision. It is 0 if
	// the server handles or declines the request without waiting for the client, as with
	// ClaimSkipped.
	Outcome ClaimOutcome
	Wait    time.Duration
}

// RequestEventHandler is called for each event of a request. Calls may be concurrent. The handler
// must not block, because the bus waits for it. If it panics, the panic is logged and passed to the
// hooks of [WithPanicHook].
type RequestEventHandler func(event RequestEvent)

// WithRequestEvents adds a handler for events that interceptors do not see, because interceptors on
// a server run only once it handles a request.
//
// On a server or service, the handler is called for each request that arrives, for each request
// that has expired, and for the outcome of each claim. On a conn, it is called with the outcome of
// the claims when a single call or the opening of a stream has ended. It is not called if there is
// no outcome, for example because the caller has canceled the call. Multi calls and methods of a
// single server have no claims. Other facts about calls are available to interceptors. Package
// interceptors/metrics measures the events with its option WithRequestEvents.
//
// A nil handler is ignored. Without handlers, events cost nothing.
func WithRequestEvents(handler RequestEventHandler) CommonOption {
	return requestEventOption(handler)
}

type requestEventOption RequestEventHandler

func (h requestEventOption) applyServer(o *serverOptions)     { h.add(&o.interceptors.events) }
func (h requestEventOption) applyRegister(o *registerOptions) { h.add(&o.interceptors.events) }
func (h requestEventOption) applyConn(o *connOptions)         { h.add(&o.interceptors.events) }

func (h requestEventOption) add(to *[]RequestEventHandler) {
	if h != nil {
		*to = append(*to, RequestEventHandler(h))
	}
}

// emitRequestEvent passes an event to the handlers. If a handler panics, the panic is logged and
// passed to the panic hooks.
func emitRequestEvent(handlers []RequestEventHandler, panics panicReporter, event RequestEvent) {
	for _, handler := range handlers {
		func() {
			defer func() {
				if value := recover(); value != nil {
					panics.report(context.Background(), event.Info.Descriptor, "handler of request events", value)
				}
			}()
			handler(event)
		}()
	}
}

// hasEvents reports whether there are handlers for the events of requests.
func (e *endpoint) hasEvents() bool { return len(e.plan.registration.interceptors.events) > 0 }

// emit sets the field Info of an event and passes the event to the handlers.
func (e *endpoint) emit(event RequestEvent) {
	r := e.plan.registration
	event.Info = newRPCInfo(e.plan.method, e.topic)
	emitRequestEvent(r.interceptors.events, r.panics(), event)
}

// dropExpired counts a request that has expired and emits an event about it. late is the value for
// [RequestEvent.Late]. A negative value means that the server cannot tell how late the request is,
// and is replaced by 0.
func (e *endpoint) dropExpired(client *clientEntry, late time.Duration) {
	e.plan.server.drops.add(dropExpired, droppedFrame{method: e.plan.method, peer: []byte(client.id)})
	if recorder := e.plan.recorder.Load(); recorder != nil {
		(*recorder).RecordExpired()
	}
	if e.hasEvents() {
		e.emit(RequestEvent{Kind: RequestExpired, Peer: client.id, Late: max(late, 0)})
	}
}

// emitClaim emits an event about the claims of a call that has ended. err is the error of the call,
// or nil. emitClaim emits nothing if the request was not sent, if its method requires no claims, or
// if there is no outcome, for example because the caller has canceled the call.
func (c *unaryCall) emitClaim(err error) {
	conn := c.plan.conn
	if !c.sent || !c.plan.method.RequireClaim() {
		return
	}
	event := RequestEvent{
		Kind: ClaimDecided, Info: newRPCInfo(c.plan.method, c.route.topic), Peer: cmp.Or(c.server, c.responder()),
	}
	switch {
	case c.server != "" && !c.handling:
		event.Outcome, event.Wait = ClaimGranted, c.granted-c.published
	case event.Peer != "":
		event.Outcome = ClaimSkipped
	default:
		event.Outcome, event.Wait = unclaimed(err), time.Since(c.started)-c.published
	}
	if event.Outcome != 0 {
		emitRequestEvent(conn.options.interceptors.events, conn.panics(), event)
	}
}

// unclaimed returns the outcome of a call that has failed with err before a server was selected or
// has answered. It returns 0 if the claims were not the reason for the error.
func unclaimed(err error) ClaimOutcome {
	facts, _ := errors.FactsOf(err)
	switch facts.Reason {
	case errors.ReasonAllDeclined, errors.ReasonBelowMinimum:
		return ClaimDeclined
	case errors.ReasonCanceled, errors.ReasonClosed, errors.ReasonBusDown, errors.ReasonRefused, errors.ReasonTooLarge:
		return 0
	default:
		return ClaimTimedOut
	}
}
