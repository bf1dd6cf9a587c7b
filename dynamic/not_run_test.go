package dynamic_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// TestNotRun checks that the client can see whether the server has marked an error as unprocessed.
// The mark must not change the code, text or details of the error.
func TestNotRun(t *testing.T) {
	t.Parallel()
	full := errors.NewError(errors.ResourceExhausted, errors.ErrUnimplemented, &errdetails.ErrorInfo{Reason: "full"})
	w := newSeenWorld(t, with{
		server: []dynamic.ServerOption{dynamic.WithServerRPCInterceptors(func(
			ctx context.Context, request proto.Message, _ dynamic.RPCInfo, next dynamic.ServerRPCHandler,
		) (proto.Message, error) {
			if body(request) == "refuse" {
				return nil, fmt.Errorf("not seen: %w", dynamic.Unprocessed(full))
			}
			return next(ctx, request)
		})},
		handlers: dynamic.Handlers{"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
			if request.GetValue() == "sentinel" {
				return nil, dynamic.Unprocessed(errors.ErrUnimplemented)
			}
			return nil, full
		})},
	})
	for request, notRun := range map[string]bool{"refuse": true, "fail": false} {
		_, err := w.call(t, seenEcho, request)
		coded := requireCode(t, errors.ResourceExhausted, err)
		assert.Equal(t, errors.ErrUnimplemented.Error(), err.Error())
		assert.Len(t, coded.Details(), 1)
		assert.Equal(t, notRun, dynamic.IsUnprocessed(err), request)
		assert.Equal(t, notRun, dynamic.IsUnprocessed(fmt.Errorf("wrapped: %w", err)), request)
	}
	_, err := w.call(t, seenEcho, "sentinel")
	require.ErrorIs(t, err, errors.ErrUnimplemented)
	assert.True(t, dynamic.IsUnprocessed(err))
}

// TestNotRun_Forwarded checks a handler that makes a call and returns the error of that call, which
// is marked as unprocessed. The handler has run, so the error that its own caller receives must not
// be marked.
func TestNotRun_Forwarded(t *testing.T) {
	t.Parallel()
	var w *seenWorld
	w = newSeenWorld(t, with{handlers: dynamic.Handlers{
		"Echo": dynamic.Unary(func(ctx context.Context, request text) (text, error) {
			response, err := dynamic.Invoke(ctx, w.conn, seenRegion, request, dynamic.WithTopic("eu"))
			if err != nil {
				assert.True(t, dynamic.IsUnprocessed(err))
				return nil, err
			}
			return response.(text), nil
		}),
		"Region": dynamic.Unary(func(context.Context, text) (text, error) {
			return nil, dynamic.Unprocessed(errors.NewErrorf(errors.Unavailable, "no room"))
		}),
	}})
	require.NoError(t, w.service.RegisterTopic("Region", "eu"))
	_, err := w.call(t, seenEcho, "hi")
	requireCode(t, errors.Unavailable, err)
	assert.False(t, dynamic.IsUnprocessed(err))
}

func TestNotRun_Nil(t *testing.T) {
	t.Parallel()
	require.NoError(t, dynamic.Unprocessed(nil))
	assert.False(t, dynamic.IsUnprocessed(nil))
	assert.False(t, dynamic.IsUnprocessed(dynamic.Unprocessed(errors.New("on this side"))))
}
