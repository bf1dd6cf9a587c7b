package update

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestSubscription_Open(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]bus.Mode{"Queue": bus.Queue, "All": bus.Broadcast} {
		f := open(t, func(_ *fixture, c *Config) { c.Method = newMethod(t, name); c.Channel = channel(c.Method, nil) })
		assert.Equal(t, mode, f.bus.mode)
		assert.Equal(t, channel(newMethod(t, name), nil), f.bus.channel)
		assert.Equal(t, 1, f.tracked)
		require.NoError(t, f.Close())
		assert.Zero(t, f.tracked)
	}
}

func TestSubscription_OpenFails(t *testing.T) {
	t.Parallel()
	t.Run("bus", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, func(f *fixture, _ *Config) { f.bus.subscribeErr = bus.ErrClosed })
		err := f.Open(t.Context())
		require.ErrorIs(t, err, bus.ErrClosed)
		facts, ok := errors.FactsOf(err)
		require.True(t, ok)
		assert.Equal(t, errors.CallFacts{
			Method: "test.News/Queue", Phase: errors.PhasePublish, Reason: errors.ReasonBusDown,
		}, facts)
	})
	t.Run("conn", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, func(_ *fixture, c *Config) { c.Track = func() error { return errors.ErrClientClosed } })
		require.ErrorIs(t, f.Open(t.Context()), errors.ErrClientClosed)
		assert.Empty(t, f.rest(), "the channel is closed")
	})
}

func TestSubscription_Close(t *testing.T) {
	t.Parallel()
	f := open(t, nil)
	f.deliverNumbers(2)
	assert.Equal(t, []string{"0", "1"}, f.closeAndRead())
	require.NoError(t, f.Close(), "once more")
	require.NoError(t, f.Err())
	require.NoError(t, f.Drain(t.Context()), "it has lost nothing")
	assert.Equal(t, Stats{Received: 2}, f.Stats())
}

// Close and Drain do not wait forever for a bus that does not answer.
func TestSubscription_BusDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(f *fixture, ctx context.Context) error{
		"close": func(f *fixture, _ context.Context) error { return f.Close() },
		"drain": func(f *fixture, ctx context.Context) error { return f.Drain(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := open(t, nil)
				f.bus.release = make(chan struct{})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err := end(f, ctx)
				requireCode(t, errors.DeadlineExceeded, err)
				require.ErrorContains(t, err, "has not ended")
				close(f.bus.release)
				assert.Empty(t, f.rest(), "it has ended in the background")
			})
		})
	}
}

func TestSubscription_EndsWithAReason(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(f *fixture, cancel context.CancelFunc)
		want error
	}{
		"conn":    {func(f *fixture, _ context.CancelFunc) { f.End(errors.ErrClientClosed) }, errors.ErrClientClosed},
		"context": {func(_ *fixture, cancel context.CancelFunc) { cancel() }, context.Canceled},
		"first reason": {func(f *fixture, cancel context.CancelFunc) {
			f.End(bus.ErrClosed)
			cancel()
			f.End(errors.ErrClientClosed)
		}, bus.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			f := newFixture(t, nil)
			require.NoError(t, f.Open(ctx))
			require.NoError(t, f.Err())
			tt.end(f, cancel)
			assert.Empty(t, f.rest())
			require.ErrorIs(t, f.Err(), tt.want)
			require.NoError(t, f.Close())
			require.ErrorIs(t, f.Err(), tt.want)
		})
	}
}

// Drain puts all updates that have arrived into the channel.
func TestSubscription_Drain(t *testing.T) {
	t.Parallel()
	for _, updates := range []int{0, 1, MaxChannel, 3 * MaxChannel} {
		synctest.Test(t, func(t *testing.T) {
			f := open(t, nil)
			f.deliverNumbers(updates)
			drained := make(chan error, 1)
			go func() { drained <- f.Drain(t.Context()) }() // the test waits for its result
			assert.Equal(t, numbers(0, updates), f.rest())
			require.NoError(t, <-drained)
			require.NoError(t, f.Err())
			assert.Equal(t, Stats{Received: uint64(updates)}, f.Stats())
		})
	}
}

// If no reader takes the updates, Drain returns an error when its context or the subscription ends.
func TestSubscription_DrainIsCutShort(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end       func(f *fixture, cancel context.CancelFunc)
		want, err error
	}{
		"context": {func(_ *fixture, cancel context.CancelFunc) { cancel() }, context.Canceled, nil},
		"close":   {func(f *fixture, _ context.CancelFunc) { _ = f.Close() }, context.Canceled, nil},
		"conn": {func(f *fixture, _ context.CancelFunc) { f.End(errors.ErrClientClosed) },
			errors.ErrClientClosed, errors.ErrClientClosed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := open(t, nil)
				f.deliverNumbers(2 * MaxChannel)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				drained := make(chan error, 1)
				go func() { drained <- f.Drain(ctx) }() // the test waits for its result
				synctest.Wait()
				tt.end(f, cancel)
				err := <-drained
				require.ErrorIs(t, err, tt.want)
				require.ErrorContains(t, err, "drain of the subscription to test.News/Queue: updates were dropped")
				require.ErrorIs(t, f.Err(), tt.err)
				assert.Equal(t, numbers(0, MaxChannel), f.rest())
				assert.Equal(t, Stats{Received: 2 * MaxChannel, Dropped: MaxChannel}, f.Stats())
			})
		})
	}
}
