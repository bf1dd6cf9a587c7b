//go:build chaos && unix

package long_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// attackHeap is the maximum heap growth, in bytes, that forged frames may cause.
const attackHeap = 16 << 20

// attacked consists of a server and a client that are attacked with forged frames.
type attacked struct {
	t      *testing.T
	bus    bus.Bus
	server *dynamic.Server
	conn   *dynamic.Conn
	ran    atomic.Int64
}

// frame is a message of the wire protocol that can be encoded as a frame.
type frame interface {
	AppendFrame(dst []byte) ([]byte, error)
}

func newAttacked(t *testing.T, b bus.Bus) *attacked {
	t.Helper()
	a := &attacked{t: t, bus: b}
	answer := dynamic.Unary(func(ctx context.Context, request *api.MyRequest) (*api.MyResponse, error) {
		a.ran.Add(1)
		return testkit.Echo(ctx, request)
	})
	a.server, _ = testkit.Serve(t, b, dynamic.Handlers{
		"NormalRPC": answer, "IntensiveRPC": answer, "GetStats": answer, "ExchangeUpdates": dynamic.Stream(testkit.EchoStream),
	})
	const timeout = 10 * time.Second // calls wait that long for forged servers
	a.conn = testkit.Conn(t, b, dynamic.WithClientTimeout(timeout), dynamic.WithSelectionTimeout(timeout))
	return a
}

func (a *attacked) send(channel wire.Channel, message frame) {
	a.t.Helper()
	encoded, err := message.AppendFrame(nil)
	require.NoError(a.t, err)
	require.NoError(a.t, a.bus.Publish(a.t.Context(), bus.Channel(channel), encoded, nil))
}

func requestsOf(method string, queue bool) wire.Channel {
	return wire.RequestChannel(testkit.WireName, method, nil, queue)
}

// forgedID returns an ID that is as long as those of real peers. The ID is different for each i.
func forgedID(prefix string, i int) []byte { return fmt.Appendf(nil, "%s_%012d", prefix, i) }

// heapInUse returns the number of bytes of live objects on the heap.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // objects in a sync.Pool survive the first garbage collection
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return int64(memory.HeapAlloc)
}

// Hostile peers send more than two million frames with a million different client and request IDs,
// and many server and stream IDs. These IDs must not remain in memory.
func TestHostile_FramesOfManyPeers(t *testing.T) {
	const frames = 1_000_000
	a := newAttacked(t, bus.NewLocal())
	caller := testkit.Caller(t, a.conn, "NormalRPC")
	_, err := caller.Call(t.Context(), &api.MyRequest{})
	require.NoError(t, err)
	before, started := heapInUse(), time.Now()
	for i := range frames {
		now := time.Now()
		queue := i%2 == 0
		a.send(requestsOf([]string{"NormalRPC", "GetStats"}[i%2], queue), &wire.Request{
			RequestID: forgedID("REQ", i), ClientID: forgedID("CLI", i), SentAt: now.UnixNano(), Expiry: now.Add(3 * time.Second).UnixNano(),
			AcceptDirect: true,
		})
	}
	testkit.Eventually(t, func() bool { return a.ran.Load() == frames+1 }, "all forged requests run")
	t.Logf("%d forged requests in %v", frames, time.Since(started).Round(time.Millisecond))
	id := a.conn.ID()
	for i := range frames / 4 {
		now := time.Now()
		request, server := forgedID("REQ", i), forgedID("SRV", i)
		part := wire.Stream{
			StreamID: forgedID("STR", i), RequestID: request, SentAt: now.UnixNano(), Expiry: now.Add(3 * time.Second).UnixNano(),
			Op: wire.StreamMessage, Body: wire.Body{Message: &api.MyClientMessage{}},
		}
		a.send(wire.ResponseChannel(testkit.WireName, id), &wire.Response{RequestID: request, ServerID: server})
		a.send(wire.ClaimRequestChannel(testkit.WireName, id), &wire.ClaimRequest{RequestID: request, ServerID: server, Affinity: 1})
		a.send(wire.ClaimResponseChannel(testkit.WireName, "IntensiveRPC", nil), &wire.ClaimResponse{RequestID: request, ServerID: server})
		a.send(wire.CancelChannel(testkit.WireName), &wire.Cancel{RequestID: request})
		a.send(wire.StreamServerChannel(testkit.WireName, "ExchangeUpdates", nil), &part)
		a.send(wire.StreamClientChannel(testkit.WireName, id), &part)
	}
	growth := heapInUse() - before
	t.Logf("%d forged requests and %d other frames in %v: heap +%.1f MB", frames, frames/4*6,
		time.Since(started).Round(time.Millisecond), float64(growth)/(1<<20))
	assert.Less(t, growth, int64(attackHeap))
	_, err = caller.Call(t.Context(), &api.MyRequest{})
	require.NoError(t, err)
}

