package natsbus

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/flush"
	"github.com/dynpsrpc/dynpsrpc/internal/backoff"
)

// reconnectBackoff determines the delay before nats.go tries to connect to the servers again. The
// maximum is low so that a restarted server is found within 400 ms.
var reconnectBackoff = backoff.Backoff{Min: 25 * time.Millisecond, Max: 400 * time.Millisecond}

// ConnOptions returns the recommended options for a connection used by a bus. The connection
// reconnects quickly, retries forever, and does not buffer messages while it is disconnected. It
// limits how long a write blocks if the server stops reading. More options can be appended:
//
//	nc, err := nats.Connect(url, append(natsbus.ConnOptions(), nats.UserCredentials(file))...)
func ConnOptions() []nats.Option { return connOptions(DefaultProbeInterval) }

func connOptions(probeInterval time.Duration) []nats.Option {
	return []nats.Option{
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectBackoff.Jittered),
		nats.IgnoreAuthErrorAbort(), // a restarting server may not have loaded its users yet
		nats.ReconnectBufSize(-1),
		nats.FlusherTimeout(flush.BulkFactor * probeInterval),
		nats.ReconnectOnFlusherError(),
	}
}
