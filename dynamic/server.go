package dynamic

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// Server serves registered services on a bus. Services can be registered and closed at any time.
// Call Shutdown to stop the server and let running handlers finish, or Kill to stop it without
// waiting for them. Neither method closes the bus. All methods are safe for concurrent use.
type Server struct {
	engine *serve.Engine
	// options is immutable.
	options serverOptions
	// configErr is the error that Register returns if an argument of NewServer was invalid.
	// Otherwise, it is nil.
	configErr error
}

// ServerStats counts the frames that a server has dropped since it was created, by reason. It also
// counts the stream messages that are waiting to be read. As in psrpc, the server does not respond
// to dropped frames. Only the streams and requests that are counted in Refused may be answered with
// an error. For each reason, the server logs at most one line per second. The level of the lines
// about Unmatched and Duplicated is debug, because such frames also arrive in normal operation.
type ServerStats struct {
	// BadFrames is the number of frames that could not be decoded, or whose kind of message does
	// not belong on their channel.
	BadFrames uint64
	// Expired is the number of requests and stream frames that arrived after the client's deadline.
	Expired uint64
	// Duplicated is the number of requests and stream messages that the bus delivered again within
	// five seconds. It includes requests to open a stream.
	Duplicated uint64
	// Unmatched is the number of frames for streams that this server does not know or that have
	// ended. The number grows in normal operation, because the frames of a method's streams reach
	// every server of the method.
	Unmatched uint64
	// Overflowed is the number of stream messages that were dropped because the handler read too
	// slowly and the stream's buffer was full.
	Overflowed uint64
	// Waiting is the number of stream messages that are currently buffered and have not yet been
	// read by a handler.
	Waiting uint64
	// Unsent is the number of claims, responses and acknowledgements of new streams that the bus
	// did not accept. For example, the broker may be unreachable, or a client's ID may not fit into
	// a NATS subject.
	Unsent uint64
	// Evicted is the number of requests that the server dropped while they waited for the client to
	// select a server. This happens if too many requests wait or if a request waits for too long.
	// See [WithMaxPendingClaims] and [WithGrantTimeout].
	Evicted uint64
	// Refused is the number of streams and compressed requests that the server refused. It refuses
	// streams if too many are open, and compressed requests if the memory for them is used up. See
	// [WithMaxStreams], [WithMaxStreamsWithoutKeepalive] and [WithDecompressionMemory].
	Refused uint64
}

// NewServer returns a server that uses the bus b and has no services yet. If b is nil or an option
// is invalid, NewServer still returns a server, but Register returns an error.
func NewServer(b bus.Bus, opts ...ServerOption) *Server {
	if nilarg.Is(b) {
		b = nil
	}
	options := newServerOptions(b, opts)
	s := &Server{engine: serve.New(options.engineConfig(b)), options: options, configErr: options.check()}
	if b == nil {
		s.configErr = errors.NewErrorf(errors.InvalidArgument, "dynamic.NewServer: bus is nil")
	}
	return s
}

// ID returns the ID that identifies the server on the bus. See [WithServerID].
func (s *Server) ID() string { return s.options.id }

// Bus returns the bus that was passed to [NewServer]. It may be nil.
func (s *Server) Bus() bus.Bus { return s.engine.RawBus }

// Format implements fmt.Formatter. It prints only the type and the ID. The default format would
// print all fields, which other goroutines may change and which may contain the password for the
// broker.
func (s *Server) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "dynamic.Server(%s)", s.ID()) }

// Logger returns the logger of the server; see [WithLogger].
func (s *Server) Logger() *slog.Logger { return s.options.logger }

// Stats returns the current counters.
func (s *Server) Stats() ServerStats { return ServerStats(s.engine.Stats()) }

// Shutdown stops accepting requests and waits for running handlers to return. Clients select other
// servers in the meantime. If ctx ends first, Shutdown cancels the contexts of the handlers and
// returns an error. The error wraps ctx.Err() and names the services that were still busy. Shutdown
// also returns an error if the bus has not ended all subscriptions by then; see
// [Registration.Close]. Every call to Shutdown waits for running handlers, even if Shutdown or Kill
// has been called before.
func (s *Server) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return nilarg.ErrContext
	}
	return s.engine.Shutdown(ctx)
}

// Kill stops accepting requests and cancels the contexts of running handlers. It does not wait for
// the handlers to return. If the broker does not answer, Kill returns after the timeout of the
// server plus one second (see [WithServerTimeout]). The subscriptions then end in the background.
func (s *Server) Kill() { s.engine.Kill() }

// Done returns a channel that is closed when the server has been stopped by Shutdown or Kill.
func (s *Server) Done() <-chan struct{} { return s.engine.Done() }
