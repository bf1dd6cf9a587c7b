// Package fleet lets servers report their services and their state, and lets programs ask all
// servers of a bus at once.
//
// The servers of a bus are called a fleet. A server takes part if its program serves the control
// service: a psrpc service with the name DynpsrpcFleet, which is declared in
// dynpsrpc/fleet/v1/fleet.proto (see [Proto]). Nothing is served unless the program calls [Serve].
// Servers send nothing at regular intervals. They answer questions, and they publish changes when
// these happen.
//
// # Serving
//
// [Serve] makes a [dynamic.Server] answer questions about itself. The answers contain its services
// and topics, its health, and the state of its bus and its process. They also say how many calls of
// each method have succeeded or failed, and how long they took. Counting costs a call no allocation
// and a few dozen nanoseconds. The answers never contain messages or passwords. They contain the
// texts of errors only with [WithErrorTexts]. Every client that may publish to the control service
// gets an answer, unless [WithAuthorize] rejects it.
//
// The control service runs on a server of its own with the same ID. This server answers even while
// the program's server drains or has reached a limit, and the program's interceptors do not see its
// requests. It ends with the program's server.
//
// # Asking
//
// [New] returns a [Fleet], which asks through a [dynamic.Conn]:
//
//   - [Fleet.Servers] lists the servers, with the parts that are asked for.
//   - [Fleet.Registry] and [Fleet.Describe] get the descriptors of a service from a server.
//   - [Fleet.Changes] subscribes to the changes of all servers.
//   - [Fleet.Peers] also finds servers and clients that cannot answer, such as those of psrpc.
//
// # No generated code
//
// The package reads and writes its messages with package dynamicpb and offers them as plain Go
// structs. It adds nothing to protobuf's global registry. Programs in other languages can generate
// a client from the .proto file.
package fleet
