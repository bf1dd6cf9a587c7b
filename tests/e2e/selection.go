package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
)

// fleet is a group of servers whose affinity scores are set by the test. Each server responds with
// its own ID.
type fleet struct {
	*world

	conn    *dynamic.Conn
	servers []*dynamic.Server
	scores  []atomic.Int64
}

func newFleet(t testing.TB, network Network, size int) *fleet {
	t.Helper()
	f := &fleet{world: newWorld(t, network), scores: make([]atomic.Int64, size)}
	for i := range size {
		server := f.server()
		answer := dynamic.Unary(func(context.Context, *api.MyRequest) (*api.MyResponse, error) {
			return &api.MyResponse{Text: server.ID()}, nil
		}, dynamic.WithAffinity(func(context.Context, *api.MyRequest) float32 { return float32(f.scores[i].Load()) }))
		all := dynamic.Unary(func(context.Context, *api.MyRequest) (*api.MyResponse, error) {
			return &api.MyResponse{Text: server.ID()}, nil
		})
		f.serve(server, calls, dynamic.Handlers{kindAffinity: answer, kindMulti: all, kindQueue: all})
		f.serve(server, streams, dynamic.Handlers{
			kindAffinity: dynamic.Stream(func(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
				return stream.Send(&api.MyServerMessage{Text: server.ID()})
			}, dynamic.WithStreamAffinity(func(context.Context) float32 { return float32(f.scores[i].Load()) })),
			kindMulti: dynamic.Stream(func(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
				if err := stream.Send(&api.MyServerMessage{Text: server.ID()}); err != nil {
					return err
				}
				<-stream.Context().Done()
				return nil
			}),
		})
		f.servers = append(f.servers, server)
		f.scores[i].Store(int64(i + 1))
	}
	f.conn = f.world.conn()
	return f
}

// ids returns the IDs of all servers, sorted.
func (f *fleet) ids() []string {
	ids := make([]string, 0, len(f.servers))
	for _, server := range f.servers {
		ids = append(ids, server.ID())
	}
	return slices.Sorted(slices.Values(ids))
}

func testSelection(t *testing.T, network Network) {
	for name, test := range map[string]func(*testing.T, Network){
		"Affinity":       testAffinity,
		"AffinityStream": testAffinityStream,
		"AllDecline":     testAllDecline,
		"Multi":          testMulti,
		"MultiStream":    testMultiStream,
		"Candidates":     testCandidates,
		"OneOfAQueue":    testOneOfAQueue,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, network)
		})
	}
}

// testAffinity checks that, with the default options, every call is served by the server with the
// highest affinity.
func testAffinity(t *testing.T, network Network) {
	f := newFleet(t, network, 3)
	call := newGeneratedCall(t, f.conn, kindAffinity)
	best := func() string {
		response, err := call(t.Context(), sample("Ada"))
		require.NoError(t, err)
		return response.GetText()
	}
	for round := range 6 {
		favorite := (round + 1) % len(f.servers)
		f.scores[favorite].Store(int64(100 + round))
		for range 10 {
			require.Equal(t, f.servers[favorite].ID(), best())
		}
	}
	f.scores[0].Store(-1)
	f.scores[1].Store(200)
	require.Equal(t, f.servers[1].ID(), best(), "a server that declines does not delay the others")
}

func testAffinityStream(t *testing.T, network Network) {
	f := newFleet(t, network, 3)
	for favorite := range f.servers {
		f.scores[favorite].Store(int64(100 + favorite))
		stream := openGenerated(t, f.conn, kindAffinity)
		require.Equal(t, f.servers[favorite].ID(), soon(t, stream.Channel(), "server's name").GetText())
	}
}

// testAllDecline checks that a request fails with the code Unavailable and the reason
// ReasonAllDeclined if all servers decline it.
func testAllDecline(t *testing.T, network Network) {
	f := newFleet(t, network, 3)
	for i := range f.scores {
		f.scores[i].Store(-1)
	}
	_, err := newGeneratedCall(t, f.conn, kindAffinity)(t.Context(), sample("Ada"))
	requireCode(t, errors.Unavailable, err)
	facts, ok := errors.FactsOf(err)
	require.True(t, ok)
	assert.Equal(t, errors.ReasonAllDeclined, facts.Reason)
}

// testMulti checks that every server responds exactly once, and that the call ends long before its
// timeout.
func testMulti(t *testing.T, network Network) {
	f := newFleet(t, network, 3)
	client := newClient[*api.MyRequest, *api.MyResponse](t, f.conn, fullName(calls, kindMulti), nil)
	started := time.Now()
	responses, err := client.CallMulti(t.Context(), sample("Ada"), dynamic.WithRequestTimeout(5*time.Second))
	require.NoError(t, err)
	var ids []string
	for response := range responses {
		require.NoError(t, response.Err)
		assert.Equal(t, response.ServerID, response.Result.GetText())
		ids = append(ids, response.ServerID)
	}
	slices.Sort(ids)
	assert.Equal(t, f.ids(), ids)
	assert.Less(t, time.Since(started), 5*time.Second)
}

// testMultiStream checks that all servers accept the stream and that the client receives messages
// from each of them.
func testMultiStream(t *testing.T, network Network) {
	f := newFleet(t, network, 3)
	stream := openGenerated(t, f.conn, kindMulti)
	var names []string
	for range f.servers {
		names = append(names, soon(t, stream.Channel(), "server's name").GetText())
	}
	slices.Sort(names)
	assert.Equal(t, f.ids(), names)
	require.NoError(t, stream.Close(nil))
}

