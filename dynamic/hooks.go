package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RequestHook is called at the beginning of each single or multi call on a conn, once the arguments
// have been found valid. It runs on the caller's goroutine, before the interceptors. It is
// therefore called once per call, even if an interceptor sends the request several times, and gets
// the request that the caller has passed. It must not modify the request.
type RequestHook func(ctx context.Context, request proto.Message, info RPCInfo)

// ResponseHook is called when a single call on a conn has ended, and for each response to a multi
// call. If the request of a multi call could not be sent, the hook is called once with the error.
// It runs after the interceptors, so response and err are what the caller receives. If err is not
// nil, response is nil. The hook usually runs on the caller's goroutine. For responses to
// [Client.CallMulti] and [InvokeMulti], it runs on a goroutine started by the conn. It must not
// modify the request or the response.
type ResponseHook func(ctx context.Context, request proto.Message, info RPCInfo, response proto.Message, err error)

// Panic describes a panic that dynpsrpc has recovered.
type Panic struct {
	// Method is the method whose handler, affinity function, interceptor or [RequestEventHandler]
	// panicked.
	Method *registry.Method
	// Value is the value passed to panic. It is nil if the function did not panic, but ended its
	// goroutine by calling runtime.Goexit.
	Value any
	// Stack is the formatted stack trace of the goroutine that panicked.
	Stack []byte
}

// PanicHook is called for each recovered panic, on the goroutine that panicked. ctx is the context
// of the request, stream or subscription. If a client interceptor of a multi call or a
// [RequestEventHandler] panics, ctx is context.Background().
type PanicHook func(ctx context.Context, p Panic)
