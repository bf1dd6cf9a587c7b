package fleet

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// peersSchema declares a service with methods of several kinds.
func peersSchema(t *testing.T) *registry.Service {
	t.Helper()
	return parseGreeter(t, map[string]string{"greeter.proto": `syntax = "proto3"; package digest.test;
		import "options.proto"; import "common.proto";
		service Greeter {
			rpc Hello(Name) returns (Name);
			rpc Region(Name) returns (Name) { option (psrpc.options) = { type: AFFINITY topics: true }; }
			rpc Flow(Name) returns (Name) { option (psrpc.options) = { stream: true }; }
			rpc News(Name) returns (Name) { option (psrpc.options) = { subscription: true type: MULTI }; }
		}`, "common.proto": commonSource})
}

// listen subscribes to channels as a process of psrpc does.
func listen(t *testing.T, b bus.Bus, channels ...wire.Channel) {
	t.Helper()
	for _, channel := range channels {
		s, err := b.Subscribe(t.Context(), bus.Channel(channel), bus.Broadcast, func([]byte) {})
		require.NoError(t, err)
		t.Cleanup(s.Close)
	}
}

// peerService returns a service of a result.
func peerService(t *testing.T, peers *Peers, wireName string) *PeerService {
	t.Helper()
	for _, s := range peers.Services {
		if s.WireName == wireName {
			return s
		}
	}
	require.Fail(t, "no such service", wireName)
	return nil
}

// Peers must leave out names that cannot be part of a channel, because the bus could not count the
// receivers of the other channels either.
func TestPeers_FaultyServer(t *testing.T) {
	t.Parallel()
	f := newFleet(t, bus.NewLocal())
	faulty := simulate(t, f.conn.Bus(), "SRV_faulty")
	faulty.tell.Services = []Service{
		{WireName: "two words"}, {WireName: ""}, {WireName: "a..b"}, {WireName: ">"}, {WireName: strings.Repeat("x", 1000)},
		{Name: "pkg.Good", WireName: "Good", Methods: []Method{{WireName: "Get"}, {WireName: "G t"}}},
	}
	peers, err := f.Peers(t.Context())
	require.NoError(t, err)
	require.Len(t, peers.Servers, 1)
	require.Len(t, peers.Services, 1)
	require.Len(t, peers.Services[0].Methods, 1)
	assert.Equal(t, "Get", peers.Services[0].Methods[0].WireName)
}

// Peers must find psrpc servers, servers that hang, and clients, although none of them answers
// requests of a Fleet.
func TestPeers_FindsWhoCannotAnswer(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"local", "redis"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			connect := networks[network](t)
			greeter := peersSchema(t)
			simulate(t, connect(), "SRV_well", greeter)
			simulate(t, connect(), "SRV_strict", greeter).refuse = errRefused
			ours := connect()
			for range 2 {
				server := dynamic.NewServer(ours)
				t.Cleanup(server.Kill)
				_, err := server.Register(greeter.Descriptor(), dynamic.Handlers{}, dynamic.AllowMissing())
				require.NoError(t, err)
				ours = connect()
			}
			psrpc := connect()
			listen(t, psrpc,
				wire.RequestChannel("Greeter", "Region", []string{"eu"}, false), wire.ClaimResponseChannel("Greeter", "Region", []string{"eu"}),
				wire.RequestChannel("Greeter", "Hello", nil, true), wire.ClaimResponseChannel("Greeter", "Hello", nil),
				wire.RequestChannel("Room", "Join", nil, false),
				wire.RequestChannel("Room", "Talk", nil, false), wire.StreamServerChannel("Room", "Talk", nil),
				wire.ResponseChannel("Room", "CLI_psrpc"), wire.ClaimRequestChannel("Room", "CLI_psrpc"))
			silent := connect()
			listen(t, silent, queryChannel(scopeAll))

			f := newFleet(t, connect())
			peers, err := f.Peers(t.Context(), Scan(), PeersQuery(Wait(5*time.Second)))
			require.NoError(t, err)
			require.NoError(t, peers.ScanErr)
			require.Len(t, peers.Servers, 1)
			assert.Contains(t, peers.Refused, "SRV_strict")
			assert.Equal(t, 1, peers.Silent)
			assert.Len(t, peers.Services, 2, "the control services are left out")

			s := peerService(t, peers, "Greeter")
			assert.Equal(t, []string{"digest.test.Greeter"}, s.Names)
			assert.Equal(t, []string{"SRV_well"}, s.Servers)
			assert.Equal(t, 1, s.Silent, "the server that refuses does not say what it serves")
			assert.Equal(t, 2, s.Dynpsrpc)
			assert.Equal(t, 1, s.Psrpc)
			for _, m := range s.Methods {
				assert.NotEmpty(t, m.WireName)
			}
			room := peerService(t, peers, "Room")
			assert.Equal(t, []string{"CLI_psrpc"}, room.Clients)
			assert.Equal(t, 1, room.Psrpc)
			assert.Empty(t, room.Names)
			require.Len(t, room.Methods, 2)
			assert.Equal(t, "Talk", room.Methods[1].WireName)
			assert.True(t, room.Methods[1].KindKnown)
			assert.Equal(t, registry.KindStream, room.Methods[1].Kind)
			assert.False(t, room.Methods[0].KindKnown)
		})
	}
}

