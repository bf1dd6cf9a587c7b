package chaos_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const secret = "Zx9topsecret/hunter2"

// transcript collects everything that a program might print about a bus: log lines, events and
// errors.
type transcript struct {
	mu      sync.Mutex
	content bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.content.Write(p)
}

// print adds values to the transcript, formatted with several verbs of package fmt and with slog.
func (t *transcript) print(values ...any) {
	logger := t.logger()
	for _, value := range values {
		_, _ = fmt.Fprintf(t, "%v %+v %#v %s %d %q\n", value, value, value, value, value, value)
		logger.Info("value", "value", value)
		slog.New(slog.NewJSONHandler(t, nil)).Info("value", "value", value)
	}
}

func (t *transcript) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(t, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (t *transcript) onEvent(e bus.Event) {
	t.print(e, e.Err)
}

// requireNoSecret checks that the transcript contains neither the secret nor a part of it.
func (t *transcript) requireNoSecret(tb testing.TB) {
	tb.Helper()
	text := t.text()
	require.NotEmpty(tb, text)
	for _, part := range []string{"topsecret", "hunter2"} {
		if i := strings.Index(text, part); i >= 0 {
			require.Fail(tb, "the secret is shown", text[max(0, i-300):min(len(text), i+100)])
		}
	}
}

func (t *transcript) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.content.String()
}

// The password of the broker is changed while a bus is connected. Neither the values of the program
// nor its errors, events and log lines may contain the old password.
func TestSecrets_LiveBusIsRefused(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T, shown *transcript) (b bus.Bus, reject func(), isRefused func() bool){
		"redis": func(t *testing.T, shown *transcript) (bus.Bus, func(), func() bool) {
			t.Helper()
			s := testenv.Redis(t, "--requirepass", secret)
			client := redis.NewClient(&redis.Options{Addr: s.Addr(), Password: secret})
			t.Cleanup(func() { _ = client.Close() })
			b, err := redisbus.New(client, redisbus.WithEventHandler(shown.onEvent), redisbus.WithLogger(shown.logger()))
			require.NoError(t, err)
			admin := redis.NewClient(&redis.Options{Addr: s.Addr(), Password: secret, PoolSize: 1})
			t.Cleanup(func() { _ = admin.Close() })
			reject := func() {
				require.NoError(t, admin.ConfigSet(context.Background(), "requirepass", "changed").Err())
				require.NoError(t, admin.ClientKillByFilter(context.Background(), "SKIPME", "yes").Err())
			}
			isRefused := func() bool { // reports whether Redis has rejected the password
				failures, err := admin.Do(context.Background(), "ACL", "LOG").Slice()
				return err == nil && len(failures) > 0
			}
			return b, reject, isRefused
		},
		"nats": func(t *testing.T, shown *transcript) (bus.Bus, func(), func() bool) {
			t.Helper()
			s := testenv.NATS(t, func(o *server.Options) { o.Username, o.Password = "app", secret })
			nc, err := nats.Connect("nats://"+strings.TrimPrefix(s.URL(), "nats://"), append(natsbus.ConnOptions(), nats.UserInfo("app", secret),
				nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
			require.NoError(t, err)
			t.Cleanup(nc.Close)
			b, err := natsbus.New(nc, natsbus.WithEventHandler(shown.onEvent), natsbus.WithProbeInterval(100*time.Millisecond))
			require.NoError(t, err)
			reject := func() { s.Reload(func(o *server.Options) { o.Password = "changed" }) }
			isRefused := func() bool { return strings.Contains(shown.text(), "Authorization") }
			return b, reject, isRefused
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shown := &transcript{}
			b, reject, isRefused := open(t, shown)
			defer b.Close()
			srv := dynamic.NewServer(b, dynamic.WithLogger(shown.logger()))
			defer srv.Kill()
			conn, err := dynamic.NewConn(b, registry.New(), dynamic.WithLogger(shown.logger()))
			require.NoError(t, err)
			defer conn.Close()
			shown.print(b, srv, conn)
			shown.requireNoSecret(t)
			reject()
			require.Eventually(t, func() bool {
				err := b.Publish(context.WithoutCancel(t.Context()), bus.Channel{Name: "x"}, []byte("x"), nil)
				shown.print(err)
				return err != nil && isRefused()
			}, 20*time.Second, 10*time.Millisecond)
			shown.print(b, srv, conn)
			shown.requireNoSecret(t)
		})
	}
}

