package tracing

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

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
		ctx = t.extract(trace.ContextWithSpan(ctx, nil)) // whoever has subscribed is not the cause
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
