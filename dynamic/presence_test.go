package dynamic_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// blindBus is a bus that does not count receivers, like NATS. It delivers each frame after a
// delay.
type blindBus struct {
	*fakeBus

	delay time.Duration
	// lost is the name of a channel whose frames are lost, or empty.
	lost atomic.Value
}

func (*blindBus) CountsReceivers() bool { return false }

func newBlindBus(delay time.Duration) *blindBus {
	b := &blindBus{fakeBus: newFakeBus(), delay: delay}
	b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
		if b.lost.Load() == channel.Name {
			return nil
		}
		time.AfterFunc(b.delay, func() {
			var onlyNone bus.DeliveryReport
			if report != nil {
				onlyNone = noneReport{report}
			}
			_ = b.Bus.Publish(context.WithoutCancel(ctx), channel, frame, onlyNone)
		})
		return nil
	}
	return b
}

// noneReport passes on a delivery report only if it is about a frame without receivers.
type noneReport struct{ bus.DeliveryReport }

func (r noneReport) Delivered(receivers int, err error) {
	if receivers == 0 {
		r.DeliveryReport.Delivered(0, err)
	}
}

// blindFleet is a group of servers that serve kinds.Fleet on a blindBus.
type blindFleet struct {
	t    *testing.T
	bus  *blindBus
	size int
	// registry is shared by all servers and conns, because compiling it takes longer than a test.
	registry *registry.Registry
}

const blindDelay = time.Millisecond

func newBlindFleet(t *testing.T, servers int) *blindFleet {
	t.Helper()
	f := &blindFleet{t: t, bus: newBlindBus(blindDelay), registry: newRegistry(t, kindsSource)}
	t.Cleanup(func() { require.NoError(t, f.bus.Close()) })
	for range servers {
		f.start()
	}
	return f
}

// start starts another server. The n-th server has the affinity n.
func (f *blindFleet) start() *dynamic.Server {
	f.t.Helper()
	f.size++
	n := f.size
	server := dynamic.NewServer(f.bus, dynamic.WithServerID(fmt.Sprint("SRV_", n)))
	answer := func(context.Context, text) (text, error) { return wrapperspb.String(server.ID()), nil }
	affinity := func(_ context.Context, request text) float32 {
		if request.GetValue() == "nobody" {
			return -1
		}
		return float32(n)
	}
	registration, err := server.Register(descriptor(f.t, f.registry, "kinds.Fleet"), dynamic.Handlers{
		"Best":   dynamic.Unary(answer, dynamic.WithAffinity(affinity)),
		"All":    dynamic.Unary(answer),
		"Region": dynamic.Unary(answer), "RegionAll": dynamic.Unary(answer),
	})
	require.NoError(f.t, err)
	require.NoError(f.t, registration.RegisterTopic("RegionAll", "eu"))
	f.t.Cleanup(func() { require.NoError(f.t, server.Shutdown(context.Background())) })
	return server
}

func (f *blindFleet) dial() *dynamic.Conn {
	f.t.Helper()
	conn, err := dynamic.NewConn(f.bus, f.registry)
	require.NoError(f.t, err)
	f.t.Cleanup(func() { require.NoError(f.t, conn.Close()) })
	return conn
}

// all makes a multi call. It returns how many servers have responded and how long the call took.
func (f *blindFleet) all(conn *dynamic.Conn, method string, opts ...dynamic.RequestOption) (servers int, took time.Duration) {
	f.t.Helper()
	started := time.Now()
	opts = append(opts, dynamic.WithRequestTimeout(time.Hour))
	for response := range textClient(f.t, conn, method).Responses(f.t.Context(), wrapperspb.String("x"), opts...) {
		require.NoError(f.t, response.Err)
		servers++
	}
	return servers, time.Since(started)
}

