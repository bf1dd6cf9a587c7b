package dynamic

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/dedup"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/semaphore"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Server serves registered services on a bus. Services can be registered and closed at any time.
// Call Shutdown to stop it and let running handlers finish, or Kill to stop it without waiting for
// them. Neither of the two closes the bus. All methods may be called from many goroutines.
type Server struct {
	bus     bus.Bus
	options serverOptions
	// wireID is options.id as bytes, which is how it is encoded.
	wireID []byte
	// configErr is the error of NewServer's arguments. If it is not nil, Register returns it.
	configErr     error
	pendingClaims pendingClaims
	// semaphore limits the requests that all services handle at the same time.
	semaphore semaphore.Semaphore
	workers   *lifecycle.WorkerPool[task]
	stats     serverCounters
	done      chan struct{}

	// requestDedup detects requests and stream opens that the bus delivers twice, messageDedup
	// stream messages. They are separate so that messages of busy streams do not evict requests.
	requestDedup, messageDedup dedup.Cache

	// ctx is the parent of the contexts of all handlers. Shutdown and Kill cancel it.
	ctx    context.Context //nolint:containedctx // the life of the server
	cancel context.CancelFunc

	mu       sync.Mutex
	closed   bool
	services map[string]*Registration // by wire name
	// draining holds registrations that Shutdown and Kill must close but services does not contain:
	// replaced ones until they are closed, and a new version until it replaces the current one.
	draining map[*Registration]struct{}
}

// ServerStats counts the frames that a server has dropped since NewServer, by reason. A dropped
// frame gets no answer, as with psrpc, so the counters are the only trace of it.
type ServerStats struct {
	// BadFrames is the number of frames that could not be decoded, or that contained another type
	// of message than their channel is for.
	BadFrames uint64
	// Expired is the number of requests and stream frames that arrived after their client's
	// deadline.
	Expired uint64
	// Duplicated is the number of requests, stream opens and stream messages that the bus delivered
	// again within five seconds.
	Duplicated uint64
	// Unmatched is the number of stream frames for a stream that is unknown here or has ended. It
	// grows in normal operation, because all servers of a method receive the frames of all its
	// streams.
	Unmatched uint64
	// Overflowed is the number of stream messages that found the buffer of their stream full
	// because the handler did not read fast enough.
	Overflowed uint64
	// Waiting is the number of stream messages that are buffered now and not yet read by a handler.
	Waiting uint64
}

type serverCounters struct {
	badFrames, expired, duplicated atomic.Uint64
	streams                        streamCounters
}

// task is a unit of work of the server's worker pool: a request, a stream open or a stream's pump.
type task interface{ serve() }

// NewServer returns a server on b without services. If b is nil or an option is invalid, NewServer
// succeeds and Register returns the error.
func NewServer(b bus.Bus, opts ...ServerOption) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	options := newServerOptions(opts)
	s := &Server{
		options:  options,
		wireID:   []byte(options.id),
		workers:  lifecycle.NewWorkerPool(task.serve),
		done:     make(chan struct{}),
		ctx:      ctx,
		cancel:   cancel,
		services: map[string]*Registration{},
		draining: map[*Registration]struct{}{},
	}
	switch {
	case b == nil:
		s.configErr = errors.NewErrorf(errors.InvalidArgument, "the bus given to dynamic.NewServer is nil")
	case !utf8.ValidString(options.id):
		s.configErr = errors.NewErrorf(errors.InvalidArgument, "server id %q is not valid UTF-8", options.id)
	default:
		s.configErr = options.interceptors.err
	}
	s.bus = transport.LimitFrames(b, options.maxFrameSize, &s.stats.badFrames)
	s.semaphore.Max = int64(options.maxConcurrent)
	return s
}

// ID returns the id that identifies the server on the bus, see [WithServerID].
func (s *Server) ID() string { return s.options.id }

// Stats returns the current counters.
func (s *Server) Stats() ServerStats {
	streams := &s.stats.streams
	return ServerStats{
		BadFrames:  s.stats.badFrames.Load(),
		Expired:    s.stats.expired.Load() + streams.expired.Load(),
		Duplicated: s.stats.duplicated.Load() + streams.duplicated.Load(),
		Unmatched:  streams.unmatched.Load(),
		Overflowed: streams.overflowed.Load(),
		Waiting:    s.waiting(),
	}
}

// waiting returns the number of buffered stream messages of all services.
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

