package redisbus

import (
	"context"
	"math/rand/v2"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// pipeliner sends commands together and awaits their replies.
type pipeliner interface {
	Pipeline() redis.Pipeliner
}

// topology is the kind of Redis behind a client.
type topology interface {
	// node returns the server to speak to from now on. It may be another one each time.
	node(ctx context.Context) (*redis.Client, error)
	// locker returns what takes locks, and whether it must be closed: node's own connection, or the whole cluster.
	locker(node *redis.Client) (pipeliner, func())
	// counts says that PUBLISH tells how many connections got a frame.
	counts() bool
}

func topologyOf(client redis.UniversalClient) (topology, error) {
	switch client := client.(type) {
	case *redis.Client: // a single server, or the master that Sentinel names
		if client != nil {
			return single{client}, nil
		}
	case *redis.ClusterClient:
		if client != nil {
			return cluster{client}, nil
		}
	case nil:
	default:
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"redis bus: client is a %T, but must be a *redis.Client or a *redis.ClusterClient", client)
	}
	return nil, errors.NewErrorf(errors.InvalidArgument, "redis bus: client is nil")
}

type single struct{ client *redis.Client }

func (s single) node(context.Context) (*redis.Client, error) { return s.client, nil }

func (s single) locker(node *redis.Client) (pipeliner, func()) { return ownConnection(node) }

func (s single) counts() bool { return true }

// cluster speaks to one master for all channels, since a cluster passes every frame on to all its nodes. That keeps
// the order of frames; a random choice spreads the load.
type cluster struct{ client *redis.ClusterClient }

func (c cluster) node(ctx context.Context) (*redis.Client, error) {
	c.client.ReloadState(ctx)
	return c.client.MasterForKey(ctx, strconv.Itoa(rand.Int())) //nolint:gosec // not a secret
}

func (c cluster) locker(*redis.Client) (pipeliner, func()) { return c.client, func() {} }

func (c cluster) counts() bool { return false }

// ownConnection returns one connection to node, taken from its pool once it is used first.
func ownConnection(node *redis.Client) (pipeliner, func()) {
	connection := node.Conn()
	return connection, func() { _ = connection.Close() } // what it says of the connection's end helps nobody
}
