package dynamic_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// TestKeepalive_Idle checks that both sides of an idle stream send pings at the shorter of their
// two intervals, and that the stream stays open.
func TestKeepalive_Idle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		w := newFlowWorld(t, b, idle, dynamic.WithKeepalive(4*time.Second))
		stream := w.open(t, flow)
		acks, _ := b.sentStreams(t, wire.StreamAck)
		assert.Equal(t, 4*time.Second, time.Duration(acks[0].Keepalive))
		<-time.After(10 * time.Minute)
		synctest.Wait()
		require.NoError(t, stream.Err())
		_, channels := b.sentStreams(t, wire.StreamPing)
		toServer := 0
		for _, channel := range channels {
			if strings.HasPrefix(channel, "Flows|Flow") {
				toServer++
			}
		}
		const pings = 10 * 60 / 4
		assert.InDelta(t, pings, toServer, 1)
		assert.InDelta(t, pings, len(channels)-toServer, 1)
		require.NoError(t, stream.Send(say("hi")))
	})
}

// TestKeepalive_BusyStream checks that no pings are sent while messages flow in both directions.
func TestKeepalive_BusyStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		w := newFlowWorld(t, b, echoFlow)
		stream := w.open(t, flow)
		for range 100 {
			<-time.After(dynamic.DefaultKeepalive - time.Second)
			require.NoError(t, stream.Send(say("hi")))
			requireText(t, "hi", stream.Channel())
		}
		pings, _ := b.sentStreams(t, wire.StreamPing)
		assert.Empty(t, pings)
	})
}

// TestKeepalive_PeerVanishes checks that both sides close the stream after three intervals without
// frames. If one side can still send, it notifies the other side.
func TestKeepalive_PeerVanishes(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"|STR to the server", "|STR to the client", "both"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newFakeBus()
				var swallow atomic.Bool
				b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
					toServer := strings.HasPrefix(channel.Name, "Flows|Flow")
					if swallow.Load() && (side == "both" || toServer == strings.HasSuffix(side, "server")) {
						return nil
					}
					return b.Bus.Publish(ctx, channel, frame, report)
				}
				handle, servers, _ := handing(t)
				w := newFlowWorld(t, b, handle, dynamic.WithKeepalive(time.Second))
				client := w.open(t, flow)
				server := requireSoon(t, servers, "handler")
				<-time.After(time.Minute)
				require.NoError(t, client.Err())
				swallow.Store(true)
				start := time.Now()
				<-client.Context().Done()
				<-server.Context().Done()
				assert.InDelta(t, 3, time.Since(start).Seconds(), 1.01)
				for _, err := range []error{client.Err(), server.Err()} {
					assert.Equal(t, "stream peer vanished", requireCode(t, errors.Unavailable, err).Error())
				}
				requireClosed(t, client.Channel())
				if side == "both" {
					require.ErrorIs(t, client.Err(), dynamic.ErrKeepaliveTimeout)
					require.ErrorIs(t, server.Err(), dynamic.ErrKeepaliveTimeout)
				}
			})
		})
	}
}

// TestKeepalive_None checks that there are no pings if one of the sides has no keepalive, or if
// several servers serve the stream.
func TestKeepalive_None(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method   string
		client, server time.Duration
	}{
		{"client has none", flow, -1, time.Second},
		{"server has none", flow, time.Second, -1},
		{"several servers", allFlows, time.Second, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newFakeBus()
				w := newFlowWorld(t, b, idle, dynamic.WithKeepalive(tt.server))
				w.conn = w.newConn(t, dynamic.WithKeepalive(tt.client))
				stream := w.open(t, tt.method)
				<-time.After(time.Hour)
				require.NoError(t, stream.Err())
				pings, _ := b.sentStreams(t, wire.StreamPing)
				assert.Empty(t, pings)
				require.NoError(t, stream.Close(nil))
			})
		})
	}
}

// TestKeepalive_Minimum checks that a client which announces a tiny interval receives pings at the
// minimum interval.
func TestKeepalive_Minimum(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handle, servers, _ := handing(t)
		w := newFlowWorld(t, bus.NewLocal(), handle)
		p := newFlowClient(t, w.bus, "Direct")
		p.toServer(wire.Stream{Op: wire.StreamOpen, NodeID: []byte(p.client), Keepalive: 1})
		assert.Equal(t, dynamic.DefaultKeepalive, time.Duration(p.next(wire.StreamAck).Keepalive))
		start := time.Now()
		p.next(wire.StreamPing)
		assert.Equal(t, dynamic.MinimumKeepalive, time.Since(start))
		p.toServer(wire.Stream{Op: wire.StreamPing})
		p.next(wire.StreamPing)
		p.next(wire.StreamPing)
		assert.Equal(t, "stream peer vanished", p.next(wire.StreamClose).Error)
		require.ErrorIs(t, requireSoon(t, servers, "handler").Err(), dynamic.ErrKeepaliveTimeout)
	})
}
