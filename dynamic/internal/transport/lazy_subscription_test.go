package transport

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

var errTestClosed = errors.New("closed by the test")

func TestLazySubscription_SubscribesOnce(t *testing.T) {
	t.Parallel()
	b := &subscriberBus{}
	s := &LazySubscription{ClosedErr: errTestClosed}
	for range 3 {
		require.NoError(t, s.Subscribe(t.Context(), b, bus.Channel{}, bus.Broadcast, nil))
	}
	assert.EqualValues(t, 1, b.total.Load())
	for range 2 {
		s.Close()
		assert.Zero(t, b.open.Load())
	}
}

func TestLazySubscription_SubscribeAfterAnError(t *testing.T) {
	t.Parallel()
	failure := errors.New("broker is unreachable")
	b := &subscriberBus{subscribe: func(context.Context, bus.Handler) error { return failure }}
	s := &LazySubscription{ClosedErr: errTestClosed}
	require.ErrorIs(t, s.Subscribe(t.Context(), b, bus.Channel{}, bus.Broadcast, nil), failure)
	b.subscribe = nil
	require.NoError(t, s.Subscribe(t.Context(), b, bus.Channel{}, bus.Broadcast, nil))
	s.Close()
}

func TestLazySubscription_CloseBeforeSubscribe(t *testing.T) {
	t.Parallel()
	b := &subscriberBus{}
	s := &LazySubscription{ClosedErr: errTestClosed}
	s.Close()
	require.ErrorIs(t, s.Subscribe(t.Context(), b, bus.Channel{}, bus.Broadcast, nil), errTestClosed)
	assert.Zero(t, b.total.Load())
}

// Close does not wait for a Subscribe that is blocked in the bus. Once the bus returns the
// subscription, Subscribe closes it and returns an error.
func TestLazySubscription_CloseDuringSubscribe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answered := make(chan struct{})
		b := &subscriberBus{subscribe: func(context.Context, bus.Handler) error { <-answered; return nil }}
		s := &LazySubscription{ClosedErr: errTestClosed}
		result := make(chan error, 1)
		go func() { result <- s.Subscribe(t.Context(), b, bus.Channel{}, bus.Broadcast, nil) }()
		synctest.Wait()
		s.Close()
		assert.Empty(t, result)
		close(answered)
		require.ErrorIs(t, <-result, errTestClosed)
		assert.EqualValues(t, 1, b.total.Load())
		assert.Zero(t, b.open.Load())
	})
}

func TestLazySubscription_CloseDuringFailingSubscribe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := &subscriberBus{subscribe: func(ctx context.Context, _ bus.Handler) error { <-ctx.Done(); return ctx.Err() }}
		s := &LazySubscription{ClosedErr: errTestClosed}
		result := make(chan error, 1)
		go func() { result <- s.Subscribe(ctx, b, bus.Channel{}, bus.Broadcast, nil) }()
		synctest.Wait()
		s.Close()
		cancel()
		require.ErrorIs(t, <-result, context.Canceled)
	})
}

func TestLazySubscription_Subscribers(t *testing.T) {
	t.Parallel()
	b := &subscriberBus{}
	var first, second LazySubscription
	assert.Zero(t, first.Subscribers(), "not subscribed")
	require.NoError(t, first.Subscribe(t.Context(), b, bus.Channel{}, bus.Broadcast, nil))
	assert.Zero(t, first.Subscribers(), "alone")
	require.NoError(t, second.Subscribe(t.Context(), b, bus.Channel{}, bus.Broadcast, nil))
	assert.EqualValues(t, 2, first.Subscribers())
	second.Close()
	assert.Zero(t, first.Subscribers())

	local := bus.NewLocal()
	defer local.Close()
	var plain LazySubscription
	require.NoError(t, plain.Subscribe(t.Context(), local, bus.Channel{Name: "channel"}, bus.Broadcast, func([]byte) {}))
	assert.Zero(t, plain.Subscribers(), "the in-process bus counts subscriptions one by one")
}
