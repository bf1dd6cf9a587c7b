package fleet

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	greeterSource = `syntax = "proto3"; package digest.test;
		import "options.proto"; import "common.proto"; import "google/protobuf/empty.proto";
		// Says hello.
		service Greeter {
			rpc Hello(Name) returns (google.protobuf.Empty) { option (psrpc.options) = { type: AFFINITY topics: true }; }
		}`
	commonSource = `syntax = "proto3"; package digest.test; message Name { string first_name = 1; }`
)

// parseGreeter returns the service Greeter of a set of .proto files.
func parseGreeter(t *testing.T, files map[string]string) *registry.Service {
	t.Helper()
	fsys := fstest.MapFS{}
	for path, source := range files {
		fsys[path] = &fstest.MapFile{Data: []byte(source)}
	}
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fsys, "greeter.proto"))
	service, ok := reg.Service("digest.test.Greeter")
	require.True(t, ok)
	return service
}

func digestOf(t *testing.T, service *registry.Service) Digest {
	t.Helper()
	digest, err := DigestOf(service.Descriptor())
	require.NoError(t, err)
	require.NotZero(t, digest)
	return digest
}

// The digest of a service must stay the same in all versions of this package. Otherwise, a fleet
// would seem to have two versions of each service while its programs are being updated.
func TestDigest_DoesNotChange(t *testing.T) {
	t.Parallel()
	service := parseGreeter(t, map[string]string{"greeter.proto": greeterSource, "common.proto": commonSource})
	assert.Equal(t, "b2d921c6fc15d9f8752922db9bf587dd", digestOf(t, service).String())
}

func TestDigest_DoesNotDependOnTheWayOfLoading(t *testing.T) {
	t.Parallel()
	service := parseGreeter(t, map[string]string{"greeter.proto": greeterSource, "common.proto": commonSource})
	want := digestOf(t, service)

	moved := `syntax = "proto3"; package digest.test;
		import "google/protobuf/empty.proto"; import "lib/common.proto"; import "psrpc/options.proto";
		service Greeter {
			rpc Hello(Name) returns (google.protobuf.Empty) { option (psrpc.options) = { topics: true type: AFFINITY }; }
		}`
	jsonName := `syntax = "proto3"; package digest.test; message Name { string first_name = 1 [json_name = "firstName"]; }`
	other := parseGreeter(t, map[string]string{"greeter.proto": moved, "lib/common.proto": jsonName})
	assert.Equal(t, want, digestOf(t, other), "paths, comments, order of imports and of options, default JSON names")

	for _, comments := range []bool{false, true} {
		packed, err := packFiles(service.Descriptor(), comments)
		require.NoError(t, err)
		files, err := unpackFiles(packed)
		require.NoError(t, err)
		sent, err := digestOfFiles(files.GetFile())
		require.NoError(t, err)
		assert.Equal(t, want, sent, "files that were sent")
		reg := registry.New()
		require.NoError(t, reg.RegisterDescriptorSet(files))
		loaded, _ := reg.Service("digest.test.Greeter")
		assert.Equal(t, want, digestOf(t, loaded), "descriptor set")
	}
}

func TestDigest_ChangesWithTheSchema(t *testing.T) {
	t.Parallel()
	want := digestOf(t, parseGreeter(t, map[string]string{"greeter.proto": greeterSource, "common.proto": commonSource}))
	for _, common := range []string{
		`syntax = "proto3"; package digest.test; message Name { string first_name = 2; }`,
		`syntax = "proto3"; package digest.test; message Name { string given_name = 1; }`,
		`syntax = "proto3"; package digest.test; message Name { string first_name = 1 [json_name = "first"]; }`,
		`syntax = "proto3"; package digest.test; message Name { string first_name = 1; } message Other {}`,
	} {
		changed := parseGreeter(t, map[string]string{"greeter.proto": greeterSource, "common.proto": common})
		assert.NotEqual(t, want, digestOf(t, changed), common)
	}
}

func TestParseDigest(t *testing.T) {
	t.Parallel()
	digest := Digest{0xab, 15: 0x01}
	parsed, err := ParseDigest(digest.String())
	require.NoError(t, err)
	assert.Equal(t, digest, parsed)
	for _, text := range []string{"", "ab", digest.String() + "00", "zz" + digest.String()[2:]} {
		_, err := ParseDigest(text)
		assert.ErrorIs(t, err, errors.InvalidArgument, text)
	}
}

func TestUnpackFiles_RejectsWhatIsNoDescriptorSet(t *testing.T) {
	t.Parallel()
	for _, response := range []*describeResponse{
		{Files: []byte("\xff")}, {Files: []byte("not gzip"), GZIP: true},
	} {
		_, err := unpackFiles(response)
		assert.Error(t, err)
	}
}

// Servers must compress descriptors if, and only if, they are larger than gzipAbove.
func TestPackFiles_CompressesLargeDescriptors(t *testing.T) {
	t.Parallel()
	packed, err := packFiles(parseGreeter(t, map[string]string{
		"greeter.proto": greeterSource, "common.proto": commonSource,
	}).Descriptor(), true)
	require.NoError(t, err)
	files, err := unpackFiles(packed)
	require.NoError(t, err)
	encoded, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: files.GetFile()})
	require.NoError(t, err)
	assert.Equal(t, len(encoded) > gzipAbove, packed.GZIP)
}
