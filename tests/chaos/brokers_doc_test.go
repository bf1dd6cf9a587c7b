package chaos

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// brokersDoc returns the code block of docs/brokers.md in the given language.
func brokersDoc(t *testing.T, language string) string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "brokers.md"))
	require.NoError(t, err)
	_, block, found := strings.Cut(string(doc), "\n```"+language+"\n")
	require.True(t, found, "docs/brokers.md has no block %q", language)
	block, _, found = strings.Cut(block, "\n```\n")
	require.True(t, found)
	return block
}

// The NATS permissions in docs/brokers.md must permit methods of every kind, and deny everything
// that the page says they deny.
func TestBrokersDoc_NATS(t *testing.T) {
	t.Parallel()
	t.Run("least", func(t *testing.T) {
		t.Parallel()
		testNATSRules(t, brokersDoc(t, "nats"), false)
	})
	t.Run("all features", func(t *testing.T) {
		t.Parallel()
		testNATSRules(t, brokersDoc(t, "nats-full"), true)
	})
}

// The Redis access rules in docs/brokers.md must permit methods of every kind, and deny everything
// that the page says they deny.
func TestBrokersDoc_Redis(t *testing.T) {
	t.Parallel()
	t.Run("least", func(t *testing.T) {
		t.Parallel()
		testRedisRules(t, brokersDoc(t, "redis"), false)
	})
	t.Run("all features", func(t *testing.T) {
		t.Parallel()
		testRedisRules(t, brokersDoc(t, "redis-full"), true)
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		testClusterRules(t, brokersDoc(t, "redis"), "")
	})
	t.Run("sharded cluster", func(t *testing.T) {
		t.Parallel()
		sharded := strings.NewReplacer("+subscribe", "+ssubscribe", "+unsubscribe", "+sunsubscribe", "+publish", "+spublish")
		testClusterRules(t, sharded.Replace(brokersDoc(t, "redis")), "&sharded=true")
	})
}

// patiently contains parameters for a bus URL. With them, the bus does not give up a connection
// because the machine is busy.
const patiently = "?probe_interval=20s&connect_timeout=20s"

// testClusterRules checks the rules on a Redis Cluster. It also gives each user the permission to
// run CLUSTER SLOTS, which clients of a cluster need.
func testClusterRules(t *testing.T, rules, parameters string) {
	t.Helper()
	addresses := testenv.RedisCluster(t).Addrs()
	for _, address := range addresses {
		admin := redis.NewClient(&redis.Options{Addr: address})
		for line := range strings.SplitSeq(rules, "\n") {
			command := []any{"acl", "setuser"}
			for _, word := range strings.Fields(line)[1:] {
				command = append(command, word)
			}
			if line != "user default off" { // the test itself uses the default user
				require.NoError(t, admin.Do(t.Context(), append(command, "+cluster|slots")...).Err())
			}
		}
		require.NoError(t, admin.Close())
	}
	testUsers(t, func(user string) bus.Monitored {
		b, err := bus.Open(t.Context(), "redis-cluster://"+user+":secret@"+strings.Join(addresses, ",")+patiently+parameters)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b.(bus.Monitored)
	}, usersFeatures{receivers: parameters != "", everyUpdate: true})
}

