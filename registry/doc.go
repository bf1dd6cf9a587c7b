// Package registry loads protobuf services at run time and interprets their psrpc options.
//
// A [Registry] accepts services from several sources: descriptors compiled into the binary
// ([Registry.Register], [Registry.RegisterFile], [NewLinked]), a descriptor set written by protoc
// or buf ([Registry.RegisterDescriptorSet]), or .proto sources ([Registry.ParseProto]). All of them
// produce the same immutable [Service] and [Method] values. Mistakes in a schema are always
// reported when it is registered, never later.
//
// The psrpc options of a method are stored in field 2198 of google.protobuf.MethodOptions. Package
// registry decodes the raw bytes of that field, so the options may be a generated message, a
// dynamic message or an unknown field. Package registry adds nothing to protobuf's global
// registries. It therefore does not conflict with livekit/psrpc or with a copy of the options in
// the same program.
//
// # Names on the wire
//
// psrpc addresses a service by its simple name and a method by its name, both in CamelCase and
// without the proto package. Two services with the same simple name therefore conflict and cannot
// both be registered. Use [WithWireName] to give one of them a different name, or [WithWireNames]
// for services that are loaded together.
//
// # gRPC services
//
// Descriptors and sources often contain gRPC services in addition to services for the bus. Every
// method that loads several services leaves gRPC services out and logs their names.
// [Registry.GRPCServices] returns the names of the services that were left out. Its documentation
// defines gRPC services. [Registry.Register] and [NewService] accept a single service, and return
// an error if it is a gRPC service.
//
// # Editions
//
// If a file has an edition, its descriptors from parsers such as protoparse and protocompile lack
// information. protobuf-go needs this information, for example to check required fields. Load such
// files with [Registry.ParseProto] or [Registry.RegisterDescriptorSet] instead.
//
// # Concurrency
//
// A Registry is safe for concurrent use. Lookups take no locks and never wait for registrations. A
// method that registers several services adds either all of them or none, although a concurrent
// lookup may find some of them before the others. Services and methods are immutable.
package registry
