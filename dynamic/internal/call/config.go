package call

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
)

// Config holds the settings of an [Engine]. It must not be modified after it has been passed to
// [New].
type Config struct {
	// Bus is the bus that carries the calls. The engine does not close it.
	Bus bus.Bus
	// ClientID identifies the client to servers.
	ClientID string
	// NewID creates the IDs of requests and streams; its argument is a prefix of package id. If it
	// is nil, the engine creates random IDs. If it returns an invalid ID, the engine uses a random
	// one instead, and logs an error.
	NewID func(prefix string) string
	// Timeout is the timeout of calls that set none of their own. If it is zero, a call without a
	// timeout and without a context deadline ends after DefaultTimeout.
	Timeout, DefaultTimeout time.Duration
	// SelectionTimeout limits how long a call without a [Selection] waits for claims, or for a sign
	// that a server has received the request.
	SelectionTimeout time.Duration
	// ShortCircuitTimeout is the time for which a call without a [Selection] waits for better
	// claims after the first one.
	ShortCircuitTimeout time.Duration
	// MaxFrameSize is the maximum size of a frame in bytes. 0 means that there is no limit.
	MaxFrameSize int
	Compression  transport.Compression
	// Decompression limits the size of received frames after decompression.
	Decompression transport.Limits
	Logger        *slog.Logger
	// DecompressionMemory limits the total size in bytes of the decompressed stream messages that
	// have not been read.
	DecompressionMemory int64
	// Keepalive is the keepalive interval of streams. 0 means that streams send no keepalives.
	Keepalive time.Duration
}

// timeout returns the limit for an operation that waits for the bus.
func (c *Config) timeout() time.Duration {
	if c.Timeout == 0 {
		return c.DefaultTimeout
	}
	return c.Timeout
}

// adaptiveSelection returns the options for calls that select a server by affinity and have no
// [Selection].
func (c *Config) adaptiveSelection() selection.Opts {
	return selection.Opts{AffinityTimeout: c.SelectionTimeout, ShortCircuitTimeout: c.ShortCircuitTimeout}
}
