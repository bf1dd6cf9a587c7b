package e2e

import (
	"testing"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics/prommetrics"
	"github.com/dynpsrpc/dynpsrpc/interceptors/tracing"
	"github.com/dynpsrpc/dynpsrpc/interceptors/validation"
	"github.com/dynpsrpc/dynpsrpc/registry"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit/kinds"
)

// testObserved checks that metrics, tracing and validation work for every kind of call, and that
// client spans and server spans are connected across the bus.
func testObserved(t *testing.T, network Network) {
	w := newWorld(t, network)
	schema, err := kinds.Registry()
	require.NoError(t, err)
	service, wireName := kinds.Descriptor(t, schema).Descriptor(), w.wireName("All")
	_, err = w.registry.Register(service, registry.WithWireName(wireName))
	require.NoError(t, err)

	page, spans := prometheus.NewRegistry(), tracetest.NewSpanRecorder()
	observer, err := prommetrics.New(page)
	require.NoError(t, err)
	measured := metrics.New(observer)
	traced := tracing.New(tracing.WithTracerProvider(sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))))
	served, err := w.server().Register(service, kinds.Handlers(), dynamic.WithWireName(wireName), measured, traced, validation.New())
	require.NoError(t, err)
	conn := w.conn(measured, traced)
	observer.Watch(metrics.BusSource("client", w.busses[len(w.busses)-1]), metrics.ConnSource("client", conn))

	useEveryKind(t, served, conn)
	requireSpans(t, spans)
	requirePage(t, page, map[string]float64{
		// These two metrics also count the rejected call.
		"rpc_client_call_duration_seconds": 4, "rpc_server_call_duration_seconds": 4,
		"rpc_client_request_size_bytes": 4, "rpc_client_response_size_bytes": 3,
		"rpc_server_request_size_bytes": 4, "rpc_server_response_size_bytes": 3,
		"dynpsrpc_client_active_calls": 0, "dynpsrpc_server_active_calls": 0, "dynpsrpc_client_multi_responses_total": 1,
		// These two metrics also count the rejected update.
		"dynpsrpc_publish_duration_seconds": 2, "dynpsrpc_publish_size_bytes": 2,
		"dynpsrpc_delivery_duration_seconds": 1, "dynpsrpc_delivery_size_bytes": 1,
		"dynpsrpc_conn_waiting": 0, "dynpsrpc_conn_dropped_total": 0,
	})
}

// useEveryKind makes a single call and a multi call, exchanges messages on a stream, and publishes
// an update to a subscription. All of these succeed. It also makes one call and publishes one
// update that violate a validation rule.
func useEveryKind(t *testing.T, served *dynamic.Registration, conn *dynamic.Conn) {
	hi := &kinds.Text{Value: "hi"}
	_, err := dynamic.Invoke(t.Context(), conn, kinds.One, hi)
	require.NoError(t, err)
	_, err = dynamic.Invoke(t.Context(), conn, kinds.One, &kinds.Text{})
	invalid := requireCode(t, errors.InvalidArgument, err)
	require.Len(t, invalid.Details(), 1)
	assert.Len(t, invalid.Details()[0].(*validate.Violations).GetViolations(), 1)

	responses, err := dynamic.InvokeMulti(t.Context(), conn, kinds.Every, hi, dynamic.WithExpectedResponses(1))
	require.NoError(t, err)
	require.NoError(t, soon(t, responses, "response").Err)
	ended(t, responses, "all responses are there")

	stream, err := dynamic.InvokeStream(t.Context(), conn, kinds.Flow)
	require.NoError(t, err)
	require.NoError(t, stream.Send(hi))
	require.True(t, proto.Equal(hi, soon(t, stream.Channel(), "answer")))
	require.NoError(t, stream.Close(nil))

	subscription, err := dynamic.InvokeSubscribe(t.Context(), conn, kinds.Feed)
	require.NoError(t, err)
	requireCode(t, errors.InvalidArgument, served.Publish(t.Context(), "Feed", &kinds.Text{}))
	require.NoError(t, served.Publish(t.Context(), "Feed", hi))
	require.True(t, proto.Equal(hi, soon(t, subscription.Channel(), "update")))
	require.NoError(t, subscription.Close())
}

// requireSpans waits for the spans created by useEveryKind. It requires that the parent of each
// server span is a client span and that the subscriber's span is linked to the publisher's span.
func requireSpans(t *testing.T, spans *tracetest.SpanRecorder) {
	// Each of the three calls, the stream and the published update has two spans. The rejected
	// update has only one.
	const count = 2*4 + 2 + 1
	require.Eventually(t, func() bool { return len(spans.Ended()) >= count }, patience, time.Millisecond,
		"the other side of a stream ends in the background")
	byID := map[trace.SpanID]sdk.ReadOnlySpan{}
	for _, span := range spans.Ended() {
		byID[span.SpanContext().SpanID()] = span
	}
	require.Len(t, byID, count)
	for _, span := range byID {
		switch span.SpanKind() {
		case trace.SpanKindServer:
			parent := byID[span.Parent().SpanID()]
			require.NotNil(t, parent, span.Name())
			assert.Equal(t, trace.SpanKindClient, parent.SpanKind())
			assert.Equal(t, span.Name(), parent.Name())
			assert.Equal(t, span.SpanContext().TraceID(), parent.SpanContext().TraceID())
		case trace.SpanKindConsumer:
			require.Len(t, span.Links(), 1)
			linked := byID[span.Links()[0].SpanContext.SpanID()]
			require.NotNil(t, linked)
			assert.Equal(t, trace.SpanKindProducer, linked.SpanKind())
		default:
			assert.False(t, span.Parent().IsValid(), span.Name())
		}
	}
}

// requirePage waits until the metrics in page have the expected values. The value of a metric is
// the sum over all its series. A histogram contributes its sample count to the sum.
func requirePage(t *testing.T, page *prometheus.Registry, want map[string]float64) {
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		families, err := page.Gather()
		assert.NoError(c, err)
		values := map[string]float64{}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				values[family.GetName()] += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		for name, value := range want {
			assert.InDelta(c, value, values[name], 0, name)
		}
		if _, monitored := values["dynpsrpc_bus_connected"]; monitored {
			assert.InDelta(c, 1, values["dynpsrpc_bus_connected"], 0)
			assert.Positive(c, values["dynpsrpc_bus_received_total"])
		}
	}, patience, time.Millisecond, "the other side of a stream ends in the background")
}
