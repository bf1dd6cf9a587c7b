package natsbus

import (
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
)

// minRetry and maxRetry bound the pause before all servers are tried again.
const minRetry, maxRetry = 25 * time.Millisecond, 400 * time.Millisecond

// ConnOptions returns options for a connection that is made for a bus: it reconnects soon and never gives up; it keeps
// nothing that is published while it is disconnected; and it does not wait long for a server that has stopped reading.
// Others may follow them:
//
//	nc, err := nats.Connect(url, append(natsbus.ConnOptions(), nats.UserCredentials(file))...)
func ConnOptions() []nats.Option { return connOptions(DefaultProbeInterval) }

func connOptions(probeInterval time.Duration) []nats.Option {
	return []nats.Option{
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(retryPause),
		nats.IgnoreAuthErrorAbort(), // a server that restarts may not know its users at once
		nats.ReconnectBufSize(-1),
		nats.FlusherTimeout(bulkPatience * probeInterval),
		nats.ReconnectOnFlusherError(),
	}
}

// retryPause doubles with each attempt, and differs from process to process.
func retryPause(attempts int) time.Duration {
	pause := min(minRetry<<min(attempts-1, 10), maxRetry)
	return pause/2 + rand.N(pause/2) //nolint:gosec // not a secret
}
