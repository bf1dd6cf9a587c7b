package testenv

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// NATSServer is a NATS server that runs inside the test process.
type NATSServer struct {
	tb     testing.TB
	server *server.Server
	// options contains the options that Reload changes. The server uses a copy of them.
	options *server.Options
}

// NATS starts a server inside the test process and stops it when the test ends. By default, the
// server listens on a random loopback port, does not log, and allows clients 30 seconds to
// authenticate themselves. Each configure function may modify the server's options.
func NATS(tb testing.TB, configure ...func(*server.Options)) *NATSServer {
	tb.Helper()
	// With the default of 2 s for both timeouts, the server would close connections on a slow
	// machine.
	const timeout = 30 // in seconds
	options := &server.Options{
		Host: host, Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, AuthTimeout: timeout, TLSTimeout: timeout,
	}
	for _, change := range configure {
		change(options)
	}
	s, err := server.NewServer(options.Clone())
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
	return &NATSServer{tb: tb, server: s, options: options}
}

// URL returns the server's URL. Its scheme is tls if the server is configured for TLS, and nats
// otherwise.
func (s *NATSServer) URL() string { return s.server.ClientURL() }

// Reload changes the options of the running server, as if its configuration file had been reloaded.
// The server does not announce the change to connected clients.
func (s *NATSServer) Reload(change func(*server.Options)) {
	s.tb.Helper()
	change(s.options)
	if err := s.server.ReloadOptions(s.options.Clone()); err != nil {
		s.tb.Fatalf("NATS server: reload: %v", err)
	}
}

// Server returns the underlying server, for tests that inspect it or shut it down.
func (s *NATSServer) Server() *server.Server { return s.server }
