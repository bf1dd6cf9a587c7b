package dynamic_test

import (
	"context"
	"sync"
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

// A stream stays with the version that opened it until that version is closed.
func TestReplace_StreamsGoOn(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newVersionsWorld(t, b)
	var services []*dynamic.Registration
	var streams []clientText
	for number := 1; number <= 3; number++ {
		streams = append(streams, w.openFlow(t))
		if number < 3 {
			services = append(services, w.replace(t, version(number+1)))
		}
	}
	requireAll := func(first int) {
		for i := first; i < len(streams); i++ {
			requireStream(t, i+1, streams[i])
		}
	}
	requireAll(0)
	for i, service := range services {
		require.NoError(t, service.Close(context.Background()))
		requireClosed(t, streams[i].Channel())
		require.ErrorIs(t, streams[i].Err(), errors.ErrStreamEOF)
		requireAll(i + 1)
	}
	assert.Zero(t, w.server.Stats().Unmatched)
	require.NoError(t, w.service.Close(context.Background()))
	require.NoError(t, w.conn.Close())
	assert.Empty(t, b.open())
}

// If the new version is closed before the old one, the streams of the old version continue.
func TestReplace_NewVersionIsClosedFirst(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newVersionsWorld(t, b)
	stream := w.openFlow(t)
	before := w.replace(t, version(2))
	require.NoError(t, w.service.Close(context.Background()))
	requireStream(t, 1, stream)
	_, err := w.call(t, versionsQueue, "")
	requireFacts(t, errors.ReasonNobodyListening, err)

	again, err := w.server.Register(descriptor(t, w.registry, "versions.Versions"), version(3), dynamic.AllowMissing())
	require.NoError(t, err, "the name is free")
	requireStream(t, 3, w.openFlow(t))
	require.NoError(t, before.Close(context.Background()))
	requireClosed(t, stream.Channel())
	require.NoError(t, again.Close(context.Background()))
	require.NoError(t, w.conn.Close())
	assert.Empty(t, b.open())
}

// The bus may deliver the frame that opens a stream to the old and the new version. It must open
// one stream only.
func TestReplace_RepeatedOpeningOpensOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newVersionsWorld(t, bus.NewLocal())
		p := newFlowClient(t, w.bus, "Flow")
		frames := p.listen(bus.Channel(wire.StreamClientChannel("Versions", peerClient)), bus.Broadcast)
		open := encode(t, p.frame(wire.Stream{Op: wire.StreamOpen, NodeID: []byte(peerClient)}))
		channel := bus.Channel(wire.StreamServerChannel("Versions", "Flow", nil))
		p.sendRaw(channel, open)
		requireSoon(t, frames, "acknowledgement")
		before := w.replace(t, version(2))
		p.sendRaw(channel, open)
		require.NoError(t, w.service.Close(context.Background()), "it waits for what the opening does")
		assert.EqualValues(t, 1, w.server.Stats().Duplicated)
		assert.Empty(t, frames, "nothing was opened, nor closed")
		before.Kill()
	})
}

// The server's statistics count the unread messages in the streams of all versions, each of them
// once.
func TestReplace_StatsOfStreams(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, bus.NewLocal())
	idling := versionWith(2, dynamic.Handlers{"Flow": dynamic.Stream(idle)})
	w.replace(t, idling).Kill()
	for range 2 {
		require.NoError(t, w.openFlow(t).Send(say("unread")))
		w.replace(t, idling)
	}
	// While the server moves a message from one buffer to the next, the message is briefly not
	// counted.
	require.Eventually(t, func() bool {
		return w.server.Stats().Waiting == 2
	}, atOnce, time.Millisecond)
}

// If the new version lacks a stream method, the open streams of that method continue, but no new
// ones are opened.
func TestReplace_StreamIsRemoved(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newVersionsWorld(t, b)
	stream, client := w.openFlow(t), textClient(t, w.conn, versionsFlow)
	w.use(t, "rpc Queue(google.protobuf.StringValue) returns (google.protobuf.StringValue);")
	before := w.replace(t, dynamic.Handlers{"Queue": version(2)["Queue"]})
	requireStream(t, 1, stream)
	require.NoError(t, stream.Close(nil))
	require.NoError(t, before.Close(context.Background()))
	_, err := client.OpenStream(t.Context())
	requireFacts(t, errors.ReasonNobodyListening, err)
}

// Opening a stream succeeds even if the service is being replaced and the old version closed at
// the same time.
func TestReplace_OpeningsSucceed(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, bus.NewLocal())
	client := textClient(t, w.conn, versionsFlow)
	stop := make(chan struct{})
	var opening sync.WaitGroup
	defer opening.Wait()
	defer close(stop)
	for range 4 {
		opening.Go(func() {
			for {
				stream, err := client.OpenStream(t.Context(), dynamic.WithRequestTimeout(atOnce))
				if !assert.NoError(t, err) {
					return
				}
				_ = stream.Close(nil) // fails if the version was closed before
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for number := range 50 {
		require.NoError(t, w.replace(t, version(number)).Close(context.Background()))
	}
}
