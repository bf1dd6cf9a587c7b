package tracing

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/interceptors"
	"github.com/dynpsrpc/dynpsrpc/internal/topictext"
)

// tracer holds the state shared by all interceptors of one option that [New] has returned.
type tracer struct {
	provider        trace.TracerProvider
	propagator      propagation.TextMapPropagator
	noMessageEvents bool
	otelTracer      trace.Tracer
}

//nolint:spancheck // span.end ends it
func (t *tracer) start(
	ctx context.Context, kind trace.SpanKind, name string, info dynamic.RPCInfo, opts ...trace.SpanStartOption,
) (context.Context, *span) {
	attributes := make([]attribute.KeyValue, 0, 5)
	attributes = append(attributes, semconv.RPCSystemNameKey.String("psrpc"), semconv.RPCMethod(info.Descriptor.FullName()))
	if len(info.Topic) > 0 {
		attributes = append(attributes, keyTopic.String(topictext.Join(info.Topic)))
	}
	if attempt := interceptors.Attempt(ctx); attempt > 1 && kind == trace.SpanKindClient {
		attributes = append(attributes, keyAttempt.Int(attempt))
	}
	if requestInfo, isIncoming := dynamic.RequestInfoFromContext(ctx); isIncoming && kind == trace.SpanKindServer {
		attributes = append(attributes, keyClientID.String(requestInfo.ClientID))
	}
	opts = append(opts, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))
	ctx, otelSpan := t.otelTracer.Start(ctx, name, opts...)
	return ctx, &span{Span: otelSpan, kind: kind, noMessageEvents: t.noMessageEvents}
}

// inject returns a context whose outgoing metadata carries the span context of ctx.
func (t *tracer) inject(ctx context.Context) context.Context {
	carrier := propagation.MapCarrier{}
	t.propagator.Inject(ctx, carrier)
	if len(carrier) == 0 {
		return ctx
	}
	return dynamic.ContextWithMetadata(ctx, carrier)
}

// extract returns a context that contains the remote span context from the metadata of a request,
// stream or update.
func (t *tracer) extract(ctx context.Context) context.Context {
	requestInfo, _ := dynamic.RequestInfoFromContext(ctx)
	return t.propagator.Extract(ctx, propagation.MapCarrier(requestInfo.Metadata))
}

func (t *tracer) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (response proto.Message, err error) {
	ctx, s := t.start(t.extract(ctx), trace.SpanKindServer, info.Descriptor.FullName(), info)
	s.record(func() error {
		response, err = handler(ctx, request)
		return err
	})
	return response, err
}

func (t *tracer) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (response proto.Message, err error) {
		ctx, s := t.start(ctx, trace.SpanKindClient, info.Descriptor.FullName(), info)
		s.record(func() error {
			var server string
			response, err = next(t.inject(ctx), request, append(slices.Clip(opts), dynamic.WithPeer(&server))...)
			if server != "" {
				s.SetAttributes(keyServerID.String(server))
			}
			return err
		})
		return response, err
	}
}

func (t *tracer) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return &tracedMulti{ClientMultiRPCHandler: next, tracer: t, info: info}
}

func (t *tracer) clientStream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	ctx, s := t.start(dynamic.StreamContext(next), trace.SpanKindClient, info.Descriptor.FullName(), info)
	dynamic.SetStreamContext(next, t.inject(ctx))
	return tracedStream{next, s}
}

func (t *tracer) serverStream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	ctx, s := t.start(t.extract(dynamic.StreamContext(next)), trace.SpanKindServer, info.Descriptor.FullName(), info)
	dynamic.SetStreamContext(next, ctx)
	return tracedStream{next, s}
}

func (t *tracer) publish(info dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler {
	return func(ctx context.Context, update proto.Message) (err error) {
		ctx, s := t.start(ctx, trace.SpanKindProducer, "publish "+info.Descriptor.FullName(), info)
		s.record(func() error {
			err = next(t.inject(ctx), update)
			return err
		})
		return err
	}
}

func (t *tracer) deliver(info dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
	return func(ctx context.Context, update proto.Message) (err error) {
		// Remove the span that was current when Subscribe was called, because that span did not
		// cause the update.
		ctx = t.extract(trace.ContextWithSpan(ctx, nil))
		opts := []trace.SpanStartOption{trace.WithNewRoot()}
		if producer := trace.SpanContextFromContext(ctx); producer.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: producer}))
		}
		ctx, s := t.start(ctx, trace.SpanKindConsumer, "deliver "+info.Descriptor.FullName(), info, opts...)
		s.record(func() error {
			err = next(ctx, update)
			return err
		})
		return err
	}
}
