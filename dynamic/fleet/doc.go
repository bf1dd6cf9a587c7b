// Package fleet lets servers tell what they serve and how they are, and lets programs ask all
// servers of a bus at once.
//
// The servers of a bus are called a fleet. A server takes part if its program serves the control
// service: a psrpc service with the name DynpsrpcFleet, which is declared in
// dynpsrpc/fleet/v1/fleet.proto (see [Proto]). Nothing is served unless the program asks for it.
// Servers send nothing regularly. They answer questions, and they publish changes when these happen.
//
// # Asking
//
// [New] returns a [Fleet], which asks through a [dynamic.Conn]:
//
//   - [Fleet.Servers] lists the servers, with the parts that are asked for.
//   - [Fleet.Registry] and [Fleet.Describe] get the descriptors of a service from a server.
//   - [Fleet.Changes] subscribes to what changes on servers.
//   - [Fleet.Peers] also finds servers and clients that cannot answer, such as those of psrpc.
//
// # No generated code
//
// The package reads and writes its messages with package dynamicpb and offers them as plain Go
// structs. It adds nothing to protobuf's global registry. Programs in other languages can generate
// a client from the .proto file.
package fleet
