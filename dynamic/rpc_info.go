package dynamic

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RPCInfo describes a call, stream or subscription to hooks and interceptors.
type RPCInfo struct {
	// Service is the full name of the service in its descriptor, and Method is the simple name of
	// the method.
	Service, Method string
	// Topic holds the parts of the topic. It is empty if the method has no topics. It must not be
	// modified.
	Topic []string
	// Multi reports whether this is a multi call, to which every server responds.
	Multi bool
	// Descriptor is the method from the registry.
	Descriptor *registry.Method

	// client computes the timeout and expiry of single and multi calls on a client. It is set only
	// for the interceptors of such calls.
	client callBounds
}

// callBounds is the part of Conn that RPCInfo uses.
type callBounds interface {
	// bounds returns the timeout and the expiry of a call that is made at the time now.
	bounds(ctx context.Context, now time.Time, o *requestOptions) (timeout time.Duration, expiry time.Time)
}

func newRPCInfo(method *registry.Method, topic []string) RPCInfo {
	return RPCInfo{
		Service: string(method.Service().Name()), Method: method.Name(), Topic: topic,
		Multi: method.Kind() == registry.KindMulti, Descriptor: method,
	}
}

// Deadline returns the deadline that a single or multi call would have if it were made now with ctx
// and opts. The deadline depends on the timeout in opts, the timeout of the conn, and the deadline
// of ctx. An interceptor that retries a call should call Deadline only once, before the first
// attempt, so that all attempts share one deadline.
//
// For streams, for subscriptions and on a server, Deadline returns the deadline of ctx, or the zero
// time if ctx has none.
func (i RPCInfo) Deadline(ctx context.Context, opts ...RequestOption) time.Time {
	if ctx == nil {
		ctx = context.Background()
	}
	if i.client == nil {
		deadline, _ := ctx.Deadline()
		return deadline
	}
	o := newRequestOptions(opts)
	_, expiry := i.client.bounds(ctx, time.Now(), &o)
	return expiry
}