func TestPresence_MultiCallEndsWithTheLastAnswer(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{1, 3, 50} {
		synctest.Test(t, func(t *testing.T) {
			f := newBlindFleet(t, servers)
			conn := f.dial()
			for call := range 4 {
				answers, took := f.all(conn, "kinds.Fleet/All")
				assert.Equal(t, servers, answers)
				if call == 0 {
					assert.Less(t, took, time.Second)
				} else {
					assert.Equal(t, 2*blindDelay, took)
				}
				answers, took = f.all(conn, "kinds.Fleet/RegionAll", dynamic.WithTopic("eu"))
				assert.Equal(t, servers, answers)
				if call > 0 {
					assert.Equal(t, 2*blindDelay, took)
				}
			}
		})
	}
}

func TestPresence_AffinityCall(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{1, 3, 50} {
		synctest.Test(t, func(t *testing.T) {
			f := newBlindFleet(t, servers)
			client := textClient(t, f.dial(), "kinds.Fleet/Best")
			for call := range 4 {
				started := time.Now()
				answer, err := client.Call(t.Context(), wrapperspb.String("x"))
				require.NoError(t, err)
				assert.Equal(t, fmt.Sprint("SRV_", servers), answer.GetValue())
				if call == 0 {
					assert.Less(t, time.Since(started), 250*time.Millisecond)
				} else {
					assert.Equal(t, 4*blindDelay, time.Since(started))
				}

				started = time.Now()
				_, err = client.Call(t.Context(), wrapperspb.String("nobody"))
				require.ErrorIs(t, err, errors.ErrNoResponse)
				assert.Equal(t, 2*blindDelay, time.Since(started))
			}
		})
	}
}

// The first affinity call of a conn takes three round trips. In the first one, the servers send
// their claims, and the conn discovers the servers. For the duration of the second one, the conn
// waits for claims of psrpc servers. The third one is for the grant and the response. It is omitted
// if all servers decline.
func TestPresence_FirstAffinityCall(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{1, 3, 20} {
		synctest.Test(t, func(t *testing.T) {
			f := newBlindFleet(t, servers)
			<-time.After(time.Second)
			started := time.Now()
			answer, err := textClient(t, f.dial(), "kinds.Fleet/Best").Call(t.Context(), wrapperspb.String("x"))
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprint("SRV_", servers), answer.GetValue())
			assert.Equal(t, 6*blindDelay, time.Since(started))

			started = time.Now()
			_, err = textClient(t, f.dial(), "kinds.Fleet/Best").Call(t.Context(), wrapperspb.String("nobody"))
			require.ErrorIs(t, err, errors.ErrNoResponse)
			assert.Equal(t, 4*blindDelay, time.Since(started))
		})
	}
}

// The servers report how many of them there are, so that the first affinity call of a conn is
// short. The number must still be right after servers have joined and left. If a server was killed,
// the number is too large, and the conn waits until no further responses arrive. The servers then
// find out that the server is gone, so that the next conn does not wait.
func TestPresence_FirstAffinityCallOfAChangedFleet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newBlindFleet(t, 3)
		first := func() time.Duration {
			<-time.After(time.Second)
			started := time.Now()
			_, err := textClient(t, f.dial(), "kinds.Fleet/Best").Call(t.Context(), wrapperspb.String("x"))
			require.NoError(t, err)
			return time.Since(started)
		}
		leaving := f.start()
		assert.Equal(t, 6*blindDelay, first())
		require.NoError(t, leaving.Shutdown(t.Context()))
		<-time.After(2 * blindDelay)
		f.start()
		assert.Equal(t, 6*blindDelay, first())

		f.bus.lost.Store("Fleet|PRESENCE")
		f.start().Kill()
		late := f.start()
		f.bus.lost.Store("")
		assert.Equal(t, 6*blindDelay, first(), "nobody knows of them")
		require.NoError(t, late.Shutdown(t.Context()))

		killed := f.start()
		f.bus.lost.Store("Fleet|PRESENCE")
		killed.Kill()
		f.bus.lost.Store("")
		assert.Greater(t, first(), 100*time.Millisecond)
		assert.Equal(t, 6*blindDelay, first())
	})
}

