package tracing

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Option configures [New].
type Option func(*tracer)

// WithTracerProvider sets where spans are made. The default, also for nil, is otel.GetTracerProvider(), as it is when [New] is
// called.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(t *tracer) {
		if provider != nil {
			t.provider = provider
		}
	}
}

// WithPropagator sets how a span's context, and what else should travel with it, is written into metadata and read. The
// default, also for nil, is propagation.TraceContext. With baggage:
//
//	propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
func WithPropagator(propagator propagation.TextMapPropagator) Option {
	return func(t *tracer) {
		if propagator != nil {
			t.propagator = propagator
		}
	}
}

// WithoutMessageEvents leaves out the events of messages and responses.
func WithoutMessageEvents() Option {
	return func(t *tracer) { t.noMessageEvents = true }
}

// New traces, on a server or a service, the calls and streams that it answers and the updates that it publishes; on a conn
// its calls, multi calls and streams, the updates that it publishes and those that come to its subscriptions.
//
// Give it before other interceptors, so that they have the span's context. On a conn it makes one span of what an
// interceptor behind it does several times, such as interceptors.Retry; given after that, one of each.
func New(opts ...Option) dynamic.CommonOption {
	t := &tracer{provider: otel.GetTracerProvider(), propagator: propagation.TraceContext{}}
	for _, opt := range opts {
		opt(t)
	}
	t.otelTracer = t.provider.Tracer("github.com/dynpsrpc/dynpsrpc/interceptors/tracing")
	return dynamic.CommonOptions(
		dynamic.ServiceOptions(
			dynamic.WithServerRPCInterceptors(t.serve),
			dynamic.WithServerStreamInterceptors(t.serverStream),
			dynamic.WithServerPublishInterceptors(t.publish),
		),
		dynamic.ConnOptions(
			dynamic.WithClientRPCInterceptors(t.call),
			dynamic.WithClientMultiRPCInterceptors(t.multi),
			dynamic.WithClientStreamInterceptors(t.clientStream),
			dynamic.WithPublishInterceptors(t.publish),
			dynamic.WithSubscriptionInterceptors(t.deliver),
		),
	)
}
