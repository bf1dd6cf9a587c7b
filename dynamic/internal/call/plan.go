package call

import (
	"cmp"
	"context"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/queue"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Plan makes the calls of one method. It holds what these calls have in common. A Plan is
// immutable, and copies of it are equivalent.
type Plan struct {
	engine *Engine
	method *registry.Method
	// presence keeps track of the servers of the service. It is nil if clients of the method need
	// not know how many answers to expect.
	presence *presence
	// members keeps track of the servers, so that requests can be sent to single servers. It is nil
	// if clients of the method never do this.
	members *presence
	// cancels records whether the broker has refused to publish cancellations for the service.
	cancels *cancelReport
}

// NewPlan returns a plan for the method. It first waits until the engine has subscribed to the
// replies of the method's service. It returns the error of the bus, or the error of [Engine.Err].
func (e *Engine) NewPlan(ctx context.Context, method *registry.Method) (Plan, error) {
	replies, err := e.subscribeReplies(ctx, method.Service())
	if err != nil {
		return Plan{}, err
	}
	p := Plan{engine: e, method: method, cancels: &replies.cancels}
	if e.traits.AwaitsAll(method) {
		p.presence = replies.presence
	}
	if e.traits.Unicasts(method) || e.traits.OffersCandidates(method) {
		p.members = replies.presence
	}
	return p, nil
}

// NewRoute returns the route for a topic. The topic must be valid for the method.
func (p *Plan) NewRoute(topic []string) Route {
	method := p.method
	service, name := method.Service().WireName(), method.WireName()
	r := Route{
		Topic:    slices.Clone(topic),
		Requests: bus.Channel(wire.RequestChannel(service, name, topic, method.Queue())),
		grants:   bus.Channel(wire.ClaimResponseChannel(service, name, topic)),
		streams:  bus.Channel(wire.StreamServerChannel(service, name, topic)),
	}
	if p.members == nil && !transport.ReachesAllServers(method) {
		return r
	}
	var asker asker // nil if there is no presence
	if presence := cmp.Or(p.presence, p.members); presence != nil {
		asker = presence
	}
	membership := p.engine.memberships.get(r.Requests.Name, len(topic) > 0, asker)
	if transport.ReachesAllServers(method) {
		r.membership = membership
	}
	if p.members != nil {
		r.unicast = &unicastRoute{membership: membership, presence: p.members, requests: r.Requests.Name}
	}
	return r
}

// Discover may send a discovery request, so that the engine knows the servers of a route before the
// first call.
func (p *Plan) Discover(r *Route) {
	switch {
	case p.presence != nil:
		p.presence.ask(r.Requests.Name, r.membership)
	case p.method.Queue() && p.members != nil:
		r.unicast.ask()
	}
}

// discover sends a discovery request if the engine must know the servers of the route and does not
// know them yet. It must be called before the call asks the membership whether all servers have
// answered.
func (p *Plan) discover(r *Route) {
	if p.presence != nil {
		p.presence.ask(r.Requests.Name, r.membership)
	}
}

// watch makes the membership of the route wake w when servers join or leave, until unwatch is
// called. Each server that has answered must be added to responders. watch must be called before
// the request of the call is sent.
func (p *Plan) watch(r *Route, w queue.Wakeup, responders *selection.Responders) {
	if p.presence != nil {
		r.membership.Watch(w, responders)
	}
}

func (p *Plan) unwatch(r *Route, w queue.Wakeup) {
	if p.presence != nil {
		r.membership.Unwatch(w)
	}
}

// cancel publishes a cancellation for a call that the client has given up. dynpsrpc servers then
// cancel the context of the handler; psrpc servers let their handlers run to the end. Once the
// broker has denied a cancellation, cancel does nothing.
func (p *Plan) cancel(callID id.Call) {
	if p.cancels.denied.Load() {
		return
	}
	frame, err := (&wire.Cancel{RequestID: callID[:]}).AppendFrame(nil)
	if err != nil {
		// Encoding cannot fail here, because generated IDs are valid UTF-8.
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	channel := bus.Channel(wire.CancelChannel(p.method.Service().WireName()))
	// If the cancellation cannot be sent, the handler's context still ends when the request
	// expires.
	p.cancels.Delivered(bus.Unknown, p.engine.bus.Publish(ctx, channel, frame, p.cancels))
}

// selectNobody tells the servers that have claimed a request that none of them is selected. They
// then drop the request at once, instead of keeping it until it expires. Unlike cancel, it also
// reaches psrpc servers. It does nothing if no server waits for the decision.
func (p *Plan) selectNobody(r *Route, callID id.Call, claims []wire.ClaimRequest) {
	isWaiting := func(claim wire.ClaimRequest) bool { return !claim.Declined && !claim.Handling }
	if !slices.ContainsFunc(claims, isWaiting) {
		return
	}
	frame, err := (&wire.ClaimResponse{RequestID: callID[:]}).AppendFrame(nil)
	if err != nil {
		// Encoding cannot fail here, because generated IDs are valid UTF-8.
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	// If the message cannot be sent, the servers drop the request when it expires.
	_ = p.engine.bus.Publish(ctx, r.grants, frame, nil)
}

// serverError returns the error in a response, with the server's code, text and details. If the
// response is marked as unprocessed, it is an [UnprocessedError]. On the bus,
// errors.ErrUnimplemented does not say which method is missing, so serverError adds the method as a
// diagnostic fact.
func (p *Plan) serverError(response *wire.Response, r *Route) error {
	// If a detail of the error cannot be decoded, the caller still gets the error.
	_ = response.DecodeDetails()
	err := errors.FromWire(errors.ErrorCode(response.Code), response.Error, response.Details)
	if response.Unprocessed {
		return UnprocessedError{err}
	}
	if errors.Is(err, errors.ErrUnimplemented) {
		return errors.WithFacts(err, errors.CallFacts{
			Method: p.method.FullName(), Topic: r.Topic, ServerID: string(response.ServerID),
		})
	}
	return err
}

// UnprocessedError is the error of a call whose response says that the server has done no work for
// the request.
type UnprocessedError struct{ error }

// Unwrap returns the error that the server has sent.
func (e UnprocessedError) Unwrap() error { return e.error }
