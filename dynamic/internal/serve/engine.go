package serve

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/tap"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/dedup"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
	"github.com/dynpsrpc/dynpsrpc/internal/semaphore"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Engine serves services on a bus. It does the work of a dynamic.Server, but knows no options, Go
// types or interceptors. All methods are safe for concurrent use.
type Engine struct {
	Config

	// bus is the RawBus of the Config, wrapped to limit the size of frames and to compress them.
	bus    bus.Bus
	traits transport.Traits
	// wireID is the ID of the server, converted to a byte slice for encoding frames.
	wireID []byte
	// limits are the limits for compressed frames.
	limits        transport.Limits
	pendingClaims pendingClaims
	// semaphore limits how many requests the server handles at the same time.
	semaphore semaphore.Semaphore
	// streams limits the number of open streams. silentStreams limits the number of open streams
	// whose client has not announced a keepalive interval.
	streams, silentStreams semaphore.Semaphore
	// decompressed limits the memory that decompressed requests and stream messages use.
	decompressed transport.Budget
	workers      *lifecycle.WorkerPool[task]
	// running holds the requests that clients can cancel. announcer tells clients that the server
	// is still handling those of their requests that take long.
	running   runningRequests
	announcer announcer
	drops     transport.Drops
	// skewLog limits how often the server logs warnings about clients with wrong clocks. Otherwise,
	// a peer that uses many client IDs could flood the log.
	skewLog logthrottle.Throttle
	done    chan struct{}
	tap     tap.Tap

	// requestDedup recognizes requests that the bus delivers a second time, including requests to
	// open a stream. messageDedup does the same for stream messages. The two caches are separate,
	// so that the messages of busy streams do not evict requests.
	requestDedup, messageDedup dedup.Cache

	// ctx is the parent of the contexts of all handlers. Shutdown and Kill cancel it.
	ctx    context.Context //nolint:containedctx // it has the server's lifetime
	cancel context.CancelFunc

	// drainMu is held during Resume and during Drain, but not while Drain waits for handlers.
	drainMu sync.Mutex

	mu     sync.Mutex
	closed bool
	// drained is true from a call to Drain until Resume undoes it.
	drained bool
	// services contains the current services, keyed by the wire name of the service.
	services map[string]*Service
	// recorder receives notifications about what the engine does. It is nil if there is no
	// recorder.
	recorder atomic.Pointer[Recorder]
	// draining holds versions of services that are not in the field services, but must also be
	// closed by Shutdown and Kill. These are replaced versions, and new versions that are about to
	// replace one. A closed service stays in draining until its subscriptions have ended.
	draining map[*Service]struct{}
}

// New returns an engine that has no services yet.
func New(config Config) *Engine {
	ctx, cancel := context.WithCancel(context.Background())
	e := &Engine{
		Config:   config,
		wireID:   []byte(config.ID),
		limits:   transport.Limits{MaxSize: config.MaxFrameSize, MaxRatio: config.MaxCompressionRatio},
		workers:  lifecycle.NewWorkerPool(task.serve),
		done:     make(chan struct{}),
		ctx:      ctx,
		cancel:   cancel,
		services: map[string]*Service{},
		draining: map[*Service]struct{}{},
	}
	e.announcer.epoch, e.announcer.running, e.announcer.workers = time.Now(), &e.running, e.workers
	e.announcer.next.Store(noAnnouncement)
	e.pendingClaims.config, e.pendingClaims.drops = &e.Config, &e.drops
	if config.RawBus != nil {
		e.traits = transport.TraitsOf(config.RawBus)
	}
	e.drops.Logger = config.Logger
	e.bus = transport.LimitFrames(transport.CompressFrames(config.RawBus, config.Compression), config.MaxFrameSize, e.drops.AddBad)
	e.semaphore.Max = int64(config.MaxConcurrent)
	e.decompressed.Max = int64(config.MaxDecompressed)
	e.streams.Max, e.silentStreams.Max = int64(config.MaxStreams), int64(config.MaxSilentStreams)
	return e
}

// Bus returns the bus on which the engine publishes. It limits the size of frames and compresses
// them.
func (e *Engine) Bus() bus.Bus { return e.bus }

// Tap returns the [tap.Tap] to which the engine reports its traffic.
func (e *Engine) Tap() *tap.Tap { return &e.tap }

// Services returns the current services, in no particular order. It leaves out versions that have
// been replaced. The caller may modify the slice.
func (e *Engine) Services() []*Service {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Values(e.services))
}

// publishToClient sends a response or a claim to a client. If that fails, publishToClient counts
// the frame as dropped, unless ctx was canceled: the request has then ended, and its client no
// longer needs the frame. ctx limits how long publishToClient waits for a busy bus.
func (e *Engine) publishToClient(
	ctx context.Context, method *registry.Method, channel bus.Channel, frame []byte,
) error {
	err := e.bus.Publish(ctx, channel, frame, nil)
	if err != nil && !errors.Is(err, context.Canceled) {
		e.drops.Add(transport.DropUnsent, transport.DroppedFrame{Method: method, Channel: channel.Name, Err: err})
	}
	return err
}

// servicesLocked returns the current services and those in the field draining. The caller
// must hold mu.
func (e *Engine) servicesLocked() []*Service {
	return slices.AppendSeq(slices.Collect(maps.Values(e.services)), maps.Keys(e.draining))
}