// A hostile peer sends frames with random bytes and frames with absurd times, IDs and private
// fields. Calls of other clients must still succeed.
func TestHostile_AbsurdFrames(t *testing.T) {
	t.Logf("seed %d", *seed)
	for _, on := range []func(testing.TB) testkit.Network{testkit.OnLocal, testkit.OnRedis, testkit.OnNATS} {
		network := on(t)
		t.Run(network.Name, func(t *testing.T) {
			const frames = 5000
			a := newAttacked(t, network.Connect(t))
			honest := testkit.Conn(t, network.Connect(t))
			queue, affinity := testkit.Caller(t, honest, "NormalRPC"), testkit.Caller(t, honest, "IntensiveRPC")
			plan := rand.New(rand.NewPCG(*seed, 1))
			calls := 0
			for i := range frames {
				channel, message := a.absurd(plan, i)
				encoded, err := message.AppendFrame(nil)
				require.NoError(t, err)
				for range plan.IntN(4) { // change up to three bytes
					encoded[plan.IntN(len(encoded))] = byte(plan.Uint32())
				}
				// Ignore the error, because a bus may reject an invalid frame.
				_ = a.bus.Publish(t.Context(), bus.Channel(channel), encoded, nil)
				if i%10 == 0 {
					for _, caller := range []*dynamic.Client[*api.MyRequest, *api.MyResponse]{queue, affinity} {
						calls++
						_, err := caller.Call(t.Context(), &api.MyRequest{Name: "honest"}, dynamic.WithRequestTimeout(testkit.Patience))
						require.NoError(t, err, "call %d", calls)
					}
				}
			}
			t.Logf("%d absurd frames: failed 0 of %d honest calls; server %+v", frames, calls, a.server.Stats())
		})
	}
}

