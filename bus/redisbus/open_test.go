package redisbus_test

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// requireExchange opens two buses, each with one of the URLs, and requires that one delivers a
// frame to the other.
func requireExchange(t *testing.T, from, to string) {
	t.Helper()
	channel := bus.Channel{Name: "open|test"}
	sender, err := bus.Open(t.Context(), from)
	require.NoError(t, err)
	defer sender.Close()
	receiver, err := bus.Open(t.Context(), to)
	require.NoError(t, err)
	defer receiver.Close()

	got := make(chan string, 1)
	_, err = receiver.Subscribe(t.Context(), channel, bus.Broadcast, func(frame []byte) { got <- string(frame) })
	require.NoError(t, err)
	require.NoError(t, sender.Publish(t.Context(), channel, []byte("hello"), nil))
	assert.Equal(t, "hello", <-got)
}

func TestOpen_Single(t *testing.T) {
	t.Parallel()
	url := testenv.Redis(t).URL()
	requireExchange(t, url, url+"/1?protocol=3&probe_interval=11s&connect_timeout=12s&publish_queue=8&max_frame_size=4096")
	requireExchange(t, url+"?prefix=a", url+"?prefix=a&pool_size=3")
	requireExchange(t, url+"?sharded=true", url+"?sharded=true&client_name=x")
}

func TestOpen_Password(t *testing.T) {
	t.Parallel()
	address := testenv.Redis(t, "--user", "ada", "on", ">lovelace", "~*", "&*", "+@all").Addr()
	requireExchange(t, "redis://ada:lovelace@"+address, "redis://"+address)
	_, err := bus.Open(t.Context(), "redis://ada:byron@"+address)
	require.ErrorContains(t, err, "cannot connect to redis at "+address+": WRONGPASS")
	require.ErrorContains(t, err, "check the user name and the password")
	assert.NotContains(t, err.Error(), "byron")
	requireCode(t, errors.Unauthenticated, err)
}

