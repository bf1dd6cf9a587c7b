package redisbus_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
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
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// waitTimeout is the timeout for events that must happen. It is long because the machine may be
// busy.
const waitTimeout = 20 * time.Second

// events collects the events of a bus.
type events chan bus.Event

func (e events) handler() redisbus.Option {
	return redisbus.WithEventHandler(func(event bus.Event) { e <- event })
}

func (e events) next(t *testing.T, kind bus.EventKind) bus.Event {
	t.Helper()
	select {
	case event := <-e:
		require.Equal(t, kind.String(), event.Kind.String(), "%v", event.Err)
		return event
	case <-time.After(waitTimeout):
		require.FailNow(t, "no event "+kind.String())
		return bus.Event{}
	}
}

// report is a [bus.DeliveryReport] that sends the error to a channel.
type report chan error

func (r report) Delivered(_ int, err error) { r <- err }

// requireArrives publishes text and requires that it arrives.
func requireArrives(t *testing.T, from *redisbus.Bus, channel bus.Channel, to <-chan string, text string) {
	t.Helper()
	require.NoError(t, from.Publish(t.Context(), channel, []byte(text), nil))
	select {
	case got := <-to:
		require.Equal(t, text, got)
	case <-time.After(waitTimeout):
		require.FailNow(t, text+" did not arrive")
	}
}

// listen subscribes to a channel of the bus. It returns a Go channel that receives the frames.
func listen(t *testing.T, b *redisbus.Bus, channel bus.Channel, mode bus.Mode) <-chan string {
	t.Helper()
	got := make(chan string, 10)
	_, err := b.Subscribe(t.Context(), channel, mode, func(frame []byte) { got <- string(frame) })
	require.NoError(t, err)
	return got
}

func TestBus_BrokerRestarts(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	busEvents := make(events, 10)
	b := connect(t, server, busEvents.handler())
	plain, queue := bus.Channel{Name: "plain"}, bus.Channel{Name: "queue"}
	fromPlain, fromQueue := listen(t, b, plain, bus.Broadcast), listen(t, b, queue, bus.Queue)
	for round := range 3 {
		requireArrives(t, b, plain, fromPlain, "plain")
		requireArrives(t, b, queue, fromQueue, strings.Repeat("queue", round+1))
		server.Kill()
		busEvents.next(t, bus.Disconnected)
		assert.False(t, b.Stats().Connected)

		err := b.Publish(t.Context(), plain, []byte("lost"), nil)
		requireCode(t, errors.Unavailable, err)
		_, err = b.Subscribe(t.Context(), bus.Channel{Name: "other"}, bus.Broadcast, func([]byte) {})
		requireCode(t, errors.Unavailable, err)

		server.Start()
		busEvents.next(t, bus.Reconnected)
		assert.True(t, b.Stats().Connected)
	}
	requireArrives(t, b, plain, fromPlain, "plain")
	requireArrives(t, b, queue, fromQueue, "last")
	assert.EqualValues(t, 3, b.Stats().Disconnects)
}

// While Redis is down, neither the bus nor go-redis may log each attempt to connect.
func TestBus_OutageIsQuiet(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	var dials atomic.Int64
	client := redis.NewClient(&redis.Options{
		Addr: server.Addr(),
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	})
	defer client.Close()
	log := make(events, 1000)
	b, err := redisbus.New(client, log.handler())
	require.NoError(t, err)
	defer b.Close()
	listen(t, b, bus.Channel{Name: "queue"}, bus.Queue)
	before := dials.Load()
	server.Kill()
	require.Eventually(t, func() bool { return dials.Load() >= before+8 }, waitTimeout, time.Millisecond)
	assert.NotContains(t, goRedisLog.String(), server.Addr())
}

