package dynamic_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// TestWithLogger_OfTheBus checks that servers and conns log to the logger of their bus, unless they
// have a logger of their own.
func TestWithLogger_OfTheBus(t *testing.T) {
	t.Parallel()
	ofBus, own := &capturedLog{}, &capturedLog{}
	b := bus.NewLocal(bus.WithLocalLogger(slog.New(ofBus)))
	w := newWorldOn(t, b)
	panics := dynamic.Handlers{
		"Echo": dynamic.Unary(func(context.Context, text) (text, error) { panic("oh") }),
	}
	registration := w.serve(t, panics)
	_, err := w.call(t, echo, "hi")
	requireCode(t, errors.Internal, err)
	assert.Len(t, ofBus.errors(), 1)
	require.NoError(t, registration.Close(context.Background()))

	server := dynamic.NewServer(b, dynamic.WithLogger(slog.New(own)))
	t.Cleanup(server.Kill)
	_, err = server.Register(descriptor(t, w.registry, "test.Echoes"), panics, dynamic.AllowMissing())
	require.NoError(t, err)
	_, err = w.call(t, echo, "hi")
	requireCode(t, errors.Internal, err)
	assert.Len(t, ofBus.errors(), 1)
	assert.Len(t, own.errors(), 1)
	assert.Same(t, slog.Default(), dynamic.NewServer(bus.NewLocal()).Logger())
}
