package plugin

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// idleLoader loads plugins without services.
type idleLoader struct{}

func (idleLoader) Name() string { return "idle" }

func (idleLoader) Load(context.Context, *Source, func(error)) (Instance, error) {
	return idleInstance{}, nil
}

type idleInstance struct{}

func (idleInstance) Services() []Service { return nil }

func (idleInstance) Close(context.Context) error { return nil }

// The folder of a plugin disappears. Before the host unloads the plugin, it is loaded from another
// folder. The plugin must then keep serving.
func TestHost_KeepsAPluginThatWasMoved(t *testing.T) {
	t.Parallel()
	host, err := NewHost(dynamic.NewServer(bus.NewLocal()), WithLoaders(idleLoader{}), WithEvents(func(Event) {}))
	require.NoError(t, err)
	defer host.Close()
	folders := []string{t.TempDir(), t.TempDir()}
	for _, folder := range folders {
		require.NoError(t, os.WriteFile(filepath.Join(folder, "code"), nil, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(folder, ManifestName),
			[]byte(`{"name": "idle", "loader": "idle", "code": "code"}`), 0o600))
	}
	require.NoError(t, host.Load(t.Context(), folders[0]))
	host.markUnloading("idle")
	assert.Equal(t, StateDraining, host.List()[0].State)
	require.NoError(t, host.Load(t.Context(), folders[1]))
	require.NoError(t, host.unload(t.Context(), "idle", folders[0]))
	assert.Equal(t, StateServing, host.List()[0].State)
	assert.Equal(t, folders[1], host.List()[0].Folder)
}
