package gateway

import (
	"log/slog"
	"net/http"

	"connectrpc.com/connect/v2"
	"connectrpc.com/grpcreflect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// addReflection adds gRPC's server reflection and the file of descriptors.
func (g *Gateway) addReflection(server *connect.Server, r *routes, services []*registry.Service) {
	set := rewrittenFiles(services)
	files, err := protodesc.NewFiles(set)
	if err != nil {
		g.options.logger.Warn("gateway: no reflection, because the services' files do not fit together", slog.Any("error", err))
		return
	}
	names := make([]string, len(services))
	for i, service := range services {
		names[i] = string(service.Name())
	}
	grpcreflect.Register(server,
		grpcreflect.WithNamer(grpcreflect.NamerFunc(func() []string { return names })),
		grpcreflect.WithDescriptorResolver(files),
		grpcreflect.WithExtensionResolver(noExtensions{}),
	)
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		g.options.logger.Warn("gateway: the descriptors cannot be encoded", slog.Any("error", err))
		return
	}
	r.other["/descriptors.binpb"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(encoded)
	})
}

// rewrittenFiles returns the files of the services with all that they import. psrpc marks multi
// calls, streams and subscriptions by options. Tools for gRPC do not know these options and would
// treat such methods as unary, so their methods get the stream keyword instead.
func rewrittenFiles(services []*registry.Service) *descriptorpb.FileDescriptorSet {
	set := &descriptorpb.FileDescriptorSet{}
	kinds := map[string]registry.Kind{}
	for _, service := range services {
		for _, method := range service.Methods() {
			kinds[method.FullName()] = method.Kind()
		}
	}
	for _, file := range filesOf(services) {
		rewritten := protodesc.ToFileDescriptorProto(file)
		for _, service := range rewritten.GetService() {
			name := service.GetName()
			if pkg := rewritten.GetPackage(); pkg != "" {
				name = pkg + "." + name
			}
			for _, method := range service.GetMethod() {
				kind, known := kinds[name+"/"+method.GetName()]
				if !known {
					continue
				}
				streams := streamTypeOf(kind)
				if streams&connect.StreamTypeServer != 0 {
					method.ServerStreaming = new(true)
				}
				if streams&connect.StreamTypeClient != 0 {
					method.ClientStreaming = new(true)
				}
			}
		}
		set.File = append(set.File, rewritten)
	}
	return set
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
