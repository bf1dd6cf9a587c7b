package gateway

import (
	"context"
	"strings"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// FailedServersTrailer is the trailer with the IDs of the servers that have failed in a multi call,
// while others have answered. In Connect, gRPC and gRPC-Web, a stream cannot carry an error for
// each server.
const FailedServersTrailer = "Psrpc-Failed-Servers"

// streamTypeOf returns Connect's type of stream for a kind of method.
func streamTypeOf(kind registry.Kind) connect.StreamType {
	switch kind {
	case registry.KindMulti, registry.KindSubscription:
		return connect.StreamTypeServer
	case registry.KindStream:
		return connect.StreamTypeBidi
	default:
		return connect.StreamTypeUnary
	}
}

// connectMethod returns the method in the form that a connect.Server needs.
func (g *Gateway) connectMethod(path string, method *registry.Method) connect.Method {
	return connect.Method{
		Spec: connect.Spec{
			Procedure: path, Schema: method.Descriptor(), StreamType: streamTypeOf(method.Kind()),
			IdempotencyLevel: idempotencyOf(method),
		},
		Handler: g.serveConnect,
	}
}

// serveConnect serves a call by Connect, gRPC or gRPC-Web.
func (g *Gateway) serveConnect(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
	in, _ := ctx.Value(incomingKey{}).(*incoming)
	info, ok := connect.CallInfoForServerContext(ctx)
	if in == nil || !ok {
		return connect.NewError(connect.CodeInternal, "the request has not passed through the gateway")
	}
	client := &connectClient{stream: stream, info: info}
	c := &call{gateway: g, in: in, client: client, json: info.Codec == connect.CodecNameJSON}
	err := c.run(ctx)
	if len(client.failedServers) > 0 {
		info.ResponseTrailer().Set(FailedServersTrailer, strings.Join(client.failedServers, ","))
		if err == nil && !client.sent {
			err = client.firstError
			in.err = err
		}
	}
	if err != nil {
		setRetryAfter(info.ResponseHeader(), err)
	}
	return g.options.connectError(err)
}

// connectClient is the client of a call by Connect, gRPC or gRPC-Web.
type connectClient struct {
	stream        connect.ServerStream
	info          *connect.CallInfo
	sent          bool
	failedServers []string
	firstError    error
}

func (c *connectClient) receive() ([]byte, error) {
	var message payload
	err := c.stream.Receive(&message)
	return message.data, err
}

func (c *connectClient) opened() error { return c.stream.SendHeaders() }

func (c *connectClient) send(message []byte, _ string) error {
	c.sent = true
	return c.stream.Send(&payload{message})
}

func (c *connectClient) describe(facts *errors.CallFacts) {
	if !c.sent {
		setFacts(c.info.ResponseHeader(), facts)
	}
}

func (c *connectClient) failed(serverID string, err error) error {
	if c.firstError == nil {
		c.firstError = err
	}
	c.failedServers = append(c.failedServers, serverID)
	return nil
}

var _ client = (*connectClient)(nil)

// idempotencyOf returns the option idempotency_level of the method, which allows GET requests.
func idempotencyOf(method *registry.Method) connect.IdempotencyLevel {
	options, ok := method.Descriptor().Options().(*descriptorpb.MethodOptions)
	if !ok {
		return connect.IdempotencyUnknown
	}
	switch options.GetIdempotencyLevel() {
	case descriptorpb.MethodOptions_NO_SIDE_EFFECTS:
		return connect.IdempotencyNoSideEffects
	case descriptorpb.MethodOptions_IDEMPOTENT:
		return connect.IdempotencyIdempotent
	default:
		return connect.IdempotencyUnknown
	}
}
