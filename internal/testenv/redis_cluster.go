package testenv

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	clusterMasters = 3
	clusterSlots   = 16384
)

// RedisClusterServers contains the servers of a Redis Cluster started by a test.
type RedisClusterServers struct{ nodes []*RedisServer }

// RedisCluster starts a cluster of three masters without replicas and waits until every node
// reports a healthy cluster. Each master owns about a third of the slots. A node that is killed and
// started again rejoins the cluster. The node timeout is ten seconds, so that a node that is merely
// short of CPU time does not count as failed. All other settings have their default values.
func RedisCluster(tb testing.TB) *RedisClusterServers {
	tb.Helper()
	c := startRedisCluster(tb, clusterMasters)
	// Raise the node timeout only now, because a new cluster waits that long before it is usable.
	for _, addr := range c.Addrs() {
		client := redis.NewClient(&redis.Options{Addr: addr})
		err := client.ConfigSet(context.Background(), "cluster-node-timeout", "10000").Err()
		_ = client.Close() // the client is no longer used
		if err != nil {
			tb.Fatalf("Redis cluster: %v", err)
		}
	}
	return c
}

// RedisClusterWithReplicas is like [RedisCluster], but each master has a replica, and the node
// timeout is one second. The replica becomes the master two to three seconds after its master has
// died. The first three nodes are the masters.
func RedisClusterWithReplicas(tb testing.TB) *RedisClusterServers {
	tb.Helper()
	return startRedisCluster(tb, 2*clusterMasters)
}

func startRedisCluster(tb testing.TB, nodes int) *RedisClusterServers {
	tb.Helper()
	program := requireRedisServer(tb)
	c := &RedisClusterServers{}
	var busPorts []int
	for range nodes {
		var busPort int
		c.nodes = append(c.nodes, startRedis(tb, program, func(int) []string {
			busPort = freePort(tb)
			return []string{
				"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(busPort), "--cluster-node-timeout", "1000",
				replicaDelayFlag, "0",
			}
		}))
		busPorts = append(busPorts, busPort)
	}
	if err := c.form(busPorts); err != nil {
		tb.Fatalf("Redis cluster: %v", err)
	}
	return c
}

// Nodes returns the servers of the cluster.
func (c *RedisClusterServers) Nodes() []*RedisServer { return c.nodes }

// Addrs returns the host and port of each server.
func (c *RedisClusterServers) Addrs() []string {
	addrs := make([]string, len(c.nodes))
	for i, node := range c.nodes {
		addrs[i] = node.Addr()
	}
	return addrs
}

// form joins the nodes into a cluster and waits until every node reports a healthy cluster.
func (c *RedisClusterServers) form(busPorts []int) error {
	ctx := context.Background()
	clients := make([]*redis.Client, len(c.nodes))
	for i, node := range c.nodes {
		clients[i] = redis.NewClient(&redis.Options{Addr: node.Addr()})
		defer clients[i].Close() //nolint:errcheck // the client is no longer used
		if i < clusterMasters {
			first, end := i*clusterSlots/clusterMasters, (i+1)*clusterSlots/clusterMasters
			if err := clients[i].ClusterAddSlotsRange(ctx, first, end-1).Err(); err != nil {
				return err
			}
		}
		// Give each node its own configuration epoch. Otherwise the nodes would have to resolve an
		// epoch collision before the cluster is usable.
		if err := clients[i].Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return err
		}
	}
	for i, node := range c.nodes[1:] {
		ip, port, err := net.SplitHostPort(node.Addr())
		if err != nil {
			return err
		}
		if err := clients[0].Do(ctx, "CLUSTER", "MEET", ip, port, busPorts[i+1]).Err(); err != nil {
			return err
		}
	}
	for _, client := range clients {
		if err := poll(nil, func() error { return clusterFormed(ctx, client, len(clients)) }); err != nil {
			return err
		}
	}
	for i, replica := range clients[clusterMasters:] {
		master, err := clients[i].ClusterMyID(ctx).Result()
		if err != nil {
			return err
		}
		if err := replica.ClusterReplicate(ctx, master).Err(); err != nil {
			return err
		}
	}
	for _, replica := range clients[clusterMasters:] {
		if err := poll(nil, func() error { return replicaLinked(ctx, replica) }); err != nil {
			return err
		}
	}
	return nil
}

// clusterFormed returns nil if the node reports that the cluster is healthy, that all slots are
// covered, and that the node knows all other nodes. Otherwise it returns an error.
func clusterFormed(ctx context.Context, client *redis.Client, nodes int) error {
	info, err := client.ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	known := "cluster_known_nodes:" + strconv.Itoa(nodes)
	for _, want := range []string{"cluster_state:ok", "cluster_slots_ok:16384", known} {
		if !strings.Contains(info, want) {
			return errors.NewErrorf(errors.Unavailable, "%s does not report %s: %s", client.Options().Addr, want, info)
		}
	}
	return nil
}
