package dynamic_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

func skippingRequest(body string) *wire.Request {
	request := newRequest(peerRequest, body)
	request.SkipClaim = true
	return request
}

// TestServer_SkipClaim checks the requests of newer psrpc clients that need no grant. The server
// announces that it handles such a request and runs it at once.
func TestServer_SkipClaim(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClaimed(t)
		c.send(requestChannel("Echo"), skippingRequest("hi"))
		claim := c.nextClaim(c.claims)
		assert.Equal(t, wire.ClaimRequest{
			RequestID: []byte(peerRequest), ServerID: []byte("SRV_test"), Affinity: 1, Handling: true,
		}, claim)
		c.requireRanOnce("hi")
		// The client may send its grant before it learns that none is needed.
		c.grant("Echo", peerRequest, "SRV_test")
		synctest.Wait()
		assert.EqualValues(t, 1, c.runs.Load())
		assert.Empty(t, c.responses)
	})
}

// TestServer_SkipClaimOrder checks that the claim is sent before the handler runs, and therefore
// before the response.
func TestServer_SkipClaimOrder(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	p := peer{t, b.Bus}
	kinds := make(chan []wire.Kind, 1)
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
		kinds <- b.sentKinds(t)
		return request, nil
	})})
	responses := p.listen(responseChannel(peerClient), bus.Broadcast)
	p.send(requestChannel("Echo"), skippingRequest("hi"))
	assert.Equal(t, []wire.Kind{wire.KindClaimRequest}, requireSoon(t, kinds, "handler"))
	p.nextResponse(responses)
}

// TestServer_SkipClaimWithAcceptDirect checks that a client of this library receives no claim, but
// only the response.
func TestServer_SkipClaimWithAcceptDirect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClaimed(t)
		request := skippingRequest("hi")
		request.AcceptDirect = true
		c.send(requestChannel("Echo"), request)
		c.requireRanOnce("hi")
	})
}

// TestServer_SkipClaimIsNoGrant checks that a method with affinity waits for the grant, because
// several servers have received the request.
func TestServer_SkipClaimIsNoGrant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClaimed(t)
		c.send(requestChannel("Best"), skippingRequest("hi"))
		c.nextClaim(c.claims)
		c.requireQuiet()
		c.grant("Best", peerRequest, "SRV_test")
		c.requireRanOnce("hi")
	})
}

func TestServer_SkipClaimWhereNobodyClaims(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClaimed(t)
		c.send(requestChannel("Direct"), skippingRequest("hi"))
		c.requireRanOnce("hi")
	})
}

// TestServer_SkipClaimOfDoubtfulRequest checks that a request which seems to be late runs only
// after its client has granted it.
func TestServer_SkipClaimOfDoubtfulRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClaimed(t)
		request := skippingRequest("hi")
		request.SentAt -= int64(time.Hour)
		request.Expiry -= int64(time.Hour)
		c.send(requestChannel("Echo"), request)
		c.nextClaim(c.claims)
		c.requireQuiet()
		c.grant("Echo", peerRequest, "SRV_test")
		c.requireRanOnce("hi")
	})
}

// TestServer_SkipClaimUnwilling checks that a server with a negative affinity neither claims the
// request nor runs it.
func TestServer_SkipClaimUnwilling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := peer{t, w.bus}
		w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(
			func(context.Context, text) (text, error) { panic("must not run") },
			dynamic.WithAffinity(func(context.Context, text) float32 { return -1 }),
		)})
		claims := p.listen(claimChannel(peerClient), bus.Broadcast)
		responses := p.listen(responseChannel(peerClient), bus.Broadcast)
		p.send(requestChannel("Echo"), skippingRequest("hi"))
		synctest.Wait()
		assert.Empty(t, claims)
		assert.Empty(t, responses)
	})
}

