//go:build unix

package regression

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// This test does not run in parallel with others, because it measures the CPU time of the process.
func TestDefect22_GracefulShutdown(t *testing.T) {
	const busy = 500 * time.Millisecond // how long the last handler keeps running
	for _, on := range []func(testing.TB) testkit.Network{testkit.OnLocal, testkit.OnRedis, testkit.OnNATS} {
		network := on(t)
		t.Run(network.Name, func(t *testing.T) {
			entered, release := make(chan struct{}, 1), make(chan struct{})
			leaving, _ := testkit.Serve(t, network.Connect(t), dynamic.Handlers{
				"NormalRPC": dynamic.Unary(func(context.Context, *api.MyRequest) (*api.MyResponse, error) {
					entered <- struct{}{}
					<-release
					return &api.MyResponse{}, nil
				}),
			})
			conn := testkit.Conn(t, network.Connect(t))
			last := startCall(t, conn, "NormalRPC")
			testkit.Soon(t, entered, "the handler")
			testkit.Serve(t, network.Connect(t), testkit.Echoes()) // this server handles the requests after the shutdown
			client := testkit.Caller(t, conn, "NormalRPC")
			gone := make(chan error, 1)
			// The test waits for this goroutine.
			go func() { gone <- leaving.Shutdown(context.Background()) }()
			testkit.Eventually(t, func() bool { // wait until the other server receives all requests
				select {
				case <-entered:
					return false
				default:
					return succeed(t, client, 20)
				}
			}, "the other server")
			before := processorTime(t)
			waited := time.NewTimer(busy)
			<-waited.C
			assert.Less(t, processorTime(t)-before, busy/2)
			requireCalls(t, client, rounds)
			close(release)
			require.NoError(t, testkit.Soon(t, gone, "shutdown"))
			require.NoError(t, testkit.Soon(t, last, "the last answer"))
		})
	}
}

// succeed reports whether several calls in a row succeed. A call fails if it waits for a second.
func succeed(t *testing.T, client *dynamic.Client[*api.MyRequest, *api.MyResponse], calls int) bool {
	t.Helper()
	for range calls {
		if _, err := client.Call(t.Context(), &api.MyRequest{}, dynamic.WithRequestTimeout(time.Second)); err != nil {
			return false
		}
	}
	return true
}

// processorTime returns the CPU time that this process has used.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
