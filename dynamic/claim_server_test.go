package dynamic_test

import (
	"context"
	"fmt"
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

// claimed is a server in a synctest bubble. The test acts as its client and sends the frames that
// psrpc sends.
type claimed struct {
	peer

	world     *world
	runs      atomic.Int64
	claims    <-chan wire.Envelope
	responses <-chan wire.Envelope
}

func newClaimed(t testing.TB) *claimed {
	t.Helper()
	w := newWorld(t)
	c := &claimed{peer: peer{t, w.bus}, world: w}
	handler := dynamic.Unary(func(_ context.Context, request text) (text, error) {
		c.runs.Add(1)
		return request, nil
	})
	w.serve(t, dynamic.Handlers{"Echo": handler, "Best": handler, "Direct": handler})
	c.claims = c.listen(claimChannel(peerClient), bus.Broadcast)
	c.responses = c.listen(responseChannel(peerClient), bus.Broadcast)
	return c
}

func (c *claimed) grant(method, id, server string) {
	c.t.Helper()
	c.send(grantChannel(method), &wire.ClaimResponse{RequestID: []byte(id), ServerID: []byte(server)})
}

// requireQuiet waits until all goroutines are blocked, and checks that the handler did not run and
// nothing was sent.
func (c *claimed) requireQuiet() {
	c.t.Helper()
	synctest.Wait()
	require.Zero(c.t, c.runs.Load())
	require.Empty(c.t, c.responses)
}

// requireRanOnce checks that the handler ran once, that the response has this body, and that
// nothing else was sent.
func (c *claimed) requireRanOnce(body string) {
	c.t.Helper()
	response := c.nextResponse(c.responses)
	assert.Equal(c.t, peerRequest, string(response.RequestID))
	assert.Equal(c.t, "SRV_test", string(response.ServerID))
	assert.NotZero(c.t, response.SentAt)
	assert.Empty(c.t, response.Error)
	assert.Equal(c.t, encodedText(c.t, body), response.Body.Raw)
	synctest.Wait()
	require.EqualValues(c.t, 1, c.runs.Load())
	require.Empty(c.t, c.responses)
	require.Empty(c.t, c.claims)
}

// TestServer_ClaimHandshake checks that the server runs a claimed request if the client grants it
// to this server, and does not run it otherwise.
func TestServer_ClaimHandshake(t *testing.T) {
	t.Parallel()
	const id = peerRequest
	for _, method := range []string{"Echo", "Best"} {
		for _, tt := range []struct {
			name   string
			choose func(c *claimed)
			runs   bool
		}{
			{"naming this server", func(c *claimed) { c.grant(method, id, "SRV_test") }, true},
			{"naming another", func(c *claimed) { c.grant(method, id, "SRV_other") }, false},
			{"naming none", func(c *claimed) { c.grant(method, id, "") }, false},
			{"for another request", func(c *claimed) { c.grant(method, "REQ_other0000000", "SRV_test") }, false},
			{"never", func(*claimed) {}, false},
			{"late, before the expiry", func(c *claimed) {
				<-time.After(time.Minute - time.Nanosecond)
				c.grant(method, id, "SRV_test")
			}, true},
			{"after the expiry", func(c *claimed) {
				<-time.After(time.Minute)
				synctest.Wait()
				c.grant(method, id, "SRV_test")
			}, false},
			{"three times", func(c *claimed) {
				for range 3 {
					c.grant(method, id, "SRV_test")
				}
			}, true},
			{"another, then this one", func(c *claimed) {
				c.grant(method, id, "SRV_other")
				c.grant(method, id, "SRV_test")
			}, false},
			{"this one, then another", func(c *claimed) {
				c.grant(method, id, "SRV_test")
				c.grant(method, id, "SRV_other")
			}, true},
			{"again after the run", func(c *claimed) {
				c.grant(method, id, "SRV_test")
				synctest.Wait()
				c.grant(method, id, "SRV_test")
			}, true},
		} {
			t.Run(method+"/granted "+tt.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c := newClaimed(t)
					c.send(requestChannel(method), newRequest(id, "hi"))
					claim := c.nextClaim(c.claims)
					require.Equal(t, wire.ClaimRequest{RequestID: []byte(id), ServerID: []byte("SRV_test"), Affinity: 1}, claim)
					c.requireQuiet()
					tt.choose(c)
					if tt.runs {
						c.requireRanOnce("hi")
					} else {
						c.requireQuiet()
					}
				})
			})
		}
	}
}

