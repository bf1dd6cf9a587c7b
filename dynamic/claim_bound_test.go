package dynamic_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// eternalRequest returns a request that expires in the year 2262.
func eternalRequest(id string) *wire.Request {
	request := newRequest(id, "hi")
	request.Expiry = math.MaxInt64
	return request
}

func requestID(i int) string { return fmt.Sprintf("REQ_%012d", i) }

// newClaimWorld returns a server that serves Best and Echo, a peer, and the number of calls that
// the two handlers have received.
func newClaimWorld(t testing.TB, opts ...dynamic.ServerOption) (*world, peer, *atomic.Int64) {
	t.Helper()
	w := newWorldOn(t, bus.NewLocal(), opts...)
	runs := new(atomic.Int64)
	handle := func(_ context.Context, request text) (text, error) {
		runs.Add(1)
		return request, nil
	}
	affinity := dynamic.WithAffinity(func(context.Context, text) float32 { return 1 })
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(handle), "Best": dynamic.Unary(handle, affinity)})
	return w, peer{t, w.bus}, runs
}

func (p peer) grant(method, id string) {
	p.t.Helper()
	p.send(grantChannel(method), &wire.ClaimResponse{RequestID: []byte(id), ServerID: []byte("SRV_test")})
}

// TestServer_PendingClaimsHaveNoGoroutines checks that requests which wait for the client's grant
// occupy memory, but no goroutines.
func TestServer_PendingClaimsHaveNoGoroutines(t *testing.T) {
	const requests = 2000
	w, p, runs := newClaimWorld(t)
	claims := p.listen(claimChannel(peerClient), bus.Broadcast)
	before := runtime.NumGoroutine()
	for i := range requests {
		p.send(requestChannel("Best"), eternalRequest(requestID(i)))
		p.nextClaim(claims)
	}
	assert.Less(t, runtime.NumGoroutine(), before+200, "some idle workers stay")
	for i := range requests {
		p.grant("Best", requestID(i))
	}
	require.Eventually(t, func() bool { return runs.Load() == requests }, 10*time.Second, time.Millisecond)
	assert.Zero(t, w.server.Stats().Evicted)
}

// TestServer_OldestPendingClaimsAreEvicted checks the limits for claimed requests that wait for a
// grant. If there are too many, the oldest ones are counted and never run. The others run.
func TestServer_OldestPendingClaimsAreEvicted(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 1000)
	frame := len(encode(t, newRequest(requestID(0), large)))
	for name, option := range map[string]dynamic.ServerOption{
		"number": dynamic.WithMaxPendingClaims(10), "bytes": dynamic.WithMaxPendingClaimBytes(10 * frame),
	} {
		for _, method := range []string{"Best", "Echo"} {
			t.Run(name+"/"+method, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					log := &capturedLog{}
					w, p, runs := newClaimWorld(t, option, dynamic.WithLogger(slog.New(log)))
					for i := range 100 {
						p.send(requestChannel(method), newRequest(requestID(i), large))
						synctest.Wait()
					}
					assert.EqualValues(t, 90, w.server.Stats().Evicted)
					for i := range 100 {
						p.grant(method, requestID(i))
					}
					synctest.Wait()
					assert.EqualValues(t, 10, runs.Load())
					assert.Len(t, log.all(), 1, "one line a second")
				})
			})
		}
	}
}

// TestServer_OneLargePendingClaim checks that a single waiting request is kept, even if it is
// larger than the limit in bytes.
func TestServer_OneLargePendingClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, p, runs := newClaimWorld(t, dynamic.WithMaxPendingClaimBytes(1))
		p.send(requestChannel("Best"), newRequest(peerRequest, "larger than that"))
		synctest.Wait()
		p.grant("Best", peerRequest)
		synctest.Wait()
		assert.EqualValues(t, 1, runs.Load())
		assert.Zero(t, w.server.Stats().Evicted)
	})
}

// TestServer_GrantTimeout checks that the server keeps a claimed request until its own grant
// timeout, even if the request expires much later.
func TestServer_GrantTimeout(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		options []dynamic.ServerOption
		timeout time.Duration
	}{
		"default": {nil, dynamic.DefaultGrantTimeout},
		"option":  {[]dynamic.ServerOption{dynamic.WithGrantTimeout(time.Hour)}, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, p, runs := newClaimWorld(t, tt.options...)
				p.send(requestChannel("Best"), eternalRequest("REQ_early"))
				p.send(requestChannel("Best"), eternalRequest("REQ_late"))
				<-time.After(tt.timeout - 1)
				p.grant("Best", "REQ_early")
				synctest.Wait()
				assert.EqualValues(t, 1, runs.Load())
				<-time.After(1)
				synctest.Wait()
				assert.EqualValues(t, 1, w.server.Stats().Evicted)
				p.grant("Best", "REQ_late")
				synctest.Wait()
				assert.EqualValues(t, 1, runs.Load())
			})
		})
	}
}

// TestServer_PendingClaimsEnd checks that claimed requests which wait for a grant do not delay the
// shutdown until they expire. They end at once if the client cancels them or the server is killed.
// Otherwise, Shutdown waits for their grants, but only for the selection timeout. Their handlers do
// not run.
func TestServer_PendingClaimsEnd(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end   func(w *world, p peer) error
		after time.Duration
	}{
		"cancel": {func(w *world, p peer) error {
			p.send(bus.Channel(wire.CancelChannel("Echoes")), &wire.Cancel{RequestID: []byte(peerRequest)})
			return w.server.Shutdown(context.Background())
		}, 0},
		"kill": {func(w *world, _ peer) error {
			w.server.Kill()
			return w.server.Shutdown(context.Background())
		}, 0},
		"shutdown": {func(w *world, _ peer) error { return w.server.Shutdown(context.Background()) }, dynamic.DefaultSelectionTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, p, runs := newClaimWorld(t)
				p.send(requestChannel("Best"), eternalRequest(peerRequest))
				synctest.Wait()
				start := time.Now()
				require.NoError(t, tt.end(w, p))
				assert.Equal(t, tt.after, time.Since(start))
				p.grant("Best", peerRequest)
				synctest.Wait()
				assert.Zero(t, runs.Load())
				assert.Zero(t, w.server.Stats().Evicted)
			})
		})
	}
}
