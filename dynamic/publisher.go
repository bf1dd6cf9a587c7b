package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/tap"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/update"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// publisher publishes the updates of one method: it passes them through the interceptors to an
// [update.Publisher]. It is immutable.
type publisher struct {
	update.Publisher

	interceptors []PublishInterceptor
	// allowEmptyParts reports whether AllowEmptyTopicParts is used.
	allowEmptyParts bool
	// tap holds the function that Server.SetTap has set. It is nil on a conn.
	tap *tap.Tap
}

func newPublisher(
	b bus.Bus, method *registry.Method, updates message.Type, interceptors []PublishInterceptor, allowEmptyParts bool,
) *publisher {
	return &publisher{
		Publisher: update.NewPublisher(b, method, updates), interceptors: interceptors, allowEmptyParts: allowEmptyParts,
	}
}

// publish checks an update and sends it.
func (p *publisher) publish(ctx context.Context, message proto.Message, opts []RequestOption) error {
	method := p.Method
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
	if err := p.Updates.Check(message); err != nil {
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
		if err := p.Updates.Check(message); err != nil {
			return wrongMessage("update", p.Method, err)
		}
		return p.send(ctx, &o, message)
	}
	handler, err := chain(p.interceptors, newRPCInfo(p.Method, o.topic), send)
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
	frame, err := p.Encode(message, o.outgoingMetadata(ctx))
	if err != nil {
		return err
	}
	p.tapUpdate(o.topic, message)
	return p.Publish(ctx, o.topic, frame)
}

// tapUpdate reports an update that a server publishes. It does nothing on conns, or if no tap is
// set.
func (p *publisher) tapUpdate(topic []string, update proto.Message) {
	if report := p.tap.Load(); report != nil {
		report(tap.Traffic{Kind: tap.Update, Method: p.Method, Topic: topic, Message: update})
	}
}
