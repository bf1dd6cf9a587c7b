package dynamic_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// publishNumbered publishes updates that contain the texts 0, 1, 2 and so on.
func (w *seenWorld) publishNumbered(t testing.TB, updates int) {
	t.Helper()
	for i := range updates {
		require.NoError(t, w.service.Publish(t.Context(), "Feed", say(strconv.Itoa(i))))
	}
}

func passOn(_ dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler { return next }

// Drain delivers all updates that have arrived, in order, and then closes the channel.
func TestSubscription_Drain(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]with{
		"direct":      {},
		"intercepted": {conn: []dynamic.ConnOption{dynamic.WithSubscriptionInterceptors(passOn)}},
	} {
		for _, updates := range []int{0, 1, 1024, 2500} {
			t.Run(name+" "+strconv.Itoa(updates), func(t *testing.T) {
				t.Parallel()
				w := newSeenWorld(t, options)
				subscription := w.subscribe(t)
				w.publishNumbered(t, updates)
				drained := make(chan error, 1)
				// This goroutine ends when all updates are read.
				go func() { drained <- subscription.Drain(t.Context()) }()
				next := 0
				for update := range subscription.Channel() {
					require.Equal(t, strconv.Itoa(next), body(update))
					next++
				}
				assert.Equal(t, updates, next)
				require.NoError(t, requireSoon(t, drained, "end of the drain"))
				require.NoError(t, subscription.Err())
				assert.Equal(t, dynamic.SubscriptionStats{Received: uint64(updates)}, subscription.Stats())
				require.NoError(t, subscription.Drain(t.Context()), "once more")
				require.NoError(t, subscription.Close())
			})
		}
	}
}

// If the waiting updates are not read, Drain returns an error when its context or the subscription
// ends.
func TestSubscription_DrainThatDoesNotFinish(t *testing.T) {
	t.Parallel()
	const updates, inChannel = 1500, 1024
	for name, tt := range map[string]struct {
		end  func(w *seenWorld, subscription textSubscription, cancel context.CancelFunc)
		want error // the error of Drain
		err  error // the error of the subscription
	}{
		"deadline": {func(*seenWorld, textSubscription, context.CancelFunc) { <-time.After(time.Second) },
			context.DeadlineExceeded, nil},
		"close": {func(_ *seenWorld, subscription textSubscription, _ context.CancelFunc) { _ = subscription.Close() },
			context.Canceled, nil},
		"conn": {func(w *seenWorld, _ textSubscription, _ context.CancelFunc) { _ = w.conn.Close() },
			errors.ErrClientClosed, errors.ErrClientClosed},
		"context of Subscribe": {func(_ *seenWorld, _ textSubscription, cancel context.CancelFunc) { cancel() },
			context.Canceled, context.Canceled},
	} {
		for _, intercepted := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					options := with{}
					if intercepted {
						options.conn = []dynamic.ConnOption{dynamic.WithSubscriptionInterceptors(passOn)}
					}
					w := newSeenWorld(t, options)
					subscribeContext, cancelSubscribe := context.WithCancel(t.Context())
					defer cancelSubscribe()
					subscription, err := textClient(t, w.conn, "seen.Through/Feed").Subscribe(subscribeContext)
					require.NoError(t, err)
					w.publishNumbered(t, updates)
					synctest.Wait()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					drained := make(chan error, 1)
					go func() { drained <- subscription.Drain(ctx) }()
					synctest.Wait()
					tt.end(w, subscription, cancelSubscribe)
					err = <-drained
					require.ErrorIs(t, err, tt.want)
					require.ErrorContains(t, err, "updates were dropped")
					require.ErrorIs(t, subscription.Err(), tt.err)
					left := 0
					for range subscription.Channel() {
						left++
					}
					assert.Equal(t, inChannel, left)
					stats := subscription.Stats()
					assert.EqualValues(t, updates-inChannel, stats.Dropped)
					assert.Zero(t, stats.Waiting)
				})
			})
		}
	}
}

// After Close no updates wait in the subscription. Those that were neither read nor left in the
// channel are counted as dropped.
func TestSubscription_NothingWaitsAfterClose(t *testing.T) {
	t.Parallel()
	const updates = 5000
	w := newSeenWorld(t, with{})
	subscription := w.subscribe(t)
	w.publishNumbered(t, updates)
	require.NoError(t, subscription.Close())
	read := uint64(0)
	for range subscription.Channel() {
		read++
	}
	stats := subscription.Stats()
	assert.Zero(t, stats.Waiting)
	assert.EqualValues(t, updates, read+stats.Dropped)
}
