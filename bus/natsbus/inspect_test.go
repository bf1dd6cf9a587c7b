package natsbus_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// monitored starts a server with a monitoring port, a system account, and two other accounts. It
// returns the server and the URLs of both kinds of monitors.
func monitored(tb testing.TB) (s *testenv.NATSServer, monitors map[string]string) {
	tb.Helper()
	s = testenv.NATS(tb, func(o *server.Options) {
		o.HTTPHost, o.HTTPPort = "127.0.0.1", -1
		system, other := server.NewAccount("SYS"), server.NewAccount("OTHER")
		app := server.NewAccount("APP")
		o.Accounts, o.SystemAccount = []*server.Account{system, app, other}, "SYS"
		o.Users = []*server.User{
			{Username: "system", Password: "secret", Account: system},
			{Username: "app", Password: "secret", Account: app}, {Username: "other", Password: "secret", Account: other},
		}
	})
	return s, map[string]string{
		"http":   fmt.Sprintf("http://%s/", s.Server().MonitorAddr()),
		"system": "nats://system:secret@" + addr(s.URL()),
	}
}

var app, other = nats.UserInfo("app", "secret"), nats.UserInfo("other", "secret")

func TestBus_InspectionWithAMonitor(t *testing.T) {
	t.Parallel()
	s, monitors := monitored(t)
	for name, monitor := range monitors {
		for mode, opts := range map[string][]natsbus.Option{"": {natsbus.WithPrefix("staging.")}, "PerMethod": {natsbus.WithSubjectPerMethod()}} {
			t.Run(name+mode, func(t *testing.T) {
				opts := append(opts, natsbus.WithMonitor(monitor))
				bustest.RunInspection(t, bustest.Network{
					Connect: func(tb testing.TB) bus.Bus {
						return newBusOn(tb, connect(tb, s.URL(), app), opts...)
					},
					CountsSubscriptions: true,
					MaxFrameSize:        1 << 20,
				})
			})
		}
	}
}

// Most NATS servers for tests and development have no accounts. The methods of Inspector must also
// work on such a server.
func TestBus_InspectionWithoutAccounts(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, func(o *server.Options) { o.HTTPHost, o.HTTPPort = "127.0.0.1", -1 })
	monitor := natsbus.WithMonitor(fmt.Sprintf("http://%s", s.Server().MonitorAddr()))
	bustest.RunInspection(t, bustest.Network{
		Connect:             func(tb testing.TB) bus.Bus { return newBusOn(tb, connect(tb, s.URL()), monitor) },
		CountsSubscriptions: true,
		MaxFrameSize:        1 << 20,
	})
}

func TestBus_ScanTellsPeers(t *testing.T) {
	t.Parallel()
	s, monitors := monitored(t)
	for name, monitor := range monitors {
		t.Run(name, func(t *testing.T) {
			b := newBusOn(t, connect(t, s.URL(), app, nats.Name("worker")), natsbus.WithMonitor(monitor))
			foreign := newBusOn(t, connect(t, s.URL(), other))
			observer := connect(t, s.URL(), app, nats.Name("observer"))
			_, err := observer.SubscribeSync(">")
			require.NoError(t, err)
			require.NoError(t, observer.Flush())
			for _, b := range []bus.Bus{b, foreign} {
				listen(t, b, requests, bus.Queue)
				listen(t, b, others, bus.Queue)
				listen(t, b, results, bus.Broadcast)
			}
			got := map[string]bus.Presence{}
			for presence, err := range b.Scan(t.Context()) {
				require.NoError(t, err)
				require.Len(t, presence.Peers, 1)
				assert.Equal(t, "worker", presence.Peers[0].Name)
				assert.Contains(t, presence.Peers[0].Address, "127.0.0.1:")
				presence.Peers = nil
				got[presence.Channel] = presence
			}
			want := map[string]bus.Presence{}
			for _, presence := range []bus.Presence{
				{Channel: "SRV.Svc.Q", Carries: bus.CarriesRequests, Queue: true},
				{Channel: "DYN.QUEUE.SRV.Svc.Q.Method.REQ", Method: "Method", Carries: bus.CarriesPrivate, Queue: true},
				{Channel: "DYN.QUEUE.SRV.Svc.Q.Other.REQ", Method: "Other", Carries: bus.CarriesPrivate, Queue: true},
				{Channel: "CLI.Svc.ID.RES", ClientID: "ID", Carries: bus.CarriesResponses},
			} {
				presence.Service, presence.Receivers = "Svc", 1
				want[presence.Channel] = presence
			}
			assert.Equal(t, want, got)

			counts, err := b.Count(t.Context(), requests, results, bus.Channel{Subject: "SRV.Nobody"})
			require.NoError(t, err)
			assert.Equal(t, []int{1, 1, 0}, counts, "the observer is not counted")
			peers, err := b.Peers(t.Context())
			require.NoError(t, err)
			assert.Len(t, peers, 2, "both connections of the account")
			info, err := b.Info(t.Context())
			require.NoError(t, err)
			assert.GreaterOrEqual(t, info.Connections, 3)
			assert.EqualValues(t, 64<<20, info.OutputBuffer.Hard)
			assert.Empty(t, info.Withheld)
		})
	}
}

