//go:build unix

package natsbus_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

const (
	// stoppedURL is the environment variable that contains the URL of the NATS server for the child
	// process of TestBus_StoppedProcess.
	stoppedURL = "NATSBUS_TEST_URL"
	// stoppedInterval is the probe interval of the bus in the child process.
	stoppedInterval = time.Second
	// stops is the number of times that the child process stops itself.
	stops = 3
)

// A process is stopped just after it has sent a PING, and continued after its probe interval. It
// must not consider its connection dead, because the answer has arrived in the meantime.
func TestBus_StoppedProcess(t *testing.T) {
	t.Parallel()
	server := testenv.NATSProcess(t)
	// The context kills the child process after a timeout, so that the test does not block.
	ctx, cancel := context.WithTimeout(t.Context(), 3*testTimeout)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestStoppedProcess_Child$")
	child.Env = append(os.Environ(), stoppedURL+"="+server.URL())
	output, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := make(chan string, 100)
	go func() { // this goroutine ends with the child process
		defer close(lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	for range stops {
		require.Equal(t, "stops", soon(t, lines, "stop of the child process"))
		<-time.After(stoppedInterval * 3 / 2) // the child process is stopped during this time
		// The child process prints its line before it stops, so the first signal may come too
		// early.
		for continued := false; !continued; {
			require.NoError(t, child.Process.Signal(syscall.SIGCONT))
			select {
			case line := <-lines:
				require.Equal(t, "continues", line)
				continued = true
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	require.Equal(t, "disconnects 0", soon(t, lines, "end of the child process"))
	require.NoError(t, child.Wait())
}

// stoppingDialer opens connections that stop this process after they have sent a PING.
type stoppingDialer struct{ stops atomic.Int64 }

func (d *stoppingDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return &stoppingConn{conn, d}, nil
}

type stoppingConn struct {
	net.Conn

	dialer *stoppingDialer
}

func (c *stoppingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	// The PING of the handshake follows a CONNECT in the same write.
	if bytes.HasPrefix(p, []byte("PING")) && c.dialer.stops.Add(1) <= stops {
		fmt.Println("stops")
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		fmt.Println("continues")
	}
	return n, err
}

// TestStoppedProcess_Child runs in the child process that TestBus_StoppedProcess starts and
// continues.
func TestStoppedProcess_Child(t *testing.T) {
	url := os.Getenv(stoppedURL)
	if url == "" {
		t.Skip("is run by TestBus_StoppedProcess, in a process of its own")
	}
	dialer := &stoppingDialer{}
	nc := connect(t, url, nats.SetCustomDialer(dialer))
	b := newBusOn(t, nc, natsbus.WithProbeInterval(stoppedInterval))
	// The last PING must have been answered, too.
	assert.Eventually(t, func() bool { return dialer.stops.Load() > stops+1 }, 2*testTimeout, stoppedInterval/100)
	fmt.Println("disconnects", b.Stats().Disconnects)
	os.Exit(0) // exit here, so that the test framework prints nothing
}
