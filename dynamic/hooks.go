package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// RequestHook is called with each request of a conn before it is sent. It runs on the caller's
// goroutine and outside of the interceptors: once per call, with the request that the caller
// passed. It must not change the request.
type RequestHook func(ctx context.Context, request proto.Message, info RPCInfo)

// ResponseHook is called when a call of a conn has ended, and for each response of a multi call. It
// runs on the caller's goroutine and outside of the interceptors, with the response and error that
// the caller gets. response is nil if err is not. The hook must change neither request nor
// response.
type ResponseHook func(ctx context.Context, request proto.Message, info RPCInfo, response proto.Message, err error)

// WithRequestHooks adds hooks that are called with each request, in the given order. psrpc has the
// same hooks; interceptors can do more, see [ClientRPCInterceptor].
func WithRequestHooks(hooks ...RequestHook) ConnOption {
	return connOption(func(o *connOptions) { o.requestHooks = append(o.requestHooks, hooks...) })
}

// WithResponseHooks adds hooks that are called with each response or error, in the given order.
func WithResponseHooks(hooks ...ResponseHook) ConnOption {
	return connOption(func(o *connOptions) { o.responseHooks = append(o.responseHooks, hooks...) })
}
