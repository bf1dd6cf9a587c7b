package redisbus_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// receivers is a [bus.DeliveryReport] that sends the number of receivers to a channel.
type receivers chan int

func (r receivers) Delivered(n int, _ error) { r <- n }

// count returns the number of receivers that the bus reports for a frame on the given channel.
func count(t *testing.T, b *redisbus.Bus, channel string) int {
	t.Helper()
	report := make(receivers, 1)
	require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: channel}, []byte("frame"), report))
	return <-report
}

// observe subscribes a client to a pattern, as the command redis-cli psubscribe does.
func observe(t *testing.T, server *testenv.RedisServer, pattern string) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	observer := client.PSubscribe(t.Context(), pattern)
	_, err := observer.Receive(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = observer.Close(), client.Close() })
}

// Clients that subscribe to a pattern must not be counted as receivers. The bus needs a moment to
// detect them.
func TestBus_ObserversAreNotReceivers(t *testing.T) {
	t.Parallel()
	for name, pattern := range map[string]string{"everything": "*", "one service": "Service|*", "other": "[A-Z]*REQ"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testenv.Redis(t)
			b, other := connect(t, server), connect(t, server)
			subscribe(t, b, "Service|Method|REQ", bus.Broadcast, ignore)
			subscribe(t, other, "Service|Method|REQ", bus.Broadcast, ignore)
			require.Equal(t, 2, count(t, b, "Service|Method|REQ"))
			observe(t, server, pattern)
			require.Eventually(t, func() bool { return count(t, b, "Service|Method|REQ") == 2 }, waitTimeout,
				time.Millisecond)
			assert.Equal(t, 0, count(t, b, "Service|Nobody|REQ"), "a channel that nobody subscribes to")
			for range 30 {
				third := connect(t, server)
				subscription, err := third.Subscribe(t.Context(), bus.Channel{Name: "Service|Method|REQ"}, bus.Broadcast, ignore)
				require.NoError(t, err)
				require.Equal(t, 3, count(t, b, "Service|Method|REQ"), "a subscriber that has just come")
				subscription.Close()
				require.Equal(t, 2, count(t, b, "Service|Method|REQ"), "a subscriber that has just left")
				require.NoError(t, third.Close())
			}
		})
	}
}

// If the Redis user is not permitted to count subscribers, the bus must log this once. It then
// counts clients that subscribe to patterns as receivers.
func TestBus_ObserversDenied(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"pubsub|numpat", "pubsub|numsub"} {
		t.Run(strings.ReplaceAll(command, "|", " "), func(t *testing.T) {
			t.Parallel()
			server := testenv.Redis(t)
			b, log := connectWith(t, server, "&*", "-"+command)
			observe(t, server, "*")
			warned := func() bool {
				assert.Equal(t, 1, count(t, b, "nobody"))
				return strings.Contains(log.String(), "counts pattern subscribers")
			}
			require.Eventually(t, warned, waitTimeout, time.Millisecond)
			assert.Equal(t, 1, count(t, b, "nobody"))
			assert.Equal(t, 1, strings.Count(log.String(), "counts pattern subscribers"))
		})
	}
}
