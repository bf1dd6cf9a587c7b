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
	// portFlag is the flag of redis-server and nats-server for the port.
	portFlag = "--port"
)

// Ports are chosen from a range that contains no ephemeral ports and no standard ports of brokers.
// While a server with an ephemeral port is down, the kernel may give its port to an outgoing
// connection, even to that of a client that tries to reach the server: TCP allows a socket to
// connect to itself.
const (
	firstPort = 20000
	portCount = 6000
)

// reservedPorts contains the ports in use by tests of this process. A port stays reserved while
// nothing listens on it, so that a stopped server or a proxy that refuses connections finds its
// port free.
var reservedPorts sync.Map

// freePort returns a port on which no process listens. Another process may take it at any time, so
// callers must be able to try another one.
func freePort(tb testing.TB) int {
	tb.Helper()
	listener := listen(tb)
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	return port
}

// listen listens on a random port, and reserves it until the test ends.
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
