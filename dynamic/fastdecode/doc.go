// Package fastdecode decodes large requests several times as fast as dynamicpb, for handlers that only read them.
//
// [Requests] is an option for a handler that takes proto.Message. Its requests are then decoded with
// buf.build/go/hyperpb, by a parser that is compiled from the method's descriptor when the handler is registered. A
// large nested request takes no longer than with generated code; one of a few bytes gains nothing.
//
// # What the handler gets
//
// A request reads as a dynamicpb.Message of the same bytes: the same fields, defaults, unknown fields and errors. It is
// a *hyperpb.Message, also where a Go type is linked, or else a *dynamicpb.Message, see below. It is read only: Set,
// Mutable, Clear, NewField and the like may panic, also in proto.Merge, and such a call is answered with internal as for
// every panic. To change a request, marshal it and unmarshal that into another message. Returning it as the response is
// fine.
//
// # Lifetimes
//
// There is nothing to release. Each request has memory of its own, with a copy of its bytes, and the garbage collector
// frees it when neither the request nor any of the strings, bytes, lists and messages read from it is in use. So all of
// them may be kept, and read by many goroutines at once. hyperpb could use memory again with its Shared type; then a
// value that a handler has kept would change under its hands, so that is not done.
//
// # Where dynamicpb decodes
//
// hyperpb v0.1.3 is not safe by itself. Some malformed requests, and some valid ones, make it read memory that is not
// theirs, or end the process with a fault that cannot be recovered; others it takes for something else than they are. So
// every request is looked through first, and hyperpb gets only what it was seen to decode as dynamicpb does: valid
// encodings in which every varint is as short as it can be, field numbers are at most 2047, messages are nested at most
// 100 deep, and no field is a map, a group, an extension, or one of several in a oneof. All other requests are decoded by
// dynamicpb, and so are all messages that hyperpb cannot compile, and everything where it does not run, which is on other
// processors than amd64 and arm64.
//
// So the option is right everywhere, and fast where it can be: a method whose requests have maps or oneofs set gains
// nothing from it.
package fastdecode
