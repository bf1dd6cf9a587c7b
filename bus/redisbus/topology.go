package redisbus

import (
	"context"
	"math/rand/v2"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// topology is the kind of Redis behind a client.
type topology interface {
	// nodeKey names the server that carries a channel. Channels of one place share a link.
	nodeKey(ctx context.Context, channel string) (string, error)
	// node returns the server that the link with the given probe channel is to speak to from now on. It may be another
	// one each time.
	node(ctx context.Context, probeChannel string) (*redis.Client, error)
	// lockNode returns the server that has the lock of a frame, and its name; node is the link's.
	lockNode(ctx context.Context, node *redis.Client, frame []byte) (*redis.Client, string, error)
	// reportsReceivers says that PUBLISH tells how many connections got a frame.
	reportsReceivers() bool
	// refresh says that a channel was not found at its place.
	refresh(ctx context.Context)
}

func newTopology(client redis.UniversalClient, sharded bool) (topology, error) {
	switch client := client.(type) {
	case *redis.Client: // a single server, or the master that Sentinel names
		if client != nil {
			return single{client}, nil
		}
	case *redis.ClusterClient:
		if client != nil && sharded {
			return shardedCluster{cluster{client}}, nil
		}
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

func (s single) nodeKey(context.Context, string) (string, error) { return "", nil }

func (s single) node(context.Context, string) (*redis.Client, error) { return s.client, nil }

func (s single) lockNode(_ context.Context, node *redis.Client, _ []byte) (*redis.Client, string, error) {
	return node, "", nil
}

func (s single) reportsReceivers() bool { return true }

func (s single) refresh(context.Context) {}

// cluster speaks to one master for all channels, since a cluster passes every frame on to all its nodes. That keeps
// the order of frames; a random choice spreads the load.
type cluster struct{ client *redis.ClusterClient }

func (c cluster) nodeKey(context.Context, string) (string, error) { return "", nil }

func (c cluster) node(ctx context.Context, _ string) (*redis.Client, error) {
	c.client.ReloadState(ctx)
	return c.client.MasterForKey(ctx, strconv.Itoa(rand.Int())) //nolint:gosec // not a secret
}

func (c cluster) lockNode(ctx context.Context, _ *redis.Client, frame []byte) (*redis.Client, string, error) {
	node, err := c.client.MasterForKey(ctx, lockKey(frame))
	if err != nil {
		return nil, "", err
	}
	return node, node.Options().Addr, nil
}

func (c cluster) reportsReceivers() bool { return false }

func (c cluster) refresh(ctx context.Context) { c.client.ReloadState(ctx) }

// shardedCluster speaks to the master that a channel's name belongs to, as sharded pub/sub wants it.
type shardedCluster struct{ cluster }

func (s shardedCluster) nodeKey(ctx context.Context, channel string) (string, error) {
	node, err := s.client.MasterForKey(ctx, channel)
	if err != nil {
		return "", errors.NewErrorf(errors.Unavailable, "redis bus: finding the shard of channel %s: %w", channel, err)
	}
	return node.Options().Addr, nil
}

func (s shardedCluster) node(ctx context.Context, probeChannel string) (*redis.Client, error) {
	s.client.ReloadState(ctx)
	return s.client.MasterForKey(ctx, probeChannel)
}

func (s shardedCluster) reportsReceivers() bool { return true }
