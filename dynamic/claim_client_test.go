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
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// calling is a client with a running call. The test has received the request and acts as the
// server.
type calling struct {
	peer

	conn    *dynamic.Conn
	request wire.Request
	grants  <-chan wire.Envelope
	result  chan callResult
}

type callResult struct {
	response text
	err      error
}

// startCall starts a call to a method of test.Echoes and receives its request.
func startCall(t testing.TB, method string, opts ...dynamic.RequestOption) *calling {
	t.Helper()
	return startCallIn(t, newWorld(t), method, opts...)
}

// startCallIn is like startCall, but calls in a world that the caller has created.
func startCallIn(t testing.TB, w *world, method string, opts ...dynamic.RequestOption) *calling {
	t.Helper()
	c := &calling{peer: peer{t, w.bus}, conn: w.conn, result: make(chan callResult, 1)}
	requests := c.listen(requestChannel(method), bus.Queue)
	c.grants = c.listen(grantChannel(method), bus.Broadcast)
	client := textClient(t, w.conn, "test.Echoes/"+method)
	go func() { // this goroutine ends with the call, for which the test waits
		response, err := client.Call(context.Background(), wrapperspb.String("hi"), opts...)
		c.result <- callResult{response, err}
	}()
	c.request = c.nextRequest(requests)
	return c
}

func (c *calling) requireResponse(want string) {
	c.t.Helper()
	result := requireSoon(c.t, c.result, "end of the call")
	require.NoError(c.t, result.err)
	require.Equal(c.t, want, result.response.GetValue())
}

func (c *calling) requireError() error {
	c.t.Helper()
	result := requireSoon(c.t, c.result, "end of the call")
	require.Error(c.t, result.err)
	return result.err
}

func TestClient_RequestOnTheWire(t *testing.T) {
	t.Parallel()
	for method, direct := range map[string]bool{"Echo": true, "Direct": false, "Best": false} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.useDefaultTimeouts(t)
			c := startCallIn(t, w, method)
			assert.Regexp(t, `^REQ_[a-zA-Z0-9]{12}$`, string(c.request.RequestID))
			assert.Equal(t, "CLI_test", string(c.request.ClientID))
			assert.Equal(t, encodedText(t, "hi"), c.request.Body.Raw)
			assert.False(t, c.request.Multi)
			assert.Equal(t, direct, c.request.AnnounceAfter != 0)
			assert.Equal(t, direct, c.request.SkipClaim)
			assert.False(t, c.request.AcceptDirect, "older servers would answer without an announcement")
			assert.WithinDuration(t, time.Now(), time.Unix(0, c.request.SentAt), time.Minute)
			assert.Equal(t, dynamic.DefaultClientTimeout, time.Duration(c.request.Expiry-c.request.SentAt))
			require.NoError(t, c.conn.Close())
			c.requireError()
		})
	}
}

// TestClient_ClaimHandshake calls a server that claims each request before it responds, as psrpc
// servers do.
func TestClient_ClaimHandshake(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Echo", "Best"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			c := startCall(t, method)
			c.claim(c.request, peerServer)
			grant := c.nextGrant(c.grants)
			assert.Equal(t, c.request.RequestID, grant.RequestID)
			assert.Equal(t, peerServer, string(grant.ServerID))
			c.answer(c.request, "bye")
			c.requireResponse("bye")
			assert.Empty(t, c.grants)
		})
	}
}

func TestClient_GrantsOnlyTheFirstClaim(t *testing.T) {
	t.Parallel()
	c := startCall(t, "Echo")
	for i := range 3 {
		c.claim(c.request, fmt.Sprintf("SRV_%d", i))
	}
	assert.Equal(t, "SRV_0", string(c.nextGrant(c.grants).ServerID))
	c.answer(c.request, "bye") // the response is accepted from any server, as in psrpc
	c.requireResponse("bye")
	assert.Empty(t, c.grants)
}

func TestClient_ResponseWithoutClaim(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Echo", "Direct"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			c := startCall(t, method)
			c.answer(c.request, "bye")
			c.requireResponse("bye")
			assert.Empty(t, c.grants)
		})
	}
}

// TestClient_ErrorWithoutClaim checks that the call ends at once if a server responds, without a
// claim, that it cannot decode the request. A psrpc client would still wait for claims on some
// methods.
func TestClient_ErrorWithoutClaim(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Echo", "Direct", "Best"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			c := startCall(t, method, dynamic.WithRequestTimeout(time.Hour))
			c.send(responseChannel("CLI_test"), &wire.Response{
				RequestID: c.request.RequestID, ServerID: []byte(peerServer), Error: "cannot read it", Code: "malformed_request",
			})
			coded := requireCode(t, errors.MalformedRequest, c.requireError())
			assert.Equal(t, "cannot read it", coded.Error())
		})
	}
}

