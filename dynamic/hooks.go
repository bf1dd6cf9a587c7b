package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// RequestHook is called on the caller's goroutine with each request of a conn before it is sent, outside of the
// interceptors: once for each call, with the caller's request. It must not change the request.
type RequestHook func(ctx context.Context, request proto.Message, info RPCInfo)

// ResponseHook is called on the caller's goroutine when a call has ended, and for each response of a multi call,
// outside of the interceptors: with what the caller gets. The response is nil if err is not. It must change neither
// request nor response.
type ResponseHook func(ctx context.Context, request proto.Message, info RPCInfo, response proto.Message, err error)

// WithRequestHooks adds hooks that are called with each request, in this order.
func WithRequestHooks(hooks ...RequestHook) ConnOption {
	return connOption(func(o *connOptions) { o.requestHooks = append(o.requestHooks, hooks...) })
}

// WithResponseHooks adds hooks that are called with each response or error, in this order.
func WithResponseHooks(hooks ...ResponseHook) ConnOption {
	return connOption(func(o *connOptions) { o.responseHooks = append(o.responseHooks, hooks...) })
}
