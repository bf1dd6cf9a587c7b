package dynamic_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// interceptedSource declares a service with one method of each kind.
const interceptedSource = `
syntax = "proto3";
package seen;
import "options.proto";
import "google/protobuf/wrappers.proto";

service Through {
  rpc Echo(google.protobuf.StringValue) returns (google.protobuf.StringValue);
  rpc Region(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).topics = true;
  }
  rpc All(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).type = MULTI; }
  rpc Flow(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).stream = true; }
  rpc Feed(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).subscription = true;
    option (psrpc.options).type = MULTI;
  }
}
`

const (
	seenEcho   = "seen.Through/Echo"
	seenRegion = "seen.Through/Region"
	seenAll    = "seen.Through/All"
	seenFlow   = "seen.Through/Flow"
	seenFeed   = "seen.Through/Feed"
)

// seenWorld is a bus with one server and one conn, both of which have interceptors.
type seenWorld struct {
	*world

	service *dynamic.Registration
}

// with holds the options of a seenWorld. A method without a handler gets one that returns the
// request.
type with struct {
	server   []dynamic.ServerOption
	register []dynamic.ServiceOption
	conn     []dynamic.ConnOption
	handlers dynamic.Handlers
}

func newSeenWorld(t testing.TB, w with) *seenWorld {
	t.Helper()
	return newSeenWorldOn(t, bus.NewLocal(), w)
}

func newSeenWorldOn(t testing.TB, b bus.Bus, w with) *seenWorld {
	t.Helper()
	reg := newRegistry(t, interceptedSource)
	server := dynamic.NewServer(b, append([]dynamic.ServerOption{dynamic.WithServerID("SRV_seen"), dynamic.WithLogger(discard)}, w.server...)...)
	handlers := dynamic.Handlers{
		"Echo": dynamic.Unary(echoHandler), "Region": dynamic.Unary(echoHandler), "All": dynamic.Unary(echoHandler),
		"Flow": dynamic.Stream(echoFlow),
	}
	maps.Copy(handlers, w.handlers)
	service, err := server.Register(descriptor(t, reg, "seen.Through"), handlers, w.register...)
	require.NoError(t, err)
	conn, err := dynamic.NewConn(b, reg, append([]dynamic.ConnOption{patientConn, dynamic.WithLogger(discard)}, w.conn...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		require.NoError(t, server.Shutdown(context.Background()))
		require.NoError(t, b.Close())
	})
	return &seenWorld{&world{bus: b, registry: reg, server: server, conn: conn}, service}
}

// trail records the steps of a test in order.
type trail struct {
	mu    sync.Mutex
	steps []string
}

func (l *trail) add(step string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.steps = append(l.steps, step)
}

func (l *trail) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.steps)
}

// marked returns a copy of a text message with a mark appended to its text.
func marked(message proto.Message, mark string) proto.Message {
	return say(body(message) + mark)
}

func body(message proto.Message) string { return message.(text).GetValue() }

// asDynamic returns a copy of a message as a dynamic message.
func asDynamic(message proto.Message) proto.Message {
	copied := dynamicpb.NewMessage(message.ProtoReflect().Descriptor())
	encoded, _ := proto.Marshal(message)
	_ = proto.Unmarshal(encoded, copied)
	return copied
}

// otherMessage has a type that none of the methods accept.
var otherMessage = wrapperspb.Int32(1)

// multiFuncs is a handler whose methods call the functions in its fields. If a field is nil, the
// method calls the next handler.
type multiFuncs struct {
	dynamic.ClientMultiRPCHandler

	send  func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error
	recv  func(response proto.Message, err error)
	close func()
}

func (m multiFuncs) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	if m.send == nil {
		return m.ClientMultiRPCHandler.Send(ctx, request, opts...)
	}
	return m.send(ctx, request, opts...)
}

func (m multiFuncs) Recv(response proto.Message, err error) {
	if m.recv == nil {
		m.ClientMultiRPCHandler.Recv(response, err)
		return
	}
	m.recv(response, err)
}

func (m multiFuncs) Close() {
	if m.close == nil {
		m.ClientMultiRPCHandler.Close()
		return
	}
	m.close()
}

// streamFuncs is a handler whose methods call the functions in its fields. If a field is nil, the
// method calls the next handler.
type streamFuncs struct {
	dynamic.StreamHandler

	recv  func(message proto.Message) error
	send  func(message proto.Message, opts ...dynamic.StreamOption) error
	close func(cause error) error
}

func (s streamFuncs) Recv(message proto.Message) error {
	if s.recv == nil {
		return s.StreamHandler.Recv(message)
	}
	return s.recv(message)
}

func (s streamFuncs) Send(message proto.Message, opts ...dynamic.StreamOption) error {
	if s.send == nil {
		return s.StreamHandler.Send(message, opts...)
	}
	return s.send(message, opts...)
}

func (s streamFuncs) Close(cause error) error {
	if s.close == nil {
		return s.StreamHandler.Close(cause)
	}
	return s.close(cause)
}
