package main

import (
	"os/exec"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// These are the names of the buses.
const (
	onLocal = "local"
	onNATS  = "nats"
	onRedis = "redis"
)

// brokers holds the addresses of the running brokers. Each broker is a separate process that
// listens on a loopback port. The brokers have default settings, except that Redis persistence is
// disabled.
type brokers struct {
	// urls contains the URL of each broker, keyed by the name of the bus.
	urls      map[string]string
	redisAddr string
}

// startBrokers starts the brokers that the benchmarks in rows use. If Redis is needed but
// redis-server is not installed, startBrokers ends the stage with an error. It does not fall back
// to miniredis, because the measurements would be meaningless.
func startBrokers(s *stage, rows []*row) *brokers {
	b := &brokers{urls: map[string]string{}}
	for _, r := range rows {
		if b.urls[r.bus] != "" {
			continue
		}
		switch r.bus {
		case onNATS:
			b.urls[onNATS] = testenv.NATSProcess(s).URL()
		case onRedis:
			if _, err := exec.LookPath("redis-server"); err != nil {
				s.Fatalf("rows of redis need redis-server: install it, or exclude these rows with -run: %w", err)
			}
			server := testenv.Redis(s)
			b.urls[onRedis], b.redisAddr = server.URL(), server.Addr()
		}
	}
	return b
}
