package dynamic

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Register starts serving a service. descriptor is a *registry.Service, a
// protoreflect.ServiceDescriptor, or any other value that [registry.NewService] accepts. If it is a
// *registry.Service, its wire name is used. When Register returns, the bus has confirmed the
// subscriptions, and methods without topics can be called. Methods with topics can be called on a
// topic once [Registration.RegisterTopic] has registered the topic.
//
// Requests can arrive before Register returns. A handler that uses the returned Registration must
// wait until the program has stored it. For example, it can wait for a channel that the program
// then closes.
//
// If Register returns an error, no method of the service is served. Register returns an error
//   - if an argument of NewServer or Register is invalid, or if the psrpc options of the service
//     contradict each other;
//   - if the types of a handler do not match its method, if there is a handler for an unknown
//     method, or if a method has no handler (see [AllowMissing]); a single error reports all of
//     these problems, and those of an implementation (see [HandlersOf]);
//   - if the server already serves a service with the same wire name (see [WithWireName] and
//     [Registration.Replace]);
//   - if the bus fails or does not confirm the subscriptions in time (see [WithServerTimeout]);
//   - if Shutdown or Kill has been called; the error is errors.ErrServerClosed.
func (s *Server) Register(descriptor any, handlers Handlers, opts ...ServiceOption) (*Registration, error) {
	r, err := s.buildRegistration(descriptor, handlers, opts)
	if err != nil {
		return nil, err
	}
	if err := s.engine.Start(r.engine); err != nil {
		return nil, err
	}
	r.warnLackingAffinity(handlers)
	return r, nil
}

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

// buildRegistration checks the arguments of Register and returns a registration that has no
// subscriptions yet.
func (s *Server) buildRegistration(descriptor any, handlers Handlers, opts []ServiceOption) (*Registration, error) {
	if s.configErr != nil {
		return nil, s.configErr
	}
	o := newRegisterOptions(s.options.service, opts)
	if err := o.check(); err != nil {
		return nil, err
	}
	service, err := o.service(descriptor)
	if err != nil {
		return nil, err
	}
	r := newRegistration(s, service, s.options.interceptors.concat(&o.interceptors))
	bound, err := r.bindHandlers(handlers, &o)
	if err != nil {
		return nil, err
	}
	r.start(bound, o.servesWhileDrained)
	return r, nil
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
		ReportPanic: r.reportPanic, Owner: r,
	}
	if len(r.interceptors.events) > 0 {
		config.OnEvent = r.emit
	}
	for name, bound := range handlers {
		config.Handlers[name] = &bound.Handler
	}
	r.engine = r.server.engine.NewService(config)
}

// reportPanic reports a panic in a handler or an affinity function; see panicReporter.report.
func (r *Registration) reportPanic(ctx context.Context, method *registry.Method, source string, value any) {
	r.panics().report(ctx, method, source, value)
}

// emit passes an event of the engine to the handlers for request events.
func (r *Registration) emit(event serve.Event) {
	emitRequestEvent(r.interceptors.events, r.panics(), RequestEvent{
		Kind: serverEvents[event.Kind], Info: newRPCInfo(event.Method, event.Topic), Peer: event.Peer, Late: event.Late,
		Outcome: serverOutcomes[event.Outcome], Wait: event.Wait,
	})
}

// serverEvents maps the event kinds of package serve to those of this package.
var serverEvents = [...]RequestEventKind{
	serve.RequestReceived: RequestReceived, serve.RequestExpired: RequestExpired, serve.ClaimDecided: ClaimDecided,
}

// serverOutcomes maps the outcomes of package serve to those of this package.
var serverOutcomes = [...]ClaimOutcome{
	serve.ClaimGranted: ClaimGranted, serve.ClaimLost: ClaimLost, serve.ClaimTimedOut: ClaimTimedOut,
	serve.ClaimSkipped: ClaimSkipped, serve.ClaimDeclined: ClaimDeclined,
}
