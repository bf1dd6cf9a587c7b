package testenv_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

func TestRedisCluster_ServesEverySlot(t *testing.T) {
	t.Parallel()
	cluster := testenv.RedisCluster(t)
	require.Len(t, cluster.Addrs(), 3)
	require.Len(t, cluster.Nodes(), 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()[:1]})
	defer client.Close()
	for i := range 100 {
		key := string(rune('0' + i))
		require.NoError(t, client.Set(t.Context(), key, i, 0).Err())
	}
	for _, addr := range cluster.Addrs() {
		node := redis.NewClient(&redis.Options{Addr: addr})
		defer node.Close()
		keys, err := node.DBSize(t.Context()).Result()
		require.NoError(t, err)
		assert.Positive(t, keys)
	}
}

func TestRedisCluster_NodeComesBack(t *testing.T) {
	t.Parallel()
	cluster := testenv.RedisCluster(t)
	node := cluster.Nodes()[1]
	node.Kill()
	node.Start()
	client := redis.NewClient(&redis.Options{Addr: node.Addr()})
	defer client.Close()
	require.Eventually(t, func() bool {
		info, err := client.ClusterInfo(t.Context()).Result()
		return err == nil && strings.Contains(info, "cluster_state:ok")
	}, testTimeout, 10*time.Millisecond, "the nodes exchange their state")
}

func TestRedisCluster_ReplicaTakesOver(t *testing.T) {
	t.Parallel()
	cluster := testenv.RedisClusterWithReplicas(t)
	require.Len(t, cluster.Nodes(), 6)
	cluster.Nodes()[0].Kill()
	heir := redis.NewClient(&redis.Options{Addr: cluster.Nodes()[3].Addr()})
	defer heir.Close()
	require.Eventually(t, func() bool {
		role, err := heir.Do(t.Context(), "ROLE").Slice()
		return err == nil && role[0] == "master"
	}, testTimeout, 10*time.Millisecond, "a replica takes over")
}