// requestCounter is the bus of a client. It counts the requests and grants that are sent to single
// servers, and those that are sent to all.
type requestCounter struct {
	bus.Bus

	one, all atomic.Int64
}

func (b *requestCounter) CountsReceivers() bool {
	counter, ok := b.Bus.(bus.ReceiverCounter)
	return !ok || counter.CountsReceivers()
}

func (b *requestCounter) ReceiverID() string {
	if competing, ok := b.Bus.(bus.Competing); ok {
		return competing.ReceiverID()
	}
	return ""
}

func (b *requestCounter) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	switch {
	case strings.HasSuffix(channel.Name, "|UNICAST"):
		b.one.Add(1)
	case strings.HasSuffix(channel.Name, "|REQ"), strings.HasSuffix(channel.Name, "|RCLAIM"):
		b.all.Add(1)
	}
	return b.Bus.Publish(ctx, channel, frame, report)
}

// testCandidates checks that a call with SelectionOpts.Candidates is sent to that many servers once
// the client knows the servers. Before that, and on an in-process bus, the call is sent to all
// servers.
func testCandidates(t *testing.T, network Network) {
	f := newFleet(t, network, 6)
	b := &requestCounter{Bus: f.connect()}
	sendsToOne := !b.CountsReceivers() || b.ReceiverID() != ""
	testFewServers(t, f, b, kindAffinity, sendsToOne, 4, dynamic.WithSelectionOpts(dynamic.SelectionOpts{
		Candidates: 2, AffinityTimeout: patience, ShortCircuitTimeout: 10 * time.Millisecond,
	}))
}

// testOneOfAQueue checks that a queue call is sent to a single server on buses that implement
// bus.Competing. Otherwise, the broker would deliver the call to all servers, which would compete
// for it.
func testOneOfAQueue(t *testing.T, network Network) {
	f := newFleet(t, network, 6)
	b := &requestCounter{Bus: f.connect()}
	testFewServers(t, f, b, kindQueue, b.CountsReceivers() && b.ReceiverID() != "", 1)
}

// testFewServers makes calls and counts the frames that are sent to single servers and to all. If
// sendsToOne is false, every frame must be sent to all servers. Otherwise, frames is the usual
// number of frames that a call sends to single servers once the client knows the servers. On
// average, a call must send at least half that number to single servers, and less than one frame to
// all. More than two different servers must have answered.
func testFewServers(
	t *testing.T, f *fleet, b *requestCounter, kind string, sendsToOne bool, frames int64, opts ...dynamic.RequestOption,
) {
	t.Helper()
	conn, err := dynamic.NewConn(b, f.registry, dynamic.WithSelectionTimeout(patience))
	require.NoError(t, err)
	f.atEnd(func() { assert.NoError(t, conn.Close()) })
	client := newClient[*api.MyRequest, *api.MyResponse](t, conn, fullName(calls, kind), nil)
	answered := map[string]bool{}
	call := func() {
		response, err := client.Call(t.Context(), sample("Ada"), append(opts, dynamic.WithRequestTimeout(patience))...)
		require.NoError(t, err)
		answered[response.GetText()] = true
	}
	for started := time.Now(); sendsToOne && b.one.Load() < frames; {
		require.Less(t, time.Since(started), patience, "the client knows the servers")
		call()
	}
	b.one.Store(0)
	b.all.Store(0)
	const many = 50
	for range many {
		call()
	}
	if !sendsToOne {
		assert.Zero(t, b.one.Load())
		return
	}
	// The bounds allow for some requests to all servers. On Redis, there is one per second, so that
	// Redis counts the servers.
	assert.GreaterOrEqual(t, b.one.Load(), many*frames/2)
	assert.Less(t, b.all.Load(), int64(many))
	assert.Greater(t, len(answered), 2)
}

func benchmarkAffinity(b *testing.B, network Network) {
	f := newFleet(b, network, 3)
	client := newClient[*api.MyRequest, *api.MyResponse](b, f.conn, fullName(calls, kindAffinity), nil)
	request := sample("Ada")
	call := func() error {
		response, err := client.Call(context.Background(), request)
		if err == nil && response.GetText() != f.servers[2].ID() {
			return fmt.Errorf("server %s answered, not the best", response.GetText())
		}
		return err
	}
	// The first call is not measured, because the client does not know the number of servers yet.
	measureCalls(b, 1, 1, call)
	b.ResetTimer()
	measured := measureCalls(b, 1, b.N, call)
	b.ReportMetric(measured.p50(), "p50-ns")
	b.ReportMetric(measured.p99(), "p99-ns")
}

func benchmarkMulti(b *testing.B, network Network) {
	f := newFleet(b, network, 3)
	client := newClient[*api.MyRequest, *api.MyResponse](b, f.conn, fullName(calls, kindMulti), nil)
	request := sample("Ada")
	call := func() error {
		count := 0
		for response := range client.Responses(context.Background(), request) {
			if response.Err != nil {
				return response.Err
			}
			count++
		}
		if count != len(f.servers) {
			return fmt.Errorf("%d servers answered", count)
		}
		return nil
	}
	b.ResetTimer()
	measured := measureCalls(b, 1, b.N, call)
	b.ReportMetric(measured.p50(), "p50-ns")
	b.ReportMetric(measured.p99(), "p99-ns")
}