func testRedisRules(t *testing.T, rules string, allFeatures bool) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users.acl")
	require.NoError(t, os.WriteFile(file, []byte(rules+"\n"), 0o600))
	broker := testenv.Redis(t, "--aclfile", file)
	connectIn := func(t *testing.T, user string) bus.Monitored {
		t.Helper()
		url := strings.Replace(broker.URL(), "redis://", "redis://"+user+":secret@", 1)
		b, err := bus.Open(t.Context(), url+patiently)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b.(bus.Monitored)
	}
	connect := func(user string) bus.Monitored { return connectIn(t, user) }
	features := usersFeatures{cancel: allFeatures, receivers: true, everyUpdate: true}
	t.Run("a user for each kind", func(t *testing.T) {
		b := testUsers(t, func(user string) bus.Monitored { return connectIn(t, user) }, features)
		assert.Zero(t, b.Stats().Disconnects)
	})
	t.Run("one user for both", func(t *testing.T) {
		testUsers(t, func(user string) bus.Monitored {
			if user == "server" || user == "client" {
				user = "both"
			}
			return connectIn(t, user)
		}, features)
	})

	// The rules must deny the following publications and subscriptions.
	for user, channel := range map[string]string{
		"client": "MyService|CLI_x|RES", "publisher": "MyService|CLI_x|RES", "server": "Other|CLI_x|RES", "both": "Other|M|REQ",
		"subscriber": "MyService|NormalRPC|REQ",
	} {
		denied := make(report, 10)
		require.NoError(t, connect(user).Publish(t.Context(), bus.Channel{Name: channel}, nil, denied))
		assert.Equal(t, errors.PermissionDenied, testkit.Code(testkit.Soon(t, denied, user+" is denied")), user)
	}
	for user, channel := range map[string]string{
		"client": "MyService|NormalRPC|REQ", "publisher": "MyService|NormalRPC|REQ", "server": "MyService|CLI_x|RES",
		"both": "Other|CLI_x|RES", "subscriber": "MyService|NormalRPC|RCLAIM",
	} {
		_, err := connect(user).Subscribe(t.Context(), bus.Channel{Name: channel}, bus.Broadcast, func([]byte) {})
		assert.Equal(t, errors.PermissionDenied, testkit.Code(err), user)
	}
	for _, user := range []string{"server", "client", "both", "publisher", "subscriber"} {
		client := redis.NewClient(&redis.Options{Addr: broker.Addr(), Username: user, Password: "secret"})
		require.ErrorContains(t, client.Set(t.Context(), "another key", "x", 0).Err(), "NOPERM", user)
		require.ErrorContains(t, client.Keys(t.Context(), "*").Err(), "NOPERM", user)
		require.NoError(t, client.Close())
	}
}

func testNATSRules(t *testing.T, rules string, allFeatures bool) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(config, []byte(rules), 0o600))
	options, err := server.ProcessConfigFile(config)
	require.NoError(t, err)
	broker := testenv.NATS(t, func(o *server.Options) {
		o.Users = options.Users
	})
	connect := func(user string) bus.Monitored {
		url := strings.Replace(broker.URL(), "nats://", "nats://"+user+":secret@", 1)
		b, err := bus.Open(t.Context(), url+patiently)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b.(bus.Monitored)
	}
	clientBus := testUsers(t, connect, usersFeatures{
		cancel: allFeatures, receivers: allFeatures, everyUpdate: allFeatures,
	})

	// The rules must deny the following publications and subscriptions.
	for user, subject := range map[string]string{
		"client": "CLI.MyService.ID.RES", "publisher": "CLI.MyService.ID.RES", "server": "CLI.Other.ID.RES", "subscriber": "DYN.MyService.CANCEL",
	} {
		denied := make(report, 10)
		require.NoError(t, connect(user).Publish(t.Context(), bus.Channel{Subject: subject}, nil, denied))
		assert.Equal(t, errors.PermissionDenied, testkit.Code(testkit.Soon(t, denied, user+" is denied")), user)
	}
	for user, subject := range map[string]string{"client": "SRV.MyService", "publisher": "SRV.MyService", "server": "CLI.MyService.ID.RES"} {
		_, err := connect(user).Subscribe(t.Context(), bus.Channel{Subject: subject}, bus.Broadcast, func([]byte) {})
		assert.Equal(t, errors.PermissionDenied, testkit.Code(err), user)
	}
	assert.Zero(t, clientBus.Stats().Disconnects)
}

// usersFeatures lists the features that the rules of a broker permit.
type usersFeatures struct {
	// cancel is set if handlers are notified when the client cancels a call.
	cancel bool
	// receivers is set if a call fails immediately when no server has subscribed.
	receivers bool
	// everyUpdate is set if a queue subscription receives every update. On NATS, some updates reach
	// the server instead, unless the server may forward them.
	everyUpdate bool
}

