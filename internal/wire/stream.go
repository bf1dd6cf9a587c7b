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

// StreamOp is what a stream frame does.
type StreamOp uint8

// The operations of a stream.
const (
	// StreamNone is a frame without an operation, or with one that is unknown.
	StreamNone StreamOp = iota
	// StreamOpen asks a server for a new stream.
	StreamOpen
	// StreamMessage carries the user's message, in either direction.
	StreamMessage
	// StreamAck confirms an open or a message, in either direction.
	StreamAck
	// StreamClose ends the stream, in either direction.
	StreamClose
	// StreamPing is a sign of life and nothing else, in either direction. It is
	// sent only to a peer that announced a keepalive: to any other it is a frame
	// without an operation.
	StreamPing
)

// Stream is one frame of a stream.
type Stream struct {
	// StreamID tells the stream apart from all others.
	StreamID []byte
	// RequestID is new in every frame, save that an ack repeats that of the
	// frame it confirms.
	RequestID []byte
	// SentAt and Expiry are Unix times in nanoseconds by the sender's clock. A
	// receiver drops a frame that has expired, and one without Expiry.
	SentAt, Expiry int64

	// Op says which of the fields below count.
	Op StreamOp
	// NodeID is the client's id: StreamOpen.
	NodeID []byte
	// Metadata is the caller's, nil if there is none: StreamOpen.
	Metadata map[string]string
	// Keepalive is the interval in nanoseconds at which the sender promises to
	// be heard, 0 if it promises nothing: StreamOpen, StreamAck. Only our peers
	// send it.
	Keepalive int64
	// Body is the user's message: StreamMessage.
	Body Body
	// Error and Code tell why the stream ends: StreamClose. What is not UTF-8
	// in them is replaced when they are encoded.
	Error, Code string
	// Details belong to the error: StreamClose. Parsed ones are copies. Only our
	// peers send them.
	Details []*anypb.Any
}

// ParseStream decodes the value of an envelope of KindStream.
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

// parseOp decodes the message of an operation. As protobuf has it, a second
// message of the same operation is merged into the first, and one of another
// operation takes its place.
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
