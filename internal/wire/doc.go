// Package wire encodes and decodes the frames that are sent on a bus, and builds the names of their
// channels. Its frames are byte-compatible with those of psrpc. The repository's docs/wire.md
// describes the whole protocol.
//
// A frame is an envelope around one inner message: a [Request], [Response], [ClaimRequest],
// [ClaimResponse], [Stream] or [Cancel], or the user's message in the case of a subscription. A
// receiver calls [ParseEnvelope], checks [Envelope.Kind], and passes [Envelope.Value] to the Parse
// function of that kind. A sender calls the AppendFrame method of the inner message, or
// [AppendMessageFrame] for a user's message. All functions may be called concurrently.
//
// # Why the codec is written by hand
//
// Generated code would register the messages of proto package internal in the global protobuf
// registry, where they conflict with psrpc's own in a program that links both libraries. A
// hand-written codec also encodes envelope, inner message and user's message in one pass into one
// allocation, and decodes without copying; generated code encodes the user's message, the inner
// message and the envelope one after the other. The tests compare the codec with protobuf's decoder
// and with recorded psrpc frames.
//
// # Decoding
//
// Decoding follows protobuf: fields may have any order, unknown fields are skipped, known field
// numbers with another wire type count as unknown, the last value of a field wins, and text that is
// not valid UTF-8 is an error. A field that is absent or empty is nil.
//
// Byte slices of a decoded message alias the frame and are valid until the frame is overwritten.
// Their capacity is clipped, so that append copies them instead of writing into the frame.
//
// # Encoding
//
// Encoding computes the size of the frame first, and grows the destination at most once. Like
// psrpc, it writes fields in rising order, omits default values, and writes metadata in random
// order.
//
// # Compression
//
// psrpc from v0.7.6 on may compress the inner message with gzip. A compressed value starts with
// bytes that no protobuf message starts with. Receivers pass every value to [Decompress] before
// they parse it. This package never compresses.
//
// # Private fields
//
// Fields numbered from 1000 up belong to dynpsrpc. psrpc peers skip them.
//
//	message       number  type          name            meaning
//	envelope      1000    fixed64       nonce           makes identical updates of a queue distinct frames
//	envelope      1001    map<string, string> metadata  metadata of an update
//	Request       1000    bool          accept_direct   the client accepts a Response without a claim
//	Request       1001    bool          accept_decline  the client understands a declined claim
//	Response      1000    uint32        subscribers     number of servers that the bus counts as one receiver
//	Response      1001    bool          unprocessed     the request failed before a handler ran
//	ClaimRequest  1000    bool          declined        the server does not take the request
//	ClaimRequest  1001    uint32        subscribers     as in Response
//	Stream        1000    StreamPing    ping            a keepalive: an operation without fields
//	StreamOpen    1000    int64         keepalive       keepalive interval of the sender, in nanoseconds
//	StreamAck     1000    int64         keepalive       as in StreamOpen
//	StreamClose   1000    repeated Any  error_details   details of the error
//
// Field 9 of a Request, skip_claim, is psrpc's own: it lets a server run a request as soon as it
// has sent a ClaimRequest. With accept_direct the server does not send a ClaimRequest either.
//
// A peer that does not know the private fields takes a declined claim for a claim, and a ping for a
// frame without an operation. Both are therefore sent only to peers that announced their support:
// with accept_decline, or with a keepalive interval.
//
// A client knows that all servers have answered when the number of answers equals the number of
// receivers that the bus reported. Some buses count connections, which several servers may share.
// Such servers therefore send the number of servers on their connection: in the Response to a multi
// call, and in the ClaimRequest otherwise.
//
// # Private messages
//
// The message dynpsrpc.Cancel has one field, request_id, a string with number 1. It is sent on a
// channel to which psrpc peers do not subscribe.
package wire
