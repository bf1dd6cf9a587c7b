package fastdecode_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/dynamictest"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fastdecode"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const chats = `
syntax = "proto3";
package chat;
import "options.proto";
message Line { string text = 1; repeated Line replies = 2; }
service Chats {
  rpc Say(Line) returns (Line);
  rpc Talk(Line) returns (Line) { option (psrpc.options).stream = true; }
}
`

// loose declares the same service as chats, but with a field of type bytes instead of string. A
// client that uses it can send text that is not UTF-8.
const loose = `
syntax = "proto3";
package chat;
message Line { bytes text = 1; }
service Chats { rpc Say(Line) returns (Line); }
`

func newRegistry(t testing.TB, source string) *registry.Registry {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"chat.proto": {Data: []byte(source)}}, "chat.proto"))
	return reg
}

// patient makes calls wait longer than usual, because the machine may be busy.
var patient = dynamictest.WithConnOptions(
	dynamic.WithSelectionTimeout(time.Minute), dynamic.WithClientTimeout(time.Minute))

// newConn starts a server with the handlers and returns a conn to it. source is the .proto source
// that the client uses.
func newConn(t testing.TB, handlers dynamic.Handlers, source string) *dynamic.Conn {
	t.Helper()
	service, _ := newRegistry(t, chats).Service("chat.Chats")
	return dynamictest.Serve(t, service, handlers, dynamictest.WithRegistry(newRegistry(t, source)), patient)
}

func say(t testing.TB, conn *dynamic.Conn, line map[string]any) (proto.Message, error) {
	t.Helper()
	return dynamic.Invoke(t.Context(), conn, "chat.Chats/Say", line)
}

func textOf(message proto.Message) string {
	reflected := message.ProtoReflect()
	return reflected.Get(reflected.Descriptor().Fields().ByName("text")).String()
}

func echo(_ context.Context, request proto.Message) (proto.Message, error) { return request, nil }

func TestRequests_CanBeTheResponse(t *testing.T) {
	t.Parallel()
	conn := newConn(t, dynamic.Handlers{"Say": dynamic.Unary(echo, fastdecode.Requests())}, chats)
	response, err := say(t, conn, map[string]any{"text": "hi", "replies": []any{map[string]any{"text": "ho"}}})
	require.NoError(t, err)
	assert.Equal(t, "hi", textOf(response))
	replies := response.ProtoReflect().Descriptor().Fields().ByName("replies")
	assert.Equal(t, "ho", textOf(response.ProtoReflect().Get(replies).List().Get(0).Message().Interface()))
}

func TestRequests_AreReadOnly(t *testing.T) {
	t.Parallel()
	change := func(_ context.Context, request proto.Message) (proto.Message, error) {
		if _, plain := request.(*dynamicpb.Message); plain {
			panic("this would work")
		}
		reflected := request.ProtoReflect()
		reflected.Set(reflected.Descriptor().Fields().ByName("text"), protoreflect.ValueOfString("ho"))
		return request, nil
	}
	conn := newConn(t, dynamic.Handlers{"Say": dynamic.Unary(change, fastdecode.Requests())}, chats)
	for range 2 { // twice, because the server must survive the first panic
		_, err := say(t, conn, map[string]any{"text": "hi"})
		requireCode(t, errors.Internal, err)
	}
}

func TestRequests_Malformed(t *testing.T) {
	t.Parallel()
	conn := newConn(t, dynamic.Handlers{"Say": dynamic.Unary(echo, fastdecode.Requests())}, loose)
	_, err := say(t, conn, map[string]any{"text": "/w=="}) // bytes that are not UTF-8
	requireCode(t, errors.MalformedRequest, err)
	_, err = say(t, conn, map[string]any{"text": "aGk="})
	require.NoError(t, err)
}

func TestRequests_OfStreams(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	talk := func(stream dynamic.ServerStream[proto.Message, proto.Message]) error {
		for message := range stream.Channel() {
			got <- textOf(message)
			return stream.Send(message)
		}
		return stream.Err()
	}
	conn := newConn(t, dynamic.Handlers{"Talk": dynamic.Stream(talk, fastdecode.Requests())}, chats)
	client, err := dynamic.NewClient[*dynamicpb.Message, *dynamicpb.Message](conn, "chat.Chats/Talk")
	require.NoError(t, err)
	stream, err := client.OpenStream(t.Context())
	require.NoError(t, err)
	method, _ := newRegistry(t, chats).Method("chat.Chats/Talk")
	message := dynamicpb.NewMessage(method.Input())
	message.Set(method.Input().Fields().ByName("text"), protoreflect.ValueOfString("hi"))
	require.NoError(t, stream.Send(message))
	assert.Equal(t, "hi", <-got)
	assert.Equal(t, "hi", textOf(<-stream.Channel()))
}

