package plugin_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// A nil context, server or loader must be an error. A nil option must be ignored.
func TestHost_NilArguments(t *testing.T) {
	t.Parallel()
	var noContext context.Context
	var loader *testLoader
	_, err := plugin.NewHost(nil, nil, plugin.WithLoaders(loader))
	require.ErrorContains(t, err, "server is nil")
	require.ErrorContains(t, err, "loader 1 is nil")
	f := newFleet(t, nil)
	for _, err := range []error{
		f.host.Load(noContext, t.TempDir()), f.host.Unload(noContext, "mix"),
		f.host.Watch(noContext, t.TempDir()), f.host.Shutdown(noContext),
	} {
		require.ErrorIs(t, err, errors.InvalidArgument)
	}
}
