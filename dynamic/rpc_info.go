package dynamic

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RPCInfo describes a call, stream or subscription to hooks and interceptors.
type RPCInfo struct {
	// Service is the full name of the service in the descriptor, and Method the simple name of the
	// method.
	Service, Method string
	// Topic holds the parts of the call's topic. It must not be changed.
	Topic []string
	// Multi is true for a multi call, which every server answers.
	Multi bool
	// Descriptor is the method in the registry.
	Descriptor *registry.Method

	// client bounds the single and multi calls of a client. It is nil for all others.
	client callBounds
}

// callBounds is a conn as RPCInfo needs it.
type callBounds interface {
	// bounds returns the timeout and the expiry of a call that is made now.
	bounds(ctx context.Context, now time.Time, o *requestOptions) (timeout time.Duration, expiry time.Time)
}

func newRPCInfo(method *registry.Method, topic []string) RPCInfo {
	return RPCInfo{
		Service: string(method.Service().Name()), Method: method.Name(), Topic: topic,
		Multi: method.Kind() == registry.KindMulti, Descriptor: method,
	}
}

// Deadline returns the deadline of a client's single or multi call that is made now with ctx and
// opts. It follows from the timeout in opts, the timeout of the conn, and the deadline of ctx. An
// interceptor that repeats a call asks for the deadline once, before the first attempt.
//
// For streams, subscriptions and on the server it is the deadline of ctx, or the zero time if ctx
// has none.
func (i RPCInfo) Deadline(ctx context.Context, opts ...RequestOption) time.Time {
	if i.client == nil {
		deadline, _ := ctx.Deadline()
		return deadline
	}
	o := newRequestOptions(opts)
	_, expiry := i.client.bounds(ctx, time.Now(), &o)
	return expiry
}
