//go:build chaos && unix

package long_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// lifeline dials the connections of one bus. It can close all of them abruptly, as the operating
// system does when a process is killed.
type lifeline struct {
	mu    sync.Mutex
	conns []net.Conn
	dead  bool
}

func (l *lifeline) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return nil, net.ErrClosed
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		l.conns = append(l.conns, conn)
	}
	return conn, err
}

// Dial implements nats.CustomDialer.
func (l *lifeline) Dial(network, address string) (net.Conn, error) {
	return l.dial(context.Background(), network, address)
}

func (l *lifeline) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for _, conn := range l.conns {
		_ = conn.Close()
	}
}

// connect returns a bus with connections of its own, and the lifeline of these connections.
type connect func() (bus.Bus, *lifeline)

// onEveryBus runs test in process, on both brokers, and on a Redis Cluster with and without sharded
// pub/sub. It does not run them in parallel, because the tests measure times.
func onEveryBus(t *testing.T, test func(t *testing.T, connect connect)) {
	t.Helper()
	t.Run(testkit.LocalName, func(t *testing.T) {
		b := bus.NewLocal()
		test(t, func() (bus.Bus, *lifeline) { return b, nil })
	})
	t.Run(testkit.RedisName, func(t *testing.T) {
		addr := testenv.Redis(t).Addr()
		test(t, func() (bus.Bus, *lifeline) {
			l := &lifeline{}
			return testkit.RedisOver(t, redis.NewClient(&redis.Options{Addr: addr, Dialer: l.dial})), l
		})
	})
	t.Run(testkit.NATSName, func(t *testing.T) {
		url := testenv.NATSProcess(t).URL()
		test(t, func() (bus.Bus, *lifeline) {
			l := &lifeline{}
			return testkit.NATSOver(t, url, []nats.Option{nats.SetCustomDialer(l)}), l
		})
	})
	for name, opts := range map[string][]redisbus.Option{"cluster": nil, "sharded cluster": {redisbus.WithShardedPubSub()}} {
		t.Run(name, func(t *testing.T) {
			addrs := testenv.RedisCluster(t).Addrs()
			test(t, func() (bus.Bus, *lifeline) {
				l := &lifeline{}
				return testkit.RedisOver(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Dialer: l.dial}), opts...), l
			})
		})
	}
}

