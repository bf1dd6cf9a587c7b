package dynamic_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// link is one server's connection to a broker that does not count receivers. While the link is cut,
// the server receives nothing and cannot publish. Servers on other links are not affected.
type link struct {
	bus.Bus

	mu      sync.Mutex
	cut     bool
	renewed map[*linkSubscription]func()
}

// linkSubscription is a subscription that calls a handler when the link is restored.
type linkSubscription struct {
	bus.Subscription

	link *link
}

func newLink(b bus.Bus) *link { return &link{Bus: b, renewed: map[*linkSubscription]func(){}} }

func (*link) CountsReceivers() bool { return false }

func (l *link) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

func (l *link) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if l.isCut() {
		return errBroken
	}
	if report != nil {
		report = noneReport{report}
	}
	return l.Bus.Publish(ctx, channel, frame, report)
}

func (l *link) Subscribe(ctx context.Context, channel bus.Channel, mode bus.Mode, deliver bus.Handler) (bus.Subscription, error) {
	subscription, err := l.Bus.Subscribe(ctx, channel, mode, func(frame []byte) {
		if !l.isCut() {
			deliver(frame)
		}
	})
	if err != nil {
		return nil, err
	}
	return &linkSubscription{subscription, l}, nil
}

func (s *linkSubscription) NotifyRenewed(handler func()) {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	s.link.renewed[s] = handler
}

func (s *linkSubscription) Close() {
	s.Subscription.Close()
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	delete(s.link.renewed, s)
}

func (l *link) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
}

// restore reconnects the link and notifies all subscriptions.
func (l *link) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
	for _, handler := range l.renewed {
		handler()
	}
}

// linkedFleet is a group of servers that serve kinds.Fleet, each on a link of its own, with a conn
// on another link. Each handler waits for handlerTime before it responds.
type linkedFleet struct {
	t        *testing.T
	registry *registry.Registry
	servers  []*dynamic.Server
	links    []*link
	conn     *dynamic.Conn

	mu sync.Mutex
	// announcements contains what the servers have announced to all clients since it was last cleared.
	announcements []announcement
}

// announcement is a message of a server to all clients.
type announcement struct {
	wire.Presence

	at time.Time
}

const handlerTime = 50 * time.Millisecond

func newLinkedFleet(t *testing.T, size int) *linkedFleet {
	t.Helper()
	b := bus.NewLocal()
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	f := &linkedFleet{t: t, registry: newRegistry(t, kindsSource)}
	_, err := b.Subscribe(t.Context(), bus.Channel(wire.PresenceChannel("Fleet")), bus.Broadcast, f.onAnnouncement)
	require.NoError(t, err)
	for i := range size {
		l := newLink(b)
		server := dynamic.NewServer(l, dynamic.WithServerID(fmt.Sprint("SRV_", i)))
		t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
		_, err := server.Register(descriptor(t, f.registry, "kinds.Fleet"), dynamic.Handlers{
			"All": dynamic.Unary(func(context.Context, text) (text, error) {
				<-time.After(handlerTime)
				return wrapperspb.String(server.ID()), nil
			}),
		}, dynamic.AllowMissing())
		require.NoError(t, err)
		f.servers, f.links = append(f.servers, server), append(f.links, l)
	}
	f.conn, err = dynamic.NewConn(newLink(b), f.registry)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.conn.Close()) })
	<-time.After(time.Second) // the servers now know how many they are
	return f
}

func (f *linkedFleet) onAnnouncement(frame []byte) {
	envelope, err := wire.ParseEnvelope(frame)
	assert.NoError(f.t, err)
	presence, err := wire.ParsePresence(envelope.Value)
	assert.NoError(f.t, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.announcements = append(f.announcements, announcement{presence, time.Now()})
}

// announced calls cause. It returns what the servers announce within a second, and the time at
// which that second began.
func (f *linkedFleet) announced(cause func()) (announcements []announcement, began time.Time) {
	f.mu.Lock()
	f.announcements = nil
	f.mu.Unlock()
	began = time.Now()
	cause()
	<-time.After(time.Second)
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.announcements), began
}