// Without Scan, Peers must count the receivers of known services only.
func TestPeers_WithoutScan(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	greeter := peersSchema(t)
	listen(t, b, wire.RequestChannel("Greeter", "Hello", nil, true), wire.RequestChannel("Room", "Join", nil, false))
	f := newFleet(t, b)
	peers, err := f.Peers(t.Context())
	require.NoError(t, err)
	assert.Empty(t, peers.Services)

	reg := registry.New()
	_, err = reg.Register(greeter.Descriptor())
	require.NoError(t, err)
	peers, err = f.Peers(t.Context(), Schemas(reg))
	require.NoError(t, err)
	require.Len(t, peers.Services, 1)
	assert.Equal(t, 1, peers.Services[0].Psrpc)
	assert.Zero(t, peers.Services[0].Dynpsrpc)
}

// The option Candidates must find the IDs of servers that do not answer requests of a Fleet,
// without running a handler.
func TestPeers_Candidates(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	greeter := peersSchema(t)
	server := dynamic.NewServer(b, dynamic.WithServerID("SRV_other"))
	defer server.Kill()
	registration, err := server.Register(greeter.Descriptor(), dynamic.Handlers{
		"Region": dynamic.Raw(func(context.Context, *registry.Method, []byte) ([]byte, error) {
			t.Error("a handler has run")
			return nil, nil
		}),
	}, dynamic.AllowMissing())
	require.NoError(t, err)
	require.NoError(t, registration.RegisterTopic("Region", "eu"))
	reg := registry.New()
	_, err = reg.Register(greeter.Descriptor())
	require.NoError(t, err)
	conn, err := dynamic.NewConn(b, reg, patientConn)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	f := patientFleet(t, conn)
	peers, err := f.Peers(t.Context(), Schemas(reg), Candidates("digest.test.Greeter/Region", nil, dynamic.WithTopic("eu"), dynamic.WithRequestTimeout(longWait)))
	require.NoError(t, err)
	require.Len(t, peers.Services, 1)
	s := peers.Services[0]
	assert.Equal(t, []string{"SRV_other"}, s.Others)
	assert.Empty(t, s.Servers)
	require.Equal(t, "Region", s.Methods[len(s.Methods)-1].Name)
	assert.Equal(t, "SRV_other", s.Methods[len(s.Methods)-1].Candidates.Selected)

	_, err = f.Peers(t.Context(), Schemas(reg), Candidates("digest.test.Greeter/News", nil))
	assert.ErrorIs(t, err, errors.FailedPrecondition)
}

// On NATS with a monitor, Peers must find as much as on Redis, except which methods psrpc servers
// serve.
func TestPeers_OnNATSWithAMonitor(t *testing.T) {
	t.Parallel()
	nats := testenv.NATS(t, func(o *server.Options) { o.HTTPHost, o.HTTPPort = "127.0.0.1", -1 })
	connect := opener(t, nats.URL()+"?monitor=http://"+nats.Server().MonitorAddr().String())
	greeter := peersSchema(t)
	ours := dynamic.NewServer(connect())
	t.Cleanup(ours.Kill)
	_, err := ours.Register(greeter.Descriptor(), dynamic.Handlers{}, dynamic.AllowMissing())
	require.NoError(t, err)
	psrpc := connect()
	listen(t, psrpc, wire.RequestChannel("Room", "Join", nil, false), wire.ResponseChannel("Room", "CLI_psrpc"))
	subscription, err := psrpc.Subscribe(t.Context(), bus.Channel(wire.RequestChannel("Greeter", "Hello", nil, true)), bus.Queue, func([]byte) {})
	require.NoError(t, err)
	t.Cleanup(subscription.Close)

	peers, err := newFleet(t, connect()).Peers(t.Context(), Scan(), PeersQuery(Wait(100*time.Millisecond)))
	require.NoError(t, err)
	require.NoError(t, peers.ScanErr)
	s := peerService(t, peers, "Greeter")
	assert.Equal(t, 2, s.Receivers)
	assert.Equal(t, 1, s.Dynpsrpc)
	assert.Equal(t, 1, s.Psrpc)
	room := peerService(t, peers, "Room")
	assert.Equal(t, []string{"CLI_psrpc"}, room.Clients)
	assert.Equal(t, 1, room.Psrpc)
}

// On NATS without a monitor, Peers can find out only whether there are receivers.
func TestPeers_OnNATSWithoutAMonitor(t *testing.T) {
	t.Parallel()
	connect := opener(t, testenv.NATS(t).URL())
	greeter := peersSchema(t)
	simulate(t, connect(), "SRV_well", greeter)
	ours := dynamic.NewServer(connect())
	t.Cleanup(ours.Kill)
	_, err := ours.Register(greeter.Descriptor(), dynamic.Handlers{"Hello": dynamic.Raw(
		func(_ context.Context, _ *registry.Method, request []byte) ([]byte, error) { return request, nil },
	)}, dynamic.AllowMissing())
	require.NoError(t, err)
	reg := registry.New()
	_, err = reg.Register(greeter.Descriptor())
	require.NoError(t, err)

	peers, err := newFleet(t, connect()).Peers(t.Context(), Scan(), Schemas(reg))
	require.NoError(t, err)
	require.ErrorIs(t, peers.ScanErr, errors.Unimplemented)
	assert.Equal(t, bus.Unknown, peers.Silent)
	s := peerService(t, peers, "Greeter")
	assert.Equal(t, []string{"SRV_well"}, s.Servers)
	assert.Equal(t, bus.Unknown, s.Silent)
	assert.Equal(t, 1, s.Dynpsrpc)
	assert.Equal(t, 1, s.Receivers)
	assert.Equal(t, bus.Unknown, s.Psrpc)
}
