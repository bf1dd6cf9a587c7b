package dynamic_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

type (
	dyn       = *dynamicpb.Message
	anyMsg    = proto.Message
	number    = *wrapperspb.Int64Value
	embedding struct{ wrapperspb.StringValue }
	// wider is an interface that generated messages implement and dynamic messages do not.
	wider interface {
		proto.Message
		GetValue() string
	}
)

// identity returns a handler whose response is the request.
func identity[M proto.Message](opts ...dynamic.HandlerOption) dynamic.Handler {
	return dynamic.Unary(func(_ context.Context, request M) (M, error) { return request, nil }, opts...)
}

// fits returns a handler that takes a Req and returns an empty Resp.
func fits[Req, Resp proto.Message]() dynamic.Handler {
	return dynamic.Unary(func(context.Context, Req) (resp Resp, err error) { return resp, nil })
}

func rawIdentity(_ context.Context, _ *registry.Method, request []byte) ([]byte, error) {
	return request, nil
}

// TestHandlers_AllTypesGiveTheSame checks that every combination of handler type and client type
// returns the same response.
func TestHandlers_AllTypesGiveTheSame(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]dynamic.Handler{
		"typed": identity[text](), "dynamic": identity[dyn](), "message": identity[anyMsg](),
		"interface": identity[wider](), "raw": dynamic.Raw(rawIdentity),
		"dynamic to typed": dynamic.Unary(func(_ context.Context, request dyn) (text, error) {
			value := request.Get(request.Descriptor().Fields().ByName("value")).String()
			return wrapperspb.String(value), nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serve(t, dynamic.Handlers{"Echo": handler})
			m, _ := w.registry.Method(echo)
			dynamicRequest := dynamicpb.NewMessage(m.Input())
			require.NoError(t, protojson.Unmarshal([]byte(`"hi"`), dynamicRequest))

			requireEcho(t, callAs[text, text](t, w, wrapperspb.String("hi")))
			requireEcho(t, callAs[dyn, dyn](t, w, dynamicRequest))
			requireEcho(t, callAs[dyn, text](t, w, dynamicRequest))
			requireEcho(t, callAs[text, dyn](t, w, wrapperspb.String("hi")))
			requireEcho(t, callAs[wider, wider](t, w, wrapperspb.String("hi")))
			response := callAs[anyMsg, anyMsg](t, w, dynamicRequest)
			assert.IsType(t, wrapperspb.String(""), response, "the linked type")
			requireEcho(t, response)
			requireEcho(t, callAs[anyMsg, anyMsg](t, w, wrapperspb.String("hi")))
		})
	}
}

func callAs[Req, Resp proto.Message](t testing.TB, w *world, request Req) Resp {
	t.Helper()
	client, err := dynamic.NewClient[Req, Resp](w.conn, echo)
	require.NoError(t, err)
	response, err := client.Call(t.Context(), request)
	require.NoError(t, err)
	return response
}

func requireEcho(t testing.TB, response proto.Message) {
	t.Helper()
	encoded, err := proto.Marshal(response)
	require.NoError(t, err)
	require.Equal(t, encodedText(t, "hi"), encoded)
}

// TestHandlers_UnlinkedType serves a method whose messages have no Go type. A handler of
// proto.Message receives dynamic messages.
func TestHandlers_UnlinkedType(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]dynamic.Handler{
		"dynamic": dynamic.Unary(func(_ context.Context, request dyn) (dyn, error) { return repeated(request), nil }),
		"message": dynamic.Unary(func(_ context.Context, request anyMsg) (anyMsg, error) {
			return repeated(request.(*dynamicpb.Message)), nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serve(t, dynamic.Handlers{"Repeat": handler})
			response, err := dynamic.Invoke(t.Context(), w.conn, repeat, map[string]any{"name": "ho", "times": 3})
			require.NoError(t, err)
			assert.JSONEq(t, `{"lines": ["ho", "ho", "ho"]}`, protojson.Format(response))
		})
	}
}

// repeated returns the response of test.Echoes/Repeat: the name, as often as the request says.
func repeated(request *dynamicpb.Message) *dynamicpb.Message {
	fields := request.Descriptor().Fields()
	output := request.Descriptor().ParentFile().Messages().ByName("Response")
	response := dynamicpb.NewMessage(output)
	lines := response.Mutable(output.Fields().ByName("lines")).List()
	for range request.Get(fields.ByName("times")).Int() {
		lines.Append(request.Get(fields.ByName("name")))
	}
	return response
}

