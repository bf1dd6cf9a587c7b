package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reader reads folders whose manifest is a Selection in JSON.
var reader = Reader{Manifest: "manifest", Parse: func(manifest []byte) (s Selection, err error) {
	err = json.Unmarshal(manifest, &s) //nolint:musttag // only the tests write and read it
	return s, err
}}

// newFolder returns a folder with these files and a manifest.
func newFolder(t testing.TB, s Selection, files map[string]string) fstest.MapFS {
	t.Helper()
	manifest, err := json.Marshal(s) //nolint:musttag // only the tests write and read it
	require.NoError(t, err)
	folder := fstest.MapFS{"manifest": {Data: manifest}}
	for name, content := range files {
		folder[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return folder
}

const (
	twoServices = `syntax = "proto3"; package test; import "lib/text.proto";
		service A { rpc Call(Text) returns (Text); } service B { rpc Call(Text) returns (Text); }`
	textProto = `syntax = "proto3"; package test; message Text {}`
)

func TestReader_Read(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("the code"))
	digest := hex.EncodeToString(sum[:])
	files := map[string]string{"bin/code": "the code", "a.proto": twoServices, "lib/text.proto": textProto}
	for name, tt := range map[string]struct {
		selection Selection
		services  []string
	}{
		"code only":      {Selection{Code: "bin/code"}, nil},
		"checksum":       {Selection{Code: "bin/code", SHA256: digest}, nil},
		"all services":   {Selection{Code: "bin/code", Descriptors: "a.proto"}, []string{"test.A", "test.B"}},
		"some services":  {Selection{Code: "bin/code", Descriptors: "a.proto", Services: []string{"test.B"}}, []string{"test.B"}},
		"listed twice":   {Selection{Code: "bin/code", Descriptors: "a.proto", Services: []string{"test.B", "test.A", "test.B"}}, []string{"test.A", "test.B"}},
		"with wire name": {Selection{Code: "bin/code", Descriptors: "a.proto", WireNames: map[string]string{"test.A": "X"}}, []string{"test.A", "test.B"}},
	} {
		content, err := reader.readFS(newFolder(t, tt.selection, files))
		require.NoError(t, err, name)
		assert.Equal(t, "the code", string(content.Code), name)
		assert.Equal(t, digest, content.Digest, name)
		var services []string
		for _, s := range content.Services {
			services = append(services, string(s.Name()))
			if want := tt.selection.WireNames[string(s.Name())]; want != "" {
				assert.Equal(t, want, s.WireName())
			}
		}
		assert.Equal(t, tt.services, services, name)
	}
}

func TestReader_DescriptorSet(t *testing.T) {
	t.Parallel()
	set, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		protodesc.ToFileDescriptorProto(wrapperspb.File_google_protobuf_wrappers_proto),
		{
			Name: new("set.proto"), Syntax: new("proto3"), Dependency: []string{"google/protobuf/wrappers.proto"},
			Service: []*descriptorpb.ServiceDescriptorProto{{Name: new("S"), Method: []*descriptorpb.MethodDescriptorProto{{
				Name: new("M"), InputType: new(".google.protobuf.StringValue"), OutputType: new(".google.protobuf.StringValue"),
			}}}},
		},
	}})
	require.NoError(t, err)
	content, err := reader.readFS(newFolder(t, Selection{Code: "code", Descriptors: "set"}, map[string]string{"code": "", "set": string(set)}))
	require.NoError(t, err)
	require.Len(t, content.Services, 1)
	assert.EqualValues(t, "S", content.Services[0].Name())
}

func TestReader_Errors(t *testing.T) {
	t.Parallel()
	files := map[string]string{"code": "the code", "a.proto": twoServices, "lib/text.proto": textProto, "grpc.proto": `syntax = "proto3";
		message M {} service S { rpc Call(M) returns (M); }
		service G { rpc Check(M) returns (M); rpc Watch(M) returns (stream M); }`}
	for want, tt := range map[string]struct {
		selection Selection
		code      errors.ErrorCode
	}{
		"field code of manifest: missing is not in the plugin's folder":        {Selection{Code: "missing"}, errors.NotFound},
		`field code of manifest: "../code" is not a path inside`:               {Selection{Code: "../code"}, errors.InvalidArgument},
		"field code of manifest: lib is not a regular file":                    {Selection{Code: "lib"}, errors.InvalidArgument},
		"but the field sha256 is 00: update one of them":                       {Selection{Code: "code", SHA256: "00"}, errors.DataLoss},
		"field descriptors of manifest: b.proto: b.proto is not in the plugin": {Selection{Code: "code", Descriptors: "b.proto"}, errors.NotFound},
		"not a FileDescriptorSet":                                              {Selection{Code: "code", Descriptors: "code"}, errors.InvalidArgument},
		`field services: no service "test.C" in a.proto`: {
			Selection{Code: "code", Descriptors: "a.proto", Services: []string{"test.C"}}, errors.NotFound},
		`field wire_names: no service "test.C" in a.proto`: {
			Selection{Code: "code", Descriptors: "a.proto", WireNames: map[string]string{"test.C": "X"}}, errors.InvalidArgument},
		"G in grpc.proto is a gRPC service": {
			Selection{Code: "code", Descriptors: "grpc.proto", Services: []string{"G"}}, errors.InvalidArgument},
	} {
		_, err := reader.readFS(newFolder(t, tt.selection, files))
		require.ErrorContains(t, err, want)
		assert.Equal(t, tt.code, Code(err), want)
	}
	_, err := reader.readFS(fstest.MapFS{"manifest": {Data: []byte("{")}})
	require.ErrorContains(t, err, "manifest manifest: ")
	_, err = reader.Read(filepath.Join(t.TempDir(), "missing"))
	require.ErrorContains(t, err, "cannot open the folder")
	assert.Equal(t, errors.NotFound, Code(err))
}

