package dynamic

import (
	"slices"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// route holds the channels to the servers of one method and topic. It is immutable.
type route struct {
	topic    []string
	requests bus.Channel
	// grants is the channel on which the client publishes which server it has selected.
	grants     bus.Channel
	streams    bus.Channel
	membership *selection.Membership
	// handler runs the conn's interceptors and then the call. It is set for single calls only, and
	// nil if the conn has no interceptors.
	handler ClientRPCHandler
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
	r.membership = p.conn.membership(r.requests.Name)
	if len(p.conn.options.interceptors.rpc) > 0 && method.Kind() == registry.KindSingle {
		r.handler, err = p.newHandler(r)
	}
	return r, err
}

// route returns the route of a call: the one for the topic in its options, or else the one that the
// client is bound to, or else the one of a method without topics.
func (p *clientPlan) route(bound *route, o *requestOptions) (*route, error) {
	switch {
	case o.hasTopic:
		return p.topicRoute(o.topic)
	case bound != nil:
		return bound, nil
	case p.defaultRoute != nil:
		return p.defaultRoute, nil
	default:
		return nil, transport.CheckTopic(p.method, nil)
	}
}

func (p *clientPlan) topicRoute(parts []string) (*route, error) {
	if err := transport.CheckTopic(p.method, parts); err != nil {
		return nil, err
	}
	return p.newRoute(parts)
}
