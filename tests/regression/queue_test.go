package regression

import (
	"context"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

func TestDefect01_IdenticalUpdates(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		first, second := testkit.Conn(t, network.Connect(t)), testkit.Conn(t, network.Connect(t))
		received := make(chan *api.MyUpdate, 10*rounds)
		for range 2 {
			subscription, err := testkit.Subscriber(t, testkit.Conn(t, network.Connect(t)), "ProcessUpdate").
				Subscribe(t.Context(), dynamic.WithBufferSize(10*rounds))
			require.NoError(t, err)
			// This goroutine ends when the conn of the subscription is closed.
			go pass(subscription.Channel(), received)
		}
		for range rounds / 2 {
			for _, publisher := range []*dynamic.Conn{first, second} {
				require.NoError(t, publish(t, publisher, "ProcessUpdate"))
			}
		}
		for range rounds {
			testkit.Soon(t, received, "update")
		}
		assert.Empty(t, received)
	})
}

func TestDefect02_QueueMembersOfDifferentMethods(t *testing.T) {
	t.Parallel()
	for name, on := range map[string]func(testing.TB) testkit.Network{
		"Local": testkit.OnLocal, "Redis": testkit.OnRedis, "NATS": testkit.OnNATS, "NATSSubjectPerMethod": onNATSSubjectPerMethod,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testDifferentMethods(t, on(t))
		})
	}
	t.Run("NobodyListening", func(t *testing.T) {
		t.Parallel()
		url := testenv.NATSProcess(t).URL()
		// If a process is paused, its bus may give up the report of the frame that it has published
		// or forwarded. Then the test uses another member.
		for members := 1; !firstCallIsReported(t, url); members++ {
			require.Less(t, members, 5, "no first call was reported")
		}
	})
}

// firstCallIsReported starts a member of a queue group that does not serve the called method, and
// makes one call. NATS delivers the request to this member. The result is true if the call failed
// because no server listens.
func firstCallIsReported(t *testing.T, url string) bool {
	t.Helper()
	events := make(chan bus.Event, 100)
	member := testkit.NATS(t, url, natsbus.WithEventHandler(func(event bus.Event) { events <- event }))
	subscription, err := testkit.Subscriber(t, testkit.Conn(t, member), "ProcessUpdate").Subscribe(t.Context())
	require.NoError(t, err)
	defer subscription.Close()
	conn := testkit.Conn(t, testkit.NATS(t, url), dynamic.WithSelectionTimeout(time.Second))
	_, err = testkit.Caller(t, conn, "NormalRPC").Call(t.Context(), &api.MyRequest{})
	require.Error(t, err)
	assert.Zero(t, member.Stats().Dropped)
	assert.Empty(t, events, "nothing is wrong")
	facts, _ := errors.FactsOf(err)
	if facts.Reason != errors.ReasonNobodyListening {
		t.Logf("not reported: %v", err)
	}
	return facts.Reason == errors.ReasonNobodyListening
}

func onNATSSubjectPerMethod(tb testing.TB) testkit.Network {
	tb.Helper()
	url := testenv.NATSProcess(tb).URL()
	return testkit.Network{Name: testkit.NATSName, Connect: func(tb testing.TB) bus.Bus {
		tb.Helper()
		return testkit.NATS(tb, url, natsbus.WithSubjectPerMethod(), natsbus.WithProbeInterval(testkit.Patience))
	}}
}

// divided contains a service in two versions that have the same name on the bus but different
// methods.
const divided = `
syntax = "proto3";
package %s.v1;
import "options.proto";
message Text { string text = 1; }
service Divided {
  rpc Call%[1]s(Text) returns (Text);
  rpc Feed%[1]s(Text) returns (Text) { option (psrpc.options).subscription = true; }
}`