// If the bus loses the discovery request of a conn, its first multi call repeats the request.
func TestPresence_LostDiscoveryRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newBlindFleet(t, 3)
		<-time.After(time.Second)
		f.bus.lost.Store("Fleet|DISCOVER")
		time.AfterFunc(300*time.Millisecond, func() { f.bus.lost.Store("") })
		answers, took := f.all(f.dial(), "kinds.Fleet/All")
		assert.Equal(t, 3, answers)
		assert.Less(t, took, time.Second)
	})
}

// If the announcement of a server is lost, the conn sends another discovery request once the server
// has responded to calls. The conn then knows all servers, so it can send a request to only some of
// them.
func TestPresence_LostAnnouncement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newBlindFleet(t, 3)
		<-time.After(time.Second)
		conn := f.dial()
		call := func(opts ...dynamic.RequestOption) {
			_, err := textClient(t, conn, "kinds.Fleet/Best").Call(t.Context(), wrapperspb.String("x"), opts...)
			require.NoError(t, err)
			<-time.After(100 * time.Millisecond)
		}
		call()
		f.bus.lost.Store("Fleet|PRESENCE")
		f.start()
		f.bus.lost.Store("")
		for range 4 {
			call()
		}
		sentTo(f.bus.fakeBus)
		call(dynamic.WithSelectionOpts(dynamic.SelectionOpts{Candidates: 2, AffinityTimeout: time.Second}))
		one, all := sentTo(f.bus.fakeBus)
		assert.Equal(t, 4, one, "requests and grants")
		assert.Zero(t, all)
	})
}

func TestPresence_ServersJoinAndLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newBlindFleet(t, 0)
		conn := f.dial()
		textClient(t, conn, "kinds.Fleet/All") // the client exists before the first server
		first := f.start()
		f.start()
		<-time.After(time.Second)
		f.all(conn, "kinds.Fleet/All")
		for range 3 {
			f.start()
			<-time.After(2 * blindDelay)
			answers, took := f.all(conn, "kinds.Fleet/All")
			assert.Equal(t, f.size, answers)
			assert.Equal(t, 2*blindDelay, took)
		}
		require.NoError(t, first.Shutdown(t.Context()))
		<-time.After(2 * blindDelay)
		answers, took := f.all(conn, "kinds.Fleet/All")
		assert.Equal(t, f.size-1, answers)
		assert.Equal(t, 2*blindDelay, took)
	})
}

// A call must not wait for the response of a server that leaves before the request reaches it.
func TestPresence_ServerLeavesDuringCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newBlindFleet(t, 3)
		last := f.start()
		conn := f.dial()
		f.all(conn, "kinds.Fleet/All")
		killed := make(chan struct{})
		go func() { // the test waits for this goroutine
			defer close(killed)
			<-time.After(blindDelay / 2)
			last.Kill()
		}()
		answers, took := f.all(conn, "kinds.Fleet/All")
		assert.Equal(t, 3, answers)
		assert.Equal(t, 2*blindDelay, took)
		<-killed
	})
}

// The bus loses the announcements of two servers, one of which is killed. The killed server must
// not delay the first call. The second call must wait for the other server, which has responded
// late to the first call.
func TestPresence_SilentServerIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newBlindFleet(t, 2)
		conn := f.dial()
		f.all(conn, "kinds.Fleet/All")
		f.bus.lost.Store("Fleet|PRESENCE")
		f.start().Kill() // the bus loses the announcements of this server
		killed := f.start()
		_ = killed
		f.bus.lost.Store("")
		answers, took := f.all(conn, "kinds.Fleet/All")
		assert.GreaterOrEqual(t, answers, 2)
		assert.Equal(t, 2*blindDelay, took)
		<-time.After(time.Second)
		answers, _ = f.all(conn, "kinds.Fleet/All")
		assert.Equal(t, 3, answers, "its late answer has been noted")
	})
}
