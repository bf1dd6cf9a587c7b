package redisbus_test

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// go-redis must log nothing about the connections of a bus, whether or not the bus can connect. It
// must log what other clients in the program do.
func TestOpen_IsQuiet(t *testing.T) {
	t.Parallel()
	sentinels := testenv.RedisSentinel(t)
	sentinel := "redis-sentinel://" + sentinels.SentinelAddr() + "?master_name="
	b, err := bus.Open(t.Context(), sentinel+sentinels.MasterName())
	require.NoError(t, err)
	require.NoError(t, b.Close())
	gone := testenv.Redis(t)
	gone.Kill()
	for _, url := range []string{
		sentinel + "nosuchmaster", "redis-sentinel://" + gone.Addr() + "?master_name=m&dialer_retries=1&max_retries=-1",
		"redis-cluster://" + gone.Addr() + "?dialer_retries=1",
	} {
		_, err := bus.Open(t.Context(), url)
		require.Error(t, err, url)
	}
	for _, address := range []string{sentinels.SentinelAddr(), gone.Addr(), "nosuchmaster"} {
		assert.NotContains(t, goRedisLog.String(), address)
	}

	var log lockedBuffer
	redisbus.NewClientLogger(&log).Printf(context.Background(), "of another client: %v", redis.Nil)
	assert.True(t, strings.HasSuffix(log.String(), "of another client: redis: nil\n"), log.String())
	assert.True(t, strings.HasPrefix(log.String(), "redis: "), log.String())
}
