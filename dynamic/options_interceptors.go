package dynamic

import (
	"reflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// WithInterceptors adds a set of interceptors. A package that provides interceptors returns this
// option, so that its users can pass the same option to servers, services and conns. Each of them
// uses the interceptors of its own side. If several options add interceptors of one kind, those of
// the first option are the outermost. Interceptors of a server are outside those of its services.
func WithInterceptors(interceptors Interceptors) Option {
	return interceptorsOption{list: []Interceptors{interceptors}}
}

// WithPanicHook adds a hook that is called for each panic that dynpsrpc recovers. These are panics
// in handlers, in affinity functions, in the handlers of [WithRequestEvents], and in interceptors
// that run on goroutines started by dynpsrpc. The panic is logged before the hook is called. The
// error that the caller of the method receives says only that there was a panic. If the hook itself
// panics, that panic is logged too. A nil hook is ignored.
func WithPanicHook(hook PanicHook) Option {
	return WithInterceptors(Interceptors{PanicHook: hook})
}

// WithRequestEvents adds a handler for events that interceptors do not see. For example, the
// interceptors of a server do not run for requests that it drops.
//
// On a server or service, the handler is called for each request that arrives or has expired, and
// for the outcome of each claim. On a conn, it is called with the outcome of the claims when a
// single call or the opening of a stream has ended. It is not called if there is no outcome, for
// example because the caller has canceled the call. There are no claims for multi calls or for
// methods that are declared to have a single server. Other facts about calls are available to
// interceptors. The option WithRequestEvents of package interceptors/metrics turns the events into
// metrics.
//
// A nil handler is ignored. Without handlers, events cost nothing.
func WithRequestEvents(handler RequestEventHandler) Option {
	return WithInterceptors(Interceptors{ServerEvents: handler, ClientEvents: handler})
}

// interceptorsOption adds interceptors to a server, service, conn or call. It implements the option
// interfaces of all of them. The result type of an exported function, such as ConnOption,
// determines to what the option can be passed.
type interceptorsOption struct {
	list []Interceptors
	// err joins the errors about interceptors that are nil.
	err error
}

func (i interceptorsOption) applyServer(o *serverOptions)     { i.addServer(&o.interceptors) }
func (i interceptorsOption) applyRegister(o *registerOptions) { i.addServer(&o.interceptors) }
func (i interceptorsOption) applyConn(o *connOptions)         { i.addClient(&o.interceptors) }

func (i interceptorsOption) applyRequest(o *requestOptions) {
	if o.interceptors == nil {
		o.interceptors = &clientInterceptors{}
	}
	i.addClient(o.interceptors)
}

func (i interceptorsOption) addServer(to *serverInterceptors) {
	for _, interceptors := range i.list {
		to.add(interceptors)
	}
	to.err = errors.Join(to.err, i.err)
}

func (i interceptorsOption) addClient(to *clientInterceptors) {
	for _, interceptors := range i.list {
		to.add(interceptors)
	}
	to.err = errors.Join(to.err, i.err)
}

// each returns an option that adds interceptors of one kind. set stores an interceptor in the field
// of its kind. option is the name of the option for errors about nil interceptors.
func each[I any](option string, interceptors []I, set func(to *Interceptors, interceptor I)) interceptorsOption {
	o := interceptorsOption{list: make([]Interceptors, 0, len(interceptors))}
	for i, interceptor := range interceptors {
		if reflect.ValueOf(interceptor).IsNil() {
			o.err = errors.Join(o.err, errors.NewErrorf(errors.InvalidArgument, "%s: interceptor %d is nil", option, i+1))
			continue
		}
		o.list = append(o.list, Interceptors{})
		set(&o.list[len(o.list)-1], interceptor)
	}
	return o
}

// WithServerRPCInterceptors adds interceptors for the single and multi calls that a server or
// service handles. The first interceptor is the outermost. Interceptors of the server are outside
// those of the service. If an interceptor is nil, [Server.Register] returns an error.
func WithServerRPCInterceptors(interceptors ...ServerRPCInterceptor) ServiceOption {
	return each("WithServerRPCInterceptors", interceptors, func(to *Interceptors, i ServerRPCInterceptor) { to.ServerRPC = i })
}

// WithServerStreamInterceptors adds interceptors for the streams of a server or service. The first
// interceptor is the outermost and thus closest to the bus. Interceptors of the server are outside
// those of the service. If an interceptor is nil, [Server.Register] returns an error.
func WithServerStreamInterceptors(interceptors ...StreamInterceptor) ServiceOption {
	return each("WithServerStreamInterceptors", interceptors, func(to *Interceptors, i StreamInterceptor) { to.ServerStream = i })
}

// WithServerPublishInterceptors adds interceptors for [Registration.Publish]. The first interceptor
// is the outermost. Interceptors of the server are outside those of the service. If an interceptor
// is nil, [Server.Register] returns an error.
func WithServerPublishInterceptors(interceptors ...PublishInterceptor) ServiceOption {
	return each("WithServerPublishInterceptors", interceptors, func(to *Interceptors, i PublishInterceptor) { to.ServerPublish = i })
}

// WithClientRPCInterceptors adds interceptors for the single calls of a conn. The first interceptor
// is the outermost. If an interceptor is nil, [NewConn] returns an error.
func WithClientRPCInterceptors(interceptors ...ClientRPCInterceptor) ConnOption {
	return each("WithClientRPCInterceptors", interceptors, func(to *Interceptors, i ClientRPCInterceptor) { to.ClientRPC = i })
}

// WithClientMultiRPCInterceptors adds interceptors for the multi calls of a conn. The first
// interceptor is the outermost. If an interceptor is nil, [NewConn] returns an error.
func WithClientMultiRPCInterceptors(interceptors ...ClientMultiRPCInterceptor) ConnOption {
	return each("WithClientMultiRPCInterceptors", interceptors, func(to *Interceptors, i ClientMultiRPCInterceptor) { to.ClientMultiRPC = i })
}

// WithClientStreamInterceptors adds interceptors for the streams of a conn. The first interceptor
// is the outermost and thus closest to the user of the stream. If an interceptor is nil, [NewConn]
// returns an error.
func WithClientStreamInterceptors(interceptors ...StreamInterceptor) ConnOption {
	return each("WithClientStreamInterceptors", interceptors, func(to *Interceptors, i StreamInterceptor) { to.ClientStream = i })
}

// WithSubscriptionInterceptors adds interceptors for the updates received by the subscriptions of a
// conn. The first interceptor is the outermost: it is closest to the bus and receives each update
// first. If an interceptor is nil, [NewConn] returns an error.
func WithSubscriptionInterceptors(interceptors ...SubscriptionInterceptor) ConnOption {
	return each("WithSubscriptionInterceptors", interceptors, func(to *Interceptors, i SubscriptionInterceptor) { to.Subscription = i })
}

// WithPublishInterceptors adds interceptors for the updates that are sent by calling [Publish] with
// the conn. The first interceptor is the outermost. If an interceptor is nil, [NewConn] returns an
// error.
func WithPublishInterceptors(interceptors ...PublishInterceptor) ConnOption {
	return each("WithPublishInterceptors", interceptors, func(to *Interceptors, i PublishInterceptor) { to.Publish = i })
}

// WithRequestInterceptors adds interceptors for the single call to which it is passed. The added
// interceptors run inside those of the conn. The first interceptor is the outermost. If an
// interceptor is nil, the call fails with code invalid_argument.
func WithRequestInterceptors(interceptors ...ClientRPCInterceptor) RequestOption {
	return each("WithRequestInterceptors", interceptors, func(to *Interceptors, i ClientRPCInterceptor) { to.ClientRPC = i })
}

// WithRequestMultiInterceptors adds interceptors for the multi call to which it is passed. The
// added interceptors run inside those of the conn. The first interceptor is the outermost. If an
// interceptor is nil, the call fails with code invalid_argument.
func WithRequestMultiInterceptors(interceptors ...ClientMultiRPCInterceptor) RequestOption {
	return each("WithRequestMultiInterceptors", interceptors, func(to *Interceptors, i ClientMultiRPCInterceptor) { to.ClientMultiRPC = i })
}

// WithRequestStreamInterceptors adds interceptors for the stream that is opened with this option.
// The added interceptors run inside those of the conn. The first interceptor is the outermost. If
// an interceptor is nil, opening the stream fails with code invalid_argument.
func WithRequestStreamInterceptors(interceptors ...StreamInterceptor) RequestOption {
	return each("WithRequestStreamInterceptors", interceptors, func(to *Interceptors, i StreamInterceptor) { to.ClientStream = i })
}
