package explorer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// rowOf returns the row of a server.
func rowOf(rows fleetRows, id string) *serverRow {
	for _, row := range rows.Servers {
		if row.ID == id {
			return row
		}
	}
	return nil
}

func TestSession(t *testing.T) {
	t.Parallel()
	f := newFixture(t, WithGateway("/"))
	s := decode[session](t, f.get(t, "/api/session"))
	assert.Equal(t, "local", s.Bus.Kind)
	assert.InDelta(t, 0.1, s.Refresh, 1e-9)
	assert.False(t, s.ReadOnly)
	assert.False(t, s.Doctor)
	assert.Equal(t, "/", s.Gateway)
}

func TestFleet_ShowsServersAndServices(t *testing.T) {
	t.Parallel()
	f := newFixture(t, WithRefresh(time.Hour))
	rows := decode[fleetRows](t, f.get(t, "/api/fleet"))
	require.Len(t, rows.Services, 1, "the control services are left out")
	service := rows.Services[0]
	assert.Equal(t, "shop.Shop", service.Name)
	assert.Equal(t, "Shop", service.WireName)
	assert.Equal(t, 6, service.Methods)
	assert.Equal(t, 2, service.Servers)
	assert.Equal(t, 1, service.Versions)
	assert.Nil(t, service.Rate, "rates are not known before the second poll")
	row := rowOf(rows, "SRV_one")
	require.NotNil(t, row)
	assert.Equal(t, "shop", row.App)
	assert.Equal(t, "serving", row.State)
	assert.Equal(t, kindDynpsrpc, row.Kind)
	assert.Equal(t, map[string]string{"region": "eu"}, row.Labels)
	assert.Equal(t, []string{"shop.Shop"}, row.Services)
}

// The stream must send all changes: rates of calls, changes that servers publish, and servers that
// come and go.
func TestFleetEvents(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events := f.events(t, "/api/fleet/events")
	var first wholeFleet
	require.NoError(t, json.Unmarshal(events.next("fleet"), &first))
	require.True(t, first.Whole)
	require.NotNil(t, rowOf(first.fleetRows, "SRV_one"))
	for { // the events may leave out the poll that counts a call
		require.Equal(t, http.StatusOK, f.call(t, "Get", `{"name": "tea"}`).status)
		require.Equal(t, http.StatusNotFound, f.call(t, "Get", `{"name": "fail"}`).status)
		var update fleetChanges
		require.NoError(t, json.Unmarshal(events.next("fleet"), &update))
		if len(update.Services) > 0 && update.Services[0].ErrorRate != nil && *update.Services[0].ErrorRate > 0 {
			assert.Greater(t, *update.Services[0].Rate, 0.0)
			assert.NotNil(t, update.Services[0].P99)
			break
		}
	}
	require.NoError(t, f.servers[1].Drain(t.Context()))
	var told change
	require.NoError(t, json.Unmarshal(events.next("change"), &told))
	assert.Equal(t, "SRV_two", told.Server)
	assert.Equal(t, "draining", told.Kind)
	f.servers[1].Kill()
	for {
		var update fleetChanges
		require.NoError(t, json.Unmarshal(events.next("fleet"), &update))
		if len(update.Gone) > 0 {
			assert.Equal(t, []string{"SRV_two"}, update.Gone)
			break
		}
	}
}

// A page that already has the state of the fleet must get only the later changes.
func TestFleetEvents_Since(t *testing.T) {
	t.Parallel()
	f := newFixture(t, WithRefresh(time.Hour))
	rows := decode[fleetRows](t, f.get(t, "/api/fleet"))
	assert.Equal(t, "fleet", f.events(t, "/api/fleet/events").nextName())
	assert.Equal(t, "fleet", f.events(t, "/api/fleet/events?since=2000-01-01T00:00:00Z").nextName())
	events := f.events(t, "/api/fleet/events?since="+rows.At.Format(time.RFC3339Nano))
	require.NoError(t, f.servers[1].Drain(t.Context()))
	assert.Equal(t, "change", events.nextName())
}

