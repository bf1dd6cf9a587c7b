package dynamic

import (
	"context"
	"math/rand/v2"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Publish sends an update as [Registration.Publish] does, of the method with this full name in the conn's registry,
// without a server. The update is what [Invoke] takes as a request, but for the method's output type.
func Publish(ctx context.Context, c *Conn, name string, update any, opts ...RequestOption) error {
	if err := c.err(); err != nil {
		return err
	}
	p, err := c.publisher(name)
	if err != nil {
		return err
	}
	message, err := toMessage(&p.updates, c.registry, update)
	if err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "update of %s: %w", p.method.FullName(), err)
	}
	return p.publish(ctx, message, opts)
}

// publisher is the plan of sending a method's updates; immutable.
type publisher struct {
	bus            bus.Bus
	method         *registry.Method
	updates        message.Type
	interceptors   []PublishInterceptor
	defaultChannel bus.Channel // of a method without topics
}

func newPublisher(b bus.Bus, method *registry.Method, interceptors []PublishInterceptor) *publisher {
	return &publisher{
		bus: b, method: method, interceptors: interceptors,
		updates:        message.EncodeOnly(method.Output()),
		defaultChannel: updateChannel(method, nil),
	}
}

func updateChannel(method *registry.Method, topic []string) bus.Channel {
	return bus.Channel(wire.RequestChannel(method.Service().WireName(), method.WireName(), topic, method.Queue()))
}

func (p *publisher) publish(ctx context.Context, message proto.Message, opts []RequestOption) error {
	method := p.method
	if kind := method.Kind(); kind != registry.KindSubscription {
		return errors.NewErrorf(errors.InvalidArgument, "method %s is a %s, not a subscription", method.FullName(), kindNouns[kind])
	}
	o := newRequestOptions(opts)
	if err := transport.CheckTopic(method, o.topic); err != nil {
		return err
	}
	if err := p.updates.Check(message); err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "update of %s: %w", method.FullName(), err)
	}
	if len(p.interceptors) == 0 {
		return p.send(ctx, &o, message)
	}
	return p.publishIntercepted(ctx, o, message)
}

// publishIntercepted brings an update through the interceptors.
func (p *publisher) publishIntercepted(ctx context.Context, o requestOptions, message proto.Message) error {
	handler, err := chain(p.interceptors, newRPCInfo(p.method, o.topic), func(ctx context.Context, message proto.Message) error {
		if err := p.updates.Check(message); err != nil {
			return wrongMessage("update", p.method, err)
		}
		return p.send(ctx, &o, message)
	})
	if err != nil {
		return err
	}
	if err := handler(ctx, message); err != nil {
		return ensureCode(err)
	}
	return nil
}

func (p *publisher) send(ctx context.Context, o *requestOptions, message proto.Message) error {
	method, topic := p.method, o.topic
	frame, err := wire.AppendMessageFrame(nil, p.updates.Body(message), string(p.updates.Name), updateNonce(method))
	if err == nil {
		frame, err = wire.AppendMetadata(frame, o.outgoingMetadata(ctx))
	}
	if err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "update of %s cannot be encoded: %w", method.FullName(), err)
	}
	channel := p.defaultChannel
	if len(topic) > 0 {
		channel = updateChannel(method, topic)
	}
	if err := p.bus.Publish(ctx, channel, frame, nil); err != nil {
		failure, reason := transport.ClassifyError(err)
		return errors.WithFacts(failure, errors.CallFacts{
			Method: method.FullName(), Topic: topic, Phase: errors.PhasePublish, Reason: reason,
		})
	}
	return nil
}

// updateNonce makes the updates of a queue different from each other: psrpc's members of a queue agree on who takes
// a frame by the hash of its bytes, and would drop an equal one within five seconds.
func updateNonce(method *registry.Method) uint64 {
	if method.Routing() == registry.RoutingMulti {
		return 0
	}
	return rand.Uint64() | 1 //nolint:gosec // not a secret; never 0, which is no nonce
}
