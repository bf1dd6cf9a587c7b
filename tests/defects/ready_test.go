package defects

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/faults/scene"
)

func TestDefect08_CallAfterRegister(t *testing.T) {
	t.Parallel()
	scene.OnEach(t, func(t *testing.T, network scene.Network) {
		for range 20 {
			conn := scene.Conn(t, network.Connect(t))
			server, registration := scene.Serve(t, network.Connect(t), dynamic.Handlers{
				"NormalRPC": dynamic.Unary(scene.Echo), "MoveRegion": dynamic.Unary(scene.Echo),
			})
			requireCalls(t, scene.Caller(t, conn, "NormalRPC"), 1)
			require.NoError(t, registration.RegisterTopic("MoveRegion", "here"))
			requireCalls(t, scene.Caller(t, conn, "MoveRegion").Topic("here"), 1)
			require.NoError(t, server.Shutdown(t.Context()))
		}
	})
}

func TestDefect09_UpdateAfterSubscribe(t *testing.T) {
	t.Parallel()
	scene.OnEach(t, func(t *testing.T, network scene.Network) {
		publisher := scene.Conn(t, network.Connect(t))
		for range 20 {
			client := scene.Conn(t, network.Connect(t))
			for _, method := range []string{"UpdateState", "ProcessUpdate"} {
				subscription, err := scene.Subscriber(t, client, method).Subscribe(t.Context())
				require.NoError(t, err)
				require.NoError(t, publish(t, publisher, method))
				scene.Soon(t, subscription.Channel(), "update of "+method)
				require.NoError(t, subscription.Close())
			}
		}
	})
}

func TestDefect13_NobodyServes(t *testing.T) {
	t.Parallel()
	scene.OnEach(t, func(t *testing.T, network scene.Network) {
		conn := scene.Conn(t, network.Connect(t))
		nobody := func(started time.Time, err error) {
			t.Helper()
			requireCode(t, errors.Unavailable, err, started)
			facts, _ := errors.FactsOf(err)
			assert.Equal(t, errors.ReasonNobodyListening, facts.Reason, "%v", err)
		}
		for method, topic := range map[string][]string{
			"NormalRPC": nil, "IntensiveRPC": nil, "MoveRegion": {"here"}, "UpdateRoom": {"eu", "lounge"},
		} {
			started := time.Now()
			_, err := scene.Caller(t, conn, method).Topic(topic...).Call(t.Context(), &api.MyRequest{}, patient)
			nobody(started, err)
		}
		started := time.Now()
		_, err := scene.Streamer(t, conn).OpenStream(t.Context(), patient)
		nobody(started, err)
		started = time.Now()
		responses := 0
		for response := range scene.Caller(t, conn, "GetStats").Responses(t.Context(), &api.MyRequest{}, patient) {
			nobody(started, response.Err)
			responses++
		}
		assert.Equal(t, 1, responses)
	})
}

// A multi call must end as soon as all servers have responded. NATS does not report the number of
// servers, so the caller must specify it on NATS.
func TestDefect14_AllHaveAnswered(t *testing.T) {
	t.Parallel()
	scene.OnEach(t, func(t *testing.T, network scene.Network) {
		const servers = 3
		var conn *dynamic.Conn
		for range servers {
			conn, _ = serveOne(t, network)
		}
		opts := []dynamic.RequestOption{patient}
		if network.Name == scene.NATSName {
			opts = append(opts, dynamic.WithExpectedResponses(servers))
		}
		client := scene.Caller(t, conn, "GetStats")
		started := time.Now()
		for range 10 {
			responses := 0
			for response := range client.Responses(t.Context(), &api.MyRequest{}, opts...) {
				require.NoError(t, response.Err)
				responses++
			}
			assert.Equal(t, servers, responses)
		}
		assert.Less(t, time.Since(started), atOnce)
	})
}

func TestDefect15_BrokerAway(t *testing.T) {
	t.Parallel()
	t.Run(scene.RedisName, func(t *testing.T) {
		t.Parallel()
		server := testenv.Redis(t)
		connect := func(tb testing.TB) bus.Bus { tb.Helper(); return scene.Redis(tb, server.Addr()) }
		testBrokerAway(t, scene.Network{Name: scene.RedisName, Connect: connect}, server)
	})
	t.Run(scene.NATSName, func(t *testing.T) {
		t.Parallel()
		server := testenv.NATSProcess(t)
		connect := func(tb testing.TB) bus.Bus { tb.Helper(); return scene.NATS(tb, server.URL()) }
		testBrokerAway(t, scene.Network{Name: scene.NATSName, Connect: connect}, server)
	})
}

func testBrokerAway(t *testing.T, network scene.Network, broker interface {
	Kill()
	Start()
}) {
	conn, publisher := serveOne(t, network)
	subscription, err := scene.Subscriber(t, conn, "UpdateState").Subscribe(t.Context())
	require.NoError(t, err)
	client := scene.Caller(t, conn, "NormalRPC")
	requireCalls(t, client, 1)
	broker.Kill()
	publish := func() error { return publisher.Publish(t.Context(), "UpdateState", &api.MyUpdate{Id: "update"}) }
	scene.Eventually(t, func() bool { return publish() != nil }, "the bus notices")
	require.Equal(t, errors.Unavailable, scene.Code(publish()))
	call := func() error {
		_, err := client.Call(t.Context(), &api.MyRequest{}, patient)
		return err
	}
	started := time.Now()
	requireCode(t, errors.Unavailable, call(), started)
	broker.Start()
	scene.Eventually(t, func() bool { return call() == nil }, "calls succeed again")
	scene.Eventually(t, func() bool { return publish() == nil && len(subscription.Channel()) > 0 }, "so do updates")
	require.NoError(t, subscription.Err())
}
