package fleet

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

const (
	// apiVersion is the version of the control service's protocol.
	apiVersion = 1
	// maxQuestions is the maximum number of questions that a server answers at the same time.
	maxQuestions = 64
	// publishTimeout limits how long a change may wait for a busy bus. It is short because Shutdown
	// waits for two changes.
	publishTimeout = 200 * time.Millisecond
	// closeTimeout limits how long Close waits for answers that are being sent and for the bus.
	closeTimeout = time.Second
)

// Status lets a server answer questions about itself and publish its changes. [Serve] returns it.
// All methods are safe for concurrent use.
type Status struct {
	server  *dynamic.Server
	options serveOptions
	started time.Time
	// control is the server of the control service. It has the same ID and bus as server, but is a
	// server of its own. It therefore answers even while server drains, shuts down or has reached a
	// limit. The program's interceptors do not see its requests.
	control *dynamic.Server
	// registration is the control service. It is nil until control serves it.
	registration atomic.Pointer[dynamic.Registration]
	counters     counters
	services     serviceTable
	health       *health
	// scopes contains the topics of the control service that are registered. Serve uses it first,
	// and then only the goroutine that runs the method work.
	scopes scopes
	// watches contains the clients that watch the server.
	watches watches
	// listeners contains the channels that are notified when services change.
	listeners listeners
	// changes contains the changes to publish.
	changes lifecycle.EventQueue[queuedChange]
	// retrying reports whether a timer is set that registers the scopes again.
	retrying atomic.Bool
	// shuttingDown reports whether the shutdown of server has begun; the state is then draining.
	shuttingDown atomic.Bool
	// lastState is the latest result of the method state. stateSince is the time when that result
	// last changed. mu guards both.
	lastState  State
	stateSince time.Time

	// stopRecording ends the recording of calls. It is nil until Serve has succeeded.
	stopRecording func()
	// ctx ends when Close is called. It ends the health checks and the goroutine that runs the
	// method work. mu is held while they are started and while ctx is canceled.
	ctx       context.Context //nolint:containedctx // it has the lifetime of the Status
	cancel    context.CancelFunc
	mu        sync.Mutex
	running   sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// Serve lets a server answer questions about its services and its state, until the server stops or
// Close is called on the result. The answers contain both the services that the server already has
// and those that are registered later. Serve serves the control service on the bus of the server
// and counts the server's calls from now on. The server sends messages only when it is asked or
// something changes. The server's Shutdown and Kill call Close, so they may take two seconds longer
// if the bus does not answer.
//
// Serve returns an error with code invalid_argument if server is nil or an option is invalid. The
// code is already_exists if the server has a recorder; see [dynamic.Server.Record]. For example,
// the result of an earlier call to Serve may not have been closed. If the bus does not accept the
// subscriptions, the error has the code of the bus's error. If the server has been stopped, the
// error is errors.ErrServerClosed.
func Serve(server *dynamic.Server, opts ...ServeOption) (*Status, error) {
	if server == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "fleet.Serve: the server is nil")
	}
	s := &Status{
		server: server, options: newServeOptions(opts), started: time.Now(), stateSince: time.Now(),
		changes: lifecycle.NewEventQueue[queuedChange](),
	}
	if err := errors.Join(s.options.problems...); err != nil {
		return nil, err
	}
	s.counters.status = s
	s.watches.server = server
	s.health = newHealth(&s.options, s.healthChanged)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.control = dynamic.NewServer(server.Bus(), dynamic.WithServerID(server.ID()),
		dynamic.WithLogger(server.Logger()), dynamic.WithMaxConcurrentRequests(maxQuestions),
		dynamic.WithMaxStreams(maxTapStreams))
	stop, err := server.Record(&s.counters)
	if err != nil {
		return nil, errors.NewErrorf(errors.AlreadyExists, "fleet.Serve: %w", err)
	}
	if err := s.open(); err != nil {
		stop()
		s.cancel()
		s.control.Kill()
		return nil, err
	}
	if !s.start(stop) {
		stop()
		return nil, errors.ErrServerClosed
	}
	return s, nil
}

// open registers the control service.
func (s *Status) open() error {
	handlers := dynamic.Handlers{
		queryMethod:    unaryHandler(s.query),
		describeMethod: unaryHandler(s.describe),
	}
	if s.options.tap != nil {
		handlers[tapMethod] = s.tapHandler()
	}
	registration, err := s.control.Register(fleetService(), handlers, dynamic.AllowMissing())
	if err != nil {
		return err
	}
	s.registration.Store(registration)
	s.scopes.registration = registration
	if err := s.updateScopes(); err != nil {
		return err
	}
	return s.openPermitted(registration)
}

// openPermitted makes the server accept taps and changes, if the program permits them.
func (s *Status) openPermitted(registration *dynamic.Registration) error {
	if s.options.tap != nil {
		if err := registration.RegisterTopic(tapMethod, s.server.ID()); err != nil {
			return err
		}
	}
	if s.options.admin == nil {
		return nil
	}
	handlers := s.adminHandlers()
	admin, err := s.control.Register(adminService(), handlers)
	if err != nil {
		return err
	}
	for method := range handlers {
		if err := admin.RegisterTopic(method, s.server.ID()); err != nil {
			return err
		}
	}
	return nil
}

// start starts the goroutines of s. It returns false if the server has been stopped. stopRecording
// ends the recording of calls.
func (s *Status) start(stopRecording func()) bool {
	select {
	case <-s.server.Done():
		_ = s.Close() // The server is gone, whether this succeeds or not.
		return false
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.stopRecording = stopRecording
	s.running.Go(s.work)
	for _, c := range s.health.checks {
		s.running.Go(func() { s.health.runCheck(s.ctx, c) })
	}
	s.change(Change{Kind: ChangeStarted}, nil)
	return true
}

// Server returns what the server answers to a question about some parts. It does not call the
// function passed to [WithAuthorize].
func (s *Status) Server(ctx context.Context, parts ...Part) *Server {
	return s.answer(ctx, &queryRequest{Parts: parts})
}

// SetServing sets the health of a service, or of the whole server if service is empty. service is
// the full name of the service, such as "my.pkg.MyService". The health is only reported: the server
// accepts requests as before.
func (s *Status) SetServing(service string, serving bool) { s.health.setServing(service, serving) }

// Close ends what Serve has begun. It does not stop the server. When the server stops, Close is
// called automatically. Close waits for at most a second or two. Further calls return the same
// error as the first one.
func (s *Status) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.cancel()
		if s.stopRecording != nil {
			s.stopRecording()
		}
		s.mu.Unlock()
		s.listeners.close()
		s.publish(Change{Kind: ChangeStopped})
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		s.closeErr = s.control.Shutdown(ctx)
		s.waitFor(ctx)
	})
	return s.closeErr
}

// waitFor waits for the goroutines of s until ctx ends. A health check that does not return is
// abandoned.
func (s *Status) waitFor(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// authorize returns an error if the client may not make requests of the kind verb. ctx is the
// context of the client's request.
func (s *Status) authorize(ctx context.Context, verb Verb) error {
	if s.options.authorize == nil {
		return nil
	}
	return s.options.authorize(ctx, verb)
}

// state returns the state of the server and the time of its last change.
func (s *Status) state() (state State, since time.Time) {
	switch {
	case s.shuttingDown.Load() || s.server.Drained():
		state = StateDraining
	case len(s.server.Services()) == 0:
		state = StateStarting
	default:
		state = StateServing
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if state != s.lastState {
		s.lastState, s.stateSince = state, time.Now()
	}
	return state, s.stateSince
}
