package metrics_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit/kinds"
)

const (
	waitFor = 20 * time.Second
	tick    = time.Millisecond
)

// reported returns the values that the sources report, keyed by the name of the metric and its
// labels.
func reported(t testing.TB, sources ...metrics.Source) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, source := range sources {
		source(func(instrument *metrics.Instrument, value float64, labels ...string) {
			assert.Len(t, labels, len(instrument.Keys))
			key := instrument.Name
			for _, label := range labels {
				key += " " + label
			}
			values[key] = value
		})
	}
	return values
}

// monitored is a bus whose statistics are chosen by the test.
type monitored struct {
	bus.Bus

	stats bus.Stats
}

func (m monitored) Stats() bus.Stats { return m.stats }

func TestBusSource_Reports(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer b.Close()
	assert.Empty(t, reported(t, metrics.BusSource("local", b)))
	stats := bus.Stats{Connected: true, Disconnects: 2, Published: 3, PublishErrors: 4, Received: 5, Dropped: 6,
		DroppedBy: map[string]uint64{"OOM": 1, "MISROUTED": 2}}
	assert.Equal(t, map[string]float64{
		"dynpsrpc.bus.connected main": 1, "dynpsrpc.bus.reconnects main": 2, "dynpsrpc.bus.published main": 3,
		"dynpsrpc.bus.publish_errors main": 4, "dynpsrpc.bus.received main": 5, "dynpsrpc.bus.dropped main OOM": 1,
		"dynpsrpc.bus.dropped main MISROUTED": 2, "dynpsrpc.bus.dropped main unknown": 3,
	}, reported(t, metrics.BusSource("main", monitored{b, stats})))

	for disconnects, reconnects := range map[uint64]float64{0: 0, 1: 0, 2: 1} {
		values := reported(t, metrics.BusSource("main", monitored{b, bus.Stats{Disconnects: disconnects}}))
		assert.Zero(t, values["dynpsrpc.bus.connected main"])
		assert.InDelta(t, reconnects, values["dynpsrpc.bus.reconnects main"], 0)
	}
}

func TestEndpointSources_Report(t *testing.T) {
	t.Parallel()
	w := kinds.New(t, dynamic.ServiceOptions(), dynamic.ConnOptions())
	stream, subscription := w.Open(t.Context(), t), w.Subscribe(t.Context(), t)
	require.NoError(t, stream.Send(&kinds.Text{Value: "hi"}))
	for range 3 {
		require.NoError(t, w.Service.Publish(t.Context(), "Feed", &kinds.Text{Value: "hi"}))
	}
	require.Eventually(t, func() bool { return subscription.Stats().Waiting == 3 && w.Conn.Stats().Waiting == 1 },
		waitFor, tick, "the bus delivers in the background")
	<-subscription.Channel()
	assert.Equal(t, map[string]float64{
		"dynpsrpc.server.waiting s": 0, "dynpsrpc.conn.waiting c": 1,
		"dynpsrpc.server.dropped s bad_frame": 0, "dynpsrpc.server.dropped s expired": 0, "dynpsrpc.server.dropped s duplicated": 0,
		"dynpsrpc.server.dropped s unmatched": 0, "dynpsrpc.server.dropped s overflowed": 0, "dynpsrpc.server.dropped s unsent": 0,
		"dynpsrpc.server.dropped s evicted": 0, "dynpsrpc.server.dropped s refused": 0,
		"dynpsrpc.conn.dropped c bad_frame": 0, "dynpsrpc.conn.dropped c unmatched": 0, "dynpsrpc.conn.dropped c expired": 0,
		"dynpsrpc.conn.dropped c duplicated": 0, "dynpsrpc.conn.dropped c overflowed": 0,
		"dynpsrpc.subscription.waiting feed": 2, "dynpsrpc.subscription.received feed": 3,
		"dynpsrpc.subscription.dropped feed overflow": 0, "dynpsrpc.subscription.dropped feed bad_frame": 0,
		"dynpsrpc.subscription.dropped feed refused": 0,
	}, reported(t, metrics.ServerSource("s", w.Server), metrics.ConnSource("c", w.Conn), metrics.SubscriptionSource("feed", subscription)))
}

// Sources of nil objects must report nothing, and a nil observer or option must be ignored.
func TestNilArguments(t *testing.T) {
	t.Parallel()
	var subscription dynamic.Subscription[proto.Message]
	var b *monitored
	assert.Empty(t, reported(t,
		metrics.BusSource("bus", nil), metrics.BusSource("bus", b), metrics.ServerSource("server", nil),
		metrics.ConnSource("conn", nil), metrics.SubscriptionSource("subscription", subscription)))
	server := dynamic.NewServer(bus.NewLocal(), metrics.New(nil, nil))
	require.NoError(t, server.Shutdown(t.Context()))
}
