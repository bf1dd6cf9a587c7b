package natsbus

import (
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
)

// minReconnectDelay and maxReconnectDelay bound the pause before all servers are tried again.
const minReconnectDelay, maxReconnectDelay = 25 * time.Millisecond, 400 * time.Millisecond

// ConnOptions returns options for a connection that is made for a bus: it reconnects soon and never gives up; it keeps
// nothing that is published while it is disconnected; and it does not wait long for a server that has stopped reading.
// Others may follow them:
//
//	nc, err := nats.Connect(url, append(natsbus.ConnOptions(), nats.UserCredentials(file))...)
func ConnOptions() []nats.Option { return connOptions(DefaultProbeInterval) }

func connOptions(probeInterval time.Duration) []nats.Option {
	return []nats.Option{
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.IgnoreAuthErrorAbort(), // a server that restarts may not know its users at once
		nats.ReconnectBufSize(-1),
		nats.FlusherTimeout(bulkFactor * probeInterval),
		nats.ReconnectOnFlusherError(),
	}
}

// reconnectDelay doubles with each attempt, and differs from process to process.
func reconnectDelay(attempts int) time.Duration {
	delay := min(minReconnectDelay<<min(attempts-1, 10), maxReconnectDelay)
	return delay/2 + rand.N(delay/2) //nolint:gosec // not a secret
}
