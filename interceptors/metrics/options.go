package metrics

import "github.com/dynpsrpc/dynpsrpc/dynamic"

// Option configures [New].
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

// New measures, on a server or a service, the calls and streams that it answers and the updates that it publishes; on a conn
// its calls, multi calls and streams, the updates that it publishes and those that come to its subscriptions.
//
// Give it before other interceptors, so that it measures what they do, too. On a conn it measures what an interceptor
// behind it does several times, such as interceptors.Retry, as one call; given after that, one by one.
func New(observer Observer, opts ...Option) dynamic.CommonOption {
	m := &measuring{instruments: withoutTopics, observer: observer}
	for _, opt := range opts {
		opt(m)
	}
	return dynamic.CommonOptions(
		dynamic.ServiceOptions(
			dynamic.WithServerRPCInterceptors(m.serve),
			dynamic.WithServerStreamInterceptors(m.serverStream),
			dynamic.WithServerPublishInterceptors(m.publishing),
		),
		dynamic.ConnOptions(
			dynamic.WithClientRPCInterceptors(m.calling),
			dynamic.WithClientMultiRPCInterceptors(m.callingAll),
			dynamic.WithClientStreamInterceptors(m.clientStream),
			dynamic.WithPublishInterceptors(m.publishing),
			dynamic.WithSubscriptionInterceptors(m.delivering),
		),
	)
}
