package tracing_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/tracing"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit/kinds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tracedService is a service whose spans are recorded when they end.
type tracedService struct {
	*kinds.World

	spans  *tracetest.SpanRecorder
	tracer trace.Tracer
}

func newService(t testing.TB, opts ...tracing.Option) *tracedService {
	t.Helper()
	return newServiceWith(t, dynamic.ServiceOptions(), dynamic.ConnOptions(), opts...)
}

// newServiceWith starts a service that has further interceptors inside the tracing interceptors.
func newServiceWith(t testing.TB, server dynamic.ServiceOption, conn dynamic.ConnOption, opts ...tracing.Option) *tracedService {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
	opts = append(opts, tracing.WithTracerProvider(provider))
	w := kinds.New(t, dynamic.ServiceOptions(tracing.New(opts...), server), dynamic.ConnOptions(tracing.New(opts...), conn))
	return &tracedService{w, spans, provider.Tracer("test")}
}

// requireSpans waits for the given number of spans. It returns the spans, keyed by kind and name.
func (w *tracedService) requireSpans(t testing.TB, count int) map[string]sdk.ReadOnlySpan {
	t.Helper()
	require.Eventually(t, func() bool { return len(w.spans.Ended()) >= count }, 20*time.Second, time.Millisecond,
		"what the other side does ends in the background")
	ended := w.spans.Ended()
	require.Len(t, ended, count)
	byName := map[string]sdk.ReadOnlySpan{}
	for _, span := range ended {
		byName[span.SpanKind().String()+" "+span.Name()] = span
	}
	require.Len(t, byName, count)
	return byName
}

func attributes(span sdk.ReadOnlySpan) map[string]string {
	return asMap(span.Attributes())
}

func asMap(pairs []attribute.KeyValue) map[string]string {
	values := map[string]string{}
	for _, pair := range pairs {
		values[string(pair.Key)] = pair.Value.String()
	}
	return values
}

// events describes each message event of a span: its direction and number, and the size of the
// message or the code of the error.
func events(span sdk.ReadOnlySpan) (directions []string) {
	for _, event := range span.Events() {
		values := asMap(event.Attributes)
		directions = append(directions, values["rpc.message.type"]+values["rpc.message.id"]+" "+
			values["rpc.message.uncompressed_size"]+values["rpc.response.status_code"])
	}
	return directions
}

// requireChild requires that parent is the remote parent of child.
func requireChild(t testing.TB, parent, child sdk.ReadOnlySpan) {
	t.Helper()
	require.Equal(t, parent.SpanContext().TraceID(), child.SpanContext().TraceID())
	require.Equal(t, parent.SpanContext().SpanID(), child.Parent().SpanID())
	require.True(t, child.Parent().IsRemote())
}

func TestTracing_Call(t *testing.T) {
	t.Parallel()
	w := newService(t)
	ctx, caller := w.tracer.Start(t.Context(), "caller")
	_, err := w.Call(ctx, kinds.Region, "hi", dynamic.WithTopic("eu"))
	require.NoError(t, err)
	caller.End()

	spans := w.requireSpans(t, 3)
	client, server := spans["client kinds.All/Region"], spans["server kinds.All/Region"]
	assert.Equal(t, caller.SpanContext().SpanID(), client.Parent().SpanID())
	requireChild(t, client, server)
	assert.Equal(t, map[string]string{
		"rpc.system.name": "psrpc", "rpc.method": "kinds.All/Region", "rpc.response.status_code": "ok", "dynpsrpc.topic": "eu",
		"dynpsrpc.server.id": "SRV_all",
	}, attributes(client))
	assert.Equal(t, map[string]string{
		"rpc.system.name": "psrpc", "rpc.method": "kinds.All/Region", "rpc.response.status_code": "ok", "dynpsrpc.topic": "eu",
		"dynpsrpc.client.id": "CLI_all",
	}, attributes(server))
	assert.Equal(t, codes.Unset, client.Status().Code)
}

