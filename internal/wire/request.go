package wire

import "google.golang.org/protobuf/encoding/protowire"

const (
	requestTagRequestID = 1<<wireTypeBits | wireBytes
	requestTagClientID  = 2<<wireTypeBits | wireBytes
	requestTagSentAt    = 3<<wireTypeBits | wireVarint
	requestTagExpiry    = 4<<wireTypeBits | wireVarint
	requestTagMulti     = 5<<wireTypeBits | wireVarint
	requestTagMetadata  = 7<<wireTypeBits | wireBytes
	requestTagBody      = 8<<wireTypeBits | wireBytes
	// requestTagForceSkip is the tag of the field skip_claim in psrpc v0.7.4. Later versions use
	// another tag.
	requestTagForceSkip     = 9<<wireTypeBits | wireVarint
	requestTagSkipClaim     = 10<<wireTypeBits | wireVarint
	requestTagAcceptDirect  = 1000<<wireTypeBits | wireVarint
	requestTagAcceptDecline = 1001<<wireTypeBits | wireVarint
	requestTagAnnounceAfter = 1002<<wireTypeBits | wireVarint
)

// Request is a call to a method. The client sends it to the servers of the method.
type Request struct {
	// RequestID is the unique ID of the request.
	RequestID []byte
	// ClientID is the ID of the client. Claims and responses are sent to the channels of this
	// client.
	ClientID []byte
	// SentAt and Expiry are Unix times in nanoseconds, according to the client's clock. Servers
	// drop requests that have expired and requests without an Expiry.
	SentAt, Expiry int64
	// Multi reports whether the client expects a response from each server. It is informational
	// only: servers rely on their own descriptor of the method.
	Multi bool
	// Metadata is the caller's metadata. It may be nil.
	Metadata map[string]string
	// Body is the user's request message.
	Body Body
	// SkipClaim reports whether a server may run the request right after sending its claim, without
	// waiting until the client has selected a server. psrpc v0.7.4 used another field number for
	// SkipClaim. ParseRequest accepts that number, but AppendFrame does not write it.
	SkipClaim bool
	// AcceptDirect reports whether the client accepts a response from a server that has not sent a
	// claim, however long the handler takes. Only older dynpsrpc clients set this field.
	AcceptDirect bool
	// AnnounceAfter is a time in milliseconds. If it is not zero, the client accepts a response
	// without a claim. If the response takes longer than AnnounceAfter, the client expects a claim
	// with [ClaimRequest.Handling]. Only dynpsrpc clients set this field. A server that does not
	// know the field sends a claim at once.
	AnnounceAfter uint32
	// AcceptDecline reports whether the client understands declined claims; see
	// [ClaimRequest.Declined]. Only dynpsrpc clients set this field.
	AcceptDecline bool
	// RoutingKey is written into the envelope, where [Envelope.RoutingKey] returns it. It is used
	// only for requests on a [UnicastChannel]. It contains the name of the request channel on which
	// the request would otherwise be sent. ParseRequest does not set it.
	RoutingKey string
}

// ParseRequest decodes the value of an envelope of kind [KindRequest].
func ParseRequest(value []byte) (req Request, err error) {
	forceSkip := false
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
		case requestTagForceSkip:
			forceSkip = protowire.DecodeBool(r.number)
		case requestTagSkipClaim:
			req.SkipClaim = protowire.DecodeBool(r.number)
		case requestTagAcceptDirect:
			req.AcceptDirect = protowire.DecodeBool(r.number)
		case requestTagAcceptDecline:
			req.AcceptDecline = protowire.DecodeBool(r.number)
		case requestTagAnnounceAfter:
			req.AnnounceAfter = uint32(r.number)
		}
	}
	if r.err != nil {
		return Request{}, r.err
	}
	req.SkipClaim = req.SkipClaim || forceSkip
	return req, nil
}

// AppendFrame appends the encoded frame of req to dst. If an ID or the metadata is not valid UTF-8,
// or if the body cannot be encoded, it returns dst unchanged and an error.
func (req *Request) AppendFrame(dst []byte) ([]byte, error) {
	if !validText(req.RequestID, req.ClientID) {
		return dst, errInvalidText
	}
	if err := checkMetadata(req.Metadata); err != nil {
		return dst, err
	}
	sentAt, expiry := uint64(req.SentAt), uint64(req.Expiry)
	multi, skipClaim := protowire.EncodeBool(req.Multi), protowire.EncodeBool(req.SkipClaim)
	acceptDirect, acceptDecline := protowire.EncodeBool(req.AcceptDirect), protowire.EncodeBool(req.AcceptDecline)
	announceAfter := uint64(req.AnnounceAfter)
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
		sizeVarint(requestTagAcceptDecline, acceptDecline) +
		sizeVarint(requestTagAnnounceAfter, announceAfter)

	frame := beginFrame(dst, requestName, size, SizeRoutingKey(req.RoutingKey))
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
	frame = appendVarint(frame, requestTagAcceptDecline, acceptDecline)
	frame = appendVarint(frame, requestTagAnnounceAfter, announceAfter)
	return AppendRoutingKey(frame, req.RoutingKey), nil
}
