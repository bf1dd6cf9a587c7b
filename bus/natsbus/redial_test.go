package natsbus_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// lowerMaxPayload lowers the payload limit of the server to 1000 bytes. After a larger frame, the
// server reports a protocol error, and nats.go closes the connection permanently.
func lowerMaxPayload(t *testing.T, broker *testenv.NATSServer) {
	t.Helper()
	broker.Reload(func(o *server.Options) { o.MaxPayload = 1000 })
}

// If nats.go closes the connection permanently, a bus that owns its connection must dial a new one.
// All subscriptions and delivery reports must work on the new connection.
func TestOpen_ConnectionClosedForGood(t *testing.T) {
	t.Parallel()
	broker := testenv.NATS(t)
	b := requireWorking(t, broker.URL()).(*natsbus.Bus)
	sender := newBus(t, broker.URL())
	const topics = 100
	received := make(chan string, 10*topics)
	var subscriptions []bus.Subscription
	channel := func(i int) bus.Channel {
		return bus.Channel{Subject: fmt.Sprint("SRV.Svc.topic", i), Key: "Method.REQ"}
	}
	for i := range topics {
		s, err := b.Subscribe(t.Context(), channel(i), bus.Mode(i%2), func([]byte) { received <- channel(i).Subject })
		require.NoError(t, err)
		subscriptions = append(subscriptions, s)
	}
	queue, _ := listen(t, b, requests, bus.Queue)
	for round := range 5 {
		broker.Reload(func(o *server.Options) { o.MaxPayload = 1 << 20 })
		if round > 0 { // after a reconnect, the bus knows the higher limit
			require.NoError(t, broker.Server().DisconnectClientByID(clientOf(t, broker, b)))
			require.Eventually(t, func() bool { return b.Publish(t.Context(), others, make([]byte, 2000), nil) == nil },
				testTimeout, testTimeout/1000)
		}
		disconnects := b.Stats().Disconnects
		lowerMaxPayload(t, broker)
		_ = b.Publish(t.Context(), others, make([]byte, 2000), nil)
		require.Eventually(t, func() bool { return b.Stats().Disconnects > disconnects && b.Stats().Connected },
			testTimeout, testTimeout/1000)

		require.ErrorIs(t, b.Publish(t.Context(), others, make([]byte, 2000), nil), bus.ErrFrameTooLarge)
		for i := range topics {
			require.NoError(t, sender.Publish(t.Context(), channel(i), envelope(t, "x", ""), nil))
			assert.Equal(t, channel(i).Subject, soon(t, received, "frame"))
		}
		publish(t, sender, requests, envelope(t, "x", ""))
		soon(t, queue, "frame of the queue")
		nobody := newReports()
		require.NoError(t, b.Publish(t.Context(), bus.Channel{Subject: "SRV.Svc.nobody"}, nil, nobody))
		assert.Equal(t, published{0, nil}, soon(t, nobody, "report"))
	}
	for _, s := range subscriptions {
		s.Close()
	}
	nobody := newReports()
	for i := range topics {
		require.NoError(t, sender.Publish(t.Context(), channel(i), nil, nobody))
		assert.Equal(t, published{0, nil}, soon(t, nobody, "report after the end of a subscription"))
	}
	assert.Empty(t, received)
	assert.Len(t, connections(t, broker), 2, "the closed connections are gone")
}

// clientOf returns the ID that the server has given to the connection of a bus opened with
// bus.Open.
func clientOf(t *testing.T, broker *testenv.NATSServer, _ bus.Bus) uint64 {
	t.Helper()
	for _, conn := range connections(t, broker) {
		if conn.Name == "dynpsrpc" {
			return conn.Cid
		}
	}
	require.FailNow(t, "the bus is not connected")
	return 0
}

// Connections are closed permanently while other goroutines subscribe, publish and wait for
// delivery reports. Operations may fail only with the expected errors, and must succeed again
// afterwards.
func TestOpen_ConnectionClosedWhileInUse(t *testing.T) {
	t.Parallel()
	broker := testenv.NATS(t)
	b := requireWorking(t, broker.URL()).(*natsbus.Bus)
	stop := make(chan struct{})
	var all sync.WaitGroup
	work := func(do func(i int) error) {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := do(i); err != nil {
					coded, _ := errors.AsType[errors.Error](err)
					if coded == nil || coded.Code() != errors.ResourceExhausted {
						requireUnavailable(t, err)
					}
					<-time.After(time.Millisecond) // wait until the bus has reconnected
				}
			}
		})
	}
	for worker := range 4 {
		work(func(i int) error {
			channel := bus.Channel{Subject: fmt.Sprintf("SRV.Svc.worker%d.%d", worker, i%7)}
			s, err := b.Subscribe(t.Context(), channel, bus.Mode(i%2), func([]byte) {})
			if err == nil {
				s.Close()
			}
			return err
		})
		work(func(int) error { return b.Publish(t.Context(), requests, []byte("x"), newReports()) })
	}
	for range 5 {
		disconnects := b.Stats().Disconnects
		broker.Reload(func(o *server.Options) { o.MaxPayload = 1 << 20 })
		require.NoError(t, broker.Server().DisconnectClientByID(clientOf(t, broker, b)))
		require.Eventually(t, func() bool { return b.Stats().Disconnects > disconnects && b.Stats().Connected },
			testTimeout, testTimeout/1000)
		lowerMaxPayload(t, broker)
		disconnects = b.Stats().Disconnects
		_ = b.Publish(t.Context(), results, make([]byte, 2000), nil)
		require.Eventually(t, func() bool { return b.Stats().Disconnects > disconnects && b.Stats().Connected },
			testTimeout, testTimeout/1000)
	}
	close(stop)
	all.Wait()
	frames, _ := listen(t, b, others, bus.Queue)
	publish(t, b, others, envelope(t, "x", ""))
	soon(t, frames, "frame")
}

