package natsbus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// While the server is down, Publish and Subscribe must fail immediately, and their frames must not
// be sent later. After the restart, all subscriptions must receive frames again.
func TestBus_ServerRestart(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]nats.Option{
		"a connection made for a bus":          nil,
		"a connection with a reconnect buffer": {nats.ReconnectBufSize(nats.DefaultReconnectBufSize)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testenv.NATSProcess(t)
			events, handler := newEvents()
			b := newBusOn(t, connect(t, server.URL(), opts...), handler)
			plain, _ := listen(t, b, results, bus.Broadcast)
			queue, _ := listen(t, b, requests, bus.Queue)
			publish(t, b, requests, envelope(t, "before", ""))
			soon(t, queue, "frame before")

			server.Kill()
			requireCode(t, errors.Unavailable, events.next(t, bus.Disconnected).Err)
			assert.False(t, b.Stats().Connected)
			started := time.Now()
			for i := range 100 {
				requireCode(t, errors.Unavailable, b.Publish(t.Context(), results, []byte(fmt.Sprint("stale ", i)), newReports()))
			}
			_, err := b.Subscribe(t.Context(), others, bus.Broadcast, func([]byte) {})
			requireCode(t, errors.Unavailable, err)
			assert.Less(t, time.Since(started), testTimeout/2, "they do not wait for the server")

			server.Start()
			require.NoError(t, events.next(t, bus.Reconnected).Err)
			assert.True(t, b.Stats().Connected)
			sender := newBus(t, server.URL())
			publish(t, sender, results, []byte("after"))
			assert.Equal(t, "after", string(soon(t, plain, "frame after")))
			publish(t, sender, requests, envelope(t, "after", ""))
			soon(t, queue, "frame after")
			assert.Empty(t, plain, "nothing stale came")
			assert.EqualValues(t, 1, b.Stats().Disconnects)
		})
	}
}

// The bus must detect a half-open connection within two probe intervals, and must report the loss
// of the frames that the server has not confirmed.
func TestBus_HalfOpenConnection(t *testing.T) {
	t.Parallel()
	const probe = time.Second
	server := testenv.NATS(t)
	for name, open := range map[string]func(t *testing.T, url string, handler natsbus.Option) bus.Bus{
		"a connection made for a bus": func(t *testing.T, url string, handler natsbus.Option) bus.Bus {
			return newBus(t, url, handler, natsbus.WithProbeInterval(probe))
		},
		"a connection as nats.go makes it": func(t *testing.T, url string, handler natsbus.Option) bus.Bus {
			nc, err := nats.Connect(url)
			require.NoError(t, err)
			t.Cleanup(nc.Close)
			return newBusOn(t, nc, handler, natsbus.WithProbeInterval(probe))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := testenv.NewProxy(t, addr(server.URL()))
			events, handler := newEvents()
			b := open(t, "nats://"+proxy.Addr(), handler)
			channel := bus.Channel{Subject: "CLI.half-open." + name[len(name)-2:]}
			frames, _ := listen(t, b, channel, bus.Broadcast)

			proxy.BlackHole()
			started := time.Now()
			lost := newReports()
			require.NoError(t, b.Publish(t.Context(), channel, nil, lost))
			down := events.next(t, bus.Disconnected)
			assert.Less(t, time.Since(started), 2*probe+testTimeout/2, "two probe intervals, and a margin for a busy machine")
			require.ErrorContains(t, down.Err, "did not answer")
			loss := soon(t, lost, "report of the lost frame")
			assert.Equal(t, bus.Unknown, loss.receivers)
			requireCode(t, errors.Unavailable, loss.err)

			events.next(t, bus.Reconnected)
			publish(t, b, channel, []byte("again"))
			assert.Equal(t, "again", string(soon(t, frames, "frame after")))
			assert.EqualValues(t, 1, b.(bus.Monitored).Stats().PublishErrors)
		})
	}
}

