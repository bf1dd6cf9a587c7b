package schema_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/schema"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// fakeFleet stands for the servers of a bus. It counts how often it is asked for descriptors.
type fakeFleet struct {
	versions []schema.Version
	files    map[string]*descriptorpb.FileDescriptorSet
	asked    int
	err      error
}

func (f *fakeFleet) Versions(_ context.Context, wireName string) ([]schema.Version, error) {
	var versions []schema.Version
	for _, v := range f.versions {
		if wireName == "" || v.WireName == wireName {
			versions = append(versions, v)
		}
	}
	return versions, f.err
}

func (f *fakeFleet) Files(_ context.Context, digest string) (*descriptorpb.FileDescriptorSet, error) {
	f.asked++
	return f.files[digest], nil
}

// add adds a service with one method to the fleet and returns its digest.
func (f *fakeFleet) add(t *testing.T, pkg, service, method, server string) string {
	t.Helper()
	source := fmt.Sprintf("syntax = \"proto3\"; package %s; message M {} service %s { rpc %s(M) returns (M); }", pkg, service, method)
	reg := registry.New(registry.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, reg.ParseProto(fstest.MapFS{"a.proto": {Data: []byte(source)}}, "a.proto"))
	loaded, err := reg.FindService(pkg + "." + service)
	require.NoError(t, err)
	digest, err := fleet.DigestOf(loaded.Descriptor())
	require.NoError(t, err)
	f.versions = append(f.versions, schema.Version{
		Service: pkg + "." + service, WireName: service, Digest: digest.String(), Methods: []string{method}, Servers: []string{server},
	})
	if f.files == nil {
		f.files = map[string]*descriptorpb.FileDescriptorSet{}
	}
	file := protodesc.ToFileDescriptorProto(loaded.Descriptor().ParentFile())
	f.files[digest.String()] = &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}}
	return digest.String()
}

func newChain(f *fakeFleet, dir, digest string) *schema.Chain {
	ask := func(context.Context) (schema.Fleet, error) { return f, nil }
	return schema.New(registry.New(), &schema.Files{}, &schema.Cache{Dir: dir, Check: schema.HasDigest}, ask, digest)
}

func TestChain_FindsAMethodByAnyUniqueEnd(t *testing.T) {
	t.Parallel()
	f := new(fakeFleet)
	f.add(t, "shop", "Orders", "Get", "a")
	f.add(t, "shop", "Stock", "Get", "a")
	f.add(t, "shop", "Stock2", "Take", "a")
	dir := t.TempDir()
	for name, want := range map[string]string{
		"shop.Orders/Get": "shop.Orders/Get", "/shop.Orders/Get": "shop.Orders/Get", "shop.Orders.Get": "shop.Orders/Get",
		"Orders/Get": "shop.Orders/Get", "Orders.Get": "shop.Orders/Get", "Take": "shop.Stock2/Take",
	} {
		method, err := newChain(f, dir, "").Method(t.Context(), name)
		require.NoError(t, err, name)
		assert.Equal(t, want, method.FullName())
	}
	_, err := newChain(f, dir, "").Method(t.Context(), "Get")
	require.ErrorIs(t, err, schema.ErrAmbiguous)
	assert.Contains(t, err.Error(), "shop.Orders/Get, shop.Stock/Get")
	_, err = newChain(f, dir, "").Method(t.Context(), "Orders/Gett")
	require.ErrorIs(t, err, schema.ErrNotFound)
	assert.Contains(t, err.Error(), "did you mean Orders/Get?")
	_, err = newChain(f, dir, "").Method(t.Context(), "rders/Get")
	require.ErrorIs(t, err, schema.ErrNotFound)
}

