package natsbus_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// A nil client, context or handler must be an error. A nil option must be ignored.
func TestNilArguments(t *testing.T) {
	t.Parallel()
	var noContext context.Context
	_, err := natsbus.New(nil, nil)
	require.ErrorIs(t, err, errors.InvalidArgument)
	b := newBus(t, testenv.NATS(t).URL(), nil)
	require.ErrorIs(t, b.Publish(noContext, bus.Channel{Name: "c", Subject: "c"}, nil, nil), errors.InvalidArgument)
	_, err = b.Subscribe(noContext, bus.Channel{Name: "c", Subject: "c"}, bus.Broadcast, func([]byte) {})
	require.ErrorIs(t, err, errors.InvalidArgument)
	_, err = b.Subscribe(t.Context(), bus.Channel{Name: "c", Subject: "c"}, bus.Broadcast, nil)
	require.ErrorIs(t, err, errors.InvalidArgument)
}
