package dynamic

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// UnaryFunc calls one server, like [Client.Call]. It is the type of a field that [Bind] fills.
type UnaryFunc[Req, Resp proto.Message] func(
	ctx context.Context, request Req, opts ...RequestOption,
) (Resp, error)

// MultiFunc calls every server, like [Client.CallMulti]. It is the type of a field that [Bind]
// fills.
type MultiFunc[Req, Resp proto.Message] func(
	ctx context.Context, request Req, opts ...RequestOption,
) (<-chan *Response[Resp], error)

// StreamFunc opens a stream, like [Client.OpenStream]. It is the type of a field that [Bind] fills.
// Send is the request type of the method, and Recv is its response type.
type StreamFunc[Send, Recv proto.Message] func(
	ctx context.Context, opts ...RequestOption,
) (ClientStream[Send, Recv], error)

// SubscribeFunc subscribes to updates, like [Client.Subscribe]. It is the type of a field that
// [Bind] fills. The request message of the method is not used.
type SubscribeFunc[Resp proto.Message] func(
	ctx context.Context, opts ...RequestOption,
) (Subscription[Resp], error)

// TopicUnaryFunc is like [UnaryFunc] for a method whose topics have one part. Topic is string or a
// type defined as a string, such as type Region string.
type TopicUnaryFunc[Topic ~string, Req, Resp proto.Message] func(
	ctx context.Context, topic Topic, request Req, opts ...RequestOption,
) (Resp, error)

// TopicMultiFunc is like [MultiFunc] for a method whose topics have one part.
type TopicMultiFunc[Topic ~string, Req, Resp proto.Message] func(
	ctx context.Context, topic Topic, request Req, opts ...RequestOption,
) (<-chan *Response[Resp], error)

// TopicStreamFunc is like [StreamFunc] for a method whose topics have one part.
type TopicStreamFunc[Topic ~string, Send, Recv proto.Message] func(
	ctx context.Context, topic Topic, opts ...RequestOption,
) (ClientStream[Send, Recv], error)

// TopicSubscribeFunc is like [SubscribeFunc] for a method whose topics have one part.
type TopicSubscribeFunc[Topic ~string, Resp proto.Message] func(
	ctx context.Context, topic Topic, opts ...RequestOption,
) (Subscription[Resp], error)

// Topic2UnaryFunc is like [UnaryFunc] for a method whose topics have two parts. The order of the
// parts is that of the method's topic parameters.
type Topic2UnaryFunc[Part1, Part2 ~string, Req, Resp proto.Message] func(
	ctx context.Context, part1 Part1, part2 Part2, request Req, opts ...RequestOption,
) (Resp, error)

// Topic2MultiFunc is like [MultiFunc] for a method whose topics have two parts.
type Topic2MultiFunc[Part1, Part2 ~string, Req, Resp proto.Message] func(
	ctx context.Context, part1 Part1, part2 Part2, request Req, opts ...RequestOption,
) (<-chan *Response[Resp], error)

// Topic2StreamFunc is like [StreamFunc] for a method whose topics have two parts.
type Topic2StreamFunc[Part1, Part2 ~string, Send, Recv proto.Message] func(
	ctx context.Context, part1 Part1, part2 Part2, opts ...RequestOption,
) (ClientStream[Send, Recv], error)

// Topic2SubscribeFunc is like [SubscribeFunc] for a method whose topics have two parts.
type Topic2SubscribeFunc[Part1, Part2 ~string, Resp proto.Message] func(
	ctx context.Context, part1 Part1, part2 Part2, opts ...RequestOption,
) (Subscription[Resp], error)

// bindMethod implements bindable.
func (c *Client[Req, Resp]) bindMethod(conn *Conn, method *registry.Method) error {
	plan, err := newClientPlan[Req, Resp](context.Background(), conn.engine, &conn.options, method)
	if coded, ok := errors.AsType[errors.Error](err); ok && coded.Code() == errors.InvalidArgument {
		return fmt.Errorf("%w: use %s", err, wantedField(method))
	} else if err != nil {
		return err
	}
	c.plan = plan
	return nil
}

// newBoundClient returns the client that a function in a bound field calls. kind and topicParts
// describe the type of the function. If they do not match the method, newBoundClient returns an
// error.
func newBoundClient[Req, Resp proto.Message](
	c *Conn, method *registry.Method, kind registry.Kind, topicParts int,
) (*Client[Req, Resp], error) {
	if actual := method.Kind(); actual != kind {
		return nil, fmt.Errorf("the method is a %s, not a %s: use %s", kindNouns[actual], kindNouns[kind], wantedField(method))
	}
	if actual := method.TopicParts(); actual != topicParts {
		return nil, fmt.Errorf("the method takes %s, but the function takes %s: use %s",
			describeTopic(actual), describeTopic(topicParts), wantedField(method))
	}
	client := &Client[Req, Resp]{}
	return client, client.bindMethod(c, method)
}

// describeTopic describes a topic with the given number of parts, for an error message.
func describeTopic(parts int) string {
	switch parts {
	case 0:
		return "no topic"
	case 1:
		return "a topic of one part"
	default:
		return fmt.Sprintf("a topic of %d parts", parts)
	}
}

