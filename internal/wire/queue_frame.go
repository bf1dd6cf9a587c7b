package wire

import "time"

// QueueFrame describes a frame that is sent to a queue. A bus uses this information to deliver the
// frame only once.
type QueueFrame struct {
	// Unique reports whether no other frame consists of the same bytes. Requests contain a unique
	// ID. An update is unique if its publisher has added a nonce, which only dynpsrpc does.
	Unique bool
	// Timeout is the time from when a request is sent until it expires. It is zero if the frame is
	// not a request, is compressed, or does not contain both times.
	Timeout time.Duration
}

// InspectQueueFrame returns the description of a frame that is sent to a queue. It does not
// allocate memory, and checks only the parts of the frame that it needs. It returns the zero value
// for a frame that is not a valid envelope.
func InspectQueueFrame(frame []byte) QueueFrame {
	var typeURL, value []byte
	nonce, codec := false, uint64(0)
	r := reader{rest: frame}
	for r.next() {
		switch r.tag {
		case envelopeTagTypeURL:
			typeURL = r.bytes
		case envelopeTagValue:
			value = r.bytes
		case envelopeTagNonce:
			nonce = true
		case envelopeTagCodec:
			codec = r.number
		}
	}
	switch {
	case r.err != nil:
		return QueueFrame{}
	case kindOf(nameInURL(typeURL)) != KindRequest:
		return QueueFrame{Unique: nonce}
	case codec != 0 || IsCompressed(value):
		return QueueFrame{Unique: true}
	}
	return QueueFrame{Unique: true, Timeout: requestTimeout(value)}
}

// requestTimeout returns the time from when a request is sent until it expires, or zero if the
// request does not contain both times. Both times come from the client's clock, so the result is
// correct even if that clock is wrong.
func requestTimeout(request []byte) time.Duration {
	var sentAt, expiry int64
	r := reader{rest: request}
	for r.next() {
		switch r.tag {
		case requestTagSentAt:
			sentAt = int64(r.number)
		case requestTagExpiry:
			expiry = int64(r.number)
		}
	}
	if r.err != nil || sentAt <= 0 || expiry <= sentAt {
		return 0
	}
	return time.Duration(expiry - sentAt)
}
