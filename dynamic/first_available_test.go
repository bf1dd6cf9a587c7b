package dynamic_test

import (
	"context"
	"fmt"
	"log/slog"
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
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

var firstAvailable = dynamic.SelectionOpts{AcceptFirstAvailable: true, AffinityTimeout: time.Second}

// firstAvailableFleet is a candidatesFleet whose conn accepts the first available server.
type firstAvailableFleet struct {
	*candidatesFleet

	frames *fakeBus
	// busName is the name of the bus in fleetBuses, if onEachFleet has created the fleet.
	busName string
}

// newFirstAvailableFleet returns a fleet whose conn has made calls until it knows which servers are
// willing.
func newFirstAvailableFleet(t *testing.T, newBus func() (*fakeBus, func(server int) bus.Bus)) firstAvailableFleet {
	t.Helper()
	frames, busOf := newBus()
	original, publish := frames.publish, frames.publisher()
	frames.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
		// The claims of all servers arrive before the first one is granted, as on most networks.
		if strings.HasSuffix(channel.Name, "|RCLAIM") {
			<-time.After(time.Microsecond)
		}
		return publish(ctx, channel, frame, report)
	}
	f := firstAvailableFleet{candidatesFleet: newCandidatesFleet(t, busOf), frames: frames}
	for range 12 {
		f.call(t)
		<-time.After(time.Second / 4)
	}
	f.call(t) // may be sent to all, since that is done once a second
	synctest.Wait()
	frames.publish = original
	f.runs.Store(0)
	sentTo(frames)
	return f
}

// onEachFleet runs test in parallel subtests, with a fleet on each bus in fleetBuses.
func onEachFleet(t *testing.T, test func(t *testing.T, f firstAvailableFleet)) {
	t.Helper()
	for name, newBus := range fleetBuses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFirstAvailableFleet(t, newBus)
				f.busName = name
				test(t, f)
			})
		})
	}
}

func (f firstAvailableFleet) call(t *testing.T) string {
	t.Helper()
	return f.callWith(t, firstAvailable)
}

// Each request goes to a single server, which handles it without a claim. Once a second, a request
// goes to all servers.
func TestFirstAvailable_OneServerIsAsked(t *testing.T) {
	t.Parallel()
	onEachFleet(t, func(t *testing.T, f firstAvailableFleet) {
		servers := map[string]bool{}
		const calls = 100
		for range calls {
			servers[f.call(t)] = true
		}
		one, all := sentTo(f.frames)
		assert.Equal(t, calls, one)
		assert.Zero(t, all)
		assert.EqualValues(t, calls, f.runs.Load())
		if f.busName == "not counting" {
			// On the bus "competing", a response can arrive before most servers have made their
			// claims.
			assert.Greater(t, len(servers), 15)
		}
		for range 5 {
			<-time.After(time.Second)
			f.call(t)
			f.call(t)
			one, all = sentTo(f.frames)
			assert.Equal(t, 1, one)
			assert.Equal(t, 2, all, "a request and a grant")
		}
	})
}

// If a server declines a request, the request goes to all servers. Finally, the client sends
// requests only to the one server that does not decline them.
func TestFirstAvailable_ServersDecline(t *testing.T) {
	t.Parallel()
	onEachFleet(t, func(t *testing.T, f firstAvailableFleet) {
		for i := range f.unwilling {
			f.unwilling[i].Store(i != 7)
		}
		const calls = 100
		for range calls {
			require.Equal(t, "SRV_7", f.call(t))
		}
		assert.EqualValues(t, calls, f.runs.Load())
		for range 20 {
			f.call(t)
			<-time.After(time.Second / 4)
		}
		f.call(t)
		sentTo(f.frames)
		for range calls {
			require.Equal(t, "SRV_7", f.call(t))
		}
		one, all := sentTo(f.frames)
		assert.Equal(t, calls, one, "only the willing server is asked")
		assert.Zero(t, all)
	})
}

// If each request is accepted by a different server only, nearly all requests go to all servers.
func TestFirstAvailable_ServersDependOnTheRequest(t *testing.T) {
	t.Parallel()
	onEachFleet(t, func(t *testing.T, f firstAvailableFleet) {
		declined := 0
		const calls = 200
		for call := range calls {
			for i := range f.unwilling {
				f.unwilling[i].Store(i != call*7%20)
			}
			f.call(t)
			if one, all := sentTo(f.frames); one > 0 && all > 0 {
				declined++
			}
			<-time.After(50 * time.Millisecond)
		}
		assert.EqualValues(t, calls, f.runs.Load())
		assert.Less(t, declined, 10)
	})
}

