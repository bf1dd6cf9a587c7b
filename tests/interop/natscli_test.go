//go:build !psrpc_oldest

package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	control "github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet/natsmicro"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// natsCLI is the NATS command line as its users install it.
const natsCLI = "github.com/nats-io/natscli/nats@v0.5.0"

// install builds a program as its users do, and returns its path. program is the path and the
// version of its package.
func install(t *testing.T, program string) string {
	t.Helper()
	folder := t.TempDir()
	install := exec.CommandContext(t.Context(), "go", "install", program)
	install.Dir = folder // outside of any module
	install.Env = append(os.Environ(), "GOBIN="+folder, "GOFLAGS=-p=2")
	output, err := install.CombinedOutput()
	require.NoError(t, err, "%s", output)
	name, _, _ := strings.Cut(path.Base(program), "@")
	return filepath.Join(folder, name)
}

// The stock NATS command line must show dynpsrpc services as micro services.
func TestNATSCommandLine(t *testing.T) {
	t.Parallel()
	program := install(t, natsCLI)
	url := testenv.NATS(t).URL()
	// Most commands last until the timeout, so they run side by side.
	start := func(arguments ...string) (output func() string) {
		t.Helper()
		command := exec.CommandContext(t.Context(), program, append([]string{"--server", url, "--timeout", "4s", "micro"}, arguments...)...)
		// Use an empty configuration instead of the user's own.
		command.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
		var buffer bytes.Buffer
		command.Stdout, command.Stderr = &buffer, &buffer
		require.NoError(t, command.Start())
		return func() string {
			t.Helper()
			require.NoError(t, command.Wait(), "%s", &buffer)
			return buffer.String()
		}
	}
	client := startMicro(t, url, "SRV_a", "SRV_b")
	for range 10 {
		answer, err := client.Call(t.Context(), wrapperspb.String("hi"))
		require.NoError(t, err)
		require.Equal(t, "hi", answer.GetValue())
	}
	_, err := client.Call(t.Context(), wrapperspb.String("fail"))
	require.Error(t, err)

	listed, listedJSON := start("ls"), start("ls", "Peer", "--json")
	shown, pinged := start("info", "Peer", "SRV_b"), start("ping", "Peer")
	counted, countedJSON := start("stats", "Peer"), start("stats", "Peer", "--json")
	table := listed()
	t.Log(table)
	for _, want := range []string{"Peer", "SRV_a", "SRV_b", "1.4.2", "interop.Peer"} {
		assert.Contains(t, table, want)
	}
	var services []micro.Info
	require.NoError(t, json.Unmarshal([]byte(listedJSON()), &services))
	require.Len(t, services, 2)

	info := shown()
	t.Log(info)
	for _, want := range []string{"Peer (SRV_b)", "interop.Peer", "shop", "Queue", "SRV.Peer", "Feed"} {
		assert.Contains(t, info, want)
	}

	var stats []micro.Stats
	require.NoError(t, json.Unmarshal([]byte(countedJSON()), &stats))
	require.Len(t, stats, 2)
	calls, failed := 0, 0
	for _, server := range stats {
		i := slices.IndexFunc(server.Endpoints, func(e *micro.EndpointStats) bool { return e.Name == "Queue" })
		require.GreaterOrEqual(t, i, 0)
		endpoint := server.Endpoints[i]
		calls += endpoint.NumRequests
		failed += endpoint.NumErrors
		assert.Equal(t, "bus", endpoint.QueueGroup)
		if endpoint.NumRequests > 0 {
			assert.Positive(t, endpoint.AverageProcessingTime)
		}
	}
	assert.Equal(t, 11, calls)
	assert.Equal(t, 1, failed)
	t.Log(counted())

	ping := pinged()
	t.Log(ping)
	assert.Equal(t, 1, strings.Count(ping, "Peer SRV_a"))
	assert.Equal(t, 1, strings.Count(ping, "Peer SRV_b"))
}

// startMicro starts servers of interop.Peer that answer NATS micro, and returns a client.
func startMicro(t *testing.T, url string, ids ...string) *dynamic.Client[*wrapperspb.StringValue, *wrapperspb.StringValue] {
	t.Helper()
	connect := func() (*nats.Conn, *natsbus.Bus) {
		nc, err := nats.Connect(url, natsbus.ConnOptions()...)
		require.NoError(t, err)
		b, err := natsbus.New(nc)
		require.NoError(t, err)
		t.Cleanup(func() {
			require.NoError(t, b.Close())
			nc.Close()
		})
		return nc, b
	}
	handle := func(_ context.Context, request *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
		if request.GetValue() == "fail" {
			return nil, errors.NewErrorf(errors.NotFound, "nothing there")
		}
		return request, nil
	}
	reg := newRegistry(t)
	for _, id := range ids {
		nc, b := connect()
		server := dynamic.NewServer(b, dynamic.WithServerID(id))
		service, err := reg.FindService(serviceName)
		require.NoError(t, err)
		_, err = server.Register(service, dynamic.Handlers{"Queue": dynamic.Unary(handle)}, dynamic.AllowMissing())
		require.NoError(t, err)
		status, err := control.Serve(server, control.WithApp("shop", "v1.4.2"))
		require.NoError(t, err)
		responder, err := natsmicro.Serve(nc, status)
		require.NoError(t, err)
		t.Cleanup(func() {
			require.NoError(t, responder.Close())
			require.NoError(t, status.Close())
			require.NoError(t, server.Shutdown(context.Background()))
		})
	}
	_, b := connect()
	conn, err := dynamic.NewConn(b, reg, dynamic.WithClientTimeout(callTimeout), dynamic.WithSelectionTimeout(callTimeout))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](conn, serviceName+"/Queue")
	require.NoError(t, err)
	return client
}
