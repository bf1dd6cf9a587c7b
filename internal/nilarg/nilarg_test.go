package nilarg_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

func TestIs(t *testing.T) {
	t.Parallel()
	var pointer *bytes.Buffer
	var function func()
	for _, value := range []any{nil, pointer, io.Reader(pointer), function} {
		assert.True(t, nilarg.Is(value), "%T", value)
	}
	for _, value := range []any{new(bytes.Buffer), 0, "", func() {}, map[string]int(nil), []int(nil)} {
		assert.False(t, nilarg.Is(value), "%T", value)
	}
}

func TestSubscribeErr(t *testing.T) {
	t.Parallel()
	var noContext context.Context
	handler := func([]byte) {}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, nilarg.SubscribeErr(noContext, handler), nilarg.ErrContext)
	require.ErrorIs(t, nilarg.SubscribeErr(ended, nil), context.Canceled)
	require.ErrorIs(t, nilarg.SubscribeErr(t.Context(), nil), nilarg.ErrHandler)
	require.NoError(t, nilarg.SubscribeErr(t.Context(), handler))
}
