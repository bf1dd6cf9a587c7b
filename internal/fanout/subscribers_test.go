package fanout_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/fanout"
)

func TestSubscribers_NilIsEmpty(t *testing.T) {
	t.Parallel()
	var none *fanout.Subscribers
	assert.Zero(t, none.DeliverBroadcast(nil))
	assert.False(t, none.DeliverQueue(nil))
	assert.False(t, none.HasQueue())
	assert.Nil(t, none.Without(fanout.NewSubscriber(false, nil)))
	assert.Zero(t, none.Len())
	none.Close()
}

func TestSubscribers_AllBroadcastAndOneOfTheQueue(t *testing.T) {
	t.Parallel()
	got := [4]int{}
	var subscribers *fanout.Subscribers
	for i := range got {
		subscribers = subscribers.With(fanout.NewSubscriber(i >= 2, func([]byte) { got[i]++ }))
	}
	assert.Equal(t, len(got), subscribers.Len())
	assert.True(t, subscribers.HasQueue())
	for range 10 {
		assert.Equal(t, 2, subscribers.DeliverBroadcast(nil))
		assert.True(t, subscribers.DeliverQueue(nil))
	}
	assert.Equal(t, [4]int{10, 10, 5, 5}, got)
}

func TestSubscribers_SkipsClosed(t *testing.T) {
	t.Parallel()
	got := 0
	closing := fanout.NewSubscriber(true, func([]byte) { got-- })
	remaining := fanout.NewSubscriber(true, func([]byte) { got++ })
	subscribers := (*fanout.Subscribers)(nil).With(closing).With(remaining)
	closing.Close()
	for range 4 {
		assert.True(t, subscribers.DeliverQueue(nil))
	}
	assert.Equal(t, 4, got)
	assert.Nil(t, subscribers.Without(closing).Without(remaining))
	subscribers.Close()
	assert.False(t, subscribers.DeliverQueue(nil))
}

// TestSubscribers_Many lets many subscribers join and leave in random order. Each snapshot must
// contain exactly the subscribers that have joined and not left, even after later changes.
func TestSubscribers_Many(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, queue := range []bool{false, true} {
		var subscribers *fanout.Subscribers
		var joined []*fanout.Subscriber
		delivered := map[*fanout.Subscriber]int{}
		join := func() {
			var subscriber *fanout.Subscriber
			subscriber = fanout.NewSubscriber(queue, func([]byte) { delivered[subscriber]++ })
			subscribers = subscribers.With(subscriber)
			joined = append(joined, subscriber)
		}
		leave := func() {
			i := random.IntN(len(joined))
			subscribers = subscribers.Without(joined[i])
			require.Equal(t, subscribers, subscribers.Without(joined[i]), "it is not there any more")
			joined = slices.Delete(joined, i, i+1)
		}
		for range 1000 {
			join()
		}
		for len(joined) > 0 {
			leave()
			if random.IntN(3) == 0 {
				join()
			}
			require.Equal(t, len(joined), subscribers.Len())
			if len(joined)%50 > 0 {
				continue
			}
			previous := subscribers
			if len(joined) > 0 {
				leave()
			}
			clear(delivered)
			want := 1
			if queue {
				for range previous.Len() {
					require.True(t, previous.DeliverQueue(nil))
				}
			} else {
				require.Equal(t, previous.Len(), previous.DeliverBroadcast(nil))
			}
			require.Len(t, delivered, previous.Len())
			for _, n := range delivered {
				require.Equal(t, want, n)
			}
		}
		require.Nil(t, subscribers)
	}
}

// TestSubscribers_AllButOneClosed checks that DeliverQueue finds the only subscriber that is not
// closed, wherever it is in the list.
func TestSubscribers_AllButOneClosed(t *testing.T) {
	t.Parallel()
	const count = 300
	for open := range count {
		var subscribers *fanout.Subscribers
		delivered := 0
		for i := range count {
			subscriber := fanout.NewSubscriber(true, func([]byte) { delivered++ })
			subscribers = subscribers.With(subscriber)
			if i != open {
				subscriber.Close()
			}
		}
		for range 3 {
			require.True(t, subscribers.DeliverQueue(nil))
		}
		require.Equal(t, 3, delivered)
	}
}

// BenchmarkSubscribers_JoinAndLeave measures how long it takes to add and to remove a subscriber of
// a channel that has many.
func BenchmarkSubscribers_JoinAndLeave(b *testing.B) {
	for _, count := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			b.ReportAllocs()
			all := make([]*fanout.Subscriber, count)
			for i := range all {
				all[i] = fanout.NewSubscriber(false, func([]byte) {})
			}
			for b.Loop() {
				var subscribers *fanout.Subscribers
				for _, s := range all {
					subscribers = subscribers.With(s)
				}
				for _, i := range rand.Perm(count) {
					subscribers = subscribers.Without(all[i])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(count), "ns/subscriber")
		})
	}
}
