package dynamic

import (
	"reflect"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// serverInterceptors are those of a server, or of one of its services, the outermost first.
type serverInterceptors struct {
	rpc     []ServerRPCInterceptor
	stream  []StreamInterceptor
	publish []PublishInterceptor
	panics  []PanicHook
	err     error // which of them are nil
}

// concat returns these interceptors, and then those of a service.
func (s *serverInterceptors) concat(service *serverInterceptors) serverInterceptors {
	return serverInterceptors{
		rpc:     slices.Concat(s.rpc, service.rpc),
		stream:  slices.Concat(s.stream, service.stream),
		publish: slices.Concat(s.publish, service.publish),
		panics:  slices.Concat(s.panics, service.panics),
	}
}

// clientInterceptors are those of a conn, or of one call; a call has none for updates.
type clientInterceptors struct {
	rpc          []ClientRPCInterceptor
	multi        []ClientMultiRPCInterceptor
	stream       []StreamInterceptor
	publish      []PublishInterceptor
	subscription []SubscriptionInterceptor
	panics       []PanicHook
	err          error // which of them are nil
}

type serverInterceptorOption func(*serverInterceptors)

func (f serverInterceptorOption) applyServer(o *serverOptions)     { f(&o.interceptors) }
func (f serverInterceptorOption) applyRegister(o *registerOptions) { f(&o.interceptors) }

type connInterceptorOption func(*clientInterceptors)

func (f connInterceptorOption) applyConn(o *connOptions) { f(&o.interceptors) }

type requestInterceptorOption func(*clientInterceptors)

func (f requestInterceptorOption) applyRequest(o *requestOptions) {
	if o.interceptors == nil {
		o.interceptors = &clientInterceptors{}
	}
	f(o.interceptors)
}

// appendNonNil adds interceptors to those that were given before. One that is nil is left out, and an error.
func appendNonNil[I any](into *[]I, problems *error, option string, interceptors []I) {
	for i, interceptor := range interceptors {
		if reflect.ValueOf(interceptor).IsNil() {
			*problems = errors.Join(*problems, errors.NewErrorf(errors.InvalidArgument, "%s: interceptor %d is nil", option, i+1))
			continue
		}
		*into = append(*into, interceptor)
	}
}

// WithServerRPCInterceptors adds interceptors of the calls, single and multi, that a server, or a service, answers. The
// first given is outermost; those of the server are outside of those of the service. If one is nil, Register says so.
func WithServerRPCInterceptors(interceptors ...ServerRPCInterceptor) ServiceOption {
	return serverInterceptorOption(func(s *serverInterceptors) {
		appendNonNil(&s.rpc, &s.err, "WithServerRPCInterceptors", interceptors)
	})
}

// WithServerStreamInterceptors adds interceptors of the streams that a server, or a service, has. The first given is
// outermost, nearest the bus; those of the server are outside of those of the service. If one is nil, Register says so.
func WithServerStreamInterceptors(interceptors ...StreamInterceptor) ServiceOption {
	return serverInterceptorOption(func(s *serverInterceptors) {
		appendNonNil(&s.stream, &s.err, "WithServerStreamInterceptors", interceptors)
	})
}

// WithServerPublishInterceptors adds interceptors of [Registration.Publish]. The first given is outermost; those of the
// server are outside of those of the service. If one is nil, Register says so.
func WithServerPublishInterceptors(interceptors ...PublishInterceptor) ServiceOption {
	return serverInterceptorOption(func(s *serverInterceptors) {
		appendNonNil(&s.publish, &s.err, "WithServerPublishInterceptors", interceptors)
	})
}

// WithClientRPCInterceptors adds interceptors of the conn's single calls. The first given is outermost. If one is nil,
// NewConn says so.
func WithClientRPCInterceptors(interceptors ...ClientRPCInterceptor) ConnOption {
	return connInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.rpc, &c.err, "WithClientRPCInterceptors", interceptors)
	})
}

// WithClientMultiRPCInterceptors adds interceptors of the conn's multi calls. The first given is outermost. If one is
// nil, NewConn says so.
func WithClientMultiRPCInterceptors(interceptors ...ClientMultiRPCInterceptor) ConnOption {
	return connInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.multi, &c.err, "WithClientMultiRPCInterceptors", interceptors)
	})
}

// WithClientStreamInterceptors adds interceptors of the conn's streams. The first given is outermost, nearest the user. If
// one is nil, NewConn says so.
func WithClientStreamInterceptors(interceptors ...StreamInterceptor) ConnOption {
	return connInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.stream, &c.err, "WithClientStreamInterceptors", interceptors)
	})
}

// WithSubscriptionInterceptors adds interceptors of the updates that come to the conn's subscriptions. The first given
// is outermost, nearest the bus: the first to see an update. If one is nil, NewConn says so.
func WithSubscriptionInterceptors(interceptors ...SubscriptionInterceptor) ConnOption {
	return connInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.subscription, &c.err, "WithSubscriptionInterceptors", interceptors)
	})
}

// WithPublishInterceptors adds interceptors of [Publish] with this conn. The first given is outermost. If one is nil,
// NewConn says so.
func WithPublishInterceptors(interceptors ...PublishInterceptor) ConnOption {
	return connInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.publish, &c.err, "WithPublishInterceptors", interceptors)
	})
}

// WithRequestInterceptors adds interceptors of this single call, inside of those of its conn. The first given is
// outermost. If one is nil, the call fails with the code invalid_argument.
func WithRequestInterceptors(interceptors ...ClientRPCInterceptor) RequestOption {
	return requestInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.rpc, &c.err, "WithRequestInterceptors", interceptors)
	})
}

// WithRequestMultiInterceptors adds interceptors of this multi call, inside of those of its conn. The first given is
// outermost. If one is nil, the call fails with the code invalid_argument.
func WithRequestMultiInterceptors(interceptors ...ClientMultiRPCInterceptor) RequestOption {
	return requestInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.multi, &c.err, "WithRequestMultiInterceptors", interceptors)
	})
}

// WithRequestStreamInterceptors adds interceptors of the stream that is opened, inside of those of its conn. The first
// given is outermost. If one is nil, opening fails with the code invalid_argument.
func WithRequestStreamInterceptors(interceptors ...StreamInterceptor) RequestOption {
	return requestInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.stream, &c.err, "WithRequestStreamInterceptors", interceptors)
	})
}
