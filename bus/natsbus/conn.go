package natsbus

import (
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
)

// minReconnectDelay and maxReconnectDelay limit the delay before nats.go tries to connect to the
// servers again. Random jitter then shortens the delay by up to half. The upper bound is low so
// that a restarted server is found within 400 ms.
const minReconnectDelay, maxReconnectDelay = 25 * time.Millisecond, 400 * time.Millisecond

// ConnOptions returns the recommended options for a connection used by a bus. The connection
// reconnects quickly, retries forever, and does not buffer messages while it is disconnected. It
// limits how long a write blocks if the server stops reading. More options can be appended:
//
//	nc, err := nats.Connect(url, append(natsbus.ConnOptions(), nats.UserCredentials(file))...)
func ConnOptions() []nats.Option { return connOptions(DefaultProbeInterval) }

func connOptions(probeInterval time.Duration) []nats.Option {
	return []nats.Option{
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.IgnoreAuthErrorAbort(), // a restarting server may not have loaded its users yet
		nats.ReconnectBufSize(-1),
		nats.FlusherTimeout(bulkFactor * probeInterval),
		nats.ReconnectOnFlusherError(),
	}
}

// reconnectDelay returns an exponential backoff with jitter, so that the clients of a restarted
// server do not all connect at once.
func reconnectDelay(attempts int) time.Duration {
	delay := min(minReconnectDelay<<min(attempts-1, 10), maxReconnectDelay)
	return delay/2 + rand.N(delay/2) //nolint:gosec // not a secret
}
