package dynamic_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// A conn must not keep timers outside the synctest bubble in which it was created.
func TestCall_InSynctestBubbles(t *testing.T) {
	call := func(t *testing.T) {
		w := newWorld(t)
		w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(func(ctx context.Context, request text) (text, error) {
			<-ctx.Done()
			<-time.After(time.Second)
			return nil, ctx.Err()
		})})
		start := time.Now()
		_, err := w.call(t, echo, "hi", dynamic.WithRequestTimeout(time.Second))
		requireCode(t, errors.DeadlineExceeded, err)
		require.ErrorIs(t, err, errors.ErrRequestTimedOut)
		assert.Equal(t, time.Second, time.Since(start))
	}
	for range 10 {
		synctest.Test(t, call)
	}
	for range 10 {
		w := newWorld(t)
		w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
		_, err := w.call(t, echo, "hi")
		require.NoError(t, err)
	}
}
