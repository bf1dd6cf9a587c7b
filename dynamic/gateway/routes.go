package gateway

import (
	"net/http"
	"strings"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// routes is what the gateway serves for one generation of the registry; see
// [registry.Registry.Generation]. It is immutable.
type routes struct {
	generation uint64
	// methods and connect contain the methods, and their handlers for Connect, gRPC and gRPC-Web,
	// keyed by path.
	methods map[string]*registry.Method
	connect map[string]http.Handler
	// other contains the handlers of all other paths.
	other map[string]http.Handler
}

// Handle implements connecthttp.ServeMux. It ignores the patterns that end with a slash, which are
// for unknown methods.
func (r *routes) Handle(pattern string, handler http.Handler) {
	switch {
	case r.methods[pattern] != nil:
		r.connect[pattern] = handler
	case !strings.HasSuffix(pattern, "/"):
		r.other[pattern] = handler
	}
}

// newRoutes returns the routes for the services in the registry.
func (g *Gateway) newRoutes(generation uint64) *routes {
	r := &routes{
		generation: generation,
		methods:    map[string]*registry.Method{}, connect: map[string]http.Handler{}, other: map[string]http.Handler{},
	}
	server := connect.NewServer()
	var services []*registry.Service
	for _, service := range g.registry.Services() {
		served := false
		for _, method := range service.Methods() {
			if !g.options.serves(method.FullName()) {
				continue
			}
			path := "/" + method.FullName()
			r.methods[path] = method
			server.Register(g.connectMethod(path, method))
			served = true
		}
		if served {
			services = append(services, service)
		}
	}
	if g.options.reflection {
		g.addReflection(server, r, services)
	}
	connecthttp.Mount(r, server,
		connecthttp.WithCodecs(codecs()...),
		connecthttp.WithReadMaxBytes(max(g.options.maxRequestBytes, 0)),
		connecthttp.WithCompressMinBytes(1024),
	)
	if g.options.openAPI {
		r.other["/openapi.json"] = g.openAPI(services)
	}
	r.other["/healthz"], r.other["/readyz"] = g.health(false), g.health(true)
	return r
}

// idempotencyOf returns the option idempotency_level of the method, which allows GET requests.
func idempotencyOf(method *registry.Method) connect.IdempotencyLevel {
	options, ok := method.Descriptor().Options().(*descriptorpb.MethodOptions)
	if !ok {
		return connect.IdempotencyUnknown
	}
	switch options.GetIdempotencyLevel() {
	case descriptorpb.MethodOptions_NO_SIDE_EFFECTS:
		return connect.IdempotencyNoSideEffects
	case descriptorpb.MethodOptions_IDEMPOTENT:
		return connect.IdempotencyIdempotent
	default:
		return connect.IdempotencyUnknown
	}
}

// filesOf returns the files that declare the services, and all files that these import.
func filesOf(services []*registry.Service) []protoreflect.FileDescriptor {
	var files []protoreflect.FileDescriptor
	seen := map[string]bool{}
	var add func(file protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if file.IsPlaceholder() || seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		files = append(files, file)
	}
	for _, service := range services {
		add(service.Descriptor().ParentFile())
	}
	return files
}
