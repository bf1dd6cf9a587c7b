package dynamic

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/dedup"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
	"github.com/dynpsrpc/dynpsrpc/internal/semaphore"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Server serves registered services on a bus. Services can be registered and closed at any time.
// Call Shutdown to stop the server and let running handlers finish, or Kill to stop it without
// waiting for them. Neither method closes the bus. All methods are safe for concurrent use.
type Server struct {
	bus bus.Bus
	// rawBus is the bus that was passed to NewServer. The field bus wraps it to limit the size of
	// frames and to compress them.
	rawBus  bus.Bus
	options serverOptions
	// wireID is options.id, converted to a byte slice for encoding frames.
	wireID []byte
	traits transport.Traits
	// configErr is the error that Register returns if an argument of NewServer was invalid.
	// Otherwise, it is nil.
	configErr     error
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
	drops     drops
	// skewLog limits how often the server logs warnings about clients with wrong clocks. Otherwise,
	// a peer that uses many client IDs could flood the log.
	skewLog logthrottle.Throttle
	done    chan struct{}
	// tap points to the function set with SetTap. It is nil if there is none.
	tap atomic.Pointer[func(*Traffic)]

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
	// services contains the current registrations, keyed by the wire name of the service.
	services map[string]*Registration
	// recorder is told what the server does. It is nil if there is no recorder.
	recorder atomic.Pointer[ServerRecorder]
	// draining holds registrations that are not in the field services, but must also be closed by
	// Shutdown and Kill. A replaced registration stays in draining until it is closed. A new
	// version of a service stays there until it replaces the current version.
	draining map[*Registration]struct{}
}

// ServerStats counts the frames that a server has dropped since it was created, by reason. It also
// counts the stream messages that are waiting to be read. As in psrpc, the server does not respond
// to dropped frames. Only what is counted in Refused may be answered with an error. For each
// reason, the server logs at most one line per second. The level of the lines about Unmatched and
// Duplicated is debug, because such frames also arrive in normal operation.
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

// task is a unit of work for the server's worker pool, for example a request that the server
// handles.
type task interface{ serve() }

// NewServer returns a server that uses the bus b and has no services yet. If b is nil or an option
// is invalid, NewServer still returns a server, but Register returns an error.
func NewServer(b bus.Bus, opts ...ServerOption) *Server {
	if nilarg.Is(b) {
		b = nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	options := newServerOptions(b, opts)
	s := &Server{
		rawBus:   b,
		options:  options,
		wireID:   []byte(options.id),
		workers:  lifecycle.NewWorkerPool(task.serve),
		done:     make(chan struct{}),
		ctx:      ctx,
		cancel:   cancel,
		services: map[string]*Registration{},
		draining: map[*Registration]struct{}{},
	}
	s.configErr = options.check()
	if b == nil {
		s.configErr = errors.NewErrorf(errors.InvalidArgument, "dynamic.NewServer: bus is nil")
	}
	s.announcer.epoch, s.announcer.running, s.announcer.workers = time.Now(), &s.running, s.workers
	s.announcer.next.Store(noAnnouncement)
	s.pendingClaims.options, s.pendingClaims.evicted = &s.options, s.onClaimEvicted
	if b != nil {
		s.traits = transport.TraitsOf(b)
	}
	s.drops.logger = options.logger
	s.bus = transport.LimitFrames(transport.CompressFrames(b, options.compression), options.maxFrameSize, s.drops.addBad)
	s.semaphore.Max = int64(options.maxConcurrent)
	s.decompressed.Max = int64(options.decompressed.maxMemory)
	s.streams.Max, s.silentStreams.Max = int64(options.maxStreams), int64(options.maxSilentStreams)
	return s
}

// ID returns the ID that identifies the server on the bus. See [WithServerID].
func (s *Server) ID() string { return s.options.id }

// Bus returns the bus that was passed to [NewServer]. It is nil if that was nil.
func (s *Server) Bus() bus.Bus { return s.rawBus }

// Format implements fmt.Formatter. It prints only the type and the ID. The default format would
// print all fields, which other goroutines may change and which may contain the password for the
// broker.
func (s *Server) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "dynamic.Server(%s)", s.ID()) }

// Logger returns the logger of the server; see [WithLogger].
func (s *Server) Logger() *slog.Logger { return s.options.logger }

// Stats returns the current counters.
func (s *Server) Stats() ServerStats {
	return ServerStats{
		BadFrames:  s.drops.count(dropBadFrame),
		Expired:    s.drops.count(dropExpired),
		Duplicated: s.drops.count(dropDuplicated),
		Unsent:     s.drops.count(dropUnsent),
		Evicted:    s.drops.count(dropEvicted),
		Refused:    s.drops.count(dropRefused),
		Unmatched:  s.drops.count(dropUnmatched),
		Overflowed: s.drops.count(dropOverflowed),
		Waiting:    s.waiting(),
	}
}