// If a server is gone, the bus reports that the request has no receivers. The request then goes to
// all servers at once.
func TestFirstAvailable_ServerIsGone(t *testing.T) {
	t.Parallel()
	onEachFleet(t, func(t *testing.T, f firstAvailableFleet) {
		publish := f.frames.publisher()
		f.frames.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			if strings.HasSuffix(channel.Name, "|PRESENCE") {
				return nil
			}
			return publish(ctx, channel, frame, report)
		}
		const gone = 5
		for _, server := range f.servers[:gone] {
			require.NoError(t, server.Shutdown(t.Context()))
		}
		sentTo(f.frames)
		const calls = 100
		for range calls {
			started := time.Now()
			f.call(t)
			require.LessOrEqual(t, time.Since(started), 5*blindDelay)
		}
		assert.EqualValues(t, calls, f.runs.Load())
		one, all := sentTo(f.frames)
		assert.Equal(t, calls, one)
		assert.Positive(t, all)
		assert.LessOrEqual(t, all, 2*gone)
	})
}

// A server that does not announce itself, such as a psrpc server, must still get requests. If it
// claims a request, all later requests go to all servers.
func TestFirstAvailable_NotWithOtherServers(t *testing.T) {
	t.Parallel()
	onEachFleet(t, func(t *testing.T, f firstAvailableFleet) {
		other := dynamic.NewServer(struct{ bus.Bus }{f.frames}, dynamic.WithServerID("SRV_other"))
		answer := func(context.Context, text) (text, error) { return wrapperspb.String("other"), nil }
		registration, err := other.Register(descriptor(t, newRegistry(t, kindsSource), "kinds.Fleet"),
			dynamic.Handlers{"Best": dynamic.Unary(answer, dynamic.WithAffinity(func(context.Context, text) float32 { return 1 }))},
			dynamic.AllowMissing())
		require.NoError(t, err)
		defer other.Shutdown(context.Background())
		for range 8 {
			f.call(t)
			<-time.After(time.Second / 4)
		}
		sentTo(f.frames)
		for range 50 {
			f.call(t)
		}
		one, all := sentTo(f.frames)
		assert.Zero(t, one)
		assert.Equal(t, 2*50, all)

		require.NoError(t, registration.Close(t.Context()))
		for range 20 {
			f.call(t)
			<-time.After(time.Second / 4)
		}
		sentTo(f.frames)
		f.call(t)
		f.call(t)
		one, _ = sentTo(f.frames)
		assert.NotZero(t, one)
	})
}

// If a server loses its connection to the broker for a moment, the client may assume that the
// server is gone. The client sends requests to the server again once the server has claimed one.
func TestFirstAvailable_ServerReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFirstAvailableFleet(t, fleetBuses["not counting"])
		f.call(t)
		f.frames.mu.Lock()
		lost := ""
		for _, sent := range f.frames.frames {
			if isUnicast(sent.channel) {
				lost = sent.channel
			}
		}
		f.frames.mu.Unlock()
		require.NotEmpty(t, lost)
		peer{t, f.frames}.send(bus.Channel(wire.PresenceChannel("Fleet")), &wire.Presence{
			State: wire.PresenceLeft, Address: []byte(strings.Split(lost, "|")[1]),
			Channels: [][]byte{[]byte(wire.RequestChannel("Fleet", "Best", nil, false).Name)},
		})
		for range 20 {
			f.call(t)
			<-time.After(time.Second / 4)
		}
		f.call(t)
		sentTo(f.frames)
		f.call(t)
		one, all := sentTo(f.frames)
		assert.Equal(t, 1, one)
		assert.Zero(t, all)
	})
}

// If a server does not answer a request, the call fails, because the server may have handled the
// request. Until the server announces itself or claims a request, the client sends no further
// requests to it alone.
func TestFirstAvailable_SilentServer(t *testing.T) {
	t.Parallel()
	onEachFleet(t, func(t *testing.T, f firstAvailableFleet) {
		publish, silent := f.frames.publisher(), ""
		f.frames.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			if silent == "" && isUnicast(channel.Name) {
				silent = channel.Name
			}
			if channel.Name == silent {
				return nil
			}
			return publish(ctx, channel, frame, report)
		}
		client := textClient(t, f.conn, "kinds.Fleet/Best")
		started := time.Now()
		opts := firstAvailable
		opts.AffinityTimeout = time.Second / 10
		_, err := client.Call(t.Context(), wrapperspb.String("x"), dynamic.WithSelectionOpts(opts))
		requireFacts(t, errors.ReasonNoSign, err)
		assert.LessOrEqual(t, time.Since(started), time.Second/10)
		assert.Zero(t, f.runs.Load())
		for range 100 {
			f.call(t)
		}
		assert.EqualValues(t, 100, f.runs.Load())
	})
}

// If a handler or an affinity function is slow, the call must not fail, and the handler must not
// run twice.
func TestFirstAvailable_SlowServer(t *testing.T) {
	t.Parallel()
	onEachFleet(t, func(t *testing.T, f firstAvailableFleet) {
		f.slowAffinity.Store(int64(3 * time.Second / 2))
		f.call(t)
		assert.EqualValues(t, 1, f.runs.Load())
		f.slowAffinity.Store(0)
		f.call(t) // may be sent to all
		f.slowHandler.Store(int64(3 * time.Second / 2))
		f.call(t)
		assert.EqualValues(t, 3, f.runs.Load())
		f.slowHandler.Store(0)
		f.call(t)
		f.slowAffinity.Store(int64(3 * time.Second / 2))
		for i := range f.unwilling {
			f.unwilling[i].Store(i != 7)
		}
		sentTo(f.frames)
		f.runs.Store(0)
		answer, err := textClient(t, f.conn, "kinds.Fleet/Best").Call(t.Context(), wrapperspb.String("x"),
			dynamic.WithSelectionOpts(dynamic.SelectionOpts{AcceptFirstAvailable: true}),
			dynamic.WithRequestTimeout(time.Minute))
		require.NoError(t, err)
		assert.Equal(t, "SRV_7", answer.GetValue())
		assert.EqualValues(t, 1, f.runs.Load())
		want := dynamic.ClaimGranted
		if _, all := sentTo(f.frames); all == 0 {
			want = dynamic.ClaimSkipped // SRV_7 was asked alone
		}
		assert.Equal(t, want, f.outcome.Load())
	})
}

