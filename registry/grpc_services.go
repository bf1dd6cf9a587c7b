package registry

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// GRPCServices returns the sorted full names of the gRPC services that the registry has left out.
// Files, descriptor sets, sources and linked programs may contain such services in addition to
// services for the bus. A service counts as a gRPC service if at least one of its methods has the
// stream keyword and no method has psrpc options. The registry logs each name once.
func (r *Registry) GRPCServices() []string {
	var names []string
	r.grpcServices.Range(func(name, _ any) bool {
		names = append(names, name.(string))
		return true
	})
	slices.Sort(names)
	return names
}

// noteGRPCServices records services that the registry has left out, and logs those that have not
// been logged before.
func (r *Registry) noteGRPCServices(services []protoreflect.ServiceDescriptor) {
	var names []string
	for _, sd := range services {
		name := string(sd.FullName())
		if _, known := r.grpcServices.LoadOrStore(name, struct{}{}); !known {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		r.options.log().Info("dynpsrpc: the registry leaves out gRPC services: they have methods with the stream keyword " +
			"and no psrpc options: " + strings.Join(names, ", "))
	}
}

// splitGRPC separates gRPC services from the other services.
func splitGRPC(services []protoreflect.ServiceDescriptor) (others, grpc []protoreflect.ServiceDescriptor) {
	for _, sd := range services {
		if isGRPCService(sd) {
			grpc = append(grpc, sd)
		} else {
			others = append(others, sd)
		}
	}
	return others, grpc
}

// onlyGRPCError is the error for schemas that declare only gRPC services. Such services cannot be
// called over a bus, because their streaming methods have no psrpc options. The errors of the
// services, which say what to change, are in the field mistakes. errors.Is reports that
// onlyGRPCError matches ErrNoService.
type onlyGRPCError struct{ mistakes error }

func (e onlyGRPCError) Error() string        { return e.mistakes.Error() }
func (e onlyGRPCError) Unwrap() error        { return e.mistakes }
func (e onlyGRPCError) Is(target error) bool { return target == ErrNoService }

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
