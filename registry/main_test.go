package registry

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// header is the beginning of most sources in these tests.
const header = `syntax = "proto3"; package my.pkg; import "options.proto";
message Req { string text = 1; } message Res { int64 number = 1; }
`

// protos returns a file system with the given files. The arguments are pairs of a path and the
// content of the file.
func protos(pathsAndSources ...string) fstest.MapFS {
	fsys := make(fstest.MapFS)
	for i := 0; i < len(pathsAndSources); i += 2 {
		fsys[pathsAndSources[i]] = &fstest.MapFile{Data: []byte(pathsAndSources[i+1])}
	}
	return fsys
}

// testTree returns a source tree with the given files. The arguments are pairs of a path and the
// content of the file.
func testTree(pathsAndSources ...string) sourceTree {
	return sourceTree{protos(pathsAndSources...), DefaultMaxSourceSize}
}

// parseError parses a file that consists of header and body, and returns the error.
func parseError(body string) error {
	return New().ParseProto(protos("a.proto", header+body), "a.proto")
}

// parseService parses a file that consists of header and body, and returns its service S.
func parseService(t *testing.T, body string) *Service {
	t.Helper()
	r := New()
	require.NoError(t, r.ParseProto(protos("a.proto", header+body), "a.proto"))
	s, ok := r.Service("my.pkg.S")
	require.True(t, ok)
	return s
}

// textFile returns the descriptor of a file. The file is given in protobuf text format.
func textFile(t *testing.T, text string, options protodesc.FileOptions) protoreflect.FileDescriptor {
	t.Helper()
	fd, err := options.New(textProto(t, text), nil)
	require.NoError(t, err)
	return fd
}

func textProto(t *testing.T, text string) *descriptorpb.FileDescriptorProto {
	t.Helper()
	file := new(descriptorpb.FileDescriptorProto)
	require.NoError(t, prototext.Unmarshal([]byte(text), file))
	return file
}

// simpleFile returns the descriptor of a file that has one service, no imports and no options.
func simpleFile(t *testing.T, pkg, service string) protoreflect.FileDescriptor {
	t.Helper()
	return textFile(t, simpleText(pkg, service), protodesc.FileOptions{})
}

func simpleText(pkg, service string) string {
	return `name: "` + pkg + `.proto" package: "` + pkg + `" syntax: "proto3"
		message_type { name: "M" }
		service { name: "` + service + `" method { name: "Call" input_type: ".` + pkg + `.M" output_type: ".` + pkg + `.M" } }`
}

// rawOptions returns method options that contain raw as unknown fields.
func rawOptions(raw []byte) *descriptorpb.MethodOptions {
	options := new(descriptorpb.MethodOptions)
	options.ProtoReflect().SetUnknown(raw)
	return options
}

// registerProto loads a file without imports into a new registry.
func registerProto(t *testing.T, file *descriptorpb.FileDescriptorProto) error {
	t.Helper()
	fd, err := protodesc.NewFile(file, nil)
	require.NoError(t, err)
	return New().RegisterFile(fd)
}
