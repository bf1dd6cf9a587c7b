package serve

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// closeOrderBus is a bus that counts the queue subscriptions whose closing has started.
type closeOrderBus struct {
	bus.Bus

	open, started, early atomic.Int64
}

func (b *closeOrderBus) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, handler bus.Handler,
) (bus.Subscription, error) {
	s, err := b.Bus.Subscribe(ctx, channel, mode, handler)
	if err != nil || mode != bus.Queue {
		return s, err
	}
	b.open.Add(1)
	return &closeOrderSubscription{Subscription: s, bus: b}, nil
}

type closeOrderSubscription struct {
	bus.Subscription

	bus *closeOrderBus
}

// StartClose implements fanout.CloseStarter.
func (s *closeOrderSubscription) StartClose() { s.bus.started.Add(1) }

func (s *closeOrderSubscription) Close() {
	if s.bus.started.Load() < s.bus.open.Load() {
		s.bus.early.Add(1)
	}
	s.Subscription.Close()
}

// The queue methods of a service may share a subscription on the broker. A server that is drained
// or shut down must therefore start to close the subscriptions of all methods before it closes the
// first one.
func TestService_StartsToCloseAllSubscriptionsFirst(t *testing.T) {
	t.Parallel()
	const source = `syntax = "proto3"; package queues; import "options.proto"; import "google/protobuf/empty.proto";
		service Queues {
			rpc A(google.protobuf.Empty) returns (google.protobuf.Empty) { option (psrpc.options) = {type: QUEUE}; }
			rpc B(google.protobuf.Empty) returns (google.protobuf.Empty) { option (psrpc.options) = {type: QUEUE}; }
			rpc C(google.protobuf.Empty) returns (google.protobuf.Empty) { option (psrpc.options) = {type: QUEUE}; }
		}`
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"queues.proto": {Data: []byte(source)}}, "queues.proto"))
	descriptor, _ := reg.Service("queues.Queues")
	for name, end := range map[string]func(*Engine) error{
		"drain":    func(e *Engine) error { return e.Drain(t.Context()) },
		"shutdown": func(e *Engine) error { return e.Shutdown(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			local := bus.NewLocal()
			defer local.Close()
			b := &closeOrderBus{Bus: local}
			engine := New(Config{
				RawBus: b, ID: "server", Logger: slog.New(slog.DiscardHandler), Timeout: time.Minute,
				MaxPendingClaims: 100, MaxPendingClaimBytes: 1 << 20, GrantTimeout: time.Minute, AbandonAfter: time.Second,
			})
			defer engine.Kill()
			config := ServiceConfig{Descriptor: descriptor, Handlers: map[string]*Handler{"A": {}, "B": {}, "C": {}}}
			require.NoError(t, engine.Start(engine.NewService(config)))
			require.EqualValues(t, 3, b.open.Load())
			require.NoError(t, end(engine))
			assert.EqualValues(t, 3, b.started.Load())
			assert.Zero(t, b.early.Load(), "closed while others were open")
		})
	}
}
