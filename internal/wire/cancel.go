package wire

const cancelTagRequestID = 1<<wireTypeBits | wireBytes

// Cancel notifies the servers of a service that the client no longer waits for the response to a
// request. The client publishes it on the channel returned by [CancelChannel]. psrpc has no
// equivalent message. Streams are ended by a frame with the operation [StreamClose] instead.
type Cancel struct {
	// RequestID is the ID of the request to cancel.
	RequestID []byte
}

// ParseCancel decodes the value of an envelope of kind [KindCancel].
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

// AppendFrame appends the encoded frame of c to dst. If the request ID is not valid UTF-8, it
// returns dst unchanged and an error.
func (c *Cancel) AppendFrame(dst []byte) ([]byte, error) {
	if !validText(c.RequestID) {
		return dst, errInvalidText
	}
	frame := beginFrame(dst, cancelName, sizeBytes(cancelTagRequestID, len(c.RequestID)), 0)
	return appendBytes(frame, cancelTagRequestID, c.RequestID), nil
}