// roundTrip returns the median of the time that a frame takes from one bus to the other and back.
func roundTrip(t *testing.T, here, there bus.Bus) time.Duration {
	t.Helper()
	channel := func(name string) bus.Channel { return bus.Channel{Name: name, Subject: name} }
	back := make(chan struct{}, 1)
	publish := func(b bus.Bus, name string) {
		assert.NoError(t, b.Publish(t.Context(), channel(name), []byte("x"), nil))
	}
	_, err := there.Subscribe(t.Context(), channel("ping"), bus.Broadcast, func([]byte) { go publish(there, "pong") })
	require.NoError(t, err)
	_, err = here.Subscribe(t.Context(), channel("pong"), bus.Broadcast, func([]byte) { back <- struct{}{} })
	require.NoError(t, err)
	var times []time.Duration
	for range 200 {
		started := time.Now()
		publish(here, "ping")
		testkit.Soon(t, back, "pong")
		times = append(times, time.Since(started))
	}
	return median(times)
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// multiFleet is a group of servers, each on a bus of its own, that answer multi calls of one conn.
type multiFleet struct {
	t       *testing.T
	connect connect
	client  *dynamic.Client[*api.MyRequest, *api.MyResponse]
}

func newMultiFleet(t *testing.T, connect connect, servers int) *multiFleet {
	t.Helper()
	f := &multiFleet{t: t, connect: connect}
	for range servers {
		f.start()
	}
	b, _ := connect()
	f.client = testkit.Caller(t, testkit.Conn(t, b), "GetStats")
	return f
}

func (f *multiFleet) start() (*dynamic.Server, *lifeline) {
	f.t.Helper()
	b, l := f.connect()
	server, _ := testkit.Serve(f.t, b, dynamic.Handlers{"GetStats": dynamic.Unary(testkit.Echo)})
	return server, l
}

// call makes a multi call. late is the time from the last answer until the end of the call.
func (f *multiFleet) call(timeout time.Duration) (answers int, took, late time.Duration) {
	f.t.Helper()
	started := time.Now()
	last := started
	responses, err := f.client.CallMulti(f.t.Context(), &api.MyRequest{}, dynamic.WithRequestTimeout(timeout))
	require.NoError(f.t, err)
	for response := range responses {
		require.NoError(f.t, response.Err)
		answers++
		last = time.Now()
	}
	return answers, time.Since(started), time.Since(last)
}

// Multi calls with a timeout of one hour must end when the last server has answered, even after a
// server has joined or left.
func TestMulti_EndsWithTheLastAnswer(t *testing.T) {
	onEveryBus(t, func(t *testing.T, connect connect) {
		here, _ := connect()
		there, _ := connect()
		trip := roundTrip(t, here, there)
		for _, servers := range []int{3, 50} {
			t.Run(fmt.Sprint(servers), func(t *testing.T) {
				f := newMultiFleet(t, connect, servers)
				answers, first, _ := f.call(time.Hour)
				assert.Equal(t, servers, answers)
				var lates []time.Duration
				for range 100 {
					answers, _, late := f.call(time.Hour)
					assert.Equal(t, servers, answers)
					lates = append(lates, late)
				}
				late := median(lates)
				t.Logf("%d servers: round trip %v, first call %v, later ones end %v after the last answer", servers, trip,
					first.Round(time.Millisecond), late)
				// In process, a round trip takes less time than a goroutine needs to start.
				assert.LessOrEqual(t, late, max(trip*3/2, 50*time.Microsecond))

				joining, _ := f.start()
				pause(10 * time.Millisecond) // its announcement may still be on its way
				for range 10 {
					answers, took, _ := f.call(time.Hour)
					assert.Equal(t, servers+1, answers)
					assert.Less(t, took, time.Second)
				}
				require.NoError(t, joining.Shutdown(t.Context()))
				pause(10 * time.Millisecond)
				for range 10 {
					answers, took, _ := f.call(time.Hour)
					assert.Equal(t, servers, answers)
					assert.Less(t, took, time.Second)
				}
			})
		}
	})
}

// After a server was killed, one multi call may last until its timeout, but the next one must not.
func TestMulti_KilledServer(t *testing.T) {
	onEveryBus(t, func(t *testing.T, connect connect) {
		f := newMultiFleet(t, connect, 2)
		_, killed := f.start()
		if killed == nil {
			t.Skip("a server on this bus ends together with its client")
		}
		for range 3 {
			answers, _, _ := f.call(time.Hour)
			require.Equal(t, 3, answers)
		}
		killed.kill()
		for call := range 3 {
			answers, took, _ := f.call(2 * time.Second)
			t.Logf("call %d after the kill: %v", call, took.Round(time.Millisecond))
			assert.Equal(t, 2, answers)
			if call > 0 {
				assert.Less(t, took, time.Second)
			}
		}
	})
}

// The first affinity call of a conn waits until the conn knows all servers. The other servers still
// count a killed server until a conn has waited for it in vain. Later conns must not wait for it.
func TestAffinity_FirstCallsAfterAKill(t *testing.T) {
	onEveryBus(t, func(t *testing.T, connect connect) {
		var last *lifeline
		for range 4 {
			var b bus.Bus
			b, last = connect()
			testkit.Serve(t, b, dynamic.Handlers{"IntensiveRPC": dynamic.Unary(testkit.Echo)})
		}
		first := func() time.Duration {
			pause(300 * time.Millisecond) // the servers know each other 0.2 s after they have joined
			b, _ := connect()
			conn := testkit.Conn(t, b)
			client := testkit.Caller(t, conn, "IntensiveRPC")
			started := time.Now()
			_, err := client.Call(t.Context(), &api.MyRequest{})
			require.NoError(t, err)
			return time.Since(started)
		}
		alive := first()
		if last == nil {
			t.Skip("a server on this bus ends together with its client")
		}
		last.kill()
		pause(100 * time.Millisecond) // the broker notices
		missed, later := first(), median([]time.Duration{first(), first(), first()})
		t.Logf("%v before the kill, %v for the first conn after it, %v for later ones", alive, missed, later)
		if !strings.Contains(t.Name(), "/cluster") { // there, PUBLISH reports no receivers
			assert.Less(t, later, 150*time.Millisecond)
		}
	})
}
