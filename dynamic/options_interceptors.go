package dynamic

import (
	"reflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

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

// appendNonNil appends interceptors to *list. It skips nil interceptors and appends an error to
// *problems for each of them. The error contains the name of the option that was used.
func appendNonNil[I any](list *[]I, problems *error, option string, interceptors []I) {
	for i, interceptor := range interceptors {
		if reflect.ValueOf(interceptor).IsNil() {
			*problems = errors.Join(*problems, errors.NewErrorf(errors.InvalidArgument, "%s: interceptor %d is nil", option, i+1))
			continue
		}
		*list = append(*list, interceptor)
	}
}

// WithServerRPCInterceptors adds interceptors for the single and multi calls that a server or
// service handles. The first interceptor is the outermost. Interceptors of the server are outside
// those of the service. If an interceptor is nil, [Server.Register] returns an error.
func WithServerRPCInterceptors(interceptors ...ServerRPCInterceptor) ServiceOption {
	return serverInterceptorOption(func(s *serverInterceptors) {
		appendNonNil(&s.rpc, &s.err, "WithServerRPCInterceptors", interceptors)
	})
}

// WithServerStreamInterceptors adds interceptors for the streams of a server or service. The first
// interceptor is the outermost and thus closest to the bus. Interceptors of the server are outside
// those of the service. If an interceptor is nil, [Server.Register] returns an error.
func WithServerStreamInterceptors(interceptors ...StreamInterceptor) ServiceOption {
	return serverInterceptorOption(func(s *serverInterceptors) {
		appendNonNil(&s.stream, &s.err, "WithServerStreamInterceptors", interceptors)
	})
}

// WithServerPublishInterceptors adds interceptors for [Registration.Publish]. The first interceptor
// is the outermost. Interceptors of the server are outside those of the service. If an interceptor
// is nil, [Server.Register] returns an error.
func WithServerPublishInterceptors(interceptors ...PublishInterceptor) ServiceOption {
	return serverInterceptorOption(func(s *serverInterceptors) {
		appendNonNil(&s.publish, &s.err, "WithServerPublishInterceptors", interceptors)
	})
}

// WithClientRPCInterceptors adds interceptors for the single calls of a conn. The first interceptor
// is the outermost. If an interceptor is nil, [NewConn] returns an error.
func WithClientRPCInterceptors(interceptors ...ClientRPCInterceptor) ConnOption {
	return connInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.rpc, &c.err, "WithClientRPCInterceptors", interceptors)
	})
}

// WithClientMultiRPCInterceptors adds interceptors for the multi calls of a conn. The first
// interceptor is the outermost. If an interceptor is nil, [NewConn] returns an error.
func WithClientMultiRPCInterceptors(interceptors ...ClientMultiRPCInterceptor) ConnOption {
	return connInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.multi, &c.err, "WithClientMultiRPCInterceptors", interceptors)
	})
}

// WithClientStreamInterceptors adds interceptors for the streams of a conn. The first interceptor
// is the outermost and thus closest to the user of the stream. If an interceptor is nil, [NewConn]
// returns an error.
func WithClientStreamInterceptors(interceptors ...StreamInterceptor) ConnOption {
	return connInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.stream, &c.err, "WithClientStreamInterceptors", interceptors)
	})
}

// WithSubscriptionInterceptors adds interceptors for the updates received by the subscriptions of a
// conn. The first interceptor is the outermost, which is the one closest to the bus. The outermost
// interceptor receives each update first. If an interceptor is nil, [NewConn] returns an error.
func WithSubscriptionInterceptors(interceptors ...SubscriptionInterceptor) ConnOption {
	return connInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.subscription, &c.err, "WithSubscriptionInterceptors", interceptors)
	})
}

// WithPublishInterceptors adds interceptors for the updates that are sent by calling [Publish] with
// the conn. The first interceptor is the outermost. If an interceptor is nil, [NewConn] returns an
// error.
func WithPublishInterceptors(interceptors ...PublishInterceptor) ConnOption {
	return connInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.publish, &c.err, "WithPublishInterceptors", interceptors)
	})
}

// WithRequestInterceptors adds interceptors for one single call. The added interceptors run inside
// those of the conn. The first interceptor is the outermost. If an interceptor is nil, the call
// fails with code invalid_argument.
func WithRequestInterceptors(interceptors ...ClientRPCInterceptor) RequestOption {
	return requestInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.rpc, &c.err, "WithRequestInterceptors", interceptors)
	})
}

// WithRequestMultiInterceptors adds interceptors for one multi call. The added interceptors run
// inside those of the conn. The first interceptor is the outermost. If an interceptor is nil, the
// call fails with code invalid_argument.
func WithRequestMultiInterceptors(interceptors ...ClientMultiRPCInterceptor) RequestOption {
	return requestInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.multi, &c.err, "WithRequestMultiInterceptors", interceptors)
	})
}

// WithRequestStreamInterceptors adds interceptors for the stream that is opened with this option.
// The added interceptors run inside those of the conn. The first interceptor is the outermost. If
// an interceptor is nil, opening the stream fails with code invalid_argument.
func WithRequestStreamInterceptors(interceptors ...StreamInterceptor) RequestOption {
	return requestInterceptorOption(func(c *clientInterceptors) {
		appendNonNil(&c.stream, &c.err, "WithRequestStreamInterceptors", interceptors)
	})
}