// Servers of psrpc, which do not answer, must appear as rows without a server ID.
func TestFleet_ShowsWhoDoesNotAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, channel := range []wire.Channel{
		wire.RequestChannel("Room", "Join", nil, false), wire.ClaimResponseChannel("Room", "Join", nil),
		wire.RequestChannel("Shop", "Best", nil, false), wire.ClaimResponseChannel("Shop", "Best", nil),
		wire.ResponseChannel("Room", "CLI_psrpc"),
	} {
		s, err := f.bus.Subscribe(t.Context(), bus.Channel(channel), bus.Broadcast, func([]byte) {})
		require.NoError(t, err)
		t.Cleanup(s.Close)
	}
	rows := decode[fleetRows](t, f.get(t, "/api/fleet"))
	for _, name := range []string{"Room", "Shop"} {
		row := rowOf(rows, "psrpc:"+name)
		require.NotNil(t, row, name)
		assert.Equal(t, kindPsrpc, row.Kind)
		assert.Equal(t, 1, row.Count)
	}
	assert.Contains(t, rows.Clients, clientRow{ID: "CLI_psrpc", Services: []string{"Room"}})
	room := decode[serviceInfo](t, f.get(t, "/api/services/Room"))
	require.Len(t, room.Methods, 1)
	assert.Equal(t, "Join", room.Methods[0].Name)
	assert.True(t, room.Methods[0].RequireClaim)
	require.NotNil(t, room.Problem)
	assert.Equal(t, errors.NotFound, room.Problem.Code)
	assert.Equal(t, http.StatusNotFound, f.get(t, "/api/services/Room/schema").status)
}

func TestFleet_TellsThatTheBusIsDown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events := f.events(t, "/api/fleet/events")
	f.get(t, "/api/fleet")
	require.NoError(t, f.bus.Close())
	var told problem
	require.NoError(t, json.Unmarshal(events.next("problem"), &told))
	assert.NotEmpty(t, told.Message)
	assert.GreaterOrEqual(t, f.get(t, "/api/fleet").status, 400)
}

// Two polls that fail for the same reason must have the same error, so that a page gets it only
// once.
func TestWithoutFacts(t *testing.T) {
	t.Parallel()
	down := errors.NewErrorf(errors.Unavailable, "the broker is down")
	assert.Equal(t, error(down), withoutFacts(errors.WithFacts(down, errors.CallFacts{PublishTime: time.Second})))
	assert.Equal(t, error(down), withoutFacts(down))
	assert.NoError(t, withoutFacts(nil))
}

// The servers must be polled only while a page is open.
func TestPoller_AsksOnlyWhileAPageIsOpen(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p := f.explorer.poller
	isPolling := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.polling
	}
	assert.False(t, isPolling())
	pages := []*page{p.open(false), p.open(false), p.open(true)}
	_, err := p.get(t.Context())
	require.NoError(t, err)
	assert.True(t, isPolling())
	assert.True(t, p.wantsTopics())
	for _, opened := range pages {
		opened.close()
	}
	require.Eventually(t, func() bool { return !isPolling() }, patience, time.Millisecond)
	_, err = p.get(t.Context())
	require.NoError(t, err, "and again for the next page")
}

func TestExplorer_LimitsOpenPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.explorer.streams = newLimit(1)
	f.events(t, "/api/fleet/events")
	refused := f.get(t, "/api/fleet/events")
	assert.Equal(t, http.StatusTooManyRequests, refused.status)
	assert.NotEmpty(t, refused.header.Get("Retry-After"))
}

// All requests that wait for answers of servers must count as questions.
func TestExplorer_LimitsQuestions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.explorer.questions = newLimit(0)
	for _, path := range []string{
		"/api/services/shop.Shop", "/api/services/shop.Shop/schema", "/api/services/shop.Shop/proto",
		"/api/services/shop.Shop/descriptors.binpb", "/api/servers/SRV_one", "/api/tap",
	} {
		assert.Equal(t, http.StatusTooManyRequests, f.get(t, path).status, path)
	}
	for _, path := range []string{"/api/who", "/api/servers/SRV_one/drain"} {
		assert.Equal(t, http.StatusTooManyRequests, f.post(t, path, `{}`).status, path)
	}
}