// testUsers makes calls of every kind and publishes updates. It connects as the users "server",
// "client", "publisher" and "subscriber". It returns the client's bus.
func testUsers(t *testing.T, connect func(user string) bus.Monitored, features usersFeatures) bus.Monitored {
	t.Helper()
	running, canceled := make(chan struct{}, 1), make(chan struct{}, 1)
	_, registration := testkit.Serve(t, connect("server"), dynamic.Handlers{
		"NormalRPC": dynamic.Unary(func(ctx context.Context, request *api.MyRequest) (*api.MyResponse, error) {
			if request.GetName() == "wait" {
				running <- struct{}{}
				<-ctx.Done()
				canceled <- struct{}{}
			}
			return testkit.Echo(ctx, request)
		}),
		"IntensiveRPC":    dynamic.Unary(testkit.Echo),
		"GetStats":        dynamic.Unary(testkit.Echo),
		"UpdateRoom":      dynamic.Unary(testkit.Echo),
		"ExchangeUpdates": dynamic.Stream(testkit.EchoStream),
	})
	require.NoError(t, registration.RegisterTopic("UpdateRoom", "eu", "room"))
	clientBus := connect("client")
	conn := testkit.Conn(t, clientBus)
	for _, method := range []string{"NormalRPC", "IntensiveRPC"} {
		_, err := testkit.Caller(t, conn, method).Call(t.Context(), &api.MyRequest{Name: "x"})
		require.NoError(t, err, method)
	}
	_, err := testkit.Caller(t, conn, "UpdateRoom").Topic("eu", "room").Call(t.Context(), &api.MyRequest{Name: "x"})
	require.NoError(t, err)
	responses, err := testkit.Caller(t, conn, "GetStats").CallMulti(t.Context(), &api.MyRequest{Name: "x"}, dynamic.WithExpectedResponses(1))
	require.NoError(t, err)
	response := testkit.Soon(t, responses, "response of a multi call")
	require.NoError(t, response.Err)
	stream, err := testkit.Streamer(t, conn).OpenStream(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&api.MyClientMessage{Sequence: 7}))
	assert.EqualValues(t, 7, testkit.Soon(t, stream.Channel(), "echo of the stream").GetAcknowledged())
	require.NoError(t, stream.Close(nil))

	subscriberConn, publisher := testkit.Conn(t, connect("subscriber")), connect("publisher")
	// The first method is a queue, and the second one reaches all subscribers.
	for _, method := range []string{"ProcessUpdate", "UpdateState"} {
		subscription, err := testkit.Subscriber(t, subscriberConn, method).Subscribe(t.Context())
		require.NoError(t, err)
		publisherConn := testkit.Conn(t, publisher)
		publish := func() {
			require.NoError(t, dynamic.Publish(t.Context(), publisherConn, testkit.Method(method), &api.MyUpdate{}))
		}
		publish()
		if features.everyUpdate || method == "UpdateState" {
			testkit.Soon(t, subscription.Channel(), "update of "+method)
		} else { // NATS delivers some frames to the server, which is not permitted to forward them
			testkit.Eventually(t, func() bool {
				publish()
				return len(subscription.Channel()) > 0
			}, "update of "+method)
		}
		require.NoError(t, subscription.Close())
	}

	// Check the features cancel and receivers. If a feature is not permitted, calls and handlers
	// must still end at their timeouts.
	ctx, abandon := context.WithCancel(t.Context())
	defer abandon()
	timeout := 4 * time.Second
	if features.cancel {
		timeout = time.Hour
	}
	result := make(chan error, 1)
	go func() { // the test waits for the result
		_, err := testkit.Caller(t, conn, "NormalRPC").Call(ctx, &api.MyRequest{Name: "wait"}, dynamic.WithRequestTimeout(timeout))
		result <- err
	}()
	testkit.Soon(t, running, "start of the handler")
	abandon()
	assert.Equal(t, errors.Canceled, testkit.Code(testkit.Soon(t, result, "end of the canceled call")))
	testkit.Soon(t, canceled, "end of the handler's context")
	timeout = 500 * time.Millisecond
	if features.receivers {
		timeout = time.Hour
	}
	_, err = testkit.Caller(t, conn, "UpdateRoom").Topic("eu", "nobody").Call(t.Context(), &api.MyRequest{},
		dynamic.WithRequestTimeout(timeout))
	facts, _ := errors.FactsOf(err)
	assert.Equal(t, features.receivers, facts.Reason == errors.ReasonNobodyListening, "%v", err)
	return clientBus
}

// report is a [bus.DeliveryReport] that sends the errors to a channel.
type report chan error

func (r report) Delivered(_ int, err error) { r <- err }
