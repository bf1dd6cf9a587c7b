package summary_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/summary"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// server returns the answer of a server. after is the time from the start of the server to the
// answer.
func server(id string, after time.Duration, methods ...fleet.Method) *fleet.Server {
	return &fleet.Server{
		ID: id, Started: start, Now: start.Add(after),
		Services: []fleet.Service{{Name: "shop.Orders", WireName: "Orders", Methods: methods}},
	}
}

func method(name string, stats fleet.Stats) fleet.Method {
	return fleet.Method{Name: name, WireName: name, Stats: &stats}
}

func TestLoads_SinceTheStart(t *testing.T) {
	t.Parallel()
	loads := summary.Loads(nil, []*fleet.Server{
		server("a", 10*time.Second, method("Get", fleet.Stats{
			CallsStarted: 100, CallsOK: 96, Errors: map[errors.ErrorCode]uint64{errors.NotFound: 3}, Active: 1,
			Duration: fleet.Histogram{Offset: 159, Counts: []uint64{99}, Sum: 99 * time.Millisecond, Max: time.Millisecond},
		}), method("Pay", fleet.Stats{Declined: 7})),
		server("b", 20*time.Second, method("Get", fleet.Stats{CallsStarted: 100, CallsOK: 100, LastCall: start})),
	}, summary.ByMethod, nil)
	require.Len(t, loads, 2)
	get := loads[0]
	assert.Equal(t, "shop.Orders/Get", get.Name)
	assert.Equal(t, 2, get.Servers)
	assert.EqualValues(t, 200, get.Calls)
	assert.EqualValues(t, 196, get.OK)
	assert.EqualValues(t, 3, get.Failed)
	assert.EqualValues(t, 199, get.Ended())
	assert.EqualValues(t, 1, get.Active)
	assert.InDelta(t, 15, get.PerSecond, 0.001, "10 calls/s and 5 calls/s")
	assert.InDelta(t, 3.0/199, get.FailedRatio(), 1e-9)
	assert.Equal(t, map[errors.ErrorCode]uint64{errors.NotFound: 3}, get.Codes)
	assert.EqualValues(t, 99, get.Duration.Count())
	assert.Equal(t, start, get.LastCall)
	assert.EqualValues(t, 7, loads[1].Declined)
	assert.Zero(t, loads[1].FailedRatio())
}

func TestLoads_BetweenTwoAnswers(t *testing.T) {
	t.Parallel()
	counted := func(calls, failed uint64) fleet.Method {
		return method("Get", fleet.Stats{
			CallsStarted: calls, CallsOK: calls - failed,
			Errors: map[errors.ErrorCode]uint64{errors.Internal: failed},
		})
	}
	before := []*fleet.Server{server("a", time.Minute, counted(1000, 10)), server("b", time.Minute, counted(500, 0))}
	restarted := server("b", time.Second, counted(4, 0))
	restarted.Started = start.Add(time.Minute)
	restarted.Now = restarted.Started.Add(2 * time.Second)
	now := []*fleet.Server{
		server("a", time.Minute+2*time.Second, counted(1100, 11)),
		restarted,
		server("new", 10*time.Second, counted(10, 0)),
	}
	loads := summary.Loads(before, now, summary.ByServer, nil)
	require.Len(t, loads, 3)
	assert.EqualValues(t, 100, loads[0].Calls)
	assert.EqualValues(t, 1, loads[0].Failed)
	assert.InDelta(t, 50, loads[0].PerSecond, 0.001)
	assert.EqualValues(t, 4, loads[1].Calls, "a server that was started anew counts from zero")
	assert.InDelta(t, 2, loads[1].PerSecond, 0.001)
	assert.EqualValues(t, 10, loads[2].Calls, "a server that was not there counts from its start")
	assert.InDelta(t, 1, loads[2].PerSecond, 0.001)
}

func TestLoads_Keep(t *testing.T) {
	t.Parallel()
	servers := []*fleet.Server{server("a", time.Second, method("Get", fleet.Stats{CallsStarted: 1}), method("Pay", fleet.Stats{CallsStarted: 2}))}
	loads := summary.Loads(nil, servers, summary.ByService, func(_ *fleet.Service, m *fleet.Method) bool { return m.Name == "Pay" })
	require.Len(t, loads, 1)
	assert.Equal(t, "shop.Orders", loads[0].Name)
	assert.EqualValues(t, 2, loads[0].Calls)
}

