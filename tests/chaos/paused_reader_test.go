package chaos

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// pause can stop all of its connections from reading. It simulates a process that is suspended.
type pause struct {
	mu      sync.Mutex
	resumed chan struct{} // closed unless the connections are paused
}

func newPause() *pause {
	p := &pause{resumed: make(chan struct{})}
	close(p.resumed)
	return p
}

func (p *pause) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resumed = make(chan struct{})
}

func (p *pause) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.resumed)
}

func (p *pause) wait() {
	p.mu.Lock()
	resumed := p.resumed
	p.mu.Unlock()
	<-resumed
}

// Dial implements [nats.CustomDialer].
func (p *pause) Dial(network, addr string) (net.Conn, error) {
	return p.dial(context.Background(), network, addr)
}

func (p *pause) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return pausedConn{conn, p}, nil
}

type pausedConn struct {
	net.Conn

	pause *pause
}

func (c pausedConn) Read(into []byte) (int, error) {
	c.pause.wait()
	return c.Conn.Read(into)
}

// longProbe is a probe interval that is longer than the test, so that the bus sends no probes.
const longProbe = time.Minute

// A process does not read for a while, and its broker closes the connection. When the process reads
// again, its bus must report the disconnect and reconnect. Its subscriptions must then receive
// updates again.
func TestPausedReader_IsCutAndBack(t *testing.T) {
	t.Parallel()
	t.Run(testkit.RedisName, func(t *testing.T) {
		t.Parallel()
		server := testenv.Redis(t, "--client-output-buffer-limit", "pubsub 1mb 0 0")
		pause := newPause()
		handle, events := timedEvents()
		reader := testkit.RedisOver(t, redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: pause.dial}),
			redisbus.WithProbeInterval(longProbe), redisbus.WithEventHandler(handle))
		testCutAndBack(t, pause, events, reader, testkit.Redis(t, server.Addr()))
	})
	t.Run(testkit.NATSName, func(t *testing.T) {
		t.Parallel()
		server := testenv.NATS(t, func(o *server.Options) { o.MaxPending = 2 << 20 })
		pause := newPause()
		handle, events := timedEvents()
		reader := testkit.NATSOver(t, server.URL(), []nats.Option{nats.SetCustomDialer(pause)},
			natsbus.WithProbeInterval(longProbe), natsbus.WithEventHandler(handle))
		testCutAndBack(t, pause, events, reader, testkit.NATS(t, server.URL()))
	})
}

func testCutAndBack(t *testing.T, pause *pause, events <-chan timedEvent, reader, writer bus.Bus) {
	_, publisher := testkit.Serve(t, writer, nil)
	subscription, err := testkit.Subscriber(t, testkit.Conn(t, reader), "UpdateState").
		Subscribe(t.Context(), dynamic.WithBufferSize(1000))
	require.NoError(t, err)
	marks, err := testkit.Subscriber(t, testkit.Conn(t, writer), "ProcessUpdate").Subscribe(t.Context())
	require.NoError(t, err)
	pause.begin()
	// Together, these updates are larger than the kernel's socket buffers and the limit of the
	// broker.
	const updates = 250
	large := &api.MyUpdate{Id: string(make([]byte, 64<<10))}
	for range updates {
		require.NoError(t, publisher.Publish(t.Context(), "UpdateState", large))
	}
	// The broker handles the frames of a connection in order. When the next update arrives, the broker
	// has handled all updates before it.
	require.NoError(t, publisher.Publish(t.Context(), "ProcessUpdate", &api.MyUpdate{}))
	testkit.Soon(t, marks.Channel(), "the update after those that the reader does not read")
	pause.end()
	cut := testkit.Soon(t, events, "the cut")
	assert.Equal(t, bus.Disconnected, cut.Kind)
	back := testkit.Soon(t, events, "the new connection")
	assert.Equal(t, bus.Reconnected, back.Kind)
	require.NoError(t, publisher.Publish(t.Context(), "UpdateState", &api.MyUpdate{Id: "last"}))
	for testkit.Soon(t, subscription.Channel(), "the last update").GetId() != "last" {
	}
	received := subscription.Stats().Received
	assert.Less(t, received, uint64(updates))
	t.Logf("%v; %d of %d updates were lost; back after %v", cut.Err, updates+1-received, updates, back.at.Sub(cut.at))
}
