package metrics

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// Option configures [New].
type Option func(*metrics)

// DefaultMaxTopics is the maximum number of topics that get an attribute of their own if
// [WithTopics] is used without [WithMaxTopics].
const DefaultMaxTopics = 1000

// WithTopics adds the topic as an attribute to every measurement. Each combination of method and
// topic creates a separate time series, so use this option only if the number of topics is small.
// The attribute is _OTHER for topics beyond the first [DefaultMaxTopics] and for topics longer than
// 256 bytes.
func WithTopics() Option {
	return func(m *metrics) { m.topics.enabled, m.instruments = true, withTopics }
}

// WithMaxTopics is like [WithTopics] but sets the maximum number of topics that get an attribute of
// their own. If maximum is zero or negative, [DefaultMaxTopics] is used. Each call of [New] counts
// topics separately.
func WithMaxTopics(maximum int) Option {
	return func(m *metrics) {
		WithTopics()(m)
		m.topics.maximum = maximum
	}
}

// WithRequestEvents also measures events that interceptors do not see. It counts the requests that
// arrive at a server and those that the server drops because they have expired. It also measures
// how the claims of servers end, on both servers and conns. See [dynamic.WithRequestEvents].
func WithRequestEvents() Option {
	return func(m *metrics) { m.events = true }
}

// New returns an option that measures calls. On a server or service, it measures incoming calls,
// incoming streams and published updates. On a conn, it measures outgoing calls, multi calls and
// streams, as well as published and received updates.
//
// Pass this option before other interceptors to include the time they take. On a conn, the order
// also matters for retries. If interceptors.Retry is passed after this option, all attempts are
// measured together as one call. If Retry is passed before it, each attempt is measured separately.
//
// If observer is nil, nothing is measured.
func New(observer Observer, opts ...Option) dynamic.Option {
	if nilarg.Is(observer) {
		return dynamic.Options()
	}
	m := &metrics{instruments: withoutTopics, observer: observer}
	for _, opt := range opts {
		if opt != nil {
			opt(m)
		}
	}
	if m.topics.maximum <= 0 {
		m.topics.maximum = DefaultMaxTopics
	}
	set := dynamic.Interceptors{
		ServerRPC:      m.serve,
		ServerStream:   m.serverStream,
		ServerPublish:  m.publish,
		ClientRPC:      m.call,
		ClientMultiRPC: m.multi,
		ClientStream:   m.clientStream,
		Publish:        m.publish,
		Subscription:   m.deliver,
	}
	if m.events {
		set.ServerEvents, set.ClientEvents = m.serverEvent, m.clientEvent
	}
	return dynamic.WithInterceptors(set)
}

// metrics holds the state shared by all interceptors of one option that [New] has returned.
type metrics struct {
	*instruments

	observer Observer
	topics   topics
	// events reports whether WithRequestEvents is used.
	events bool
}

// subject returns the labels of a method and, if WithTopics is used, of the topic. The result has
// no spare capacity, so appending to it always copies it.
func (m *metrics) subject(info dynamic.RPCInfo) []string {
	labels := make([]string, 0, 3)
	labels = append(labels, system, info.Descriptor.FullName())
	if m.topics.enabled {
		labels = append(labels, m.topics.label(info.Topic))
	}
	return slices.Clip(labels)
}

func (m *metrics) begin(ctx context.Context, set *callInstruments, info dynamic.RPCInfo) *call {
	c := &call{callInstruments: set, observer: m.observer, context: ctx, labels: m.subject(info), started: time.Now()}
	c.observe(c.active, 1)
	return c
}

func (m *metrics) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (response proto.Message, err error) {
	c := m.begin(ctx, &m.server, info)
	c.measure(func() error {
		c.observeSize(c.received, request)
		if response, err = handler(ctx, request); err == nil {
			c.observeSize(c.sent, response)
		}
		return err
	})
	return response, err
}

func (m *metrics) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (response proto.Message, err error) {
		c := m.begin(ctx, &m.client, info)
		c.measure(func() error {
			c.observeSize(c.sent, request)
			if response, err = next(ctx, request, opts...); err == nil {
				c.observeSize(c.received, response)
			}
			return err
		})
		return response, err
	}
}

func (m *metrics) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return &measuredMulti{ClientMultiRPCHandler: next, metrics: m, info: info}
}

func (m *metrics) clientStream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	return measuredStream{next, m.begin(dynamic.StreamContext(next), &m.client, info)}
}

func (m *metrics) serverStream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	return measuredStream{next, m.begin(dynamic.StreamContext(next), &m.server, info)}
}

func (m *metrics) publish(info dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler {
	return func(ctx context.Context, update proto.Message) (err error) {
		c := m.begin(ctx, &m.publication, info)
		c.measure(func() error {
			c.observeSize(c.sent, update)
			err = next(ctx, update)
			return err
		})
		return err
	}
}

func (m *metrics) deliver(info dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
	return func(ctx context.Context, update proto.Message) (err error) {
		c := m.begin(ctx, &m.delivery, info)
		c.measure(func() error {
			c.observeSize(c.received, update)
			err = next(ctx, update)
			return err
		})
		return err
	}
}