// If the bus cannot connect again because Redis does not answer in time, the error of Publish must
// not look as if the caller's context had ended.
func TestBus_OutageWithTimeouts(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	var down atomic.Bool
	client := redis.NewClient(&redis.Options{
		Addr: server.Addr(),
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if down.Load() {
				return nil, context.DeadlineExceeded
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	})
	defer client.Close()
	b, err := redisbus.New(client, make(events, 1000).handler())
	require.NoError(t, err)
	defer b.Close()
	down.Store(true)
	server.Kill()
	require.Eventually(t, func() bool {
		err = b.Publish(t.Context(), bus.Channel{Name: "c"}, nil, nil)
		return err != nil && strings.Contains(err.Error(), "cannot connect to redis at "+server.Addr()+": context deadline exceeded")
	}, waitTimeout, time.Millisecond)
	requireCode(t, errors.Unavailable, err)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
}

func TestBus_ClosesWhileDisconnected(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	busEvents := make(events, 10)
	b := connect(t, server, busEvents.handler())
	subscription, err := b.Subscribe(t.Context(), bus.Channel{Name: "c"}, bus.Queue, func([]byte) {})
	require.NoError(t, err)
	server.Kill()
	busEvents.next(t, bus.Disconnected)
	subscription.Close()
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Publish(t.Context(), bus.Channel{}, nil, nil), bus.ErrClosed)
}

// If the bus cannot reconnect, its errors and an event must contain the reason.
func TestBus_TellsWhyItCannotReconnect(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer admin.Close()
	require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "rpc", "on", ">old", "~*", "&*", "+@all").Err())
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "rpc", Password: "old"})
	defer client.Close()
	busEvents := make(events, 10)
	b, err := redisbus.New(client, busEvents.handler(), redisbus.WithProbeInterval(2*time.Second))
	require.NoError(t, err)
	defer b.Close()
	channel := bus.Channel{Name: "c"}
	got := listen(t, b, channel, bus.Broadcast)

	require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "rpc", "resetpass", ">new").Err())
	require.NoError(t, admin.Do(t.Context(), "client", "kill", "user", "rpc").Err())
	busEvents.next(t, bus.Disconnected)
	require.ErrorContains(t, busEvents.next(t, bus.Disconnected).Err, "cannot connect to redis at "+server.Addr()+": WRONGPASS")
	err = b.Publish(t.Context(), channel, nil, nil)
	requireCode(t, errors.Unavailable, err)
	require.ErrorContains(t, err, "WRONGPASS")
	_, err = b.Subscribe(t.Context(), channel, bus.Broadcast, func([]byte) {})
	requireCode(t, errors.Unavailable, err)
	require.ErrorContains(t, err, "WRONGPASS")

	require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "rpc", ">old").Err())
	busEvents.next(t, bus.Reconnected)
	requireArrives(t, b, channel, got, "after")
	assert.EqualValues(t, 1, b.Stats().Disconnects)
	assert.Empty(t, busEvents)
}

// A bus with many channels must be able to reconnect even if Redis needs longer than the connect
// timeout to confirm all of them.
func TestBus_ReconnectsWithManyChannels(t *testing.T) {
	t.Parallel()
	const channels, timeout, pause = 200, 3 * time.Second, 25 * time.Millisecond
	var isSlow atomic.Bool
	slow := func(w *bufio.Writer, command []string) bool {
		if command[0] != "subscribe" || !isSlow.Load() {
			return false
		}
		for _, channel := range command[1:] {
			<-time.After(pause)
			confirmFake(w, command[0], channel)
			_ = w.Flush() // ignore the error, because it ends the connection
		}
		return true
	}
	server, client := newFakeRedis(t, slow)
	busEvents := make(events, 10)
	b, err := redisbus.New(client, busEvents.handler(), redisbus.WithConnectTimeout(timeout))
	require.NoError(t, err)
	defer b.Close()
	var subscriptions sync.WaitGroup
	for i := range channels {
		subscriptions.Go(func() {
			_, err := b.Subscribe(t.Context(), bus.Channel{Name: strconv.Itoa(i)}, bus.Broadcast, func([]byte) {})
			assert.NoError(t, err)
		})
	}
	subscriptions.Wait()
	isSlow.Store(true)
	server.closeConnections()
	busEvents.next(t, bus.Disconnected)
	start := time.Now()
	busEvents.next(t, bus.Reconnected)
	assert.Greater(t, time.Since(start), timeout)
	assert.EqualValues(t, 1, b.Stats().Disconnects)
}