func requireUnavailable(t *testing.T, err error) {
	t.Helper()
	coded, ok := errors.AsType[errors.Error](err)
	assert.True(t, ok && coded.Code() == errors.Unavailable, "%v", err)
}

// It must be possible to close a bus that is unable to dial a new connection.
func TestOpen_CloseWhileDialing(t *testing.T) {
	t.Parallel()
	broker := testenv.NATS(t)
	proxy := testenv.NewProxy(t, addr(broker.URL()))
	b, err := bus.Open(t.Context(), patient("nats://"+proxy.Addr()))
	require.NoError(t, err)
	proxy.Refuse()
	lowerMaxPayload(t, broker)
	_ = b.Publish(t.Context(), results, make([]byte, 2000), nil)
	require.Eventually(t, func() bool { return !b.(bus.Monitored).Stats().Connected }, testTimeout, testTimeout/1000)
	started := time.Now()
	require.NoError(t, b.Close())
	assert.Less(t, time.Since(started), testTimeout/2, "the dialing would go on forever")
}

// If nats.go closes a connection that was passed to New, the bus must close its Done channel. An
// event and all further errors must contain the reason.
func TestBus_ConnectionClosedForGood(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, broker *testenv.NATSServer, nc *nats.Conn, b *natsbus.Bus){
		"payload too large": func(t *testing.T, broker *testenv.NATSServer, _ *nats.Conn, b *natsbus.Bus) {
			lowerMaxPayload(t, broker)
			publish(t, b, results, make([]byte, 2000))
		},
		"control line too long": func(t *testing.T, _ *testenv.NATSServer, nc *nats.Conn, _ *natsbus.Bus) {
			// This frame stands for one that another part of the program publishes on the same
			// connection.
			require.NoError(t, nc.Publish(strings.Repeat("x", 5000), nil))
		},
		"closed": func(_ *testing.T, _ *testenv.NATSServer, nc *nats.Conn, _ *natsbus.Bus) { nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := testenv.NATS(t)
			nc := connect(t, broker.URL())
			events, handler := newEvents()
			b := newBusOn(t, nc, handler)
			listen(t, b, requests, bus.Queue)
			end(t, broker, nc, b)
			soon(t, b.Done(), "end of the bus")
			reason := events.next(t, bus.Disconnected).Err
			requireCode(t, errors.Unavailable, reason)
			err := b.Publish(t.Context(), results, nil, nil)
			require.ErrorIs(t, err, bus.ErrClosed)
			require.ErrorContains(t, err, reason.Error())
			_, err = b.Subscribe(t.Context(), results, bus.Broadcast, func([]byte) {})
			require.ErrorIs(t, err, bus.ErrClosed)
		})
	}
}

// If the server rejects the credentials, errors and an event must contain the reason.
func TestBus_PasswordChanged(t *testing.T) {
	t.Parallel()
	const probe = time.Second
	for name, open := range map[string]func(t *testing.T, url string, events natsbus.Option) bus.Bus{
		"New": func(t *testing.T, url string, handler natsbus.Option) bus.Bus {
			return newBus(t, url, handler, natsbus.WithProbeInterval(probe))
		},
		"bus.Open": func(t *testing.T, url string, _ natsbus.Option) bus.Bus {
			return requireWorking(t, url+"?probe_interval="+probe.String())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := testenv.NATS(t, func(o *server.Options) { o.Username, o.Password = "user", "old" })
			events, handler := newEvents()
			b := open(t, "nats://user:old@"+addr(broker.URL()), handler)
			broker.Reload(func(o *server.Options) { o.Password = "new" })
			require.Eventually(t, func() bool {
				err := b.Publish(context.WithoutCancel(t.Context()), results, nil, nil)
				return err != nil && strings.Contains(err.Error(), "Authorization")
			}, testTimeout, probe/10)
			requireCode(t, errors.Unavailable, b.Publish(t.Context(), results, nil, nil))
			if name == "New" {
				for !strings.Contains(events.next(t, bus.Disconnected).Err.Error(), "Authorization") {
				}
			}
			broker.Reload(func(o *server.Options) { o.Password = "old" })
			require.Eventually(t, func() bool { return b.Publish(t.Context(), results, nil, nil) == nil },
				testTimeout, testTimeout/1000)
		})
	}
}

// If a bus owns its connection and connection attempts are refused, its errors must say so.
func TestOpen_ConnectionRefused(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, addr(testenv.NATS(t).URL()))
	b := requireWorking(t, "nats://"+proxy.Addr()+"?probe_interval=1s")
	proxy.Refuse()
	proxy.Cut()
	require.Eventually(t, func() bool {
		err := b.Publish(t.Context(), results, nil, nil)
		return err != nil && strings.Contains(err.Error(), "refused")
	}, testTimeout, testTimeout/1000)
}
