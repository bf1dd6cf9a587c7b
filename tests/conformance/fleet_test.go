package conformance_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// census counts how many times the servers of a test ran each request, and how many requests each
// server ran.
type census struct {
	mu    sync.Mutex
	runs  map[string]int // number of runs, keyed by request
	shard map[string]int // number of runs, keyed by server
}

func (c *census) handler(server string) handler {
	return func(request string) (string, *failure) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.runs[request]++
		c.shard[server]++
		return request, nil
	}
}

// Two dynpsrpc servers and two psrpc servers serve the same service. Clients of both libraries call
// it. No call may be lost, and no request may run twice. The test does not run in parallel, because
// its load would disturb tests that have time limits.
func TestFleet_NoCallLostOrRunTwice(t *testing.T) {
	onEachBroker(t, func(t *testing.T, b broker) {
		const calls, callers = 3000, 8
		m := newMixed(t, b)
		c := census{runs: map[string]int{}, shard: map[string]int{}}
		for i := range 2 {
			t.Cleanup(m.peerServer().serve(m.work(), nil, c.handler(fmt.Sprint("psrpc's ", i))))
			m.serve(dynamic.Handlers{"Work": handle(c.handler(fmt.Sprint("ours ", i)))})
		}
		ours, peer := m.client("Work"), m.peerClient()
		clients := []func(string) (string, error){
			func(request string) (string, error) {
				response, err := ours.Call(context.Background(), wrapperspb.String(request), dynamic.WithRequestTimeout(patience))
				return response.GetValue(), err
			},
			func(request string) (string, error) {
				response, err := peer.call(m.work(), request, patience)
				if err != nil {
					return "", err
				}
				return response, nil
			},
		}
		var running sync.WaitGroup
		var next, failures atomic.Int64
		for i := range callers {
			call := clients[i%2]
			running.Go(func() { // this goroutine ends before the test checks the results
				for n := next.Add(1); n <= calls; n = next.Add(1) {
					request := fmt.Sprintf("%d by client %d", n, i%2)
					if response, err := call(request); err != nil || response != request {
						t.Logf("%s: %q, %v", request, response, err)
						failures.Add(1)
					}
				}
			})
		}
		running.Wait()
		assert.Zero(t, failures.Load(), "lost calls")
		c.mu.Lock()
		defer c.mu.Unlock()
		assert.Len(t, c.runs, calls)
		assert.Len(t, c.shard, 4, "servers that have run something: %v", c.shard)
		for request, runs := range c.runs {
			assert.Equal(t, 1, runs, request)
		}
	})
}

// A dynpsrpc publisher sends identical updates to a queue that is shared by one psrpc subscriber
// and one dynpsrpc subscriber. Exactly one of them must receive each update. The publisher makes
// the frames differ, so that none of them is dropped as a duplicate.
func TestFleet_EqualUpdatesAreNotLost(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, b broker) {
		const updates = 100
		m := newMixed(t, b)
		var byOurs, byPeer atomic.Int64
		stop := b.link(t).listen(m.jobs().requests(), true, func(f frame) {
			assert.Equal(t, "equal", textOf(body(f)))
			byPeer.Add(1)
		})
		defer stop()
		ctx, cancel := context.WithCancel(t.Context())
		subscription, err := m.client("Jobs").Subscribe(ctx, dynamic.WithBufferSize(2*updates))
		require.NoError(t, err)
		var reading sync.WaitGroup
		reading.Go(func() { // this goroutine ends before the test checks the results
			for range subscription.Channel() {
				byOurs.Add(1)
			}
		})
		conn := m.conn()
		for range updates {
			require.NoError(t, dynamic.Publish(t.Context(), conn, "mixed.Mixed/Jobs", wrapperspb.String("equal")))
		}
		received := func() int { return int(byOurs.Load() + byPeer.Load()) }
		assert.Eventually(t, func() bool { return received() >= updates }, patience, time.Millisecond)
		cancel()
		reading.Wait()
		assert.Equal(t, updates, received(), "ours %d, psrpc's %d", byOurs.Load(), byPeer.Load())
	})
}

// A call between two dynpsrpc peers needs only two messages. If the client or the server is a psrpc
// peer, the call needs four.
func TestFleet_MessagesOfACall(t *testing.T) {
	t.Parallel()
	const two, four = 2, 4
	for name, observed := range map[string]func(t *testing.T) (broker, *observer){
		"redis": func(t *testing.T) (broker, *observer) {
			b := newRedisBroker(t)
			return b, observeRedis(t, b.addr)
		},
		"nats": func(t *testing.T) (broker, *observer) {
			b := newNATSBroker(t)
			return b, observeNATS(t, b.url)
		},
	} {
		for _, tt := range []struct {
			name string
			// client reports whether the client uses dynpsrpc, and server whether the server does.
			client, server bool
			messages       int
		}{
			{name: "ours and ours", client: true, server: true, messages: two},
			{name: "ours and psrpc's", client: true, messages: four},
			{name: "psrpc's and ours", server: true, messages: four},
			{name: "psrpc's and psrpc's", messages: four},
		} {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				b, o := observed(t)
				m := newMixed(t, b)
				if tt.server {
					m.serve(dynamic.Handlers{"Work": handle(echo("ours"))})
				} else {
					t.Cleanup(m.peerServer().serve(m.work(), nil, echo("peer")))
				}
				w := o.watch(m.name, "SRV."+m.name, "CLI."+m.name)
				started := time.Now()
				if tt.client {
					response, err := m.client("Work").Call(t.Context(), wrapperspb.String("x"))
					require.NoError(t, err)
					assert.Contains(t, response.GetValue(), " x")
				} else {
					response, err := m.peerClient().call(m.work(), "x", patience)
					require.Nil(t, err)
					assert.Contains(t, response, " x")
				}
				took := time.Since(started)
				settle(t, b.link(t), w, m.name)
				sent := w.rest()
				// If a dynpsrpc server needs a fifth of a second for a request of a dynpsrpc client, it
				// announces with a claim that it is handling the request.
				if tt.client && tt.server && took > 100*time.Millisecond {
					sent = slices.DeleteFunc(sent, func(f frame) bool { return f.typeName() == typeClaimRequest })
				}
				assert.Len(t, sent, tt.messages)
			})
		}
	}
}
