package redisbus_test

import (
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// psrpcPeer subscribes to a queue and handles frames as a psrpc process does: it tries to lock one
// frame after the other and waits for each reply. It counts the frames that it has locked, and
// passes each of them to the function took.
func psrpcPeer(t *testing.T, client redis.UniversalClient, channel string, took func(frame string)) *atomic.Int64 {
	t.Helper()
	subscription := client.Subscribe(t.Context(), channel)
	_, err := subscription.Receive(t.Context())
	require.NoError(t, err)
	var frames atomic.Int64
	var reader sync.WaitGroup
	reader.Go(func() {
		for message := range subscription.Channel() {
			value := strconv.FormatUint(rand.Uint64(), 10)
			args := redis.SetArgs{Mode: "NX", TTL: 5 * time.Second}
			if client.SetArgs(t.Context(), lockKey(message.Payload), value, args).Err() == nil {
				frames.Add(1)
				took(message.Payload)
			}
		}
	})
	t.Cleanup(func() {
		_, _ = subscription.Close(), client.Close()
		reader.Wait()
	})
	return &frames
}

func newClient(server *testenv.RedisServer) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: server.Addr()})
}

// ownPeer subscribes to a queue with a dynpsrpc bus. It counts the frames that it receives, and
// passes each of them to the function took.
func ownPeer(t *testing.T, b *redisbus.Bus, channel string, took func(frame string)) *atomic.Int64 {
	t.Helper()
	var frames atomic.Int64
	subscribe(t, b, channel, bus.Queue, func(frame []byte) {
		frames.Add(1)
		took(string(frame))
	})
	return &frames
}

// publishBursts publishes numbered frames and waits until all of them have been handled. At most 32
// frames are unhandled at any time. It requires that each frame is handled exactly once.
func publishBursts(t *testing.T, b *redisbus.Bus, channel string, first, frames int, taken <-chan string) {
	t.Helper()
	seen, published := map[string]bool{}, 0
	for len(seen) < frames {
		for ; published < frames && published-len(seen) < 32; published++ {
			frame := []byte(strconv.Itoa(first + published))
			require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: channel}, frame, nil))
		}
		select {
		case frame := <-taken:
			require.False(t, seen[frame], "frame %s is taken twice", frame)
			seen[frame] = true
		case <-time.After(waitTimeout):
			require.FailNow(t, "frames are lost", "%d of %d taken", len(seen), frames)
		}
	}
}

// worker returns a channel and a function that handles a frame. Each frame is sent to the channel
// 20 ms after the call of the function.
func worker() (<-chan string, func(frame string)) {
	taken := make(chan string, 4096)
	return taken, func(frame string) { time.AfterFunc(20*time.Millisecond, func() { taken <- frame }) }
}

// If a dynpsrpc process shares a queue with psrpc processes, it must not take many more frames than
// its fair share.
func TestBus_LeavesPSRPCPeersTheirShare(t *testing.T) {
	t.Parallel()
	for name, fleet := range map[string]struct{ own, psrpc int }{
		"one of four": {1, 3}, "two of four": {2, 2}, "three of four": {3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testenv.Redis(t)
			testShare(t, fleet.own, fleet.psrpc, func() redis.UniversalClient { return newClient(server) })
		})
	}
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		addresses := testenv.RedisCluster(t).Addrs()
		testShare(t, 1, 3, func() redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses})
		})
	})
}

func testShare(t *testing.T, ownPeers, psrpcPeers int, newClient func() redis.UniversalClient) {
	t.Helper()
	taken, work := worker()
	newBus := func() *redisbus.Bus {
		client := newClient()
		b, err := redisbus.New(client, redisbus.WithEventHandler(func(bus.Event) {}))
		require.NoError(t, err)
		t.Cleanup(func() { _, _ = b.Close(), client.Close() })
		return b
	}
	var own []*atomic.Int64
	for range ownPeers {
		own = append(own, ownPeer(t, newBus(), "queue", work))
	}
	for range psrpcPeers {
		psrpcPeer(t, newClient(), "queue", work)
	}
	client := newBus()
	limit := float64(ownPeers)/float64(ownPeers+psrpcPeers) + 0.15
	for first := 0; ; first += 400 {
		publishBursts(t, client, "queue", first, 400, taken)
		var sum int64
		for _, frames := range own {
			sum += frames.Swap(0)
		}
		if share := float64(sum) / 400; share <= limit {
			t.Logf("%.0f %% of the frames", 100*share)
			return
		}
		require.Less(t, first, 20_000, "the psrpc processes do not get their share")
	}
}

