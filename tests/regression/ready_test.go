package regression

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
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

func TestDefect08_CallAfterRegister(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		for range 20 {
			conn := testkit.Conn(t, network.Connect(t))
			server, registration := testkit.Serve(t, network.Connect(t), dynamic.Handlers{
				"NormalRPC": dynamic.Unary(testkit.Echo), "MoveRegion": dynamic.Unary(testkit.Echo),
			})
			requireCalls(t, testkit.Caller(t, conn, "NormalRPC"), 1)
			require.NoError(t, registration.RegisterTopic("MoveRegion", "here"))
			requireCalls(t, testkit.Caller(t, conn, "MoveRegion").Topic("here"), 1)
			require.NoError(t, server.Shutdown(t.Context()))
		}
	})
}

func TestDefect09_UpdateAfterSubscribe(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		publisher := testkit.Conn(t, network.Connect(t))
		for range 20 {
			client := testkit.Conn(t, network.Connect(t))
			for _, method := range []string{"UpdateState", "ProcessUpdate"} {
				subscription, err := testkit.Subscriber(t, client, method).Subscribe(t.Context())
				require.NoError(t, err)
				require.NoError(t, publish(t, publisher, method))
				testkit.Soon(t, subscription.Channel(), "update of "+method)
				require.NoError(t, subscription.Close())
			}
		}
	})
}

func TestDefect13_NobodyServes(t *testing.T) {
	t.Parallel()
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		conn := testkit.Conn(t, network.Connect(t))
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
			_, err := testkit.Caller(t, conn, method).Topic(topic...).Call(t.Context(), &api.MyRequest{}, patient)
			nobody(started, err)
		}
		started := time.Now()
		_, err := testkit.Streamer(t, conn).OpenStream(t.Context(), patient)
		nobody(started, err)
		started = time.Now()
		responses := 0
		for response := range testkit.Caller(t, conn, "GetStats").Responses(t.Context(), &api.MyRequest{}, patient) {
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
	testkit.OnEach(t, func(t *testing.T, network testkit.Network) {
		const servers = 3
		opts := []dynamic.RequestOption{patient}
		if network.Name == testkit.NATSName {
			opts = append(opts, dynamic.WithExpectedResponses(servers))
		}
		client := testkit.NewFleet(t, network, testkit.Servers(servers)).Caller("GetStats")
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
	t.Run(testkit.RedisName, func(t *testing.T) {
		t.Parallel()
		server := testenv.Redis(t)
		connect := func(tb testing.TB) bus.Bus { tb.Helper(); return testkit.Redis(tb, server.Addr()) }
		testBrokerAway(t, testkit.Network{Name: testkit.RedisName, Connect: connect}, server)
	})
	t.Run(testkit.NATSName, func(t *testing.T) {
		t.Parallel()
		server := testenv.NATSProcess(t)
		connect := func(tb testing.TB) bus.Bus { tb.Helper(); return testkit.NATS(tb, server.URL()) }
		testBrokerAway(t, testkit.Network{Name: testkit.NATSName, Connect: connect}, server)
	})
}

func testBrokerAway(t *testing.T, network testkit.Network, broker interface {
	Kill()
	Start()
}) {
	fleet := testkit.NewFleet(t, network)
	publisher, client := fleet.Registrations[0], fleet.Caller("NormalRPC")
	subscription, err := testkit.Subscriber(t, fleet.Conn, "UpdateState").Subscribe(t.Context())
	require.NoError(t, err)
	requireCalls(t, client, 1)
	broker.Kill()
	publish := func() error { return publisher.Publish(t.Context(), "UpdateState", &api.MyUpdate{Id: "update"}) }
	testkit.Eventually(t, func() bool { return publish() != nil }, "the bus notices")
	require.Equal(t, errors.Unavailable, testkit.Code(publish()))
	call := func() error {
		_, err := client.Call(t.Context(), &api.MyRequest{}, patient)
		return err
	}
	started := time.Now()
	requireCode(t, errors.Unavailable, call(), started)
	broker.Start()
	testkit.Eventually(t, func() bool { return call() == nil }, "calls succeed again")
	testkit.Eventually(t, func() bool { return publish() == nil && len(subscription.Channel()) > 0 }, "so do updates")
	require.NoError(t, subscription.Err())
}
