package quiettime_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/quiettime"
)

func TestWith(t *testing.T) {
	t.Parallel()
	assert.Nil(t, quiettime.Of(t.Context()))
	seconds := quiettime.With(t.Context(), func(responses int) time.Duration { return time.Duration(responses) * time.Second })
	minute := quiettime.With(seconds, func(int) time.Duration { return time.Minute })
	for ctx, want := range map[context.Context]time.Duration{seconds: 3 * time.Second, minute: time.Minute} {
		wait := quiettime.Of(ctx)
		require.NotNil(t, wait)
		assert.Equal(t, want, wait(3))
	}
}
