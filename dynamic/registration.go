package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
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

// newRegistration returns a registration that has no handlers yet. The caller must call start.
func newRegistration(s *Server, service *registry.Service, interceptors serverInterceptors) *Registration {
	r := &Registration{server: s, service: service, publishers: map[string]*publisher{}, interceptors: interceptors}
	for _, method := range service.Methods() {
		p := newPublisher(s.engine.Bus(), method, message.EncodeOnly(method.Output()), interceptors.publish, s.options.allowEmptyParts)
		p.tap = s.engine.Tap()
		r.publishers[method.Name()] = p
	}
	return r
}

// start creates the engine's part of the registration.
func (r *Registration) start(handlers map[string]*boundHandler, servesWhileDrained bool) {
	r.handlers = handlers
	config := serve.ServiceConfig{
		Descriptor: r.service, Handlers: map[string]*serve.Handler{}, ServesWhileDrained: servesWhileDrained,
		ReportPanic: r.panics().report, Owner: r,
	}
	if len(r.interceptors.events) > 0 {
		config.OnEvent = r.emit
	}
	for name, bound := range handlers {
		config.Handlers[name] = &bound.Handler
	}
	r.engine = r.server.engine.NewService(config)
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

// Replace replaces the service with another version without an interruption. All methods that the
// two versions have in common move to the new version at the same moment. Each request is handled
// by exactly one of the two versions. Requests sent after Replace has returned are never handled by
// r. Requests and streams that r is already handling continue. To end the streams and wait for the
// handlers, call Close on r. To cancel the handlers, call Kill on r. For everything else, use the
// registration of the new version, which Replace returns.
//
// The arguments are the same as for [Server.Register]. Methods may be added, removed and changed.
// Topics registered on r are also registered for the new version if they still fit their method.
// The new version's first call to RegisterTopic for one of them does nothing and returns nil. New
// methods, and methods whose kind or routing has changed, can be called as soon as the bus has
// confirmed their subscriptions. This is shortly before the other methods move to the new version.
//
// Replace takes no context, but the timeout of the server limits each of its two steps (see
// [WithServerTimeout]). First, Replace subscribes to the channels that only the new version needs.
// Then, it ends the subscriptions that only r needs. If the second step takes longer, because the
// broker does not answer, it continues in the background, and Replace returns nil as its error.
//
// If Replace fails, r continues unchanged. Replace fails for the same reasons as Register. It also
// fails
//   - if the wire names of the two versions differ; the error has code invalid_argument;
//   - if r or its server has been closed or killed, or is closed or killed during Replace; the
//     error is errors.ErrServerClosed;
//   - if r has already been replaced; the error has code failed_precondition. The topics of a
//     replaced registration can no longer be changed either.
func (r *Registration) Replace(descriptor any, handlers Handlers, opts ...ServiceOption) (*Registration, error) {
	var next *Registration
	err := r.engine.Replace(func() (_ *serve.Service, err error) {
		if next, err = r.server.buildRegistration(descriptor, handlers, opts); err != nil {
			return nil, err
		}
		return next.engine, nil
	})
	if err != nil {
		return nil, err
	}
	return next, nil
}

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

// RegisterTopicGroup starts serving the methods of a topic group on a topic, except for
// subscriptions. For each method, it does the same as RegisterTopic. If this fails for one method,
// no method is registered on the topic.
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
	return panicReporter{r.server.options.logger, r.interceptors.panics, r}
}