func TestRequests_NeedAHandlerOfMessages(t *testing.T) {
	t.Parallel()
	service, _ := newRegistry(t, chats).Service("chat.Chats")
	server := dynamic.NewServer(bus.NewLocal())
	t.Cleanup(server.Kill)
	for name, handler := range map[string]dynamic.Handler{
		"dynamicpb": dynamic.Unary(func(_ context.Context, request *dynamicpb.Message) (*dynamicpb.Message, error) {
			return request, nil
		}, fastdecode.Requests()),
		"raw": dynamic.Raw(func(context.Context, *registry.Method, []byte) ([]byte, error) { return nil, nil },
			fastdecode.Requests()),
	} {
		_, err := server.Register(service, dynamic.Handlers{"Say": handler}, dynamic.AllowMissing())
		requireCode(t, errors.InvalidArgument, err)
		assert.ErrorContains(t, err, "WithRequestDecoder: wanted a function that takes proto.Message", name)
	}
}

// TestRequests_OfALinkedType checks that the handler does not receive the generated Go type,
// although the program contains it.
func TestRequests_OfALinkedType(t *testing.T) {
	t.Parallel()
	const source = `
syntax = "proto3";
package linked;
import "google/protobuf/wrappers.proto";
service Linked { rpc Echo(google.protobuf.StringValue) returns (google.protobuf.StringValue); }
`
	reg := newRegistry(t, source)
	service, _ := reg.Service("linked.Linked")
	conn := dynamictest.Serve(t, service, dynamic.Handlers{
		"Echo": dynamic.Unary(func(_ context.Context, request proto.Message) (proto.Message, error) {
			assert.NotImplements(t, (*interface{ GetValue() string })(nil), request)
			return request, nil
		}, fastdecode.Requests()),
	}, patient)
	response, err := dynamic.Invoke(t.Context(), conn, "linked.Linked/Echo", wrapperspb.String("hi"))
	require.NoError(t, err)
	assert.True(t, proto.Equal(wrapperspb.String("hi"), response), "%T %v", response, response)
}

func requireCode(t testing.TB, code errors.ErrorCode, err error) {
	t.Helper()
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok, "%T: %v", err, err)
	require.Equal(t, code, coded.Code(), err)
}

const extended = `syntax = "proto2"; package chat; import "options.proto";
message Line { optional string text = 1; repeated Line replies = 2; optional Plain plain = 3; extensions 100 to 199; }
message Plain { optional string text = 1; }
extend Line { optional Line note = 100; }
service Chats {
  rpc Say(Line) returns (Line);
  rpc Talk(Line) returns (Line) { option (psrpc.options).stream = true; }
}`

func TestRequests_ExtensionsOfTheRegistry(t *testing.T) {
	t.Parallel()
	const lines = `{"text": "a", "replies": [{"[chat.note]": {"text": "b", "[chat.note]": {"text": "c"}}}], "[chat.note]": {"text": "d"}}`
	reg := newRegistry(t, extended)
	service, _ := reg.Service("chat.Chats")
	check := func(message proto.Message) {
		text, err := protojson.MarshalOptions{Resolver: reg}.Marshal(message)
		require.NoError(t, err)
		assert.JSONEq(t, lines, string(text))
	}
	conn := dynamictest.Serve(t, service, dynamic.Handlers{
		"Say": dynamic.Unary(func(_ context.Context, request proto.Message) (proto.Message, error) {
			check(request)
			return request, nil
		}, fastdecode.Requests()),
		"Talk": dynamic.Stream(func(stream dynamic.ServerStream[proto.Message, proto.Message]) error {
			request := <-stream.Channel()
			check(request)
			return stream.Send(request)
		}, fastdecode.Requests()),
	}, dynamictest.WithRegistry(reg), patient)
	response, err := dynamic.Invoke(t.Context(), conn, "chat.Chats/Say", json.RawMessage(lines))
	require.NoError(t, err)
	check(response)
	stream, err := dynamic.InvokeStream(t.Context(), conn, "chat.Chats/Talk")
	require.NoError(t, err)
	require.NoError(t, stream.Send(json.RawMessage(lines)))
	check(<-stream.Channel())
}
