//go:build !psrpc_oldest

package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// The command line must show psrpc servers, which do not answer queries of a fleet. It must find
// out who would take a request without running it.
func TestCommand_PsrpcServers(t *testing.T) {
	t.Parallel()
	command := buildCommand(t)
	for broker, start := range map[string]func(t *testing.T) (b broker, url string){"Redis": startRedis, "NATS": startMonitoredNATS} {
		for name, f := range map[string]features{"without skip-claim": {}, "with skip-claim": {skipClaim: true, skipped: new(atomic.Int64)}} {
			t.Run(broker+" "+name, func(t *testing.T) {
				t.Parallel()
				b, url := start(t)
				var ran runs
				for server, affinity := range map[string]float32{"A": 0.25, "B": 0.75, "C": -1} {
					h := ran.counted(answers(server))
					h.affinity, h.room = affinity, server
					psrpcWith(f).server(t, b, h)
				}
				c := cli{command, url}
				c.requireList(t)
				c.requireWho(t)
				ran.requireNone(t)
				if f.skipped != nil {
					assert.Zero(t, f.skipped.Load())
				}
			})
		}
	}
}

// cli runs the command line on a bus.
type cli struct{ command, url string }

func (c cli) requireList(t *testing.T) {
	t.Helper()
	type service struct {
		Name  string `json:"name"`
		Psrpc int    `json:"psrpc"`
	}
	var listed struct {
		Services []service `json:"services"`
	}
	stdout, exit := c.run(t, "list", "--scan", "-o", "json")
	require.Equal(t, 0, exit)
	require.NoError(t, json.Unmarshal(stdout, &listed), "%s", stdout)
	assert.Contains(t, listed.Services, service{"Peer", 3}, "%s", stdout)
	var named []struct {
		Server string `json:"server"`
	}
	stdout, exit = c.run(t, "list", "Peer", "--psrpc", "-p", "interop.proto", "-o", "json")
	require.Equal(t, 0, exit)
	require.NoError(t, json.Unmarshal(stdout, &named), "%s", stdout)
	assert.Len(t, named, 2, "the third server declines every request")
}

func (c cli) requireWho(t *testing.T) {
	t.Helper()
	var who struct {
		Candidates []struct {
			Server   string  `json:"server"`
			Affinity float32 `json:"affinity"`
			Taken    bool    `json:"taken"`
		} `json:"candidates"`
	}
	stdout, exit := c.run(t, "who", "Peer/Best", `"x"`, "-p", "interop.proto", "-o", "json")
	require.Equal(t, 0, exit)
	require.NoError(t, json.Unmarshal(stdout, &who), "%s", stdout)
	require.Len(t, who.Candidates, 2, "%s", stdout)
	assert.InDelta(t, 0.75, who.Candidates[0].Affinity, 0)
	assert.True(t, who.Candidates[0].Taken)
	assert.InDelta(t, 0.25, who.Candidates[1].Affinity, 0)
	for _, method := range []string{"Every", "Feed"} {
		_, exit := c.run(t, "who", "Peer/"+method, `"x"`, "-p", "interop.proto")
		assert.Equal(t, 2, exit, "the servers of %s do not claim requests: they would run it", method)
	}
	stdout, exit = c.run(t, "who", "Peer/Queue", `"x"`, "-p", "interop.proto", "-o", "json")
	require.Equal(t, 0, exit)
	require.NoError(t, json.Unmarshal(stdout, &who), "%s", stdout)
	assert.NotEmpty(t, who.Candidates, "%s", stdout)
}

// cliTimeout is how long the command line waits for answers. psrpc servers that decline a request send
// none, so commands may last that long.
const cliTimeout = 6 * time.Second

// run runs the command line with an empty configuration. It returns the output and the exit code.
func (c cli) run(t *testing.T, args ...string) (stdout []byte, exit int) {
	t.Helper()
	args = append([]string{"--timeout", cliTimeout.String()}, args...)
	command := exec.CommandContext(t.Context(), c.command, args...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	command.Env = []string{"PSRPC_BUS=" + c.url, "HOME=" + t.TempDir()}
	stdout, err := command.Output()
	t.Logf("psrpc %v\n%s%s", args, stdout, stderr.Bytes())
	if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
		return stdout, ended.ExitCode()
	}
	require.NoError(t, err)
	return stdout, 0
}

// buildCommand builds the command line of this repository. It returns the path of the program.
func buildCommand(t *testing.T) string {
	t.Helper()
	path := t.TempDir() + "/psrpc"
	build := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "build", "-o", path, "./cmd/psrpc")
	build.Dir = "../.."
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return path
}

func startRedis(t *testing.T) (b broker, url string) {
	t.Helper()
	server := testenv.Redis(t)
	return redisBroker{server}, "redis://" + server.Addr()
}

// startMonitoredNATS starts a NATS server with a monitoring endpoint, which lists the
// subscriptions.
func startMonitoredNATS(t *testing.T) (b broker, url string) {
	t.Helper()
	nats := testenv.NATS(t, func(o *server.Options) { o.HTTPHost, o.HTTPPort = "127.0.0.1", server.RANDOM_PORT })
	return natsBroker{nats}, nats.URL() + "?monitor=http://" + nats.Server().MonitorAddr().String()
}

// requireNone fails the test if a request has run.
func (r *runs) requireNone(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Empty(t, r.times, "requests that were run")
}