// If a bus was opened with a URL that contains a password, printing the bus must not reveal the
// password. Neither must printing a server, a conn or a plugin loader that uses the bus.
func TestSecrets_OpenedBuses(t *testing.T) {
	t.Parallel()
	encoded := strings.ReplaceAll(secret, "/", "%2F")
	redisAddr := testenv.Redis(t, "--requirepass", secret).Addr()
	natsURL := testenv.NATS(t, func(o *server.Options) { o.Username, o.Password = "app", secret }).URL()
	tokenURL := testenv.NATS(t, func(o *server.Options) { o.Authorization = secret }).URL()
	natsAddr := func(url string) string { return url[strings.LastIndexAny(url, "@/")+1:] }
	for _, url := range []string{
		"redis://:" + encoded + "@" + redisAddr, "redis://" + redisAddr + "?password=" + encoded,
		"nats://app:" + encoded + "@" + natsAddr(natsURL), "nats://" + encoded + "@" + natsAddr(tokenURL),
	} {
		shown := &transcript{}
		b, err := bus.Open(t.Context(), url)
		if err != nil {
			shown.print(err)
			shown.requireNoSecret(t)
			continue
		}
		srv := dynamic.NewServer(b)
		conn, err := dynamic.NewConn(b, registry.New())
		require.NoError(t, err)
		loader, err := process.NewLoader(url, process.WithLogger(shown.logger()))
		require.NoError(t, err)
		host, err := plugin.NewHost(srv, plugin.WithLoaders(loader), plugin.WithLogger(shown.logger()))
		require.NoError(t, err)
		shown.print(b, srv, conn, loader, *loader, host, plugin.WithLoaders(loader))
		shown.requireNoSecret(t)
		host.Close()
		srv.Kill()
		require.NoError(t, conn.Close())
		require.NoError(t, b.Close())
	}
}

// Redis repeats the arguments of an unknown command in its error. If it does not know the command
// AUTH, this error contains the password. The error of bus.Open must not contain it.
func TestSecrets_BrokerRepeatsTheArguments(t *testing.T) {
	t.Parallel()
	encoded := strings.ReplaceAll(secret, "/", "%2F")
	renamed := testenv.Redis(t, "--rename-command", "AUTH", "LOGIN", "--rename-command", "HELLO", "GREET").Addr()
	parrot := startParrot(t)
	for _, address := range []string{renamed, parrot} {
		for _, form := range []string{
			"redis://:%s@%s", "redis://app:%s@%s", "redis-cluster://app:%s@%s",
			"redis-sentinel://app:%s@%s?master_name=m", "redis-sentinel://%[2]s?master_name=m&sentinel_password=%[1]s",
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := bus.Open(ctx, fmt.Sprintf(form, encoded, address))
			cancel()
			if !assert.Error(t, err, form) {
				continue
			}
			shown := &transcript{}
			shown.print(err)
			shown.requireNoSecret(t)
		}
	}
}

// startParrot starts a server that responds to each line with an error. The error contains all
// lines that the server has received on the connection.
func startParrot(t *testing.T) (address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				stop := context.AfterFunc(t.Context(), func() { _ = c.Close() })
				defer stop()
				var heard []string
				for lines := bufio.NewScanner(c); lines.Scan(); {
					if line := lines.Text(); !strings.HasPrefix(line, "*") && !strings.HasPrefix(line, "$") {
						heard = append(heard, "'"+line+"'")
					}
					_, _ = fmt.Fprintf(c, "-ERR unknown command, with args beginning with: %s\r\n", strings.Join(heard, " "))
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}
