package registry

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

func set(files ...*descriptorpb.FileDescriptorProto) *descriptorpb.FileDescriptorSet {
	return &descriptorpb.FileDescriptorSet{File: files}
}

// compiled returns the descriptors that protoc would write for the given source files, without
// their imports.
func compiled(t *testing.T, pathsAndSources ...string) []*descriptorpb.FileDescriptorProto {
	t.Helper()
	var paths []string
	for i := 0; i < len(pathsAndSources); i += 2 {
		paths = append(paths, pathsAndSources[i])
	}
	parsed, err := parseFiles(testTree(pathsAndSources...), paths)
	require.NoError(t, err)
	var files []*descriptorpb.FileDescriptorProto
	for _, fd := range parsed {
		files = append(files, protodesc.ToFileDescriptorProto(fd))
	}
	return files
}

const streamMethod = `{ rpc Call(M) returns (M) { option (psrpc.options).stream = true; } }`

func TestRegisterDescriptorSet_WithoutBuiltinFiles(t *testing.T) {
	t.Parallel()
	files := compiled(t,
		"a.proto", `syntax = "proto3"; package a; import "options.proto"; import "google/protobuf/type.proto";
			message M { google.protobuf.Type t = 1; } service A `+streamMethod,
		"b.proto", `syntax = "proto3"; package b; import "psrpc/options.proto"; import "a.proto"; message M { a.M m = 1; }
			service B `+streamMethod)
	before := set(files...)
	given := proto.Clone(before)
	r := New()
	require.NoError(t, r.RegisterDescriptorSet(before))
	assert.True(t, proto.Equal(given, before), "the set is not modified")
	for _, name := range []string{"a.A/Call", "b.B/Call"} {
		m, ok := r.Method(name)
		require.True(t, ok)
		assert.Equal(t, KindStream, m.Kind())
	}
}

func TestRegisterDescriptorSet_WithAllFiles(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"options.proto", "psrpc/options.proto"} {
		files := compiled(t,
			path, optionsSource,
			"a.proto", `syntax = "proto3"; import "options.proto"; import "psrpc/options.proto"; message M {} service A `+streamMethod)
		files = append(files, protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto))
		for _, file := range files {
			file.SourceCodeInfo = nil
		}
		r := New()
		require.NoError(t, r.RegisterDescriptorSet(set(files...)))
		m, ok := r.Method("A/Call")
		require.True(t, ok)
		assert.Equal(t, KindStream, m.Kind())
	}
}

func TestRegisterDescriptorSet_BadInput(t *testing.T) {
	t.Parallel()
	good := func() *descriptorpb.FileDescriptorProto { return textProto(t, simpleText("p", "S")) }
	importing := func(name string, imports ...string) *descriptorpb.FileDescriptorProto {
		return &descriptorpb.FileDescriptorProto{Name: &name, Dependency: imports}
	}
	for label, test := range map[string]struct {
		set  *descriptorpb.FileDescriptorSet
		want []string
	}{
		"nil":       {nil, []string{"no service: the descriptor set is empty"}},
		"empty":     {set(), []string{"no service: the descriptor set is empty"}},
		"nil file":  {set(good(), nil), []string{"file 1 is nil"}},
		"no name":   {set(new(descriptorpb.FileDescriptorProto)), []string{"descriptor set:"}},
		"same file": {set(good(), good()), []string{"descriptor set:", "p.proto"}},
		"imports missing": {
			set(importing("a.proto", "b.proto", "gone.proto"), importing("b.proto", "lost.proto")),
			[]string{
				`a.proto: import "gone.proto" is not in the descriptor set: create it with protoc --include_imports`,
				`b.proto: import "lost.proto" is not`,
			},
		},
		"import cycle":      {set(importing("a.proto", "b.proto"), importing("b.proto", "a.proto")), []string{"descriptor set:", "cycle"}},
		"no services":       {set(importing("a.proto")), []string{"no service: the schema declares no services"}},
		"type not declared": {set(textProto(t, `name: "p" service { name: "S" method { name: "C" input_type: ".X" output_type: ".X" } }`)), []string{"descriptor set:"}},
		"nil inside": {
			set(&descriptorpb.FileDescriptorProto{Name: new("p"), MessageType: []*descriptorpb.DescriptorProto{nil}}),
			[]string{""},
		},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			r := New()
			err := r.RegisterDescriptorSet(test.set)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
			assert.Empty(t, r.Services())
		})
	}
}

func FuzzRegisterDescriptorSet(f *testing.F) {
	seed, err := proto.Marshal(set(protodesc.ToFileDescriptorProto(manyServices(f, 2))))
	require.NoError(f, err)
	f.Add(seed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var fds descriptorpb.FileDescriptorSet
		if proto.Unmarshal(raw, &fds) != nil {
			return
		}
		r := New()
		if r.RegisterDescriptorSet(&fds) != nil {
			assert.Empty(t, r.Services())
			return
		}
		for _, s := range r.Services() {
			for _, m := range s.Methods() {
				assert.NotNil(t, m.Input())
				assert.NotEmpty(t, m.WireName())
			}
		}
	})
}
