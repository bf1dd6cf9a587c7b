package dynamic

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RPCInfo describes a call, stream or subscription to hooks and interceptors.
type RPCInfo struct {
	// Service and Method are the names in the descriptor: that of the service is full, that of the method simple.
	Service, Method string
	// Topic holds the parts of the call's topic. It must not be changed.
	Topic []string
	// Multi says that every server answers.
	Multi bool
	// Descriptor is what the registry knows of the method.
	Descriptor *registry.Method

	conn *Conn // of a client's single and multi calls
}

func newRPCInfo(method *registry.Method, topic []string) RPCInfo {
	return RPCInfo{
		Service: string(method.Service().Name()), Method: method.Name(), Topic: topic,
		Multi: method.Kind() == registry.KindMulti, Descriptor: method,
	}
}

// Deadline returns when a client's single or multi call ends that is made now with ctx and these options: by their
// timeout, that of the conn, or the deadline of ctx. An interceptor that makes a call several times asks for it once,
// before the first time. For anything else it is the deadline of ctx, or the zero time if there is none.
func (i RPCInfo) Deadline(ctx context.Context, opts ...RequestOption) time.Time {
	if i.conn == nil {
		deadline, _ := ctx.Deadline()
		return deadline
	}
	o := newRequestOptions(opts)
	_, expiry := i.conn.bounds(ctx, time.Now(), &o)
	return expiry
}
