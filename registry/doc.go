// Package registry loads protobuf services at run time and tells what their psrpc options mean.
//
// A [Registry] takes services from wherever a program has them: a descriptor compiled into the
// binary ([Registry.Register], [Registry.RegisterFile], [Registry.RegisterLinked]), a descriptor set
// written by protoc or buf ([Registry.RegisterDescriptorSet]), or .proto sources
// ([Registry.ParseProto]). All of them give the same immutable [Service] and [Method], and a mistake
// in a schema is an error at registration, never later.
//
// The options of a method are field 2198 of google.protobuf.MethodOptions. They are read from the
// bytes of that field, so it makes no difference whether the program links a generated package for
// them, decoded them dynamically, or does not know them at all. Nothing is ever put into protobuf's
// global registries: a program may link livekit/psrpc, its own copy of the options, both or neither.
//
// # Names on the wire
//
// psrpc addresses a service by its simple name and a method by its name, both in CamelCase; the
// proto package is not part of it. Two services of one simple name therefore collide, which is an
// error here; [WithWireName] gives one of them another name.
//
// # Concurrency
//
// A Registry may be used from any number of goroutines. Lookups take no lock and never wait for
// registrations. A call that registers several services registers all of them or none; a lookup that
// runs at the same time may see some of them earlier than others. Services and methods never change.
package registry
