package dynamic_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// twice is an encoding of "hi" in which the field occurs twice, so that the last value counts.
// Encoding "hi" again would yield other bytes.
var twice = []byte("\x0a\x02no\x0a\x02hi")

// TestServerRPCInterceptor_Raw checks that a raw handler and its caller receive the original
// bytes, unless an interceptor has changed the message.
func TestServerRPCInterceptor_Raw(t *testing.T) {
	t.Parallel()
	hello := []byte("\x0a\x05hello")
	pass := func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
		if got := body(request); got != "hi" {
			return nil, errors.New("the interceptor has got " + got)
		}
		return next(ctx, request)
	}
	for _, tt := range []struct {
		name              string
		intercept         dynamic.ServerRPCInterceptor
		handled, answered []byte
	}{
		{"untouched", pass, twice, twice},
		{
			"replaced request", func(ctx context.Context, _ proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				return next(ctx, say("hello"))
			}, hello, twice,
		},
		{
			"request of another Go type", func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				return next(ctx, asDynamic(marked(request, "!")))
			}, []byte("\x0a\x03hi!"), twice,
		},
		{
			"request changed in place", func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				request.(text).Value = "hello"
				return next(ctx, request)
			}, hello, twice,
		},
		{
			"a context of its own", func(_ context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				return next(context.Background(), request)
			}, []byte("\x0a\x02hi"), []byte("\x0a\x02hi"),
		},
		{
			"replaced response", func(ctx context.Context, request proto.Message, info dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				response, err := pass(ctx, request, info, next)
				if err != nil {
					return nil, err
				}
				response.(text).Value = "hello"
				return response, nil
			}, twice, hello,
		},
		{
			"no response", func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
				_, err := next(ctx, request)
				return nil, err
			}, twice, nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			handled := make(chan []byte, 1)
			w := newSeenWorld(t, with{
				server: []dynamic.ServerOption{dynamic.WithServerRPCInterceptors(tt.intercept)},
				handlers: dynamic.Handlers{"Echo": dynamic.Raw(func(_ context.Context, _ *registry.Method, request []byte) ([]byte, error) {
					handled <- request
					return twice, nil
				})},
			})
			code, errText, answer := w.askRaw(t, twice)
			require.Empty(t, code, errText)
			assert.Equal(t, tt.handled, <-handled)
			assert.Equal(t, tt.answered, answer)
		})
	}
}

// askRaw sends an encoded request to Echo, as a client of this library does, and returns the
// encoded response.
func (w *seenWorld) askRaw(t *testing.T, request []byte) (code, text string, response []byte) {
	t.Helper()
	p := peer{t, w.bus}
	answers := p.listen(bus.Channel(wire.ResponseChannel("Through", peerClient)), bus.Broadcast)
	outgoing := newRequest(peerRequest, "")
	outgoing.Body, outgoing.AcceptDirect = wire.Body{Raw: request}, true
	p.send(bus.Channel(wire.RequestChannel("Through", "Echo", nil, true)), outgoing)
	answer := p.nextResponse(answers)
	return answer.Code, answer.Error, answer.Body.Raw
}

func TestServerRPCInterceptor_RawFails(t *testing.T) {
	t.Parallel()
	bad := []byte("\xff")
	pass := func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
		return next(ctx, request)
	}
	for _, tt := range []struct {
		name              string
		intercept         dynamic.ServerRPCInterceptor
		request, response []byte
		code              errors.ErrorCode
	}{
		{"request that is none", pass, bad, twice, errors.MalformedRequest},
		{"response that is none", pass, twice, bad, errors.MalformedResponse},
		{"wrong request", func(ctx context.Context, _ proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler) (proto.Message, error) {
			return next(ctx, otherMessage)
		}, twice, twice, errors.Internal},
		{"wrong response", func(context.Context, proto.Message, dynamic.RPCInfo, dynamic.ServerRPCHandler) (proto.Message, error) {
			return otherMessage, nil
		}, twice, twice, errors.Internal},
		{"error of the handler", pass, twice, nil, errors.NotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newSeenWorld(t, with{
				server: []dynamic.ServerOption{dynamic.WithServerRPCInterceptors(tt.intercept)},
				handlers: dynamic.Handlers{"Echo": dynamic.Raw(func(context.Context, *registry.Method, []byte) ([]byte, error) {
					if tt.response == nil {
						return nil, errors.NewErrorf(errors.NotFound, "not here")
					}
					return tt.response, nil
				})},
			})
			code, _, _ := w.askRaw(t, tt.request)
			assert.Equal(t, string(tt.code), code)
		})
	}
}