func TestTracing_CallFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		value, code    string
		faultOfServer  codes.Code
		clientsMessage string
	}{
		{"fail", "not_found", codes.Unset, "no such thing"},
		{"panic", "internal", codes.Error, "the handler of kinds.All/One panicked"},
	} {
		t.Run(tt.value, func(t *testing.T) {
			t.Parallel()
			w := newService(t)
			_, err := w.Call(t.Context(), kinds.One, tt.value)
			require.Error(t, err)
			spans := w.requireSpans(t, 2)
			client, server := spans["client kinds.All/One"], spans["server kinds.All/One"]
			requireChild(t, client, server)
			assert.Equal(t, sdk.Status{Code: codes.Error, Description: tt.clientsMessage}, client.Status())
			assert.Equal(t, tt.code, attributes(client)["error.type"])
			assert.Equal(t, tt.code, attributes(client)["rpc.response.status_code"])
			assert.Equal(t, tt.code, attributes(server)["rpc.response.status_code"])
			assert.Equal(t, tt.faultOfServer, server.Status().Code)
			assert.NotContains(t, server.Status().Description, "secret")
		})
	}
}

// TestTracing_Facts checks that the span of a failed call contains the facts about the failure.
func TestTracing_Facts(t *testing.T) {
	t.Parallel()
	w := newService(t)
	require.NoError(t, w.Service.Close(t.Context()))
	_, err := w.Call(t.Context(), kinds.One, "hi")
	require.Error(t, err)
	client := attributes(w.requireSpans(t, 1)["client kinds.All/One"])
	assert.Equal(t, "nobody listening", client["dynpsrpc.reason"])
	assert.Equal(t, "response", client["dynpsrpc.phase"])
	assert.NotContains(t, client, "dynpsrpc.server.id")
}

func TestTracing_Multi(t *testing.T) {
	t.Parallel()
	w := newService(t)
	responses, err := w.CallEvery(t.Context(), "hi")
	require.NoError(t, err)
	require.Len(t, responses, 1)
	spans := w.requireSpans(t, 2)
	client := spans["client kinds.All/Every"]
	requireChild(t, client, spans["server kinds.All/Every"])
	assert.Equal(t, []string{"RECEIVED1 4"}, events(client))
	assert.Equal(t, "SRV_all", asMap(client.Events()[0].Attributes)["dynpsrpc.server.id"])
	assert.Equal(t, "ok", attributes(client)["rpc.response.status_code"])

	w.spans.Reset()
	_, err = w.CallEvery(t.Context(), "fail")
	require.NoError(t, err)
	client = w.requireSpans(t, 2)["client kinds.All/Every"]
	assert.Equal(t, []string{"RECEIVED1 not_found"}, events(client))
	assert.Equal(t, codes.Unset, client.Status().Code, "a server has failed, the call has not")
}

func TestTracing_MultiFails(t *testing.T) {
	t.Parallel()
	w := newService(t)
	require.NoError(t, w.Service.Close(t.Context()))
	_, err := w.CallEvery(t.Context(), "hi")
	require.NoError(t, err)
	client := w.requireSpans(t, 1)["client kinds.All/Every"]
	assert.Equal(t, codes.Error, client.Status().Code)
	assert.Equal(t, "unavailable", attributes(client)["error.type"])
	assert.Empty(t, events(client))
}

// twice is a handler that sends a request twice. The first time, it sends the request to a topic
// without servers, which must fail.
type twice struct{ dynamic.ClientMultiRPCHandler }

func (m twice) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	if err := m.ClientMultiRPCHandler.Send(ctx, request, dynamic.WithTopic("none")); err == nil {
		return errors.New("the first attempt should have failed")
	}
	return m.ClientMultiRPCHandler.Send(ctx, request, opts...)
}

// panicking is a handler that panics in Send.
type panicking struct{ dynamic.ClientMultiRPCHandler }

func (panicking) Send(context.Context, proto.Message, ...dynamic.RequestOption) error { panic("oh") }

func TestTracing_MultiAttempts(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	traced := tracing.New(tracing.WithTracerProvider(sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))))
	again := dynamic.WithClientMultiRPCInterceptors(func(_ dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
		return twice{next}
	})
	w := kinds.New(t, dynamic.ServiceOptions(), dynamic.ConnOptions(again, traced))
	_, err := w.CallEvery(t.Context(), "hi")
	require.NoError(t, err)
	require.Len(t, spans.Ended(), 1)
	assert.Equal(t, codes.Unset, spans.Ended()[0].Status().Code)
}

