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

// NewLinked returns a registry with all services whose generated Go code is linked into the
// program. It fails like [Registry.RegisterLinked].
func NewLinked(opts ...LoadOption) (*Registry, error) {
	r := New(opts...)
	if err := r.RegisterLinked(); err != nil {
		return nil, err
	}
	return r, nil
}

// RegisterLinked adds all services whose generated Go code is linked into the program. If it
// returns an error, no service has been added. The error joins the errors that [Registry.Register]
// would return for the individual services.
//
// RegisterLinked leaves out services that are already registered, and gRPC services; see
// [Registry.GRPCServices]. If no services remain, RegisterLinked adds nothing and returns nil. Use
// [WithWireNames] if two of the services have the same simple name.
func (r *Registry) RegisterLinked() error { return r.registerLinked(protoregistry.GlobalFiles) }

func (r *Registry) registerLinked(files *protoregistry.Files) error {
	var services []protoreflect.ServiceDescriptor
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		for _, sd := range servicesOf(fd) {
			if _, registered := r.Service(string(sd.FullName())); !registered {
				services = append(services, sd)
			}
		}
		return true
	})
	slices.SortFunc(services, func(a, b protoreflect.ServiceDescriptor) int {
		return cmp.Compare(a.FullName(), b.FullName())
	})
	services, grpc := splitGRPC(services)
	if len(services) > 0 {
		if err := r.registerAll(services); err != nil {
			return err
		}
	}
	r.noteGRPCServices(grpc)
	return nil
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
