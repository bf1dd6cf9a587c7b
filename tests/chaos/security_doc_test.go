package chaos

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/interceptors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// brokerWithRules starts a broker with access rules from docs/brokers.md. It returns a function
// that opens a bus as the given user.
func brokerWithRules(t *testing.T, isRedis bool, rules string) func(user string) bus.Monitored {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules")
	require.NoError(t, os.WriteFile(file, []byte(rules+"\n"), 0o600))
	var url string
	if isRedis {
		url = testenv.Redis(t, "--aclfile", file).URL()
	} else {
		options, err := server.ProcessConfigFile(file)
		require.NoError(t, err)
		url = testenv.NATS(t, func(o *server.Options) { o.Users = options.Users }).URL()
	}
	return func(user string) bus.Monitored {
		b, err := bus.Open(t.Context(), strings.Replace(url, "://", "://"+user+":secret@", 1)+patiently)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b.(bus.Monitored)
	}
}

// The access rules in docs/brokers.md must prevent the attacks that docs/security.md says they
// prevent. The test publishes forged claims, responses, grants and cancellations for a running
// call. The broker must reject them, and the call must succeed.
func TestSecurityDoc_RulesPreventForgery(t *testing.T) {
	t.Parallel()
	for _, language := range []string{"redis", "redis-full", "nats", "nats-full"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			isRedis := strings.HasPrefix(language, "redis")
			testForgery(t, brokerWithRules(t, isRedis, brokersDoc(t, language)), isRedis)
		})
	}
}

func testForgery(t *testing.T, connect func(user string) bus.Monitored, isRedis bool) {
	t.Helper()
	var runs atomic.Int32
	ended, running, finish := make(chan error, 10), make(chan struct{}, 10), make(chan struct{})
	testkit.Serve(t, connect("server"), dynamic.Handlers{
		"NormalRPC": dynamic.Unary(func(ctx context.Context, request *api.MyRequest) (*api.MyResponse, error) {
			runs.Add(1)
			running <- struct{}{}
			<-finish
			ended <- ctx.Err()
			return testkit.Echo(ctx, request)
		}),
	})
	requests := make(chan wire.Request, 10)
	requestChannel := bus.Channel(wire.RequestChannel(testkit.WireName, "NormalRPC", nil, true))
	_, err := connect("server").Subscribe(t.Context(), requestChannel, bus.Broadcast, func(frame []byte) {
		envelope, _ := wire.ParseEnvelope(frame)
		request, _ := wire.ParseRequest(envelope.Value)
		requests <- request
	})
	require.NoError(t, err)
	const timeout = 5 * time.Minute // the call must not end before all forged frames have been sent
	conn := testkit.Conn(t, connect("client"), interceptors.Retry(interceptors.WithAttempts(3)),
		dynamic.WithClientTimeout(timeout), dynamic.WithSelectionTimeout(timeout))
	result := make(chan error, 1)
	go func() {
		response, err := testkit.Caller(t, conn, "NormalRPC").Call(t.Context(), &api.MyRequest{Name: "honest"})
		if err == nil && !strings.Contains(response.String(), "honest") {
			err = errors.New("forged: " + response.String())
		}
		result <- err
	}()
	testkit.Soon(t, running, "request")
	request := testkit.Soon(t, requests, "frame of the request")

	responses := wire.ResponseChannel(testkit.WireName, string(request.ClientID))
	response := wire.Response{RequestID: request.RequestID, ServerID: []byte("SRV_forged"), SentAt: time.Now().UnixNano()}
	unprocessed := response
	response.Body = wire.Body{Message: &api.MyResponse{Text: "forged"}}
	unprocessed.Error, unprocessed.Code, unprocessed.Unprocessed = "forged", string(errors.Unavailable), true
	noGrant := []string{"server", "publisher", "subscriber"}
	if !isRedis {
		noGrant = []string{"server", "subscriber"} // on NATS, requests and grants use the same subject
	}
	for name, forged := range map[string]struct {
		channel wire.Channel
		message interface {
			AppendFrame(dst []byte) ([]byte, error)
		}
		deniedTo []string
	}{
		"claim": {
			wire.ClaimRequestChannel(testkit.WireName, string(request.ClientID)),
			&wire.ClaimRequest{RequestID: request.RequestID, ServerID: []byte("SRV_forged"), Affinity: 1e9},
			[]string{"client", "publisher", "subscriber"},
		},
		"response":    {responses, &response, []string{"client", "publisher", "subscriber"}},
		"unprocessed": {responses, &unprocessed, []string{"client", "publisher", "subscriber"}},
		"cancel": {
			wire.CancelChannel(testkit.WireName), &wire.Cancel{RequestID: request.RequestID}, []string{"server", "publisher", "subscriber"},
		},
		"grant": {
			wire.ClaimResponseChannel(testkit.WireName, "NormalRPC", nil),
			&wire.ClaimResponse{RequestID: request.RequestID, ServerID: []byte("SRV_forged")}, noGrant,
		},
	} {
		frame, err := forged.message.AppendFrame(nil)
		require.NoError(t, err)
		for _, user := range forged.deniedTo {
			denied := make(report, 1)
			require.NoError(t, connect(user).Publish(t.Context(), bus.Channel(forged.channel), frame, denied))
			err := testkit.Soon(t, denied, user+" is denied")
			assert.Equal(t, errors.PermissionDenied, testkit.Code(err), "%s of %s: %v", name, user, err)
		}
	}
	spies := []string{"client", "publisher"}
	if isRedis {
		spies = append(spies, "subscriber") // on NATS, requests and updates use the same subject
	}
	for _, user := range spies {
		_, err := connect(user).Subscribe(t.Context(), requestChannel, bus.Broadcast, func([]byte) {})
		assert.Equal(t, errors.PermissionDenied, testkit.Code(err), "%s reads requests", user)
	}
	close(finish)
	require.NoError(t, testkit.Soon(t, ended, "end of the handler"), "the handler's context")
	require.NoError(t, testkit.Soon(t, result, "end of the call"))
	assert.EqualValues(t, 1, runs.Load())
}

// If each client has its own user, access rules that contain the client's ID must prevent it from
// reading the responses to other clients.
func TestSecurityDoc_UserForEachClient(t *testing.T) {
	t.Parallel()
	for language, pattern := range map[string][2]string{
		"redis": {"(+subscribe &MyService|CLI_*)", "(+subscribe &MyService|CLI_alice|*)"},
		"nats":  {`subscribe = [ "CLI.MyService.>" ]`, `subscribe = [ "CLI.MyService.CLI_alice.>" ]`},
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			rules := brokersDoc(t, language)
			require.Contains(t, rules, pattern[0])
			connect := brokerWithRules(t, language == "redis", strings.Replace(rules, pattern[0], pattern[1], 1))
			testkit.Serve(t, connect("server"), dynamic.Handlers{"NormalRPC": dynamic.Unary(testkit.Echo)})
			conn := testkit.Conn(t, connect("client"), dynamic.WithClientID("CLI_alice"))
			_, err := testkit.Caller(t, conn, "NormalRPC").Call(t.Context(), &api.MyRequest{})
			require.NoError(t, err)
			others := bus.Channel(wire.ResponseChannel(testkit.WireName, "CLI_bob"))
			_, err = connect("client").Subscribe(t.Context(), others, bus.Broadcast, func([]byte) {})
			assert.Equal(t, errors.PermissionDenied, testkit.Code(err))
		})
	}
}
