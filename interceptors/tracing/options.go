package tracing

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Option configures [Server] and [Client].
type Option func(*tracing)

// WithTracerProvider sets where spans are made. The default, also for nil, is otel.GetTracerProvider(), as it is when [Server]
// or [Client] is called.
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

func newTracing(opts []Option) *tracing {
	t := &tracing{provider: otel.GetTracerProvider(), propagator: propagation.TraceContext{}}
	for _, opt := range opts {
		opt(t)
	}
	t.tracer = t.provider.Tracer("github.com/dynpsrpc/dynpsrpc/interceptors/tracing")
	return t
}

// Server traces the calls and streams that a server, or a service, answers, and the updates that it publishes. Give it
// before other interceptors, so that they have the span's context.
func Server(opts ...Option) dynamic.ServiceOption {
	t := newTracing(opts)
	return dynamic.ServiceOptions(
		dynamic.WithServerRPCInterceptors(t.serve),
		dynamic.WithServerStreamInterceptors(t.serverStream),
		dynamic.WithServerPublishInterceptors(t.publishing),
	)
}

// Client traces a conn's calls, multi calls and streams, the updates that it publishes and those that come to its
// subscriptions. Given before an interceptor that makes calls several times, it makes one span of them; given after it,
// one of each.
func Client(opts ...Option) dynamic.ConnOption {
	t := newTracing(opts)
	return dynamic.ConnOptions(
		dynamic.WithClientRPCInterceptors(t.calling),
		dynamic.WithClientMultiRPCInterceptors(t.callingAll),
		dynamic.WithClientStreamInterceptors(t.clientStream),
		dynamic.WithPublishInterceptors(t.publishing),
		dynamic.WithSubscriptionInterceptors(t.delivering),
	)
}
