package dynamic

import (
	"bytes"
	"context"
	"fmt"
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

// Server serves registered services on a bus. Services come and go at run time. Close it with Shutdown, which
// lets running handlers finish, or with Kill, which does not. It does not close the bus.
type Server struct {
	bus           bus.Bus
	options       serverOptions
	wireID        []byte // the id in the options
	configErr     error  // why it can serve nothing
	pendingClaims pendingClaims
	semaphore     semaphore.Semaphore
	workers       *lifecycle.WorkerPool[task]
	stats         serverCounters
	done          chan struct{}

	// Apart, so that a server with busy streams does not forget its requests.
	requestDedup dedup.Cache // and openings of streams
	messageDedup dedup.Cache // of streams

	// ctx is the context of all handlers; kill ends it.
	ctx    context.Context //nolint:containedctx // the life of the server
	cancel context.CancelFunc

	mu       sync.Mutex
	closed   bool
	services map[string]*Registration // by wire name
	// draining are those that were replaced, until they are closed, and those that are about to replace another one.
	draining map[*Registration]struct{}
}

// ServerStats counts what a server dropped since it was made, without an answer, as psrpc does, and what waits.
type ServerStats struct {
	// BadFrames could not be decoded, or held something else than the channel is for.
	BadFrames uint64
	// Expired requests and stream frames came after the time their client was willing to wait.
	Expired uint64
	// Duplicated requests, openings of streams and stream messages came once more within five seconds: the bus has
	// delivered them twice.
	Duplicated uint64
	// Unmatched stream frames belonged to no stream of this server, or to one that had ended. Every server of a method
	// hears the frames of all its streams.
	Unmatched uint64
	// Overflowed stream messages came faster than their handler read them, beyond what a stream keeps.
	Overflowed uint64
	// Waiting stream messages are those that their handler has not read yet, at this moment.
	Waiting uint64
}

type serverCounters struct {
	badFrames, expired, duplicated atomic.Uint64
	streams                        streamCounters
}

// task is what the workers of a server do.
type task interface{ serve() }

// NewServer returns a server on b that serves nothing yet. If b is nil or an option is wrong, Register says so.
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
		s.configErr = errors.NewErrorf(errors.InvalidArgument, "a server needs a bus")
	case !utf8.ValidString(options.id):
		s.configErr = errors.NewErrorf(errors.InvalidArgument, "server id %q is not valid UTF-8", options.id)
	default:
		s.configErr = options.interceptors.err
	}
	s.bus = transport.LimitFrames(b, options.maxFrameSize, &s.stats.badFrames)
	s.semaphore.Max = int64(options.maxConcurrent)
	return s
}

// ID returns the id by which clients know the server.
func (s *Server) ID() string { return s.options.id }

// Stats returns what the server has counted so far.
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

func (s *Server) waiting() (messages uint64) {
	s.mu.Lock()
	registrations := s.registrationsLocked()
	s.mu.Unlock()
	for _, r := range registrations {
		for _, e := range r.currentEndpoints() {
			messages += e.inbound.streams.waiting(e)
		}
	}
	return messages
}

// Register serves a service. descriptor is a protoreflect.ServiceDescriptor, or anything that
// [registry.NewService] takes, or a *registry.Service, whose wire name is then used too. When Register returns, every method without a topic is reachable: the bus has
// confirmed it.
//
// Register fails, and serves nothing, if the service's options contradict each other, if a handler does not fit
// its method, if there is no such method, if a method has no handler (but see [AllowMissing]), if the server
// already serves a service of that wire name (but see [WithWireName] and [Registration.Replace]), if the bus fails,
// or, with errors.ErrServerClosed, after Shutdown or Kill. Errors about handlers are all reported together.
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

// buildRegistration returns a registration that does not serve yet.
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

// activate makes a service reachable.
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

func (s *Server) remove(r *Registration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name := r.service.WireName(); s.services[name] == r {
		delete(s.services, name)
	}
	delete(s.draining, r)
}

// publishToClient sends a frame to a client. ctx bounds the wait for a bus that is busy.
func (s *Server) publishToClient(ctx context.Context, method *registry.Method, channel bus.Channel, frame []byte) error {
	err := s.bus.Publish(ctx, channel, frame, nil)
	if err != nil {
		s.warnPublishFailed(method, channel, err)
	}
	return err
}