// If a call has lasted long, its claims do not show which servers are willing now.
func TestFirstAvailable_OldClaims(t *testing.T) {
	t.Parallel()
	onEachFleet(t, func(t *testing.T, f firstAvailableFleet) {
		<-time.After(time.Second) // the next request is sent to all
		f.slowHandler.Store(int64(10 * time.Second))
		_, err := textClient(t, f.conn, "kinds.Fleet/Best").Call(t.Context(), wrapperspb.String("x"),
			dynamic.WithSelectionOpts(firstAvailable), dynamic.WithRequestTimeout(time.Minute))
		require.NoError(t, err)
		f.slowHandler.Store(0)
		sentTo(f.frames)
		f.call(t)
		one, all := sentTo(f.frames)
		assert.Zero(t, one)
		assert.Equal(t, 2, all)
	})
}

// If the options exclude some servers, or if the caller names a number of candidates, the request
// does not go to one server.
func TestFirstAvailable_NotWithOtherOptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFirstAvailableFleet(t, fleetBuses["not counting"])
		opts := firstAvailable
		opts.MinimumAffinity = 0.5
		f.callWith(t, opts)
		one, all := sentTo(f.frames)
		assert.Zero(t, one)
		assert.Equal(t, 2, all)
		opts = firstAvailable
		opts.AffinityTimeout = 10 * time.Millisecond
		f.callWith(t, opts)
		one, all = sentTo(f.frames)
		assert.Zero(t, one)
		assert.Equal(t, 2, all)
		opts = firstAvailable
		opts.Candidates = 2
		f.callWith(t, opts)
		one, all = sentTo(f.frames)
		assert.Equal(t, 4, one)
		assert.Zero(t, all)
	})
}

// unreportedBus is a bus that neither counts receivers nor reports that there are none, like a Redis
// Cluster without sharded pub/sub.
type unreportedBus struct{ *blindBus }

func (unreportedBus) ReceiverID() string { return "BUS_test" }

// On this bus, the client would not notice that a request to a single server is lost because the
// server is gone. All requests therefore go to all servers.
func TestFirstAvailable_NotIfTheBusDoesNotReportNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFirstAvailableFleet(t, func() (*fakeBus, func(int) bus.Bus) {
			b := newBlindBus(blindDelay)
			return b.fakeBus, func(int) bus.Bus { return unreportedBus{b} }
		})
		for range 10 {
			f.call(t)
		}
		one, all := sentTo(f.frames)
		assert.Zero(t, one)
		assert.Equal(t, 20, all)
	})
}

// If the broker denies access to the channels of single servers, all requests go to all servers, and
// the conn logs one warning.
func TestFirstAvailable_Denied(t *testing.T) {
	t.Parallel()
	candidates := dynamic.SelectionOpts{Candidates: 2, AffinityTimeout: time.Second, ShortCircuitTimeout: time.Millisecond}
	for name, deny := range map[string]func(report bus.DeliveryReport) error{
		"Publish fails": func(bus.DeliveryReport) error { return errDenied },
		"the report fails": func(report bus.DeliveryReport) error {
			report.Delivered(bus.Unknown, errDenied)
			return nil
		},
	} {
		for asked, opts := range map[int64]dynamic.SelectionOpts{1: firstAvailable, 2: candidates} {
			t.Run(fmt.Sprintf("%s for %d", name, asked), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					f := newBlindFleet(t, 3)
					<-time.After(time.Second)
					synctest.Wait()
					publish, log, denied := f.bus.publish, &capturedLog{}, atomic.Int64{}
					f.bus.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
						if strings.HasSuffix(channel.Name, "|UNICAST") && report != nil {
							denied.Add(1)
							return deny(report)
						}
						return publish(ctx, channel, frame, report)
					}
					conn, err := dynamic.NewConn(f.bus, f.registry, dynamic.WithLogger(slog.New(log)))
					require.NoError(t, err)
					defer conn.Close()
					for range 30 {
						_, err := textClient(t, conn, "kinds.Fleet/Best").Call(t.Context(), wrapperspb.String("x"),
							dynamic.WithSelectionOpts(opts))
						require.NoError(t, err)
						<-time.After(time.Second / 10)
					}
					assert.Equal(t, asked, denied.Load())
					assert.Len(t, log.all(), 1)
				})
			})
		}
	}
}
