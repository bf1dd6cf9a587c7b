package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Invoke calls the method with this full name, such as "my.pkg.MyService/NormalRPC", and returns
// its response: the generated Go type if it is linked into the program, or else a
// *dynamicpb.Message.
//
// The request is one of
//
//   - a proto.Message of the method's request type;
//   - a json.RawMessage or a map[string]any in protobuf's JSON mapping; an Any in it may hold any
//     type of the conn's registry;
//   - nil, for an empty message.
//
// A request that cannot be converted to the method's request type fails with the code
// invalid_argument and is not sent. Other errors are those of [Client.Call].
func Invoke(ctx context.Context, c *Conn, name string, request any, opts ...RequestOption) (proto.Message, error) {
	plan, message, err := c.resolveInvocation(ctx, name, request)
	if err != nil {
		return nil, err
	}
	return plan.call(ctx, nil, message, opts)
}

// InvokeMulti sends a request to every server, as [Client.CallMulti] does. For name and request see
// [Invoke].
func InvokeMulti(
	ctx context.Context, c *Conn, name string, request any, opts ...RequestOption,
) (<-chan *Response[proto.Message], error) {
	plan, message, err := c.resolveInvocation(ctx, name, request)
	if err != nil {
		return nil, err
	}
	return (&Client[proto.Message, proto.Message]{plan: plan}).CallMulti(ctx, message, opts...)
}

// InvokeSubscribe subscribes to the updates of a method, as [Client.Subscribe] does. For name see
// [Invoke].
func InvokeSubscribe(ctx context.Context, c *Conn, name string, opts ...RequestOption) (Subscription[proto.Message], error) {
	plan, err := c.methodPlan(ctx, name)
	if err != nil {
		return nil, err
	}
	return (&Client[proto.Message, proto.Message]{plan: plan}).Subscribe(ctx, opts...)
}

// InvokedStream is a stream that sends every kind of message that [Invoke] accepts as a request.
type InvokedStream struct {
	ClientStream[proto.Message, proto.Message]

	plan *clientPlan
}

// InvokeStream opens a stream, as [Client.OpenStream] does. For name see [Invoke].
func InvokeStream(ctx context.Context, c *Conn, name string, opts ...RequestOption) (*InvokedStream, error) {
	plan, err := c.methodPlan(ctx, name)
	if err != nil {
		return nil, err
	}
	stream, err := (&Client[proto.Message, proto.Message]{plan: plan}).OpenStream(ctx, opts...)
	if err != nil {
		return nil, err
	}
	return &InvokedStream{stream, plan}, nil
}

// Send sends a message, as [ClientStream] does. It accepts the same types as [Invoke]. A message
// that cannot be converted to the method's type fails with the code invalid_argument and is not
// sent.
func (s *InvokedStream) Send(message any, opts ...StreamOption) error {
	converted, err := s.plan.requests.From(s.plan.conn.registry, message)
	if err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "message of stream %s: %w", s.plan.method.FullName(), err)
	}
	return s.ClientStream.Send(converted, opts...)
}
