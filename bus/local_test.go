package bus_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLocal_Conformance(t *testing.T) {
	t.Parallel()
	const maxFrameSize = 1 << 20
	networks := map[testing.TB]*bus.Local{}
	bustest.Run(t, bustest.Network{
		Connect: func(t testing.TB) bus.Bus {
			if networks[t] == nil {
				networks[t] = bus.NewLocal(bus.WithMaxFrameSize(maxFrameSize))
			}
			return networks[t]
		},
		CountsReceivers:      true,
		CountsSubscriptions:  true,
		DetectsNoSubscribers: true,
		MaxFrameSize:         maxFrameSize,
	})
}

func TestLocal_QueueIsRoundRobin(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	channel := bus.Channel{Name: "c"}
	got := [3]int{}
	for i := range got {
		_, err := b.Subscribe(t.Context(), channel, bus.Queue, func([]byte) { got[i]++ })
		require.NoError(t, err)
	}
	for range 30 {
		require.NoError(t, b.Publish(t.Context(), channel, nil, nil))
	}
	assert.Equal(t, [3]int{10, 10, 10}, got)
}

type receivers []int

func (r *receivers) Delivered(n int, err error) {
	if err != nil {
		n = bus.Unknown
	}
	*r = append(*r, n)
}

func TestLocal_QueueCountsAsOneReceiver(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	channel := bus.Channel{Name: "c"}
	for _, join := range []bus.Mode{bus.Broadcast, bus.Queue, bus.Queue} {
		_, err := b.Subscribe(t.Context(), channel, join, func([]byte) {})
		require.NoError(t, err)
	}
	var report receivers
	require.NoError(t, b.Publish(t.Context(), channel, nil, &report))
	assert.Equal(t, receivers{2}, report)
}

// If a queue always has at least one subscriber, every frame must be delivered, even if the
// subscriber changes while a frame is being published. The broadcast handler replaces the queue's
// subscriber after Publish has read the list of subscribers and before it delivers the frame.
func TestLocal_QueueHandoverLosesNoFrame(t *testing.T) {
	t.Parallel()
	b, channel := bus.NewLocal(), bus.Channel{Name: "c"}
	handedOver, got := false, 0
	var closing bus.Subscription
	_, err := b.Subscribe(t.Context(), channel, bus.Broadcast, func([]byte) {
		if handedOver {
			return
		}
		handedOver = true
		_, err := b.Subscribe(t.Context(), channel, bus.Queue, func([]byte) { got++ })
		assert.NoError(t, err)
		closing.Close()
	})
	require.NoError(t, err)
	closing, err = b.Subscribe(t.Context(), channel, bus.Queue, func([]byte) { got++ })
	require.NoError(t, err)
	require.NoError(t, b.Publish(t.Context(), channel, nil, nil))
	assert.Equal(t, 1, got)
}

func TestLocal_NoLimit(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal(bus.WithMaxFrameSize(0))
	require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: "c"}, make([]byte, bus.DefaultMaxFrameSize+1), nil))
}

func TestLocal_FrameTooLargeSaysHowLarge(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal(bus.WithMaxFrameSize(10))
	err := b.Publish(t.Context(), bus.Channel{Name: "c|REQ"}, make([]byte, 11), nil)
	require.ErrorIs(t, err, bus.ErrFrameTooLarge)
	assert.ErrorContains(t, err, "11 bytes on channel c|REQ, the limit is 10")
	var coded errors.Error
	require.ErrorAs(t, err, &coded)
	assert.Equal(t, errors.ResourceExhausted, coded.Code())
}

func TestLocal_PublishDoesNotAllocate(t *testing.T) {
	b := bus.NewLocal()
	channel := bus.Channel{Name: "c"}
	_, err := b.Subscribe(t.Context(), channel, bus.Broadcast, func([]byte) {})
	require.NoError(t, err)
	frame, ctx := []byte("frame"), context.Background()
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = b.Publish(ctx, channel, frame, nil) }))
}

func BenchmarkLocal_Publish(b *testing.B) {
	local := bus.NewLocal()
	channel := bus.Channel{Name: "my_service|my_method|REQ"}
	if _, err := local.Subscribe(b.Context(), channel, bus.Broadcast, func([]byte) {}); err != nil {
		b.Fatal(err)
	}
	frame, ctx := []byte("frame"), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if err := local.Publish(ctx, channel, frame, nil); err != nil {
			b.Fatal(err)
		}
	}
}
