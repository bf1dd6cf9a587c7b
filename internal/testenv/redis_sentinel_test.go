package testenv_test

import (
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

func TestRedisSentinel_FailsOver(t *testing.T) {
	t.Parallel()
	s := testenv.RedisSentinel(t)
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: s.SentinelAddr()})
	defer sentinel.Close()
	master := func() string {
		addr, err := sentinel.GetMasterAddrByName(t.Context(), s.MasterName()).Result()
		require.NoError(t, err)
		return net.JoinHostPort(addr[0], addr[1])
	}
	require.Equal(t, s.Master().Addr(), master())
	require.Contains(t, dial(t, s.Replica().Addr()).request("SET key value"), "READONLY")

	start := time.Now()
	s.Master().Kill()
	// If the sentinel process has been stopped for two seconds, it takes no action for the next
	// half minute.
	require.Eventually(t, func() bool { return master() == s.Replica().Addr() }, 3*testTimeout, 10*time.Millisecond,
		"the sentinel decides")
	t.Logf("failover took %s", time.Since(start))
	assert.Equal(t, "+OK", dial(t, s.Replica().Addr()).request("SET key value"))
}
