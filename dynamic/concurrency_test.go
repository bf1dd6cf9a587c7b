package dynamic_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// TestCall_ManyGoroutines lets 64 goroutines make calls of several kinds at the same time. Each
// call must return the response to its own request.
func TestCall_ManyGoroutines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fail := dynamic.Unary(func(_ context.Context, request text) (text, error) {
		return nil, errors.NewErrorf(errors.NotFound, "%s", request.GetValue())
	})
	w.serve(t, dynamic.Handlers{
		"Echo": identity[text](), "Direct": dynamic.Raw(rawIdentity), "Best": fail, "Repeat": dynamic.Unary(repeatHandler),
	})
	client := textClient(t, w.conn, echo)
	dynamicClient, err := dynamic.NewClient[anyMsg, dyn](w.conn, direct)
	require.NoError(t, err)
	failing := textClient(t, w.conn, best)
	ctx := t.Context()
	canceled, cancel := context.WithCancel(ctx)
	cancel()

	var callers sync.WaitGroup
	for caller := range 64 {
		callers.Go(func() {
			for n := range 5 {
				want := fmt.Sprintf("%d/%d", caller, n)
				response, err := client.Call(ctx, wrapperspb.String(want))
				if assert.NoError(t, err) {
					assert.Equal(t, want, response.GetValue())
				}
				direct, err := dynamicClient.Call(ctx, wrapperspb.String(want))
				if assert.NoError(t, err) {
					assert.Equal(t, want, direct.Get(direct.Descriptor().Fields().ByName("value")).String())
				}
				_, err = failing.Call(ctx, wrapperspb.String(want))
				assert.EqualError(t, err, want)
				_, err = dynamic.Invoke(ctx, w.conn, repeat, map[string]any{"name": want, "times": n})
				assert.NoError(t, err)
				_, err = client.Call(canceled, wrapperspb.String(want))
				assert.ErrorIs(t, err, context.Canceled)
			}
		})
	}
	callers.Wait()
	assert.Zero(t, w.conn.Stats())
	assert.Zero(t, w.server.Stats())
}

func TestServer_SlowHandlersHoldUpNobody(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t), newBlocker()
	w.serve(t, dynamic.Handlers{
		"Direct": identity[text](),
		"Echo": dynamic.Unary(func(ctx context.Context, request text) (text, error) {
			if request.GetValue() == "slow" {
				return b.handle(ctx, request)
			}
			return request, nil
		}),
	})
	slow := textClient(t, w.conn, echo)
	const n = 500
	results := make(chan error, n)
	for range n {
		go func() { // this goroutine ends with the call
			_, err := slow.Call(context.Background(), wrapperspb.String("slow"), dynamic.WithRequestTimeout(time.Hour))
			results <- err
		}()
	}
	for range n {
		requireSoon(t, b.started, "slow handler")
	}
	w.requireWorking(t)
	assert.Empty(t, results)
	close(b.release)
	for range n {
		require.NoError(t, requireSoon(t, results, "slow call"))
	}
}

// TestConn_ManyClose makes calls and closes the conn at the same time. The race detector finds data
// races, and goleak finds goroutines that do not end.
func TestConn_ManyClose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	for range 50 {
		conn, err := dynamic.NewConn(w.bus, w.registry, patientConn)
		require.NoError(t, err)
		var users sync.WaitGroup
		for range 4 {
			users.Go(func() {
				client, err := dynamic.NewClient[text, text](conn, echo)
				if err == nil {
					_, err = client.Call(t.Context(), nil)
				}
				if err != nil {
					assert.ErrorIs(t, err, errors.ErrClientClosed)
				}
			})
			users.Go(func() { assert.NoError(t, conn.Close()) })
		}
		users.Wait()
	}
}
