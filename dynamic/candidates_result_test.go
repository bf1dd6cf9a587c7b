package dynamic_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// serveBest starts a server of test.Echoes that has this affinity for the method Best. ran counts
// the calls that the server handles.
func serveBest(t *testing.T, b bus.Bus, id string, affinity float32, ran *atomic.Int64) *dynamic.Server {
	t.Helper()
	server := dynamic.NewServer(b, patientServer, dynamic.WithServerID(id))
	t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
	count := func(_ context.Context, request text) (text, error) {
		ran.Add(1)
		return request, nil
	}
	_, err := server.Register(descriptor(t, newRegistry(t), "test.Echoes"), dynamic.Handlers{
		"Best": dynamic.Unary(count, dynamic.WithAffinity(func(context.Context, text) float32 { return affinity })),
		"Echo": dynamic.Unary(count),
	}, dynamic.AllowMissing())
	require.NoError(t, err)
	return server
}

func TestCandidates_OnEachBus(t *testing.T) {
	t.Parallel()
	local := bus.NewLocal()
	for name, connect := range map[string]func(t *testing.T) func() bus.Bus{
		"local": func(t *testing.T) func() bus.Bus { t.Helper(); return func() bus.Bus { return local } },
		"redis": func(t *testing.T) func() bus.Bus { t.Helper(); return opener(t, testenv.Redis(t).URL()) },
		"nats":  func(t *testing.T) func() bus.Bus { t.Helper(); return opener(t, testenv.NATS(t).URL()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connect := connect(t)
			var ran atomic.Int64
			serveBest(t, connect(), "SRV_good", 0.5, &ran)
			serveBest(t, connect(), "SRV_better", 0.75, &ran)
			serveBest(t, connect(), "SRV_unwilling", -1, &ran)
			conn, err := dynamic.NewConn(connect(), newRegistry(t), patientConn)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, conn.Close()) })

			result, err := dynamic.Candidates(t.Context(), conn, best, nil, dynamic.WithRequestTimeout(time.Minute))
			require.NoError(t, err)
			got := map[string]bool{}
			for _, candidate := range result.Candidates {
				got[candidate.ServerID] = candidate.Declined
				assert.Positive(t, candidate.After)
			}
			assert.Equal(t, map[string]bool{"SRV_good": false, "SRV_better": false, "SRV_unwilling": true}, got)
			assert.Equal(t, "SRV_better", result.Selected)
			assert.True(t, result.Complete)
			assert.False(t, result.OneOfSeveral)
			if name == "nats" {
				assert.Equal(t, bus.Unknown, result.Receivers)
			} else {
				assert.Equal(t, 3, result.Receivers)
				assert.Zero(t, result.Silent)
			}

			result, err = dynamic.Candidates(t.Context(), conn, echo, nil, dynamic.WithRequestTimeout(time.Minute))
			require.NoError(t, err)
			assert.True(t, result.OneOfSeveral)
			require.Len(t, result.Candidates, 1)
			assert.Equal(t, result.Candidates[0].ServerID, result.Selected)
			assert.Zero(t, ran.Load(), "handlers that ran")
		})
	}
}

// opener returns a function that opens a bus with the URL.
func opener(t *testing.T, url string) func() bus.Bus {
	t.Helper()
	return func() bus.Bus {
		b, err := bus.Open(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b
	}
}

func TestCandidates_NobodyListens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	result, err := dynamic.Candidates(t.Context(), w.conn, best, nil, dynamic.WithRequestTimeout(time.Minute))
	require.NoError(t, err)
	assert.Zero(t, result.Receivers)
	assert.Zero(t, result.Silent)
	assert.True(t, result.Complete)
	assert.Empty(t, result.Candidates)
	assert.Empty(t, result.Selected)
}

