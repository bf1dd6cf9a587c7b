package dynamic_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// A handler learns of a cancellation that arrives directly after its request, even if the handler
// has not started yet.
func TestServer_CancelRightBehindTheRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		var mu sync.Mutex
		delivers := map[string]bus.Handler{}
		b.subscribe = func(
			ctx context.Context, channel bus.Channel, join bus.Mode, deliver bus.Handler,
		) (bus.Subscription, error) {
			mu.Lock()
			delivers[channel.Name] = deliver
			mu.Unlock()
			return b.Bus.Subscribe(ctx, channel, join, deliver)
		}
		w := newWorldOn(t, b)
		var running atomic.Int64
		w.serve(t, dynamic.Handlers{"Direct": dynamic.Unary(func(ctx context.Context, request text) (text, error) {
			running.Add(1)
			<-ctx.Done()
			running.Add(-1)
			return request, nil
		})})
		mu.Lock()
		deliverRequest, deliverCancel := delivers[requestChannel("Direct").Name], delivers[wire.CancelChannel("Echoes").Name]
		mu.Unlock()
		require.NotNil(t, deliverRequest)
		require.NotNil(t, deliverCancel)
		for i := range 200 {
			request := newRequest(fmt.Sprintf("REQ_peer%08d", i), "x")
			requestFrame := encode(t, request)
			cancelFrame := encode(t, &wire.Cancel{RequestID: request.RequestID})
			deliverRequest(requestFrame)
			deliverCancel(cancelFrame)
			synctest.Wait()
			require.Zero(t, running.Load(), "a handler waits for its request's expiry")
		}
	})
}

// If the context of a multi call ends before the request's timeout, the handlers that still run
// are canceled.
func TestMulti_DeadlineEndsTheHandlers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ended := make(chan time.Time, 1)
		_, err := w.server.Register(descriptor(t, w.registry, "test.Kinds"), dynamic.Handlers{"All": dynamic.Raw(
			func(ctx context.Context, _ *registry.Method, _ []byte) ([]byte, error) {
				<-ctx.Done()
				ended <- time.Now()
				return nil, nil
			})}, dynamic.AllowMissing())
		require.NoError(t, err)
		client, err := dynamic.NewClient[*dynamicpb.Message, *dynamicpb.Message](w.conn, "test.Kinds/All")
		require.NoError(t, err)
		method, ok := w.registry.Method("test.Kinds/All")
		require.True(t, ok)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		for range client.Responses(ctx, dynamicpb.NewMessage(method.Input()), dynamic.WithRequestTimeout(5*time.Second)) {
			assert.Fail(t, "nobody answers in time")
		}
		assert.Equal(t, 50*time.Millisecond, (<-ended).Sub(start))
	})
}

// Invoke returns when its context ends, even if the conn is still waiting for its subscriptions.
func TestInvoke_ContextEndsWhileTheConnStartsToListen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		w := newWorldOn(t, b)
		b.blockSubscribe()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := dynamic.Invoke(ctx, w.conn, echo, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 50*time.Millisecond, time.Since(start))
	})
}

func TestSubscribe_CanceledContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, err := dynamic.NewClient[proto.Message, proto.Message](w.conn, "test.Updates/Changed")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.Subscribe(ctx)
	requireCode(t, errors.Canceled, err)
	require.ErrorIs(t, err, context.Canceled)
}
