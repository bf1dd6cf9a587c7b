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

// brokers are processes on loopback ports, with their default settings but for Redis' persistence.
type brokers struct {
	urls      map[string]string // by bus
	redisAddr string
}

// startBrokers starts those that the rows need. A stand-in for Redis would measure nothing.
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
				s.Fatalf("install redis-server, or leave its rows out with -run: %w", err)
			}
			server := testenv.Redis(s)
			b.urls[onRedis], b.redisAddr = server.URL(), server.Addr()
		}
	}
	return b
}
