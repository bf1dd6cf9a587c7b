package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Registration is a service registered on a server, as returned by [Server.Register]. It ends when
// Close or Kill is called, or when the server stops. [Registration.Replace] replaces the service
// with another version without a gap. All methods are safe for concurrent use.
type Registration struct {
	// All fields are immutable once the registration is started.

	server  *Server
	service *registry.Service
	// engine serves the methods of the service.
	engine *serve.Service
	// handlers holds the handlers of all methods except subscriptions. handlers and publishers are
	// keyed by method name.
	handlers   map[string]*boundHandler
	publishers map[string]*publisher
	// interceptors holds the server's interceptors, followed by those of the service.
	interceptors serverInterceptors
}

// Service returns the registered service.
func (r *Registration) Service() *registry.Service { return r.service }

// Close stops accepting requests for the service and waits for running handlers to return. If ctx
// ends first, Close cancels the contexts of the handlers and returns an error that wraps ctx.Err().
// It returns the same kind of error if the bus has not ended all subscriptions by then, for example
// because the broker does not answer. The bus then ends them in the background. Close returns at
// most 0.2 s after ctx has ended.
//
// Every call to Close waits for running handlers, not just the first. After Close, the service can
// be registered again, unless this registration has been replaced (see [Registration.Replace]).
func (r *Registration) Close(ctx context.Context) error {
	if ctx == nil {
		return nilarg.ErrContext
	}
	return r.engine.Close(ctx)
}

// Kill stops accepting requests for the service and cancels the contexts of running handlers. It
// does not wait for the handlers to return. If the broker does not answer, Kill returns after the
// timeout of the server plus one second (see [WithServerTimeout]). The subscriptions then end in
// the background.
func (r *Registration) Kill() { r.engine.Kill() }

// RegisterTopic starts serving a method on a topic. The parts must be in the order of the method's
// topic parameters. When RegisterTopic returns, the bus has confirmed the subscription. Topics of
// subscription methods are not registered; pass the topic to Publish with [WithTopic] instead.
//
// RegisterTopic returns an error
//   - if this registration does not serve the method;
//   - if the method takes no topic or a different number of parts;
//   - if the topic is already registered;
//   - if the registration has been closed or replaced;
//   - if the bus fails.
func (r *Registration) RegisterTopic(method string, parts ...string) error {
	_, err := r.engine.RegisterTopic(method, parts)
	return err
}

// DeregisterTopic stops accepting requests for a method on a topic. Running handlers continue, but
// streams are closed. DeregisterTopic returns an error if the topic is not registered, or if the
// registration has been closed or replaced. If the broker does not answer, DeregisterTopic returns
// an error with code deadline_exceeded after the timeout of the server (see [WithServerTimeout]).
// The topic is then deregistered in the background.
func (r *Registration) DeregisterTopic(method string, parts ...string) error {
	return r.engine.DeregisterTopic(method, parts)
}

// RegisterTopicGroup starts serving all methods of a topic group on a topic except subscriptions.
// For each method, it does the same as RegisterTopic. If this fails for one method, no method is
// registered on the topic.
func (r *Registration) RegisterTopicGroup(group string, parts ...string) error {
	_, err := r.engine.RegisterTopicGroup(group, parts)
	return err
}

// DeregisterTopicGroup undoes RegisterTopicGroup. It deregisters the topic for every method of the
// group for which the topic is registered. If the topic is not registered for some of the methods,
// DeregisterTopicGroup returns an error that names them.
func (r *Registration) DeregisterTopicGroup(group string, parts ...string) error {
	return r.engine.DeregisterTopicGroup(group, parts)
}

// Publish sends an update to the subscribers of a method. If the method has MULTI routing, all
// subscribers receive the update; otherwise, one of them does. message must be of the method's
// output type and must not be modified until Publish returns. Publish returns once the bus has
// accepted the update. Updates that the bus loses after that are counted in [bus.Stats]. Publishing
// without any subscribers is not an error.
//
// [WithTopic] sets the topic if the method has topics. The metadata of ctx and of [WithMetadata] is
// sent with the update; subscription interceptors can read it with [RequestInfoFromContext]. Other
// options have no effect.
//
// Publish returns an error with code invalid_argument if the service has no subscription method of
// this name. It also does so if the message or the topic does not match the method. After Close or
// Kill, or after the server has stopped, Publish returns errors.ErrServerClosed. If the bus fails,
// Publish returns the error of the bus.
func (r *Registration) Publish(ctx context.Context, method string, message proto.Message, opts ...RequestOption) error {
	p := r.publishers[method]
	if p == nil {
		return errors.NewErrorf(errors.InvalidArgument, "service %s has no method %s%s",
			r.service.Name(), method, transport.Suggest(method, r.service.Methods(), (*registry.Method).Name))
	}
	select {
	case <-r.engine.Done():
		return errors.ErrServerClosed
	default:
	}
	if err := p.publish(ctx, message, opts); err != nil {
		return err
	}
	r.engine.RecordUpdate(method)
	return nil
}

// panics returns a reporter for panics in the service's handlers and interceptors.
func (r *Registration) panics() panicReporter {
	return panicReporter{r.server.options.logger, r.interceptors.panics, r.engine}
}
