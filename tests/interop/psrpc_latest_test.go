//go:build !psrpc_oldest

package interop

import (
	"sync/atomic"
	"time"

	"github.com/livekit/psrpc"
	psrpcnats "github.com/livekit/psrpc/pkg/bus/natsbus"
	psrpcredis "github.com/livekit/psrpc/pkg/bus/redisbus"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
)

// psrpcVersion is the version of psrpc in go.mod.
const psrpcVersion = "v0.8.2"

func newPsrpcRedis(c redis.UniversalClient, f features) psrpc.MessageBus {
	return psrpcredis.New(c, busOptions(f)...)
}

func newPsrpcNATS(nc *nats.Conn, f features) psrpc.MessageBus {
	return psrpcnats.New(nc, busOptions(f)...)
}

func busOptions(f features) []psrpc.BusOption {
	if !f.compression {
		return nil
	}
	return []psrpc.BusOption{psrpc.WithBusCompression(psrpc.CompressionOpts{Quality: 6, Threshold: 1})}
}

func serverOptions(f features) []psrpc.ServerOption {
	if !f.skipClaim {
		return nil
	}
	return []psrpc.ServerOption{psrpc.WithServerSkipClaim(func() bool { return true }), psrpc.WithServerObserver(claims{f.skipped})}
}

// claims counts the requests that were run without a claim.
type claims struct{ skipped *atomic.Int64 }

func (claims) OnRequestReceived(psrpc.RPCInfo) {}

func (claims) OnRequestExpired(psrpc.RPCInfo, time.Duration) {}

func (c claims) OnClaim(_ psrpc.RPCInfo, outcome psrpc.ClaimOutcome, _ time.Duration) {
	if outcome == psrpc.ClaimSkipped {
		c.skipped.Add(1)
	}
}
