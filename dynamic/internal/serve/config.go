package serve

import (
	"context"
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Config configures an [Engine]. All sizes are in bytes. New copies the Config, and the copy does
// not change. The caller must have replaced unset options by their defaults.
type Config struct {
	// RawBus is the bus of the server. The engine wraps it to limit the size of frames and to
	// compress them. If it is nil, no service can be started.
	RawBus bus.Bus
	// ID identifies the server on the bus. It must be valid UTF-8.
	ID     string
	Logger *slog.Logger
	// Timeout limits how long the engine waits for the bus, for example to subscribe, to send a
	// response or to acknowledge a stream message.
	Timeout time.Duration
	// MaxFrameSize is the maximum size of a frame. 0 means that there is no limit.
	MaxFrameSize int
	Compression  transport.Compression
	// MaxCompressionRatio is the maximum ratio of the size of a frame after decompression to its
	// size before. 0 stands for the default.
	MaxCompressionRatio int
	// MaxDecompressed is the maximum total size of the decompressed frames that the engine keeps.
	MaxDecompressed int
	// AllowEmptyParts reports whether parts of topics may be empty.
	AllowEmptyParts bool
	// MaxConcurrent is the maximum number of requests that are handled at the same time. 0 means
	// that there is no limit.
	MaxConcurrent int
	// MaxPendingClaims, MaxPendingClaimBytes and GrantTimeout limit the number, the total size and
	// the waiting time of requests for which the client has not selected a server yet.
	MaxPendingClaims, MaxPendingClaimBytes int
	GrantTimeout                           time.Duration
	// AbandonAfter is how long an endpoint that drains waits for the clients to select a server
	// before it drops the requests that still wait.
	AbandonAfter time.Duration
	// MaxStreams and MaxSilentStreams limit the number of open streams. MaxSilentStreams applies
	// only to streams whose client has announced no keepalive interval.
	MaxStreams, MaxSilentStreams int
	// StreamIdleTimeout is how long a stream without keepalives may be idle. 0 means that there is
	// no limit.
	StreamIdleTimeout time.Duration
	// Keepalive is the interval of the keepalives that the server announces. 0 means that it sends
	// none.
	Keepalive time.Duration
}

// ServiceConfig configures a [Service]. The engine calls its functions from several goroutines at
// the same time.
type ServiceConfig struct {
	Descriptor *registry.Service
	// Handlers contains the handlers of all methods except subscriptions, keyed by method name.
	Handlers map[string]*Handler
	// ServesWhileDrained reports whether the service accepts requests even while the engine is
	// drained.
	ServesWhileDrained bool
	// ReportPanic reports a panic to the user. source says what has panicked, for example
	// "handler", and value is the value that was passed to panic. It is called on the goroutine
	// that panicked.
	ReportPanic func(ctx context.Context, method *registry.Method, source string, value any)
	// OnEvent is called for each event of a request; see [Event]. It must not block and must not
	// panic. If it is nil, no events are created.
	OnEvent func(event Event)
	// Owner is for the caller, which reads it from the results of [Engine.Services]. The engine
	// does not use it.
	Owner any
}
