package registration

import (
	"fmt"
	"io/fs"
	"os"
	"testing"
	"testing/fstest"

	// Package desc is deprecated, but users may still have descriptors of its types.
	"github.com/jhump/protoreflect/desc" //nolint:staticcheck
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const serviceName = "example.compiled.v1.MyService"

// want lists the methods of the example service and the meaning of their options.
var want = []struct {
	name  string
	facts facts
}{
	{"NormalRPC", queued},
	{"IntensiveRPC", affinity},
	{"GetStats", all},
	{"ExchangeUpdates", facts{kind: stream, routing: toQueue, requireClaim: true, queue: true}},
	{"GetRegionStats", facts{kind: multi, routing: toAll, topics: true, params: []string{"region"}, parts: 1, group: "region"}},
	{"MoveRegion", facts{
		kind: single, routing: toQueue, topics: true, params: []string{"region"}, parts: 1, group: "region",
		requireClaim: true, queue: true,
	}},
	{"UpdateRoom", facts{
		kind: single, routing: toQueue, topics: true, params: []string{"region", "room"}, parts: 2, single: true, queue: true,
	}},
	{"ProcessUpdate", facts{kind: subscription, routing: toQueue, requireClaim: true, queue: true}},
	{"UpdateState", facts{kind: subscription, routing: toAll}},
	{"UpdateRegionState", facts{kind: subscription, routing: toAll, topics: true, parts: 1}},
}

// loads contains all ways to load the example service into a registry.
var loads = map[string]func(r *registry.Registry) error{
	"file":   func(r *registry.Registry) error { return r.RegisterFile(api.File_my_service_proto) },
	"linked": func(r *registry.Registry) error { return r.RegisterLinked() },
	"service": func(r *registry.Registry) error {
		_, err := r.Register(api.File_my_service_proto.Services().ByName("MyService"))
		return err
	},
	"jhump": func(r *registry.Registry) error {
		file, err := desc.WrapFile(api.File_my_service_proto)
		if err != nil {
			return err
		}
		_, err = r.Register(file.FindService(serviceName))
		return err
	},
	"descriptor set": func(r *registry.Registry) error {
		return r.RegisterDescriptorSet(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
			protodesc.ToFileDescriptorProto(api.File_my_service_proto),
		}})
	},
	"source": func(r *registry.Registry) error {
		return r.ParseProto(os.DirFS("../../example/compiled/api"), "my_service.proto")
	},
	"source with its own options": func(r *registry.Registry) error {
		files := os.DirFS("../../example/compiled/api")
		return r.ParseProto(overlay{files, os.DirFS("../../registry/psrpcoptions")}, "my_service.proto")
	},
}

// overlay is a list of file systems. It opens a file in the first one that contains it.
type overlay []fs.FS

func (o overlay) Open(name string) (fs.File, error) {
	for _, fsys := range o {
		if file, err := fsys.Open(name); err == nil {
			return file, nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func TestRegistry_LoadsExampleService(t *testing.T) {
	t.Parallel()
	for name, load := range loads {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := registry.New()
			require.NoError(t, load(r))
			s, ok := r.Service(serviceName)
			require.True(t, ok)
			assert.Equal(t, "MyService", s.WireName())
			require.Len(t, s.Methods(), len(want))
			for i, m := range s.Methods() {
				assert.Equal(t, want[i].name, m.Name())
				assert.Equal(t, want[i].facts, factsOf(m), m.Name())
			}
			assert.Equal(t, []string{"region"}, s.Groups())
		})
	}
}

func TestRegistry_LinkedAfterFileIsTheSame(t *testing.T) {
	t.Parallel()
	r := registry.New()
	require.NoError(t, r.RegisterFile(api.File_my_service_proto))
	before := r.Services()
	require.NoError(t, r.RegisterLinked())
	fresh, err := registry.NewLinked()
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprint(before), fmt.Sprint(fresh.Services()))
	require.NoError(t, r.RegisterFile(api.File_my_service_proto))
	assert.Equal(t, before, r.Services())
}

// The same service may be registered from several sources, in any order.
func TestRegistry_EqualFromEverySource(t *testing.T) {
	t.Parallel()
	r := registry.New()
	for range 2 { // in two random orders
		for source, load := range loads {
			assert.NoError(t, load(r), source)
		}
	}
	assert.Len(t, r.Services(), 1)
}

// A service is loaded from source, and its message types are also linked into the program. The
// registry must resolve the content of an Any to the linked Go type.
func TestRegistry_ResolvesToLinkedType(t *testing.T) {
	t.Parallel()
	r := registry.New()
	require.NoError(t, loads["source"](r))
	mt, err := r.FindMessageByURL("type.googleapis.com/example.compiled.v1.MyRequest")
	require.NoError(t, err)
	assert.IsType(t, (*api.MyRequest)(nil), mt.New().Interface())
	box, err := anypb.New(&api.MyRequest{Name: "x", Count: 7, Address: &api.Address{Region: "eu"}})
	require.NoError(t, err)
	text, err := protojson.MarshalOptions{Resolver: r}.Marshal(box)
	require.NoError(t, err)
	assert.JSONEq(t, `{"@type":"type.googleapis.com/example.compiled.v1.MyRequest","name":"x","count":"7","address":{"region":"eu"}}`,
		string(text))

	m, ok := r.Method(serviceName + "/NormalRPC")
	require.True(t, ok)
	assert.NotEqual(t, mt.Descriptor(), m.Input(), "the method has the descriptor of its own source")
	assert.NotNil(t, dynamicpb.NewMessage(m.Input()))
}

func TestRegistry_GlobalRegistriesKeepTheLinkedTypes(t *testing.T) {
	t.Parallel()
	before, err := protoregistry.GlobalTypes.FindExtensionByName("psrpc.options")
	require.NoError(t, err)
	count := protoregistry.GlobalFiles.NumFiles()
	for _, load := range loads {
		require.NoError(t, load(registry.New()))
	}
	after, err := protoregistry.GlobalTypes.FindExtensionByNumber("google.protobuf.MethodOptions", 2198)
	require.NoError(t, err)
	assert.Equal(t, before, after)
	assert.Equal(t, count, protoregistry.GlobalFiles.NumFiles())
	_, err = protoregistry.GlobalFiles.FindFileByPath("options.proto")
	require.NoError(t, err, "the linked package registers it: that is the point of this test")
	_, err = protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("psrpc.Options"))
	require.NoError(t, err)
}

// A .proto source may import a file that exists only as code linked into the program. It may also
// import psrpc's options.
func TestRegistry_SourceImportsLinkedFile(t *testing.T) {
	t.Parallel()
	r := registry.New()
	require.NoError(t, r.ParseProto(fstest.MapFS{"own.proto": {Data: []byte(`
		syntax = "proto3";
		package own;
		import "my_service.proto";
		import "options.proto";
		import "psrpc/options.proto";
		service Own {
		  rpc Call(example.compiled.v1.MyRequest) returns (example.compiled.v1.MyResponse) {
		    option (psrpc.options).type = AFFINITY;
		  }
		}`)}}, "own.proto"))
	m, ok := r.Method("own.Own/Call")
	require.True(t, ok)
	assert.Equal(t, affinity, factsOf(m))
	_, ok = r.Service(serviceName)
	assert.False(t, ok, "only the services of named files are added")

	err := r.ParseProto(fstest.MapFS{"own.proto": {Data: []byte(`syntax = "proto3"; import "my_service.proto";`)}}, "own.proto", "my_service.proto")
	require.ErrorIs(t, err, fs.ErrNotExist, "named files must be in the file system")
}