func TestServer_GrantBeforeRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClaimed(t)
		c.grant("Echo", peerRequest, "SRV_test")
		c.send(requestChannel("Echo"), newRequest(peerRequest, "hi"))
		c.nextClaim(c.claims)
		c.requireQuiet()
	})
}

// TestServer_SameRequestIDTwice sends two requests with the same ID. The server claims both, and a
// grant runs the later one, as in psrpc.
func TestServer_SameRequestIDTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClaimed(t)
		for _, body := range []string{"earlier", "later"} {
			c.send(requestChannel("Echo"), newRequest(peerRequest, body))
			c.nextClaim(c.claims)
			synctest.Wait()
		}
		c.grant("Echo", peerRequest, "SRV_test")
		c.requireRanOnce("later")
	})
}

func TestServer_NoClaimIsNeeded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method string
		accept       bool
	}{
		{"single_server method", "Direct", false},
		{"queue method and a client that takes a direct answer", "Echo", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newClaimed(t)
				request := newRequest(peerRequest, "hi")
				request.AcceptDirect = tt.accept
				c.send(requestChannel(tt.method), request)
				c.requireRanOnce("hi")
			})
		})
	}
	t.Run("affinity method needs one all the same", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := newClaimed(t)
			request := newRequest(peerRequest, "hi")
			request.AcceptDirect = true
			c.send(requestChannel("Best"), request)
			c.nextClaim(c.claims)
			c.requireQuiet()
		})
	})
}

// TestServer_UndecodableRequest checks that the server rejects an undecodable request at once and
// without a claim, as psrpc does.
func TestServer_UndecodableRequest(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Echo", "Direct", "Best"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newClaimed(t)
				request := newRequest(peerRequest, "")
				request.Body = wire.Body{Raw: []byte{0xff}}
				c.send(requestChannel(method), request)
				response := c.nextResponse(c.responses)
				assert.Equal(t, "malformed_request", response.Code)
				assert.Contains(t, response.Error, "google.protobuf.StringValue")
				synctest.Wait()
				assert.Empty(t, c.claims)
				assert.Zero(t, c.runs.Load())
			})
		})
	}
}

// TestServer_ThreeServersOfOneMethod checks that three servers claim a request, and that only the
// server that the client selects runs the request.
func TestServer_ThreeServersOfOneMethod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := peer{t, w.bus}
		var runs [3]atomic.Int64
		for i := range runs {
			server := dynamic.NewServer(w.bus, dynamic.WithServerID(fmt.Sprintf("SRV_%d", i)))
			t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
			_, err := server.Register(descriptor(t, w.registry, "test.Echoes"), dynamic.Handlers{
				"Best": dynamic.Unary(func(_ context.Context, request text) (text, error) {
					runs[i].Add(1)
					return request, nil
				}),
			}, dynamic.AllowMissing())
			require.NoError(t, err)
		}
		claims := p.listen(claimChannel(peerClient), bus.Broadcast)
		responses := p.listen(responseChannel(peerClient), bus.Broadcast)
		p.send(requestChannel("Best"), newRequest(peerRequest, "hi"))
		synctest.Wait()
		require.Len(t, claims, 3)
		p.send(grantChannel("Best"), &wire.ClaimResponse{RequestID: []byte(peerRequest), ServerID: []byte("SRV_1")})
		synctest.Wait()
		require.Len(t, responses, 1)
		assert.Equal(t, "SRV_1", string(p.nextResponse(responses).ServerID))
		assert.Zero(t, runs[0].Load())
		assert.EqualValues(t, 1, runs[1].Load())
		assert.Zero(t, runs[2].Load())
	})
}
