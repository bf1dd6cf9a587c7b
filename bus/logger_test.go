package bus_test

import (
	"context"
	"log/slog"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

func TestLoggerOf(t *testing.T) {
	t.Parallel()
	logger := slog.New(slog.DiscardHandler)
	assert.Same(t, slog.Default(), bus.LoggerOf(nil))
	assert.Same(t, slog.Default(), bus.LoggerOf((*bus.Local)(nil)))
	assert.Same(t, slog.Default(), bus.LoggerOf(struct{ bus.Bus }{bus.NewLocal(bus.WithLocalLogger(logger))}), "it is no bus.Logging")
	assert.Same(t, slog.Default(), bus.LoggerOf(bus.NewLocal()))
	assert.Same(t, slog.Default(), bus.LoggerOf(bus.NewLocal(bus.WithLocalLogger(nil))))
	assert.Same(t, logger, bus.LoggerOf(bus.NewLocal(bus.WithLocalLogger(logger))))

	b, err := bus.Open(t.Context(), "local://?max_frame_size=4", bus.WithLogger(logger))
	require.NoError(t, err)
	assert.Same(t, logger, bus.LoggerOf(b))
	for _, opts := range [][]bus.OpenOption{nil, {bus.WithLogger(nil)}, {nil}} {
		b, err = bus.Open(t.Context(), "local://", opts...)
		require.NoError(t, err)
		assert.Same(t, slog.Default(), bus.LoggerOf(b))
	}
}

// TestLoggerFromContext_InADriver checks that a driver gets the logger that is passed to Open.
func TestLoggerFromContext_InADriver(t *testing.T) {
	t.Parallel()
	var given *slog.Logger
	scheme := registerDriver(func(ctx context.Context, _ *url.URL) (bus.Bus, error) {
		given = bus.LoggerFromContext(ctx)
		return bus.NewLocal(), nil
	})
	logger := slog.New(slog.DiscardHandler)
	_, err := bus.Open(t.Context(), scheme+"://", bus.WithLogger(logger))
	require.NoError(t, err)
	assert.Same(t, logger, given)
	_, err = bus.Open(t.Context(), scheme+"://")
	require.NoError(t, err)
	assert.Same(t, slog.Default(), given)
}
