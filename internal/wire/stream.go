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
	// StreamNone means that the frame has no operation or an unknown one.
	StreamNone StreamOp = iota
	// StreamOpen asks the servers to open a new stream.
	StreamOpen
	// StreamMessage contains a user's message. Both sides send it.
	StreamMessage
	// StreamAck acknowledges a StreamOpen or StreamMessage frame. Both sides send it.
	StreamAck
	// StreamClose ends the stream. Both sides send it.
	StreamClose
	// StreamPing is a keepalive. Both sides send it, but only to a peer that has announced a
	// keepalive interval. Other peers would see a frame without an operation.
	StreamPing
)

// Stream is one frame of a stream.
type Stream struct {
	// StreamID is the unique ID of the stream.
	StreamID []byte
	// RequestID is the unique ID of the frame. In an acknowledgement, it is the ID of the frame
	// that is being acknowledged.
	RequestID []byte
	// SentAt and Expiry are Unix times in nanoseconds, according to the sender's clock. Receivers
	// drop frames that have expired and frames without an Expiry.
	SentAt, Expiry int64

	// Op is the operation. It determines which of the following fields are sent.
	Op StreamOp
	// NodeID is the client's ID. It is sent only in StreamOpen frames.
	NodeID []byte
	// Metadata is the caller's metadata. It is sent only in StreamOpen frames and may be nil.
	Metadata map[string]string
	// Keepalive is the sender's keepalive interval in nanoseconds, or zero if the sender has none.
	// It is sent only in StreamOpen and StreamAck frames, and only by dynpsrpc peers.
	Keepalive int64
	// Body is the user's message. It is sent only in StreamMessage frames.
	Body Body
	// Error and Code describe why the stream has ended. They are sent only in StreamClose frames.
	// Invalid UTF-8 in them is replaced during encoding.
	Error, Code string
	// Details contains the details of the error. They are sent only in StreamClose frames, and only
	// by dynpsrpc peers. Parsed details do not alias the frame.
	Details []*anypb.Any
}

// ParseStream decodes the value of an envelope of kind [KindStream].
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
			s.parseOp(StreamOpen, &r)
		case streamTagMessage:
			s.parseOp(StreamMessage, &r)
		case streamTagAck:
			s.parseOp(StreamAck, &r)
		case streamTagClose:
			s.parseOp(StreamClose, &r)
		case streamTagPing:
			s.parseOp(StreamPing, &r)
		}
	}
	if r.err != nil {
		return Stream{}, r.err
	}
	return s, nil
}

// parseOp decodes the message of an operation. The operations are a protobuf oneof. If the frame
// contains several messages of the same operation, they are therefore merged. A message of another
// operation replaces all messages before it.
func (s *Stream) parseOp(op StreamOp, frame *reader) {
	if s.Op != op {
		*s = Stream{StreamID: s.StreamID, RequestID: s.RequestID, SentAt: s.SentAt, Expiry: s.Expiry, Op: op}
	}
	// The entries of replaced messages also count towards MaxEntries, because they have been
	// decoded.
	r := reader{rest: frame.bytes, entries: frame.entries}
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
		case StreamNone, StreamPing: // these operations have no fields
		}
	}
	frame.entries, frame.err = r.entries, r.err
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
		if r.countEntry() {
			s.Error = string(r.text())
		}
	case closeTagCode:
		if r.countEntry() {
			s.Code = string(r.text())
		}
	case closeTagDetails:
		s.Details = r.appendDetail(s.Details)
	}
}
