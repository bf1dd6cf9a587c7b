package registry

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// NewLinked returns a registry with all services whose generated Go code is linked into the
// program. It returns the same errors as [Registry.RegisterLinked].
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
// RegisterLinked leaves out gRPC services (see [Registry.GRPCServices]) and services whose full
// names are already registered. If no services remain, it adds nothing and returns nil. Two
// services with the same simple name would also have the same name on the bus. Set different names
// with [WithWireNames].
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
