package redisbus

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxChannelsPerCommand is the maximum number of channels in one PUBSUB NUMSUB command.
const maxChannelsPerCommand = 256

// topology hides the differences between a single server, a Cluster, and a Cluster with sharded
// pub/sub. It determines which node handles a channel and which node stores a lock.
type topology interface {
	// nodeKey returns the key of the node that handles channel. Channels with the same key share a
	// supervisor.
	nodeKey(ctx context.Context, channel string) (string, error)
	// node returns the node to which a new session must connect. channel is the channel of the
	// session's supervisor. The result may differ from call to call, for example after a failover.
	node(ctx context.Context, channel string) (*redis.Client, error)
	// lockNode returns the node that stores the lock on frame, and the key of that node. The node
	// argument is the session's own node.
	lockNode(ctx context.Context, node *redis.Client, frame []byte) (*redis.Client, string, error)
	// lockNodes returns all nodes that store locks, by node key. The node argument is the session's
	// own node.
	lockNodes(ctx context.Context, node *redis.Client) map[string]*redis.Client
	// lockClient returns a client that follows redirections. The bus uses it to take a lock that a
	// node has refused. cause is the error that the node returned.
	lockClient(cause error) redis.UniversalClient
	// close closes the client that the topology has created, if there is one. It does not close
	// the client that was passed to [New].
	close()
	// reportsReceivers reports whether the reply to PUBLISH counts all connections that receive the
	// frame.
	reportsReceivers() bool
	// subscribers returns the number of connections that subscribe to each of the given channels.
	subscribers(ctx context.Context, channels map[string]bool) (map[string]int64, error)
	// refresh reloads the mapping from slots to nodes. The bus calls it when the mapping may have
	// changed, for example after a MOVED error.
	refresh(ctx context.Context)
}

// newTopology returns the topology for client. It ignores sharded if client is not a cluster
// client.
func newTopology(client redis.UniversalClient, sharded bool) (topology, error) {
	switch client := client.(type) {
	case *redis.Client:
		if client != nil {
			return newSingleTopology(client), nil
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
			"redis bus: client is a %T; want a *redis.Client or a *redis.ClusterClient", client)
	}
	return nil, errors.NewErrorf(errors.InvalidArgument, "redis bus: client is nil")
}

// single is the topology of a single server or of a Sentinel group. For a group, client is a
// failover client, which always dials the current master.
type single struct {
	client *redis.Client
	// cluster is set once the server has turned out to be a node of a cluster. The bus uses this
	// client to take locks that are stored on other nodes.
	cluster *atomic.Pointer[redis.ClusterClient]
}

func newSingleTopology(client *redis.Client) single {
	return single{client: client, cluster: &atomic.Pointer[redis.ClusterClient]{}}
}

func (s single) nodeKey(context.Context, string) (string, error) { return "", nil }

func (s single) node(context.Context, string) (*redis.Client, error) { return s.client, nil }

func (s single) lockNode(_ context.Context, node *redis.Client, _ []byte) (*redis.Client, string, error) {
	return node, "", nil
}

func (s single) lockNodes(_ context.Context, node *redis.Client) map[string]*redis.Client {
	return map[string]*redis.Client{"": node}
}

// lockClient returns a cluster client if cause shows that the server is a node of a cluster, and
// the client passed to New otherwise. It creates the cluster client when it is first needed.
func (s single) lockClient(cause error) redis.UniversalClient {
	if !resp.HasCode(cause, "MOVED") && !resp.HasCode(cause, "ASK") {
		return s.client
	}
	if client := s.cluster.Load(); client != nil {
		return client
	}
	o := s.client.Options()
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{o.Addr}, ClientName: o.ClientName, Dialer: o.Dialer, TLSConfig: o.TLSConfig, OnConnect: o.OnConnect,
		Username: o.Username, Password: o.Password, CredentialsProvider: o.CredentialsProvider,
		CredentialsProviderContext: o.CredentialsProviderContext, StreamingCredentialsProvider: o.StreamingCredentialsProvider,
	})
	if !s.cluster.CompareAndSwap(nil, client) {
		_ = client.Close() // another goroutine has already stored a client
	}
	return s.cluster.Load()
}

