//go:build chaos && unix

package long_test

import (
	"context"
	"encoding/json"
	"net/http"
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
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// watchedBus is the bus of a client. It records the servers of which the client has received an
// announcement.
type watchedBus struct {
	wrappedBus

	mu sync.Mutex
	// states holds the latest state of each server, by its address.
	states map[string]wire.PresenceState
	// serving is the number of servers in the state serving.
	serving int
}

func watchBus(b bus.Bus) *watchedBus {
	return &watchedBus{wrappedBus: wrappedBus{b}, states: map[string]wire.PresenceState{}}
}

func (b *watchedBus) Subscribe(ctx context.Context, channel bus.Channel, mode bus.Mode, handler bus.Handler) (bus.Subscription, error) {
	if !strings.HasSuffix(channel.Name, "|PRESENCE") {
		return b.Bus.Subscribe(ctx, channel, mode, handler)
	}
	return b.Bus.Subscribe(ctx, channel, mode, func(frame []byte) {
		handler(frame)
		if envelope, err := wire.ParseEnvelope(frame); err == nil {
			if presence, err := wire.ParsePresence(envelope.Value); err == nil {
				b.onPresence(presence)
			}
		}
	})
}

func (b *watchedBus) onPresence(presence wire.Presence) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if previous, ok := b.states[string(presence.Address)]; ok && previous == wire.PresenceServing {
		b.serving--
	}
	if presence.State == wire.PresenceServing {
		b.serving++
	}
	b.states[string(presence.Address)] = presence.State
}

// known returns the number of servers that the client knows.
func (b *watchedBus) known() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.serving
}

// traffic returns the number of messages that clients have published so far, from the statistics of
// the broker.
type traffic func(t *testing.T) int64

func redisTraffic(addr string) traffic {
	return func(t *testing.T) (published int64) {
		t.Helper()
		client := redis.NewClient(&redis.Options{Addr: addr})
		defer client.Close()
		stats, err := client.InfoMap(t.Context(), "commandstats").Result()
		require.NoError(t, err)
		for command, values := range stats["Commandstats"] {
			name := strings.TrimPrefix(command, "cmdstat_")
			calls, _, _ := strings.Cut(strings.TrimPrefix(values, "calls="), ",")
			n, err := strconv.ParseInt(calls, 10, 64)
			require.NoError(t, err)
			// The buses send these commands to probe their links, and to notice psrpc processes and
			// observers. This function itself sends the rest.
			switch name {
			case "ping", "pubsub|numsub", "pubsub|numpat", "info", "hello", "client|setinfo", "client|setname", "client|maint_notifications":
			default:
				published += n
			}
		}
		return published
	}
}

func natsTraffic(monitor string) traffic {
	return func(t *testing.T) int64 {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+monitor+"/varz", http.NoBody)
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		var varz struct {
			InMsgs int64 `json:"in_msgs"`
		}
		require.NoError(t, json.NewDecoder(response.Body).Decode(&varz))
		return varz.InMsgs
	}
}