func TestCandidates_SilentServers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		peer := peer{t, w.bus}
		requests := peer.listen(requestChannel("Best"), bus.Broadcast)
		peer.listen(requestChannel("Best"), bus.Broadcast)
		grants := peer.listen(grantChannel("Best"), bus.Broadcast)
		type outcome struct {
			result *dynamic.CandidatesResult
			err    error
		}
		done := make(chan outcome, 1)
		go func() { // it ends after 50 ms, and the test waits for it
			result, err := dynamic.Candidates(context.Background(), w.conn, best, nil,
				dynamic.WithRequestTimeout(50*time.Millisecond), dynamic.WithMetadata(map[string]string{"a": "b"}))
			done <- outcome{result, err}
		}()
		request := peer.nextRequest(requests)
		assert.Equal(t, map[string]string{"a": "b"}, request.Metadata)
		assert.False(t, request.SkipClaim)
		assert.Zero(t, request.AnnounceAfter, "a server would run the request")
		assert.GreaterOrEqual(t, time.Duration(request.Expiry-request.SentAt), dynamic.DefaultClientTimeout)
		peer.claim(request, "SRV_a")
		peer.claim(request, "SRV_a")
		got := requireSoon(t, done, "result")
		require.NoError(t, got.err)
		assert.Equal(t, 2, got.result.Receivers)
		assert.Equal(t, 1, got.result.Silent)
		assert.False(t, got.result.Complete)
		require.Len(t, got.result.Candidates, 1)
		assert.Equal(t, "SRV_a", got.result.Selected)
		grant := peer.nextGrant(grants)
		assert.Equal(t, request.RequestID, grant.RequestID)
		assert.Empty(t, grant.ServerID)
		assert.Empty(t, grants)
	})
}

func TestCandidates_WithSelectionOpts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var ran atomic.Int64
	serveBest(t, w.bus, "SRV_good", 0.5, &ran)
	serveBest(t, w.bus, "SRV_better", 0.75, &ran)
	for _, tt := range []struct {
		opts dynamic.SelectionOpts
		want string
	}{
		{dynamic.SelectionOpts{MinimumAffinity: 0.9}, ""},
		{dynamic.SelectionOpts{MinimumAffinity: 0.6}, "SRV_better"},
		{dynamic.SelectionOpts{SelectionFunc: func([]*dynamic.Claim) (string, error) { return "SRV_good", nil }}, "SRV_good"},
		{dynamic.SelectionOpts{SelectionFunc: func([]*dynamic.Claim) (string, error) { return "", errors.ErrNoResponse }}, ""},
	} {
		result, err := dynamic.Candidates(t.Context(), w.conn, best, nil,
			dynamic.WithSelectionOpts(tt.opts), dynamic.WithRequestTimeout(time.Minute))
		require.NoError(t, err)
		assert.Equal(t, tt.want, result.Selected)
		assert.Len(t, result.Candidates, 2)
	}
	assert.Zero(t, ran.Load())
}

// Candidates must refuse methods whose servers do not claim requests, because these servers would
// run the request.
func TestCandidates_RefusedWithoutClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	peer := peer{t, w.bus}
	requests := peer.listen(requestChannel("Direct"), bus.Broadcast)
	for _, method := range []string{direct, "test.Kinds/All", "test.Kinds/Feed"} {
		_, err := dynamic.Candidates(t.Context(), w.conn, method, nil)
		requireCode(t, errors.FailedPrecondition, err)
	}
	assert.Empty(t, requests)
	_, err := dynamic.Candidates(t.Context(), w.conn, "test.Kinds/Flow", map[string]any{})
	requireCode(t, errors.InvalidArgument, err)
	_, err = dynamic.Candidates(t.Context(), w.conn, repeat, map[string]any{"nosuch": 1})
	requireCode(t, errors.InvalidArgument, err)
}

func TestCandidates_OfAStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var ran atomic.Int64
	_, err := w.server.Register(descriptor(t, w.registry, "test.Kinds"), dynamic.Handlers{
		"Flow": dynamic.Stream(func(dynamic.ServerStream[proto.Message, proto.Message]) error { ran.Add(1); return nil }),
	}, dynamic.AllowMissing())
	require.NoError(t, err)
	result, err := dynamic.Candidates(t.Context(), w.conn, "test.Kinds/Flow", nil, dynamic.WithRequestTimeout(time.Minute))
	require.NoError(t, err)
	require.Len(t, result.Candidates, 1)
	assert.Equal(t, "SRV_test", result.Selected)
	assert.True(t, result.Complete)
	assert.Zero(t, ran.Load())
}

