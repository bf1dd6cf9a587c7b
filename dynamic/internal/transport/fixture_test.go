package transport

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const source = `
syntax = "proto3";
package test;
import "options.proto";
message Empty {}
service Weather {
  rpc Forecast(Empty) returns (Empty);
  rpc Report(Empty) returns (Empty) { option (psrpc.options).topics = true; }
  rpc Alert(Empty) returns (Empty) {
    option (psrpc.options) = { topics: true topic_params: { names: ["region", "severity"] } };
  }
  rpc Station(Empty) returns (Empty) {
    option (psrpc.options) = { topics: true topic_params: { names: ["country", "region", "town", "street"] } };
  }
}
`

// weather returns the service that source declares.
func weather(t testing.TB) *registry.Service {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"test.proto": {Data: []byte(source)}}, "test.proto"))
	service, ok := reg.Service("test.Weather")
	require.True(t, ok)
	return service
}

func method(t testing.TB, name string) *registry.Method {
	t.Helper()
	m, ok := weather(t).Method(name)
	require.True(t, ok)
	return m
}

// subscriberBus is a bus that counts its open subscriptions. A test can make Subscribe wait or fail
// with the field subscribe.
type subscriberBus struct {
	bus.Bus

	// subscribe decides whether Subscribe succeeds. If it is nil, Subscribe succeeds at once.
	subscribe func(ctx context.Context, deliver bus.Handler) error
	total     atomic.Int64
	open      atomic.Int64
}

func (b *subscriberBus) Subscribe(
	ctx context.Context, _ bus.Channel, _ bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	if b.subscribe != nil {
		if err := b.subscribe(ctx, deliver); err != nil {
			return nil, err
		}
	}
	b.total.Add(1)
	b.open.Add(1)
	return &subscription{bus: b}, nil
}

// subscription is an open subscription to a subscriberBus, which counts it until it is closed.
type subscription struct {
	bus    *subscriberBus
	closed atomic.Bool
}

func (s *subscription) Close() {
	if s.closed.CompareAndSwap(false, true) {
		s.bus.open.Add(-1)
	}
}

func (s *subscription) Subscribers() int { return int(s.bus.open.Load()) }
