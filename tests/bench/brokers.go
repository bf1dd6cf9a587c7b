package main

import (
	"os/exec"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// The buses of rows.
const (
	onLocal = "local"
	onNATS  = "nats"
	onRedis = "redis"
)

// brokers are processes on loopback ports, with default settings except that Redis does not
// persist.
type brokers struct {
	urls      map[string]string // by bus
	redisAddr string
}

// startBrokers starts the brokers that the rows need. It fails without a real redis-server, because
// figures of the in-memory stand-in would be meaningless.
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
