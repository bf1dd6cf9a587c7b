package testenv

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// NATSServer is a NATS server in the test's process.
type NATSServer struct{ server *server.Server }

// NATS starts a server in the test's process and stops it when the test ends. Each configure
// function may change the server's options. Initially they are the defaults, with a random loopback
// port and without logs.
func NATS(tb testing.TB, configure ...func(*server.Options)) *NATSServer {
	tb.Helper()
	options := &server.Options{Host: host, Port: server.RANDOM_PORT, NoLog: true, NoSigs: true}
	for _, change := range configure {
		change(options)
	}
	s, err := server.NewServer(options)
	if err != nil {
		tb.Fatalf("NATS server: %v", err)
	}
	tb.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		tb.Fatalf("NATS server is not ready after %s", startTimeout)
	}
	return &NATSServer{server: s}
}

// URL returns the server's URL. Its scheme is nats, or tls if the server is configured for TLS.
func (s *NATSServer) URL() string { return s.server.ClientURL() }

// Server returns the underlying server, for tests that inspect it or shut it down.
func (s *NATSServer) Server() *server.Server { return s.server }
