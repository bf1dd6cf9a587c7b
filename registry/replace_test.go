package registry_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// version returns the service r.S whose message M has a field with the given name.
func version(t testing.TB, field string) protoreflect.ServiceDescriptor {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"r.proto": {Data: []byte(`
		syntax = "proto3";
		package r;
		message M { string ` + field + ` = 1; }
		service S { rpc Do(M) returns (M); }
		service Other { rpc Do(M) returns (M); }
	`)}}, "r.proto"))
	service, err := reg.FindService("r.S")
	require.NoError(t, err)
	return service.Descriptor()
}

func TestRegistry_Replace(t *testing.T) {
	t.Parallel()
	reg := registry.New()
	first, err := reg.Replace(version(t, "old"))
	require.NoError(t, err, "there was no service to replace")
	again, err := reg.Replace(first.Descriptor())
	require.NoError(t, err)
	assert.Same(t, first, again)

	second, err := reg.Replace(version(t, "fresh"))
	require.NoError(t, err)
	found, _ := reg.Service("r.S")
	assert.Same(t, second, found)
	found, _ = reg.ServiceByWireName("S")
	assert.Same(t, second, found)
	message, err := reg.FindMessageByName("r.M")
	require.NoError(t, err)
	assert.NotNil(t, message.Descriptor().Fields().ByName("fresh"))

	renamed, err := reg.Replace(version(t, "fresh"), registry.WithWireName("T"))
	require.NoError(t, err)
	found, _ = reg.ServiceByWireName("T")
	assert.Same(t, renamed, found)
	_, ok := reg.ServiceByWireName("S")
	assert.False(t, ok)
}

func TestRegistry_ReplaceDoesNotTakeTheWireNameOfAnother(t *testing.T) {
	t.Parallel()
	reg := registry.New()
	descriptor := version(t, "old")
	_, err := reg.Register(descriptor.ParentFile().Services().ByName("Other"))
	require.NoError(t, err)
	generation := reg.Generation()
	_, err = reg.Replace(descriptor, registry.WithWireName("Other"))
	require.ErrorIs(t, err, registry.ErrWireNameTaken)
	assert.Equal(t, generation, reg.Generation())
}
