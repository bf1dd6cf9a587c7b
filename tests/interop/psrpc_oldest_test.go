//go:build psrpc_oldest

package interop

import (
	"github.com/livekit/psrpc"
	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
)

// psrpcVersion is the version of psrpc in oldest.mod. This version has no compression and no option
// to skip claims.
const psrpcVersion = "v0.7.2"

func newPsrpcRedis(c redis.UniversalClient, _ features) psrpc.MessageBus {
	return psrpc.NewRedisMessageBus(c)
}

func newPsrpcNATS(nc *nats.Conn, _ features) psrpc.MessageBus { return psrpc.NewNatsMessageBus(nc) }

func serverOptions(features) []psrpc.ServerOption { return nil }
