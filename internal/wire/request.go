package wire

import "google.golang.org/protobuf/encoding/protowire"

const (
	requestTagRequestID     = 1<<wireTypeBits | wireBytes
	requestTagClientID      = 2<<wireTypeBits | wireBytes
	requestTagSentAt        = 3<<wireTypeBits | wireVarint
	requestTagExpiry        = 4<<wireTypeBits | wireVarint
	requestTagMulti         = 5<<wireTypeBits | wireVarint
	requestTagMetadata      = 7<<wireTypeBits | wireBytes
	requestTagBody          = 8<<wireTypeBits | wireBytes
	requestTagSkipClaim     = 9<<wireTypeBits | wireVarint
	requestTagAcceptDirect  = 1000<<wireTypeBits | wireVarint
	requestTagAcceptDecline = 1001<<wireTypeBits | wireVarint
)

// Request asks the servers of a method for an answer.
type Request struct {
	// RequestID tells the request apart from all others.
	RequestID []byte
	// ClientID names the client, to whose channels all answers go.
	ClientID []byte
	// SentAt and Expiry are Unix times in nanoseconds by the client's clock. A
	// server drops a request that has expired, and one without Expiry.
	SentAt, Expiry int64
	// Multi says that the client expects an answer from each server. It is for
	// information: the server goes by its own view of the method.
	Multi bool
	// Metadata is the caller's, nil if there is none.
	Metadata map[string]string
	// Body is the user's request.
	Body Body
	// SkipClaim says that the client can do without the choice of a server: one
	// that claims the request may run it at once. psrpc does so from v0.7.5 on.
	SkipClaim bool
	// AcceptDirect says that the client takes a Response without a claim. Only
	// our peers send it.
	AcceptDirect bool
	// AcceptDecline says that the client understands a claim that is declined.
	// Only our peers send it.
	AcceptDecline bool
}

// ParseRequest decodes the value of an envelope of KindRequest.
func ParseRequest(value []byte) (req Request, err error) {
	r := reader{rest: value}
	for r.next() {
		switch r.tag {
		case requestTagRequestID:
			req.RequestID = r.text()
		case requestTagClientID:
			req.ClientID = r.text()
		case requestTagSentAt:
			req.SentAt = int64(r.number)
		case requestTagExpiry:
			req.Expiry = int64(r.number)
		case requestTagMulti:
			req.Multi = protowire.DecodeBool(r.number)
		case requestTagMetadata:
			req.Metadata = r.setEntry(req.Metadata)
		case requestTagBody:
			req.Body.Raw = r.bytes
		case requestTagSkipClaim:
			req.SkipClaim = protowire.DecodeBool(r.number)
		case requestTagAcceptDirect:
			req.AcceptDirect = protowire.DecodeBool(r.number)
		case requestTagAcceptDecline:
			req.AcceptDecline = protowire.DecodeBool(r.number)
		}
	}
	if r.err != nil {
		return Request{}, r.err
	}
	return req, nil
}

// AppendFrame appends to dst a frame that holds the request. It returns dst as
// it was and an error if an id or metadata is not UTF-8 or if the body cannot
// be encoded.
func (req *Request) AppendFrame(dst []byte) ([]byte, error) {
	if !validText(req.RequestID, req.ClientID) || !validMetadata(req.Metadata) {
		return dst, errInvalidText
	}
	sentAt, expiry := uint64(req.SentAt), uint64(req.Expiry)
	multi, skipClaim := protowire.EncodeBool(req.Multi), protowire.EncodeBool(req.SkipClaim)
	acceptDirect, acceptDecline := protowire.EncodeBool(req.AcceptDirect), protowire.EncodeBool(req.AcceptDecline)
	bodySize := req.Body.size()
	size := sizeBytes(requestTagRequestID, len(req.RequestID)) +
		sizeBytes(requestTagClientID, len(req.ClientID)) +
		sizeVarint(requestTagSentAt, sentAt) +
		sizeVarint(requestTagExpiry, expiry) +
		sizeVarint(requestTagMulti, multi) +
		sizeMetadata(requestTagMetadata, req.Metadata) +
		sizeBytes(requestTagBody, bodySize) +
		sizeVarint(requestTagSkipClaim, skipClaim) +
		sizeVarint(requestTagAcceptDirect, acceptDirect) +
		sizeVarint(requestTagAcceptDecline, acceptDecline)

	frame := beginFrame(dst, requestName, size, 0)
	frame = appendBytes(frame, requestTagRequestID, req.RequestID)
	frame = appendBytes(frame, requestTagClientID, req.ClientID)
	frame = appendVarint(frame, requestTagSentAt, sentAt)
	frame = appendVarint(frame, requestTagExpiry, expiry)
	frame = appendVarint(frame, requestTagMulti, multi)
	frame = appendMetadata(frame, requestTagMetadata, req.Metadata)
	frame, err := appendBodyField(frame, requestTagBody, req.Body, bodySize)
	if err != nil {
		return dst, err
	}
	frame = appendVarint(frame, requestTagSkipClaim, skipClaim)
	frame = appendVarint(frame, requestTagAcceptDirect, acceptDirect)
	return appendVarint(frame, requestTagAcceptDecline, acceptDecline), nil
}
