package dynamic

import (
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// connStream implements connChild for a client's stream.
type connStream struct{ *stream }

// end implements connChild. It closes the stream because the conn or its bus has been closed. As in
// psrpc, closing the conn is not an error for its streams: the server receives
// errors.ErrStreamClosed.
func (s connStream) end(err error) {
	if errors.Is(err, errors.ErrClientClosed) {
		err = nil
	}
	_ = s.Close(err)
}

// trackStream adds s to the streams and children of the conn. s.release removes s from both.
func (c *Conn) trackStream(s *stream) error {
	child := connStream{s}
	if err := c.track(child); err != nil {
		return err
	}
	s.release = func() {
		c.untrack(child)
		c.streams.remove(s)
	}
	return c.streams.add(s) // cannot fail, because the stream ID is new
}

// onStream is the bus.Handler for stream channels. It never blocks.
func (c *Conn) onStream(frame []byte) {
	parsed, ok := transport.Decode(
		frame, wire.KindStream, c.options.maxFrameSize, wire.ParseStream, &c.stats.badFrames)
	if !ok {
		return
	}
	c.streams.dispatch(&parsed)
}
