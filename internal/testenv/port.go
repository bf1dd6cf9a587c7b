package testenv

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

const host = "127.0.0.1"

// Ports are taken from a range in which the kernel looks for none on its own, and in which no broker has its
// standard port. With a port of the kernel's a server that is down could lose it to a connection from anywhere, even
// to that of a client which tries to reach the server: TCP lets a socket connect to itself.
const (
	firstPort = 20000
	ports     = 6000
)

// freePort returns a port on which nobody listens, for now: whoever uses it must be prepared to try another.
func freePort(tb testing.TB) int {
	tb.Helper()
	listener := listen(tb)
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	return port
}

// listen listens on a random port.
func listen(tb testing.TB) net.Listener {
	tb.Helper()
	var err error
	for range 100 {
		port := firstPort + rand.IntN(ports) //nolint:gosec // not a secret
		var listener net.Listener
		if listener, err = listenOn(loopback(port)); err == nil {
			return listener
		}
	}
	tb.Fatalf("no free port from %d to %d: %v", firstPort, firstPort+ports, err)
	return nil
}

func listenOn(addr string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
}

func loopback(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