// TestClient_SkipClaimServer checks that a call accepts the frames of a newer psrpc server in any
// order, and returns the response.
func TestClient_SkipClaimServer(t *testing.T) {
	t.Parallel()
	t.Run("claim first", func(t *testing.T) {
		t.Parallel()
		c := startCall(t, "Echo", dynamic.WithRequestTimeout(time.Hour))
		c.claim(c.request, peerServer)
		c.answer(c.request, "bye")
		c.requireResponse("bye")
		assert.LessOrEqual(t, len(c.grants), 1, "for it may be an older server")
	})
	t.Run("response first", func(t *testing.T) {
		t.Parallel()
		c := startCall(t, "Echo", dynamic.WithRequestTimeout(time.Hour))
		c.answer(c.request, "bye")
		c.claim(c.request, peerServer)
		c.requireResponse("bye")
	})
	t.Run("error", func(t *testing.T) {
		t.Parallel()
		c := startCall(t, "Echo", dynamic.WithRequestTimeout(time.Hour))
		c.claim(c.request, peerServer)
		c.send(responseChannel("CLI_test"), &wire.Response{
			RequestID: c.request.RequestID, ServerID: []byte(peerServer), Error: "gone", Code: "not_found",
		})
		requireCode(t, errors.NotFound, c.requireError())
	})
	t.Run("claim alone", func(t *testing.T) {
		t.Parallel()
		c := startCall(t, "Echo", dynamic.WithRequestTimeout(time.Hour))
		c.claim(c.request, peerServer)
		assert.Equal(t, peerServer, string(c.nextGrant(c.grants).ServerID), "an older server waits for it")
		c.answer(c.request, "bye")
		c.requireResponse("bye")
	})
}

// TestClient_SkipClaimLosesNoTime checks that a call ends as soon as the response arrives, whether
// that is before or after the claim.
func TestClient_SkipClaimLosesNoTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, delays := range [][2]time.Duration{{0, time.Millisecond}, {time.Millisecond, 0}, {0, 0}} {
			w := newWorld(t)
			p := peer{t, w.bus}
			_, err := w.bus.Subscribe(t.Context(), requestChannel("Echo"), bus.Queue, func(frame []byte) {
				envelope, err := wire.ParseEnvelope(frame)
				require.NoError(t, err)
				request, err := wire.ParseRequest(envelope.Value)
				require.NoError(t, err)
				time.AfterFunc(delays[0], func() { p.claim(request, peerServer) })
				time.AfterFunc(delays[1], func() { p.answer(request, "bye") })
			})
			require.NoError(t, err)
			start := time.Now()
			response, err := w.call(t, echo, "hi")
			require.NoError(t, err)
			assert.Equal(t, "bye", response)
			assert.Equal(t, delays[1], time.Since(start), delays)
			synctest.Wait()
			<-time.After(time.Second) // wait until the remaining frames have arrived
		}
	})
}

// TestClient_SkipClaimNotOffered checks that a request asks servers to wait for a grant if the
// client itself selects the server.
func TestClient_SkipClaimNotOffered(t *testing.T) {
	t.Parallel()
	for method, opts := range map[string][]dynamic.RequestOption{
		"Best": nil,
		"Echo": {dynamic.WithSelectionOpts(dynamic.SelectionOpts{AcceptFirstAvailable: true})},
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			c := startCall(t, method, opts...)
			assert.False(t, c.request.SkipClaim)
			assert.False(t, c.request.AcceptDirect)
			require.NoError(t, c.conn.Close())
			c.requireError()
		})
	}
}

// TestServer_SkipClaimFlood checks that each of many concurrent requests is claimed once and
// answered once.
func TestServer_SkipClaimFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClaimed(t)
		const requests = 200
		for i := range requests {
			request := skippingRequest("hi")
			request.RequestID = fmt.Appendf(nil, "REQ_flood%07d", i)
			request.Body = wire.Body{Message: wrapperspb.String("hi")}
			c.send(requestChannel("Echo"), request)
		}
		synctest.Wait()
		assert.Len(t, c.claims, requests)
		assert.Len(t, c.responses, requests)
		assert.EqualValues(t, requests, c.runs.Load())
	})
}
