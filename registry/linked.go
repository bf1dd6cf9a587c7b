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

// RegisterLinked adds all services whose generated Go code is linked into the program. If it
// returns an error, no service has been added. The error joins the errors that [Registry.Register]
// would return for the individual services.
//
// RegisterLinked skips services that are already registered, so first register any service that
// needs [WithWireName]. It also skips gRPC services. A service counts as a gRPC service if at least
// one of its methods has the stream keyword and none of its methods has psrpc options. If no
// services remain, RegisterLinked adds nothing and returns nil.
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

// isGRPCService reports whether a service has a method with the stream keyword and no method with
// psrpc options.
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

// linkedFile returns the descriptor of a file whose generated Go code is linked into the program.
// The parser calls it to resolve imports. It never returns protobuf's own files, because they are
// built into the parser.
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
