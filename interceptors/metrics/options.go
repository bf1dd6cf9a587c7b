package metrics

import "github.com/dynpsrpc/dynpsrpc/dynamic"

// Option configures [Server] and [Client].
type Option func(*measuring)

// WithTopics makes the topic an attribute of every measurement. Each topic is then a time series of its own for each
// method: only where there are few.
func WithTopics() Option {
	return func(m *measuring) { m.topics, m.instruments = true, withTopics }
}

// measuring is what interceptors share.
type measuring struct {
	*instruments

	observer Observer
	topics   bool
}

func newMeasuring(observer Observer, opts []Option) *measuring {
	m := &measuring{instruments: withoutTopics, observer: observer}
	for _, opt := range opts {
		opt(m)
	}
	return m
}

// Server measures the calls and streams that a server, or a service, answers, and the updates that it publishes. Give it
// before other interceptors, so that it measures what they do, too.
func Server(observer Observer, opts ...Option) dynamic.ServiceOption {
	m := newMeasuring(observer, opts)
	return dynamic.ServiceOptions(
		dynamic.WithServerRPCInterceptors(m.serve),
		dynamic.WithServerStreamInterceptors(m.serverStream),
		dynamic.WithServerPublishInterceptors(m.publishing),
	)
}

// Client measures a conn's calls, multi calls and streams, the updates that it publishes and those that come to its
// subscriptions. Given before an interceptor that makes calls several times, it measures them as one call; given after
// it, one by one.
func Client(observer Observer, opts ...Option) dynamic.ConnOption {
	m := newMeasuring(observer, opts)
	return dynamic.ConnOptions(
		dynamic.WithClientRPCInterceptors(m.calling),
		dynamic.WithClientMultiRPCInterceptors(m.callingAll),
		dynamic.WithClientStreamInterceptors(m.clientStream),
		dynamic.WithPublishInterceptors(m.publishing),
		dynamic.WithSubscriptionInterceptors(m.delivering),
	)
}