// Register starts to serve a service. descriptor is a *registry.Service, whose wire name is then
// used too, or a protoreflect.ServiceDescriptor or any other value that [registry.NewService]
// accepts. Methods without topics can be called when Register returns: the bus has confirmed their
// subscriptions. Methods with topics also need [Registration.RegisterTopic].
//
// If Register returns an error, nothing of the service is served. It fails
//   - if the psrpc options of the service contradict each other;
//   - if the types of a handler do not match its method, a handler is for an unknown method, or a
//     method has no handler, see [AllowMissing]; all these problems are reported in one error;
//   - if the server already serves a service with the same wire name, see [WithWireName] and
//     [Registration.Replace];
//   - if the bus fails or does not confirm in time, see [WithServerTimeout];
//   - with errors.ErrServerClosed after Shutdown or Kill.
func (s *Server) Register(descriptor any, handlers Handlers, opts ...RegisterOption) (*Registration, error) {
	r, err := s.buildRegistration(descriptor, handlers, opts)
	if err != nil {
		return nil, err
	}
	if err := s.activate(r); err != nil {
		r.Kill()
		return nil, err
	}
	return r, nil
}

// buildRegistration checks the arguments of Register and returns a registration that has not
// subscribed to anything.
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
	if r.plans, err = bindHandlers(r, handlers, o.allowMissing); err != nil {
		r.cancel()
		return nil, err
	}
	return r, nil
}

// activate adds r to the server and subscribes to its channels.
func (s *Server) activate(r *Registration) error {
	if err := s.add(r); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.options.timeout)
	defer cancel()
	err := r.open(ctx, r.newTopiclessEndpoints())
	if err != nil && s.ctx.Err() != nil {
		return errors.ErrServerClosed
	}
	return err
}

// add adds r to services, unless its wire name is in use.
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
	return nil
}

// remove deletes r from services and draining. A registration that replaced r stays.
func (s *Server) remove(r *Registration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name := r.service.WireName(); s.services[name] == r {
		delete(s.services, name)
	}
	delete(s.draining, r)
}

// publishToClient sends a response or a claim to a client, and logs a failure. ctx bounds how long
// it waits for a busy bus.
func (s *Server) publishToClient(
	ctx context.Context, method *registry.Method, channel bus.Channel, frame []byte,
) error {
	err := s.bus.Publish(ctx, channel, frame, nil)
	if err != nil {
		s.warnPublishFailed(method, channel, err)
	}
	return err
}

func (s *Server) warnPublishFailed(method *registry.Method, channel bus.Channel, err error) {
	s.options.logger.Warn("dynpsrpc: cannot send frame to client", slog.String("method", method.FullName()),
		slog.String("channel", channel.Name), slog.Any("error", err))
}

// Shutdown stops accepting requests, so that clients select other servers, and waits for the
// running handlers. If ctx ends first, Shutdown cancels the contexts of the handlers and returns an
// error that names the services that were still busy and for which errors.Is(err, ctx.Err()) is
// true. Every call waits, also a second one and one after Kill.
func (s *Server) Shutdown(ctx context.Context) error {
	services := s.markClosed()
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
	// Handlers of services that were killed earlier may still run: their Close no longer waits for
	// them.
	if err := waitFor(ctx, idle); err != nil {
		return errors.NewErrorf(errors.FromContext(err).Code(),
			"server %s: handlers were still running: %w", s.ID(), err)
	}
	s.workers.Wait()
	return nil
}

// Kill stops accepting requests and cancels the contexts of the running handlers. It does not wait
// for them.
func (s *Server) Kill() {
	for _, r := range s.markClosed() {
		r.Kill()
	}
	s.stop()
}

// Done returns a channel that is closed when Shutdown or Kill has stopped the server.
func (s *Server) Done() <-chan struct{} { return s.done }

// markClosed makes further registrations fail and returns the current ones.
func (s *Server) markClosed() []*Registration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.registrationsLocked()
}

// registrationsLocked returns all registrations that are not closed.
func (s *Server) registrationsLocked() []*Registration {
	return slices.AppendSeq(slices.Collect(maps.Values(s.services)), maps.Keys(s.draining))
}

// stop cancels the contexts of all handlers, closes Done and stops the workers. It returns a
// channel that is closed when no handler runs.
func (s *Server) stop() (idle <-chan struct{}) {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
	default:
		close(s.done)
	}
	return s.workers.Stop()
}

// waitFor waits until done is closed and returns nil, or returns ctx's error if ctx ends first. It
// returns nil if both have happened.
func waitFor(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// onGrant handles a frame in which a client names the server that it selected for a request. The
// bus calls onGrant, which never blocks.
func (s *Server) onGrant(frame []byte) {
	selection, ok := transport.Decode(
		frame, wire.KindClaimResponse, s.options.maxFrameSize, wire.ParseClaimResponse, &s.stats.badFrames)
	if !ok {
		return
	}
	s.pendingClaims.resolve(selection.RequestID, bytes.Equal(selection.ServerID, s.wireID))
}

// addDraining adds a registration that is about to replace another one, so that a concurrent
// Shutdown or Kill closes it too.
func (s *Server) addDraining(r *Registration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.ErrServerClosed
	}
	s.draining[r] = struct{}{}
	return nil
}
