package dynamic_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// broker is a bus that counts each connection as one receiver, as Redis does.
type broker struct {
	*fakeBus

	mu sync.Mutex
	// connections counts the subscriptions of each connection by channel name.
	connections map[string]map[*connection]int
	// asked counts the calls to sharedSubscription.Subscribers.
	asked atomic.Int64
}

func newBroker() *broker {
	b := &broker{fakeBus: newFakeBus(), connections: map[string]map[*connection]int{}}
	b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
		b.mu.Lock()
		receivers := len(b.connections[channel.Name])
		b.mu.Unlock()
		err := b.Bus.Publish(ctx, channel, frame, nil)
		if report != nil {
			report.Delivered(receivers, err)
		}
		return err
	}
	return b
}

func (b *broker) count(channel string, c *connection, change int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	on := b.connections[channel]
	if on == nil {
		on = map[*connection]int{}
		b.connections[channel] = on
	}
	on[c] += change
	count := on[c]
	if count == 0 {
		delete(on, c)
	}
	return count
}

// connection is one connection to a broker.
type connection struct {
	*broker

	silent bool // the servers do not know how many of them share the connection, like psrpc servers
}

func (c *connection) Subscribe(
	ctx context.Context, channel bus.Channel, join bus.Mode, deliver bus.Handler,
) (bus.Subscription, error) {
	subscription, err := c.broker.Subscribe(ctx, channel, join, deliver)
	if err != nil {
		return nil, err
	}
	c.count(channel.Name, c, 1)
	left := sync.OnceFunc(func() { c.count(channel.Name, c, -1) })
	counted := &fakeSubscription{Subscription: subscription, closed: left}
	if c.silent {
		return counted, nil
	}
	return &sharedSubscription{fakeSubscription: counted, connection: c, channel: channel.Name}, nil
}

type sharedSubscription struct {
	*fakeSubscription

	connection *connection
	channel    string
}

func (s *sharedSubscription) Subscribers() int {
	s.connection.asked.Add(1)
	return max(1, s.connection.count(s.channel, s.connection, 0))
}

// sharingFleet is a group of servers of kinds.Fleet that share connections to a broker. Its conn
// has a connection of its own.
type sharingFleet struct {
	t      *testing.T
	broker *broker
	conn   *dynamic.Conn
	size   int
}

// newSharingFleet opens connections to a broker and starts servers on them. Each argument is the
// number of servers on one connection.
func newSharingFleet(t *testing.T, connections ...int) *sharingFleet {
	t.Helper()
	f := &sharingFleet{t: t, broker: newBroker()}
	conn, err := dynamic.NewConn(&connection{broker: f.broker}, newRegistry(t, kindsSource))
	require.NoError(t, err)
	f.conn = conn
	t.Cleanup(func() { require.NoError(t, f.broker.Close()) })
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	for _, servers := range connections {
		f.start(&connection{broker: f.broker}, servers)
	}
	return f
}

// start starts servers on a connection. The n-th server claims and responds after n ms and has the
// affinity n, so later servers are slower and better.
func (f *sharingFleet) start(c *connection, servers int) (started []*dynamic.Server) {
	f.t.Helper()
	for range servers {
		f.size++
		n := f.size
		server := dynamic.NewServer(c, dynamic.WithServerID(fmt.Sprint("SRV_", n)))
		answer := func(context.Context, text) (text, error) { return wrapperspb.String(server.ID()), nil }
		slowly := func(context.Context, text) (text, error) {
			<-time.After(time.Duration(n) * time.Millisecond)
			return wrapperspb.String(server.ID()), nil
		}
		affinity := func(_ context.Context, request text) float32 {
			<-time.After(time.Duration(n) * time.Millisecond)
			if request.GetValue() == "nobody" {
				return -1
			}
			return float32(n)
		}
		_, err := server.Register(descriptor(f.t, newRegistry(f.t, kindsSource), "kinds.Fleet"), dynamic.Handlers{
			"Best":   dynamic.Unary(answer, dynamic.WithAffinity(affinity)),
			"All":    dynamic.Unary(slowly),
			"Region": dynamic.Unary(answer), "RegionAll": dynamic.Unary(answer),
		})
		require.NoError(f.t, err)
		f.t.Cleanup(func() { require.NoError(f.t, server.Shutdown(context.Background())) })
		started = append(started, server)
	}
	return started
}

