package chaos_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// If Redis denies the lock of a request to all servers, the call must fail immediately. It must
// succeed if one of the servers gets the lock.
func TestRedis_RefusedLocks(t *testing.T) {
	t.Parallel()
	addr := testenv.Redis(t).Addr()
	admin := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = admin.Close() })
	rules := []any{"acl", "setuser", "nokeys", "on", ">secret", "resetkeys", "&*", "+@all"}
	require.NoError(t, admin.Do(t.Context(), rules...).Err())
	serve := func(user string) {
		options := &redis.Options{Addr: addr}
		if user != "" {
			options.Username, options.Password = user, "secret"
		}
		b := testkit.RedisOver(t, redis.NewClient(options))
		for range 2 { // both servers use the same bus
			testkit.Serve(t, b, dynamic.Handlers{"NormalRPC": dynamic.Unary(testkit.Echo)})
		}
	}
	call := func() (time.Duration, error) {
		conn := testkit.Conn(t, testkit.Redis(t, addr), dynamic.WithClientTimeout(time.Minute), dynamic.WithSelectionTimeout(time.Minute))
		started := time.Now()
		_, err := testkit.Caller(t, conn, "NormalRPC").Call(t.Context(), &api.MyRequest{})
		return time.Since(started), err
	}
	serve("nokeys")
	serve("nokeys")
	for range 20 {
		took, err := call()
		assert.Equal(t, errors.Unavailable, testkit.Code(err), "%v", err)
		facts, _ := errors.FactsOf(err)
		assert.Equal(t, errors.ReasonAllDeclined, facts.Reason, "%v", err)
		assert.Less(t, took, 10*time.Second)
	}
	serve("")
	for range 20 {
		_, err := call()
		require.NoError(t, err)
	}
	require.NoError(t, admin.ConfigSet(t.Context(), "maxmemory", "1").Err())
	_, err := call()
	facts, _ := errors.FactsOf(err)
	assert.Equal(t, errors.ReasonAllDeclined, facts.Reason, "%v", err)
}