// The event stream of a page that does not read must end. The stream of a page without events must
// stay open, even over HTTP/2, where a write deadline that passes ends a stream.
func TestEvents_DeadlineWhileWriting(t *testing.T) {
	t.Parallel()
	w := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
	s := &eventStream{w: w, controller: http.NewResponseController(w)}
	require.NoError(t, s.sendPing())
	assert.True(t, w.hadDeadline)
	assert.Zero(t, w.deadline)
}

// deadlineWriter remembers the deadline for writing.
type deadlineWriter struct {
	*httptest.ResponseRecorder

	deadline    time.Time
	hadDeadline bool
}

func (w *deadlineWriter) SetWriteDeadline(deadline time.Time) error {
	w.deadline = deadline
	return nil
}

func (w *deadlineWriter) Write(data []byte) (int, error) {
	w.hadDeadline = !w.deadline.IsZero()
	return w.ResponseRecorder.Write(data)
}

func TestClose_EndsEventStreams(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events := f.events(t, "/api/topology/events")
	require.NoError(t, f.explorer.Close())
	for events.lines.Scan() { // until the stream ends
	}
	assert.Equal(t, http.StatusServiceUnavailable, f.get(t, "/api/fleet/events").status)
	assert.Equal(t, http.StatusServiceUnavailable, f.get(t, "/api/fleet").status)
	assert.Equal(t, http.StatusServiceUnavailable, f.get(t, "/api/session").status)
}

// Numbers that only a scan can find must remain until the next scan.
func TestSnapshot_KeepsWhatAScanHasFound(t *testing.T) {
	t.Parallel()
	polled := manyServers(1, time.Now(), 1)
	scanned := manyServers(1, time.Now(), 1)
	scanned.Services[0].Psrpc = 2
	scanned.Services[0].Clients = []string{"CLI_one"}
	scanned.Services[0].Methods = []*fleet.PeerMethod{{WireName: "Method0", TopicCount: 7}}
	gone := &fleet.PeerService{WireName: "Gone", Servers: []string{"SRV_gone"}}
	psrpc := &fleet.PeerService{WireName: "Room", Psrpc: 1, Silent: bus.Unknown}
	scanned.Services = append(scanned.Services, gone, psrpc)
	s := newSnapshot(time.Now(), polled, scanned, nil)
	require.Len(t, s.Services, 2)
	assert.Equal(t, "Room", s.Services[0].Name)
	assert.Equal(t, 2, *s.Services[1].Psrpc)
	assert.Equal(t, 7, s.Services[1].Topics)
	assert.Equal(t, []clientRow{{ID: "CLI_one", Services: []string{"Orders"}}}, s.Clients)
}

// Whatever a faulty server sends, the pages must still work.
func TestSnapshot_FaultyServer(t *testing.T) {
	t.Parallel()
	now := time.Now()
	faulty := func(n uint64, at time.Time) *fleet.Peers {
		stats := &fleet.Stats{
			CallsOK: -n, Active: -n, UpdatesPublished: n << 63, LastAffinity: float32(math.NaN()), LastCall: time.Unix(0, math.MinInt64),
			Errors:   map[errors.ErrorCode]uint64{"\xff": n << 63, "": n},
			Duration: fleet.Histogram{Offset: math.MaxInt32, Counts: []uint64{math.MaxUint64, math.MaxUint64}, Sum: -1, Max: -1},
		}
		negative := &fleet.Stats{Duration: fleet.Histogram{Offset: math.MinInt32, Counts: []uint64{n}}}
		long := strings.Repeat("\xf0\x9f", 1<<10)
		return &fleet.Peers{Silent: bus.Unknown, Servers: []*fleet.Server{{
			ID: long, App: long, Labels: map[string]string{long: long}, State: -7, Now: at, Started: time.Unix(0, math.MaxInt64),
			RoundTrip: math.MinInt64, ClockOffset: math.MaxInt64, Health: fleet.Health{Status: 99},
			Services: []fleet.Service{{Name: long, Methods: []fleet.Method{{Stats: stats}, {Stats: negative, TopicCount: math.MaxUint32}, {}}}},
		}}}
	}
	first := newSnapshot(now, faulty(1, now), nil, nil)
	for _, at := range []time.Time{now.Add(time.Second), now, now.Add(-time.Hour)} {
		second := newSnapshot(now, faulty(3, at), nil, first)
		for _, shown := range []any{&second.fleetRows, second.graph(), serverInfoOf(second.peers.Servers[0], second)} {
			encoded, err := json.Marshal(shown)
			require.NoError(t, err)
			assert.Less(t, len(encoded), 64<<10)
		}
	}
}

