package testenv

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// NATSServer is a NATS server inside the test's process.
type NATSServer struct{ server *server.Server }

// NATS starts a server inside the test's process, and ends it with the test. Each configure may change its options,
// which are the default ones but for the random port on the loopback interface and the lack of logs.
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

// URL returns the address as a URL of scheme nats, or tls if the server was configured so.
func (s *NATSServer) URL() string { return s.server.ClientURL() }

// Server returns the server itself, to look into it or to shut it down.
func (s *NATSServer) Server() *server.Server { return s.server }
