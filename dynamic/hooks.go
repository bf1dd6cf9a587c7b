package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RequestHook is called before each request of a conn is sent. It runs on the caller's goroutine
// and outside the interceptors. It is thus called once per call, with the request that the caller
// has passed. It must not modify the request.
type RequestHook func(ctx context.Context, request proto.Message, info RPCInfo)

// ResponseHook is called when a call on a conn has ended. For a multi call, it is called for each
// response. It runs outside the interceptors, so response and err are what the caller receives. If
// err is not nil, response is nil. The hook usually runs on the caller's goroutine. For responses
// to [Client.CallMulti] and [InvokeMulti], it runs on a goroutine started by the conn. It must not
// modify the request or the response.
type ResponseHook func(ctx context.Context, request proto.Message, info RPCInfo, response proto.Message, err error)

// Panic describes a panic that dynpsrpc has recovered.
type Panic struct {
	// Method is the method whose handler, affinity function or interceptor panicked.
	Method *registry.Method
	// Value is the value passed to panic. It is nil if a handler ended its goroutine by calling
	// runtime.Goexit.
	Value any
	// Stack is the formatted stack trace of the goroutine that panicked.
	Stack []byte
}

// PanicHook is called for each recovered panic, on the goroutine that panicked. ctx is the context
// of the request, stream or subscription. If a client interceptor of a multi call panics, ctx is
// context.Background().
type PanicHook func(ctx context.Context, p Panic)