// Loads must leave out methods without counters. An answer contains counters only if the client has
// asked for them.
func TestLoads_WithoutCounters(t *testing.T) {
	t.Parallel()
	assert.Empty(t, summary.Loads(nil, []*fleet.Server{server("a", time.Second, fleet.Method{Name: "Get"})}, summary.ByService, nil))
}

func TestSortLoads(t *testing.T) {
	t.Parallel()
	slow := fleet.Histogram{Offset: 200, Counts: []uint64{1}, Max: time.Second}
	loads := []summary.Load{
		{Name: "b", PerSecond: 1, Failed: 1, Active: 3},
		{Name: "a", PerSecond: 1, Failed: 3, Active: 2},
		{Name: "c", PerSecond: 9, Failed: 2, Active: 1, Duration: slow},
	}
	for key, want := range map[summary.Key]string{
		summary.SortName: "abc", summary.SortRate: "cab", summary.SortP99: "cab", summary.SortErrors: "acb", summary.SortActive: "bac",
	} {
		summary.SortLoads(loads, key)
		assert.Equal(t, want, loads[0].Name+loads[1].Name+loads[2].Name, key)
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	serving := func(id string, digest byte, topics uint32, methods ...string) *fleet.Server {
		s := server(id, time.Second)
		s.Services[0].Digest = fleet.Digest{digest}
		for _, name := range methods {
			m := method(name, fleet.Stats{CallsStarted: 1})
			m.TopicCount = topics
			s.Services[0].Methods = append(s.Services[0].Methods, m)
		}
		return s
	}
	services := summary.Services([]*fleet.Server{
		serving("c", 7, 2, "Get", "Pay"), serving("a", 9, 3, "Get", "Pay", "Ship"), serving("b", 9, 0, "Get", "Pay", "Ship"),
	})
	require.Len(t, services, 1)
	orders := services[0]
	assert.Equal(t, "shop.Orders", orders.Name)
	assert.Equal(t, "Orders", orders.WireName)
	assert.Equal(t, 3, orders.Methods)
	assert.Equal(t, 5, orders.Topics)
	assert.EqualValues(t, 8, orders.Calls)
	assert.Equal(t, []summary.Version{{Digest: fleet.Digest{9}, Servers: 2}, {Digest: fleet.Digest{7}, Servers: 1}}, orders.Versions)
	require.Len(t, orders.Servers, 3)
	assert.Equal(t, "a", orders.Servers[0].ID)
}

func TestWithPeers(t *testing.T) {
	t.Parallel()
	answered := summary.Services([]*fleet.Server{server("a", time.Second)})
	peers := &fleet.Peers{Services: []*fleet.PeerService{
		{WireName: "Orders", Names: []string{"shop.Orders"}, Servers: []string{"a"}, Receivers: 6, Dynpsrpc: 4, Psrpc: 2, Silent: 1},
		{WireName: "Room", Receivers: 4, Dynpsrpc: bus.Unknown, Psrpc: 4, Silent: bus.Unknown, Methods: []*fleet.PeerMethod{
			{WireName: "Join", TopicCount: 212},
		}},
		{WireName: "OnlyClients", Receivers: bus.Unknown, Dynpsrpc: bus.Unknown, Psrpc: bus.Unknown, Clients: []string{"c"}},
	}}
	services := summary.WithPeers(answered, peers, true)
	require.Len(t, services, 2)
	assert.Equal(t, "Room", services[0].Name)
	assert.Equal(t, []int{1, 212, 4, 0, 0}, []int{services[0].Methods, services[0].Topics, services[0].Psrpc, services[0].Mute, services[0].Silent})
	assert.Equal(t, "shop.Orders", services[1].Name)
	assert.Equal(t, []int{2, 2, 1}, []int{services[1].Psrpc, services[1].Mute, services[1].Silent})
	assert.Len(t, summary.WithPeers(answered, peers, false), 1)
}
