package registry

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// linkedFiles returns a registry of files that stands for the files linked into a program.
func linkedFiles(t *testing.T, fds ...protoreflect.FileDescriptor) *protoregistry.Files {
	t.Helper()
	files := new(protoregistry.Files)
	for _, fd := range fds {
		require.NoError(t, files.RegisterFile(fd))
	}
	return files
}

func linkedSource(t *testing.T, path, source string) protoreflect.FileDescriptor {
	t.Helper()
	fds, err := parseFiles(testTree(path, source), []string{path})
	require.NoError(t, err)
	return fds[0]
}

func TestRegisterLinked_LeavesOutGRPC(t *testing.T) {
	t.Parallel()
	const proto3 = `syntax = "proto3"; import "options.proto"; `
	r := New()
	require.NoError(t, r.registerLinked(linkedFiles(t,
		linkedSource(t, "grpc.proto", proto3+`package g; message M {}
			service Health { rpc Check(M) returns (M); rpc Watch(M) returns (stream M); }
			service Upload { rpc Put(stream M) returns (M); }
			service Plain { rpc Call(M) returns (M); }`),
		linkedSource(t, "psrpc.proto", proto3+`package p; message M {}
			service Room `+streamMethod),
	)))
	var names []string
	for _, s := range r.Services() {
		names = append(names, s.String())
	}
	assert.Equal(t, []string{"g.Plain", "p.Room"}, names)
}

func TestRegisterLinked_StreamKeywordBesidePsrpcOptionsIsAMistake(t *testing.T) {
	t.Parallel()
	fd := linkedSource(t, "a.proto", header+`service S {
		rpc A(Req) returns (stream Res); rpc B(Req) returns (Res) { option (psrpc.options).topics = true; } }`)
	err := New().registerLinked(linkedFiles(t, fd))
	assert.ErrorContains(t, err, "my.pkg.S/A: the stream keyword is for gRPC")
}

func TestRegisterLinked_RegisteredServicesStay(t *testing.T) {
	t.Parallel()
	a, b := simpleFile(t, "a", "Same"), simpleFile(t, "b", "Same")
	files := linkedFiles(t, a, b)
	r := New()
	require.ErrorIs(t, r.registerLinked(files), ErrWireNameTaken)
	assert.Empty(t, r.Services())

	first, err := r.Register(b.Services().Get(0), WithWireName("b.Same"))
	require.NoError(t, err)
	require.NoError(t, r.registerLinked(files))
	require.NoError(t, r.registerLinked(files), "again")
	assert.Len(t, r.Services(), 2)
	got, _ := r.Service("b.Same")
	assert.Same(t, first, got)
}

func TestRegisterLinked_Nothing(t *testing.T) {
	t.Parallel()
	assert.NoError(t, New().registerLinked(linkedFiles(t)))
}

// globals returns the names of everything that protobuf's global registries contain.
func globals() map[protoreflect.FullName]bool {
	all := make(map[protoreflect.FullName]bool)
	protoregistry.GlobalFiles.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		all[protoreflect.FullName(fd.Path())] = true
		return true
	})
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		all[mt.Descriptor().FullName()] = true
		return true
	})
	protoregistry.GlobalTypes.RangeEnums(func(et protoreflect.EnumType) bool {
		all[et.Descriptor().FullName()] = true
		return true
	})
	protoregistry.GlobalTypes.RangeExtensions(func(xt protoreflect.ExtensionType) bool {
		all[xt.TypeDescriptor().FullName()] = true
		return true
	})
	return all
}

// This test binary does not link generated code for the psrpc options. Package registry must not
// add them to the global registries either.
func TestRegistry_LeavesGlobalRegistriesAlone(t *testing.T) {
	t.Parallel()
	before := globals()
	require.True(t, before["google.protobuf.Duration"])
	r := New()
	require.NoError(t, r.ParseProto(protos("a.proto", header+service), "a.proto"))
	require.NoError(t, r.RegisterDescriptorSet(set(compiled(t, "b.proto",
		`syntax = "proto3"; package b; import "psrpc/options.proto"; message M {} service B `+streamMethod)...)))
	require.NoError(t, r.RegisterFile(simpleFile(t, "c", "C")))
	require.NoError(t, r.RegisterLinked())
	require.NotEmpty(t, r.Services())
	assert.Equal(t, before, globals())
	for _, name := range []protoreflect.FullName{"options.proto", "psrpc/options.proto", "psrpc.Options", "psrpc.options", "my.pkg.Req"} {
		assert.False(t, before[name], name)
	}
}
