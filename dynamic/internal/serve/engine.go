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
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Engine serves services on a bus. It does what a dynamic.Server does, apart from options, Go types
// and interceptors: it gets encoded messages and functions. All methods are safe for concurrent
// use.
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
	// is still handling their requests if these take long.
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
	// drained reports whether Drain has been called, and Resume has not undone it.
	drained bool
	// services contains the current services, keyed by the wire name of the service.
	services map[string]*Service
	// recorder receives notifications about what the engine does. It is nil if there is no recorder.
	recorder atomic.Pointer[Recorder]
	// draining holds versions of services that are not in the field services, but must also be closed
	// by Shutdown and Kill. These are replaced versions, and new versions that are about to replace
	// one. A closed service stays in draining until its subscriptions have ended.
	draining map[*Service]struct{}
}

// task is a unit of work for the server's worker pool, for example a request that the server
// handles.
type task interface{ serve() }

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
	e.pendingClaims.config, e.pendingClaims.evicted = &e.Config, e.onClaimEvicted
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

// Tap returns what holds the function to which the engine reports its traffic.
func (e *Engine) Tap() *tap.Tap { return &e.tap }

// Stats returns the current counters.
func (e *Engine) Stats() Stats {
	return Stats{
		BadFrames:  e.drops.Count(transport.DropBadFrame),
		Expired:    e.drops.Count(transport.DropExpired),
		Duplicated: e.drops.Count(transport.DropDuplicated),
		Unsent:     e.drops.Count(transport.DropUnsent),
		Evicted:    e.drops.Count(transport.DropEvicted),
		Refused:    e.drops.Count(transport.DropRefused),
		Unmatched:  e.drops.Count(transport.DropUnmatched),
		Overflowed: e.drops.Count(transport.DropOverflowed),
		Waiting:    e.waiting(),
	}
}

// waiting returns the number of stream messages of all services that are buffered and have not been
// read.
func (e *Engine) waiting() (messages uint64) {
	e.mu.Lock()
	services := e.servicesLocked()
	e.mu.Unlock()
	for _, s := range services {
		for _, e := range s.currentEndpoints() {
			messages += e.waiting()
		}
	}
	return messages
}

// Services returns the current services, in no particular order. It leaves out versions that have
// been replaced. The caller may modify the slice.
func (e *Engine) Services() []*Service {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Values(e.services))
}

// Start starts to serve s: it subscribes to the channels of its methods and tells clients and other
// servers. s must come from NewService and must not have been started. If that fails, Start kills
// s. After Shutdown or Kill, Start returns errors.ErrServerClosed.
func (e *Engine) Start(s *Service) error {
	if err := e.activate(s); err != nil {
		s.Kill()
		return err
	}
	e.recordChange(ServiceAdded, s.Descriptor)
	return nil
}

// activate adds s to the engine, subscribes to the channels of its methods, and announces this to
// clients and other servers.
func (e *Engine) activate(s *Service) error {
	if err := e.add(s); err != nil {
		return err
	}
	s.setRecorders()
	// A concurrent Drain waits until the endpoints are open.
	s.changeMu.RLock()
	defer s.changeMu.RUnlock()
	ctx, cancel := context.WithTimeout(e.ctx, e.Timeout)
	defer cancel()
	err := s.open(ctx, s.newTopiclessEndpoints())
	if err != nil && e.ctx.Err() != nil {
		return errors.ErrServerClosed
	}
	if err == nil {
		s.announce(wire.PresenceServing, s.currentEndpoints()...)
		s.served.Store(true)
	}
	return err
}

// add adds s to the served services. If the engine is drained, add suspends s, unless s is
// served while drained. It returns an error if the wire name of s is already in use or if the
// engine has been closed.
func (e *Engine) add(s *Service) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.ErrServerClosed
	}
	name := s.Descriptor.WireName()
	if other := e.services[name]; other != nil && other.Descriptor.Name() == s.Descriptor.Name() {
		return errors.NewErrorf(errors.AlreadyExists,
			"service %s is already registered on this server: replace or close its registration", s.Descriptor.Name())
	} else if other != nil {
		return errors.NewErrorf(errors.AlreadyExists,
			"service %s: its wire name %s is that of service %s on this server; register it with dynamic.WithWireName",
			s.Descriptor.Name(), name, other.Descriptor.Name())
	}
	e.services[name] = s
	s.suspended.Store(e.drained && !s.ServesWhileDrained)
	return nil
}

// remove removes s from the engine. If another version has replaced s, the other version is kept.
func (e *Engine) remove(s *Service) {
	e.mu.Lock()
	removed := e.removeLocked(s)
	delete(e.draining, s)
	e.mu.Unlock()
	if removed {
		s.recordRemoved()
	}
}