func TestRaw_Bytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var got []byte
	var gotMethod *registry.Method
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Raw(
		func(_ context.Context, method *registry.Method, request []byte) ([]byte, error) {
			got, gotMethod = request, method
			return encodedText(t, "bye"), nil
		},
	)})
	response, err := w.call(t, echo, "hi")
	require.NoError(t, err)
	assert.Equal(t, "bye", response)
	assert.Equal(t, encodedText(t, "hi"), got)
	assert.Equal(t, echo, gotMethod.FullName())
}

func TestHandlers_EmptyMessages(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]dynamic.Handler{
		"nil typed": fits[text, text](), "nil interface": fits[text, anyMsg](),
		"nil bytes":   dynamic.Raw(func(context.Context, *registry.Method, []byte) ([]byte, error) { return nil, nil }),
		"empty bytes": dynamic.Raw(func(context.Context, *registry.Method, []byte) ([]byte, error) { return []byte{}, nil }),
		"identity":    identity[text](),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serve(t, dynamic.Handlers{"Echo": handler})
			response, err := textClient(t, w.conn, echo).Call(t.Context(), nil)
			require.NoError(t, err)
			require.NotNil(t, response)
			assert.Empty(t, response.GetValue())
		})
	}
}

func TestHandlers_UnknownFieldsPassThrough(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	request := wrapperspb.String("hi")
	request.ProtoReflect().SetUnknown([]byte{0xa0, 0x06, 0x07})
	response, err := textClient(t, w.conn, echo).Call(t.Context(), request)
	require.NoError(t, err)
	assert.True(t, proto.Equal(request, response))
}

func TestUnary_ResponseOfAnotherMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{
		"Echo": dynamic.Unary(func(context.Context, text) (anyMsg, error) { return wrapperspb.Int64(1), nil }),
	})
	_, err := w.call(t, echo, "hi")
	coded := requireCode(t, errors.Internal, err)
	assert.Equal(t, "response of test.Echoes/Echo: wanted message google.protobuf.StringValue, "+
		"given google.protobuf.Int64Value", coded.Error())
}

func TestUnary_ResponseThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{
		"Echo": dynamic.Unary(func(context.Context, text) (text, error) { return wrapperspb.String("\xff"), nil }),
	})
	_, err := w.call(t, echo, "hi")
	assert.Contains(t, requireCode(t, errors.MalformedResponse, err).Error(), echo)
}

func TestUnary_ErrorWinsOverResponse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{
		"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
			return request, errors.NewErrorf(errors.Aborted, "no")
		}),
	})
	response, err := textClient(t, w.conn, echo).Call(t.Context(), wrapperspb.String("hi"))
	requireCode(t, errors.Aborted, err)
	assert.Nil(t, response)
}

// TestRegister_HandlersThatDoNotFit checks the error for each mistake. It must name the service,
// the method and the types.
func TestRegister_HandlersThatDoNotFit(t *testing.T) {
	t.Parallel()
	const (
		service   = "test.Echoes"
		wantText  = "wanted message google.protobuf.StringValue, given "
		givenText = "*wrapperspb.Int64Value, which is message google.protobuf.Int64Value"
	)
	for _, tt := range []struct {
		name, service, method string
		handler               dynamic.Handler
		want                  string
	}{
		{"request type", service, "Echo", fits[number, text](), "request type: " + wantText + givenText},
		{"response type", service, "Echo", fits[text, number](), "response type: " + wantText + givenText},
		{"both", service, "Echo", fits[number, number](), "request type: " + wantText + givenText},
		{
			"typed for unlinked", service, "Repeat", fits[text, dyn](),
			"request type: wanted message test.Request, given *wrapperspb.StringValue, which is message google.protobuf.StringValue",
		},
		{
			"interface", service, "Repeat", fits[wider, dyn](),
			"request type: *dynamicpb.Message for message test.Request is no dynamic_test.wider",
		},
		{"embedded", service, "Echo", fits[*embedding, text](), "*dynamic_test.embedding is no message type generated by protoc-gen-go"},
		{"nil", service, "Echo", nil, "the handler is nil"},
		{"nil function", service, "Echo", dynamic.Unary[text, text](nil), "the function is nil"},
		{"nil raw function", service, "Echo", dynamic.Raw(nil), "the function is nil"},
		{"unknown method", service, "NoSuch", identity[text](), "there is a handler, but no such method"},
		{"wire name", service, "echo", identity[text](), "there is a handler, but no such method"},
		{"subscription", "test.Kinds", "Feed", identity[dyn](), "the method is a subscription, not a call"},
		{"raw subscription", "test.Kinds", "Feed", dynamic.Raw(rawIdentity), "the method is a subscription, not a call"},
		{"stream", "test.Kinds", "Flow", identity[dyn](), "the method is a stream, not a call"},
		{"raw stream", "test.Kinds", "Flow", dynamic.Raw(rawIdentity), "the method is a stream, not a call: use dynamic.Stream"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newFakeBus()
			w := newWorldOn(t, b)
			registration, err := w.server.Register(descriptor(t, w.registry, tt.service),
				dynamic.Handlers{tt.method: tt.handler}, dynamic.AllowMissing())
			require.Nil(t, registration)
			requireCode(t, errors.InvalidArgument, err)
			assert.Contains(t, err.Error(), "service "+tt.service+", method "+tt.method+": ")
			assert.Contains(t, err.Error(), tt.want)
			assert.Empty(t, b.open())
		})
	}
}

