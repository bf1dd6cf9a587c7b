package limits

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// limiter holds the settings and the quotas of one [Concurrency] or [Rate] option.
type limiter struct {
	reason    string
	newQuota  func() quota
	perMethod bool
	shared    quota
	// byMethod maps each *registry.Method to its quota.
	byMethod sync.Map
}

func newLimiter(reason string, newQuota func() quota, opts []Option) dynamic.Option {
	l := &limiter{reason: reason, newQuota: newQuota, shared: newQuota()}
	for _, opt := range opts {
		if opt != nil {
			opt(l)
		}
	}
	return l.interceptors()
}

func (l *limiter) interceptors() dynamic.Option {
	return dynamic.WithInterceptors(dynamic.Interceptors{
		ServerRPC:      l.serve,
		ServerStream:   l.stream,
		ServerPublish:  l.publish,
		ClientRPC:      l.call,
		ClientMultiRPC: l.multi,
		ClientStream:   l.stream,
		Publish:        l.publish,
	})
}

func (l *limiter) quotaFor(method *registry.Method) quota {
	if !l.perMethod {
		return l.shared
	}
	if known, ok := l.byMethod.Load(method); ok {
		return known.(quota)
	}
	known, _ := l.byMethod.LoadOrStore(method, l.newQuota())
	return known.(quota)
}

// acquire admits one call and returns the quota to be released when the call ends. If the call is
// not admitted, acquire returns the error with which to reject it.
func (l *limiter) acquire(method *registry.Method) (quota, error) {
	g := l.quotaFor(method)
	retryAfter, ok := g.tryAcquire()
	if ok {
		return g, nil
	}
	return nil, errors.NewError(errors.ResourceExhausted,
		fmt.Errorf("method %s: %s; try again later", method.FullName(), l.reason),
		&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
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

func (l *limiter) stream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	g, err := l.acquire(info.Descriptor)
	if err != nil {
		// Closing the handler rejects the stream.
		_ = next.Close(err)
		return next
	}
	return limitedStream{next, g}
}