func TestChain_NamesTheVersionsOfAService(t *testing.T) {
	t.Parallel()
	f := new(fakeFleet)
	first := f.add(t, "shop", "Orders", "Get", "SRV_a")
	f.add(t, "shop", "Orders", "Got", "SRV_b")
	f.versions[1].Methods = []string{"Get"} // as if a message had changed
	_, err := newChain(f, t.TempDir(), "").Method(t.Context(), "Orders/Get")
	versions, ok := errors.AsType[*schema.VersionsError](err)
	require.True(t, ok, "%v", err)
	assert.Len(t, versions.Versions, 2)
	assert.Contains(t, err.Error(), first[:8]+"  SRV_a")
	method, err := newChain(f, t.TempDir(), first[:6]).Method(t.Context(), "Orders/Get")
	require.NoError(t, err)
	assert.Equal(t, "shop.Orders/Get", method.FullName())
}

// If the servers have a newer version of a service than the files, a method may exist only on the
// servers. The error must say so.
func TestChain_SaysThatTheFilesAreOld(t *testing.T) {
	t.Parallel()
	f := new(fakeFleet)
	f.add(t, "shop", "Orders", "Get", "a")
	path := filepath.Join(t.TempDir(), "orders.proto")
	old := `syntax = "proto3"; package shop; message M {} service Orders { rpc List(M) returns (M); }`
	require.NoError(t, os.WriteFile(path, []byte(old), 0o600))
	ask := func(context.Context) (schema.Fleet, error) { return f, nil }
	chain := schema.New(registry.New(), &schema.Files{Proto: []string{path}}, &schema.Cache{Dir: t.TempDir()}, ask, "")
	_, err := chain.Method(t.Context(), "Orders/List")
	require.NoError(t, err)
	_, err = chain.Method(t.Context(), "Orders/Get")
	require.ErrorIs(t, err, schema.ErrNotFound)
	assert.Contains(t, err.Error(), "the files declare another version of shop.Orders")
}

func TestChain_KeepsWhatServersHaveTold(t *testing.T) {
	t.Parallel()
	f := new(fakeFleet)
	digest := f.add(t, "shop", "Orders", "Get", "a")
	dir := t.TempDir()
	for range 2 {
		_, err := newChain(f, dir, "").Method(t.Context(), "Orders/Get")
		require.NoError(t, err)
	}
	assert.Equal(t, 1, f.asked, "the descriptors are read from the cache the second time")
	// No server answers any more, so the cache is used.
	chain := newChain(new(fakeFleet), dir, "")
	method, err := chain.Method(t.Context(), "Orders/Get")
	require.NoError(t, err)
	assert.Equal(t, "from the cache, digest "+digest[:8], chain.Origin(method.Service()))
	// A damaged file in the cache must not be used, and must be removed.
	path := filepath.Join(dir, digest+".binpb")
	require.NoError(t, os.WriteFile(path, []byte("\x0a\x02xx"), 0o600))
	_, err = newChain(new(fakeFleet), dir, "").Method(t.Context(), "Orders/Get")
	require.ErrorIs(t, err, schema.ErrNotFound)
	assert.NoFileExists(t, path)
}

func TestChain_ReportsTheErrorOfTheFleet(t *testing.T) {
	t.Parallel()
	down := errors.NewErrorf(errors.Unavailable, "down")
	_, err := newChain(&fakeFleet{err: down}, t.TempDir(), "").Method(t.Context(), "Orders/Get")
	assert.ErrorIs(t, err, down)
}

func TestCache_RemovesTheOldest(t *testing.T) {
	t.Parallel()
	cache := &schema.Cache{Dir: t.TempDir()}
	digest := func(i int) string { return fmt.Sprintf("%032x", i) }
	for i := range 256 {
		cache.Put(digest(i), &descriptorpb.FileDescriptorSet{})
	}
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(cache.Dir, digest(7)+".binpb"), old, old))
	cache.Put(digest(256), &descriptorpb.FileDescriptorSet{})
	_, ok := cache.Get(digest(7))
	assert.False(t, ok)
	_, ok = cache.Get(digest(8))
	assert.True(t, ok)
	cache.Put("../escape", &descriptorpb.FileDescriptorSet{})
	assert.NoFileExists(t, filepath.Join(cache.Dir, "..", "escape.binpb"))
}
