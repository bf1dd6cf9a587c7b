package wire

// AppendFrame appends the encoded frame of s to dst. If an ID or the metadata is not valid UTF-8,
// or if the body or a detail cannot be encoded, it returns dst unchanged and an error.
func (s *Stream) AppendFrame(dst []byte) ([]byte, error) {
	if !validText(s.StreamID, s.RequestID, s.NodeID) {
		return dst, errInvalidText
	}
	if err := checkMetadata(s.Metadata); err != nil {
		return dst, err
	}
	sentAt, expiry := uint64(s.SentAt), uint64(s.Expiry)
	opTag, bodySize := s.opTag(), s.Body.size()
	opSize := s.opSize(bodySize)
	size := sizeBytes(streamTagStreamID, len(s.StreamID)) +
		sizeBytes(streamTagRequestID, len(s.RequestID)) +
		sizeVarint(streamTagSentAt, sentAt) +
		sizeVarint(streamTagExpiry, expiry)
	if opTag != 0 {
		size += sizeLengthDelimited(opTag, opSize)
	}

	frame := beginFrame(dst, streamName, size, 0)
	frame = appendBytes(frame, streamTagStreamID, s.StreamID)
	frame = appendBytes(frame, streamTagRequestID, s.RequestID)
	frame = appendVarint(frame, streamTagSentAt, sentAt)
	frame = appendVarint(frame, streamTagExpiry, expiry)
	if opTag == 0 {
		return frame, nil
	}
	frame, err := s.appendOp(appendTagAndLength(frame, opTag, opSize), bodySize)
	if err != nil {
		return dst, err
	}
	return frame, nil
}

// opTag returns the tag of the operation's message, or zero if there is no operation. AppendFrame
// writes the message even if it is empty, as it always is for a ping.
func (s *Stream) opTag() uint64 {
	switch s.Op {
	case StreamOpen:
		return streamTagOpen
	case StreamMessage:
		return streamTagMessage
	case StreamAck:
		return streamTagAck
	case StreamClose:
		return streamTagClose
	case StreamPing:
		return streamTagPing
	default:
		return 0
	}
}

// opSize returns the encoded length of the operation's message.
func (s *Stream) opSize(bodySize int) int {
	switch s.Op {
	case StreamOpen:
		return sizeBytes(openTagNodeID, len(s.NodeID)) +
			sizeMetadata(openTagMetadata, s.Metadata) +
			sizeVarint(openTagKeepalive, uint64(s.Keepalive))
	case StreamMessage:
		return sizeBytes(messageTagBody, bodySize)
	case StreamAck:
		return sizeVarint(ackTagKeepalive, uint64(s.Keepalive))
	case StreamClose:
		return sizeBytes(closeTagError, len(toValidUTF8(s.Error))) +
			sizeBytes(closeTagCode, len(toValidUTF8(s.Code))) +
			sizeDetails(closeTagDetails, s.Details)
	default:
		return 0
	}
}

// appendOp appends the fields of the operation's message.
func (s *Stream) appendOp(dst []byte, bodySize int) ([]byte, error) {
	switch s.Op {
	case StreamOpen:
		dst = appendBytes(dst, openTagNodeID, s.NodeID)
		dst = appendMetadata(dst, openTagMetadata, s.Metadata)
		return appendVarint(dst, openTagKeepalive, uint64(s.Keepalive)), nil
	case StreamMessage:
		return appendBodyField(dst, messageTagBody, s.Body, bodySize)
	case StreamAck:
		return appendVarint(dst, ackTagKeepalive, uint64(s.Keepalive)), nil
	case StreamClose:
		dst = appendBytes(dst, closeTagError, toValidUTF8(s.Error))
		dst = appendBytes(dst, closeTagCode, toValidUTF8(s.Code))
		return appendDetails(dst, closeTagDetails, s.Details)
	default:
		return dst, nil
	}
}
