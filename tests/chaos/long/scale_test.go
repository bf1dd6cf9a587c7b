//go:build chaos && unix

package long_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// restartable is a network whose broker can be killed and restarted.
type restartable struct {
	broker
	connect func() bus.Bus
}

// onRestartable runs test on Redis and then on NATS. It does not run them in parallel, because the
// tests measure the heap of the process.
func onRestartable(t *testing.T, test func(t *testing.T, n restartable)) {
	t.Helper()
	t.Run(testkit.RedisName, func(t *testing.T) {
		server := testenv.Redis(t)
		test(t, restartable{server, func() bus.Bus { return testkit.Redis(t, server.Addr()) }})
	})
	t.Run(testkit.NATSName, func(t *testing.T) {
		server := testenv.NATSProcess(t)
		test(t, restartable{server, func() bus.Bus { return testkit.NATS(t, server.URL()) }})
	})
}

// concurrently calls do with each number from 0 to n-1. It uses the given number of goroutines.
func concurrently(n, goroutines int, do func(i int)) {
	var next atomic.Int64
	var running sync.WaitGroup
	for range goroutines {
		running.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	running.Wait()
}

// It must be possible to run ten thousand handlers at the same time.
func TestScale_Calls(t *testing.T) {
	const calls = 10_000
	onRestartable(t, func(t *testing.T, n restartable) {
		var inside atomic.Int64
		all := make(chan struct{})
		wait := dynamic.Unary(func(ctx context.Context, request *api.MyRequest) (*api.MyResponse, error) {
			if inside.Add(1) == calls {
				close(all)
			}
			select {
			case <-all:
				return testkit.Echo(ctx, request)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		testkit.Serve(t, n.connect(), dynamic.Handlers{"NormalRPC": wait, "IntensiveRPC": wait})
		// Selecting a server takes longer on a busy machine.
		conn := testkit.Conn(t, n.connect(), dynamic.WithSelectionTimeout(patience))
		for _, method := range []string{"NormalRPC", "IntensiveRPC"} {
			inside.Store(0)
			all = make(chan struct{})
			client := testkit.Caller(t, conn, method)
			var failed atomic.Int64
			started := time.Now()
			concurrently(calls, calls, func(int) {
				_, err := client.Call(t.Context(), &api.MyRequest{}, dynamic.WithRequestTimeout(patience))
				if err != nil && failed.Add(1) <= 3 {
					t.Log(err)
				}
			})
			t.Logf("%s: %d calls at once in %v, failed %d", method, calls, time.Since(started).Round(time.Millisecond), failed.Load())
			assert.Zero(t, failed.Load())
		}
	})
}

// A server registers 100,000 topics. When the broker has been restarted, calls to these topics must
// succeed again.
func TestScale_Topics(t *testing.T) {
	const topics = 100_000
	onRestartable(t, func(t *testing.T, n restartable) {
		_, registration := testkit.Serve(t, n.connect(), dynamic.Handlers{"MoveRegion": dynamic.Unary(testkit.Echo)})
		client := testkit.Caller(t, testkit.Conn(t, n.connect()), "MoveRegion")
		call := func(i int) error {
			_, err := client.Topic(fmt.Sprint("topic", i)).Call(t.Context(), &api.MyRequest{}, dynamic.WithRequestTimeout(time.Second))
			return err
		}
		before, started := heapInUse(), time.Now()
		concurrently(topics, 64, func(i int) { assert.NoError(t, registration.RegisterTopic("MoveRegion", fmt.Sprint("topic", i))) })
		t.Logf("%d topics in %v, %d bytes each", topics, time.Since(started).Round(time.Millisecond), (heapInUse()-before)/topics)
		require.NoError(t, call(topics/2))
		n.Kill()
		n.Start()
		started = time.Now()
		testkit.Eventually(t, func() bool { return call(0) == nil && call(topics/2) == nil && call(topics-1) == nil }, "topics are live")
		t.Logf("live %v after the broker is back", time.Since(started).Round(time.Millisecond))
		var failed atomic.Int64
		concurrently(topics/100, 16, func(i int) {
			if call(i*100) != nil {
				failed.Add(1)
			}
		})
		t.Logf("a call to every hundredth: failed %d of %d", failed.Load(), topics/100)
		assert.Zero(t, failed.Load())
		started = time.Now()
		require.NoError(t, registration.Close(t.Context()))
		t.Logf("Registration.Close takes %v", time.Since(started).Round(time.Millisecond))
	})
}

// An update must reach all of 10,000 subscriptions in one process.
func TestScale_Subscriptions(t *testing.T) {
	const subscriptions = 10_000
	onRestartable(t, func(t *testing.T, n restartable) {
		_, publisher := testkit.Serve(t, n.connect(), nil)
		// The client timeout also applies to Close.
		conn := testkit.Conn(t, n.connect(), dynamic.WithClientTimeout(patience))
		subscriber := testkit.Subscriber(t, conn, "UpdateState")
		before, started := heapInUse(), time.Now()
		all := make([]dynamic.Subscription[*api.MyUpdate], subscriptions)
		for i := range all {
			var err error
			all[i], err = subscriber.Subscribe(t.Context(), dynamic.WithBufferSize(4))
			require.NoError(t, err)
		}
		t.Logf("%d subscriptions in %v, %d bytes each", subscriptions, time.Since(started).Round(time.Millisecond),
			(heapInUse()-before)/subscriptions)
		started = time.Now()
		require.NoError(t, publisher.Publish(t.Context(), "UpdateState", &api.MyUpdate{Id: "x"}))
		for _, s := range all {
			require.Equal(t, "x", testkit.Soon(t, s.Channel(), "update").GetId())
		}
		t.Logf("an update reaches all after %v", time.Since(started).Round(time.Millisecond))
		started = time.Now()
		err := conn.Close()
		t.Logf("Conn.Close takes %v", time.Since(started).Round(time.Millisecond))
		require.NoError(t, err)
	})
}

// One server serves 1,000 services. A call to each of them must succeed.
func TestScale_Services(t *testing.T) {
	const services = 1000
	var source strings.Builder
	source.WriteString(`syntax = "proto3"; package many; import "google/protobuf/wrappers.proto"; import "options.proto";`)
	for i := range services {
		fmt.Fprintf(&source, `service S%d {
			rpc One(google.protobuf.StringValue) returns (google.protobuf.StringValue);
			rpc Best(google.protobuf.StringValue) returns (google.protobuf.StringValue) { option (psrpc.options).type = AFFINITY; }
		}`, i)
	}
	echo := dynamic.Unary(func(_ context.Context, s *wrapperspb.StringValue) (*wrapperspb.StringValue, error) { return s, nil })
	onRestartable(t, func(t *testing.T, n restartable) {
		reg := registry.New()
		require.NoError(t, reg.ParseProto(fstest.MapFS{"many.proto": {Data: []byte(source.String())}}, "many.proto"))
		server := dynamic.NewServer(n.connect())
		before, started := heapInUse(), time.Now()
		for i := range services {
			service, ok := reg.Service(fmt.Sprintf("many.S%d", i))
			require.True(t, ok)
			_, err := server.Register(service, dynamic.Handlers{"One": echo, "Best": echo})
			require.NoError(t, err)
		}
		t.Logf("%d services in %v, %d bytes each", services, time.Since(started).Round(time.Millisecond), (heapInUse()-before)/services)
		conn, err := dynamic.NewConn(n.connect(), reg)
		require.NoError(t, err)
		failed := 0
		for i := range services {
			if _, err := dynamic.Invoke(t.Context(), conn, fmt.Sprintf("many.S%d/One", i), wrapperspb.String("x")); err != nil {
				failed++
			}
		}
		t.Logf("a first call to each: failed %d", failed)
		assert.Zero(t, failed)
		require.NoError(t, conn.Close())
		require.NoError(t, server.Shutdown(t.Context()))
	})
}

// Many conns, topics and versions of a service are created and removed, and many calls are made to
// topics without a server. The memory and the goroutines that they use must be released.
func TestScale_Churn(t *testing.T) {
	b := bus.NewLocal()
	handlers := dynamic.Handlers{
		"NormalRPC": dynamic.Unary(testkit.Echo), "IntensiveRPC": dynamic.Unary(testkit.Echo), "MoveRegion": dynamic.Unary(testkit.Echo),
		"ExchangeUpdates": dynamic.Stream(testkit.EchoStream),
	}
	_, registration := testkit.Serve(t, b, handlers)
	reg := registry.New()
	require.NoError(t, reg.RegisterFile(api.File_my_service_proto))
	useConn := func() {
		conn, err := dynamic.NewConn(b, reg)
		require.NoError(t, err)
		for _, method := range []string{"NormalRPC", "IntensiveRPC"} {
			_, err = testkit.Caller(t, conn, method).Call(t.Context(), &api.MyRequest{})
			require.NoError(t, err)
		}
		stream, err := testkit.Streamer(t, conn).OpenStream(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.Send(&api.MyClientMessage{}))
		require.NoError(t, conn.Close())
	}
	for range 100 {
		useConn()
	}
	heap, goroutines := heapInUse(), runtime.NumGoroutine()
	check := func(what string) {
		testkit.Eventually(t, func() bool { return heapInUse()-heap < 8<<20 }, "memory is free after "+what)
		growth := heapInUse() - heap
		t.Logf("after %s: heap +%.1f MB, goroutines +%d", what, float64(growth)/(1<<20), runtime.NumGoroutine()-goroutines)
		assert.Less(t, runtime.NumGoroutine(), goroutines+50, what)
	}
	for range 20_000 {
		useConn()
	}
	check("20,000 conns")
	for i := range 100_000 {
		require.NoError(t, registration.RegisterTopic("MoveRegion", fmt.Sprint(i)))
		require.NoError(t, registration.DeregisterTopic("MoveRegion", fmt.Sprint(i)))
	}
	check("100,000 topics")
	caller := testkit.Caller(t, testkit.Conn(t, b), "MoveRegion")
	for i := range 1_000_000 {
		_, err := caller.Call(t.Context(), &api.MyRequest{}, dynamic.WithTopic(fmt.Sprint(i)))
		require.Error(t, err)
	}
	check("1,000,000 calls to topics that nobody serves")
	for range 5000 {
		next, err := registration.Replace(testkit.Descriptor(), handlers, dynamic.AllowMissing())
		require.NoError(t, err)
		require.NoError(t, registration.Close(t.Context()))
		registration = next
	}
	check("5,000 versions")
}