// A half-open connection loses all bytes without reporting an error. The bus must detect this with
// its probes.
func TestBus_DetectsHalfOpenConnection(t *testing.T) {
	t.Parallel()
	const interval = 2 * time.Second
	proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr()})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	busEvents := make(events, 10)
	b, err := redisbus.New(client, busEvents.handler(), redisbus.WithProbeInterval(interval))
	require.NoError(t, err)
	defer b.Close()
	channel := bus.Channel{Name: "c"}
	got := listen(t, b, channel, bus.Broadcast)
	requireArrives(t, b, channel, got, "before")

	proxy.BlackHole()
	published := make(report, 1)
	require.NoError(t, b.Publish(t.Context(), channel, []byte("swallowed"), published))
	busEvents.next(t, bus.Disconnected)
	require.Error(t, <-published, "an unconfirmed frame is reported as lost")
	busEvents.next(t, bus.Reconnected)
	requireArrives(t, b, channel, got, "after")
}

func TestBus_ForbiddenChannels(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t, "--user", "default", "reset", "on", "nopass", "~*", "+@all", "resetchannels", "&open*")
	busEvents := make(events, 10)
	b := connect(t, server, busEvents.handler())
	open, closed := bus.Channel{Name: "open"}, bus.Channel{Name: "closed"}

	_, err := b.Subscribe(t.Context(), closed, bus.Broadcast, func([]byte) {})
	requireCode(t, errors.PermissionDenied, err)
	require.ErrorContains(t, err, "cannot subscribe to channel closed")
	assert.Equal(t, "closed", busEvents.next(t, bus.Dropped).Channel)

	published := make(report, 1)
	require.NoError(t, b.Publish(t.Context(), closed, nil, published))
	requireCode(t, errors.PermissionDenied, <-published)

	requireArrives(t, b, open, listen(t, b, open, bus.Broadcast), "the others work")
}

// A Redis user needs access only to the channels of its services, and only the commands that psrpc
// needs. With such a user, the bus must deliver frames, and Redis must not close its connections.
func TestBus_LeastPrivilege(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer admin.Close()
	require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "rpc", "on", ">x", "~*", "resetchannels", "&MyService|*",
		"-@all", "+subscribe", "+unsubscribe", "+publish", "+ping", "+set").Err())
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "rpc", Password: "x"})
	defer client.Close()
	busEvents := make(events, 10)
	b, err := redisbus.New(client, busEvents.handler(), redisbus.WithProbeInterval(2*time.Second))
	require.NoError(t, err)
	defer b.Close()
	channel := bus.Channel{Name: "MyService|channel"}
	got, fromQueue := listen(t, b, channel, bus.Broadcast), listen(t, b, channel, bus.Queue)
	require.Eventually(t, func() bool { // wait until the idle connections have sent many probes
		stats, err := admin.InfoMap(t.Context(), "commandstats").Result()
		require.NoError(t, err)
		var pings int
		_, _ = fmt.Sscanf(stats["Commandstats"]["cmdstat_ping"], "calls=%d", &pings)
		return pings > 8
	}, waitTimeout, 10*time.Millisecond)
	requireArrives(t, b, channel, got, "hello")
	assert.Equal(t, "hello", <-fromQueue)
	assert.Empty(t, busEvents)
	assert.Zero(t, b.Stats().Disconnects)
}