// TestTracing_Attempts checks that each attempt has its own span if the tracing interceptor is
// inside Retry.
func TestTracing_Attempts(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	traced := tracing.New(tracing.WithTracerProvider(sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))))
	w := kinds.New(t, dynamic.ServiceOptions(), dynamic.ConnOptions(
		interceptors.Retry(interceptors.WithAttempts(2), interceptors.WithBackoff(time.Microsecond, time.Microsecond)), traced))
	require.NoError(t, w.Service.Close(t.Context()))
	_, err := w.Call(t.Context(), kinds.One, "hi")
	require.Error(t, err)
	require.Len(t, spans.Ended(), 2)
	assert.NotContains(t, attributes(spans.Ended()[0]), "dynpsrpc.attempt")
	assert.Equal(t, "2", attributes(spans.Ended()[1])["dynpsrpc.attempt"])
}

func TestTracing_MultiInnerPanics(t *testing.T) {
	t.Parallel()
	w := newServiceWith(t, dynamic.ServiceOptions(), dynamic.WithClientMultiRPCInterceptors(
		func(_ dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
			return panicking{next}
		}))
	assert.Panics(t, func() { _, _ = w.CallEvery(t.Context(), "hi") })
	assert.Equal(t, codes.Error, w.requireSpans(t, 1)["client kinds.All/Every"].Status().Code)
}

func TestTracing_Stream(t *testing.T) {
	t.Parallel()
	seen := make(chan trace.SpanContext, 1)
	w := newServiceWith(t, dynamic.WithServerStreamInterceptors(func(_ dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
		seen <- trace.SpanContextFromContext(dynamic.StreamContext(next))
		return next
	}), dynamic.ConnOptions())
	stream := w.Open(t.Context(), t)
	kinds.Exchange(t, stream, "a", "bc")
	require.NoError(t, stream.Close(nil))
	spans := w.requireSpans(t, 2)
	client, server := spans["client kinds.All/Flow"], spans["server kinds.All/Flow"]
	requireChild(t, client, server)
	assert.Equal(t, client.SpanContext(), trace.SpanContextFromContext(stream.Context()))
	assert.Equal(t, server.SpanContext(), kinds.Soon(t, seen), "inner interceptors and the handler have the span")
	assert.ElementsMatch(t, []string{"SENT1 3", "RECEIVED1 3", "SENT2 4", "RECEIVED2 4"}, events(client))
	assert.ElementsMatch(t, []string{"RECEIVED1 3", "SENT1 3", "RECEIVED2 4", "SENT2 4"}, events(server))
	for _, span := range spans {
		assert.Equal(t, "ok", attributes(span)["rpc.response.status_code"])
		assert.Equal(t, codes.Unset, span.Status().Code)
	}
	assert.Equal(t, "CLI_all", attributes(server)["dynpsrpc.client.id"])
}

func TestTracing_StreamFails(t *testing.T) {
	t.Parallel()
	w := newService(t, tracing.WithoutMessageEvents())
	stream := w.Open(t.Context(), t)
	kinds.Exchange(t, stream, "hi")
	require.NoError(t, stream.Send(&kinds.Text{Value: "fail"}))
	kinds.Soon(t, stream.Context().Done())
	spans := w.requireSpans(t, 2)
	client := spans["client kinds.All/Flow"]
	assert.Equal(t, "not_found", attributes(client)["error.type"])
	assert.Equal(t, codes.Error, client.Status().Code)
	assert.Equal(t, codes.Unset, spans["server kinds.All/Flow"].Status().Code)
	assert.Empty(t, client.Events())
	assert.Empty(t, spans["server kinds.All/Flow"].Events())

	require.NoError(t, w.Service.Close(t.Context()))
	w.spans.Reset()
	_, err := dynamic.InvokeStream(t.Context(), w.Conn, kinds.Flow)
	require.Error(t, err)
	assert.Equal(t, "nobody listening", attributes(w.requireSpans(t, 1)["client kinds.All/Flow"])["dynpsrpc.reason"])
}

