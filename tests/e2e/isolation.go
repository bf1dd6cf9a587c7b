package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
)

const (
	isolationCallers = 64
	unreadUpdates    = 300
	// unreadServers is greater than the number of responses that a multi call buffers.
	unreadServers = 20
)

// testIsolation checks that responses, updates and streams that are never read do not block other
// callers on the same conn, server and bus.
func testIsolation(t *testing.T, network Network) {
	w := newWorld(t, network)
	conn, call := newWorkingCall(w)
	openUnread(w, conn)
	for _, kind := range []string{kindQueue, kindAffinity} {
		c := startCallers(t, isolationCallers, func() error {
			_, err := call(context.Background(), kind)
			return err
		})
		c.wait(t, 3*isolationCallers)
		requireNoFailures(t, c)
	}
}

// newWorkingCall starts a server. It returns a conn and a function that uses the conn to call the
// server.
func newWorkingCall(w *world) (conn *dynamic.Conn, call func(ctx context.Context, kind string) (*api.MyResponse, error)) {
	w.Helper()
	server := w.server()
	w.serve(server, calls, dynamic.Handlers{
		kindQueue: shapes[0].unary(), kindAffinity: shapes[0].best(),
	})
	w.serve(server, streams, dynamic.Handlers{kindQueue: dynamic.Stream(sendUntilClosed)})
	w.serve(server, feeds, nil)
	conn = w.conn()
	byKind := map[string]*dynamic.Client[*api.MyRequest, *api.MyResponse]{}
	for _, kind := range []string{kindQueue, kindAffinity} {
		byKind[kind] = newClient[*api.MyRequest, *api.MyResponse](w, conn, fullName(calls, kind), nil)
	}
	request := sample("Ada")
	return conn, func(ctx context.Context, kind string) (*api.MyResponse, error) {
		return byKind[kind].Call(ctx, request)
	}
}

// sendUntilClosed sends messages as fast as the stream permits until the stream is closed. It keeps
// sending even if the client does not read.
func sendUntilClosed(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
	for stream.Err() == nil {
		_ = stream.Send(&api.MyServerMessage{Text: "unread"}, dynamic.WithStreamTimeout(10*time.Millisecond))
	}
	return nil
}

// openUnread opens a multi call, a subscription and a stream that are never read. It returns when
// the buffers of all three are full. Other callers may use conn at the same time.
func openUnread(w *world, conn *dynamic.Conn) {
	w.Helper()
	for range unreadServers {
		w.serve(w.server(), crowd, dynamic.Handlers{"All": shapes[0].unary()})
	}
	multi := newClient[*api.MyRequest, *api.MyResponse](w, conn, fullName(crowd, "All"), nil)
	responses, err := multi.CallMulti(context.Background(), sample("unread"), dynamic.WithRequestTimeout(time.Hour))
	require.NoError(w, err)
	require.Eventually(w, func() bool { return len(responses) == cap(responses) }, patience, time.Millisecond)

	updates := newClient[*api.Ignored, *api.MyUpdate](w, conn, fullName(feeds, kindMulti), nil)
	subscription, err := updates.Subscribe(context.Background(), dynamic.WithBufferSize(unreadUpdates/10))
	require.NoError(w, err)
	for range unreadUpdates {
		require.NoError(w, dynamic.Publish(context.Background(), conn, fullName(feeds, kindMulti), publishedUpdate()))
	}
	require.Eventually(w, func() bool { return subscription.Stats().Dropped > 0 }, patience, time.Millisecond)
	assert.NoError(w, subscription.Err())

	stream := openGenerated(w, conn, kindQueue)
	require.Eventually(w, func() bool { return len(stream.Channel()) == cap(stream.Channel()) }, patience, time.Millisecond)
}

// benchmarkIsolation measures the latency of calls twice. The second time, the same conn also has
// responses, updates and stream messages that are not read.
func benchmarkIsolation(b *testing.B, network Network) {
	w := newWorld(b, network)
	conn, call := newWorkingCall(w)
	work := func() error {
		_, err := call(context.Background(), kindQueue)
		return err
	}
	calls := max(b.N/2, isolationCallers)
	alone := measureCalls(b, isolationCallers, calls, work)
	openUnread(w, conn)
	beside := measureCalls(b, isolationCallers, calls, work)
	b.ReportMetric(0, "ns/op") // hide the mean of all calls, because it mixes both measurements
	b.ReportMetric(alone.p99(), "p99-alone-ns")
	b.ReportMetric(beside.p99(), "p99-beside-ns")
	b.ReportMetric(beside.p99()/alone.p99(), "ratio")
}
