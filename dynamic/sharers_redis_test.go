package dynamic_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func redisBus(t *testing.T, server *testenv.RedisServer) *redisbus.Bus {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	b, err := redisbus.New(client)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.NoError(t, client.Close())
	})
	return b
}

// Redis counts all servers that share a connection as one receiver. Nevertheless the first calls
// of a conn must receive the responses of all servers, long before the timeouts.
func TestSharers_OverRedis(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{2, 20} {
		t.Run(fmt.Sprint(servers), func(t *testing.T) {
			t.Parallel()
			server, reg := testenv.Redis(t), newRegistry(t, kindsSource)
			shared := redisBus(t, server)
			for i := range servers {
				startFleetServer(t, shared, reg, i, i == servers-1)
			}
			for name, b := range map[string]*redisbus.Bus{"another bus": redisBus(t, server), "the same bus": shared} {
				// On a busy machine, a claim may come so late after the first one that the call does
				// not wait for it. Then the test uses another conn.
				for shortened, conns := true, 1; shortened; conns++ {
					require.LessOrEqual(t, conns, 10, "the first calls of all conns have missed a claim on %s", name)
					conn, err := dynamic.NewConn(b, reg, dynamic.WithSelectionTimeout(time.Minute))
					require.NoError(t, err)
					t.Cleanup(func() { require.NoError(t, conn.Close()) })
					shortened = requireAllHeard(t, conn, servers, "on "+name)
				}
			}
		})
	}
}

// startFleetServer starts a server. Its ID contains the number, and its affinity is the number plus
// one. If last is true, the server responds more slowly than the others.
func startFleetServer(t *testing.T, b *redisbus.Bus, reg *registry.Registry, number int, last bool) {
	t.Helper()
	server := dynamic.NewServer(b, dynamic.WithServerID(fmt.Sprint("SRV_", number)), dynamic.WithServerTimeout(patience))
	t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
	linger := func() {
		if last {
			<-time.After(20 * time.Millisecond)
		}
	}
	answer := func(context.Context, text) (text, error) {
		linger()
		return wrapperspb.String(server.ID()), nil
	}
	affinity := func(_ context.Context, request text) float32 {
		linger()
		if request.GetValue() == "nobody" {
			return -1
		}
		return float32(number + 1)
	}
	_, err := server.Register(descriptor(t, reg, "kinds.Fleet"), dynamic.Handlers{
		"Best": dynamic.Unary(answer, dynamic.WithAffinity(affinity)), "All": dynamic.Unary(answer),
	}, dynamic.AllowMissing())
	require.NoError(t, err)
}

// requireAllHeard makes the first calls of a conn, and checks that all servers respond well before
// the timeout of a minute. shortened reports whether a call may have ended without the claim of the
// best server, because that claim did not come within the short circuit timeout.
func requireAllHeard(t *testing.T, conn *dynamic.Conn, servers int, where string) (shortened bool) {
	t.Helper()
	started, patient := time.Now(), dynamic.WithRequestTimeout(time.Minute)
	responses, err := textClient(t, conn, "kinds.Fleet/All").CallMulti(t.Context(), wrapperspb.String("x"), patient)
	require.NoError(t, err)
	heard := map[string]bool{}
	for response := range responses {
		require.NoError(t, response.Err)
		heard[response.ServerID] = true
	}
	assert.Len(t, heard, servers, where)

	best := textClient(t, conn, "kinds.Fleet/Best")
	var facts errors.CallFacts
	server, err := best.Call(t.Context(), wrapperspb.String("x"), patient, dynamic.WithFacts(&facts))
	require.NoError(t, err)
	shortened = facts.SelectionTime >= dynamic.DefaultShortCircuitTimeout
	if !shortened {
		assert.Equal(t, fmt.Sprint("SRV_", servers-1), server.GetValue(), where)
	}
	_, err = best.Call(t.Context(), wrapperspb.String("nobody"), patient)
	facts = requireFacts(t, errors.ReasonAllDeclined, err)
	assert.Len(t, facts.Declined, servers, where)
	assert.Less(t, time.Since(started), 30*time.Second, where)
	return shortened
}
