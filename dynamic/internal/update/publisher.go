package update

import (
	"context"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Publisher encodes and publishes the updates of one method. It is immutable, so its methods are
// safe for concurrent use.
type Publisher struct {
	Method *registry.Method
	// Updates is the type of the updates. Callers use it to check an update before they call
	// Encode.
	Updates message.Type

	bus bus.Bus
	// defaultChannel is the channel for updates without a topic.
	defaultChannel bus.Channel
}

// NewPublisher returns a publisher for a subscription method. updates may be a type from
// [message.EncodeOnly].
func NewPublisher(b bus.Bus, method *registry.Method, updates message.Type) Publisher {
	return Publisher{Method: method, Updates: updates, bus: b, defaultChannel: channel(method, nil)}
}

// channel returns the channel for a method's updates. Its name has the same form as the name of a
// request channel.
func channel(method *registry.Method, topic []string) bus.Channel {
	return bus.Channel(wire.RequestChannel(method.Service().WireName(), method.WireName(), topic, method.Queue()))
}

// Encode returns the frame of an update. The caller must have checked the update with p.Updates,
// and must not modify it until Encode returns. Each frame may be published once; see nonce. If the
// update or its metadata cannot be encoded, Encode returns an error with code invalid_argument.
func (p *Publisher) Encode(update proto.Message, metadata map[string]string) ([]byte, error) {
	frame, err := wire.AppendMessageFrame(nil, p.Updates.Body(update), string(p.Updates.Name), nonce(p.Method))
	if err == nil {
		frame, err = wire.AppendMetadata(frame, metadata)
	}
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "cannot encode update of %s: %w", p.Method.FullName(), err)
	}
	return frame, nil
}

// Publish publishes a frame from Encode. The topic must be valid for the method. If the bus fails,
// Publish returns an error with [errors.CallFacts].
func (p *Publisher) Publish(ctx context.Context, topic []string, frame []byte) error {
	to := p.defaultChannel
	if len(topic) > 0 {
		to = channel(p.Method, topic)
	}
	if err := p.bus.Publish(ctx, to, frame, nil); err != nil {
		return busError(p.Method, topic, err)
	}
	return nil
}

// busError returns the error for a call of the bus that has failed with err.
func busError(method *registry.Method, topic []string, err error) error {
	classified, reason := transport.ClassifyError(err)
	return errors.WithFacts(classified, errors.CallFacts{
		Method: method.FullName(), Topic: topic, Phase: errors.PhasePublish, Reason: reason,
	})
}

// nonce returns a random nonce for an update. The nonce makes the frames of identical updates
// different. On Redis, the members of a queue use the hash of a frame to agree on which member
// handles the frame. For five seconds, they drop identical frames as duplicates. If all subscribers
// receive the update, no nonce is needed, and nonce returns 0.
func nonce(method *registry.Method) uint64 {
	if method.Routing() == registry.RoutingMulti {
		return 0
	}
	return rand.Uint64() | 1 //nolint:gosec // not a secret; setting the lowest bit makes it nonzero
}
