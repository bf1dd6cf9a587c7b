package registry

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

const lookupSource = `syntax = "proto3"; package a; message M {}
	service Shop { rpc Sell(M) returns (M); rpc Restock(M) returns (M); }
	service Watcher { rpc Watch(M) returns (stream M); }`

func TestFind_SuggestsNames(t *testing.T) {
	t.Parallel()
	r := New()
	_, err := r.FindService("a.Shop")
	assert.EqualError(t, err, "service a.Shop is not registered; the registry is empty")
	require.NoError(t, r.ParseProto(fstest.MapFS{"a.proto": {Data: []byte(lookupSource)}}, "a.proto"))

	service, err := r.FindService("a.Shop")
	require.NoError(t, err)
	assert.Equal(t, "a.Shop", service.String())
	method, err := r.FindMethod("a.Shop/Sell")
	require.NoError(t, err)
	assert.Equal(t, "a.Shop/Sell", method.FullName())

	for name, want := range map[string]string{
		"a.Shp":     "service a.Shp is not registered; did you mean a.Shop?",
		"Shop":      "service Shop is not registered; did you mean a.Shop?",
		"b.Thing":   "service b.Thing is not registered; registered: a.Shop",
		"a.Watcher": "service a.Watcher is not registered: it is a gRPC service, with the stream keyword",
	} {
		_, err := r.FindService(name)
		assert.ErrorIs(t, err, ErrNotRegistered)
		assert.EqualError(t, err, want)
	}
	_, err = r.FindMethod("a.Shop/Sel")
	assert.ErrorIs(t, err, ErrNotRegistered)
	assert.EqualError(t, err, "method a.Shop/Sel is not registered; names look like my.pkg.MyService/MyMethod; "+
		"did you mean a.Shop/Sell?")
}

func TestLoadDescriptorSet(t *testing.T) {
	t.Parallel()
	encoded, err := proto.Marshal(set(compiled(t, "a.proto", lookupSource,
		"b.proto", `syntax = "proto3"; package b; import "options.proto"; import "a.proto"; service B { rpc Call(a.M) returns (a.M) {
			option (psrpc.options).stream = true; } }`)...))
	require.NoError(t, err)
	files := fstest.MapFS{"set.binpb": {Data: encoded}, "text": {Data: []byte("not a set")}, "empty": {}}
	r := New()
	require.NoError(t, r.LoadDescriptorSet(files, "set.binpb"))
	require.NoError(t, r.LoadDescriptorSet(files, "set.binpb"), "equal schemas may be loaded twice")
	method, err := r.FindMethod("b.B/Call")
	require.NoError(t, err)
	assert.Equal(t, KindStream, method.Kind())
	assert.Equal(t, []string{"a.Watcher"}, r.GRPCServices())

	assert.ErrorIs(t, r.LoadDescriptorSet(files, "missing"), fs.ErrNotExist)
	assert.ErrorContains(t, r.LoadDescriptorSet(files, "text"), "file text is not a descriptor set")
	assert.ErrorIs(t, r.LoadDescriptorSet(files, "empty"), ErrNoService)
	assert.ErrorIs(t, r.LoadDescriptorSet(nil, "set.binpb"), ErrNoService)
}
