// Package fastdecode decodes large requests several times faster than dynamicpb does. It is for
// handlers that only read their requests.
//
// [Requests] is an option for a handler that receives a proto.Message. The requests for the handler
// are decoded by buf.build/go/hyperpb, with a parser that is compiled from the method's descriptor
// when the handler is registered. Decoding a large nested request takes no longer than with
// generated code. Requests of a few bytes are not decoded faster.
//
// # What the handler receives
//
// A request reads like a dynamicpb.Message that was decoded from the same bytes: it has the same
// fields, defaults and unknown fields. Malformed bytes cause the same errors. The type of a request
// is *hyperpb.Message, even if the program contains a generated Go type for the message. In the
// cases described below, the type is *dynamicpb.Message.
//
// A request is read-only. Set, Mutable, Clear, NewField and similar methods may panic, also when a
// function such as proto.Merge calls them. As with any panic in a handler, the caller then receives
// an error with the code internal. To change a request, marshal it and unmarshal the bytes into
// another message. A handler may return the request as its response.
//
// # Lifetimes
//
// Nothing has to be released. Each request has its own memory, including a copy of its bytes. The
// garbage collector frees this memory once the program no longer uses the request, nor any string,
// byte slice, list or message read from it. A handler may therefore keep any of them, and several
// goroutines may read them concurrently. This package does not use hyperpb's Shared type. That type
// reuses memory, so values that a handler has kept would change.
//
// # When dynamicpb is used
//
// hyperpb v0.1.3 is not safe for all inputs. Some requests, including valid ones, make it read
// memory outside the request or crash the process with a fault that cannot be recovered. Others are
// decoded incorrectly. This package therefore checks every request first. It passes a request to
// hyperpb only if the request is a valid encoding and is known to be safe:
//
//   - every varint has its shortest form,
//   - no field number is greater than 2047,
//   - messages are nested at most 100 levels deep,
//   - no field is a map, a group, an extension or a member of a oneof with more than one field.
//
// dynamicpb decodes all other requests. It also decodes requests whose message type hyperpb cannot
// compile, and every request on architectures other than amd64 and arm64.
//
// The option can therefore be used with every method, and makes most methods faster. It has no
// benefit for a method whose requests contain maps or oneofs.
package fastdecode
