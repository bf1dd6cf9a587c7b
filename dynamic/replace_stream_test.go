package dynamic_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Streams stay with the version that they were opened with until that is closed.
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

// The new version may be closed before the old one, whose streams go on all the same.
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

// An opening that the bus delivers to both versions opens one stream.
func TestReplace_RepeatedOpeningOpensOnce(t *testing.T) {
	t.Parallel()
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
}

// Stats count the messages that wait in the streams of all versions, each once.
func TestReplace_StatsOfStreams(t *testing.T) {
	t.Parallel()
	w := newVersionsWorld(t, bus.NewLocal())
	idling := versionWith(2, dynamic.Handlers{"Flow": dynamic.Stream(idle)})
	w.replace(t, idling).Kill()
	for range 2 {
		require.NoError(t, w.openFlow(t).Send(say("unread")))
		w.replace(t, idling)
	}
	require.Eventually(t, func() bool { // a message on its way from one place to the next is not counted
		return w.server.Stats().Waiting == 2
	}, atOnce, time.Millisecond)
}

// A stream that the new version does not have goes on, but no other one is opened.
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

// A stream that is opened while its version is replaced and closed is opened with one of them.
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
				_ = stream.Close(nil) // or its version was closed
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for number := range 200 {
		require.NoError(t, w.replace(t, version(number)).Close(context.Background()))
	}
}
