package fleet

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// A Follower must add, replace and remove services in its registry when servers do so.
func TestFollow_KeepsARegistryInStep(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	f := patientFleet(t, s.conn)
	reg := registry.New()
	follower, err := f.Follow(t.Context(), reg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, follower.Close()) }()
	service, ok := reg.Service("shop.Orders")
	require.True(t, ok)
	require.Len(t, reg.Services(), 1, "the control service is left out")
	first, err := DigestOf(service.Descriptor())
	require.NoError(t, err)

	next, err := s.orders.Replace(ordersOf(t, shopRegistry(t, "message More {}")), orderHandlers(), dynamic.AllowMissing())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		service, ok := reg.Service("shop.Orders")
		require.True(t, ok, "the service is never missing")
		digest, err := DigestOf(service.Descriptor())
		return err == nil && digest != first
	}, 10*time.Second, time.Millisecond)

	require.NoError(t, next.Close(context.Background()))
	require.Eventually(t, func() bool { return len(reg.Services()) == 0 }, 10*time.Second, time.Millisecond)
}

// A server must not get a control service into the registry by giving it another full name.
func TestFollow_LeavesOutAliasesOfControlServices(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	alias, err := registry.NewService(ordersOf(t, s.shop).Descriptor(), registry.WithWireName("DynpsrpcAdmin"))
	require.NoError(t, err)
	server := dynamic.NewServer(s.bus, dynamic.WithLogger(slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Kill)
	_, err = server.Register(alias, orderHandlers(), dynamic.AllowMissing())
	require.NoError(t, err)
	_, err = Serve(server)
	require.NoError(t, err)
	f := patientFleet(t, s.conn)
	served, err := f.servedVersions(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "Orders", served["shop.Orders"].WireName)
}

func TestFollow_LeavesOtherServicesAlone(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	f := patientFleet(t, s.conn)
	reg := shopRegistry(t, "message Mine {}")
	mine, _ := reg.Service("shop.Orders")
	follower, err := f.Follow(t.Context(), reg, nil)
	require.NoError(t, err)
	require.NoError(t, follower.Close())
	require.NoError(t, s.orders.Close(context.Background()))
	for range 2 {
		require.NoError(t, follower.sync(t.Context()))
	}
	kept, _ := reg.Service("shop.Orders")
	assert.Same(t, mine, kept)
}

// A Follower must remove a service only if it is missing twice, because an answer may be late or
// lost.
func TestFollow_OneLostAnswerRemovesNothing(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	f := patientFleet(t, s.conn)
	reg := registry.New()
	follower, err := f.Follow(t.Context(), reg, nil)
	require.NoError(t, err)
	require.NoError(t, follower.Close())
	served, err := f.servedVersions(t.Context())
	require.NoError(t, err)

	for _, answers := range []map[string]Version{nil, served, nil} {
		follower.removeMissing(answers)
		require.Len(t, reg.Services(), 1)
	}
	follower.removeMissing(nil)
	require.Empty(t, reg.Services())
}