// The fingerprint covers the names and contents of all files that are used, and no others.
func TestReader_Fingerprint(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	selection := Selection{Code: "code", Descriptors: "a.proto"}
	files := func() map[string]string {
		return map[string]string{"code": "1", "a.proto": twoServices, "lib/text.proto": textProto, "unused": ""}
	}
	see := func(change string, folder fstest.MapFS) {
		t.Helper()
		content, err := reader.readFS(folder)
		require.NoError(t, err, change)
		assert.NotContains(t, seen, content.Fingerprint, change)
		seen[content.Fingerprint] = change
	}
	see("original", newFolder(t, selection, files()))
	for _, name := range []string{"code", "a.proto", "lib/text.proto"} {
		changed := files()
		changed[name] += "\n"
		see(name, newFolder(t, selection, changed))
	}
	see("manifest", newFolder(t, Selection{Code: "code", Descriptors: "a.proto", Services: []string{"test.A"}}, files()))
	changed := files()
	changed["unused"] = "changed"
	content, err := reader.readFS(newFolder(t, selection, changed))
	require.NoError(t, err)
	assert.Equal(t, "original", seen[content.Fingerprint])
}

// A link may lead to another place inside the folder, but not out of it.
func TestReader_Links(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "manifest"), []byte(`{"Code": "code"}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "code.1"), []byte("inside"), 0o600))
	link := filepath.Join(folder, "code")
	require.NoError(t, os.Symlink("code.1", link))
	content, err := reader.Read(folder)
	require.NoError(t, err)
	assert.Equal(t, "inside", string(content.Code))
	for _, target := range []string{"../outside", filepath.Join(folder, "code.1")} {
		require.NoError(t, os.Remove(link))
		require.NoError(t, os.Symlink(target, link))
		_, err := reader.Read(folder)
		require.ErrorContains(t, err, "leads out of the plugin's folder or is absolute")
	}
	require.NoError(t, reader.ReadManifest(folder), "the manifest is no link")
	require.ErrorIs(t, reader.ReadManifest(filepath.Join(folder, "missing")), fs.ErrNotExist)
}

func TestReader_ReadWithin(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "manifest"), []byte(`{"Code": "manifest"}`), 0o600))
	_, err := reader.ReadWithin(t.Context(), folder)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := make(chan struct{})
	defer close(release)
	slow := Reader{Manifest: "manifest", Parse: func([]byte) (Selection, error) { <-release; return Selection{}, nil }}
	_, err = slow.ReadWithin(ctx, folder)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, errors.Canceled, Code(err))
}

func TestFiles_Limits(t *testing.T) {
	t.Parallel()
	files := newFiles(fstest.MapFS{"file": {Data: []byte("12345")}})
	content, err := files.read("file", 5)
	require.NoError(t, err)
	assert.Equal(t, "12345", string(content))
	_, err = files.read("file", 4)
	require.ErrorContains(t, err, "file is larger than 4 bytes")
	assert.Equal(t, errors.ResourceExhausted, Code(err))
	files.protoBytes = maxSources - 5
	_, err = files.Open("file")
	require.NoError(t, err)
	_, err = files.Open("file")
	assert.Equal(t, errors.ResourceExhausted, Code(err), "all sources together are too large")
}

// FuzzReader checks that a folder is read in the same way twice, whatever it contains.
func FuzzReader(f *testing.F) {
	f.Add(`{"Code": "code", "Descriptors": "a.proto"}`, "code", "a.proto",
		[]byte(`syntax = "proto3"; import "b.proto"; service S { rpc M(B) returns (B); }`), "b.proto", []byte(`message B {}`))
	f.Add(`{"Code": "code", "Descriptors": "set"}`, "../code", "set", []byte("\n\x05\n\x03a.b"), "/", []byte{0})
	f.Fuzz(func(t *testing.T, manifest, code, first string, firstContent []byte, second string, secondContent []byte) {
		folder := fstest.MapFS{}
		for name, content := range map[string][]byte{
			"manifest": []byte(manifest), code: {1}, first: firstContent, second: secondContent,
		} {
			if fs.ValidPath(name) {
				folder[name] = &fstest.MapFile{Data: content}
			}
		}
		content, err := reader.readFS(folder)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.Len(t, content.Digest, 64)
		again, err := reader.readFS(folder)
		require.NoError(t, err)
		require.Equal(t, content.Fingerprint, again.Fingerprint)
	})
}
