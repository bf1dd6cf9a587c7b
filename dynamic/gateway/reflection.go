package gateway

import (
	"net/http"
	"sync"

	"connectrpc.com/connect/v2"
	"connectrpc.com/grpcreflect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// addReflection adds gRPC's server reflection and the file of descriptors.
func (g *Gateway) addReflection(server *connect.Server, r *routes) {
	// Make the descriptors on first use, because most routes are replaced before they are needed.
	shown := sync.OnceValue(func() *descriptors { return g.newDescriptors(r.services) })
	grpcreflect.Register(server,
		grpcreflect.WithNamer(grpcreflect.NamerFunc(func() []string { return shown().services })),
		grpcreflect.WithDescriptorResolver(lazyResolver(shown)),
		grpcreflect.WithExtensionResolver(noExtensions{}),
	)
	r.other["/descriptors.binpb"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(shown().sets[0].encoded)
		if err != nil {
			g.writeProblem(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(encoded)
	})
}

// lazyResolver finds files and declarations in descriptors that are made on first use.
type lazyResolver func() *descriptors

// FindFileByPath implements protodesc.Resolver.
func (r lazyResolver) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	for _, set := range r().sets {
		if file, err := set.files.FindFileByPath(path); err == nil {
			return file, nil
		}
	}
	return nil, protoregistry.NotFound
}

// FindDescriptorByName implements protodesc.Resolver.
func (r lazyResolver) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	for _, set := range r().sets {
		if descriptor, err := set.files.FindDescriptorByName(name); err == nil {
			return descriptor, nil
		}
	}
	return nil, protoregistry.NotFound
}

// noExtensions makes gRPC's server reflection find no extensions, because clients of services do
// not need them.
type noExtensions struct{}

// FindExtensionByName implements protoregistry.ExtensionTypeResolver.
func (noExtensions) FindExtensionByName(protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return nil, protoregistry.NotFound
}

// FindExtensionByNumber implements protoregistry.ExtensionTypeResolver.
func (noExtensions) FindExtensionByNumber(protoreflect.FullName, protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return nil, protoregistry.NotFound
}

// RangeExtensionsByMessage implements grpcreflect.ExtensionResolver.
func (noExtensions) RangeExtensionsByMessage(protoreflect.FullName, func(protoreflect.ExtensionType) bool) {
}
