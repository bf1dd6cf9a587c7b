package verbs_test

import (
	"embed"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/demo"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

//go:embed testdata/greeter_more.proto
var otherGreeter embed.FS

// These functions replace what differs from run to run.
var digests = clitest.Replace(`\b[0-9a-f]{8}\b`, "DIGEST")

// A call must end at its timeout if the server is frozen or its connection is half-open. It must
// fail at once if the server was killed. In all these cases, the schema comes from the cache.
func TestCall_ServerFrozenOrKilled(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) (url string){
		"nats":  func(t *testing.T) string { return testenv.NATS(t).URL() },
		"redis": func(t *testing.T) string { return testenv.Redis(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := start(t)
			scheme, address, _ := strings.Cut(url, "://")
			proxy := testenv.NewProxy(t, address)
			b, err := bus.Open(t.Context(), scheme+"://"+proxy.Addr())
			require.NoError(t, err)
			d, err := demo.Start(b, 1, nil)
			require.NoError(t, err)
			env := clitest.Env{Vars: map[string]string{"PSRPC_BUS": clitest.Patient(url), "HOME": t.TempDir()}, DefaultWait: 4 * time.Second}
			require.Equal(t, 0, clitest.Run(t, env, "", "call", "Greeter/Hello", "name=Ada").Exit)
			proxy.BlackHoleAll()
			for _, format := range []string{"table", "json"} {
				result := clitest.Run(t, env, "", "call", "Greeter/Hello", "name=Ada", "--timeout", "900ms", "-o", format)
				clitest.Golden(t, "frozen_"+name+"_"+format, result, clitest.Durations)
			}
			proxy.Refuse()
			proxy.Reset()
			result := clitest.Run(t, env, "", "call", "Greeter/Hello", "name=Ada", "-o", "json")
			clitest.Golden(t, "killed_"+name, result, clitest.Durations, digests)
			d.Close()
			require.NoError(t, b.Close())
		})
	}
}

// While a server drains, calls must go to the other servers. If there are none, the error must say
// that no server listens.
func TestCall_ServerDraining(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	d, err := demo.Start(b, 2, nil)
	require.NoError(t, err)
	t.Cleanup(func() { d.Close(); assert.NoError(t, b.Close()) })
	env := clitest.Env{Bus: b, Vars: map[string]string{"HOME": t.TempDir()}}
	require.NoError(t, d.Servers()[0].Drain(t.Context()))
	clitest.Golden(t, "draining_one", clitest.Run(t, env, "", "call", "Greeter/Hello", "name=Ada"))
	require.NoError(t, d.Servers()[1].Drain(t.Context()))
	clitest.Golden(t, "draining_all", clitest.Run(t, env, "", "call", "Greeter/Hello", "name=Ada"), clitest.Durations, digests)
	require.NoError(t, d.Servers()[1].Resume())
	clitest.Golden(t, "draining_resumed", clitest.Run(t, env, "", "call", "Greeter/Hello", "name=Ada"))
}

// If servers have two versions of a service, call and describe must name the versions, so that the
// user can choose one.
func TestCall_TwoVersions(t *testing.T) {
	t.Parallel()
	env := greeterEnv(t)
	reg := registry.New()
	require.NoError(t, reg.ParseProto(otherGreeter, "testdata/greeter_more.proto"))
	service, err := reg.FindService("greeting.Greeter")
	require.NoError(t, err)
	server := dynamic.NewServer(env.Bus, dynamic.WithServerID("greeter-new"))
	t.Cleanup(server.Kill)
	_, err = server.Register(service, dynamic.Handlers{}, dynamic.AllowMissing())
	require.NoError(t, err)
	status, err := fleet.Serve(server)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, status.Close()) })
	old, err := fleet.DigestOf(service.Descriptor())
	require.NoError(t, err)

	clitest.Golden(t, "versions_call", clitest.Run(t, env, "", "call", "Greeter/Best", "name=Ada"), digests)
	clitest.Golden(t, "versions_call_json", clitest.Run(t, env, "", "call", "Greeter/Best", "name=Ada", "-o", "json"), digests)
	clitest.Golden(t, "versions_describe", clitest.Run(t, env, "", "describe", "Greeter"), digests)
	clitest.Golden(t, "versions_chosen", clitest.Run(t, env, "", "describe", "Greeter/Best", "--digest", old.String()[:6]), digests)
	clitest.Golden(t, "versions_unknown", clitest.Run(t, env, "", "describe", "Greeter", "--digest", "ffffff"), digests)
}

// A subscription must survive an outage of its broker. What the bus logs during the outage must go
// to the standard error.
func TestSubscribe_BrokerRestarts(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	proxy := testenv.NewProxy(t, redis.Addr())
	subscribed, reconnected := make(chan struct{}), make(chan struct{})
	subscribe, reconnect := sync.OnceFunc(func() { close(subscribed) }), sync.OnceFunc(func() { close(reconnected) })
	env := clitest.Env{Vars: map[string]string{"PSRPC_BUS": "redis://" + proxy.Addr()}, OnOutput: func(text string) {
		switch {
		case strings.Contains(text, "subscribed"):
			subscribe()
		case strings.Contains(text, "reconnected"):
			reconnect()
		}
	}}
	results := make(chan clitest.Result, 1)
	go func() {
		results <- clitest.Run(t, env, "", "subscribe", "Greeter/News", "-p", "../demo/greeter.proto", "--count", "1", "-v")
	}()
	<-subscribed
	proxy.Reset()
	<-reconnected
	direct := clitest.Env{Vars: map[string]string{"PSRPC_BUS": redis.URL()}}
	for { // on a busy machine, the connection may be lost once more
		published := clitest.Run(t, direct, "", "publish", "Greeter/News", "text=back", "-p", "../demo/greeter.proto")
		require.Equal(t, 0, published.Exit, published.Stderr)
		select {
		case result := <-results:
			assert.Equal(t, 0, result.Exit)
			assert.JSONEq(t, `{"text":"back"}`, result.Stdout)
			return
		case <-time.After(5 * time.Second):
		}
	}
}
