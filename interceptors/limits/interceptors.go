package limits

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

func (l *limiter) interceptors() dynamic.CommonOption {
	return dynamic.CommonOptions(
		dynamic.ServiceOptions(
			dynamic.WithServerRPCInterceptors(l.serve),
			dynamic.WithServerStreamInterceptors(l.stream),
			dynamic.WithServerPublishInterceptors(l.publish),
		),
		dynamic.ConnOptions(
			dynamic.WithClientRPCInterceptors(l.call),
			dynamic.WithClientMultiRPCInterceptors(l.multi),
			dynamic.WithClientStreamInterceptors(l.stream),
			dynamic.WithPublishInterceptors(l.publish),
		),
	)
}

func (l *limiter) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (proto.Message, error) {
	g, err := l.acquire(info.Descriptor)
	if err != nil {
		return nil, dynamic.Unprocessed(err)
	}
	defer g.release()
	return handler(ctx, request)
}

func (l *limiter) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
		g, err := l.acquire(info.Descriptor)
		if err != nil {
			return nil, err
		}
		defer g.release()
		return next(ctx, request, opts...)
	}
}

func (l *limiter) publish(info dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler {
	return func(ctx context.Context, update proto.Message) error {
		g, err := l.acquire(info.Descriptor)
		if err != nil {
			return err
		}
		defer g.release()
		return next(ctx, update)
	}
}

func (l *limiter) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return &limitedMulti{ClientMultiRPCHandler: next, limiter: l, info: info}
}

type limitedMulti struct {
	dynamic.ClientMultiRPCHandler

	limiter *limiter
	info    dynamic.RPCInfo

	mu       sync.Mutex
	acquired quota // the call is inside; nil if it is not
}

func (m *limitedMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	if err := m.acquire(); err != nil {
		return err
	}
	return m.ClientMultiRPCHandler.Send(ctx, request, opts...)
}

// acquire does nothing if the call is inside already: Send may be called again after an error.
func (m *limitedMulti) acquire() (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.acquired == nil {
		m.acquired, err = m.limiter.acquire(m.info.Descriptor)
	}
	return err
}

func (m *limitedMulti) Close() {
	m.mu.Lock()
	if m.acquired != nil {
		m.acquired.release()
	}
	m.mu.Unlock()
	m.ClientMultiRPCHandler.Close()
}

func (l *limiter) stream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	g, err := l.acquire(info.Descriptor)
	if err != nil {
		_ = next.Close(err) // refuses the stream
		return next
	}
	return limitedStream{next, g}
}

type limitedStream struct {
	dynamic.StreamHandler

	acquired quota
}

func (s limitedStream) Close(cause error) error {
	defer s.acquired.release()
	return s.StreamHandler.Close(cause)
}
