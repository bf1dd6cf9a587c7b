package tracing

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// Option configures [New].
type Option func(*tracer)

// WithTracerProvider sets the provider from which the tracer is obtained. The default is the
// provider that otel.GetTracerProvider returns when [New] is called. The default is also used if
// provider is nil.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(t *tracer) {
		if provider != nil {
			t.provider = provider
		}
	}
}

// WithPropagator sets how the span context is written to and read from metadata. The default is
// propagation.TraceContext, which is also used if propagator is nil. To propagate baggage as well,
// use:
//
//	propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
func WithPropagator(propagator propagation.TextMapPropagator) Option {
	return func(t *tracer) {
		if propagator != nil {
			t.propagator = propagator
		}
	}
}

// WithoutMessageEvents disables the events for stream messages and for responses to multi calls.
func WithoutMessageEvents() Option {
	return func(t *tracer) { t.noMessageEvents = true }
}

// New returns an option that traces calls. On a server or service, it traces incoming calls,
// incoming streams and published updates. On a conn, it traces outgoing calls, multi calls and
// streams, as well as published and received updates.
//
// Pass this option before other interceptors, so that they run with the context of the span. On a
// conn, the order also matters for retries. If interceptors.Retry is passed after this option, all
// attempts share one span. If Retry is passed before it, each attempt has its own span.
func New(opts ...Option) dynamic.Option {
	t := &tracer{provider: otel.GetTracerProvider(), propagator: propagation.TraceContext{}}
	for _, opt := range opts {
		if opt != nil {
			opt(t)
		}
	}
	t.otelTracer = t.provider.Tracer("github.com/dynpsrpc/dynpsrpc/interceptors/tracing",
		trace.WithInstrumentationVersion(dynamic.Version))
	return dynamic.WithInterceptors(dynamic.Interceptors{
		ServerRPC:      t.serve,
		ServerStream:   t.serverStream,
		ServerPublish:  t.publish,
		ClientRPC:      t.call,
		ClientMultiRPC: t.multi,
		ClientStream:   t.clientStream,
		Publish:        t.publish,
		Subscription:   t.deliver,
	})
}