// If Open cannot connect because of a likely mistake, the error must contain the address and say
// what to check.
func TestOpen_Advice(t *testing.T) {
	t.Parallel()
	answering := func(reply string) string {
		_, client := newFakeRedis(t, func(w *bufio.Writer, _ []string) bool {
			_, err := w.WriteString(reply + "\r\n")
			return assert.NoError(t, err)
		})
		return client.Options().Addr
	}
	plain, encrypted := testenv.Redis(t).Addr(), testenv.RedisTLS(t, testenv.NewCertificate(t)).Addr()
	for _, tt := range []struct{ name, scheme, address, want string }{
		{"password missing", "redis", answering("-NOAUTH Authentication required."), "the server requires a password"},
		{"not Redis", "redis", answering("HTTP/1.1 400 Bad Request"), "check that this is the address of a Redis server"},
		{"TLS missing", "redis", encrypted, "if the server uses TLS, the scheme is rediss instead of redis"},
		{"private authority", "rediss", encrypted, "set tls_ca to the file with its certificate"},
		{"no TLS", "rediss", plain, "if the server does not use TLS, the scheme is redis instead of rediss"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := bus.Open(t.Context(), tt.scheme+"://:secret@"+tt.address+"?connect_timeout=500ms&dial_timeout=1m")
			assert.Less(t, time.Since(start), 30*time.Second)
			require.ErrorContains(t, err, "redis bus: cannot connect to redis at "+tt.address+": ")
			require.ErrorContains(t, err, tt.want)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestOpen_TLS(t *testing.T) {
	t.Parallel()
	url := "rediss://" + testenv.RedisTLS(t, testenv.NewCertificate(t)).Addr()
	requireExchange(t, url+"?skip_verify=true", url+"?skip_verify=true")
	_, err := bus.Open(t.Context(), url)
	require.ErrorContains(t, err, "certificate")
}

func TestOpen_TLSFiles(t *testing.T) {
	t.Parallel()
	certificate, other := testenv.NewCertificate(t), testenv.NewCertificate(t)
	address := testenv.RedisTLS(t, certificate, "--tls-auth-clients", "yes").Addr()
	files := "tls_ca=" + certificate.File + "&tls_cert=" + certificate.File + "&tls_key=" + certificate.KeyFile
	requireExchange(t, "rediss://"+address+"?"+files, "valkeys://"+address+"/1?probe_interval=1s&"+files)
	for parameters, want := range map[string]string{
		"tls_ca=" + other.File: "certificate",
		// The client has no certificate. Redis may reset the connection before it sends the reason,
		// so the text of the error is not checked.
		"tls_ca=" + certificate.File: "",
		"tls_ca=" + certificate.File + "&tls_cert=" + other.File + "&tls_key=" + other.KeyFile: "",
	} {
		_, err := bus.Open(t.Context(), "rediss://"+address+"?"+parameters)
		require.ErrorContains(t, err, want)
		requireCode(t, errors.Unavailable, err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, url := range []string{
		"rediss://127.0.0.1:1?", "rediss-cluster://127.0.0.1:1?", "rediss-sentinel://127.0.0.1:1?master_name=m&",
	} {
		for parameters, want := range map[string]string{
			"tls_ca=/no/file":                         "parameter tls_ca: open /no/file",
			"tls_ca=":                                 "parameter tls_ca must be the name of a file",
			"tls_ca=" + empty:                         "no certificate",
			"tls_cert=" + certificate.File:            "tls_cert and tls_key need each other",
			"tls_key=" + certificate.KeyFile:          "tls_cert and tls_key need each other",
			"tls_cert=/no/file&tls_key=" + other.File: "parameter tls_cert or tls_key: open /no/file",
			"tls_cert=" + certificate.File + "&tls_key=" + other.KeyFile: "does not match",
		} {
			_, err := bus.Open(t.Context(), url+parameters)
			require.ErrorContains(t, err, want, url+parameters)
			requireCode(t, errors.InvalidArgument, err)
		}
	}
	_, err := bus.Open(t.Context(), "redis://127.0.0.1:1?"+files)
	require.ErrorContains(t, err, "need TLS")
}

func TestOpen_UnixSocket(t *testing.T) {
	t.Parallel()
	directory, err := os.MkdirTemp("", "redis") //nolint:usetesting // the path of a socket has at most 107 bytes
	require.NoError(t, err)
	defer func() { require.NoError(t, os.RemoveAll(directory)) }()
	socket := filepath.Join(directory, "redis.sock")
	server := testenv.Redis(t, "--unixsocket", socket, "--user", "ada", "on", ">love/lace", "~*", "&*", "+@all")
	requireExchange(t, "unix://"+socket, server.URL())
	requireExchange(t, "redis+unix://ada:love%2Flace@"+socket+"?db=1&prefix=p", "valkey+unix://"+socket+"?prefix=p")
	_, err = bus.Open(t.Context(), "unix://ada:byron@"+socket)
	require.ErrorContains(t, err, "WRONGPASS")
	assert.NotContains(t, err.Error(), "byron")
	for _, url := range []string{"unix://", "unix://secret/redis.sock", "unix://:secret@host/redis.sock", "redis+unix://secret"} {
		_, err := bus.Open(t.Context(), url)
		require.ErrorContains(t, err, "want the path of a socket", url)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestOpen_Valkey(t *testing.T) {
	t.Parallel()
	url := testenv.Redis(t).URL()
	requireExchange(t, strings.Replace(url, "redis", "valkey", 1), url)
	for scheme, want := range map[string]string{"valkey-sentinel": "master_name is missing", "valkeys-cluster": "refused"} {
		_, err := bus.Open(t.Context(), scheme+"://127.0.0.1:1")
		require.ErrorContains(t, err, want)
	}
}

func TestOpen_Sentinel(t *testing.T) {
	t.Parallel()
	servers := testenv.RedisSentinel(t)
	url := "redis-sentinel://" + servers.SentinelAddr() + "?master_name=" + servers.MasterName()
	requireExchange(t, url, servers.Master().URL())
}

func TestOpen_Cluster(t *testing.T) {
	t.Parallel()
	addresses := testenv.RedisCluster(t).Addrs()
	requireExchange(t, "redis-cluster://"+strings.Join(addresses, ","), "redis-cluster://"+addresses[1])
	testClusterInspection(t, addresses)
	for name, query := range map[string]string{"Plain": "", "Prefix": "?prefix=fleet:", "Sharded": "?sharded=true"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bustest.Run(t, bustest.Network{
				Connect: func(t testing.TB) bus.Bus {
					b, err := bus.Open(context.Background(), "redis-cluster://"+addresses[0]+query)
					require.NoError(t, err)
					return b
				},
				CountsReceivers:      name == "Sharded",
				CountsSubscriptions:  true,
				DetectsNoSubscribers: name == "Sharded",
				UnevenQueue:          true,
			})
		})
	}
}

func TestOpen_Errors(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis://":                                                        "host is missing",
		"redis://user:secret@localhost:1/x":                               "invalid database number",
		"redis://user:secret@localhost:1?nosuch=1":                        "nosuch",
		"redis://user:secret@localhost:1?publish_queue=x":                 "parameter publish_queue",
		"redis://user:secret@localhost:1?publish_queue=0":                 "publish queue size 0 is not positive",
		"redis://user:secret@localhost:1?probe_interval=1":                "parameter probe_interval",
		"redis://user:secret@localhost:1,localhost:2":                     "need the scheme redis-cluster:// or redis-sentinel://",
		"redis-sentinel://user:secret@localhost:1":                        "master_name is missing",
		"redis-cluster://localhost:1?sharded=perhaps":                     "parameter sharded",
		"rediss-sentinel://localhost:1?master_name=m&route_randomly=true": "route_randomly do not apply",
	} {
		_, err := bus.Open(t.Context(), url)
		require.ErrorContains(t, err, want, url)
		assert.NotContains(t, err.Error(), "secret")
		requireCode(t, errors.InvalidArgument, err)
	}
}

func TestOpen_ConnectionRefused(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	server.Kill()
	_, err := bus.Open(t.Context(), strings.Replace(server.URL(), "redis://", "redis://user:secret@", 1))
	require.ErrorContains(t, err, "connection refused")
	assert.NotContains(t, err.Error(), "secret")
	requireCode(t, errors.Unavailable, err)
}

func requireCode(t testing.TB, code errors.ErrorCode, err error) {
	t.Helper()
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok, "%T: %v", err, err)
	require.Equal(t, code, coded.Code(), "%v", err)
}

func TestOpen_Logger(t *testing.T) {
	t.Parallel()
	logger := slog.New(slog.DiscardHandler)
	b, err := bus.Open(t.Context(), testenv.Redis(t).URL(), bus.WithLogger(logger))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	assert.Same(t, logger, bus.LoggerOf(b))
}