// slowest returns the time that the last server takes to respond.
func (f *sharingFleet) slowest() time.Duration { return time.Duration(f.size) * time.Millisecond }

// all makes a multi call. It returns how many servers have responded and how long the call took.
func (f *sharingFleet) all() (int, time.Duration) {
	f.t.Helper()
	var servers []string
	started := time.Now()
	for response := range textClient(f.t, f.conn, "kinds.Fleet/All").Responses(f.t.Context(), wrapperspb.String("x"),
		dynamic.WithRequestTimeout(time.Minute)) {
		require.NoError(f.t, response.Err)
		servers = append(servers, response.ServerID)
	}
	slices.Sort(servers)
	return len(slices.Compact(servers)), time.Since(started)
}

// best makes an affinity call. It returns which server was selected and how long the call took.
func (f *sharingFleet) best() (string, time.Duration) {
	f.t.Helper()
	started := time.Now()
	server, err := textClient(f.t, f.conn, "kinds.Fleet/Best").Call(f.t.Context(), wrapperspb.String("x"))
	require.NoError(f.t, err)
	return server.GetValue(), time.Since(started)
}

func TestSharers_FirstCallsHearAll(t *testing.T) {
	t.Parallel()
	for _, connections := range [][]int{{1}, {2}, {20}, {1, 1}, {3, 1}, {2, 3, 1, 7}} {
		t.Run(fmt.Sprint(connections), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newSharingFleet(t, connections...)
				for range 3 {
					answers, took := f.all()
					assert.Equal(t, f.size, answers)
					assert.Equal(t, f.slowest(), took)
					server, took := f.best()
					assert.Equal(t, fmt.Sprint("SRV_", f.size), server)
					assert.Equal(t, f.slowest(), took)
				}
			})
		})
	}
}

func TestSharers_AllDecline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newSharingFleet(t, 3, 2)
		started := time.Now()
		_, err := textClient(t, f.conn, "kinds.Fleet/Best").Call(t.Context(), wrapperspb.String("nobody"))
		require.ErrorContains(t, err, "no response from servers")
		assert.Equal(t, f.slowest(), time.Since(started))
	})
}

// When a server joins a shared connection, the next call receives its response. When a server
// leaves, calls no longer wait for it.
func TestSharers_JoinAndLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newSharingFleet(t)
		c := &connection{broker: f.broker}
		f.start(c, 2)
		expect := func(servers, slowest int) {
			t.Helper()
			answers, took := f.all()
			assert.Equal(t, servers, answers)
			assert.Equal(t, time.Duration(slowest)*time.Millisecond, took)
			server, took := f.best()
			assert.Equal(t, fmt.Sprint("SRV_", slowest), server)
			assert.Equal(t, time.Duration(slowest)*time.Millisecond, took)
		}
		expect(2, 2)
		joined := f.start(c, 2)
		expect(4, 4)
		for _, server := range joined {
			require.NoError(t, server.Shutdown(t.Context()))
		}
		expect(2, 2)
	})
}

// A server that leaves while it handles a request still responds. The call waits for all servers
// that shared the connection when the request arrived.
func TestSharers_LeavingWhileTheRequestRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newSharingFleet(t)
		c := &connection{broker: f.broker}
		leaving := f.start(c, 1)[0]
		f.start(c, 1)
		f.start(c, 1)
		time.AfterFunc(500*time.Microsecond, func() { assert.NoError(t, leaving.Shutdown(context.Background())) })
		answers, took := f.all()
		assert.Equal(t, 3, answers)
		assert.Equal(t, f.slowest(), took)
	})
}

// Servers that share a connection report their number. psrpc servers do not; here, the silent
// connections stand for them. A client learns from late responses how many servers share a silent
// connection.
func TestSharers_BesideSilentConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newSharingFleet(t)
		f.start(&connection{broker: f.broker, silent: true}, 3)
		f.start(&connection{broker: f.broker}, 2)
		for range 3 { // at first two responses seem to be all, because there are two connections
			_, _ = f.all()
			_, _ = f.best()
			<-time.After(time.Second) // wait until the late responses have arrived
		}
		answers, took := f.all()
		assert.Equal(t, 5, answers)
		assert.Equal(t, f.slowest(), took)
		server, took := f.best()
		assert.Equal(t, "SRV_5", server)
		assert.Equal(t, f.slowest(), took)
	})
}

