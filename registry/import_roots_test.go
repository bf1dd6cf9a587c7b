package registry

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// deniedFS is a file system that denies access to every file.
type deniedFS struct{}

func (deniedFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

func TestImportRoots(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(disk, "lib"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(disk, "lib", "res.proto"),
		[]byte(`syntax = "proto3"; package lib; import "validate.proto"; message Res { string s = 1 [(validate.max) = 7]; }`), 0o600))
	own := protos("shop/a.proto", `syntax = "proto3"; package shop; import "lib/req.proto"; import "lib/res.proto"; import "options.proto";
		service S { rpc Do(lib.Req) returns (lib.Res) { option (psrpc.options).type = MULTI; } }`)
	google := protos("lib/req.proto", `syntax = "proto3"; package lib; message Req { string of_google = 1; }`,
		"validate.proto", `syntax = "proto2"; package validate; import "google/protobuf/descriptor.proto";
			extend google.protobuf.FieldOptions { optional int32 max = 50000; }`)
	other := protos("lib/req.proto", `syntax = "proto3"; package lib; message Req { string of_other = 1; }`)

	r := New()
	require.NoError(t, r.ParseProto(ImportRoots(own, nil, os.DirFS(disk), google, other), "shop/a.proto"))
	m, ok := r.Method("shop.S/Do")
	require.True(t, ok)
	assert.Equal(t, KindMulti, m.Kind())
	assert.EqualValues(t, "of_google", m.Input().Fields().Get(0).Name(), "the first root counts")

	require.NoError(t, New().ParseProto(ImportRoots(other, own, os.DirFS(disk), google), "shop/a.proto"))
	err := New().ParseProto(ImportRoots(own, google), "shop/a.proto")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, `shop/a.proto:1:58: import "lib/res.proto": file does not exist`)
	require.ErrorIs(t, New().ParseProto(ImportRoots(), "a.proto"), fs.ErrNotExist)
	require.ErrorIs(t, New().ParseProto(ImportRoots(own, deniedFS{}, google), "shop/a.proto"), fs.ErrPermission,
		"a root that cannot be read is not skipped")
	require.ErrorContains(t, New().ParseProto(ImportRoots(own), "shop"), "not a regular file")
}