// When a page has gone, its event stream must end and no longer count.
func TestEvents_EndWithThePage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{"/api/fleet/events", "/api/topology/events", "/api/tap"} {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
		request.Header.Set("Authorization", "Bearer "+testToken)
		f.explorer.ServeHTTP(goneWriter{httptest.NewRecorder()}, request)
	}
	assert.Empty(t, f.explorer.streams)
	assert.Empty(t, f.explorer.taps)
}

// goneWriter is a client that has gone.
type goneWriter struct{ *httptest.ResponseRecorder }

func (goneWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// manyServers returns n servers as they answer a poll.
func manyServers(n int, now time.Time, calls uint64) *fleet.Peers {
	peers := &fleet.Peers{Silent: 0}
	service := &fleet.PeerService{WireName: "Orders", Names: []string{"shop.Orders"}, Silent: bus.Unknown, Psrpc: bus.Unknown}
	for i := range n {
		id := fmt.Sprintf("SRV_%08x", uint32(i)*2654435761)
		var methods []fleet.Method
		for j := range 5 {
			stats := &fleet.Stats{CallsStarted: calls * uint64(i+1)}
			stats.Duration = fleet.Histogram{Offset: 150 + int32(i%50), Counts: []uint64{calls, calls * uint64(i), calls}}
			methods = append(methods, fleet.Method{Name: fmt.Sprintf("Method%d", j), WireName: fmt.Sprintf("Method%d", j), Stats: stats})
		}
		peers.Servers = append(peers.Servers, &fleet.Server{
			ID: id, App: "shop", AppVersion: "1.4.2", Software: "dynpsrpc v0.6.0 go1.26.8", State: fleet.StateServing,
			Labels: map[string]string{"region": "eu", "pod": id}, Now: now, Started: time.Unix(1_700_000_000+int64(i*i), 0),
			Services: []fleet.Service{{Name: "shop.Orders", WireName: "Orders", Methods: methods}},
		})
		service.Servers = append(service.Servers, id)
	}
	peers.Services = []*fleet.PeerService{service}
	return peers
}

// For a fleet of 1,000 servers, a browser must load less than 120 KB for the first view.
func TestFleet_FirstViewIsSmall(t *testing.T) {
	t.Parallel()
	now := time.Now()
	first := newSnapshot(now, manyServers(1000, now, 10), nil, nil)
	second := newSnapshot(now, manyServers(1000, now.Add(2*time.Second), 20), nil, first)
	require.Len(t, second.Servers, 1000)
	require.NotNil(t, second.Servers[0].Rate)
	encoded, err := json.Marshal(&second.fleetRows)
	require.NoError(t, err)
	size := len(compress(encoded))
	pages, err := loadPages()
	require.NoError(t, err)
	for name, page := range pages {
		if name == "index.html" || name == "app.css" || name == "fleet.js" || strings.HasPrefix(name, "lib/") {
			size += min(len(page.content), len(page.compressed))
		}
	}
	t.Logf("the first view of 1,000 servers has %d bytes", size)
	assert.Less(t, size, 120<<10)
	changes, changed := second.since(second)
	assert.False(t, changed, changes)
}

// When the last service disappears, the pages must receive an empty list of services.
func TestFleet_LastServiceGoes(t *testing.T) {
	t.Parallel()
	now := time.Now()
	before := newSnapshot(now, manyServers(1, now, 10), nil, nil)
	changes, changed := newSnapshot(now, &fleet.Peers{}, nil, before).since(before)
	assert.True(t, changed)
	encoded, err := json.Marshal(changes)
	require.NoError(t, err)
	assert.Contains(t, string(encoded), `"services":[]`)
	assert.NotContains(t, string(encoded), `"clients"`, "they have not changed")
}

func BenchmarkSnapshot(b *testing.B) {
	now := time.Now()
	before := newSnapshot(now, manyServers(1000, now, 10), nil, nil)
	peers := manyServers(1000, now.Add(2*time.Second), 20)
	b.ReportAllocs()
	for b.Loop() {
		newSnapshot(now, peers, nil, before).since(before)
	}
}

func TestTopology(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	events := f.events(t, "/api/topology/events")
	require.Equal(t, http.StatusOK, f.call(t, "Get", `{}`).status)
	var graph topology
	for range 100 {
		graph = topology{}
		require.NoError(t, json.Unmarshal(events.next("topology"), &graph))
		if hasEdge(graph, "topic:Shop/InRoom/kitchen", "server:SRV_one") {
			break
		}
	}
	assert.True(t, hasEdge(graph, "service:Shop", "method:Shop/Get"))
	assert.True(t, hasEdge(graph, "method:Shop/Get", "server:SRV_two"))
	assert.True(t, hasEdge(graph, "method:Shop/InRoom", "topic:Shop/InRoom/kitchen"))
	assert.True(t, hasEdge(graph, "topic:Shop/InRoom/kitchen", "server:SRV_one"))
	assert.Equal(t, http.StatusOK, f.get(t, "/api/topology").status)
}

func hasEdge(graph topology, from, to string) bool {
	for _, e := range graph.Edges {
		if e.From == from && e.To == to {
			return true
		}
	}
	return false
}

// The topology of a large fleet must be limited to what can be drawn.
func TestTopology_IsBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	graph := newSnapshot(now, manyServers(2000, now, 10), nil, nil).graph()
	assert.True(t, graph.Truncated)
	assert.LessOrEqual(t, len(graph.Nodes), maxNodes)
	assert.LessOrEqual(t, len(graph.Edges), maxEdges)
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	assert.Equal(t, http.StatusNotImplemented, newFixture(t).get(t, "/api/doctor").status)
	f := newFixture(t, WithDoctor(func(context.Context) (any, error) { return map[string]int{"findings": 3}, nil }))
	assert.JSONEq(t, `{"findings": 3}`, f.get(t, "/api/doctor").body)
	f = newFixture(t, WithDoctor(func(context.Context) (any, error) {
		return nil, errors.NewErrorf(errors.Unavailable, "the broker is down")
	}))
	assert.Equal(t, http.StatusServiceUnavailable, f.get(t, "/api/doctor").status)
	f = newFixture(t, WithDoctor(func(context.Context) (any, error) { panic("ill") }))
	assert.Equal(t, http.StatusInternalServerError, f.get(t, "/api/doctor").status)
}

// Concurrent requests must share one run of the function, and the run must go on if one of them is
// canceled.
func TestShared(t *testing.T) {
	t.Parallel()
	runs, proceed := make(chan int, 10), make(chan struct{})
	s := newShared(t.Context(), new(tasks), time.Hour, func(context.Context) (int, error) {
		runs <- 1
		<-proceed
		return 7, nil
	})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.get(canceled)
	require.ErrorIs(t, err, context.Canceled)
	results := make(chan int, 2)
	for range 2 {
		go func() {
			value, _ := s.get(t.Context())
			results <- value
		}()
	}
	<-runs
	close(proceed)
	assert.Equal(t, 7, <-results)
	assert.Equal(t, 7, <-results)
	assert.Empty(t, runs, "the result is kept")
}

func TestRounded(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{
		0: "0", 1234567: "1230000", 0.00012345: "0.000123", 12.345: "12.3", -0.98765: "-0.988", 1e-320: "0", 99.96: "100", 2: "2",
	} {
		encoded, err := json.Marshal(rounded(x))
		require.NoError(t, err)
		assert.Equal(t, want, string(encoded))
	}
}