// A monitor that uses the system account must see the connections to all servers of a cluster.
func TestBus_InspectionOfACluster(t *testing.T) {
	t.Parallel()
	first, second := newCluster(t, func(o *server.Options) {
		system, app := server.NewAccount("SYS"), server.NewAccount("APP")
		o.Accounts, o.SystemAccount = []*server.Account{system, app}, "SYS"
		o.Users = []*server.User{
			{Username: "system", Password: "secret", Account: system}, {Username: "app", Password: "secret", Account: app},
		}
	})
	monitor := natsbus.WithMonitor("nats://system:secret@" + addr(first))
	a, b := newBusOn(t, connect(t, first, app), monitor), newBusOn(t, connect(t, second, app), monitor)
	listen(t, a, results, bus.Broadcast)
	listen(t, b, results, bus.Broadcast)
	// A server of a cluster may need a moment until it knows the other server.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		counts, err := a.Count(t.Context(), results)
		require.NoError(c, err)
		assert.Equal(c, []int{2}, counts)
	}, testTimeout, 10*time.Millisecond)
	nodes := map[string]bool{}
	for presence, err := range b.Scan(t.Context()) {
		require.NoError(t, err)
		assert.Equal(t, 2, presence.Receivers)
		for _, peer := range presence.Peers {
			nodes[peer.Node] = true
		}
	}
	assert.Len(t, nodes, 2)
	info, err := b.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "cluster", info.Cluster)
	assert.GreaterOrEqual(t, info.Connections, 2)
}

// Count must also be right for many subjects: for more than maxSubjectQuestions with a monitor, and
// for more than maxProbes without one.
func TestBus_CountsManySubjects(t *testing.T) {
	t.Parallel()
	s, monitors := monitored(t)
	for name, monitor := range map[string]string{"http": monitors["http"], "none": ""} {
		t.Run(name, func(t *testing.T) {
			b := newBusOn(t, connect(t, s.URL(), app), natsbus.WithMonitor(monitor))
			var channels []bus.Channel
			var want []int
			for i := range 1000 {
				channel := bus.Channel{Name: fmt.Sprint(i), Subject: fmt.Sprintf("SRV.S%d", i)}
				if i%100 == 0 {
					listen(t, b, channel, bus.Broadcast)
				}
				channels = append(channels, channel)
				want = append(want, map[bool]int{true: 1}[i%100 == 0])
			}
			counts, err := b.Count(t.Context(), channels...)
			require.NoError(t, err)
			assert.Equal(t, want, counts)
		})
	}
}

func TestBus_InspectionWithoutMonitor(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t)
	b := newBus(t, s.URL(), natsbus.WithPrefix("a."), natsbus.WithSubjectPerMethod())
	for _, err := range b.Scan(t.Context()) {
		requireCode(t, errors.Unimplemented, err)
	}
	_, err := b.Peers(t.Context())
	requireCode(t, errors.Unimplemented, err)
	info, err := b.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, bus.Settings{Kind: "nats", Prefix: "a.", Modes: []string{"subject_per_method"}, MaxFrameSize: 1 << 20}, info.Settings)
	assert.Equal(t, "nats", info.Software)
	assert.Equal(t, server.VERSION, info.Version)
	assert.Equal(t, addr(s.URL()), info.Address)
	assert.Positive(t, info.RoundTrip)
	assert.Len(t, info.Withheld, 1)
}

// The probes that Count publishes must not reach the handlers of any kind of subscription.
func TestBus_ProbesAreDropped(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t)
	a, b := newBus(t, s.URL()), newBus(t, s.URL())
	queue, _ := listen(t, a, requests, bus.Queue)
	responses, _ := listen(t, a, results, bus.Broadcast)
	counts, err := b.Count(t.Context(), requests, others, results, bus.Channel{Subject: "SRV.Nobody"})
	require.NoError(t, err)
	assert.Equal(t, []int{1, 1, 1, 0}, counts, "on NATS, methods share a subject")
	counts, err = b.Count(t.Context(), results)
	require.NoError(t, err)
	assert.Equal(t, []int{1}, counts)
	assert.Empty(t, queue)
	assert.Empty(t, responses)
	assert.Zero(t, a.Stats().Dropped)
}

func TestBus_CountIsDenied(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "narrow", Password: "secret", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"SRV.Denied"}},
		}}}
	})
	b := newBusOn(t, connect(t, s.URL(), nats.UserInfo("narrow", "secret")))
	counts, err := b.Count(t.Context(), bus.Channel{Subject: "SRV.Denied"}, bus.Channel{Subject: "SRV.Nobody"})
	require.NoError(t, err)
	assert.Equal(t, []int{bus.Unknown, 0}, counts)
}

func TestWithMonitor_Errors(t *testing.T) {
	t.Parallel()
	s, _ := monitored(t)
	nc := connect(t, s.URL(), app)
	for _, url := range []string{"ftp://secret", "secret", "http://", "http://a:1,nats://secret@b:2", "nats://:secret", "nats://a:1?nosuch=secret"} {
		_, err := natsbus.New(nc, natsbus.WithMonitor(url))
		requireCode(t, errors.InvalidArgument, err)
		assert.NotContains(t, err.Error(), "secret")
	}
	for _, url := range []string{
		"http://user:secret@127.0.0.1:1", "nats://system:secret@127.0.0.1:1", "nats://app:secret@" + addr(s.URL()),
	} {
		b := newBusOn(t, nc, natsbus.WithMonitor(url))
		for _, err := range b.Scan(t.Context()) {
			require.Error(t, err)
			assert.NotContains(t, err.Error(), "secret")
		}
		info, err := b.Info(t.Context())
		require.NoError(t, err)
		assert.Len(t, info.Withheld, 1)
	}
}
