package testenv

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

const (
	host = "127.0.0.1"
	// portFlag is the flag that sets the port of redis-server and of nats-server.
	portFlag = "--port"
)

// Ports are chosen from a range that contains neither ephemeral ports nor the standard ports of
// brokers. If a server had an ephemeral port, the kernel could assign the port to an outgoing
// connection while the server is down. Even a client that tries to reach the server could get the
// port, because TCP allows a socket to connect to itself.
const (
	firstPort = 20000
	portCount = 6000
)

// reservedPorts contains the ports used by the tests of this process. A port stays reserved even
// while nothing listens on it. A stopped server, or a proxy that refuses connections, can therefore
// listen on its port again.
var reservedPorts sync.Map

// freePort returns a port on which no process is listening. Another process may take the port at
// any time, so callers must be prepared to try another one.
func freePort(tb testing.TB) int {
	tb.Helper()
	listener := listen(tb)
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	return port
}

// listen listens on a random port and reserves the port until the test ends.
func listen(tb testing.TB) net.Listener {
	tb.Helper()
	var err error
	for range 100 {
		port := firstPort + rand.IntN(portCount) //nolint:gosec // not a secret
		if _, used := reservedPorts.LoadOrStore(port, true); used {
			continue
		}
		var listener net.Listener
		if listener, err = listenOn(loopback(port)); err == nil {
			tb.Cleanup(func() { reservedPorts.Delete(port) })
			return listener
		}
		reservedPorts.Delete(port)
	}
	tb.Fatalf("no free port from %d to %d: %v", firstPort, firstPort+portCount, err)
	return nil
}

func listenOn(addr string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
}

func loopback(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
