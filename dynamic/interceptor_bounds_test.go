package dynamic_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestRPCInfo_Deadline(t *testing.T) {
	t.Parallel()
	deadlines := make(chan time.Time, 1)
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{
		dynamic.WithClientTimeout(time.Minute),
		dynamic.WithClientRPCInterceptors(func(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
			return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
				deadlines <- info.Deadline(ctx, opts...)
				return next(ctx, request, opts...)
			}
		}),
	}})
	later, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	for _, tt := range []struct {
		ctx  context.Context
		opts []dynamic.RequestOption
		want time.Duration
	}{
		{t.Context(), nil, time.Minute},
		{t.Context(), []dynamic.RequestOption{dynamic.WithRequestTimeout(time.Hour)}, time.Hour},
		{later, []dynamic.RequestOption{dynamic.WithRequestTimeout(time.Hour)}, 10 * time.Minute},
	} {
		started := time.Now()
		_, err := textClient(t, w.conn, seenEcho).Call(tt.ctx, say("hi"), tt.opts...)
		require.NoError(t, err)
		assert.WithinDuration(t, started.Add(tt.want), <-deadlines, 30*time.Second)
	}
	assert.Zero(t, dynamic.RPCInfo{}.Deadline(t.Context()))
	wanted, _ := later.Deadline()
	assert.Equal(t, wanted, dynamic.RPCInfo{}.Deadline(later))
}

func TestSendBounds(t *testing.T) {
	t.Parallel()
	type bounds struct {
		ctx    context.Context
		left   time.Duration
		window int
	}
	seen := make(chan bounds, 1)
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientStreamInterceptors(
		streamFunc(func(next dynamic.StreamHandler) streamFuncs {
			ctx, deadline, window := dynamic.SendBounds(next)
			assert.Equal(t, dynamic.StreamContext(next), ctx)
			assert.Zero(t, deadline)
			assert.Zero(t, window)
			return streamFuncs{send: func(message proto.Message, opts ...dynamic.StreamOption) error {
				ctx, deadline, window := dynamic.SendBounds(next, opts...)
				seen <- bounds{ctx, time.Until(deadline).Round(time.Minute), window}
				return next.Send(message, opts...)
			}}
		}))}})
	stream := w.openFlow(t, dynamic.WithRequestTimeout(time.Hour), dynamic.WithStreamWindow(7))
	require.NoError(t, stream.Send(say("hi")))
	assert.Equal(t, bounds{stream.Context(), time.Hour, 7}, <-seen)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	require.NoError(t, stream.Send(say("hi"), dynamic.WithStreamContext(ctx), dynamic.WithStreamTimeout(2*time.Hour)))
	assert.Equal(t, bounds{ctx, 2 * time.Hour, 7}, <-seen)
	require.NoError(t, stream.Close(nil))

	none, deadline, window := dynamic.SendBounds(nil)
	assert.Equal(t, context.Background(), none)
	assert.Zero(t, deadline)
	assert.Zero(t, window)
}

// TestWithPeer checks that WithPeer reports the ID of the server that responds, with or without an
// error, and an empty ID if none responds.
func TestWithPeer(t *testing.T) {
	t.Parallel()
	w := newSeenWorld(t, with{handlers: dynamic.Handlers{"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
		if request.GetValue() == "fail" {
			return nil, errors.NewErrorf(errors.NotFound, "not here")
		}
		return request, nil
	})}})
	for _, request := range []string{"hi", "fail"} {
		peer := "before"
		_, _ = w.call(t, seenEcho, request, dynamic.WithPeer(&peer))
		assert.Equal(t, "SRV_seen", peer, request)
	}
	require.NoError(t, w.service.Close(t.Context()))
	peer := "before"
	_, err := w.call(t, seenEcho, "hi", dynamic.WithPeer(&peer))
	requireCode(t, errors.Unavailable, err)
	assert.Empty(t, peer)
}

func TestPeerOf(t *testing.T) {
	t.Parallel()
	peers := make(chan string, 1)
	w := newSeenWorld(t, with{conn: []dynamic.ConnOption{dynamic.WithClientMultiRPCInterceptors(
		multiFunc(func(next dynamic.ClientMultiRPCHandler) multiFuncs {
			assert.Empty(t, dynamic.PeerOf(next))
			return multiFuncs{recv: func(response proto.Message, err error) {
				peers <- dynamic.PeerOf(next)
				next.Recv(response, err)
			}}
		}))}})
	w.answers(t, "hi")
	assert.Equal(t, "SRV_seen", <-peers)
	assert.Empty(t, dynamic.PeerOf(nil))
}