// A client must discover 10,000 servers in less than 2 s, and use less than 20 MB of memory for
// them. It must follow a rolling restart of all of them, and nothing may be sent while nothing
// changes. The servers share a few buses, because a broker allows fewer connections.
func TestMembers_TenThousand(t *testing.T) {
	const members, buses = 10_000, 20
	run := func(t *testing.T, connect func() bus.Bus, traffic traffic) {
		t.Helper()
		var links [buses]bus.Bus
		for i := range links {
			links[i] = connect()
		}
		echo := dynamic.Unary(testkit.Echo)
		start := func(i int) *dynamic.Server {
			server := dynamic.NewServer(links[i%buses])
			_, err := server.Register(testkit.Descriptor(), dynamic.Handlers{"NormalRPC": echo, "GetStats": echo}, dynamic.AllowMissing())
			assert.NoError(t, err)
			return server
		}
		servers := make([]*dynamic.Server, members)
		started := time.Now()
		published := traffic(t)
		concurrently(members, 8, func(i int) { servers[i] = start(i) })
		t.Logf("%d servers in %v, %d messages", members, time.Since(started).Round(time.Millisecond), traffic(t)-published)
		defer func() {
			// When their buses are closed, the servers end at once.
			concurrently(buses, buses, func(i int) { assert.NoError(t, links[i].Close()) })
			concurrently(members, 64, func(i int) { servers[i].Kill() })
		}()

		dial := func() (*watchedBus, *dynamic.Conn) {
			b := watchBus(connect())
			return b, testkit.Conn(t, b, dynamic.WithSelectionTimeout(patience), dynamic.WithClientTimeout(patience))
		}
		learn := func(b *watchedBus, conn *dynamic.Conn) time.Duration {
			learning := time.Now()
			testkit.Caller(t, conn, "GetStats") // asks which servers there are on NATS
			caller := testkit.Caller(t, conn, "NormalRPC")
			for b.known() < members {
				require.Less(t, time.Since(learning), patience, "%d are known", b.known())
				_, err := caller.Call(t.Context(), &api.MyRequest{})
				require.NoError(t, err)
			}
			return time.Since(learning)
		}
		learn(dial()) // the servers now have their worker goroutines
		b, conn := dial()
		before := heapInUse()
		took := learn(b, conn)
		b.mu.Lock()
		b.states = map[string]wire.PresenceState{} // belongs to the test
		b.mu.Unlock()
		kept := heapInUse() - before
		t.Logf("learned after %v, %.1f MB", took.Round(time.Millisecond), float64(kept)/(1<<20))
		assert.Less(t, took, 2*time.Second)
		assert.Less(t, kept, int64(20<<20))

		published = traffic(t)
		pause(5 * time.Second)
		idle := traffic(t) - published
		t.Logf("%d messages in 5 s without calls", idle)
		assert.Zero(t, idle)

		// Each server is replaced by another one while calls are made.
		stop := make(chan struct{})
		var calling sync.WaitGroup
		var calls, failed atomic.Int64
		caller := testkit.Caller(t, conn, "NormalRPC")
		for range 4 {
			calling.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					calls.Add(1)
					if _, err := caller.Call(t.Context(), &api.MyRequest{}); err != nil && failed.Add(1) <= 3 {
						t.Log(err)
					}
				}
			})
		}
		restarting := time.Now()
		published = traffic(t)
		concurrently(members, 32, func(i int) {
			next := start(i)
			assert.NoError(t, servers[i].Shutdown(t.Context()))
			servers[i] = next
		})
		close(stop)
		calling.Wait()
		t.Logf("restarted after %v, %d messages, %d calls, %d failed", time.Since(restarting).Round(time.Millisecond),
			traffic(t)-published, calls.Load(), failed.Load())
		assert.Zero(t, failed.Load())
		answers := map[string]bool{}
		began := time.Now()
		for response := range testkit.Caller(t, conn, "GetStats").Responses(t.Context(), &api.MyRequest{}, dynamic.WithRequestTimeout(patience)) {
			require.NoError(t, response.Err)
			answers[response.ServerID] = true
		}
		t.Logf("a multi call takes %v", time.Since(began).Round(time.Millisecond))
		for _, server := range servers {
			assert.True(t, answers[server.ID()])
		}
		assert.Len(t, answers, members)
		assert.Less(t, time.Since(began), patience)
	}
	t.Run(testkit.RedisName, func(t *testing.T) {
		addr := testenv.Redis(t).Addr()
		run(t, func() bus.Bus { return testkit.Redis(t, addr) }, redisTraffic(addr))
	})
	t.Run(testkit.NATSName, func(t *testing.T) {
		monitor := freeAddr(t)
		_, port, _ := strings.Cut(monitor, ":")
		url := testenv.NATSProcess(t, "-m", port).URL()
		run(t, func() bus.Bus { return testkit.NATS(t, url) }, natsTraffic(monitor))
	})
}
