package registry

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// RegisterLinked adds all services whose generated Go code is linked into the program, or none if
// there is an error. Errors are those of [Registry.Register], joined.
//
// Left out are services that are in the registry already, so that a service which needs [WithWireName]
// can be registered first, and services made for gRPC: those that have a method with the stream
// keyword and no method with psrpc options. That there is nothing to add is not an error.
func (r *Registry) RegisterLinked() error { return r.registerLinked(protoregistry.GlobalFiles) }

func (r *Registry) registerLinked(files *protoregistry.Files) error {
	var services []protoreflect.ServiceDescriptor
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		for _, sd := range servicesOf(fd) {
			if _, registered := r.Service(string(sd.FullName())); !registered && !isGRPCService(sd) {
				services = append(services, sd)
			}
		}
		return true
	})
	if len(services) == 0 {
		return nil
	}
	slices.SortFunc(services, func(a, b protoreflect.ServiceDescriptor) int {
		return cmp.Compare(a.FullName(), b.FullName())
	})
	return r.registerAll(services)
}

// isGRPCService reports whether a service uses gRPC's streams and no psrpc options.
func isGRPCService(sd protoreflect.ServiceDescriptor) bool {
	streams := false
	for i := range sd.Methods().Len() {
		md := sd.Methods().Get(i)
		if options, err := readOptions(md); err != nil || options.present {
			return false
		}
		streams = streams || md.IsStreamingClient() || md.IsStreamingServer()
	}
	return streams
}

// linkedFile returns a file that the program links, other than protobuf's own, which the parser has. It is a
// protoparse.Parser's LookupImportProto.
func linkedFile(path string) (*descriptorpb.FileDescriptorProto, error) {
	if strings.HasPrefix(path, standardPrefix) {
		return nil, protoregistry.NotFound
	}
	file, err := protoregistry.GlobalFiles.FindFileByPath(path)
	if err != nil {
		return nil, err
	}
	return protodesc.ToFileDescriptorProto(file), nil
}