// testDifferentMethods starts a server for one method, three servers for a second method, and three
// subscribers to a third one. All of them belong to the same service. All calls must succeed and
// all updates must arrive.
func testDifferentMethods(t *testing.T, network testkit.Network) {
	known := map[string]*registry.Registry{}
	for _, part := range []string{"First", "Second"} {
		file := part + ".proto"
		known[part] = registry.New()
		source := fstest.MapFS{file: &fstest.MapFile{Data: fmt.Appendf(nil, divided, part)}}
		require.NoError(t, known[part].ParseProto(source, file))
	}
	connect := func(part string) *dynamic.Conn {
		conn, err := dynamic.NewConn(network.Connect(t), known[part], dynamic.WithSelectionTimeout(testkit.Patience))
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, conn.Close()) })
		return conn
	}
	echo := dynamic.Raw(func(_ context.Context, _ *registry.Method, request []byte) ([]byte, error) { return request, nil })
	for _, part := range []string{"First", "Second", "Second", "Second"} {
		service, ok := known[part].Service(part + ".v1.Divided")
		require.True(t, ok)
		server := dynamic.NewServer(network.Connect(t), dynamic.WithServerTimeout(testkit.Patience))
		t.Cleanup(func() { assert.NoError(t, server.Shutdown(context.Background())) })
		_, err := server.Register(service, dynamic.Handlers{"Call" + part: echo})
		require.NoError(t, err)
	}
	received := make(chan proto.Message, 2*rounds)
	for range 3 {
		subscription, err := dynamic.InvokeSubscribe(t.Context(), connect("First"), "First.v1.Divided/FeedFirst")
		require.NoError(t, err)
		// This goroutine ends when the conn of the subscription is closed.
		go pass(subscription.Channel(), received)
	}
	first, second := connect("First"), connect("Second")
	for range rounds {
		_, err := dynamic.Invoke(t.Context(), first, "First.v1.Divided/CallFirst", nil, patient)
		require.NoError(t, err)
		_, err = dynamic.Invoke(t.Context(), second, "Second.v1.Divided/CallSecond", nil, patient)
		require.NoError(t, err)
		require.NoError(t, dynamic.Publish(t.Context(), first, "First.v1.Divided/FeedFirst", nil))
	}
	for range rounds {
		testkit.Soon(t, received, "update")
	}
	assert.Empty(t, received)
}

// pass sends all values from one channel to another until the first one is closed.
func pass[T any](from <-chan T, to chan<- T) {
	for value := range from {
		to <- value
	}
}

func TestDefect05_SeveralSingleServers(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		fleet := testkit.NewFleet(t, network, testkit.Servers(3))
		for _, registration := range fleet.Registrations {
			require.NoError(t, registration.RegisterTopic("UpdateRoom", "eu", "lounge"))
		}
		requireCalls(t, fleet.Caller("UpdateRoom").Topic("eu", "lounge"), rounds)
		requireWorking(t, fleet.Conn)
	})
}

// A lock in Redis must live as long as psrpc's locks, so that psrpc servers do not handle the frame
// a second time. A dynpsrpc lock lives longer, by the timeout of the request, because a process
// that was stopped may still receive the frame.
func TestDefect24_LocksInRedis(t *testing.T) {
	t.Parallel()
	const timeout, lockLife = 4 * time.Second, 5 * time.Second
	addr := testenv.Redis(t).Addr()
	network := testkit.Network{Name: testkit.RedisName, Connect: func(tb testing.TB) bus.Bus { tb.Helper(); return testkit.Redis(tb, addr) }}
	caller := testkit.NewFleet(t, network).Caller("NormalRPC")
	for range rounds {
		_, err := caller.Call(t.Context(), &api.MyRequest{}, dynamic.WithRequestTimeout(timeout))
		require.NoError(t, err)
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	keys, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.LessOrEqual(t, len(keys), rounds)
	for _, key := range keys {
		life, err := client.PTTL(t.Context(), key).Result()
		require.NoError(t, err)
		assert.LessOrEqual(t, life, timeout+lockLife)
		assert.NotEqual(t, time.Duration(-1), life, "a key without expiry: %s", key)
	}
	testkit.Eventually(t, func() bool {
		left, err := client.DBSize(context.Background()).Result()
		return err == nil && left == 0
	}, "the locks expire")
}