func TestCandidates_Ends(t *testing.T) {
	t.Parallel()
	t.Run("with its context", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		requests := peer{t, w.bus}.listen(requestChannel("Best"), bus.Broadcast)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { // it ends when the request has arrived
			<-requests
			cancel()
		}()
		_, err := dynamic.Candidates(ctx, w.conn, best, nil, dynamic.WithRequestTimeout(time.Minute))
		requireCode(t, errors.Canceled, err)
	})
	t.Run("with its conn", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		requests := peer{t, w.bus}.listen(requestChannel("Best"), bus.Broadcast)
		go func() { // it ends when the request has arrived
			<-requests
			assert.NoError(t, w.conn.Close())
		}()
		_, err := dynamic.Candidates(t.Context(), w.conn, best, nil, dynamic.WithRequestTimeout(time.Minute))
		require.ErrorIs(t, err, errors.ErrClientClosed)
	})
	t.Run("with the error of a server", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		peer := peer{t, w.bus}
		requests := peer.listen(requestChannel("Best"), bus.Broadcast)
		go func() { // it ends when the request has arrived
			request := peer.nextRequest(requests)
			peer.send(responseChannel(string(request.ClientID)), &wire.Response{
				RequestID: request.RequestID, ServerID: []byte(peerServer), Error: "what is this", Code: string(errors.MalformedRequest),
			})
		}()
		_, err := dynamic.Candidates(t.Context(), w.conn, best, nil, dynamic.WithRequestTimeout(time.Minute))
		requireCode(t, errors.MalformedRequest, err)
	})
}

// If a call selects no server, the client must at once publish a grant without a server ID, which
// frees the servers that have claimed the request. A cancellation is not enough, because psrpc
// servers do not support cancellations.
func TestClient_NamesNobody(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]dynamic.SelectionOpts{
		"below the minimum": {MinimumAffinity: 2, AffinityTimeout: 20 * time.Millisecond},
		"refused":           {AffinityTimeout: 20 * time.Millisecond, SelectionFunc: func([]*dynamic.Claim) (string, error) { return "", errors.ErrNoResponse }},
		"none":              {AffinityTimeout: 20 * time.Millisecond, SelectionFunc: func([]*dynamic.Claim) (string, error) { return "", nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := startCall(t, "Best", dynamic.WithSelectionOpts(opts))
				c.claim(c.request, "SRV_a")
				c.claim(c.request, "SRV_b")
				c.requireError()
				grant := c.nextGrant(c.grants)
				assert.Equal(t, c.request.RequestID, grant.RequestID)
				assert.Empty(t, grant.ServerID)
				assert.Empty(t, c.grants, "psrpc stops reading after several")
			})
		})
	}
	t.Run("no claim", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := startCall(t, "Best", dynamic.WithSelectionOpts(dynamic.SelectionOpts{AffinityTimeout: time.Millisecond}))
			c.requireError()
			assert.Empty(t, c.grants)
		})
	})
	t.Run("closed conn", func(t *testing.T) {
		t.Parallel()
		c := startCall(t, "Best", dynamic.WithSelectionOpts(dynamic.SelectionOpts{AffinityTimeout: time.Minute}))
		c.claim(c.request, "SRV_a")
		require.NoError(t, c.conn.Close())
		c.requireError()
		assert.Empty(t, c.nextGrant(c.grants).ServerID)
	})
}

func TestBus_OfConnAndServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	assert.Same(t, w.bus, w.conn.Bus())
	assert.Same(t, w.bus, w.server.Bus())
	assert.Nil(t, dynamic.NewServer(nil).Bus())
}
