//go:build !psrpc_oldest

package interop

import (
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

func serverOptions(f features) (options []psrpc.ServerOption) {
	if f.skipClaim {
		options = append(options, psrpc.WithServerSkipClaim(func() bool { return true }))
	}
	if f.skipped != nil || f.decided != nil {
		options = append(options, psrpc.WithServerObserver(claims(f)))
	}
	return options
}

// claims observes the outcomes of a server's claims.
type claims features

func (claims) OnRequestReceived(psrpc.RPCInfo) {}

func (claims) OnRequestExpired(psrpc.RPCInfo, time.Duration) {}

func (c claims) OnClaim(_ psrpc.RPCInfo, outcome psrpc.ClaimOutcome, wait time.Duration) {
	if outcome == psrpc.ClaimSkipped && c.skipped != nil {
		c.skipped.Add(1)
	}
	if c.decided != nil {
		c.decided <- claimDecision{outcome.String(), wait}
	}
}
