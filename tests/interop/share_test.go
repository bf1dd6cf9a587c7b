//go:build !psrpc_oldest

package interop

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// On Redis, servers of both libraries share the requests of a queue. The dynpsrpc servers must not
// take many more requests than their fair share. Each handler runs for 20 ms, and 32 callers make
// calls all the time.
func TestPeers_ShareOfAQueue(t *testing.T) {
	for _, test := range []struct {
		ours, real int
		from       library
	}{{1, 3, ours}, {1, 3, theirs}, {2, 2, ours}, {3, 1, ours}} {
		t.Run(fmt.Sprintf("%d of %d, %s calls", test.ours, test.ours+test.real, test.from.name), func(t *testing.T) {
			b := brokers[0].start(t)
			var byOurs, byReal atomic.Int64
			counted := func(n *atomic.Int64) handlers {
				return handlers{unary: func(_ context.Context, request string) (string, error) {
					n.Add(1)
					<-time.After(20 * time.Millisecond)
					return request, nil
				}}
			}
			for range test.ours {
				ours.server(t, b, counted(&byOurs))
			}
			for range test.real {
				theirs.server(t, b, counted(&byReal))
			}
			c := test.from.client(t, b)
			callMany := func(calls int64) {
				var started atomic.Int64
				var callers sync.WaitGroup
				for range 32 {
					callers.Go(func() {
						for started.Add(1) <= calls {
							_, err := c.call(t.Context(), "Queue", nil, "x")
							assert.NoError(t, err)
						}
					})
				}
				callers.Wait()
				require.Equal(t, calls, byOurs.Load()+byReal.Load())
			}
			// During these calls, dynpsrpc detects the psrpc servers.
			callMany(1000)
			byOurs.Store(0)
			byReal.Store(0)
			const calls = 2000
			callMany(calls)
			share, fair := float64(byOurs.Load())/calls, float64(test.ours)/float64(test.ours+test.real)
			t.Logf("%.0f %% of the requests; a fair share is %.0f %%", 100*share, 100*fair)
			assert.Less(t, share, fair*1.5, "psrpc's servers do not get their share")
		})
	}
}

// If a client accepts the first available server, psrpc servers must still get requests, although the
// client cannot send requests to one of them only.
func TestPeers_ShareOfFirstAvailable(t *testing.T) {
	for _, b := range brokers {
		t.Run(b.name, func(t *testing.T) {
			b := b.start(t)
			var byOurs, byReal atomic.Int64
			for _, servers := range []struct {
				of    library
				calls *atomic.Int64
			}{{ours, &byOurs}, {theirs, &byReal}, {ours, &byOurs}, {theirs, &byReal}} {
				servers.of.server(t, b, handlers{affinity: 0.5, unary: func(_ context.Context, request string) (string, error) {
					servers.calls.Add(1)
					return request, nil
				}})
			}
			best, err := ours.client(t, b).(dynpsrpcClient).method("Best")
			require.NoError(t, err)
			first := dynamic.WithSelectionOpts(dynamic.SelectionOpts{AcceptFirstAvailable: true})
			const callers, each = 8, 250
			var running sync.WaitGroup
			for range callers {
				running.Go(func() {
					for range each {
						_, err := best.Call(t.Context(), wrapperspb.String("x"), first)
						assert.NoError(t, err)
					}
				})
			}
			running.Wait()
			assert.EqualValues(t, callers*each, byOurs.Load()+byReal.Load())
			share := float64(byReal.Load()) / (callers * each)
			t.Logf("%.0f %% of the requests are psrpc's", 100*share)
			assert.Greater(t, share, 0.05)
		})
	}
}

// Half of the servers of a queue on Redis use psrpc. Each half must get its share of 20,000 calls,
// within 20 %, and no call may be lost or run twice.
func TestFleet_ShareOfAQueue(t *testing.T) {
	const callers, calls = 64, 20_000
	b := brokers[0].start(t)
	var byOurs, byTheirs atomic.Int64
	var ran runs
	by := func(n *atomic.Int64) handlers {
		return ran.counted(handlers{affinity: 0.5, unary: func(_ context.Context, request string) (string, error) {
			n.Add(1)
			return request, nil
		}})
	}
	for range 2 {
		ours.server(t, b, by(&byOurs))
		theirs.server(t, b, by(&byTheirs))
	}
	clients := []clientPeer{ours.client(t, b), theirs.client(t, b)}
	warmUp := startLoad(t, callers/2, clients...) // meanwhile, the dynpsrpc servers detect the psrpc servers
	testkit.Eventually(t, func() bool { return warmUp.calls.Load() >= callers*50 }, "the first calls")
	<-time.After(time.Second)
	assert.Zero(t, warmUp.stop())
	ran.requireAtMostOnce(t, 1)
	byOurs.Store(0)
	byTheirs.Store(0)
	ran.forget()
	var next, failed atomic.Int64
	var all sync.WaitGroup
	started := time.Now()
	for caller := range callers {
		all.Go(func() {
			for request := next.Add(1); request <= calls; request = next.Add(1) {
				if _, err := clients[caller%2].call(t.Context(), "Queue", nil, strconv.FormatInt(request, 10)); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	share := float64(byOurs.Load()) / calls
	t.Logf("dynpsrpc ran %.0f %% of the calls; %d failed; %v", 100*share, failed.Load(), time.Since(started))
	assert.Zero(t, failed.Load())
	ran.requireOnce(t, calls)
	assert.InDelta(t, 0.5, share, 0.1, "each half must get its share within 20 %")
	require.EqualValues(t, calls, byOurs.Load()+byTheirs.Load())
}
