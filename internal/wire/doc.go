// Package wire encodes and decodes the frames that travel on a bus, and
// builds the names of the channels they travel on. It is byte-compatible with
// psrpc.
//
// A frame is an envelope around one inner message: a [Request], [Response],
// [ClaimRequest], [ClaimResponse], [Stream], [Cancel], or, for a subscription,
// the user's own message. A receiver calls [ParseEnvelope], looks at the
// [Envelope.Kind], and hands [Envelope.Value] to the Parse function of that
// kind. A sender calls the AppendFrame method of the inner message, or
// [AppendMessageFrame] for a user's message.
//
// # Decoding
//
// Decoding follows protobuf: fields may come in any order, unknown fields and
// known numbers with a foreign wire type are skipped, the last value of a
// field wins, and text that is not UTF-8 makes the frame an error. Byte slices
// of a decoded value alias the frame, with their capacity clipped, so that
// appending to one never writes into the frame. They are valid as long as the
// frame is not overwritten. A field that is absent or empty is nil.
//
// # Encoding
//
// Encoding computes the size of the frame first and then grows the given slice
// at most once. Fields are written in rising order without defaults, as psrpc
// does. The order of metadata is random, as psrpc's is.
//
// All functions may be called concurrently.
//
// # Compression
//
// psrpc from v0.7.6 on may compress the inner message of a frame with gzip.
// Such a value begins as no message does, so that a receiver gives every value
// to [Decompress] before it parses it. Nothing here compresses.
//
// # Private fields
//
// Fields numbered from 1000 up are ours. Other peers skip them.
//
//	message       number  type          name            meaning
//	envelope      1000    fixed64       nonce           tells apart frames that would otherwise be equal
//	envelope      1001    map<string, string> metadata  what is known of an update besides its message
//	Request       1000    bool          accept_direct   the client takes a Response without any claim, see below
//	Request       1001    bool          accept_decline  the client understands a declined claim
//	Response      1000    uint32        sharers         servers that the bus counts as one receiver, see below
//	Response      1001    bool          not_run         nothing was done for the request that has failed
//	ClaimRequest  1000    bool          declined        the server does not take the request
//	ClaimRequest  1001    uint32        sharers         as in Response
//	Stream        1000    StreamPing    ping            an operation: a sign of life, an empty message
//	StreamOpen    1000    int64         keepalive       the sender is heard at this interval, in nanoseconds
//	StreamAck     1000    int64         keepalive       as in StreamOpen
//	StreamClose   1000    repeated Any  error_details   details of the error
//
// psrpc's own skip_claim, field 9 of a Request, lets a server run a request as
// soon as it has announced itself with a ClaimRequest. With accept_direct it
// does not even do that.
//
// To a peer that does not know them, a declined claim is a claim, and a ping is
// a frame without an operation. So they are sent only to one that has shown
// that it knows them: by accept_decline, or by a keepalive.
//
// A client takes all servers to have answered when as many have as the bus has
// counted receivers. Some buses count connections, which servers may share. So a
// server that shares one says how many do, itself included, in its response to a
// request that all servers answer, and in its claim where the client chooses.
//
// # Private messages
//
// Cancel is ours as a whole: its full name is dynpsrpc.Cancel, its one field is
// request_id, a string numbered 1, and it travels on a channel that other peers
// never listen to.
package wire
