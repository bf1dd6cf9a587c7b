package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

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

func (p *clientPlan) beforeRequest(ctx context.Context, r *route, request proto.Message) {
	for _, hook := range p.conn.options.requestHooks {
		hook(ctx, request, newRPCInfo(p.method, r.topic))
	}
}

func (p *clientPlan) afterResponse(ctx context.Context, r *route, request, response proto.Message, err error) {
	for _, hook := range p.conn.options.responseHooks {
		hook(ctx, request, newRPCInfo(p.method, r.topic), response, err)
	}
}
