package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Invoke calls the method whose full name is name, such as "my.pkg.MyService/NormalRPC", and
// returns its response. If the program contains a generated Go type with the same schema, the
// response has that type. Otherwise, it is a *dynamicpb.Message.
//
// The request can be one of the following:
//
//   - a proto.Message of the method's request type;
//   - a json.RawMessage or a map[string]any in the protobuf JSON mapping, where an Any may contain
//     any type in the conn's registry;
//   - nil, for an empty message.
//
// A map may contain messages, time.Time and time.Duration values at any depth. A message in a map
// must be of the type of its field, unless the field is an Any, Struct or Value. It must not have
// unknown fields, because the conversion to JSON would lose them. A duration in a numeric field is
// sent in nanoseconds.
//
// If JSON or a map contains a field that the schema does not have, Invoke returns an error, unless
// [WithDiscardUnknown] is used.
//
// If the request cannot be converted to the method's request type, it is not sent, and Invoke fails
// with the code [errors.InvalidArgument]. Otherwise, Invoke returns the same errors as [NewClient]
// and [Client.Call].
func Invoke(ctx context.Context, c *Conn, name string, request any, opts ...RequestOption) (proto.Message, error) {
	plan, message, err := c.resolveInvocation(ctx, name, request, opts)
	if err != nil {
		return nil, err
	}
	return plan.call(ctx, nil, message, opts)
}

// InvokeMulti sends a request to every server, like [Client.CallMulti]. The name and the request
// are as described for [Invoke].
func InvokeMulti(
	ctx context.Context, c *Conn, name string, request any, opts ...RequestOption,
) (<-chan *Response[proto.Message], error) {
	plan, message, err := c.resolveInvocation(ctx, name, request, opts)
	if err != nil {
		return nil, err
	}
	return (&Client[proto.Message, proto.Message]{plan: plan}).CallMulti(ctx, message, opts...)
}

// InvokeSubscribe subscribes to the updates of a method, like [Client.Subscribe]. The name is as
// described for [Invoke].
func InvokeSubscribe(ctx context.Context, c *Conn, name string, opts ...RequestOption) (Subscription[proto.Message], error) {
	plan, err := c.methodPlan(ctx, name)
	if err != nil {
		return nil, err
	}
	return (&Client[proto.Message, proto.Message]{plan: plan}).Subscribe(ctx, opts...)
}

// InvokedStream is a stream whose Send method accepts every kind of message that [Invoke] accepts
// as a request.
type InvokedStream struct {
	ClientStream[proto.Message, proto.Message]

	plan *clientPlan
	// discardUnknown reports whether Send ignores unknown fields; see [WithDiscardUnknown].
	discardUnknown bool
}

// InvokeStream opens a stream, like [Client.OpenStream]. The name is as described for [Invoke].
func InvokeStream(ctx context.Context, c *Conn, name string, opts ...RequestOption) (*InvokedStream, error) {
	plan, err := c.methodPlan(ctx, name)
	if err != nil {
		return nil, err
	}
	stream, err := (&Client[proto.Message, proto.Message]{plan: plan}).OpenStream(ctx, opts...)
	if err != nil {
		return nil, err
	}
	return &InvokedStream{stream, plan, c.discardsUnknown(opts)}, nil
}

// Send sends a message, like the Send method of [ClientStream]. It accepts every kind of message
// that [Invoke] accepts as a request. If the message cannot be converted to the method's request
// type, it is not sent, and Send fails with the code [errors.InvalidArgument].
func (s *InvokedStream) Send(message any, opts ...StreamOption) error {
	converted, err := s.plan.requests.From(message, s.discardUnknown)
	if err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "message of stream %s: %w", s.plan.method.FullName(), err)
	}
	return s.ClientStream.Send(converted, opts...)
}
