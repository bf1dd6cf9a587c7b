package dynamic

import (
	"context"
	"math/rand/v2"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// publisher publishes the updates of one method. It is immutable.
type publisher struct {
	bus          bus.Bus
	method       *registry.Method
	updates      message.Type
	interceptors []PublishInterceptor
	// allowEmptyParts reports whether AllowEmptyTopicParts is used.
	allowEmptyParts bool
	// defaultChannel is the channel for updates without a topic.
	defaultChannel bus.Channel
	// tap points to the field tap of the server. It is nil on a conn.
	tap *atomic.Pointer[func(*Traffic)]
}

func newPublisher(b bus.Bus, method *registry.Method, interceptors []PublishInterceptor, allowEmptyParts bool) *publisher {
	return &publisher{
		bus: b, method: method, interceptors: interceptors, allowEmptyParts: allowEmptyParts,
		updates:        message.EncodeOnly(method.Output()),
		defaultChannel: updateChannel(method, nil),
	}
}

// updateChannel returns the channel for a method's updates. Its name is built in the same way as
// the name of the request channel of a method that clients call.
func updateChannel(method *registry.Method, topic []string) bus.Channel {
	return bus.Channel(wire.RequestChannel(method.Service().WireName(), method.WireName(), topic, method.Queue()))
}

// publish checks an update and sends it.
func (p *publisher) publish(ctx context.Context, message proto.Message, opts []RequestOption) error {
	method := p.method
	if ctx == nil {
		return nilContextError(method.FullName())
	}
	if kind := method.Kind(); kind != registry.KindSubscription {
		return errors.NewErrorf(errors.InvalidArgument, "method %s is a %s, not a subscription: use %s",
			method.FullName(), kindNouns[kind], kindVerbs[kind])
	}
	o := newRequestOptions(opts)
	if err := transport.CheckTopic(method, o.topic, p.allowEmptyParts); err != nil {
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

// publishIntercepted passes an update through the interceptors, which may replace it, and sends the
// resulting update.
func (p *publisher) publishIntercepted(ctx context.Context, o requestOptions, message proto.Message) error {
	send := func(ctx context.Context, message proto.Message) error {
		if err := p.updates.Check(message); err != nil {
			return wrongMessage("update", p.method, err)
		}
		return p.send(ctx, &o, message)
	}
	handler, err := chain(p.interceptors, newRPCInfo(p.method, o.topic), send)
	if err != nil {
		return err
	}
	if err := handler(ctx, message); err != nil {
		return ensureCode(err)
	}
	return nil
}

// send encodes an update and publishes it.
func (p *publisher) send(ctx context.Context, o *requestOptions, message proto.Message) error {
	method, topic := p.method, o.topic
	frame, err := wire.AppendMessageFrame(nil, p.updates.Body(message), string(p.updates.Name), updateNonce(method))
	if err == nil {
		frame, err = wire.AppendMetadata(frame, o.outgoingMetadata(ctx))
	}
	if err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "cannot encode update of %s: %w", method.FullName(), err)
	}
	p.tapUpdate(topic, message)
	channel := p.defaultChannel
	if len(topic) > 0 {
		channel = updateChannel(method, topic)
	}
	if err := p.bus.Publish(ctx, channel, frame, nil); err != nil {
		classified, reason := transport.ClassifyError(err)
		return errors.WithFacts(classified, errors.CallFacts{
			Method: method.FullName(), Topic: topic, Phase: errors.PhasePublish, Reason: reason,
		})
	}
	return nil
}

// updateNonce returns a random nonce for an update. The nonce makes the frames of identical updates
// different. On Redis, the members of a queue use the hash of a frame to agree on which member
// handles the frame. For five seconds, they drop identical frames as duplicates. If all subscribers
// receive the update, no nonce is needed, and updateNonce returns 0.
func updateNonce(method *registry.Method) uint64 {
	if method.Routing() == registry.RoutingMulti {
		return 0
	}
	return rand.Uint64() | 1 //nolint:gosec // not a secret; setting the lowest bit makes it nonzero
}
