package dynamic

import (
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Invoke calls the method with this full name, such as "my.pkg.MyService/NormalRPC", and returns its response:
// the Go type that is linked for it, or else a *dynamicpb.Message.
//
// The request is a proto.Message; a json.RawMessage or a map[string]any in protobuf's JSON mapping, whose Any
// values may hold types of the conn's registry; or nil for an empty message. A request that does not fit the
// method fails with the code invalid_argument and is not sent. Other errors are those of [Client.Call].
func Invoke(ctx context.Context, c *Conn, name string, request any, opts ...RequestOption) (proto.Message, error) {
	method, err := c.invokedMethod(name)
	if err != nil {
		return nil, err
	}
	if err := method.checkSingle(); err != nil {
		return nil, err
	}
	message, err := method.message(request)
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "request of %s: %w", method.method.FullName(), err)
	}
	return method.call(ctx, message, newRequestOptions(opts))
}

// invokedMethod returns the plan of a method, made when it is first used, or when the registry has a new one by
// that name.
func (c *Conn) invokedMethod(name string) (*clientMethod, error) {
	method, err := c.method(name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	plan := c.methods[method.FullName()]
	c.mu.Unlock()
	if plan != nil && plan.method == method {
		return plan, nil
	}
	if plan, err = newClientMethod[proto.Message, proto.Message](c, method); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.ErrClientClosed
	}
	c.methods[method.FullName()] = plan
	return plan, nil
}

// message makes a request of what Invoke takes.
func (m *clientMethod) message(request any) (proto.Message, error) {
	switch request := request.(type) {
	case nil:
		return m.requests.new(), nil
	case proto.Message:
		return request, nil
	case json.RawMessage:
		return m.messageFromJSON(request)
	case map[string]any:
		encoded, err := json.Marshal(request)
		if err != nil {
			return nil, err
		}
		return m.messageFromJSON(encoded)
	default:
		return nil, fmt.Errorf("a %T is no proto.Message, json.RawMessage or map[string]any", request)
	}
}

func (m *clientMethod) messageFromJSON(encoded []byte) (proto.Message, error) {
	message := m.requests.new()
	options := protojson.UnmarshalOptions{Resolver: m.conn.registry}
	if err := options.Unmarshal(encoded, message); err != nil {
		return nil, fmt.Errorf("the JSON does not fit message %s: %w", m.requests.name, err)
	}
	return message, nil
}
