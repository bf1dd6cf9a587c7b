package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/registry"
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

// Panic describes a panic that the library has recovered.
type Panic struct {
	// Method is the method whose handler, affinity function or interceptor panicked.
	Method *registry.Method
	// Value is the value of the panic. It is nil if a handler ended its goroutine with
	// runtime.Goexit.
	Value any
	// Stack is the stack trace of the goroutine, as text.
	Stack []byte
}

// PanicHook is called for each recovered panic, on the goroutine that panicked. ctx is the context
// of the request, stream or subscription; for a multi call it is the background context.
type PanicHook func(ctx context.Context, p Panic)
