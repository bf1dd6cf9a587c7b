package registry_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestRegistry_GenerationGrowsWithEachChange(t *testing.T) {
	t.Parallel()
	reg := registry.New()
	files := fstest.MapFS{"g.proto": {Data: []byte(`
		syntax = "proto3";
		package g;
		message M {}
		service S { rpc Do(M) returns (M); }
	`)}}
	empty := reg.Generation()
	require.NoError(t, reg.ParseProto(files, "g.proto"))
	one := reg.Generation()
	assert.Greater(t, one, empty)
	require.NoError(t, reg.ParseProto(files, "g.proto"))
	assert.Equal(t, one, reg.Generation(), "the service was already registered")
	assert.False(t, reg.Remove("g.T"))
	assert.Equal(t, one, reg.Generation(), "nothing was removed")
	require.True(t, reg.Remove("g.S"))
	assert.Greater(t, reg.Generation(), one)
}