// absurd returns a message that no correct peer would send, and the channel for it.
func (a *attacked) absurd(plan *rand.Rand, i int) (wire.Channel, frame) {
	times := []int64{0, 1, -1, math.MaxInt64, math.MinInt64, time.Now().UnixNano(), time.Now().Add(time.Minute).UnixNano()}
	ids := []string{"", "x", "SRV", a.conn.ID(), a.server.ID(), "a|b", "a.b", "*", ">", "\x00", string(bytes.Repeat([]byte("i"), 3000))}
	anyTime := func() int64 { return times[plan.IntN(len(times))] }
	anyID := func() []byte { return []byte(ids[plan.IntN(len(ids))]) }
	id := a.conn.ID()
	switch i % 6 {
	case 0:
		method := []string{"NormalRPC", "IntensiveRPC", "GetStats"}[plan.IntN(3)]
		return requestsOf(method, method == "NormalRPC"), &wire.Request{
			RequestID: anyID(), ClientID: anyID(), SentAt: anyTime(), Expiry: anyTime(), Multi: plan.IntN(2) == 0,
			SkipClaim: plan.IntN(2) == 0, AcceptDirect: plan.IntN(2) == 0, AnnounceAfter: plan.Uint32(),
			AcceptDecline: plan.IntN(2) == 0, Metadata: map[string]string{"a": "b"},
		}
	case 1:
		return wire.ResponseChannel(testkit.WireName, id), &wire.Response{
			RequestID: anyID(), ServerID: anyID(), SentAt: anyTime(), Error: "x", Code: string(anyID()), Subscribers: plan.Uint32(),
			Unprocessed: plan.IntN(2) == 0,
		}
	case 2:
		affinities := []float32{0, 1, -1, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
		return wire.ClaimRequestChannel(testkit.WireName, id), &wire.ClaimRequest{
			RequestID: anyID(), ServerID: anyID(), Affinity: affinities[plan.IntN(len(affinities))], Subscribers: plan.Uint32(),
		}
	case 3:
		return wire.ClaimResponseChannel(testkit.WireName, "IntensiveRPC", nil), &wire.ClaimResponse{RequestID: anyID(), ServerID: anyID()}
	case 4:
		return wire.CancelChannel(testkit.WireName), &wire.Cancel{RequestID: anyID()}
	default:
		return wire.StreamServerChannel(testkit.WireName, "ExchangeUpdates", nil), &wire.Stream{
			StreamID: anyID(), RequestID: anyID(), SentAt: anyTime(), Expiry: anyTime(), Op: wire.StreamOp(plan.IntN(6)),
			NodeID: anyID(), Keepalive: anyTime(),
		}
	}
}

// The server must drop frames with deeply nested messages, and frames whose value is compressed
// twice, truncated or empty. This must not take long.
func TestHostile_NestingAndCompression(t *testing.T) {
	const levels = 5_000_000
	a := newAttacked(t, bus.NewLocal())
	caller := testkit.Caller(t, a.conn, "NormalRPC")
	zip := func(value []byte) []byte {
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		_, err := w.Write(value)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return zipped.Bytes()
	}
	groups := bytes.Repeat([]byte{0x0b}, levels) // the starts of five million nested groups
	zeros := zip(make([]byte, 64<<20))
	for name, value := range map[string][]byte{
		"groups": groups, "64 MB": zeros, "twice": zip(zip(make([]byte, 1<<20))),
		"truncated": zeros[:len(zeros)/2], "bare": {0x1f, 0x8b}, "nothing": {},
	} {
		var envelope []byte
		envelope = protowire.AppendString(protowire.AppendTag(envelope, 1, protowire.BytesType), "type.googleapis.com/internal.Request")
		envelope = protowire.AppendBytes(protowire.AppendTag(envelope, 2, protowire.BytesType), value)
		started := time.Now()
		// The in-process bus delivers the frame before Publish returns.
		_ = a.bus.Publish(t.Context(), bus.Channel(requestsOf("NormalRPC", true)), envelope, nil)
		taken := time.Since(started)
		t.Logf("%s: %d bytes hold up others for %v", name, len(envelope), taken.Round(time.Microsecond))
		assert.Less(t, taken, 5*time.Second, name)
	}
	_, err := caller.Call(t.Context(), &api.MyRequest{})
	require.NoError(t, err)
	assert.EqualValues(t, 1, a.ran.Load())
	t.Logf("server %+v", a.server.Stats())
}

// A hostile peer sends claims and responses in the name of many servers. The attacked call must
// still end, and later calls must succeed. The forged server IDs must not remain in memory.
func TestHostile_ManyServersAnswer(t *testing.T) {
	const forged = 100_000
	a := newAttacked(t, bus.NewLocal())
	affinity, multi := testkit.Caller(t, a.conn, "IntensiveRPC"), testkit.Caller(t, a.conn, "GetStats")
	before := heapInUse()
	for method, answer := range map[string]func(request []byte, i int){
		"IntensiveRPC": func(request []byte, i int) {
			a.send(wire.ClaimRequestChannel(testkit.WireName, a.conn.ID()),
				&wire.ClaimRequest{RequestID: request, ServerID: forgedID("SRV", i), Affinity: 0.5})
		},
		"GetStats": func(request []byte, i int) {
			a.send(wire.ResponseChannel(testkit.WireName, a.conn.ID()), &wire.Response{RequestID: request, ServerID: forgedID("SRV", i)})
		},
	} {
		subscription, err := a.bus.Subscribe(t.Context(), bus.Channel(requestsOf(method, false)), bus.Broadcast, func(f []byte) {
			envelope, err := wire.ParseEnvelope(f)
			if err != nil {
				return
			}
			if request, err := wire.ParseRequest(envelope.Value); err == nil {
				for i := range forged {
					answer(request.RequestID, i)
				}
			}
		})
		require.NoError(t, err)
		started := time.Now()
		if method == "IntensiveRPC" {
			// Ignore the error, because the client may select a forged server.
			_, err = affinity.Call(t.Context(), &api.MyRequest{})
			t.Logf("the affinity call: %v", err)
		} else {
			responses, err := multi.CallMulti(t.Context(), &api.MyRequest{})
			require.NoError(t, err)
			count := 0
			for range responses {
				count++
			}
			t.Logf("%d responses", count)
		}
		t.Logf("%s with %d forged answers ends after %v", method, forged, time.Since(started).Round(time.Millisecond))
		subscription.Close()
	}
	for range 2 { // the client may expect responses of the forged servers in the first calls
		_, err := affinity.Call(t.Context(), &api.MyRequest{})
		require.NoError(t, err)
		responses, err := multi.CallMulti(t.Context(), &api.MyRequest{})
		require.NoError(t, err)
		for range responses {
		}
	}
	started := time.Now()
	_, err := affinity.Call(t.Context(), &api.MyRequest{})
	require.NoError(t, err)
	taken, growth := time.Since(started), heapInUse()-before
	t.Logf("later, an affinity call takes %v; heap +%.1f MB", taken.Round(time.Microsecond), float64(growth)/(1<<20))
	assert.Less(t, growth, int64(attackHeap))
}
