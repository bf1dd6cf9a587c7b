package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// No HTTP call may fail while servers add, replace and remove services, as plugins do.
func TestGateway_FollowsAFleetWithoutAFailedCall(t *testing.T) {
	t.Parallel()
	f := &fixture{bus: bus.NewLocal(), registry: parse(t, source)}
	f.service, _ = f.registry.Service("shop.Shop")
	server := dynamic.NewServer(f.bus, dynamic.WithServerID("SRV_one"))
	t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
	_, err := fleet.Serve(server)
	require.NoError(t, err)
	followed := registry.New()
	conn, err := dynamic.NewConn(f.bus, followed)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	asking, err := fleet.New(conn)
	require.NoError(t, err)
	follower, err := asking.Follow(t.Context(), followed, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, follower.Close()) })
	gw, err := gateway.New(conn, followed, gateway.WithMethods("*/*"), gateway.WithOpenAPI(), gateway.WithReflection())
	require.NoError(t, err)
	f.server = httptest.NewServer(gw)
	t.Cleanup(f.server.Close)
	require.Equal(t, http.StatusNotImplemented, f.post(t, "/shop.Shop/Get", `{}`).status)

	shop, err := server.Register(f.service, f.handlers("SRV_one"), dynamic.AllowMissing())
	require.NoError(t, err)
	serves := func() bool { return f.post(t, "/shop.Shop/Get", `{}`).status == http.StatusOK }
	require.Eventually(t, serves, 10*time.Second, time.Millisecond)

	stop := make(chan struct{})
	var calls, failed atomic.Int32
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				calls.Add(1)
				if r := f.post(t, "/shop.Shop/Get", `{"name": "tea"}`); r.status != http.StatusOK {
					failed.Add(1)
					t.Log(r.status, r.body)
				}
			}
		})
	}
	for i := range 5 {
		added := fmt.Sprintf("Added%d", i)
		version, _ := parse(t, source+"message "+added+" {} message Uses"+added+" { "+added+" field = 1; }").Service("shop.Shop")
		shop, err = shop.Replace(version, f.handlers("SRV_one"), dynamic.AllowMissing())
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			return strings.Contains(f.do(t, http.MethodGet, "/descriptors.binpb", "").body, added)
		}, 10*time.Second, time.Millisecond)
	}
	close(stop)
	callers.Wait()
	assert.Zero(t, failed.Load(), "of %d calls", calls.Load())

	require.NoError(t, shop.Close(context.Background()))
	require.Eventually(t, func() bool {
		return !strings.Contains(f.do(t, http.MethodGet, "/openapi.json", "").body, "shop.Shop")
	}, 10*time.Second, time.Millisecond)
	assert.Equal(t, http.StatusNotImplemented, f.post(t, "/shop.Shop/Get", `{}`).status)
}
