package fleetmetrics

import (
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// lines returns what a source reports, with one line for each value.
func lines(source metrics.Source) (lines []string) {
	source(func(instrument *metrics.Instrument, value float64, labels ...string) {
		lines = append(lines, fmt.Sprint(instrument.Name, labels, " ", value))
	})
	return lines
}

func TestFactsOf(t *testing.T) {
	t.Parallel()
	server := func(id string, state fleet.State, offset time.Duration, digest byte) *fleet.Server {
		return &fleet.Server{
			ID: id, State: state, ClockOffset: offset, RoundTrip: 200 * time.Millisecond,
			Services: []fleet.Service{{Name: "shop.Shop", WireName: "Shop", Digest: fleet.Digest{digest}}},
		}
	}
	peers := &fleet.Peers{
		Servers: []*fleet.Server{
			server("a", fleet.StateServing, 50*time.Millisecond, 1),
			server("b", fleet.StateServing, -600*time.Millisecond, 2),
			server("c", fleet.StateDraining, 0, 2),
		},
		Refused: map[string]error{"d": errors.New("no")},
		Silent:  1,
		Services: []*fleet.PeerService{
			{WireName: "OfOthers", Receivers: 1},
			{WireName: "Shop", Servers: []string{"a", "b", "c"}},
		},
	}
	assert.Equal(t, []string{
		"dynpsrpc.fleet.servers[starting] 0",
		"dynpsrpc.fleet.servers[serving] 2",
		"dynpsrpc.fleet.servers[draining] 1",
		"dynpsrpc.fleet.servers[refused] 1",
		"dynpsrpc.fleet.silent_servers[] 1",
		"dynpsrpc.fleet.clock_offset[] 0.5",
		"dynpsrpc.fleet.service.servers[Shop] 3",
		"dynpsrpc.fleet.service.versions[Shop] 2",
	}, lines(factsOf(peers).report))
	peers.Silent = bus.Unknown
	assert.True(t, math.IsNaN(factsOf(peers).silent))
}

// The source asks the fleet, keeps the answer for a while, and reports NaN if the fleet cannot be
// asked.
func TestSource(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	server := dynamic.NewServer(b) // it starts, because it serves nothing yet
	t.Cleanup(server.Kill)
	_, err := fleet.Serve(server)
	require.NoError(t, err)
	conn, err := dynamic.NewConn(b, registry.New())
	require.NoError(t, err)
	f, err := fleet.New(conn)
	require.NoError(t, err)
	s := &source{fleet: f, logger: slog.New(slog.DiscardHandler)}
	assert.Contains(t, lines(s.report), "dynpsrpc.fleet.servers[starting] 1")
	assert.Contains(t, lines(s.report), "dynpsrpc.fleet.silent_servers[] 0")
	require.NoError(t, conn.Close())
	assert.Contains(t, lines(s.report), "dynpsrpc.fleet.servers[starting] 1", "the answer is fresh")
	s.asked = time.Now().Add(-2 * fresh)
	assert.Contains(t, lines(s.report), "dynpsrpc.fleet.servers[starting] NaN")
}