// waiting returns the number of stream messages of all services that are buffered and have not been
// read.
func (s *Server) waiting() (messages uint64) {
	s.mu.Lock()
	registrations := s.registrationsLocked()
	s.mu.Unlock()
	for _, r := range registrations {
		for _, e := range r.currentEndpoints() {
			messages += e.waiting()
		}
	}
	return messages
}

// Register starts serving a service. descriptor is a *registry.Service, a
// protoreflect.ServiceDescriptor, or any other value that [registry.NewService] accepts. If it is a
// *registry.Service, its wire name is used. When Register returns, the bus has confirmed the
// subscriptions, and methods without topics can be called. Methods with topics can be called on a
// topic once [Registration.RegisterTopic] has registered the topic.
//
// Requests can arrive before Register returns. A handler that uses the Registration must wait until
// the program has stored it, for example for a channel that the program closes afterwards.
//
// If Register returns an error, no method of the service is served. Register returns an error
//   - if the psrpc options of the service contradict each other;
//   - if the types of a handler do not match its method, if there is a handler for an unknown
//     method, or if a method has no handler (see [AllowMissing]); a single error reports all of
//     these problems, and those of an implementation (see [HandlersOf]);
//   - if the server already serves a service with the same wire name (see [WithWireName] and
//     [Registration.Replace]);
//   - if the bus fails or does not confirm the subscriptions in time (see [WithServerTimeout]);
//   - if Shutdown or Kill has been called; the error is errors.ErrServerClosed.
func (s *Server) Register(descriptor any, handlers Handlers, opts ...RegisterOption) (*Registration, error) {
	r, err := s.buildRegistration(descriptor, handlers, opts)
	if err != nil {
		return nil, err
	}
	if err := s.activate(r); err != nil {
		r.Kill()
		return nil, err
	}
	s.recordChange(ServiceAdded, r.service)
	r.warnLackingAffinity(handlers)
	return r, nil
}

// buildRegistration checks the arguments of Register and returns a registration that has no
// subscriptions yet.
func (s *Server) buildRegistration(descriptor any, handlers Handlers, opts []RegisterOption) (*Registration, error) {
	if s.configErr != nil {
		return nil, s.configErr
	}
	o := newRegisterOptions(opts)
	if err := o.interceptors.err; err != nil {
		return nil, err
	}
	service, err := o.service(descriptor)
	if err != nil {
		return nil, err
	}
	r := newRegistration(s, service, s.options.interceptors.concat(&o.interceptors))
	r.servesWhileDrained = o.servesWhileDrained
	if r.plans, err = bindHandlers(r, handlers, &o); err != nil {
		r.cancel()
		return nil, err
	}
	return r, nil
}

// activate adds r to the server, subscribes to the channels of its methods, and announces this to
// clients and other servers.
func (s *Server) activate(r *Registration) error {
	if err := s.add(r); err != nil {
		return err
	}
	r.setRecorders()
	// A concurrent Drain waits until the endpoints are open.
	r.changeMu.RLock()
	defer r.changeMu.RUnlock()
	ctx, cancel := context.WithTimeout(s.ctx, s.options.timeout)
	defer cancel()
	err := r.open(ctx, r.newTopiclessEndpoints())
	if err != nil && s.ctx.Err() != nil {
		return errors.ErrServerClosed
	}
	if err == nil {
		r.announce(wire.PresenceServing, r.currentEndpoints()...)
		r.served.Store(true)
	}
	return err
}

// add adds r to the served registrations, suspended if the server is drained. It returns an error
// if the wire name of r is already in use or if the server has been closed.
func (s *Server) add(r *Registration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.ErrServerClosed
	}
	name := r.service.WireName()
	if other := s.services[name]; other != nil && other.service.Name() == r.service.Name() {
		return errors.NewErrorf(errors.AlreadyExists,
			"service %s is already registered on this server: replace or close its registration", r.service.Name())
	} else if other != nil {
		return errors.NewErrorf(errors.AlreadyExists,
			"service %s: its wire name %s is that of service %s on this server; register it with dynamic.WithWireName",
			r.service.Name(), name, other.service.Name())
	}
	s.services[name] = r
	r.suspended.Store(s.drained && !r.servesWhileDrained)
	return nil
}

// remove removes r from the server. If another registration has replaced r, the other registration
// is kept.
func (s *Server) remove(r *Registration) {
	s.mu.Lock()
	removed := s.removeLocked(r)
	delete(s.draining, r)
	s.mu.Unlock()
	if removed {
		r.recordRemoved()
	}
}

