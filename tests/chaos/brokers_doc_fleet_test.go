package chaos

import (
	"context"
	"log/slog"
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
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// The rules for fleets in docs/brokers.md must permit viewers to query the servers and operators to
// tap and drain them, and must permit nothing else.
func TestBrokersDoc_Fleet(t *testing.T) {
	t.Parallel()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "users.acl")
		require.NoError(t, os.WriteFile(file, []byte(brokersDoc(t, "redis-fleet")+"\n"), 0o600))
		url := testenv.Redis(t, "--aclfile", file).URL()
		testFleetRules(t, url, true)
		_, address, _ := strings.Cut(url, "://")
		for user, permitted := range map[string]bool{"viewer": false, "operator": true} {
			client := redis.NewClient(&redis.Options{Addr: address, Username: user, Password: "secret"})
			assert.Equal(t, permitted, client.PubSubChannels(t.Context(), "*").Err() == nil, user)
			require.ErrorContains(t, client.Keys(t.Context(), "*").Err(), "NOPERM", user)
			require.NoError(t, client.Close())
		}
	})
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		config := filepath.Join(t.TempDir(), "nats.conf")
		require.NoError(t, os.WriteFile(config, []byte(brokersDoc(t, "nats-fleet")), 0o600))
		options, err := server.ProcessConfigFile(config)
		require.NoError(t, err)
		testFleetRules(t, testenv.NATS(t, func(o *server.Options) { o.Users = options.Users }).URL(), false)
	})
}

// requireDraining drains and resumes a server until a change reports that the server is draining.
// One attempt may not be enough, because a server drops a change if the bus does not accept it
// within 0.2 s.
func requireDraining(t *testing.T, asked *fleet.Fleet, serverID string, changes <-chan *fleet.Change) {
	t.Helper()
	testkit.Eventually(t, func() bool {
		_, err := asked.Drain(t.Context(), serverID)
		assert.NoError(t, err)
		defer func() {
			_, err := asked.Resume(t.Context(), serverID)
			assert.NoError(t, err)
		}()
		select {
		case change := <-changes:
			return change.Kind == fleet.ChangeDraining
		case <-time.After(time.Second):
			return false
		}
	}, "the change that says that the server drains")
}

// testFleetRules starts a server as the user "server" and queries it as the users "viewer" and
// "operator". tapDenied is set if the rules deny taps to viewers.
func testFleetRules(t *testing.T, url string, tapDenied bool) {
	t.Helper()
	connect := func(user string) bus.Bus {
		b, err := bus.Open(t.Context(), strings.Replace(url, "://", "://"+user+":secret@", 1)+patiently)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b
	}
	served, _ := testkit.Serve(t, connect("server"), dynamic.Handlers{"NormalRPC": dynamic.Unary(testkit.Echo)})
	_, err := fleet.Serve(served,
		fleet.WithTap(),
		fleet.WithAuthorize(func(context.Context, fleet.Verb) error { return nil }),
		fleet.WithAdmin(fleet.LogLevel(new(slog.LevelVar))),
	)
	require.NoError(t, err)
	for _, user := range []string{"viewer", "operator"} {
		b := connect(user)
		reg := registry.New()
		_, err := reg.Register(testkit.Descriptor())
		require.NoError(t, err)
		conn, err := dynamic.NewConn(b, reg, dynamic.WithClientTimeout(patient), dynamic.WithSelectionTimeout(patient))
		require.NoError(t, err)
		asked, err := fleet.New(conn)
		require.NoError(t, err)
		changes, err := asked.Changes(t.Context())
		require.NoError(t, err, user)

		// Repeat the query, because the server is missing from the result if it does not answer in
		// time.
		testkit.Eventually(t, func() bool {
			servers := 0
			for s, err := range asked.Servers(t.Context(), fleet.Parts(fleet.PartStats)) {
				assert.NoError(t, err, user)
				assert.Equal(t, served.ID(), s.ID)
				servers++
			}
			return servers == 1
		}, user+" sees the server")
		testkit.Eventually(t, func() bool {
			_, err := asked.Registry(t.Context(), "MyService")
			assert.Contains(t, []errors.ErrorCode{errors.OK, errors.NotFound}, testkit.Code(err), user)
			return err == nil
		}, user+" sees the registry")

		_, err = asked.SetLogLevel(t.Context(), served.ID(), slog.LevelWarn)
		tap, tapErr := asked.Tap(t.Context(), served.ID(), fleet.TapRequest{})
		if tapErr == nil {
			require.NoError(t, tap.Close())
		}
		if user == "viewer" {
			assert.Equal(t, errors.PermissionDenied, testkit.Code(err), "viewers may change nothing")
			assert.Equal(t, tapDenied, tapErr != nil, "tap of a viewer: %v", tapErr)
		} else {
			require.NoError(t, err)
			require.NoError(t, tapErr)
			requireDraining(t, asked, served.ID(), changes.Channel())
		}
		_, err = dynamic.NewClient[*api.MyRequest, *api.MyResponse](conn, testkit.Method("NormalRPC"))
		assert.Equal(t, errors.PermissionDenied, testkit.Code(err), "%s may not call other services", user)
		require.NoError(t, changes.Close())
		require.NoError(t, conn.Close())
	}
}