func (s *Server) warnPublishFailed(method *registry.Method, channel bus.Channel, err error) {
	s.options.logger.Warn("dynpsrpc: answer could not be sent", slog.String("method", method.FullName()),
		slog.String("channel", channel.Name), slog.Any("error", err))
}

// Shutdown takes no more requests, so that clients choose another server, and waits for the running handlers.
// If ctx ends first, it ends their contexts and returns an error that names the services that were still busy and
// satisfies errors.Is for the context's error. Further calls wait too, and so does one after Kill.
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
	if err := waitFor(ctx, idle); err != nil { // of services that were killed before
		return errors.NewErrorf(errors.FromContext(err).Code(), "server %s: handlers were still running: %w", s.ID(), err)
	}
	s.workers.Wait()
	return nil
}

// Kill takes no more requests, ends the contexts of the running handlers, and does not wait for them.
func (s *Server) Kill() {
	for _, r := range s.markClosed() {
		r.Kill()
	}
	s.stop()
}

// Done is closed when the server was shut down or killed.
func (s *Server) Done() <-chan struct{} { return s.done }

// markClosed refuses new services and returns the present ones.
func (s *Server) markClosed() []*Registration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.registrationsLocked()
}

// registrationsLocked returns those that are not closed.
func (s *Server) registrationsLocked() []*Registration {
	return slices.AppendSeq(slices.Collect(maps.Values(s.services)), maps.Keys(s.draining))
}

// stop returns a channel that is closed when no handler runs.
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

// waitFor returns nil if done is closed, or else the error of a context that ends before that.
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

// bindHandlers fits handlers to the methods of a service. All problems are reported together.
func bindHandlers(r *Registration, handlers Handlers, allowMissing bool) (map[string]*serverPlan, error) {
	var problems []error
	problem := func(method, format string, args ...any) {
		err := fmt.Errorf(format, args...)
		problems = append(problems, errors.NewErrorf(errors.InvalidArgument,
			"service %s, method %s: %w", r.service.Name(), method, err))
	}
	for _, name := range slices.Sorted(maps.Keys(handlers)) {
		if _, ok := r.service.Method(name); !ok {
			problem(name, "there is a handler, but no such method%s", transport.Suggest(name, r.service.Methods(), (*registry.Method).Name))
		}
	}
	methods := map[string]*serverPlan{}
	for _, method := range r.service.Methods() {
		handler, given := handlers[method.Name()]
		if given && handler == nil {
			problem(method.Name(), "the handler is nil")
			continue
		}
		bound, err := bindHandler(method, handler, allowMissing)
		if err != nil {
			problem(method.Name(), "%w", err)
		} else if bound != nil {
			methods[method.Name()] = newServerPlan(r, method, bound)
		}
	}
	return methods, errors.Join(problems...)
}

// bindHandler returns nil for a method that is not served.
func bindHandler(method *registry.Method, handler Handler, allowMissing bool) (*boundHandler, error) {
	switch {
	case handler != nil:
		bound, err := handler.bind(method)
		if err != nil {
			return nil, fmt.Errorf("the handler does not fit: %w", err)
		}
		return bound, nil
	case method.Kind() == registry.KindSubscription:
		return nil, nil //nolint:nilnil // subscriptions have no handler
	case allowMissing && method.Kind() == registry.KindStream:
		return Stream(unimplementedStream).bind(method)
	case allowMissing:
		return Raw(unimplementedCall).bind(method)
	default:
		return nil, errors.New("there is no handler; dynamic.AllowMissing() lets it answer unimplemented")
	}
}

// onGrant takes a frame from the bus; it never blocks.
func (s *Server) onGrant(frame []byte) {
	choice, ok := transport.Decode(
		frame, wire.KindClaimResponse, s.options.maxFrameSize, wire.ParseClaimResponse, &s.stats.badFrames)
	if !ok {
		return
	}
	s.pendingClaims.resolve(choice.RequestID, bytes.Equal(choice.ServerID, s.wireID))
}

// addDraining takes a registration that is to replace another one, so that a close meanwhile finds it.
func (s *Server) addDraining(r *Registration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.ErrServerClosed
	}
	s.draining[r] = struct{}{}
	return nil
}
