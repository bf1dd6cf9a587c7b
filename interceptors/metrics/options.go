package metrics

import "github.com/dynpsrpc/dynpsrpc/dynamic"

// Option configures [New].
type Option func(*metrics)

// WithTopics makes the topic an attribute of every measurement. Each topic is then a time series of its own for each
// method: only where there are few.
func WithTopics() Option {
	return func(m *metrics) { m.topics, m.instruments = true, withTopics }
}

// metrics is what interceptors share.
type metrics struct {
	*instruments

	observer Observer
	topics   bool
}

// New measures, on a server or a service, the calls and streams that it answers and the updates that it publishes; on a conn
// its calls, multi calls and streams, the updates that it publishes and those that come to its subscriptions.
//
// Give it before other interceptors, so that it measures what they do, too. On a conn it measures what an interceptor
// behind it does several times, such as interceptors.Retry, as one call; given after that, one by one.
func New(observer Observer, opts ...Option) dynamic.CommonOption {
	m := &metrics{instruments: withoutTopics, observer: observer}
	for _, opt := range opts {
		opt(m)
	}
	return dynamic.CommonOptions(
		dynamic.ServiceOptions(
			dynamic.WithServerRPCInterceptors(m.serve),
			dynamic.WithServerStreamInterceptors(m.serverStream),
			dynamic.WithServerPublishInterceptors(m.publish),
		),
		dynamic.ConnOptions(
			dynamic.WithClientRPCInterceptors(m.call),
			dynamic.WithClientMultiRPCInterceptors(m.multi),
			dynamic.WithClientStreamInterceptors(m.clientStream),
			dynamic.WithPublishInterceptors(m.publish),
			dynamic.WithSubscriptionInterceptors(m.deliver),
		),
	)
}
