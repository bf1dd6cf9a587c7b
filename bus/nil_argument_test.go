package bus_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// A nil context or handler must be an error. A nil option must be ignored.
func TestNilArguments(t *testing.T) {
	t.Parallel()
	var noContext context.Context
	_, err := bus.Open(noContext, "local://")
	require.ErrorIs(t, err, errors.InvalidArgument)
	assert.NotNil(t, bus.LoggerFromContext(noContext))
	assert.NotNil(t, bus.LoggerOf(nil))
	b := bus.NewLocal(nil, bus.WithLocalLogger(nil))
	require.ErrorIs(t, b.Publish(noContext, bus.Channel{}, nil, nil), errors.InvalidArgument)
	_, err = b.Subscribe(noContext, bus.Channel{}, bus.Broadcast, func([]byte) {})
	require.ErrorIs(t, err, errors.InvalidArgument)
	_, err = b.Subscribe(t.Context(), bus.Channel{}, bus.Broadcast, nil)
	require.ErrorIs(t, err, errors.InvalidArgument)
}
