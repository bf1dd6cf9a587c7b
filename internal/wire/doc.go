// Package wire encodes and decodes the frames that are sent on a bus, and constructs the names of
// the channels on which they are sent. The frames are byte-compatible with psrpc's. The complete
// protocol is described in docs/wire.md in this module's repository.
//
// A frame is an envelope that contains an inner message: a [Request], [Response], [ClaimRequest],
// [ClaimResponse], [Stream], [Cancel], [Discover] or [Presence], or a user's message published to
// subscribers. A receiver calls [ParseEnvelope], checks [Envelope.Kind], and passes
// [Envelope.Value] to the Parse function for that kind. A sender calls the AppendFrame method of
// the inner message, or [AppendMessageFrame] for a user's message. All functions are safe for
// concurrent use.
//
// # Why the codec is written by hand
//
// Generated code would register psrpc's messages, such as internal.Request, in the global protobuf
// registry. In a program that also links psrpc, they would conflict with the messages that psrpc
// registers under the same names. A hand-written codec also encodes the envelope, the inner message
// and the user's message in one pass with a single allocation, and decodes without copying.
// Generated code would encode these three messages one after the other. The tests compare the codec
// with protobuf's decoder and with recorded psrpc frames.
//
// # Decoding
//
// Decoding follows the rules of protobuf. Fields may appear in any order, and the last value of a
// field wins. Unknown fields are skipped. A known field number with an unexpected wire type is
// treated as an unknown field. Text that is not valid UTF-8 is an error. Byte slices are nil if the
// field is absent or empty.
//
// The byte slices of a decoded message alias the frame and are valid until the frame is
// overwritten. Their capacity is clipped to their length, so that append copies them instead of
// writing into the frame.
//
// # Encoding
//
// The size of a frame is computed before the frame is encoded, so the destination is grown at most
// once. As in psrpc, fields are written in ascending order, default values are omitted, and
// metadata is written in random order.
//
// # Compression
//
// Since v0.7.6, psrpc may compress the inner message. Field 4 of the envelope names the codec: 0
// for none and 1 for gzip. [ParseEnvelope] rejects frames with any other codec. A gzip stream
// starts with bytes that no protobuf message starts with. Receivers pass every value to
// [Decompress] before they parse it. The AppendFrame methods never compress. [ReplaceValue] puts a
// compressed message into a frame.
//
// # Private fields
//
// Field numbers 1000 and above are private to dynpsrpc. psrpc peers skip these fields.
//
//	message       number  type          name            meaning
//	envelope      1000    fixed64       nonce           distinguishes identical updates in a queue
//	envelope      1001    map<string, string> metadata  metadata of an update
//	Request       1000    bool          accept_direct   the client accepts a Response without a claim
//	Request       1001    bool          accept_decline  the client understands declined claims
//	Request       1002    uint32        announce_after  milliseconds after which the client expects a claim
//	Response      1000    uint32        subscribers     number of servers that the bus counts as one receiver
//	Response      1001    bool          unprocessed     the server did no work for the request
//	ClaimRequest  1000    bool          declined        the server refuses to handle the request
//	ClaimRequest  1001    uint32        subscribers     same as in Response
//	Stream        1000    StreamPing    ping            keepalive operation, which has no fields
//	StreamOpen    1000    int64         keepalive       keepalive interval of the sender, in nanoseconds
//	StreamAck     1000    int64         keepalive       same as in StreamOpen
//	StreamClose   1000    repeated Any  error_details   details of the error
//
// psrpc itself defines skip_claim, which is field 10 of a Request since v0.7.5 and was field 9 in
// v0.7.4. It allows a server to run a request right after sending a ClaimRequest, in which the
// server sets field 4, handling. With accept_direct, the server does not send a ClaimRequest at
// all. With announce_after, it sends one only if the response takes longer than the time in that
// field.
//
// A peer that does not know the private fields would mistake a declined claim for a claim, and a
// ping for a frame without an operation. Declined claims are therefore sent only to clients that
// have set accept_decline, and pings only to peers that have announced a keepalive interval.
//
// A client knows that all servers have responded when the number of responses equals the number of
// receivers that the bus has reported. Some buses count connections instead of servers, and several
// servers may share a connection. On such a bus, each server therefore sends the number of servers
// on its connection. It does so in the Response to a multi call, and otherwise in the ClaimRequest.
//
// # Private messages
//
// The message dynpsrpc.Cancel has a single field: request_id, a string with field number 1. The
// fields of the messages dynpsrpc.Discover and dynpsrpc.Presence are those of [Discover] and
// [Presence]. Private messages are sent on channels to which psrpc peers do not subscribe. In a
// unicast request, field 3 of the envelope contains the name of the request channel; see
// [UnicastChannel].
package wire
