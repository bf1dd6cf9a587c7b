package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
)

// testCancellation checks that a call, stream or subscription ends immediately when its context is
// canceled. It also checks that the handler's context ends long before the request expires.
func testCancellation(t *testing.T, network Network) {
	w := newWorld(t, network)
	handlers := newWaiting()
	handlers.serve(w, w.server())
	conn := w.conn(dynamic.WithClientTimeout(time.Hour))
	for _, kind := range singleKinds {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			call := newGeneratedCall(t, conn, kind)
			go func() { // this goroutine ends when ctx is canceled
				_, err := call(ctx, sample("Ada"))
				failed <- err
			}()
			soon(t, handlers.started, "handler")
			cancel()
			err := soon(t, failed, "end of the call")
			requireCode(t, errors.Canceled, err)
			assert.ErrorIs(t, err, context.Canceled)
			soon(t, handlers.finished, "end of the handler")
		})
	}
	t.Run(kindMulti, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		client := newClient[*api.MyRequest, *api.MyResponse](t, conn, fullName(calls, kindMulti), nil)
		responses, err := client.CallMulti(ctx, sample("Ada"))
		require.NoError(t, err)
		soon(t, handlers.started, "handler")
		cancel()
		ended(t, responses, "responses to a context that has ended")
		require.Error(t, soon(t, handlers.finished, "end of the handler"))
	})
	for _, kind := range streamKinds {
		t.Run("stream/"+kind, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			client := newClient[*api.MyClientMessage, *api.MyServerMessage](t, conn, fullName(streams, kind), nil)
			stream, err := client.OpenStream(ctx)
			require.NoError(t, err)
			soon(t, handlers.started, "handler")
			cancel()
			ended(t, stream.Channel(), "stream of a context that has ended")
			require.ErrorIs(t, stream.Err(), context.Canceled)
			require.Error(t, soon(t, handlers.finished, "end of the handler"))
		})
	}
	for _, kind := range feedKinds {
		t.Run("subscription/"+kind, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			subscription, err := newClient[*api.Ignored, *api.MyUpdate](t, conn, fullName(feeds, kind), nil).Subscribe(ctx)
			require.NoError(t, err)
			cancel()
			ended(t, subscription.Channel(), "subscription of a context that has ended")
			require.ErrorIs(t, subscription.Err(), context.Canceled)
		})
	}
}

// testDeadlines checks that calls and their handlers end at the caller's deadline. It also checks
// that a stream stays open when Send times out.
func testDeadlines(t *testing.T, network Network) {
	// On a busy machine, a shorter timeout could expire before the request reaches a handler. The
	// call would then fail with another error, or no handler would run.
	timeout := 800 * time.Millisecond
	w := newWorld(t, network)
	handlers := newWaiting()
	handlers.serve(w, w.server())
	conn := w.conn()
	checkHandler := func(t testing.TB, started time.Time) {
		t.Helper()
		deadline, ok := soon(t, handlers.started, "handler").Deadline()
		require.True(t, ok)
		assert.WithinRange(t, deadline, started, time.Now().Add(timeout))
		require.ErrorIs(t, soon(t, handlers.finished, "end of the handler"), context.DeadlineExceeded)
	}
	for _, kind := range singleKinds {
		t.Run(kind, func(t *testing.T) {
			call, started := newGeneratedCall(t, conn, kind), time.Now()
			_, err := call(t.Context(), sample("Ada"), dynamic.WithRequestTimeout(timeout))
			requireCode(t, errors.DeadlineExceeded, err)
			assert.GreaterOrEqual(t, time.Since(started), timeout)
			checkHandler(t, started)

			started = time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			_, err = call(ctx, sample("Ada"))
			requireCode(t, errors.DeadlineExceeded, err)
			checkHandler(t, started)
		})
	}
	t.Run(kindMulti, func(t *testing.T) {
		client, started := newClient[*api.MyRequest, *api.MyResponse](t, conn, fullName(calls, kindMulti), nil), time.Now()
		responses, err := client.CallMulti(t.Context(), sample("Ada"), dynamic.WithRequestTimeout(timeout))
		require.NoError(t, err)
		checkHandler(t, started)
		ended(t, responses, "responses when the time is up")
	})
	for _, kind := range streamKinds {
		t.Run("stream/"+kind, func(t *testing.T) {
			stream := openGenerated(t, conn, kind)
			soon(t, handlers.started, "handler")
			for range dynamic.DefaultStreamBuffer {
				require.NoError(t, stream.Send(&api.MyClientMessage{}))
			}
			err := stream.Send(&api.MyClientMessage{}, dynamic.WithStreamTimeout(timeout/10))
			requireCode(t, errors.DeadlineExceeded, err)
			require.NoError(t, stream.Err(), "the stream stays open")
			require.NoError(t, stream.Close(nil))
			soon(t, handlers.finished, "end of the handler")
		})
	}
}