// If a SUBSCRIBE command contains a forbidden channel, Redis rejects the whole command. The bus
// must then subscribe to the permitted channels without it.
func TestBus_OnlyForbiddenChannelsAreRefused(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	busEvents := make(events, 10)
	b := connect(t, server, busEvents.handler())
	open, closed := bus.Channel{Name: "open"}, bus.Channel{Name: "closed"}
	fromOpen := listen(t, b, open, bus.Broadcast)
	listen(t, b, closed, bus.Broadcast)

	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer admin.Close()
	require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "default", "resetchannels", "&open*").Err())
	// Redis closes the connections of a user whose permissions change. Wait until the bus has
	// reconnected.
	for seen := map[bus.EventKind]int{}; seen[bus.Reconnected] == 0; {
		event := <-busEvents
		seen[event.Kind]++
		if event.Kind == bus.Dropped {
			assert.Equal(t, "closed", event.Channel)
		}
	}
	requireArrives(t, b, open, fromOpen, "still works")
}

// Redis closes the connection of a subscriber that has too many unread frames. The bus must report
// the reason.
func TestBus_ReportsOutputBufferLimit(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t, "--client-output-buffer-limit", "pubsub 64kb 0 0")
	busEvents := make(events, 10)
	b := connect(t, server, busEvents.handler())
	channel := bus.Channel{Name: "c"}
	got := listen(t, b, channel, bus.Broadcast)
	require.NoError(t, b.Publish(t.Context(), channel, make([]byte, 8<<20), nil))
	require.ErrorContains(t, busEvents.next(t, bus.Disconnected).Err, "EOF")
	busEvents.next(t, bus.Reconnected)
	requireArrives(t, b, channel, got, "after")
}

// The lock in Redis must have the same key and the same time to live as a lock of psrpc, and its
// value must be a number.
func TestBus_QueueLock(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	b := connect(t, server, redisbus.WithPrefix("fleet:"))
	channel := bus.Channel{Name: "queue"}
	got := listen(t, b, channel, bus.Queue)
	published := time.Now()
	requireArrives(t, b, channel, got, "hello")

	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	keys, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Equal(t, []string{"LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="}, keys, "SHA-256 of hello")
	value, err := client.Get(t.Context(), keys[0]).Int64()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, value, int64(0))
	ttl, err := client.TTL(t.Context(), keys[0]).Result()
	require.NoError(t, err)
	assert.Greater(t, ttl, 3*time.Second-time.Since(published))
	assert.LessOrEqual(t, ttl, 5*time.Second)

	hash := sha256.Sum256([]byte("taken"))
	key := base64.StdEncoding.EncodeToString(hash[:])
	require.NoError(t, client.Set(t.Context(), key, "by another process", time.Minute).Err())
	require.NoError(t, b.Publish(t.Context(), channel, []byte("taken"), nil))
	// The frame whose lock was already taken has been dropped.
	requireArrives(t, b, channel, got, "another")
}

func TestBus_PublishWaitsForSpaceUntilContextEnds(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	b := connect(t, server, redisbus.WithPublishQueue(1), redisbus.WithEventHandler(func(bus.Event) {}))
	server.Pause()
	defer server.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var err error
	for err == nil {
		err = b.Publish(ctx, bus.Channel{Name: "c"}, []byte("x"), nil)
	}
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestNew_InvalidArguments(t *testing.T) {
	t.Parallel()
	_, err := redisbus.New(nil)
	requireCode(t, errors.InvalidArgument, err)
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	_, err = redisbus.New(ring)
	require.ErrorContains(t, err, "*redis.Ring")
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	_, err = redisbus.New(client, redisbus.WithProbeInterval(0), redisbus.WithConnectTimeout(0), redisbus.WithPublishQueue(0),
		redisbus.WithMaxFrameSize(0), redisbus.WithLogger(nil))
	for _, want := range []string{"probe interval", "connect timeout", "publish queue", "frame size", "logger"} {
		require.ErrorContains(t, err, want)
	}
}