func (s single) close() {
	if client := s.cluster.Load(); client != nil {
		_ = client.Close() // the bus is closed, so the error does not matter
	}
}

func (s single) reportsReceivers() bool { return true }

func (s single) subscribers(ctx context.Context, channels map[string]bool) (map[string]int64, error) {
	subscribers := map[string]int64{}
	return subscribers, addSubscribers(ctx, s.client.PubSubNumSub, channels, subscribers)
}

// numSub asks one node how many of its connections subscribe to each channel.
type numSub func(ctx context.Context, channels ...string) *redis.MapStringIntCmd

// addSubscribers asks one node how many of its connections subscribe to each of the channels. It
// adds the numbers to those in subscribers.
func addSubscribers(ctx context.Context, count numSub, channels map[string]bool, subscribers map[string]int64) error {
	for names := range slices.Chunk(slices.Collect(maps.Keys(channels)), maxChannelsPerCommand) {
		counts, err := count(ctx, names...).Result()
		if err != nil {
			return err
		}
		for name, count := range counts {
			subscribers[name] += count
		}
	}
	return nil
}

func (s single) refresh(context.Context) {}

// cluster is the topology of a Redis Cluster with ordinary pub/sub. The cluster forwards every
// frame to all of its nodes. A connection to any master can therefore be used for all channels, and
// it preserves the order of a publisher's frames. The master is chosen at random to distribute the
// load of many processes. A lock is a key, so it is stored on the master that owns the key's slot.
type cluster struct{ client *redis.ClusterClient }

func (c cluster) nodeKey(context.Context, string) (string, error) { return "", nil }

func (c cluster) node(ctx context.Context, _ string) (*redis.Client, error) {
	c.client.ReloadState(ctx)
	return c.client.MasterForKey(ctx, strconv.Itoa(rand.Int())) //nolint:gosec // need not be a secure random number
}

func (c cluster) lockNode(ctx context.Context, _ *redis.Client, frame []byte) (*redis.Client, string, error) {
	node, err := c.client.MasterForKey(ctx, lockKey(frame))
	if err != nil {
		return nil, "", err
	}
	return node, node.Options().Addr, nil
}

func (c cluster) lockNodes(ctx context.Context, _ *redis.Client) map[string]*redis.Client {
	var mu sync.Mutex
	nodes := map[string]*redis.Client{}
	// Ignore the error: connections to the missing nodes are opened when they are needed.
	_ = c.client.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		nodes[node.Options().Addr] = node
		return nil
	})
	return nodes
}

func (c cluster) lockClient(error) redis.UniversalClient { return c.client }

func (c cluster) close() {}

func (c cluster) reportsReceivers() bool { return false }

// subscribers adds up the connections to all nodes, replicas included.
func (c cluster) subscribers(ctx context.Context, channels map[string]bool) (map[string]int64, error) {
	var mu sync.Mutex
	subscribers := map[string]int64{}
	return subscribers, c.client.ForEachShard(ctx, func(ctx context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		return addSubscribers(ctx, node.PubSubNumSub, channels, subscribers)
	})
}

func (c cluster) refresh(ctx context.Context) { c.client.ReloadState(ctx) }

// shardedCluster is the topology of a Redis Cluster with sharded pub/sub. Like keys, channels
// belong to slots. The bus subscribes and publishes to a channel on the master that owns the
// channel's slot. Frames are not forwarded to other shards, so the number of receivers in the reply
// to SPUBLISH is complete.
type shardedCluster struct{ cluster }

func (s shardedCluster) nodeKey(ctx context.Context, channel string) (string, error) {
	node, err := s.client.MasterForKey(ctx, channel)
	if err != nil {
		return "", errors.NewErrorf(errors.Unavailable, "redis bus: cannot find the shard of channel %.200s: %w", channel, err)
	}
	return node.Options().Addr, nil
}

func (s shardedCluster) node(ctx context.Context, channel string) (*redis.Client, error) {
	s.client.ReloadState(ctx)
	return s.client.MasterForKey(ctx, channel)
}

func (s shardedCluster) reportsReceivers() bool { return true }