// psrpc processes that join later must get their share even under full load: 64 frames are in
// flight at any time, and two dynpsrpc processes compete for them.
func TestBus_SharesUnderFullLoad(t *testing.T) {
	t.Parallel()
	// The test usually takes 3 s. It takes much longer if other programs use the processors.
	const publishers, frames, limit = 64, 1000, 4 * time.Minute
	server := testenv.Redis(t)
	var next atomic.Int64
	publisher := connect(t, server)
	publishNext := func() {
		frame := []byte("frame " + strconv.FormatInt(next.Add(1), 10))
		assert.NoError(t, publisher.Publish(t.Context(), bus.Channel{Name: "queue"}, frame, nil))
	}
	taken := make(chan string, 4096)
	// On a slow machine, a lock may expire before the last process has read the frame. That process
	// then takes the frame again, which must not cause another publication.
	var seen sync.Map
	take := func(frame string) {
		if _, again := seen.LoadOrStore(frame, nil); !again {
			time.AfterFunc(5*time.Millisecond, func() { taken <- frame })
		}
	}
	own := []*atomic.Int64{ownPeer(t, connect(t, server), "queue", take), ownPeer(t, connect(t, server), "queue", take)}
	for range publishers {
		publishNext()
	}
	handle := func(frames int) {
		for range frames {
			select {
			case <-taken:
				publishNext()
			case <-time.After(waitTimeout):
				require.FailNow(t, "frames are lost")
			}
		}
	}
	handle(frames)
	psrpc := []*atomic.Int64{
		psrpcPeer(t, newClient(server), "queue", take), psrpcPeer(t, newClient(server), "queue", take),
	}
	for joined := time.Now(); ; {
		handle(frames)
		byOwn, byPsrpc := own[0].Swap(0)+own[1].Swap(0), psrpc[0].Swap(0)+psrpc[1].Swap(0)
		share := float64(byOwn) / float64(byOwn+byPsrpc)
		if share <= 0.6 {
			t.Logf("%.0f %% of the frames after %v", 100*share, time.Since(joined))
			return
		}
		require.Less(t, time.Since(joined), limit, "the psrpc processes do not get their share")
	}
}

// A bus leaves the marker channel when it has left the queue.
func TestBus_LeavesTheMarkerChannel(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	admin := newClient(server)
	defer admin.Close()
	taken, work := worker()
	ownPeer(t, connect(t, server), "queue", work)
	subscription, err := connect(t, server).Subscribe(t.Context(), bus.Channel{Name: "queue"}, bus.Queue,
		func(frame []byte) { work(string(frame)) })
	require.NoError(t, err)
	markers := func() int64 {
		counts, err := admin.PubSubNumSub(t.Context(), "queue|MARKER").Result()
		require.NoError(t, err)
		return counts["queue|MARKER"]
	}
	for first := 0; markers() < 2; first += 100 {
		publishBursts(t, connect(t, server), "queue", first, 100, taken)
		require.Less(t, first, 20_000, "the processes do not subscribe to the marker channel")
	}
	subscription.Close()
	require.Eventually(t, func() bool { return markers() == 1 }, waitTimeout, 10*time.Millisecond)
}

// A psrpc process stops handling frames. The dynpsrpc process on the same queue must receive the
// remaining frames, in order.
func TestBus_TakesWhatPSRPCPeersLeave(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	b := connect(t, server)
	taken := make(chan string, 4096)
	const first, frames = 1000, 200 // the numbers of the frames that are published in the end
	last := first - 1               // only the handler uses it
	ownPeer(t, b, "queue", func(frame string) {
		number, err := strconv.Atoi(frame)
		assert.NoError(t, err)
		if number >= first {
			assert.Greater(t, number, last, "the psrpc process may have handled the frames in between")
			last = number
		}
		taken <- frame
	})
	var stuck atomic.Bool
	psrpcPeer(t, newClient(server), "queue", func(frame string) {
		taken <- frame
		for stuck.Load() && t.Context().Err() == nil {
			<-time.After(time.Millisecond) // stop reading further frames
		}
	})
	publishBursts(t, b, "queue", 0, 200, taken)
	stuck.Store(true)
	for i := range frames {
		require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: "queue"}, []byte(strconv.Itoa(first+i)), nil))
	}
	handled := map[string]bool{}
	for range frames {
		select {
		case frame := <-taken:
			require.False(t, handled[frame], "frame %s is taken twice", frame)
			handled[frame] = true
		case <-time.After(waitTimeout):
			require.FailNow(t, "frames are lost")
		}
	}
}

// If the Redis user is not permitted to read locks, to count subscribers or to subscribe to marker
// channels, the bus cannot limit its share of a queue. It must log this once and still receive all
// frames.
func TestBus_ShareDenied(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string][]any{
		"get":            {"&*", "-get"},
		"pubsub numsub":  {"&*", "-pubsub|numsub"},
		"marker channel": {"&queue", "&DYN"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testenv.Redis(t)
			b, log := connectWith(t, server, rules...)
			taken, work := worker()
			ownPeer(t, b, "queue", work)
			psrpcPeer(t, newClient(server), "queue", work)
			for i := 0; strings.Count(log.String(), "more than its share") == 0; i++ {
				publishBursts(t, b, "queue", 100*i, 100, taken)
				require.Less(t, i, 200, "no warning")
			}
			publishBursts(t, b, "queue", 1_000_000, 200, taken)
			assert.Equal(t, 1, strings.Count(log.String(), "more than its share"))
		})
	}
}

// connectWith returns a bus and its log. The Redis user of the bus may access all keys and run all
// commands. The additional ACL rules must permit channels, and may deny commands.
func connectWith(t *testing.T, server *testenv.RedisServer, rules ...any) (*redisbus.Bus, *lockedBuffer) {
	t.Helper()
	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer admin.Close()
	user := []any{"acl", "setuser", "rpc", "on", ">secret", "~*", "resetchannels", "+@all"}
	require.NoError(t, admin.Do(t.Context(), append(user, rules...)...).Err())
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "rpc", Password: "secret"})
	log := &lockedBuffer{}
	b, err := redisbus.New(client, redisbus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = b.Close(), client.Close() })
	return b, log
}

// lockedBuffer is a buffer that can be used concurrently.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