// wantedField returns the type that the field for a method should have, as Go source code for an
// error message.
func wantedField(method *registry.Method) string {
	request, response := goTypeName(method, method.Input()), goTypeName(method, method.Output())
	topicParts := method.TopicParts()
	if topicParts > 2 {
		return fmt.Sprintf("*dynamic.Client[%s, %s]", request, response)
	}
	prefix, parts := []string{"", "Topic", "Topic2"}[topicParts], strings.Repeat("string, ", topicParts)
	if method.Kind() == registry.KindSubscription {
		return fmt.Sprintf("dynamic.%sSubscribeFunc[%s%s]", prefix, parts, response)
	}
	function := map[registry.Kind]string{
		registry.KindSingle: "Unary", registry.KindMulti: "Multi", registry.KindStream: "Stream",
	}[method.Kind()]
	return fmt.Sprintf("dynamic.%s%sFunc[%s%s, %s]", prefix, function, parts, request, response)
}

// The methods below implement bindable. Bind calls one of them for each field. The functions that
// they set call the client without reflection.

func (f *UnaryFunc[Req, Resp]) bindMethod(c *Conn, method *registry.Method) error {
	client, err := newBoundClient[Req, Resp](c, method, registry.KindSingle, 0)
	*f = client.Call
	return err
}

func (f *MultiFunc[Req, Resp]) bindMethod(c *Conn, method *registry.Method) error {
	client, err := newBoundClient[Req, Resp](c, method, registry.KindMulti, 0)
	*f = client.CallMulti
	return err
}

func (f *StreamFunc[Send, Recv]) bindMethod(c *Conn, method *registry.Method) error {
	client, err := newBoundClient[Send, Recv](c, method, registry.KindStream, 0)
	*f = client.OpenStream
	return err
}

func (f *SubscribeFunc[Resp]) bindMethod(c *Conn, method *registry.Method) error {
	client, err := newBoundClient[proto.Message, Resp](c, method, registry.KindSubscription, 0)
	*f = client.Subscribe
	return err
}

func (f *TopicUnaryFunc[Topic, Req, Resp]) bindMethod(c *Conn, method *registry.Method) error {
	client, err := newBoundClient[Req, Resp](c, method, registry.KindSingle, 1)
	*f = func(ctx context.Context, topic Topic, request Req, opts ...RequestOption) (Resp, error) {
		return client.Topic(string(topic)).Call(ctx, request, opts...)
	}
	return err
}

func (f *TopicMultiFunc[Topic, Req, Resp]) bindMethod(c *Conn, method *registry.Method) error {
	client, err := newBoundClient[Req, Resp](c, method, registry.KindMulti, 1)
	*f = func(ctx context.Context, topic Topic, request Req, opts ...RequestOption) (<-chan *Response[Resp], error) {
		return client.Topic(string(topic)).CallMulti(ctx, request, opts...)
	}
	return err
}

func (f *TopicStreamFunc[Topic, Send, Recv]) bindMethod(c *Conn, method *registry.Method) error {
	client, err := newBoundClient[Send, Recv](c, method, registry.KindStream, 1)
	*f = func(ctx context.Context, topic Topic, opts ...RequestOption) (ClientStream[Send, Recv], error) {
		return client.Topic(string(topic)).OpenStream(ctx, opts...)
	}
	return err
}

func (f *TopicSubscribeFunc[Topic, Resp]) bindMethod(c *Conn, method *registry.Method) error {
	client, err := newBoundClient[proto.Message, Resp](c, method, registry.KindSubscription, 1)
	*f = func(ctx context.Context, topic Topic, opts ...RequestOption) (Subscription[Resp], error) {
		return client.Topic(string(topic)).Subscribe(ctx, opts...)
	}
	return err
}

func (f *Topic2UnaryFunc[Part1, Part2, Req, Resp]) bindMethod(c *Conn, method *registry.Method) error {
	client, err := newBoundClient[Req, Resp](c, method, registry.KindSingle, 2)
	*f = func(ctx context.Context, part1 Part1, part2 Part2, request Req, opts ...RequestOption) (Resp, error) {
		return client.Topic(string(part1), string(part2)).Call(ctx, request, opts...)
	}
	return err
}

func (f *Topic2MultiFunc[Part1, Part2, Req, Resp]) bindMethod(c *Conn, method *registry.Method) error {
	client, err := newBoundClient[Req, Resp](c, method, registry.KindMulti, 2)
	*f = func(ctx context.Context, part1 Part1, part2 Part2, request Req, opts ...RequestOption) (<-chan *Response[Resp], error) {
		return client.Topic(string(part1), string(part2)).CallMulti(ctx, request, opts...)
	}
	return err
}

func (f *Topic2StreamFunc[Part1, Part2, Send, Recv]) bindMethod(c *Conn, method *registry.Method) error {
	client, err := newBoundClient[Send, Recv](c, method, registry.KindStream, 2)
	*f = func(ctx context.Context, part1 Part1, part2 Part2, opts ...RequestOption) (ClientStream[Send, Recv], error) {
		return client.Topic(string(part1), string(part2)).OpenStream(ctx, opts...)
	}
	return err
}

func (f *Topic2SubscribeFunc[Part1, Part2, Resp]) bindMethod(c *Conn, method *registry.Method) error {
	client, err := newBoundClient[proto.Message, Resp](c, method, registry.KindSubscription, 2)
	*f = func(ctx context.Context, part1 Part1, part2 Part2, opts ...RequestOption) (Subscription[Resp], error) {
		return client.Topic(string(part1), string(part2)).Subscribe(ctx, opts...)
	}
	return err
}