// sentSharers returns the numbers of servers that share a connection, as reported in the published
// claims and responses.
func (b *broker) sentSharers(t *testing.T) (claims, responses []uint32) {
	t.Helper()
	for _, sent := range b.sent() {
		envelope, err := wire.ParseEnvelope(sent.frame)
		require.NoError(t, err)
		switch envelope.Kind {
		case wire.KindClaimRequest:
			claim, err := wire.ParseClaimRequest(envelope.Value)
			require.NoError(t, err)
			claims = append(claims, claim.Subscribers)
		case wire.KindResponse:
			response, err := wire.ParseResponse(envelope.Value)
			require.NoError(t, err)
			responses = append(responses, response.Subscribers)
		}
	}
	return claims, responses
}

// If several servers share a connection, their claims and responses contain the number of these
// servers. They contain it only if the client waits for all servers.
func TestSharers_OnTheWire(t *testing.T) {
	t.Parallel()
	for servers, want := range map[int]uint32{1: 0, 2: 2, 3: 3} {
		synctest.Test(t, func(t *testing.T) {
			f := newSharingFleet(t, servers)
			_, _ = f.all()
			_, _ = f.best()
			claims, responses := f.broker.sentSharers(t)
			assert.Equal(t, slices.Repeat([]uint32{want}, servers), claims)
			assert.Equal(t, append(slices.Repeat([]uint32{want}, servers), 0), responses,
				"the last one is of the server that was chosen")
		})
	}
}

// If a request goes to a single server, the claim and the response do not say how many servers
// share a connection.
func TestSharers_QueuesDoNotAsk(t *testing.T) {
	t.Parallel()
	b := newBroker()
	c := &connection{broker: b}
	w := newWorldOn(t, c)
	w.serve(t, dynamic.Handlers{"Echo": identity[text](), "Direct": identity[text]()})
	second := dynamic.NewServer(c)
	t.Cleanup(func() { require.NoError(t, second.Shutdown(context.Background())) })
	_, err := second.Register(descriptor(t, w.registry, "test.Echoes"),
		dynamic.Handlers{"Echo": identity[text](), "Direct": identity[text]()}, dynamic.AllowMissing())
	require.NoError(t, err)
	p := peer{t, c}
	claims := p.listen(claimChannel(peerClient), bus.Broadcast)
	w.requireWorking(t)
	p.send(requestChannel("Echo"), newRequest(peerRequest, "x"))
	assert.Zero(t, p.nextClaim(claims).Subscribers)
	_, responses := b.sentSharers(t)
	assert.Equal(t, []uint32{0, 0}, responses)
	assert.Zero(t, b.asked.Load())
}

const sharedStreamSource = `
syntax = "proto3";
package shared;
import "options.proto";
import "google/protobuf/wrappers.proto";

service Flows {
  rpc Best(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).stream = true;
    option (psrpc.options).type = AFFINITY;
  }
}
`

// If several servers share a connection, the client selects the best of them for a stream as soon
// as all of them have claimed the stream.
func TestSharers_AffinityOfStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, reg := newBroker(), newRegistry(t, sharedStreamSource)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		c, chosen := &connection{broker: b}, make(chan int, 1)
		for i := range 5 {
			server := dynamic.NewServer(c)
			t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
			_, err := server.Register(descriptor(t, reg, "shared.Flows"), dynamic.Handlers{"Best": dynamic.Stream(
				func(stream dynamic.ServerStream[text, text]) error {
					chosen <- i
					<-stream.Context().Done()
					return nil
				}, dynamic.WithStreamAffinity(func(context.Context) float32 {
					<-time.After(time.Duration(i) * time.Millisecond)
					return float32(i + 1)
				}))})
			require.NoError(t, err)
		}
		conn, err := dynamic.NewConn(&connection{broker: b}, reg)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		started := time.Now()
		stream, err := textClient(t, conn, "shared.Flows/Best").OpenStream(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 4*time.Millisecond, time.Since(started))
		assert.Equal(t, 4, <-chosen)
		require.NoError(t, stream.Close(nil))
	})
}
