package dynamic

import (
	"fmt"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Conn is what clients use to make calls over a bus. It owns the subscriptions on which responses
// arrive, and looks up methods in a registry. All clients in a process can share one Conn, because
// it is safe for concurrent use. Close the Conn when it is no longer needed. Close does not close
// the bus.
type Conn struct {
	// engine makes the calls. It owns the conn's subscriptions and goroutines.
	engine   *call.Engine
	bus      bus.Bus
	registry *registry.Registry
	options  connOptions

	mu sync.Mutex
	// plans holds the plans of the Invoke functions. publishers holds the publishers of the
	// function Publish. The keys of both are full method names.
	plans      map[string]*clientPlan
	publishers map[string]*publisher
}

// ConnStats counts the frames that a conn has dropped since it was created, by reason. It also
// counts the stream messages that are waiting to be read. No call returns an error for a dropped
// frame, so the conn logs dropped frames, with at most one line per second and reason. The level of
// the lines about Unmatched and Duplicated is debug, because such frames also arrive in normal
// operation.
type ConnStats struct {
	// BadFrames counts frames that could not be decoded or that exceeded the conn's maximum frame
	// size. It also counts frames whose kind of message does not belong on their channel.
	BadFrames uint64
	// Unmatched counts claims, responses and stream frames that the conn could not use, usually
	// because their call or stream has already ended.
	Unmatched uint64
	// Expired counts stream messages that were dropped because the server's call to Send had
	// already timed out. They have arrived too late, or waited too long for room in the stream's
	// channel. Expired also counts stream frames without a valid expiry.
	Expired uint64
	// Duplicated counts stream messages that were dropped because the bus delivered them a second
	// time within five seconds.
	Duplicated uint64
	// Overflowed counts stream messages that arrived while the buffer of their stream was full.
	Overflowed uint64
	// Waiting is the number of stream messages that are currently buffered and have not been read.
	Waiting uint64
}

// NewConn returns a conn that uses b to call the services in reg, including services that are added
// to reg later. It fails with the code [errors.InvalidArgument] if b or reg is nil, or if the
// client ID is not valid. It returns [bus.ErrClosed] if b is closed, and another error if an option
// is invalid.
func NewConn(b bus.Bus, reg *registry.Registry, opts ...ConnOption) (*Conn, error) {
	if nilarg.Is(b) || reg == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "cannot create conn: bus or registry is nil")
	}
	select {
	case <-b.Done():
		return nil, bus.ErrClosed
	default:
	}
	options := newConnOptions(b, opts)
	if err := options.check(); err != nil {
		return nil, err
	}
	return &Conn{
		engine:     call.New(options.engineConfig(b)),
		bus:        b,
		registry:   reg,
		options:    options,
		plans:      map[string]*clientPlan{},
		publishers: map[string]*publisher{},
	}, nil
}

// ID returns the client ID, which identifies the conn to servers.
func (c *Conn) ID() string { return c.options.id }

// Bus returns the bus that was passed to [NewConn].
func (c *Conn) Bus() bus.Bus { return c.bus }

// Registry returns the registry that was passed to [NewConn].
func (c *Conn) Registry() *registry.Registry { return c.registry }

// Format implements fmt.Formatter. It prints only the type and the ID. The default format would
// print all fields, which other goroutines may change and which may contain the password for the
// broker.
func (c *Conn) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "dynamic.Conn(%s)", c.ID()) }

// Stats returns the current counters of the conn.
func (c *Conn) Stats() ConnStats {
	drops := c.engine.Drops()
	return ConnStats{
		BadFrames:  drops.Count(transport.DropBadFrame),
		Unmatched:  drops.Count(transport.DropUnmatched),
		Expired:    drops.Count(transport.DropExpired),
		Duplicated: drops.Count(transport.DropDuplicated),
		Overflowed: drops.Count(transport.DropOverflowed),
		Waiting:    c.engine.Waiting(),
	}
}

// Close immediately ends all calls, streams and subscriptions. Calls in progress fail with
// [errors.ErrClientClosed]. When Close returns nil, the bus delivers nothing more to the conn, and
// the conn's goroutines have ended. Close may be called more than once.
//
// If the broker does not answer, or an interceptor does not return, Close returns an error with
// code deadline_exceeded. It does so after 3 seconds, or after the timeout of the conn if that is
// longer (see [WithClientTimeout]). The remaining subscriptions and goroutines then end in the
// background.
func (c *Conn) Close() error { return c.engine.Close() }

// Done returns a channel that is closed when the conn or its bus is closed.
func (c *Conn) Done() <-chan struct{} { return c.engine.Done() }
