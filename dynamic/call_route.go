package dynamic

import (
	"cmp"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// route holds the channels on which the client and the servers of one method and topic communicate.
// A route is immutable.
type route struct {
	// The fields that every call uses come first, so that they share a cache line; see
	// [message.Type].

	// handler passes a request through the conn's interceptors and then makes the call. It is set
	// only for single calls, and only if the conn has interceptors for them.
	handler ClientRPCHandler
	// membership records which servers answer calls on the route. It is nil for queue methods,
	// because only one server answers each of their requests, and for subscriptions, which have no
	// requests.
	membership *selection.Membership
	// unicast chooses single servers to which a request is sent on their own channels, instead of
	// all servers on the request channel. It is nil for methods whose requests are never sent in
	// this way.
	unicast  *unicastRoute
	requests bus.Channel

	topic []string
	// grants is the channel on which the client announces which server it has selected.
	grants  bus.Channel
	streams bus.Channel
}

func (p *clientPlan) newRoute(topic []string) (r *route, err error) {
	method := p.method
	service, name := method.Service().WireName(), method.WireName()
	r = &route{
		topic:    slices.Clone(topic),
		requests: bus.Channel(wire.RequestChannel(service, name, topic, method.Queue())),
		grants:   bus.Channel(wire.ClaimResponseChannel(service, name, topic)),
		streams:  bus.Channel(wire.StreamServerChannel(service, name, topic)),
	}
	if p.members != nil || transport.ReachesAllServers(method) {
		membership := p.conn.membership(r.requests.Name, len(topic) > 0, cmp.Or(p.presence, p.members))
		if transport.ReachesAllServers(method) {
			r.membership = membership
		}
		if p.members != nil {
			r.unicast = &unicastRoute{membership: membership, presence: p.members, requests: r.requests.Name}
		}
	}
	if len(p.conn.options.interceptors.rpc) > 0 && method.Kind() == registry.KindSingle {
		r.handler, err = p.newHandler(r)
	}
	return r, err
}

// route returns the route for a call. If the call's options contain a topic, it returns the route
// for that topic. Otherwise, it returns the argument bound, which is the route for the client's
// topic. If the client has no topic, bound is nil. In that case, the method route returns the
// default route, or an error if the method requires a topic.
func (p *clientPlan) route(bound *route, o *requestOptions) (*route, error) {
	switch {
	case o.hasTopic:
		return p.topicRoute(o.topic)
	case bound != nil:
		return bound, nil
	case p.defaultRoute != nil:
		return p.defaultRoute, nil
	default:
		return nil, transport.CheckTopic(p.method, nil, false)
	}
}

func (p *clientPlan) topicRoute(parts []string) (*route, error) {
	if err := transport.CheckTopic(p.method, parts, p.conn.options.allowEmptyParts); err != nil {
		return nil, err
	}
	return p.newRoute(parts)
}
