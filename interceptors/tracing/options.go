package tracing

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Option configures [New].
type Option func(*tracing)

// WithTracerProvider sets where spans are made. The default, also for nil, is otel.GetTracerProvider(), as it is when [New] is
// called.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(t *tracing) {
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
	return func(t *tracing) {
		if propagator != nil {
			t.propagator = propagator
		}
	}
}

// WithoutMessageEvents leaves out the events of messages and responses.
func WithoutMessageEvents() Option {
	return func(t *tracing) { t.silent = true }
}

// tracing is what interceptors share.
type tracing struct {
	provider   trace.TracerProvider
	propagator propagation.TextMapPropagator
	silent     bool // about messages
	tracer     trace.Tracer
}

// New traces, on a server or a service, the calls and streams that it answers and the updates that it publishes; on a conn
// its calls, multi calls and streams, the updates that it publishes and those that come to its subscriptions.
//
// Give it before other interceptors, so that they have the span's context. On a conn it makes one span of what an
// interceptor behind it does several times, such as interceptors.Retry; given after that, one of each.
func New(opts ...Option) dynamic.CommonOption {
	t := &tracing{provider: otel.GetTracerProvider(), propagator: propagation.TraceContext{}}
	for _, opt := range opts {
		opt(t)
	}
	t.tracer = t.provider.Tracer("github.com/dynpsrpc/dynpsrpc/interceptors/tracing")
	return dynamic.CommonOptions(
		dynamic.ServiceOptions(
			dynamic.WithServerRPCInterceptors(t.serve),
			dynamic.WithServerStreamInterceptors(t.serverStream),
			dynamic.WithServerPublishInterceptors(t.publishing),
		),
		dynamic.ConnOptions(
			dynamic.WithClientRPCInterceptors(t.calling),
			dynamic.WithClientMultiRPCInterceptors(t.callingAll),
			dynamic.WithClientStreamInterceptors(t.clientStream),
			dynamic.WithPublishInterceptors(t.publishing),
			dynamic.WithSubscriptionInterceptors(t.delivering),
		),
	)
}
