//go:build chaos && unix

package long_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

const (
	// standstill is how long the process is stopped. It is longer than psrpc's locks live, and
	// shorter than the timeout of the requests.
	standstill, standstillTimeout = 7 * time.Second, 15 * time.Second
	standstillFrames              = 300
	// consumerURL is the environment variable that contains the bus URL for the child processes.
	consumerURL = "CHAOS_CONSUMER_URL"
	endOfTest   = "end"
)

// A process is stopped for longer than psrpc's locks live, and then continued. It must not handle
// requests and updates that another process has handled.
func TestStoppedProcess(t *testing.T) {
	t.Parallel()
	url := "redis://" + testenv.Redis(t).Addr()
	b, err := bus.Open(t.Context(), url)
	require.NoError(t, err)
	defer b.Close()
	conn := testkit.Conn(t, b)
	publish := func(method, text string) {
		require.NoError(t, dynamic.Publish(t.Context(), conn, testkit.Method(method), &api.MyUpdate{Id: text}))
	}
	handled := &runs{count: map[string]int{}}
	stopped := startConsumer(t, url, handled)
	running := startConsumer(t, url, handled)

	require.NoError(t, stopped.Process.Signal(syscall.SIGSTOP))
	stoppedAt := time.Now()
	client := testkit.Caller(t, conn, "NormalRPC")
	var calls sync.WaitGroup
	for i := range standstillFrames {
		publish("ProcessUpdate", "update "+strconv.Itoa(i))
		calls.Go(func() {
			_, err := client.Call(t.Context(), &api.MyRequest{Name: "request " + strconv.Itoa(i)},
				dynamic.WithRequestTimeout(standstillTimeout))
			assert.NoError(t, err)
		})
	}
	calls.Wait()
	pause(standstill - time.Since(stoppedAt))
	require.NoError(t, stopped.Process.Signal(syscall.SIGCONT))

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		assert.NoError(t, stopped.Wait())
		assert.NoError(t, running.Wait())
	}()
	// Repeat the last update until both processes have received it, because the stopped process may
	// still be reconnecting.
	for waiting := true; waiting; {
		publish("UpdateState", endOfTest)
		select {
		case <-ended:
			waiting = false
		case <-time.After(100 * time.Millisecond):
		}
	}
	twice, lost := handled.judge(standstillFrames)
	t.Logf("%d requests and %d updates while one of two processes stood still for %v: twice %d, lost %d",
		standstillFrames, standstillFrames, standstill, twice, lost)
	assert.Zero(t, twice)
	assert.Zero(t, lost)
}

// runs counts how many times the processes handled each request and each update.
type runs struct {
	mu    sync.Mutex
	count map[string]int
}

func (r *runs) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count[what]++
}

// judge returns how many requests and updates were handled more than once, and how many were never
// handled. n is the number of requests, which is also the number of updates.
func (r *runs) judge(n int) (twice, lost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range n {
		for _, kind := range []string{"request ", "update "} {
			switch count := r.count[kind+strconv.Itoa(i)]; {
			case count == 0:
				lost++
			case count > 1:
				twice++
			}
		}
	}
	return twice, lost
}

// startConsumer starts a child process that runs TestConsumerProcess. Each request and update that
// the process handles is added to handled.
func startConsumer(t *testing.T, url string, handled *runs) *exec.Cmd {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestConsumerProcess$")
	child.Env = append(os.Environ(), consumerURL+"="+url)
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	child.Stdout, child.Stderr = writer, os.Stderr
	require.NoError(t, child.Start())
	require.NoError(t, writer.Close())
	lines := bufio.NewScanner(reader)
	require.True(t, lines.Scan(), "the process is ready")
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines.Scan() {
			handled.add(lines.Text())
		}
	}()
	t.Cleanup(func() {
		_ = child.Process.Kill() // ignore the error, because the process may have ended
		<-read
		_ = reader.Close()
	})
	return child
}

// TestConsumerProcess runs in the child processes of TestStoppedProcess. It prints a line for each
// request and update that it handles, and ends when it receives the update endOfTest.
func TestConsumerProcess(t *testing.T) {
	url := os.Getenv(consumerURL)
	if url == "" {
		t.Skip("is run by other tests, in a process of its own")
	}
	b, err := bus.Open(t.Context(), url)
	require.NoError(t, err)
	conn := testkit.Conn(t, b)
	server, _ := testkit.Serve(t, b, dynamic.Handlers{
		"NormalRPC": dynamic.Unary(func(_ context.Context, request *api.MyRequest) (*api.MyResponse, error) {
			fmt.Println(request.GetName())
			return &api.MyResponse{}, nil
		}),
	})
	state, err := testkit.Subscriber(t, conn, "UpdateState").Subscribe(t.Context())
	require.NoError(t, err)
	work, err := testkit.Subscriber(t, conn, "ProcessUpdate").Subscribe(t.Context())
	require.NoError(t, err)
	var worker sync.WaitGroup
	worker.Go(func() {
		for update := range work.Channel() {
			fmt.Println(update.GetId())
		}
	})
	fmt.Println("ready")
	for update := range state.Channel() {
		if update.GetId() == endOfTest {
			break
		}
	}
	require.NoError(t, work.Close())
	worker.Wait()
	require.NoError(t, server.Shutdown(t.Context()))
	require.NoError(t, conn.Close())
	require.NoError(t, b.Close())
	os.Exit(0) // exit here, so that the test framework prints nothing
}