func TestClient_ErrorWithoutCode(t *testing.T) {
	t.Parallel()
	c := startCall(t, "Direct")
	c.send(responseChannel("CLI_test"), &wire.Response{RequestID: c.request.RequestID, Error: "oops"})
	assert.Equal(t, "oops", requireCode(t, errors.Unknown, c.requireError()).Error())
}

// TestClient_CodeWithoutErrorText checks that a response with an error code and no error text
// counts as a success, as in psrpc.
func TestClient_CodeWithoutErrorText(t *testing.T) {
	t.Parallel()
	c := startCall(t, "Direct")
	c.send(responseChannel("CLI_test"), &wire.Response{RequestID: c.request.RequestID, Code: "internal"})
	c.requireResponse("")
}

func TestClient_UndecodableResponse(t *testing.T) {
	t.Parallel()
	c := startCall(t, "Direct")
	c.send(responseChannel("CLI_test"), &wire.Response{
		RequestID: c.request.RequestID, Body: wire.Body{Raw: []byte{0xff}},
	})
	coded := requireCode(t, errors.MalformedResponse, c.requireError())
	assert.Contains(t, coded.Error(), direct)
	assert.Contains(t, coded.Error(), "google.protobuf.StringValue")
}

func TestClient_SilentServers(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	for _, tt := range []struct {
		name, method string
		claims       bool
		code         errors.ErrorCode
		reason       errors.Reason
		phase        errors.Phase
	}{
		{"queue", "Echo", false, errors.DeadlineExceeded, errors.ReasonSilent, errors.PhaseResponse},
		{"queue, claimed", "Echo", true, errors.DeadlineExceeded, errors.ReasonClaimedButSilent, errors.PhaseResponse},
		{"direct", "Direct", false, errors.DeadlineExceeded, errors.ReasonSilent, errors.PhaseResponse},
		{"affinity", "Best", false, errors.Unavailable, errors.ReasonSilent, errors.PhaseSelection},
		{"affinity, claimed", "Best", true, errors.DeadlineExceeded, errors.ReasonClaimedButSilent, errors.PhaseResponse},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				c := startCall(t, tt.method, dynamic.WithRequestTimeout(timeout))
				claims := 0
				if tt.claims {
					claims = 1
					<-time.After(time.Millisecond) // the selection takes some time
					c.claim(c.request, peerServer)
					c.nextGrant(c.grants)
				}
				err := c.requireError()
				assert.Equal(t, timeout, time.Since(start))
				requireCode(t, tt.code, err)
				facts := requireFacts(t, tt.reason, err)
				assert.Equal(t, tt.phase, facts.Phase)
				assert.Equal(t, "test.Echoes/"+tt.method, facts.Method)
				assert.Equal(t, claims, facts.Claims)
				assert.Equal(t, tt.claims, facts.ServerID == peerServer)
				total := facts.PublishTime + facts.SelectionTime + facts.ResponseTime
				assert.Equal(t, timeout, total)
				assert.Equal(t, tt.phase == errors.PhaseSelection || tt.claims, facts.SelectionTime > 0)
				assert.Equal(t, tt.phase == errors.PhaseResponse, facts.ResponseTime > 0)
			})
		})
	}
}

// TestServer_QueueOfThree checks that the bus delivers each request to exactly one of three
// servers, and that this server runs it.
func TestServer_QueueOfThree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var runs [3]atomic.Int64
	for i := range runs {
		server := dynamic.NewServer(w.bus)
		t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
		_, err := server.Register(descriptor(t, w.registry, "test.Echoes"), dynamic.Handlers{
			"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
				runs[i].Add(1)
				return request, nil
			}),
		}, dynamic.AllowMissing())
		require.NoError(t, err)
	}
	for range 60 {
		response, err := w.call(t, echo, "hi")
		require.NoError(t, err)
		require.Equal(t, "hi", response)
	}
	sum := int64(0)
	for i := range runs {
		assert.NotZero(t, runs[i].Load(), "server %d", i)
		sum += runs[i].Load()
	}
	assert.EqualValues(t, 60, sum)
}

func TestCall_Frames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method string
		kinds  []wire.Kind
	}{
		{echo, []wire.Kind{wire.KindRequest, wire.KindResponse}},
		{direct, []wire.Kind{wire.KindRequest, wire.KindResponse}},
		{best, []wire.Kind{wire.KindRequest, wire.KindClaimRequest, wire.KindClaimResponse, wire.KindResponse}},
	} {
		t.Run(tt.method, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newFakeBus()
				w := newWorldOn(t, b)
				handler := dynamic.Unary(echoHandler)
				w.serve(t, dynamic.Handlers{"Echo": handler, "Direct": handler, "Best": handler})
				response, err := w.call(t, tt.method, "hi")
				require.NoError(t, err)
				assert.Equal(t, "hi", response)
				assert.Equal(t, tt.kinds, b.sentKinds(t))
			})
		})
	}
}