// TestRegister_HandlersThatFit checks that Register accepts every valid pair of request and
// response types.
func TestRegister_HandlersThatFit(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]dynamic.Handler{
		"text, text": fits[text, text](), "text, dyn": fits[text, dyn](), "text, any": fits[text, anyMsg](),
		"dyn, text": fits[dyn, text](), "dyn, dyn": fits[dyn, dyn](), "dyn, any": fits[dyn, anyMsg](),
		"any, text": fits[anyMsg, text](), "any, dyn": fits[anyMsg, dyn](), "any, any": fits[anyMsg, anyMsg](),
		"wider, wider": fits[wider, wider](), "raw": dynamic.Raw(rawIdentity),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newWorld(t).serve(t, dynamic.Handlers{"Echo": handler})
		})
	}
}

func TestRegister_AllProblemsTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"), dynamic.Handlers{
		"Echo": identity[number](), "NoSuch": identity[text](), "Direct": dynamic.Unary[text, text](nil),
		"Box": identity[*anypb.Any](),
	})
	requireCode(t, errors.InvalidArgument, err)
	lines := strings.Split(err.Error(), "\n")
	assert.ElementsMatch(t, []string{
		"service test.Echoes, method NoSuch: there is a handler, but no such method",
		"service test.Echoes, method Echo: the handler does not fit: request type: wanted message " +
			"google.protobuf.StringValue, given *wrapperspb.Int64Value, which is message google.protobuf.Int64Value",
		"service test.Echoes, method Direct: the handler does not fit: the function is nil",
		"service test.Echoes, method Repeat: there is no handler; dynamic.AllowMissing() lets it answer unimplemented",
		"service test.Echoes, method Best: there is no handler; dynamic.AllowMissing() lets it answer unimplemented",
	}, lines)
	_, err = w.server.Register(descriptor(t, w.registry, "test.Echoes"), nil, dynamic.AllowMissing())
	require.NoError(t, err, "nothing is left of the first try")
}

func TestRegister_AllowMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Direct": identity[text]()})
	for _, name := range []string{echo, best} {
		_, err := w.call(t, name, "hi")
		requireCode(t, errors.Unimplemented, err)
		require.ErrorIs(t, err, errors.ErrUnimplemented)
	}
	response, err := w.call(t, direct, "hi")
	require.NoError(t, err)
	assert.Equal(t, "hi", response)
}

func TestRegister_OnlySubscriptions(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	registration, err := w.server.Register(descriptor(t, w.registry, "test.Updates"), nil)
	require.NoError(t, err)
	assert.Equal(t, "test.Updates", registration.Service().String())
	assert.Empty(t, b.open())
}

func TestRegister_BadDescriptors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, bad := range map[string]any{"nil": nil, "a text": "test.Echoes", "a message": wrapperspb.String("")} {
		_, err := w.server.Register(bad, nil, dynamic.AllowMissing())
		assert.Error(t, err, name)
	}
	_, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"), nil,
		dynamic.AllowMissing(), dynamic.WithWireName("a b"))
	assert.ErrorContains(t, err, "a b")
}
