package dynamic

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// clientPlan holds what the calls of one method on a conn have in common. Types and channels are
// looked up only once, when the plan is created. A clientPlan is immutable.
type clientPlan struct {
	// calls sends the requests of the method. engine is the engine of the conn, which also runs the
	// goroutines of multi calls, streams and subscriptions.
	calls  call.Plan
	engine *call.Engine
	// options are those of the conn.
	options *connOptions
	method  *registry.Method
	// defaultRoute is the route for calls without a topic. It is nil if the method has topics.
	defaultRoute *route
	requests     message.Type
	responses    message.Type
}

// route holds the channels on which the client and the servers of one method and topic communicate.
// A route is immutable.
type route struct {
	// handler passes a request through the conn's interceptors and then makes the call. It is set
	// only for single calls, and only if the conn has interceptors for them.
	handler ClientRPCHandler

	call.Route
}

var (
	kindNouns = map[registry.Kind]string{
		registry.KindSingle: "single call", registry.KindMulti: "multi call",
		registry.KindStream: "stream", registry.KindSubscription: "subscription",
	}
	kindVerbs = map[registry.Kind]string{
		registry.KindSingle: "Call or Invoke", registry.KindMulti: "CallMulti or InvokeMulti",
		registry.KindStream: "OpenStream or InvokeStream", registry.KindSubscription: "Subscribe or InvokeSubscribe",
	}
)

// check returns an error if ctx is nil, or if the method is not of this kind. The error about the
// kind names the functions that fit the method.
func (p *clientPlan) check(ctx context.Context, kind registry.Kind) error {
	if ctx == nil {
		return nilContextError(p.method.FullName())
	}
	if actual := p.method.Kind(); actual != kind {
		return errors.NewErrorf(errors.InvalidArgument, "method %s is a %s, not a %s: use %s",
			p.method.FullName(), kindNouns[actual], kindNouns[kind], kindVerbs[actual])
	}
	return nil
}

// nilContextError returns the error for a call with a nil context. method is the full name of the
// called method.
func nilContextError(method string) error {
	return errors.NewErrorf(errors.InvalidArgument, "method %s: the context is nil", method)
}
