package dynamic_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

func TestServer_ListsItsServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	assert.Empty(t, w.server.Services())
	kinds, err := w.server.Register(descriptor(t, w.registry, "test.Kinds"), nil, dynamic.AllowMissing())
	require.NoError(t, err)
	echoes := w.serve(t, nil)
	services := w.server.Services()
	require.Len(t, services, 2)
	assert.Same(t, echoes.Service(), services[0])
	assert.Same(t, kinds.Service(), services[1])
	kinds.Kill()
	assert.Len(t, w.server.Services(), 1)
}
