//go:build unix

package redisbus_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

const (
	// stoppedAddress is the environment variable that contains the address of Redis for the child
	// process of TestBus_StoppedProcess.
	stoppedAddress  = "REDISBUS_TEST_ADDRESS"
	stoppedInterval = 200 * time.Millisecond // the probe interval of the bus in the child process
	stoppedFrames   = 300
)

// A process is stopped for several probe intervals and then continued. It must not consider its
// connections dead, and must receive all frames that were published in the meantime.
func TestBus_StoppedProcess(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	b := connect(t, server)
	// The context kills the child process after a timeout, so that the test does not block.
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestStoppedProcess_Child$")
	child.Env = append(os.Environ(), stoppedAddress+"="+server.Addr())
	output, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(output)
	requireLine := func(want string) {
		require.True(t, lines.Scan(), "waiting for %s", want)
		require.Equal(t, want, lines.Text())
	}
	requireLine("ready")
	require.NoError(t, child.Process.Signal(syscall.SIGSTOP))
	for i := range stoppedFrames {
		require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: "queue"}, fmt.Append(nil, i), nil))
	}
	<-time.After(3 * stoppedInterval) // the child process is stopped during this time
	require.NoError(t, child.Process.Signal(syscall.SIGCONT))
	for i := range stoppedFrames {
		requireLine(strconv.Itoa(i))
	}
	require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: "queue"}, []byte("end"), nil))
	requireLine("disconnects 0")
	require.NoError(t, child.Wait())
}

// TestStoppedProcess_Child runs in the child process that TestBus_StoppedProcess starts and stops.
func TestStoppedProcess_Child(t *testing.T) {
	address := os.Getenv(stoppedAddress)
	if address == "" {
		t.Skip("is run by TestBus_StoppedProcess, in a process of its own")
	}
	client := redis.NewClient(&redis.Options{Addr: address})
	b, err := redisbus.New(client, redisbus.WithProbeInterval(stoppedInterval))
	require.NoError(t, err)
	got := listen(t, b, bus.Channel{Name: "queue"}, bus.Queue)
	fmt.Println("ready")
	for frame := range got {
		if frame == "end" {
			break
		}
		fmt.Println(frame)
	}
	fmt.Println("disconnects " + strconv.FormatUint(b.Stats().Disconnects, 10))
	assert.NoError(t, b.Close())
	assert.NoError(t, client.Close())
	os.Exit(0) // exit here, so that the test framework prints nothing
}
