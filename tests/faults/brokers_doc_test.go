package faults

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/faults/scene"
)

// brokersDoc returns the code block of docs/brokers.md that has the given language.
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

// The rules in docs/brokers.md suffice for every kind of method, and deny what they are meant to.
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

func testNATSRules(t *testing.T, rules string, allFeatures bool) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(config, []byte(rules), 0o600))
	options, err := server.ProcessConfigFile(config)
	require.NoError(t, err)
	broker := testenv.NATS(t, func(o *server.Options) {
		o.Users = options.Users
	})
	connect := func(user string) *natsbus.Bus {
		url := strings.Replace(broker.URL(), "nats://", "nats://"+user+":secret@", 1)
		b, err := bus.Open(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b.(*natsbus.Bus)
	}
	canceled := make(chan struct{}, 1)
	_, registration := scene.Serve(t, connect("server"), dynamic.Handlers{
		"NormalRPC": dynamic.Unary(func(ctx context.Context, request *api.MyRequest) (*api.MyResponse, error) {
			if request.GetName() == "wait" {
				<-ctx.Done()
				canceled <- struct{}{}
			}
			return scene.Echo(ctx, request)
		}),
		"IntensiveRPC":    dynamic.Unary(scene.Echo),
		"GetStats":        dynamic.Unary(scene.Echo),
		"UpdateRoom":      dynamic.Unary(scene.Echo),
		"ExchangeUpdates": dynamic.Stream(scene.EchoStream),
	})
	require.NoError(t, registration.RegisterTopic("UpdateRoom", "eu", "room"))
	clientBus := connect("client")
	conn := scene.Conn(t, clientBus)
	for _, method := range []string{"NormalRPC", "IntensiveRPC"} {
		_, err := scene.Caller(t, conn, method).Call(t.Context(), &api.MyRequest{Name: "x"})
		require.NoError(t, err, method)
	}
	_, err = scene.Caller(t, conn, "UpdateRoom").Topic("eu", "room").Call(t.Context(), &api.MyRequest{Name: "x"})
	require.NoError(t, err)
	responses, err := scene.Caller(t, conn, "GetStats").CallMulti(t.Context(), &api.MyRequest{Name: "x"}, dynamic.WithExpectedResponses(1))
	require.NoError(t, err)
	response := scene.Soon(t, responses, "response of a multi call")
	require.NoError(t, response.Err)
	stream, err := scene.Streamer(t, conn).OpenStream(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&api.MyClientMessage{Sequence: 7}))
	assert.EqualValues(t, 7, scene.Soon(t, stream.Channel(), "echo of the stream").GetAcknowledged())
	require.NoError(t, stream.Close(nil))

	subscriberConn, publisher := scene.Conn(t, connect("subscriber")), connect("publisher")
	for _, method := range []string{"ProcessUpdate", "UpdateState"} { // a queue, and all subscribers
		subscription, err := scene.Subscriber(t, subscriberConn, method).Subscribe(t.Context())
		require.NoError(t, err)
		publisherConn := scene.Conn(t, publisher)
		publish := func() {
			require.NoError(t, dynamic.Publish(t.Context(), publisherConn, scene.Method(method), &api.MyUpdate{}))
		}
		publish()
		if allFeatures || method == "UpdateState" {
			scene.Soon(t, subscription.Channel(), "update of "+method)
		} else { // NATS gives some frames to the server, which may not pass them on
			scene.Eventually(t, func() bool {
				publish()
				return len(subscription.Channel()) > 0
			}, "update of "+method)
		}
		require.NoError(t, subscription.Close())
	}

	// What the features need is either permitted or turned off.
	ctx, abandon := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, abandon)
	_, err = scene.Caller(t, conn, "NormalRPC").Call(ctx, &api.MyRequest{Name: "wait"}, dynamic.WithRequestTimeout(500*time.Millisecond))
	assert.Equal(t, errors.Canceled, scene.Code(err))
	started := time.Now()
	scene.Soon(t, canceled, "end of the handler's context")
	if allFeatures {
		assert.Less(t, time.Since(started), 400*time.Millisecond, "the cancellation has arrived")
	}
	_, err = scene.Caller(t, conn, "UpdateRoom").Topic("eu", "nobody").Call(t.Context(), &api.MyRequest{},
		dynamic.WithRequestTimeout(500*time.Millisecond))
	facts, _ := errors.FactsOf(err)
	assert.Equal(t, allFeatures, facts.Reason == errors.ReasonNobodyListening, "%v", err)

	// What the rules are meant to prevent.
	for user, subject := range map[string]string{
		"client": "CLI.MyService.ID.RES", "publisher": "CLI.MyService.ID.RES", "server": "CLI.Other.ID.RES", "subscriber": "DYN.MyService.CANCEL",
	} {
		denied := make(report, 10)
		require.NoError(t, connect(user).Publish(t.Context(), bus.Channel{Subject: subject}, nil, denied))
		assert.Equal(t, errors.PermissionDenied, scene.Code(scene.Soon(t, denied, user+" is denied")), user)
	}
	for user, subject := range map[string]string{"client": "SRV.MyService", "publisher": "SRV.MyService", "server": "CLI.MyService.ID.RES"} {
		_, err := connect(user).Subscribe(t.Context(), bus.Channel{Subject: subject}, bus.Broadcast, func([]byte) {})
		assert.Equal(t, errors.PermissionDenied, scene.Code(err), user)
	}
	assert.Zero(t, clientBus.Stats().Disconnects)
}

// report is a delivery report that collects errors.
type report chan error

func (r report) Delivered(_ int, err error) { r <- err }
