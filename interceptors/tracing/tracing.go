package tracing

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Option configures [New].
type Option func(*tracer)

// WithTracerProvider sets the provider of the tracer. The default, also for nil, is the result of
// otel.GetTracerProvider when [New] is called.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(t *tracer) {
		if provider != nil {
			t.provider = provider
		}
	}
}

// WithPropagator sets how the span context is written to and read from metadata. The default, also
// for nil, is propagation.TraceContext. To propagate baggage as well:
//
//	propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
func WithPropagator(propagator propagation.TextMapPropagator) Option {
	return func(t *tracer) {
		if propagator != nil {
			t.propagator = propagator
		}
	}
}

// WithoutMessageEvents omits the events for stream messages and for responses to multi calls.
func WithoutMessageEvents() Option {
	return func(t *tracer) { t.noMessageEvents = true }
}

// New returns an option that traces calls. On a server or a service it traces incoming calls and
// streams and published updates; on a conn it traces outgoing calls, multi calls and streams, and
// published and received updates.
//
// Give it before other interceptors, so that they run with the span's context. On a conn, if
// interceptors.Retry is given after it, all attempts share one span; if Retry is given before it,
// each attempt has its own span.
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
