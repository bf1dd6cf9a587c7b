package verbs_test

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// doctorVaries replaces what depends on the clocks, the speed and the ports of this machine.
var doctorVaries = []func(string) string{
	clitest.Replace(`127\.0\.0\.1:\d+`, "127.0.0.1:PORT"),
	clitest.Replace(`(PORT|local)[",]+ ?[0-9.]+ ?(ns|µs|ms|s)`, "$1, TIME"),
	clitest.Replace(`redis [0-9.]+ at`, "redis VERSION at"),
	clitest.Replace(`2h0m[23][0-9]s ahead`, "2h0m30s ahead"),
}

func TestDoctor_Golden(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]string{
		"doctor":               "doctor --for 0",
		"doctor-json":          "doctor --for 0 -o json",
		"doctor-one":           "doctor --check fleet.clock --check fleet.names",
		"doctor-unknown-check": "doctor --check fleet.clok",
		"doctor-wrong-time":    "doctor --for -1s",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clitest.Golden(t, name, run(t, shop(t), strings.Fields(args)...), doctorVaries...)
		})
	}
}

// serveHello starts a server of a small service. It answers queries of a fleet.
func serveHello(t *testing.T, url, id string) {
	t.Helper()
	b, err := bus.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"hello.proto": {Data: []byte(
		`syntax = "proto3"; package hello; message M {} service Hello { rpc Say(M) returns (M); }`)}}, "hello.proto"))
	service, err := reg.FindService("hello.Hello")
	require.NoError(t, err)
	server := dynamic.NewServer(b, dynamic.WithServerID(id), dynamic.WithServerTimeout(time.Minute))
	t.Cleanup(server.Kill)
	_, err = server.Register(service, dynamic.Handlers{
		"Say": dynamic.Raw(func(_ context.Context, _ *registry.Method, request []byte) ([]byte, error) { return request, nil }),
	})
	require.NoError(t, err)
	_, err = fleet.Serve(server)
	require.NoError(t, err)
}

// For a healthy fleet, doctor must report no problems. If the broker is down, it must end with the
// exit code for that.
func TestDoctor_Redis(t *testing.T) {
	t.Parallel()
	broker := testenv.Redis(t)
	serveHello(t, broker.URL(), "SRV_one")
	serveHello(t, broker.URL()+"?prefix=staging", "SRV_staging")
	env := clitest.Env{Vars: map[string]string{"PSRPC_BUS": clitest.Patient(broker.URL())}}
	clitest.Golden(t, "doctor-redis", clitest.Run(t, env, "", "doctor", "--for", "100ms", "--strict"), doctorVaries...)
	broker.Kill()
	down := clitest.Run(t, env, "", "doctor", "--timeout", "1s")
	assert.Equal(t, 3, down.Exit)
	assert.Empty(t, down.Stdout)
	assert.Contains(t, down.Stderr, "connection refused")
}

// If the prefix is misspelled, doctor must say which prefixes are in use, as the broker reports.
func TestDoctor_WrongPrefix(t *testing.T) {
	t.Parallel()
	broker := testenv.Redis(t)
	serveHello(t, broker.URL(), "SRV_one")
	serveHello(t, broker.URL()+"?prefix=staging:", "SRV_staging")
	env := clitest.Env{Vars: map[string]string{"PSRPC_BUS": broker.URL()}}
	result := clitest.Run(t, env, "", "doctor", "--check", "fleet.modes", "--prefix", "stagin:")
	assert.Contains(t, result.Stdout, "use prefix=staging: if you look for these servers")
	assert.Contains(t, result.Stdout, "use no prefix if you look for these servers")
}

// doctor must find servers that use the broker in another mode. To do so, it asks them in that
// mode.
func TestDoctor_OtherMode(t *testing.T) {
	t.Parallel()
	broker := testenv.NATS(t)
	serveHello(t, broker.URL(), "SRV_one")
	serveHello(t, broker.URL()+"?subject_per_method=true", "SRV_other")
	env := clitest.Env{Vars: map[string]string{"PSRPC_BUS": broker.URL()}}
	result := clitest.Run(t, env, "", "doctor", "--check", "fleet.modes")
	assert.Equal(t, 5, result.Exit)
	assert.Contains(t, result.Stdout, "1 server, such as SRV_other, use this broker with subject_per_method=true: ")
}

// doctor waits while the servers count errors. Ctrl-C must end the wait.
func TestDoctor_Interrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	result := clitest.Run(t, clitest.Env{Bus: shop(t), Context: ctx}, "", "doctor", "--for", "1h")
	assert.Equal(t, 130, result.Exit)
}
