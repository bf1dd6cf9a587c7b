package redisbus_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

func TestBus_Info(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru",
		"--client-output-buffer-limit", "pubsub 4mb 1mb 30")
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), DB: 3})
	b, err := redisbus.New(client, redisbus.WithPrefix("a:"), redisbus.WithMaxFrameSize(1000))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.NoError(t, client.Close())
	})
	info, err := b.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, bus.Settings{Kind: "redis", Prefix: "a:", Database: 3, MaxFrameSize: 1000}, info.Settings)
	assert.Contains(t, []string{"redis", "valkey"}, info.Software)
	assert.Regexp(t, `^\d+\.\d+\.\d+`, info.Version)
	assert.Equal(t, server.Addr(), info.Address)
	assert.Empty(t, info.Nodes)
	assert.Positive(t, info.RoundTrip)
	assert.Equal(t, "master", info.Role)
	assert.Equal(t, "allkeys-lru", info.EvictionPolicy)
	assert.EqualValues(t, 100<<20, info.MaxMemory)
	assert.Positive(t, info.UsedMemory)
	assert.Equal(t, bus.OutputBuffer{Hard: 4 << 20, Soft: 1 << 20, SoftTime: 30e9}, info.OutputBuffer)
	assert.GreaterOrEqual(t, info.Connections, 2)
	assert.Empty(t, info.Withheld)
}

// If an ACL permits only the commands that a bus needs, Count, Scan and Peers must fail with code
// permission_denied. Info must return the remaining facts.
func TestBus_InspectionIsDenied(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	require.NoError(t, admin.Do(t.Context(), "acl", "setuser", "narrow", "on", ">secret", "~*", "&*", "+@all",
		"-pubsub", "-info", "-config", "-client").Err())
	require.NoError(t, admin.Close())
	b, err := bus.Open(t.Context(), "redis://narrow:secret@"+server.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	inspector := b.(bus.Inspector)
	_, err = inspector.Count(t.Context(), bus.Channel{Name: "a"})
	require.ErrorIs(t, err, errors.PermissionDenied)
	for _, err := range inspector.Scan(t.Context()) {
		require.ErrorIs(t, err, errors.PermissionDenied)
	}
	_, err = inspector.Peers(t.Context())
	require.ErrorIs(t, err, errors.PermissionDenied)
	roundTrip, err := b.(bus.Informed).RoundTrip(t.Context())
	require.NoError(t, err)
	assert.Positive(t, roundTrip)
	info, err := b.(bus.Informed).Info(t.Context())
	require.NoError(t, err)
	assert.Positive(t, info.RoundTrip)
	assert.Len(t, info.Withheld, 2)
	assert.NotContains(t, info.Withheld[0]+info.Withheld[1], "secret")
}

func TestBus_Peers(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	b := connect(t, server)
	for _, name := range []string{"a", "b"} {
		_, err := b.Subscribe(t.Context(), bus.Channel{Name: name}, bus.Broadcast, func([]byte) {})
		require.NoError(t, err)
	}
	peers, err := b.Peers(t.Context())
	require.NoError(t, err)
	require.Len(t, peers, 1)
	assert.Contains(t, peers[0].Address, "127.0.0.1:")
	assert.Equal(t, 2, peers[0].Subscriptions)
	assert.Zero(t, peers[0].PendingBytes)
	assert.Empty(t, peers[0].Node)
}

func TestBus_ScanSkipsOtherPrefixes(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	for _, prefix := range []string{"", "a*:", "ab:"} {
		b := connect(t, server, redisbus.WithPrefix(prefix))
		for _, name := range []string{"S|Do|REQ", "S|Flow|STR", "S|CLI_a|STR", "S|CLI_a|RES", "news"} {
			_, err := b.Subscribe(t.Context(), bus.Channel{Name: name}, bus.Broadcast, func([]byte) {})
			require.NoError(t, err)
		}
	}
	prefixes, err := connect(t, server).Prefixes(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"", "a*:", "ab:"}, prefixes)
	word := connect(t, server, redisbus.WithPrefix("word"))
	_, err = word.Subscribe(t.Context(), bus.Channel{Name: "S|Do|REQ"}, bus.Broadcast, func([]byte) {})
	require.NoError(t, err)
	prefixes, err = word.Prefixes(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"", "a*:", "ab:", "word"}, prefixes)
	require.NoError(t, word.Close())
	for _, prefix := range []string{"", "a*:"} {
		got := map[string]bus.Presence{}
		for presence, err := range connect(t, server, redisbus.WithPrefix(prefix)).Scan(t.Context()) {
			require.NoError(t, err)
			got[presence.Channel] = presence
		}
		want := map[string]bus.Presence{}
		for _, presence := range []bus.Presence{
			{Channel: "S|Do|REQ", Method: "Do", Carries: bus.CarriesRequests},
			{Channel: "S|Flow|STR", Method: "Flow", Carries: bus.CarriesStreams},
			{Channel: "S|CLI_a|STR", ClientID: "CLI_a", Carries: bus.CarriesStreams},
			{Channel: "S|CLI_a|RES", ClientID: "CLI_a", Carries: bus.CarriesResponses},
		} {
			presence.Channel, presence.Service, presence.Receivers = prefix+presence.Channel, "S", 1
			want[presence.Channel] = presence
		}
		assert.Equal(t, want, got)
	}
}

// An inspection must return when its context ends, even if the server does not answer.
func TestBus_InspectionEnds(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	b := connect(t, server)
	server.Pause()
	defer server.Resume()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { // this goroutine ends with ctx
		_, err := b.Count(ctx, bus.Channel{Name: "a"})
		done <- err
	}()
	go func() { // this goroutine ends with ctx
		_, err := b.RoundTrip(ctx)
		done <- err
	}()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.ErrorIs(t, <-done, context.Canceled)
}

// testClusterInspection tests the inspection of a Cluster with sharded pub/sub, whose servers have
// these addresses.
func testClusterInspection(t *testing.T, addresses []string) {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addresses[:1]})
	b, err := redisbus.New(client, redisbus.WithShardedPubSub())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.NoError(t, client.Close())
	})
	info, err := b.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"sharded", "cluster"}, info.Modes)
	assert.ElementsMatch(t, addresses, info.Nodes)
	assert.Contains(t, addresses, info.Address)
	assert.Zero(t, info.UncoveredSlots)
	_, err = b.Subscribe(t.Context(), bus.Channel{Name: "S|Do|REQ"}, bus.Broadcast, func([]byte) {})
	require.NoError(t, err)
	peers, err := b.Peers(t.Context())
	require.NoError(t, err)
	require.Len(t, peers, 1)
	assert.Contains(t, addresses, peers[0].Node)
}
