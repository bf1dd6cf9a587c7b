package dynamic

import (
	"log/slog"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// connStream implements connChild for a client's stream.
type connStream struct{ *stream }

// end implements connChild. It closes the stream when the conn or its bus has been closed. If it is
// the conn, the server receives errors.ErrStreamClosed, which stands for a stream that was closed
// without an error. psrpc does the same.
func (s connStream) end(err error) {
	if errors.Is(err, errors.ErrClientClosed) {
		err = nil
	}
	_ = s.Close(err)
}

// trackStream adds s to the streams and to the children of the conn. It sets s.release to a
// function that removes s again. If the conn is closed, trackStream fails with the error of the
// conn. It fails with errStreamExists if another stream has the same ID. This happens if
// WithIDGenerator generates IDs that are not unique.
func (c *Conn) trackStream(s *stream) error {
	child := connStream{s}
	if err := c.track(child); err != nil {
		return err
	}
	if err := c.streams.add(s); err != nil {
		c.untrack(child)
		return err
	}
	s.release = func() {
		c.untrack(child)
		c.streams.remove(s)
	}
	return nil
}

// maxWarnedServers is the maximum number of servers with a wrong clock that a conn remembers. When
// the limit is reached, the conn forgets all of them and later warns about them once more.
const maxWarnedServers = 10_000

// warnClockSkew logs a warning about the clock of a server, at most once per server. If the method
// does not require claims, the client does not know the ID of the server, and server is empty. The
// warning is then logged at most once per method.
func (c *Conn) warnClockSkew(method *registry.Method, server string) {
	peer := server
	if peer == "" {
		peer = method.FullName()
	}
	c.mu.Lock()
	warned := c.warnedServers[peer]
	if !warned {
		if c.warnedServers == nil || len(c.warnedServers) >= maxWarnedServers {
			c.warnedServers = map[string]bool{}
		}
		c.warnedServers[peer] = true
	}
	c.mu.Unlock()
	if warned {
		return
	}
	if servers, ok := c.skewLog.Allow(skewLogInterval); ok {
		c.options.logger.Warn("dynpsrpc: server clock is skewed",
			slog.String("server", transport.Shorten(server, maxLoggedName)),
			slog.String("method", method.FullName()), slog.Uint64("servers", servers))
	}
}

// onStream is called for each frame on a stream channel. It passes the frame to its stream.
// onStream never blocks.
func (c *Conn) onStream(channel bus.Channel, frame []byte) {
	parsed, expanded, err := transport.Decode(frame, wire.KindStream, c.options.decompression(), wire.ParseStream)
	if err != nil {
		c.drops.addBad(channel, err)
		return
	}
	if !c.streams.dispatch(&parsed, expanded) {
		c.drops.add(dropUnmatched, droppedFrame{channel: channel.Name})
	}
}