func TestTracing_Updates(t *testing.T) {
	t.Parallel()
	inner := make(chan trace.SpanContext, 2)
	w := newServiceWith(t, dynamic.ServiceOptions(), dynamic.WithSubscriptionInterceptors(
		func(_ dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
			return func(ctx context.Context, update proto.Message) error {
				inner <- trace.SpanContextFromContext(ctx)
				return next(ctx, update)
			}
		}))
	ctx, subscriber := w.tracer.Start(t.Context(), "subscriber")
	subscription := w.Subscribe(ctx, t)
	subscriber.End()
	ctx, cause := w.tracer.Start(t.Context(), "cause")
	require.NoError(t, w.Service.Publish(ctx, "Feed", &kinds.Text{Value: "hi"}))
	cause.End()
	kinds.Soon(t, subscription.Channel())
	spans := w.requireSpans(t, 4)
	producer, consumer := spans["producer publish kinds.All/Feed"], spans["consumer deliver kinds.All/Feed"]
	assert.Equal(t, cause.SpanContext().SpanID(), producer.Parent().SpanID())
	assert.False(t, consumer.Parent().IsValid())
	assert.NotEqual(t, producer.SpanContext().TraceID(), consumer.SpanContext().TraceID())
	require.Len(t, consumer.Links(), 1)
	assert.Equal(t, producer.SpanContext().SpanID(), consumer.Links()[0].SpanContext.SpanID())
	assert.Equal(t, producer.SpanContext().TraceID(), consumer.Links()[0].SpanContext.TraceID())
	assert.Equal(t, consumer.SpanContext(), kinds.Soon(t, inner))

	w.spans.Reset()
	require.NoError(t, dynamic.Publish(t.Context(), w.Conn, kinds.Feed, &kinds.Text{Value: "hi"}))
	spans = w.requireSpans(t, 2)
	assert.Equal(t, spans["producer publish kinds.All/Feed"].SpanContext().SpanID(),
		spans["consumer deliver kinds.All/Feed"].Links()[0].SpanContext.SpanID())
}

// TestTracing_UntracedPeer checks updates and calls from peers without tracing: the spans of
// updates must have no link, and calls must start a new trace.
func TestTracing_UntracedPeer(t *testing.T) {
	t.Parallel()
	w := newService(t)
	ctx, subscriber := w.tracer.Start(t.Context(), "subscriber")
	subscription := w.Subscribe(ctx, t)
	subscriber.End()
	untraced := kinds.NewConn(t, w.World)
	require.NoError(t, dynamic.Publish(t.Context(), untraced, kinds.Feed, &kinds.Text{Value: "hi"}))
	kinds.Soon(t, subscription.Channel())
	_, err := dynamic.Invoke(t.Context(), untraced, kinds.One, &kinds.Text{Value: "hi"})
	require.NoError(t, err)
	spans := w.requireSpans(t, 3)
	assert.Empty(t, spans["consumer deliver kinds.All/Feed"].Links())
	assert.False(t, spans["server kinds.All/One"].Parent().IsValid())
}

// TestTracing_Metadata checks that the metadata contains both the W3C trace context and the
// caller's own metadata.
func TestTracing_Metadata(t *testing.T) {
	t.Parallel()
	seen := make(chan map[string]string, 1)
	note := func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, handler dynamic.ServerRPCHandler) (proto.Message, error) {
		incoming, _ := dynamic.RequestInfoFromContext(ctx)
		seen <- incoming.Metadata
		return handler(ctx, request)
	}
	w := newServiceWith(t, dynamic.WithServerRPCInterceptors(note), dynamic.ConnOptions())
	ctx := dynamic.ContextWithMetadata(t.Context(), map[string]string{"key": "value"})
	_, err := w.Call(ctx, kinds.One, "hi")
	require.NoError(t, err)
	span := w.requireSpans(t, 2)["client kinds.All/One"].SpanContext()
	assert.Equal(t, map[string]string{
		"key": "value", "traceparent": "00-" + span.TraceID().String() + "-" + span.SpanID().String() + "-01",
	}, kinds.Soon(t, seen))
}

func TestWithPropagator_Baggage(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	note := func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, handler dynamic.ServerRPCHandler) (proto.Message, error) {
		seen <- baggage.FromContext(ctx).Member("key").Value()
		return handler(ctx, request)
	}
	w := newServiceWith(t, dynamic.WithServerRPCInterceptors(note), dynamic.ConnOptions(),
		tracing.WithPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})))
	member, err := baggage.NewMember("key", "value")
	require.NoError(t, err)
	bag, err := baggage.New(member)
	require.NoError(t, err)
	_, err = w.Call(baggage.ContextWithBaggage(t.Context(), bag), kinds.One, "hi")
	require.NoError(t, err)
	assert.Equal(t, "value", kinds.Soon(t, seen))
}

// TestTracing_Defaults checks that calls succeed if no provider is set.
func TestTracing_Defaults(t *testing.T) {
	t.Parallel()
	w := kinds.New(t, tracing.New(tracing.WithTracerProvider(nil), tracing.WithPropagator(nil)), tracing.New())
	_, err := w.Call(t.Context(), kinds.One, "hi")
	require.NoError(t, err)
}