// all makes a multi call. It returns how many servers have responded and how long the call took.
func (f *linkedFleet) all() (servers int, took time.Duration) {
	f.t.Helper()
	started := time.Now()
	all := textClient(f.t, f.conn, "kinds.Fleet/All")
	for response := range all.Responses(f.t.Context(), wrapperspb.String("x"), dynamic.WithRequestTimeout(time.Minute)) {
		require.NoError(f.t, response.Err)
		servers++
	}
	return servers, time.Since(started)
}

// A conn forgets a server whose connection to the broker is broken. Once the server has
// reconnected, the next multi call waits for it, although the conn itself never lost its own
// connection.
func TestReannounce_NextCallWaitsForTheServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newLinkedFleet(t, 3)
		servers, _ := f.all()
		assert.Equal(t, 3, servers)
		f.links[2].sever()
		servers, _ = f.all()
		assert.Equal(t, 2, servers)
		servers, took := f.all()
		assert.Equal(t, 2, servers)
		assert.Equal(t, handlerTime, took)
		f.links[2].restore()
		<-time.After(10 * time.Millisecond)
		servers, took = f.all()
		assert.Equal(t, 3, servers)
		assert.Equal(t, handlerTime, took)
	})
}

// If all servers reconnect at the same time, they announce themselves one after the other, and each
// of them once.
func TestReannounce_Spread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const servers = 20
		f := newLinkedFleet(t, servers)
		announcements, began := f.announced(func() {
			for range 3 { // the links are cut again before the servers announce themselves
				for _, l := range f.links {
					l.sever()
					l.restore()
				}
			}
		})
		ids, times := map[string]int{}, map[time.Time]bool{}
		for _, a := range announcements {
			assert.Equal(t, wire.PresenceServing, a.State)
			assert.Less(t, a.at.Sub(began), servers*time.Millisecond)
			ids[string(a.ServerID)]++
			times[a.at] = true
		}
		assert.Len(t, ids, servers)
		assert.Len(t, announcements, servers)
		assert.Greater(t, len(times), servers/2)
		announcements, _ = f.announced(f.links[0].restore)
		assert.Len(t, announcements, 1)
	})
}

// If a server has no connection for a moment, another server may announce that it is gone. When the
// server receives that announcement, it announces itself again.
func TestReannounce_WhenTakenForGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newLinkedFleet(t, 3)
		announcements, _ := f.announced(f.links[0].restore)
		require.Len(t, announcements, 1)
		left := announcements[0].Presence
		left.ServerID, left.State = nil, wire.PresenceLeft
		frame, err := left.AppendFrame(nil)
		require.NoError(t, err)
		announcements, _ = f.announced(func() {
			channel := bus.Channel(wire.PresenceChannel("Fleet"))
			require.NoError(t, f.links[1].Publish(t.Context(), channel, frame, nil))
		})
		require.Len(t, announcements, 2)
		assert.Equal(t, "SRV_0", string(announcements[1].ServerID))
		assert.Equal(t, wire.PresenceServing, announcements[1].State)
	})
}

// A server that stops before it has announced itself again must not announce itself afterwards.
func TestReannounce_NotAfterTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newLinkedFleet(t, 20)
		for _, end := range []func(s *dynamic.Server){
			(*dynamic.Server).Kill,
			func(s *dynamic.Server) { assert.NoError(t, s.Shutdown(t.Context())) },
			func(s *dynamic.Server) { assert.NoError(t, s.Drain(t.Context())) },
		} {
			server, l := f.servers[0], f.links[0]
			f.servers, f.links = f.servers[1:], f.links[1:]
			announcements, _ := f.announced(func() {
				l.restore()
				end(server)
				l.restore()
			})
			require.NotEmpty(t, announcements)
			for _, a := range announcements {
				assert.NotEqual(t, wire.PresenceServing, a.State)
			}
		}
	})
}
