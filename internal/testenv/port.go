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
	// portFlag is what redis-server and nats-server call it.
	portFlag = "--port"
)

// Ports are taken from a range in which the kernel looks for none on its own, and in which no broker has its
// standard port. With a port of the kernel's a server that is down could lose it to a connection from anywhere, even
// to that of a client which tries to reach the server: TCP lets a socket connect to itself.
const (
	firstPort = 20000
	portCount = 6000
)

// reservedPorts holds the ports that a test of this process uses, also while nobody listens there: a server that is down, or a
// proxy that refuses connections, must find its own free.
var reservedPorts sync.Map

// freePort returns a port on which nobody listens, for now: whoever uses it must be prepared to try another.
func freePort(tb testing.TB) int {
	tb.Helper()
	listener := listen(tb)
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	return port
}

// listen listens on a random port, which is the test's until it ends.
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
