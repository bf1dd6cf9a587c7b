package rest_test

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
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway/rest"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// When a server starts to serve another version of a service, the paths must change. No call may
// fail in the meantime.
func TestAnnotations_FollowAFleet(t *testing.T) {
	t.Parallel()
	f := &fixture{registry: registry.New()}
	parse(t, f.registry, header+messages+library)
	f.service, _ = f.registry.Service("library.Library")
	b := bus.NewLocal()
	server := dynamic.NewServer(b)
	t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
	_, err := fleet.Serve(server)
	require.NoError(t, err)
	served, err := server.Register(f.service, f.handlers())
	require.NoError(t, err)

	followed := registry.New()
	conn, err := dynamic.NewConn(b, followed, patient)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	asking, err := fleet.New(conn)
	require.NoError(t, err)
	follower, err := asking.Follow(t.Context(), followed, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, follower.Close()) })
	gw, err := gateway.New(conn, followed, gateway.WithMethods("library.*/*"), rest.WithAnnotations())
	require.NoError(t, err)
	f.server = httptest.NewServer(gw)
	t.Cleanup(f.server.Close)
	has := func(path string) func() bool {
		return func() bool { return f.do(t, "GET "+path, "").status == http.StatusOK }
	}
	require.Eventually(t, has("/v1/books/go"), patience, time.Millisecond)

	stop := make(chan struct{})
	var calls, failed atomic.Int32
	var callers sync.WaitGroup
	callers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			calls.Add(1)
			if r := f.do(t, "GET /v1/books/go?pages=1", ""); r.status != http.StatusOK {
				failed.Add(1)
				t.Log(r.status, r.body)
			}
		}
	})
	for i := range 2 {
		added := fmt.Sprintf(`rpc Added(Book) returns (Book) { option (google.api.http) = { get: "/v%d/added" }; } }`, i)
		version := registry.New()
		parse(t, version, header+messages+strings.TrimSuffix(strings.TrimSpace(library), "}")+added)
		f.service, _ = version.Service("library.Library")
		served, err = served.Replace(f.service, f.handlers())
		require.NoError(t, err)
		require.Eventually(t, has(fmt.Sprintf("/v%d/added", i)), patience, time.Millisecond)
		assert.Equal(t, http.StatusNotFound, f.do(t, fmt.Sprintf("GET /v%d/added", i-1), "").status)
	}
	close(stop)
	callers.Wait()
	assert.Zero(t, failed.Load(), "of %d calls", calls.Load())
}
