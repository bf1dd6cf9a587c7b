package wire

const cancelTagRequestID = 1<<wireTypeBits | wireBytes

// Cancel tells the servers of a service that the client no longer waits for
// the answers to a request. It travels from the client to the servers, on the
// channel that [CancelChannel] names. The message is ours: psrpc has none like
// it. A stream is ended by [StreamClose] instead.
type Cancel struct {
	// RequestID is that of the request.
	RequestID []byte
}

// ParseCancel decodes the value of an envelope of KindCancel.
func ParseCancel(value []byte) (c Cancel, err error) {
	r := reader{rest: value}
	for r.next() {
		if r.tag == cancelTagRequestID {
			c.RequestID = r.text()
		}
	}
	if r.err != nil {
		return Cancel{}, r.err
	}
	return c, nil
}

// AppendFrame appends to dst a frame that holds the cancellation. It returns
// dst as it was and an error if the id is not UTF-8.
func (c *Cancel) AppendFrame(dst []byte) ([]byte, error) {
	if !validText(c.RequestID) {
		return dst, errInvalidText
	}
	frame := beginFrame(dst, cancelName, sizeBytes(cancelTagRequestID, len(c.RequestID)), 0)
	return appendBytes(frame, cancelTagRequestID, c.RequestID), nil
}
