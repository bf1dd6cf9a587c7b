package fleet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// longWait is a wait that is far longer than any answer takes. A loop that ends earlier has not
// waited for it.
const longWait = 20 * time.Second

// serverIDs returns server IDs. The number of IDs in the first shard is inFirst, and the number of
// IDs in other shards is others.
func serverIDs(inFirst, others int) (ids []string) {
	for i := 0; inFirst > 0 || others > 0; i++ {
		id := fmt.Sprint("SRV_", i)
		left := &others
		if shardOf(id) == 0 {
			left = &inFirst
		}
		if *left > 0 {
			*left--
			ids = append(ids, id)
		}
	}
	return ids
}

// Servers must yield every server once and end when all have answered, even if it asks the fleet in
// shards.
func TestServers_EndsWhenAllHaveAnswered(t *testing.T) {
	t.Parallel()
	for network, start := range networks {
		for name, ids := range map[string][]string{
			"at once": serverIDs(1, 49), "in shards": serverIDs(smallShard+1, 20),
		} {
			t.Run(network+" "+name, func(t *testing.T) {
				t.Parallel()
				connect := start(t)
				buses := []bus.Bus{connect(), connect()}
				for i, id := range ids {
					simulate(t, buses[i%2], id)
				}
				f := newFleet(t, connect())
				for range 2 {
					started := time.Now()
					servers, failures := collect(t, f, Wait(longWait))
					assert.Empty(t, failures)
					assert.Len(t, servers, len(ids))
					assert.Less(t, time.Since(started), longWait/2, "the loop has waited")
				}
			})
		}
	}
}

// A query without discovery does not wait for a silent server. Later queries wait for the server,
// because the conn has discovered it in the meantime.
func TestServers_SilentServerOfALargeFleet(t *testing.T) {
	t.Parallel()
	connect := networks["nats"](t)
	b := connect()
	ids := serverIDs(smallShard+1, 20)
	for i, id := range ids {
		if server := simulate(t, b, id); i == 0 {
			server.tell = nil
		}
	}
	f := newFleet(t, connect())
	f.times.quiet, f.times.busyQuiet = 3*time.Second, 3*time.Second // longer than a busy machine may pause
	started := time.Now()
	answers := 0
	f.askUndiscovered(t.Context(), &queryOptions{wait: longWait}, len(ids), func(_ *Server, err error) bool {
		require.NoError(t, err)
		answers++
		return true
	})
	assert.Equal(t, len(ids)-1, answers)
	assert.Less(t, time.Since(started), longWait/2)

	f.hasAsked.Store(true)
	started = time.Now()
	const wait = 5 * time.Second
	servers, _ := collect(t, f, Wait(wait))
	assert.Len(t, servers, len(ids)-1)
	assert.GreaterOrEqual(t, time.Since(started), wait)
}

func TestServers_OfAScope(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	greeter := parseGreeter(t, map[string]string{"greeter.proto": greeterSource, "common.proto": commonSource})
	simulate(t, b, "SRV_one", greeter)
	simulate(t, b, "SRV_two")
	f := newFleet(t, b)

	servers, failures := collect(t, f, OfService("Greeter"), Parts(PartServices))
	assert.Empty(t, failures)
	require.Len(t, servers, 1)
	assert.Equal(t, "digest.test.Greeter", servers["SRV_one"].Services[0].Name)

	servers, failures = collect(t, f, OnServer("SRV_two"))
	assert.Empty(t, failures)
	require.Len(t, servers, 1)
	server := servers["SRV_two"]
	assert.Equal(t, "simulated", server.App)
	assert.Positive(t, server.RoundTrip)
	assert.LessOrEqual(t, server.ClockOffset.Abs(), server.RoundTrip/2, "both sides have the same clock")

	servers, failures = collect(t, f, OnServer("SRV_three"))
	assert.Empty(t, failures, "that there is no such server is not an error")
	assert.Empty(t, servers)
}

func TestServers_Failures(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	simulate(t, b, "SRV_well")
	simulate(t, b, "SRV_strict").refuse = errRefused
	f := newFleet(t, b)

	servers, failures := collect(t, f)
	assert.Len(t, servers, 1)
	require.Len(t, failures, 1)
	assert.ErrorIs(t, failures["SRV_strict"], errors.PermissionDenied)

	simulate(t, b, "SRV_silent").tell = nil
	servers, failures = collect(t, f, Wait(5*time.Second))
	assert.Len(t, servers, 1, "a silent server must not hide the others")
	assert.Len(t, failures, 1)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for server, err := range f.Servers(ctx) {
		assert.Nil(t, server)
		assert.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, f.Conn().Close())
	_, failures = collect(t, f)
	assert.ErrorIs(t, failures[""], errors.ErrClientClosed)
}

// A hanging server of the first shard must not delay the others.
func TestServers_FirstShardHangs(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	ids := serverIDs(1, 1)
	for _, id := range ids {
		if server := simulate(t, b, id); shardOf(id) == 0 {
			server.tell = nil
		}
	}
	started := time.Now()
	for server, err := range newFleet(t, b).Servers(t.Context(), Wait(longWait)) {
		require.NoError(t, err)
		assert.NotZero(t, shardOf(server.ID))
		break
	}
	assert.Less(t, time.Since(started), longWait/2)
}

// If a loop is left early, no goroutines may remain; goleak checks this.
func TestServers_LeaveTheLoop(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	for _, id := range serverIDs(smallShard+1, 30) {
		simulate(t, b, id)
	}
	f := newFleet(t, b)
	for _, leaveAfter := range []int{1, smallShard + 1, smallShard + 5} {
		seen := 0
		for server, err := range f.Servers(t.Context()) {
			require.NoError(t, err)
			require.NotNil(t, server)
			if seen++; seen == leaveAfter {
				break
			}
		}
		assert.Equal(t, leaveAfter, seen)
	}
}

func TestNew_WrongConn(t *testing.T) {
	t.Parallel()
	_, err := New(nil)
	assert.ErrorIs(t, err, errors.InvalidArgument)
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	f := newFleet(t, b)
	require.NoError(t, f.Conn().Close())
	_, err = New(f.Conn())
	assert.ErrorIs(t, err, errors.ErrClientClosed)
}