// The connection loses all bytes that the bus sends, while frames from the server still arrive. The
// bus must detect this.
func TestBus_NothingSentArrives(t *testing.T) {
	t.Parallel()
	const probe = time.Second
	server := testenv.NATS(t)
	proxy := testenv.NewProxy(t, addr(server.URL()))
	events, handler := newEvents()
	// While the proxy is mute, an attempt to connect fails only when its timeout expires, so the
	// timeout is short.
	nc := connect(t, "nats://"+proxy.Addr(), nats.Timeout(5*time.Second))
	b, sender := newBusOn(t, nc, handler, natsbus.WithProbeInterval(probe)), newBus(t, server.URL())
	frames, _ := listen(t, b, results, bus.Broadcast)
	stop, stopped := make(chan struct{}), make(chan struct{})
	ctx := context.WithoutCancel(t.Context()) // the goroutine below ends after t.Context
	go func() {                               // the cleanup function waits for this goroutine
		defer close(stopped)
		for ticker := time.NewTicker(probe / 20); ; {
			select {
			case <-ticker.C:
				assert.NoError(t, sender.Publish(ctx, results, []byte("x"), nil))
			case <-stop:
				ticker.Stop()
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	soon(t, frames, "frame before")

	proxy.Mute(true)
	started := time.Now()
	down := events.next(t, bus.Disconnected)
	require.ErrorContains(t, down.Err, "did not answer")
	assert.Less(t, time.Since(started), 4*probe+testTimeout/2, "four probe intervals, and a margin for a busy machine")
	assert.NotEmpty(t, frames, "frames arrived in the meantime")
	proxy.Mute(false)
	// Cut the connection, because the server cannot parse the remaining bytes after some have been
	// lost.
	proxy.Cut()
	events.next(t, bus.Reconnected)
	publish(t, b, others, nil)
}

// A server that stops reading must not block publishers for long.
func TestBus_StuckServer(t *testing.T) {
	t.Parallel()
	const probe = 300 * time.Millisecond
	server := testenv.NATSProcess(t)
	events, handler := newEvents()
	b := newBusOn(t, connect(t, server.URL(), nats.FlusherTimeout(probe)), handler, natsbus.WithProbeInterval(probe))
	server.Pause()
	started := time.Now()
	frame := make([]byte, 256<<10)
	var err error
	for err == nil && time.Since(started) < testTimeout {
		err = b.Publish(t.Context(), results, frame, nil)
	}
	requireCode(t, errors.Unavailable, err)
	events.next(t, bus.Disconnected)
	server.Resume()
	events.next(t, bus.Reconnected)
	require.Eventually(t, func() bool { return b.Publish(t.Context(), results, frame, nil) == nil }, testTimeout, probe,
		"on a slow machine, the bus may have to reconnect once more")
}

func TestBus_RepeatedDisconnects(t *testing.T) {
	t.Parallel()
	server := testenv.NATS(t)
	proxy := testenv.NewProxy(t, addr(server.URL()))
	events, handler := newEvents()
	b, sender := newBus(t, "nats://"+proxy.Addr(), handler), newBus(t, server.URL())
	frames, _ := listen(t, b, requests, bus.Queue)
	for i := range 10 {
		if i%2 == 0 {
			proxy.Cut()
		} else {
			proxy.Reset()
		}
		events.next(t, bus.Disconnected)
		events.next(t, bus.Reconnected)
		publish(t, sender, requests, envelope(t, "x", ""))
		soon(t, frames, "frame")
	}
	assert.EqualValues(t, 10, b.Stats().Disconnects)
}

func TestBus_ProgramClosesTheConnection(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	for name, end := range map[string]func(nc *nats.Conn) error{
		"close": func(nc *nats.Conn) error { nc.Close(); return nil },
		"drain": (*nats.Conn).Drain,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := connect(t, url)
			events, handler := newEvents()
			b := newBusOn(t, nc, handler)
			_, subscription := listen(t, b, requests, bus.Queue)
			require.NoError(t, end(nc))
			requireCode(t, errors.Unavailable, events.next(t, bus.Disconnected).Err)
			requireCode(t, errors.Unavailable, b.Publish(t.Context(), results, nil, nil))
			_, err := b.Subscribe(t.Context(), results, bus.Broadcast, func([]byte) {})
			requireCode(t, errors.Unavailable, err)
			subscription.Close()
			require.NoError(t, b.Close())
			require.ErrorIs(t, b.Publish(t.Context(), results, nil, nil), bus.ErrClosed)
		})
	}
}

// New must accept a connection that has not reached a server yet.
func TestBus_ServerComesLater(t *testing.T) {
	t.Parallel()
	server := testenv.NATSProcess(t)
	server.Kill()
	events, handler := newEvents()
	b := newBusOn(t, connect(t, server.URL(), nats.RetryOnFailedConnect(true)), handler)
	assert.False(t, b.Stats().Connected)
	requireCode(t, errors.Unavailable, b.Publish(t.Context(), results, nil, nil))
	server.Start()
	events.next(t, bus.Reconnected)
	frames, _ := listen(t, b, results, bus.Broadcast)
	publish(t, b, results, []byte("hello"))
	assert.Equal(t, "hello", string(soon(t, frames, "frame")))
	nobody := newReports()
	require.NoError(t, b.Publish(t.Context(), requests, nil, nobody))
	assert.Equal(t, published{0, nil}, soon(t, nobody, "report"))
}

// The connection is cut while many subscriptions are being closed. Afterwards, none of these
// subscriptions may remain on the server.
func TestBus_NoStaleSubscriptions(t *testing.T) {
	t.Parallel()
	const probe = 500 * time.Millisecond
	broker := testenv.NATS(t)
	proxy := testenv.NewProxy(t, addr(broker.URL()))
	nc := connect(t, "nats://"+proxy.Addr(), nats.CustomReconnectDelay(func(int) time.Duration { return time.Microsecond }))
	b := newBusOn(t, nc, natsbus.WithProbeInterval(probe))
	frames, _ := listen(t, b, results, bus.Broadcast)
	subscribe := func(channel bus.Channel) (s bus.Subscription) {
		require.Eventually(t, func() (ok bool) {
			var err error
			s, err = b.Subscribe(t.Context(), channel, bus.Queue, func([]byte) {})
			return err == nil
		}, testTimeout, testTimeout/1000, "the bus may be about to reconnect")
		return s
	}
	for range 10 {
		var subscriptions []bus.Subscription
		for i := range 50 {
			subscriptions = append(subscriptions, subscribe(bus.Channel{Subject: fmt.Sprint("SRV.Svc.topic", i)}))
		}
		var all sync.WaitGroup
		for _, s := range subscriptions {
			all.Go(s.Close)
		}
		proxy.Cut()
		all.Wait()
	}
	require.Eventually(t, func() bool {
		clients := connections(t, broker)
		// Only the subscription for results and the one for the inbox remain.
		return len(clients) == 1 && clients[0].NumSubs == 2
	}, testTimeout, probe, "the bus may have to reconnect once more")
	require.Eventually(t, func() bool { return b.Publish(t.Context(), results, nil, nil) == nil }, testTimeout, probe)
	soon(t, frames, "frame")
}
