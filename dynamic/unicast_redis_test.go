package dynamic_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// countingRedis is a Redis bus that counts the unicast requests that it publishes.
type countingRedis struct {
	*redisbus.Bus

	unicast atomic.Int64
}

func (b *countingRedis) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if isUnicast(channel.Name) {
		b.unicast.Add(1)
	}
	return b.Bus.Publish(ctx, channel, frame, report)
}

// patience is a timeout that does not expire in a test that succeeds, even on a busy machine.
const patience = 30 * time.Second

// patient contains long timeouts, because servers may be slow to respond on a busy machine.
var patient = []dynamic.ConnOption{dynamic.WithSelectionTimeout(patience), dynamic.WithClientTimeout(patience)}

// callUntilUnicast makes calls until the conn sends the requests to single servers.
func (b *countingRedis) callUntilUnicast(t *testing.T, client *dynamic.Client[text, text]) {
	t.Helper()
	require.Eventually(t, func() bool {
		before := b.unicast.Load()
		requireHi(t, client)
		requireHi(t, client)
		return b.unicast.Load() == before+2
	}, patience, time.Millisecond)
}

// callers starts 64 goroutines that make calls until stop is called. stop returns the number of
// calls.
func callers(t *testing.T, client *dynamic.Client[text, text]) (stop func() (calls int64)) {
	t.Helper()
	var running sync.WaitGroup
	var calls atomic.Int64
	done := make(chan struct{})
	for range 64 {
		running.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				request := fmt.Sprint(calls.Add(1))
				answer, err := client.Call(t.Context(), wrapperspb.String(request))
				if !assert.NoError(t, err) {
					return
				}
				assert.Equal(t, request, answer.GetValue())
			}
		})
	}
	return func() int64 {
		close(done)
		running.Wait()
		return calls.Load()
	}
}

func TestUnicast_Redis_SharesAreEven(t *testing.T) {
	t.Parallel()
	redis, caller := testenv.Redis(t), &countingRedis{}
	// A server that is selected at random with the probability 1/10 receives 224 of the 2240 calls
	// on average, with a standard deviation of 14. The limit of 40 % is six times as large.
	const servers, rounds = 10, 35
	var calls [servers]*atomic.Int64
	for i := range calls {
		_, _, calls[i] = echoServer(t, redisBus(t, redis))
	}
	caller.Bus = redisBus(t, redis)
	client := echoClient(t, caller, patient...)
	caller.callUntilUnicast(t, client)
	for _, count := range calls {
		count.Store(0)
	}
	var running sync.WaitGroup
	for range 64 {
		running.Go(func() {
			for range rounds {
				_, err := client.Call(t.Context(), wrapperspb.String("hi"))
				assert.NoError(t, err)
			}
		})
	}
	running.Wait()
	for i, count := range calls {
		assert.InEpsilon(t, 64*rounds/servers, count.Load(), 0.4, i)
	}
}

// While clients make calls, servers are closed, replaced, shut down and killed. No call may fail or
// be handled twice.
func TestUnicast_Redis_ServersComeAndGo(t *testing.T) {
	t.Parallel()
	redis, caller := testenv.Redis(t), &countingRedis{}
	reg := newRegistry(t)
	service := descriptor(t, reg, "test.Echoes")
	var runs sync.Map
	echo := func(_ context.Context, request text) (text, error) {
		if _, again := runs.LoadOrStore(request.GetValue(), true); again && request.GetValue() != "hi" {
			t.Errorf("request %s was run twice", request.GetValue())
		}
		return request, nil
	}
	register := func(server *dynamic.Server) *dynamic.Registration {
		registration, err := server.Register(service, dynamic.Handlers{"Echo": dynamic.Unary(echo)}, dynamic.AllowMissing())
		require.NoError(t, err)
		return registration
	}
	start := func() (*dynamic.Server, *dynamic.Registration) {
		server := dynamic.NewServer(redisBus(t, redis), dynamic.WithServerTimeout(patience))
		t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
		return server, register(server)
	}
	start()
	start()
	caller.Bus = redisBus(t, redis)
	client := echoClient(t, caller, patient...)
	caller.callUntilUnicast(t, client)

	stop := callers(t, client)
	for range 3 {
		server, registration := start()
		next, err := registration.Replace(service, dynamic.Handlers{"Echo": dynamic.Unary(echo)}, dynamic.AllowMissing())
		require.NoError(t, err)
		require.NoError(t, registration.Close(t.Context()))
		require.NoError(t, next.Close(t.Context()))
		register(server)
		require.NoError(t, server.Shutdown(t.Context()))
		killed, _ := start()
		before := caller.unicast.Load()
		require.Eventually(t, func() bool { return caller.unicast.Load() > before+100 }, patience, time.Millisecond)
		killed.Kill()
	}
	calls := stop()
	assert.Greater(t, caller.unicast.Load(), calls/2)
}

// psrpc servers do not announce themselves. If the queue has such a server, all requests must go to
// the queue, so that this server still gets some of them.
func TestUnicast_Redis_MixedFleet(t *testing.T) {
	t.Parallel()
	redis, caller := testenv.Redis(t), &countingRedis{}
	_, _, ours := echoServer(t, redisBus(t, redis))
	caller.Bus = redisBus(t, redis)
	client := echoClient(t, caller, patient...)
	caller.callUntilUnicast(t, client)

	_, _, silent := echoServer(t, struct{ bus.Bus }{redisBus(t, redis)})
	require.Eventually(t, func() bool {
		requireHi(t, client)
		return silent.Load() > 0
	}, patience, time.Millisecond)
	caller.unicast.Store(0)
	ours.Store(0)
	silent.Store(0)
	stop := callers(t, client)
	require.Eventually(t, func() bool { return ours.Load() > 10 && silent.Load() > 10 }, patience, time.Millisecond)
	stop()
	assert.Zero(t, caller.unicast.Load())
}
