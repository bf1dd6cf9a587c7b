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

// A client subscribes to all Redis channels, as the command redis-cli psubscribe "*" does. At
// first, the bus counts it as a server, so that calls take longer. After the first calls, the bus
// must no longer count it.
func TestRedis_Observer(t *testing.T) {
	t.Parallel()
	addr := testenv.Redis(t).Addr()
	handlers := dynamic.Handlers{"GetStats": dynamic.Unary(testkit.Echo), "IntensiveRPC": dynamic.Unary(testkit.Echo)}
	testkit.Serve(t, testkit.Redis(t, addr), handlers)
	testkit.Serve(t, testkit.Redis(t, addr), handlers)
	client := redis.NewClient(&redis.Options{Addr: addr})
	observer := client.PSubscribe(t.Context(), "*")
	_, err := observer.Receive(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = observer.Close(), client.Close() })

	conn := testkit.Conn(t, testkit.Redis(t, addr))
	const wait = 4 * time.Second // how long a multi call takes that waits for the observer's response
	timeout := dynamic.WithRequestTimeout(wait)
	multi := func() time.Duration {
		started := time.Now()
		responses, err := testkit.Caller(t, conn, "GetStats").CallMulti(t.Context(), &api.MyRequest{}, timeout)
		require.NoError(t, err)
		count := 0
		for response := range responses {
			require.NoError(t, response.Err)
			count++
		}
		assert.Equal(t, 2, count)
		return time.Since(started)
	}
	multi() // the bus detects the observer during this call
	fast := false
	for range 3 {
		fast = fast || multi() < wait/2
	}
	assert.True(t, fast, "a fast multi call")
	_, err = testkit.Caller(t, conn, "UpdateRoom").Topic("nobody", "here").Call(t.Context(), &api.MyRequest{}, timeout)
	facts, _ := errors.FactsOf(err)
	assert.Equal(t, errors.ReasonNobodyListening, facts.Reason)
}
