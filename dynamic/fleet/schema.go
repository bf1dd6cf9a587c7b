package fleet

import (
	"embed"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// These are the full names of the control services.
const (
	fleetServiceName = "dynpsrpc.fleet.v1.DynpsrpcFleet"
	adminServiceName = "dynpsrpc.fleet.v1.DynpsrpcAdmin"
)

// These are the names of methods of the fleet service.
const (
	queryMethod    = "Query"
	describeMethod = "Describe"
	changesMethod  = "Changes"
	tapMethod      = "Tap"
)

const protoPath = "dynpsrpc/fleet/v1/fleet.proto"

//go:embed dynpsrpc/fleet/v1/fleet.proto
var protoFiles embed.FS

// Proto returns the source of the .proto file that declares the control services. Its import path
// is dynpsrpc/fleet/v1/fleet.proto.
func Proto() string {
	source, err := protoFiles.ReadFile(protoPath)
	if err != nil {
		panic(err) // This cannot happen: the file is embedded in the program.
	}
	return string(source)
}

// schema returns a registry that contains only the control services.
var schema = sync.OnceValue(func() *registry.Registry {
	reg := registry.New()
	if err := reg.ParseProto(protoFiles, protoPath); err != nil {
		panic(err) // This cannot happen: the file is embedded in the program, and the tests parse it.
	}
	return reg
})

// fleetService returns the service that every server of a fleet serves.
func fleetService() *registry.Service { return controlService(fleetServiceName) }

// adminService returns the service that changes a server.
func adminService() *registry.Service { return controlService(adminServiceName) }

func controlService(name string) *registry.Service {
	service, _ := schema().Service(name)
	return service
}

// controlMethod returns a method of a control service. It panics if there is no such method.
func controlMethod(service *registry.Service, name string) *registry.Method {
	method, ok := service.Method(name)
	if !ok {
		panic("fleet: service " + service.String() + " has no method " + name)
	}
	return method
}

// descriptorOf returns the descriptor of a message of the schema by its simple name.
func descriptorOf(message protoreflect.Name) protoreflect.MessageDescriptor {
	descriptor := fleetService().Descriptor().ParentFile().Messages().ByName(message)
	if descriptor == nil {
		panic("fleet: the schema has no message " + string(message))
	}
	return descriptor
}

// IsControlService reports whether wireName is the name on the bus of a service that this package
// serves: DynpsrpcFleet or DynpsrpcAdmin. Tools leave these services out of their lists.
func IsControlService(wireName string) bool {
	return wireName == fleetService().WireName() || wireName == adminService().WireName()
}
