// Package fastdecode decodes large requests several times as fast as dynamicpb, for handlers that
// only read them.
//
// [Requests] is an option for a handler that takes proto.Message. The requests of such a handler
// are decoded by buf.build/go/hyperpb, with a parser that is compiled from the method's descriptor
// when the handler is registered. A large nested request takes no longer than with generated code;
// a request of a few bytes gains nothing.
//
// # What the handler gets
//
// A request reads like a dynamicpb.Message of the same bytes: it has the same fields, defaults and
// unknown fields, and malformed bytes fail in the same way. Its type is *hyperpb.Message, even if
// the Go type of the message is linked, or *dynamicpb.Message in the cases below.
//
// A request is read-only. Set, Mutable, Clear, NewField and similar methods may panic, also when
// proto.Merge calls them; as with every panic of a handler, the caller then gets the code internal.
// To change a request, marshal it and unmarshal the bytes into another message. A handler may
// return the request as its response.
//
// # Lifetimes
//
// Nothing has to be released. Each request has its own memory, including a copy of its bytes, which
// the garbage collector frees when the request and all strings, bytes, lists and messages read from
// it are unreachable. A handler may therefore keep any of them, and several goroutines may read
// them at once. hyperpb can reuse memory with its Shared type, but values that a handler has kept
// would then change, so this package does not use it.
//
// # Where dynamicpb decodes
//
// hyperpb v0.1.3 is not safe for every input. Some malformed requests, and some valid ones, make it
// read memory outside the request or end the process with a fault that cannot be recovered; others
// it decodes wrongly. This package therefore checks every request first and passes only those to
// hyperpb that are known to be safe: valid encodings in which
//
//   - every varint has its shortest form,
//   - field numbers are at most 2047,
//   - messages are nested at most 100 deep,
//   - no field is a map, a group, an extension or a member of a oneof of several fields.
//
// dynamicpb decodes all other requests, all messages that hyperpb cannot compile, and every request
// on processors other than amd64 and arm64.
//
// The option is therefore correct for every method and fast for most. A method whose requests set
// maps or oneofs gains nothing.
package fastdecode
