package wire

import "google.golang.org/protobuf/types/known/anypb"

const (
	streamTagStreamID  = 1<<wireTypeBits | wireBytes
	streamTagRequestID = 2<<wireTypeBits | wireBytes
	streamTagSentAt    = 3<<wireTypeBits | wireVarint
	streamTagExpiry    = 4<<wireTypeBits | wireVarint
	streamTagOpen      = 6<<wireTypeBits | wireBytes
	streamTagMessage   = 7<<wireTypeBits | wireBytes
	streamTagAck       = 8<<wireTypeBits | wireBytes
	streamTagClose     = 9<<wireTypeBits | wireBytes
	streamTagPing      = 1000<<wireTypeBits | wireBytes

	openTagNodeID    = 1<<wireTypeBits | wireBytes
	openTagMetadata  = 7<<wireTypeBits | wireBytes
	openTagKeepalive = 1000<<wireTypeBits | wireVarint

	messageTagBody = 2<<wireTypeBits | wireBytes

	ackTagKeepalive = 1000<<wireTypeBits | wireVarint

	closeTagError   = 1<<wireTypeBits | wireBytes
	closeTagCode    = 2<<wireTypeBits | wireBytes
	closeTagDetails = 1000<<wireTypeBits | wireBytes
)

// StreamOp is the operation of a stream frame.
type StreamOp uint8

// The operations of a stream.
const (
	// StreamNone is a frame without an operation, or with an unknown one.
	StreamNone StreamOp = iota
	// StreamOpen asks the servers to open a new stream.
	StreamOpen
	// StreamMessage contains a user's message. Both sides send it.
	StreamMessage
	// StreamAck acknowledges an open or a message. Both sides send it.
	StreamAck
	// StreamClose ends the stream. Both sides send it.
	StreamClose
	// StreamPing is a keepalive. Both sides send it, but only if the other side announced a
	// keepalive interval: others take it for a frame without an operation.
	StreamPing
)

// Stream is one frame of a stream.
type Stream struct {
	// StreamID is the unique id of the stream.
	StreamID []byte
	// RequestID is unique to the frame, except that an ack has the id of the frame that it
	// acknowledges.
	RequestID []byte
	// SentAt and Expiry are Unix times in nanoseconds by the sender's clock. Receivers drop frames
	// that have expired and frames without Expiry.
	SentAt, Expiry int64

	// Op is the operation. Each of the fields below names the operations that use it.
	Op StreamOp
	// NodeID is the client's id, in StreamOpen.
	NodeID []byte
	// Metadata is the caller's metadata or nil, in StreamOpen.
	Metadata map[string]string
	// Keepalive is the sender's keepalive interval in nanoseconds or zero, in StreamOpen and
	// StreamAck. Only dynpsrpc peers send it.
	Keepalive int64
	// Body is the user's message, in StreamMessage.
	Body Body
	// Error and Code are the reason for the end of the stream, in StreamClose. Invalid UTF-8 in
	// them is replaced during encoding.
	Error, Code string
	// Details are the details of the error, in StreamClose. After parsing they do not alias the
	// frame. Only dynpsrpc peers send them.
	Details []*anypb.Any
}

// ParseStream decodes the value of an envelope with KindStream.
func ParseStream(value []byte) (s Stream, err error) {
	r := reader{rest: value}
	for r.next() {
		switch r.tag {
		case streamTagStreamID:
			s.StreamID = r.text()
		case streamTagRequestID:
			s.RequestID = r.text()
		case streamTagSentAt:
			s.SentAt = int64(r.number)
		case streamTagExpiry:
			s.Expiry = int64(r.number)
		case streamTagOpen:
			r.err = s.parseOp(StreamOpen, r.bytes)
		case streamTagMessage:
			r.err = s.parseOp(StreamMessage, r.bytes)
		case streamTagAck:
			r.err = s.parseOp(StreamAck, r.bytes)
		case streamTagClose:
			r.err = s.parseOp(StreamClose, r.bytes)
		case streamTagPing:
			r.err = s.parseOp(StreamPing, r.bytes)
		}
	}
	if r.err != nil {
		return Stream{}, r.err
	}
	return s, nil
}

// parseOp decodes the message of an operation. The operations are a protobuf oneof: a second
// message of the same operation is merged into the first, and a message of another operation
// replaces it.
func (s *Stream) parseOp(op StreamOp, value []byte) error {
	if s.Op != op {
		*s = Stream{StreamID: s.StreamID, RequestID: s.RequestID, SentAt: s.SentAt, Expiry: s.Expiry, Op: op}
	}
	r := reader{rest: value}
	for r.next() {
		switch op {
		case StreamOpen:
			s.readOpenField(&r)
		case StreamMessage:
			if r.tag == messageTagBody {
				s.Body.Raw = r.bytes
			}
		case StreamAck:
			if r.tag == ackTagKeepalive {
				s.Keepalive = int64(r.number)
			}
		case StreamClose:
			s.readCloseField(&r)
		case StreamNone, StreamPing: // no fields
		}
	}
	return r.err
}

func (s *Stream) readOpenField(r *reader) {
	switch r.tag {
	case openTagNodeID:
		s.NodeID = r.text()
	case openTagMetadata:
		s.Metadata = r.setEntry(s.Metadata)
	case openTagKeepalive:
		s.Keepalive = int64(r.number)
	}
}

func (s *Stream) readCloseField(r *reader) {
	switch r.tag {
	case closeTagError:
		s.Error = string(r.text())
	case closeTagCode:
		s.Code = string(r.text())
	case closeTagDetails:
		s.Details = r.appendDetail(s.Details)
	}
}
