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

// header is the start of most test sources.
const header = `syntax = "proto3"; package my.pkg; import "options.proto";
message Req { string text = 1; } message Res { int64 number = 1; }
`

// protos returns a file system of sources from pairs of path and content.
func protos(pathsAndSources ...string) fstest.MapFS {
	fsys := make(fstest.MapFS)
	for i := 0; i < len(pathsAndSources); i += 2 {
		fsys[pathsAndSources[i]] = &fstest.MapFile{Data: []byte(pathsAndSources[i+1])}
	}
	return fsys
}

// testTree returns a tree of sources from pairs of path and content.
func testTree(pathsAndSources ...string) sourceTree {
	return sourceTree{protos(pathsAndSources...), DefaultMaxSourceSize}
}

// parseError returns the error for a file "a.proto" that consists of header and body.
func parseError(body string) error {
	return New().ParseProto(protos("a.proto", header+body), "a.proto")
}

// parseService returns the service S of a file that consists of header and body.
func parseService(t *testing.T, body string) *Service {
	t.Helper()
	r := New()
	require.NoError(t, r.ParseProto(protos("a.proto", header+body), "a.proto"))
	s, ok := r.Service("my.pkg.S")
	require.True(t, ok)
	return s
}

// textFile builds a file descriptor from prototext.
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

// simpleFile returns a newly compiled file with one service and without imports or options.
func simpleFile(t *testing.T, pkg, service string) protoreflect.FileDescriptor {
	t.Helper()
	return textFile(t, simpleText(pkg, service), protodesc.FileOptions{})
}

func simpleText(pkg, service string) string {
	return `name: "` + pkg + `.proto" package: "` + pkg + `" syntax: "proto3"
		message_type { name: "M" }
		service { name: "` + service + `" method { name: "Call" input_type: ".` + pkg + `.M" output_type: ".` + pkg + `.M" } }`
}

// rawOptions returns method options with an unknown extension field.
func rawOptions(raw []byte) *descriptorpb.MethodOptions {
	options := new(descriptorpb.MethodOptions)
	options.ProtoReflect().SetUnknown(raw)
	return options
}

// registerProto registers the services of a file without imports.
func registerProto(t *testing.T, file *descriptorpb.FileDescriptorProto) error {
	t.Helper()
	fd, err := protodesc.NewFile(file, nil)
	require.NoError(t, err)
	return New().RegisterFile(fd)
}
