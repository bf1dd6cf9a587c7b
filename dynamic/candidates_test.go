package dynamic_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// connectedBus is a competingBus with its own receiver ID, like the bus of a separate process.
type connectedBus struct {
	competingBus

	id string
}

func (b connectedBus) ReceiverID() string { return b.id }

// candidatesFleet is a group of servers of kinds.Fleet. Servers that are marked as unwilling
// decline all requests.
type candidatesFleet struct {
	conn      *dynamic.Conn
	servers   []*dynamic.Server
	unwilling [20]atomic.Bool
	runs      atomic.Int64
	// outcome is the outcome of the claims for the latest call.
	outcome atomic.Value
	// slowAffinity and slowHandler are the times, in nanoseconds, that the affinity functions and
	// handlers of the servers take.
	slowAffinity, slowHandler atomic.Int64
}

// newCandidatesFleet returns a fleet whose servers and conn use the buses that busOf returns.
// server is the number of a server, or -1 for the conn.
func newCandidatesFleet(t *testing.T, busOf func(server int) bus.Bus) *candidatesFleet {
	t.Helper()
	f, reg := &candidatesFleet{}, newRegistry(t, kindsSource)
	for i := range f.unwilling {
		server := dynamic.NewServer(busOf(i), dynamic.WithServerID(fmt.Sprint("SRV_", i)))
		t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
		f.servers = append(f.servers, server)
		answer := func(context.Context, text) (text, error) {
			f.runs.Add(1)
			sleep(&f.slowHandler)
			return wrapperspb.String(server.ID()), nil
		}
		affinity := func(context.Context, text) float32 {
			sleep(&f.slowAffinity)
			if f.unwilling[i].Load() {
				return -1
			}
			return 1
		}
		_, err := server.Register(descriptor(t, reg, "kinds.Fleet"),
			dynamic.Handlers{"Best": dynamic.Unary(answer, dynamic.WithAffinity(affinity))}, dynamic.AllowMissing())
		require.NoError(t, err)
	}
	var err error
	f.conn, err = dynamic.NewConn(busOf(-1), reg, dynamic.WithRequestEvents(func(event dynamic.RequestEvent) {
		f.outcome.Store(event.Outcome)
	}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.conn.Close()) })
	return f
}

func sleep(duration *atomic.Int64) {
	if d := time.Duration(duration.Load()); d > 0 {
		<-time.After(d)
	}
}

func (f *candidatesFleet) call(t *testing.T) string {
	t.Helper()
	return f.callWith(t, dynamic.SelectionOpts{
		Candidates: 2, AffinityTimeout: time.Second, ShortCircuitTimeout: time.Millisecond,
	})
}

func (f *candidatesFleet) callWith(t *testing.T, opts dynamic.SelectionOpts) string {
	t.Helper()
	answer, err := textClient(t, f.conn, "kinds.Fleet/Best").Call(
		t.Context(), wrapperspb.String("x"), dynamic.WithSelectionOpts(opts))
	require.NoError(t, err)
	return answer.GetValue()
}

// Each function in fleetBuses creates a bus. It returns the fakeBus that records the frames, and
// the argument busOf for newCandidatesFleet.
var fleetBuses = map[string]func() (*fakeBus, func(server int) bus.Bus){
	"not counting": func() (*fakeBus, func(int) bus.Bus) {
		b := newBlindBus(blindDelay)
		return b.fakeBus, func(int) bus.Bus { return b }
	},
	"competing": func() (*fakeBus, func(int) bus.Bus) {
		b := newCompetingBus()
		return b.fakeBus, func(server int) bus.Bus { return connectedBus{b, fmt.Sprint("BUS_", server)} }
	},
}

// sentTo returns how many frames were sent to single servers, and how many to all servers, since it
// was last called.
func sentTo(b *fakeBus) (one, all int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sent := range b.frames {
		switch {
		case isUnicast(sent.channel):
			one++
		case strings.HasSuffix(sent.channel, "|REQ"), strings.HasSuffix(sent.channel, "|RCLAIM"):
			all++
		}
	}
	b.frames = nil
	return one, all
}

// With two candidates, the client asks two servers, and notifies both of the selection. If both
// decline, or one is gone and the other one declines, the client asks all servers.
func TestCandidates(t *testing.T) {
	t.Parallel()
	for name, newBus := range fleetBuses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				frames, busOf := newBus()
				f := newCandidatesFleet(t, busOf)
				textClient(t, f.conn, "kinds.Fleet/Best")
				for range 4 { // the conn learns who is there
					f.call(t)
					<-time.After(time.Second / 2)
				}
				f.call(t) // counts the receivers again
				f.runs.Store(0)
				sentTo(frames)
				servers := map[string]bool{}
				const calls = 50
				for range calls {
					servers[f.call(t)] = true
				}
				one, all := sentTo(frames)
				assert.Equal(t, 4*calls, one, "requests and grants")
				assert.Zero(t, all)
				assert.Greater(t, len(servers), 10)
				assert.EqualValues(t, calls, f.runs.Load())

				for i := range f.unwilling {
					f.unwilling[i].Store(i != 7)
				}
				f.runs.Store(0)
				for range calls {
					assert.Equal(t, "SRV_7", f.call(t))
				}
				_, all = sentTo(frames)
				assert.Greater(t, all, calls/2)
				assert.EqualValues(t, calls, f.runs.Load())
			})
		})
	}
}