// removeLocked frees the wire name of s. It returns false if s does not have the name. The caller
// must hold mu.
func (e *Engine) removeLocked(s *Service) bool {
	name := s.Descriptor.WireName()
	if e.services[name] != s {
		return false
	}
	delete(e.services, name)
	return true
}

// forget frees the wire name of s, which has been closed or killed. If the subscriptions of s have
// not ended yet, forget keeps s in e.draining, so that Shutdown waits for them.
func (e *Engine) forget(s *Service, end *serviceEnd) {
	e.mu.Lock()
	removed := e.removeLocked(s)
	select {
	case <-end.released:
		delete(e.draining, s)
	default:
		e.draining[s] = struct{}{}
	}
	e.mu.Unlock()
	if removed {
		s.recordRemoved()
	}
}

// publishToClient sends a response or a claim to a client. If that fails, publishToClient counts
// the frame as dropped. It does not do so if ctx was canceled, because the request has then
// ended, and its client no longer needs the frame. ctx limits how long publishToClient waits for a
// busy bus.
func (e *Engine) publishToClient(
	ctx context.Context, method *registry.Method, channel bus.Channel, frame []byte,
) error {
	err := e.bus.Publish(ctx, channel, frame, nil)
	if err != nil && !errors.Is(err, context.Canceled) {
		e.drops.Add(transport.DropUnsent, transport.DroppedFrame{Method: method, Channel: channel.Name, Err: err})
	}
	return err
}

// Shutdown stops accepting requests and waits for running handlers to return. If ctx ends first, it
// cancels the contexts of the handlers and returns an error that wraps ctx.Err() and names the
// services that were still busy. It also returns an error if the bus has not ended all
// subscriptions by then. Every call waits for running handlers. ctx must not be nil.
func (e *Engine) Shutdown(ctx context.Context) error {
	services, first := e.markClosed()
	if first {
		e.recordChange(ServerClosing, nil)
	}
	errs := make([]error, len(services))
	var closing sync.WaitGroup
	for i, s := range services {
		closing.Go(func() { errs[i] = s.Close(ctx) })
	}
	closing.Wait()
	idle := e.stop()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	// The loop above has not waited for the handlers of services that were killed earlier, because
	// these services are no longer registered.
	if err := lifecycle.Wait(ctx, idle); err != nil {
		return errors.NewErrorf(errors.FromContext(err).Code(),
			"server %s: handlers were still running: %w", e.ID, err)
	}
	e.workers.Wait()
	return nil
}

// Kill stops accepting requests and cancels the contexts of running handlers, without waiting for
// them to return. If the broker does not answer, Kill returns after Timeout plus one second.
func (e *Engine) Kill() {
	var killing sync.WaitGroup
	services, _ := e.markClosed()
	for _, s := range services {
		killing.Go(s.Kill)
	}
	killing.Wait()
	e.stop()
}

// Done returns a channel that is closed when the engine has been stopped by Shutdown or Kill.
func (e *Engine) Done() <-chan struct{} { return e.done }

// markClosed makes adding further services fail, and returns the existing ones. first is true only
// for the first call.
func (e *Engine) markClosed() (services []*Service, first bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	first, e.closed = !e.closed, true
	return e.servicesLocked(), first
}

// servicesLocked returns the current services and those in the field draining. The caller
// must hold mu.
func (e *Engine) servicesLocked() []*Service {
	return slices.AppendSeq(slices.Collect(maps.Values(e.services)), maps.Keys(e.draining))
}

// stop cancels the contexts of all handlers, closes the Done channel and stops the workers. The
// returned channel is closed once no handler is running.
func (e *Engine) stop() (idle <-chan struct{}) {
	e.cancel()
	e.mu.Lock()
	first := false
	select {
	case <-e.done:
	default:
		first = true
		close(e.done)
	}
	idle = e.workers.Stop()
	e.mu.Unlock()
	if first {
		e.recordChange(ServerStopped, nil)
	}
	return idle
}

// onClaimEvicted counts a request that was dropped while it waited for the client to select a
// server. It never blocks.
func (e *Engine) onClaimEvicted(claim *pendingClaim) {
	e.drops.Add(transport.DropEvicted, transport.DroppedFrame{Method: claim.endpoint.plan.method})
}

// addDraining adds s, which is about to replace another version, to e.draining. A concurrent
// Shutdown or Kill then closes s too. If the engine is drained, addDraining suspends s, unless s is
// served while drained.
func (e *Engine) addDraining(s *Service) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.ErrServerClosed
	}
	e.draining[s] = struct{}{}
	s.suspended.Store(e.drained && !s.ServesWhileDrained)
	return nil
}
