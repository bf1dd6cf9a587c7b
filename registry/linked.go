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

// RegisterLinked adds all services whose generated Go code is linked into the program, or none on
// error. Its errors are those of [Registry.Register], joined.
//
// RegisterLinked skips services that are already registered, so register a service that needs
// [WithWireName] first. It also skips gRPC services: those that have a method with the stream
// keyword and no method with psrpc options. If no service is left, it adds nothing and returns nil.
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

// isGRPCService reports whether a service has a gRPC stream and no psrpc options.
func isGRPCService(sd protoreflect.ServiceDescriptor) bool {
	hasStream := false
	for i := range sd.Methods().Len() {
		md := sd.Methods().Get(i)
		if options, err := readOptions(md); err != nil || options.present {
			return false
		}
		hasStream = hasStream || md.IsStreamingClient() || md.IsStreamingServer()
	}
	return hasStream
}

// linkedFile returns a file that is linked into the program. It implements
// protoparse.Parser.LookupImportProto. It does not return protobuf's own files, which the parser
// contains.
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