// removeLocked frees the wire name of r. It returns false if r does not have the name.
func (s *Server) removeLocked(r *Registration) bool {
	name := r.service.WireName()
	if s.services[name] != r {
		return false
	}
	delete(s.services, name)
	return true
}

// forget frees the wire name of r, which has been closed or killed. If the subscriptions of r have
// not ended yet, forget keeps r in s.draining, so that Shutdown waits for them.
func (s *Server) forget(r *Registration, end *registrationEnd) {
	s.mu.Lock()
	removed := s.removeLocked(r)
	select {
	case <-end.released:
		delete(s.draining, r)
	default:
		s.draining[r] = struct{}{}
	}
	s.mu.Unlock()
	if removed {
		r.recordRemoved()
	}
}

// publishToClient sends a response or a claim to a client. If that fails, publishToClient counts
// the frame as dropped. It does not do so if ctx was canceled, because the request has then
// ended, and its client no longer needs the frame. ctx limits how long publishToClient waits for a
// busy bus.
func (s *Server) publishToClient(
	ctx context.Context, method *registry.Method, channel bus.Channel, frame []byte,
) error {
	err := s.bus.Publish(ctx, channel, frame, nil)
	if err != nil && !errors.Is(err, context.Canceled) {
		s.drops.add(dropUnsent, droppedFrame{method: method, channel: channel.Name, err: err})
	}
	return err
}

// Shutdown stops accepting requests and waits for running handlers to return. Clients select other
// servers in the meantime. If ctx ends first, Shutdown cancels the contexts of the handlers and
// returns an error. The error wraps ctx.Err() and names the services that were still busy. Shutdown
// also does so if the bus has not ended all subscriptions by then; see [Registration.Close]. Every
// call to Shutdown waits for running handlers, even if Shutdown or Kill has been called before.
func (s *Server) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return nilarg.ErrContext
	}
	services, first := s.markClosed()
	if first {
		s.recordChange(ServerClosing, nil)
	}
	errs := make([]error, len(services))
	var closing sync.WaitGroup
	for i, r := range services {
		closing.Go(func() { errs[i] = r.Close(ctx) })
	}
	closing.Wait()
	idle := s.stop()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	// The loop above has not waited for the handlers of services that were killed earlier, because
	// these services are no longer registered.
	if err := waitFor(ctx, idle); err != nil {
		return errors.NewErrorf(errors.FromContext(err).Code(),
			"server %s: handlers were still running: %w", s.ID(), err)
	}
	s.workers.Wait()
	return nil
}

// Kill stops accepting requests and cancels the contexts of running handlers. It does not wait for
// the handlers to return. If the broker does not answer, Kill returns after the timeout of the
// server plus one second (see [WithServerTimeout]). The subscriptions then end in the background.
func (s *Server) Kill() {
	var killing sync.WaitGroup
	services, _ := s.markClosed()
	for _, r := range services {
		killing.Go(r.Kill)
	}
	killing.Wait()
	s.stop()
}

// Done returns a channel that is closed when the server has been stopped by Shutdown or Kill.
func (s *Server) Done() <-chan struct{} { return s.done }

// markClosed prevents further registrations and returns the existing ones. first is true only for
// the first call.
func (s *Server) markClosed() (services []*Registration, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, s.closed = !s.closed, true
	return s.registrationsLocked(), first
}

// registrationsLocked returns the current registrations and those in the field draining. The caller
// must hold mu.
func (s *Server) registrationsLocked() []*Registration {
	return slices.AppendSeq(slices.Collect(maps.Values(s.services)), maps.Keys(s.draining))
}

// stop cancels the contexts of all handlers, closes the Done channel and stops the workers. The
// returned channel is closed once no handler is running.
func (s *Server) stop() (idle <-chan struct{}) {
	s.cancel()
	s.mu.Lock()
	first := false
	select {
	case <-s.done:
	default:
		first = true
		close(s.done)
	}
	idle = s.workers.Stop()
	s.mu.Unlock()
	if first {
		s.recordChange(ServerStopped, nil)
	}
	return idle
}

// onClaimEvicted counts a request that was dropped while it waited for the client to select a
// server. It never blocks.
func (s *Server) onClaimEvicted(claim *pendingClaim) {
	s.drops.add(dropEvicted, droppedFrame{method: claim.endpoint.plan.method})
}

// addDraining adds r, which is about to replace another registration, to s.draining. A concurrent
// Shutdown or Kill then closes r too. If the server is drained, addDraining suspends r.
func (s *Server) addDraining(r *Registration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.ErrServerClosed
	}
	s.draining[r] = struct{}{}
	r.suspended.Store(s.drained && !r.servesWhileDrained)
	return nil
}
