package interceptors

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/internal/testservice"
)

// requirePanic waits until the hook has been called once. It requires that the hook received the
// given panic.
func requirePanic(t testing.TB, hookCalls <-chan dynamic.Panic, method, value string) {
	t.Helper()
	p := <-hookCalls
	assert.Equal(t, method, p.Method.FullName())
	assert.Equal(t, value, p.Value)
	assert.Contains(t, string(p.Stack), "recovery_test.go", "the place of the panic")
	assert.Empty(t, hookCalls, "hookCalls once")
}

func TestRecovery_Servers(t *testing.T) {
	t.Parallel()
	log, hookCalls := &capturedLog{}, make(chan dynamic.Panic, 10)
	outside := make(chan error, 10)
	s := testservice.New(t, testservice.Config{
		Server: []dynamic.ServerOption{
			dynamic.WithServerRPCInterceptors(func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, handler dynamic.ServerRPCHandler) (proto.Message, error) {
				response, err := handler(ctx, request)
				outside <- err
				return response, err
			}),
			Recovery(slog.New(log), func(_ context.Context, p dynamic.Panic) { hookCalls <- p }),
		},
		Handle: func(context.Context, testservice.Text) (testservice.Text, error) { panic("secret") },
		Talk:   func(testservice.Stream) error { panic("secret of the stream") },
	})
	_, err := s.Call(t.Context(), testservice.Ask, "Rome")
	assert.Equal(t, "method example.Weather/Ask panicked", requireCode(t, errors.Internal, err).Error())
	requirePanic(t, hookCalls, testservice.Ask, "secret")
	requireCode(t, errors.Internal, <-outside)

	_, err = s.CallAll(t.Context(), "Rome")
	assert.NotContains(t, requireCode(t, errors.Internal, err).Error(), "secret")
	requirePanic(t, hookCalls, testservice.AskAll, "secret")
	require.Len(t, log.all(), 2)
	assert.Equal(t, "secret", log.all()[0]["panic"])
	assert.Equal(t, slog.LevelError, log.all()[0]["level"])
	assert.Equal(t, testservice.Ask, log.all()[0]["method"])
	assert.Contains(t, log.all()[0]["stack"], "recovery_test.go")

	stream, err := s.Open(t.Context())
	require.NoError(t, err)
	<-stream.Context().Done()
	assert.NotContains(t, requireCode(t, errors.Internal, stream.Err()).Error(), "secret")
	requirePanic(t, hookCalls, testservice.Talk, "secret of the stream")
}

// panicking returns interceptors of every kind. All of them panic.
func panicking() dynamic.ConnOption {
	return dynamic.ConnOptions(
		dynamic.WithClientRPCInterceptors(func(dynamic.RPCInfo, dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
			return func(context.Context, proto.Message, ...dynamic.RequestOption) (proto.Message, error) { panic("call") }
		}),
		dynamic.WithClientMultiRPCInterceptors(func(_ dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
			return multiStub{next, func(context.Context) error { panic("multi") }}
		}),
		dynamic.WithClientStreamInterceptors(func(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
			return panickingStream{next}
		}),
		dynamic.WithPublishInterceptors(func(dynamic.RPCInfo, dynamic.PublishHandler) dynamic.PublishHandler {
			return func(context.Context, proto.Message) error { panic("publish") }
		}),
		dynamic.WithSubscriptionInterceptors(func(_ dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
			return func(ctx context.Context, update proto.Message) error {
				if update.(testservice.Text).GetValue() == "bad" {
					panic("delivery")
				}
				return next(ctx, update)
			}
		}),
	)
}

type panickingStream struct{ dynamic.StreamHandler }

func (panickingStream) Send(proto.Message, ...dynamic.StreamOption) error { panic("send") }
func (panickingStream) Close(error) error                                 { panic("close") }

func TestRecovery_Conns(t *testing.T) {
	t.Parallel()
	hookCalls := make(chan dynamic.Panic, 10)
	s := testservice.New(t, testservice.Config{Conn: []dynamic.ConnOption{
		Recovery(slog.New(slog.DiscardHandler), func(_ context.Context, p dynamic.Panic) { hookCalls <- p }), panicking(),
	}})
	_, err := s.Call(t.Context(), testservice.Ask, "Rome")
	requireCode(t, errors.Internal, err)
	requirePanic(t, hookCalls, testservice.Ask, "call")
	_, err = s.CallAll(t.Context(), "Rome")
	requireCode(t, errors.Internal, err)
	requirePanic(t, hookCalls, testservice.AskAll, "multi")

	stream, err := s.Open(t.Context())
	require.NoError(t, err)
	requireCode(t, errors.Internal, stream.Send(say("hi")))
	requirePanic(t, hookCalls, testservice.Talk, "send")
	requireCode(t, errors.Internal, stream.Close(nil))
	requirePanic(t, hookCalls, testservice.Talk, "close")
	<-stream.Context().Done()

	requireCode(t, errors.Internal, dynamic.Publish(t.Context(), s.Conn, testservice.Warning, say("storm")))
	requirePanic(t, hookCalls, testservice.Warning, "publish")

	subscription, err := dynamic.InvokeSubscribe(t.Context(), s.Conn, testservice.Warning)
	require.NoError(t, err)
	require.NoError(t, s.Registration.Publish(t.Context(), "Warning", say("bad")))
	require.NoError(t, s.Registration.Publish(t.Context(), "Warning", say("good")))
	assert.Equal(t, "good", (<-subscription.Channel()).(testservice.Text).GetValue(), "the subscription goes on")
	requirePanic(t, hookCalls, testservice.Warning, "delivery")
	require.NoError(t, subscription.Close())
}

func TestRecovery_NoHook(t *testing.T) {
	t.Parallel()
	s := testservice.New(t, testservice.Config{
		Server: []dynamic.ServerOption{Recovery(slog.New(slog.DiscardHandler), nil)},
		Handle: func(context.Context, testservice.Text) (testservice.Text, error) {
			panic("this is logged, and expected")
		},
	})
	_, err := s.Call(t.Context(), testservice.Ask, "Rome")
	requireCode(t, errors.Internal, err)
}
