package dynamic_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// catchingBus is a bus that stores the last published frame and the handler of the last
// subscription. It delivers nothing.
type catchingBus struct {
	bus.Bus

	frame   []byte
	deliver bus.Handler
}

func (c *catchingBus) Publish(_ context.Context, _ bus.Channel, frame []byte, _ bus.DeliveryReport) error {
	c.frame = frame
	return nil
}

func (c *catchingBus) Subscribe(
	ctx context.Context, channel bus.Channel, join bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	c.deliver = deliver
	return c.Bus.Subscribe(ctx, channel, join, deliver)
}

// BenchmarkUpdate measures the cost of publishing an update and of delivering it, without the cost
// of the bus.
func BenchmarkUpdate(b *testing.B) {
	w := newSeenWorld(b, with{})
	caught := &catchingBus{Bus: w.bus}
	server := dynamic.NewServer(caught)
	service, err := server.Register(w.service.Service(), nil, dynamic.AllowMissing())
	require.NoError(b, err)
	conn, err := dynamic.NewConn(caught, w.registry)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, conn.Close()); service.Kill() })
	update := say(strings.Repeat("x", 64))
	b.Run("publish", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if service.Publish(b.Context(), "Feed", update) != nil {
				b.Fail()
			}
		}
	})
	b.Run("deliver", func(b *testing.B) {
		b.ReportAllocs()
		client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](conn, seenFeed)
		require.NoError(b, err)
		subscription, err := client.Subscribe(b.Context())
		require.NoError(b, err)
		for b.Loop() {
			caught.deliver(caught.frame)
			<-subscription.Channel()
		}
	})
	b.Run("deliver behind", func(b *testing.B) {
		b.ReportAllocs()
		const burst = 10_000
		client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](conn, seenFeed)
		require.NoError(b, err)
		subscription, err := client.Subscribe(b.Context())
		require.NoError(b, err)
		for b.Loop() {
			for range burst {
				caught.deliver(caught.frame)
			}
			for range burst {
				<-subscription.Channel()
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/burst, "ns/update")
	})
}
